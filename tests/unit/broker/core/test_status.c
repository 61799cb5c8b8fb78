/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/status.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/filter.h"
#include "sensebus/v1/events.pb-c.h"

#define IQN "iqn.2026-01.org.example:disk"

static struct status s;
static char story[8192];

static void setup(void)
{
    status_init(&s, 1, 0, 0);
    story[0] = '\0';
}

static void teardown(void)
{
    status_deinit(&s);
}

TestSuite(status, .init = setup, .fini = teardown);

/* ---- events, as the log would give them */

struct happening {
    uint64_t sequence;
    uint32_t code;
    int lun; /* -1: the host itself */
    uint32_t aix_bits;
    uint64_t count;
    const char *product; /* NULL: no Device */
    uint32_t lost_bits;  /* not 0: has a Loss */
    const char *summary;
    const char *host;
};

static size_t make_event(const struct happening *h, uint8_t *out)
{
    Sensebus__V1__Event e = SENSEBUS__V1__EVENT__INIT;
    Sensebus__V1__Origin origin = SENSEBUS__V1__ORIGIN__INIT;
    Sensebus__V1__Address address = SENSEBUS__V1__ADDRESS__INIT;
    Sensebus__V1__Device device = SENSEBUS__V1__DEVICE__INIT;
    Sensebus__V1__Loss loss = SENSEBUS__V1__LOSS__INIT;
    origin.host = (char *)(h->host ? h->host : "h");
    origin.agent_epoch = 1;
    origin.source_sequence = h->sequence;
    origin.source = SENSEBUS__V1__SOURCE__SOURCE_ISCSI;
    e.origin = &origin;
    e.sequence = h->sequence;
    e.broker_time_unix_ns = 1000 + h->sequence;
    e.wall_time_unix_ns = 2000 + h->sequence;
    e.code = (Sensebus__V1__Code)h->code;
    e.severity = SENSEBUS__V1__SEVERITY__SEVERITY_WARN;
    e.scope = h->lun < 0 ? SENSEBUS__V1__SCOPE__SCOPE_HOST : SENSEBUS__V1__SCOPE__SCOPE_LUN;
    e.mode = SENSEBUS__V1__MODE__MODE_INITIATOR;
    e.aix_bits = h->aix_bits;
    e.count = h->count;
    e.summary = (char *)(h->summary ? h->summary : "");
    if (h->lun >= 0) {
        address.adapter = (char *)"host3";
        address.bus = 0;
        address.target = 2;
        address.lun = h->lun;
        address.controller = -1;
        e.address = &address;
    }
    if (h->product) {
        device.vendor = (char *)"ACME";
        device.product = (char *)h->product;
        e.device = &device;
    }
    if (h->lost_bits) {
        loss.count = 5;
        loss.aix_bits = h->lost_bits;
        e.loss = &loss;
    }
    return sensebus__v1__event__pack(&e, out);
}

static void fold_into(struct status *status, struct happening h)
{
    uint8_t bytes[4096];
    char err[256];
    struct event_limits limits = {.allow_broker_fields = true};
    struct event_view view;
    size_t len = make_event(&h, bytes);
    cr_assert_eq(event_scan(bytes, len, &limits, &view, err, sizeof err), 0, "%s", err);
    cr_assert_eq(status_fold(status, &view), 0);
}

#define fold(...) fold_into(&s, (struct happening){__VA_ARGS__})

static void describe(const struct status *status, char *out)
{
    const struct status_device *d;
    for (size_t i = 0; (d = status_at(status, i)); i++) {
        out += sprintf(out, "%s bits=%x n=%" PRIu64 " last=", d->key, d->pending_aix_bits, d->n_events);
        for (uint32_t k = 0; k < d->n_last; k++)
            out += sprintf(out, "%s%u@%" PRIu64 "x%" PRIu64, k ? "," : "", d->last[k].code, d->last[k].sequence,
                           d->last[k].count);
        out += sprintf(out, "\n");
    }
}

Test(status, knows_what_it_was_passed_over_with)
{
    static const struct {
        uint64_t first, last; /* cannot be read; 0: nothing */
        uint64_t folded;      /* then this one is folded; 0: nothing */
        uint64_t count, from; /* is said of it */
    } table[] = {
        {0, 0, 3, 0}, /* nothing is missing */
        {4, 6, 0, 0}, /* behind all that is folded: it comes as a record does */
        {4, 6, 0, 0}, /* again, as nothing was folded */
        {0, 0, 7, 3, 4},    {10, 10, 0, 3, 4}, {10, 12, 0, 3, 4}, /* more of it */
        {0, 0, 13, 6, 4},   {4, 6, 0, 6, 4},                      /* folded again, as there was no memory */
        {14, 14, 15, 7, 4},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uint64_t first;
        if (table[i].first)
            status_pass_over(&s, table[i].first, table[i].last);
        if (table[i].folded)
            fold(.sequence = table[i].folded, .code = 201, .lun = 0);
        cr_assert_eq(status_passed_over(&s, &first), table[i].count, "%zu", i);
        if (table[i].count)
            cr_assert_eq(first, table[i].from, "%zu: %" PRIu64, i, first);
    }
}

Test(status, folds_events_by_path_and_code)
{
    fold(.sequence = 1, .code = 201, .lun = 0, .aix_bits = 4);
    fold(.sequence = 2, .code = 201, .lun = 10);
    fold(.sequence = 3, .code = 305, .lun = 0, .count = 3);
    fold(.sequence = 4, .code = 201, .lun = 0);
    fold(.sequence = 5, .code = 903, .lun = -1);
    fold(.sequence = 6, .code = 901, .lun = 10, .lost_bits = 9);
    describe(&s, story);
    cr_assert_str_eq(story, "h bits=0 n=1 last=903@5x1\n"
                            "h/host3:0:2/0 bits=4 n=5 last=201@4x2,305@3x3\n"
                            "h/host3:0:2/10 bits=9 n=2 last=901@6x1,201@2x1\n");
    cr_assert_eq(s.through, 6);
    cr_assert_not_null(status_find(&s, "h", 1));
    cr_assert_null(status_find(&s, "g", 1));
}

Test(status, folding_again_changes_nothing)
{
    for (int round = 0; round < 2; round++) {
        fold(.sequence = 1, .code = 201, .lun = 0);
        fold(.sequence = 2, .code = 202, .lun = 0);
    }
    describe(&s, story);
    cr_assert_str_eq(story, "h/host3:0:2/0 bits=0 n=2 last=202@2x1,201@1x1\n");
}

Test(status, keeps_the_newest_32_codes)
{
    for (uint32_t i = 0; i < 40; i++)
        fold(.sequence = i + 1, .code = 101 + i, .lun = 0);
    const struct status_device *d = status_at(&s, 0);
    cr_assert_eq(d->n_last, STATUS_MAX_LAST);
    cr_assert_eq(d->last[0].code, 140);
    cr_assert_eq(d->last[31].code, 109);
    cr_assert_eq(d->n_events, 40);
    fold(.sequence = 41, .code = 109, .lun = 0); /* from the last place to the first */
    cr_assert_eq(d->last[0].code, 109);
    cr_assert_eq(d->last[0].count, 2);
    cr_assert_eq(d->last[31].code, 110);
}

Test(status, record_is_ready_for_a_batch_and_outlives_the_next_fold)
{
    fold(.sequence = 1, .code = 201, .lun = 0, .summary = "first");
    struct chunk *record = chunk_ref(status_at(&s, 0)->last[0].record);
    fold(.sequence = 2, .code = 201, .lun = 0, .summary = "second");
    Sensebus__V1__EventBatch *batch = sensebus__v1__event_batch__unpack(NULL, record->len, record->bytes);
    cr_assert_not_null(batch);
    cr_assert_eq(batch->n_events, 1);
    cr_assert_eq(batch->events[0]->sequence, 1);
    cr_assert_str_eq(batch->events[0]->summary, "first");
    sensebus__v1__event_batch__free_unpacked(batch, NULL);
    chunk_unref(record);
}

Test(status, an_event_takes_the_room_of_the_one_it_replaces_only_when_nobody_needs_that)
{
    fold(.sequence = 1, .code = 201, .lun = 0, .product = "Disk", .summary = "first");
    const struct status_device *d = status_at(&s, 0);
    const struct chunk *room = d->last[0].record;
    fold(.sequence = 2, .code = 201, .lun = 0, .product = "Tape", .summary = "again");
    cr_assert_eq(d->last[0].record, room, "nobody else has it");
    cr_assert_eq(room->n_refs, 3, "newest of its code, of the identity and of the address");
    /* No identity in it: the one that had it is needed. */
    fold(.sequence = 3, .code = 201, .lun = 0, .summary = "third");
    cr_assert_neq(d->last[0].record, room);
    cr_assert_eq(d->device_record, room);
    cr_assert_eq(d->address_record, d->last[0].record);
    struct event_view view;
    cr_assert(status_scan(d->device_record, &view));
    cr_assert_eq(view.sequence, 2);
    cr_assert_eq(view.device.product.len, 4);
    cr_assert_eq(memcmp(view.device.product.ptr, "Tape", 4), 0);
    cr_assert(status_scan(d->last[0].record, &view));
    cr_assert_eq(view.sequence, 3);
    /* One that does not fit into the room gets its own. */
    fold(.sequence = 4, .code = 201, .lun = 0, .product = "Disk", .summary = "a summary that is longer by far");
    cr_assert(status_scan(d->last[0].record, &view));
    cr_assert_eq(view.sequence, 4);
    cr_assert_eq(d->device_record, d->last[0].record);
}

Test(status, message_shows_the_identity_last_seen)
{
    fold(.sequence = 1, .code = 201, .lun = 7, .product = "OLD");
    fold(.sequence = 2, .code = 202, .lun = 7, .product = "NEW", .summary = "changed");
    fold(.sequence = 3, .code = 203, .lun = 7, .aix_bits = 4);
    Sensebus__V1__DeviceStatus *m;
    cr_assert_eq(status_message(status_at(&s, 0), &m), 0);
    cr_assert_str_eq(m->key, "h/host3:0:2/7");
    cr_assert_str_eq(m->host, "h");
    cr_assert_eq(m->address->lun, 7);
    cr_assert_str_eq(m->address->adapter, "host3");
    cr_assert_str_eq(m->device->product, "NEW");
    cr_assert_eq(m->pending_aix_bits, 4);
    cr_assert_eq(m->last_time_unix_ns, 2003);
    cr_assert_eq(m->n_events, 3);
    cr_assert_eq(m->n_last, 3);
    cr_assert_eq(m->last[0]->code, 203);
    cr_assert_eq(m->last[1]->severity, SENSEBUS__V1__SEVERITY__SEVERITY_WARN);
    cr_assert_str_eq(m->last[1]->summary, "changed");
    cr_assert_eq(m->last[2]->wall_time_unix_ns, 2001);
    sensebus__v1__device_status__free_unpacked(m, NULL);
}

/* ---- pages */

static Sensebus__V1__GetStatusResponse *get_page(uint32_t size, const char *token, const struct filter *filter)
{
    Sensebus__V1__GetStatusRequest request = SENSEBUS__V1__GET_STATUS_REQUEST__INIT;
    Sensebus__V1__GetStatusResponse *r = NULL;
    char err[256];
    request.page_size = size;
    request.page_token = (char *)token;
    cr_assert_eq(status_page(&s, &request, filter, 77, &r, err, sizeof err), 0);
    return r;
}

Test(status, pages_come_in_key_order_and_end)
{
    for (int lun = 9; lun >= 0; lun--)
        fold(.sequence = (uint64_t)(10 - lun), .code = 201, .lun = lun);
    char token[512] = "";
    do {
        Sensebus__V1__GetStatusResponse *r = get_page(4, token, NULL);
        cr_assert_eq(r->position->epoch, 77);
        cr_assert_eq(r->position->sequence, 10);
        for (size_t i = 0; i < r->n_devices; i++)
            strcat(story, strrchr(r->devices[i]->key, '/') + 1);
        strcat(story, " ");
        strcpy(token, r->next_page_token);
        sensebus__v1__get_status_response__free_unpacked(r, NULL);
    } while (*token);
    cr_assert_str_eq(story, "0123 4567 89 ");
}

Test(status, page_token_of_a_forgotten_device_goes_on_behind_it)
{
    fold(.sequence = 1, .code = 201, .lun = 1);
    fold(.sequence = 2, .code = 201, .lun = 3);
    Sensebus__V1__GetStatusResponse *r = get_page(0, "h/host3:0:2/2", NULL);
    cr_assert_eq(r->n_devices, 1);
    cr_assert_str_eq(r->devices[0]->key, "h/host3:0:2/3");
    cr_assert_str_eq(r->next_page_token, "");
    sensebus__v1__get_status_response__free_unpacked(r, NULL);
}

Test(status, pages_hold_devices_with_a_kept_event_that_matches)
{
    fold(.sequence = 1, .code = 201, .lun = 1);
    fold(.sequence = 2, .code = 202, .lun = 2);
    fold(.sequence = 3, .code = 203, .lun = 1);
    Sensebus__V1__Filter message = SENSEBUS__V1__FILTER__INIT;
    Sensebus__V1__Code code = (Sensebus__V1__Code)201;
    message.n_codes = 1;
    message.codes = &code;
    struct filter *filter;
    char err[256];
    cr_assert_eq(filter_new(&message, &filter, err, sizeof err), 0, "%s", err);
    Sensebus__V1__GetStatusResponse *r = get_page(0, "", filter);
    cr_assert_eq(r->n_devices, 1);
    cr_assert_str_eq(r->devices[0]->key, "h/host3:0:2/1");
    sensebus__v1__get_status_response__free_unpacked(r, NULL);
    filter_free(filter);
}

Test(status, a_page_looks_at_so_many_devices_and_may_be_empty)
{
    const int n = 40000;
    for (int lun = 0; lun < n; lun++)
        fold(.sequence = (uint64_t)lun + 1, .code = lun == 9999 ? 201 : 202, .lun = lun); /* 9999 is last by key */
    Sensebus__V1__Filter message = SENSEBUS__V1__FILTER__INIT;
    Sensebus__V1__Code code = (Sensebus__V1__Code)201;
    message.n_codes = 1;
    message.codes = &code;
    struct filter *filter;
    char err[256], token[512] = "";
    cr_assert_eq(filter_new(&message, &filter, err, sizeof err), 0, "%s", err);
    size_t n_pages = 0, n_found = 0;
    do {
        Sensebus__V1__GetStatusResponse *r = get_page(0, token, filter);
        n_found += r->n_devices;
        n_pages++;
        strcpy(token, r->next_page_token);
        sensebus__v1__get_status_response__free_unpacked(r, NULL);
    } while (*token);
    cr_assert_eq(n_found, 1);
    cr_assert_eq(n_pages, 3);
    filter_free(filter);
}

Test(status, page_size_is_bounded)
{
    Sensebus__V1__GetStatusRequest request = SENSEBUS__V1__GET_STATUS_REQUEST__INIT;
    Sensebus__V1__GetStatusResponse *r = NULL;
    char err[256];
    request.page_size = 10001;
    cr_assert_eq(status_page(&s, &request, NULL, 77, &r, err, sizeof err), UV_EINVAL);
    cr_assert_str_eq(err, "GetStatusRequest.page_size: 10001, at most 10000");
}

Test(status, a_page_ends_before_it_is_too_large_for_stock_clients)
{
    char summary[257];
    memset(summary, 's', 256);
    summary[256] = '\0';
    uint64_t sequence = 0;
    for (int lun = 0; lun < 1000; lun++) {
        for (uint32_t code = 201; code < 206; code++)
            fold(.sequence = ++sequence, .code = code, .lun = lun, .summary = summary);
    }
    size_t n = 0;
    char token[512] = "";
    do {
        Sensebus__V1__GetStatusResponse *r = get_page(10000, token, NULL);
        cr_assert_lt(sensebus__v1__get_status_response__get_packed_size(r), 2 * 1024 * 1024);
        n += r->n_devices;
        strcpy(token, r->next_page_token);
        sensebus__v1__get_status_response__free_unpacked(r, NULL);
    } while (*token);
    cr_assert_eq(n, 1000);
}

/* ---- bounds */

Test(status, devices_quiet_longest_are_forgotten_first)
{
    status_deinit(&s);
    status_init(&s, 1, 3, 0);
    fold(.sequence = 1, .code = 201, .lun = 1);
    fold(.sequence = 2, .code = 201, .lun = 2);
    fold(.sequence = 3, .code = 201, .lun = 3);
    fold(.sequence = 4, .code = 201, .lun = 1);
    fold(.sequence = 5, .code = 201, .lun = 4); /* 2 goes */
    describe(&s, story);
    cr_assert_str_eq(story, "h/host3:0:2/1 bits=0 n=2 last=201@4x2\n"
                            "h/host3:0:2/3 bits=0 n=1 last=201@3x1\n"
                            "h/host3:0:2/4 bits=0 n=1 last=201@5x1\n");
    cr_assert_eq(s.n_evicted, 1);
    cr_assert_null(status_find(&s, "h/host3:0:2/2", 13));
    fold(.sequence = 6, .code = 201, .lun = 2); /* comes again, anew; 3 goes */
    cr_assert_eq(status_find(&s, "h/host3:0:2/2", 13)->n_events, 1);
    cr_assert_null(status_find(&s, "h/host3:0:2/3", 13));
}

Test(status, memory_is_bounded_whatever_devices_say)
{
    status_deinit(&s);
    status_init(&s, 1, 0, 100000);
    char summary[257];
    memset(summary, 's', 256);
    summary[256] = '\0';
    for (uint64_t i = 1; i <= 5000; i++) {
        fold(.sequence = i, .code = 101 + (uint32_t)(i % 50), .lun = (int)(i / 100), .summary = summary);
        cr_assert_leq(s.bytes, 100000);
    }
    cr_assert_gt(s.n_evicted, 0);
    cr_assert_gt(s.n, 1);
    /* What is forgotten is kept in mind for the store only up to the same bound of devices. */
    status_deinit(&s);
    status_init(&s, 1, 10, 0);
    for (uint64_t i = 1; i <= 1000; i++)
        fold(.sequence = i, .code = 201, .lun = (int)i);
    cr_assert_eq(s.n, 10);
    cr_assert_leq(s.n_gone, 10);
    cr_assert_leq(s.by_key.n, 20);
}

/* ---- checkpoints and restarts: `rows` is the store */

struct row {
    char key[512];
    uint8_t bytes[4096];
    size_t len;
};
static struct row rows[64];
static size_t n_rows;
static uint64_t stored_through;

static struct row *row_of(const char *key)
{
    for (size_t i = 0; i < n_rows; i++) {
        if (strcmp(rows[i].key, key) == 0)
            return &rows[i];
    }
    return NULL;
}

static void store_checkpoint(size_t max, bool works)
{
    struct row before[64];
    size_t n_before = n_rows;
    memcpy(before, rows, sizeof rows);
    uint64_t through;
    status_checkpoint_begin(&s, max, &through);
    struct status_device *d;
    TAILQ_FOREACH(d, &s.flight, flight)
    {
        struct row *row = row_of(d->key);
        if (d->gone) {
            if (row)
                *row = rows[--n_rows];
            continue;
        }
        if (!row)
            row = &rows[n_rows++];
        strcpy(row->key, d->key);
        row->len = status_encoded_size(d);
        cr_assert_leq(row->len, sizeof row->bytes);
        status_encode(d, row->bytes);
    }
    if (works) {
        stored_through = through;
    } else {
        memcpy(rows, before, sizeof rows);
        n_rows = n_before;
    }
}

static void load_rows(struct status *status)
{
    for (size_t i = 0; i < n_rows; i++)
        cr_assert_eq(status_load(status, rows[i].key, strlen(rows[i].key), rows[i].bytes, rows[i].len), 0);
    cr_assert_eq(status_loaded(status, stored_through), 0);
}

static struct happening history(uint64_t sequence)
{
    uint64_t mixed = sequence * 0x9e3779b97f4a7c15 >> 33;
    return (struct happening){
        .sequence = sequence,
        .code = 201 + (uint32_t)(mixed % 7),
        .lun = (int)(mixed / 7 % 12) - 1,
        .aix_bits = mixed % 5 == 0 ? 4 : 0,
        .product = mixed % 3 == 0 ? "DISK" : NULL,
    };
}

/* Whatever was in the store when the process died, the log leads to the same status. */
Test(status, restart_from_any_checkpoint_gives_the_same_status)
{
    static char expected[16384], actual[16384];
    n_rows = 0;
    stored_through = 0;
    for (uint64_t sequence = 1; sequence <= 200; sequence++) {
        fold_into(&s, history(sequence));
        if (sequence % 5 == 0) { /* a few devices at a time; every third commit fails; some events come meanwhile */
            bool works = sequence % 15 != 0;
            store_checkpoint(1 + sequence % 4, works);
            fold_into(&s, history(++sequence));
            status_checkpoint_end(&s, works);
        }
        struct status restarted;
        status_init(&restarted, 2, 0, 0);
        load_rows(&restarted);
        for (uint64_t again = stored_through + 1; again <= sequence; again++)
            fold_into(&restarted, history(again));
        *expected = *actual = '\0';
        describe(&s, expected);
        describe(&restarted, actual);
        cr_assert_str_eq(actual, expected, "after %" PRIu64, sequence);
        cr_assert_eq(restarted.through, s.through);
        status_deinit(&restarted);
    }
    cr_assert_gt(stored_through, 150);
}

Test(status, checkpoint_of_everything_reaches_the_newest)
{
    n_rows = 0;
    fold(.sequence = 1, .code = 201, .lun = 1);
    fold(.sequence = 2, .code = 201, .lun = 2);
    uint64_t through;
    cr_assert_eq(status_checkpoint_begin(&s, 1, &through), 1);
    cr_assert_eq(through, 1);
    status_checkpoint_end(&s, true);
    cr_assert_eq(status_checkpoint_begin(&s, 10, &through), 1);
    cr_assert_eq(through, 2);
    status_checkpoint_end(&s, false);
    cr_assert_eq(status_checkpoint_begin(&s, 10, &through), 1);
    status_checkpoint_end(&s, true);
    cr_assert_eq(status_checkpoint_begin(&s, 10, &through), 0);
    cr_assert_eq(through, 2);
    status_checkpoint_end(&s, true);
}

/* Else retention would wait for it for ever. `through` does not hide it from who reads on behind a snapshot. */
Test(status, checkpoint_goes_past_what_cannot_be_read)
{
    uint64_t through;
    fold(.sequence = 1, .code = 201, .lun = 1);
    fold(.sequence = 2, .code = 201, .lun = 2);
    status_caught_up(&s, 5);
    cr_assert_eq(s.through, 2);
    cr_assert_eq(status_done(&s), 5);
    cr_assert_eq(status_checkpoint_begin(&s, 1, &through), 1);
    cr_assert_eq(through, 1);
    status_checkpoint_end(&s, true);
    cr_assert_eq(status_checkpoint_begin(&s, 1, &through), 1);
    cr_assert_eq(through, 5);
    status_checkpoint_end(&s, true);
    fold(.sequence = 6, .code = 201, .lun = 1);
    status_caught_up(&s, 5);
    cr_assert_eq(status_done(&s), 6);
}

Test(status, checkpoint_is_bounded_in_bytes)
{
    char summary[257];
    memset(summary, 's', 256);
    summary[256] = '\0';
    uint64_t through, n = 20000;
    for (uint64_t i = 1; i <= n; i++)
        fold(.sequence = i, .code = 201, .lun = (int)i, .summary = summary);
    size_t picked = status_checkpoint_begin(&s, SIZE_MAX, &through), bytes = 0;
    const struct status_device *d;
    TAILQ_FOREACH(d, &s.flight, flight)
    bytes += status_encoded_size(d);
    cr_assert_gt(picked, 1000);
    cr_assert_lt(picked, n);
    cr_assert_lt(bytes, STATUS_CHECKPOINT_BYTES + 65536);
    cr_assert_eq(through, picked, "the rest is folded again at a restart");
    status_checkpoint_end(&s, true);
}

Test(status, forgotten_devices_leave_the_store)
{
    status_deinit(&s);
    status_init(&s, 1, 2, 0);
    n_rows = 0;
    fold(.sequence = 1, .code = 201, .lun = 1);
    fold(.sequence = 2, .code = 201, .lun = 2);
    store_checkpoint(10, true);
    status_checkpoint_end(&s, true);
    cr_assert_eq(n_rows, 2);
    fold(.sequence = 3, .code = 201, .lun = 3); /* 1 goes */
    store_checkpoint(10, true);
    fold(.sequence = 4, .code = 201, .lun = 1); /* and is back before the store has confirmed that; 2 goes */
    status_checkpoint_end(&s, true);
    cr_assert_null(row_of("h/host3:0:2/1"));
    store_checkpoint(10, true);
    status_checkpoint_end(&s, true);
    cr_assert_not_null(row_of("h/host3:0:2/1"));
    cr_assert_null(row_of("h/host3:0:2/2"));
    cr_assert_not_null(row_of("h/host3:0:2/3"));
    cr_assert_eq(s.n_gone, 0);
    cr_assert_eq(s.by_key.n, 2);
}

Test(status, more_stored_devices_than_allowed_are_cut_to_the_newest)
{
    n_rows = 0;
    for (uint64_t i = 1; i <= 6; i++)
        fold(.sequence = i, .code = 201, .lun = (int)(7 - i));
    store_checkpoint(10, true);
    status_checkpoint_end(&s, true);
    status_deinit(&s);
    status_init(&s, 1, 2, 0);
    load_rows(&s);
    describe(&s, story);
    cr_assert_str_eq(story, "h/host3:0:2/1 bits=0 n=1 last=201@6x1\n"
                            "h/host3:0:2/2 bits=0 n=1 last=201@5x1\n");
    fold(.sequence = 7, .code = 201, .lun = 1);
    store_checkpoint(10, true);
    status_checkpoint_end(&s, true);
    cr_assert_eq(n_rows, 2);
}

Test(status, damaged_rows_are_refused)
{
    n_rows = 0;
    fold(.sequence = 1, .code = 201, .lun = 1, .product = "DISK");
    for (uint32_t i = 2; i < 35; i++) /* the record with the Device is no longer among the last */
        fold(.sequence = i, .code = 200 + i, .lun = 1);
    store_checkpoint(10, true);
    status_checkpoint_end(&s, true);
    struct status other;
    status_init(&other, 1, 0, 0);
    const char *key = rows[0].key;
    size_t key_len = strlen(key);
    for (size_t len = 0; len < rows[0].len; len++) {
        uint8_t *cut = malloc(len ? len : 1); /* so that a sanitizer sees a read beyond it */
        memcpy(cut, rows[0].bytes, len);
        cr_assert_eq(status_load(&other, key, key_len, cut, len), UV_EINVAL, "%zu", len);
        free(cut);
    }
    for (size_t i = 0; i < rows[0].len; i++) { /* any other byte: refused or taken, never a fault */
        uint8_t saved = rows[0].bytes[i];
        rows[0].bytes[i] ^= 0xff;
        if (status_load(&other, key, key_len, rows[0].bytes, rows[0].len) == 0) {
            status_deinit(&other);
            status_init(&other, 1, 0, 0);
        }
        rows[0].bytes[i] = saved;
    }
    cr_assert_eq(status_load(&other, "", 0, rows[0].bytes, rows[0].len), UV_EINVAL);
    cr_assert_eq(status_load(&other, key, key_len, rows[0].bytes, rows[0].len), 0);
    cr_assert_eq(status_load(&other, key, key_len, rows[0].bytes, rows[0].len), UV_EEXIST);
    Sensebus__V1__DeviceStatus *m;
    cr_assert_eq(status_message(status_at(&other, 0), &m), 0);
    cr_assert_str_eq(m->device->product, "DISK");
    sensebus__v1__device_status__free_unpacked(m, NULL);
    status_deinit(&other);
}
