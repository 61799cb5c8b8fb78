/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/output/event_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clients/cli/output/clock_text.h"
#include "clients/cli/output/writer.h"
#include "clients/cli/query/names.h"
#include "proto/registry.h"
#include "proto/sense.h"
#include "sensebus/v1/events.pb-c.h"

static bool has(const char *text)
{
    return text && *text;
}

/* ------------------------------------------------------------------------------------------------ small pieces */

static const char *member(int64_t number, char buf[24])
{
    if (number < 0)
        return strcpy(buf, "-");
    snprintf(buf, 24, "%" PRId64, number);
    return buf;
}

const char *address_text(const Sensebus__V1__Address *a, char buf[ADDRESS_TEXT_BYTES])
{
    char controller[24], bus[24], target[24], lun[24];
    bool named = a && has(a->adapter);
    if (!a || (!named && a->controller < 0 && a->bus < 0 && a->target < 0 && a->lun < 0))
        return strcpy(buf, "-");
    if (a->bus < 0 && a->target < 0 && a->lun < 0) {
        snprintf(buf, ADDRESS_TEXT_BYTES, "%.80s", named ? a->adapter : member(a->controller, controller));
        return buf;
    }
    snprintf(buf, ADDRESS_TEXT_BYTES, "%.80s:%s:%s:%s", named ? a->adapter : member(a->controller, controller),
             member(a->bus, bus), member(a->target, target), member(a->lun, lun));
    return buf;
}

const char *code_text(uint32_t code, char buf[24])
{
    const struct registry_entry *entry = registry_find(code);
    if (entry)
        return entry->name;
    snprintf(buf, 24, "CODE_%" PRIu32, code);
    return buf;
}

const char *aix_bits_text(uint32_t bits, char buf[80])
{
    static const char *const names[] = {"fatal", "command_failed", "reset", "buffers_exhausted"};
    size_t used = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (bits & 1u << i)
            used += (size_t)snprintf(buf + used, 80 - used, "%s%s", used ? "|" : "", names[i]);
    if (bits & ~0xfu)
        used += (size_t)snprintf(buf + used, 80 - used, "%s0x%" PRIx32, used ? "|" : "", bits & ~0xfu);
    return used ? buf : strcpy(buf, "-");
}

static enum style severity_style(uint32_t severity)
{
    static const enum style styles[] = {STYLE_DIM, STYLE_INFO, STYLE_NOTICE, STYLE_WARN, STYLE_ERROR, STYLE_CRIT};
    return severity < sizeof styles / sizeof *styles ? styles[severity] : STYLE_NONE;
}

/* Long designators keep their beginning and their end, where they differ. */
static void put_designator(struct writer *w, const char *text)
{
    size_t len = strlen(text);
    if (len <= 20) {
        writer_escaped(w, text);
        return;
    }
    char cut[24];
    snprintf(cut, sizeof cut, "%.11s..%s", text, text + len - 4);
    writer_escaped(w, cut);
}

static const char *remedy_of(const Sensebus__V1__Event *e)
{
    const struct registry_entry *entry = registry_find((uint32_t)e->code);
    return entry ? entry->remedy : "look at the native evidence: this build does not know the code";
}

static const char *meaning_of(const Sensebus__V1__Event *e)
{
    const struct registry_entry *entry = registry_find((uint32_t)e->code);
    return entry ? entry->meaning : "code unknown to this build";
}

static void put_loss(struct writer *w, const Sensebus__V1__Loss *loss)
{
    writer_format(w, "%s%" PRIu64 " events lost", loss->at_least ? "at least " : "", loss->count);
    if (has(loss->reason)) {
        writer_put(w, ": ");
        writer_escaped(w, loss->reason);
    }
}

/* ------------------------------------------------------------------------------------------------ compact */

/* What happened in words: sense, then loss, then the agent's summary, then the registry. */
static void put_words(struct writer *w, const Sensebus__V1__Event *e)
{
    const Sensebus__V1__Sense *s = e->sense;
    if (s) {
        char text[SENSE_TEXT_BYTES];
        writer_format(w, "%02" PRIx32 "/%02" PRIx32 "/%02" PRIx32 " ", s->key, s->asc, s->ascq);
        if (has(s->text))
            writer_escaped(w, s->text);
        else
            writer_escaped(w, sense_text((uint8_t)s->asc, (uint8_t)s->ascq, text));
        if (s->deferred)
            writer_put(w, " (deferred)");
    } else if (e->loss) {
        put_loss(w, e->loss);
    } else if (has(e->summary)) {
        writer_escaped(w, e->summary);
    } else {
        writer_put(w, meaning_of(e));
    }
}

static uint64_t time_of(const Sensebus__V1__Event *e)
{
    return e->wall_time_unix_ns ? e->wall_time_unix_ns : e->broker_time_unix_ns;
}

void event_text_compact(struct writer *w, const Sensebus__V1__Event *e, const struct event_text_options *options)
{
    char clock[CLOCK_TEXT_BYTES], address[ADDRESS_TEXT_BYTES], code[24];
    writer_style(w, STYLE_DIM);
    writer_put(w, clock_text_short(time_of(e), options->now_ns, options->utc, clock));
    writer_style(w, STYLE_NONE);
    writer_put(w, " ");
    writer_escaped(w, e->origin && has(e->origin->host) ? e->origin->host : "-");
    writer_put(w, " ");
    writer_escaped(w, address_text(e->address, address));
    if (e->device && has(e->device->designator)) {
        writer_put(w, " ");
        put_designator(w, e->device->designator);
    } else if (e->device && has(e->device->target_name)) {
        writer_put(w, " ");
        writer_escaped(w, e->device->target_name);
    }
    writer_put(w, " ");
    writer_style(w, severity_style((uint32_t)e->severity));
    writer_format(w, "%s %s", code_text((uint32_t)e->code, code), registry_severity_name((uint32_t)e->severity));
    writer_style(w, STYLE_NONE);
    writer_put(w, " ");
    put_words(w, e);
    if (e->count > 1)
        writer_format(w, " x%" PRIu64, e->count);
    if (e->sequence) { /* the last event of a registration is in no log */
        writer_style(w, STYLE_DIM);
        writer_format(w, "  #%" PRIu64, e->sequence);
        writer_style(w, STYLE_NONE);
    }
    writer_put(w, "\n");
    if (options->remedy)
        writer_format(w, "    -> %s\n", remedy_of(e));
}

/* ------------------------------------------------------------------------------------------------ wide */

static void label(struct writer *w, const char *name)
{
    writer_style(w, STYLE_DIM);
    writer_format(w, "    %-9s ", name);
    writer_style(w, STYLE_NONE);
}

/* A line of words that may all be missing: then it is not there at all. */
struct line {
    struct writer *w;
    const char *name;
    bool begun;
};

/* Between two words, or before the first. */
static void line_next(struct line *line)
{
    if (line->begun)
        writer_put(line->w, "  ");
    else
        label(line->w, line->name);
    line->begun = true;
}

static void line_text(struct line *line, const char *text)
{
    if (!has(text))
        return;
    line_next(line);
    writer_escaped(line->w, text);
}

static void line_field(struct line *line, const char *name, const char *text)
{
    if (!has(text))
        return;
    line_next(line);
    writer_format(line->w, "%s ", name);
    writer_escaped(line->w, text);
}

static void line_end(struct line *line)
{
    if (line->begun)
        writer_put(line->w, "\n");
}

static void put_line(struct writer *w, const char *name, const char *text)
{
    struct line line = {w, name, false};
    line_text(&line, text);
    line_end(&line);
}

static void put_origin(struct writer *w, const Sensebus__V1__Origin *o)
{
    const char *source = names_word(NAMES_SOURCE, o->source);
    label(w, "host");
    writer_escaped(w, has(o->host) ? o->host : "-");
    writer_format(w, "  source %s  record %" PRIx64 ".%" PRIu64 "\n", source ? source : "?", o->agent_epoch,
                  o->source_sequence);
}

static void put_kernel_names(struct writer *w, const Sensebus__V1__Device *d)
{
    struct line line = {w, "kernel", false};
    for (size_t i = 0; i < d->n_kernel_names; i++)
        line_text(&line, d->kernel_names[i]);
    line_end(&line);
}

static void put_device(struct writer *w, const Sensebus__V1__Device *d)
{
    struct line device = {w, "device", false}, target = {w, "target", false};
    line_text(&device, names_word(NAMES_DEVICE_TYPE, d->device_type));
    line_field(&device, "vendor", d->vendor);
    line_field(&device, "product", d->product);
    line_field(&device, "revision", d->revision);
    line_field(&device, "serial", d->serial);
    line_end(&device);
    put_line(w, "wwid", d->designator);
    line_text(&target, d->target_name);
    line_field(&target, "portal", d->portal);
    line_end(&target);
    put_kernel_names(w, d);
}

static void put_sense(struct writer *w, const Sensebus__V1__Sense *s)
{
    char text[SENSE_TEXT_BYTES];
    label(w, "sense");
    writer_format(w, "%02" PRIx32 "/%02" PRIx32 "/%02" PRIx32 "  %s: ", s->key, s->asc, s->ascq,
                  s->key < 16 ? sense_key_name((uint8_t)s->key) : "?");
    if (has(s->text))
        writer_escaped(w, s->text);
    else
        writer_escaped(w, sense_text((uint8_t)s->asc, (uint8_t)s->ascq, text));
    writer_format(w, "  (response code %02" PRIx32 "h%s)", s->response_code, s->deferred ? ", deferred" : "");
    if (s->_information_case == SENSEBUS__V1__SENSE___INFORMATION_INFORMATION)
        writer_format(w, "  information 0x%" PRIx64, s->information);
    if (s->fru)
        writer_format(w, "  fru %" PRIu32, s->fru);
    writer_put(w, "\n");
}

static void put_native(struct writer *w, const Sensebus__V1__Native *n)
{
    struct line line = {w, "native", false};
    line_text(&line, n->name);
    if (n->code || n->subcode) {
        line_next(&line);
        writer_format(w, "code %" PRIu32 "  subcode 0x%" PRIx32, n->code, n->subcode);
    }
    if (n->raw_length) {
        line_next(&line);
        writer_format(w, "%" PRIu32 " bytes", n->raw_length);
    }
    line_field(&line, "detail", n->detail);
    line_end(&line);
}

static void put_count(struct writer *w, const Sensebus__V1__Event *e, bool utc)
{
    char first[CLOCK_TEXT_BYTES], last[CLOCK_TEXT_BYTES];
    label(w, "count");
    writer_format(w, "%" PRIu64 "  from %s to %s\n", e->count, clock_text_full(e->first_time_unix_ns, utc, first),
                  clock_text_full(e->last_time_unix_ns, utc, last));
}

static void put_classes(struct writer *w, const Sensebus__V1__Event *e)
{
    char bits[80];
    const char *mode = names_word(NAMES_MODE, e->mode), *scope = names_word(NAMES_SCOPE, e->scope);
    label(w, "about");
    writer_format(w, "%s  scope %s  mode %s  bits %s%s\n", meaning_of(e), scope ? scope : "?", mode ? mode : "-",
                  aix_bits_text(e->aix_bits, bits), e->synthetic ? "  synthetic" : "");
}

static void put_heading(struct writer *w, const Sensebus__V1__Event *e, bool utc)
{
    char clock[CLOCK_TEXT_BYTES], code[24];
    writer_put(w, clock_text_full(time_of(e), utc, clock));
    writer_put(w, "  ");
    writer_style(w, severity_style((uint32_t)e->severity));
    writer_format(w, "%s  %s", code_text((uint32_t)e->code, code), registry_severity_name((uint32_t)e->severity));
    writer_style(w, STYLE_NONE);
    if (e->sequence)
        writer_format(w, "  #%" PRIu64, e->sequence);
    writer_put(w, "\n");
}

void event_text_wide(struct writer *w, const Sensebus__V1__Event *e, const struct event_text_options *options)
{
    char address[ADDRESS_TEXT_BYTES];
    struct line session = {w, "session", false};
    put_heading(w, e, options->utc);
    put_classes(w, e);
    if (e->origin)
        put_origin(w, e->origin);
    if (e->address && strcmp(address_text(e->address, address), "-") != 0)
        put_line(w, "address", address);
    if (e->device)
        put_device(w, e->device);
    if (e->sense)
        put_sense(w, e->sense);
    if (e->native)
        put_native(w, e->native);
    for (size_t i = 0; i < e->n_evidence; i++)
        put_native(w, e->evidence[i]);
    if (e->loss) {
        label(w, "loss");
        put_loss(w, e->loss);
        writer_put(w, "\n");
    }
    if (e->count > 1)
        put_count(w, e, options->utc);
    line_field(&session, "of", e->session_id);
    line_field(&session, "caused by", e->origin_session);
    line_end(&session);
    put_line(w, "summary", e->summary);
    if (options->remedy) {
        label(w, "remedy");
        writer_format(w, "%s\n", remedy_of(e));
    }
}

/* ------------------------------------------------------------------------------------------------ gaps */

static const char *stage_name(uint32_t stage)
{
    static const char *const names[] = {"unknown stage", "kernel",    "agent",       "wire",
                                        "store",         "retention", "subscription"};
    return stage < sizeof names / sizeof *names ? names[stage] : "unknown stage";
}

/* Records that cannot be read any more are all counted, whether the filter wanted them or not. */
static const char *how_exact(const Sensebus__V1__Gap *gap)
{
    bool gone = gap->stage == SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_STORE ||
                gap->stage == SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_RETENTION;
    return !gap->at_least ? "" : gone ? "up to " : "at least ";
}

void event_text_gap(struct writer *w, const Sensebus__V1__Gap *gap)
{
    writer_style(w, STYLE_GAP);
    if (gap->count)
        writer_format(w, "GAP %s%" PRIu64 " events missing", how_exact(gap), gap->count);
    else
        writer_put(w, "GAP events missing, it is not known how many");
    writer_style(w, STYLE_NONE);
    if (gap->from && gap->to)
        writer_format(w, " after #%" PRIu64 " up to #%" PRIu64, gap->from->sequence, gap->to->sequence);
    writer_format(w, " (%s", stage_name((uint32_t)gap->stage));
    if (has(gap->reason)) {
        writer_put(w, ": ");
        writer_escaped(w, gap->reason);
    }
    writer_put(w, ")");
}
