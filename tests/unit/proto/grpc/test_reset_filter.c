/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/grpc/reset_filter.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS };

static uint8_t input[4096], expected[4096], output[4096];
static size_t n_input, n_expected, n_output;

static void put_frame(uint8_t *out, size_t *n, size_t length, uint8_t type, uint32_t stream)
{
    const uint8_t head[] = {(uint8_t)(length >> 16), (uint8_t)(length >> 8),  (uint8_t)length,        type,           0,
                            (uint8_t)(stream >> 24), (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};
    memcpy(out + *n, head, sizeof head);
    memset(out + *n + sizeof head, type + 1, length);
    *n += sizeof head + length;
}

static void frame(size_t length, uint8_t type, uint32_t stream, bool is_handled)
{
    put_frame(input, &n_input, length, type, stream);
    if (is_handled)
        put_frame(expected, &n_expected, length, type, stream);
}

static void preface(void)
{
    n_input = n_expected = 24;
    memcpy(input, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    memcpy(expected, input, 24);
}

/* Through the filter in pieces of `size`; each piece is a buffer of its own, so that a sanitizer sees reads beyond it.
 */
static unsigned run(size_t size)
{
    struct reset_filter f;
    unsigned n_dropped = 0;

    reset_filter_init(&f);
    n_output = 0;
    for (size_t at = 0; at < n_input; at += size) {
        size_t len = n_input - at < size ? n_input - at : size, n;
        uint8_t *copy = malloc(len);
        const uint8_t *bytes = copy, *piece;
        memcpy(copy, input + at, len);
        while ((n = reset_filter_next(&f, &bytes, &len, &piece, &n_dropped)) > 0) {
            memcpy(output + n_output, piece, n);
            n_output += n;
        }
        cr_assert_eq(len, 0, "%zu bytes left", len);
        free(copy);
    }
    return n_dropped;
}

static void expect(unsigned n_dropped)
{
    for (size_t size = 1; size <= n_input; size++) {
        cr_assert_eq(run(size), n_dropped, "pieces of %zu", size);
        cr_assert_eq(n_output, n_expected, "pieces of %zu: %zu bytes, not %zu", size, n_output, n_expected);
        cr_assert_eq(memcmp(output, expected, n_expected), 0, "pieces of %zu", size);
    }
}

Test(reset_filter, resets_of_streams_never_opened_are_taken_out)
{
    preface();
    frame(6, SETTINGS, 0, true);
    frame(4, RST_STREAM, 1, false);
    frame(30, HEADERS, 3, true);
    frame(4, RST_STREAM, 5, false);
    frame(4, RST_STREAM, 7, false);
    frame(100, DATA, 3, true);
    frame(4, RST_STREAM, 3, true);
    frame(4, RST_STREAM, 1, true); /* below one that was opened: closed, not idle */
    frame(0, DATA, 3, true);
    frame(20, HEADERS, 9, true);
    frame(4, RST_STREAM, 9, true);
    frame(4, RST_STREAM, 11, false);
    expect(4);
}

/* What is wrong in another way too is left to be refused. */
Test(reset_filter, nothing_else_is_touched)
{
    preface();
    frame(4, RST_STREAM, 0, true);
    frame(4, RST_STREAM, 2, true);
    frame(5, RST_STREAM, 1, true);
    frame(0, RST_STREAM, 1, true);
    frame(4, PRIORITY, 1, true);
    frame(4, DATA, 1, true);
    expect(0);
}

Test(reset_filter, the_preface_may_be_anything)
{
    preface();
    memset(input, 3, 24); /* looks like RST_STREAM */
    memset(expected, 3, 24);
    frame(4, RST_STREAM, 1, false);
    expect(1);
    n_input = n_expected = 7;
    expect(0);
}
