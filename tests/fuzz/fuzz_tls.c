/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a peer into TLS, server or client side, without sockets.
 *
 * The first byte of the input: bit 0 = we are the client; bits 1 and 2 = what the rest is: 0 = the peer's first bytes;
 * 1 = bytes behind an honest handshake; 2 = damage to an honest handshake, three bytes each: where in what the peer
 * says (16 bit), and which bits; the rest = length of the pieces that arrive (0 = all at once). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/certificates.h"

enum { AS_CLIENT = 1, KIND_SHIFT = 1, KIND_MASK = 3, PIECE_SHIFT = 3, FIRST_BYTES = 0, BEHIND = 1, DAMAGE = 2 };

static void require(bool what)
{
    if (!what)
        abort();
}

/* ------------------------------------------------------------------------------------------------ ends */

struct end {
    struct tls *tls;
    uint8_t wire[65536];
    size_t n_wire;
    size_t n_said; /* bytes of the wire that went before */
};

static struct tls_context *accepts, *connects;
static struct end ours, peer;

static void on_plain(void *data, const uint8_t *bytes, size_t len)
{
    struct end *e = data;
    require(tls_state(e->tls) == TLS_OPEN && tls_peer_name(e->tls, 0) && len > 0 && len <= TLS_RECORD_BYTES);
    for (size_t i = 0; i < len; i++)
        require(bytes[i] == 'x');
}

static void on_wire(void *data, const uint8_t *bytes, size_t len)
{
    struct end *e = data;
    require(len <= sizeof e->wire - e->n_wire);
    memcpy(e->wire + e->n_wire, bytes, len);
    e->n_wire += len;
}

static const struct tls_ops ops = {on_plain, on_wire};

static void feed(struct end *e, const uint8_t *bytes, size_t len, size_t piece)
{
    for (size_t at = 0; at < len; at += piece)
        tls_step(e->tls, bytes + at, len - at < piece ? len - at : piece, &ops, e);
}

/* What the peer says, damaged where the input says so, comes to us. */
static void hear(const uint8_t *damage, size_t n_damage, size_t piece)
{
    for (size_t i = 0; i + 3 <= n_damage; i += 3) {
        size_t at = (size_t)damage[i] << 8 | damage[i + 1];
        if (at >= peer.n_said && at - peer.n_said < peer.n_wire)
            peer.wire[at - peer.n_said] ^= damage[i + 2];
    }
    peer.n_said += peer.n_wire;
    size_t n = peer.n_wire;
    peer.n_wire = 0;
    feed(&ours, peer.wire, n, piece);
}

static void shake_hands(const uint8_t *damage, size_t n_damage, size_t piece)
{
    tls_step(ours.tls, NULL, 0, &ops, &ours);
    tls_step(peer.tls, NULL, 0, &ops, &peer);
    while (ours.n_wire || peer.n_wire) {
        size_t n = ours.n_wire;
        ours.n_wire = 0;
        feed(&peer, ours.wire, n, SIZE_MAX / 2);
        hear(damage, n_damage, piece);
    }
}

static void set_up(void)
{
    static struct certificates certificates;
    struct tls_subject broker = certificates_server();
    struct tls_subject reader = certificates_subject("r1", "sensebus://reader/r1");
    certificates_init(&certificates);
    accepts = certificates_context(&certificates, true, &certificates.ours, &broker);
    connects = certificates_context(&certificates, false, &certificates.ours, &reader);
    certificates_deinit(&certificates);
}

/* ------------------------------------------------------------------------------------------------ one input */

static void check_end(const struct end *e)
{
    enum tls_state state = tls_state(e->tls);
    require((state == TLS_FAILED) == (tls_problem(e->tls)[0] != '\0'));
    for (const char *c = tls_problem(e->tls); *c; c++)
        require(*c >= ' ' && *c < 0x7f);
    require(state != TLS_OPEN || tls_peer_name(e->tls, 0));
}

static void run(unsigned kind, const uint8_t *bytes, size_t len, size_t piece)
{
    if (kind == FIRST_BYTES) {
        tls_step(ours.tls, NULL, 0, &ops, &ours);
        feed(&ours, bytes, len, piece);
        require(tls_state(ours.tls) != TLS_OPEN);
    } else if (kind == BEHIND) {
        shake_hands(NULL, 0, piece);
        require(tls_state(ours.tls) == TLS_OPEN && tls_state(peer.tls) == TLS_OPEN);
        feed(&ours, bytes, len, piece);
    } else {
        shake_hands(bytes, len, piece);
        if (tls_state(peer.tls) == TLS_OPEN && tls_write(peer.tls, (const uint8_t *)"xxx", 3, &ops, &peer) == 0)
            hear(bytes, len, piece);
        tls_shutdown(peer.tls, &ops, &peer);
        hear(bytes, len, piece);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 20000)
        return 0;
    if (!accepts)
        set_up();
    bool as_client = data[0] & AS_CLIENT;
    unsigned piece = data[0] >> PIECE_SHIFT;
    ours.n_wire = ours.n_said = peer.n_wire = peer.n_said = 0;
    require(tls_new(as_client ? connects : accepts, as_client ? "localhost" : NULL, &ours.tls) == 0);
    require(tls_new(as_client ? accepts : connects, as_client ? NULL : "localhost", &peer.tls) == 0);
    run(data[0] >> KIND_SHIFT & KIND_MASK, data + 1, size - 1, piece ? piece : SIZE_MAX / 2);
    check_end(&ours);
    tls_free(ours.tls);
    tls_free(peer.tls);
    return 0;
}
