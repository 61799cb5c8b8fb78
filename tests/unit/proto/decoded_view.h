/* SPDX-License-Identifier: Apache-2.0 */
/* What protobuf-c decodes from an event, compared with what the scan says of it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/event_view.h"

/* Name of the first member in which `view` differs from protobuf-c's decoding of its bytes; NULL when they agree.
 * "(does not decode)" when protobuf-c refuses the bytes. */
const char *decoded_view_difference(const struct event_view *view);
