/* SPDX-License-Identifier: Apache-2.0 */
/* What an Asynchronous Message of iSCSI means: its code and the native part of its record. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/iscsi/async_message.h"
#include "agent/record.h"

/* The code of the message, and whether it has sense that is good for one. */
uint32_t async_event_code(const struct iscsi_async_message *m, bool *out_sensed);
/* Points into the message. */
struct record_native async_event_native(const struct iscsi_async_message *m);
/* Is it about a logical unit, so that lun_raw counts? */
bool async_event_has_lun(const struct iscsi_async_message *m);
