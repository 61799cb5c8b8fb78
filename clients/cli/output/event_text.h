/* SPDX-License-Identifier: Apache-2.0 */
/* Events and gaps as text for people: one line (compact) or a block (wide). Everything from outside is escaped. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct Sensebus__V1__Address;
struct Sensebus__V1__Event;
struct Sensebus__V1__Gap;
struct writer;

struct event_text_options {
    bool utc;
    bool remedy;     /* what to look at, behind each event */
    uint64_t now_ns; /* wall clock: a date is shown only when it is not today's */
};

/* "12:04:11.231 db-07 3:0:0:4 naa.6001405..a1b2 LUN_RESET WARN 06/29/03 bus device reset function occurred  #884213" */
void event_text_compact(struct writer *w, const struct Sensebus__V1__Event *event,
                        const struct event_text_options *options);
void event_text_wide(struct writer *w, const struct Sensebus__V1__Event *event,
                     const struct event_text_options *options);
/* "GAP 3 events missing between #10 and #13 (RETENTION: …)", without the end of line. */
void event_text_gap(struct writer *w, const struct Sensebus__V1__Gap *gap);

#define ADDRESS_TEXT_BYTES 160
/* "iscsi0:0:1:4": "-" for what does not apply, "-" alone when nothing does. Not escaped. Returns `buf`. */
const char *address_text(const struct Sensebus__V1__Address *address, char buf[ADDRESS_TEXT_BYTES]);
/* "LUN_RESET", or "CODE_4711" when this build does not know the number. Returns `buf` or constant memory. */
const char *code_text(uint32_t code, char buf[24]);
/* "reset|buffers_exhausted", "0x10", "-". Returns `buf`. */
const char *aix_bits_text(uint32_t bits, char buf[80]);
