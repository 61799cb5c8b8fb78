/* SPDX-License-Identifier: Apache-2.0 */
/* The tap between two socket pairs: one plays TCP, the other end of the other is where libiscsi would read and write.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/iscsi/tap.h"
#include "tests/lib/loop.h"
#include "tests/unit/agent/iscsi/pdus.h"

static struct test_loop loop;
static struct tap *tap;
static int target, initiator; /* the two ends that the test holds */
static struct pdus sent;
static size_t n_async, n_status;
static bool ended;
static enum tap_end how;
static char why[256];
static bool close_in_callback;

static void on_full_feature(void *data, bool header_digest)
{
    (void)data;
    (void)header_digest;
}

static void on_login_refused(void *data, uint8_t status_class, uint8_t detail, const char *moved_to)
{
    (void)data;
    (void)status_class;
    (void)detail;
    (void)moved_to;
}

static void on_async(void *data, const struct iscsi_async_message *message)
{
    (void)data;
    (void)message;
    n_async++;
    if (close_in_callback)
        tap_close(tap);
}

static void on_status(void *data, const struct inspector_status *status)
{
    (void)data;
    (void)status;
    n_status++;
}

static void on_reject(void *data, uint8_t reason, const uint8_t *header)
{
    (void)data;
    (void)reason;
    (void)header;
}

static void on_text(void *data, const uint8_t *text, size_t len, bool complete)
{
    (void)data;
    (void)text;
    (void)len;
    (void)complete;
}

static void on_managing(void *data, uint32_t itt)
{
    (void)data;
    (void)itt;
}

static void on_aborted(void *data, uint32_t command_itt, uint32_t itt)
{
    (void)data;
    (void)command_itt;
    (void)itt;
}

static void on_managed(void *data, uint32_t itt, bool rejected, uint8_t response)
{
    (void)data;
    (void)itt;
    (void)rejected;
    (void)response;
}

static void on_end(void *data, enum tap_end end, int error, const char *text)
{
    (void)data;
    (void)error;
    cr_assert_not(ended, "told twice");
    ended = true;
    how = end;
    snprintf(why, sizeof(why), "%s", text);
}

static const struct tap_ops ops = {
    .events = {.on_full_feature = on_full_feature,
               .on_login_refused = on_login_refused,
               .on_async = on_async,
               .on_status = on_status,
               .on_reject = on_reject,
               .on_managing = on_managing,
               .on_aborted = on_aborted,
               .on_managed = on_managed,
               .on_text = on_text},
    .on_end = on_end,
};

static void set_nonblocking(int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void setup(void)
{
    int pair[2];

    test_loop_init(&loop);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    target = pair[0];
    initiator = pair[1];
    set_nonblocking(target);
    set_nonblocking(initiator);
    cr_assert_eq(tap_splice(&loop.loop, initiator, false, &ops, NULL, &tap), 0);
    ended = close_in_callback = false;
    n_async = n_status = 0;
    sent.len = 0;
    sent.header_digest = false;
}

static void teardown(void)
{
    tap_close(tap);
    test_loop_deinit(&loop);
    close(target);
    close(initiator);
}

TestSuite(tap, .init = setup, .fini = teardown);

/* Let the loop run until `fd` has given `want` bytes. */
static size_t receive(int fd, uint8_t *bytes, size_t want)
{
    size_t len = 0;

    for (int turns = 0; len < want && turns < 100000; turns++) {
        ssize_t n = recv(fd, bytes + len, want - len, 0);

        if (n > 0)
            len += (size_t)n;
        else
            uv_run(&loop.loop, UV_RUN_NOWAIT);
    }
    return len;
}

static void send_in_pieces(int fd, size_t piece)
{
    for (size_t at = 0; at < sent.len;) {
        ssize_t n = send(fd, sent.bytes + at, sent.len - at < piece ? sent.len - at : piece, MSG_NOSIGNAL);

        if (n > 0)
            at += (size_t)n;
        uv_run(&loop.loop, UV_RUN_NOWAIT);
    }
    sent.len = 0;
}

static void log_in(const char *answer, size_t len)
{
    uint8_t bytes[256];

    PDUS_ADD(&sent, PDU_LOGIN_REQUEST, .itt = 1, .data = "HeaderDigest=CRC32C,None", .data_len = 25);
    send_in_pieces(initiator, 1);
    cr_assert_eq(receive(target, bytes, 76), 76);
    PDUS_ADD(&sent, PDU_LOGIN_RESPONSE, .flags = 0x87, .itt = 1, .at24 = 10, .data = answer, .data_len = len);
    send_in_pieces(target, 1);
    cr_assert_eq(receive(initiator, bytes, 48 + ((len + 3) & ~3u)), 48 + ((len + 3) & ~3u));
}

Test(tap, relays_byte_by_byte_and_corrects_the_acknowledgement)
{
    uint8_t bytes[256];

    for (int digest = 0; digest < 2; digest++) {
        size_t len = 48 + (digest ? 4 : 0);

        if (digest) {
            teardown();
            setup();
            log_in("HeaderDigest=CRC32C", 20);
        } else {
            log_in("HeaderDigest=None", 18);
        }
        sent.header_digest = digest;
        PDUS_ADD(&sent, PDU_ASYNC_MESSAGE, .flags = 0x80, .itt = PDU_NO_TAG, .at24 = 11, .data = "vendor",
                 .data_len = 6);
        PDUS_ADD(&sent, PDU_NOP_IN, .itt = PDU_NO_TAG, .at20 = 77, .at24 = 12);
        send_in_pieces(target, 1);
        cr_assert_eq(n_async, 1);
        cr_assert_eq(receive(initiator, bytes, len), len, "the ping arrives, the event does not");
        cr_assert_eq(pdu_get32(bytes + PDU_AT_TTT), 77);
        PDUS_ADD(&sent, PDU_NOP_OUT, .itt = PDU_NO_TAG, .at20 = 77, .at28 = 11);
        send_in_pieces(initiator, 1);
        cr_assert_eq(receive(target, bytes, len), len);
        cr_assert_eq(pdu_get32(bytes + PDU_AT_EXPSTATSN), 12);
    }
}

Test(tap, tells_fin_after_what_came_before_it)
{
    uint8_t bytes[64];

    log_in("HeaderDigest=None", 18);
    PDUS_ADD(&sent, PDU_NOP_IN, .itt = PDU_NO_TAG, .at20 = 1, .at24 = 11);
    cr_assert_eq(send(target, sent.bytes, sent.len, 0), (ssize_t)sent.len);
    shutdown(target, SHUT_RDWR);
    cr_assert(test_loop_until(&loop, &ended));
    cr_assert_eq(how, TAP_CLOSED);
    cr_assert_eq(receive(initiator, bytes, 48), 48);
}

Test(tap, ends_on_garbage)
{
    memset(sent.bytes, 0xff, sent.len = 5000);
    send_in_pieces(target, 5000);
    cr_assert(test_loop_until(&loop, &ended));
    cr_assert_eq(how, TAP_PROTOCOL);
}

Test(tap, ends_when_libiscsi_lets_go)
{
    shutdown(initiator, SHUT_RDWR);
    cr_assert(test_loop_until(&loop, &ended));
    cr_assert_eq(how, TAP_PROTOCOL);
}

Test(tap, may_be_closed_in_its_own_callback)
{
    log_in("HeaderDigest=None", 18);
    close_in_callback = true;
    for (uint32_t i = 0; i < 10; i++)
        PDUS_ADD(&sent, PDU_ASYNC_MESSAGE, .at24 = 11 + i);
    cr_assert_eq(send(target, sent.bytes, sent.len, 0), (ssize_t)sent.len);
    for (int turns = 0; n_async == 0 && turns < 1000; turns++)
        uv_run(&loop.loop, UV_RUN_NOWAIT);
    test_loop_for(&loop, 20);
    cr_assert_eq(n_async, 1);
    cr_assert_not(ended);
    tap = NULL;
}

/* The target sends and sends, nobody reads at libiscsi's end: the tap stops reading when it holds enough. */
Test(tap, holds_no_more_than_its_bound_for_a_slow_reader)
{
    static uint8_t data[65536], back[65536];
    const size_t n_pdus = 200;
    size_t sent_bytes = 0, received = 0, total;
    uint32_t offset = 0;

    log_in("HeaderDigest=None", 18);
    PDUS_ADD(&sent, PDU_SCSI_COMMAND, .itt = 5, .at20 = (uint32_t)(n_pdus * sizeof(data)));
    send_in_pieces(initiator, 4096);
    cr_assert_eq(receive(target, back, 48), 48);
    total = n_pdus * (48 + sizeof(data));
    for (int idle = 0; sent_bytes < total && idle < 200;) {
        size_t at = sent_bytes % (48 + sizeof(data));
        ssize_t n;

        if (at == 0) {
            sent.len = 0;
            PDUS_ADD(&sent, PDU_DATA_IN, .itt = 5, .data = data, .data_len = sizeof(data));
            pdu_put32(sent.bytes + PDU_AT_BUFFER_OFFSET, offset);
            offset += (uint32_t)sizeof(data);
        }
        n = send(target, sent.bytes + at, sent.len - at, MSG_NOSIGNAL);
        idle = n > 0 ? 0 : idle + 1;
        sent_bytes += n > 0 ? (size_t)n : 0;
        uv_run(&loop.loop, UV_RUN_NOWAIT);
        if (n > 0 && (size_t)n < sent.len - at)
            continue;
    }
    cr_assert_lt(sent_bytes, (size_t)3 << 20, "the sender was held back, not the bytes kept");
    cr_assert_gt(sent_bytes, (size_t)TAP_FULL_BYTES);
    received = receive(initiator, back, sizeof(back));
    cr_assert_eq(received, sizeof(back));
    cr_assert_not(ended);
}
