/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/report.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#define TIME_SIZE 40

static void format_time(uint64_t unix_ns, char out[TIME_SIZE])
{
    time_t seconds = (time_t)(unix_ns / 1000000000u);
    struct tm tm;
    if (unix_ns == 0 || !gmtime_r(&seconds, &tm) || strftime(out, TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        out[0] = 0;
}

/* Bytes from the file: anything beyond printable ASCII is shown as an escape. */
static void print_text(struct report *r, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c >= 0x20 && c < 0x7f && !(r->json && (c == '"' || c == '\\')))
            putc(c, r->out);
        else if (r->json)
            fprintf(r->out, "\\u%04x", c);
        else
            fprintf(r->out, "\\x%02x", c);
    }
}

static void json_string(struct report *r, const char *name, const char *text)
{
    fprintf(r->out, "\"%s\":\"", name);
    print_text(r, text);
    putc('"', r->out);
}

static void json_number(struct report *r, const char *name, uint64_t number)
{
    fprintf(r->out, ",\"%s\":\"%" PRIu64 "\"", name, number);
}

/* ---- findings */

static void begin_finding(struct report *r, const char *kind)
{
    if (r->json)
        fprintf(r->out, "%s\n  {\"kind\":\"%s\"", r->any ? "," : "", kind);
    r->any = true;
}

static void on_hole(void *data, const struct check_hole *hole)
{
    struct report *r = data;

    begin_finding(r, "hole");
    if (r->json) {
        if (hole->first > 0)
            json_number(r, "first", hole->first);
        json_number(r, "last", hole->last);
        putc(',', r->out);
        json_string(r, "reason", hole->reason);
        putc('}', r->out);
        return;
    }
    if (hole->first > 0)
        fprintf(r->out, "hole   %" PRIu64 "..%" PRIu64 " (%" PRIu64 "): ", hole->first, hole->last,
                hole->last - hole->first + 1);
    else
        fprintf(r->out, "hole   ..%" PRIu64 " (it is not known where it begins): ", hole->last);
    print_text(r, hole->reason);
    putc('\n', r->out);
}

static void on_fault(void *data, const struct check_fault *fault)
{
    struct report *r = data;

    begin_finding(r, "fault");
    if (r->json) {
        if (fault->table) {
            putc(',', r->out);
            json_string(r, "table", fault->table);
        }
        if (fault->page != STORE_IMAGE_NO_PAGE)
            json_number(r, "page", fault->page);
        putc(',', r->out);
        json_string(r, "reason", fault->reason);
        putc('}', r->out);
        return;
    }
    fputs("fault  ", r->out);
    if (fault->table)
        print_text(r, fault->table);
    if (fault->page != STORE_IMAGE_NO_PAGE)
        fprintf(r->out, "%spage %" PRIu64, fault->table ? ", " : "", fault->page);
    fputs(fault->table || fault->page != STORE_IMAGE_NO_PAGE ? ": " : "", r->out);
    print_text(r, fault->reason);
    putc('\n', r->out);
}

const struct check_ops report_ops = {.on_hole = on_hole, .on_fault = on_fault};

/* ---- around them */

bool report_is_damaged(const struct check_summary *s)
{
    return s->n_holes > 0 || s->n_faults > 0 || s->mark == STORE_MARK_UNSAFE;
}

void report_begin(struct report *r)
{
    if (!r->json)
        return;
    fputc('{', r->out);
    json_string(r, "directory", r->directory);
    fputs(",\"findings\":[", r->out);
}

void report_fail(struct report *r, const char *reason)
{
    if (!r->json)
        return;
    fputs("],", r->out);
    json_string(r, "error", reason);
    fputs("}\n", r->out);
}

static void print_json(struct report *r, const struct check_summary *s, bool deep)
{
    static const char *const durability[] = {
        [STORE_MARK_NONE] = "sync", [STORE_MARK_RELAXED] = "relaxed", [STORE_MARK_UNSAFE] = "unsafe"};
    char oldest[TIME_SIZE], newest[TIME_SIZE];

    format_time(s->oldest_time_ns, oldest);
    format_time(s->newest_time_ns, newest);
    fputs(r->any ? "\n],\n" : "],\n", r->out);
    fprintf(r->out, "\"verified\":%s,\"damaged\":%s,", deep ? "true" : "false",
            report_is_damaged(s) ? "true" : "false");
    json_string(r, "durability", durability[s->mark]);
    json_number(r, "epoch", s->epoch);
    json_number(r, "oldest", s->oldest);
    json_number(r, "newest", s->newest);
    putc(',', r->out);
    json_string(r, "oldestTime", oldest);
    putc(',', r->out);
    json_string(r, "newestTime", newest);
    json_number(r, "records", s->n_records);
    json_number(r, "lostRecords", s->n_lost);
    json_number(r, "logBytes", s->log_bytes);
    json_number(r, "statusThrough", s->status_through);
    json_number(r, "aheadTransactions", s->n_ahead);
    json_number(r, "fileBytes", s->file_bytes);
    json_number(r, "usedBytes", s->used_bytes);
    json_number(r, "freeBytes", s->free_bytes);
    fputs(",\n\"tables\":[", r->out);
    for (size_t i = 0; i < s->n_tables; i++) {
        fputs(i > 0 ? ",{" : "{", r->out);
        json_string(r, "name", s->tables[i].name);
        json_number(r, "pairs", s->tables[i].n_pairs);
        json_number(r, "bytes", s->tables[i].bytes);
        putc('}', r->out);
    }
    fputs("]}\n", r->out);
}

static void print_end(struct report *r, const char *name, uint64_t sequence, uint64_t time_ns)
{
    char time[TIME_SIZE];
    format_time(time_ns, time);
    fprintf(r->out, "%s %" PRIu64 "%s%s\n", name, sequence, time[0] ? "  " : "", time);
}

static void print_summary(struct report *r, const struct check_summary *s)
{
    static const char *const durability[] = {
        [STORE_MARK_NONE] = "sync: everything is on the disk",
        [STORE_MARK_RELAXED] =
            "relaxed, and not closed in order: if the machine goes down now, the next start begins anew",
        [STORE_MARK_UNSAFE] = "relaxed, and the machine went down: the next start sets this log aside and begins anew",
    };
    fputs(r->any ? "\nlog         " : "log         ", r->out);
    print_text(r, r->directory);
    fprintf(r->out, "\ndurability  %s\n", durability[s->mark]);
    if (s->is_made) {
        fprintf(r->out, "epoch       %016" PRIx64 "\n", s->epoch);
        print_end(r, "oldest     ", s->oldest, s->oldest_time_ns);
        print_end(r, "newest     ", s->newest, s->newest_time_ns);
        fprintf(r->out, "records     %" PRIu64 ", in %" PRIu64 " bytes\n", s->n_records, s->log_bytes);
        fprintf(r->out, "status      of the records through %" PRIu64 "\n", s->status_through);
    } else {
        fputs("            no broker has begun a log in it\n", r->out);
    }
    fprintf(r->out, "file        %" PRIu64 " bytes: %" PRIu64 " in use, %" PRIu64 " free\n", s->file_bytes,
            s->used_bytes, s->free_bytes);
    fprintf(r->out, "ahead       %" PRIu64 " transactions that the file does not have yet\n", s->n_ahead);
    for (size_t i = 0; i < s->n_tables; i++) {
        fputs(i == 0 ? "\nTABLE           PAIRS         BYTES\n" : "", r->out);
        print_text(r, s->tables[i].name);
        int width = 21 - (int)strlen(s->tables[i].name);
        fprintf(r->out, "%*" PRIu64 " %13" PRIu64 "\n", width > 1 ? width : 1, s->tables[i].n_pairs,
                s->tables[i].bytes);
    }
}

void report_end(struct report *r, const struct check_summary *s, bool deep)
{
    if (r->json) {
        print_json(r, s, deep);
        return;
    }
    print_summary(r, s);
    if (s->n_holes + s->n_faults > 0)
        fprintf(r->out, "\ndamaged: %" PRIu64 " hole%s with %" PRIu64 " records, %" PRIu64 " other fault%s\n",
                s->n_holes, s->n_holes == 1 ? "" : "s", s->n_lost, s->n_faults, s->n_faults == 1 ? "" : "s");
    else if (s->mark == STORE_MARK_UNSAFE)
        fputs("\nnot safe\n", r->out);
    else if (deep)
        fputs("\nclean\n", r->out);
}
