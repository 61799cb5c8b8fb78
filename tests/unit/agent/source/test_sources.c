/* SPDX-License-Identifier: Apache-2.0 */
/* Sources that say what the test tells them. */
#include "agent/source/sources.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/coverage.h"
#include "agent/record.h"
#include "agent/source/observation.h"
#include "sensebus/v1/agents.pb-c.h"
#include "sensebus/v1/code.pb-c.h"
#include "sensebus/v1/event.pb-c.h"
#include "tests/lib/failing_alloc.h"
#include "tests/lib/loop.h"
#include "tests/unit/agent/source/fake_sysfs.h"

#define CODE(x) SENSEBUS__V1__CODE__##x
#define ARMED   SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED
#define OFF     SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF
#define TRACE   SENSEBUS__V1__SOURCE__SOURCE_TRACE
#define UEVENT  SENSEBUS__V1__SOURCE__SOURCE_UEVENT
#define TCMU    SENSEBUS__V1__SOURCE__SOURCE_TARGET

/* ------------------------------------------------------------------------------------------------ fakes */

struct source {
    const struct source_ops *ops;
    void *data;
    unsigned n_resyncs;
    uv_timer_t timer; /* so that stopping takes a turn */
    void (*on_stopped)(void *data);
    void *on_stopped_data;
};
static struct source trace, uevent, tcmu;

static int start_fake(struct source *s, const struct source_options *options, const struct source_ops *ops, void *data,
                      struct source **out_source)
{
    s->ops = ops;
    s->data = data;
    uv_timer_init(options->loop, &s->timer);
    s->timer.data = s;
    *out_source = s;
    return 0;
}

#define START(name)                                                                                                    \
    static int start_##name(const struct source_options *options, const struct source_ops *ops, void *data,            \
                            struct source **out_source)                                                                \
    {                                                                                                                  \
        return start_fake(&name, options, ops, data, out_source);                                                      \
    }
START(trace)
START(uevent)
START(tcmu)

static void on_closed(uv_handle_t *handle)
{
    struct source *s = handle->data;

    s->on_stopped(s->on_stopped_data);
}

static void stop_fake(struct source *s, void (*cb)(void *data), void *data)
{
    s->on_stopped = cb;
    s->on_stopped_data = data;
    uv_close((uv_handle_t *)&s->timer, on_closed);
}

static void resync_fake(struct source *s)
{
    s->n_resyncs++;
}

static uint64_t last_proof_fake(const struct source *s)
{
    return s == &uevent ? 42 : 0;
}

static bool awaited_fake(const struct source *s)
{
    return s != &trace;
}

#define API(fake, number)                                                                                              \
    static const struct source_api fake##_api = {.name = #fake,                                                        \
                                                 .source = number,                                                     \
                                                 .start = start_##fake,                                                \
                                                 .stop = stop_fake,                                                    \
                                                 .resync = resync_fake,                                                \
                                                 .awaited = awaited_fake,                                              \
                                                 .last_proof = last_proof_fake}
API(trace, TRACE);
API(uevent, UEVENT);
API(tcmu, TCMU);
static const struct source_api *const list[] = {&trace_api, &uevent_api, &tcmu_api};

/* ------------------------------------------------------------------------------------------------ fixture */

struct kept {
    uint32_t code, source, mode;
    int64_t lun;
    size_t n_evidence;
    bool synthetic, has_gap;
    struct record_gap gap;
    char adapter[16], name[64], reason[512];
};

static struct test_loop loop;
static struct fake_sysfs tree;
static struct coverage coverage;
static struct sources *sources;
static struct kept kept[64];
static size_t n_kept, n_coverage;
static bool stopped;

static void on_record(void *data, const struct record *r)
{
    struct kept *k = &kept[n_kept++];

    (void)data;
    cr_assert_leq(n_kept, 64);
    *k = (struct kept){r->code, r->source, r->mode, r->place.lun, r->n_evidence, r->synthetic, r->gap != NULL};
    snprintf(k->adapter, sizeof k->adapter, "%s", r->place.adapter ? r->place.adapter : "");
    snprintf(k->name, sizeof k->name, "%s", r->native.name ? r->native.name : "");
    if (r->gap) {
        k->gap = *r->gap;
        snprintf(k->reason, sizeof k->reason, "%s", r->gap->reason);
    }
}

static void on_coverage(void *data)
{
    (void)data;
    n_coverage++;
}

static void start(uint32_t off)
{
    static const struct sources_ops ops = {.on_record = on_record, .on_coverage = on_coverage};
    struct sources_options options = {.off = off,
                                      .sysfs_root = tree.root,
                                      .poll_ms = 1000,
                                      .coverage = &coverage,
                                      .list = list,
                                      .n_list = sizeof list / sizeof *list};

    fake_sysfs_make(&tree);
    test_loop_init(&loop);
    cr_assert_eq(sources_start(&loop.loop, &options, &ops, NULL, &sources), 0);
}

static void on_stopped(void *data)
{
    (void)data;
    stopped = true;
}

static void stop(void)
{
    if (!sources)
        return;
    sources_stop(sources, on_stopped, NULL);
    sources_prove(sources);
    sources = NULL;
    test_loop_until(&loop, &stopped);
}

static void teardown(void)
{
    stop();
    test_loop_deinit(&loop);
    coverage_free(&coverage);
    fake_sysfs_remove(&tree);
}

TestSuite(sources, .fini = teardown);

static void arm(struct source *s, uint32_t number)
{
    s->ops->on_coverage(s->data, number, ARMED, "");
}

static void say(struct source *s, uint32_t number, uint32_t code, const char *name, int64_t lun)
{
    struct observation o = {
        .source = number, .code = code, .place = {3, 0, 1, lun}, .wall_ns = 7, .boot_ns = 8, .native.name = name};

    s->ops->on_observation(s->data, &o);
}

static bool has_records(void *data)
{
    return n_kept >= *(size_t *)data;
}

static void wait_records(size_t n)
{
    cr_assert(test_loop_until_true(&loop, has_records, &n), "%zu of %zu", n_kept, n);
    cr_assert_eq(n_kept, n);
}

/* ------------------------------------------------------------------------------------------------ tests */

Test(sources, each_has_one_line_of_coverage)
{
    start(1u << 0);
    arm(&uevent, UEVENT);
    tcmu.ops->on_coverage(tcmu.data, TCMU, OFF, "no module");
    cr_assert_eq(n_coverage, 3);
    tcmu.ops->on_coverage(tcmu.data, TCMU, OFF, "no module");
    cr_assert_eq(n_coverage, 3, "nothing new");
    sources_prove(sources);
    cr_assert_eq(coverage.n, 3);
    cr_assert_eq(coverage.entries[0].source, TRACE);
    cr_assert_eq(coverage.entries[0].state, OFF);
    cr_assert_str_eq(coverage.entries[0].reason, "turned off by --source");
    cr_assert_str_eq(coverage.entries[1].instance, "");
    cr_assert_eq(coverage.entries[1].state, ARMED);
    cr_assert_eq(coverage.entries[1].last_proof_ns, 42);
    cr_assert_str_eq(coverage.entries[2].instance, "tcmu", "target mode has lines of its own");
    cr_assert_str_eq(coverage.entries[2].reason, "no module");
    cr_assert_null(trace.ops, "it was never started");
}

Test(sources, an_observation_becomes_a_record_of_its_device)
{
    start(0);
    say(&uevent, UEVENT, CODE(DEVICE_ADDED), "uevent", 4);
    wait_records(1);
    cr_assert_eq(kept[0].code, CODE(DEVICE_ADDED));
    cr_assert_eq(kept[0].source, UEVENT);
    cr_assert_neq(kept[0].mode, SENSEBUS__V1__MODE__MODE_TARGET);
    cr_assert_str_eq(kept[0].adapter, "host3");
    cr_assert_eq(kept[0].lun, 4);
}

Test(sources, what_two_hooks_saw_is_one_record)
{
    start(0);
    arm(&trace, TRACE);
    arm(&uevent, UEVENT);
    say(&trace, TRACE, CODE(MODE_PARAMETERS_CHANGED), "unit-attention", 4);
    cr_assert_eq(n_kept, 0, "the other is waited for");
    say(&uevent, UEVENT, CODE(MODE_PARAMETERS_CHANGED), "SDEV_UA", 4);
    wait_records(1);
    cr_assert_eq(kept[0].source, TRACE);
    cr_assert_eq(kept[0].n_evidence, 1);
}

Test(sources, nobody_waits_for_a_degraded_source_that_says_so)
{
    start(0);
    trace.ops->on_coverage(trace.data, TRACE, SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_DEGRADED, "no sense");
    arm(&uevent, UEVENT);
    say(&uevent, UEVENT, CODE(MODE_PARAMETERS_CHANGED), "SDEV_UA", 4);
    cr_assert_eq(n_kept, 1, "at once");
}

Test(sources, what_a_target_of_this_host_says_has_mode_target)
{
    struct observation o = {
        .source = TCMU, .code = CODE(ADAPTER_CHANGED), .place = {-1, -1, -1, -1}, .native.name = "RECONFIG"};

    start(0);
    tcmu.ops->on_observation(tcmu.data, &o);
    wait_records(1);
    cr_assert_eq(kept[0].mode, SENSEBUS__V1__MODE__MODE_TARGET);
    cr_assert_str_eq(kept[0].adapter, "");
}

Test(sources, a_loss_is_told_as_of_unknown_size_and_all_look_again)
{
    start(0);
    uevent.ops->on_lost(uevent.data, UEVENT, 1000000000, 3500000000, "the buffer was full");
    cr_assert_eq(uevent.n_resyncs, 0, "not from inside a source");
    wait_records(1);
    cr_assert_eq(kept[0].code, CODE(EVENTS_LOST));
    cr_assert_eq(kept[0].mode, SENSEBUS__V1__MODE__MODE_BOTH);
    cr_assert(kept[0].has_gap);
    cr_assert_eq(kept[0].gap.stage, SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_KERNEL);
    cr_assert_eq(kept[0].gap.count, 0);
    cr_assert(kept[0].gap.at_least);
    cr_assert_str_eq(kept[0].reason, "uevent: the buffer was full (within 2501 ms)");
    cr_assert_eq(trace.n_resyncs + uevent.n_resyncs + tcmu.n_resyncs, 3);
}

Test(sources, losses_in_a_row_are_told_once_a_second)
{
    uint64_t begin = uv_hrtime();
    start(0);
    uevent.ops->on_lost(uevent.data, UEVENT, 1000000000, 2000000000, "one");
    wait_records(1);
    for (int i = 0; i < 100; i++)
        uevent.ops->on_lost(uevent.data, UEVENT, 3000000000, 4000000000 + (uint64_t)i, "another");
    trace.ops->on_lost(trace.data, TRACE, 1, 2, "of another source");
    test_loop_for(&loop, 100);
    if (uv_hrtime() - begin < 900000000) /* the machine did not stand still */
        cr_assert_eq(n_kept, 1);
    wait_records(3);
    cr_assert_eq(uevent.n_resyncs, 2);
}

Test(sources, a_doubt_makes_all_look_again_and_tells_nothing)
{
    start(0);
    for (int i = 0; i < 100; i++)
        uevent.ops->on_doubt(uevent.data, UEVENT);
    test_loop_for(&loop, 100);
    cr_assert_eq(trace.n_resyncs, 1);
    cr_assert_eq(uevent.n_resyncs, 1);
    cr_assert_eq(n_kept, 0);
}

Test(sources, what_a_caller_asked_for_is_told_at_once_behind_what_was_before_it)
{
    struct record reset = {.code = CODE(LUN_RESET),
                           .source = SENSEBUS__V1__SOURCE__SOURCE_AGENT,
                           .place = {.adapter = "host3", .controller = 3, .target = 1, .lun = 4},
                           .origin_session = "s1"};
    unsigned n_before = 0;

    start(0);
    say(&uevent, UEVENT, CODE(MODE_PARAMETERS_CHANGED), "SDEV_UA", 4);
    say(&uevent, UEVENT, CODE(MODE_PARAMETERS_CHANGED), "SDEV_UA", 4);
    say(&uevent, UEVENT, CODE(MODE_PARAMETERS_CHANGED), "SDEV_UA", 5);
    say(&uevent, UEVENT, CODE(MODE_PARAMETERS_CHANGED), "SDEV_UA", 5);
    sources_report(sources, &reset);
    for (size_t i = 0; i < n_kept; i++)
        n_before += kept[i].lun == 4 && kept[i].code == CODE(MODE_PARAMETERS_CHANGED);
    cr_assert_eq(n_before, 2, "the first, and what was held of that unit");
    cr_assert_eq(kept[n_kept - 1].code, CODE(LUN_RESET));
}

Test(sources, what_is_held_at_the_end_is_told)
{
    start(0);
    arm(&trace, TRACE);
    arm(&uevent, UEVENT);
    say(&uevent, UEVENT, CODE(MODE_PARAMETERS_CHANGED), "SDEV_UA", 4);
    uevent.ops->on_lost(uevent.data, UEVENT, 1, 2, "at the end");
    cr_assert_eq(n_kept, 0);
    stop();
    cr_assert_eq(n_kept, 2);
}

Test(sources, what_finds_no_memory_is_told_as_lost)
{
    unsigned n = 0;
    bool failed;

    start(0);
    do {
        n_kept = 0;
        failing_alloc_after(n);
        say(&uevent, UEVENT, CODE(DEVICE_OFFLINE), "state", n); /* another unit each time */
        failed = failing_alloc_stop();
        n++;
        wait_records(1);
        cr_assert(failed || kept[0].code == CODE(DEVICE_OFFLINE));
    } while (failed);
    cr_assert_gt(n, 1);
}

Test(sources, starting_without_memory_leaves_nothing)
{
    static const struct sources_ops ops = {.on_record = on_record, .on_coverage = on_coverage};
    struct sources_options options = {
        .sysfs_root = "/nonexistent", .poll_ms = 1000, .coverage = &coverage, .list = list, .n_list = 3};
    unsigned n = 0;
    int rc;

    fake_sysfs_make(&tree);
    test_loop_init(&loop);
    do {
        failing_alloc_after(n++);
        rc = sources_start(&loop.loop, &options, &ops, NULL, &sources);
        cr_assert(!failing_alloc_stop() || rc == UV_ENOMEM);
        test_loop_for(&loop, 1);
    } while (rc < 0);
    cr_assert_gt(n, 3);
}

Test(sources, names_of_the_real_ones_are_known)
{
    test_loop_init(&loop);
    fake_sysfs_make(&tree);
    cr_assert_eq(sources_find("uevent"), 0);
    cr_assert_eq(sources_find("all"), -1);
    cr_assert_leq(sources_count(), SOURCES_MAX);
    for (size_t i = 0; i < sources_count(); i++) {
        cr_assert_eq(sources_find(sources_list[i]->name), (int)i);
        cr_assert_not_null(sources_list[i]->check);
        cr_assert_not_null(sources_list[i]->last_proof);
    }
}
