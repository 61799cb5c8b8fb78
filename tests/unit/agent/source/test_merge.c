/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/merge.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sensebus/v1/code.pb-c.h"
#include "sensebus/v1/event.pb-c.h"
#include "tests/lib/failing_alloc.h"

#define CODE(name) SENSEBUS__V1__CODE__##name
#define MS         1000000ull

enum { TRACE = SENSEBUS__V1__SOURCE__SOURCE_TRACE, UEVENT = SENSEBUS__V1__SOURCE__SOURCE_UEVENT };
enum { NETLINK = SENSEBUS__V1__SOURCE__SOURCE_ISCSI_NETLINK, SYSFS = SENSEBUS__V1__SOURCE__SOURCE_SYSFS };
enum { FC = SENSEBUS__V1__SOURCE__SOURCE_FC_NETLINK };

static const struct observation_place disk = {3, 0, 0, 4}, other = {3, 0, 0, 5}, adapter = {3, -1, -1, -1};
static const uint8_t sense_capacity[18] = {0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x2a, 9};

static struct observation seen(uint32_t source, uint32_t code, struct observation_place place, const char *name)
{
    return (struct observation){
        .source = source, .code = code, .place = place, .wall_ns = 1000, .boot_ns = 100, .native = {.name = name}};
}

static struct observation attention(uint32_t code)
{
    return seen(UEVENT, code, disk, "SDEV_UA");
}

static struct observation sensed(uint32_t code)
{
    struct observation o = seen(TRACE, code, disk, "unit-attention");

    o.sense = sense_capacity;
    o.sense_len = sizeof sense_capacity;
    return o;
}

static struct merge *with(size_t max_open, int n_armed, ...)
{
    struct merge *m = merge_new(&(struct merge_options){.max_open = max_open});
    va_list sources;

    cr_assert_not_null(m);
    va_start(sources, n_armed);
    while (n_armed-- > 0)
        merge_set_armed(m, va_arg(sources, uint32_t), true);
    va_end(sources);
    return m;
}

static void push(struct merge *m, struct observation o, uint64_t ms)
{
    cr_assert_eq(merge_push(m, &o, ms * MS), 0);
}

/* What leaves at `ms`, in one line each: "rule code kind lead-source:name +evidence… (detail)". */
static const char *leaves(struct merge *m, uint64_t ms)
{
    static char text[4096];
    struct merged *e;
    size_t at = 0;

    text[0] = 0;
    while ((e = merge_next(m, ms * MS))) {
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s %u %u:%s", at ? "|" : "", e->rule, e->lead.code,
                               e->lead.source, e->lead.native.name);
        for (size_t i = 0; i < e->n_evidence; i++)
            at += (size_t)snprintf(text + at, sizeof text - at, "+%s", e->evidence[i].name);
        if (e->kind != MERGE_EVENT)
            at += (size_t)snprintf(text + at, sizeof text - at, " kind %d", e->kind);
        if (e->lead.native.detail)
            at += (size_t)snprintf(text + at, sizeof text - at, " (%s)", e->lead.native.detail);
        merged_free(e);
    }
    return text;
}

Test(merge, sense_and_the_kernels_announcement_of_one_disk_are_one_event_that_the_sense_leads)
{
    struct merge *m = with(0, 2, TRACE, UEVENT);
    struct observation trace = sensed(CODE(MODE_PARAMETERS_CHANGED));
    struct merged *e;

    trace.wall_ns = 900, trace.boot_ns = 90;
    push(m, attention(CODE(MODE_PARAMETERS_CHANGED)), 0);
    cr_assert_str_eq(leaves(m, 5), "", "the sense is waited for");
    push(m, trace, 6);
    e = merge_next(m, 6 * MS);
    cr_assert_not_null(e, "all have spoken: nothing to wait for");
    cr_assert_eq(e->lead.source, TRACE);
    cr_assert_eq(e->lead.sense_len, sizeof sense_capacity);
    cr_assert_eq(e->n_evidence, 1);
    cr_assert_str_eq(e->evidence[0].name, "SDEV_UA");
    cr_assert_eq(e->lead.wall_ns, 900);
    cr_assert_eq(e->n_more, 0);
    merged_free(e);
    cr_assert_eq(merge_deadline(m), UINT64_MAX);
    merge_free(m);
}

Test(merge, an_announcement_without_a_traced_command_says_that_the_error_handler_consumed_it)
{
    struct merge *m = with(0, 2, TRACE, UEVENT);

    push(m, attention(CODE(ALUA_STATE_CHANGED)), 0);
    cr_assert_eq(merge_deadline(m), 1000 * MS);
    cr_assert_str_eq(leaves(m, 999), "");
    cr_assert_str_eq(leaves(m, 1000), "unit-attention 627 2:SDEV_UA (no traced command returned it: consumed by the "
                                      "error handler)");
    merge_free(m);
}

Test(merge, a_source_that_is_not_armed_delays_nothing_and_proves_nothing)
{
    struct merge *m = with(0, 1, UEVENT);

    push(m, attention(CODE(ALUA_STATE_CHANGED)), 0);
    cr_assert_str_eq(leaves(m, 0), "unit-attention 627 2:SDEV_UA");
    merge_free(m);
}

Test(merge, a_source_that_is_lost_releases_what_waits_for_it)
{
    struct merge *m = with(0, 2, TRACE, UEVENT);

    push(m, attention(CODE(ALUA_STATE_CHANGED)), 0);
    cr_assert_str_eq(leaves(m, 1), "");
    merge_set_armed(m, TRACE, false);
    cr_assert_eq(merge_deadline(m), 0);
    cr_assert_str_eq(leaves(m, 1), "unit-attention 627 2:SDEV_UA");
    merge_free(m);
}

Test(merge, any_reset_sense_is_what_the_kernel_announces_as_power_on)
{
    struct merge *m = with(0, 2, TRACE, UEVENT);

    push(m, sensed(CODE(LUN_RESET)), 0);
    push(m, attention(CODE(POWER_ON_OR_RESET)), 20);
    cr_assert_str_eq(leaves(m, 20), "reset 203 3:unit-attention+SDEV_UA");
    merge_free(m);
}

Test(merge, a_resize_is_one_event_of_three_hooks)
{
    struct merge *m = with(0, 2, TRACE, UEVENT);

    push(m, sensed(CODE(CAPACITY_CHANGED)), 0);
    push(m, attention(CODE(CAPACITY_CHANGED)), 10);
    cr_assert_str_eq(leaves(m, 10), "", "the disk may say its new size");
    push(m, seen(UEVENT, CODE(CAPACITY_CHANGED), disk, "RESIZE"), 30);
    cr_assert_str_eq(leaves(m, 30), "capacity 617 3:unit-attention+SDEV_UA+RESIZE");
    merge_free(m);
}

Test(merge, a_resize_long_after_the_sense_is_an_event_of_its_own)
{
    struct merge *m = with(0, 2, TRACE, UEVENT);

    push(m, sensed(CODE(CAPACITY_CHANGED)), 0);
    push(m, attention(CODE(CAPACITY_CHANGED)), 10);
    push(m, seen(UEVENT, CODE(CAPACITY_CHANGED), disk, "RESIZE"), 1000);
    cr_assert_str_eq(leaves(m, 2000), "capacity 617 3:unit-attention+SDEV_UA|capacity 617 2:RESIZE");
    merge_free(m);
}

Test(merge, two_senses_are_two_conditions)
{
    struct merge *m = with(0, 2, TRACE, UEVENT);

    push(m, sensed(CODE(MODE_PARAMETERS_CHANGED)), 0);
    push(m, sensed(CODE(MODE_PARAMETERS_CHANGED)), 1);
    push(m, attention(CODE(MODE_PARAMETERS_CHANGED)), 2);
    cr_assert_str_eq(leaves(m, 2), "unit-attention 619 3:unit-attention+SDEV_UA");
    cr_assert_str_eq(leaves(m, 1001), "unit-attention 619 3:unit-attention");
    merge_free(m);
}

Test(merge, different_codes_of_one_disk_do_not_meet)
{
    struct merge *m = with(0, 2, TRACE, UEVENT);

    push(m, sensed(CODE(MODE_PARAMETERS_CHANGED)), 0);
    push(m, attention(CODE(INQUIRY_DATA_CHANGED)), 1);
    cr_assert_str_eq(leaves(m, 2), "");
    cr_assert_eq(merge_count(m).open, 2);
    merge_free(m);
}

Test(merge, equal_codes_of_two_disks_do_not_meet)
{
    struct merge *m = with(0, 2, TRACE, UEVENT);
    struct observation o = attention(CODE(MODE_PARAMETERS_CHANGED));

    o.place = other;
    push(m, sensed(CODE(MODE_PARAMETERS_CHANGED)), 0);
    push(m, o, 1);
    cr_assert_str_eq(leaves(m, 2), "");
    cr_assert_eq(merge_count(m).open, 2);
    merge_free(m);
}

Test(merge, two_sessions_of_one_adapter_do_not_meet)
{
    struct merge *m = with(0, 2, NETLINK, UEVENT);
    struct observation lost = seen(NETLINK, CODE(NEXUS_LOST), adapter, "CONN_ERROR");
    struct observation gone = seen(UEVENT, CODE(SESSION_STOPPED), adapter, "uevent");

    lost.object = "session1";
    gone.object = "session2";
    push(m, lost, 0);
    push(m, gone, 1);
    cr_assert_eq(merge_count(m).open, 2);
    gone.object = "session1";
    push(m, gone, 2);
    cr_assert_str_eq(leaves(m, 2), "session-lost 506 4:CONN_ERROR+uevent");
    merge_free(m);
}

Test(merge, an_orderly_end_is_told_by_netlink_and_uevent_at_once)
{
    struct merge *m = with(0, 2, NETLINK, UEVENT);

    push(m, seen(UEVENT, CODE(SESSION_STOPPED), adapter, "uevent"), 0);
    push(m, seen(NETLINK, CODE(SESSION_STOPPED), adapter, "UNBIND_SESSION"), 1);
    push(m, seen(NETLINK, 0, adapter, "DESTROY_SESSION"), 1);
    cr_assert_str_eq(leaves(m, 1), "session-stopped 505 4:UNBIND_SESSION+uevent+DESTROY_SESSION");
    merge_free(m);
}

Test(merge, a_session_object_whose_login_fails_is_no_session)
{
    struct merge *m = with(0, 2, NETLINK, UEVENT);

    push(m, seen(UEVENT, CODE(SESSION_STARTED), adapter, "uevent"), 0);
    push(m, seen(NETLINK, 0, adapter, "CREATE_SESSION"), 1);
    cr_assert_str_eq(leaves(m, 1000), "session-started 504 2:uevent+CREATE_SESSION kind 2");
    push(m, seen(UEVENT, CODE(SESSION_STOPPED), adapter, "uevent"), 2000);
    push(m, seen(NETLINK, 0, adapter, "DESTROY_SESSION"), 2001);
    cr_assert_str_eq(leaves(m, 3000), "session-stopped 505 2:uevent+DESTROY_SESSION kind 2");
    merge_free(m);
}

Test(merge, without_the_transports_word_the_session_object_is_the_session)
{
    struct merge *m = with(0, 1, UEVENT);

    push(m, seen(UEVENT, CODE(SESSION_STARTED), adapter, "uevent"), 0);
    cr_assert_str_eq(leaves(m, 0), "session-started 504 2:uevent");
    merge_free(m);
}

Test(merge, a_remote_port_and_the_target_behind_it_are_one)
{
    struct merge *m = with(0, 3, UEVENT, FC, SYSFS);
    struct observation_place place = {5, 0, 2, -1};
    struct observation port = seen(UEVENT, CODE(TARGET_ONLINE), place, "uevent");

    port.object = "rport-5:0-1";
    push(m, port, 0);
    cr_assert_str_eq(leaves(m, 1), "");
    push(m, seen(UEVENT, CODE(TARGET_ONLINE), place, "uevent"), 2);
    cr_assert_str_eq(leaves(m, 2), "target 403 2:uevent+uevent");
    push(m, seen(UEVENT, CODE(TARGET_REMOVED), place, "uevent"), 5000);
    cr_assert_str_eq(leaves(m, 5000), "target 405 2:uevent", "a target without a port object waits for nobody");
    port = seen(SYSFS, CODE(TARGET_REMOVED), place, "state");
    port.object = "rport-5:0-1";
    push(m, port, 9000);
    cr_assert_str_eq(leaves(m, 9000), "target 405 6:state kind 1");
    merge_free(m);
}

Test(merge, states_on_the_way_out_are_evidence_of_the_removal)
{
    struct merge *m = with(0, 2, TRACE, UEVENT);

    push(m, seen(TRACE, 0, disk, "state"), 0);
    push(m, seen(TRACE, 0, disk, "state"), 1);
    cr_assert_str_eq(leaves(m, 1), "", "evidence waits for its event");
    push(m, seen(UEVENT, CODE(DEVICE_REMOVED), disk, "uevent"), 2);
    cr_assert_str_eq(leaves(m, 2), "device-removed 402 2:uevent+state+state");
    merge_free(m);
}

Test(merge, evidence_that_finds_no_event_is_counted_and_no_event)
{
    struct merge *m = with(0, 2, TRACE, UEVENT);

    push(m, seen(TRACE, 0, disk, "state"), 0);
    push(m, seen(TRACE, 0, disk, "error-handler"), 0);
    cr_assert_str_eq(leaves(m, 0), "", "evidence of the same place waits in order");
    cr_assert_str_eq(leaves(m, 1000), "device-removed 0 3:state kind 2| 0 3:error-handler kind 2");
    cr_assert_eq(merge_count(m).evidence_only, 2);
    merge_free(m);
}

Test(merge, what_no_rule_knows_passes_at_once)
{
    struct merge *m = with(0, 4, TRACE, UEVENT, SYSFS, NETLINK);

    push(m, seen(TRACE, CODE(DEVICE_WARNING), disk, "check-condition"), 0);
    push(m, seen(SENSEBUS__V1__SOURCE__SOURCE_TARGET, CODE(DEVICE_WARNING), disk, "x"), 0);
    cr_assert_str_eq(leaves(m, 0), "other 713 3:check-condition| 713 7:x");
    merge_free(m);
}

Test(merge, what_this_host_tells_as_a_target_never_meets_what_it_is_told_as_an_initiator)
{
    static const struct observation_place served = {-1, -1, -1, 4};
    struct merge *m = with(0, 3, TRACE, UEVENT, SENSEBUS__V1__SOURCE__SOURCE_TARGET);
    struct observation told = seen(SENSEBUS__V1__SOURCE__SOURCE_TARGET, CODE(ALUA_STATE_CHANGED), served, "answer");

    push(m, sensed(CODE(ALUA_STATE_CHANGED)), 0);
    push(m, told, 1);
    cr_assert_str_eq(leaves(m, 1), " 627 7:answer", "and it does not wait for that");
    push(m, told, 2);
    push(m, attention(CODE(ALUA_STATE_CHANGED)), 3);
    cr_assert_str_eq(leaves(m, 3), "unit-attention 627 3:unit-attention+SDEV_UA| 627 7:answer");
    told.place = disk;
    push(m, told, 4);
    push(m, sensed(CODE(ALUA_STATE_CHANGED)), 5);
    cr_assert_str_eq(leaves(m, 5), " 627 7:answer", "whatever its numbers are");
    merge_free(m);
}

Test(merge, a_poll_that_finds_what_was_told_confirms_it)
{
    struct merge *m = with(0, 2, TRACE, SYSFS);
    struct observation polled = seen(SYSFS, CODE(DEVICE_OFFLINE), disk, "state");

    polled.synthetic = true;
    push(m, seen(TRACE, CODE(DEVICE_OFFLINE), disk, "state"), 0);
    cr_assert_str_eq(leaves(m, 0), "device-state 605 3:state");
    push(m, polled, 9000);
    cr_assert_str_eq(leaves(m, 9000), "device-state 605 6:state kind 1");
    cr_assert_eq(merge_count(m).confirmations, 1);
    merge_free(m);
}

Test(merge, a_poll_that_finds_another_state_than_the_newest_told_is_news)
{
    struct merge *m = with(0, 1, SYSFS);

    push(m, seen(TRACE, CODE(DEVICE_OFFLINE), disk, "state"), 0);
    push(m, seen(TRACE, CODE(DEVICE_ONLINE), disk, "state"), 1);
    cr_assert_str_eq(leaves(m, 1), "device-state 605 3:state|device-state 606 3:state");
    push(m, seen(SYSFS, CODE(DEVICE_OFFLINE), disk, "state"), 5000);
    cr_assert_str_eq(leaves(m, 5000), "device-state 605 6:state");
    merge_free(m);
}

Test(merge, a_port_that_was_blocked_meanwhile_is_online_again)
{
    struct merge *m = with(0, 1, SYSFS);

    push(m, seen(UEVENT, CODE(TARGET_ONLINE), disk, "uevent"), 0);
    push(m, seen(SYSFS, CODE(TARGET_OFFLINE), disk, "state"), 5000);
    push(m, seen(SYSFS, CODE(TARGET_ONLINE), disk, "state"), 10000);
    cr_assert_str_eq(leaves(m, 10000), "target 403 2:uevent|target-blocked 404 6:state|target 403 6:state");
    merge_free(m);
}

Test(merge, a_poll_confirms_once_and_not_for_ever)
{
    struct merge *m = with(0, 1, SYSFS);

    push(m, seen(TRACE, CODE(CAPACITY_CHANGED), disk, "unit-attention"), 0);
    leaves(m, 0);
    push(m, seen(SYSFS, CODE(CAPACITY_CHANGED), disk, "size"), 5000);
    cr_assert_str_eq(leaves(m, 5000), "capacity 617 6:size kind 1");
    push(m, seen(SYSFS, CODE(CAPACITY_CHANGED), disk, "size"), 10000);
    cr_assert_str_eq(leaves(m, 10000), "capacity 617 6:size");
    push(m, seen(TRACE, CODE(CAPACITY_CHANGED), disk, "unit-attention"), 11000);
    leaves(m, 12000);
    push(m, seen(SYSFS, CODE(CAPACITY_CHANGED), disk, "size"), 11000 + 15000 + 1000);
    cr_assert_str_eq(leaves(m, 27000), "capacity 617 6:size", "too late");
    merge_free(m);
}

Test(merge, a_poll_that_comes_first_waits_for_the_hook_that_knows_more)
{
    struct merge *m = with(0, 2, TRACE, SYSFS);
    struct observation polled = seen(SYSFS, CODE(DEVICE_OFFLINE), disk, "state");
    struct merged *e;

    polled.synthetic = true;
    push(m, polled, 0);
    cr_assert_str_eq(leaves(m, 1), "");
    push(m, seen(TRACE, CODE(DEVICE_OFFLINE), disk, "state"), 2);
    e = merge_next(m, 2 * MS);
    cr_assert_eq(e->lead.source, TRACE);
    cr_assert_not(e->lead.synthetic, "it was told, too");
    merged_free(e);
    merge_free(m);
}

Test(merge, events_of_one_place_and_what_is_below_it_leave_in_the_order_in_which_they_began)
{
    struct merge *m = with(0, 2, NETLINK, UEVENT);

    push(m, seen(NETLINK, CODE(NEXUS_LOST), adapter, "CONN_ERROR"), 0);
    push(m, seen(NETLINK, CODE(NEXUS_RESTORED), adapter, "login"), 500);
    push(m, seen(UEVENT, CODE(DEVICE_REMOVED), disk, "uevent"), 600);
    push(m, seen(UEVENT, CODE(DEVICE_REMOVED), (struct observation_place){4, 0, 0, 0}, "uevent"), 700);
    cr_assert_str_eq(leaves(m, 999), "device-removed 402 2:uevent", "another adapter waits for nobody");
    cr_assert_str_eq(leaves(m, 1000),
                     "session-lost 506 4:CONN_ERROR|session-started 507 4:login|device-removed 402 2:uevent");
    merge_free(m);
}

Test(merge, when_too_much_is_open_the_oldest_leaves_early)
{
    struct merge *m = with(2, 2, TRACE, UEVENT);
    struct observation o = attention(CODE(MODE_PARAMETERS_CHANGED));
    struct merged *e;

    for (int64_t lun = 0; lun < 3; lun++) {
        o.place.lun = lun;
        push(m, o, 0);
    }
    e = merge_next(m, 0);
    cr_assert_not_null(e);
    cr_assert_eq(e->lead.place.lun, 0);
    cr_assert(e->early);
    cr_assert_null(merge_next(m, 0));
    merged_free(e);
    merge_free(m);
}

Test(merge, when_copies_take_too_much_memory_the_oldest_leaves_early)
{
    struct merge *m = with(0, 2, TRACE, UEVENT);
    static const uint8_t raw[RECORD_MAX_RAW + 100];
    struct observation o = attention(CODE(MODE_PARAMETERS_CHANGED));

    o.native.raw = raw;
    o.native.raw_len = sizeof raw;
    for (int64_t lun = 0; lun < 1000; lun++) {
        struct merged *e;

        o.place.lun = lun;
        push(m, o, 0);
        while ((e = merge_next(m, 0))) {
            cr_assert(e->early);
            cr_assert_eq(e->lead.native.raw_len, sizeof raw, "the full length is told");
            merged_free(e);
        }
        cr_assert_leq(merge_count(m).open_bytes, MERGE_MAX_BYTES);
    }
    cr_assert_gt(merge_count(m).early, 100);
    merge_free(m);
}

Test(merge, evidence_beyond_the_bound_is_counted_and_the_count_is_told)
{
    struct merge *m = with(0, 2, TRACE, UEVENT);
    struct merged *e;

    for (int i = 0; i < 20; i++)
        push(m, seen(TRACE, 0, disk, "state"), 0);
    push(m, seen(UEVENT, CODE(DEVICE_REMOVED), disk, "uevent"), 2);
    e = merge_next(m, 2 * MS);
    cr_assert_eq(e->lead.code, CODE(DEVICE_REMOVED));
    cr_assert_eq(e->n_evidence, RECORD_MAX_EVIDENCE);
    cr_assert_eq(e->n_more, 4);
    cr_assert_str_eq(e->lead.native.detail, "and 4 more native records of it");
    merged_free(e);
    merge_free(m);
}

Test(merge, nothing_of_the_caller_is_needed_after_the_push)
{
    struct merge *m = with(0, 2, TRACE, UEVENT);
    char *name = strdup("unit-attention"), *detail = strdup("words"), *target = strdup("iqn.t");
    uint8_t *raw = malloc(3), *sense = malloc(18);
    struct observation o = {.source = TRACE, .code = CODE(MODE_PARAMETERS_CHANGED), .place = disk};
    struct record r;
    struct merged *e;

    memcpy(raw, "abc", 3);
    memcpy(sense, sense_capacity, 18);
    o.native = (struct record_native){.name = name, .detail = detail, .raw = raw, .raw_len = 3};
    o.sense = sense, o.sense_len = 18;
    o.target_name = target;
    o.count = 3;
    push(m, o, 0);
    free(name), free(detail), free(target), free(raw), free(sense);
    merge_finish(m);
    e = merge_next(m, 0);
    merged_record(e, &r);
    cr_assert_str_eq(r.native.name, "unit-attention");
    cr_assert_str_eq(r.native.detail, "words");
    cr_assert_arr_eq(r.native.raw, "abc", 3);
    cr_assert_arr_eq(r.sense, sense_capacity, 18);
    cr_assert_str_eq(r.place.target_name, "iqn.t");
    cr_assert_eq(r.place.lun, 4);
    cr_assert_eq(r.count, 3);
    merged_free(e);
    merge_free(m);
}

Test(merge, without_memory_nothing_was_taken_and_nothing_is_lost)
{
    struct merge *m = with(0, 2, TRACE, UEVENT);
    struct observation o = sensed(CODE(MODE_PARAMETERS_CHANGED));
    size_t taken = 0, left = 0;
    struct merged *e;

    for (unsigned i = 0; i < 200; i++) {
        o.place.lun = i % 7;
        o.source = i % 2 ? TRACE : UEVENT;
        o.native.name = i % 2 ? "unit-attention" : "SDEV_UA";
        failing_alloc_after(i % 3);
        taken += merge_push(m, &o, i * MS) == 0;
        failing_alloc_stop();
        cr_assert_eq(merge_count(m).observations, taken);
    }
    cr_assert_lt(taken, 200);
    merge_finish(m);
    while ((e = merge_next(m, 0))) {
        left += 1 + e->n_evidence;
        merged_free(e);
    }
    cr_assert_eq(left, taken);
    cr_assert_eq(merge_count(m).open_bytes, 0);
    merge_free(m);
}

/* ------------------------------------------------------------------------------------------------ at random */

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

static struct observation any_observation(uint32_t *random, uint32_t number)
{
    static const struct {
        uint32_t source, code;
        const char *name;
    } kinds[] = {
        {TRACE, CODE(MODE_PARAMETERS_CHANGED), "unit-attention"},
        {UEVENT, CODE(MODE_PARAMETERS_CHANGED), "SDEV_UA"},
        {TRACE, CODE(LUN_RESET), "unit-attention"},
        {UEVENT, CODE(POWER_ON_OR_RESET), "SDEV_UA"},
        {TRACE, CODE(CAPACITY_CHANGED), "unit-attention"},
        {UEVENT, CODE(CAPACITY_CHANGED), "SDEV_UA"},
        {UEVENT, CODE(CAPACITY_CHANGED), "RESIZE"},
        {TRACE, 0, "state"},
        {UEVENT, CODE(DEVICE_REMOVED), "uevent"},
        {SYSFS, CODE(DEVICE_REMOVED), "state"},
        {UEVENT, CODE(DEVICE_ADDED), "uevent"},
        {TRACE, CODE(DEVICE_OFFLINE), "state"},
        {SYSFS, CODE(DEVICE_OFFLINE), "state"},
        {SYSFS, CODE(DEVICE_ONLINE), "state"},
        {NETLINK, CODE(NEXUS_LOST), "CONN_ERROR"},
        {NETLINK, CODE(SESSION_STOPPED), "UNBIND_SESSION"},
        {NETLINK, 0, "DESTROY_SESSION"},
        {UEVENT, CODE(SESSION_STOPPED), "uevent"},
        {SYSFS, CODE(NEXUS_LOST), "state"},
        {FC, CODE(LINK_DOWN), "LINKDOWN"},
        {SYSFS, CODE(PORT_OFFLINE), "state"},
        {TRACE, CODE(DEVICE_WARNING), "check-condition"},
        {SENSEBUS__V1__SOURCE__SOURCE_TARGET, CODE(VENDOR_SPECIFIC), "x"},
        {TRACE, 0, "error-handler"},
    };
    static const char *const objects[] = {NULL, NULL, "session1", "session2"};
    size_t kind = next_random(random) % (sizeof kinds / sizeof *kinds);
    struct observation_place place = {(int32_t)(next_random(random) % 3), 0, 0, next_random(random) % 3};
    struct observation o;

    if (next_random(random) % 3 == 0)
        place = (struct observation_place){place.host, -1, -1, -1};
    o = seen(kinds[kind].source, kinds[kind].code, place, kinds[kind].name);
    o.object = objects[next_random(random) % 4];
    o.native.code = number;
    o.native.subcode = (uint32_t)place.host * 100 + (uint32_t)(place.lun + 1);
    return o;
}

Test(merge, whatever_comes_each_observation_leaves_once_and_no_two_places_meet)
{
    for (uint32_t seed = 1; seed <= 24; seed++) {
        enum { N = 1000 };
        struct merge *m = with(seed % 3 == 0 ? 5 : 0, 3, TRACE, UEVENT, seed % 2 ? SYSFS : NETLINK);
        uint32_t random = seed, taken = 0, left = 0;
        bool *gone = calloc(N, sizeof *gone);
        uint64_t ms = 0;

        while (taken < N || merge_count(m).open > 0) {
            struct merged *e;

            if (taken < N) {
                push(m, any_observation(&random, taken), ms);
                taken++;
            } else {
                merge_finish(m);
            }
            if (next_random(&random) % 50 == 0)
                merge_set_armed(m, TRACE, next_random(&random) % 2);
            while ((e = merge_next(m, ms * MS))) {
                uint32_t place = e->lead.native.subcode;

                cr_assert(!gone[e->lead.native.code]);
                gone[e->lead.native.code] = true;
                for (size_t i = 0; i < e->n_evidence; i++) {
                    cr_assert_eq(e->evidence[i].subcode, place, "seed %u", seed);
                    cr_assert(!gone[e->evidence[i].code]);
                    gone[e->evidence[i].code] = true;
                }
                left += (uint32_t)(1 + e->n_evidence + e->n_more);
                cr_assert(e->kind == MERGE_EVIDENCE || e->lead.code != 0);
                merged_free(e);
            }
            cr_assert_gt(merge_deadline(m), ms * MS);
            cr_assert_leq(merge_count(m).open, seed % 3 == 0 ? 5u : (unsigned)MERGE_MAX_OPEN);
            ms += next_random(&random) % 40;
        }
        cr_assert_eq(left, N, "seed %u", seed);
        cr_assert_eq(merge_count(m).observations, N);
        cr_assert_eq(merge_count(m).open_bytes, 0);
        free(gone);
        merge_free(m);
    }
}
