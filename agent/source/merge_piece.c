/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/merge_piece.h"

#include <stdlib.h>
#include <string.h>

static size_t text_bytes(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

static const void *keep(char **at, const void *bytes, size_t len)
{
    void *kept = *at;

    if (!bytes)
        return NULL;
    if (len > 0)
        memcpy(kept, bytes, len);
    *at += len;
    return kept;
}

struct piece *piece_new(const struct observation *o)
{
    size_t raw_len = o->native.raw_len < RECORD_MAX_RAW ? o->native.raw_len : RECORD_MAX_RAW;
    size_t sense_len = o->sense_len < RECORD_MAX_SENSE ? o->sense_len : RECORD_MAX_SENSE;
    size_t bytes = sizeof(struct piece) + raw_len + sense_len + text_bytes(o->native.name) +
                   text_bytes(o->native.detail) + text_bytes(o->target_name) + text_bytes(o->portal) +
                   text_bytes(o->object);
    struct piece *p = malloc(bytes);
    char *at;

    if (!p)
        return NULL;
    p->seen = *o;
    p->bytes = bytes;
    at = p->text;
    p->seen.native.raw = keep(&at, o->native.raw, raw_len);
    p->seen.sense = keep(&at, o->sense, sense_len);
    p->seen.sense_len = p->seen.sense ? sense_len : 0;
    p->seen.native.name = keep(&at, o->native.name, text_bytes(o->native.name));
    p->seen.native.detail = keep(&at, o->native.detail, text_bytes(o->native.detail));
    p->seen.target_name = keep(&at, o->target_name, text_bytes(o->target_name));
    p->seen.portal = keep(&at, o->portal, text_bytes(o->portal));
    p->seen.object = keep(&at, o->object, text_bytes(o->object));
    if (!p->seen.native.raw)
        p->seen.native.raw_len = 0;
    return p;
}
