/* SPDX-License-Identifier: Apache-2.0 */
/* sensebus/target/v1 with all imports, health and reflection, as a serialized google.protobuf.FileDescriptorSet. Made
 * at build time; what reflection serves. */
#pragma once

#include <stddef.h>
#include <stdint.h>

extern const uint8_t target_descriptor_set[];
extern const size_t target_descriptor_set_len;
