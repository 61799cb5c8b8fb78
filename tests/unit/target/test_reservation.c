/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "tests/target/scsi/reservation.h"

static struct reservation r;
static struct reservation_notices notices;

static enum scsi_status act(uint32_t port, uint8_t action, uint8_t type, uint64_t key, uint64_t action_key)
{
    const struct reservation_request request = {.action = action, .type = type, .key = key, .action_key = action_key};
    struct scsi_reply reply = {0};

    reservation_out(&r, port, &request, &reply, &notices);
    return reply.status;
}

static void three_ports(void)
{
    r = (struct reservation){0};
    for (uint32_t port = 1; port <= 3; port++)
        act(port, PROUT_REGISTER, 0, 0, port * 10);
}

TestSuite(reservation, .init = three_ports);

static void expect_notices(size_t n, uint16_t asc)
{
    cr_assert_eq(notices.n, n);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(notices.items[i].asc, asc);
}

Test(reservation, needs_the_registered_key)
{
    cr_assert_eq(act(1, PROUT_RESERVE, RESERVE_WRITE_EXCLUSIVE, 11, 0), SCSI_RESERVATION_CONFLICT);
    cr_assert_eq(act(4, PROUT_RESERVE, RESERVE_WRITE_EXCLUSIVE, 0, 0), SCSI_RESERVATION_CONFLICT);
    cr_assert_eq(act(1, PROUT_REGISTER, 0, 11, 12), SCSI_RESERVATION_CONFLICT);
    cr_assert_eq(act(1, PROUT_RESERVE, 2, 10, 0), SCSI_CHECK_CONDITION, "type 2 is none");
    cr_assert_eq(r.type, RESERVE_NONE);
}

Test(reservation, says_who_may_do_what)
{
    static const struct {
        enum reservation_type type;
        bool registered_reads, registered_writes, others_read;
    } rows[] = {
        {RESERVE_WRITE_EXCLUSIVE, true, false, true},
        {RESERVE_EXCLUSIVE_ACCESS, false, false, false},
        {RESERVE_WRITE_EXCLUSIVE_REGISTRANTS, true, true, true},
        {RESERVE_EXCLUSIVE_ACCESS_REGISTRANTS, true, true, false},
        {RESERVE_WRITE_EXCLUSIVE_ALL, true, true, true},
        {RESERVE_EXCLUSIVE_ACCESS_ALL, true, true, false},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        three_ports();
        cr_assert_eq(act(1, PROUT_RESERVE, (uint8_t)rows[i].type, 10, 0), SCSI_GOOD);
        cr_assert(reservation_allows(&r, 1, true));
        cr_assert_eq(reservation_allows(&r, 2, false), rows[i].registered_reads);
        cr_assert_eq(reservation_allows(&r, 2, true), rows[i].registered_writes);
        cr_assert_eq(reservation_allows(&r, 9, false), rows[i].others_read);
        cr_assert_not(reservation_allows(&r, 9, true));
    }
}

Test(reservation, release_is_told_to_registrants)
{
    act(1, PROUT_RESERVE, RESERVE_WRITE_EXCLUSIVE_REGISTRANTS, 10, 0);
    cr_assert_eq(act(2, PROUT_RELEASE, RESERVE_WRITE_EXCLUSIVE_REGISTRANTS, 20, 0), SCSI_GOOD, "not the holder");
    cr_assert_eq(r.type, RESERVE_WRITE_EXCLUSIVE_REGISTRANTS);
    cr_assert_eq(act(1, PROUT_RELEASE, RESERVE_WRITE_EXCLUSIVE, 10, 0), SCSI_CHECK_CONDITION, "another type");
    cr_assert_eq(act(1, PROUT_RELEASE, RESERVE_WRITE_EXCLUSIVE_REGISTRANTS, 10, 0), SCSI_GOOD);
    expect_notices(2, ASC_RESERVATIONS_RELEASED);
    cr_assert_eq(r.type, RESERVE_NONE);
}

Test(reservation, clear_is_told_as_preempted_reservations)
{
    act(1, PROUT_RESERVE, RESERVE_EXCLUSIVE_ACCESS, 10, 0);
    cr_assert_eq(act(3, PROUT_CLEAR, 0, 30, 0), SCSI_GOOD);
    expect_notices(2, ASC_RESERVATIONS_PREEMPTED);
    cr_assert_eq(r.n, 0);
}

Test(reservation, preempt_takes_over_from_the_holder)
{
    act(1, PROUT_RESERVE, RESERVE_EXCLUSIVE_ACCESS, 10, 0);
    cr_assert_eq(act(2, PROUT_PREEMPT, RESERVE_EXCLUSIVE_ACCESS, 20, 10), SCSI_GOOD);
    expect_notices(1, ASC_REGISTRATIONS_PREEMPTED);
    cr_assert(reservation_is_holder(&r, 2));
    cr_assert_not(reservation_is_registered(&r, 1));
    cr_assert_eq(act(2, PROUT_PREEMPT, RESERVE_EXCLUSIVE_ACCESS, 20, 99), SCSI_RESERVATION_CONFLICT, "no such key");
}

Test(reservation, a_holder_that_unregisters_holds_no_more)
{
    act(1, PROUT_RESERVE, RESERVE_WRITE_EXCLUSIVE_REGISTRANTS, 10, 0);
    cr_assert_eq(act(1, PROUT_REGISTER, 0, 10, 0), SCSI_GOOD);
    expect_notices(2, ASC_RESERVATIONS_RELEASED);
    cr_assert_eq(r.type, RESERVE_NONE);
}

Test(reservation, registrations_are_bounded)
{
    for (uint32_t port = 4; port <= RESERVATION_MAX; port++)
        cr_assert_eq(act(port, PROUT_REGISTER_AND_IGNORE, 0, 0, port), SCSI_GOOD);
    cr_assert_eq(act(1000, PROUT_REGISTER_AND_IGNORE, 0, 0, 1), SCSI_CHECK_CONDITION);
}
