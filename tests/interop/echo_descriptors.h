/* SPDX-License-Identifier: Apache-2.0 */
/* Made at build time from echo.proto, health and reflection: what the echo server's reflection serves. */
#pragma once

#include <stddef.h>
#include <stdint.h>

extern const uint8_t echo_descriptor_set[];
extern const size_t echo_descriptor_set_len;
