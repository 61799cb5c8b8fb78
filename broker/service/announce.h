/* SPDX-License-Identifier: Apache-2.0 */
/* What the broker itself has to say, as events in the log: agents lost and back, records lost, the broker stopping.
 *
 * Their origin is SOURCE_BROKER with the log's epoch as agent epoch and the log's sequence as source sequence, so they
 * are as unique as any other event. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
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
/* EVENTS_LOST between an agent and the log (LOSS_STAGE_WIRE). Of what device is not known, so each session of the host
 * hears of it; nor are the bits, so it has all of them. */
int announce_loss(struct broker *b, const char *host, const struct announce_loss *loss);

/* Of a session of the Adapter face: SESSION_STARTED, SESSION_STOPPED, REGISTRATION_CANCELLED. Borrowed. */
struct announce_session {
    const char *host, *session_id;
    uint64_t generation;
    Sensebus__V1__Mode mode;
    const char *adapter, *target_name, *vendor, *product;
    int32_t controller, bus, target, device_type;
    int64_t lun;
    const char *summary; /* names the principal */
};
int announce_session(struct broker *b, Sensebus__V1__Code code, const struct announce_session *session);

/* What a program says has happened at an adapter (sdi_xaen): its origin is SOURCE_SUBSCRIBER. Borrowed; -1 in a member
 * of the place: not applicable. */
struct announce_reported {
    Sensebus__V1__Code code;
    Sensebus__V1__Scope scope;
    const char *host, *adapter;
    int32_t controller, bus, target, lun;
    const char *native_name;
    uint32_t native_code;
    const uint32_t *parameters;
    size_t n_parameters;
    const char *reporter; /* the principal */
    const char *summary;
};
int announce_reported(struct broker *b, const struct announce_reported *reported);
