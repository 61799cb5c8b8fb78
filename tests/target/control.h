/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs over a Unix socket: one a line; the answer is lines of text, the last of them "ok" or "error: why".
 *
 * At most CONTROL_MAX_CLIENTS; one more is closed at once. The socket is the owner's alone. */
#pragma once

#include <uv.h>

#include "tests/target/server.h"

#define CONTROL_MAX_CLIENTS 16

struct control_client;

struct control {
    struct server *server;
    uv_pipe_t listener;
    struct control_client *clients;
    size_t n_clients;
    char path[256];
    bool open;
};

/* Returns 0 or a negative errno. A socket file that nobody listens on is replaced. */
int control_open(struct control *c, struct server *server, const char *path);
/* Closes without telling when: the loop runs until it is done. Harmless when never opened. */
void control_close(struct control *c);

/* The other side: send one line, copy the answer to standard output. Returns the exit status: 0, 1 (error), 2 (nobody
 * there). */
int control_tell(const char *path, const char *line);
