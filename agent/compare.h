/* SPDX-License-Identifier: Apache-2.0 */
/* What a logical unit says about itself and may change without a word: capacity, write protection, block limits.
 *
 * Readings come in. One that differs from the reading before is held, because the unit may still announce the change
 * itself: INQUIRY does not wait for unit attentions (SPC-4 section 5.14), and asynchronous messages take their time.
 * The owner takes what is held when the unit had its chance to speak. Invariants: the first reading is no news; a
 * change is told once, by the unit or by comparison; one that is undone while it is held is not told. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum compare_trait {
    COMPARE_CAPACITY,   /* the first 12 bytes of READ CAPACITY(16): last block, bytes of a block */
    COMPARE_PROTECTION, /* 1 byte: bit 7 is write protection (SBC-3 section 6.4.1) */
    COMPARE_LIMITS,     /* VPD page B0h behind its header (SBC-3 section 6.5.3) */
    COMPARE_N_TRAITS,
};

#define COMPARE_BYTES 60 /* what is longer is compared as far */

struct compare_reading {
    uint8_t bytes[COMPARE_BYTES];
    size_t len; /* 0 = none yet */
};

struct compare {
    struct {
        struct compare_reading now;
        struct compare_reading before; /* while a difference is held: what was known before it */
        bool announced;                /* the next reading may differ without being news */
    } traits[COMPARE_N_TRAITS];
};

/* The unit was read. */
void compare_read(struct compare *c, enum compare_trait trait, const uint8_t *bytes, size_t len);
/* The unit announced `code` (enum Code): what that explains is dropped, and not news when it is read next. True when it
 * is about one of the traits, so that reading them again is due. */
bool compare_announced(struct compare *c, uint32_t code);
/* Another device is here: nothing is known of it. */
void compare_reset(struct compare *c);

/* A difference that nobody announced. */
struct compare_difference {
    uint32_t code;    /* enum Code */
    const char *name; /* of the command that showed it: "read-capacity" */
    char detail[160]; /* in words: what it is, and what it was */
    struct compare_reading before, now;
};
/* Take one of those that are held; false when there is none. */
bool compare_take(struct compare *c, struct compare_difference *out);
