/* SPDX-License-Identifier: Apache-2.0 */
/* Groups: the sessions that records wider than a unit are about. A record finds its group by a hash, so what it costs
 * goes by the sessions that it reaches and not by those that there are.
 *
 *   adapter   host, adapter
 *   target    host, adapter, bus, target number
 *   name      host, adapter, target name: for records that know no number; sessions without a name are in none */
#include <stdlib.h>
#include <string.h>

#include "broker/core/adapter/state.h"

#define MAX_KEY (1 + MAX_HOST + 1 + MAX_ADAPTER_NAME + 1 + MAX_TARGET_NAME)

static size_t put(char *key, size_t n, const void *bytes, size_t len)
{
    if (len)
        memcpy(key + n, bytes, len);
    return n + len;
}

/* Length of the key, 0 when no session is in such a group. */
static size_t write_key(char key[MAX_KEY], enum group_kind kind, const struct group_at *at)
{
    size_t n = 0;
    if (at->host.len == 0 || at->host.len > MAX_HOST || at->adapter.len > MAX_ADAPTER_NAME)
        return 0;
    if (kind == GROUP_NAME && (at->target_name.len == 0 || at->target_name.len > MAX_TARGET_NAME))
        return 0;
    key[n++] = (char)('a' + kind);
    n = put(key, n, at->host.ptr, at->host.len);
    key[n++] = '\0';
    n = put(key, n, at->adapter.ptr, at->adapter.len);
    key[n++] = '\0';
    if (kind == GROUP_NAME)
        return put(key, n, at->target_name.ptr, at->target_name.len);
    if (kind == GROUP_ADAPTER)
        return n;
    n = put(key, n, &at->bus, sizeof at->bus);
    return put(key, n, &at->target, sizeof at->target);
}

struct group *group_find(const struct adapter *a, enum group_kind kind, const struct group_at *at)
{
    char key[MAX_KEY];
    size_t len = write_key(key, kind, at);
    return len ? table_get(&a->groups, key, len) : NULL;
}

static void release(struct adapter *a, struct group *group)
{
    if (!group || !TAILQ_EMPTY(&group->sessions))
        return;
    table_remove(&a->groups, group->key, group->key_len);
    free(group);
}

/* The group, perhaps a new one without sessions. False when memory is out; *out is NULL also where there is to be none.
 */
static bool get(struct adapter *a, enum group_kind kind, const struct group_at *at, struct group **out)
{
    char key[MAX_KEY];
    size_t len = write_key(key, kind, at);
    *out = len ? table_get(&a->groups, key, len) : NULL;
    if (*out || !len)
        return true;
    struct group *group = calloc(1, sizeof *group + len);
    if (!group)
        return false;
    memcpy(group->key, key, len);
    group->key_len = len;
    TAILQ_INIT(&group->sessions);
    if (table_add(&a->groups, group->key, len, group) != 0) {
        free(group);
        return false;
    }
    *out = group;
    return true;
}

static struct text text_of(const char *string)
{
    return (struct text){string, strlen(string)};
}

bool groups_find(struct adapter *a, const char *host, const struct session_place *place, struct group *out[N_GROUPS])
{
    const struct group_at at = {.host = text_of(host),
                                .adapter = text_of(place->adapter),
                                .target_name = text_of(place->target_name),
                                .bus = place->bus,
                                .target = place->target};
    for (unsigned kind = 0; kind < N_GROUPS; kind++) {
        if (get(a, kind, &at, &out[kind]))
            continue;
        while (kind-- > 0)
            release(a, out[kind]);
        return false;
    }
    return true;
}

void groups_move(struct adapter_session *s, struct group *groups[N_GROUPS])
{
    for (unsigned kind = 0; kind < N_GROUPS; kind++) {
        struct group *old = s->groups[kind];
        if (groups[kind] == old)
            continue;
        if (old) {
            TAILQ_REMOVE(&old->sessions, s, group_next[kind]);
            release(s->adapter, old);
        }
        if (groups[kind])
            TAILQ_INSERT_TAIL(&groups[kind]->sessions, s, group_next[kind]);
        s->groups[kind] = groups[kind];
    }
}
