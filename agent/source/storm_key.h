/* SPDX-License-Identifier: Apache-2.0 */
/* Which conditions are equal for storm control, and which device says them.
 *
 * The device is the place: adapter, controller, bus, target, LUN, target name. The key is that, and the designator
 * (else the serial number) of the unit, the initiator where a served unit told it, code, source, scope, mode,
 * synthetic, and what was said: sense key, ASC and ASCQ, or name, code, subcode and parameters of the native record
 * where there is no sense. (Parameters of Fibre Channel count its messages: they do not.) Texts are kept as keyed
 * hashes. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/record.h"

#define STORM_KEY_BYTES 512

struct storm_place {
    uint64_t adapter, name; /* hashes; 0 = none. The name is the target's */
    int64_t lun;
    int32_t controller, bus, target, reserved; /* the last is 0: the bytes are compared */
};

struct storm_key {
    uint64_t identity; /* hash */
    uint64_t said;     /* 0 for what is told as one */
    uint32_t code, source, scope, mode;
    bool synthetic;
};

void storm_place_of(const struct record *r, const uint64_t seed[2], struct storm_place *out);
/* Is one of them the other, or within it? */
bool storm_place_meets(const struct storm_place *a, const struct storm_place *b);
void storm_key_of(const struct record *r, const uint64_t seed[2], struct storm_key *out);
bool storm_key_equal(const struct storm_key *a, const struct storm_key *b);
/* But for what was said. */
bool storm_key_alike(const struct storm_key *a, const struct storm_key *b);

/* Place and key in words, for people: "MODE_PARAMETERS_CHANGED TRACE 3:0:0:4 naa.6001405… 6/2A/01". Control characters
 * of devices become '?'. Returns `buf`. */
const char *storm_key_text(const struct record *r, char buf[STORM_KEY_BYTES]);
