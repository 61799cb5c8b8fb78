/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/iscsi/management.h"

#include <stddef.h>
#include <string.h>

struct management *management_ask(struct management_table *t)
{
    for (size_t i = 0; i < ISCSI_SESSION_MAX_MANAGEMENT; i++) {
        struct management *m = &t->items[i];

        if (m->state != MANAGEMENT_FREE)
            continue;
        m->state = MANAGEMENT_ASKED;
        m->order = t->n_asked++;
        return m;
    }
    return NULL;
}

struct management *management_find(struct management_table *t, enum management_state state)
{
    struct management *oldest = NULL;

    for (size_t i = 0; i < ISCSI_SESSION_MAX_MANAGEMENT; i++) {
        struct management *m = &t->items[i];

        if (m->state == state && (!oldest || m->order < oldest->order))
            oldest = m;
    }
    return oldest;
}

void management_sent(struct management_table *t, uint32_t itt)
{
    struct management *m = management_find(t, MANAGEMENT_ASKED);

    if (!m)
        return;
    m->state = MANAGEMENT_SENT;
    m->itt = itt;
}

void management_heard(struct management_table *t, uint32_t itt, bool rejected, uint8_t response)
{
    for (size_t i = 0; i < ISCSI_SESSION_MAX_MANAGEMENT; i++) {
        struct management *m = &t->items[i];

        if (m->state != MANAGEMENT_SENT || m->itt != itt)
            continue;
        m->state = MANAGEMENT_HEARD;
        m->rejected = rejected;
        m->response = response;
        return;
    }
}

static bool waits(const struct management *m)
{
    return m->state != MANAGEMENT_FREE && !m->answered;
}

struct management *management_waiting(struct management_table *t)
{
    for (size_t i = 0; i < ISCSI_SESSION_MAX_MANAGEMENT; i++)
        if (waits(&t->items[i]))
            return &t->items[i];
    return NULL;
}

struct management *management_expired(struct management_table *t, uint64_t now_ms)
{
    for (size_t i = 0; i < ISCSI_SESSION_MAX_MANAGEMENT; i++)
        if (waits(&t->items[i]) && t->items[i].state != MANAGEMENT_DONE && t->items[i].deadline_ms <= now_ms)
            return &t->items[i];
    return NULL;
}

uint64_t management_deadline(const struct management_table *t)
{
    uint64_t next = UINT64_MAX;

    for (size_t i = 0; i < ISCSI_SESSION_MAX_MANAGEMENT; i++)
        if (waits(&t->items[i]) && t->items[i].deadline_ms < next)
            next = t->items[i].deadline_ms;
    return next;
}

void management_free(struct management *m)
{
    memset(m, 0, sizeof(*m));
}
