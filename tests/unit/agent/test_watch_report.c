/* SPDX-License-Identifier: Apache-2.0 */
/* What a watch tells of itself, without a session; when it does is tested in test_watch.c. */
#include "agent/watch_report.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "sensebus/v1/code.pb-c.h"

#define CODE(name) SENSEBUS__V1__CODE__##name

static struct watch_portal portals[2];
static struct watch w;
static char story[1024]; /* "code name detail", a line for each event */
static unsigned n_healths;

static void on_record(struct watch *watch, void *data, const struct record *r)
{
    size_t used = strlen(story);

    (void)watch;
    (void)data;
    cr_assert(r->prompt && r->place.lun == -1);
    cr_assert_str_eq(r->place.target_name, "iqn.test:t");
    snprintf(story + used, sizeof story - used, "%u %s %s\n", r->code, r->native.name, r->native.detail);
}

static void on_health(struct watch *watch, void *data)
{
    (void)watch;
    (void)data;
    n_healths++;
}

static void setup(void)
{
    static const struct watch_ops ops = {.on_record = on_record, .on_health = on_health};

    w = (struct watch){.ops = &ops, .target_name = (char *)"iqn.test:t", .portals = portals, .n_portals = 2};
}

TestSuite(watch_report, .init = setup);

static const char *told(void)
{
    static char last[sizeof story];

    strcpy(last, story);
    story[0] = 0;
    return last;
}

static const char *line(uint32_t code, const char *rest)
{
    static char text[256];

    snprintf(text, sizeof text, "%u %s\n", code, rest);
    return text;
}

Test(watch_report, a_failure_is_told_once_at_each_portal_and_again_when_it_is_another)
{
    struct iscsi_session_fate away = {.end = ISCSI_END_UNREACHABLE, .error = -111};
    struct iscsi_session_fate refused = {.end = ISCSI_END_LOGIN_STATUS, .status_class = 2, .status_detail = 1};

    watch_report_failure(&w, &away, "a");
    cr_assert_str_eq(told(), line(CODE(LOGIN_FAILED), "connect-failed a"));
    watch_report_failure(&w, &away, "a");
    cr_assert_str_eq(told(), "");
    w.at_portal = 1;
    watch_report_failure(&w, &away, "b");
    cr_assert_str_eq(told(), line(CODE(LOGIN_FAILED), "connect-failed b"));
    watch_report_failure(&w, &refused, "c");
    cr_assert_str_eq(told(), line(CODE(LOGIN_FAILED), "login-status c"));
    refused.status_detail = 2;
    watch_report_failure(&w, &refused, "d");
    cr_assert_str_eq(told(), line(CODE(LOGIN_FAILED), "login-status d"));
}

Test(watch_report, that_a_lost_target_cannot_be_reached_is_what_its_loss_said)
{
    struct iscsi_session_fate closed = {.end = ISCSI_END_CLOSED}, away = {.end = ISCSI_END_UNREACHABLE};

    watch_report_loss(&w, &closed, "a");
    cr_assert_str_eq(told(), line(CODE(NEXUS_LOST), "connection-closed a"));
    cr_assert(w.lost);
    watch_report_failure(&w, &away, "b");
    cr_assert_str_eq(told(), "");
}

Test(watch_report, a_redirection_is_told_once_and_again_when_it_leads_elsewhere)
{
    struct iscsi_session_fate moved = {.end = ISCSI_END_LOGIN_STATUS, .status_class = 1};

    strcpy(w.moved_to, "192.0.2.1:3260");
    watch_report_failure(&w, &moved, "a");
    cr_assert_str_eq(told(), line(CODE(ADDRESS_CHANGED), "login-status a"));
    watch_report_failure(&w, &moved, "a");
    cr_assert_str_eq(told(), "");
    strcpy(w.moved_to, "192.0.2.2:3260");
    watch_report_failure(&w, &moved, "b");
    cr_assert_str_eq(told(), line(CODE(ADDRESS_CHANGED), "login-status b"));
}

Test(watch_report, health_is_told_when_it_or_its_reason_changes)
{
    char words[] = "why";

    watch_set_health(&w, WATCH_DEGRADED, words);
    words[0] = 'x';
    cr_assert_str_eq(w.reason, "why");
    watch_set_health(&w, WATCH_DEGRADED, "why");
    cr_assert_eq(n_healths, 1);
    watch_set_health(&w, WATCH_DEGRADED, "because");
    watch_set_health(&w, WATCH_ARMED, "because");
    cr_assert_eq(n_healths, 3);
}

Test(watch_report, health_while_up_names_what_is_missing)
{
    struct unit first = {.lun = 0, .polled = true}, second = {.lun = 7}, *units[] = {&first, &second};

    w.units = units;
    w.n_units = 2;
    watch_judge_health(&w);
    cr_assert_eq(n_healths, 0, "it is not up");
    w.state = WATCH_UP;
    watch_judge_health(&w);
    cr_assert_str_eq(w.reason, "asking for the list of logical units");
    w.surveyed = true;
    watch_judge_health(&w);
    cr_assert_str_eq(w.reason, "LUN 7: not polled yet");
    strcpy(second.problem, "it sleeps");
    watch_judge_health(&w);
    cr_assert_str_eq(w.reason, "LUN 7: it sleeps");
    second.problem[0] = 0;
    second.polled = true;
    watch_judge_health(&w);
    cr_assert_eq(w.health, WATCH_ARMED);
    strcpy(w.survey_problem, "no list");
    watch_judge_health(&w);
    cr_assert_eq(w.health, WATCH_DEGRADED);
    cr_assert_str_eq(w.reason, "no list");
}
