/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever came before: of an event that is known the same is said as by scanning it. The input is a Publish; after
 * each event of it come some that differ in a few bytes, as its own bytes say. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/device_key.h"
#include "broker/core/known_events.h"

#define CHANGES 16u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Look for it; once it is scanned, remember it. */
static void see(struct known_events *known, const uint8_t *event, size_t len)
{
    struct known_event_match match;
    struct event_view view;
    char err[120], key[DEVICE_KEY_SIZE];
    bool is_known = known_events_find(known, event, len, &match);
    bool is_valid = event_scan(event, len, NULL, &view, err, sizeof err) == 0;

    if (is_known && (!is_valid || memcmp(match.view, &view, sizeof view) != 0 ||
                     match.key_len != device_key_of_event(key, &view) || memcmp(match.key, key, match.key_len) != 0)) {
        fprintf(stderr, "fuzz_known_events: it is known for what it is not\n");
        abort();
    }
    known->credit = KNOWN_EVENTS; /* each gets its turn */
    if (is_valid)
        known_events_keep(known, &view);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct known_events known = {0};
    const uint8_t *cursor = data, *event;
    size_t len;

    while (records_next(&cursor, data + size, &event, &len)) {
        uint8_t copy[KNOWN_EVENT_BYTES];
        see(&known, event, len);
        if (len == 0 || len > sizeof copy)
            continue;
        for (size_t i = 0; i < CHANGES; i++) {
            memcpy(copy, event, len);
            copy[(i * 7 + event[i % len]) % len] ^= (uint8_t)(1u << (event[(i + 1) % len] & 7));
            see(&known, copy, len);
        }
        see(&known, event, len);
    }
    known_events_deinit(&known);
    return 0;
}
