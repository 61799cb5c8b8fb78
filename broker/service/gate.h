/* SPDX-License-Identifier: Apache-2.0 */
/* Who calls, and may he? Each service asks here before it looks at a request (semantics.md rule 1).
 *
 * A refusal ends the call with PERMISSION_DENIED, names who was refused and the line of configuration that would let
 * him in, and is counted and logged. Health and reflection do not ask: they tell nothing that a port scan would not. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "broker/core/access.h"

struct broker;
struct grpc_call;

/* Events, the lists of Admin. */
#define GATE_READERS (ACCESS_READER | ACCESS_OPERATOR)

/* Has the caller one of the roles `any_of` (ACCESS_… bits)? When not, the call is finished: return at once. `out` (may
 * be NULL) gets who it is, with all of his roles. */
bool gate_admit(struct broker *b, struct grpc_call *call, unsigned any_of, struct access_principal *out);

/* May the caller attach as the agent of `host`? When not, `err` says why; the call is the caller's to finish. */
bool gate_admit_host(struct broker *b, struct grpc_call *call, const char *host, char *err, size_t err_len);
