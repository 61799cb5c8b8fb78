/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "agent/iscsi/framer.h"
#include "tests/unit/agent/iscsi/pdus.h"

static struct pdus p;
static struct framer f;

/* Feed everything in pieces of `step` bytes; counts PDUs, ends with the first result that is neither PDU nor MORE. */
static enum framer_result feed(const uint8_t *bytes, size_t len, size_t step, size_t *out_n, size_t *out_data)
{
    enum framer_result result = FRAMER_MORE;
    struct framer_pdu pdu;

    for (size_t at = 0; at < len; at += step) {
        const uint8_t *in = bytes + at;
        size_t in_len = len - at < step ? len - at : step;

        while ((result = framer_next(&f, &in, &in_len, &pdu)) == FRAMER_PDU) {
            *out_n += 1;
            *out_data += pdu.data_len;
        }
        if (result != FRAMER_MORE)
            return result;
        cr_assert_eq(in_len, 0);
    }
    return result;
}

static void setup(void)
{
    framer_init(&f, 262144);
    p.len = 0;
    p.header_digest = p.data_digest = false;
}

static void teardown(void)
{
    framer_deinit(&f);
}

TestSuite(framer, .init = setup, .fini = teardown);

Test(framer, cuts_the_same_pdus_from_any_segmentation)
{
    static uint8_t big[70000];

    for (int digests = 0; digests < 4; digests++) {
        p.len = 0;
        p.header_digest = digests & 1;
        p.data_digest = digests & 2;
        PDUS_ADD(&p, PDU_NOP_IN, .itt = 1);
        PDUS_ADD(&p, PDU_ASYNC_MESSAGE, .data = "abcde", .data_len = 5);
        PDUS_ADD(&p, PDU_DATA_IN, .data = big, .data_len = sizeof(big));
        PDUS_ADD(&p, PDU_REJECT, .ahs = "12345678", .ahs_len = 8, .data = "xyz", .data_len = 3);
        for (size_t step = 1; step < p.len; step = step * 3 + 1) {
            size_t n = 0, data = 0;

            framer_deinit(&f);
            framer_init(&f, 262144);
            f.header_digest = p.header_digest;
            f.data_digest = p.data_digest;
            cr_assert_eq(feed(p.bytes, p.len, step, &n, &data), FRAMER_MORE);
            cr_assert_eq(n, 4);
            cr_assert_eq(data, 5 + sizeof(big) + 3);
        }
    }
}

Test(framer, shows_header_and_data_without_digest_and_padding)
{
    const uint8_t *in = p.bytes;
    size_t len;
    struct framer_pdu pdu;

    p.header_digest = true;
    PDUS_ADD(&p, PDU_ASYNC_MESSAGE, .ahs = "1234", .ahs_len = 4, .data = "abcde", .data_len = 5);
    f.header_digest = true;
    len = p.len;
    cr_assert_eq(framer_next(&f, &in, &len, &pdu), FRAMER_PDU);
    cr_assert_eq(pdu.header_len, 52);
    cr_assert_eq(pdu.len, 52 + 4 + 8);
    cr_assert_eq(pdu.data_len, 5);
    cr_assert_eq(memcmp(pdu.data, "abcde", 5), 0);
}

Test(framer, follows_digests_that_begin_between_two_pdus)
{
    const uint8_t *in = p.bytes;
    size_t len;
    struct framer_pdu pdu;

    PDUS_ADD(&p, PDU_LOGIN_RESPONSE, .data = "k=v", .data_len = 4);
    p.header_digest = true;
    PDUS_ADD(&p, PDU_NOP_IN);
    len = p.len;
    cr_assert_eq(framer_next(&f, &in, &len, &pdu), FRAMER_PDU);
    f.header_digest = true;
    cr_assert_eq(framer_next(&f, &in, &len, &pdu), FRAMER_PDU);
    cr_assert_eq(pdu_opcode(pdu.bytes), PDU_NOP_IN);
    cr_assert_eq(framer_next(&f, &in, &len, &pdu), FRAMER_MORE);
}

Test(framer, refuses_each_damaged_bit_of_a_header_with_digest)
{
    p.header_digest = true;
    PDUS_ADD(&p, PDU_NOP_IN);
    for (size_t bit = 0; bit < p.len * 8; bit++) {
        size_t n = 0, data = 0;
        enum framer_result result;

        if (bit / 8 == PDU_AT_AHS_WORDS)
            continue; /* then the digest is looked for further on */
        framer_deinit(&f);
        framer_init(&f, 262144);
        f.header_digest = true;
        p.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        result = feed(p.bytes, p.len, 1, &n, &data);
        p.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_eq(result, FRAMER_BAD_DIGEST, "bit %zu", bit);
        cr_assert_eq(n, 0);
    }
}

Test(framer, refuses_damaged_data_with_digest)
{
    size_t n = 0, data = 0;

    p.data_digest = f.data_digest = true;
    PDUS_ADD(&p, PDU_DATA_IN, .data = "abcdefgh", .data_len = 8);
    p.bytes[50] ^= 1;
    cr_assert_eq(feed(p.bytes, p.len, p.len, &n, &data), FRAMER_BAD_DIGEST);
    cr_assert_eq(n, 0);
}

Test(framer, refuses_a_long_data_segment_before_taking_memory)
{
    uint8_t header[PDU_HEADER_BYTES] = {PDU_NOP_IN};
    size_t n = 0, data = 0;

    pdu_put32(header + PDU_AT_DATA_LENGTH, 262144);
    cr_assert_eq(feed(header, sizeof(header), 7, &n, &data), FRAMER_MORE);
    framer_deinit(&f);
    framer_init(&f, 262143);
    cr_assert_eq(feed(header, sizeof(header), 7, &n, &data), FRAMER_TOO_LONG);
    cr_assert_leq(f.cap, PDU_HEADER_BYTES);
}
