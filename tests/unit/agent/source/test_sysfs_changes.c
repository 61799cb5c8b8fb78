/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/sysfs_changes.h"

#include <criterion/criterion.h>
#include <string.h>

#include "sensebus/v1/code.pb-c.h"
#include "sensebus/v1/event.pb-c.h"
#include "tests/unit/agent/source/recorder.h"

#define CODE(name) SENSEBUS__V1__CODE__##name

static struct recorder r;
static struct sysfs_look before, now;

static void teardown(void)
{
    sysfs_look_free(&before);
    sysfs_look_free(&now);
}

TestSuite(sysfs_changes, .fini = teardown);

static void add(enum sysfs_kind kind, const char *name, uint64_t inode, const char *state)
{
    struct sysfs_object *o = sysfs_look_add(&now);

    cr_assert_not_null(o);
    o->kind = kind;
    o->inode = inode;
    snprintf(o->name, sizeof o->name, "%s", name);
    snprintf(o->state, sizeof o->state, "%s", state);
    o->place = (struct observation_place){3, 0, 0, 4};
    if (kind == SYSFS_SESSION)
        o->target_name = strdup("iqn.2026-01.example:disks");
}

/* The look is over: what is told is in `r`, and the next look begins. */
static void look(void)
{
    static bool first = true;

    recorder_clear(&r);
    sysfs_look_finish(&now);
    sysfs_compare(first ? NULL : &before, &now, 7, 8, recorder_observation, &r);
    first = false;
    sysfs_look_free(&before);
    before = now;
    now = (struct sysfs_look){0};
}

static void look_at(enum sysfs_kind kind, const char *state)
{
    add(kind, "x", 1, state);
    look();
}

static void check_one(uint32_t code, const char *detail)
{
    cr_assert_eq(r.n, 1, "%zu", r.n);
    cr_assert_eq(r.seen[0].o.code, code, "%u", r.seen[0].o.code);
    cr_assert_str_eq(r.seen[0].detail, detail);
    cr_assert(r.seen[0].o.synthetic);
    cr_assert_eq(r.seen[0].o.source, SENSEBUS__V1__SOURCE__SOURCE_SYSFS);
    cr_assert_eq(r.seen[0].o.place.lun, 4);
    cr_assert_eq(r.seen[0].o.wall_ns, 7);
}

Test(sysfs_changes, the_first_look_tells_nothing)
{
    add(SYSFS_DEVICE, "3:0:0:4", 1, "offline");
    add(SYSFS_RPORT, "rport-3:0-1", 2, "Blocked");
    look();
    cr_assert_eq(r.n, 0);
    add(SYSFS_DEVICE, "3:0:0:4", 1, "running");
    add(SYSFS_RPORT, "rport-3:0-1", 2, "Blocked");
    look();
    check_one(CODE(DEVICE_ONLINE), "scsi_device 3:0:0:4: running, was offline");
}

Test(sysfs_changes, states_on_the_way_to_another_mean_nothing)
{
    look_at(SYSFS_DEVICE, "created");
    look_at(SYSFS_DEVICE, "running");
    cr_assert_eq(r.n, 0, "it began");
    look_at(SYSFS_DEVICE, "blocked");
    cr_assert_eq(r.n, 0);
    look_at(SYSFS_DEVICE, "running");
    cr_assert_eq(r.n, 0, "it only was held up");
    look_at(SYSFS_DEVICE, "blocked");
    look_at(SYSFS_DEVICE, "transport-offline");
    check_one(CODE(DEVICE_OFFLINE), "scsi_device x: transport-offline, was blocked");
    look_at(SYSFS_DEVICE, "offline");
    cr_assert_eq(r.n, 0, "offline it was");
    look_at(SYSFS_DEVICE, "blocked");
    cr_assert_eq(r.n, 0);
    look_at(SYSFS_DEVICE, "a later kernel's");
    cr_assert_eq(r.n, 0);
    look_at(SYSFS_DEVICE, "running");
    check_one(CODE(DEVICE_ONLINE), "scsi_device x: running, was a later kernel's");
}

Test(sysfs_changes, each_kind_has_its_codes)
{
    static const struct {
        enum sysfs_kind kind;
        const char *good, *bad;
        uint32_t lost, back;
    } rows[] = {
        {SYSFS_HOST, "running", "recovery", CODE(ADAPTER_SUSPENDED), CODE(ADAPTER_RESUMED)},
        {SYSFS_FC_HOST, "Online", "Linkdown", CODE(LINK_DOWN), CODE(LINK_UP)},
        {SYSFS_FC_HOST, "Online", "Offline", CODE(PORT_OFFLINE), CODE(PORT_ONLINE)},
        {SYSFS_FC_HOST, "Online", "Unknown", CODE(LINK_STATE_UNKNOWN), CODE(PORT_ONLINE)},
        {SYSFS_RPORT, "Online", "Blocked", CODE(TARGET_OFFLINE), CODE(TARGET_ONLINE)},
        {SYSFS_RPORT, "Online", "Not Present", CODE(TARGET_REMOVED), CODE(TARGET_ONLINE)},
        {SYSFS_SESSION, "LOGGED_IN", "FAILED", CODE(NEXUS_LOST), CODE(NEXUS_RESTORED)},
    };

    look();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        look(); /* without it, so that each begins anew */
        look_at(rows[i].kind, rows[i].good);
        look_at(rows[i].kind, rows[i].bad);
        cr_assert_eq(r.n, 1, "%s", rows[i].bad);
        cr_assert_eq(r.seen[0].o.code, rows[i].lost, "%s", rows[i].bad);
        look_at(rows[i].kind, rows[i].good);
        cr_assert_eq(r.n, 1, "%s", rows[i].bad);
        cr_assert_eq(r.seen[0].o.code, rows[i].back, "%s", rows[i].bad);
    }
    cr_assert_str_eq(r.seen[0].target_name, "iqn.2026-01.example:disks");
}

Test(sysfs_changes, what_came_and_went_is_told_also_when_its_name_is_the_same)
{
    look();
    look_at(SYSFS_DEVICE, "running");
    check_one(CODE(DEVICE_ADDED), "scsi_device x: is there");
    add(SYSFS_DEVICE, "x", 2, "offline");
    look();
    cr_assert_eq(r.n, 3);
    cr_assert_eq(r.seen[0].o.code, CODE(DEVICE_REMOVED));
    cr_assert_eq(r.seen[1].o.code, CODE(DEVICE_ADDED));
    cr_assert_eq(r.seen[2].o.code, CODE(DEVICE_OFFLINE));
    look();
    check_one(CODE(DEVICE_REMOVED), "scsi_device x: is gone");
}

Test(sysfs_changes, a_remote_port_that_was_told_as_removed_is_not_told_again)
{
    look();
    look_at(SYSFS_RPORT, "Online");
    check_one(CODE(TARGET_ONLINE), "fc_remote_ports x: is there");
    look_at(SYSFS_RPORT, "Not Present");
    check_one(CODE(TARGET_REMOVED), "fc_remote_ports x: Not Present, was Online");
    look();
    cr_assert_eq(r.n, 0);
}

/* Of 3:0:0:4, by a uevent. */
static void hear(uint32_t code, bool looking)
{
    struct observation o = {
        .source = SENSEBUS__V1__SOURCE__SOURCE_UEVENT, .code = code, .place = {3, 0, 0, 4}, .native.name = "uevent"};

    sysfs_look_heard(&before, &o, looking);
}

static void look_at_device(const char *state)
{
    add(SYSFS_DEVICE, "3:0:0:4", 1, state);
    look();
}

Test(sysfs_changes, what_came_by_a_uevent_and_is_not_there_is_gone)
{
    look();
    hear(CODE(DEVICE_ADDED), false);
    look();
    check_one(CODE(DEVICE_REMOVED), "scsi_device 3:0:0:4: is gone");
    hear(CODE(DEVICE_ADDED), false);
    look_at_device("running");
    cr_assert_eq(r.n, 0, "as told");
    hear(CODE(DEVICE_REMOVED), false);
    look();
    cr_assert_eq(r.n, 0, "as told");
    hear(CODE(DEVICE_REMOVED), false);
    look_at_device("running");
    check_one(CODE(DEVICE_ADDED), "scsi_device 3:0:0:4: is there");
}

Test(sysfs_changes, what_is_told_while_a_look_is_on_its_way_is_newer_than_it)
{
    look();
    hear(CODE(DEVICE_ADDED), true);
    look();
    cr_assert_eq(r.n, 0, "it came behind the look");
    look();
    check_one(CODE(DEVICE_REMOVED), "scsi_device 3:0:0:4: is gone");
    look_at_device("running");
    check_one(CODE(DEVICE_ADDED), "scsi_device 3:0:0:4: is there");
    hear(CODE(DEVICE_REMOVED), true);
    look_at_device("running");
    cr_assert_eq(r.n, 0, "it went behind the look");
    look();
    cr_assert_eq(r.n, 0);
    hear(CODE(DEVICE_ADDED), true);
    hear(CODE(DEVICE_REMOVED), true);
    look_at_device("running");
    cr_assert_eq(r.n, 0);
    look_at_device("running");
    check_one(CODE(DEVICE_ADDED), "scsi_device 3:0:0:4: is there");
}

Test(sysfs_changes, a_state_that_was_told_and_is_no_more_is_a_difference)
{
    look_at_device("running");
    hear(CODE(DEVICE_OFFLINE), false);
    look_at_device("offline");
    cr_assert_eq(r.n, 0, "as told");
    hear(CODE(DEVICE_ONLINE), false);
    look_at_device("offline");
    check_one(CODE(DEVICE_OFFLINE), "scsi_device 3:0:0:4: offline, was offline");
    hear(CODE(DEVICE_ONLINE), true);
    look_at_device("offline");
    cr_assert_eq(r.n, 0, "it changed behind the look");
    look_at_device("running");
    cr_assert_eq(r.n, 0);
}

Test(sysfs_changes, what_others_told_finds_its_object)
{
    static const struct {
        enum sysfs_kind kind;
        const char *name, *state, *object;
        uint32_t told, found, source;
    } rows[] = {
        {SYSFS_HOST, "host3", "running", NULL, CODE(ADAPTER_REMOVED), CODE(ADAPTER_ADDED), 0},
        {SYSFS_FC_HOST, "host3", "Online", NULL, CODE(LINK_DOWN), CODE(LINK_UP), 0},
        {SYSFS_RPORT, "rport-3:0-1", "Online", "rport-3:0-1", CODE(TARGET_REMOVED), CODE(TARGET_ONLINE), 0},
        {SYSFS_RPORT, "rport-3:0-1", "Online", "rport-3:0-1", CODE(TARGET_REMOVED), CODE(TARGET_ONLINE),
         SENSEBUS__V1__SOURCE__SOURCE_UEVENT},
        {SYSFS_SESSION, "session2", "LOGGED_IN", "session2", CODE(NEXUS_LOST), CODE(NEXUS_RESTORED), 0},
        {SYSFS_SESSION, "session2", "LOGGED_IN", "session2", CODE(SESSION_STOPPED), CODE(SESSION_STARTED), 0},
    };

    look();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct observation o = {.source = rows[i].source, .code = rows[i].told, .place = {3, -1, -1, -1}};

        o.object = rows[i].object;
        look();
        add(rows[i].kind, rows[i].name, 1, rows[i].state);
        look();
        sysfs_look_heard(&before, &o, false);
        add(rows[i].kind, rows[i].name, 1, rows[i].state);
        look();
        cr_assert_eq(r.n, 1, "row %zu: %zu", i, r.n);
        cr_assert_eq(r.seen[0].o.code, rows[i].found, "row %zu", i);
    }
}

Test(sysfs_changes, of_looks_that_do_not_show_all_only_states_are_told)
{
    add(SYSFS_DEVICE, "a", 1, "running");
    add(SYSFS_DEVICE, "b", 2, "running");
    look();
    now.cut = true;
    add(SYSFS_DEVICE, "b", 2, "offline");
    add(SYSFS_DEVICE, "c", 3, "running");
    look();
    check_one(CODE(DEVICE_OFFLINE), "scsi_device b: offline, was running");
}

Test(sysfs_changes, a_look_has_a_bound)
{
    for (size_t i = 0; i < SYSFS_MAX_OBJECTS; i++)
        cr_assert_not_null(sysfs_look_add(&now));
    cr_assert_not(now.cut);
    cr_assert_null(sysfs_look_add(&now));
    cr_assert(now.cut);
}
