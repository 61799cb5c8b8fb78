/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/history.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sensebus/v1/adapter.pb-c.h"
#include "sensebus/v1/agents.pb-c.h"

struct history_entry *history_add(struct history *h, enum history_kind kind, uint64_t now_ns, uint32_t stream,
                                  const char *text, const void *bytes, size_t len)
{
    if (h->n == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 1024;
        h->entries = realloc(h->entries, h->cap * sizeof *h->entries);
        if (!h->entries)
            abort();
    }
    struct history_entry *e = &h->entries[h->n++];
    *e = (struct history_entry){.kind = kind, .now_ns = now_ns, .stream = stream, .len = len};
    if (text)
        snprintf(e->text, sizeof e->text, "%s", text);
    if (len) {
        e->bytes = malloc(len);
        if (!e->bytes)
            abort();
        memcpy(e->bytes, bytes, len);
    }
    return e;
}

void history_free(struct history *h)
{
    for (size_t i = 0; i < h->n; i++)
        free(h->entries[i].bytes);
    free(h->entries);
    *h = (struct history){0};
}

/* ------------------------------------------------------------------------------------------------ for people */

static const char *operation_name(Sensebus__V1__AdapterRequest__OperationCase kind)
{
    static const char *const names[] = {"IOCINFO",  "START",   "START_TARGET",    "STOP",
                                        "HALT",     "RESET",   "EVENT",           "TM_EVENT",
                                        "WAIT_PRI", "INQUIRY", "TEST_UNIT_READY", "RELEASE"};
    unsigned i = (unsigned)kind - SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_IOC_INFO;
    return i < sizeof names / sizeof *names ? names[i] : "nothing";
}

static void print_request(const struct history_entry *e)
{
    Sensebus__V1__AdapterRequest *r = sensebus__v1__adapter_request__unpack(NULL, e->len, e->bytes);
    const char *session = "";

    if (!r) {
        printf("undecodable");
        return;
    }
    if (r->operation_case == SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_EVENT)
        session = r->event->session_id;
    else if (r->operation_case == SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_STOP)
        session = r->stop->session_id;
    else if (r->operation_case == SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_TM_EVENT)
        session = r->tm_event->session_id;
    else if (r->operation_case == SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_RESET)
        session = r->reset->session_id;
    else if (r->operation_case == SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_HALT)
        session = r->halt->session_id;
    printf("#%" PRIu64 " %s %s", r->id, operation_name(r->operation_case), session);
    sensebus__v1__adapter_request__free_unpacked(r, NULL);
}

static void print_reply(const struct history_entry *e)
{
    Sensebus__V1__AdapterReply *r = sensebus__v1__adapter_reply__unpack(NULL, e->len, e->bytes);

    if (!r)
        printf("undecodable");
    else if (r->body_case == SENSEBUS__V1__ADAPTER_REPLY__BODY_RESULT)
        printf("#%" PRIu64 " error=%d detail=%d \"%s\" %s", r->result->id, r->result->error, r->result->detail,
               r->result->message,
               r->result->value_case == SENSEBUS__V1__RESULT__VALUE_START ? r->result->start->session_id : "");
    else if (r->body_case == SENSEBUS__V1__ADAPTER_REPLY__BODY_EVENT)
        printf("event %s g=%" PRIu64 " seq=%" PRIu64 " code=%d bits=%x", r->event->session_id, r->event->generation,
               r->event->record ? r->event->record->sequence : 0, r->event->record ? (int)r->event->record->code : 0,
               r->event->events);
    else
        printf("target data");
    if (r)
        sensebus__v1__adapter_reply__free_unpacked(r, NULL);
}

static void print_record(const struct history_entry *e)
{
    Sensebus__V1__Event *r = sensebus__v1__event__unpack(NULL, e->len, e->bytes);

    if (!r)
        return;
    printf("seq=%" PRIu64 " code=%d scope=%d host=%s bits=%x session=%s origin_session=%s", r->sequence, (int)r->code,
           (int)r->scope, r->origin ? r->origin->host : "", r->aix_bits, r->session_id, r->origin_session);
    if (r->address)
        printf(" %s:%d:%d:%" PRId64, r->address->adapter, r->address->bus, r->address->target, r->address->lun);
    sensebus__v1__event__free_unpacked(r, NULL);
}

void history_print(const struct history *h)
{
    static const char *const names[] = {"open",        "close",     "REQUEST", "result",   "agent-gone",
                                        "record",      "delivered", "tick",    "blocked",  "writable",
                                        "end-session", "stop",      "  SEND",  "  forward"};

    for (size_t i = 0; i < h->n; i++) {
        const struct history_entry *e = &h->entries[i];
        printf("%6zu %12.6f %-11s stream=%u %s a=%" PRIu64 " b=%" PRIu64 " ", i, (double)e->now_ns / 1e9,
               names[e->kind], e->stream, e->text, e->a, e->b);
        if (e->kind == HISTORY_REQUEST)
            print_request(e);
        else if (e->kind == HISTORY_SEND)
            print_reply(e);
        else if (e->kind == HISTORY_RECORD)
            print_record(e);
        printf("\n");
    }
}
