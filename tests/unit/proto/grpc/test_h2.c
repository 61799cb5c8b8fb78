/* SPDX-License-Identifier: Apache-2.0 */
/* A client session that gets the answers of a server byte by byte: what no well-behaved server of ours would say. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "proto/grpc/call.h"
#include "proto/grpc/h2.h"

static struct grpc_server_counters counters;
static struct grpc_limits limits;
static struct h2 h2;

static bool closed;
static int closed_status;
static char closed_message[128];
static char initial[64];
static char trailing[64];

static void on_nothing(struct h2 *unused)
{
    (void)unused;
}

static const struct h2_host host = {on_nothing, on_nothing, on_nothing, NULL};

static void copy(char out[64], const char *text)
{
    snprintf(out, 64, "%s", text ? text : "none");
}

static void on_message(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    (void)call;
    (void)data;
    (void)bytes;
    (void)len;
}

static void on_close(struct grpc_call *call, void *data, int status, const char *message)
{
    (void)data;
    closed = true;
    closed_status = status;
    snprintf(closed_message, sizeof closed_message, "%s", message);
    copy(initial, grpc_call_metadata(call, "a"));
    copy(trailing, grpc_call_trailer(call, "a"));
}

static const struct grpc_call_ops ops = {.on_message = on_message, .on_close = on_close};

static void turn(void)
{
    static struct outbox box;
    h2_turn(&h2);
    outbox_init(&box);
    cr_assert_eq(h2_send(&h2, &box), 0);
    outbox_deinit(&box);
}

static void receive(const char *bytes, size_t len)
{
    cr_assert_eq(h2_receive(&h2, (const uint8_t *)bytes, len), 0, "%s", h2.failure);
    turn();
}

/* A HEADERS frame of stream 1; `end` with END_STREAM. `fields` is HPACK. */
static void headers(const char *fields, size_t len, bool end)
{
    char frame[256] = {0, 0, (char)len, 1, (char)(4 | end), 0, 0, 0, 1};
    memcpy(frame + 9, fields, len);
    receive(frame, 9 + len);
}
#define HEADERS(fields, end) headers(fields, sizeof(fields) - 1, end)

/* HPACK: indexed fields, and literals without indexing. */
#define STATUS_103                                                                                                     \
    "\x08\x03"                                                                                                         \
    "103"
#define STATUS_200 "\x88"
#define CONTENT_TYPE                                                                                                   \
    "\x0f\x10\x10"                                                                                                     \
    "application/grpc"
#define A_FIRST                                                                                                        \
    "\x00\x01"                                                                                                         \
    "a"                                                                                                                \
    "\x05"                                                                                                             \
    "first"
#define A_LAST                                                                                                         \
    "\x00\x01"                                                                                                         \
    "a"                                                                                                                \
    "\x04"                                                                                                             \
    "last"
#define GRPC_STATUS_0                                                                                                  \
    "\x00\x0b"                                                                                                         \
    "grpc-status"                                                                                                      \
    "\x01"                                                                                                             \
    "0"
#define GRPC_STATUS_5                                                                                                  \
    "\x00\x0b"                                                                                                         \
    "grpc-status"                                                                                                      \
    "\x01"                                                                                                             \
    "5"

static void setup(void)
{
    struct grpc_call_options options = {0};
    struct grpc_call *call;
    limits = h2_limits_resolve(NULL);
    cr_assert_eq(h2_init(&h2, H2_CLIENT, uv_default_loop(), &host, &limits, &counters, "test"), 0);
    cr_assert_eq(call_start(&h2, "/a/b", "test", &options, &ops, NULL, &call), 0);
    turn();
    receive("\0\0\0\4\0\0\0\0\0", 9);
}

static void teardown(void)
{
    h2_close(&h2, GRPC_UNAVAILABLE, "over");
    h2_turn(&h2);
    h2_deinit(&h2);
    cr_assert_eq(counters.calls_open, 0);
}

TestSuite(h2, .init = setup, .fini = teardown);

Test(h2, metadata_of_both_ends_is_kept_apart)
{
    HEADERS(STATUS_200 CONTENT_TYPE A_FIRST, false);
    cr_assert_not(closed);
    HEADERS(GRPC_STATUS_0 A_LAST, true);
    cr_assert_eq(closed_status, GRPC_OK, "%s", closed_message);
    cr_assert_str_eq(initial, "first");
    cr_assert_str_eq(trailing, "last");
}

Test(h2, answer_of_one_block_has_trailing_metadata_alone)
{
    HEADERS(STATUS_200 CONTENT_TYPE GRPC_STATUS_5 A_LAST, true);
    cr_assert_eq(closed_status, GRPC_NOT_FOUND, "%s", closed_message);
    cr_assert_str_eq(initial, "none");
    cr_assert_str_eq(trailing, "last");
}

Test(h2, informational_answers_are_passed_over)
{
    HEADERS(STATUS_103 A_LAST, false);
    HEADERS(STATUS_103 A_LAST, false);
    HEADERS(STATUS_200 CONTENT_TYPE A_FIRST, false);
    cr_assert_not(closed, "%s", closed_message);
    HEADERS(GRPC_STATUS_0, true);
    cr_assert_eq(closed_status, GRPC_OK, "%s", closed_message);
    cr_assert_str_eq(initial, "first");
}

Test(h2, status_counts_only_at_the_end)
{
    HEADERS(STATUS_200 CONTENT_TYPE GRPC_STATUS_0, false);
    HEADERS(GRPC_STATUS_5, true);
    cr_assert_eq(closed_status, GRPC_NOT_FOUND, "%s", closed_message);
}
