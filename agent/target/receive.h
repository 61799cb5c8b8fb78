/* SPDX-License-Identifier: Apache-2.0 */
/* The open target-mode sessions, and how data of remote initiators gets into their receive buffers.
 *
 * One piece of data is under way at a time. Every session of its (target, initiator) gets all of it, cut into its own
 * buffers; while one of them holds all its buffers, the piece waits, and so does what is behind it. Nothing is lost,
 * except what a session did not take before it was closed.
 *
 * No loop, no clock: it says what happens through its callbacks, within the call. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/target/buffers.h"
#include "agent/target/snapshot.h"

#define RECEIVE_MAX_SESSIONS  1024
#define RECEIVE_SESSION_BYTES 64

struct receive_session {
    char id[RECEIVE_SESSION_BYTES];
    uint64_t generation;
    char target[SNAPSHOT_NAME_BYTES]; /* the served target */
    char initiator[SNAPSHOT_NAME_BYTES];
    char adapter[16];
    int32_t controller, initiator_number;
    uint32_t buffer_bytes;
    struct buffers buffers;
    size_t left; /* of the piece under way */
};

struct receive_ops {
    /* One buffer. False: not now, offer it again; then nothing was taken. */
    bool (*on_received)(void *data, const struct receive_session *s, const uint8_t *bytes, size_t len);
    void (*on_exhausted)(void *data, const struct receive_session *s);
    void (*on_resumed)(void *data, const struct receive_session *s);
};

struct receive {
    const struct receive_ops *ops;
    void *data;
    struct receive_session *sessions[RECEIVE_MAX_SESSIONS];
    size_t n;
};

void receive_init(struct receive *r, const struct receive_ops *ops, void *data);
void receive_deinit(struct receive *r);

/* Add a copy of `session`; its buffers are fresh. Returns 0; UV_EEXIST when this id is open, UV_ENOBUFS beyond
 * RECEIVE_MAX_SESSIONS, UV_ENOMEM. */
int receive_open(struct receive *r, const struct receive_session *session, uint32_t n_buffers);
/* NULL when it is not open in this generation. */
struct receive_session *receive_find(const struct receive *r, const char *id, uint64_t generation);
/* Frees all its buffers, and `s`. */
void receive_close(struct receive *r, struct receive_session *s);
void receive_close_all(struct receive *r);
/* The holder is done with `n` buffers. True when data may go on. */
bool receive_release(struct receive *r, struct receive_session *s, uint32_t n);

/* A piece of data begins: which sessions is it for? Returns how many; 0: it is for nobody. */
size_t receive_begin(struct receive *r, const char *target, size_t target_len, const char *initiator,
                     size_t initiator_len, size_t len);
/* Hand out what goes now of the piece of `len` bytes at `bytes`. True when every session has all of it. */
bool receive_deliver(struct receive *r, const uint8_t *bytes, size_t len);
/* The piece under way ends here. */
void receive_abandon(struct receive *r);
