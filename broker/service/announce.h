/* SPDX-License-Identifier: Apache-2.0 */
/* What the broker itself has to say, as events in the log: agents lost and back, records lost, the broker stopping.
 *
 * Their origin is SOURCE_BROKER with the log's epoch as agent epoch and the log's sequence as source sequence, so they
 * are as unique as any other event. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "sensebus/v1/event.pb-c.h"

struct broker;

/* Severity, scope, mode and AIX bits are the registry's. `summary` is cut at 256 bytes. Returns 0 or a negative errno;
 * failures are counted and logged here. */
int announce(struct broker *b, Sensebus__V1__Code code, const char *host, const char *summary);

struct announce_loss {
    uint64_t count;
    uint64_t first, last; /* source sequences, 0 when not known */
    bool at_least;
    const char *reason;
};
/* EVENTS_LOST between an agent and the log (LOSS_STAGE_WIRE). */
int announce_loss(struct broker *b, const char *host, const struct announce_loss *loss);
