/* SPDX-License-Identifier: Apache-2.0 */
/* tgtd's management protocol: the request for all targets, and its answer in words.
 *
 * The request is 120 bytes, the answer 8 bytes (error, and length with these 8) and a text with a line for each thing,
 * indented by four spaces a level. Numbers are the host's.
 *
 * The text is hostile: it quotes names that remote initiators chose, and does not escape them. A name with line ends in
 * it can pass for other lines of the same text: then records tell what those lines say, and nothing else happens. Pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "agent/target/snapshot.h"

#define TGTD_REQUEST_BYTES    120
#define TGTD_HEADER_BYTES     8
#define TGTD_MAX_ANSWER_BYTES (8u << 20) /* 16,384 logical units at about 500 bytes */

/* "show all targets". */
void tgtd_request_show(uint8_t out[TGTD_REQUEST_BYTES]);
/* Returns the length of the text that follows, or UV_EPROTO for an impossible or too large one. *out_error is tgtd's
 * own error number, 0 = none. */
int tgtd_header_parse(const uint8_t header[TGTD_HEADER_BYTES], uint32_t *out_error);
/* The text as a finished snapshot. Returns 0, UV_EPROTO when it does not begin with a target, or UV_ENOMEM; `out` is
 * then empty. An empty text is tgtd without targets. */
int tgtd_text_parse(const char *text, size_t len, struct snapshot *out);
