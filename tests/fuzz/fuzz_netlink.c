/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel sends on netlink, as a hostile kernel would. Byte 0 says which protocol: iSCSI, Fibre Channel,
 * TCM-USER; the rest is the message. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/async_event.h"
#include "agent/iscsi/pdu.h"
#include "agent/source/fc_netlink_message.h"
#include "agent/source/iscsi_netlink_message.h"
#include "agent/source/iscsi_netlink_sessions.h"
#include "agent/source/tcmu_message.h"
#include "proto/registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define UEVENT_BYTES 56

/* Sums what results point at, so that a read out of bounds is caught. */
static volatile unsigned sum;

static void touch(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sum += bytes[i];
}

static void check_code(uint32_t code)
{
    if (!registry_find(code))
        abort();
}

/* Nothing of struct iscsi_uevent leaves, and of login and text nothing behind the header. */
static void check_allowed(const struct iscsi_netlink_message *m, const uint8_t *bytes)
{
    if (m->kind != ISCSI_NETLINK_ASYNC && (m->async.pdu || m->async.sense))
        abort();
    if (m->kind != ISCSI_NETLINK_REJECT && m->reject.pdu)
        abort();
    if (m->async.pdu && (m->async.pdu != bytes + UEVENT_BYTES || pdu_opcode(m->async.pdu) != PDU_ASYNC_MESSAGE))
        abort();
    if (m->reject.pdu && (m->reject.pdu != bytes + UEVENT_BYTES || m->reject.pdu_len > 2 * PDU_HEADER_BYTES))
        abort();
}

static void fuzz_iscsi(const uint8_t *bytes, size_t len)
{
    struct iscsi_kernel_session session;
    struct iscsi_netlink_message m;
    uint32_t code = 0;

    if (iscsi_netlink_parse(bytes, len, &m) < 0)
        return;
    check_allowed(&m, bytes);
    touch(m.async.pdu, m.async.pdu_len);
    touch(m.async.sense, m.async.sense_len);
    touch(m.reject.pdu, m.reject.pdu_len);
    sum += (unsigned)strlen(iscsi_netlink_kevent_name(m.kevent)) + (unsigned)strlen(iscsi_netlink_error_text(m.number));
    for (int phase = ISCSI_PHASE_NEW; phase <= ISCSI_PHASE_OVER; phase++) {
        iscsi_session_init(&session, m.sid);
        session.phase = (enum iscsi_phase)phase;
        if (iscsi_session_judge(&session, &m, &code) == ISCSI_NEWS_EVENT)
            check_code(code);
    }
}

static void fuzz_fc(const uint8_t *bytes, size_t len)
{
    uint32_t codes[FC_NETLINK_MAX_CODES];
    struct fc_netlink_message m;
    size_t n;

    if (fc_netlink_parse(0x11, bytes, len, &m) < 0)
        return;
    touch(m.data, m.data_len);
    touch(m.raw, m.raw_len);
    n = fc_netlink_codes(&m, codes);
    if (n < 1 || n > FC_NETLINK_MAX_CODES)
        abort();
    for (size_t i = 0; i < n; i++)
        check_code(codes[i]);
    sum += (unsigned)strlen(fc_netlink_event_name(m.event));
}

static void fuzz_tcmu(const uint8_t *bytes, size_t len)
{
    struct tcmu_message m;
    char detail[240];

    if (tcmu_parse(bytes, len, &m) < 0)
        return;
    check_code(m.code);
    tcmu_describe(&m, detail, sizeof detail);
    sum += (unsigned)strlen(m.device) + (unsigned)strlen(detail) + (unsigned)strlen(tcmu_command_name(m.command));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *exact;

    if (size == 0)
        return 0;
    exact = malloc(size - 1 ? size - 1 : 1); /* aligned, and it ends where the message does */
    if (!exact)
        return 0;
    memcpy(exact, data + 1, size - 1);
    switch (data[0] % 3) {
    case 0: fuzz_iscsi(exact, size - 1); break;
    case 1: fuzz_fc(exact, size - 1); break;
    case 2: fuzz_tcmu(exact, size - 1); break;
    }
    free(exact);
    return 0;
}
