/* SPDX-License-Identifier: Apache-2.0 */
/* What subscribers ask for, done on a target made of a script: each answer, as one line. */
#include "agent/operations.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ask.h"
#include "agent/targets.h"
#include "fake_session.h"
#include "proto/registry.h"
#include "proto/sense.h"
#include "sensebus/v1/event.pb-c.h"

static uv_loop_t loop;
static struct watch w;
static struct targets targets;
static struct adapters adapters;
static struct operations operations;
static struct command_counts counts;
static uint64_t n_reported, n_held;
static uint64_t next_id;
static unsigned n_results;
static bool stopped, late_disk;

/* ------------------------------------------------------------------------------------------------ what comes out */

static void on_record(struct watch *watch, void *data, const struct record *r)
{
    (void)watch;
    (void)data;
    n_reported++;
    if (!late_disk)
        n_held = n_reported;
    fake_log("event %s", registry_find(r->code)->name);
    if (r->place.lun >= 0)
        fake_log(" LUN %d", (int)r->place.lun);
    if (r->origin_session)
        fake_log(" by %s (%s %u/%u)", r->origin_session, r->native.name, r->native.code, r->native.subcode);
    fake_log("\n");
}

static void on_health(struct watch *watch, void *data)
{
    (void)watch;
    (void)data;
}

static void on_stopped(struct watch *watch, void *data)
{
    (void)watch;
    (void)data;
    stopped = true;
}

static const char *errno_name(Sensebus__V1__Errno error)
{
    return protobuf_c_enum_descriptor_get_value(&sensebus__v1__errno__descriptor, (int)error)->name + strlen("ERRNO_");
}

static const char *detail_name(Sensebus__V1__EinvalDetail detail)
{
    return protobuf_c_enum_descriptor_get_value(&sensebus__v1__einval_detail__descriptor, (int)detail)->name +
           strlen("EINVAL_DETAIL_");
}

static void log_value(const Sensebus__V1__OperationResult *r)
{
    switch (r->value_case) {
    case SENSEBUS__V1__OPERATION_RESULT__VALUE_IOC_INFO:
        fake_log(" %s %u,%u transfer=%u own=%s", r->ioc_info->adapter, r->ioc_info->major, r->ioc_info->minor,
                 (unsigned)r->ioc_info->maximum_transfer_bytes, r->ioc_info->own_id);
        for (size_t i = 0; i < r->ioc_info->n_capabilities; i++)
            fake_log(" %s", r->ioc_info->capabilities[i]);
        break;
    case SENSEBUS__V1__OPERATION_RESULT__VALUE_OPEN:
        fake_log(" reached %s %s serial=%s at %s/%s target %d (%s) LUN %d", r->open->reached->vendor,
                 r->open->reached->product, r->open->reached->serial, r->open->address->host, r->open->address->adapter,
                 r->open->address->target, r->open->address->target_name, (int)r->open->address->lun);
        break;
    case SENSEBUS__V1__OPERATION_RESULT__VALUE_COMMAND:
        fake_log(" status %02X data %zu", r->command->scsi_status, r->command->data.len);
        if (r->command->sense)
            fake_log(" sense %X/%02X/%02X", r->command->sense->key, r->command->sense->asc, r->command->sense->ascq);
        break;
    default: break;
    }
}

static void on_result(void *data, const Sensebus__V1__OperationResult *r)
{
    (void)data;
    n_results++;
    fake_log("%u: %s", (unsigned)r->id, errno_name(r->error));
    if (r->detail)
        fake_log(" %s", detail_name(r->detail));
    if (r->message[0])
        fake_log(": %s", r->message);
    log_value(r);
    if (r->after_source_sequence)
        fake_log(" after %u", (unsigned)r->after_source_sequence);
    fake_log("\n");
    cr_assert_leq(strlen(r->message), 256);
}

static uint64_t reported(void *data)
{
    (void)data;
    return n_reported;
}

static uint64_t held(void *data)
{
    (void)data;
    return n_held;
}

/* ------------------------------------------------------------------------------------------------ fixture */

static void setup(void)
{
    static const struct operations_ops ops = {.on_result = on_result, .reported = reported, .held = held};
    const struct operations_options options = {.host = "host-1", .adapters = &adapters, .targets = &targets};

    uv_loop_init(&loop);
    fake_reset(&loop);
    targets.watches[0] = &w;
    adapters = (struct adapters){.initiator_name = "iqn.test:i", .targets = &targets};
    operations_init(&operations, &loop, &options, &ops, NULL);
}

#define run_until(condition)                                                                                           \
    do {                                                                                                               \
        unsigned turns = 0;                                                                                            \
        while (!(condition)) {                                                                                         \
            cr_assert(++turns < 100000, "waiting for " #condition "; log:\n%s", fake.log);                             \
            uv_run(&loop, UV_RUN_ONCE);                                                                                \
        }                                                                                                              \
    } while (0)

static void start_watch(int32_t lun)
{
    static const struct watch_ops ops = {
        .on_record = on_record, .on_health = on_health, .on_inventory = on_health, .on_stopped = on_stopped};
    struct watch_options options = {
        .target_name = "iqn.test:t",
        .portal = "192.0.2.1:3260",
        .lun = lun,
        .alias = 7,
        .adapter = ADAPTER_ISCSI,
        .initiator_name = "iqn.test:i",
        .poll_ms = 5,
        .command_timeout_ms = 60000,
        .seed = 1,
        .counts = &counts,
        .session_api = &fake_api,
    };

    cr_assert_eq(watch_start(&w, &loop, &options, &ops, NULL), 0);
    targets.n_watches = 1;
}

/* Two disks, logged in and quiet. */
static void two_disks(void)
{
    fake.units[0] = (struct fake_unit){.present = true, .serial = "A"};
    fake.units[1] = (struct fake_unit){.present = true, .serial = "B"};
    start_watch(-1);
    run_until(w.health == WATCH_ARMED);
    fake.log[0] = 0;
}

static void finish(void)
{
    watch_stop(&w);
    run_until(stopped);
    operations_close(&operations);
    cr_assert_eq(operations.n, 0);
    watch_deinit(&w);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop) != 0)
        abort();
}

static void expect(const char *text)
{
    cr_assert_str_eq(fake.log, text, "want:\n%s\ngot:\n%s", text, fake.log);
    fake.log[0] = 0;
}

/* ------------------------------------------------------------------------------------------------ what goes in */

static Sensebus__V1__Operation operation(const char *session, int which)
{
    Sensebus__V1__Operation m = SENSEBUS__V1__OPERATION__INIT;

    m.id = ++next_id;
    m.session_id = (char *)session;
    m.generation = 1;
    m.deadline_ms = 60000;
    m.operation_case = (Sensebus__V1__Operation__OperationCase)which;
    return m;
}

static void begin_open(const char *session, const char *name, int number, int64_t lun, uint32_t deadline_ms)
{
    Sensebus__V1__Operation m = operation(session, SENSEBUS__V1__OPERATION__OPERATION_OPEN);
    Sensebus__V1__Start start = SENSEBUS__V1__START__INIT;
    Sensebus__V1__DeviceAddress address = SENSEBUS__V1__DEVICE_ADDRESS__INIT;

    address.adapter = (char *)ADAPTER_ISCSI;
    address.target_name = (char *)name;
    address.target = number;
    address.lun = lun;
    start.address = &address;
    m.open = &start;
    m.deadline_ms = deadline_ms;
    operations_begin(&operations, &m);
}

static void open_lun(const char *session, int64_t lun)
{
    unsigned before = n_results;

    begin_open(session, "iqn.test:t", 0, lun, 60000);
    run_until(n_results > before);
}

static void begin_tur(const char *session, uint32_t deadline_ms)
{
    Sensebus__V1__Operation m = operation(session, SENSEBUS__V1__OPERATION__OPERATION_TEST_UNIT_READY);
    Sensebus__V1__TestUnitReady tur = SENSEBUS__V1__TEST_UNIT_READY__INIT;

    m.test_unit_ready = &tur;
    m.deadline_ms = deadline_ms;
    operations_begin(&operations, &m);
}

static void begin_inquiry(const char *session, int64_t page)
{
    Sensebus__V1__Operation m = operation(session, SENSEBUS__V1__OPERATION__OPERATION_INQUIRY);
    Sensebus__V1__Inquiry inquiry = SENSEBUS__V1__INQUIRY__INIT;

    if (page >= 0) {
        inquiry._page_case = SENSEBUS__V1__INQUIRY___PAGE_PAGE;
        inquiry.page = (uint32_t)page;
    }
    m.inquiry = &inquiry;
    operations_begin(&operations, &m);
}

static void begin_halt(const char *session)
{
    Sensebus__V1__Operation m = operation(session, SENSEBUS__V1__OPERATION__OPERATION_HALT);
    Sensebus__V1__Halt halt = SENSEBUS__V1__HALT__INIT;

    m.halt = &halt;
    operations_begin(&operations, &m);
}

static void begin_reset(const char *session, bool lun_reset, uint32_t deadline_ms)
{
    Sensebus__V1__Operation m = operation(session, SENSEBUS__V1__OPERATION__OPERATION_RESET);
    Sensebus__V1__Reset reset = SENSEBUS__V1__RESET__INIT;

    reset.lun_reset = lun_reset;
    m.reset = &reset;
    m.deadline_ms = deadline_ms;
    operations_begin(&operations, &m);
}

static void begin_event(const char *session)
{
    Sensebus__V1__Operation m = operation(session, SENSEBUS__V1__OPERATION__OPERATION_EVENT);
    Sensebus__V1__RegisterEvent event = SENSEBUS__V1__REGISTER_EVENT__INIT;

    m.event = &event;
    operations_begin(&operations, &m);
}

static void begin_close(const char *session)
{
    Sensebus__V1__Operation m = operation(session, SENSEBUS__V1__OPERATION__OPERATION_CLOSE);
    Sensebus__V1__CloseOperation close = SENSEBUS__V1__CLOSE_OPERATION__INIT;

    m.close = &close;
    operations_begin(&operations, &m);
}

static void begin_ioc_info(const char *adapter)
{
    Sensebus__V1__Operation m = operation("", SENSEBUS__V1__OPERATION__OPERATION_IOC_INFO);
    Sensebus__V1__IocInfo info = SENSEBUS__V1__IOC_INFO__INIT;

    info.adapter = (char *)adapter;
    m.ioc_info = &info;
    operations_begin(&operations, &m);
}

TestSuite(operations, .init = setup);

/* ------------------------------------------------------------------------------------------------ stories */

Test(operations, iocinfo_needs_no_session) /* rule 13, rule 20 */
{
    two_disks();
    begin_ioc_info("iscsi0");
    begin_ioc_info("");
    w.units[1]->identity.maximum_transfer_blocks = 100;
    w.units[1]->identity.block_bytes = 512;
    begin_ioc_info("iscsi0");
    begin_ioc_info("tgt1");
    expect("1: OK iscsi0 1,0 transfer=1048576 own=iqn.test:i event halt reset-lun reset-target\n"
           "2: OK iscsi0 1,0 transfer=1048576 own=iqn.test:i event halt reset-lun reset-target\n"
           "3: OK iscsi0 1,0 transfer=51200 own=iqn.test:i event halt reset-lun reset-target\n"
           "4: EINVAL ADDRESS: no adapter \"tgt1\" here\n");
    finish();
}

Test(operations, open_says_who_is_reached_by_name_or_number)
{
    two_disks();
    open_lun("s1", 1);
    begin_open("s2", "", 7, 0, 60000);
    run_until(n_results == 2);
    expect("1: OK reached FAKE DISK serial=B at host-1/iscsi0 target 7 (iqn.test:t) LUN 1\n"
           "2: OK reached FAKE DISK serial=A at host-1/iscsi0 target 7 (iqn.test:t) LUN 0\n");
    cr_assert_eq(counts.asked[ASKED_INQUIRY], 2);
    finish();
}

Test(operations, open_refuses_what_is_not_there)
{
    two_disks();
    begin_open("s1", "iqn.test:other", 0, 0, 60000);
    begin_open("s1", "", 3, 0, 60000);
    begin_open("s1", "iqn.test:t", 0, -1, 60000);
    begin_open("s1", "iqn.test:t", 0, 16384, 60000);
    begin_open("", "iqn.test:t", 0, 0, 60000);
    expect("1: EINVAL ADDRESS: target iqn.test:other is not watched\n"
           "2: EINVAL ADDRESS: no target has number 3\n"
           "3: EINVAL ADDRESS: LUN -1 is not 0 to 16383\n"
           "4: EINVAL ADDRESS: LUN 16384 is not 0 to 16383\n"
           "5: EINVAL: a session id has 1 to 64 bytes\n");
    open_lun("s1", 5);
    fake.units[1].inquiry = (struct fake_sense){5, 0x25, 0};
    open_lun("s1", 1);
    fake.units[1].inquiry = (struct fake_sense){4, 0x44, 0};
    open_lun("s1", 1);
    fake.units[0].short_inquiry = true;
    open_lun("s1", 0);
    expect("6: ENODEV: INQUIRY reports no logical unit here (qualifier 3)\n"
           "7: ENODEV: logical unit not supported\n"
           "8: EIO: INQUIRY: CHECK CONDITION, sense 4/44/00\n"
           "9: EIO: INQUIRY data is malformed\n");
    fake.units[0].short_inquiry = false;
    open_lun("s1", 0);
    begin_open("s1", "iqn.test:t", 0, 0, 60000);
    expect("10: OK reached FAKE DISK serial=A at host-1/iscsi0 target 7 (iqn.test:t) LUN 0\n"
           "11: EINVAL ALREADY_STARTED: session \"s1\" is open\n");
    cr_assert_eq(operations.sessions.table.n, 1, "what failed leaves no session");
    finish();
}

Test(operations, open_without_a_session_of_the_target_is_enoconnect)
{
    fake.refuse_with = ISCSI_END_UNREACHABLE;
    start_watch(-1);
    run_until(w.state == WATCH_WAITING && fake.n_opened > 0);
    fake.log[0] = 0;
    begin_open("s1", "iqn.test:t", 0, 0, 60000);
    expect("1: ENOCONNECT: not logged in at iqn.test:t: refused by the script\n");
    finish();
}

Test(operations, open_of_a_unit_that_is_not_to_be_watched_is_enodev)
{
    fake.units[0].present = fake.units[1].present = true;
    start_watch(1);
    run_until(w.health == WATCH_ARMED);
    fake.log[0] = 0;
    begin_open("s1", "iqn.test:t", 0, 0, 60000);
    expect("1: ENODEV: of iqn.test:t only LUN 1 is watched\n");
    finish();
}

Test(operations, deadlines_are_kept_and_leave_nothing)
{
    two_disks();
    open_lun("s1", 1);
    fake.log[0] = 0;
    fake.units[0].holds = fake.units[1].holds = true;
    begin_open("s2", "iqn.test:t", 0, 0, 5);
    begin_tur("s1", 20);
    run_until(n_results == 3);
    expect("2: ETIMEDOUT: no answer of the target in 5 ms\n"
           "3: ETIMEDOUT: no answer of the target in 20 ms\n");
    cr_assert_eq(operations.sessions.table.n, 1, "the session that was not reached is not there");
    fake.units[0].holds = fake.units[1].holds = false;
    begin_tur("s1", 60000);
    run_until(n_results == 4);
    expect("4: OK status 00 data 0\n");
    finish();
}

Test(operations, commands_give_status_sense_and_data_and_attentions_become_events_once)
{
    two_disks();
    open_lun("s1", 1);
    fake.log[0] = 0;
    begin_inquiry("s1", -1);
    begin_inquiry("s1", 0x80);
    begin_inquiry("s1", 0x100);
    begin_inquiry("s1", INT32_MAX + 1ll);
    begin_inquiry("s1", UINT32_MAX); /* not -1 */
    run_until(n_results == 6);
    expect("4: EINVAL: VPD page 256 is not 0 to 255\n"
           "5: EINVAL: VPD page 2147483648 is not 0 to 255\n"
           "6: EINVAL: VPD page 4294967295 is not 0 to 255\n"
           "2: OK status 00 data 36\n"
           "3: OK status 00 data 5\n");
    uv_timer_stop(&w.timer); /* no poll comes between */
    run_until(w.n_in_flight == 0);
    fake_attention(1, 6, 0x29, 0);
    begin_tur("s1", 60000);
    run_until(n_results == 7);
    begin_tur("s1", 60000);
    run_until(n_results == 8);
    expect("event POWER_ON_OR_RESET LUN 1\n"
           "7: OK status 02 data 0 sense 6/29/00\n"
           "8: OK status 00 data 0\n");
    cr_assert_eq(counts.asked[ASKED_TEST_UNIT_READY], 2);
    finish();
}

Test(operations, a_sense_that_does_not_come_with_an_asked_command_is_fetched)
{
    two_disks();
    open_lun("s1", 1);
    uv_timer_stop(&w.timer); /* no poll comes between */
    run_until(w.n_in_flight == 0);
    fake.log[0] = 0;
    fake.units[1].kept = (struct fake_sense){6, 0x29, 0};
    begin_inquiry("s1", -1);
    run_until(strstr(fake.log, "event"));
    expect("2: OK status 02 data 0\n"
           "event POWER_ON_OR_RESET LUN 1\n");
    finish();
}

Test(operations, need_a_session_of_that_generation)
{
    Sensebus__V1__Operation m = operation("s1", SENSEBUS__V1__OPERATION__OPERATION_TEST_UNIT_READY);
    Sensebus__V1__TestUnitReady tur = SENSEBUS__V1__TEST_UNIT_READY__INIT;

    two_disks();
    open_lun("s1", 1);
    fake.log[0] = 0;
    m.test_unit_ready = &tur;
    m.generation = 2; /* rule 2 */
    operations_begin(&operations, &m);
    begin_halt("s9");
    begin_reset("s9", true, 60000);
    begin_event("s9");
    begin_close("s9");
    m = operation("s1", 99);
    operations_begin(&operations, &m);
    expect("1: EINVAL NOT_STARTED: no session \"s1\" of generation 2 is open here\n"
           "3: EINVAL NOT_STARTED: no session \"s9\" of generation 1 is open here\n"
           "4: EINVAL NOT_STARTED: no session \"s9\" of generation 1 is open here\n"
           "5: EINVAL NOT_STARTED: no session \"s9\" of generation 1 is open here\n"
           "7: ENXIO NOT_SUPPORTED: this agent (" SENSEBUS_VERSION ") does not know that\n");
    finish();
}

Test(operations, halt_ends_the_commands_of_the_session_and_aborts_the_task_set) /* rule 14 */
{
    two_disks();
    open_lun("s1", 1);
    open_lun("s2", 1);
    open_lun("s3", 0);
    fake.log[0] = 0;
    fake.units[0].holds = fake.units[1].holds = true;
    begin_tur("s1", 60000);
    begin_inquiry("s1", -1);
    begin_tur("s2", 60000);
    begin_tur("s3", 60000);
    begin_halt("s1");
    run_until(n_results == 7);
    expect("manage 2 LUN 1\n"
           "5: EIO: aborted by HALT\n"
           "4: EIO: aborted by HALT\n"
           "6: EIO: aborted by task management of another session of the device\n"
           "8: OK\n");
    fake.units[0].holds = fake.units[1].holds = false;
    run_until(n_results == 8);
    expect("7: OK status 00 data 0\n");
    begin_tur("s1", 60000);
    run_until(n_results == 9);
    expect("9: OK status 00 data 0\n");
    cr_assert_eq(counts.asked[ASKED_ABORT_TASK_SET], 1);
    finish();
}

Test(operations, a_reset_becomes_an_event_and_its_answer_waits_for_it) /* rule 15 */
{
    two_disks();
    open_lun("s1", 1);
    fake.log[0] = 0;
    n_reported = n_held = 40;
    late_disk = true;
    begin_reset("s1", true, 60000);
    run_until(n_reported == 41);
    operations_held(&operations);
    expect("manage 5 LUN 1\n"
           "event LUN_RESET LUN 1 by s1 (task-management 5/0)\n");
    n_held = 41;
    operations_held(&operations);
    expect("2: OK after 41\n");
    late_disk = false;
    begin_reset("s1", false, 60000);
    run_until(n_results == 3);
    expect("manage 6 LUN 0\n"
           "event TARGET_RESET by s1 (task-management 6/0)\n"
           "3: OK after 42\n");
    cr_assert_eq(counts.asked[ASKED_LUN_RESET], 1);
    cr_assert_eq(counts.asked[ASKED_TARGET_RESET], 1);
    finish();
}

Test(operations, a_reset_that_the_target_refuses_says_how) /* rule 12 */
{
    static const struct {
        uint8_t response;
        const char *expected;
    } table[] = {
        {1, "EIO: LOGICAL UNIT RESET: response 1, task does not exist\n"},
        {2, "ENODEV: LOGICAL UNIT RESET: response 2, LUN does not exist\n"},
        {3, "EIO: LOGICAL UNIT RESET: response 3, task still allegiant\n"},
        {4, "EIO: LOGICAL UNIT RESET: response 4, task allegiance reassignment not supported\n"},
        {5, "ENXIO NOT_SUPPORTED: LOGICAL UNIT RESET: response 5, task management function not supported by the "
            "target\n"},
        {6, "EIO: LOGICAL UNIT RESET: response 6, function authorization failed\n"},
        {77, "EIO: LOGICAL UNIT RESET: response 77\n"},
        {255, "EIO: LOGICAL UNIT RESET: response 255, function rejected\n"},
    };

    two_disks();
    open_lun("s1", 1);
    fake.log[0] = 0;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        unsigned before = n_results;

        fake.task_response = table[i].response;
        begin_reset("s1", true, 60000);
        run_until(n_results > before);
        cr_assert_str_eq(strstr(fake.log, ": ") + 2, table[i].expected);
        fake.log[0] = 0;
    }
    fake.tasks_end = ISCSI_MANAGEMENT_REJECTED;
    begin_halt("s1");
    run_until(strstr(fake.log, "EIO"));
    expect("manage 2 LUN 1\n"
           "10: EIO: the target rejected it\n");
    cr_assert_eq(operations.n, 0);
    finish();
}

Test(operations, a_reset_that_is_done_too_late_is_an_event_all_the_same)
{
    two_disks();
    open_lun("s1", 1);
    fake.log[0] = 0;
    fake.holds_tasks = true;
    begin_reset("s1", true, 5);
    run_until(n_results == 2);
    expect("manage 5 LUN 1\n"
           "2: ETIMEDOUT: no answer of the target in 5 ms\n");
    begin_close("s1");
    fake_answer_task();
    expect("event LUN_RESET LUN 1 by s1 (task-management 5/0)\n");
    cr_assert_null(operations.first);
    finish();
}

Test(operations, a_reset_whose_event_is_not_stored_in_time_is_answered_once)
{
    two_disks();
    open_lun("s1", 1);
    fake.log[0] = 0;
    n_reported = n_held = 40;
    late_disk = true;
    begin_reset("s1", true, 30);
    run_until(n_results == 2);
    expect("manage 5 LUN 1\n"
           "event LUN_RESET LUN 1 by s1 (task-management 5/0)\n"
           "2: ETIMEDOUT: the reset is done; its event could not be stored in 30 ms\n");
    cr_assert_null(operations.first);
    n_held = 41;
    operations_held(&operations);
    expect("");
    late_disk = false;
    finish();
}

Test(operations, event_is_possible_where_events_are_seen) /* rule 12 */
{
    two_disks();
    open_lun("s1", 1);
    fake.log[0] = 0;
    begin_event("s1");
    expect("2: OK\n");
    fake.refuse_with = ISCSI_END_UNREACHABLE;
    fake_end(ISCSI_END_CLOSED, "the target closed the connection");
    fake.log[0] = 0;
    begin_event("s1");
    expect("3: ENXIO NOT_SUPPORTED: no events of this device are seen now: session lost: the target closed the "
           "connection\n");
    finish();
}

Test(operations, the_end_of_the_iscsi_session_ends_what_is_asked_and_no_session) /* A20 */
{
    two_disks();
    open_lun("s1", 1);
    fake.log[0] = 0;
    fake.units[0].holds = fake.units[1].holds = true;
    fake.holds_tasks = true;
    begin_tur("s1", 60000);
    begin_reset("s1", true, 60000);
    fake_end(ISCSI_END_CLOSED, "the target closed the connection");
    expect("manage 5 LUN 1\n"
           "2: ENOCONNECT: the session with iqn.test:t ended\n"
           "3: ENOCONNECT: the session with iqn.test:t ended\n"
           "event NEXUS_LOST\n");
    fake.units[0].holds = fake.units[1].holds = fake.holds_tasks = false;
    run_until(w.health == WATCH_ARMED);
    fake.log[0] = 0;
    begin_tur("s1", 60000);
    run_until(n_results == 4);
    expect("4: OK status 00 data 0\n");
    finish();
}

Test(operations, close_and_the_end_of_the_stream_give_up_what_is_in_flight) /* rule 5, rule 6 */
{
    two_disks();
    open_lun("s1", 1);
    open_lun("s2", 0);
    fake.log[0] = 0;
    fake.units[0].holds = fake.units[1].holds = true;
    begin_tur("s1", 60000);
    begin_tur("s2", 60000);
    begin_open("s3", "iqn.test:t", 0, 0, 60000);
    begin_close("s1");
    begin_tur("s1", 60000);
    expect("7: EINVAL NOT_STARTED: no session \"s1\" of generation 1 is open here\n");
    operations_stream_ended(&operations);
    cr_assert_eq(operations.n, 0);
    cr_assert_eq(operations.sessions.table.n, 0);
    begin_tur("s2", 60000);
    expect("8: EINVAL NOT_STARTED: no session \"s2\" of generation 1 is open here\n");
    fake.units[0].holds = fake.units[1].holds = false;
    run_until(counts.n[COMMAND_TEST_UNIT_READY] > 20);
    expect("");
    finish();
}

Test(operations, what_one_unit_owes_is_bounded_and_leaves_room_for_others)
{
    two_disks();
    open_lun("s1", 1);
    open_lun("s2", 1);
    open_lun("s3", 0);
    fake.log[0] = 0;
    fake.units[1].holds = true;
    for (int i = 0; i < ASK_MAX_OF_UNIT; i++)
        begin_tur("s1", 5);
    begin_tur("s1", 60000);
    begin_tur("s2", 60000);
    expect("36: ENOMEM RESOURCE_EXHAUSTED: too much is asked of the target and not answered yet\n"
           "37: ENOMEM RESOURCE_EXHAUSTED: too much is asked of the target and not answered yet\n");
    begin_tur("s3", 60000);
    run_until(n_results == 3 + 2 + 1 + ASK_MAX_OF_UNIT);
    cr_assert(strstr(fake.log, "38: OK"));
    fake.log[0] = 0;
    begin_tur("s1", 60000);
    expect("39: ENOMEM RESOURCE_EXHAUSTED: too much is asked of the target and not answered yet\n");
    fake.units[1].holds = false;
    run_until(!w.asks);
    begin_tur("s1", 60000);
    run_until(strstr(fake.log, "40: OK"));
    finish();
}

Test(operations, functions_that_one_unit_does_not_answer_leave_room_for_others)
{
    two_disks();
    open_lun("s1", 1);
    open_lun("s2", 0);
    fake.log[0] = 0;
    fake.holds_tasks = true;
    for (int i = 0; i < ASK_MAX_FUNCTIONS_OF_UNIT; i++)
        begin_reset("s1", true, 5);
    run_until(n_results == 2 + ASK_MAX_FUNCTIONS_OF_UNIT);
    fake.log[0] = 0;
    begin_reset("s1", true, 60000);
    begin_halt("s1");
    expect("7: ENOMEM RESOURCE_EXHAUSTED: too much is asked of the target and not answered yet\n"
           "8: ENOMEM RESOURCE_EXHAUSTED: too much is asked of the target and not answered yet\n");
    begin_reset("s1", false, 60000);
    begin_reset("s2", true, 60000);
    expect("manage 6 LUN 0\n"
           "manage 5 LUN 0\n");
    fake.holds_tasks = false;
    finish();
}

Test(operations, a_halt_that_cannot_be_sent_ends_no_command) /* rule 14 */
{
    two_disks();
    open_lun("s1", 1);
    fake.holds_tasks = true;
    for (int i = 0; i < ASK_MAX_FUNCTIONS_OF_UNIT; i++)
        begin_halt("s1");
    fake.units[1].holds = true;
    begin_tur("s1", 60000);
    fake.log[0] = 0;
    begin_halt("s1");
    expect("7: ENOMEM RESOURCE_EXHAUSTED: too much is asked of the target and not answered yet\n");
    fake.units[1].holds = false;
    run_until(strstr(fake.log, "6: OK status 00 data 0"));
    fake.holds_tasks = false;
    finish();
}

Test(operations, sessions_are_bounded)
{
    char id[32];

    two_disks();
    for (int i = 0; i < DEVICE_SESSIONS_MAX; i++) {
        struct device_session *s;

        snprintf(id, sizeof id, "s%d", i);
        cr_assert_eq(device_sessions_add(&operations.sessions, id, 1, &w, 0, &s), 0);
    }
    begin_open("one-more", "iqn.test:t", 0, 0, 60000);
    expect("1: ENOMEM RESOURCE_EXHAUSTED: the agent has 4096 sessions\n");
    finish();
}

Test(operations, operations_are_bounded)
{
    two_disks();
    open_lun("s1", 1);
    fake.log[0] = 0;
    operations.n = OPERATIONS_MAX;
    begin_tur("s1", 60000);
    expect("2: ENOMEM RESOURCE_EXHAUSTED: the agent has 1024 operations in flight\n");
    operations.n = 0;
    finish();
}

Test(operations, in_diagnosis_only_iocinfo_is_answered) /* A23 */
{
    two_disks();
    adapters.diagnostics = true;
    begin_ioc_info("iscsi0");
    begin_open("s1", "iqn.test:t", 0, 0, 60000);
    begin_halt("s1");
    begin_tur("s1", 60000);
    begin_reset("s1", true, 60000);
    expect("1: OK iscsi0 1,0 transfer=1048576 own=iqn.test:i diagnostics\n"
           "2: EACCES: adapter iscsi0 is open for diagnostics\n"
           "3: EACCES: adapter iscsi0 is open for diagnostics\n"
           "4: EACCES: adapter iscsi0 is open for diagnostics\n"
           "5: EACCES: adapter iscsi0 is open for diagnostics\n");
    finish();
}

Test(operations, target_mode_that_is_off_is_enxio)
{
    Sensebus__V1__Operation m = operation("s1", SENSEBUS__V1__OPERATION__OPERATION_OPEN_TARGET);
    Sensebus__V1__StartTarget start = SENSEBUS__V1__START_TARGET__INIT;

    two_disks();
    m.open_target = &start;
    operations_begin(&operations, &m);
    expect("1: ENXIO NOT_SUPPORTED: this agent has no target mode\n");
    finish();
}
