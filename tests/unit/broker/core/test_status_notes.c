/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/status_notes.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "broker/core/device_key.h"
#include "broker/core/status.h"
#include "proto/event_view.h"

static struct status_notes notes;

static void teardown(void)
{
    status_notes_deinit(&notes);
}

TestSuite(status_notes, .fini = teardown);

#define HOST_SCOPE 10u

static struct event_view event_of(const char *host)
{
    return (struct event_view){.code = 203, .scope = HOST_SCOPE, .host = {host, strlen(host)}};
}

static void add(uint64_t sequence, const char *host)
{
    struct event_view event = event_of(host);
    status_notes_add(&notes, &event, sequence);
}

Test(status_notes, come_out_as_they_went_in)
{
    struct event_view event = event_of("h");
    struct status_note note;
    event.aix_bits = 4;
    event.loss.aix_bits = 9;
    event.device.present = true;
    status_notes_add(&notes, &event, 1);
    event.loss.present = true;
    event.count = 5;
    event.device.present = false;
    event.address.present = true;
    status_notes_add(&notes, &event, 2);
    cr_assert(status_notes_take(&notes, 1, &note));
    cr_assert(note.sequence == 1 && note.code == 203 && note.aix_bits == 4 && note.count == 1);
    cr_assert(note.has_device && !note.has_address);
    cr_assert_eq(note.key_len, 1);
    cr_assert_eq(note.key[0], 'h');
    cr_assert(status_notes_take(&notes, 2, &note));
    cr_assert(note.sequence == 2 && note.aix_bits == 13 && note.count == 5 && !note.has_device && note.has_address);
    cr_assert_not(status_notes_take(&notes, 3, &note));
}

Test(status_notes, a_record_without_one_takes_nobody_elses)
{
    struct status_note note;
    add(3, "three");
    add(5, "five");
    cr_assert_not(status_notes_take(&notes, 2, &note));
    cr_assert(status_notes_take(&notes, 3, &note));
    cr_assert_not(status_notes_take(&notes, 4, &note));
    add(7, "seven");
    cr_assert_not(status_notes_take(&notes, 6, &note), "five was passed over");
    cr_assert_not(status_notes_take(&notes, 5, &note));
    cr_assert(status_notes_take(&notes, 7, &note));
    cr_assert_eq(note.key_len, 5);
}

Test(status_notes, are_bounded_and_go_on_when_there_is_room)
{
    struct status_note note;
    uint64_t newest = 200000, n_found = 0;
    for (uint64_t i = 1; i <= newest; i++)
        add(i, "a-host-with-a-name");
    cr_assert_leq(notes.cap, STATUS_NOTES_MAX_BYTES);
    for (uint64_t i = 1; i <= newest; i++)
        n_found += status_notes_take(&notes, i, &note);
    cr_assert(n_found > 10000 && n_found < newest, "%lu", (unsigned long)n_found);
    /* Records and commits in turn, never empty: the buffer does not grow for it. */
    for (uint64_t i = newest + 1; i <= newest + 100; i++)
        add(i, "h");
    for (uint64_t i = newest + 101; i <= newest + 300000; i++) {
        add(i, "a-host-with-a-name");
        cr_assert(status_notes_take(&notes, i - 100, &note));
    }
    cr_assert_leq(notes.cap, STATUS_NOTES_MAX_BYTES);
}

/* ---- folding by note is folding by scan */

#define RECORD_BYTES 256

/* Event number `i`: of some device, code and size. */
static size_t make_event(uint8_t out[RECORD_BYTES], uint64_t i)
{
    uint64_t mixed = i * 0x9e3779b97f4a7c15u >> 20;
    size_t text = mixed % 60, len = 0;
    uint8_t address[] = {0x0a, 5, 'h', 'o', 's', 't', '3', 0x10, 0, 0x18, 4, 0x20, (uint8_t)(2 * (mixed % 7))};
    out[len++] = 0x20; /* code */
    out[len++] = (uint8_t)(1 + mixed / 7 % 40);
    out[len++] = 0x30; /* scope */
    out[len++] = (uint8_t)(1 + mixed / 11 % 3 * 5);
    memcpy(out + len, "\x42\x03\x0a\x01h", 5); /* origin.host */
    len += 5;
    if (mixed / 13 % 4) {
        out[len++] = 0x5a;
        out[len++] = sizeof address;
        memcpy(out + len, address, sizeof address);
        len += sizeof address;
    }
    if (mixed / 17 % 3) {
        memcpy(out + len,
               "\x62\x06\x0a\x04"
               "ACME",
               8);
        len += 8;
    }
    memcpy(out + len, "\x90\x01", 2); /* aix_bits */
    out[len + 2] = (uint8_t)(mixed / 19 % 16);
    len += 3;
    memcpy(out + len, "\xc2\x01", 2); /* summary */
    out[len + 2] = (uint8_t)text;
    memset(out + len + 3, 's', text);
    return len + 3 + text;
}

static bool same_chunk(const struct chunk *a, const struct chunk *b)
{
    return a == b || (a && b && a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0);
}

static void compare(const struct status *a, const struct status *b)
{
    cr_assert(a->n == b->n && a->bytes == b->bytes && a->through == b->through && a->n_evicted == b->n_evicted);
    for (size_t i = 0; i < a->n; i++) {
        const struct status_device *d = a->sorted[i], *e = b->sorted[i];
        cr_assert_str_eq(d->key, e->key);
        cr_assert(d->pending_aix_bits == e->pending_aix_bits && d->n_events == e->n_events && d->n_last == e->n_last);
        cr_assert(same_chunk(d->device_record, e->device_record) && same_chunk(d->address_record, e->address_record));
        for (uint32_t k = 0; k < d->n_last; k++)
            cr_assert(d->last[k].code == e->last[k].code && d->last[k].sequence == e->last[k].sequence &&
                      d->last[k].count == e->last[k].count && same_chunk(d->last[k].record, e->last[k].record));
    }
}

Test(status_notes, folding_by_note_is_folding_by_scan)
{
    static const struct event_limits stored = {.allow_broker_fields = true};
    struct status by_note, by_scan;
    status_init(&by_note, 1, 12, 0);
    status_init(&by_scan, 2, 12, 0);
    for (uint64_t i = 1; i <= 5000; i++) {
        uint8_t bytes[RECORD_BYTES], record[RECORD_BYTES];
        struct event_view view;
        struct status_note note;
        char err[120];
        const uint8_t *cursor = record, *event;
        size_t len = make_event(bytes, i), event_len;
        cr_assert_eq(event_scan(bytes, len, NULL, &view, err, sizeof err), 0, "%s", err);
        status_notes_add(&notes, &view, i);
        len = record_write(record, bytes, len, i, 1000 + i);
        cr_assert(records_next(&cursor, record + len, &event, &event_len));
        cr_assert_eq(event_scan(event, event_len, &stored, &view, err, sizeof err), 0, "%s", err);
        cr_assert(status_notes_take(&notes, i, &note));
        cr_assert_eq(status_fold_noted(&by_note, &note, event, event_len), 0);
        cr_assert_eq(status_fold(&by_scan, &view), 0);
        if (i % 100 == 0)
            compare(&by_note, &by_scan);
    }
    cr_assert_gt(by_note.n, 5);
    status_deinit(&by_note);
    status_deinit(&by_scan);
}

#define RUN_MAX 300u

/* Records first..first + n - 1 as they lie in the log, folded late into one status and one by one into the other. */
static void fold_run(struct status *late, struct status *each, uint64_t first, size_t n)
{
    static const struct event_limits stored = {.allow_broker_fields = true};
    static uint8_t records[RUN_MAX][RECORD_BYTES];
    for (size_t i = 0; i < n; i++) {
        uint8_t bytes[RECORD_BYTES];
        struct event_view view;
        struct status_note note;
        char key[DEVICE_KEY_SIZE], err[120];
        const uint8_t *cursor = records[i], *event;
        size_t len = make_event(bytes, (first + i) / 3 * 3), event_len; /* three in a row say the same */
        len = record_write(records[i], bytes, len, first + i, 1000 + i);
        cr_assert(records_next(&cursor, records[i] + len, &event, &event_len));
        cr_assert_eq(event_scan(event, event_len, &stored, &view, err, sizeof err), 0, "%s", err);
        status_note_make(&view, first + i, key, &note);
        cr_assert_eq(status_fold_late(late, &note, event, event_len), 0);
        cr_assert_eq(status_fold(each, &view), 0);
    }
    cr_assert_eq(status_settle(late), 0);
}

static void compare_order(const struct status_list *a, const struct status_list *b)
{
    const struct status_device *d = TAILQ_FIRST(a), *e = TAILQ_FIRST(b);
    for (; d && e; d = TAILQ_NEXT(d, age), e = TAILQ_NEXT(e, age))
        cr_assert_str_eq(d->key, e->key);
    cr_assert(!d && !e);
}

Test(status_notes, folding_a_run_late_is_folding_it_one_by_one)
{
    for (size_t bound = 5; bound <= 200; bound += 195) { /* devices are forgotten in the middle of a run; or never */
        struct status late, each;
        size_t n = 1;
        status_init(&late, 1, bound, 0);
        status_init(&each, 2, bound, 0);
        for (uint64_t first = 1; first < 20000; first += n) {
            n = (first * 7919) % RUN_MAX + 1;
            fold_run(&late, &each, first, n);
            compare(&late, &each);
            compare_order(&late.ages, &each.ages);
            uint64_t late_through, each_through;
            cr_assert_eq(status_checkpoint_begin(&late, 3, &late_through),
                         status_checkpoint_begin(&each, 3, &each_through));
            cr_assert_eq(late_through, each_through, "the store lacks the same");
            status_checkpoint_end(&late, first % 2);
            status_checkpoint_end(&each, first % 2);
        }
        cr_assert(bound > 100 || late.n_evicted > 100);
        status_deinit(&late);
        status_deinit(&each);
    }
}
