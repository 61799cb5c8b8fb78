/* SPDX-License-Identifier: Apache-2.0 */
/* Without a SCSI device: what is in the way of a reset. The reset itself is done in a guest. */
#include "agent/kernel/reset.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/hanging_call.h"
#include "tests/lib/loop.h"
#include "tests/unit/agent/source/fake_sysfs.h"

#define DEVICE "bus/scsi/devices/3:0:1:4/"

static struct test_loop loop;
static struct fake_sysfs sysfs;
static struct resets resets;
static const struct observation_place place = {3, 0, 1, 4};
static int n_answers, answer;
static char words[RESET_WORDS_BYTES];

static void setup(void)
{
    test_loop_init(&loop);
    fake_sysfs_make(&sysfs);
    fake_sysfs_write(&sysfs, DEVICE "state", "running");
}

static void teardown(void)
{
    test_loop_deinit(&loop);
    fake_sysfs_remove(&sysfs);
}

TestSuite(reset, .init = setup, .fini = teardown);

static void on_reset(void *data, int rc, const char *text)
{
    (void)data;
    n_answers++;
    answer = rc;
    strcpy(words, text);
}

static int begin(void)
{
    return resets_begin(&resets, &loop.loop, sysfs.root, "/dev", &place, RESET_MODE_UNIT, on_reset, NULL);
}

static bool answered(void *data)
{
    return n_answers >= *(int *)data;
}

static int reset_once(void)
{
    int n = n_answers + 1;

    cr_assert_eq(begin(), 0);
    cr_assert(test_loop_until_true(&loop, answered, &n));
    cr_assert_eq(resets.n, 0);
    return answer;
}

Test(reset, names_what_is_in_the_way)
{
    cr_expect_eq(reset_once(), UV_ENOENT);
    cr_expect(strstr(words, "no node"), "%s", words);
    fake_sysfs_write(&sysfs, DEVICE "block/sd-none/dev", "8:0");
    cr_expect_eq(reset_once(), UV_ENOENT);
    cr_expect(strstr(words, "/dev/sd-none: no such file"), "%s", words);
    fake_sysfs_write(&sysfs, DEVICE "scsi_generic/null/dev", "21:3");
    cr_expect_eq(reset_once(), UV_ENOENT);
    cr_expect(strstr(words, "/dev/null is not the node") && strstr(words, "21:3"), "%s", words);
    fake_sysfs_write(&sysfs, DEVICE "scsi_generic/null/dev", "1:3");
    cr_expect_eq(reset_once(), UV_ENOTTY);
    cr_expect(strstr(words, "/dev/null"), "%s", words);
    fake_sysfs_delete(&sysfs, DEVICE);
    cr_expect_eq(reset_once(), UV_ENODEV);
}

Test(reset, only_so_many_at_a_time)
{
    int all = RESETS_MAX;

    for (int i = 0; i < RESETS_MAX; i++)
        cr_assert_eq(begin(), 0);
    cr_assert_eq(begin(), UV_EBUSY);
    cr_assert(test_loop_until_true(&loop, answered, &all));
    cr_assert_eq(reset_once(), UV_ENOENT);
}

Test(reset, those_that_are_cancelled_end_at_once_and_only_once)
{
    for (int i = 0; i < RESETS_MAX; i++)
        cr_assert_eq(begin(), 0);
    resets_cancel(&resets);
    cr_assert_eq(n_answers, RESETS_MAX);
    cr_assert_eq(answer, UV_ECANCELED);
    test_loop_for(&loop, 50);
    cr_assert_eq(n_answers, RESETS_MAX);
}

static bool all_hang(void *data)
{
    (void)data;
    return hanging_call_count() == RESETS_MAX;
}

Test(reset, one_that_the_kernel_does_not_end_is_over_when_it_is_cancelled_and_may_return_at_any_time)
{
    fake_sysfs_write(&sysfs, DEVICE "scsi_generic/null/dev", "1:3");
    hanging_call_begin();
    for (int i = 0; i < RESETS_MAX; i++)
        cr_assert_eq(begin(), 0);
    cr_assert(test_loop_until_true(&loop, all_hang, NULL));
    cr_assert_eq(begin(), UV_EBUSY);
    resets_cancel(&resets);
    cr_assert_eq(n_answers, RESETS_MAX);
    cr_assert_eq(answer, UV_ECANCELED);
    memset(&resets, 0xff, sizeof resets); /* the owner is gone */
    hanging_call_let_go();
    test_loop_for(&loop, 50);
    cr_assert_eq(n_answers, RESETS_MAX);
}
