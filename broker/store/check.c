/* SPDX-License-Identifier: Apache-2.0 */
/* The description first, since it says what the log must hold; then the records, in order; then the small tables; then
 * the free pages, which nobody may use; last the write-ahead log, whose records come behind the store's. What the image
 * reports while the records are walked is the reason of the hole that shows at the next record. */
#include "broker/store/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "broker/engine/journal_format.h"
#include "broker/store/check_ahead.h"
#include "broker/store/check_pair.h"
#include "proto/event_view.h"

struct check {
    const struct check_ops *ops;
    void *data;
    struct check_summary *summary;
    struct store_image image;
    bool deep;

    /* the description */
    bool has_format, has_epoch, has_state;
    uint32_t format;
    struct journal_state state;
    uint64_t applied; /* last transaction of the write-ahead log that is in the store */

    /* the records */
    bool in_log;
    uint64_t next; /* sequence that must come now; 0: none came yet */
    uint64_t time_ns;
    uint64_t bytes;   /* of values */
    char reason[256]; /* why the next hole is one, or empty */

    /* the table under way */
    struct check_table *table;
    enum journal_table table_id;
};

/* ---- telling */

static void tell_hole(struct check *c, uint64_t first, uint64_t last, const char *reason)
{
    struct check_hole hole = {.first = first, .last = last, .reason = reason};
    c->summary->n_holes++;
    if (first > 0)
        c->summary->n_lost += last - first + 1;
    c->ops->on_hole(c->data, &hole);
}

static void tell_fault(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void tell_fault(struct check *c, const char *format, ...)
{
    char reason[512];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    c->summary->n_faults++;
    c->ops->on_fault(c->data, &(struct check_fault){.table = c->table ? c->table->name : NULL,
                                                    .page = STORE_IMAGE_NO_PAGE,
                                                    .reason = reason});
}

static void on_damage(void *data, const struct store_image_damage *damage)
{
    struct check *c = data;
    uint64_t first;

    c->summary->n_faults++;
    c->ops->on_fault(c->data,
                     &(struct check_fault){.table = damage->table, .page = damage->page, .reason = damage->reason});
    if (!c->in_log)
        return;
    snprintf(c->reason, sizeof c->reason, "page %" PRIu64 ": %s", damage->page, damage->reason);
    if (damage->key && damage->key->len == sizeof first && c->next == 0) {
        memcpy(&first, damage->key->data, sizeof first);
        c->next = c->summary->oldest = first;
    }
}

/* ---- the description */

static int on_meta(void *data, const struct store_value *key, const struct store_value *stored)
{
    struct check *c = data;
    struct store_value value = *stored;

    c->table->n_pairs++;
    c->table->bytes += key->len + stored->len;
    if (key->len == 6 && memcmp(key->data, "format", 6) == 0) {
        if (value.len != sizeof c->format) {
            tell_fault(c, "the format has %zu bytes", value.len);
            return 0;
        }
        memcpy(&c->format, value.data, sizeof c->format);
        c->has_format = true;
        return 0;
    }
    bool whole = journal_pair_open(key, &value);
    if (key->len == 5 && memcmp(key->data, "epoch", 5) == 0 && whole && value.len == sizeof c->summary->epoch) {
        memcpy(&c->summary->epoch, value.data, value.len);
        c->has_epoch = true;
    } else if (key->len == 5 && memcmp(key->data, "state", 5) == 0 && whole && value.len == sizeof c->state) {
        memcpy(&c->state, value.data, value.len);
        c->has_state = true;
    } else if (key->len == 4 && memcmp(key->data, "redo", 4) == 0 && whole && value.len == sizeof c->applied) {
        memcpy(&c->applied, value.data, value.len);
    } else {
        tell_fault(c, "the checksum of a pair does not match");
    }
    return 0;
}

/* ---- the records */

/* The records of a value whose checksum is right. */
static void check_records(struct check *c, uint64_t first, const struct journal_value_header *header,
                          const struct store_value *value)
{
    static const struct event_limits limits = {.allow_broker_fields = true};
    const uint8_t *p = (const uint8_t *)value->data + JOURNAL_HEADER_BYTES,
                  *end = (const uint8_t *)value->data + value->len;
    const uint8_t *event;
    uint64_t last = first + header->n_records - 1, at = first;
    struct event_view view;
    char err[128], reason[256];
    size_t len;

    for (; at <= last && records_next(&p, end, &event, &len); at++) {
        int rc = event_scan(event, len, &limits, &view, err, sizeof err);
        if (rc || view.sequence != at) {
            snprintf(reason, sizeof reason, rc ? "no valid event: %s" : "it has another sequence%s", rc ? err : "");
            tell_hole(c, at, at, reason);
            continue;
        }
        c->summary->n_records++;
        if (c->summary->oldest_time_ns == 0)
            c->summary->oldest_time_ns = view.broker_time_ns;
        if (view.broker_time_ns < c->time_ns)
            tell_fault(c, "the time goes back at record %" PRIu64, at);
        c->time_ns = view.broker_time_ns;
    }
    if (at <= last)
        tell_hole(c, at, last, "its value ends before it");
    else if (p < end)
        tell_fault(c, "bytes behind record %" PRIu64, last);
    else if (header->newest_time_ns != c->time_ns)
        tell_fault(c, "the value of records %" PRIu64 "..%" PRIu64 " has another time than the last of them", first,
                   last);
}

static int on_value(void *data, const struct store_value *key, const struct store_value *value)
{
    struct check *c = data;
    struct journal_value_header header;
    uint64_t first;

    c->table->n_pairs++;
    c->table->bytes += key->len + value->len;
    memcpy(&first, key->data, sizeof first);
    c->bytes += value->len;
    bool whole = c->deep && journal_value_check(first, value, &header);
    if (c->deep && !whole && c->has_state && first > c->state.newest) {
        tell_fault(c, "a damaged value stands at %" PRIu64 ", behind the newest record", first);
        return 0;
    }
    if (c->next == 0) {
        c->summary->oldest = first;
        if (c->deep && c->reason[0] && first > 1)
            tell_hole(c, 0, first - 1, c->reason);
    }
    if (!c->deep) {
        c->next = first;
        return 0;
    }
    if (c->next > 0 && first > c->next)
        tell_hole(c, c->next, first - 1, c->reason[0] ? c->reason : "nothing is stored");
    if (first < c->next)
        tell_fault(c, "a value begins at %" PRIu64 ", inside of the one before it", first);
    c->reason[0] = 0;
    if (!whole) {
        snprintf(c->reason, sizeof c->reason, "its checksum does not match");
        c->next = first > c->next ? first : c->next;
        return 0;
    }
    check_records(c, first, &header, value);
    if (first + header.n_records > c->next)
        c->next = first + header.n_records;
    return 0;
}

static void check_end_of_log(struct check *c)
{
    const struct journal_state *state = &c->state;
    bool is_damaged = c->summary->n_holes + c->summary->n_faults > 0;

    if (c->next == 0) {
        c->summary->oldest = state->newest + 1;
        if (c->deep && c->has_state && state->log_bytes > 0)
            tell_hole(c, 0, state->newest, c->reason[0] ? c->reason : "nothing is stored");
        return;
    }
    if (!c->has_state) {
        c->summary->newest = c->next - 1;
        if (!c->summary->is_made)
            tell_fault(c, "it has records, and there is no description of it");
        return;
    }
    if (!c->deep) {
        if (c->next > state->newest)
            tell_fault(c, "it has records behind %" PRIu64 ", the newest", state->newest);
        return;
    }
    if (c->next <= state->newest)
        tell_hole(c, c->next, state->newest, c->reason[0] ? c->reason : "nothing is stored");
    else if (c->next > state->newest + 1)
        tell_fault(c, "it has records up to %" PRIu64 ", and the newest is %" PRIu64, c->next - 1, state->newest);
    else if (!is_damaged && c->bytes != state->log_bytes)
        tell_fault(c, "it has %" PRIu64 " bytes, and should have %" PRIu64 ": values are missing before %" PRIu64,
                   c->bytes, state->log_bytes, c->summary->oldest);
}

/* ---- the small tables */

static int on_pair(void *data, const struct store_value *key, const struct store_value *stored)
{
    struct check *c = data;
    struct store_value value = *stored;
    char reason[256];

    c->table->n_pairs++;
    c->table->bytes += key->len + stored->len;
    if (!c->deep)
        return 0;
    if (!journal_pair_open(key, &value)) {
        tell_fault(c, "the checksum of a pair does not match");
        return 0;
    }
    int rc = check_pair(c->table_id, key, &value, c->summary->epoch, c->has_state ? c->state.newest : UINT64_MAX,
                        reason, sizeof reason);
    if (rc == UV_EINVAL) {
        tell_fault(c, "%s", reason);
        rc = 0;
    }
    return rc;
}

static int count_pair(void *data, const struct store_value *key, const struct store_value *value)
{
    struct check *c = data;
    c->table->n_pairs++;
    c->table->bytes += key->len + value->len;
    return 0;
}

/* ---- the write-ahead log */

/* The records of one value, which follow those before it. */
static void on_batch_ahead(struct check *c, const struct redo_batch *batch)
{
    struct store_value value = {.data = batch->bytes, .len = batch->len};
    struct journal_value_header header;
    struct check_summary *s = c->summary;

    if (batch->first <= s->newest) {
        tell_fault(c, "write-ahead log: record %" PRIu64 " is in the store", batch->first);
        return;
    }
    if (batch->first > s->newest + 1)
        tell_hole(c, s->newest + 1, batch->first - 1, "it was in the write-ahead log");
    if (!journal_value_check(batch->first, &value, &header)) /* redo_scan found it whole */
        return;
    if (c->deep || s->oldest_time_ns == 0)
        check_records(c, batch->first, &header, &value);
    s->newest = c->state.newest = batch->first + header.n_records - 1;
    s->newest_time_ns = header.newest_time_ns;
    s->log_bytes += batch->len;
}

static int on_frame_ahead(void *data, const struct redo_frame *frame)
{
    struct check *c = data;
    const uint8_t *puts = frame->puts;
    size_t puts_len = frame->puts_len;
    struct redo_put put;
    char reason[256];
    int rc = 0;

    c->summary->n_ahead++;
    c->summary->status_through = frame->status_through;
    for (size_t i = 0; i < frame->n_batches; i++)
        on_batch_ahead(c, &frame->batches[i]);
    while (c->deep && !rc && redo_put_next(&puts, &puts_len, &put)) {
        struct store_value key = {.data = put.key, .len = put.key_len},
                           value = {.data = put.value, .len = put.value_len};
        if (put.delete)
            continue;
        if (!journal_pair_open(&key, &value)) {
            tell_fault(c, "write-ahead log: the checksum of a pair does not match");
            continue;
        }
        rc = check_pair((enum journal_table)put.table, &key, &value, c->summary->epoch, c->state.newest, reason,
                        sizeof reason);
        if (rc == UV_EINVAL) {
            tell_fault(c, "write-ahead log: %s: %s", journal_table_names[put.table], reason);
            rc = 0;
        }
    }
    return rc;
}

static void on_fault_ahead(void *data, const char *reason)
{
    tell_fault(data, "%s", reason);
}

static int walk_ahead(struct check *c, const char *directory)
{
    const struct check_ahead ahead = {.epoch = c->summary->epoch,
                                      .must_be = c->state.is_ahead != 0,
                                      .applied = c->applied,
                                      .on_frame = on_frame_ahead,
                                      .on_fault = on_fault_ahead,
                                      .data = c};

    c->table = NULL;
    return c->has_epoch && c->has_state ? check_ahead(directory, &ahead) : 0;
}

/* ---- all */

static int walk(struct check *c, const char *name, bool values, store_image_pair_cb cb)
{
    const struct store_image_table *table = store_image_find(&c->image, name);
    struct check_table *entry = &c->summary->tables[c->summary->n_tables];

    if (!table) {
        if (c->has_format) {
            c->table = NULL;
            tell_fault(c, "table %s is missing", name);
        }
        return 0;
    }
    c->summary->n_tables++;
    memcpy(entry->name, table->name, sizeof entry->name);
    c->table = entry;
    bool is_log = strcmp(name, "log") == 0;
    if (is_log != (table->tree.flags != 0)) {
        tell_fault(c, "its keys are of another kind");
        return 0;
    }
    return store_image_walk(&c->image, table, values, cb, c);
}

static int walk_log(struct check *c)
{
    c->in_log = true;
    int rc = walk(c, "log", c->deep, on_value);
    c->in_log = false;
    if (!rc)
        check_end_of_log(c);
    return rc;
}

static int walk_others(struct check *c)
{
    int rc = 0;
    for (unsigned i = 0; !rc && i < JOURNAL_N_TABLES; i++) {
        c->table_id = (enum journal_table)i;
        rc = walk(c, journal_table_names[i], c->deep, on_pair);
    }
    for (size_t i = 0; !rc && i < c->image.n_tables; i++) {
        const char *name = c->image.tables[i].name;
        bool is_known = strcmp(name, "log") == 0 || strcmp(name, "meta") == 0;
        for (unsigned k = 0; k < JOURNAL_N_TABLES; k++)
            is_known |= strcmp(name, journal_table_names[k]) == 0;
        if (!is_known)
            rc = walk(c, name, false, count_pair);
    }
    c->table = NULL;
    return rc ? rc : store_image_walk_free(&c->image);
}

/* What the description says, once it is read. */
static int take_description(struct check *c, char *err, size_t err_len)
{
    struct check_summary *s = c->summary;

    if (c->has_format && c->format != JOURNAL_FORMAT && c->format != JOURNAL_FORMAT_WITHOUT_REDO) {
        snprintf(err, err_len, "the log has format %" PRIu32 ", this version reads format %u", c->format,
                 JOURNAL_FORMAT);
        return UV_EINVAL;
    }
    s->is_made = c->has_format || c->has_epoch || c->has_state;
    if (s->is_made && (!c->has_format || !c->has_epoch || !c->has_state))
        tell_fault(c, "%s missing", !c->has_state ? "the state is" : !c->has_epoch ? "the epoch is" : "the format is");
    s->newest = c->state.newest;
    s->newest_time_ns = c->state.newest_time_ns;
    s->log_bytes = c->state.log_bytes;
    s->status_through = c->state.status_through;
    if (s->status_through > s->newest)
        tell_fault(c, "the status knows records behind %" PRIu64 ", the newest", s->newest);
    return 0;
}

/* The time of the first record, for who does not read the others. */
static int on_first_value(void *data, const struct store_value *key, const struct store_value *value)
{
    struct check_summary *s = data;
    struct journal_value_header header;
    uint64_t first, time_ns;

    memcpy(&first, key->data, sizeof first);
    if (journal_value_check(first, value, &header) && journal_value_first_time(value, &time_ns))
        s->oldest_time_ns = time_ns;
    return 1;
}

static void ignore_damage(void *data, const struct store_image_damage *damage)
{
    (void)data, (void)damage;
}

static void find_oldest_time(const char *directory, struct check_summary *s)
{
    static const struct store_image_ops ops = {.on_damage = ignore_damage};
    struct store_image image;
    char err[64];

    if (store_image_open(&image, directory, &ops, NULL, err, sizeof err))
        return;
    const struct store_image_table *log = store_image_find(&image, "log");
    if (log && log->tree.flags != 0)
        store_image_walk(&image, log, true, on_first_value, s);
    store_image_close(&image);
}

static int check_image(struct check *c, const char *directory, char *err, size_t err_len)
{
    struct check_summary *s = c->summary;
    int rc = walk(c, "meta", true, on_meta);

    if (!rc && (rc = take_description(c, err, err_len)))
        return rc;
    if (!rc)
        rc = walk_log(c);
    if (!rc)
        rc = walk_others(c);
    if (rc) {
        snprintf(err, err_len, "%s", uv_strerror(rc));
    } else {
        rc = walk_ahead(c, directory);
        if (rc)
            snprintf(err, err_len, "its file redo: %s", uv_strerror(rc));
    }
    if (!c->deep)
        s->n_records = s->newest + 1 > s->oldest ? s->newest + 1 - s->oldest : 0;
    s->file_bytes = c->image.file_bytes;
    s->used_bytes = (c->image.n_used + 2) * c->image.page_bytes;
    s->free_bytes = c->image.n_free * c->image.page_bytes;
    return rc;
}

/* Why a directory cannot be looked at. */
static void explain(int rc, char *err, size_t err_len)
{
    if (rc == UV_EBUSY)
        snprintf(err, err_len, "a broker has it open (or another check is under way): stop it first");
    else if (rc == UV_ENOENT)
        snprintf(err, err_len, "there is no data.mdb in it");
    else if (!err[0])
        snprintf(err, err_len, "%s", uv_strerror(rc));
}

int check_log(const char *directory, bool deep, const struct check_ops *ops, void *data,
              struct check_summary *out_summary, char *err, size_t err_len)
{
    static const struct store_image_ops image_ops = {.on_damage = on_damage};
    struct check c = {.ops = ops, .data = data, .summary = out_summary, .deep = deep};
    int lock = -1;

    memset(out_summary, 0, sizeof *out_summary);
    err[0] = 0;
    int rc = store_files_lock(directory, true, &lock);
    if (!rc)
        rc = store_files_mark(directory, &out_summary->mark);
    if (!rc && !(rc = store_image_open(&c.image, directory, &image_ops, &c, err, err_len))) {
        rc = check_image(&c, directory, err, err_len);
        store_image_close(&c.image);
        if (!rc && !deep)
            find_oldest_time(directory, out_summary);
    }
    if (lock >= 0)
        close(lock);
    if (rc)
        explain(rc, err, err_len);
    return rc;
}
