/* SPDX-License-Identifier: Apache-2.0 */
/* A subscriber of sensebus with as little HTTP/2 as can be: one Subscribe call on a connection, frames walked by their
 * lengths, records by theirs. Publishers are agents: agent.c.
 *
 *   frame head, DATA    its bytes are a piece of the stream of messages
 *   message prefix      five bytes
 *   tag of the first field: a run of records, or a control message, of which Opened says that the call has begun
 *   record head         tag and length; records that are not ours in length are the broker's own, and not counted */
#include <stdlib.h>
#include <string.h>

#include "proto/wire.h"
#include "tests/bench/load/event.h"
#include "tests/bench/load/load.h"

#define PREFACE           "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define WINDOW_MAX        0x7fffffffu
#define WINDOW_DEFAULT    65535u
#define FRAME_MAX         4194303u
#define WINDOW_STEP       (1u << 30)
#define FRAME_HEAD_BYTES  9u
#define PREFIX_BYTES      5u
#define FLAG_ACK          1u
#define FLAG_END_STREAM   1u
#define FLAG_END_HEADERS  4u
#define TAG_EVENTS        0x12
#define TAG_OPENED        0x22
#define RECORD_HEAD_BYTES 3u /* of a record of ours; of others at least */

enum frame_type { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE };

struct reader {
    uint32_t frame_left;   /* of a DATA frame */
    uint32_t message_left; /* of a message, behind its prefix */
    uint32_t skip;         /* of it, that needs no look */
    uint32_t taken;        /* bytes since the windows were opened last */
    bool in_message;       /* its first field was seen */
    uint8_t part[16];      /* head of a message or record that came in pieces */
    uint32_t n_part;
};

/* ------------------------------------------------------------------------------------------------ asking */

static uint8_t *be32(uint8_t *p, uint32_t value)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        *p++ = (uint8_t)(value >> shift);
    return p;
}

static uint8_t *frame_head(uint8_t *p, size_t len, enum frame_type type, uint8_t flags, uint32_t stream)
{
    *p++ = (uint8_t)(len >> 16);
    *p++ = (uint8_t)(len >> 8);
    *p++ = (uint8_t)len;
    *p++ = (uint8_t)type;
    *p++ = flags;
    return be32(p, stream);
}

static uint8_t *field(uint8_t *p, const char *name, const char *value)
{
    *p++ = 0; /* literal, not indexed, new name (RFC 7541 section 6.2.2) */
    *p++ = (uint8_t)strlen(name);
    p = (uint8_t *)stpcpy((char *)p, name);
    *p++ = (uint8_t)strlen(value);
    return (uint8_t *)stpcpy((char *)p, value);
}

static uint8_t *window_update(uint8_t *p, uint32_t stream, uint32_t bytes)
{
    return be32(frame_head(p, 4, WINDOW_UPDATE, 0, stream), bytes);
}

static void greet(struct conn *c)
{
    uint8_t bytes[128], *p = bytes;

    if (!(c->state = calloc(1, sizeof(struct reader))))
        fail("out of memory");
    memcpy(p, PREFACE, sizeof PREFACE - 1);
    p = frame_head(p + sizeof PREFACE - 1, 12, SETTINGS, 0, 0);
    *p++ = 0;
    *p++ = 4; /* SETTINGS_INITIAL_WINDOW_SIZE */
    p = be32(p, WINDOW_MAX);
    *p++ = 0;
    *p++ = 5; /* SETTINGS_MAX_FRAME_SIZE, as clients on gRPC's core (Python, C++, Ruby) announce it */
    p = be32(p, FRAME_MAX);
    p = window_update(p, 0, WINDOW_MAX - WINDOW_DEFAULT);
    conn_send(c, bytes, (size_t)(p - bytes));
}

/* SubscribeRequest.filter for the subscriber's key. */
static uint8_t *write_filter(const struct conn *c, uint8_t *p)
{
    uint8_t filter[64], *q = filter;

    if (c->load->options.by_designator) {
        char designator[DESIGNATOR_BYTES + 1];
        event_designator(designator, c->load->options.first_key + c->index);
        *q++ = 8 << 3 | 2; /* designators */
        *q++ = DESIGNATOR_BYTES;
        memcpy(q, designator, DESIGNATOR_BYTES);
        q += DESIGNATOR_BYTES;
    } else {
        uint8_t pattern[16], *r = pattern;
        static const uint8_t any[] = {2 << 3, 1, 3 << 3, 1, 5 << 3, 1, 4 << 3}; /* controller, bus, lun: -1; target */
        memcpy(r, any, sizeof any);
        r += sizeof any;
        r += varint_write(r, 2u * (c->load->options.first_key + c->index));
        *q++ = 5 << 3 | 2; /* addresses */
        *q++ = (uint8_t)(r - pattern);
        memcpy(q, pattern, (size_t)(r - pattern));
        q += r - pattern;
    }
    *p++ = 1 << 3 | 2; /* filter */
    *p++ = (uint8_t)(q - filter);
    memcpy(p, filter, (size_t)(q - filter));
    return p + (q - filter);
}

static void subscribe(struct conn *c)
{
    uint8_t bytes[512], body[128], *p = bytes, *q = body;

    p += FRAME_HEAD_BYTES;
    p = field(p, ":method", "POST");
    p = field(p, ":scheme", "http");
    p = field(p, ":path", "/sensebus.v1.Events/Subscribe");
    p = field(p, ":authority", "localhost");
    p = field(p, "te", "trailers");
    p = field(p, "content-type", "application/grpc");
    frame_head(bytes, (size_t)(p - bytes) - FRAME_HEAD_BYTES, HEADERS, FLAG_END_HEADERS, 1);
    if (c->load->options.by_key)
        q = write_filter(c, q);
    *q++ = c->load->options.replay ? 3 << 3 | 2 : 2 << 3 | 2; /* oldest or now */
    *q++ = 0;
    size_t len = (size_t)(q - body);
    p = frame_head(p, PREFIX_BYTES + len, DATA, FLAG_END_STREAM, 1);
    *p++ = 0;
    p = be32(p, (uint32_t)len);
    memcpy(p, body, len);
    conn_send(c, bytes, (size_t)(p - bytes) + len);
}

/* ------------------------------------------------------------------------------------------------ messages */

static uint32_t read32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Gather `n` bytes of a head, which may come in pieces; NULL: more is needed. */
static const uint8_t *gather(struct reader *r, const uint8_t **p, const uint8_t *end, uint32_t n)
{
    if (r->n_part == 0 && (size_t)(end - *p) >= n) {
        *p += n;
        return *p - n;
    }
    while (r->n_part < n && *p < end)
        r->part[r->n_part++] = *(*p)++;
    if (r->n_part < n)
        return NULL;
    r->n_part = 0;
    return r->part;
}

/* The first byte of a message says what it is. It stays where it is. */
static void begin_message(struct conn *c, struct reader *r, uint8_t tag)
{
    r->in_message = true;
    if (tag == TAG_EVENTS) {
        if (!c->load->options.latency && r->message_left % RECORD_BYTES == 0) {
            conn_received(c, r->message_left / RECORD_BYTES, NULL);
            r->skip = r->message_left;
        }
        return;
    }
    if (tag == TAG_OPENED)
        c->ready = true;
    r->skip = r->message_left;
}

/* Bytes of a record's head that are needed to know its length, and the event's first field if its time is wanted. */
static bool take_record(struct conn *c, struct reader *r, const uint8_t **p, const uint8_t *end)
{
    uint32_t n = RECORD_HEAD_BYTES + (c->load->options.latency ? EVENT_TIME_AT + 8 : 0);
    const uint8_t *head = gather(r, p, end, n);
    uint64_t len;

    if (!head)
        return false;
    const uint8_t *behind = varint_read(head + 1, head + n, &len);
    uint32_t head_len = behind ? (uint32_t)(behind - head) : 0;
    if (!behind || head[0] != TAG_EVENTS || head_len + len < n || head_len + len > r->message_left)
        fail("subscriber %u: this is no record", c->index);
    if (len == RECORD_EVENT_BYTES)
        conn_received(c, 1, n > RECORD_HEAD_BYTES ? behind : NULL);
    r->message_left -= n;
    r->skip = (uint32_t)(head_len + len) - n;
    return true;
}

static void take_stream(struct conn *c, struct reader *r, const uint8_t *p, const uint8_t *end)
{
    while (p < end) {
        if (r->skip > 0) {
            uint32_t n = r->skip < end - p ? r->skip : (uint32_t)(end - p);
            p += n;
            r->skip -= n;
            r->message_left -= n;
        } else if (r->message_left == 0) {
            const uint8_t *prefix = gather(r, &p, end, PREFIX_BYTES);
            if (!prefix)
                return;
            if (prefix[0])
                fail("subscriber %u: a compressed message", c->index);
            r->message_left = read32(prefix + 1);
            r->in_message = false;
        } else if (!r->in_message) {
            begin_message(c, r, *p);
        } else if (!take_record(c, r, &p, end)) {
            return;
        }
    }
}

/* ------------------------------------------------------------------------------------------------ frames */

static void open_windows(struct conn *c, struct reader *r, uint32_t len)
{
    uint8_t bytes[2 * (FRAME_HEAD_BYTES + 4)];

    r->taken += len;
    if (r->taken < WINDOW_STEP)
        return;
    window_update(window_update(bytes, 0, r->taken), 1, r->taken);
    conn_send(c, bytes, sizeof bytes);
    r->taken = 0;
}

static void take_control(struct conn *c, const uint8_t *frame, size_t len, uint8_t type, uint8_t flags)
{
    uint8_t answer[FRAME_HEAD_BYTES + 8];

    switch ((enum frame_type)type) {
    case SETTINGS:
        if (!(flags & FLAG_ACK))
            conn_send(c, answer, (size_t)(frame_head(answer, 0, SETTINGS, FLAG_ACK, 0) - answer));
        break;
    case PING:
        if (flags & FLAG_ACK || len != 8)
            break;
        memcpy(frame_head(answer, 8, PING, FLAG_ACK, 0), frame, 8);
        conn_send(c, answer, sizeof answer);
        break;
    case HEADERS:
        if (flags & FLAG_END_STREAM)
            fail("subscriber %u: the broker ended the call after %llu events", c->index, (unsigned long long)c->n);
        break;
    case RST_STREAM: fail("subscriber %u: RST_STREAM %u", c->index, read32(frame));
    case GOAWAY: fail("subscriber %u: GOAWAY %u", c->index, read32(frame + 4));
    default: break;
    }
}

static size_t take(struct conn *c, const uint8_t *bytes, size_t len)
{
    struct reader *r = c->state;
    const uint8_t *p = bytes, *end = bytes + len;

    while (p < end) {
        if (r->frame_left > 0) {
            uint32_t n = r->frame_left < end - p ? r->frame_left : (uint32_t)(end - p);
            take_stream(c, r, p, p + n);
            p += n;
            r->frame_left -= n;
            continue;
        }
        if ((size_t)(end - p) < FRAME_HEAD_BYTES)
            break;
        uint32_t frame_len = read32(p) >> 8;
        if (p[3] == DATA) {
            r->frame_left = frame_len;
            open_windows(c, r, frame_len);
            p += FRAME_HEAD_BYTES;
            continue;
        }
        if ((size_t)(end - p) < FRAME_HEAD_BYTES + frame_len)
            break;
        take_control(c, p + FRAME_HEAD_BYTES, frame_len, p[3], p[4]);
        p += FRAME_HEAD_BYTES + frame_len;
    }
    return (size_t)(p - bytes);
}

const struct protocol protocol_sensebus = {
    .name = "sensebus",
    .acknowledges = true,
    .greet = greet,
    .subscribe = subscribe,
    .take = take,
};
