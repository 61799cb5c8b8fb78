/* SPDX-License-Identifier: Apache-2.0 */
/* The story: dial; read into the buffer; take messages from its head while they can be done; when one cannot, stop
 * reading and wait for feed_continue(). DONE is told as one number, at most one write under way. Any failure closes the
 * pipe, is told, and a dial follows after the back-off. */
#include "agent/target/feed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEADY_MS 5000 /* up for so long: the next dials begin with short delays again */

static void dial(uv_timer_t *timer);
static void go_on(struct feed *f);

/* ------------------------------------------------------------------------------------------------ end */

static void one_closed(struct feed *f)
{
    if (--f->n_open > 0 || !f->on_stopped)
        return;
    free(f->buffer);
    f->buffer = NULL;
    f->on_stopped(f->on_stopped_data);
}

static uint32_t random_bits(void)
{
    uint32_t bits = 0;

    uv_random(NULL, NULL, &bits, sizeof bits, 0, NULL); /* without, all agents' jitter is the same */
    return bits;
}

static void on_pipe_closed(uv_handle_t *handle)
{
    struct feed *f = handle->data;

    if (f->state == FEED_CLOSING) {
        f->state = FEED_RESTING;
        uv_timer_start(&f->timer, dial, backoff_next(&f->backoff, random_bits()), 0);
        f->ops->on_down(f->data, f->gone, f->failure);
    }
    one_closed(f);
}

static void end(struct feed *f, bool gone, const char *failure)
{
    if (f->state != FEED_CONNECTING && f->state != FEED_UP)
        return;
    if (f->serves && uv_now(f->timer.loop) - f->serves_since_ms >= STEADY_MS)
        backoff_reset(&f->backoff);
    f->state = FEED_CLOSING;
    f->gone = gone;
    snprintf(f->failure, sizeof f->failure, "%s", failure);
    uv_timer_stop(&f->turn);
    uv_close((uv_handle_t *)&f->pipe, on_pipe_closed);
}

static void end_errno(struct feed *f, const char *what, int rc)
{
    char text[160];

    snprintf(text, sizeof text, "%s: %s", what, uv_strerror(rc));
    end(f, rc == UV_ECONNREFUSED || rc == UV_ENOENT || rc == UV_EOF, text);
}

/* ------------------------------------------------------------------------------------------------ done */

static void tell_done(struct feed *f);

static void on_written(uv_write_t *write, int status)
{
    struct feed *f = write->data;

    f->writing = false;
    if (status < 0)
        end_errno(f, "write", status);
    else if (f->state == FEED_UP)
        tell_done(f);
}

static void tell_done(struct feed *f)
{
    uv_buf_t buf = uv_buf_init((char *)f->done_message, sizeof f->done_message);
    int rc;

    if (f->writing || f->n_done == f->n_done_told)
        return;
    feed_done_write(f->done_message, f->n_done);
    rc = uv_write(&f->write, (uv_stream_t *)&f->pipe, &buf, 1, on_written);
    if (rc < 0) {
        end_errno(f, "write", rc);
        return;
    }
    f->writing = true;
    f->n_done_told = f->n_done;
}

/* ------------------------------------------------------------------------------------------------ messages */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct feed *f = handle->data;

    (void)suggested;
    if (f->head > 0) {
        memmove(f->buffer, f->buffer + f->head, f->n);
        f->head = 0;
    }
    *buf = uv_buf_init((char *)f->buffer + f->n, (unsigned)(FEED_BUFFER_BYTES - f->n));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct feed *f = stream->data;

    (void)buf;
    if (n < 0) {
        end_errno(f, "read", (int)n);
        return;
    }
    f->n += (size_t)n;
    go_on(f);
}

static void set_reading(struct feed *f, bool on)
{
    if (on == f->reading)
        return;
    f->reading = on;
    if (on)
        uv_read_start((uv_stream_t *)&f->pipe, on_alloc, on_read);
    else
        uv_read_stop((uv_stream_t *)&f->pipe);
}

/* One message; false when it must wait. */
static bool take(struct feed *f, const struct feed_message *m)
{
    bool first = !f->held;

    if (m->kind == FEED_SERVES) {
        if (!f->serves)
            f->serves_since_ms = uv_now(f->timer.loop);
        f->serves = true;
        f->ops->on_serves(f->data, m);
    } else if (m->kind == FEED_DATA) {
        f->held = !f->ops->on_data(f->data, m, first);
        f->n_done += !f->held;
    }
    return !f->held;
}

static void go_on(struct feed *f)
{
    enum feed_result result = FEED_COMPLETE;
    struct feed_message message;
    const char *fault = NULL;

    while (f->state == FEED_UP &&
           (result = feed_message_read(f->buffer + f->head, f->n, &message, &fault)) == FEED_COMPLETE) {
        if (message.kind != FEED_SERVES && !f->serves) {
            end(f, false, "the first message is not SERVES");
            return;
        }
        if (!take(f, &message))
            break;
        f->head += message.n_bytes;
        f->n -= message.n_bytes;
    }
    if (f->state != FEED_UP)
        return;
    if (result == FEED_MALFORMED) {
        end(f, false, fault);
        return;
    }
    set_reading(f, !f->held);
    tell_done(f);
}

static void on_turn(uv_timer_t *timer)
{
    go_on(timer->data);
}

void feed_continue(struct feed *f)
{
    if (f->state == FEED_UP && f->held)
        uv_timer_start(&f->turn, on_turn, 0, 0);
}

/* ------------------------------------------------------------------------------------------------ connection */

static void on_connected(uv_connect_t *connect, int status)
{
    struct feed *f = connect->data;

    if (f->state != FEED_CONNECTING)
        return;
    if (status < 0) {
        end_errno(f, f->path, status);
        return;
    }
    f->state = FEED_UP;
    set_reading(f, true);
}

static void dial(uv_timer_t *timer)
{
    struct feed *f = timer->data;

    f->state = FEED_CONNECTING;
    f->serves = f->reading = f->held = f->writing = false;
    f->n_done = f->n_done_told = 0;
    f->head = f->n = 0;
    uv_pipe_init(timer->loop, &f->pipe, 0);
    f->pipe.data = f->connect.data = f->write.data = f;
    f->n_open++;
    uv_pipe_connect(&f->connect, &f->pipe, f->path, on_connected);
}

/* ------------------------------------------------------------------------------------------------ life */

static void on_timer_closed(uv_handle_t *handle)
{
    one_closed(handle->data);
}

int feed_start(struct feed *f, uv_loop_t *loop, const char *path, const struct feed_ops *ops, void *data)
{
    memset(f, 0, sizeof *f);
    if (strlen(path) >= sizeof f->path)
        return UV_ENAMETOOLONG;
    f->buffer = malloc(FEED_BUFFER_BYTES);
    if (!f->buffer)
        return UV_ENOMEM;
    snprintf(f->path, sizeof f->path, "%s", path);
    f->ops = ops;
    f->data = data;
    f->backoff = (struct backoff){.min_ms = 100, .max_ms = 10000};
    uv_timer_init(loop, &f->timer);
    uv_timer_init(loop, &f->turn);
    f->timer.data = f->turn.data = f;
    f->n_open = 2;
    uv_timer_start(&f->timer, dial, 0, 0);
    return 0;
}

void feed_stop(struct feed *f, void (*cb)(void *data), void *data)
{
    bool connected = f->state == FEED_CONNECTING || f->state == FEED_UP;

    f->state = FEED_STOPPING;
    f->on_stopped = cb;
    f->on_stopped_data = data;
    if (connected)
        uv_close((uv_handle_t *)&f->pipe, on_pipe_closed);
    uv_close((uv_handle_t *)&f->timer, on_timer_closed);
    uv_close((uv_handle_t *)&f->turn, on_timer_closed);
}
