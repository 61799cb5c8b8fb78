/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/grpc/transport.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "proto/grpc/secure.h"
#include "runtime/tls.h"

/* Of records that answer the peer's while a write waits. */
enum { MAX_WAITING_BYTES = 1 << 20 };

int transport_init(struct transport *t, uv_loop_t *loop, enum address_kind kind, const struct transport_ops *ops)
{
    *t = (struct transport){.ops = ops, .identity = &peer_plaintext};
    return kind == ADDRESS_TCP ? uv_tcp_init(loop, &t->u.tcp) : uv_pipe_init(loop, &t->u.pipe, 0);
}

/* ------------------------------------------------------------------------------------------------ connecting */

static void name_tcp_peer(struct transport *t)
{
    struct sockaddr_storage sa;
    int len = sizeof sa;
    if (uv_tcp_getpeername(&t->u.tcp, (struct sockaddr *)&sa, &len) == 0)
        address_format((struct sockaddr *)&sa, t->peer, sizeof t->peer);
    else
        snprintf(t->peer, sizeof t->peer, "unknown");
    /* Small frames must not wait for acknowledgements; batching is done before the socket. */
    uv_tcp_nodelay(&t->u.tcp, 1);
}

/* A peer whose host or network is gone, while nothing is on the way to it: the kernel ends the connection after 40 s.
 * That costs no turn of the loop. A peer that only stands still, or owes an acknowledgement, is found by PING. */
static void watch_peer(struct transport *t)
{
    static const int interval_s = 5, n_probes = 4;
    uv_os_fd_t fd;

    if (uv_fileno(&t->u.handle, &fd) != 0)
        return;
    uv_tcp_keepalive(&t->u.tcp, 1, 20);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &n_probes, sizeof n_probes);
}

static int identify_unix_peer(struct transport *t)
{
    uv_os_fd_t fd;
    int rc = uv_fileno(&t->u.handle, &fd);
    return rc == 0 ? peer_identity_of_unix(fd, &t->identity) : rc;
}

int transport_accept(struct transport *t, uv_stream_t *listener, const char *local)
{
    int rc = uv_accept(listener, &t->u.stream);
    if (rc != 0)
        return rc;
    t->accepted = true;
    if (listener->type == UV_TCP) {
        name_tcp_peer(t);
        watch_peer(t);
        return 0;
    }
    snprintf(t->peer, sizeof t->peer, "%s", local);
    return identify_unix_peer(t);
}

static void on_connect(uv_connect_t *req, int status)
{
    struct transport *t = req->data;
    if (status == 0 && t->u.handle.type == UV_TCP)
        name_tcp_peer(t);
    else if (status == 0)
        status = identify_unix_peer(t);
    t->on_connected(t, status);
}

int transport_connect_tcp(struct transport *t, const struct sockaddr *sa, void (*cb)(struct transport *t, int error))
{
    t->connect.data = t;
    t->on_connected = cb;
    return uv_tcp_connect(&t->connect, &t->u.tcp, sa, on_connect);
}

void transport_connect_unix(struct transport *t, const char *path, void (*cb)(struct transport *t, int error))
{
    t->connect.data = t;
    t->on_connected = cb;
    snprintf(t->peer, sizeof t->peer, "unix:%s", path);
    uv_pipe_connect(&t->connect, &t->u.pipe, path, on_connect);
}

int transport_secure(struct transport *t, struct tls_context *context, const char *server_name)
{
    int rc = tls_new(context, server_name, &t->tls);
    if (rc == 0)
        t->blocked = true;
    return rc;
}

/* ------------------------------------------------------------------------------------------------ reading */

#define READ_BYTES ((size_t)256 * 1024)

/* libuv hands a buffer back before it asks for the next one, so that all connections of a thread share one, which is
 * there while any of them reads. It is not in the thread's own storage: that is cut from the stack of every thread of a
 * program that uses libsensebus. */
static _Thread_local struct {
    uint8_t *bytes;
    size_t n_readers;
} shared;

static int take_buffer(struct transport *t)
{
    if (!shared.bytes && !(shared.bytes = malloc(READ_BYTES)))
        return UV_ENOMEM;
    shared.n_readers++;
    t->has_buffer = true;
    return 0;
}

static void leave_buffer(struct transport *t)
{
    if (!t->has_buffer)
        return;
    assert(shared.n_readers > 0); /* a transport begins and ends on the thread of its loop */
    t->has_buffer = false;
    if (--shared.n_readers > 0)
        return;
    free(shared.bytes);
    shared.bytes = NULL;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out_buf)
{
    (void)handle;
    (void)suggested;
    *out_buf = uv_buf_init((char *)shared.bytes, READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct transport *t = (struct transport *)stream;
    const uint8_t *bytes = (const uint8_t *)buf->base;
    if (n < 0) {
        uv_read_stop(stream);
        t->problem = NULL; /* it was told, or will never know */
        t->ops->on_end(t, (int)n);
        return;
    }
    if (n == 0 || t->problem)
        return;
    if (!t->touched && !secure_fits(t, bytes))
        t->ops->on_end(t, UV_EPROTO);
    else if (t->tls)
        secure_receive(t, bytes, (size_t)n);
    else
        t->ops->on_bytes(t, bytes, (size_t)n);
    t->touched = true;
}

int transport_start(struct transport *t)
{
    int rc = take_buffer(t);
    if (rc == 0)
        rc = uv_read_start(&t->u.stream, on_alloc, on_read);
    if (rc == 0 && t->tls && !t->accepted)
        rc = secure_begin(t);
    return rc;
}

/* ------------------------------------------------------------------------------------------------ writing */

/* What the socket did not take: referenced pieces stay referenced, the others were copied behind the arrays. */
struct rest {
    uv_write_t req;
    struct transport *transport;
    unsigned n;
    uv_buf_t bufs[OUTBOX_PIECES];
    struct chunk *owners[OUTBOX_PIECES];
    uint8_t copies[];
};

static void rest_free(struct rest *r)
{
    for (unsigned i = 0; i < r->n; i++)
        chunk_unref(r->owners[i]);
    free(r);
}

void transport_unblock(struct transport *t)
{
    t->blocked = t->n_writing > 0 || (t->tls && !t->secured);
    if (!t->blocked)
        t->ops->on_unblocked(t);
}

static void on_written(uv_write_t *req, int status)
{
    struct rest *r = req->data;
    struct transport *t = r->transport;
    rest_free(r);
    t->n_writing--;
    if (status == UV_ECANCELED || uv_is_closing(&t->u.handle))
        return;
    if (status < 0)
        t->ops->on_end(t, status);
    else
        transport_unblock(t);
}

static int queue_rest(struct transport *t, struct rest *r)
{
    int rc = uv_write(&r->req, &t->u.stream, r->bufs, r->n, on_written);
    if (rc != 0) {
        rest_free(r);
        return rc;
    }
    t->n_writing++;
    t->blocked = true;
    return 0;
}

static int write_rest(struct transport *t, struct outbox *box, size_t written)
{
    struct rest *r = malloc(sizeof *r + box->arena_used);
    if (!r)
        return UV_ENOMEM;
    uint8_t *copy = r->copies;
    r->transport = t;
    r->req.data = r;
    r->n = 0;
    for (unsigned i = 0; i < box->n; i++) {
        uv_buf_t buf = box->bufs[i];
        if (written >= buf.len) {
            written -= buf.len;
            continue;
        }
        buf.base += written;
        buf.len -= written;
        written = 0;
        r->owners[r->n] = box->owners[i];
        if (box->owners[i]) {
            chunk_ref(box->owners[i]);
        } else {
            memcpy(copy, buf.base, buf.len);
            buf.base = (char *)copy;
            copy += buf.len;
        }
        r->bufs[r->n++] = buf;
    }
    return queue_rest(t, r);
}

int transport_send(struct transport *t, const uint8_t *bytes, size_t len)
{
    uv_buf_t buf = uv_buf_init((char *)bytes, (unsigned)len);
    int n = len > 0 ? uv_try_write(&t->u.stream, &buf, 1) : 0;
    if (n < 0 && n != UV_EAGAIN)
        return n;
    size_t written = n > 0 ? (size_t)n : 0;
    if (written == len)
        return 0;
    if (uv_stream_get_write_queue_size(&t->u.stream) > MAX_WAITING_BYTES)
        return UV_ENOBUFS;
    len -= written;
    struct rest *r = malloc(sizeof *r + len);
    if (!r)
        return UV_ENOMEM;
    memcpy(r->copies, bytes + written, len);
    r->transport = t;
    r->req.data = r;
    r->n = 1;
    r->owners[0] = NULL;
    r->bufs[0] = uv_buf_init((char *)r->copies, (unsigned)len);
    return queue_rest(t, r);
}

int transport_write(struct transport *t, struct outbox *box)
{
    assert(!t->blocked);
    if (box->n == 0)
        return 0;
    if (t->tls)
        return secure_write(t, box);
    int n = uv_try_write(&t->u.stream, box->bufs, box->n);
    if (n < 0 && n != UV_EAGAIN)
        return n;
    size_t written = n > 0 ? (size_t)n : 0;
    return written == box->n_bytes ? 0 : write_rest(t, box, written);
}

/* ------------------------------------------------------------------------------------------------ ending */

static void on_shutdown(uv_shutdown_t *req, int status)
{
    (void)req;
    (void)status;
}

void transport_shutdown(struct transport *t)
{
    if (t->is_shut)
        return;
    t->is_shut = true;
    if (t->tls)
        secure_shutdown(t);
    /* Fails only when the peer is gone already; then reading says so. */
    uv_shutdown(&t->shutdown, &t->u.stream, on_shutdown);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct transport *t = (struct transport *)handle;
    leave_buffer(t);
    peer_identity_free(t->identity);
    t->identity = &peer_plaintext;
    tls_free(t->tls);
    t->tls = NULL;
    t->on_closed(t);
}

void transport_close(struct transport *t, void (*cb)(struct transport *t))
{
    t->on_closed = cb;
    uv_close(&t->u.handle, on_handle_closed);
}
