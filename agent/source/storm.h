/* SPDX-License-Identifier: Apache-2.0 */
/* Storm control: equal conditions in a burst are told twice instead of a thousand times, and nothing is lost.
 *
 * The first of a kind is told at once. Equal ones that follow are held, and told as one update: how many, first and
 * last time, OR of the bits, the distinct sense data as evidence. While the storm lasts the next update comes after
 * twice the time, up to hold_max_ms; conditions with an AIX bit, which pending words are made of, wait a tenth of both.
 * Each device may say `burst` records at once and rate_per_s on the average: what is
 * more is held, too, so that one bad disk cannot hide another.
 *
 * Equal means the same key: see storm_key.h. Never held are records of one session of the Adapter face, what a caller
 * asked for, those that say so themselves (record.prompt), and those of category SERVICE. The first three begin anew
 * what they are about: all that is held of their place, of what is in it and of what it is in, is told before them,
 * and equal conditions that follow are first ones again.
 *
 * Invariants: the counts that come out are the counts that went in; where that cannot be (more kinds of one device held
 * at a time than max_kinds, and none with the same code) EVENTS_LOST says how many, with their bits. What one device
 * says comes out in the order of its last times. At most STORM_MAX_BYTES are held: when full, what is held by the
 * device that spoke last is told early. Pure: times are arguments, in ns of one clock that never goes back. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/record.h"

struct storm;

#define STORM_HOLD_MS     1000
#define STORM_HOLD_MAX_MS 30000
#define STORM_BITS_SOONER 10 /* a condition with an AIX bit is held a tenth of these */
#define STORM_RATE        10
#define STORM_BURST       50
#define STORM_MAX_DEVICES 1024
#define STORM_MAX_KINDS   32
#define STORM_MAX_BYTES   ((size_t)2 << 20)

struct storm_options { /* 0 = the default */
    uint32_t hold_ms, hold_max_ms;
    uint32_t rate_per_s, burst; /* of one device */
    size_t max_devices;         /* remembered; when full the one that was quiet longest tells what it holds, and goes */
    size_t max_kinds;           /* of one device; when full, kinds of one code are told as one */
    uint64_t seed;              /* any random number */
};

enum storm_verdict {
    STORM_TELL, /* first what storm_next has, then this record */
    STORM_HELD, /* it is in the storm now, and comes out of storm_next later */
};

/* NULL when there is no memory. */
struct storm *storm_new(const struct storm_options *options);
/* What is held is forgotten: call storm_finish and drain first. NULL is fine. */
void storm_free(struct storm *s);

/* The record stays the caller's. Drain storm_next after each call. */
enum storm_verdict storm_take(struct storm *s, const struct record *r, uint64_t now_ns);
/* The next record to tell, or NULL. It lives until the next call with this storm that takes one that is not const. */
const struct record *storm_next(struct storm *s, uint64_t now_ns);
/* When storm_next has something, if nothing happens before; 0 = now, UINT64_MAX = never. */
uint64_t storm_deadline(const struct storm *s);
/* All that is held is due, whatever the limits: for the end. */
void storm_finish(struct storm *s);

struct storm_counts {
    uint64_t taken;   /* records in */
    uint64_t held;    /* of them */
    uint64_t told;    /* records out of storm_next; those with the verdict TELL come on top */
    uint64_t limited; /* held though the first of their kind: their device said too much */
    uint64_t lost;    /* conditions, told as lost */
    size_t devices, held_bytes;
};
struct storm_counts storm_count(const struct storm *s);
