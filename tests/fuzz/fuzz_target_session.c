/* SPDX-License-Identifier: Apache-2.0 */
/* What an initiator sends to sensebus-target: cut into PDUs, from the login on.
 * Byte 0: bit 0 the target asks for CHAP, bit 1 logged in before the stream begins, bit 2 with digests; byte 1: how
 * many bytes come at a time; the rest is the stream. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/iscsi/pdu.h"
#include "tests/target/iscsi/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned sum;

static void on_send(void *data, const uint8_t *bytes, size_t len)
{
    (void)data;
    for (size_t i = 0; i < len; i++)
        sum += bytes[i];
}

static void on_reinstate(void *data, const char *initiator, const uint8_t isid[6])
{
    (void)data;
    sum += (unsigned)strlen(initiator) + isid[0];
}

static void on_abort_all(void *data, int number)
{
    session_abort(data, number);
}

static void on_cold_reset(void *data)
{
    (void)data;
}

static const struct session_events events = {on_send, on_reinstate, on_abort_all, on_cold_reset};

static void log_in(struct session *s, bool digests)
{
    static const char plain[] = "InitiatorName=iqn.i\0TargetName=iqn.t";
    static const char with_digests[] = "InitiatorName=iqn.i\0TargetName=iqn.t\0HeaderDigest=CRC32C\0DataDigest=CRC32C";
    uint8_t header[PDU_HEADER_BYTES] = {PDU_LOGIN_REQUEST | 0x40, 0x87};
    struct framer_pdu pdu = {.bytes = header, .len = PDU_HEADER_BYTES, .header_len = PDU_HEADER_BYTES};

    pdu.data = (const uint8_t *)(digests ? with_digests : plain);
    pdu.data_len = digests ? sizeof(with_digests) : sizeof(plain);
    if (session_receive(s, &pdu) != SESSION_GOES_ON || !s->full_feature)
        abort();
}

static bool feed(struct framer *framer, struct session *s, const uint8_t *bytes, size_t len)
{
    struct framer_pdu pdu;
    enum framer_result result;

    session_digests(s, &framer->header_digest, &framer->data_digest);
    while ((result = framer_next(framer, &bytes, &len, &pdu)) == FRAMER_PDU) {
        if (session_receive(s, &pdu) == SESSION_ENDS)
            return false;
        session_digests(s, &framer->header_digest, &framer->data_digest);
    }
    return result == FRAMER_MORE;
}

/* Nobody is in who has not shown that he knows the secret. */
static void check(const struct session *s)
{
    if (s->target->rules.secret && s->full_feature && !s->login.authenticated)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t challenge[LOGIN_CHALLENGE_BYTES] = {1, 2, 3, 4};
    static struct device device;
    struct session_target target = {.device = &device, .rules.target_name = "iqn.t"};
    struct framer framer;
    struct session s;
    size_t step;

    if (size < 2)
        return 0;
    device_init(&device, "iqn.t", 1 << 20);
    device_add_unit(&device, 0, 1000, 512);
    device_add_unit(&device, 1, UINT64_C(1) << 40, 4096);
    if (data[0] & 1 && !(data[0] & 2)) {
        target.rules.user = target.rules.own_user = "user";
        target.rules.secret = "a secret of the user";
        target.rules.own_secret = "a secret of the target";
    }
    session_init(&s, &target, 1, challenge, &events, &s);
    framer_init(&framer, LOGIN_DATA_BYTES);
    if (data[0] & 2)
        log_in(&s, data[0] & 4);
    step = data[1] ? data[1] : size;
    for (size_t at = 2; at < size; at += step)
        if (!feed(&framer, &s, data + at, size - at < step ? size - at : step))
            break;
    check(&s);
    session_deinit(&s);
    framer_deinit(&framer);
    device_deinit(&device);
    return 0;
}
