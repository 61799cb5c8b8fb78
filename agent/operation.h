/* SPDX-License-Identifier: Apache-2.0 */
/* One operation in flight, between operations.c, which keeps it and its deadline, and who does it: operation_device.c
 * at a logical unit, operation_kernel.c at a device of the host's own kernel. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/device_session.h"
#include "sensebus/v1/agents.pb-c.h"

struct ask;
struct operations;

enum operation_kind { OPERATION_OPEN, OPERATION_HALT, OPERATION_RESET, OPERATION_COMMAND };

struct operation {
    struct operation *next, **link; /* of all */
    struct operations *owner;
    enum operation_kind kind;
    uint64_t id;
    uint64_t deadline_ms;
    uint32_t allowed_ms;
    bool answered;                  /* nobody waits for it; a reset goes on all the same */
    struct device_session *session; /* NULL when it was closed */
    struct ask *ask;
    struct watch *watch; /* NULL: of the host's own kernel */
    uint16_t lun;
    struct observation_place place; /* of the host's own kernel */
    bool resetting;                 /* the kernel does */
    bool lun_reset;
    char session_id[DEVICE_SESSION_ID_BYTES]; /* who asked for the reset */
    uint64_t sequence;                        /* of the event of a reset that is done; 0 = not yet */
};

/* A refusal, in words of printf. */
struct refusal {
    Sensebus__V1__Errno error;
    Sensebus__V1__EinvalDetail detail;
    char text[512];
};
void refuse(struct refusal *r, Sensebus__V1__Errno error, Sensebus__V1__EinvalDetail detail, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* For operation_device.c. Answer `op`; unless its reset is still on its way it is gone then. The id is filled in. */
void operation_answer(struct operation *op, Sensebus__V1__OperationResult *result);
void operation_refuse(struct operation *op, const struct refusal *why);
/* The operations of this session that are commands end with this refusal. */
void operations_refuse_commands(struct operations *o, const struct device_session *session, const struct refusal *why);

/* Begin at the unit; the answer comes later. False with `why`: it could not begin, and is not gone. */
bool operation_open(struct operation *op, struct refusal *why);
bool operation_halt(struct operation *op, struct refusal *why);
bool operation_reset(struct operation *op, struct refusal *why);
/* `page`: COMMAND_STANDARD_INQUIRY, or that of the VPD, 0 to 255. */
bool operation_inquiry(struct operation *op, int page, struct refusal *why);
bool operation_test_unit_ready(struct operation *op, struct refusal *why);
/* EVENT needs no time. */
bool operation_can_see_events(const struct device_session *s, struct refusal *why);

/* The same at a device of the kernel: of a session that only observes. All but a reset are answered at once. */
bool operation_kernel_open(struct operation *op, struct refusal *why);
bool operation_kernel_halt(struct operation *op, struct refusal *why);
bool operation_kernel_reset(struct operation *op, struct refusal *why);
bool operation_kernel_inquiry(struct operation *op, int page, struct refusal *why);
bool operation_kernel_test_unit_ready(struct operation *op, struct refusal *why);
bool operation_kernel_can_see_events(const struct operations *o, const struct device_session *s, struct refusal *why);
