/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/device_session.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

void device_sessions_init(struct device_sessions *t, uint64_t seed)
{
    memset(t, 0, sizeof *t);
    table_init(&t->table, seed);
}

struct device_session *device_sessions_find(const struct device_sessions *t, const char *id, uint64_t generation)
{
    struct device_session *s = table_get(&t->table, id, strlen(id));

    return s && s->generation == generation ? s : NULL;
}

int device_sessions_add(struct device_sessions *t, const char *id, uint64_t generation, struct watch *watch,
                        uint16_t lun, struct device_session **out)
{
    size_t len = strlen(id);
    struct device_session *s;

    if (len == 0 || len >= DEVICE_SESSION_ID_BYTES)
        return UV_EINVAL;
    if (table_get(&t->table, id, len))
        return UV_EEXIST;
    if (t->table.n == DEVICE_SESSIONS_MAX)
        return UV_ENOSPC;
    s = calloc(1, sizeof *s);
    if (!s)
        return UV_ENOMEM;
    memcpy(s->id, id, len + 1);
    s->generation = generation;
    s->watch = watch;
    s->lun = lun;
    if (table_add(&t->table, s->id, len, s) < 0) {
        free(s);
        return UV_ENOMEM;
    }
    s->next = t->first;
    s->link = &t->first;
    if (t->first)
        t->first->link = &s->next;
    t->first = s;
    *out = s;
    return 0;
}

void device_sessions_remove(struct device_sessions *t, struct device_session *s)
{
    table_remove(&t->table, s->id, strlen(s->id));
    *s->link = s->next;
    if (s->next)
        s->next->link = s->link;
    free(s);
}

void device_sessions_clear(struct device_sessions *t)
{
    while (t->first)
        device_sessions_remove(t, t->first);
}

void device_sessions_deinit(struct device_sessions *t)
{
    device_sessions_clear(t);
    table_deinit(&t->table);
}
