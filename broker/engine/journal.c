/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of the store: "log" (key: first sequence as a number; value: header and records), "meta" (format, epoch,
 * state), and one for each enum journal_table. The state in "meta" changes in the same transaction as the log, so
 * counts and the newest sequence never disagree with it. What is stored and how: journal_format.h. */
#include "broker/engine/journal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/engine/journal_format.h"
#include "proto/event_view.h"
#include "runtime/log.h"

#define TAIL_BATCHES       4096u
#define TAIL_DEFAULT_BYTES (16u * 1024 * 1024)
#define LOADED_BATCHES     16u
#define LOAD_AHEAD_BYTES   (64u * 1024) /* small stored values are read together up to this */
#define CUTS               8u
#define FIRST_CHUNK_BYTES  4096u
#define FULL_CHUNK_BYTES   ((size_t)JOURNAL_HEADER_BYTES + JOURNAL_BATCH_BYTES)

struct journal_put {
    struct journal_put *next;
    enum journal_table table;
    bool delete;
    size_t key_len, value_len;
    uint8_t bytes[]; /* key, then the pair's stored value */
};

/* A run that was read, and what it was cut by. It answers the same question again. */
struct journal_cut {
    struct journal_run run; /* no chunk: unused */
    size_t max_bytes;
    bool by_through;
};

/* ------------------------------------------------------------------------------------------------ open, close */

/* What an error of the store means to who starts the broker. */
static const char *open_error(int rc)
{
    switch (rc) {
    case UV_EBUSY: return "another process has it open";
    case UV_EIO:
        return "data.mdb is damaged, cut off, or on a failing disk (i/o error); `sensebus store verify` says where";
    default: return uv_strerror(rc);
    }
}

static int meta_get(struct store_txn *t, unsigned table, const char *name, void *out, size_t len)
{
    struct store_value key = {.data = name, .len = strlen(name)}, value;
    int rc = store_get(t, table, key.data, key.len, &value);
    if (rc)
        return rc;
    if (!journal_pair_open(&key, &value) || value.len != len)
        return UV_EIO;
    memcpy(out, value.data, len);
    return 0;
}

static int meta_put(struct store_txn *t, unsigned table, const char *name, const void *value, size_t len)
{
    uint8_t stored[sizeof(struct journal_state) + JOURNAL_PAIR_EXTRA];
    assert(len + JOURNAL_PAIR_EXTRA <= sizeof stored);
    journal_pair_seal(name, strlen(name), value, len, stored);
    return store_put(t, table, name, strlen(name), stored, len + JOURNAL_PAIR_EXTRA, 0);
}

/* The one pair without a checksum, so that every version can read it. */
static int format_get(struct store_txn *t, unsigned table, uint32_t *out_format)
{
    struct store_value value;
    int rc = store_get(t, table, "format", strlen("format"), &value);
    if (rc)
        return rc;
    if (value.len != sizeof *out_format)
        return UV_EIO;
    memcpy(out_format, value.data, sizeof *out_format);
    return 0;
}

/* Make the meta pairs of a new log, or read those of an old one. */
static int journal_load_meta(struct journal *j, uint64_t new_epoch, char *err, size_t err_len)
{
    struct store_txn txn = {0};
    struct journal_state state = {0};
    uint32_t format = JOURNAL_FORMAT;
    int rc = store_begin(&j->store, true, &txn);
    if (rc) {
        snprintf(err, err_len, "cannot write: %s", open_error(rc));
        return rc;
    }
    rc = format_get(&txn, j->meta_table, &format);
    if (rc == UV_ENOENT) {
        rc = store_put(&txn, j->meta_table, "format", strlen("format"), &format, sizeof format, 0);
        if (!rc)
            rc = meta_put(&txn, j->meta_table, "epoch", &new_epoch, sizeof new_epoch);
        if (!rc)
            rc = meta_put(&txn, j->meta_table, "state", &state, sizeof state);
    }
    if (!rc && format != JOURNAL_FORMAT) {
        snprintf(err, err_len, "the log has format %u, this version reads format %u", format, JOURNAL_FORMAT);
        store_abort(&txn);
        return UV_EINVAL;
    }
    if (!rc)
        rc = meta_get(&txn, j->meta_table, "epoch", &j->epoch, sizeof j->epoch);
    if (!rc)
        rc = meta_get(&txn, j->meta_table, "state", &state, sizeof state);
    if (rc) {
        store_abort(&txn);
    } else {
        rc = store_commit(&txn);
    }
    if (rc) {
        snprintf(err, err_len, "cannot read or make the log's description: %s", open_error(rc));
        return rc;
    }
    j->newest = state.newest;
    j->newest_time_ns = state.newest_time_ns;
    j->log_bytes = state.log_bytes;
    j->status_through = state.status_through;
    j->trimmed_bits = state.trimmed_bits;
    return 0;
}

static int journal_load_oldest(struct journal *j)
{
    struct store_txn txn = {0};
    struct store_cursor cursor = {0};
    int rc = store_begin(&j->store, false, &txn);
    if (rc)
        return rc;
    rc = store_cursor_open(&txn, j->log_table, &cursor);
    if (!rc) {
        rc = store_cursor_first(&cursor);
        if (!rc)
            memcpy(&j->oldest, cursor.key.data, sizeof j->oldest);
        store_cursor_close(&cursor);
    }
    store_abort(&txn);
    if (rc == UV_ENOENT) {
        j->oldest = j->newest + 1;
        rc = 0;
    }
    return rc;
}

int journal_open(struct journal *j, const struct journal_options *options, char *err, size_t err_len)
{
    struct store_options store_options = {
        .directory = options->directory,
        .map_bytes = options->map_bytes,
        .n_tables = 2 + JOURNAL_N_TABLES,
        .relaxed = options->relaxed,
    };

    assert(options->new_epoch != 0);
    memset(j, 0, sizeof *j);
    j->tail_limit_bytes = options->tail_bytes ? options->tail_bytes : TAIL_DEFAULT_BYTES;
    j->tail = calloc(TAIL_BATCHES, sizeof *j->tail);
    j->loaded = calloc(LOADED_BATCHES, sizeof *j->loaded);
    j->cuts = calloc(CUTS, sizeof *j->cuts);
    int rc = j->tail && j->loaded && j->cuts ? 0 : UV_ENOMEM;
    if (!rc)
        rc = store_open(&j->store, &store_options);
    if (rc) {
        snprintf(err, err_len, "%s", open_error(rc));
        goto fail;
    }
    rc = store_table(&j->store, "log", STORE_INTEGER_KEYS, &j->log_table);
    if (!rc)
        rc = store_table(&j->store, "meta", 0, &j->meta_table);
    for (size_t i = 0; !rc && i < JOURNAL_N_TABLES; i++)
        rc = store_table(&j->store, journal_table_names[i], 0, &j->tables[i]);
    if (rc) {
        snprintf(err, err_len, "cannot open its tables: %s", open_error(rc));
        goto fail;
    }
    rc = journal_load_meta(j, options->new_epoch, err, err_len);
    if (rc)
        goto fail;
    rc = journal_load_oldest(j);
    if (rc) {
        snprintf(err, err_len, "cannot read: %s", open_error(rc));
        goto fail;
    }
    return 0;
fail:
    journal_close(j);
    return rc;
}

void journal_close(struct journal *j)
{
    for (; j->tail_n > 0; j->tail_n--) {
        journal_batch_deinit(&j->tail[j->tail_head]);
        j->tail_head = (j->tail_head + 1) % TAIL_BATCHES;
    }
    for (; j->loaded_n > 0; j->loaded_n--)
        journal_batch_deinit(&j->loaded[j->loaded_n - 1]);
    for (size_t i = 0; j->cuts && i < CUTS; i++)
        journal_run_release(&j->cuts[i].run);
    free(j->tail);
    free(j->loaded);
    free(j->cuts);
    store_close(&j->store);
    memset(j, 0, sizeof *j);
}

/* ------------------------------------------------------------------------------------------------ batches */

/* Room for `more` bytes behind what is there: a larger chunk takes over when needed. */
static int batch_grow(struct journal_batch *b, size_t more)
{
    size_t used = b->chunk ? b->chunk->len : JOURNAL_HEADER_BYTES;
    size_t cap = b->chunk ? b->chunk->cap : FIRST_CHUNK_BYTES;

    while (cap < used + more)
        cap = cap < FULL_CHUNK_BYTES && 2 * cap > FULL_CHUNK_BYTES ? FULL_CHUNK_BYTES : 2 * cap;
    if (b->chunk && cap == b->chunk->cap)
        return 0;
    struct chunk *chunk = chunk_new(cap);
    if (!chunk)
        return UV_ENOMEM;
    memset(chunk->bytes, 0, JOURNAL_HEADER_BYTES);
    if (b->chunk)
        memcpy(chunk->bytes, b->chunk->bytes, used);
    chunk->len = used;
    chunk_unref(b->chunk);
    b->chunk = chunk;
    return 0;
}

int journal_batch_append(struct journal_batch *b, const uint8_t *event, size_t len, uint64_t sequence,
                         uint64_t broker_time_ns, uint32_t aix_bits)
{
    size_t size = record_size(len);

    assert(!b->chunk || sequence == b->last + 1);
    if (b->chunk && b->chunk->len - JOURNAL_HEADER_BYTES + size > JOURNAL_BATCH_BYTES)
        return UV_ENOBUFS;
    bool empty = !b->chunk;
    int rc = batch_grow(b, size);
    if (rc)
        return rc;
    b->chunk->len += record_write(b->chunk->bytes + b->chunk->len, event, len, sequence, broker_time_ns);
    if (empty)
        b->first = sequence;
    b->last = sequence;
    b->newest_time_ns = broker_time_ns;
    b->aix_bits |= aix_bits;
    return 0;
}

void journal_batch_deinit(struct journal_batch *b)
{
    chunk_unref(b->chunk);
    memset(b, 0, sizeof *b);
}

static void batch_seal(struct journal_batch *b)
{
    struct journal_value_header header = {
        .n_records = (uint32_t)(b->last - b->first + 1),
        .aix_bits = b->aix_bits,
        .newest_time_ns = b->newest_time_ns,
    };
    journal_value_seal(b->first, &header, b->chunk->bytes, b->chunk->len);
}

/* Is the stored value whole? Fills everything of `out_batch` but the chunk. */
static bool value_check(uint64_t first, const struct store_value *value, struct journal_batch *out_batch)
{
    struct journal_value_header header;

    if (!journal_value_check(first, value, &header))
        return false;
    out_batch->first = first;
    out_batch->last = first + header.n_records - 1;
    out_batch->newest_time_ns = header.newest_time_ns;
    out_batch->aix_bits = header.aix_bits;
    return true;
}

/* ------------------------------------------------------------------------------------------------ writing */

int journal_write_put(struct journal_write *w, enum journal_table table, const void *key, size_t key_len,
                      const void *value, size_t value_len)
{
    struct journal_put *put = malloc(sizeof *put + key_len + value_len + JOURNAL_PAIR_EXTRA);
    if (!put)
        return UV_ENOMEM;
    put->next = NULL;
    put->table = table;
    put->delete = value == NULL;
    put->key_len = key_len;
    put->value_len = value_len + JOURNAL_PAIR_EXTRA;
    memcpy(put->bytes, key, key_len);
    if (value)
        journal_pair_seal(key, key_len, value, value_len, put->bytes + key_len);
    if (w->last_put)
        w->last_put->next = put;
    else
        w->puts = put;
    w->last_put = put;
    return 0;
}

void journal_write_deinit(struct journal_write *w)
{
    for (struct journal_put *put = w->puts, *next; put; put = next) {
        next = put->next;
        free(put);
    }
    w->puts = w->last_put = NULL;
}

static int write_puts(struct journal *j, struct store_txn *txn, const struct journal_write *w)
{
    for (const struct journal_put *put = w->puts; put; put = put->next) {
        unsigned table = j->tables[put->table];
        int rc = put->delete
                     ? store_delete(txn, table, put->bytes, put->key_len)
                     : store_put(txn, table, put->bytes, put->key_len, put->bytes + put->key_len, put->value_len, 0);
        if (rc == UV_ENOENT && put->delete)
            rc = 0;
        if (rc)
            return rc;
    }
    return 0;
}

static int write_batches(struct journal *j, struct store_txn *txn, const struct journal_write *w,
                         struct journal_state *state)
{
    for (size_t i = 0; i < w->n_batches; i++) {
        const struct journal_batch *b = &w->batches[i];
        if (b->last <= state->newest) /* a commit that was said to fail after all of it was on disk */
            continue;
        int rc = store_put(txn, j->log_table, &b->first, sizeof b->first, b->chunk->bytes, b->chunk->len, STORE_APPEND);
        if (rc)
            return rc;
        state->newest = b->last;
        state->newest_time_ns = b->newest_time_ns;
        state->log_bytes += b->chunk->len;
    }
    return 0;
}

/* The oldest stored values, as retention looks at them. The last one shown ends where the next begins. */
static int trim_look(struct store_cursor *c, const struct journal_state *state,
                     struct retention_batch out[RETENTION_STEP_BATCHES], uint32_t out_bits[RETENTION_STEP_BATCHES],
                     size_t *out_n)
{
    size_t n = 0;
    int rc;

    for (rc = store_cursor_first(c); !rc; rc = store_cursor_next(c)) {
        struct journal_value_header header = {0};
        uint64_t first;
        memcpy(&first, c->key.data, sizeof first);
        if (n > 0)
            out[n - 1].n_records = first - out[n - 1].first_sequence;
        if (n == RETENTION_STEP_BATCHES)
            break;
        if (c->value.len >= sizeof header)
            memcpy(&header, c->value.data, sizeof header);
        out[n] = (struct retention_batch){
            .first_sequence = first,
            .n_records = state->newest - first + 1,
            .bytes = c->value.len,
            .newest_time_ns = header.newest_time_ns,
        };
        out_bits[n++] = header.aix_bits;
    }
    *out_n = n;
    return rc == UV_ENOENT ? 0 : rc;
}

/* Remove what retention says from the old end, and report the new one. What this transaction adds (`added_from` on)
 * stays: nobody has seen it yet. */
static int write_trim(struct journal *j, struct store_txn *txn, struct journal_write *w, uint64_t added_from,
                      struct journal_state *state)
{
    struct retention_batch oldest[RETENTION_STEP_BATCHES];
    uint32_t bits[RETENTION_STEP_BATCHES];
    struct store_cursor cursor = {0};
    size_t n = 0, i = 0;
    int rc = store_cursor_open(txn, j->log_table, &cursor);
    if (rc)
        return rc;

    w->n_trimmed = 0;
    w->oldest = 0;
    w->trim_more = false;
    rc = trim_look(&cursor, state, oldest, bits, &n);
    if (!rc && n > 0) {
        struct retention_log log = {
            .newest_sequence = added_from < state->newest ? added_from : state->newest,
            .n_records = state->newest - oldest[0].first_sequence + 1,
            .bytes = state->log_bytes,
        };
        uint64_t through = retention_step(&w->retention, &log, oldest, n, w->now_ns);
        for (; !rc && i < n && oldest[i].first_sequence + oldest[i].n_records - 1 <= through; i++) {
            rc = store_delete(txn, j->log_table, &oldest[i].first_sequence, sizeof oldest[i].first_sequence);
            state->log_bytes -= state->log_bytes < oldest[i].bytes ? state->log_bytes : oldest[i].bytes;
            state->trimmed_bits |= bits[i];
            w->n_trimmed += oldest[i].n_records;
        }
        w->trim_more = i == RETENTION_STEP_BATCHES;
        w->oldest = i < n ? oldest[i].first_sequence : oldest[n - 1].first_sequence + oldest[n - 1].n_records;
    }
    store_cursor_close(&cursor);
    return rc;
}

/* One transaction: what retention removes, and, if `append`, everything new. */
static int write_once(struct journal *j, struct journal_write *w, bool append)
{
    struct store_txn txn = {0};
    struct journal_state state;
    int rc = store_begin(&j->store, true, &txn);
    if (rc)
        return rc;
    rc = meta_get(&txn, j->meta_table, "state", &state, sizeof state);
    if (!rc && append)
        rc = write_batches(j, &txn, w, &state);
    if (!rc && append) {
        state.status_through = w->status_through;
        rc = write_puts(j, &txn, w);
    }
    if (!rc)
        rc = write_trim(j, &txn, w, append && w->n_batches > 0 ? w->batches[0].first : UINT64_MAX, &state);
    if (!rc)
        rc = meta_put(&txn, j->meta_table, "state", &state, sizeof state);
    if (rc) {
        store_abort(&txn);
        return rc;
    }
    rc = store_commit(&txn);
    w->trimmed_bits = state.trimmed_bits;
    w->log_bytes = state.log_bytes;
    return rc;
}

int journal_write(struct journal *j, struct journal_write *w)
{
    for (size_t i = 0; i < w->n_batches; i++)
        batch_seal(&w->batches[i]);
    w->n_trimmed = 0;
    int rc = write_once(j, w, true);
    if (rc != UV_ENOSPC)
        return rc;
    /* Removed pages are free only after a commit: where adding does not fit, remove first. */
    if (write_once(j, w, false) || w->n_trimmed == 0)
        return UV_ENOSPC;
    uint64_t n_trimmed = w->n_trimmed;
    rc = write_once(j, w, true);
    w->n_trimmed += n_trimmed;
    return rc;
}

static void tail_drop_oldest(struct journal *j)
{
    j->tail_bytes -= j->tail[j->tail_head].chunk->cap;
    journal_batch_deinit(&j->tail[j->tail_head]);
    j->tail_head = (j->tail_head + 1) % TAIL_BATCHES;
    j->tail_n--;
}

void journal_publish(struct journal *j, const struct journal_write *w)
{
    for (size_t i = 0; i < w->n_batches; i++) {
        if (j->tail_n == TAIL_BATCHES)
            tail_drop_oldest(j);
        struct journal_batch *slot = &j->tail[(j->tail_head + j->tail_n) % TAIL_BATCHES];
        *slot = w->batches[i];
        chunk_ref(slot->chunk);
        j->tail_n++;
        j->tail_bytes += slot->chunk->cap;
        j->newest = slot->last;
        j->newest_time_ns = slot->newest_time_ns;
    }
    while (j->tail_n > 1 && j->tail_bytes > j->tail_limit_bytes)
        tail_drop_oldest(j);
    j->oldest = w->oldest ? w->oldest : j->newest + 1;
    j->n_trimmed += w->n_trimmed;
    j->trimmed_bits = w->trimmed_bits;
    j->log_bytes = w->log_bytes;
}

int journal_each(struct journal *j, enum journal_table table,
                 int (*cb)(void *data, const struct store_value *key, const struct store_value *value), void *data)
{
    struct store_txn txn = {0};
    struct store_cursor cursor = {0};
    int rc = store_begin(&j->store, false, &txn);
    if (rc)
        return rc;
    rc = store_cursor_open(&txn, j->tables[table], &cursor);
    if (!rc) {
        for (rc = store_cursor_first(&cursor); !rc; rc = store_cursor_next(&cursor)) {
            if (!journal_pair_open(&cursor.key, &cursor.value)) {
                j->n_damaged_pairs++;
                log_warn("log.damaged_pair", "table=%s action=\"left out\"", journal_table_names[table]);
                continue;
            }
            rc = cb(data, &cursor.key, &cursor.value);
            if (rc)
                break;
        }
        store_cursor_close(&cursor);
    }
    store_abort(&txn);
    return rc == UV_ENOENT ? 0 : rc;
}

/* ------------------------------------------------------------------------------------------------ reading */

static const struct journal_batch *tail_find(const struct journal *j, uint64_t sequence)
{
    size_t low = 0, high = j->tail_n;

    if (j->tail_n == 0 || sequence < j->tail[j->tail_head].first)
        return NULL;
    /* The last batch that begins at or before `sequence`. */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (j->tail[(j->tail_head + middle) % TAIL_BATCHES].first <= sequence)
            low = middle;
        else
            high = middle;
    }
    const struct journal_batch *b = &j->tail[(j->tail_head + low) % TAIL_BATCHES];
    return sequence <= b->last ? b : NULL;
}

static const struct journal_batch *loaded_find(struct journal *j, uint64_t sequence)
{
    for (size_t i = 0; i < j->loaded_n; i++) {
        struct journal_batch b = j->loaded[i];
        if (sequence < b.first || sequence > b.last)
            continue;
        memmove(&j->loaded[1], &j->loaded[0], i * sizeof b);
        j->loaded[0] = b;
        return &j->loaded[0];
    }
    return NULL;
}

static const struct journal_batch *loaded_add(struct journal *j, const struct journal_batch *b)
{
    if (j->loaded_n == LOADED_BATCHES)
        journal_batch_deinit(&j->loaded[--j->loaded_n]);
    memmove(&j->loaded[1], &j->loaded[0], j->loaded_n * sizeof *b);
    j->loaded[0] = *b;
    j->loaded_n++;
    return &j->loaded[0];
}

/* The cursor at the stored value that begins at or before `sequence`; *out_next is the key behind it, or 0. UV_ENOENT
 * when every value begins behind it: *out_next is the first. */
static int cursor_find(struct store_cursor *c, uint64_t sequence, uint64_t *out_first, uint64_t *out_next)
{
    uint64_t after = sequence + 1;
    int rc = store_cursor_seek(c, &after, sizeof after);
    if (rc && rc != UV_ENOENT)
        return rc;
    *out_next = 0;
    if (rc == UV_ENOENT) {
        rc = store_cursor_last(c);
    } else {
        memcpy(out_next, c->key.data, sizeof *out_next);
        rc = store_cursor_prev(c);
    }
    if (!rc)
        memcpy(out_first, c->key.data, sizeof *out_first);
    return rc;
}

static void load_value(struct journal_batch *b, const struct store_value *value, size_t from)
{
    size_t len = value->len - from;
    memcpy(b->chunk->bytes + b->chunk->len, (const uint8_t *)value->data + from, len);
    b->chunk->len += len;
}

/* Add the whole values behind `b`, at which the cursor is, as long as they follow one another and there is room. */
static void load_ahead(const struct journal *j, struct store_cursor *cursor, struct journal_batch *b)
{
    int rc = store_cursor_next(cursor);

    while (!rc) {
        struct store_value value = cursor->value;
        struct journal_batch more = {0};
        uint64_t first, next;
        memcpy(&first, cursor->key.data, sizeof first);
        if (first != b->last + 1 || !value_check(first, &value, &more) || more.last > j->newest ||
            value.len - JOURNAL_HEADER_BYTES > b->chunk->cap - b->chunk->len)
            return;
        rc = store_cursor_next(cursor);
        if (rc && rc != UV_ENOENT)
            return;
        if (!rc)
            memcpy(&next, cursor->key.data, sizeof next);
        if (!rc && next <= more.last) /* it is not what belongs here */
            return;
        load_value(b, &value, JOURNAL_HEADER_BYTES);
        b->last = more.last;
        b->newest_time_ns = more.newest_time_ns;
        b->aix_bits |= more.aix_bits;
    }
}

/* Copy the stored value that holds `sequence` out of the store, with `ahead` the small ones behind it, too. Results as
 * journal_read. */
static int load(struct journal *j, struct store_cursor *cursor, uint64_t sequence, bool ahead,
                struct journal_batch *out_batch, struct journal_run *out_damage)
{
    uint64_t first = 0, next = 0;
    int rc = cursor_find(cursor, sequence, &first, &next);
    if (rc == UV_ENOENT) {
        /* Trimmed by a commit that is on disk and not published yet. */
        j->oldest = next ? next : j->newest + 1;
        return JOURNAL_TRIMMED;
    }
    if (rc)
        return rc;
    struct journal_batch b = {0};
    bool whole = value_check(first, &cursor->value, &b);
    if (!whole || sequence > b.last || (next && b.last >= next)) {
        out_damage->first = whole && sequence > b.last ? b.last + 1 : first;
        out_damage->last = next ? next - 1 : j->newest;
        if (out_damage->last > j->newest)
            out_damage->last = j->newest;
        j->n_damaged_reads++;
        return JOURNAL_DAMAGED;
    }
    ahead = ahead && next && next <= j->newest && cursor->value.len < LOAD_AHEAD_BYTES;
    b.chunk = chunk_new(ahead ? LOAD_AHEAD_BYTES : cursor->value.len);
    if (!b.chunk)
        return UV_ENOMEM;
    load_value(&b, &cursor->value, 0);
    if (ahead)
        load_ahead(j, cursor, &b);
    *out_batch = b;
    return JOURNAL_RUN;
}

/* The batch that holds `sequence`, from memory or from the store; borrowed until the next read. */
static int find(struct journal *j, uint64_t sequence, bool ahead, const struct journal_batch **out_batch,
                struct journal_run *out_damage)
{
    if (sequence > j->newest)
        return JOURNAL_CAUGHT_UP;
    if (sequence < j->oldest)
        return JOURNAL_TRIMMED;
    const struct journal_batch *b = tail_find(j, sequence);
    if (!b)
        b = loaded_find(j, sequence);
    if (b) {
        *out_batch = b;
        return JOURNAL_RUN;
    }

    struct store_txn txn = {0};
    struct store_cursor cursor = {0};
    struct journal_batch fresh;
    int rc = store_begin(&j->store, false, &txn);
    if (rc)
        return rc;
    rc = store_cursor_open(&txn, j->log_table, &cursor);
    if (!rc) {
        rc = load(j, &cursor, sequence, ahead, &fresh, out_damage);
        store_cursor_close(&cursor);
    }
    store_abort(&txn);
    if (rc == JOURNAL_RUN)
        *out_batch = loaded_add(j, &fresh);
    return rc;
}

/* The cut that answers this read, or NULL. */
static const struct journal_cut *cut_find(const struct journal *j, uint64_t from, uint64_t through, size_t max_bytes)
{
    for (size_t i = 0; i < CUTS; i++) {
        const struct journal_cut *cut = &j->cuts[i];
        if (cut->run.chunk && cut->run.first == from && cut->max_bytes == max_bytes && cut->run.last <= through &&
            (!cut->by_through || cut->run.last == through))
            return cut;
    }
    return NULL;
}

static void cut_keep(struct journal *j, const struct journal_run *run, uint64_t through, size_t max_bytes)
{
    struct journal_cut *cut = &j->cuts[j->next_cut];

    j->next_cut = (j->next_cut + 1) % CUTS;
    journal_run_release(&cut->run);
    *cut = (struct journal_cut){.run = *run, .max_bytes = max_bytes, .by_through = run->last == through};
    chunk_ref(run->chunk);
}

/* Where in the batch does record `from` begin? Behind a cut, or counted from the front. NULL when there are fewer. */
static const uint8_t *find_record(const struct journal *j, const struct journal_batch *b, uint64_t from)
{
    const uint8_t *cursor = b->chunk->bytes + JOURNAL_HEADER_BYTES, *end = b->chunk->bytes + b->chunk->len, *event;
    uint64_t sequence = b->first;
    size_t len;

    for (size_t i = 0; i < CUTS; i++) {
        const struct journal_run *run = &j->cuts[i].run;
        if (run->chunk == b->chunk && run->last + 1 == from)
            return run->bytes + run->len;
    }
    while (sequence < from && records_next(&cursor, end, &event, &len))
        sequence++;
    return sequence == from ? cursor : NULL;
}

/* The run from..through within a batch; one without records when they are not there. */
static struct journal_run cut_run(const struct journal *j, const struct journal_batch *b, uint64_t from,
                                  uint64_t through, size_t max_bytes)
{
    const uint8_t *start = find_record(j, b, from), *end = b->chunk->bytes + b->chunk->len, *cursor = start, *event;
    uint64_t sequence = from;
    size_t len;

    while (cursor && sequence <= through && cursor < end) {
        const uint8_t *before = cursor;
        if (!records_next(&cursor, end, &event, &len) || (before > start && (size_t)(cursor - start) > max_bytes)) {
            cursor = before;
            break;
        }
        sequence++;
    }
    return (struct journal_run){.chunk = b->chunk,
                                .bytes = start,
                                .len = start ? (size_t)(cursor - start) : 0,
                                .first = from,
                                .last = sequence - 1};
}

static int read_run(struct journal *j, uint64_t from, uint64_t through, size_t max_bytes, bool ahead,
                    struct journal_run *out_run)
{
    const struct journal_batch *b;
    struct journal_run run = {0};
    int rc = find(j, from, ahead, &b, &run);
    if (rc == JOURNAL_DAMAGED)
        *out_run = (struct journal_run){.first = from, .last = run.last};
    if (rc != JOURNAL_RUN)
        return rc;
    run = cut_run(j, b, from, through, max_bytes);
    if (run.last < from) { /* checked bytes that are no records: written by something else */
        *out_run = (struct journal_run){.first = from, .last = b->last};
        j->n_damaged_reads++;
        return JOURNAL_DAMAGED;
    }
    chunk_ref(run.chunk);
    *out_run = run;
    return JOURNAL_RUN;
}

int journal_read(struct journal *j, uint64_t from, uint64_t through, size_t max_bytes, struct journal_run *out_run)
{
    const struct journal_cut *cut = NULL;

    if (from >= j->oldest && from <= j->newest)
        cut = cut_find(j, from, through, max_bytes);
    if (cut) {
        *out_run = cut->run;
        chunk_ref(out_run->chunk);
        return JOURNAL_RUN;
    }
    int rc = read_run(j, from, through, max_bytes, true, out_run);
    if (rc == JOURNAL_RUN)
        cut_keep(j, out_run, through, max_bytes);
    return rc;
}

int journal_read_around(struct journal *j, uint64_t sequence, struct journal_run *out_run)
{
    const struct journal_batch *b;
    struct journal_run run = {0};
    int rc = find(j, sequence, false, &b, &run);
    if (rc == JOURNAL_DAMAGED)
        *out_run = run;
    if (rc != JOURNAL_RUN)
        return rc;
    return read_run(j, b->first < j->oldest ? j->oldest : b->first, sequence, SIZE_MAX, false, out_run);
}

void journal_run_release(struct journal_run *run)
{
    chunk_unref(run->chunk);
    memset(run, 0, sizeof *run);
}

/* The first stored value whose newest record is not before `time_ns`, by bisection over sequences. */
static int find_time_value(struct journal *j, struct store_cursor *cursor, uint64_t time_ns, uint64_t *out_first)
{
    uint64_t low = j->oldest, high = j->newest + 1; /* the answer lies in low..high; high = none */

    while (low < high) {
        uint64_t middle = low + (high - low) / 2, first = 0, next = 0;
        struct journal_batch b = {0};
        int rc = cursor_find(cursor, middle, &first, &next);
        if (rc == UV_ENOENT) {
            low = next && next < high ? next : high;
            continue;
        }
        if (rc)
            return rc;
        if (next == 0 || next > high)
            next = high;
        /* A damaged value has no time: its neighbour on the newer side decides. */
        if (value_check(first, &cursor->value, &b) && b.newest_time_ns >= time_ns)
            high = first > low ? first : low;
        else
            low = next;
    }
    *out_first = low;
    return 0;
}

int journal_find_time(struct journal *j, uint64_t time_ns, uint64_t *out_sequence)
{
    struct store_txn txn = {0};
    struct store_cursor cursor = {0};
    uint64_t first = 0;
    int rc = store_begin(&j->store, false, &txn);
    if (rc)
        return rc;
    rc = store_cursor_open(&txn, j->log_table, &cursor);
    if (!rc) {
        rc = find_time_value(j, &cursor, time_ns, &first);
        store_cursor_close(&cursor);
    }
    store_abort(&txn);
    if (rc)
        return rc;

    struct journal_run run;
    rc = journal_read(j, first, UINT64_MAX, SIZE_MAX, &run);
    if (rc == JOURNAL_RUN) {
        const uint8_t *p = run.bytes, *end = run.bytes + run.len, *event;
        struct event_limits limits = {.allow_broker_fields = true};
        struct event_view view;
        char err[128];
        size_t len;
        while (records_next(&p, end, &event, &len)) {
            if (event_scan(event, len, &limits, &view, err, sizeof err) || view.broker_time_ns >= time_ns)
                break;
            first++;
        }
        journal_run_release(&run);
    }
    *out_sequence = first;
    return rc < 0 ? rc : 0;
}
