/* SPDX-License-Identifier: Apache-2.0 */
/* NATS and JetStream (https://docs.nats.io/reference/reference-protocols): lines, and payloads behind some of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/load/event.h"
#include "tests/bench/load/load.h"

#define LINE_BYTES 4096

static void say(struct conn *c, const char *line)
{
    conn_send(c, line, strlen(line));
}

static void wait_pong(struct conn *c)
{
    char line[LINE_BYTES];

    say(c, "PING\r\n");
    do {
        conn_read_line(c, line, sizeof line);
        if (strncmp(line, "-ERR", 4) == 0)
            fail("nats: %s", line);
    } while (strcmp(line, "PONG") != 0);
}

static void greet(struct conn *c)
{
    char line[LINE_BYTES];

    conn_read_line(c, line, sizeof line); /* INFO */
    say(c, "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"c\",\"version\":\"0\",\"protocol\":1}\r\n");
    wait_pong(c);
}

static size_t write_subject(const struct conn *c, char *out, unsigned key)
{
    return (size_t)(c->load->options.by_key ? sprintf(out, "ev.%04u", key) : sprintf(out, "ev"));
}

static void subscribe(struct conn *c)
{
    char subject[16], line[64];

    write_subject(c, subject, c->load->options.first_key + c->index);
    snprintf(line, sizeof line, "SUB %s 1\r\nPING\r\n", subject);
    say(c, line);
}

static size_t write_events(struct conn *c, uint8_t *out, unsigned n)
{
    static const char reply[] = " acks";
    uint8_t event[EVENT_BYTES], *p = out;

    for (unsigned i = 0; i < n; i++) {
        unsigned key = conn_next_event(c, event);
        memcpy(p, "PUB ", 4);
        p += 4;
        p += write_subject(c, (char *)p, key);
        if (c->protocol->acknowledges) {
            memcpy(p, reply, sizeof reply - 1);
            p += sizeof reply - 1;
            p += sprintf((char *)p, ".%u", c->index);
        }
        memcpy(p, " 150\r\n", 6);
        p += 6;
        memcpy(p, event, EVENT_BYTES);
        p += EVENT_BYTES;
        *p++ = '\r';
        *p++ = '\n';
    }
    return (size_t)(p - out);
}

/* The number at the end of a line. */
static size_t last_number(const uint8_t *line, const uint8_t *end)
{
    const uint8_t *p = end;
    size_t n = 0;

    while (p > line && p[-1] >= '0' && p[-1] <= '9')
        p--;
    for (; p < end; p++)
        n = 10 * n + (size_t)(*p - '0');
    return n;
}

static void take_message(struct conn *c, const uint8_t *payload, size_t len)
{
    if (!c->is_publisher) {
        if (len == EVENT_BYTES)
            conn_received(c, 1, payload);
        else if (memmem(payload, len < 256 ? len : 256, "\"error\"", 7))
            fail("nats: %.*s", (int)(len < 256 ? len : 256), (const char *)payload);
        return;
    }
    if (memmem(payload, len, "\"error\"", 7))
        fail("nats: %.*s", (int)len, (const char *)payload);
    conn_acknowledged(c, 1);
}

static size_t take(struct conn *c, const uint8_t *bytes, size_t len)
{
    const uint8_t *eol = memchr(bytes, '\n', len < LINE_BYTES ? len : LINE_BYTES);

    if (!eol)
        return 0;
    size_t line = (size_t)(eol - bytes) + 1;
    if (bytes[0] == 'M') { /* MSG subject sid [reply] bytes */
        size_t payload = last_number(bytes, eol - 1);
        if (len < line + payload + 2)
            return 0;
        take_message(c, eol + 1, payload);
        return line + payload + 2;
    }
    if (line == 6 && memcmp(bytes, "PING", 4) == 0)
        conn_send(c, "PONG\r\n", 6);
    else if (line == 6 && memcmp(bytes, "PONG", 4) == 0)
        c->ready = true;
    else if (bytes[0] == '-')
        fail("nats: %.*s", (int)line, (const char *)bytes);
    return line;
}

const struct protocol protocol_nats = {
    .name = "nats",
    .greet = greet,
    .subscribe = subscribe,
    .write = write_events,
    .take = take,
};

/* ------------------------------------------------------------------------------------------------ JetStream */

/* Ask the API of JetStream, and read its answer up to and including it. */
static void api(struct conn *c, const char *subject, const char *body)
{
    char line[LINE_BYTES];

    snprintf(line, sizeof line, "PUB $JS.API.%s api.%u %zu\r\n", subject, c->index, strlen(body));
    say(c, line);
    say(c, body);
    say(c, "\r\n");
    do {
        conn_read_line(c, line, sizeof line);
    } while (strncmp(line, "MSG api", 7) != 0);
    conn_read_line(c, line, sizeof line);
    if (strstr(line, "\"error\""))
        fail("jetstream: %s: %s", subject, line);
}

/* The first publisher makes the stream; a subscriber that comes alone finds it. */
static void greet_jetstream(struct conn *c)
{
    char line[64];

    greet(c);
    snprintf(line, sizeof line, "SUB api.%u 9\r\n", c->index);
    say(c, line);
    if (!c->is_publisher)
        return;
    if (c->index == 0)
        api(c, "STREAM.CREATE.EV",
            "{\"name\":\"EV\",\"subjects\":[\"ev\",\"ev.*\"],\"storage\":\"file\",\"retention\":\"limits\","
            "\"max_msgs\":-1,\"max_bytes\":-1,\"max_age\":0,\"discard\":\"old\",\"num_replicas\":1}");
    snprintf(line, sizeof line, "SUB acks.%u 2\r\n", c->index);
    say(c, line);
    wait_pong(c);
}

/* A consumer each, as a client's subscription makes one: pushed, ordered by itself, not acknowledged. */
static void subscribe_jetstream(struct conn *c)
{
    char line[512], subject[16];

    write_subject(c, subject, c->load->options.first_key + c->index);
    snprintf(line, sizeof line, "SUB d.%u 1\r\n", c->index);
    say(c, line);
    snprintf(line, sizeof line,
             "{\"stream_name\":\"EV\",\"config\":{\"deliver_subject\":\"d.%u\",\"ack_policy\":\"none\","
             "\"deliver_policy\":\"%s\",\"replay_policy\":\"instant\",\"filter_subject\":\"%s\",\"mem_storage\":true}}",
             c->index, c->load->options.replay ? "all" : "new", subject);
    char request[640];
    snprintf(request, sizeof request, "PUB $JS.API.CONSUMER.CREATE.EV api.%u %zu\r\n%s\r\n", c->index, strlen(line),
             line);
    say(c, request);
}

/* The answer to the request above is the first message that is no event. */
static size_t take_jetstream(struct conn *c, const uint8_t *bytes, size_t len)
{
    bool answer = !c->is_publisher && !c->ready && len > 8 && memcmp(bytes, "MSG api.", 8) == 0;
    size_t used = take(c, bytes, len);
    if (used && (answer || (!c->is_publisher && c->n > 0)))
        c->ready = true;
    return used;
}

const struct protocol protocol_jetstream = {
    .name = "jetstream",
    .acknowledges = true,
    .greet = greet_jetstream,
    .subscribe = subscribe_jetstream,
    .write = write_events,
    .take = take_jetstream,
};
