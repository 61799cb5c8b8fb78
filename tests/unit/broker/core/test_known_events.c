/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/known_events.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "broker/core/device_key.h"
#include "tests/lib/failing_alloc.h"
#include "tests/lib/sample_event.h"

#define BYTES 4096

static struct known_events known;

static void teardown(void)
{
    failing_alloc_stop();
    known_events_deinit(&known);
}

TestSuite(known_events, .fini = teardown);

static size_t pack(const struct sample_event *sample, uint8_t out[BYTES])
{
    size_t len = sensebus__v1__event__get_packed_size(&sample->event);
    cr_assert_leq(len, (size_t)BYTES);
    return sensebus__v1__event__pack(&sample->event, out);
}

static bool scans(const uint8_t *bytes, size_t len, struct event_view *out_view)
{
    char err[160];
    return event_scan(bytes, len, NULL, out_view, err, sizeof err) == 0;
}

/* It is given its turn as often as it takes. */
static void keep(const uint8_t *bytes, size_t len)
{
    struct event_view view;
    cr_assert(scans(bytes, len, &view));
    for (int i = 0; i < 8; i++)
        known_events_keep(&known, &view);
}

/* Whether it is known, and if so, that the scan says the same. It lies elsewhere than what was remembered. */
static bool is_known(const uint8_t *event, size_t len)
{
    uint8_t bytes[BYTES];
    struct known_event_match match;
    struct event_view view;
    char key[DEVICE_KEY_SIZE];
    memcpy(bytes, event, len);
    if (!known_events_find(&known, bytes, len, &match))
        return false;
    cr_assert(scans(bytes, len, &view));
    cr_assert_eq(memcmp(match.view, &view, sizeof view), 0);
    cr_assert_eq(match.key_len, device_key_of_event(key, &view));
    cr_assert_eq(memcmp(match.key, key, match.key_len), 0);
    return true;
}

/* As the broker does: look whether it is known, and remember it if not. Whether it was. */
static bool see(const uint8_t *event, size_t len)
{
    struct event_view view;
    if (is_known(event, len))
        return true;
    cr_assert(scans(event, len, &view));
    known_events_keep(&known, &view);
    return false;
}

/* The next sample that may be remembered; returns its length. */
static size_t next_sample(struct sample_event *sample, uint64_t *seed, uint8_t out[BYTES])
{
    size_t len;
    do {
        sample_event_make(sample, seed);
        len = pack(sample, out);
    } while (len < 8 || len > KNOWN_EVENT_BYTES);
    return len;
}

/* A number that takes as many bytes. */
static uint64_t as_long(uint64_t number, uint64_t *seed)
{
    uint64_t low = 1;
    while (low <= number >> 7)
        low <<= 7;
    return low | (sample_random(seed) & (low - 1));
}

/* The storm goes on: numbers and times alone are others. */
static void go_on(struct sample_event *sample, uint64_t *seed)
{
    Sensebus__V1__Event *event = &sample->event;
    event->wall_time_unix_ns = event->wall_time_unix_ns ? sample_random(seed) | 1 : 0;
    event->monotonic_time_ns = event->monotonic_time_ns ? sample_random(seed) | 1 : 0;
    event->first_time_unix_ns = event->first_time_unix_ns ? sample_random(seed) | 1 : 0;
    event->last_time_unix_ns = event->last_time_unix_ns ? sample_random(seed) | 1 : 0;
    event->count = event->count ? as_long(event->count, seed) : 0;
    if (event->origin)
        event->origin->source_sequence =
            event->origin->source_sequence ? as_long(event->origin->source_sequence, seed) : 0;
}

/* Short numbers may have any value; those of nine and ten bytes are looked at. */
static void shorten(struct sample_event *sample)
{
    sample->event.count &= (1ull << 56) - 1;
    if (sample->event.origin)
        sample->event.origin->source_sequence &= (1ull << 56) - 1;
}

Test(known_events, a_storm_is_known_by_its_first_event)
{
    static struct sample_event sample;
    uint8_t bytes[BYTES];
    uint64_t seed = 7;
    unsigned n_known = 0;
    for (unsigned i = 0; i < 2000; i++) {
        next_sample(&sample, &seed, bytes);
        shorten(&sample);
        size_t len = pack(&sample, bytes);
        if (len < 8) /* it was a number and little else */
            continue;
        keep(bytes, len);
        struct event_view view;
        char key[DEVICE_KEY_SIZE];
        bool is_short = scans(bytes, len, &view) && device_key_of_event(key, &view) <= KNOWN_EVENT_KEY_BYTES;
        for (unsigned k = 0; k < 4; k++, n_known++) {
            cr_assert_eq(is_known(bytes, len), is_short);
            go_on(&sample, &seed);
            cr_assert_eq(pack(&sample, bytes), len);
        }
    }
    cr_assert_gt(n_known, 2000);
}

Test(known_events, whatever_byte_is_another_nothing_is_known_that_the_scan_does_not_say)
{
    static struct sample_event sample;
    uint8_t bytes[BYTES];
    uint64_t seed = 11;
    unsigned n_known = 0;
    for (unsigned i = 0; i < 300; i++) {
        size_t len = next_sample(&sample, &seed, bytes);
        keep(bytes, len);
        for (size_t at = 0; at < len; at++) {
            for (unsigned bit = 0; bit < 8; bit++) {
                bytes[at] ^= (uint8_t)(1u << bit);
                n_known += is_known(bytes, len);
                bytes[at] ^= (uint8_t)(1u << bit);
            }
            uint8_t old = bytes[at];
            bytes[at] = (uint8_t)sample_random(&seed);
            is_known(bytes, len);
            bytes[at] = old;
            is_known(bytes, at);
        }
    }
    cr_assert_gt(n_known, 1000, "%u", n_known); /* bits of numbers and times */
}

/* A unit attention as an agent tells it. */
static size_t attention(uint8_t out[BYTES], unsigned unit, uint64_t sequence)
{
    static struct sample_event sample;
    static uint64_t seed = 1;
    char name[40];
    if (!sample.event.origin)
        do
            sample_event_make(&sample, &seed);
        while (!sample.event.origin || !sample.event.device || pack(&sample, out) > KNOWN_EVENT_BYTES - 60);
    snprintf(name, sizeof name, "naa.60014050%08x", unit);
    sample.event.device->designator = name;
    sample.event.origin->source_sequence = sequence;
    sample.event.wall_time_unix_ns = 1700000000000000000u + sequence;
    return pack(&sample, out);
}

Test(known_events, a_thousand_units_are_known_at_once)
{
    uint8_t bytes[BYTES];
    unsigned n_known = 0;
    for (uint64_t sequence = 100000; sequence < 200000; sequence++) {
        size_t len = attention(bytes, (unsigned)(sequence % 1000), sequence);
        n_known += see(bytes, len);
    }
    cr_assert_gt(n_known, 85000, "%u", n_known);
}

Test(known_events, what_does_not_come_again_is_seldom_remembered)
{
    uint8_t bytes[BYTES];
    unsigned n_known = 0;
    for (unsigned unit = 0; unit < 8000; unit++) {
        struct event_view view;
        cr_assert(scans(bytes, attention(bytes, unit, 100000), &view));
        known_events_keep(&known, &view);
    }
    for (unsigned unit = 0; unit < 8000; unit++)
        n_known += is_known(bytes, attention(bytes, unit, 100000));
    cr_assert(n_known > 800 && n_known <= 1000, "%u", n_known);
}

Test(known_events, the_younger_ones_stay)
{
    uint8_t bytes[BYTES];
    for (unsigned unit = 0; unit < 10 * KNOWN_EVENTS; unit++) {
        size_t len = attention(bytes, unit, 100000);
        keep(bytes, len);
        cr_assert(is_known(bytes, len));
    }
    cr_assert_not(is_known(bytes, attention(bytes, 0, 100000)));
}

static known_id id_of(const uint8_t *event, size_t len)
{
    struct known_event_match match;
    return known_events_find(&known, event, len, &match) ? match.id : 0;
}

Test(known_events, an_id_is_of_one_event_alone)
{
    static known_id by_place[KNOWN_EVENTS];
    uint8_t bytes[BYTES];
    unsigned n_again = 0;
    for (unsigned i = 0; i < 6 * KNOWN_EVENTS; i++) {
        size_t len = attention(bytes, i % (3 * KNOWN_EVENTS), 100000 + i); /* twice all round */
        known_id id = id_of(bytes, len);
        cr_assert_eq(id, 0, "others came in between");
        keep(bytes, len);
        id = id_of(bytes, len);
        cr_assert(id != 0 && known_place(id) < KNOWN_EVENTS);
        cr_assert_eq(id_of(bytes, attention(bytes, i % (3 * KNOWN_EVENTS), 200000 + i)), id);
        n_again += by_place[known_place(id)] != 0;
        cr_assert_gt(id, by_place[known_place(id)], "no id comes twice");
        by_place[known_place(id)] = id;
    }
    cr_assert_gt(n_again, 4 * KNOWN_EVENTS);
}

/* As of two hosts whose names differ in length: the numbers lie elsewhere. */
Test(known_events, events_of_one_length_may_have_several_shapes)
{
    static struct sample_event sample;
    uint8_t bytes[4][BYTES];
    uint64_t seed = 1;
    size_t len[4];
    unsigned n_known = 0;
    do
        sample_event_make(&sample, &seed);
    while (!sample.event.origin || pack(&sample, bytes[0]) > KNOWN_EVENT_BYTES - 100);
    sample.event.origin->source_sequence = 100000;
    for (size_t i = 0; i < 4; i++) {
        char host[] = "aaaaaaaaaa", session[] = "bbbbbbbbbb";
        host[2 + i] = '\0';
        session[9 - i] = '\0';
        sample.event.origin->host = host;
        sample.event.session_id = session;
        len[i] = pack(&sample, bytes[i]);
        cr_assert_eq(len[i], len[0]);
    }
    for (size_t i = 0; i < 4000; i++)
        n_known += see(bytes[i % 4], len[0]);
    cr_assert_gt(n_known, 3900, "%u", n_known);
}

Test(known_events, numbers_that_grow_longer_are_learned)
{
    uint8_t bytes[BYTES];
    for (uint64_t sequence = 1; sequence < 1ull << 56; sequence *= 3) {
        size_t len = attention(bytes, 1, sequence);
        keep(bytes, len);
        cr_assert(is_known(bytes, attention(bytes, 1, sequence)));
    }
}

Test(known_events, too_long_and_too_short_ones_are_not_remembered)
{
    static struct sample_event sample;
    uint8_t bytes[BYTES];
    uint64_t seed = 3;
    unsigned n_long = 0;
    static const uint8_t smallest[] = {0x20, 1};
    keep(smallest, sizeof smallest);
    cr_assert_not(is_known(smallest, sizeof smallest));
    for (unsigned i = 0; i < 2000; i++) {
        sample_event_make(&sample, &seed);
        size_t len = pack(&sample, bytes);
        if (len <= KNOWN_EVENT_BYTES)
            continue;
        n_long++;
        keep(bytes, len);
        cr_assert_not(is_known(bytes, len));
    }
    cr_assert_gt(n_long, 0);
}

Test(known_events, shapes_may_be_numbered_once_round)
{
    uint8_t bytes[BYTES];
    size_t len = attention(bytes, 1, 100000);
    keep(bytes, len);
    known.next_shape = UINT32_MAX;
    uint8_t longer[BYTES];
    size_t longer_len = attention(longer, 1, 1ull << 40);
    keep(longer, longer_len);
    cr_assert(is_known(longer, longer_len));
    cr_assert_not(is_known(bytes, len));
    keep(bytes, len);
    cr_assert(is_known(bytes, len) && is_known(longer, longer_len));
}

Test(known_events, without_memory_nothing_is_remembered)
{
    uint8_t bytes[BYTES];
    struct event_view view;
    size_t len = attention(bytes, 1, 100000);
    cr_assert(scans(bytes, len, &view));
    known.credit = 100;
    for (unsigned n = 0; n < 2; n++) {
        failing_alloc_after(n);
        known_events_keep(&known, &view);
        cr_assert(failing_alloc_stop());
        cr_assert_not(is_known(bytes, len));
    }
    known_events_keep(&known, &view);
    cr_assert(is_known(bytes, len));
}
