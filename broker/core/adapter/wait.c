/* SPDX-License-Identifier: Apache-2.0 */
/* WAIT_PRI (semantics.md rule 25): level-triggered, over many sessions. A wait looks at OPEN sessions only: whoever
 * names one that is not is answered at once; one that closes answers it. So no wait hangs. */
#include <stdlib.h>
#include <string.h>

#include "broker/core/adapter/mutant.h"
#include "broker/core/adapter/state.h"

#define NS_PER_MS 1000000ull

/* What a wait found; ids are borrowed. */
struct found {
    Sensebus__V1__WaitPriResult result;
    char *ids[]; /* ready from the front, closed from the back */
};

static struct found *found_new(size_t n)
{
    struct found *found = malloc(sizeof *found + n * sizeof(char *));
    if (!found)
        return NULL;
    sensebus__v1__wait_pri_result__init(&found->result);
    found->result.ready = found->ids;
    found->result.closed = found->ids + n;
    return found;
}

static void found_add(struct found *found, const char *id, const struct adapter_session *s)
{
    if (!s || s->state != SESSION_OPEN) {
        *--found->result.closed = (char *)id;
        found->result.n_closed++;
    } else if (s->pending) {
        found->ids[found->result.n_ready++] = (char *)id;
    }
}

/* Answers with what was found; `found` NULL: memory is out. Both are given away. */
static void answer(struct adapter *a, struct reply *reply, struct found *found)
{
    Sensebus__V1__Result result = SENSEBUS__V1__RESULT__INIT;
    result.value_case = SENSEBUS__V1__RESULT__VALUE_WAIT_PRI;
    result.wait_pri = found ? &found->result : NULL;
    if (found && reply_write(reply, &result) == 0)
        reply_push(a, reply);
    else
        reply_error(a, reply, ERRNO_(ENOMEM), DETAIL_(NONE), "no memory for the answer");
    free(found);
}

/* ---- waits that wait */

static void wait_free(struct wait *w)
{
    struct adapter *a = w->adapter;
    for (size_t i = 0; i < w->n; i++) {
        if (w->watches[i].session)
            TAILQ_REMOVE(&w->watches[i].session->watches, &w->watches[i], next);
    }
    TAILQ_REMOVE(&w->stream->waits, w, next);
    deadline_disarm(&a->deadlines, &w->deadline);
    w->stream->principal->n_waits--;
    a->counters.waits_open--;
    free(w);
}

static void finish(struct wait *w)
{
    struct adapter *a = w->adapter;
    struct reply *reply = w->reply;
    struct found *found = found_new(w->n);
    for (size_t i = 0; found && i < w->n; i++) {
        if (w->watches[i].session)
            found_add(found, w->watches[i].session->id, w->watches[i].session);
    }
    answer(a, reply, found); /* the ids are the sessions' own: before they are let go */
    wait_free(w);
}

void wait_expire(struct wait *w)
{
    finish(w);
}

void wait_give_up(struct wait *w)
{
    reply_free(w->adapter, w->reply);
    wait_free(w);
}

void waits_wake(struct adapter_session *s)
{
    if (MUTANT(11) && s->state == SESSION_CLOSED) {
        struct watch *watch;
        while ((watch = TAILQ_FIRST(&s->watches))) {
            TAILQ_REMOVE(&s->watches, watch, next);
            watch->session = NULL;
        }
    }
    while (!TAILQ_EMPTY(&s->watches))
        finish(TAILQ_FIRST(&s->watches)->wait);
}

/* ---- the request */

static void on_deadline(struct deadline *deadline)
{
    wait_expire((struct wait *)((char *)deadline - offsetof(struct wait, deadline)));
}

/* Nothing is there yet: wait. False when memory is out. */
static bool begin(struct ask *ask, struct reply *reply)
{
    const Sensebus__V1__WaitPri *r = ask->request->wait_pri;
    struct adapter *a = ask->a;
    struct wait *w = calloc(1, sizeof *w + r->n_session_ids * sizeof *w->watches);
    if (!w)
        return false;
    w->adapter = a;
    w->stream = ask->stream;
    w->reply = reply;
    w->deadline.expire = on_deadline;
    /* A time beyond what the clock can say is no limit. */
    bool has_limit = r->timeout_ms >= 0 && (uint64_t)r->timeout_ms < (UINT64_MAX - ask->now_ns) / NS_PER_MS;
    if (has_limit &&
        deadline_arm(&a->deadlines, &w->deadline, ask->now_ns + (uint64_t)r->timeout_ms * NS_PER_MS) != 0) {
        free(w);
        return false;
    }
    for (w->n = 0; w->n < r->n_session_ids; w->n++) {
        struct watch *watch = &w->watches[w->n];
        watch->wait = w;
        watch->session = session_find(a, r->session_ids[w->n], strlen(r->session_ids[w->n]));
        TAILQ_INSERT_TAIL(&watch->session->watches, watch, next);
    }
    TAILQ_INSERT_TAIL(&ask->stream->waits, w, next);
    ask->stream->principal->n_waits++;
    a->counters.waits_open++;
    return true;
}

void wait_ask(struct ask *ask, struct reply *reply)
{
    const Sensebus__V1__WaitPri *r = ask->request->wait_pri;
    struct found *found = found_new(r->n_session_ids);
    for (size_t i = 0; found && i < r->n_session_ids; i++)
        found_add(found, r->session_ids[i], session_find(ask->a, r->session_ids[i], strlen(r->session_ids[i])));
    bool is_done = !found || found->result.n_ready || found->result.n_closed || r->timeout_ms == 0;
    if (is_done) {
        answer(ask->a, reply, found);
        return;
    }
    free(found);
    if (!begin(ask, reply))
        reply_error(ask->a, reply, ERRNO_(ENOMEM), DETAIL_(NONE), "no memory for the wait");
}
