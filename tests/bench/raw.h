/* SPDX-License-Identifier: Apache-2.0 */
/* The least protocol that a broker could speak, in the byte order of the machine: what the physical limit is measured
 * with. A peer says what it is, gets one byte, and then there are frames; publishers get the number of events on disk,
 * in eight bytes, again and again. */
#pragma once

#include <stdint.h>

enum raw_role { RAW_PUBLISHER = 'P', RAW_SUBSCRIBER = 'S', RAW_REPLAY = 'R' };

struct raw_hello {
    uint8_t role, unused;
    uint16_t key; /* subscriber: of the events it wants, when the server sorts by key */
};

struct raw_frame {
    uint16_t len; /* of the event behind it */
    uint16_t key;
};
#define RAW_FRAME_BYTES (sizeof(struct raw_frame) + 150u)
