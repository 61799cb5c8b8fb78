/* SPDX-License-Identifier: Apache-2.0 */
/* Who was where, as of the time of an event: what sysfs said, remembered.
 *
 * A place has versions, one after another: another disk at the same H:C:T:L is another version. A lookup gives the one
 * that was there at the given time, also after it was removed, for keep_ms. Of a place at most IDENTITY_MAX_VERSIONS
 * are kept; of places max_places: when full, the one that was not asked for longest is forgotten, and read again when
 * it is asked for. Pure: times are arguments, in ns of CLOCK_BOOTTIME. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/source/identity.h"

struct identity_cache;

#define IDENTITY_MAX_PLACES   2048
#define IDENTITY_MAX_VERSIONS 3
#define IDENTITY_KEEP_MS      60000
#define IDENTITY_REFRESH_MS   5000

struct identity_options { /* 0 = the default */
    size_t max_places;
    uint32_t keep_ms;    /* after removal */
    uint32_t refresh_ms; /* what is older is read again before it is used: names of maps change without notice */
    uint64_t seed;       /* any random number */
};

/* NULL when there is no memory. */
struct identity_cache *identity_cache_new(const struct identity_options *options);
/* NULL is fine. */
void identity_cache_free(struct identity_cache *c);

/* Who was at the place at that time, or NULL. Something that happened before the first that is known of the place, or
 * after the last was removed, was his, too. Valid until the next call that takes a cache that is not const. */
const struct kernel_device *identity_cache_at(struct identity_cache *c, const struct observation_place *place,
                                              uint64_t boot_ns);
/* Sysfs should be read before the place is named: nothing is known, it is old, it may have changed, or it was read just
 * when the device came, before its names were there. */
bool identity_cache_wants(const struct identity_cache *c, const struct observation_place *place, uint64_t now_ns);

/* What sysfs says now: completes the newest version, or begins another one when another device answers. Returns 0 or
 * UV_ENOMEM, when nothing changed. */
int identity_cache_put(struct identity_cache *c, const struct kernel_device *d, uint64_t now_ns);
/* Sysfs has nothing at that place now. */
void identity_cache_absent(struct identity_cache *c, const struct observation_place *place, uint64_t now_ns);

/* Whatever comes to this place is a new version, from then on. */
void identity_cache_added(struct identity_cache *c, const struct observation_place *place, uint64_t boot_ns);
/* The newest version ends then: of the place, and of all places in it. */
void identity_cache_removed(struct identity_cache *c, const struct observation_place *place, uint64_t boot_ns);
/* It, and all places in it, should be read again. */
void identity_cache_changed(struct identity_cache *c, const struct observation_place *place);
/* The right one of these three, by code and source, or nothing. */
void identity_cache_observe(struct identity_cache *c, const struct observation *o);

size_t identity_cache_size(const struct identity_cache *c); /* places */
