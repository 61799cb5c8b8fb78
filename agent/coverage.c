/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/coverage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "agent/identify.h"
#include "sensebus/v1/agents.pb-c.h"

static struct coverage_entry *find(const struct coverage *c, uint32_t source, const char *instance)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->entries[i].source == source && strcmp(c->entries[i].instance, instance) == 0)
            return &c->entries[i];
    return NULL;
}

static struct coverage_entry *add(struct coverage *c, uint32_t source, const char *instance)
{
    struct coverage_entry *e;

    if (c->n == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 8;
        void *bigger = realloc(c->entries, cap * sizeof *c->entries);

        if (!bigger)
            return NULL;
        c->entries = bigger;
        c->cap = cap;
    }
    e = &c->entries[c->n];
    memset(e, 0, sizeof *e);
    e->source = source;
    e->instance = strdup(instance);
    if (!e->instance)
        return NULL;
    c->n++;
    return e;
}

int coverage_set(struct coverage *c, uint32_t source, const char *instance, uint32_t state, const char *reason)
{
    struct coverage_entry *e = find(c, source, instance);
    char text[COVERAGE_REASON_BYTES];

    identify_text((const uint8_t *)reason, strlen(reason), text, sizeof text);
    if (e && e->state == state && strcmp(e->reason, text) == 0)
        return 0;
    if (!e)
        e = add(c, source, instance);
    if (!e)
        return UV_ENOMEM;
    e->state = state;
    memcpy(e->reason, text, sizeof text);
    c->version++;
    return 0;
}

void coverage_prove(struct coverage *c, uint32_t source, const char *instance, uint64_t wall_ns)
{
    struct coverage_entry *e = find(c, source, instance);

    if (e)
        e->last_proof_ns = wall_ns;
}

int coverage_encode(const struct coverage *c, uint8_t **out_bytes, size_t *out_len)
{
    Sensebus__V1__AgentMessage message = SENSEBUS__V1__AGENT_MESSAGE__INIT;
    Sensebus__V1__Coverage coverage = SENSEBUS__V1__COVERAGE__INIT;
    Sensebus__V1__SourceCoverage *parts = calloc(c->n + 1, sizeof *parts);
    Sensebus__V1__SourceCoverage **list = calloc(c->n + 1, sizeof *list);
    uint8_t *bytes = NULL;

    if (parts && list) {
        for (size_t i = 0; i < c->n; i++) {
            const struct coverage_entry *e = &c->entries[i];

            sensebus__v1__source_coverage__init(&parts[i]);
            parts[i].source = (Sensebus__V1__Source)e->source;
            parts[i].instance = e->instance;
            parts[i].state = (Sensebus__V1__SourceState)e->state;
            parts[i].reason = (char *)e->reason;
            parts[i].last_proof_unix_ns = e->last_proof_ns;
            list[i] = &parts[i];
        }
        coverage.n_sources = c->n;
        coverage.sources = list;
        message.message_case = SENSEBUS__V1__AGENT_MESSAGE__MESSAGE_COVERAGE;
        message.coverage = &coverage;
        bytes = malloc(sensebus__v1__agent_message__get_packed_size(&message));
    }
    if (bytes) {
        *out_len = sensebus__v1__agent_message__pack(&message, bytes);
        *out_bytes = bytes;
    }
    free(parts);
    free(list);
    return bytes ? 0 : UV_ENOMEM;
}

void coverage_free(struct coverage *c)
{
    for (size_t i = 0; i < c->n; i++)
        free(c->entries[i].instance);
    free(c->entries);
    memset(c, 0, sizeof *c);
}
