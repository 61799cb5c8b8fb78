/* SPDX-License-Identifier: Apache-2.0 */
/* Stories of units that change without a word, on a watch with a scripted session. */
#include "agent/look.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "agent/unit.h"
#include "agent/watch.h"
#include "fake_session.h"
#include "proto/registry.h"
#include "sensebus/v1/event.pb-c.h"

static uv_loop_t loop;
static struct watch w;
static struct command_counts counts;
static unsigned n_inventory;
static bool stopped;

static void on_record(struct watch *watch, void *data, const struct record *r)
{
    (void)watch;
    (void)data;
    fake_log("%s", registry_find(r->code)->name);
    if (r->place.lun >= 0)
        fake_log(" LUN %d", (int)r->place.lun);
    if (r->synthetic)
        fake_log(" (%s: %s)", r->native.name, r->native.detail);
    if (r->n_evidence > 0) {
        cr_assert(r->synthetic && r->n_evidence == 1);
        cr_assert_str_eq(r->evidence[0].detail, "before");
        cr_assert_eq(r->evidence[0].raw_len, r->native.raw_len);
    }
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

static void setup(void)
{
    uv_loop_init(&loop);
    fake_reset(&loop);
    memset(&counts, 0, sizeof counts);
    stopped = false;
    fake.units[1] = (struct fake_unit){.present = true, .serial = "A", .maximum_transfer = 64};
}

#define run_until(condition)                                                                                           \
    do {                                                                                                               \
        unsigned turns = 0;                                                                                            \
        while (!(condition)) {                                                                                         \
            cr_assert(++turns < 100000, "waiting for " #condition "; log:\n%s", fake.log);                             \
            uv_run(&loop, UV_RUN_ONCE);                                                                                \
        }                                                                                                              \
    } while (0)

static uint64_t n_looks(void)
{
    return counts.n[COMMAND_READ_CAPACITY_16];
}

/* So many whole looks, and the poll behind each that tells. */
static void look(unsigned n)
{
    uint64_t until = n_looks() + n + 1;

    run_until(n_looks() >= until && fake.units[1].n_pending == 0);
}

static void start(uint32_t compare_ms)
{
    struct watch_options o = {
        .target_name = "iqn.test:t",
        .portal = "192.0.2.1:3260",
        .lun = -1,
        .adapter = "iscsi0",
        .initiator_name = "iqn.test:i",
        .poll_ms = 2,
        .compare_ms = compare_ms,
        .command_timeout_ms = 1000,
        .seed = 1,
        .counts = &counts,
        .session_api = &fake_api,
    };

    cr_assert_eq(watch_start(&w, &loop, &o, &ops, NULL), 0);
    run_until(w.n_units == 1 && w.units[0]->polled && w.units[0]->step == UNIT_RESTING);
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

TestSuite(look, .init = setup);

Test(look, what_changes_without_a_word_is_told_once_with_both_states)
{
    start(10);
    look(2);
    expect("SESSION_STARTED\n");
    fake.units[1].n_blocks = 0x4000;
    look(3);
    expect("CAPACITY_CHANGED LUN 1 (read-capacity: detected by comparison: 16384 blocks of 512 bytes, 8192 of 512 "
           "before)\n");
    cr_assert_eq(w.units[0]->identity.n_blocks, 0x4000, "the inventory follows");
    fake.units[1].write_protected = true;
    look(3);
    expect("WRITE_PROTECT_CHANGED LUN 1 (mode-sense: detected by comparison: write protected, writable before)\n");
    fake.units[1].maximum_transfer = 128;
    look(3);
    expect("INQUIRY_DATA_CHANGED LUN 1 (block-limits: detected by comparison: maximum transfer length 128 blocks, 64 "
           "before (0 = no limit))\n");
    cr_assert_eq(w.units[0]->identity.maximum_transfer_blocks, 128);
    finish();
}

Test(look, what_the_unit_announces_is_told_by_it_alone)
{
    start(10);
    look(1);
    expect("SESSION_STARTED\n");
    fake.units[1].n_blocks = 0x4000;
    fake_attention(1, 6, 0x2a, 9);
    look(3);
    expect("CAPACITY_CHANGED LUN 1\n");
    fake.units[1].write_protected = true;
    fake_attention(1, 6, 0x2a, 1);
    look(3);
    expect("MODE_PARAMETERS_CHANGED LUN 1\n");
    fake.units[1].maximum_transfer = 128;
    fake_attention(1, 6, 0x3f, 3);
    look(3);
    expect("INQUIRY_DATA_CHANGED LUN 1\n");
    finish();
}

/* INQUIRY does not wait for the unit attention, so the look sees the new limits first. */
Test(look, an_announcement_behind_the_look_is_in_time)
{
    start(10);
    look(1);
    expect("SESSION_STARTED\n");
    fake.units[1].maximum_transfer = 128;
    fake.units[1].behind_limits = (struct fake_sense){6, 0x3f, 3};
    look(3);
    expect("INQUIRY_DATA_CHANGED LUN 1\n");
    finish();
}

Test(look, an_asynchronous_message_is_an_announcement_too)
{
    static const uint8_t sense[18] = {0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x2a, 9};
    struct iscsi_async_message m = {.lun_raw = 1ull << 48, .sense = sense, .sense_len = 18};

    start(10);
    look(1);
    expect("SESSION_STARTED\n");
    fake.units[1].n_blocks = 0x4000;
    fake_async(&m);
    look(3);
    expect("CAPACITY_CHANGED LUN 1\n");
    finish();
}

Test(look, what_changed_while_there_was_no_session_is_told)
{
    start(100000);
    fake.units[1].n_blocks = 0x4000;
    fake_end(ISCSI_END_CLOSED, "FIN");
    run_until(w.state == WATCH_UP && strstr(fake.log, "CAPACITY"));
    expect("SESSION_STARTED\nNEXUS_LOST\nNEXUS_RESTORED\n"
           "CAPACITY_CHANGED LUN 1 (read-capacity: detected by comparison: 16384 blocks of 512 bytes, 8192 of 512 "
           "before)\n");
    finish();
}

#define TOLD                                                                                                           \
    "CAPACITY_CHANGED LUN 1 (read-capacity: detected by comparison: 16384 blocks of 512 bytes, 8192 of 512 before)\n"

/* As a look does whose next poll did not come yet; the unit rests. */
static void hold_difference(void)
{
    static const uint8_t reading[12] = {0, 0, 0, 0, 0, 0, 0x3f, 0xff, 0, 0, 2, 0};

    start(100000);
    compare_read(&w.units[0]->compare, COMPARE_CAPACITY, reading, sizeof reading);
}

Test(look, a_difference_that_is_held_is_told_when_the_watch_stops)
{
    hold_difference();
    finish();
    expect("SESSION_STARTED\n" TOLD "logout\nSESSION_STOPPED\n");

    setup();
    hold_difference();
    fake_end(ISCSI_END_CLOSED, "FIN");
    cr_assert_eq(w.state, WATCH_WAITING);
    finish();
    expect("SESSION_STARTED\nNEXUS_LOST\n" TOLD);
}

Test(look, a_difference_that_is_held_is_told_before_the_unit_goes)
{
    hold_difference();
    fake.units[1].present = false;
    run_until(strstr(fake.log, "REMOVED"));
    expect("SESSION_STARTED\n" TOLD "DEVICE_REMOVED LUN 1 (report-luns: logical unit gone)\n");
    finish();
}

/* Else what it announced is not known before the next look, and hides what changes without a word until then. */
Test(look, an_announcement_behind_its_own_step_asks_for_one_more_look)
{
    static const uint8_t sense[18] = {0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x2a, 1};
    struct iscsi_async_message m = {.lun_raw = 1ull << 48, .sense = sense, .sense_len = 18};
    uint64_t polls;

    start(100000);
    fake_async(&m);
    while (w.units[0]->step != UNIT_CAPACITY_16)
        uv_run(&loop, UV_RUN_NOWAIT); /* at most one answer in a turn, however late it is */
    fake.units[1].write_protected = true;
    fake_async(&m);
    polls = counts.n[COMMAND_TEST_UNIT_READY];
    run_until(counts.n[COMMAND_TEST_UNIT_READY] > polls + 5);
    cr_assert_eq(w.units[0]->compare.traits[COMPARE_PROTECTION].now.bytes[0] & 0x80, 0x80);
    cr_assert_not(w.units[0]->compare.traits[COMPARE_PROTECTION].announced);
    expect("SESSION_STARTED\nMODE_PARAMETERS_CHANGED LUN 1\nMODE_PARAMETERS_CHANGED LUN 1\n");
    finish();
}

Test(look, another_device_is_no_change_of_the_one_before)
{
    start(100000);
    fake.units[1].serial = "X";
    fake.units[1].n_blocks = 0x4000;
    fake.units[1].write_protected = true;
    fake_end(ISCSI_END_CLOSED, "FIN");
    run_until(strstr(fake.log, "IDENTITY"));
    run_until(counts.n[COMMAND_TEST_UNIT_READY] > 20);
    expect("SESSION_STARTED\nNEXUS_LOST\nNEXUS_RESTORED\n"
           "IDENTITY_CHANGED LUN 1 (inquiry: another device answers at this address)\n");
    finish();
}

Test(look, a_unit_that_is_ready_again_is_looked_at_soon)
{
    start(100000);
    fake.units[1].state = (struct fake_sense){2, 0x3a, 0};
    run_until(strstr(fake.log, "MEDIUM_ABSENT"));
    fake.units[1].n_blocks = 0x4000;
    fake.units[1].state = (struct fake_sense){0};
    run_until(strstr(fake.log, "CAPACITY"));
    expect("SESSION_STARTED\nMEDIUM_ABSENT LUN 1\n"
           "DEVICE_ONLINE LUN 1 (test-unit-ready: TEST UNIT READY is GOOD again)\n"
           "CAPACITY_CHANGED LUN 1 (read-capacity: detected by comparison: 16384 blocks of 512 bytes, 8192 of 512 "
           "before)\n");
    finish();
}

Test(look, is_not_taken_more_often_than_wished_and_never_with_0)
{
    uint64_t polls;

    start(100000);
    run_until(counts.n[COMMAND_TEST_UNIT_READY] > 50);
    cr_assert_eq(n_looks(), 1, "one behind the identification");
    finish();

    setup();
    start(0);
    fake.units[1].n_blocks = 0x4000;
    fake.units[1].write_protected = true;
    polls = counts.n[COMMAND_TEST_UNIT_READY];
    run_until(counts.n[COMMAND_TEST_UNIT_READY] > polls + 50);
    cr_assert_eq(n_looks(), 1, "the capacity is wanted for the inventory");
    cr_assert_eq(counts.n[COMMAND_MODE_SENSE_10] + counts.n[COMMAND_MODE_SENSE_6], 0);
    expect("SESSION_STARTED\n");
    finish();
}

Test(look, an_inventory_is_sent_when_something_is_different)
{
    unsigned before;

    start(10);
    look(2);
    before = n_inventory;
    look(4);
    cr_assert_eq(n_inventory, before);
    fake.units[1].n_blocks = 0x4000;
    look(2);
    cr_assert_eq(n_inventory, before + 1);
    finish();
}

Test(look, the_six_byte_mode_sense_is_taken_where_the_other_one_is_not_there)
{
    fake.units[1].no_mode_10 = true;
    start(10);
    look(3);
    cr_assert_eq(counts.n[COMMAND_MODE_SENSE_10], 1);
    cr_assert_gt(counts.n[COMMAND_MODE_SENSE_6], 2);
    expect("SESSION_STARTED\n");
    fake.units[1].write_protected = true;
    look(3);
    expect("WRITE_PROTECT_CHANGED LUN 1 (mode-sense: detected by comparison: write protected, writable before)\n");
    finish();
}

Test(look, a_unit_without_mode_sense_is_compared_in_the_rest)
{
    fake.units[1].no_mode_10 = fake.units[1].no_mode_6 = true;
    start(10);
    look(3);
    cr_assert_eq(counts.n[COMMAND_MODE_SENSE_10] + counts.n[COMMAND_MODE_SENSE_6], 2);
    cr_assert_eq(w.health, WATCH_ARMED);
    fake.units[1].n_blocks = 0x4000;
    look(3);
    expect("SESSION_STARTED\n"
           "CAPACITY_CHANGED LUN 1 (read-capacity: detected by comparison: 16384 blocks of 512 bytes, 8192 of 512 "
           "before)\n");
    finish();
}

Test(look, a_command_that_hangs_the_unit_is_not_sent_again)
{
    fake.units[1].hangs_on = 0x5a;
    start(10);
    run_until(strstr(fake.log, "DEVICE_ONLINE"));
    look(3);
    expect("SESSION_STARTED\n"
           "DEVICE_NOT_READY LUN 1 (command-timeout: no answer within 1000 ms)\n"
           "DEVICE_ONLINE LUN 1 (test-unit-ready: TEST UNIT READY is GOOD again)\n");
    cr_assert_eq(counts.n[COMMAND_MODE_SENSE_10], 1);
    cr_assert_eq(w.health, WATCH_DEGRADED);
    cr_assert_str_eq(w.reason, "LUN 1: command 5Ah is not answered");
    finish();
}
