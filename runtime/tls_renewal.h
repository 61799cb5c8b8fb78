/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates that are renewed while a daemon runs. SIGHUP makes it read its files again (tls_context_reload): all of
 * them are good and new connections use them, or everything stays as it is; a line of the log says which. How long our
 * own certificate is valid is watched from the start (runtime/tls_expiry.h). The service manager is told of a reload's
 * begin and end.
 *
 * From init on SIGHUP does not end the process: it is answered between start and stop, and else ignored, also after
 * close. All on the loop's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "runtime/tls.h"
#include "runtime/tls_expiry.h"

struct tls_renewal {
    struct tls_context *context; /* a reference; NULL = nothing is encrypted */
    bool running;
    struct tls_expiry expiry;
    uv_signal_t hangup;
    uv_timer_t look; /* at the date; runs while there is a context */
};

/* 0 or a negative error; `r` need not be closed then. */
int tls_renewal_init(struct tls_renewal *r, uv_loop_t *loop);
/* Say what is in use, and watch it. NULL: a SIGHUP is answered by a line that there is nothing to read. */
void tls_renewal_start(struct tls_renewal *r, struct tls_context *context);
/* Neither reads nor watches any more. Allowed at any time after init. */
void tls_renewal_stop(struct tls_renewal *r);
/* Its memory must live until the loop has closed its handles. */
void tls_renewal_close(struct tls_renewal *r);
