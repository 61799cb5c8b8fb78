/* SPDX-License-Identifier: Apache-2.0 */
/* Takes RST_STREAM of streams that were never opened out of what a server receives.
 *
 * RFC 9113 section 6.4 makes them an error of the whole connection, and nghttp2 keeps to that. But gRPC's C core, which
 * is under the clients of Python, C++, Ruby, PHP and others, sends them: a call cancelled before its headers were
 * written is reset all the same. Its own servers do not mind; here one cancelled call would end all its siblings.
 *
 * Bytes go through in pieces, in order; a frame head that is not complete yet waits here. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RESET_FILTER_HEAD 9

struct reset_filter {
    uint8_t head[RESET_FILTER_HEAD]; /* of a frame that came in pieces */
    uint8_t n_head;
    uint8_t preface_left; /* bytes before the first frame */
    bool drops;           /* what is left of the frame goes nowhere */
    uint32_t frame_left;  /* bytes of the frame behind its head */
    uint32_t opened;      /* highest stream that HEADERS named */
};

void reset_filter_init(struct reset_filter *f);

/* The next piece of *bytes..+*len that is to be handled, and step over it. Returns its length, 0 when all is handled or
 * waits; *out_piece is valid until the next call. *n_dropped grows by one for each frame that was taken out. */
size_t reset_filter_next(struct reset_filter *f, const uint8_t **bytes, size_t *len, const uint8_t **out_piece,
                         unsigned *n_dropped);
