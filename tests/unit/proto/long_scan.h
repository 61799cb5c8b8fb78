/* SPDX-License-Identifier: Apache-2.0 */
/* The short and the long way of event_scan compared. */
#pragma once

#include "proto/event_view.h"

bool long_records_next(const uint8_t **cursor, const uint8_t *end, const uint8_t **out_event, size_t *out_len);

/* event_scan with err_len 120 gave `rc`, `view` and `err` for these bytes: NULL when the long way agrees, else how not.
 */
const char *long_scan_difference(const uint8_t *bytes, size_t len, const struct event_limits *limits,
                                 const struct event_view *view, int rc, const char *err);
