/* SPDX-License-Identifier: Apache-2.0 */
/* The life of the machine, and what happens to all of it at once: time, an agent that goes, the broker's end. */
#include "broker/core/adapter/adapter.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/adapter/mutant.h"
#include "broker/core/adapter/state.h"

#define RETRY_NS      10000000ull /* when memory was out */
#define GENERATION_NS 1024

static uint32_t or_default(uint32_t given, uint32_t otherwise)
{
    return given ? given : otherwise;
}

uint64_t adapter_first_generation(uint64_t wall_ns, uint64_t newest_record_ns)
{
    return wall_ns > newest_record_ns ? wall_ns / GENERATION_NS : newest_record_ns / GENERATION_NS + 1;
}

struct adapter *adapter_new(const struct adapter_limits *limits, uint64_t seed, uint64_t first_generation)
{
    struct adapter *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    if (limits)
        a->limits = *limits;
    struct adapter_limits *l = &a->limits;
    l->max_sessions = or_default(l->max_sessions, 65536);
    l->max_streams_principal = or_default(l->max_streams_principal, 256);
    l->max_sessions_principal = or_default(l->max_sessions_principal, 4096);
    l->max_waits_principal = or_default(l->max_waits_principal, 1024);
    l->max_operations_principal = or_default(l->max_operations_principal, 1024);
    l->max_queued_records = or_default(l->max_queued_records, 256);
    l->max_queued_bytes_principal = or_default(l->max_queued_bytes_principal, 16 * 1024 * 1024);
    a->next_generation = first_generation ? first_generation : 1; /* 0 = no session */
    a->next_operation = 1;
    TAILQ_INIT(&a->streams);
    TAILQ_INIT(&a->ready);
    TAILQ_INIT(&a->sessions);
    TAILQ_INIT(&a->held);
    TAILQ_INIT(&a->actions);
    table_init(&a->sessions_by_id, seed);
    table_init(&a->principals, seed);
    table_init(&a->hosts, seed);
    table_init(&a->units, seed);
    table_init(&a->groups, seed);
    table_init(&a->operations, seed);
    return a;
}

void adapter_free(struct adapter *a)
{
    if (!a)
        return;
    while (!TAILQ_EMPTY(&a->streams))
        adapter_close(a, TAILQ_FIRST(&a->streams), a->now_ns);
    while (!TAILQ_EMPTY(&a->actions))
        action_drop(a, TAILQ_FIRST(&a->actions));
    assert(a->n_sessions == 0 && a->principals.n == 0 && a->hosts.n == 0 && a->units.n == 0 && a->groups.n == 0 &&
           a->operations.n == 0);
    assert(a->deadlines.n == 0);
    table_deinit(&a->sessions_by_id);
    table_deinit(&a->principals);
    table_deinit(&a->hosts);
    table_deinit(&a->units);
    table_deinit(&a->groups);
    table_deinit(&a->operations);
    deadlines_deinit(&a->deadlines);
    free(a);
}

/* ---- time */

void adapter_tick(struct adapter *a, uint64_t now_ns)
{
    struct deadline *first;
    a->now_ns = now_ns;
    while ((first = deadline_first(&a->deadlines)) && first->due_ns <= now_ns)
        first->expire(first);
}

uint64_t adapter_next_ns(const struct adapter *a)
{
    const struct deadline *first = deadline_first(&a->deadlines);
    uint64_t due_ns = first ? first->due_ns : UINT64_MAX;
    return a->is_starved && a->now_ns + RETRY_NS < due_ns ? a->now_ns + RETRY_NS : due_ns;
}

/* ---- ends */

size_t adapter_agent_gone(struct adapter *a, const char *host_name, bool in_order, uint64_t now_ns)
{
    size_t n = 0;
    a->now_ns = now_ns;
    struct host *host = host_find(a, host_name, strlen(host_name));
    if (!host)
        return 0;
    host_ref(host);
    while (!TAILQ_EMPTY(&host->operations))
        operation_fail(TAILQ_FIRST(&host->operations), ERRNO_(EIO), DETAIL_(NONE), "the agent of host %s is gone",
                       host_name);
    for (struct adapter_session *s = TAILQ_FIRST(&host->sessions), *next; s; s = next) {
        next = TAILQ_NEXT(s, host_next);
        if (MUTANT(13) && s->registration == REGISTRATION_LIVE)
            continue;
        session_end(s, in_order ? END_AGENT_DETACHED : END_AGENT_LOST, NULL, NULL);
        n++;
    }
    host_unref(a, host);
    return n;
}

void adapter_stop(struct adapter *a, const char *reason, uint64_t now_ns)
{
    struct adapter_stream *stream;
    a->now_ns = now_ns;
    a->is_stopping = true;
    TAILQ_FOREACH(stream, &a->streams, next)
    {
        while (!TAILQ_EMPTY(&stream->operations))
            operation_undo(TAILQ_FIRST(&stream->operations), ERRNO_(EIO), DETAIL_(NONE), "the broker is stopping");
    }
    while (!TAILQ_EMPTY(&a->sessions)) /* and with them the waits */
        session_end(TAILQ_FIRST(&a->sessions), END_BROKER, reason, NULL);
}

bool adapter_has_sessions(const struct adapter *a)
{
    return a->counters.sessions_open > 0;
}

void adapter_counters(const struct adapter *a, struct adapter_counters *out)
{
    *out = a->counters;
}
