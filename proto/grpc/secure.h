/* SPDX-License-Identifier: Apache-2.0 */
/* TLS between a transport and its socket; and what is said when one side speaks TLS and the other does not. A client
 * that speaks plaintext to a TLS port gets an alert, which ours understands. (Stock ones then wait before they try
 * again. To SETTINGS and a GOAWAY with words they would come back at once, thousands of times a second.)
 *
 * The records of a turn are gathered in an arena on the stack before they are sent, so a connection has no buffer of
 * its own for what it writes; only what the socket does not take at once is copied. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct outbox;
struct transport;

/* The peer's very first bytes: false when it speaks TLS and this transport does not. `problem` of the transport then
 * says so. */
bool secure_fits(struct transport *t, const uint8_t *bytes);
/* Client side: say hello. 0 or a negative error. */
int secure_begin(struct transport *t);
/* Bytes came: on_secured, on_bytes and on_end as they follow from them. */
void secure_receive(struct transport *t, const uint8_t *bytes, size_t len);
/* transport_write for TLS. */
int secure_write(struct transport *t, const struct outbox *box);
/* Say that nothing follows. */
void secure_shutdown(struct transport *t);
