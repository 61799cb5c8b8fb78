/* SPDX-License-Identifier: Apache-2.0 */
/* Redis (https://redis.io/docs/reference/protocol-spec), publish/subscribe and streams: walked a line at a time. A bulk
 * string of the length of an event is an event. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/load/event.h"
#include "tests/bench/load/load.h"

#define ID_BYTES   48
#define READ_COUNT 1000

/* A subscriber of a stream asks again behind the last entry it has. */
struct stream_reader {
    char last[ID_BYTES];
    unsigned left; /* entries of the answer still to come */
    unsigned n_arrays;
};

static void greet(struct conn *c)
{
    char line[128];

    if (!(c->state = calloc(1, sizeof(struct stream_reader))))
        fail("out of memory");
    conn_send(c, "PING\r\n", 6);
    conn_read_line(c, line, sizeof line);
    if (strcmp(line, "+PONG") != 0)
        fail("redis: %s", line);
}

/* "$7\r\nev:0042\r\n" */
static size_t write_name(const struct conn *c, uint8_t *out, unsigned key)
{
    if (!c->load->options.by_key) {
        memcpy(out, "$2\r\nev\r\n", 8);
        return 8;
    }
    return (size_t)sprintf((char *)out, "$7\r\nev:%04u\r\n", key);
}

static size_t write_commands(struct conn *c, uint8_t *out, unsigned n, const char *head, const char *middle)
{
    uint8_t event[EVENT_BYTES], *p = out;
    size_t head_len = strlen(head), middle_len = strlen(middle);

    for (unsigned i = 0; i < n; i++) {
        unsigned key = conn_next_event(c, event);
        memcpy(p, head, head_len);
        p += head_len;
        p += write_name(c, p, key);
        memcpy(p, middle, middle_len);
        p += middle_len;
        memcpy(p, event, EVENT_BYTES);
        p += EVENT_BYTES;
        *p++ = '\r';
        *p++ = '\n';
    }
    return (size_t)(p - out);
}

/* The line at `bytes`, with its end; 0 when it is not complete. */
static size_t line_length(const uint8_t *bytes, size_t len)
{
    const uint8_t *eol = memchr(bytes, '\n', len < 512 ? len : 512);
    return eol ? (size_t)(eol - bytes) + 1 : 0;
}

/* Length of a bulk string that is here with all its bytes, head and tail included; 0 otherwise. */
static size_t bulk_length(const uint8_t *bytes, size_t len, size_t head, size_t *out_payload)
{
    *out_payload = (size_t)strtoul((const char *)bytes + 1, NULL, 10);
    return len < head + *out_payload + 2 ? 0 : head + *out_payload + 2;
}

/* ------------------------------------------------------------------------------------------------ publish, subscribe
 */

static void subscribe(struct conn *c)
{
    uint8_t request[64], *p = request;

    memcpy(p, "*2\r\n$9\r\nSUBSCRIBE\r\n", 19);
    p += 19;
    p += write_name(c, p, c->load->options.first_key + c->index);
    conn_send(c, request, (size_t)(p - request));
}

static size_t write_publish(struct conn *c, uint8_t *out, unsigned n)
{
    return write_commands(c, out, n, "*3\r\n$7\r\nPUBLISH\r\n", "$150\r\n");
}

static size_t take(struct conn *c, const uint8_t *bytes, size_t len)
{
    size_t head = line_length(bytes, len), payload;

    if (!head)
        return 0;
    switch (bytes[0]) {
    case '$': {
        size_t whole = bulk_length(bytes, len, head, &payload);
        if (whole && payload == EVENT_BYTES)
            conn_received(c, 1, bytes + head);
        return whole;
    }
    case ':':
        if (c->is_publisher)
            conn_acknowledged(c, 1);
        c->ready = true;
        return head;
    case '*': return head;
    default: fail("redis: %.*s", (int)head, (const char *)bytes);
    }
}

const struct protocol protocol_redis = {
    .name = "redis",
    .acknowledges = true,
    .greet = greet,
    .subscribe = subscribe,
    .write = write_publish,
    .take = take,
};

/* ------------------------------------------------------------------------------------------------ streams */

static void read_on(struct conn *c)
{
    struct stream_reader *r = c->state;
    uint8_t name[32];
    char request[256];

    name[write_name(c, name, c->load->options.first_key + c->index)] = '\0';
    int len =
        snprintf(request, sizeof request,
                 "*8\r\n$5\r\nXREAD\r\n$5\r\nCOUNT\r\n$4\r\n%u\r\n$5\r\nBLOCK\r\n$1\r\n0\r\n$7\r\nSTREAMS\r\n%s$%zu"
                 "\r\n%s\r\n",
                 READ_COUNT, (char *)name, strlen(r->last), r->last);
    conn_send(c, request, (size_t)len);
    r->n_arrays = 0;
}

/* PONG says that the XREAD behind the PING has begun to wait: both were in one piece. */
static void subscribe_stream(struct conn *c)
{
    struct stream_reader *r = c->state;

    strcpy(r->last, c->load->options.replay ? "0-0" : "$");
    conn_send(c, "PING\r\n", 6);
    read_on(c);
}

static size_t write_add(struct conn *c, uint8_t *out, unsigned n)
{
    return write_commands(c, out, n, "*5\r\n$4\r\nXADD\r\n", "$1\r\n*\r\n$1\r\nd\r\n$150\r\n");
}

/* [[name, [[id, [field, event]], …]]]: the third array says how many entries there are. */
static size_t take_stream(struct conn *c, const uint8_t *bytes, size_t len)
{
    struct stream_reader *r = c->state;
    size_t head = line_length(bytes, len), payload;

    if (!head)
        return 0;
    if (bytes[0] == '*') {
        if (++r->n_arrays == 3)
            r->left = (unsigned)strtoul((const char *)bytes + 1, NULL, 10);
        return head;
    }
    if (bytes[0] == '+') {
        c->ready = true;
        return head;
    }
    if (bytes[0] != '$')
        fail("redis: %.*s", (int)head, (const char *)bytes);
    size_t whole = bulk_length(bytes, len, head, &payload);
    if (!whole)
        return 0;
    if (c->is_publisher) {
        conn_acknowledged(c, 1);
    } else if (payload == EVENT_BYTES) {
        conn_received(c, 1, bytes + head);
        if (--r->left == 0)
            read_on(c);
    } else if (payload < ID_BYTES && payload > 7) { /* an identity: longer than a stream's name */
        memcpy(r->last, bytes + head, payload);
        r->last[payload] = '\0';
    }
    return whole;
}

const struct protocol protocol_redis_stream = {
    .name = "redis-stream",
    .acknowledges = true,
    .greet = greet,
    .subscribe = subscribe_stream,
    .write = write_add,
    .take = take_stream,
};
