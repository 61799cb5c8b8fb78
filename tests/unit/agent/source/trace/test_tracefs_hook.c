/* SPDX-License-Identifier: Apache-2.0 */
/* Folders that stand for tracefs: what a kernel lacks or refuses there is a reason in words, and nothing stays. What a
 * real one tells is tested in a guest (tests/guest). */
#include "agent/source/trace/hook.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

static const struct which {
    const struct hook_api *api;
    const char *point; /* what must be there */
} hooks[] = {
    {&tracefs_hook_api, "scsi/scsi_dispatch_cmd_done"},
    {&tracefs_target_api, "target/target_cmd_complete"},
};
static char root[64], reason[HOOK_REASON_BYTES];

/* A folder below the root, with those that it is in. */
static void make(const char *folder, const char *name)
{
    char path[256];
    size_t above = strlen(root) + 1;

    snprintf(path, sizeof path, "%s/%s%s", root, folder, name);
    for (char *slash = path + above; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        mkdir(path, 0700);
        *slash = '/';
    }
    mkdir(path, 0700);
}

static void begin(void)
{
    snprintf(root, sizeof root, "/tmp/sensebus-tracefs.XXXXXX");
    cr_assert_not_null(mkdtemp(root));
}

static int on_entry(const char *path, const struct stat *st, int flag, struct FTW *walk)
{
    (void)st;
    (void)flag;
    (void)walk;
    return remove(path);
}

static void end(void)
{
    nftw(root, on_entry, 8, FTW_DEPTH | FTW_PHYS);
}
TestSuite(tracefs_hook, .init = begin, .fini = end);

static void expect_refused(const struct which *w, const char *why)
{
    struct hook *hook = NULL;

    reason[0] = 0;
    cr_expect_eq(w->api->open(root, &hook, reason, sizeof reason), UV_ENOTSUP);
    cr_expect_null(hook);
    cr_expect(strstr(reason, why), "\"%s\" does not say \"%s\"", reason, why);
}

static int n_instances(void)
{
    char path[256];
    int n = -2; /* "." and ".." */
    DIR *folder;

    snprintf(path, sizeof path, "%s/kernel/tracing/instances", root);
    folder = opendir(path);
    cr_assert_not_null(folder);
    while (readdir(folder))
        n++;
    closedir(folder);
    return n;
}

Test(tracefs_hook, says_that_tracefs_is_not_mounted)
{
    make("kernel/tracing", "");
    for (size_t i = 0; i < 2; i++) {
        cr_expect_not(hooks[i].api->possible(root, reason, sizeof reason));
        expect_refused(&hooks[i], "kernel/tracing is no tracefs: mount it");
    }
}

Test(tracefs_hook, names_the_trace_point_that_the_kernel_lacks)
{
    make("kernel/tracing/instances", "");
    for (size_t i = 0; i < 2; i++) {
        cr_expect_not(hooks[i].api->possible(root, reason, sizeof reason));
        expect_refused(&hooks[i], hooks[i].point);
    }
    cr_expect_eq(n_instances(), 0);
}

Test(tracefs_hook, says_what_to_grant_when_it_may_not_write)
{
    char path[256];

    if (geteuid() == 0)
        cr_skip("root may write everywhere");
    make("kernel/debug/tracing/instances", "");
    snprintf(path, sizeof path, "%s/kernel/debug/tracing/instances", root);
    cr_assert_eq(chmod(path, 0500), 0);
    for (size_t i = 0; i < 2; i++)
        expect_refused(&hooks[i], "run the agent as root, or let it use tracefs (mount option gid=)");
    chmod(path, 0700);
}

/* As in lockdown: there are the folders, and none of their files can be opened. */
Test(tracefs_hook, leaves_nothing_behind_when_the_kernel_refuses_its_files)
{
    make("kernel/tracing/instances", "");
    for (size_t i = 0; i < 2; i++) {
        make("kernel/tracing/events/", hooks[i].point);
        cr_expect(hooks[i].api->possible(root, reason, sizeof reason), "%s", reason);
        expect_refused(&hooks[i], "tracefs has no clock \"mono\"");
        cr_expect_eq(n_instances(), 0);
    }
}

/* Of agents that died; what somebody else made stays. */
Test(tracefs_hook, removes_the_instances_of_dead_agents)
{
    make("kernel/tracing/instances/sensebus-agent.2147483646", "");
    make("kernel/tracing/instances/sensebus-agent-target.2147483646", "");
    make("kernel/tracing/instances/sensebus-agent.1", ""); /* alive */
    make("kernel/tracing/instances/somebody", "");
    for (size_t i = 0; i < 2; i++) {
        make("kernel/tracing/events/", hooks[i].point);
        expect_refused(&hooks[i], "tracefs");
    }
    cr_expect_eq(n_instances(), 2);
}
