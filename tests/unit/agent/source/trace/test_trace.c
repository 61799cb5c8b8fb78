/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/trace/trace.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sensebus/v1/agents.pb-c.h"

/* The two sources, each with what it waits for. */
static const struct which {
    const struct source_api *api;
    const char *module, *absent;
} sources[] = {
    {&trace_source_api, "module/scsi_mod", "scsi_mod is not loaded"},
    {&answers_source_api, "module/target_core_mod", "target_core_mod is not loaded"},
};
static const struct which *which = &sources[0];
static uv_loop_t loop;
static struct source *source;
static char root[64];
static uint32_t state;
static char reason[SOURCE_REASON_BYTES];
static int n_told, n_stopped;

static void on_observation(void *data, const struct observation *o)
{
    (void)data;
    (void)o;
}

static void on_lost(void *data, uint32_t s, uint64_t from, uint64_t to, const char *why)
{
    (void)data;
    (void)s;
    (void)from;
    (void)to;
    (void)why;
}

static void on_coverage(void *data, uint32_t s, uint32_t new_state, const char *why)
{
    (void)data;
    cr_assert_eq(s, which->api->source);
    state = new_state;
    snprintf(reason, sizeof reason, "%s", why);
    n_told++;
}

static const struct source_ops ops = {.on_observation = on_observation, .on_lost = on_lost, .on_coverage = on_coverage};

static void on_stopped(void *data)
{
    (void)data;
    n_stopped++;
}

static void make(const char *name)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", root, name);
    cr_assert_eq(mkdir(path, 0700), 0, "%s", path);
}

static void begin(void)
{
    snprintf(root, sizeof root, "/tmp/sensebus-trace.XXXXXX");
    cr_assert_not_null(mkdtemp(root));
    make("module");
    make("kernel");
    cr_assert_eq(uv_loop_init(&loop), 0);
}

static void end(void)
{
    static const char *const names[] = {"module/scsi_mod", "module/target_core_mod", "module", "kernel", ""};
    char path[128];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", root, names[i]);
        rmdir(path);
    }
    if (uv_loop_close(&loop) != 0)
        abort();
}
TestSuite(trace, .init = begin, .fini = end);

static void start(void)
{
    struct source_options options = {.loop = &loop, .sysfs_root = root, .poll_ms = 5000};

    cr_assert_eq(which->api->start(&options, &ops, NULL, &source), 0);
    cr_assert_eq(n_told, 0); /* no callback before it returned */
}

static void run_until_told(int n)
{
    while (n_told < n)
        uv_run(&loop, UV_RUN_ONCE);
}

static void stop(void)
{
    which->api->stop(source, on_stopped, NULL);
    cr_assert_eq(n_stopped, 0);
    while (!n_stopped)
        uv_run(&loop, UV_RUN_ONCE);
    cr_assert_eq(n_stopped, 1);
}

static void expect_to_wait(const struct which *w)
{
    which = w;
    n_told = n_stopped = 0;
    start();
    run_until_told(1);
    cr_expect_eq(state, SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF);
    cr_expect(strstr(reason, which->absent), "%s", reason);
    make(which->module);
    run_until_told(2);
    cr_expect_eq(state, SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF);
    cr_expect(strstr(reason, "BPF: "), "%s", reason);
    cr_expect(strstr(reason, "is no tracefs: mount it"), "%s", reason);
    cr_expect_eq(which->api->last_proof(source), 0);
    stop();
}

Test(trace, waits_for_its_module_and_tries_by_itself_when_it_comes)
{
    expect_to_wait(&sources[0]);
    expect_to_wait(&sources[1]);
}

Test(trace, can_be_stopped_before_it_looked)
{
    start();
    stop();
    cr_expect_eq(n_told, 0);
}

static void expect_check(const struct which *w)
{
    struct source_options options = {.loop = &loop, .sysfs_root = root};

    which = w;
    cr_expect_eq(which->api->check(&options, reason, sizeof reason), SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF);
    cr_expect(strstr(reason, which->absent), "%s", reason);
    make(which->module);
    cr_expect_eq(which->api->check(&options, reason, sizeof reason), SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF);
    cr_expect(strstr(reason, "BPF: ") && strstr(reason, "tracefs: "), "%s", reason);
}

Test(trace, checks_without_arming)
{
    expect_check(&sources[0]);
    expect_check(&sources[1]);
}

static void put(const char *name, const char *text)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", root, name);
    f = fopen(path, "w");
    cr_assert_not_null(f, "%s", path);
    fputs(text, f);
    fclose(f);
}

Test(trace, names_the_lockdown_that_forbids_it)
{
    struct source_options options = {.loop = &loop, .sysfs_root = root};
    char path[128];

    make("module/scsi_mod");
    make("module/target_core_mod");
    make("kernel/btf");
    put("kernel/btf/vmlinux", "");
    make("kernel/security");
    put("kernel/security/lockdown", "none integrity [confidentiality]\n");
    for (size_t i = 0; i < 2; i++) {
        which = &sources[i];
        cr_expect_eq(which->api->check(&options, reason, sizeof reason), SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF);
        cr_expect_str_eq(reason, "lockdown=confidentiality: the kernel lets nobody trace it");
        n_told = n_stopped = 0;
        start();
        run_until_told(1);
        cr_expect_str_eq(reason, "lockdown=confidentiality: the kernel lets nobody trace it");
        stop();
    }
    put("kernel/security/lockdown", "none [integrity] confidentiality\n");
    which->api->check(&options, reason, sizeof reason);
    cr_expect_not(strstr(reason, "lockdown"), "%s", reason);
    for (size_t i = 0; i < 4; i++) {
        static const char *const names[] = {"kernel/security/lockdown", "kernel/security", "kernel/btf/vmlinux",
                                            "kernel/btf"};

        snprintf(path, sizeof path, "%s/%s", root, names[i]);
        remove(path);
    }
}

/* The types of the running kernel, which on most machines of builders knows no SCSI, or does not let us in: either way
 * the reason says it, and nothing breaks. */
static void expect_an_answer_of_the_kernel(const struct which *w)
{
    which = w;
    n_told = n_stopped = 0;
    make(which->module);
    start();
    run_until_told(1);
    if (state == SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED)
        cr_expect_str_eq(reason, "");
    else
        cr_expect(reason[0]);
    stop();
}

Test(trace, says_why_a_real_kernel_refuses)
{
    char path[128];

    snprintf(path, sizeof path, "%s/kernel/btf", root);
    cr_assert_eq(symlink("/sys/kernel/btf", path), 0);
    expect_an_answer_of_the_kernel(&sources[0]);
    expect_an_answer_of_the_kernel(&sources[1]);
    unlink(path);
}
