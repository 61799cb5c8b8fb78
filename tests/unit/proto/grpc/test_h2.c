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
static struct grpc_call *call;
static struct {
    size_t n, longest, bytes;
} frames; /* of DATA that were sent */

static bool closed;
static int closed_status;
static char closed_message[128];
static char initial[64];
static char trailing[64];

static void on_nothing(struct h2 *unused)
{
    (void)unused;
}

static const struct h2_host host = {on_nothing, on_nothing, on_nothing, NULL, on_nothing};

static void copy(char out[64], const char *text)
{
    snprintf(out, 64, "%s", text ? text : "none");
}

static void on_message(struct grpc_call *unused, void *data, const uint8_t *bytes, size_t len)
{
    (void)unused;
    (void)data;
    (void)bytes;
    (void)len;
}

static void on_close(struct grpc_call *over, void *data, int status, const char *message)
{
    (void)data;
    closed = true;
    closed_status = status;
    snprintf(closed_message, sizeof closed_message, "%s", message);
    copy(initial, grpc_call_metadata(over, "a"));
    copy(trailing, grpc_call_trailer(over, "a"));
}

static const struct grpc_call_ops ops = {.on_message = on_message, .on_close = on_close};

/* What goes out in a turn is whole frames, behind the preface in the first one. */
static void count_frames(const struct outbox *box)
{
    static uint8_t sent[OUTBOX_TURN_BYTES];
    enum { HEAD = 9, DATA = 0, PREFACE = 24 };
    size_t n = 0;

    for (unsigned i = 0; i < box->n; i++) {
        memcpy(sent + n, box->bufs[i].base, box->bufs[i].len);
        n += box->bufs[i].len;
    }
    for (size_t at = n > PREFACE && memcmp(sent, "PRI", 3) == 0 ? PREFACE : 0; at < n;) {
        size_t len = (size_t)sent[at] << 16 | (size_t)sent[at + 1] << 8 | sent[at + 2];
        cr_assert_leq(at + HEAD + len, n, "a frame was cut");
        if (sent[at + 3] == DATA) {
            frames.n++;
            frames.bytes += len;
            frames.longest = len > frames.longest ? len : frames.longest;
        }
        at += HEAD + len;
    }
}

static void turn(void)
{
    static struct outbox box;
    h2_turn(&h2);
    outbox_init(&box);
    cr_assert_eq(h2_send(&h2, &box), 0);
    count_frames(&box);
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

/* ------------------------------------------------------------------------------------------------ DATA frames */

/* The peer opens its windows, and takes frames of up to `max_frame` bytes (0: it does not say). */
static void open_up(uint32_t max_frame)
{
    char frame[9 + 12 + 9 + 4] = {0, 0, (char)(max_frame ? 12 : 6), 4, 0, 0, 0, 0, 0, 0, 4, 0x7f, 0, 0, 0};
    size_t n = 15;

    if (max_frame) {
        frame[n + 1] = 5;
        for (int i = 0; i < 4; i++)
            frame[n + 2 + (size_t)i] = (char)(max_frame >> (24 - 8 * i));
        n += 6;
    }
    memcpy(frame + n, "\0\0\4\x08\0\0\0\0\0\x10\0\0\0", 13); /* WINDOW_UPDATE of the connection */
    receive(frame, n + 13);
}

/* Send a message of `len` bytes, which nobody copies. */
static void send_message(size_t len)
{
    struct chunk *chunk = chunk_new(len);

    memset(chunk->bytes, 1, len);
    struct slice part = {.owner = chunk, .ptr = chunk->bytes, .len = len};
    frames.n = frames.longest = frames.bytes = 0;
    cr_assert_eq(grpc_call_send(call, &part, 1), 0);
    for (int i = 0; i < 20 && grpc_call_queued_bytes(call) > 0; i++)
        turn();
    cr_assert_eq(frames.bytes, len + 5);
    cr_assert_eq(chunk->n_refs, 1);
    chunk_unref(chunk);
}

Test(h2, much_goes_in_long_frames_to_a_peer_that_takes_them)
{
    open_up(4194303);
    send_message(1000000);
    cr_assert_eq(frames.longest, 64 * 1024);
    cr_assert_leq(frames.n, 1000000 / (64 * 1024) + 5);
}

Test(h2, no_frame_is_longer_than_the_peer_takes)
{
    open_up(0);
    send_message(1000000);
    cr_assert_eq(frames.longest, 16 * 1024);
    open_up(20000);
    send_message(1000000);
    cr_assert_eq(frames.longest, 20000);
}

Test(h2, little_goes_in_short_frames_until_there_was_much)
{
    open_up(4194303);
    send_message(60000);
    cr_assert_eq(frames.longest, 16 * 1024);
    send_message(100000);
    send_message(60000);
    cr_assert_eq(frames.n, 1);
}
