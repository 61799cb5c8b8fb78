/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/tls_renewal.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#include "runtime/clock.h"
#include "runtime/log.h"
#include "runtime/notify.h"

enum { DAY_S = 86400 };

/* ------------------------------------------------------------------------------------------------ the date */

static void days_text(int64_t left_s, char *out, size_t len)
{
    int64_t days = left_s / DAY_S;
    if (days < 1)
        snprintf(out, len, "in less than a day");
    else
        snprintf(out, len, "in %" PRId64 " day%s", days, days == 1 ? "" : "s");
}

static void look_at_date(struct tls_renewal *r);

static void on_look(uv_timer_t *timer)
{
    look_at_date(timer->data);
}

static void look_at_date(struct tls_renewal *r)
{
    struct tls_certificate own;
    char days[48];
    uint32_t again_s;
    int64_t now_s = (int64_t)(clock_wall_ns() / 1000000000u);

    tls_context_certificate(r->context, &own);
    switch (tls_expiry_step(&r->expiry, own.not_after_s, now_s, &again_s)) {
    case TLS_EXPIRY_QUIET: break;
    case TLS_EXPIRY_SOON:
        days_text(own.not_after_s - now_s, days, sizeof days);
        log_warn("tls.expires",
                 "subject=\"%s\" serial=%s reason=\"our certificate ends %s, on %s: renew it, and send SIGHUP\"",
                 own.subject, own.serial, days, own.not_after);
        break;
    case TLS_EXPIRY_OVER:
        log_error("tls.expired",
                  "subject=\"%s\" serial=%s reason=\"our certificate has expired on %s: peers refuse new "
                  "connections until it is renewed and SIGHUP sent\"",
                  own.subject, own.serial, own.not_after);
        break;
    }
    uv_timer_start(&r->look, on_look, (uint64_t)again_s * 1000, 0);
}

/* ------------------------------------------------------------------------------------------------ reading again */

static void tell_in_use(const struct tls_context *context)
{
    struct tls_certificate own;
    tls_context_certificate(context, &own);
    log_info("tls.in_use", "subject=\"%s\" serial=%s not_after=\"%s\"", own.subject, own.serial, own.not_after);
}

static void reload(struct tls_renewal *r)
{
    struct tls_certificate own;
    char err[TLS_TEXT_MAX];

    if (tls_context_reload(r->context, err, sizeof err) == 0) {
        tell_in_use(r->context);
        r->expiry = (struct tls_expiry){0};
        look_at_date(r);
        return;
    }
    tls_context_certificate(r->context, &own);
    log_error("tls.not_reloaded", "reason=\"%s\" in_use=%s not_after=\"%s\"", err, own.serial, own.not_after);
}

static void on_hangup(uv_signal_t *handle, int number)
{
    struct tls_renewal *r = handle->data;

    (void)number;
    if (!r->running)
        return;
    notify_reloading();
    if (r->context)
        reload(r);
    else
        log_info("tls.not_used", "signal=SIGHUP reason=\"there are no certificates to read again\"");
    notify_manager("READY=1");
}

/* ------------------------------------------------------------------------------------------------ life */

int tls_renewal_init(struct tls_renewal *r, uv_loop_t *loop)
{
    *r = (struct tls_renewal){0};
    int rc = uv_signal_init(loop, &r->hangup);
    if (rc != 0)
        return rc;
    uv_timer_init(loop, &r->look);
    r->hangup.data = r->look.data = r;
    rc = uv_signal_start(&r->hangup, on_hangup, SIGHUP);
    if (rc != 0)
        tls_renewal_close(r);
    return rc;
}

void tls_renewal_start(struct tls_renewal *r, struct tls_context *context)
{
    r->context = tls_context_ref(context);
    r->running = true;
    if (!context)
        return;
    tell_in_use(context);
    look_at_date(r);
}

void tls_renewal_stop(struct tls_renewal *r)
{
    r->running = false;
    uv_timer_stop(&r->look);
    tls_context_unref(r->context);
    r->context = NULL;
}

void tls_renewal_close(struct tls_renewal *r)
{
    tls_renewal_stop(r);
    uv_close((uv_handle_t *)&r->hangup, NULL);
    signal(SIGHUP, SIG_IGN); /* which libuv has just made deadly again */
    uv_close((uv_handle_t *)&r->look, NULL);
}
