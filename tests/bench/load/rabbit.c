/* SPDX-License-Identifier: Apache-2.0 */
/* RabbitMQ streams (rabbitmq_stream/docs/PROTOCOL.adoc): frames of a length, a key and a version; events come in chunks
 * as they lie on disk, one credit each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/load/event.h"
#include "tests/bench/load/load.h"

enum key {
    DECLARE_PUBLISHER = 1,
    PUBLISH = 2,
    PUBLISH_CONFIRM = 3,
    SUBSCRIBE = 7,
    DELIVER = 8,
    CREDIT = 9,
    CREATE = 13,
    PEER_PROPERTIES = 17,
    SASL_HANDSHAKE = 18,
    SASL_AUTHENTICATE = 19,
    TUNE = 20,
    OPEN = 21,
    HEARTBEAT = 23,
    RESPONSE = 0x8000,
};

#define CODE_OK          1
#define CODE_EXISTS      5
#define OFFSET_FIRST     1
#define OFFSET_NEXT      3
#define FRAME_MAX        (1u << 20)
#define FRAME_HEAD_BYTES 8u  /* length, key, version */
#define DELIVER_BYTES    49u /* subscription and head of the chunk */
#define CREDITS          40
#define CREDITS_BACK     10

struct consumer {
    unsigned n_taken;    /* chunks since credits were given back */
    uint32_t chunk_left; /* latency: bytes of entries of a chunk */
};

struct frame {
    uint8_t bytes[1024];
    size_t len;
};

static void put(struct frame *f, uint64_t value, size_t n)
{
    while (n-- > 0)
        f->bytes[f->len++] = (uint8_t)(value >> (8 * n));
}

static void put_text(struct frame *f, const char *s)
{
    size_t n = strlen(s);
    put(f, n, 2);
    memcpy(f->bytes + f->len, s, n);
    f->len += n;
}

static uint64_t get(const uint8_t *p, size_t n)
{
    uint64_t value = 0;
    while (n-- > 0)
        value = value << 8 | *p++;
    return value;
}

static struct frame begin(enum key key)
{
    struct frame f = {.len = 4};
    put(&f, key, 2);
    put(&f, 1, 2);
    return f;
}

static struct frame begin_request(enum key key)
{
    struct frame f = begin(key);
    put(&f, 7, 4); /* correlation */
    return f;
}

static void send_frame(struct conn *c, struct frame *f)
{
    size_t len = f->len;
    f->len = 0;
    put(f, len - 4, 4);
    conn_send(c, f->bytes, len);
}

/* Read frames until the one of `key`; returns its response code. */
static unsigned wait_frame(struct conn *c, unsigned key)
{
    uint8_t head[FRAME_HEAD_BYTES], *body;
    unsigned code = CODE_OK, got;

    do {
        conn_read(c, head, sizeof head);
        got = (unsigned)get(head + 4, 2);
        size_t len = get(head, 4) - 4;
        if (len > FRAME_MAX || !(body = malloc(len ? len : 1)))
            fail("rabbitmq: a frame of %zu bytes", len);
        conn_read(c, body, len);
        if (got & RESPONSE && len >= 6)
            code = (unsigned)get(body + 4, 2);
        free(body);
    } while (got != key);
    return code;
}

static void ask(struct conn *c, struct frame *f, enum key key)
{
    send_frame(c, f);
    unsigned code = wait_frame(c, RESPONSE | key);
    if (code != CODE_OK && code != CODE_EXISTS)
        fail("rabbitmq: request %d is answered with %u", key, code);
}

/* ------------------------------------------------------------------------------------------------ connecting */

static void stream_name(const struct conn *c, char out[16], unsigned key)
{
    snprintf(out, 16, c->load->options.by_key ? "ev-%04u" : "ev", key);
}

static void create_stream(struct conn *c)
{
    struct frame f = begin_request(CREATE);
    put_text(&f, "ev");
    put(&f, 0, 4); /* no arguments */
    ask(c, &f, CREATE);
}

static void greet(struct conn *c)
{
    static const char secret[] = "\0guest\0guest";
    struct frame f = begin_request(PEER_PROPERTIES);

    if (!(c->state = calloc(1, sizeof(struct consumer))))
        fail("out of memory");
    put(&f, 0, 4);
    ask(c, &f, PEER_PROPERTIES);
    f = begin_request(SASL_HANDSHAKE);
    ask(c, &f, SASL_HANDSHAKE);
    f = begin_request(SASL_AUTHENTICATE);
    put_text(&f, "PLAIN");
    put(&f, sizeof secret - 1, 4);
    memcpy(f.bytes + f.len, secret, sizeof secret - 1);
    f.len += sizeof secret - 1;
    ask(c, &f, SASL_AUTHENTICATE);
    wait_frame(c, TUNE);
    f = begin(TUNE);
    put(&f, FRAME_MAX, 4);
    put(&f, 0, 4); /* no heartbeat */
    send_frame(c, &f);
    f = begin_request(OPEN);
    put_text(&f, "/");
    ask(c, &f, OPEN);
    if (!c->is_publisher)
        return;
    create_stream(c);
    f = begin_request(DECLARE_PUBLISHER);
    put(&f, 1, 1);
    put(&f, 0, 2); /* no name: nothing is deduplicated */
    put_text(&f, "ev");
    ask(c, &f, DECLARE_PUBLISHER);
}

static void subscribe(struct conn *c)
{
    struct frame f = begin_request(SUBSCRIBE);
    char name[16];

    stream_name(c, name, c->index);
    put(&f, 1, 1);
    put_text(&f, name);
    put(&f, c->load->options.replay ? OFFSET_FIRST : OFFSET_NEXT, 2);
    put(&f, CREDITS, 2);
    put(&f, 0, 4); /* no properties */
    send_frame(c, &f);
}

/* ------------------------------------------------------------------------------------------------ events */

static uint8_t *be(uint8_t *p, uint64_t value, size_t n)
{
    while (n-- > 0)
        *p++ = (uint8_t)(value >> (8 * n));
    return p;
}

static size_t write_events(struct conn *c, uint8_t *out, unsigned n)
{
    uint8_t *p = out + 4;

    p = be(p, PUBLISH, 2);
    p = be(p, 1, 2);
    *p++ = 1; /* publisher */
    p = be(p, n, 4);
    for (unsigned i = 0; i < n; i++) {
        p = be(p, c->n_written + 1, 8);
        p = be(p, EVENT_BYTES, 4);
        conn_next_event(c, p);
        p += EVENT_BYTES;
    }
    be(out, (uint64_t)(p - out - 4), 4);
    return (size_t)(p - out);
}

static void give_credits(struct conn *c)
{
    struct consumer *k = c->state;
    /* The broker waits for the last credits at the end of a stream: one at a time while little comes. */
    unsigned n = ++k->n_taken;
    if (n < CREDITS_BACK && !c->load->options.latency)
        return;
    struct frame f = begin(CREDIT);
    put(&f, 1, 1);
    put(&f, n, 2);
    send_frame(c, &f);
    k->n_taken = 0;
}

/* The head of the chunk is all that counting needs; for ages the entries have to be here. */
static size_t take_chunk(struct conn *c, const uint8_t *frame, size_t len, size_t whole)
{
    const uint8_t *chunk = frame + FRAME_HEAD_BYTES + 1;
    uint64_t n = get(chunk + 4, 4);

    if (!c->load->options.latency) {
        conn_received(c, n, NULL);
        c->skip = whole - FRAME_HEAD_BYTES - DELIVER_BYTES;
        give_credits(c);
        return FRAME_HEAD_BYTES + DELIVER_BYTES;
    }
    if (len < whole)
        return 0;
    const uint8_t *entry = chunk + DELIVER_BYTES - 1, *end = frame + whole;
    for (uint64_t i = 0; i < n && entry + 4 + EVENT_BYTES <= end; i++) {
        conn_received(c, 1, entry + 4);
        entry += 4 + get(entry, 4);
    }
    give_credits(c);
    return whole;
}

static size_t take(struct conn *c, const uint8_t *bytes, size_t len)
{
    if (len < FRAME_HEAD_BYTES)
        return 0;
    size_t whole = 4 + get(bytes, 4);
    unsigned key = (unsigned)get(bytes + 4, 2);

    if (key == DELIVER)
        return len < FRAME_HEAD_BYTES + DELIVER_BYTES ? 0 : take_chunk(c, bytes, len, whole);
    if (len < whole)
        return 0;
    if (key == PUBLISH_CONFIRM) {
        conn_acknowledged(c, get(bytes + FRAME_HEAD_BYTES + 1, 4));
    } else if (key == (RESPONSE | SUBSCRIBE)) {
        unsigned code = (unsigned)get(bytes + FRAME_HEAD_BYTES + 4, 2);
        if (code != CODE_OK)
            fail("rabbitmq: subscription refused with %u", code);
        c->ready = true;
    } else if (key == 4) {
        fail("rabbitmq: an event was refused");
    }
    return whole;
}

const struct protocol protocol_rabbit = {
    .name = "rabbit-stream",
    .acknowledges = true,
    .greet = greet,
    .subscribe = subscribe,
    .write = write_events,
    .take = take,
};
