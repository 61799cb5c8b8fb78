/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/grpc/reset_filter.h"

#include <string.h>

enum { PREFACE_BYTES = 24, FRAME_HEADERS = 1, FRAME_RST_STREAM = 3, RST_STREAM_BYTES = 4 };

void reset_filter_init(struct reset_filter *f)
{
    *f = (struct reset_filter){.preface_left = PREFACE_BYTES};
}

/* A head is complete: what becomes of its frame? */
static void begin_frame(struct reset_filter *f, const uint8_t *head)
{
    uint32_t length = (uint32_t)head[0] << 16 | (uint32_t)head[1] << 8 | head[2];
    uint32_t stream =
        ((uint32_t)head[5] << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 | head[8]) & 0x7fffffff;

    if (head[3] == FRAME_HEADERS && stream > f->opened)
        f->opened = stream;
    f->frame_left = length;
    /* Of one that is wrong in another way nghttp2 will say so. */
    f->drops = head[3] == FRAME_RST_STREAM && length == RST_STREAM_BYTES && stream % 2 == 1 && stream > f->opened;
}

static size_t step(const uint8_t **bytes, size_t *len, size_t n)
{
    *bytes += n;
    *len -= n;
    return n;
}

/* Step over what belongs to the frame. Returns how much of that is to be handled. */
static size_t frame_rest(struct reset_filter *f, const uint8_t **bytes, size_t *len)
{
    size_t n = f->frame_left < *len ? f->frame_left : *len;

    f->frame_left -= (uint32_t)n;
    step(bytes, len, n);
    return f->drops ? 0 : n;
}

/* Gather a head that came in pieces. Returns its length when it is complete and to be handled. */
static size_t gather(struct reset_filter *f, const uint8_t **bytes, size_t *len, unsigned *n_dropped)
{
    size_t missing = RESET_FILTER_HEAD - (size_t)f->n_head, n = missing < *len ? missing : *len;

    memcpy(f->head + f->n_head, *bytes, n);
    f->n_head = (uint8_t)(f->n_head + n);
    step(bytes, len, n);
    if (f->n_head < RESET_FILTER_HEAD)
        return 0;
    f->n_head = 0;
    begin_frame(f, f->head);
    *n_dropped += f->drops;
    return f->drops ? 0 : RESET_FILTER_HEAD;
}

size_t reset_filter_next(struct reset_filter *f, const uint8_t **bytes, size_t *len, const uint8_t **out_piece,
                         unsigned *n_dropped)
{
    size_t n = 0;

    *out_piece = *bytes;
    if (f->preface_left > 0) {
        size_t preface = f->preface_left < *len ? f->preface_left : *len;
        f->preface_left = (uint8_t)(f->preface_left - preface);
        n = step(bytes, len, preface);
    }
    while (*len > 0) {
        if (f->frame_left > 0) {
            bool drops = f->drops;
            n += frame_rest(f, bytes, len);
            if (!drops)
                continue;
            if (n > 0)
                return n;
            *out_piece = *bytes;
        } else if (f->n_head > 0 || *len < RESET_FILTER_HEAD) {
            if (n > 0)
                return n; /* the piece ends before a head that lies elsewhere */
            if ((n = gather(f, bytes, len, n_dropped)) > 0) {
                *out_piece = f->head;
                return n;
            }
            *out_piece = *bytes;
        } else {
            const uint8_t *head = *bytes;
            begin_frame(f, head);
            if (f->drops && n > 0) {
                /* The piece ends here; look at the head again next time. */
                f->drops = false;
                f->frame_left = 0;
                return n;
            }
            step(bytes, len, RESET_FILTER_HEAD);
            *n_dropped += f->drops;
            if (f->drops)
                *out_piece = *bytes;
            else
                n += RESET_FILTER_HEAD;
        }
    }
    return n;
}
