/* SPDX-License-Identifier: Apache-2.0 */
/* Streams, and the principals they belong to. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/adapter/state.h"

/* ---- principals */

struct principal *principal_get(struct adapter *a, const char *name)
{
    struct principal *p = table_get(&a->principals, name, strlen(name));
    if (p)
        return principal_ref(p);
    p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->name = strdup(name);
    if (!p->name || table_add(&a->principals, p->name, strlen(p->name), p) != 0) {
        free(p->name);
        free(p);
        return NULL;
    }
    p->table = &a->principals;
    p->n_refs = 1;
    return p;
}

struct principal *principal_ref(struct principal *p)
{
    p->n_refs++;
    return p;
}

void principal_unref(struct principal *p)
{
    if (--p->n_refs > 0)
        return;
    assert(p->n_streams == 0 && p->n_sessions == 0 && p->n_waits == 0 && p->n_operations == 0);
    assert(p->queued_bytes == 0 && p->reserved_bytes == 0);
    table_remove(p->table, p->name, strlen(p->name));
    free(p->name);
    free(p);
}

/* ---- streams */

struct adapter_stream *adapter_open(struct adapter *a, const char *principal, unsigned roles, void *owner, int *out_rc,
                                    char *err, size_t err_len)
{
    struct adapter_stream *stream = calloc(1, sizeof *stream);
    struct principal *p = stream ? principal_get(a, principal) : NULL;
    if (!p) {
        snprintf(err, err_len, "no memory for a stream");
        *out_rc = UV_ENOMEM;
        free(stream);
        return NULL;
    }
    if (p->n_streams >= a->limits.max_streams_principal) {
        snprintf(err, err_len, "streams of %s: %u are open, at most %u", principal, p->n_streams,
                 a->limits.max_streams_principal);
        *out_rc = UV_ENOBUFS;
        principal_unref(p);
        free(stream);
        return NULL;
    }
    p->n_streams++;
    stream->adapter = a;
    stream->principal = p;
    stream->roles = roles;
    stream->owner = owner;
    TAILQ_INIT(&stream->line);
    TAILQ_INIT(&stream->sessions);
    TAILQ_INIT(&stream->registered);
    TAILQ_INIT(&stream->operations);
    TAILQ_INIT(&stream->waits);
    TAILQ_INSERT_TAIL(&a->streams, stream, next);
    a->counters.streams_open++;
    return stream;
}

void adapter_close(struct adapter *a, struct adapter_stream *stream, uint64_t now_ns)
{
    a->now_ns = now_ns;
    stream->is_closing = true;
    while (!TAILQ_EMPTY(&stream->waits))
        wait_give_up(TAILQ_FIRST(&stream->waits));
    while (!TAILQ_EMPTY(&stream->operations))
        operation_give_up(TAILQ_FIRST(&stream->operations));
    while (!TAILQ_EMPTY(&stream->sessions))
        session_end(TAILQ_FIRST(&stream->sessions), END_STREAM, NULL, NULL);
    while (!TAILQ_EMPTY(&stream->registered)) { /* sessions of other streams of the principal: they go on */
        struct adapter_session *s = TAILQ_FIRST(&stream->registered);
        registration_spend(s);
        action_push(a, &s->tell_cancelled);
    }
    actions_drop_stream(a, stream);
    stream_settle(stream);
    TAILQ_REMOVE(&a->streams, stream, next);
    a->counters.streams_open--;
    stream->principal->n_streams--;
    principal_unref(stream->principal);
    free(stream);
}

void adapter_blocked(struct adapter *a, struct adapter_stream *stream)
{
    (void)a;
    stream->is_blocked = true;
    stream_settle(stream);
}

void adapter_writable(struct adapter *a, struct adapter_stream *stream, uint64_t now_ns)
{
    a->now_ns = now_ns;
    stream->is_blocked = false;
    stream_settle(stream);
}
