/* SPDX-License-Identifier: Apache-2.0 */
/* A look, in order: connect, send the question, read the header, read the text, close, tell, rest. Any failure goes to
 * "close" with its reason. Telling is last, so that a look never begins before the one before has ended. */
#include "agent/target/tgtd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_SOCKET "/var/run/tgtd/socket.0"
#define ANSWER_MAX_MS  5000

static void begin(uv_timer_t *timer);
static void on_late(uv_timer_t *timer);

int tgtd_find_socket(const char *given, char out[TGTD_PATH_BYTES])
{
    const char *base = getenv("TGT_IPC_SOCKET");
    int n;

    if (strcmp(given, "auto") != 0)
        n = snprintf(out, TGTD_PATH_BYTES, "%s", given);
    else if (!base || !base[0])
        n = snprintf(out, TGTD_PATH_BYTES, DEFAULT_SOCKET);
    else /* tgtd puts its control port behind the name: 0 unless told otherwise */
        n = snprintf(out, TGTD_PATH_BYTES, access(base, F_OK) == 0 ? "%s" : "%s.0", base);
    return n < 0 || n >= TGTD_PATH_BYTES ? UV_ENAMETOOLONG : 0;
}

/* ------------------------------------------------------------------------------------------------ end of a look */

static void tell(struct tgtd *t)
{
    struct snapshot snapshot;
    int rc = 0;

    if (t->failure[0]) {
        t->ops->on_failed(t->data, t->gone, t->failure);
        return;
    }
    rc = tgtd_text_parse(t->text, t->n_text, &snapshot);
    if (rc < 0) {
        t->ops->on_failed(t->data, false, rc == UV_ENOMEM ? "out of memory" : "the answer is no list of targets");
        return;
    }
    t->ops->on_snapshot(t->data, &snapshot);
    snapshot_free(&snapshot);
}

static void one_closed(struct tgtd *t)
{
    if (--t->n_open == 0 && t->on_stopped)
        t->on_stopped(t->on_stopped_data);
}

static void on_pipe_closed(uv_handle_t *handle)
{
    struct tgtd *t = handle->data;

    if (t->state == TGTD_ENDING) {
        t->state = TGTD_RESTING;
        uv_timer_start(&t->timer, begin, t->poll_ms, 0);
        tell(t);
    }
    free(t->text);
    t->text = NULL;
    one_closed(t);
}

static void end(struct tgtd *t, bool gone, const char *failure)
{
    if (t->state != TGTD_ASKING)
        return;
    t->state = TGTD_ENDING;
    t->gone = gone;
    snprintf(t->failure, sizeof t->failure, "%s", failure);
    uv_timer_stop(&t->timer);
    uv_close((uv_handle_t *)&t->pipe, on_pipe_closed);
}

static void end_errno(struct tgtd *t, const char *what, int rc)
{
    char text[160];

    snprintf(text, sizeof text, "%s: %s", what, uv_strerror(rc));
    end(t, rc == UV_ECONNREFUSED || rc == UV_ENOENT, text);
}

/* ------------------------------------------------------------------------------------------------ a look */

/* Room for what comes next: the header, then the text. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct tgtd *t = handle->data;

    (void)suggested;
    if (t->n_header < sizeof t->header)
        *buf = uv_buf_init((char *)t->header + t->n_header, (unsigned)(sizeof t->header - t->n_header));
    else
        *buf = uv_buf_init(t->text + t->n_text, (unsigned)(t->text_len - t->n_text));
}

static void on_header(struct tgtd *t)
{
    uint32_t error;
    int len = tgtd_header_parse(t->header, &error);
    char text[64];

    if (len < 0) {
        end(t, false, "the answer has an impossible length");
    } else if (error) {
        snprintf(text, sizeof text, "it refuses with its error %u", error);
        end(t, false, text);
    } else if (len == 0) {
        end(t, false, "");
    } else {
        t->text_len = (size_t)len;
        t->text = malloc(t->text_len);
        if (!t->text)
            end(t, false, "out of memory");
    }
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct tgtd *t = stream->data;

    (void)buf;
    if (n < 0) {
        end_errno(t, "answer", (int)n);
    } else if (t->n_header < sizeof t->header) {
        t->n_header += (size_t)n;
        if (t->n_header == sizeof t->header)
            on_header(t);
    } else {
        t->n_text += (size_t)n;
        if (t->n_text == t->text_len)
            end(t, false, "");
    }
}

static void on_written(uv_write_t *write, int status)
{
    struct tgtd *t = write->data;

    if (status < 0)
        end_errno(t, "question", status);
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct tgtd *t = connect->data;
    uv_buf_t buf = uv_buf_init((char *)t->request, sizeof t->request);

    if (t->state != TGTD_ASKING)
        return;
    if (status < 0) {
        end_errno(t, t->path, status);
        return;
    }
    t->write.data = t;
    status = uv_write(&t->write, (uv_stream_t *)&t->pipe, &buf, 1, on_written);
    if (status == 0)
        status = uv_read_start((uv_stream_t *)&t->pipe, on_alloc, on_read);
    if (status < 0)
        end_errno(t, "question", status);
}

static void begin(uv_timer_t *timer)
{
    struct tgtd *t = timer->data;

    t->n_header = t->n_text = t->text_len = 0;
    t->state = TGTD_ASKING;
    uv_pipe_init(timer->loop, &t->pipe, 0);
    t->pipe.data = t;
    t->n_open++;
    t->connect.data = t;
    uv_timer_start(&t->timer, on_late, ANSWER_MAX_MS, 0);
    uv_pipe_connect(&t->connect, &t->pipe, t->path, on_connected);
}

static void on_late(uv_timer_t *timer)
{
    end(timer->data, false, "no answer within 5 s");
}

/* ------------------------------------------------------------------------------------------------ life */

static void on_timer_closed(uv_handle_t *handle)
{
    one_closed(handle->data);
}

int tgtd_start(struct tgtd *t, uv_loop_t *loop, const char *path, uint32_t poll_ms, const struct snapshot_ops *ops,
               void *data)
{
    memset(t, 0, sizeof *t);
    if (strlen(path) >= sizeof t->path)
        return UV_ENAMETOOLONG;
    snprintf(t->path, sizeof t->path, "%s", path);
    t->ops = ops;
    t->data = data;
    t->poll_ms = poll_ms;
    tgtd_request_show(t->request);
    uv_timer_init(loop, &t->timer);
    t->timer.data = t;
    t->n_open = 1;
    uv_timer_start(&t->timer, begin, 0, 0);
    return 0;
}

void tgtd_stop(struct tgtd *t, void (*cb)(void *data), void *data)
{
    bool asking = t->state == TGTD_ASKING;

    t->state = TGTD_STOPPING;
    t->on_stopped = cb;
    t->on_stopped_data = data;
    if (asking)
        uv_close((uv_handle_t *)&t->pipe, on_pipe_closed);
    uv_close((uv_handle_t *)&t->timer, on_timer_closed);
}
