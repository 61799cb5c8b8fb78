/* SPDX-License-Identifier: Apache-2.0 */
/* The connection to a target's data feed (feed_message.h): dialled again and again with back-off, read only as far as
 * its data can be handed over. One message is kept in memory at a time, and what was read together with it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "agent/target/feed_message.h"
#include "runtime/backoff.h"

#define FEED_PATH_BYTES   108 /* sun_path */
#define FEED_BUFFER_BYTES (FEED_PREFIX_BYTES + FEED_MAX_BODY)

struct feed_ops {
    /* SERVES: walk it with feed_next_name(). The first one after a connection says that the feed is up. */
    void (*on_serves)(void *data, const struct feed_message *message);
    /* DATA. `first`: seen for the first time. False: it is not done yet, and is offered again after feed_continue(). */
    bool (*on_data)(void *data, const struct feed_message *message, bool first);
    /* The connection was not to be had, or ended; told each time. `gone`: nobody listens. */
    void (*on_down)(void *data, bool gone, const char *reason);
};

enum feed_state { FEED_RESTING, FEED_CONNECTING, FEED_UP, FEED_CLOSING, FEED_STOPPING };

struct feed {
    const struct feed_ops *ops;
    void *data;
    char path[FEED_PATH_BYTES];
    enum feed_state state;
    struct backoff backoff;
    bool serves; /* it said what it serves */
    uint64_t serves_since_ms;
    bool reading, held; /* held: the message at the head waits for buffers */
    bool gone;          /* of what is to be told when the pipe is closed */
    char failure[160];  /* likewise */
    int n_open;         /* handles that are not closed yet */
    uv_timer_t timer;   /* RESTING: dial */
    uv_timer_t turn;
    uv_pipe_t pipe;
    uv_connect_t connect;
    uv_write_t write;
    uint8_t done_message[FEED_DONE_BYTES];
    bool writing;
    uint64_t n_done, n_done_told;
    uint8_t *buffer; /* FEED_BUFFER_BYTES */
    size_t head, n;  /* bytes from head to head + n are not done */
    void (*on_stopped)(void *data);
    void *on_stopped_data;
};

/* The first dial is at once. `path` is copied. Returns 0, UV_ENAMETOOLONG or UV_ENOMEM; then nothing stays. */
int feed_start(struct feed *f, uv_loop_t *loop, const char *path, const struct feed_ops *ops, void *data);
/* What was in the way of the message at the head may be gone: it is tried again, from the loop. */
void feed_continue(struct feed *f);
/* `cb` runs from the loop; nothing else is told any more. */
void feed_stop(struct feed *f, void (*cb)(void *data), void *data);
