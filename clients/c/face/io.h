/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that holds the connection of a handle: bytes in, bytes out, nothing decoded.
 *
 * It answers the broker's keepalive whatever the caller does, so a session lives as long as its program and not only as
 * long as the program polls. All functions here are for the caller's side, one thread at a time; they wait for nothing
 * but a short lock. What arrives lies in one queue, in order. The queue is bounded by flow control: at
 * IO_QUEUE_HIGH_BYTES the calls are paused (what was granted before may still come), at half of it they go on. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IO_QUEUE_HIGH_BYTES (4u << 20)

struct io;
struct link_options;

enum io_item_kind {
    IO_UP,      /* the connection stands */
    IO_DOWN,    /* it is gone, or never came; last item: calls that had not ended end with it */
    IO_MESSAGE, /* of `call` */
    IO_END,     /* of `call`: `status` (grpc.h), bytes are its message */
};
struct io_item {
    struct io_item *next;
    enum io_item_kind kind;
    int status;
    uint64_t call;
    size_t len;
    uint8_t bytes[]; /* IO_DOWN and IO_END: words, terminated behind `len` */
};

/* Start to dial, once. `options` are not kept. Returns 0; what link_open says; UV_EMFILE, UV_EAGAIN, UV_ENOMEM. */
int io_open(const struct link_options *options, struct io **out_io);
/* Hang up: what was sent goes out, and calls are ended in order, for a second at most. Wait for the thread, and free.
 * NULL is accepted. */
void io_close(struct io *io);
/* Hang up: IO_DOWN follows, with this reason. */
void io_hang_up(struct io *io, const char *reason);

/* Start the call named `call` (any number not in use; `path` is constant) and send a message on it; `only`: the caller
 * sends no more on it. Calls that cannot start end with UNAVAILABLE. Returns 0 or UV_ENOMEM. */
int io_start(struct io *io, uint64_t call, const char *path, uint32_t deadline_ms, const void *bytes, size_t len,
             bool only);
/* A further message; nothing happens when the call is over. Returns 0 or UV_ENOMEM. */
int io_send(struct io *io, uint64_t call, const void *bytes, size_t len);

/* The next item, NULL when there is none; free() it. */
struct io_item *io_take(struct io *io);
/* Readable while the queue is not empty, and for ever once IO_DOWN was put into it. */
int io_fd(const struct io *io);
