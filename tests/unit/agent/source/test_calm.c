/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/calm.h"

#include <criterion/criterion.h>

#include "agent/record.h"
#include "sensebus/v1/code.pb-c.h"
#include "sensebus/v1/event.pb-c.h"
#include "tests/lib/failing_alloc.h"
#include "tests/lib/loop.h"

#define CODE(name) SENSEBUS__V1__CODE__##name

static struct test_loop loop;
static struct calm *calm;
static struct {
    uint32_t code;
    uint64_t count;
} told[16];
static size_t n_told;
static bool stopped;

static void on_record(void *data, const struct record *r)
{
    (void)data;
    cr_assert_lt(n_told, sizeof told / sizeof *told);
    told[n_told].code = r->code;
    told[n_told++].count = r->count > 1 ? r->count : 1;
}

static void on_stopped(void *data)
{
    (void)data;
    stopped = true;
}

static void start(uint32_t hold_ms)
{
    cr_assert_eq(calm_start(&loop.loop, &(struct storm_options){.hold_ms = hold_ms}, on_record, NULL, &calm), 0);
}

static void setup(void)
{
    test_loop_init(&loop);
}

static void stop(void)
{
    if (calm)
        calm_stop(calm, on_stopped, NULL);
    calm = NULL;
}

static void teardown(void)
{
    stop();
    test_loop_until(&loop, &stopped);
    test_loop_deinit(&loop);
}

TestSuite(calm, .init = setup, .fini = teardown);

static void take(uint32_t code, bool prompt)
{
    struct record r = {
        .code = code,
        .source = SENSEBUS__V1__SOURCE__SOURCE_ISCSI,
        .place = {.adapter = "iscsi0", .target = 1, .lun = prompt ? -1 : 0, .target_name = "iqn.t"},
        .native = {.name = "x"},
        .prompt = prompt,
    };

    calm_take(calm, &r);
}

static bool has_five(void *data)
{
    uint64_t n = 0;

    (void)data;
    for (size_t i = 0; i < n_told; i++)
        n += told[i].count;
    return n == 5;
}

Test(calm, a_burst_is_the_first_at_once_and_an_update_by_itself)
{
    start(500);
    take(CODE(MODE_PARAMETERS_CHANGED), false);
    cr_assert_eq(n_told, 1);
    for (int i = 0; i < 4; i++)
        take(CODE(MODE_PARAMETERS_CHANGED), false);
    cr_assert(test_loop_until_true(&loop, has_five, NULL));
    cr_assert_eq(told[0].count, 1);
}

Test(calm, what_is_never_held_comes_at_once_behind_what_was_before_it)
{
    start(3600000);
    take(CODE(MODE_PARAMETERS_CHANGED), false);
    take(CODE(MODE_PARAMETERS_CHANGED), false);
    take(CODE(MODE_PARAMETERS_CHANGED), false);
    take(CODE(NEXUS_LOST), true);
    cr_assert_eq(n_told, 3);
    cr_assert_eq(told[1].count, 2);
    cr_assert_eq(told[2].code, CODE(NEXUS_LOST));
}

Test(calm, what_is_held_at_the_end_is_told)
{
    start(3600000);
    take(CODE(MODE_PARAMETERS_CHANGED), false);
    take(CODE(MODE_PARAMETERS_CHANGED), false);
    cr_assert_eq(n_told, 1);
    stop();
    cr_assert_eq(n_told, 2);
}

Test(calm, starting_without_memory_leaves_nothing)
{
    unsigned n = 0;
    int rc;

    do {
        failing_alloc_after(n++);
        rc = calm_start(&loop.loop, &(struct storm_options){0}, on_record, NULL, &calm);
        cr_assert_eq(rc, failing_alloc_stop() ? UV_ENOMEM : 0);
    } while (rc < 0);
    cr_assert_gt(n, 2);
}
