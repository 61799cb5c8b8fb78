/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/output/presenter.h"

#include <stdarg.h>
#include <stdio.h>
#include <uv.h>

#include "clients/cli/cli.h"
#include "runtime/clock.h"
#include "sensebus/v1/events.pb-c.h"

void presenter_begin(struct presenter *p, struct cli *cli, enum format format, bool remedy)
{
    *p = (struct presenter){.cli = cli, .format = format, .remedy = remedy};
    if (format_is_json(format))
        objects_begin(&p->objects, &cli->out, format);
}

void presenter_event(struct presenter *p, const Sensebus__V1__Event *event)
{
    if (format_is_json(p->format)) {
        objects_put(&p->objects, NULL, &event->base);
        return;
    }
    struct event_text_options options = {.utc = p->cli->utc, .remedy = p->remedy, .now_ns = clock_wall_ns()};
    if (p->format == FORMAT_WIDE)
        event_text_wide(&p->cli->out, event, &options);
    else
        event_text_compact(&p->cli->out, event, &options);
}

/* Standard error comes after what was printed before. */
static struct writer *error_line(struct presenter *p)
{
    writer_flush(&p->cli->out);
    writer_put(&p->cli->err, "sensebus: ");
    return &p->cli->err;
}

void presenter_gap(struct presenter *p, const Sensebus__V1__Gap *gap)
{
    if (format_is_json(p->format))
        objects_put(&p->objects, "gap", &gap->base);
    struct writer *err = error_line(p);
    event_text_gap(err, gap);
    writer_put(err, "\n");
    writer_flush(err);
}

void presenter_warning(struct presenter *p, const char *format, ...)
{
    char text[600];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (format_is_json(p->format)) {
        /* Any message with a text in it: {"warning":{"reason":"…"}}. */
        Sensebus__V1__Closed warning = SENSEBUS__V1__CLOSED__INIT;
        warning.reason = text;
        objects_put(&p->objects, "warning", &warning.base);
    }
    struct writer *err = error_line(p);
    writer_escaped(err, text);
    writer_put(err, "\n");
    writer_flush(err);
}

void presenter_control(struct presenter *p, const char *name, const struct ProtobufCMessage *message)
{
    if (format_is_json(p->format))
        objects_put(&p->objects, name, message);
}

int presenter_flush(struct presenter *p)
{
    return writer_flush(&p->cli->out);
}

int presenter_end(struct presenter *p)
{
    bool complete = !format_is_json(p->format) || objects_end(&p->objects);
    int rc = writer_flush(&p->cli->out);
    return rc < 0 ? rc : complete ? 0 : UV_ENOMEM;
}
