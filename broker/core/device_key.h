/* SPDX-License-Identifier: Apache-2.0 */
/* The stable name of a path to a device: "host/target/lun".
 *
 * "host" alone for what concerns the host or the broker, or has no address. The middle is the target's name, or
 * "adapter:bus:target", or "adapter" when bus and target do not apply. "/lun" is left out when the scope is wider than
 * a unit. '/', '%' and control characters inside names are written %XX, so a hostile name cannot look like another
 * path. Pure. */
#pragma once

#include <stddef.h>

#include "proto/event_view.h"

/* With the terminating 0. Fits a key of the store (511 bytes); longer names are cut and end in '~' and a hash. */
#define DEVICE_KEY_SIZE 512

/* Returns the length without the terminating 0. `address` and `device` may be NULL or not present. An empty host is
 * written "-". */
size_t device_key_write(char out[DEVICE_KEY_SIZE], struct text host, const struct address_view *address,
                        const struct device_view *device);
/* The key that an event belongs to, by its scope. */
size_t device_key_of_event(char out[DEVICE_KEY_SIZE], const struct event_view *event);
