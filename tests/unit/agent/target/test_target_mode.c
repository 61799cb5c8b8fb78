/* SPDX-License-Identifier: Apache-2.0 */
/* The parts together, on a tree as LIO shows it, and without any source. A real tgtd and a feed, through the agent and
 * the broker, are in tests/integration/target_mode.py. */
#include "agent/target/target_mode.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/coverage.h"
#include "agent/record.h"
#include "proto/registry.h"
#include "sensebus/v1/agents.pb-c.h"
#include "tests/lib/loop.h"

#define SERVED "iqn.2026-01.example:disks"
#define CLIENT "iqn.2026-01.example:client"

static char directory[] = "/tmp/sensebus-target-mode-XXXXXX";
static struct test_loop loop;
static struct coverage coverage;
static struct target_mode *mode;
static bool stopped;
static unsigned n_adapter_changes, n_coverage_changes;
static char told[4096]; /* records, a line each */

static void on_record(void *data, const struct record *r)
{
    size_t at = strlen(told);

    (void)data;
    cr_assert_eq(r->mode, SENSEBUS__V1__MODE__MODE_TARGET);
    cr_assert(r->synthetic);
    cr_assert_str_eq(r->native.name, "lio-state");
    cr_assert(r->wall_ns > 0 && r->boot_ns > 0);
    at += (size_t)snprintf(told + at, sizeof told - at, "%s %s", registry_find(r->code)->name, r->place.adapter);
    if (r->place.lun >= 0)
        at += (size_t)snprintf(told + at, sizeof told - at, " lun %d", (int)r->place.lun);
    if (r->place.target >= 0)
        at += (size_t)snprintf(told + at, sizeof told - at, " initiator %d %s", r->place.target, r->place.target_name);
    snprintf(told + at, sizeof told - at, "\n");
}

static void on_coverage(void *data)
{
    (void)data;
    n_coverage_changes++;
}

static void on_adapters(void *data)
{
    (void)data;
    n_adapter_changes++;
}

static bool on_received(void *data, const char *session_id, uint64_t generation, const uint8_t *bytes, size_t len)
{
    (void)data;
    (void)session_id;
    (void)generation;
    (void)bytes;
    (void)len;
    cr_assert_fail("there is no feed");
    return true;
}

static const struct target_mode_ops ops = {
    .on_record = on_record, .on_coverage = on_coverage, .on_adapters = on_adapters, .on_received = on_received};

static void on_stopped(void *data)
{
    (void)data;
    stopped = true;
}

static void start(const char *lio_root)
{
    struct target_mode_options options = {
        .lio_root = lio_root, .state_directory = directory, .poll_ms = 10, .coverage = &coverage};
    char err[256] = "";

    cr_assert_eq(target_mode_start(&loop.loop, &options, &ops, NULL, &mode, err, sizeof err), 0, "%s", err);
    cr_assert_eq(n_coverage_changes + n_adapter_changes, 0, "nothing is told before it returned");
}

static void stop(void)
{
    stopped = false;
    target_mode_stop(mode, on_stopped, NULL);
    if (!test_loop_until(&loop, &stopped))
        abort();
    mode = NULL;
}

static void setup(void)
{
    cr_assert_not_null(mkdtemp(directory));
    test_loop_init(&loop);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static void teardown(void)
{
    if (mode)
        stop();
    test_loop_deinit(&loop);
    coverage_free(&coverage);
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(target_mode, .init = setup, .fini = teardown, .timeout = 60);

/* ------------------------------------------------------------------------------------------------ the tree */

static void full(const char *path, char out[1024])
{
    snprintf(out, 1024, "%s/lio/%s", directory, path);
}

static void folder(const char *path)
{
    char whole[1024];

    full(path, whole);
    for (char *slash = whole + strlen(directory) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = 0;
        mkdir(whole, 0700);
    }
    mkdir(whole, 0700);
}

/* At once, as configfs changes: no look sees half of it. */
static void file(const char *path, const char *text)
{
    char whole[1024], half[1024];
    FILE *f;

    full(path, whole);
    snprintf(half, sizeof half, "%s/half", directory);
    f = fopen(half, "w");
    cr_assert_not_null(f);
    fputs(text, f);
    fclose(f);
    cr_assert_eq(rename(half, whole), 0);
}

static const char *root(void)
{
    static char path[1024];

    full("", path);
    path[strlen(path) - 1] = 0;
    return path;
}

static void make_target(void)
{
    folder("iscsi/" SERVED "/tpgt_1/acls/" CLIENT);
    folder("iscsi/" SERVED "/tpgt_1/lun/lun_0");
    file("iscsi/" SERVED "/tpgt_1/enable", "1\n");
    file("iscsi/" SERVED "/tpgt_1/acls/" CLIENT "/info", "No active iSCSI Session\n");
}

static bool armed(void *data)
{
    (void)data;
    return coverage.n > 0 && coverage.entries[0].state == SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED;
}

static bool was_told(void *text)
{
    return strlen(told) >= strlen(text);
}

static void expect(const char *text)
{
    cr_assert(test_loop_until_true(&loop, was_told, (void *)text), "told:\n%s", told);
    cr_expect_str_eq(told, text);
}

static void start_armed(void)
{
    make_target();
    start(root());
    cr_assert(test_loop_until_true(&loop, armed, NULL));
}

/* ------------------------------------------------------------------------------------------------ sources */

Test(target_mode, each_change_is_one_record_and_the_start_is_none)
{
    start_armed();
    cr_expect_str_eq(told, "");
    file("iscsi/" SERVED "/tpgt_1/acls/" CLIENT "/info", "LIO Session ID: 3   ISID: 0\n   Address 192.0.2.1 TCP\n");
    expect("REMOTE_LOGIN lio0 initiator 0 " CLIENT "\n");
    file("iscsi/" SERVED "/tpgt_1/enable", "0\n");
    folder("iscsi/" SERVED "/tpgt_1/lun/lun_9");
    expect("REMOTE_LOGIN lio0 initiator 0 " CLIENT "\nADAPTER_SUSPENDED lio0\nDEVICE_ADDED lio0 lun 9\n");
}

Test(target_mode, a_tree_that_goes_is_told_once_and_comes_back)
{
    char was[1024], is[1024];

    start_armed();
    full("iscsi", was);
    full("elsewhere", is);
    cr_assert_eq(rename(was, is), 0);
    expect("ADAPTER_FATAL lio0\n");
    cr_expect_eq(coverage.entries[0].state, SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF);
    cr_expect_eq(target_mode_n_adapters(mode), 1, "what was served is still known");
    test_loop_for(&loop, 50);
    cr_expect_str_eq(told, "ADAPTER_FATAL lio0\n");
    cr_assert_eq(rename(is, was), 0);
    expect("ADAPTER_FATAL lio0\nADAPTER_RESET lio0\n");
    cr_expect(armed(NULL));
}

/* A22: an alias is stable. */
Test(target_mode, numbers_of_targets_and_initiators_survive_a_restart)
{
    Sensebus__V1__StartTarget request = SENSEBUS__V1__START_TARGET__INIT;
    Sensebus__V1__DeviceAddress address = SENSEBUS__V1__DEVICE_ADDRESS__INIT;
    struct target_mode_result result;

    request.address = &address;
    request.buffer_bytes = 4096;
    request.n_buffers = 16;
    start_armed();
    address.target_name = "iqn.other";
    target_mode_open(mode, "s1", 1, &request, &result);
    cr_expect_eq(result.target, 0);
    address.target_name = CLIENT;
    target_mode_open(mode, "s2", 2, &request, &result);
    cr_expect_eq(result.target, 1);
    stop();
    n_adapter_changes = n_coverage_changes = 0;
    folder("iscsi/iqn.1999-01.example:first/tpgt_1");
    start(root());
    while (target_mode_n_adapters(mode) < 2)
        uv_run(&loop.loop, UV_RUN_ONCE);
    target_mode_open(mode, "s3", 3, &request, &result);
    cr_expect_eq(result.error, SENSEBUS__V1__ERRNO__ERRNO_EINVAL, "two targets: the adapter must be named");
    address.adapter = "lio0";
    target_mode_open(mode, "s3", 3, &request, &result);
    cr_expect_eq(result.target, 1);
    cr_expect_str_eq(result.initiator, CLIENT);
    address.target_name = "";
    address.target = 0;
    target_mode_open(mode, "s4", 4, &request, &result);
    cr_expect_str_eq(result.initiator, "iqn.other", "by its number");
}

Test(target_mode, lists_each_served_target_as_an_adapter)
{
    struct target_mode_adapter adapter;

    start_armed();
    cr_assert_eq(target_mode_n_adapters(mode), 1);
    cr_expect_eq(n_adapter_changes, 1);
    target_mode_adapter_at(mode, 0, &adapter);
    cr_expect_str_eq(adapter.name, "lio0");
    cr_expect_str_eq(adapter.own_id, SERVED);
    cr_expect_eq(adapter.controller, 2000000);
    cr_expect_eq(adapter.n_capabilities, 2);
    cr_expect(target_mode_find_adapter(mode, "lio0", &adapter));
    cr_expect_not(target_mode_find_adapter(mode, "lio1", &adapter));
    cr_expect_not(target_mode_find_adapter(mode, "lio00", &adapter));
    adapter.name = "";
    cr_expect(target_mode_find_lio(mode, SERVED, &adapter));
    cr_expect_str_eq(adapter.name, "lio0");
    cr_expect_not(target_mode_find_lio(mode, CLIENT, &adapter));
    cr_expect(target_mode_is_adapter("tgt17"));
    cr_expect_not(target_mode_is_adapter("tgt"));
    cr_expect_not(target_mode_is_adapter("iscsi0"));
    cr_expect_not(target_mode_is_adapter("tgt1x"));
}

/* ------------------------------------------------------------------------------------------------ sessions */

/* Rules 11 and 12, SCIOSTARTTGT: each part of the request has its own detail. */
Test(target_mode, open_says_which_part_is_wrong)
{
    static char long_id[80];
    static const struct {
        const char *id, *adapter, *initiator;
        int32_t target;
        int64_t lun;
        uint32_t bytes, n;
        int error, detail;
    } rows[] = {
        {"s1", "lio0", CLIENT, 0, 0, 4096, 16, 0, 0},
        {"s1", "lio0", CLIENT, 0, 0, 4096, 16, 3, 3},    /* ALREADY_STARTED */
        {"s2", "lio0", SERVED, 0, 0, 4096, 16, 3, 8},    /* OWN_ID */
        {"s2", "lio7", CLIENT, 0, 0, 4096, 16, 3, 7},    /* ADDRESS */
        {"s2", "iscsi0", CLIENT, 0, 0, 4096, 16, 3, 7},  /* ADDRESS */
        {"s2", "lio0", CLIENT, 0, 1, 4096, 16, 3, 7},    /* ADDRESS: lun */
        {"s2", "lio0", "client", 0, 0, 4096, 16, 3, 7},  /* ADDRESS: not a name */
        {"s2", "lio0", "", 99, 0, 4096, 16, 3, 7},       /* ADDRESS: not a number */
        {"s2", "lio0", "", -1, 0, 4096, 16, 3, 7},       /* ADDRESS: nothing */
        {"s2", "lio0", CLIENT, 0, 0, 4097, 16, 3, 9},    /* BUFFERS */
        {"s2", "lio0", CLIENT, 0, 0, 0, 16, 3, 9},       /* BUFFERS */
        {"s2", "lio0", CLIENT, 0, 0, 4096, 15, 3, 9},    /* BUFFERS */
        {"s2", "lio0", CLIENT, 0, 0, 4096, 4097, 6, 0},  /* ENOMEM */
        {"", "lio0", CLIENT, 0, 0, 4096, 16, 3, 7},      /* no id */
        {long_id, "lio0", CLIENT, 0, 0, 4096, 16, 3, 7}, /* no such id */
        {"s2", "lio0", CLIENT, 0, 0, 1, 4096, 0, 0},     /* A8: another of the same initiator */
    };

    memset(long_id, 'x', sizeof long_id - 1);
    start_armed();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        Sensebus__V1__StartTarget request = SENSEBUS__V1__START_TARGET__INIT;
        Sensebus__V1__DeviceAddress address = SENSEBUS__V1__DEVICE_ADDRESS__INIT;
        struct target_mode_result result;

        request.address = &address;
        address.adapter = (char *)rows[i].adapter;
        address.target_name = (char *)rows[i].initiator;
        address.target = rows[i].target;
        address.lun = rows[i].lun;
        request.buffer_bytes = rows[i].bytes;
        request.n_buffers = rows[i].n;
        target_mode_open(mode, rows[i].id, 1, &request, &result);
        cr_expect_eq((int)result.error, rows[i].error, "row %zu: %s", i, result.message);
        cr_expect_eq((int)result.detail, rows[i].detail, "row %zu: %s", i, result.message);
        cr_expect_eq(result.message[0] == 0, rows[i].error == 0, "row %zu", i);
    }
}

Test(target_mode, sessions_end_and_know_whether_their_target_is_there)
{
    Sensebus__V1__StartTarget request = SENSEBUS__V1__START_TARGET__INIT;
    Sensebus__V1__DeviceAddress address = SENSEBUS__V1__DEVICE_ADDRESS__INIT;
    struct target_mode_result result;
    char was[1024], is[1024];

    request.address = &address;
    request.buffer_bytes = 1;
    request.n_buffers = 16;
    address.target_name = CLIENT;
    start_armed();
    target_mode_open(mode, "s1", 7, &request, &result);
    cr_expect_not(result.logged_in);
    target_mode_register(mode, "s1", 7, &result);
    cr_expect_eq(result.error, SENSEBUS__V1__ERRNO__ERRNO_OK);
    target_mode_register(mode, "s1", 8, &result);
    cr_expect_eq(result.detail, SENSEBUS__V1__EINVAL_DETAIL__EINVAL_DETAIL_NOT_STARTED);
    target_mode_release(mode, "s1", 7, 5); /* none is held */
    target_mode_release(mode, "s9", 1, 5);
    full("iscsi/" SERVED, was);
    full("iscsi/no-iscsi-name", is);
    cr_assert_eq(rename(was, is), 0);
    expect("ADAPTER_REMOVED lio0\n");
    target_mode_register(mode, "s1", 7, &result);
    cr_expect_eq(result.error, SENSEBUS__V1__ERRNO__ERRNO_ENXIO);
    cr_expect_not(target_mode_close(mode, "s1", 8));
    cr_expect(target_mode_close(mode, "s1", 7));
    cr_expect_not(target_mode_close(mode, "s1", 7));
    target_mode_close_all(mode);
}

/* Rule 12: what is not there is ENXIO, never silently done. */
Test(target_mode, without_any_source_there_is_no_target_mode)
{
    Sensebus__V1__StartTarget request = SENSEBUS__V1__START_TARGET__INIT;
    struct target_mode_result result;

    start(NULL);
    cr_expect_eq(target_mode_n_adapters(mode), 0);
    target_mode_open(mode, "s1", 1, &request, &result);
    cr_expect_eq(result.error, SENSEBUS__V1__ERRNO__ERRNO_ENXIO);
    cr_expect_eq(result.detail, SENSEBUS__V1__EINVAL_DETAIL__EINVAL_DETAIL_NOT_SUPPORTED);
    target_mode_prove(mode);
    target_mode_writable(mode);
    cr_expect_eq(coverage.n, 0);
}

Test(target_mode, options_that_cannot_be_are_named)
{
    static char longest[2000];
    struct target_mode_options options = {.state_directory = directory, .coverage = &coverage};
    char err[256] = "";

    memset(longest, 'x', sizeof longest - 1);
    options.feed = longest;
    cr_expect_eq(target_mode_start(&loop.loop, &options, &ops, NULL, &mode, err, sizeof err), UV_EINVAL);
    cr_expect_not_null(strstr(err, "target-feed"), "%s", err);
    options.feed = NULL;
    options.tgtd_socket = longest;
    cr_expect_eq(target_mode_start(&loop.loop, &options, &ops, NULL, &mode, err, sizeof err), UV_EINVAL);
    cr_expect_not_null(strstr(err, "tgtd"), "%s", err);
    options.tgtd_socket = NULL;
    options.lio_root = longest;
    cr_expect_eq(target_mode_start(&loop.loop, &options, &ops, NULL, &mode, err, sizeof err), UV_EINVAL);
    cr_expect_not_null(strstr(err, "lio"), "%s", err);
    cr_expect_null(mode);
}
