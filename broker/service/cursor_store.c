/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/service/cursor_store.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/engine/journal.h"
#include "runtime/log.h"

void cursor_store_init(struct cursor_store *s, uint64_t seed)
{
    table_init(&s->by_name, seed);
}

void cursor_store_deinit(struct cursor_store *s)
{
    for (size_t i = 0; i < s->by_name.n_slots; i++)
        if (s->by_name.slots[i].key)
            free(s->by_name.slots[i].item);
    table_deinit(&s->by_name);
}

const struct cursor_position *cursor_store_find(const struct cursor_store *s, const char *name)
{
    const struct cursor_entry *entry = table_get(&s->by_name, name, strlen(name));
    return entry ? &entry->position : NULL;
}

int cursor_store_set(struct cursor_store *s, const char *name, const struct cursor_position *position)
{
    size_t len = strlen(name);
    struct cursor_entry *entry = table_get(&s->by_name, name, len);

    if (!entry) {
        entry = malloc(sizeof *entry + len + 1);
        if (!entry)
            return UV_ENOMEM;
        memcpy(entry->name, name, len + 1);
        int rc = table_add(&s->by_name, entry->name, len, entry);
        if (rc) {
            free(entry);
            return rc;
        }
    }
    entry->position = *position;
    return 0;
}

static int on_stored(void *data, const struct store_value *key, const struct store_value *value)
{
    struct cursor_position position;
    char name[CURSOR_MAX_NAME + 1];

    if (key->len == 0 || key->len > CURSOR_MAX_NAME || cursor_decode(value->data, value->len, &position)) {
        log_warn("cursor.damaged", "name=\"%.*s\"", (int)(key->len < CURSOR_MAX_NAME ? key->len : CURSOR_MAX_NAME),
                 (const char *)key->data);
        return 0;
    }
    memcpy(name, key->data, key->len);
    name[key->len] = 0;
    return cursor_store_set(data, name, &position);
}

int cursor_store_load(struct cursor_store *s, struct journal *journal)
{
    return journal_each(journal, JOURNAL_CURSORS, on_stored, s);
}
