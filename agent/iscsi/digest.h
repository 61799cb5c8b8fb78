/* SPDX-License-Identifier: Apache-2.0 */
/* Header and data digests as they stand on the wire (RFC 7143 section 13.1): CRC32C, least significant byte first. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_BYTES 4

void digest_put(uint8_t at[DIGEST_BYTES], const uint8_t *bytes, size_t len);
bool digest_matches(const uint8_t at[DIGEST_BYTES], const uint8_t *bytes, size_t len);
