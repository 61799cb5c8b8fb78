/* SPDX-License-Identifier: Apache-2.0 */
/* A device and its sense, as messages of the contract: the same in events, in the inventory and in answers.
 *
 * A filled message borrows from what it was filled with. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/sense.h"
#include "sensebus/v1/event.pb-c.h"

struct identity;

#define MESSAGE_MAX_SENSE 252

/* What is known of a unit behind an iSCSI target. `id` NULL, or not known: the target alone. Names may be NULL. */
void message_device(Sensebus__V1__Device *d, const struct identity *id, const char *target_name, const char *portal);

/* A Sense and the text that it points to. */
struct message_sense {
    Sensebus__V1__Sense message;
    struct sense decoded; /* response_code 0 when it could not be decoded */
    char text[SENSE_TEXT_BYTES];
};
/* Sense that cannot be decoded keeps its raw bytes and nothing else. */
void message_sense(struct message_sense *part, const uint8_t *sense, size_t len);
