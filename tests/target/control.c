/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/target/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "runtime/log.h"
#include "tests/target/runner.h"

struct control_client {
    struct control_client *next;
    struct control *control;
    uv_pipe_t pipe;
    struct runner runner;
    char line[VERB_MAX_BYTES];
    size_t len;
    bool closing;
    int n_open;
    uv_write_t write;
    char answer[ORDERS_REPLY_BYTES + 256];
};

/* ------------------------------------------------------------------------------------------------ clients */

static void on_handle_closed(struct control_client *client)
{
    struct control_client **at = &client->control->clients;

    if (--client->n_open > 0)
        return;
    while (*at != client)
        at = &(*at)->next;
    *at = client->next;
    client->control->n_clients--;
    free(client);
}

static void on_pipe_closed(uv_handle_t *handle)
{
    on_handle_closed(handle->data);
}

static void client_close(struct control_client *client)
{
    if (client->closing)
        return;
    client->closing = true;
    runner_close(&client->runner, on_pipe_closed);
    uv_close((uv_handle_t *)&client->pipe, on_pipe_closed);
}

static void client_next(struct control_client *client);

static void on_answered(uv_write_t *write, int status)
{
    struct control_client *client = write->data;

    if (status < 0)
        client_close(client);
    else if (!client->closing)
        client_next(client);
}

static void client_answer(struct control_client *client, bool ok, const char *text)
{
    const char *newline = text[0] && text[strlen(text) - 1] != '\n' ? "\n" : "";
    uv_buf_t buf;
    int n;

    if (ok)
        n = snprintf(client->answer, sizeof(client->answer), "%s%sok\n", text, newline);
    else
        n = snprintf(client->answer, sizeof(client->answer), "error: %s\n", text);
    buf = uv_buf_init(client->answer, (unsigned)n);
    if (uv_write(&client->write, (uv_stream_t *)&client->pipe, &buf, 1, on_answered) < 0)
        client_close(client);
}

static void on_done(struct runner *r, enum orders_result result)
{
    client_answer(r->data, result == ORDERS_DONE, r->answer.text);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct control_client *client = handle->data;

    (void)suggested;
    *buf = uv_buf_init(client->line + client->len, (unsigned)(sizeof(client->line) - 1 - client->len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct control_client *client = stream->data;

    (void)buf;
    if (n == 0)
        return;
    if (n < 0) { /* also UV_ENOBUFS: the line is full and has no end */
        client_close(client);
        return;
    }
    client->len += (size_t)n;
    uv_read_stop(stream);
    client_next(client);
}

/* Take the next whole line, or read on. */
static void client_next(struct control_client *client)
{
    char *end, line[VERB_MAX_BYTES], err[200];
    struct verb verb;
    size_t n;
    int rc = UV_ENOENT;

    while (rc == UV_ENOENT) {
        end = memchr(client->line, '\n', client->len);
        if (!end) {
            if (uv_read_start((uv_stream_t *)&client->pipe, on_alloc, on_read) < 0)
                client_close(client);
            return;
        }
        n = (size_t)(end - client->line);
        memcpy(line, client->line, n);
        line[n] = '\0';
        client->len -= n + 1;
        memmove(client->line, end + 1, client->len);
        rc = strlen(line) == n ? verb_parse(line, &verb, err, sizeof(err)) : UV_EINVAL;
        if (strlen(line) != n)
            snprintf(err, sizeof(err), "there is a NUL in the line");
    }
    if (rc < 0)
        client_answer(client, false, err);
    else
        runner_start(&client->runner, &verb, 0);
}

/* ------------------------------------------------------------------------------------------------ the socket */

static void on_connection(uv_stream_t *listener, int status)
{
    struct control *c = listener->data;
    struct control_client *client = status < 0 ? NULL : calloc(1, sizeof(*client));

    if (!client)
        return;
    client->control = c;
    client->next = c->clients;
    c->clients = client;
    c->n_clients++;
    uv_pipe_init(listener->loop, &client->pipe, 0);
    runner_init(&client->runner, c->server, on_done, client);
    client->pipe.data = client->write.data = client->runner.timer.data = client;
    client->n_open = 2;
    if (uv_accept(listener, (uv_stream_t *)&client->pipe) < 0 || c->n_clients > CONTROL_MAX_CLIENTS)
        client_close(client);
    else
        client_next(client);
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    strcpy(address.sun_path, path); /* fits: checked above */
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        int rc = -errno;

        close(fd);
        return rc;
    }
    return fd;
}

int control_open(struct control *c, struct server *server, const char *path)
{
    mode_t mask;
    int rc, fd = connect_to(path);

    *c = (struct control){.server = server};
    if (fd >= 0) {
        close(fd);
        return UV_EADDRINUSE;
    }
    if (fd == -ENAMETOOLONG || snprintf(c->path, sizeof(c->path), "%s", path) >= (int)sizeof(c->path))
        return UV_ENAMETOOLONG;
    if (fd == -ECONNREFUSED)
        unlink(path); /* left behind by one that was killed */
    uv_pipe_init(server->loop, &c->listener, 0);
    c->listener.data = c;
    c->open = true;
    mask = umask(0177);
    rc = uv_pipe_bind(&c->listener, path);
    umask(mask);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&c->listener, 4, on_connection);
    if (rc < 0)
        control_close(c);
    return rc;
}

void control_close(struct control *c)
{
    if (!c->open)
        return;
    c->open = false;
    uv_close((uv_handle_t *)&c->listener, NULL); /* removes the file */
    for (struct control_client *client = c->clients; client; client = client->next)
        client_close(client);
}

/* ------------------------------------------------------------------------------------------------ the other side */

/* Print lines until the last. Returns the exit status. */
static int print_answer(FILE *in)
{
    char line[ORDERS_REPLY_BYTES];

    while (fgets(line, sizeof(line), in)) {
        if (strcmp(line, "ok\n") == 0)
            return 0;
        if (strncmp(line, "error: ", 7) == 0) {
            fprintf(stderr, "sensebus-target: %s", line + 7);
            return 1;
        }
        fputs(line, stdout);
    }
    fprintf(stderr, "sensebus-target: the target ended without an answer\n");
    return 2;
}

int control_tell(const char *path, const char *line)
{
    int fd = connect_to(path), status;
    FILE *file;

    if (fd < 0) {
        fprintf(stderr, "sensebus-target: %s: %s\n", path, strerror(-fd));
        return 2;
    }
    file = fdopen(fd, "r+");
    if (!file) {
        close(fd);
        return 2;
    }
    if (fprintf(file, "%s\n", line) < 0 || fflush(file) != 0) {
        fprintf(stderr, "sensebus-target: %s: %s\n", path, strerror(errno));
        fclose(file);
        return 2;
    }
    status = print_answer(file);
    fclose(file);
    return status;
}
