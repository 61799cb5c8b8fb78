/* SPDX-License-Identifier: Apache-2.0 */
/* When to say that our own certificate ends: from 30 days before, once a day; a new word at once. A pure rule: the time
 * comes in as an argument, and what to say goes out. */
#pragma once

#include <stdint.h>

enum { TLS_EXPIRY_SOON_S = 30 * 86400, TLS_EXPIRY_REPEAT_S = 86400 };

enum tls_expiry_word {
    TLS_EXPIRY_QUIET, /* nothing to say now */
    TLS_EXPIRY_SOON,  /* it is valid for less than 30 days */
    TLS_EXPIRY_OVER,  /* it is over */
};

/* Begins zeroed, and is zeroed again for another certificate. */
struct tls_expiry {
    enum tls_expiry_word said;
    int64_t said_at_s;
};

/* What to say at `now_s` of a certificate that ends at `not_after_s` (seconds since 1970), and after how many seconds
 * to ask again: never more than an hour, for the clock may be set and the machine may sleep. */
enum tls_expiry_word tls_expiry_step(struct tls_expiry *e, int64_t not_after_s, int64_t now_s, uint32_t *out_again_s);
