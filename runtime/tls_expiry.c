/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/tls_expiry.h"

#include <stdbool.h>

enum { LOOK_S = 3600 };

enum tls_expiry_word tls_expiry_step(struct tls_expiry *e, int64_t not_after_s, int64_t now_s, uint32_t *out_again_s)
{
    int64_t soon_s = not_after_s - TLS_EXPIRY_SOON_S;
    enum tls_expiry_word word = now_s >= not_after_s ? TLS_EXPIRY_OVER
                                : now_s > soon_s     ? TLS_EXPIRY_SOON
                                                     : TLS_EXPIRY_QUIET;
    /* A clock that was set back must not silence us until it is where it was. */
    bool is_due = word != e->said || now_s < e->said_at_s || now_s - e->said_at_s >= TLS_EXPIRY_REPEAT_S;
    int64_t again_s = LOOK_S;

    if (word != TLS_EXPIRY_OVER) {
        int64_t next_s = word == TLS_EXPIRY_QUIET ? soon_s + 1 : not_after_s;
        if (next_s - now_s < again_s)
            again_s = next_s - now_s;
    }
    if (is_due) {
        e->said = word;
        e->said_at_s = now_s;
    }
    *out_again_s = (uint32_t)again_s;
    return is_due ? word : TLS_EXPIRY_QUIET;
}
