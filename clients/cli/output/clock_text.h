/* SPDX-License-Identifier: Apache-2.0 */
/* Times for people. Pure, except that local time depends on the environment (TZ). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CLOCK_TEXT_BYTES 48

/* "12:04:11.231" when `unix_ns` lies on the same day as `now_ns`, else "2026-01-31 12:04:11.231"; "Z" behind it in UTC.
 * "-" for 0. Returns `buf`. */
const char *clock_text_short(uint64_t unix_ns, uint64_t now_ns, bool utc, char buf[CLOCK_TEXT_BYTES]);
/* "2026-01-31T12:04:11.231000000+01:00"; "-" for 0. Returns `buf`. */
const char *clock_text_full(uint64_t unix_ns, bool utc, char buf[CLOCK_TEXT_BYTES]);
/* "12s ago", "3m ago", "2h ago", "5d ago"; "-" for 0. Returns `buf`. */
const char *clock_text_ago(uint64_t unix_ns, uint64_t now_ns, char buf[CLOCK_TEXT_BYTES]);
