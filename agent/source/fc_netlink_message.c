/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/fc_netlink_message.h"

#include <string.h>
#include <uv.h>

#include "agent/big_endian.h"
#include "sensebus/v1/code.pb-c.h"

#define CODE(name) SENSEBUS__V1__CODE__##name

#define SCSI_TRANSPORT_MESSAGE 0x11 /* NLMSG_MIN_TYPE + 1 */
#define HEADER_VERSION         1
#define HEADER_MAGIC           0xa1b2
#define TRANSPORT_FC           1
#define ASYNC_EVENT            0x0100
#define MAX_DESCRIPTORS        64

/* Byte offsets in struct fc_nl_event. */
enum {
    AT_VERSION = 0,
    AT_TRANSPORT = 1,
    AT_MAGIC = 2,
    AT_MESSAGE_TYPE = 4,
    AT_MESSAGE_LENGTH = 6,
    AT_SECONDS = 8,
    AT_VENDOR = 16,
    AT_HOST = 24,
    AT_DATA_LENGTH = 26,
    AT_NUMBER = 28,
    AT_CODE = 32,
    AT_DATA = 36,
    MIN_BYTES = 40, /* with the four bytes of data that there always are */
};

/* FPIN: command, 3 reserved bytes, length of the descriptors; each of them tag, length, value. */
enum { FPIN_COMMAND = 0x16, FPIN_AT_LENGTH = 4, FPIN_AT_DESCRIPTORS = 8, DESCRIPTOR_HEADER = 8 };
enum { TAG_LINK_INTEGRITY = 0x00020001, TAG_DELIVERY, TAG_PEER_CONGESTION, TAG_CONGESTION };

static uint16_t get16(const uint8_t *at)
{
    uint16_t value;

    memcpy(&value, at, sizeof value);
    return value;
}

static uint32_t get32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof value);
    return value;
}

static uint64_t get64(const uint8_t *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof value);
    return value;
}

int fc_netlink_parse(uint16_t type, const uint8_t *bytes, size_t len, struct fc_netlink_message *out)
{
    struct fc_netlink_message m = {0};
    size_t data_len;

    if (len < AT_SECONDS)
        return UV_EINVAL;
    if (type != SCSI_TRANSPORT_MESSAGE || bytes[AT_VERSION] != HEADER_VERSION ||
        get16(bytes + AT_MAGIC) != HEADER_MAGIC || bytes[AT_TRANSPORT] != TRANSPORT_FC ||
        get16(bytes + AT_MESSAGE_TYPE) != ASYNC_EVENT)
        return UV_ENOENT;
    if (len < MIN_BYTES || get16(bytes + AT_MESSAGE_LENGTH) > len)
        return UV_EINVAL;
    data_len = get16(bytes + AT_DATA_LENGTH);
    if (data_len > len - AT_DATA)
        return UV_EINVAL;
    m.seconds = get64(bytes + AT_SECONDS);
    m.vendor_id = get64(bytes + AT_VENDOR);
    m.host = get16(bytes + AT_HOST);
    m.number = get32(bytes + AT_NUMBER);
    m.event = get32(bytes + AT_CODE);
    m.data = bytes + AT_DATA;
    m.data_len = data_len;
    m.word = get32(bytes + AT_DATA);
    m.raw = bytes;
    m.raw_len = AT_DATA + (data_len < 4 ? 4 : data_len);
    *out = m;
    return 0;
}

/* ------------------------------------------------------------------------------------------------ codes */

static const struct {
    uint32_t event, code;
    const char *name;
} events[] = {
    {FC_EVENT_LIP, CODE(LOOP_INITIALIZED), "FCH_EVT_LIP"},
    {FC_EVENT_LINK_UP, CODE(LINK_UP), "FCH_EVT_LINKUP"},
    {FC_EVENT_LINK_DOWN, CODE(LINK_DOWN), "FCH_EVT_LINKDOWN"},
    {FC_EVENT_LIP_RESET, CODE(LOOP_RESET), "FCH_EVT_LIPRESET"},
    {FC_EVENT_RSCN, CODE(FABRIC_STATE_CHANGE), "FCH_EVT_RSCN"},
    {FC_EVENT_ADAPTER_CHANGE, CODE(ADAPTER_CHANGED), "FCH_EVT_ADAPTER_CHANGE"},
    {FC_EVENT_PORT_UNKNOWN, CODE(LINK_STATE_UNKNOWN), "FCH_EVT_PORT_UNKNOWN"},
    {FC_EVENT_PORT_OFFLINE, CODE(PORT_OFFLINE), "FCH_EVT_PORT_OFFLINE"},
    {FC_EVENT_PORT_ONLINE, CODE(PORT_ONLINE), "FCH_EVT_PORT_ONLINE"},
    {FC_EVENT_PORT_FABRIC, CODE(FABRIC_CHANGED), "FCH_EVT_PORT_FABRIC"},
    {FC_EVENT_LINK_UNKNOWN, CODE(LINK_STATE_UNKNOWN), "FCH_EVT_LINK_UNKNOWN"},
    {FC_EVENT_LINK_FPIN, CODE(UNCLASSIFIED), "FCH_EVT_LINK_FPIN"}, /* by its descriptors */
    {FC_EVENT_LINK_FPIN_ACK, CODE(UNCLASSIFIED), "FCH_EVT_LINK_FPIN_ACK"},
    {FC_EVENT_VENDOR_UNIQUE, CODE(VENDOR_SPECIFIC), "FCH_EVT_VENDOR_UNIQUE"},
};
#define N_EVENTS (sizeof events / sizeof events[0])

const char *fc_netlink_event_name(uint32_t event)
{
    for (size_t i = 0; i < N_EVENTS; i++)
        if (events[i].event == event)
            return events[i].name;
    return "FCH_EVT";
}

static uint32_t descriptor_code(uint32_t tag)
{
    switch (tag) {
    case TAG_LINK_INTEGRITY: return CODE(FPIN_LINK_INTEGRITY);
    case TAG_DELIVERY: return CODE(FPIN_DELIVERY);
    case TAG_PEER_CONGESTION: return CODE(FPIN_PEER_CONGESTION);
    case TAG_CONGESTION: return CODE(FPIN_CONGESTION);
    default: return 0;
    }
}

static size_t add_once(uint32_t code, uint32_t *codes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (codes[i] == code)
            return n;
    codes[n] = code;
    return n + 1;
}

/* A descriptor that is cut off counts: its tag is there. What follows an unreasonable number of them does not. */
static size_t fpin_codes(const uint8_t *fpin, size_t len, uint32_t *codes)
{
    size_t n = 0, end, at = FPIN_AT_DESCRIPTORS;

    if (len < FPIN_AT_DESCRIPTORS || fpin[0] != FPIN_COMMAND)
        return 0;
    end = be32_read(fpin + FPIN_AT_LENGTH);
    end = end < len - FPIN_AT_DESCRIPTORS ? end + FPIN_AT_DESCRIPTORS : len;
    for (int i = 0; i < MAX_DESCRIPTORS && end - at >= DESCRIPTOR_HEADER; i++) {
        size_t value_len = be32_read(fpin + at + 4);
        uint32_t code = descriptor_code(be32_read(fpin + at));

        if (code)
            n = add_once(code, codes, n);
        at += DESCRIPTOR_HEADER;
        if (value_len > end - at)
            break;
        at += value_len;
    }
    return n;
}

size_t fc_netlink_codes(const struct fc_netlink_message *m, uint32_t out_codes[FC_NETLINK_MAX_CODES])
{
    size_t n = 0;

    if (m->event == FC_EVENT_LINK_FPIN || m->event == FC_EVENT_LINK_FPIN_ACK)
        n = fpin_codes(m->data, m->data_len, out_codes);
    if (n > 0)
        return n;
    out_codes[0] = CODE(UNCLASSIFIED);
    for (size_t i = 0; i < N_EVENTS; i++)
        if (events[i].event == m->event)
            out_codes[0] = events[i].code;
    return 1;
}
