/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/iscsi/framer.h"

#include <stdlib.h>
#include <string.h>

#include "agent/iscsi/digest.h"
#include "agent/iscsi/pdu.h"

/* A buffer above this size is given back when its PDU is done. */
#define FRAMER_KEEP_BYTES 16384

void framer_init(struct framer *f, size_t max_data_bytes)
{
    *f = (struct framer){.max_data_bytes = max_data_bytes};
}

void framer_deinit(struct framer *f)
{
    free(f->bytes);
    *f = (struct framer){0};
}

static size_t data_length(const uint8_t *header)
{
    return pdu_get32(header + PDU_AT_DATA_LENGTH) & 0xffffff;
}

static size_t padded(size_t len)
{
    return (len + 3) & ~(size_t)3;
}

static bool framer_reserve(struct framer *f, size_t cap)
{
    uint8_t *bytes;

    if (cap <= f->cap)
        return true;
    bytes = realloc(f->bytes, cap);
    if (!bytes)
        return false;
    f->bytes = bytes;
    f->cap = cap;
    return true;
}

static void framer_reset(struct framer *f)
{
    if (f->cap > FRAMER_KEEP_BYTES) {
        free(f->bytes);
        f->bytes = NULL;
        f->cap = 0;
    }
    f->len = f->header_len = f->pdu_len = 0;
    f->delivered = false;
}

static bool framer_take(struct framer *f, size_t until, const uint8_t **in, size_t *in_len)
{
    size_t n = until - f->len < *in_len ? until - f->len : *in_len;

    if (n > 0)
        memcpy(f->bytes + f->len, *in, n);
    f->len += n;
    *in += n;
    *in_len -= n;
    return f->len == until;
}

/* Step 1: the basic header tells how long the whole header is. */
static enum framer_result framer_take_basic_header(struct framer *f, const uint8_t **in, size_t *in_len)
{
    if (!framer_reserve(f, PDU_HEADER_BYTES))
        return FRAMER_OUT_OF_MEMORY;
    if (!framer_take(f, PDU_HEADER_BYTES, in, in_len))
        return FRAMER_MORE;
    if (!f->header_digest && data_length(f->bytes) > f->max_data_bytes)
        return FRAMER_TOO_LONG;
    f->header_len = PDU_HEADER_BYTES + (size_t)f->bytes[PDU_AT_AHS_WORDS] * 4;
    return FRAMER_PDU;
}

/* Step 2: the whole header, found intact, tells how long the PDU is. Its data length is not believed before. */
static enum framer_result framer_take_header(struct framer *f, const uint8_t **in, size_t *in_len)
{
    size_t header_end = f->header_len + (f->header_digest ? DIGEST_BYTES : 0);
    size_t data_len;

    if (!framer_reserve(f, header_end))
        return FRAMER_OUT_OF_MEMORY;
    if (!framer_take(f, header_end, in, in_len))
        return FRAMER_MORE;
    if (f->header_digest && !digest_matches(f->bytes + f->header_len, f->bytes, f->header_len))
        return FRAMER_BAD_DIGEST;
    data_len = data_length(f->bytes);
    if (data_len > f->max_data_bytes)
        return FRAMER_TOO_LONG;
    f->pdu_len = header_end + padded(data_len) + (f->data_digest && data_len > 0 ? DIGEST_BYTES : 0);
    return FRAMER_PDU;
}

/* Step 3: the rest. */
static enum framer_result framer_take_data(struct framer *f, const uint8_t **in, size_t *in_len,
                                           struct framer_pdu *out_pdu)
{
    struct framer_pdu pdu = {.len = f->pdu_len, .header_len = f->header_len};

    if (!framer_reserve(f, f->pdu_len))
        return FRAMER_OUT_OF_MEMORY;
    if (!framer_take(f, f->pdu_len, in, in_len))
        return FRAMER_MORE;
    pdu.bytes = f->bytes;
    pdu.data = f->bytes + f->header_len + (f->header_digest ? DIGEST_BYTES : 0);
    pdu.data_len = data_length(f->bytes);
    if (f->data_digest && pdu.data_len > 0 &&
        !digest_matches(pdu.data + padded(pdu.data_len), pdu.data, padded(pdu.data_len)))
        return FRAMER_BAD_DIGEST;
    f->delivered = true;
    *out_pdu = pdu;
    return FRAMER_PDU;
}

enum framer_result framer_next(struct framer *f, const uint8_t **in, size_t *in_len, struct framer_pdu *out_pdu)
{
    enum framer_result result;

    if (f->delivered)
        framer_reset(f);
    if (f->header_len == 0 && (result = framer_take_basic_header(f, in, in_len)) != FRAMER_PDU)
        return result;
    if (f->pdu_len == 0 && (result = framer_take_header(f, in, in_len)) != FRAMER_PDU)
        return result;
    return framer_take_data(f, in, in_len, out_pdu);
}
