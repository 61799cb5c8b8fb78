/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of several bytes as SCSI and Fibre Channel carry them: the most significant byte first. */
#pragma once

#include <stdint.h>

static inline uint16_t be16_read(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t be32_read(const uint8_t *p)
{
    return (uint32_t)be16_read(p) << 16 | be16_read(p + 2);
}

static inline uint64_t be64_read(const uint8_t *p)
{
    return (uint64_t)be32_read(p) << 32 | be32_read(p + 4);
}

static inline void be16_write(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static inline void be32_write(uint8_t *p, uint32_t value)
{
    be16_write(p, (uint16_t)(value >> 16));
    be16_write(p + 2, (uint16_t)value);
}

static inline void be64_write(uint8_t *p, uint64_t value)
{
    be32_write(p, (uint32_t)(value >> 32));
    be32_write(p + 4, (uint32_t)value);
}
