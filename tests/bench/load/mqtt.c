/* SPDX-License-Identifier: Apache-2.0 */
/* MQTT 3.1.1 (OASIS standard): QoS 0, and QoS 1 with sessions that the broker keeps. */
#include <stdio.h>
#include <string.h>

#include "tests/bench/load/event.h"
#include "tests/bench/load/load.h"

#define CONNACK      2
#define PUBLISH      3
#define PUBACK       4
#define SUBSCRIBE    8
#define SUBACK       9
#define CLEAN        0x02
#define ACK_BYTES    4u
#define ACKS_AT_ONCE 1024u

static int qos(const struct conn *c)
{
    return c->protocol == &protocol_mqtt_1;
}

static uint8_t *text(uint8_t *p, const char *s)
{
    size_t len = strlen(s);
    *p++ = (uint8_t)(len >> 8);
    *p++ = (uint8_t)len;
    memcpy(p, s, len);
    return p + len;
}

static uint8_t *topic(const struct conn *c, uint8_t *p, unsigned key)
{
    char name[16] = "ev";
    if (c->load->options.by_key)
        snprintf(name, sizeof name, "ev/%04u", key);
    return text(p, name);
}

static void connect_as(struct conn *c, const char *client)
{
    uint8_t packet[64], answer[4], *p = packet + 2;

    p = text(p, "MQTT");
    *p++ = 4; /* version 3.1.1 */
    *p++ = qos(c) ? 0 : CLEAN;
    *p++ = 0; /* no keep-alive */
    *p++ = 0;
    p = text(p, client);
    packet[0] = 1 << 4;
    packet[1] = (uint8_t)(p - packet - 2);
    conn_send(c, packet, (size_t)(p - packet));
    conn_read(c, answer, sizeof answer);
    if (answer[0] >> 4 != CONNACK || answer[3] != 0)
        fail("mqtt: connection refused with %u", answer[3]);
}

static void subscribe(struct conn *c)
{
    uint8_t packet[64], *p = packet + 2;

    *p++ = 0;
    *p++ = 1; /* packet identifier */
    p = topic(c, p, c->load->options.first_key + c->index);
    *p++ = (uint8_t)qos(c);
    packet[0] = SUBSCRIBE << 4 | 2;
    packet[1] = (uint8_t)(p - packet - 2);
    conn_send(c, packet, (size_t)(p - packet));
}

/* With nobody there to read, QoS 1 needs a session that is away for anything to be kept: the first publisher leaves
 * one. */
static void leave_session(struct conn *c)
{
    uint8_t suback[5];

    connect_as(c, "away");
    subscribe(c);
    conn_read(c, suback, sizeof suback);
    conn_send(c, (uint8_t[]){0xe0, 0}, 2); /* DISCONNECT */
    conn_redial(c);
}

static void greet(struct conn *c)
{
    char client[24];

    if (c->is_publisher && c->index == 0 && qos(c) && c->load->options.n_subscribers == 0)
        leave_session(c);
    snprintf(client, sizeof client, "%c%u", c->is_publisher ? 'p' : 's', c->index);
    connect_as(c, client);
}

static size_t write_events(struct conn *c, uint8_t *out, unsigned n)
{
    uint8_t event[EVENT_BYTES], body[32], *p = out;

    for (unsigned i = 0; i < n; i++) {
        unsigned key = conn_next_event(c, event);
        uint8_t *q = topic(c, body, key);
        if (qos(c)) {
            uint16_t id = (uint16_t)(1 + c->n_written % 65535);
            *q++ = (uint8_t)(id >> 8);
            *q++ = (uint8_t)id;
        }
        size_t head = (size_t)(q - body), len = head + EVENT_BYTES; /* always two bytes of length */
        *p++ = (uint8_t)(PUBLISH << 4 | qos(c) << 1);
        *p++ = (uint8_t)(len % 128 | 128);
        *p++ = (uint8_t)(len / 128);
        memcpy(p, body, head);
        memcpy(p + head, event, EVENT_BYTES);
        p += len;
    }
    return (size_t)(p - out);
}

/* The remaining length. Returns the bytes of the fixed header, 0 when it is not complete. */
static size_t read_head(const uint8_t *p, size_t len, size_t *out_body)
{
    *out_body = 0;
    for (size_t i = 1; i < len && i < 5; i++) {
        *out_body |= (size_t)(p[i] & 127) << (7 * (i - 1));
        if (!(p[i] & 128))
            return i + 1;
    }
    return 0;
}

static size_t take(struct conn *c, const uint8_t *bytes, size_t len)
{
    uint8_t acks[ACKS_AT_ONCE * ACK_BYTES];
    size_t at = 0, n_acks = 0, head, body;

    while (n_acks < ACKS_AT_ONCE && (head = read_head(bytes + at, len - at, &body)) && len - at >= head + body) {
        const uint8_t *p = bytes + at + head;
        switch (bytes[at] >> 4) {
        case PUBLISH:
            conn_received(c, 1, p + body - EVENT_BYTES);
            if (bytes[at] >> 1 & 3) {
                const uint8_t *id = p + 2 + (p[0] << 8 | p[1]);
                memcpy(acks + ACK_BYTES * n_acks++, (uint8_t[]){PUBACK << 4, 2, id[0], id[1]}, ACK_BYTES);
            }
            break;
        case PUBACK: conn_acknowledged(c, 1); break;
        case SUBACK: c->ready = true; break;
        default: break;
        }
        at += head + body;
    }
    if (n_acks)
        conn_send(c, acks, ACK_BYTES * n_acks);
    return at;
}

const struct protocol protocol_mqtt_0 = {
    .name = "mqtt-0",
    .greet = greet,
    .subscribe = subscribe,
    .write = write_events,
    .take = take,
};
const struct protocol protocol_mqtt_1 = {
    .name = "mqtt-1",
    .acknowledges = true,
    .greet = greet,
    .subscribe = subscribe,
    .write = write_events,
    .take = take,
};
