/* SPDX-License-Identifier: Apache-2.0 */
/* The story of an event here: spool_append puts it on the pending list; commit_start moves the whole list into a
 * spool_commit and hands that to the pool (spool_commit.h); on_commit_done takes over the new state and starts the next
 * commit if more came. A failed commit wrote nothing: its entries go back to the front of the pending list and wait for
 * the retry timer. */
#include "agent/spool.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/spool_commit.h"
#include "agent/spool_format.h"
#include "proto/event_view.h"
#include "runtime/chunk.h"
#include "runtime/clock.h"
#include "runtime/log.h"
#include "sensebus/v1/event.pb-c.h"

#define TIDY_MS              500
#define RETRY_MS             1000
#define LEAN_COMMITS         3    /* LMDB gives what a commit freed to the next but one */
#define LEAN_BYTES           4096 /* of events that go into the first commit after them; then twice as much, and so on */
#define DEFAULT_MEMORY_BYTES (16u << 20)
#define ORIGIN_BYTES         512 /* at most, with the prefixes */

static const char dropped_reason[] = "the agent's spool was full, the oldest events were dropped";
static const char missing_reason[] =
    "missing in the agent's spool: its disk damaged them, or there was no memory for them";

/* ------------------------------------------------------------------------------------------------ commits */

/* On the pool. */
static void commit_work(uv_work_t *work)
{
    struct spool_commit *c = work->data;

    c->rc = spool_commit_run(c);
}

static void entries_free(struct spool_entry *e)
{
    while (e) {
        struct spool_entry *next = e->next;

        free(e);
        e = next;
    }
}

static void close_step(struct spool *s);
static void commit_start(struct spool *s);

/* Memory has a bound too: the oldest that wait become one loss. */
static void drop_pending(struct spool *s)
{
    while (s->n_pending_bytes > s->options.max_memory_bytes && s->first && s->first->next) {
        struct spool_entry *old = s->first;
        struct spool_entry *next = old->next;

        if (!next->header.loss_first_key) {
            s->n_pending_bytes -= next->len;
            s->n_dropped_memory++;
        }
        if (!old->header.loss_first_key)
            s->n_dropped_memory++;
        if (spool_first_key(&next->header, next->key) > old->key + 1) /* between them is one that found no memory */
            next->header.aix_bits = AIX_ALL_BITS;
        next->header.loss_first_key = spool_first_key(&old->header, old->key);
        next->header.aix_bits |= old->header.aix_bits;
        next->len = 0;
        s->n_pending_bytes -= spool_value_size(old);
        s->first = next;
        free(old);
    }
}

static void commit_put_back(struct spool *s, struct spool_commit *c)
{
    s->n_dropped_memory += c->n_dropped_memory;
    s->dirty = true;
    if (!c->first)
        return;
    c->last->next = s->first;
    s->first = c->first;
    if (!s->last)
        s->last = c->last;
    s->n_pending_bytes += c->n_bytes;
    drop_pending(s);
}

static void disk_result(struct spool *s, int rc)
{
    int before = s->disk_error;

    s->disk_error = rc;
    if (before != rc && !s->closing)
        s->ops->on_disk(s, s->data, rc);
}

/* Events are held that may be sent, and it is not on disk that they may have been. */
static bool is_unsent(const struct spool *s)
{
    return s->may_send && s->held.sent_key < s->held.last_key;
}

static void on_retry(uv_timer_t *timer)
{
    commit_start(timer->data);
}

static void on_commit_done(uv_work_t *work, int status)
{
    struct spool_commit *c = work->data;
    struct spool *s = (struct spool *)((char *)work - offsetof(struct spool, work));
    int rc = status < 0 ? status : c->rc;
    bool more_held = false;

    s->commit = NULL;
    if (rc < 0) {
        s->n_lean = LEAN_COMMITS;
        s->batch_bytes = LEAN_BYTES;
        commit_put_back(s, c);
        more_held = is_unsent(s);
        if (more_held)
            s->held.sent_key = s->held.last_key;
    } else {
        more_held = c->state.last_key > s->held.last_key || c->state.sent_key > s->held.sent_key;
        s->held = c->state;
        if (s->next_epoch == s->held.epoch)
            s->next_epoch = 0;
        entries_free(c->first);
        if (c->lean)
            s->n_lean = c->more_to_free ? LEAN_COMMITS : s->n_lean - 1;
        else if (!s->first || s->batch_bytes >= s->options.max_memory_bytes)
            s->batch_bytes = UINT64_MAX; /* all that can wait has room */
        else
            s->batch_bytes *= 2;
        s->dirty |= c->more_to_free || is_unsent(s); /* it may have begun while nothing might be sent */
    }
    free(c);
    /* That something had room, or only freed, says nothing of the disk: what waits may have none. At the end it is
     * tried all the same; a failure ends that. */
    if (rc < 0 || !s->first || s->closing || s->batch_bytes == UINT64_MAX)
        disk_result(s, rc);
    if (s->closing) {
        close_step(s);
        return;
    }
    if (more_held)
        s->ops->on_held(s, s->data);
    if (rc < 0)
        uv_timer_start(&s->retry, on_retry, RETRY_MS, 0);
    else
        commit_start(s);
}

/* What waits, or as much of it as fits a commit. */
static void take_pending(struct spool *s, struct spool_commit *c)
{
    struct spool_entry *e = s->first;

    if (!e)
        return;
    c->first = e;
    c->n_bytes = spool_value_size(e);
    while (e->next && c->n_bytes + spool_value_size(e->next) <= s->batch_bytes) {
        e = e->next;
        c->n_bytes += spool_value_size(e);
    }
    c->last = e;
    s->first = e->next;
    if (!s->first)
        s->last = NULL;
    e->next = NULL;
    s->n_pending_bytes -= c->n_bytes;
}

/* Hand what waits to the pool, or what may go first, unless a commit runs or the disk failed a moment ago. */
static void commit_start(struct spool *s)
{
    struct spool_commit *c;

    if (s->commit || uv_is_active((uv_handle_t *)&s->retry) || (!s->first && !s->dirty))
        return;
    c = calloc(1, sizeof *c);
    if (!c) {
        uv_timer_start(&s->retry, on_retry, RETRY_MS, 0);
        return;
    }
    c->store = &s->store;
    c->meta_table = s->meta_table;
    c->records_table = s->records_table;
    c->max_bytes = s->options.max_bytes;
    c->max_records = s->options.max_records;
    c->lean = s->n_lean > 0;
    if (!c->lean)
        take_pending(s, c);
    c->state = s->held;
    if (!s->first)
        c->state.last_key = s->last_key;
    if (c->first)
        c->state.is_untold = 0;
    c->state.free_key = s->free_key;
    c->may_send = s->may_send;
    if (s->next_epoch) {
        c->state.epoch = s->next_epoch;
        c->state.base = c->state.sent_key = s->free_key;
    }
    c->n_dropped_memory = s->n_dropped_memory;
    c->state.n_dropped += s->n_dropped_memory;

    uv_timer_stop(&s->tidy);
    s->n_dropped_memory = 0;
    s->dirty = false;
    s->commit = c;
    s->work.data = c;
    if (uv_queue_work(s->loop, &s->work, commit_work, on_commit_done) < 0)
        assert(!"uv_queue_work refuses only without a work function");
}

/* ------------------------------------------------------------------------------------------------ append */

/* Out of memory: the event becomes (a part of) a loss at the end of the pending list. */
static void append_as_lost(struct spool *s, const struct spool_header *header)
{
    struct spool_entry *e = s->last;

    s->n_dropped_memory++;
    if (e && !e->header.loss_first_key) { /* give the event before up as well: its memory is all there is */
        if (s->spare) {
            e = NULL;
        } else {
            s->n_pending_bytes -= e->len;
            s->n_dropped_memory++;
            e->len = 0;
            e->header.loss_first_key = e->key;
        }
    }
    if (!e) {
        e = s->spare;
        s->spare = NULL;
        if (!e) {
            s->dirty = true; /* a number without a record, which is told like a damaged one */
            return;
        }
        e->header = *header;
        e->header.loss_first_key = s->last_key;
        e->header.aix_bits = 0;
        e->len = 0;
        e->next = NULL;
        if (s->last)
            s->last->next = e;
        else
            s->first = e;
        s->last = e;
        s->n_pending_bytes += spool_value_size(e);
    }
    e->key = s->last_key;
    e->header.aix_bits |= header->aix_bits;
    e->header.wall_ns = header->wall_ns;
    e->header.boot_ns = header->boot_ns;
}

void spool_append(struct spool *s, const struct record_bytes *event, uint32_t source, uint64_t wall_ns,
                  uint64_t boot_ns)
{
    struct spool_entry *e = event->bytes ? malloc(sizeof *e + event->len) : NULL;
    struct spool_header header = {
        .wall_ns = wall_ns, .boot_ns = boot_ns, .aix_bits = event->aix_bits, .source = source};

    assert(!s->closing);
    snprintf(header.boot_id, sizeof header.boot_id, "%s", s->options.boot_id);
    s->last_key++;
    if (!e) {
        append_as_lost(s, &header);
    } else {
        e->next = NULL;
        e->key = s->last_key;
        e->header = header;
        e->len = event->len;
        memcpy(e->bytes, event->bytes, event->len);
        if (s->last)
            s->last->next = e;
        else
            s->first = e;
        s->last = e;
        s->n_pending_bytes += spool_value_size(e);
        if (!s->spare)
            s->spare = calloc(1, sizeof *s->spare);
    }
    drop_pending(s);
    commit_start(s);
}

/* ------------------------------------------------------------------------------------------------ send, free */

bool spool_started_over(const struct spool *s)
{
    return s->held.is_untold;
}

uint64_t spool_epoch(const struct spool *s)
{
    return s->held.epoch;
}

uint64_t spool_appended(const struct spool *s)
{
    return s->last_key - s->held.base;
}

uint64_t spool_newest(const struct spool *s)
{
    return s->held.last_key - s->held.base;
}

uint64_t spool_sent(const struct spool *s)
{
    return s->held.sent_key - s->held.base;
}

void spool_let_send(struct spool *s, bool may_send)
{
    s->may_send = may_send;
    if (is_unsent(s)) {
        s->dirty = true;
        commit_start(s);
    }
}

uint64_t spool_n_dropped(const struct spool *s)
{
    return s->held.n_dropped + s->n_dropped_memory;
}

bool spool_settled(const struct spool *s)
{
    return !s->first && !s->commit && !s->dirty && s->disk_error == 0;
}

uint64_t spool_oldest(const struct spool *s)
{
    return s->free_key + 1 - s->held.base;
}

/* A record as it is on disk, or the loss that stands for those that are not there. */
struct spool_record {
    uint64_t key;
    struct spool_header header;
    const uint8_t *event;
    size_t len;
    const char *reason; /* of a loss */
};

/* The event that tells of a loss, or of its part from `from_key` on. The caller frees its bytes. */
static int encode_loss(const struct spool *s, struct spool_record *r, uint64_t from_key, struct record_bytes *out_event)
{
    uint64_t first = r->header.loss_first_key > from_key ? r->header.loss_first_key : from_key;
    struct record_loss loss = {.first = first - s->held.base,
                               .last = r->key - s->held.base,
                               .aix_bits = r->header.aix_bits,
                               .wall_ns = r->header.wall_ns,
                               .boot_ns = r->header.boot_ns,
                               .reason = r->reason};
    int rc = record_encode_loss(&loss, out_event);

    if (rc < 0)
        return rc;
    r->header.source = SENSEBUS__V1__SOURCE__SOURCE_AGENT;
    r->event = out_event->bytes;
    r->len = out_event->len;
    return 0;
}

/* As an element of Publish.events: `out` NULL only counts. */
static size_t write_record(const struct spool *s, const struct spool_record *r, uint8_t *out)
{
    struct record_origin origin = {.host = s->options.host,
                                   .boot_id = r->header.boot_id,
                                   .epoch = s->held.epoch,
                                   .source = r->header.source,
                                   .sequence = r->key - s->held.base};

    return record_element_write(out, r->event, r->len, &origin);
}

/* Room for what can be there, so that a short queue does not take a long buffer. */
static size_t chunk_room(const struct spool *s, size_t first, size_t max_bytes)
{
    uint64_t all = s->held.n_bytes + s->held.n_records * ORIGIN_BYTES;
    size_t room = all < max_bytes ? (size_t)all : max_bytes;

    return room > first ? room : first;
}

/* The loss of these, noticed now. */
static struct spool_record missing_record(const struct spool *s, uint64_t first_key, uint64_t last_key)
{
    struct spool_record r = {
        .key = last_key,
        .header = {.loss_first_key = first_key,
                   .aix_bits = AIX_ALL_BITS,
                   .wall_ns = clock_wall_ns(),
                   .boot_ns = clock_boot_ns()},
        .reason = missing_reason,
    };

    snprintf(r.header.boot_id, sizeof r.header.boot_id, "%s", s->options.boot_id);
    return r;
}

/* What stands for `next_key`, and perhaps some behind it. `*at` is 0 while the cursor is on a record, which it leaves
 * when that had its turn. Returns 0, UV_ENOENT when there is nothing more, or another negative errno. */
static int next_record(const struct spool *s, struct store_cursor *cursor, int *at, uint64_t next_key,
                       struct spool_record *out)
{
    uint64_t first_missing = next_key > s->free_key ? next_key : s->free_key + 1;
    uint64_t last_missing = s->held.sent_key;

    while (*at == 0 && (!spool_record_read(cursor, &out->key, &out->header) || out->key < next_key))
        *at = store_cursor_next(cursor);
    if (*at < 0 && *at != UV_ENOENT)
        return *at;
    if (*at == 0 && spool_first_key(&out->header, out->key) <= last_missing)
        last_missing = spool_first_key(&out->header, out->key) - 1;
    if (first_missing <= last_missing) {
        *out = missing_record(s, first_missing, last_missing);
        return 0;
    }
    if (*at == 0 && out->key > s->held.sent_key)
        return UV_ENOENT;
    if (*at == 0) {
        out->event = (const uint8_t *)cursor->value.data + sizeof out->header;
        out->len = cursor->value.len - sizeof out->header;
        out->reason = dropped_reason;
    }
    return *at;
}

/* Returns 0, UV_ENOBUFS when there is no room for it, or another negative errno. */
static int add_record(const struct spool *s, struct spool_record *r, uint64_t next_key, size_t max_bytes,
                      struct chunk **records)
{
    struct record_bytes loss = {0};
    int rc = r->header.loss_first_key ? encode_loss(s, r, next_key, &loss) : 0;
    size_t size = rc == 0 ? write_record(s, r, NULL) : 0;

    if (rc == 0 && !*records && !(*records = chunk_new(chunk_room(s, size, max_bytes))))
        rc = UV_ENOMEM;
    if (rc == 0 && (*records)->cap - (*records)->len < size)
        rc = UV_ENOBUFS;
    if (rc == 0)
        (*records)->len += write_record(s, r, (*records)->bytes + (*records)->len);
    free(loss.bytes);
    return rc;
}

static int read_records(struct spool *s, struct store_cursor *cursor, uint64_t from_key, size_t max_bytes,
                        uint64_t max_events, struct chunk **records, uint64_t *last_key, uint64_t *n)
{
    uint64_t next_key = from_key;
    int at = store_cursor_seek(cursor, &from_key, sizeof from_key), rc = 0;

    for (*n = 0; *n < max_events; (*n)++) {
        struct spool_record record;

        rc = next_record(s, cursor, &at, next_key, &record);
        if (rc == 0)
            rc = add_record(s, &record, next_key, max_bytes, records);
        if (rc < 0)
            break;
        if (record.reason == missing_reason)
            log_error("spool.missing", "first=%" PRIu64 " last=%" PRIu64 " reason=\"damaged on disk, or no memory\"",
                      record.header.loss_first_key - s->held.base, record.key - s->held.base);
        *last_key = record.key;
        next_key = record.key + 1;
    }
    return *n > 0 && (rc == UV_ENOENT || rc == UV_ENOBUFS) ? 0 : rc;
}

int spool_read(struct spool *s, uint64_t from, size_t max_bytes, uint64_t max_events, struct chunk **out_records,
               uint64_t *out_last, uint64_t *out_n)
{
    struct chunk *records = NULL;
    uint64_t last_key = 0, n = 0;
    struct store_cursor cursor;
    struct store_txn txn;
    int rc;

    if (from > spool_sent(s) || max_events == 0)
        return UV_ENOENT;
    rc = store_begin(&s->store, false, &txn);
    if (rc < 0)
        return rc;
    rc = store_cursor_open(&txn, s->records_table, &cursor);
    if (rc == 0) {
        rc = read_records(s, &cursor, from + s->held.base, max_bytes, max_events, &records, &last_key, &n);
        store_cursor_close(&cursor);
    }
    store_abort(&txn);
    if (rc < 0) {
        chunk_unref(records);
        return rc;
    }
    *out_records = records;
    *out_last = last_key - s->held.base;
    *out_n = n;
    return 0;
}

static void on_tidy(uv_timer_t *timer)
{
    struct spool *s = timer->data;

    s->dirty = true;
    commit_start(s);
}

void spool_free_upto(struct spool *s, uint64_t sequence)
{
    uint64_t key = sequence + s->held.base;

    if (key > s->held.last_key || key <= s->free_key)
        return;
    s->free_key = key;
    if (!uv_is_active((uv_handle_t *)&s->tidy))
        uv_timer_start(&s->tidy, on_tidy, TIDY_MS, 0);
}

static int random_epoch(uint64_t *out_epoch)
{
    int rc;

    do {
        rc = uv_random(NULL, NULL, out_epoch, sizeof *out_epoch, 0, NULL);
    } while (rc == 0 && *out_epoch == 0);
    return rc;
}

int spool_renew(struct spool *s)
{
    int rc = random_epoch(&s->next_epoch);

    if (rc < 0) {
        s->next_epoch = 0;
        return rc;
    }
    s->dirty = true;
    commit_start(s);
    return 0;
}

bool spool_renewing(const struct spool *s)
{
    return s->next_epoch != 0;
}

/* ------------------------------------------------------------------------------------------------ open, close */

/* A new epoch for the records that are there: there are none in a new spool. */
static int state_make(struct spool *s, bool had_state)
{
    struct store_txn txn;
    int set_aside = store_was_set_aside(&s->store); /* maybe in an earlier life, which held nothing in the new file */
    int rc = set_aside < 0 ? set_aside : store_begin(&s->store, true, &txn);

    if (rc < 0)
        return rc;
    rc = spool_state_infer(&txn, s->records_table, &s->held);
    s->held.is_untold = !had_state && s->held.n_records == 0 && set_aside;
    if (rc == 0)
        rc = random_epoch(&s->held.epoch);
    if (rc == 0)
        rc = spool_state_write(&txn, s->meta_table, &s->held);
    if (rc == 0)
        return store_commit(&txn);
    store_abort(&txn);
    return rc;
}

static int state_load(struct spool *s)
{
    struct store_txn txn;
    int rc = store_begin(&s->store, false, &txn);

    if (rc < 0)
        return rc;
    rc = spool_state_read(&txn, s->meta_table, &s->held);
    store_abort(&txn);
    if (rc != UV_ENOENT && rc != UV_EIO)
        return rc;
    if (rc == UV_EIO)
        log_error("spool.damaged", "directory=%s reason=\"its state: a new epoch begins, events may come twice\"",
                  s->options.directory);
    return state_make(s, rc == UV_EIO);
}

static int prepare_with(struct spool *s, bool set_aside)
{
    struct store_options options = {
        .directory = s->options.directory,
        .map_bytes = (size_t)(3 * s->options.max_bytes + (64u << 20)),
        .n_tables = 2,
        .start_over = true,
        .set_aside = set_aside,
    };
    int rc = store_open(&s->store, &options);

    if (rc == 0)
        rc = store_table(&s->store, "meta", 0, &s->meta_table);
    if (rc == 0)
        rc = store_table(&s->store, "records", STORE_INTEGER_KEYS, &s->records_table);
    if (rc == 0)
        rc = state_load(s);
    return rc;
}

/* The structure of the file may be whole, and a table in it no table of the spool's. */
static int store_prepare(struct spool *s)
{
    int rc = prepare_with(s, false);

    if ((rc != UV_EIO && rc != UV_EINVAL) || !s->store.env)
        return rc;
    store_close(&s->store);
    return prepare_with(s, true);
}

int spool_open(struct spool *s, uv_loop_t *loop, const struct spool_options *options, const struct spool_ops *ops,
               void *data)
{
    int rc;

    if (options->max_bytes < 65536 || options->max_records < 2)
        return UV_EINVAL;
    memset(s, 0, sizeof *s);
    s->loop = loop;
    s->options = *options;
    if (s->options.max_memory_bytes == 0)
        s->options.max_memory_bytes = DEFAULT_MEMORY_BYTES;
    s->ops = ops;
    s->data = data;
    rc = store_prepare(s);
    if (rc == 0 && !(s->spare = calloc(1, sizeof *s->spare)))
        rc = UV_ENOMEM;
    if (rc < 0) {
        store_close(&s->store);
        return rc;
    }
    s->options.directory = NULL; /* was borrowed for the opening alone */
    s->last_key = s->held.last_key;
    s->free_key = s->held.free_key;
    s->batch_bytes = UINT64_MAX;
    uv_timer_init(loop, &s->retry);
    uv_timer_init(loop, &s->tidy);
    s->retry.data = s->tidy.data = s;
    s->n_open_timers = 2;
    s->opened = true;
    return 0;
}

/* What the disk did not take ends here, and its numbers are given again: nobody but the log can tell. */
static void tell_unwritten(const struct spool *s)
{
    if (s->last_key > s->held.last_key)
        log_error("spool.lost",
                  "first=%" PRIu64 " last=%" PRIu64 " reason=\"stopped, and the disk did not take them: %s\"",
                  spool_newest(s) + 1, spool_appended(s), uv_strerror(s->disk_error ? s->disk_error : UV_ENOMEM));
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct spool *s = handle->data;

    if (--s->n_open_timers > 0)
        return;
    tell_unwritten(s);
    store_close(&s->store);
    entries_free(s->first);
    free(s->spare);
    s->first = s->last = s->spare = NULL;
    s->opened = false;
    if (s->on_closed)
        s->on_closed(s->on_closed_data);
}

static void close_step(struct spool *s)
{
    if (s->disk_error == 0) {
        s->dirty = s->dirty || uv_is_active((uv_handle_t *)&s->tidy);
        uv_timer_stop(&s->retry);
        commit_start(s);
    }
    if (!s->commit) {
        uv_close((uv_handle_t *)&s->retry, on_timer_closed);
        uv_close((uv_handle_t *)&s->tidy, on_timer_closed);
    }
}

void spool_close(struct spool *s, void (*cb)(void *data), void *data)
{
    assert(s->opened && !s->closing);
    s->closing = true;
    s->on_closed = cb;
    s->on_closed_data = data;
    if (!s->commit)
        close_step(s);
}
