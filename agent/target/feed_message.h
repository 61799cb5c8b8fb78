/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of the data feed: how a target that runs in user space on this host hands over what remote initiators
 * wrote to it. The target listens on a Unix stream socket, the agent connects.
 *
 * A message is a length (four bytes, most significant first, of what follows: 1 to FEED_MAX_BODY), a kind (one byte),
 * and:
 *
 *   1 SERVES  target to agent  the names of all targets served now: each one byte of length (1 to 223) and the name.
 *                              The first message; again whenever they change.
 *   2 DATA    target to agent  target name and initiator name, each as above, then the data, up to FEED_MAX_DATA bytes.
 *   3 DONE    agent to target  eight bytes, most significant first: so many DATA messages of this connection are done,
 *                              handed over in full or for nobody. Counts up; not every number is sent.
 *
 * Other kinds are skipped. The agent reads no further while data waits for receive buffers: the target sees its socket
 * full, and DONE stand still; it should leave the initiator's command unanswered until the data is DONE. After a lost
 * connection the target sends again what was not DONE; what the agent had handed over of it comes twice. While the
 * agent holds off it does not read, and notices a lost connection when it goes on.
 *
 * A message that breaks these rules ends the connection. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FEED_MAX_DATA     65536
#define FEED_MAX_NAME     223 /* RFC 7143 section 4.2.7.1 */
#define FEED_MAX_BODY     (1 + 2 * (1 + FEED_MAX_NAME) + FEED_MAX_DATA)
#define FEED_PREFIX_BYTES 4
#define FEED_MAX_TARGETS  256
#define FEED_DONE_BYTES   (FEED_PREFIX_BYTES + 1 + 8)

enum feed_kind { FEED_SERVES = 1, FEED_DATA = 2, FEED_DONE = 3 };

/* Points into the bytes it was read from. */
struct feed_message {
    uint8_t kind;
    const char *target, *initiator; /* DATA */
    size_t target_len, initiator_len;
    const uint8_t *data; /* DATA; SERVES: the list of names, for feed_next_name() */
    size_t len;
    size_t n_bytes; /* of the whole message, prefix included */
};

enum feed_result { FEED_INCOMPLETE, FEED_COMPLETE, FEED_MALFORMED };

/* The message at `bytes`. On FEED_MALFORMED *out_fault says what is wrong. */
enum feed_result feed_message_read(const uint8_t *bytes, size_t len, struct feed_message *out, const char **out_fault);
/* Walk the names of a SERVES that feed_message_read() accepted: false at the end. */
bool feed_next_name(const uint8_t **cursor, const uint8_t *end, const char **out_name, size_t *out_len);
void feed_done_write(uint8_t out[FEED_DONE_BYTES], uint64_t n_done);
