/* SPDX-License-Identifier: Apache-2.0 */
/* A SubscribeRequest: is it within its bounds, what does it ask for, and where in the log does it begin? */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct subscription;

/* Take the request of a new subscription: it begins with a snapshot, with a look for the newest N, or follows; or its
 * call is finished with a status that names what was wrong. */
void start_subscription(struct subscription *s, const uint8_t *bytes, size_t len);
