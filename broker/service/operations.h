/* SPDX-License-Identifier: Apache-2.0 */
/* Operations of the Adapter face on their way to an agent and back, over its Attach stream.
 *
 * Rule 15: a result that names an event of its own (after_source_sequence) waits here until that event was taken, and
 * then in broker/core/adapter until it was delivered. Bounded: of one stream wait here OPERATIONS_MAX_HELD results.
 *
 * An agent that reads slowly gets nothing new while more than OPERATIONS_MAX_QUEUED bytes wait for it. The rest of its
 * queue is for what it must hear, which nobody answers: sessions that closed, buffers that are free. When not even that
 * can be queued its stream ends, and with it all that it believes to be open. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "sensebus/v1/agents.pb-c.h"

#define OPERATIONS_MAX_HELD       1024u
#define OPERATIONS_MAX_HELD_BYTES (1024u * 1024)     /* of those that wait */
#define OPERATIONS_MAX_QUEUED     (2u * 1024 * 1024) /* waiting to be sent to an agent: half of what a call may queue */
#define OPERATIONS_MAX_RESULT     (96u * 1024)       /* of an OperationResult, all told */
#define OPERATIONS_MAX_MESSAGE    256u               /* bytes of OperationResult.message */
#define OPERATIONS_MAX_DATA       65535u             /* of CommandResult.data: SPC-4 section 6.6.1, ALLOCATION LENGTH */
#define OPERATIONS_MAX_TARGET     4096u              /* of TargetReceived.data: the largest buffer (StartTarget) */
#define OPERATIONS_MAX_SESSION_ID 64u

struct adapter_action;
struct agent_session;
struct directory;

/* Results of a stream whose event has not come yet. */
struct operation_results {
    TAILQ_HEAD(held_results, held_result) held;
    size_t n, bytes;
};
void operations_init(struct agent_session *s);

/* Send an ADAPTER_FORWARD to the agent of its host. Returns 0, or a negative errno with `reason` in words: it is not
 * attached, or does not read. What must arrive and cannot ends its stream before this returns. */
int operations_forward(const struct directory *d, const struct adapter_action *action, char *reason, size_t reason_len);

/* From the agent; checked completely. What breaks the contract ends its stream with INVALID_ARGUMENT. */
void operations_take_result(struct agent_session *s, const Sensebus__V1__OperationResult *result);
void operations_take_received(struct agent_session *s, const Sensebus__V1__TargetReceived *message);
/* Records were taken from the stream: results that waited for them go on. */
void operations_records_taken(struct agent_session *s);
/* Its stream is over: sessions on it end (AGENT_LOST, or AGENT_DETACHED when `in_order`). Call once for each agent that
 * was attached, while its name is known. Returns how many open sessions ended. */
size_t operations_agent_gone(struct agent_session *s, bool in_order);
