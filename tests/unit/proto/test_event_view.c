/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "proto/event_view.h"
#include "proto/wire.h"
#include "tests/lib/sample_event.h"
#include "tests/unit/proto/decoded_view.h"
#include "tests/unit/proto/long_scan.h"

#define N_SAMPLES   400
#define N_MUTATIONS 60

static char err[120];

/* On the heap in its own size, so that a read beyond it is caught. */
static uint8_t *pack(struct sample_event *sample, size_t *out_len)
{
    *out_len = sensebus__v1__event__get_packed_size(&sample->event);
    uint8_t *bytes = malloc(*out_len);
    sensebus__v1__event__pack(&sample->event, bytes);
    return bytes;
}

Test(event_view, reads_what_protobuf_wrote)
{
    uint64_t seed = 1;
    for (int i = 0; i < N_SAMPLES; i++) {
        struct sample_event sample;
        struct event_view view;
        size_t len;
        sample_event_make(&sample, &seed);
        uint8_t *bytes = pack(&sample, &len);
        cr_assert_eq(event_scan(bytes, len, NULL, &view, err, sizeof err), 0, "sample %d: %s", i, err);
        const char *difference = decoded_view_difference(&view);
        cr_assert_null(difference, "sample %d: %s", i, difference);
        free(bytes);
    }
}

/* Change a bit, a byte or the length. */
static size_t mutate(uint8_t *bytes, size_t len, uint64_t *random)
{
    uint64_t r = sample_random(random);
    size_t at = (r >> 8) % len;
    switch (r % 4) {
    case 0: return at;
    case 1: bytes[at] ^= (uint8_t)(1u << (r >> 40) % 8); return len;
    case 2: bytes[at] = (uint8_t)(r >> 40); return len;
    default: memmove(bytes + at, bytes + len / 2, len - (at > len / 2 ? at : len / 2)); return len;
    }
}

Test(event_view, a_damaged_event_is_refused_or_read_as_decoders_read_it)
{
    uint64_t seed = 2, random = 3;
    unsigned n_taken = 0, n_refused = 0;
    for (int i = 0; i < N_SAMPLES; i++) {
        struct sample_event sample;
        size_t len;
        sample_event_make(&sample, &seed);
        uint8_t *bytes = pack(&sample, &len);
        for (int k = 0; k < N_MUTATIONS; k++) {
            struct event_view view;
            struct event_limits limits = {.allow_broker_fields = true};
            uint8_t *damaged = malloc(len);
            memcpy(damaged, bytes, len);
            size_t n = mutate(damaged, len, &random);
            if (event_scan(damaged, n, &limits, &view, err, sizeof err) == 0) {
                n_taken++;
                const char *difference = decoded_view_difference(&view);
                cr_assert_null(difference, "sample %d, mutation %d: %s", i, k, difference);
            } else {
                n_refused++;
                cr_assert(strchr(err, ':'), "the error names the field: %s", err);
            }
            free(damaged);
        }
        free(bytes);
    }
    cr_assert(n_taken > 100 && n_refused > 100, "%u taken, %u refused", n_taken, n_refused);
}

Test(event_view, the_short_way_decides_as_the_long_way)
{
    uint64_t seed = 4, random = 5;
    unsigned n_taken = 0, n_refused = 0;
    for (int i = 0; i < N_SAMPLES; i++) {
        struct sample_event sample;
        size_t len;
        sample_event_make(&sample, &seed);
        uint8_t *bytes = pack(&sample, &len);
        for (int k = 0; k < N_MUTATIONS; k++) {
            struct event_view view;
            struct event_limits limits = {.allow_broker_fields = k % 2 == 0};
            size_t n = len;
            uint8_t *damaged = malloc(len);
            memcpy(damaged, bytes, len);
            for (int times = k % 3; times > 0 && n > 0; times--)
                n = mutate(damaged, n, &random);
            uint8_t *exact = malloc(n ? n : 1); /* a read beyond the end is caught */
            memcpy(exact, damaged, n);
            int rc = event_scan(exact, n, &limits, &view, err, sizeof err);
            const char *difference = long_scan_difference(exact, n, &limits, &view, rc, err);
            cr_assert_null(difference, "sample %d, mutation %d: %s", i, k, difference);
            rc ? n_refused++ : n_taken++;
            free(exact);
            free(damaged);
        }
        free(bytes);
    }
    cr_assert(n_taken > 100 && n_refused > 100, "%u taken, %u refused", n_taken, n_refused);
}

Test(event_view, records_are_told_apart_by_the_short_way_as_by_the_long_way)
{
    static const uint8_t lengths[][3] = {{0},          {1},          {5},          {0x7f},
                                         {0x80, 1},    {0x80, 2},    {0x85, 0},    {0xff, 0x7f},
                                         {0x80, 0x80}, {0x81, 0x80}, {0xff, 0xff}, {0x80, 0x80, 1}};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        for (size_t n = 0; n < 300; n++) {
            uint8_t *bytes = calloc(1, n ? n : 1); /* in its own size, so that a read beyond it is caught */
            if (n > 0)
                bytes[0] = 0x12;
            if (n > 1)
                memcpy(bytes + 1, lengths[i], n - 1 < 3 ? n - 1 : 3);
            const uint8_t *cursor = bytes, *long_cursor = bytes, *event = NULL, *long_event = NULL;
            size_t len = 0, long_len = 0;
            bool more = records_next(&cursor, bytes + n, &event, &len);
            cr_assert_eq(more, long_records_next(&long_cursor, bytes + n, &long_event, &long_len));
            cr_assert_eq(cursor, long_cursor);
            cr_assert(!more || (event == long_event && len == long_len));
            free(bytes);
        }
    }
}

/* In its own size, so that a read beyond it is caught. */
static void compare_index(const uint8_t *records, size_t len, size_t max)
{
    uint8_t *bytes = malloc(len ? len : 1);
    uint32_t *starts = calloc(max + 1, sizeof *starts);
    if (len > 0)
        memcpy(bytes, records, len);
    size_t used, n = records_index(bytes, len, 100, starts, max, &used), event_len;
    const uint8_t *cursor = bytes, *event;
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(starts[i], 100 + (size_t)(cursor - bytes));
        cr_assert(records_next(&cursor, bytes + len, &event, &event_len));
    }
    cr_assert_eq(used, (size_t)(cursor - bytes));
    cr_assert(n == max || !records_next(&cursor, bytes + len, &event, &event_len));
    free(bytes);
    free(starts);
}

Test(event_view, the_index_of_records_is_where_they_begin)
{
    static const size_t lengths[] = {0, 1, 2, 3, 5, 126, 127, 128, 129, 171, 171, 171, 16383, 16384, 16385};
    static uint8_t log[1u << 20];
    uint64_t seed = 5;
    for (int i = 0; i < 2000; i++) {
        size_t len = 0, n = 0, event_len = 0;
        while (n < 40 && len + 20000 < sizeof log && (n < 3 || sample_random(&seed) % 30)) {
            if (n == 0 || sample_random(&seed) % 4 == 0)
                event_len = lengths[sample_random(&seed) % (sizeof lengths / sizeof *lengths)];
            log[len++] = 0x12;
            len += varint_write(log + len, event_len);
            memset(log + len, (int)(sample_random(&seed) % 2 ? 0x12 : n), event_len);
            len += event_len;
            n++;
        }
        compare_index(log, len, n);
        compare_index(log, len, n + 5);
        compare_index(log, len, n / 2);
        compare_index(log, sample_random(&seed) % (len + 1), n);
        log[sample_random(&seed) % (len < 600 ? len : 600)] ^= (uint8_t)(1u << sample_random(&seed) % 8);
        compare_index(log, len, n + 5);
    }
}

Test(event_view, a_length_in_more_bytes_than_it_needs_is_no_other_records_length)
{
    static const uint8_t again[] = {0x12, 0x81, 0x80, 0x00, 'x', 0x12, 0x81, 0x80, 0x80, 0x80};
    static uint8_t longer[5 + 4 + 16385] = {0x12, 0x81, 0x80, 0x00, 'x', 0x12, 0x81, 0x80, 0x01};
    compare_index(again, sizeof again, 5);
    compare_index(longer, sizeof longer, 5);
}

#define CODE "\x20\xcb\x01" /* code = 203 */

Test(event_view, refuses_by_name)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *fault;
    } rows[] = {
#define ROW(bytes, fault) {bytes, sizeof(bytes) - 1, fault}
        ROW("", "code: missing"),
        ROW("\x20\x00", "code: missing"),
        ROW("\x28\x01", "code: missing"),
        ROW("\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "code: number out of range"),
        ROW(CODE "\x09\x01\x00\x00\x00\x00\x00\x00\x00", "sequence: belongs to the broker"),
        ROW(CODE "\x11\x01\x00\x00\x00\x00\x00\x00\x00", "broker_time_unix_ns: belongs to the broker"),
        ROW(CODE "\x18\x01", "session_generation: belongs to the broker"),
        ROW(CODE CODE, "code: given twice"),
        ROW(CODE "\x42\x00\x42\x00", "origin: given twice"),
        ROW(CODE "\x42\x06\x0a\x01"
                 "a"
                 "\x0a\x01"
                 "b",
            "origin.host: given twice"),
        ROW(CODE "\x42\x03\x0a\x01\xff", "origin.host: not UTF-8"),
        ROW(CODE "\x42\x04\x0a\x02"
                 "a\x00",
            "origin.host: holds a NUL"),
        ROW(CODE "\x42\x02\x20\x0b", "origin.source: number out of range"),
        ROW(CODE "\x42\x02\x08\x01", "origin.host: wrong wire type"),
        ROW(CODE "\x42\x02\x0a\x05", "origin.(field): malformed or cut off"),
        ROW(CODE "\x42\x05\x0a", "(field): malformed or cut off"),
        ROW(CODE "\x28\x06", "severity: number out of range"),
        ROW(CODE "\x30\x0c", "scope: number out of range"),
        ROW(CODE "\x38\x04", "mode: number out of range"),
        ROW(CODE "\xb2\x01\x02\x08\x07", "loss.stage: number out of range"),
        ROW(CODE "\x7a\x03\x20\x80\x02", "sense.asc: number out of range"),
        ROW(CODE "\x7a\x02\x18\x10", "sense.key: number out of range"),
        ROW(CODE "\x7a\x02\x30\x02", "sense.deferred: number out of range"),
        ROW(CODE "\x90\x01\x80\x80\x80\x80\x10", "aix_bits: number out of range"),
        ROW(CODE "\x5a\x06\x10\x80\x80\x80\x80\x10", "address.bus: number out of range"),
        ROW(CODE "\x6a\x07\x32\x05\x80\x80\x80\x80\x10", "native.parameters: number out of range"),
        ROW(CODE "\x6a\x03\x32\x01\x80", "native.parameters: malformed"),
        ROW(CODE "\x6a\x05\x35\x01\x00\x00\x00", "native.parameters: wrong wire type"),
        ROW(CODE "\x0b\x0c", "(field): malformed or cut off"),
#undef ROW
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct event_view view;
        err[0] = 0;
        int rc = event_scan((const uint8_t *)rows[i].bytes, rows[i].len, NULL, &view, err, sizeof err);
        cr_expect_eq(rc, UV_EINVAL, "row %zu", i);
        cr_expect_str_eq(err, rows[i].fault, "row %zu", i);
    }
}

Test(event_view, takes_what_a_later_version_may_send)
{
    static const char bytes[] = CODE "\x20\x80\x10"         /* replaced below: a code of the future */
                                     "\xa0\x06\x2a"         /* field 100 */
                                     "\x42\x03\xf8\x01\x01" /* origin with field 31 */
                                     "\xc2\x3e\x02hi";      /* field 1000 */
    struct event_view view;
    uint8_t copy[sizeof bytes - 1 - 3];
    memcpy(copy, bytes + 3, sizeof copy);
    cr_assert_eq(event_scan(copy, sizeof copy, NULL, &view, err, sizeof err), 0, "%s", err);
    cr_assert_eq(view.code, 2048);
    cr_assert_null(decoded_view_difference(&view));
}

/* `n` bytes of field `tag` inside sub-message `outer` (0: in the event itself). */
static int scan_long(uint8_t outer, uint16_t tag, size_t n)
{
    static uint8_t bytes[5000];
    struct event_view view;
    uint8_t head[8];
    size_t tag_len = varint_write(head, tag), at = 0;
    memcpy(bytes, CODE, 3);
    at = 3;
    if (outer) {
        bytes[at++] = outer;
        at += varint_write(bytes + at, tag_len + varint_size(n) + n);
    }
    memcpy(bytes + at, head, tag_len);
    at += tag_len;
    at += varint_write(bytes + at, n);
    memset(bytes + at, 'x', n);
    return event_scan(bytes, at + n, NULL, &view, err, sizeof err);
}

Test(event_view, keeps_the_written_lengths)
{
    static const struct {
        uint8_t outer;
        uint16_t tag;
        size_t max;
        const char *fault;
    } rows[] = {
        {0, 24 << 3 | 2, 256, "summary: too long"},
        {0x6a, 4 << 3 | 2, 4096, "native.raw: too long"},
        {0x7a, 1 << 3 | 2, 252, "sense.raw: too long"},
        {0x7a, 10 << 3 | 2, 3, "sense.sense_key_specific: too long"},
        {0x62, 11 << 3 | 2, 96, "device.raw_inquiry: too long"},
        {0x42, 1 << 3 | 2, 253, "origin.host: too long"},
        {0x62, 8 << 3 | 2, 1024, "device.target_name: too long"},
        {0x62, 5 << 3 | 2, 1024, "device.designator: too long"},
        {0x5a, 1 << 3 | 2, 1024, "address.adapter: too long"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        err[0] = 0;
        cr_expect_eq(scan_long(rows[i].outer, rows[i].tag, rows[i].max), 0, "%s: %s", rows[i].fault, err);
        cr_expect_eq(scan_long(rows[i].outer, rows[i].tag, rows[i].max + 1), UV_EINVAL);
        cr_expect_str_eq(err, rows[i].fault);
    }
}

Test(event_view, an_event_has_a_size_limit)
{
    static uint8_t bytes[70000];
    struct event_view view;
    struct event_limits limits = {.max_event_bytes = 2};
    cr_assert_eq(event_scan(bytes, sizeof bytes, NULL, &view, err, sizeof err), UV_EINVAL);
    cr_assert_str_eq(err, "event: 70000 bytes, at most 65536 are allowed");
    cr_assert_eq(event_scan((const uint8_t *)CODE, 3, &limits, &view, err, sizeof err), UV_EINVAL);
    limits.max_event_bytes = 3;
    cr_assert_eq(event_scan((const uint8_t *)CODE, 3, &limits, &view, err, sizeof err), 0);
}

Test(event_view, the_largest_event_is_taken_from_the_log_too)
{
    static uint8_t event[65536], tagged[65536 + EVENT_GENERATION_BYTES], record[65536 + 50];
    struct event_limits stored = {.allow_broker_fields = true};
    struct event_view view;
    const uint8_t *cursor = record, *bytes;
    size_t len = 65536;
    memset(event, 'x', sizeof event);
    memcpy(event, CODE, 3);
    event[3] = 0xc2; /* field 1000, bytes */
    event[4] = 0x3e;
    varint_write(event + 5, len - 8);
    cr_assert_eq(event_scan(event, len, NULL, &view, err, sizeof err), 0, "%s", err);
    size_t record_len = record_write(record, event, len, 1, 2);
    cr_assert(records_next(&cursor, record + record_len, &bytes, &len));
    cr_assert_eq(event_scan(bytes, len, &stored, &view, err, sizeof err), 0, "%s", err);
    cr_assert_eq(view.sequence, 1);

    len = event_write_generation(tagged, event, 65536, UINT64_MAX); /* the largest tagged one, too */
    cr_assert_eq(len, 65536 + EVENT_GENERATION_BYTES);
    cursor = record;
    record_len = record_write(record, tagged, len, 1, 2);
    cr_assert(records_next(&cursor, record + record_len, &bytes, &len));
    cr_assert_eq(event_scan(bytes, len, &stored, &view, err, sizeof err), 0, "%s", err);
    cr_assert_eq(view.session_generation, UINT64_MAX);
}

/* Rule 2: what an agent tags with a session gets that session's generation from the broker. */
Test(event_view, the_generation_of_a_session_goes_behind_the_event)
{
    uint8_t tagged[3 + EVENT_GENERATION_BYTES];
    struct event_limits stored = {.allow_broker_fields = true};
    struct event_view view;

    size_t len = event_write_generation(tagged, (const uint8_t *)CODE, 3, 300);
    cr_assert_arr_eq(tagged, CODE "\x18\xac\x02", len);
    cr_assert_eq(len, 6);
    cr_assert_eq(event_scan(tagged, len, &stored, &view, err, sizeof err), 0, "%s", err);
    cr_assert_eq(view.session_generation, 300);
    cr_assert_eq(event_scan(tagged, len, NULL, &view, err, sizeof err), UV_EINVAL);
    cr_assert_eq(event_scan((const uint8_t *)CODE, 3, &stored, &view, err, sizeof err), 0);
    cr_assert_eq(view.session_generation, 0);
}

Test(event_view, lists_have_a_limit_in_every_encoding)
{
    static const struct {
        const char *item;
        size_t item_len;
        uint8_t outer;
        const char *fault;
    } rows[] = {
        {"\x72\x00", 2, 0, "evidence: more than 64"},
        {"\x52\x00", 2, 0x62, "device.kernel_names: more than 64"},
        {"\x30\x01", 2, 0x6a, "native.parameters: more than 64"},
        {"\x32\x02\x01\x01", 4, 0x6a, "native.parameters: more than 64"}, /* packed, two at a time */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t items_each = rows[i].item_len == 4 ? 2 : 1;
        for (size_t n = 64; n <= 64 + items_each; n += items_each) {
            uint8_t bytes[400];
            struct event_view view;
            size_t body = n / items_each * rows[i].item_len, at = 3;
            memcpy(bytes, CODE, 3);
            if (rows[i].outer) {
                bytes[at++] = rows[i].outer;
                at += varint_write(bytes + at, body);
            }
            for (size_t k = 0; k < body; k += rows[i].item_len)
                memcpy(bytes + at + k, rows[i].item, rows[i].item_len);
            int rc = event_scan(bytes, at + body, NULL, &view, err, sizeof err);
            cr_expect_eq(rc, n == 64 ? 0 : UV_EINVAL, "%s, %zu: %s", rows[i].fault, n, err);
            if (n > 64)
                cr_expect_str_eq(err, rows[i].fault);
        }
    }
}

Test(event_view, records_are_written_and_walked)
{
    uint64_t seed = 5;
    uint8_t *log = NULL;
    size_t log_len = 0;
    for (uint64_t i = 1; i <= 5; i++) {
        struct sample_event sample;
        size_t len;
        sample_event_make(&sample, &seed);
        uint8_t *event = pack(&sample, &len);
        log = realloc(log, log_len + record_size(len));
        size_t written = record_write(log + log_len, event, len, i, 1000 + i);
        cr_assert_eq(written, record_size(len));
        log_len += written;
        free(event);
    }
    const uint8_t *cursor = log, *event;
    size_t len;
    uint64_t n = 0;
    while (records_next(&cursor, log + log_len, &event, &len)) {
        struct event_view view;
        struct event_limits limits = {.allow_broker_fields = true};
        cr_assert_eq(event_scan(event, len, &limits, &view, err, sizeof err), 0, "%s", err);
        cr_assert_eq(view.sequence, ++n);
        cr_assert_eq(view.broker_time_ns, 1000 + n);
    }
    cr_assert_eq(n, 5);
    cr_assert_eq(cursor, log + log_len);
    free(log);
}

Test(event_view, a_record_of_another_field_or_cut_off_stops_the_walk)
{
    static const uint8_t other[] = {0x0a, 0x00}, cut[] = {0x12, 0x05, 0x00};
    const uint8_t *event, *cursor = other;
    size_t len;
    cr_assert_not(records_next(&cursor, other + sizeof other, &event, &len));
    cr_assert_eq(cursor, other);
    cursor = cut;
    cr_assert_not(records_next(&cursor, cut + sizeof cut, &event, &len));
    cr_assert_eq(cursor, cut);
}
