/* SPDX-License-Identifier: Apache-2.0 */
/* What tests/bench/limit.c speaks: frames of a length, a key and an event; one byte says that a peer is known. */
#include <string.h>

#include "tests/bench/load/event.h"
#include "tests/bench/load/load.h"
#include "tests/bench/raw.h"

static void introduce(struct conn *c, enum raw_role role)
{
    struct raw_hello hello = {.role = (uint8_t)role, .key = (uint16_t)(c->load->options.first_key + c->index)};
    conn_send(c, &hello, sizeof hello);
}

static void greet(struct conn *c)
{
    uint8_t known;
    if (c->is_publisher) {
        introduce(c, RAW_PUBLISHER);
        conn_read(c, &known, 1);
    }
}

static void subscribe(struct conn *c)
{
    introduce(c, c->load->options.replay ? RAW_REPLAY : RAW_SUBSCRIBER);
}

static size_t write_events(struct conn *c, uint8_t *out, unsigned n)
{
    for (unsigned i = 0; i < n; i++, out += RAW_FRAME_BYTES) {
        struct raw_frame head = {.len = EVENT_BYTES};
        head.key = (uint16_t)conn_next_event(c, out + sizeof head);
        memcpy(out, &head, sizeof head);
    }
    return n * RAW_FRAME_BYTES;
}

static size_t take(struct conn *c, const uint8_t *bytes, size_t len)
{
    if (c->is_publisher) {
        uint64_t done;
        if (len < sizeof done)
            return 0;
        size_t used = len - len % sizeof done;
        memcpy(&done, bytes + used - sizeof done, sizeof done);
        conn_acknowledged(c, done - c->acknowledged);
        return used;
    }
    if (!c->ready) {
        c->ready = true;
        return 1;
    }
    size_t n = len / RAW_FRAME_BYTES;
    if (!c->load->options.latency) {
        conn_received(c, n, NULL);
        return n * RAW_FRAME_BYTES;
    }
    for (size_t i = 0; i < n; i++)
        conn_received(c, 1, bytes + i * RAW_FRAME_BYTES + sizeof(struct raw_frame));
    return n * RAW_FRAME_BYTES;
}

const struct protocol protocol_raw = {
    .name = "raw",
    .greet = greet,
    .subscribe = subscribe,
    .write = write_events,
    .take = take,
};
const struct protocol protocol_raw_acknowledged = {
    .name = "raw-acknowledged",
    .acknowledges = true,
    .greet = greet,
    .subscribe = subscribe,
    .write = write_events,
    .take = take,
};
