/* SPDX-License-Identifier: Apache-2.0 */
/* Metadata that an owner wants to send: what may go into it, and the list it waits in. Pure.
 *
 * Invariant: what is in a list may be sent as it is, and cannot be taken for a field of the protocol. */
#pragma once

#include <stddef.h>

#include "proto/grpc/headers.h"

/* 0; UV_EINVAL: grpc_metadata_fault says why; UV_E2BIG: the list would be longer than `max_bytes`; UV_ENOMEM. The list
 * is unchanged unless 0. */
int metadata_add(struct headers *list, const char *name, const char *value, size_t max_bytes);
