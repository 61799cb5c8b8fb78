/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli polynomial, reflected), as in RFC 7143 section 13.1. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The CRC of `bytes` behind what `crc` covers already; 0 to begin with. "123456789" gives 0xE3069283. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t len);
/* The same, for processors without an instruction for it. */
uint32_t crc32c_by_table(uint32_t crc, const void *bytes, size_t len);
/* The same, and `bytes` copied to `to`, which they do not overlap: what the CRC covers is what is in `to` then. For
 * bytes that lie far away in memory that takes two thirds of the time of doing one after the other. */
uint32_t crc32c_copy(uint32_t crc, void *to, const void *bytes, size_t len);
