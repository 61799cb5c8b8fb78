/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/watch_report.h"

#include <stdio.h>
#include <string.h>

#include "runtime/clock.h"
#include "sensebus/v1/code.pb-c.h"
#include "sensebus/v1/event.pb-c.h"

void watch_report(struct watch *w, struct record *r, const struct unit *u)
{
    r->source = SENSEBUS__V1__SOURCE__SOURCE_ISCSI;
    r->place = (struct record_place){
        .adapter = w->options.adapter,
        .target = w->options.alias,
        .lun = u && !u->no_lun ? u->lun : -1,
        .target_name = w->target_name,
        .portal = w->portal,
        .identity = u ? &u->identity : NULL,
    };
    w->ops->on_record(w, w->data, r);
}

void watch_report_session(struct watch *w, uint32_t code, const struct record_native *native)
{
    struct record r = {
        .code = code, .wall_ns = clock_wall_ns(), .boot_ns = clock_boot_ns(), .native = *native, .prompt = true};

    watch_report(w, &r, NULL);
}

void watch_set_health(struct watch *w, enum watch_health health, const char *reason)
{
    if (w->health == health && strcmp(w->reason, reason) == 0)
        return;
    w->health = health;
    snprintf(w->reason, sizeof w->reason, "%s", reason);
    w->ops->on_health(w, w->data);
}

void watch_judge_health(struct watch *w)
{
    char reason[WATCH_REASON_BYTES];

    if (w->state != WATCH_UP)
        return;
    if (w->survey_problem[0]) {
        watch_set_health(w, WATCH_DEGRADED, w->survey_problem);
        return;
    }
    if (!w->surveyed) {
        watch_set_health(w, WATCH_DEGRADED, "asking for the list of logical units");
        return;
    }
    for (size_t i = 0; i < w->n_units; i++) {
        const struct unit *u = w->units[i];

        if (!u->problem[0] && (u->polled || u->absent))
            continue;
        snprintf(reason, sizeof reason, "LUN %u: %s", u->lun, u->problem[0] ? u->problem : "not polled yet");
        watch_set_health(w, WATCH_DEGRADED, reason);
        return;
    }
    watch_set_health(w, WATCH_ARMED, "");
}

/* ------------------------------------------------------------------------------------------------ sessions */

static const char *end_name(enum iscsi_session_end end)
{
    switch (end) {
    case ISCSI_END_UNREACHABLE: return "connect-failed";
    case ISCSI_END_LOGIN_STATUS: return "login-status";
    case ISCSI_END_LOGIN_FAILED: return "login-failed";
    case ISCSI_END_CLOSED: return "connection-closed";
    case ISCSI_END_RESET: return "connection-reset";
    case ISCSI_END_PROTOCOL: return "protocol-error";
    case ISCSI_END_SILENT: return "nop-timeout";
    }
    return "unknown";
}

static bool same_redirection(const struct watch_portal *p, const char *moved_to)
{
    return p->redirection.any && strcmp(p->redirection.to, moved_to) == 0;
}

static bool same_failure(const struct watch_portal *p, const struct iscsi_session_fate *fate)
{
    return p->failure.any && p->failure.end == fate->end && p->failure.status_class == fate->status_class &&
           p->failure.status_detail == fate->status_detail;
}

void watch_report_failure(struct watch *w, const struct iscsi_session_fate *fate, const char *detail)
{
    struct watch_portal *p = &w->portals[w->at_portal];
    bool redirect = fate->end == ISCSI_END_LOGIN_STATUS && fate->status_class == 1;
    bool same = redirect ? same_redirection(p, w->moved_to) : same_failure(p, fate);
    struct record_native native = {.name = end_name(fate->end), .detail = detail};

    if (same || (w->lost && fate->end == ISCSI_END_UNREACHABLE))
        return;
    if (redirect) {
        p->redirection.any = true;
        memcpy(p->redirection.to, w->moved_to, sizeof p->redirection.to);
    } else {
        p->failure.any = true;
        p->failure.end = fate->end;
        p->failure.status_class = fate->status_class;
        p->failure.status_detail = fate->status_detail;
    }
    if (fate->end == ISCSI_END_LOGIN_STATUS) {
        native.code = fate->status_class;
        native.subcode = (uint32_t)fate->status_class << 8 | fate->status_detail;
    } else {
        native.code = (uint32_t)-fate->error;
    }
    watch_report_session(w, redirect ? SENSEBUS__V1__CODE__ADDRESS_CHANGED : SENSEBUS__V1__CODE__LOGIN_FAILED, &native);
    log_warn("watch.login_failed", "target=%s portal=%s reason=\"%s\"", w->target_name, w->portal, detail);
}

void watch_report_loss(struct watch *w, const struct iscsi_session_fate *fate, const char *detail)
{
    struct record_native native = {.name = end_name(fate->end), .code = (uint32_t)-fate->error, .detail = detail};

    w->lost = true;
    watch_report_session(w, SENSEBUS__V1__CODE__NEXUS_LOST, &native);
    log_warn("watch.lost", "target=%s portal=%s reason=\"%s\"", w->target_name, w->portal, detail);
}

void watch_report_stopped(struct watch *w, const char *detail)
{
    struct record_native native = {.name = "logout", .detail = detail};

    watch_report_session(w, SENSEBUS__V1__CODE__SESSION_STOPPED, &native);
}
