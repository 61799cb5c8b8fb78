/* SPDX-License-Identifier: Apache-2.0 */
/* Stories of one target: what happens to it, and the events that come of it, printed one a line. */
#include "agent/watch.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_session.h"
#include "proto/registry.h"
#include "proto/sense.h"
#include "sensebus/v1/event.pb-c.h"

#define TURNS 20 /* polls of peace after which nothing more is expected */

static uv_loop_t loop;
static struct watch w;
static struct command_counts counts;
static unsigned n_inventory;
static bool stopped;

static void on_record(struct watch *watch, void *data, const struct record *r)
{
    struct sense s;

    (void)watch;
    (void)data;
    fake_log("%s", registry_find(r->code)->name);
    if (r->place.lun >= 0)
        fake_log(" LUN %d", (int)r->place.lun);
    if (r->sense && sense_decode(r->sense, r->sense_len, &s) == 0)
        fake_log(" %X/%02X/%02X", s.key, s.asc, s.ascq);
    if (r->count > 1)
        fake_log(" count=%u", (unsigned)r->count);
    if (r->n_evidence > 0)
        fake_log(" evidence=%zu", r->n_evidence);
    if (r->native.name && (r->synthetic || !r->sense))
        fake_log(" (%s)", r->native.name);
    if (fake.log_dials)
        fake_log(" at %s", r->place.portal);
    fake_log("\n");
}

static void on_health(struct watch *watch, void *data)
{
    (void)watch;
    (void)data;
}

static void on_inventory(struct watch *watch, void *data)
{
    (void)watch;
    (void)data;
    n_inventory++;
}

static void on_stopped(struct watch *watch, void *data)
{
    (void)watch;
    (void)data;
    stopped = true;
}

static const struct watch_ops ops = {
    .on_record = on_record, .on_health = on_health, .on_inventory = on_inventory, .on_stopped = on_stopped};

static struct watch_options options(void)
{
    return (struct watch_options){
        .target_name = "iqn.test:t",
        .portal = "192.0.2.1:3260",
        .lun = -1,
        .adapter = "iscsi0",
        .initiator_name = "iqn.test:i",
        .poll_ms = 2,
        .command_timeout_ms = 1000,
        .seed = 1,
        .counts = &counts,
        .session_api = &fake_api,
    };
}

static void setup(void)
{
    uv_loop_init(&loop);
    fake_reset(&loop);
    memset(&counts, 0, sizeof counts);
    stopped = false;
    n_inventory = 0;
}

static void start(void)
{
    struct watch_options o = options();

    cr_assert_eq(watch_start(&w, &loop, &o, &ops, NULL), 0);
}

/* Turn the loop until `flag`-like conditions hold; a hundred thousand turns are for ever. */
#define run_until(condition)                                                                                           \
    do {                                                                                                               \
        unsigned turns = 0;                                                                                            \
        while (!(condition)) {                                                                                         \
            cr_assert(++turns < 100000, "waiting for " #condition "; log:\n%s", fake.log);                             \
            uv_run(&loop, UV_RUN_ONCE);                                                                                \
        }                                                                                                              \
    } while (0)

static bool nothing_pending(void)
{
    for (size_t i = 0; i < w.n_units; i++) {
        const struct unit *u = w.units[i];

        if (!u->absent && (!u->polled || fake.units[u->lun].n_pending > 0))
            return false;
    }
    return w.survey == SURVEY_NONE && !w.luns_changed;
}

/* All is read, and all units have been polled some times more: what was to be seen was seen. */
static void settle(void)
{
    for (int i = 0; i < 2; i++) {
        uint64_t until = counts.n[COMMAND_TEST_UNIT_READY] + TURNS * (w.n_units + 1);

        run_until(counts.n[COMMAND_TEST_UNIT_READY] >= until && nothing_pending());
    }
}

static void finish(void)
{
    watch_stop(&w);
    run_until(stopped);
    watch_deinit(&w);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop) != 0)
        abort();
}

/* The log since the last look. */
static void expect(const char *text)
{
    cr_assert_str_eq(fake.log, text, "want:\n%s\ngot:\n%s", text, fake.log);
    fake.log[0] = 0;
}

/* Two disks, logged in and quiet. */
static void two_disks(void)
{
    fake.units[0] = (struct fake_unit){.present = true, .serial = "A"};
    fake.units[1] = (struct fake_unit){.present = true, .serial = "B"};
    fake.report_luns_clears = true;
    start();
    run_until(w.state == WATCH_UP && w.n_units == 2);
    settle();
    expect("SESSION_STARTED (login)\n");
    cr_assert_eq(w.health, WATCH_ARMED);
}

TestSuite(watch, .init = setup);

Test(watch, login_reports_the_session_and_every_power_on_attention_once)
{
    fake.units[0] = (struct fake_unit){.present = true, .serial = "A"};
    fake.units[1] = (struct fake_unit){.present = true, .serial = "B"};
    fake_attention(0, 6, 0x29, 0);
    fake_attention(1, 6, 0x29, 0);
    start();
    run_until(w.state == WATCH_UP && w.n_units == 2);
    settle();
    expect("SESSION_STARTED (login)\n"
           "POWER_ON_OR_RESET LUN 0 6/29/00\n"
           "POWER_ON_OR_RESET LUN 1 6/29/00\n");
    cr_assert_str_eq(w.units[1]->identity.serial, "B");
    cr_assert_eq(w.units[1]->identity.n_blocks, 0x2000);
    finish();
    expect("logout\nSESSION_STOPPED (logout)\n");
}

Test(watch, identifies_before_it_polls_and_sends_only_what_is_allowed)
{
    struct watch_options o = options();

    o.poll_ms = 100000;
    fake.units[3] = (struct fake_unit){.present = true, .serial = "A"};
    fake.log_commands = true;
    cr_assert_eq(watch_start(&w, &loop, &o, &ops, NULL), 0);
    run_until(strstr(fake.log, "9E"));
    fake.log_commands = false;
    expect("SESSION_STARTED (login)\n"
           "LUN 0: A0\n"
           "LUN 3: 12\n"
           "LUN 3: 12 vpd\n"
           "LUN 3: 12 vpd\n"
           "LUN 3: 00\n"
           "LUN 3: 9E\n");
    finish();
}

Test(watch, attentions_are_drained_in_one_poll_in_order)
{
    two_disks();
    fake_attention(1, 6, 0x29, 0);
    fake_attention(1, 6, 0x2a, 1);
    fake_attention(1, 6, 0x2a, 9);
    settle();
    expect("POWER_ON_OR_RESET LUN 1 6/29/00\n"
           "MODE_PARAMETERS_CHANGED LUN 1 6/2A/01\n"
           "CAPACITY_CHANGED LUN 1 6/2A/09\n");
    finish();
}

Test(watch, not_ready_is_an_event_when_it_begins_and_when_it_ends)
{
    two_disks();
    fake.units[1].state = (struct fake_sense){2, 4, 1};
    settle();
    expect("DEVICE_NOT_READY LUN 1 2/04/01\n");
    fake.units[1].state = (struct fake_sense){2, 0x3a, 0};
    settle();
    expect("MEDIUM_ABSENT LUN 1 2/3A/00\n");
    fake.units[1].state = (struct fake_sense){0};
    settle();
    expect("DEVICE_ONLINE LUN 1 (test-unit-ready)\n");
    finish();
}

Test(watch, a_new_unit_is_one_luns_changed_and_one_device_added)
{
    two_disks();
    fake.units[2] = (struct fake_unit){.present = true, .serial = "C"};
    fake_attention(0, 6, 0x3f, 0x0e);
    fake_attention(1, 6, 0x3f, 0x0e);
    settle();
    expect("REPORTED_LUNS_CHANGED 6/3F/0E evidence=1\n"
           "DEVICE_ADDED LUN 2 (report-luns)\n");
    finish();
}

Test(watch, two_changes_told_twice_by_each_unit_count_two)
{
    two_disks();
    fake.report_luns_clears = false;
    for (int i = 0; i < 2; i++) {
        fake_attention(0, 6, 0x3f, 0x0e);
        fake_attention(1, 6, 0x3f, 0x0e);
    }
    settle();
    expect("REPORTED_LUNS_CHANGED 6/3F/0E count=2 evidence=3\n");
    finish();
}

Test(watch, a_deleted_unit_is_removed_once_whoever_says_so)
{
    two_disks();
    fake.units[1].present = false;
    fake_attention(0, 6, 0x3f, 0x0e);
    settle();
    expect("REPORTED_LUNS_CHANGED 6/3F/0E\n"
           "DEVICE_REMOVED LUN 1 (report-luns)\n");
    finish();
}

Test(watch, a_unit_that_vanishes_silently_is_found_by_its_refusal)
{
    two_disks();
    fake.units[1].present = false;
    settle();
    expect("DEVICE_REMOVED LUN 1 (report-luns)\n");
    finish();
}

Test(watch, another_serial_after_a_change_of_identity_is_told)
{
    two_disks();
    fake.units[1].serial = "X";
    fake_end(ISCSI_END_CLOSED, "FIN");
    run_until(w.state == WATCH_UP);
    settle();
    expect("NEXUS_LOST (connection-closed)\n"
           "NEXUS_RESTORED (login)\n"
           "IDENTITY_CHANGED LUN 1 (inquiry)\n");
    finish();
}

Test(watch, loss_and_return_keep_what_was_known)
{
    two_disks();
    fake.units[1].state = (struct fake_sense){2, 4, 1};
    settle();
    expect("DEVICE_NOT_READY LUN 1 2/04/01\n");
    fake.refuse_with = ISCSI_END_UNREACHABLE;
    fake_end(ISCSI_END_RESET, "RST");
    run_until(fake.n_opened >= 3);
    cr_assert_eq(w.health, WATCH_OFF);
    fake.refuse_with = ISCSI_END_CLOSED;
    fake.units[1].present = false;
    fake.units[4].present = true;
    run_until(w.state == WATCH_UP);
    settle();
    expect("NEXUS_LOST (connection-reset)\n"
           "NEXUS_RESTORED (login)\n"
           "DEVICE_REMOVED LUN 1 (report-luns)\n"
           "DEVICE_ADDED LUN 4 (report-luns)\n");
    finish();
}

Test(watch, refused_login_is_reported_when_it_changes_not_when_it_repeats)
{
    fake.units[0].present = true;
    fake.refuse_with = ISCSI_END_UNREACHABLE;
    start();
    run_until(fake.n_opened >= 3);
    expect("LOGIN_FAILED (connect-failed)\n");
    fake.refuse_with = ISCSI_END_LOGIN_STATUS;
    fake.refuse_class = 2;
    fake.refuse_detail = 1;
    run_until(fake.n_opened >= 6);
    expect("LOGIN_FAILED (login-status)\n");
    fake.refuse_with = ISCSI_END_CLOSED;
    run_until(w.state == WATCH_UP);
    settle();
    expect("SESSION_STARTED (login)\n");
    finish();
}

Test(watch, stopping_while_it_waits_or_dials_is_silent)
{
    fake.refuse_with = ISCSI_END_UNREACHABLE;
    start();
    run_until(fake.n_opened == 2);
    expect("LOGIN_FAILED (connect-failed)\n");
    finish();
    expect("");
}

Test(watch, a_target_that_ignores_logout_is_dropped)
{
    two_disks();
    fake.ignore_logout = true;
    finish();
    expect("logout\nSESSION_STOPPED (logout)\n");
}

Test(watch, a_unit_that_hangs_is_one_event_and_is_asked_more_rarely)
{
    uint64_t polls;

    two_disks();
    fake.units[1].hangs = true;
    settle();
    expect("DEVICE_NOT_READY LUN 1 (command-timeout)\n");
    polls = counts.n[COMMAND_TEST_UNIT_READY];
    run_until(counts.n[COMMAND_TEST_UNIT_READY] > polls + 40);
    cr_assert_gt(w.units[1]->poll.n_timeouts, 0);
    cr_assert_lt(w.units[1]->poll.n_timeouts, 10);
    fake.units[1].hangs = false;
    run_until(w.units[1]->poll.state == POLL_READY);
    expect("DEVICE_ONLINE LUN 1 (test-unit-ready)\n");
    finish();
}

Test(watch, check_condition_without_sense_is_asked_for_and_told_once)
{
    two_disks();
    fake.units[0].no_sense = true;
    settle();
    cr_assert_gt(counts.n[COMMAND_REQUEST_SENSE], 0);
    expect("DEVICE_NOT_READY LUN 0 (check-condition)\n");
    fake.units[0].no_sense = false;
    settle();
    expect("DEVICE_ONLINE LUN 0 (test-unit-ready)\n");
    finish();
}

Test(watch, a_late_sense_is_an_event_of_its_unit_or_of_the_target)
{
    two_disks();
    fake_late_sense(inventory_lun_raw(1), 0, 6, 0x2a, 3);
    fake_late_sense(UINT64_MAX, -1, 6, 0x29, 0);
    expect("RESERVATIONS_PREEMPTED LUN 1 6/2A/03\n"
           "POWER_ON_OR_RESET 6/29/00\n");
    finish();
}

Test(watch, an_error_that_every_poll_repeats_is_told_once)
{
    two_disks();
    fake.units[1].state = (struct fake_sense){4, 0x3e, 1};
    settle();
    expect("LUN_FAILURE LUN 1 4/3E/01\n");
    finish();
}

Test(watch, asynchronous_messages_become_their_events)
{
    static const uint8_t sense[18] = {0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x2a, 1};
    struct iscsi_async_message m = {.event = 0, .lun_raw = inventory_lun_raw(1), .sense = sense, .sense_len = 18};

    two_disks();
    fake_async(&m);
    m.sense = NULL;
    m.sense_len = 0;
    fake_async(&m);
    m.event = 5;
    fake_async(&m);
    m.event = 255;
    fake_async(&m);
    m.event = 77;
    fake_async(&m);
    expect("MODE_PARAMETERS_CHANGED LUN 1 6/2A/01\n"
           "ASYNC_EVENT_PENDING LUN 1 (async-message)\n"
           "COMMANDS_CLEARED LUN 1 (async-message)\n"
           "VENDOR_SPECIFIC (async-message)\n"
           "UNCLASSIFIED (async-message)\n");
    finish();
}

Test(watch, a_change_told_while_the_unit_is_identified_has_it_identified_again)
{
    static const uint8_t sense[18] = {0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x3f, 3};
    struct iscsi_async_message m = {.event = 0, .lun_raw = inventory_lun_raw(1), .sense = sense, .sense_len = 18};
    uint64_t n_before;

    two_disks();
    n_before = counts.n[COMMAND_INQUIRY];
    fake_async(&m);
    run_until(w.units[1]->step == UNIT_VPD_SERIAL);
    fake_async(&m); /* INQUIRY was answered already */
    settle();
    expect("INQUIRY_DATA_CHANGED LUN 1 6/3F/03\n"
           "INQUIRY_DATA_CHANGED LUN 1 6/3F/03\n");
    cr_assert_eq(counts.n[COMMAND_INQUIRY] - n_before, 6, "INQUIRY, pages 00h and 80h, twice");
    finish();
}

Test(watch, luns_changed_by_message_leads_to_a_survey)
{
    static const uint8_t sense[18] = {0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x3f, 0x0e};
    struct iscsi_async_message m = {.event = 0, .lun_raw = inventory_lun_raw(0), .sense = sense, .sense_len = 18};

    two_disks();
    fake.units[2].present = true;
    fake_async(&m);
    settle();
    expect("REPORTED_LUNS_CHANGED LUN 0 6/3F/0E\n"
           "DEVICE_ADDED LUN 2 (report-luns)\n");
    finish();
}

Test(watch, logout_request_is_followed_and_the_session_starts_again)
{
    struct iscsi_async_message m = {.event = 1, .parameter3 = 5};

    two_disks();
    fake_async(&m);
    run_until(fake.n_opened == 2 && w.state == WATCH_UP);
    settle();
    expect("LOGOUT_REQUESTED (async-message)\n"
           "logout\n"
           "SESSION_STOPPED (logout)\n"
           "SESSION_STARTED (login)\n");
    finish();
}

Test(watch, drop_notice_makes_the_next_dial_wait_as_asked)
{
    struct iscsi_async_message m = {.event = 3, .parameter2 = 2};
    uint64_t before;

    two_disks();
    fake_async(&m);
    before = uv_now(&loop); /* of the loop: what the machine takes in between is not waited for twice */
    fake_end(ISCSI_END_CLOSED, "FIN");
    expect("SESSION_DROP_NOTICE (async-message)\n"
           "NEXUS_LOST (connection-closed)\n");
    run_until(w.state == WATCH_UP);
    cr_assert_geq(uv_now(&loop) - before, 1900);
    finish();
}

Test(watch, malformed_report_luns_degrades_and_heals)
{
    static const uint8_t garbage[] = {0, 0, 0, 7, 0, 0, 0, 0, 1};

    fake.units[0].present = true;
    fake.report_luns = garbage;
    fake.report_luns_len = sizeof garbage;
    start();
    run_until(w.health == WATCH_DEGRADED && strstr(w.reason, "malformed"));
    fake.report_luns = NULL;
    run_until(w.health == WATCH_ARMED);
    settle();
    expect("SESSION_STARTED (login)\n");
    finish();
}

Test(watch, a_target_whose_list_changes_whenever_it_is_asked_is_not_asked_without_end)
{
    fake.units[0].present = true;
    fake.report_luns_attention = true;
    start();
    run_until(w.survey_problem[0] && w.survey == SURVEY_NONE);
    cr_assert_eq(w.health, WATCH_DEGRADED);
    cr_assert_str_eq(w.reason, "REPORT LUNS: CHECK CONDITION");
    cr_assert_eq(fake.n_luns_asked, 4, "and the next time some polls later");
    fake.report_luns_attention = false;
    run_until(w.health == WATCH_ARMED);
    finish();
}

Test(watch, malformed_inquiry_data_degrades_and_the_unit_is_polled_all_the_same)
{
    fake.units[0] = (struct fake_unit){.present = true, .short_inquiry = true};
    start();
    run_until(w.health == WATCH_DEGRADED && strstr(w.reason, "LUN 0: INQUIRY data is malformed"));
    fake_attention(0, 6, 0x29, 0);
    settle();
    expect("SESSION_STARTED (login)\nPOWER_ON_OR_RESET LUN 0 6/29/00\n");
    finish();
}

Test(watch, nothing_behind_a_lun_is_not_watched)
{
    fake.units[0] = (struct fake_unit){.present = true, .qualifier_3 = true};
    fake.units[1].present = true;
    start();
    run_until(w.n_units == 2 && w.units[0]->absent);
    settle();
    expect("SESSION_STARTED (login)\n");
    finish();
}

Test(watch, one_lun_alone_can_be_watched)
{
    struct watch_options o = options();

    o.lun = 1;
    fake.units[0].present = fake.units[1].present = true;
    fake_attention(0, 6, 0x29, 0);
    fake_attention(1, 6, 0x29, 0);
    cr_assert_eq(watch_start(&w, &loop, &o, &ops, NULL), 0);
    run_until(w.n_units == 1);
    settle();
    expect("SESSION_STARTED (login)\nPOWER_ON_OR_RESET LUN 1 6/29/00\n");
    finish();
}

Test(watch, a_unit_that_never_stops_complaining_does_not_stop_the_others)
{
    two_disks();
    for (int i = 0; i < FAKE_MAX_SENSES; i++)
        fake_attention(0, 6, 0x29, 0);
    fake_attention(1, 6, 0x2a, 1);
    run_until(strstr(fake.log, "MODE_PARAMETERS_CHANGED"));
    cr_assert_gt(fake.units[0].n_pending, 0);
    finish();
}

static void on_managed(struct iscsi_session *s, void *data, const struct iscsi_management_result *result)
{
    (void)s;
    (void)result;
    *(bool *)data = true;
}

Test(watch, polls_that_a_task_management_function_ended_are_sent_again_and_nothing_is_lost)
{
    bool managed = false;

    two_disks();
    fake_attention(1, 6, 0x29, 0);
    fake.units[0].holds = fake.units[1].holds = true;
    run_until(w.n_in_flight == 2);
    cr_assert_eq(fake_api.manage(w.session, ISCSI_TARGET_WARM_RESET, 0, 0, on_managed, &managed), 0);
    run_until(managed && w.n_in_flight == 2);
    fake.units[0].holds = fake.units[1].holds = false;
    settle();
    expect("manage 6 LUN 0\n"
           "POWER_ON_OR_RESET LUN 1 6/29/00\n");
    cr_assert_eq(fake.n_opened, 1, "one session through all of it");
    finish();
}

Test(watch, a_survey_that_a_task_management_function_ended_is_made_again)
{
    bool managed = false;

    two_disks();
    fake.holds_luns = true;
    fake_attention(1, 6, 0x3f, 0x0e);
    run_until(w.survey == SURVEY_RUNNING);
    fake.units[4] = (struct fake_unit){.present = true, .serial = "C"};
    cr_assert_eq(fake_api.manage(w.session, ISCSI_LUN_RESET, 0, 0, on_managed, &managed), 0);
    run_until(managed);
    fake.holds_luns = false;
    run_until(w.n_units == 3);
    settle();
    expect("manage 5 LUN 0\n"
           "REPORTED_LUNS_CHANGED 6/3F/0E\n"
           "DEVICE_ADDED LUN 4 (report-luns)\n");
    finish();
}

/* The one who was busy says so when the list is on its way: the target takes back what it has to say when it gives it.
 */
Test(watch, a_unit_that_says_late_that_the_list_changed_says_nothing_new)
{
    two_disks();
    fake.units[1].holds = true;
    run_until(w.units[1]->in_flight);
    fake.holds_luns = true;
    fake_attention(0, 6, 0x3f, 0x0e);
    fake_attention(1, 6, 0x3f, 0x0e);
    run_until(w.survey == SURVEY_RUNNING);
    fake.units[1].holds = false;
    run_until(fake.units[1].n_pending == 0);
    expect("");
    fake.holds_luns = false;
    settle();
    expect("REPORTED_LUNS_CHANGED 6/3F/0E evidence=1\n");
    finish();
}

Test(watch, a_sense_that_did_not_come_with_an_inquiry_is_asked_for)
{
    fake.units[0] = (struct fake_unit){.present = true, .serial = "A", .kept = {6, 0x29, 0}};
    start();
    run_until(w.state == WATCH_UP && w.n_units == 1);
    settle();
    expect("SESSION_STARTED (login)\n"
           "POWER_ON_OR_RESET LUN 0 6/29/00\n");
    finish();
}

Test(watch, a_redirection_to_a_dead_portal_is_told_once_and_so_is_the_portal)
{
    fake.refuse_with = ISCSI_END_LOGIN_STATUS;
    fake.refuse_class = 1;
    fake.moved_to = "192.0.2.9:3260";
    start();
    for (unsigned i = 0; i < 3; i++) {
        run_until(fake.n_opened == 2 * i + 1 && w.state == WATCH_WAITING);
        fake.refuse_with = ISCSI_END_UNREACHABLE;
        fake.refuse_class = 0;
        fake.moved_to = NULL;
        run_until(fake.n_opened == 2 * i + 2 && w.state == WATCH_WAITING);
        fake.refuse_with = ISCSI_END_LOGIN_STATUS;
        fake.refuse_class = 1;
        fake.moved_to = "192.0.2.9:3260";
    }
    expect("ADDRESS_CHANGED (login-status)\n"
           "LOGIN_FAILED (connect-failed)\n");
    fake.moved_to = "192.0.2.10:3260";
    run_until(fake.n_opened == 7 && w.state == WATCH_WAITING);
    expect("ADDRESS_CHANGED (login-status)\n");
    finish();
}

Test(watch, a_logout_request_inside_the_login_answer_is_no_loss)
{
    fake.units[0] = (struct fake_unit){.present = true, .serial = "A"};
    fake.async_at_login = 1;
    start();
    run_until(fake.n_opened == 2 && w.health == WATCH_ARMED);
    settle();
    expect("LOGOUT_REQUESTED (async-message)\n"
           "SESSION_STARTED (login)\n"
           "logout\n"
           "SESSION_STOPPED (logout)\n"
           "SESSION_STARTED (login)\n");
    finish();
}

#define A "192.0.2.1:3260"
#define B "192.0.2.2:3260"
#define C "192.0.2.3:3260"

/* One disk, at the portals A, B and C. */
static void three_portals(void)
{
    fake.units[0] = (struct fake_unit){.present = true, .serial = "A"};
    fake.log_dials = true;
    start();
    cr_assert_eq(watch_add_portal(&w, B), 0);
    cr_assert_eq(watch_add_portal(&w, C), 0);
    cr_assert_eq(watch_add_portal(&w, B), UV_EEXIST);
}

Test(watch, a_loss_is_followed_by_the_next_portal_and_events_name_theirs)
{
    three_portals();
    run_until(w.state == WATCH_UP && w.n_units == 1);
    settle();
    expect("dial " A "\nSESSION_STARTED (login) at " A "\n");
    fake_end(ISCSI_END_RESET, "RST");
    run_until(w.state == WATCH_UP);
    settle();
    fake_attention(0, 6, 0x2a, 1);
    settle();
    expect("NEXUS_LOST (connection-reset) at " A "\n"
           "dial " B "\n"
           "NEXUS_RESTORED (login) at " B "\n"
           "MODE_PARAMETERS_CHANGED LUN 0 6/2A/01 at " B "\n");
    fake.dead[0] = C;
    fake_end(ISCSI_END_CLOSED, "FIN");
    run_until(w.state == WATCH_UP);
    expect("NEXUS_LOST (connection-closed) at " B "\n"
           "dial " C "\n"
           "dial " A "\n"
           "NEXUS_RESTORED (login) at " A "\n");
    finish();
}

Test(watch, each_portal_has_its_try_without_delay_and_is_told_once)
{
    fake.dead[0] = A;
    fake.dead[1] = B;
    fake.dead[2] = C;
    three_portals();
    run_until(fake.n_opened == 3 && w.state == WATCH_WAITING);
    cr_assert_geq(uv_timer_get_due_in(&w.timer), 1, "now it waits");
    run_until(fake.n_opened == 6 && w.state == WATCH_WAITING);
    expect("dial " A "\nLOGIN_FAILED (connect-failed) at " A "\n"
           "dial " B "\nLOGIN_FAILED (connect-failed) at " B "\n"
           "dial " C "\nLOGIN_FAILED (connect-failed) at " C "\n"
           "dial " A "\ndial " B "\ndial " C "\n");
    fake.dead[1] = NULL;
    run_until(w.state == WATCH_UP);
    expect("dial " A "\ndial " B "\nSESSION_STARTED (login) at " B "\n");
    finish();
}

Test(watch, who_logs_out_because_the_target_asked_comes_back_to_the_same_portal)
{
    struct iscsi_async_message m = {.event = 1};

    three_portals();
    run_until(w.state == WATCH_UP && w.n_units == 1);
    settle();
    expect("dial " A "\nSESSION_STARTED (login) at " A "\n");
    fake_async(&m);
    run_until(fake.n_opened == 2 && w.state == WATCH_UP);
    expect("LOGOUT_REQUESTED (async-message) at " A "\n"
           "logout\n"
           "SESSION_STOPPED (logout) at " A "\n"
           "dial " A "\nSESSION_STARTED (login) at " A "\n");
    finish();
}

/* The first of three portals sends to `portal`, where nobody is; in the end the watch is up at another. */
static void redirect_in_vain(const char *portal)
{
    fake.refuse_with = ISCSI_END_LOGIN_STATUS;
    fake.refuse_class = 1;
    fake.moved_to = portal;
    fake.dead[0] = portal;
    three_portals();
    run_until(strstr(fake.log, "ADDRESS_CHANGED"));
    fake.refuse_with = ISCSI_END_CLOSED;
    run_until(w.state == WATCH_UP);
}

Test(watch, a_portal_that_sends_elsewhere_in_vain_gives_way_to_the_next)
{
    redirect_in_vain("192.0.2.9:3260,7");
    expect("dial " A "\nADDRESS_CHANGED (login-status) at " A "\n"
           "dial 192.0.2.9:3260,7\nLOGIN_FAILED (connect-failed) at 192.0.2.9:3260\n"
           "dial " B "\nSESSION_STARTED (login) at " B "\n");
    finish();
}

/* Text fields of events are UTF-8, or the broker refuses the event. */
Test(watch, a_redirection_to_nonsense_is_told_with_a_portal_that_is_text)
{
    redirect_in_vain("\xff\xfe:3260");
    expect("dial " A "\nADDRESS_CHANGED (login-status) at " A "\n"
           "dial \xff\xfe:3260\nLOGIN_FAILED (connect-failed) at \xef\xbf\xbd\xef\xbf\xbd:3260\n"
           "dial " B "\nSESSION_STARTED (login) at " B "\n");
    finish();
}

Test(watch, portals_are_bounded)
{
    char portal[160];

    three_portals();
    for (unsigned i = 3; i < TARGET_MAX_PORTALS; i++) {
        snprintf(portal, sizeof portal, "192.0.2.%u:3260", i + 1);
        cr_assert_eq(watch_add_portal(&w, portal), 0);
    }
    cr_assert_eq(watch_add_portal(&w, "192.0.2.99:3260"), UV_ENOSPC);
    memset(portal, 'x', sizeof portal - 1);
    portal[sizeof portal - 1] = 0;
    cr_assert_eq(watch_add_portal(&w, portal), UV_EINVAL);
    finish();
}
