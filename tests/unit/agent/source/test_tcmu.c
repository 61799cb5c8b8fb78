/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/tcmu.h"

#include <criterion/criterion.h>
#include <string.h>

#include "sensebus/v1/agents.pb-c.h"
#include "sensebus/v1/code.pb-c.h"
#include "sensebus/v1/event.pb-c.h"
#include "tests/lib/loop.h"
#include "tests/unit/agent/source/fake_sysfs.h"
#include "tests/unit/agent/source/recorder.h"

static struct test_loop loop;
static struct fake_sysfs sysfs;
static struct recorder r;

static bool is_told(void *data)
{
    (void)data;
    return r.n_coverage > 0;
}

/* With the real socket: where the module says it is there and the kernel has no such family. */
Test(tcmu, says_that_the_kernel_has_no_such_family)
{
    struct source_options options = {.loop = &loop.loop, .sysfs_root = sysfs.root, .poll_ms = 10};
    struct source *source;
    char reason[SOURCE_REASON_BYTES];

    test_loop_init(&loop);
    fake_sysfs_make(&sysfs);
    cr_assert_eq(tcmu_source.check(&options, reason, sizeof reason), SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF);
    cr_assert(strstr(reason, "target_core_user is not loaded"));
    fake_sysfs_write(&sysfs, "module/target_core_user/refcnt", "0");
    cr_assert_eq(tcmu_source.start(&options, &recorder_ops, &r, &source), 0);
    cr_assert(test_loop_until_true(&loop, is_told, NULL));
    if (r.state == SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF)
        cr_assert(strstr(r.reason, "no such family"), "%s", r.reason);
    tcmu_source.stop(source, recorder_stopped, &r);
    cr_assert(test_loop_until(&loop, &r.stopped));
    test_loop_deinit(&loop);
    fake_sysfs_remove(&sysfs);
}
