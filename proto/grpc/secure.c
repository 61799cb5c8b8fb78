/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/grpc/secure.h"

#include <string.h>

#include "proto/grpc/outbox.h"
#include "proto/grpc/transport.h"
#include "runtime/tls.h"

/* ------------------------------------------------------------------------------------------------ the arena */

/* What one turn or one read makes: an outbox, the heads and tags of its records, and a handshake's messages. */
enum { ARENA_BYTES = 2 * OUTBOX_TURN_BYTES };

static _Thread_local struct {
    size_t n;
    bool full;
    uint8_t bytes[ARENA_BYTES];
} arena;

static void arena_clear(void)
{
    arena.n = 0;
    arena.full = false;
}

static void on_wire(void *data, const uint8_t *bytes, size_t len)
{
    (void)data;
    arena.full |= len > ARENA_BYTES - arena.n;
    if (arena.full)
        return;
    memcpy(arena.bytes + arena.n, bytes, len);
    arena.n += len;
}

static int arena_send(struct transport *t)
{
    return arena.full ? UV_ENOBUFS : transport_send(t, arena.bytes, arena.n);
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
    struct transport *t = data;
    if (!t->secured && t->error == 0)
        become_secured(t);
    if (t->error == 0)
        t->ops->on_bytes(t, bytes, len);
}

static const struct tls_ops tls_ops = {on_plain, on_wire};

int secure_begin(struct transport *t)
{
    arena_clear();
    tls_step(t->tls, NULL, 0, &tls_ops, t);
    return arena_send(t);
}

void secure_receive(struct transport *t, const uint8_t *bytes, size_t len)
{
    bool was_secured = t->secured;
    arena_clear();
    enum tls_state state = tls_step(t->tls, bytes, len, &tls_ops, t);
    if (state == TLS_OPEN && !t->secured && t->error == 0)
        become_secured(t);
    int rc = arena_send(t);
    if (t->error == 0)
        t->error = rc;
    if (state == TLS_FAILED)
        t->problem = tls_problem(t->tls);
    if (t->error != 0 || state == TLS_FAILED)
        t->ops->on_end(t, t->error != 0 ? t->error : UV_EPROTO);
    else if (state == TLS_CLOSED)
        t->ops->on_end(t, UV_EOF);
    else if (t->secured && !was_secured)
        transport_unblock(t);
}

/* ------------------------------------------------------------------------------------------------ writing */

struct records {
    struct transport *transport;
    int rc;
    size_t n; /* gathered for the next record */
    uint8_t bytes[TLS_RECORD_BYTES];
};

static void write_record(struct records *r, const uint8_t *bytes, size_t len)
{
    if (r->rc == 0)
        r->rc = tls_write(r->transport->tls, bytes, len, &tls_ops, r->transport);
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
    struct records r;
    r.transport = t;
    r.rc = 0;
    r.n = 0;
    arena_clear();
    for (unsigned i = 0; i < box->n; i++)
        add_piece(&r, (const uint8_t *)box->bufs[i].base, box->bufs[i].len);
    write_record(&r, r.bytes, r.n);
    return r.rc == 0 ? arena_send(t) : r.rc;
}

void secure_shutdown(struct transport *t)
{
    arena_clear();
    tls_shutdown(t->tls, &tls_ops, t);
    /* Fails only when the peer is gone already. */
    arena_send(t);
}

/* ------------------------------------------------------------------------------------------------ mismatches */

static const char PREFACE[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"; /* RFC 9113 section 3.4 */

/* For the client that speaks plaintext to a TLS port: SETTINGS, and GOAWAY with INADEQUATE_SECURITY and words, which
 * stock clients show. An alert of TLS would be noise to them. */
static const char REFUSAL_TEXT[] = "this port needs TLS";
static const uint8_t REFUSAL_HEAD[] = {
    0, 0,    0,
    4, 0,    0,
    0, 0,    0, /* SETTINGS, empty */
    0, 0,    8 + sizeof REFUSAL_TEXT - 1,
    7, 0,    0,
    0, 0,    0, /* GOAWAY */
    0, 0,    0,
    0, 0,    0,
    0, 0x0c, /* no stream was taken; INADEQUATE_SECURITY */
};

static bool is_tls(uint8_t first)
{
    enum { ALERT = 21, HANDSHAKE = 22 };
    return first == ALERT || first == HANDSHAKE;
}

static bool is_preface(const uint8_t *bytes, size_t len)
{
    return memcmp(bytes, PREFACE, len < sizeof PREFACE - 1 ? len : sizeof PREFACE - 1) == 0;
}

static void refuse_plaintext(struct transport *t)
{
    uint8_t words[sizeof REFUSAL_HEAD + sizeof REFUSAL_TEXT - 1];
    memcpy(words, REFUSAL_HEAD, sizeof REFUSAL_HEAD);
    memcpy(words + sizeof REFUSAL_HEAD, REFUSAL_TEXT, sizeof REFUSAL_TEXT - 1);
    t->problem = "the peer speaks HTTP/2 without TLS, and this port needs TLS";
    /* When it cannot be told it sees the end. */
    transport_send(t, words, sizeof words);
}

bool secure_fits(struct transport *t, const uint8_t *bytes, size_t len)
{
    if (t->tls && t->accepted && is_preface(bytes, len))
        refuse_plaintext(t);
    else if (!t->tls && is_tls(bytes[0]))
        t->problem =
            t->accepted ? "the peer speaks TLS, and this port does not" : "the peer speaks TLS here: use tls://";
    return !t->problem;
}
