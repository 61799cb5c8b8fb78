/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/iscsi/tap.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TAP_READ_BYTES   65536
#define TAP_READS_A_TURN 4

/* Bytes a side was too slow to take. */
struct tap_backlog {
    uint8_t *bytes;
    size_t start, len, cap;
};

/* One end: the target's TCP connection or libiscsi's socket pair. */
struct tap_side {
    struct tap *tap;
    int fd;
    uv_poll_t poll;
    int events;
    struct framer framer; /* of what this end sends */
    struct tap_backlog backlog;
};

struct tap {
    struct tap_side target, initiator;
    struct inspector inspector;
    const struct tap_ops *ops;
    void *data;
    uint64_t heard_ms;
    bool ended, closing;
    unsigned n_handles;
};

/* ---- backlog ---- */

static int backlog_add(struct tap_backlog *b, const uint8_t *bytes, size_t len)
{
    if (b->start > 0) {
        memmove(b->bytes, b->bytes + b->start, b->len);
        b->start = 0;
    }
    if (b->len + len > b->cap) {
        size_t cap = b->len + len + 4096;
        uint8_t *grown = realloc(b->bytes, cap);

        if (!grown)
            return UV_ENOMEM;
        b->bytes = grown;
        b->cap = cap;
    }
    memcpy(b->bytes + b->len, bytes, len);
    b->len += len;
    return 0;
}

/* Send what the side takes now. */
static int side_flush(struct tap_side *side)
{
    struct tap_backlog *b = &side->backlog;

    while (b->len > 0) {
        ssize_t n = send(side->fd, b->bytes + b->start, b->len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : -errno;
        b->start += (size_t)n;
        b->len -= (size_t)n;
    }
    b->start = 0;
    if (b->cap > TAP_READ_BYTES) {
        free(b->bytes);
        *b = (struct tap_backlog){0};
    }
    return 0;
}

/* ---- ending ---- */

static void side_stop(struct tap_side *side)
{
    uv_poll_stop(&side->poll);
    side->events = 0;
}

static void tap_end(struct tap *t, enum tap_end end, int error, const char *text)
{
    if (t->ended || t->closing)
        return;
    t->ended = true;
    side_flush(&t->initiator);
    side_stop(&t->target);
    side_stop(&t->initiator);
    t->ops->on_end(t->data, end, error, text);
}

/* ---- relaying ---- */

static void on_ready(uv_poll_t *handle, int status, int events);

/* Read a side only while both backlogs are short: an answer that libiscsi makes by itself (to a ping) goes back to
 * where the PDU came from. */
static void tap_rearm(struct tap *t)
{
    struct tap_side *sides[] = {&t->target, &t->initiator};
    bool target_full = t->target.backlog.len >= TAP_FULL_BYTES;
    bool initiator_full = t->initiator.backlog.len >= TAP_FULL_BYTES;

    if (t->ended || t->closing)
        return;
    for (size_t i = 0; i < 2; i++) {
        struct tap_side *side = sides[i];
        bool may_read = side == &t->target ? !target_full && !initiator_full : !target_full;
        int events = (may_read ? UV_READABLE : 0) | (side->backlog.len > 0 ? UV_WRITABLE : 0);

        if (events == side->events)
            continue;
        side->events = events;
        if (events)
            uv_poll_start(&side->poll, events, on_ready);
        else
            uv_poll_stop(&side->poll);
    }
}

/* After the login response that ends login, both directions have the digests it settled. */
static void tap_follow_login(struct tap *t)
{
    struct inspector *in = &t->inspector;

    if (!in->full_feature)
        return;
    t->target.framer.header_digest = t->initiator.framer.header_digest = in->header_digest;
    t->target.framer.data_digest = t->initiator.framer.data_digest = in->data_digest;
}

static const char *framer_complaint(enum framer_result result)
{
    switch (result) {
    case FRAMER_TOO_LONG: return "data segment longer than announced limit";
    case FRAMER_BAD_DIGEST: return "digest wrong";
    default: return "out of memory";
    }
}

static void tap_relay(struct tap *t, struct tap_side *from, const uint8_t *bytes, size_t len)
{
    struct tap_side *to = from == &t->target ? &t->initiator : &t->target;
    struct framer_pdu pdu;
    enum framer_result result;

    while ((result = framer_next(&from->framer, &bytes, &len, &pdu)) == FRAMER_PDU) {
        enum inspector_verdict verdict = from == &t->target ? inspector_from_target(&t->inspector, &pdu)
                                                            : inspector_from_initiator(&t->inspector, &pdu);

        if (t->ended || t->closing)
            return;
        if (verdict == INSPECTOR_REFUSE) {
            tap_end(t, TAP_PROTOCOL, 0, t->inspector.error);
            return;
        }
        tap_follow_login(t);
        if (verdict == INSPECTOR_FORWARD && backlog_add(&to->backlog, pdu.bytes, pdu.len) < 0) {
            tap_end(t, TAP_PROTOCOL, UV_ENOMEM, "out of memory");
            return;
        }
    }
    if (result != FRAMER_MORE)
        tap_end(t, TAP_PROTOCOL, result == FRAMER_OUT_OF_MEMORY ? UV_ENOMEM : 0, framer_complaint(result));
}

static void side_over(struct tap_side *side, int error)
{
    struct tap *t = side->tap;

    if (side == &t->initiator)
        tap_end(t, TAP_PROTOCOL, error, "libiscsi dropped the connection");
    else if (error == 0)
        tap_end(t, TAP_CLOSED, 0, "the target closed the connection");
    else
        tap_end(t, TAP_RESET, error, uv_strerror(error));
}

static void side_read(struct tap_side *side)
{
    struct tap *t = side->tap;
    uint8_t bytes[TAP_READ_BYTES];

    for (int i = 0; i < TAP_READS_A_TURN && !t->ended && !t->closing; i++) {
        ssize_t n = recv(side->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            side_over(side, n < 0 ? -errno : 0);
            return;
        }
        if (side == &t->target)
            t->heard_ms = uv_now(side->poll.loop);
        tap_relay(t, side, bytes, (size_t)n);
        if ((size_t)n < sizeof(bytes))
            return;
    }
}

static void on_ready(uv_poll_t *handle, int status, int events)
{
    struct tap_side *side = handle->data;
    struct tap *t = side->tap;
    int rc;

    if (t->ended || t->closing)
        return;
    if (status < 0 || (events & UV_READABLE))
        side_read(side);
    if (t->ended || t->closing)
        return;
    if ((rc = side_flush(&t->target)) < 0)
        side_over(&t->target, rc);
    else if ((rc = side_flush(&t->initiator)) < 0)
        side_over(&t->initiator, rc);
    tap_rearm(t);
}

/* ---- life ---- */

static void on_closed(uv_handle_t *handle)
{
    struct tap *t = ((struct tap_side *)handle->data)->tap;

    assert(t->n_handles > 0);
    if (--t->n_handles == 0) {
        framer_deinit(&t->target.framer);
        framer_deinit(&t->initiator.framer);
        free(t->target.backlog.bytes);
        free(t->initiator.backlog.bytes);
        free(t);
    }
}

/* Polls stop now and the descriptors close now: their numbers may be used again at once. */
static void side_close(struct tap_side *side)
{
    side_stop(side);
    uv_close((uv_handle_t *)&side->poll, on_closed);
    close(side->fd);
    side->fd = -1;
}

void tap_close(struct tap *t)
{
    if (!t || t->closing)
        return;
    t->closing = true;
    side_close(&t->target);
    side_close(&t->initiator);
}

static int side_open(uv_loop_t *loop, struct tap *t, struct tap_side *side, int fd)
{
    int rc = uv_poll_init(loop, &side->poll, fd);

    if (rc < 0)
        return rc;
    side->tap = t;
    side->fd = fd;
    side->poll.data = side;
    framer_init(&side->framer, TAP_MAX_DATA_BYTES);
    t->n_handles++;
    return 0;
}

static int tap_open(uv_loop_t *loop, struct tap *t, int target_fd, int initiator_fd)
{
    int rc = side_open(loop, t, &t->target, target_fd);

    if (rc < 0) {
        free(t);
        return rc;
    }
    rc = side_open(loop, t, &t->initiator, initiator_fd);
    if (rc < 0) {
        t->closing = true;
        uv_close((uv_handle_t *)&t->target.poll, on_closed);
        return rc;
    }
    return 0;
}

int tap_splice(uv_loop_t *loop, int fd, bool prove_target, const struct tap_ops *ops, void *data, struct tap **out_tap)
{
    struct tap *t = calloc(1, sizeof(*t));
    int pair[2] = {-1, -1};
    int target_fd = -1;
    int rc = UV_ENOMEM;

    if (!t)
        return rc;
    target_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (target_fd < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0) {
        rc = -errno;
        goto fail;
    }
    inspector_init(&t->inspector, prove_target, &ops->events, data);
    t->ops = ops;
    t->data = data;
    t->heard_ms = uv_now(loop);
    rc = tap_open(loop, t, target_fd, pair[1]);
    t = rc < 0 ? NULL : t;
    if (rc < 0)
        goto fail;
    if (dup3(pair[0], fd, O_CLOEXEC) < 0) {
        rc = -errno;
        close(pair[0]);
        tap_close(t);
        return rc;
    }
    close(pair[0]);
    tap_rearm(t);
    *out_tap = t;
    return 0;

fail:
    for (int i = 0; i < 2; i++)
        if (pair[i] >= 0)
            close(pair[i]);
    if (target_fd >= 0)
        close(target_fd);
    free(t);
    return rc;
}

uint64_t tap_heard_ms(const struct tap *t)
{
    return t->heard_ms;
}
