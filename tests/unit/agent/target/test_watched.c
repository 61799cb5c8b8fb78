/* SPDX-License-Identifier: Apache-2.0 */
/* One source that says what the test wants: what is told of it, and which adapters it has. */
#include "agent/target/watched.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/coverage.h"
#include "agent/numbers.h"
#include "agent/record.h"
#include "agent/target/tgtd_text.h"
#include "proto/registry.h"
#include "sensebus/v1/agents.pb-c.h"

static char directory[] = "/tmp/sensebus-watched-XXXXXX";
static struct coverage coverage;
static struct numbers initiators;
static struct watched w;
static char told[4096];
static int32_t last_number; /* target of the last record */
static unsigned n_lists;    /* changes of the list of adapters */

static void on_record(void *data, const struct record *r)
{
    size_t at = strlen(told);

    (void)data;
    snprintf(told + at, sizeof told - at, "%s %s\n", registry_find(r->code)->name, r->place.adapter);
    last_number = r->place.target;
}

static void on_coverage(void *data)
{
    (void)data;
}

static void on_adapters(void *data)
{
    (void)data;
    n_lists++;
}

static void setup(void)
{
    static const struct target_mode_ops ops = {
        .on_record = on_record, .on_coverage = on_coverage, .on_adapters = on_adapters};

    cr_assert_not_null(mkdtemp(directory));
    cr_assert_eq(numbers_load(&initiators, directory, "initiators", NUMBERS_MAX, false), 0);
    w = (struct watched){.source = {"tgt", 1000000, "tgtd-state", true},
                         .instance = "tgtd",
                         .ops = &ops,
                         .coverage = &coverage,
                         .initiators = &initiators};
    watched_start(&w);
}

static void teardown(void)
{
    watched_deinit(&w);
    coverage_free(&coverage);
    unlink(initiators.path);
    rmdir(directory);
    numbers_free(&initiators);
}

TestSuite(watched, .init = setup, .fini = teardown);

/* It looked, and tgtd said this. */
static void look(const char *text)
{
    struct snapshot snapshot;

    cr_assert_eq(tgtd_text_parse(text, strlen(text), &snapshot), 0);
    watched_snapshot(&w, &snapshot);
    snapshot_free(&snapshot);
}

static void expect_told(const char *text)
{
    cr_expect_str_eq(told, text);
    told[0] = 0;
}

static uint32_t state(void)
{
    return coverage.entries[0].state;
}

/* "tgt1=iqn.a tgt2=iqn.b" */
static const char *adapters(void)
{
    static char list[512];
    size_t at = 0;

    list[0] = 0;
    for (size_t i = 0; i < w.now.n_targets; i++) {
        struct target_mode_adapter adapter;

        watched_adapter(&w, i, &adapter);
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s=%s", i ? " " : "", adapter.name, adapter.own_id);
    }
    return list;
}

/* An initiator called "x\nTarget 2: iqn.forged\n…": names of adapters are unique, or the broker takes the agent for
 * broken and hangs up. */
Test(watched, a_forged_target_does_not_take_the_name_of_an_adapter)
{
    look("Target 1: iqn.first\nTarget 2: iqn.second\n");
    cr_expect_str_eq(adapters(), "tgt1=iqn.first tgt2=iqn.second");
    look("Target 1: iqn.first\nTarget 2: iqn.forged\nTarget 1: iqn.also\nTarget 2: iqn.second\n");
    cr_expect_str_eq(adapters(), "tgt1=iqn.first tgt2=iqn.second");
    cr_expect_eq(state(), SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_DEGRADED, "and it is said");
    expect_told("");
    cr_expect_eq(n_lists, 1);
    look("Target 1: iqn.first\nTarget 2: iqn.second\n");
    cr_expect_eq(state(), SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED);
    expect_told("");
}

Test(watched, of_several_new_targets_with_one_number_one_is_taken)
{
    look("Target 7: iqn.b\nTarget 7: iqn.a\nTarget 7: iqn.c\n");
    cr_expect_str_eq(adapters(), "tgt7=iqn.a");
    cr_expect_eq(state(), SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_DEGRADED);
    look("Target 7: iqn.c\n");
    cr_expect_str_eq(adapters(), "tgt7=iqn.c");
    expect_told("ADAPTER_REMOVED tgt7\nADAPTER_ADDED tgt7\n");
    look("Target 7: iqn.a\n"); /* what ended comes first, whatever the names are */
    expect_told("ADAPTER_REMOVED tgt7\nADAPTER_ADDED tgt7\n");
}

Test(watched, an_outage_is_told_once_and_once_more_when_it_is_worse)
{
    look("Target 1: iqn.first\n");
    watched_failed(&w, false, "no answer");
    watched_failed(&w, false, "no answer");
    expect_told("ADAPTER_COMMAND_FAILED tgt1\n");
    watched_failed(&w, true, "refused");
    watched_failed(&w, false, "no answer");
    watched_failed(&w, true, "refused");
    expect_told("ADAPTER_FATAL tgt1\n");
    cr_expect_str_eq(adapters(), "tgt1=iqn.first", "what was served is still known");
    look("Target 1: iqn.first\n");
    expect_told("ADAPTER_RESET tgt1\n");
}

/* Numbers are kept for ever, and whoever may log in chooses his name: what callers ask for must find some left. */
Test(watched, initiators_that_come_and_go_do_not_take_all_numbers)
{
    char text[256];

    look("Target 1: iqn.t\n");
    for (int i = 0; i <= WATCHED_MAX_NUMBERED; i++) {
        snprintf(text, sizeof text,
                 "Target 1: iqn.t\n    I_T nexus information:\n        I_T nexus: %d\n"
                 "            Initiator: iqn.guest-%d\n",
                 i, i);
        look(text);
        cr_assert_eq(last_number, i < WATCHED_MAX_NUMBERED ? i : -1);
        told[0] = 0;
    }
    cr_expect_eq(numbers_get(&initiators, "iqn.asked-for"), WATCHED_MAX_NUMBERED);
    look("Target 1: iqn.t\n    I_T nexus information:\n        I_T nexus: 9999\n"
         "            Initiator: iqn.asked-for\n");
    cr_expect_eq(last_number, WATCHED_MAX_NUMBERED);
}
