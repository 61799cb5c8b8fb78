/* SPDX-License-Identifier: Apache-2.0 */
/* Every message and service that we speak, as a serialized google.protobuf.FileDescriptorSet with all imports:
 * sensebus/v1, health and reflection. Made at build time; what reflection serves. */
#pragma once

#include <stddef.h>
#include <stdint.h>

extern const uint8_t sensebus_descriptor_set[];
extern const size_t sensebus_descriptor_set_len;
