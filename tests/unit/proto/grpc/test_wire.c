/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "proto/grpc/wire.h"

/* ------------------------------------------------------------------------------------------------ messages */

/* Feed `in` in pieces of `piece` bytes; write the messages, each followed by '|', and the final step's number. */
static void reassemble(const char *in, size_t len, size_t piece, uint32_t max_len, char *out, size_t out_len)
{
    struct wire_framer f = {.max_len = max_len};
    enum wire_step step = WIRE_NEED_MORE;
    size_t n = 0;
    for (size_t at = 0; at < len && step == WIRE_NEED_MORE; at += piece) {
        const uint8_t *bytes = (const uint8_t *)in + at;
        size_t left = len - at < piece ? len - at : piece;
        const uint8_t *message;
        size_t message_len;
        while ((step = wire_framer_step(&f, &bytes, &left, &message, &message_len)) == WIRE_MESSAGE)
            n += (size_t)snprintf(out + n, out_len - n, "%.*s|", (int)message_len, (const char *)message);
    }
    snprintf(out + n, out_len - n, "%d%s", step, wire_framer_between_messages(&f) ? "" : "+");
    wire_framer_deinit(&f);
}

static const struct {
    const char *in;
    size_t len;
    const char *out;
} framings[] = {
    {"", 0, "0"},
    {"\0\0\0\0\3abc", 8, "abc|0"},
    {"\0\0\0\0\0", 5, "|0"},
    {"\0\0\0\0\3abc\0\0\0\0\0\0\0\0\0\2de", 20, "abc||de|0"},
    {"\0\0\0\0\3ab", 7, "0+"},
    {"\0\0\0", 3, "0+"},
    {"\0\0\0\0\144", 5, "0+"},
    {"\0\0\0\0\145", 5, "2+"},
    {"\0\377\377\377\377", 5, "2+"},
    {"\1\0\0\0\1a", 6, "3+"},
    {"\2\0\0\0\1a", 6, "4+"},
    {"\0\0\0\0\1a\1\0\0\0\1b", 12, "a|3+"},
};

Test(wire, messages_come_whole_however_the_bytes_are_cut)
{
    char out[128];
    for (size_t i = 0; i < sizeof framings / sizeof framings[0]; i++) {
        for (size_t piece = 1; piece <= 21; piece++) {
            reassemble(framings[i].in, framings[i].len, piece, 100, out, sizeof out);
            cr_expect_str_eq(out, framings[i].out, "case %zu, pieces of %zu: %s", i, piece, out);
        }
    }
}

Test(wire, announced_length_takes_no_memory)
{
    struct wire_framer f = {.max_len = UINT32_MAX};
    const uint8_t bytes[] = {0, 0xff, 0xff, 0xff, 0xff, 'x'};
    const uint8_t *in = bytes;
    size_t left = sizeof bytes;
    const uint8_t *message;
    size_t len;
    cr_assert_eq(wire_framer_step(&f, &in, &left, &message, &len), WIRE_NEED_MORE);
    cr_assert_leq(f.cap, 4096);
    wire_framer_deinit(&f);
}

/* ------------------------------------------------------------------------------------------------ grpc-timeout */

Test(wire, timeouts_are_read_and_rounded_up)
{
    static const struct {
        const char *text;
        int rc;
        uint64_t ms;
    } cases[] = {
        {"0n", 0, 0},          {"1n", 0, 1},
        {"1000000n", 0, 1},    {"1000001n", 0, 2},
        {"1u", 0, 1},          {"99999999u", 0, 100000},
        {"250m", 0, 250},      {"20S", 0, 20000},
        {"2M", 0, 120000},     {"99999999H", 0, 99999999ULL * 3600000},
        {"", UV_EINVAL, 0},    {"S", UV_EINVAL, 0},
        {"5", UV_EINVAL, 0},   {"5s", UV_EINVAL, 0},
        {"-5S", UV_EINVAL, 0}, {"123456789S", UV_EINVAL, 0},
        {"5SS", UV_EINVAL, 0}, {"1.5S", UV_EINVAL, 0},
        {" 5S", UV_EINVAL, 0}, {"5S ", UV_EINVAL, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t ms = 0;
        cr_expect_eq(wire_timeout_parse(cases[i].text, &ms), cases[i].rc, "'%s'", cases[i].text);
        cr_expect_eq(ms, cases[i].ms, "'%s': %llu", cases[i].text, (unsigned long long)ms);
    }
}

Test(wire, timeouts_are_written_so_that_they_never_get_shorter)
{
    static const struct {
        uint64_t ms;
        const char *text;
    } cases[] = {
        {1, "1m"},
        {99999999, "99999999m"},
        {100000000, "100000S"},
        {100000001, "100001S"},
        {99999999000ULL + 1, "1666667M"},
        {UINT64_MAX, "99999999H"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[WIRE_TIMEOUT_MAX];
        wire_timeout_format(cases[i].ms, text);
        cr_expect_str_eq(text, cases[i].text, "%s", text);
    }
}

/* ------------------------------------------------------------------------------------------------ grpc-message */

Test(wire, messages_are_percent_encoded_and_come_back)
{
    static const struct {
        const char *text;
        const char *encoded;
    } cases[] = {
        {"", ""},
        {"plain text ~!", "plain text ~!"},
        {"100 %", "100 %25"},
        {"\n\x7f", "%0A%7F"},
        {"Gerät „a“", "Ger%C3%A4t %E2%80%9Ea%E2%80%9C"},
        {"\xff\xc3", "%FF%C3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[64];
        wire_message_encode(cases[i].text, out, sizeof out);
        cr_expect_str_eq(out, cases[i].encoded, "%s", out);
        wire_message_decode(out);
        cr_expect_str_eq(out, cases[i].text, "%s", out);
    }
}

Test(wire, what_is_no_encoding_stays)
{
    char text[] = "% %1 %zz %00 %41 %";
    wire_message_decode(text);
    cr_assert_str_eq(text, "% %1 %zz %00 A %");
}

Test(wire, long_messages_are_cut_between_characters)
{
    char out[10];
    wire_message_encode("aäöü", out, sizeof out);
    cr_assert_str_eq(out, "a%C3%A4");
    wire_message_encode("123456789abc", out, sizeof out);
    cr_assert_str_eq(out, "123456789");
}

/* ------------------------------------------------------------------------------------------------ content-type */

Test(wire, content_types)
{
    static const char *const good[] = {"application/grpc", "application/grpc+proto", "application/grpc;x=y",
                                       "Application/GRPC", "application/grpc ; x"};
    static const char *const bad[] = {"", "application/grp", "application/grpc-web", "application/json",
                                      "xapplication/grpc"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        cr_expect(wire_is_grpc_content_type(good[i]), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect_not(wire_is_grpc_content_type(bad[i]), "%s", bad[i]);
}
