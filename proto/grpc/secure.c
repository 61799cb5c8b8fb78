/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/grpc/secure.h"

#include <string.h>

#include "proto/grpc/outbox.h"
#include "proto/grpc/transport.h"
#include "runtime/tls.h"

/* ------------------------------------------------------------------------------------------------ arenas */

enum {
    /* What a turn makes: an outbox, with head and tag of each record. */
    WRITE_BYTES = OUTBOX_TURN_BYTES + 4 * TLS_RECORD_BYTES,
    /* What a read makes: the messages of a handshake, an alert. */
    READ_BYTES = 4 * TLS_RECORD_BYTES,
};

struct arena {
    struct transport *transport;
    uint8_t *bytes;
    size_t cap;
    size_t n;
    bool full;
};

static void on_wire(void *data, const uint8_t *bytes, size_t len)
{
    struct arena *arena = data;
    arena->full |= len > arena->cap - arena->n;
    if (arena->full)
        return;
    memcpy(arena->bytes + arena->n, bytes, len);
    arena->n += len;
}

static int arena_send(const struct arena *arena)
{
    return arena->full ? UV_ENOBUFS : transport_send(arena->transport, arena->bytes, arena->n);
}

/* ------------------------------------------------------------------------------------------------ reading */

/* The peer has proven who it is. */
static void become_secured(struct transport *t)
{
    t->error = peer_identity_of_tls(t->tls, &t->identity);
    if (t->error != 0)
        return;
    t->secured = true;
    t->ops->on_secured(t);
}

static void on_plain(void *data, const uint8_t *bytes, size_t len)
{
    struct transport *t = ((struct arena *)data)->transport;
    if (!t->secured && t->error == 0)
        become_secured(t);
    if (t->error == 0)
        t->ops->on_bytes(t, bytes, len);
}

static const struct tls_ops tls_ops = {on_plain, on_wire};

/* One step, and what it has to say goes out. */
static int step(struct transport *t, const uint8_t *bytes, size_t len)
{
    uint8_t memory[READ_BYTES];
    struct arena arena = {.transport = t, .bytes = memory, .cap = sizeof memory};
    tls_step(t->tls, bytes, len, &tls_ops, &arena);
    return arena_send(&arena);
}

int secure_begin(struct transport *t)
{
    return step(t, NULL, 0);
}

/* RFC 9113 section 3.4 */
static bool looks_like_http2(const uint8_t *bytes, size_t len)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    return memcmp(bytes, preface, len < sizeof preface - 1 ? len : sizeof preface - 1) == 0;
}

void secure_receive(struct transport *t, const uint8_t *bytes, size_t len)
{
    bool was_secured = t->secured;
    bool is_preface = !t->touched && looks_like_http2(bytes, len);
    int rc = step(t, bytes, len);
    enum tls_state state = tls_state(t->tls);
    if (state == TLS_OPEN && !t->secured && t->error == 0)
        become_secured(t);
    if (t->error == 0)
        t->error = rc;
    if (state == TLS_FAILED)
        t->problem = is_preface ? "the peer speaks HTTP/2 without TLS, and this port needs TLS" : tls_problem(t->tls);
    if (t->error != 0 || state == TLS_FAILED)
        t->ops->on_end(t, t->error != 0 ? t->error : UV_EPROTO);
    else if (state == TLS_CLOSED)
        t->ops->on_end(t, UV_EOF);
    else if (t->secured && !was_secured)
        transport_unblock(t);
}

/* ------------------------------------------------------------------------------------------------ writing */

struct records {
    struct arena *arena;
    int rc;
    size_t n; /* gathered for the next record */
    uint8_t bytes[TLS_RECORD_BYTES];
};

static void write_record(struct records *r, const uint8_t *bytes, size_t len)
{
    if (r->rc == 0)
        r->rc = tls_write(r->arena->transport->tls, bytes, len, &tls_ops, r->arena);
}

/* Pieces of frames become full records: each record costs a head and a tag. */
static void add_piece(struct records *r, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        if (r->n == 0 && len >= TLS_RECORD_BYTES) {
            write_record(r, bytes, TLS_RECORD_BYTES);
            bytes += TLS_RECORD_BYTES;
            len -= TLS_RECORD_BYTES;
            continue;
        }
        size_t n = TLS_RECORD_BYTES - r->n < len ? TLS_RECORD_BYTES - r->n : len;
        memcpy(r->bytes + r->n, bytes, n);
        r->n += n;
        bytes += n;
        len -= n;
        if (r->n == TLS_RECORD_BYTES) {
            write_record(r, r->bytes, r->n);
            r->n = 0;
        }
    }
}

int secure_write(struct transport *t, const struct outbox *box)
{
    uint8_t memory[WRITE_BYTES];
    struct arena arena = {.transport = t, .bytes = memory, .cap = sizeof memory};
    struct records r;
    r.arena = &arena;
    r.rc = 0;
    r.n = 0;
    for (unsigned i = 0; i < box->n; i++)
        add_piece(&r, (const uint8_t *)box->bufs[i].base, box->bufs[i].len);
    write_record(&r, r.bytes, r.n);
    return r.rc == 0 ? arena_send(&arena) : r.rc;
}

void secure_shutdown(struct transport *t)
{
    uint8_t memory[256];
    struct arena arena = {.transport = t, .bytes = memory, .cap = sizeof memory};
    tls_shutdown(t->tls, &tls_ops, &arena);
    /* Fails only when the peer is gone already. */
    arena_send(&arena);
}

/* ------------------------------------------------------------------------------------------------ mismatches */

static bool is_tls(uint8_t first)
{
    enum { ALERT = 21, HANDSHAKE = 22 };
    return first == ALERT || first == HANDSHAKE;
}

bool secure_fits(struct transport *t, const uint8_t *bytes)
{
    if (!t->tls && is_tls(bytes[0]))
        t->problem =
            t->accepted ? "the peer speaks TLS, and this port does not" : "the peer speaks TLS here: use tls://";
    return !t->problem;
}
