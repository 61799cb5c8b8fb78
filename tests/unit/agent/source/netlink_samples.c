/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/agent/source/netlink_samples.h"

#include <string.h>

#include "agent/iscsi/pdu.h"

#define SECRET 0xa5 /* what fills the members that must not get out */

static void put(struct sample *s, const void *bytes, size_t len)
{
    memcpy(s->bytes + s->len, bytes, len);
    s->len += len;
}

static void put16(struct sample *s, uint16_t value)
{
    put(s, &value, sizeof value);
}

static void put32(struct sample *s, uint32_t value)
{
    put(s, &value, sizeof value);
}

static void put64(struct sample *s, uint64_t value)
{
    put(s, &value, sizeof value);
}

static void put_be32(struct sample *s, uint32_t value)
{
    pdu_put32(s->bytes + s->len, value);
    s->len += 4;
}

struct sample sample_iscsi(uint32_t type, uint32_t first, uint32_t second, uint32_t third)
{
    struct sample s = {.len = SAMPLE_UEVENT_BYTES};

    memset(s.bytes, SECRET, SAMPLE_UEVENT_BYTES);
    memcpy(s.bytes, &type, 4);
    memset(s.bytes + 4, 0, 4);
    memcpy(s.bytes + 40, &first, 4);
    memcpy(s.bytes + 44, &second, 4);
    memcpy(s.bytes + 48, &third, 4);
    return s;
}

struct sample sample_iscsi_pdu(uint32_t sid, uint8_t opcode, uint8_t flags, uint8_t at36, uint8_t at37,
                               const void *data, size_t data_len)
{
    struct sample s = sample_iscsi(101, sid, 0, 0x51515151);
    uint8_t header[PDU_HEADER_BYTES] = {opcode, flags};

    header[6] = (uint8_t)(data_len >> 8);
    header[7] = (uint8_t)data_len;
    header[PDU_AT_ASYNC_EVENT] = at36;
    header[PDU_AT_ASYNC_VCODE] = at37;
    put(&s, header, sizeof header);
    put(&s, data, data_len);
    return s;
}

struct sample sample_iscsi_async(void)
{
    static const uint8_t pdu[] = {
        0x32, 0x80, 0,    0,    0,    0, 0, 0x14, 0, 0,    0, 0,    0, 0, 0,    0, /* LUN 0 */
        0xff, 0xff, 0xff, 0xff, 0,    0, 0, 0,    0, 0,    0, 0x21, 0, 0, 0,    0x1f, 0, 0, 0, 0x3f,
        0,    0x5a, 0,    1,    0,    2, 0, 3,    0, 0,    0, 0, /* event 0, parameters 1, 2, 3 */
        0,    0x12, 0x70, 0,    0x06, 0, 0, 0,    0, 0x0a, 0, 0,    0, 0, 0x3f, 0x0e, 0, 0, 0, 0,
    };
    struct sample s = sample_iscsi(0x65, 2, 0, 0);

    put(&s, pdu, sizeof pdu);
    return s;
}

struct sample sample_fc(uint16_t host, uint32_t number, uint32_t event, const void *data, size_t data_len)
{
    struct sample s = {.bytes = {1, 1}, .len = 2}; /* version, Fibre Channel */
    size_t padded = (40 + data_len + 7) & ~(size_t)7;

    put16(&s, 0xa1b2);
    put16(&s, 0x0100);
    put16(&s, (uint16_t)padded);
    put64(&s, 1769904000);
    put64(&s, 0x0500e0c900000001); /* vendor */
    put16(&s, host);
    put16(&s, (uint16_t)data_len);
    put32(&s, number);
    put32(&s, event);
    put(&s, data, data_len);
    memset(s.bytes + s.len, SECRET, padded - s.len);
    s.len = padded;
    return s;
}

struct sample sample_fc_lipreset(void)
{
    struct sample s = {.bytes = {1, 1, 0xb2, 0xa1, 0, 1, 0x28, 0}, .len = 8};

    put64(&s, 1763799900);
    put64(&s, 0);
    put16(&s, 5);
    put16(&s, 4);
    put32(&s, 12);
    put32(&s, 4);
    put32(&s, 0);
    return s;
}

struct sample sample_fc_fpin(const uint32_t *tags, size_t n)
{
    struct sample fpin = {.bytes = {0x16}, .len = 4};

    put_be32(&fpin, (uint32_t)(n * 16));
    for (size_t i = 0; i < n; i++) {
        put_be32(&fpin, tags[i]);
        put_be32(&fpin, 8);
        put64(&fpin, i);
    }
    return sample_fc(3, 9, 0x501, fpin.bytes, fpin.len);
}

static void put_attribute(struct sample *s, uint16_t type, const void *data, size_t len)
{
    put16(s, (uint16_t)(len + 4));
    put16(s, type);
    put(s, data, len);
    s->len = (s->len + 3) & ~(size_t)3;
}

struct sample sample_tcmu(uint8_t command, const char *device, uint16_t type, const void *data, size_t data_len)
{
    static const uint32_t minor = 7;
    struct sample s = {.bytes = {command, 1}, .len = 4};

    put_attribute(&s, 1, device, strlen(device) + 1);
    put_attribute(&s, 2, &minor, sizeof minor);
    if (type)
        put_attribute(&s, type, data, data_len);
    return s;
}
