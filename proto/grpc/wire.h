/* SPDX-License-Identifier: Apache-2.0 */
/* The small formats of gRPC over HTTP/2: message framing, grpc-timeout, grpc-message, content-type. Pure.
 *
 * Nothing here trusts its input: a length prefix reserves no memory, only bytes that have arrived do. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Before every message: one byte 0 (1 = compressed), then its length, big-endian. */
#define WIRE_PREFIX_LEN 5

enum wire_step {
    WIRE_NEED_MORE, /* all input was taken */
    WIRE_MESSAGE,   /* one whole message; call again with the rest of the input */
    WIRE_TOO_LONG,  /* errors: the framer takes no more input */
    WIRE_COMPRESSED,
    WIRE_BAD_PREFIX,
    WIRE_NO_MEMORY,
};

/* Puts messages together from bytes that come in any pieces. Zeroed is ready, apart from max_len. */
struct wire_framer {
    uint32_t max_len;
    uint32_t len; /* of the message announced; valid when n_prefix is WIRE_PREFIX_LEN */
    uint32_t have;
    uint32_t cap;
    uint8_t n_prefix;
    uint8_t prefix[WIRE_PREFIX_LEN];
    uint8_t *body;
};

/* Let go of the memory. Between messages the framer is then ready for the next one. */
void wire_framer_deinit(struct wire_framer *f);
/* Take from *in what the next message needs. On WIRE_MESSAGE *out_bytes points into the input or the framer and lives
 * until the next call. */
enum wire_step wire_framer_step(struct wire_framer *f, const uint8_t **in, size_t *in_len, const uint8_t **out_bytes,
                                size_t *out_len);
/* No message has begun: the place where a stream may end. */
bool wire_framer_between_messages(const struct wire_framer *f);
void wire_put_prefix(uint8_t out[WIRE_PREFIX_LEN], uint32_t len);

/* "20S", "100m": at most 8 digits and one of n u m S M H. Rounded up to a millisecond; 0, or UV_EINVAL. */
int wire_timeout_parse(const char *text, uint64_t *out_ms);
#define WIRE_TIMEOUT_MAX 12
/* Rounded up to what 8 digits can say. */
void wire_timeout_format(uint64_t ms, char out[WIRE_TIMEOUT_MAX]);

/* Percent-encode everything but printable ASCII, and '%'. Cut (at a whole character) to what fits `cap`. */
void wire_message_encode(const char *text, char *out, size_t cap);
/* In place; sequences that are no encoding stay as they are. */
void wire_message_decode(char *text);

/* "application/grpc", optionally with +something or ;parameters. */
bool wire_is_grpc_content_type(const char *text);
