/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/output/objects.h"

#include "clients/cli/output/writer.h"

void objects_begin(struct objects *o, struct writer *out, enum format format)
{
    *o = (struct objects){.out = out, .format = format};
    if (format == FORMAT_JSON)
        writer_put(out, "[");
}

static void separate(struct objects *o)
{
    if (o->format == FORMAT_JSON)
        writer_put(o->out, o->n ? ",\n" : "\n");
    o->n++;
}

static void finish(struct objects *o, bool wrapped)
{
    if (wrapped)
        writer_put(o->out, "}");
    if (o->format == FORMAT_NDJSON)
        writer_put(o->out, "\n");
}

void objects_put(struct objects *o, const char *name, const struct ProtobufCMessage *message)
{
    json_buffer_clear(&o->buffer);
    if (json_print(message, JSON_LINE, &o->buffer) < 0) {
        o->failed = true;
        return;
    }
    separate(o);
    if (name)
        writer_format(o->out, "{\"%s\":", name);
    writer_bytes(o->out, o->buffer.text, o->buffer.len);
    finish(o, name != NULL);
}

bool objects_end(struct objects *o)
{
    if (o->format == FORMAT_JSON)
        writer_put(o->out, o->n ? "\n]\n" : "]\n");
    json_buffer_deinit(&o->buffer);
    return !o->failed;
}
