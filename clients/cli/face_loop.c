/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/face_loop.h"

#include <errno.h>
#include <poll.h>

#include "clients/cli/cli.h"
#include "clients/cli/face.h"

#define READER_CHECK_MS 1000

void face_loop_stop(struct face_loop *l, int code)
{
    if (l->code < 0)
        l->code = code;
    uv_stop(&l->loop);
}

static void flush(struct face_loop *l)
{
    int rc = l->flush(l->data);
    if (rc == UV_EPIPE) {
        face_loop_stop(l, EXIT_OK);
    } else if (rc < 0) {
        cli_error(l->face->cli, "cannot write the output: %s", uv_strerror(rc));
        face_loop_stop(l, EXIT_FAILED);
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct face_loop *l = poll->data;
    int n = sb_dispatch(l->face->sb, 0);
    int error = errno;
    flush(l);
    if (n >= 0 || l->code >= 0 || error == EINTR)
        return;
    errno = error;
    face_loop_stop(l, face_failed(l->face, "waiting"));
}

/* A pipe whose reader went away is noticed although nothing is written. */
static void on_reader_check(uv_timer_t *timer)
{
    struct face_loop *l = timer->data;
    struct pollfd out = {.fd = l->face->cli->out.fd};
    if (poll(&out, 1, 0) > 0 && (out.revents & POLLERR))
        face_loop_stop(l, EXIT_OK);
}

static void on_interrupt(void *data)
{
    face_loop_stop(data, EXIT_INTERRUPTED);
}

static int begin(struct face_loop *l)
{
    int rc = uv_poll_init(&l->loop, &l->poll, sb_fd(l->face->sb));
    if (rc < 0)
        return rc;
    l->poll.data = l;
    uv_timer_init(&l->loop, &l->reader_check);
    l->reader_check.data = l;
    rc = interrupt_start(&l->interrupt, &l->loop, on_interrupt, l);
    if (rc == 0) {
        uv_poll_start(&l->poll, UV_READABLE, on_readable);
        uv_timer_start(&l->reader_check, on_reader_check, READER_CHECK_MS, READER_CHECK_MS);
        uv_run(&l->loop, UV_RUN_DEFAULT);
        interrupt_stop(&l->interrupt);
    }
    uv_close((uv_handle_t *)&l->poll, NULL);
    uv_close((uv_handle_t *)&l->reader_check, NULL);
    return rc;
}

int face_loop_run(struct face_loop *l, struct face *face, int (*flush_cb)(void *data), void *data)
{
    l->face = face;
    l->flush = flush_cb;
    l->data = data;
    flush(l); /* what came while this was prepared */
    if (l->code >= 0)
        return l->code;
    int rc = uv_loop_init(&l->loop);
    if (rc == 0) {
        rc = begin(l);
        uv_run(&l->loop, UV_RUN_DEFAULT);
        uv_loop_close(&l->loop);
    }
    if (rc == 0)
        return l->code;
    cli_error(face->cli, "cannot wait: %s", uv_strerror(rc));
    return EXIT_FAILED;
}
