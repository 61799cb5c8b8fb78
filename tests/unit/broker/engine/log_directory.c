/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/broker/engine/log_directory.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/engine/journal.h"
#include "proto/event_view.h"
#include "sensebus/v1/event.pb-c.h"

void log_directory_make(struct log_directory *d)
{
    strcpy(d->path, "/tmp/sensebus-journal.XXXXXX");
    cr_assert_not_null(mkdtemp(d->path));
}

void log_directory_remove(const struct log_directory *d)
{
    static const char *const files[] = {"data.mdb", "data.mdb.unsafe", "lock.mdb", "lock", "redo", "relaxed"};
    char path[128];

    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", d->path, files[i]);
        unlink(path);
    }
    rmdir(d->path);
}

void log_open(struct journal *j, const struct log_directory *d, uint64_t map_bytes, uint64_t tail_bytes)
{
    struct journal_options options = {
        .directory = d->path, .map_bytes = map_bytes, .tail_bytes = tail_bytes, .new_epoch = 0x5e45eb05};
    char err[256] = "";
    int rc = journal_open(j, &options, err, sizeof err);
    cr_assert_eq(rc, 0, "%s", err);
}

size_t log_copy_value(struct journal *j, uint64_t first, uint8_t *out, size_t cap)
{
    struct store_txn t;
    struct store_value value;
    cr_assert_eq(store_begin(&j->store, false, &t), 0);
    cr_assert_eq(store_get(&t, j->log_table, &first, sizeof first, &value), 0);
    size_t len = value.len;
    cr_assert_leq(len, cap);
    memcpy(out, value.data, len);
    store_abort(&t);
    return len;
}

void log_put_value(struct journal *j, uint64_t first, const uint8_t *bytes, size_t len)
{
    struct store_txn t;
    cr_assert_eq(store_begin(&j->store, true, &t), 0);
    cr_assert_eq(store_put(&t, j->log_table, &first, sizeof first, bytes, len, 0), 0);
    cr_assert_eq(store_commit(&t), 0);
}

void log_remove_value(struct journal *j, uint64_t first)
{
    struct store_txn t;
    cr_assert_eq(store_begin(&j->store, true, &t), 0);
    cr_assert_eq(store_delete(&t, j->log_table, &first, sizeof first), 0);
    cr_assert_eq(store_commit(&t), 0);
}

size_t event_write(uint8_t out[EVENT_MAX], uint64_t n, size_t padding)
{
    static char text[EVENT_MAX];
    Sensebus__V1__Event event = SENSEBUS__V1__EVENT__INIT;
    Sensebus__V1__Origin origin = SENSEBUS__V1__ORIGIN__INIT;

    memset(text, 'x', padding);
    text[padding] = 0;
    origin.host = (char *)"host";
    origin.agent_epoch = 7;
    origin.source = SENSEBUS__V1__SOURCE__SOURCE_ISCSI;
    origin.source_sequence = n;
    event.code = SENSEBUS__V1__CODE__LUN_RESET;
    event.severity = SENSEBUS__V1__SEVERITY__SEVERITY_NOTICE;
    event.origin = &origin;
    event.summary = text;
    cr_assert_leq(sensebus__v1__event__get_packed_size(&event), EVENT_MAX);
    return sensebus__v1__event__pack(&event, out);
}

void batch_fill(struct journal_batch *b, uint64_t first, uint64_t last, size_t padding)
{
    uint8_t event[EVENT_MAX];

    for (uint64_t n = first; n <= last; n++)
        cr_assert_eq(journal_batch_append(b, event, event_write(event, n, padding), n, n * 1000, 1u << (n % 4)), 0);
}

void run_check(const struct journal_run *run, uint64_t first, uint64_t last)
{
    struct event_limits limits = {.allow_broker_fields = true};
    const uint8_t *cursor = run->bytes, *end = run->bytes + run->len, *event;
    struct event_view view;
    char err[128];
    size_t len;
    uint64_t n = first;

    cr_assert_eq(run->first, first, "first %" PRIu64, run->first);
    cr_assert_eq(run->last, last, "last %" PRIu64, run->last);
    for (; records_next(&cursor, end, &event, &len); n++) {
        cr_assert_eq(event_scan(event, len, &limits, &view, err, sizeof err), 0, "%s", err);
        cr_assert_eq(view.sequence, n);
        cr_assert_eq(view.source_sequence, n);
        cr_assert_eq(view.broker_time_ns, n * 1000);
    }
    cr_assert_eq(cursor, end);
    cr_assert_eq(n, last + 1);
}
