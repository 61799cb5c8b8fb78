/* SPDX-License-Identifier: Apache-2.0 */
/* Where a subscription begins, as people type it:
 *
 *   now, oldest         what is committed from here on; everything kept
 *   5m, 2h, 1d          events that the broker took in that long ago or later
 *   2026-01-31T12:00Z   … at that time or later (RFC 3339; without a zone it is local time; the time may be left out)
 *   #884213             the event with this number, and what follows
 *   9f3c21d4.884213     a position (epoch.sequence, as printed when a watch is interrupted): what follows it
 *
 * Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum since_kind { SINCE_NOW, SINCE_OLDEST, SINCE_TIME, SINCE_SEQUENCE, SINCE_POSITION };

struct since {
    enum since_kind kind;
    uint64_t unix_ns;  /* TIME */
    uint64_t epoch;    /* POSITION */
    uint64_t sequence; /* SEQUENCE, POSITION */
};

/* `now_ns` is the wall clock. Returns 0, or UV_EINVAL with `err`. */
int since_parse(const char *text, uint64_t now_ns, struct since *out_since, char *err, size_t err_len);

#define POSITION_TEXT_BYTES 40
/* "9f3c21d4.884213". Returns `buf`. */
const char *position_text(uint64_t epoch, uint64_t sequence, char buf[POSITION_TEXT_BYTES]);
