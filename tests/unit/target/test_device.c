/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>
#include <uv.h>

#include "tests/target/scsi/device.h"

static struct device d;
static struct port *a, *b;
static struct scsi_reply reply;

static void run_with(struct port *port, uint16_t number, const uint8_t *cdb, size_t len, const uint8_t *data, size_t n)
{
    struct scsi_request request = {.data = data, .data_len = n};
    uint8_t lun[8];

    reply_deinit(&reply);
    memcpy(request.cdb, cdb, len);
    device_put_lun(lun, number);
    device_execute(&d, port, lun, &request, &reply);
}

#define run(port, number, ...)                                                                                         \
    run_with(port, number, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), NULL, 0)
#define TUR       0x00, 0, 0, 0, 0, 0
#define INQUIRY   0x12, 0, 0, 0, 96, 0
#define REQ_SENSE 0x03, 0, 0, 0, 252, 0
#define LUNS      0xa0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0

/* ASC and ASCQ of the sense of the last command, 0 when it was GOOD. */
static unsigned asc(void)
{
    return reply.status == SCSI_CHECK_CONDITION ? get_be(reply.sense + 12, 2) : 0;
}

/* TEST UNIT READY until it is GOOD. */
static void drain(struct port *port, uint16_t number)
{
    do
        run(port, number, TUR);
    while (reply.status == SCSI_CHECK_CONDITION && (reply.sense[2] & 15) == KEY_UNIT_ATTENTION);
}

static void start(void)
{
    const uint8_t isid_a[6] = {1}, isid_b[6] = {2};

    device_init(&d, "iqn.test", 1 << 20);
    device_add_unit(&d, 0, 1000, 512);
    device_add_unit(&d, 5, 1000, 4096);
    device_attach(&d, "iqn.a", isid_a, &a);
    device_attach(&d, "iqn.b", isid_b, &b);
    run(a, 0, TUR);
}

static void drained(void)
{
    start();
    drain(a, 0);
    drain(a, 5);
    drain(b, 0);
    drain(b, 5);
}

static void stop(void)
{
    reply_deinit(&reply);
    device_deinit(&d);
}

TestSuite(device, .init = drained, .fini = stop);

Test(device, tells_power_on_to_a_new_port_and_nexus_loss_to_a_known_one)
{
    const uint8_t isid[6] = {1};

    stop();
    start();
    cr_assert_eq(asc(), ASC_POWER_ON_OR_RESET);
    run(a, 0, TUR);
    cr_assert_eq(reply.status, SCSI_GOOD);
    device_detach(&d, a);
    cr_assert_eq(device_attach(&d, "iqn.a", isid, &a), 0);
    run(a, 0, TUR);
    cr_assert_eq(asc(), ASC_NEXUS_LOSS);
    run(a, 5, TUR);
    cr_assert_eq(asc(), ASC_POWER_ON_OR_RESET, "not told yet, and it says more");
}

Test(device, inquiry_and_report_luns_leave_attentions_alone)
{
    device_resize(&d, 0, 2000);
    run(a, 0, INQUIRY);
    cr_assert_eq(reply.status, SCSI_GOOD);
    run(a, 0, LUNS);
    cr_assert_eq(reply.status, SCSI_GOOD);
    run(a, 0, TUR);
    cr_assert_eq(asc(), ASC_CAPACITY_CHANGED);
    run(b, 0, TUR);
    cr_assert_eq(asc(), ASC_CAPACITY_CHANGED, "each port by itself");
}

Test(device, report_luns_clears_changed_luns_on_all_units)
{
    device_add_unit(&d, 300, 10, 512);
    run(a, 5, TUR);
    cr_assert_eq(asc(), ASC_LUNS_CHANGED);
    run(a, 0, 0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0);
    cr_assert_eq(reply.data_len, 8 + 3 * 8);
    cr_assert_eq(get_be(reply.data + 8 + 16, 2), 0x4000 + 300);
    run(a, 0, TUR);
    cr_assert_eq(reply.status, SCSI_GOOD);
    run(b, 0, TUR);
    cr_assert_eq(asc(), ASC_LUNS_CHANGED);
}

Test(device, request_sense_gets_an_attention_as_data_and_clears_it)
{
    device_resize(&d, 0, 2000);
    run(a, 0, REQ_SENSE);
    cr_assert_eq(reply.status, SCSI_GOOD);
    cr_assert_eq(get_be(reply.data + 12, 2), ASC_CAPACITY_CHANGED);
    run(a, 0, TUR);
    cr_assert_eq(reply.status, SCSI_GOOD);
    run(a, 0, REQ_SENSE);
    cr_assert_eq(get_be(reply.data + 12, 2), ASC_NONE);
}

Test(device, scripted_sense_is_told_as_it_is)
{
    const uint8_t sense[] = {0x7f, 1, 2};

    cr_assert_eq(device_script(&d, 0, sense, sizeof(sense)), 0);
    cr_assert_eq(device_script(&d, 0, sense, 0), 0);
    run(a, 0, TUR);
    cr_assert_eq(reply.sense_len, 3);
    cr_assert_arr_eq(reply.sense, sense, 3);
    run(a, 0, TUR);
    cr_assert_eq(reply.status, SCSI_CHECK_CONDITION);
    cr_assert_eq(reply.sense_len, 0);
    run(a, 0, TUR);
    cr_assert_eq(reply.status, SCSI_GOOD);
}

Test(device, an_absent_unit_says_so)
{
    run(a, 7, TUR);
    cr_assert_eq(asc(), ASC_LUN_NOT_SUPPORTED);
    run(a, 7, INQUIRY);
    cr_assert_eq(reply.data[0], 0x7f);
    device_remove_unit(&d, 0);
    run(a, 0, LUNS);
    cr_assert_eq(reply.status, SCSI_GOOD, "unit 0 reports the others even when it is not there");
}

Test(device, blocks_are_read_as_written)
{
    uint8_t block[1024];

    memset(block, 0xa5, sizeof(block));
    run_with(a, 0, (const uint8_t[]){0x2a, 0, 0, 0, 0, 9, 0, 0, 2, 0}, 10, block, sizeof(block));
    cr_assert_eq(reply.status, SCSI_GOOD);
    run(a, 0, 0x88, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0);
    cr_assert_eq(reply.data_len, 1024);
    cr_assert_arr_eq(reply.data, block, 1024);
    run_with(a, 0, (const uint8_t[]){0xaa, 0, 0, 0, 0, 10, 0, 0, 0, 1, 0, 0}, 12, block, 512);
    cr_assert_eq(reply.status, SCSI_GOOD);
    run(a, 0, 0xa8, 0, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0);
    cr_assert_eq(reply.data_len, 1024);
    cr_assert_arr_eq(reply.data, block, 1024);
    run(a, 0, 0x28, 0, 0, 0, 0x03, 0xe7, 0, 0, 2, 0);
    cr_assert_eq(asc(), ASC_LBA_OUT_OF_RANGE);
    run(a, 0, 0x28, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0);
    cr_assert_eq(asc(), ASC_LBA_OUT_OF_RANGE);
    device_protect(&d, 0, true);
    drain(a, 0);
    run_with(a, 0, (const uint8_t[]){0x0a, 0, 0, 0, 1, 0}, 6, block, 512);
    cr_assert_eq(asc(), ASC_WRITE_PROTECTED);
}

/* Writes the eight blocks from `lba` on, which are one page of memory. */
static void write_page(struct port *port, uint8_t lba)
{
    static const uint8_t page[4096] = {1};

    run_with(port, 0, (const uint8_t[]){0x2a, 0, 0, 0, 0, lba, 0, 0, 8, 0}, 10, page, sizeof(page));
}

static void unmap(struct port *port, uint8_t cdb_1, uint8_t len, const uint8_t *list, size_t n)
{
    run_with(port, 0, (const uint8_t[]){0x42, cdb_1, 0, 0, 0, 0, 0, 0, len, 0}, 10, list, n);
}

Test(device, a_thin_unit_tells_each_time_that_writes_reach_its_threshold)
{
    const uint8_t all[24] = {0, 22, 0, 16, [18] = 3, 0xe8};

    device_set_threshold(&d, 0, 16);
    write_page(a, 0);
    run(b, 0, TUR);
    cr_assert_eq(asc(), 0);
    write_page(a, 8);
    cr_assert_eq(reply.status, SCSI_GOOD, "the write itself succeeds");
    write_page(a, 16);
    cr_assert_eq(asc(), ASC_THIN_THRESHOLD);
    run(b, 0, TUR);
    cr_assert_eq(asc(), ASC_THIN_THRESHOLD);
    write_page(a, 16);
    run(a, 0, TUR);
    cr_assert_eq(asc(), 0, "once");
    unmap(a, 0, sizeof(all), all, sizeof(all));
    cr_assert_eq(reply.status, SCSI_GOOD);
    write_page(a, 0);
    write_page(a, 8);
    run(b, 0, TUR);
    cr_assert_eq(asc(), ASC_THIN_THRESHOLD, "again");
    device_set_threshold(&d, 0, 8);
    run(a, 0, TUR);
    cr_assert_eq(asc(), ASC_THIN_THRESHOLD, "it was reached already");
}

Test(device, unmapped_blocks_are_zero_and_bad_lists_change_nothing)
{
    const uint8_t second[24] = {0, 22, 0, 16, [15] = 8, [19] = 8}, zero[4096] = {0};
    uint8_t list[24];

    write_page(a, 0);
    write_page(a, 8);
    memcpy(list, second, sizeof(list));
    list[14] = 4; /* block 1032 of 1000 */
    unmap(a, 0, 24, list, 24);
    cr_assert_eq(asc(), ASC_LBA_OUT_OF_RANGE);
    unmap(a, 0, 24, second, 20);
    cr_assert_eq(asc(), ASC_PARAMETER_LIST_LENGTH, "less came than was announced");
    unmap(a, 0, 7, second, 7);
    cr_assert_eq(asc(), ASC_PARAMETER_LIST_LENGTH);
    memcpy(list, second, sizeof(list));
    list[3] = 32; /* two descriptors, of which one is there */
    unmap(a, 0, 24, list, 24);
    cr_assert_eq(asc(), ASC_PARAMETER_LIST_LENGTH);
    unmap(a, 1, 24, second, 24);
    cr_assert_eq(asc(), ASC_INVALID_FIELD_IN_CDB, "no anchors");
    unmap(a, 0, 0, NULL, 0);
    cr_assert_eq(reply.status, SCSI_GOOD);
    cr_assert_eq(memory_used_bytes(&device_unit(&d, 0)->memory), 8192);
    unmap(a, 0, 24, second, 24);
    cr_assert_eq(reply.status, SCSI_GOOD);
    cr_assert_eq(memory_used_bytes(&device_unit(&d, 0)->memory), 4096);
    run(a, 0, 0x28, 0, 0, 0, 0, 8, 0, 0, 8, 0);
    cr_assert_arr_eq(reply.data, zero, sizeof(zero));
    device_protect(&d, 0, true);
    drain(a, 0);
    unmap(a, 0, 24, second, 24);
    cr_assert_eq(asc(), ASC_WRITE_PROTECTED);
}

Test(device, mode_select_is_told_to_the_other_ports)
{
    const uint8_t list[] = {0, 0, 0, 0, 0x0a, 0x0a, 0x02, 0, 0x08, 0, 0, 0, 0, 0, 0, 0};
    const uint8_t cdb[] = {0x15, 0x10, 0, 0, sizeof(list), 0};

    run_with(a, 0, cdb, 6, list, sizeof(list));
    cr_assert_eq(reply.status, SCSI_GOOD);
    run(a, 0, TUR);
    cr_assert_eq(reply.status, SCSI_GOOD);
    run(b, 0, TUR);
    cr_assert_eq(asc(), ASC_MODE_CHANGED);
    run(a, 0, 0x1a, 0, 0x0a, 0, 255, 0);
    cr_assert_eq(reply.data[2] & 0x80, 0x80, "SWP protects");
    run_with(a, 0, cdb, 6, list, 10);
    cr_assert_eq(asc(), ASC_PARAMETER_LIST_LENGTH);
}

Test(device, another_initiator_preempts)
{
    const uint8_t enroll[24] = {[15] = 7}, hold[24] = {[7] = 7};

    cr_assert_eq(device_preempt(&d, 0), UV_EALREADY);
    run_with(a, 0, (const uint8_t[]){0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0}, 10, enroll, 24);
    run_with(a, 0, (const uint8_t[]){0x5f, 1, 3, 0, 0, 0, 0, 0, 24, 0}, 10, hold, 24);
    cr_assert_eq(reply.status, SCSI_GOOD);
    run(b, 0, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
    cr_assert_eq(reply.status, SCSI_RESERVATION_CONFLICT);
    cr_assert_eq(device_preempt(&d, 0), 0);
    run(a, 0, TUR);
    cr_assert_eq(asc(), ASC_REGISTRATIONS_PREEMPTED);
    run(a, 0, 0x5e, 3, 0, 0, 0, 0, 0, 1, 0, 0);
    cr_assert_eq(reply.status, SCSI_GOOD, "full status of a port that is nobody's");
    run(a, 0, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
    cr_assert_eq(reply.status, SCSI_RESERVATION_CONFLICT);
}

static uint32_t aborted_port;
static uint16_t aborted_number;

static void on_abort(void *data, uint32_t port, uint16_t number)
{
    (void)data;
    aborted_port = port;
    aborted_number = number;
}

Test(device, preempt_and_abort_ends_the_commands_of_who_was_preempted)
{
    const uint8_t enroll_a[24] = {[15] = 7}, enroll_b[24] = {[15] = 8}, preempt[24] = {[7] = 8, [15] = 7};

    d.on_abort = on_abort;
    run_with(a, 5, (const uint8_t[]){0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0}, 10, enroll_a, 24);
    run_with(b, 5, (const uint8_t[]){0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0}, 10, enroll_b, 24);
    run_with(b, 5, (const uint8_t[]){0x5f, 5, 3, 0, 0, 0, 0, 0, 24, 0}, 10, preempt, 24);
    cr_assert_eq(reply.status, SCSI_GOOD);
    cr_assert(aborted_port == a->id && aborted_number == 5);
    run(a, 5, TUR);
    cr_assert_eq(asc(), ASC_REGISTRATIONS_PREEMPTED);
}

Test(device, access_states_decide_what_is_ready)
{
    device_set_alua(&d, 5, ALUA_STANDBY);
    run(a, 5, TUR);
    cr_assert_eq(asc(), ASC_ALUA_CHANGED);
    run(a, 5, TUR);
    cr_assert_eq(asc(), ASC_STANDBY);
    run(a, 5, 0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0);
    cr_assert_eq(reply.data[4] & 0x0f, ALUA_STANDBY);
    run(a, 0, TUR);
    cr_assert_eq(reply.status, SCSI_GOOD);
}

Test(device, health_is_told_logged_and_asked)
{
    device_set_health(&d, 0, 0x5d10);
    run(a, 0, TUR);
    cr_assert_eq(asc(), 0x5d10);
    run(a, 0, 0x4d, 0, 0x6f, 0, 0, 0, 0, 0, 255, 0);
    cr_assert_eq(get_be(reply.data + 8, 2), 0x5d10);
    run(a, 0, REQ_SENSE);
    cr_assert_eq(get_be(reply.data + 12, 2), 0x5d10);
}

Test(device, power_cycle_forgets_ports_and_reservations)
{
    const uint8_t isid[6] = {1};

    device_detach(&d, a);
    device_detach(&d, b);
    device_power_cycle(&d);
    cr_assert_eq(device_attach(&d, "iqn.a", isid, &a), 0);
    run(a, 0, TUR);
    cr_assert_eq(asc(), ASC_POWER_ON);
}

Test(device, ports_are_bounded_and_the_oldest_is_forgotten)
{
    uint8_t isid[6] = {9};
    struct port *port;

    for (size_t i = d.n_ports; i < DEVICE_MAX_PORTS; i++) {
        isid[5] = (uint8_t)i;
        cr_assert_eq(device_attach(&d, "iqn.c", isid, &port), 0);
    }
    isid[5] = 200;
    cr_assert_eq(device_attach(&d, "iqn.c", isid, &port), UV_ENOSPC);
    device_detach(&d, b);
    cr_assert_eq(device_attach(&d, "iqn.c", isid, &port), 0);
    cr_assert_eq(d.n_ports, DEVICE_MAX_PORTS);
}

Test(device, luns_in_other_forms_are_none)
{
    static const struct {
        uint8_t lun[8];
        int number;
    } rows[] = {{{0, 5}, 5}, {{0x41, 0x2c}, 300}, {{1, 5}, -1}, {{0x80, 5}, -1}, {{0xc1, 1}, -1}, {{0, 5, 0, 1}, -1}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_assert_eq(device_lun_number(rows[i].lun), rows[i].number, "row %zu", i);
}
