/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/agent/target/unix_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct sending {
    uv_write_t write;
    uint8_t bytes[];
};

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "unix_server: %s\n", what);
    abort();
}

static void on_hung_up(uv_handle_t *handle)
{
    struct unix_server *s = handle->data;

    s->connected = false;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static char bytes[1024];

    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(bytes, sizeof bytes);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct unix_server *s = stream->data;

    if (n < 0) {
        unix_server_hang_up(s);
        return;
    }
    must(s->n_received + (size_t)n <= sizeof s->received, "received too much");
    memcpy(s->received + s->n_received, buf->base, (size_t)n);
    s->n_received += (size_t)n;
    if (s->on_received)
        s->on_received(s);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct unix_server *s = listener->data;

    must(status == 0 && !s->connected, "a second connection at once");
    uv_pipe_init(listener->loop, &s->connection, 0);
    s->connection.data = s;
    must(uv_accept(listener, (uv_stream_t *)&s->connection) == 0, "accept");
    uv_read_start((uv_stream_t *)&s->connection, on_alloc, on_read);
    s->connected = true;
    s->n_received = 0;
    s->n_connections++;
    if (s->on_connected)
        s->on_connected(s);
}

void unix_server_start(struct unix_server *s, uv_loop_t *loop)
{
    if (!s->directory[0]) {
        strcpy(s->directory, "/tmp/sensebus-unix-XXXXXX");
        must(mkdtemp(s->directory), "mkdtemp");
        snprintf(s->path, sizeof s->path, "%s/socket", s->directory);
    }
    uv_pipe_init(loop, &s->listener, 0);
    s->listener.data = s;
    must(uv_pipe_bind(&s->listener, s->path) == 0, "bind");
    must(uv_listen((uv_stream_t *)&s->listener, 4, on_connection) == 0, "listen");
    s->listening = true;
}

static void on_sent(uv_write_t *write, int status)
{
    (void)status;
    free(write->data);
}

void unix_server_send(struct unix_server *s, const void *bytes, size_t len)
{
    struct sending *sending = malloc(sizeof *sending + len);
    uv_buf_t buf;

    must(sending && s->connected, "send");
    memcpy(sending->bytes, bytes, len);
    sending->write.data = sending;
    buf = uv_buf_init((char *)sending->bytes, (unsigned)len);
    must(uv_write(&sending->write, (uv_stream_t *)&s->connection, &buf, 1, on_sent) == 0, "write");
}

void unix_server_hang_up(struct unix_server *s)
{
    if (s->connected && !uv_is_closing((uv_handle_t *)&s->connection))
        uv_close((uv_handle_t *)&s->connection, on_hung_up);
}

void unix_server_stop(struct unix_server *s)
{
    unix_server_hang_up(s);
    if (s->listening)
        uv_close((uv_handle_t *)&s->listener, NULL);
    s->listening = false;
    unlink(s->path);
    rmdir(s->directory);
}
