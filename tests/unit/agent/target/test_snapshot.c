/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/target/snapshot.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static void add_target(struct snapshot *s, int32_t number, const char *name)
{
    cr_assert_eq(snapshot_add_target(s, number, name, strlen(name)), 0);
}

static void add_nexus(struct snapshot *s, uint64_t id, const char *initiator)
{
    cr_assert_eq(snapshot_add_nexus(s, id), 0);
    snapshot_set_initiator(s, initiator, strlen(initiator));
}

struct told {
    char text[4096];
};

static void on_change(void *data, const struct snapshot_change *c)
{
    static const char *const words[] = {"target+", "target-", "ready",   "offline", "lun+",
                                        "lun-",    "lun-on",  "lun-off", "login",   "logout"};
    struct told *told = data;
    size_t at = strlen(told->text);

    at += (size_t)snprintf(told->text + at, sizeof told->text - at, "%d %s", c->target->number, words[c->kind]);
    if (c->nexus)
        at += (size_t)snprintf(told->text + at, sizeof told->text - at, " %s", c->nexus->initiator);
    if (c->lun)
        at += (size_t)snprintf(told->text + at, sizeof told->text - at, " %u", c->lun->lun);
    snprintf(told->text + at, sizeof told->text - at, "\n");
}

static void cr_expect_diff(struct snapshot *before, struct snapshot *now, const char *expected)
{
    struct told told = {{0}};

    snapshot_finish(before);
    snapshot_finish(now);
    snapshot_diff(before, now, on_change, &told);
    cr_expect_str_eq(told.text, expected);
    snapshot_free(before);
    snapshot_free(now);
}

/* One target, two initiators, three units. */
static void fill(struct snapshot *s)
{
    add_target(s, 1, "iqn.t1");
    add_nexus(s, 1, "iqn.a");
    add_nexus(s, 2, "iqn.b");
    for (uint64_t lun = 0; lun < 3; lun++)
        cr_assert_eq(snapshot_add_lun(s, lun, true), 0);
}

Test(snapshot, nothing_changed_is_told_as_nothing)
{
    struct snapshot a = {0}, b = {0};

    fill(&a);
    fill(&b);
    cr_expect_diff(&a, &b, "");
}

Test(snapshot, tells_logins_and_logouts)
{
    struct snapshot a = {0}, b = {0};

    fill(&a);
    add_target(&b, 1, "iqn.t1");
    add_nexus(&b, 3, "iqn.c");
    add_nexus(&b, 2, "iqn.b");
    for (uint64_t lun = 0; lun < 3; lun++)
        cr_assert_eq(snapshot_add_lun(&b, lun, true), 0);
    cr_expect_diff(&a, &b, "1 logout iqn.a\n1 login iqn.c\n");
}

Test(snapshot, an_initiator_that_came_back_between_two_looks_logged_out_and_in)
{
    struct snapshot a = {0}, b = {0};

    add_target(&a, 1, "iqn.t1");
    add_nexus(&a, 1, "iqn.a");
    add_target(&b, 1, "iqn.t1");
    add_nexus(&b, 2, "iqn.a");
    cr_expect_diff(&a, &b, "1 logout iqn.a\n1 login iqn.a\n");
}

Test(snapshot, the_number_of_a_nexus_given_to_another_initiator_is_two_changes)
{
    struct snapshot a = {0}, b = {0};

    add_target(&a, 1, "iqn.t1");
    add_nexus(&a, 1, "iqn.a");
    add_target(&b, 1, "iqn.t1");
    add_nexus(&b, 1, "iqn.b");
    cr_expect_diff(&a, &b, "1 logout iqn.a\n1 login iqn.b\n");
}

Test(snapshot, tells_units_that_came_went_and_changed_state)
{
    struct snapshot a = {0}, b = {0};

    fill(&a);
    add_target(&b, 1, "iqn.t1");
    add_nexus(&b, 1, "iqn.a");
    add_nexus(&b, 2, "iqn.b");
    cr_assert_eq(snapshot_add_lun(&b, 5, true), 0);
    cr_assert_eq(snapshot_add_lun(&b, 2, false), 0);
    cr_assert_eq(snapshot_add_lun(&b, 0, true), 0);
    cr_expect_diff(&a, &b, "1 lun- 1\n1 lun-off 2\n1 lun+ 5\n");
}

Test(snapshot, tells_the_state_of_a_target)
{
    struct snapshot a = {0}, b = {0}, c = {0}, d = {0};

    add_target(&a, 1, "iqn.t1");
    add_target(&b, 1, "iqn.t1");
    snapshot_set_target_online(&b, false);
    cr_expect_diff(&a, &b, "1 offline\n");
    add_target(&c, 1, "iqn.t1");
    snapshot_set_target_online(&c, false);
    add_target(&d, 1, "iqn.t1");
    cr_expect_diff(&c, &d, "1 ready\n");
}

Test(snapshot, targets_come_and_go_with_their_nexuses_but_without_their_units)
{
    struct snapshot a = {0}, b = {0};

    fill(&a);
    add_target(&b, 2, "iqn.t2");
    add_nexus(&b, 9, "iqn.z");
    cr_assert_eq(snapshot_add_lun(&b, 1, true), 0);
    cr_expect_diff(&a, &b, "1 logout iqn.a\n1 logout iqn.b\n1 target-\n2 target+\n2 login iqn.z\n");
}

Test(snapshot, another_name_under_the_same_number_is_another_target)
{
    struct snapshot a = {0}, b = {0};

    add_target(&a, 1, "iqn.old");
    add_target(&b, 1, "iqn.new");
    cr_expect_diff(&a, &b, "1 target-\n1 target+\n");
}

Test(snapshot, forgotten_nexuses_do_not_log_out)
{
    struct snapshot a = {0}, b = {0};

    fill(&a);
    snapshot_finish(&a);
    snapshot_forget_nexuses(&a);
    fill(&b);
    cr_expect_diff(&a, &b, "1 login iqn.a\n1 login iqn.b\n");
}

Test(snapshot, what_is_said_twice_is_taken_once)
{
    struct snapshot s = {0};

    add_target(&s, 1, "iqn.t1");
    add_nexus(&s, 1, "iqn.a");
    add_nexus(&s, 1, "iqn.a");
    cr_assert_eq(snapshot_add_lun(&s, 4, true), 0);
    cr_assert_eq(snapshot_add_lun(&s, 4, false), 0);
    add_target(&s, 1, "iqn.t1");
    snapshot_finish(&s);
    cr_expect(s.cut);
    cr_assert_eq(s.n_targets, 1);
    cr_expect_leq(s.targets[0].n_nexuses, 1);
    cr_expect_leq(s.targets[0].n_luns, 1);
    snapshot_free(&s);
}

Test(snapshot, names_become_printable_utf8)
{
    struct snapshot s = {0};

    cr_assert_eq(snapshot_add_target(&s, 1, "iqn.\xff\n\x1b[31m", 11), 0);
    cr_expect_str_eq(s.targets[0].name, "iqn.\xef\xbf\xbd??[31m");
    snapshot_free(&s);
}

Test(snapshot, beyond_the_bounds_is_left_out_and_said)
{
    struct snapshot s = {0};
    char name[32];

    for (int i = 0; i <= SNAPSHOT_MAX_TARGETS; i++) {
        snprintf(name, sizeof name, "iqn.t%d", i);
        add_target(&s, i, name);
        for (uint64_t id = 0; id < 10; id++)
            add_nexus(&s, id, "iqn.a");
        for (uint64_t lun = 0; lun < 40; lun++)
            cr_assert_eq(snapshot_add_lun(&s, lun, true), 0);
    }
    cr_assert_eq(snapshot_add_lun(&s, SNAPSHOT_MAX_LUN + 1, true), 0);
    snapshot_finish(&s);
    cr_expect(s.cut);
    cr_expect_eq(s.n_targets, SNAPSHOT_MAX_TARGETS);
    cr_expect_eq(s.n_nexuses, SNAPSHOT_MAX_NEXUSES);
    cr_expect_eq(s.n_luns, SNAPSHOT_MAX_LUNS);
    for (size_t i = 0; i < s.n_targets; i++)
        cr_assert_leq(s.targets[i].n_nexuses, 10, "what is left out must not go to another target");
    snapshot_free(&s);
}

Test(snapshot, what_is_said_of_a_part_left_out_changes_no_other)
{
    struct snapshot s = {0};

    add_target(&s, 1, "iqn.t1");
    cr_assert_eq(snapshot_add_lun(&s, 1, true), 0);
    cr_assert_eq(snapshot_add_lun(&s, SNAPSHOT_MAX_LUN + 1, true), 0);
    snapshot_set_lun_online(&s, false);
    snapshot_finish(&s);
    cr_expect(s.luns[0].online);
    cr_expect(s.cut);
    snapshot_free(&s);
}

Test(snapshot, parts_without_a_target_are_ignored)
{
    struct snapshot s = {0};

    cr_assert_eq(snapshot_add_nexus(&s, 1), 0);
    cr_assert_eq(snapshot_add_lun(&s, 1, true), 0);
    snapshot_set_initiator(&s, "iqn.a", 5);
    snapshot_set_address(&s, "::1", 3);
    snapshot_set_lun_online(&s, false);
    snapshot_set_target_online(&s, false);
    snapshot_finish(&s);
    cr_expect(s.cut);
    cr_expect_eq(s.n_targets + s.n_nexuses + s.n_luns, 0);
    snapshot_free(&s);
}
