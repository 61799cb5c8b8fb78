/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/agent/source/recorder.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

void recorder_observation(void *data, const struct observation *observation)
{
    struct recorder *r = data;
    struct recorded *to = &r->seen[r->n];

    cr_assert_lt(r->n, RECORDER_MAX);
    to->o = *observation;
    snprintf(to->name, sizeof to->name, "%s", observation->native.name);
    snprintf(to->detail, sizeof to->detail, "%s", observation->native.detail ? observation->native.detail : "");
    snprintf(to->target_name, sizeof to->target_name, "%s", observation->target_name ? observation->target_name : "");
    snprintf(to->object, sizeof to->object, "%s", observation->object ? observation->object : "");
    r->n++;
}

static void on_lost(void *data, uint32_t source, uint64_t from_wall_ns, uint64_t to_wall_ns, const char *reason)
{
    struct recorder *r = data;

    (void)source;
    r->n_lost++;
    r->lost_from = from_wall_ns;
    r->lost_to = to_wall_ns;
    snprintf(r->lost_reason, sizeof r->lost_reason, "%s", reason);
}

static void on_doubt(void *data, uint32_t source)
{
    struct recorder *r = data;

    (void)source;
    r->n_doubts++;
}

static void on_coverage(void *data, uint32_t source, uint32_t state, const char *reason)
{
    struct recorder *r = data;

    (void)source;
    r->n_coverage++;
    r->state = state;
    snprintf(r->reason, sizeof r->reason, "%s", reason);
}

const struct source_ops recorder_ops = {
    .on_observation = recorder_observation, .on_lost = on_lost, .on_doubt = on_doubt, .on_coverage = on_coverage};

void recorder_stopped(void *data)
{
    struct recorder *r = data;

    r->stopped = true;
}

void recorder_clear(struct recorder *r)
{
    r->n = 0;
}
