/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at tgtd through its management socket, over and over: one connection, one question, one answer each time.
 *
 * tgtd announces nothing, so what came and went between two looks is not seen. It answers one at a time and from its
 * own loop; a look costs it about 0.3 ms. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "agent/target/snapshot.h"
#include "agent/target/tgtd_text.h"

#define TGTD_PATH_BYTES 108 /* sun_path */

enum tgtd_state { TGTD_RESTING, TGTD_ASKING, TGTD_ENDING, TGTD_STOPPING };

struct tgtd {
    const struct snapshot_ops *ops;
    void *data;
    char path[TGTD_PATH_BYTES];
    uint32_t poll_ms;
    enum tgtd_state state;
    bool gone;         /* of what is to be told when the pipe is closed */
    char failure[160]; /* likewise; "" = an answer */
    int n_open;        /* handles that are not closed yet */
    uv_timer_t timer;  /* RESTING: the next look; ASKING: the answer is late */
    uv_pipe_t pipe;
    uv_connect_t connect;
    uv_write_t write;
    uint8_t request[TGTD_REQUEST_BYTES], header[TGTD_HEADER_BYTES];
    size_t n_header;
    char *text; /* malloc'd when its length is known */
    size_t n_text, text_len;
    void (*on_stopped)(void *data);
    void *on_stopped_data;
};

/* "auto" becomes the socket that TGT_IPC_SOCKET names, or tgtd's own place. Returns 0, or UV_ENAMETOOLONG. */
int tgtd_find_socket(const char *given, char out[TGTD_PATH_BYTES]);
/* The first look is at once. `path` is copied. Returns 0 or UV_ENAMETOOLONG; then nothing stays. */
int tgtd_start(struct tgtd *t, uv_loop_t *loop, const char *path, uint32_t poll_ms, const struct snapshot_ops *ops,
               void *data);
/* `cb` runs from the loop; nothing else is told any more. */
void tgtd_stop(struct tgtd *t, void (*cb)(void *data), void *data);
