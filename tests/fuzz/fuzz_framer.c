/* SPDX-License-Identifier: Apache-2.0 */
/* What a target sends: cut into PDUs and inspected, before login or after it, with requests of each kind waiting.
 * Byte 0: bit 0 after login, bit 1 header digest, bit 2 data digest, bit 3 the target must prove itself; byte 1: how
 * many bytes come at a time; the rest is the stream. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/iscsi/digest.h"
#include "agent/iscsi/inspector.h"
#include "agent/iscsi/pdu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_DATA_BYTES 4096

/* Sums what events point at, so that a read out of bounds is caught. */
static volatile unsigned sum;

static void touch(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sum += bytes[i];
}

static void on_full_feature(void *data, bool header_digest)
{
    (void)data;
    (void)header_digest;
}

static void on_login_refused(void *data, uint8_t status_class, uint8_t detail, const char *moved_to)
{
    (void)data;
    (void)detail;
    if (status_class == 0)
        abort();
    if (moved_to)
        touch((const uint8_t *)moved_to, strlen(moved_to));
}

static void on_async(void *data, const struct iscsi_async_message *message)
{
    (void)data;
    touch(message->sense, message->sense_len);
    touch(message->pdu, message->pdu_len);
}

static void on_status(void *data, const struct inspector_status *status)
{
    (void)data;
    touch(status->sense, status->sense_len);
}

static void on_reject(void *data, uint8_t reason, const uint8_t *header)
{
    (void)data;
    (void)reason;
    touch(header, header ? PDU_HEADER_BYTES : 0);
}

static void on_text(void *data, const uint8_t *text, size_t len, bool complete)
{
    (void)data;
    (void)complete;
    touch(text, len);
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

static const struct inspector_events events = {
    .on_full_feature = on_full_feature,
    .on_login_refused = on_login_refused,
    .on_async = on_async,
    .on_status = on_status,
    .on_reject = on_reject,
    .on_managing = on_managing,
    .on_aborted = on_aborted,
    .on_managed = on_managed,
    .on_text = on_text,
};

/* Requests 0..6, one of each kind, wait for an answer. */
static void ask(struct inspector *in)
{
    for (uint8_t opcode = PDU_NOP_OUT; opcode <= PDU_LOGOUT_REQUEST; opcode++) {
        uint8_t header[PDU_HEADER_BYTES + DIGEST_BYTES] = {opcode};
        struct framer_pdu pdu = {.bytes = header, .len = sizeof(header), .header_len = PDU_HEADER_BYTES};

        pdu.data = header + PDU_HEADER_BYTES;
        pdu_put32(header + PDU_AT_ITT, opcode);
        pdu_put32(header + PDU_AT_EXPECTED_LENGTH, 64);
        if (inspector_from_initiator(in, &pdu) != INSPECTOR_FORWARD)
            abort();
    }
}

/* What goes to libiscsi is whole and its digest is right. */
static void check_forwarded(const struct inspector *in, const struct framer_pdu *pdu)
{
    bool digest = in->full_feature && in->header_digest;

    touch(pdu->bytes, pdu->len);
    if (pdu->len < PDU_HEADER_BYTES || (in->full_feature && pdu->bytes[PDU_AT_AHS_WORDS] != 0))
        abort();
    if (digest && pdu_opcode(pdu->bytes) != PDU_LOGIN_RESPONSE &&
        !digest_matches(pdu->bytes + PDU_HEADER_BYTES, pdu->bytes, PDU_HEADER_BYTES))
        abort();
}

/* False when the stream is of no more use. */
static bool feed(struct framer *framer, struct inspector *in, const uint8_t *bytes, size_t len)
{
    struct framer_pdu pdu;
    enum framer_result result;

    while ((result = framer_next(framer, &bytes, &len, &pdu)) == FRAMER_PDU) {
        enum inspector_verdict verdict = inspector_from_target(in, &pdu);

        if (verdict == INSPECTOR_REFUSE)
            return false;
        if (verdict == INSPECTOR_FORWARD)
            check_forwarded(in, &pdu);
        if (in->full_feature) {
            framer->header_digest = in->header_digest;
            framer->data_digest = in->data_digest;
        }
    }
    if (framer->cap > MAX_DATA_BYTES + PDU_HEADER_BYTES + 255 * 4 + 2 * DIGEST_BYTES + 3)
        abort();
    return result == FRAMER_MORE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct framer framer;
    struct inspector in;
    size_t step;

    if (size < 2)
        return 0;
    framer_init(&framer, MAX_DATA_BYTES);
    inspector_init(&in, data[0] & 8, &events, NULL);
    ask(&in);
    in.full_feature = data[0] & 1;
    framer.header_digest = in.header_digest = (data[0] & 3) == 3;
    framer.data_digest = in.data_digest = (data[0] & 5) == 5;
    step = data[1] ? data[1] : size;
    for (size_t at = 2; at < size; at += step)
        if (!feed(&framer, &in, data + at, size - at < step ? size - at : step))
            break;
    framer_deinit(&framer);
    return 0;
}
