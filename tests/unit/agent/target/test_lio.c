/* SPDX-License-Identifier: Apache-2.0 */
/* The looks, one after the other. What one sees is tested in test_lio_scan.c. */
#include "agent/target/lio.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/hanging_call.h"
#include "tests/lib/loop.h"

static struct test_loop loop;
static struct lio *lio; /* on the heap: what is used after it is gone is found */
static char root[] = "/tmp/sensebus-lio-XXXXXX", fabric[sizeof root + sizeof "/iscsi"];
static unsigned n_snapshots, n_failed;
static bool gone, stopped;

static void on_snapshot(void *data, struct snapshot *snapshot)
{
    (void)data;
    (void)snapshot;
    n_snapshots++;
}

static void on_failed(void *data, bool is_gone, const char *reason)
{
    (void)data;
    cr_assert(reason[0]);
    gone = is_gone;
    n_failed++;
}

static void setup(void)
{
    static const struct snapshot_ops ops = {.on_snapshot = on_snapshot, .on_failed = on_failed};

    cr_assert_not_null(mkdtemp(root));
    sprintf(fabric, "%s/iscsi", root);
    cr_assert_eq(mkdir(fabric, 0700), 0);
    test_loop_init(&loop);
    lio = calloc(1, sizeof *lio);
    cr_assert_not_null(lio);
    cr_assert_eq(lio_start(lio, &loop.loop, root, 5, &ops, NULL), 0);
}

static void on_stopped(void *data)
{
    (void)data;
    stopped = true;
    free(lio);
    lio = NULL;
}

static void stop(void)
{
    lio_stop(lio, on_stopped, NULL);
    cr_assert(test_loop_until(&loop, &stopped));
}

static void teardown(void)
{
    if (!stopped)
        stop();
    test_loop_deinit(&loop);
    rmdir(fabric);
    rmdir(root);
}

TestSuite(lio, .init = setup, .fini = teardown);

static bool has_looked(void *data)
{
    return n_snapshots >= *(unsigned *)data;
}

static bool has_failed(void *data)
{
    (void)data;
    return n_failed > 0;
}

static bool hangs(void *data)
{
    (void)data;
    return hanging_call_count() > 0;
}

Test(lio, looks_again_and_again_and_tells_when_nobody_serves_there)
{
    unsigned several = 3;

    cr_assert(test_loop_until_true(&loop, has_looked, &several));
    cr_assert_eq(n_failed, 0);
    cr_assert_eq(rmdir(fabric), 0);
    cr_assert(test_loop_until_true(&loop, has_failed, NULL));
    cr_assert(gone);
}

Test(lio, a_look_that_hangs_is_not_waited_for_and_may_return_at_any_time)
{
    unsigned told;

    hanging_call_begin();
    cr_assert(test_loop_until_true(&loop, hangs, NULL));
    told = n_snapshots;
    stop();
    hanging_call_let_go();
    test_loop_for(&loop, 50);
    cr_assert_eq(n_snapshots, told);
    cr_assert_eq(n_failed, 0);
}
