/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "agent/iscsi/digest.h"
#include "agent/iscsi/pdu.h"
#include "tests/target/iscsi/session.h"

static struct device device;
static struct session_target target;
static struct session s;
static struct framer answers;
static uint8_t sent[1 << 21];
static size_t sent_len, sent_at;
static uint32_t cmdsn;
static int n_reinstated, aborted, n_cold;

static void on_send(void *data, const uint8_t *bytes, size_t len)
{
    (void)data;
    cr_assert_leq(len, sizeof(sent) - sent_len);
    memcpy(sent + sent_len, bytes, len);
    sent_len += len;
}

static void on_reinstate(void *data, const char *initiator, const uint8_t isid[6])
{
    (void)data;
    (void)isid;
    cr_assert_str_eq(initiator, "iqn.i");
    n_reinstated++;
}

static void on_abort_all(void *data, int number)
{
    aborted = number;
    session_abort(data, number);
}

static void on_cold_reset(void *data)
{
    (void)data;
    n_cold++;
}

static const struct session_events events = {on_send, on_reinstate, on_abort_all, on_cold_reset};

static void begin(void)
{
    const uint8_t challenge[LOGIN_CHALLENGE_BYTES] = {0};

    device_init(&device, "iqn.t", 1 << 20);
    device_add_unit(&device, 0, 1000, 512);
    target = (struct session_target){.device = &device, .rules.target_name = "iqn.t"};
    session_init(&s, &target, 7, challenge, &events, &s);
    strcpy(s.portal, "127.0.0.1:3260");
    framer_init(&answers, 1 << 20);
}

static void end(void)
{
    session_deinit(&s);
    framer_deinit(&answers);
    device_deinit(&device);
}

TestSuite(session, .init = begin, .fini = end);

/* A request of 48 bytes; fields by their offset are the caller's. */
static enum session_verdict give(uint8_t *header, const void *data, size_t len)
{
    struct framer_pdu pdu = {
        .bytes = header, .len = PDU_HEADER_BYTES, .header_len = PDU_HEADER_BYTES, .data = data, .data_len = len};

    put_be(header + 5, len, 3);
    return session_receive(&s, &pdu);
}

static enum session_verdict request(enum pdu_opcode opcode, uint8_t flags, uint32_t itt, const void *data, size_t len)
{
    uint8_t header[PDU_HEADER_BYTES] = {(uint8_t)opcode, flags};

    pdu_put32(header + PDU_AT_ITT, itt);
    pdu_put32(header + 24, cmdsn++);
    return give(header, data, len);
}

/* The next PDU that was sent; its header is good until the next call. */
static const uint8_t *next(const uint8_t **out_data, size_t *out_len)
{
    const uint8_t *in = sent + sent_at;
    size_t left = sent_len - sent_at;
    struct framer_pdu pdu;

    session_digests(&s, &answers.header_digest, &answers.data_digest);
    if (left > 0 && sent[sent_at] == PDU_LOGIN_RESPONSE)
        answers.header_digest = answers.data_digest = false;
    cr_assert_eq(framer_next(&answers, &in, &left, &pdu), FRAMER_PDU, "nothing more was sent");
    sent_at = sent_len - left;
    if (out_data) {
        *out_data = pdu.data;
        *out_len = pdu.data_len;
    }
    return pdu.bytes;
}

static const uint8_t *next_is(enum pdu_opcode opcode)
{
    const uint8_t *header = next(NULL, NULL);

    cr_assert_eq(pdu_opcode(header), opcode, "opcode %02x", header[0]);
    return header;
}

static void log_in_with(const char *text, size_t len)
{
    uint8_t header[PDU_HEADER_BYTES] = {PDU_LOGIN_REQUEST | 0x40, 0x87};

    cmdsn = 10;
    pdu_put32(header + 24, cmdsn);
    cr_assert_eq(give(header, text, len), SESSION_GOES_ON);
    header[0] = next_is(PDU_LOGIN_RESPONSE)[PDU_AT_LOGIN_CLASS];
    cr_assert_eq(header[0], 0);
    cr_assert(s.full_feature);
}
#define LOG_IN(more)                                                                                                   \
    log_in_with("InitiatorName=iqn.i\0TargetName=iqn.t\0" more,                                                        \
                sizeof("InitiatorName=iqn.i\0TargetName=iqn.t\0" more) - 1)

static enum session_verdict command(uint8_t flags, uint32_t itt, uint32_t expected, const uint8_t *cdb, size_t cdb_len,
                                    const void *data, size_t len)
{
    uint8_t header[PDU_HEADER_BYTES] = {PDU_SCSI_COMMAND, (uint8_t)(0x80 | flags)};

    pdu_put32(header + PDU_AT_ITT, itt);
    pdu_put32(header + PDU_AT_EXPECTED_LENGTH, expected);
    pdu_put32(header + 24, cmdsn++);
    memcpy(header + PDU_AT_CDB, cdb, cdb_len);
    return give(header, data, len);
}

static void clear_power_on(void)
{
    command(0, 1, 0, (const uint8_t[6]){0}, 6, NULL, 0);
    cr_assert_eq(next_is(PDU_SCSI_RESPONSE)[PDU_AT_STATUS], SCSI_CHECK_CONDITION);
}

static const uint8_t write_two[10] = {0x2a, 0, 0, 0, 0, 4, 0, 0, 2, 0};
static const uint8_t read_two[10] = {0x28, 0, 0, 0, 0, 4, 0, 0, 2, 0};

Test(session, nothing_goes_before_login)
{
    cr_assert_eq(request(PDU_NOP_OUT, 0x80, 1, NULL, 0), SESSION_ENDS);
}

Test(session, counts_statsn_and_expcmdsn_in_every_answer)
{
    const uint8_t *header;

    LOG_IN("");
    cr_assert_eq(n_reinstated, 1);
    clear_power_on();
    for (uint32_t i = 0; i < 3; i++) {
        request(PDU_NOP_OUT, 0x80, 5 + i, "ping", 4);
        header = next_is(PDU_NOP_IN);
        cr_assert_eq(pdu_get32(header + PDU_AT_STATSN), 3 + i);
        cr_assert_eq(pdu_get32(header + 28), cmdsn);
        cr_assert_eq(pdu_get32(header + 32), cmdsn + SESSION_WINDOW - 1);
    }
    session_ping(&s);
    cr_assert_eq(pdu_get32(next_is(PDU_NOP_IN) + PDU_AT_STATSN), 6, "not advanced");
    s.statsn_skew = 5;
    request(PDU_NOP_OUT, 0x80, 9, NULL, 0);
    cr_assert_eq(pdu_get32(next_is(PDU_NOP_IN) + PDU_AT_STATSN), 11);
}

Test(session, a_missing_command_number_ends_it_and_a_foreign_one_is_ignored)
{
    LOG_IN("");
    cmdsn += SESSION_WINDOW;
    cr_assert_eq(request(PDU_NOP_OUT, 0x80, 1, NULL, 0), SESSION_GOES_ON);
    cr_assert_eq(sent_at, sent_len);
    cmdsn = s.expcmdsn + 1;
    cr_assert_eq(request(PDU_NOP_OUT, 0x80, 1, NULL, 0), SESSION_ENDS);
}

Test(session, asks_for_data_and_reads_it_back_in_pieces)
{
    uint8_t block[1024], data_out[PDU_HEADER_BYTES] = {PDU_DATA_OUT, 0x80}, back[1024];
    const uint8_t *header, *data;
    size_t len;

    LOG_IN("MaxRecvDataSegmentLength=600\0HeaderDigest=CRC32C\0DataDigest=CRC32C\0");
    clear_power_on();
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (uint8_t)(i * 7);
    command(0x20, 2, 1024, write_two, 10, block, 100);
    header = next_is(PDU_R2T);
    cr_assert(pdu_get32(header + 40) == 100 && pdu_get32(header + 44) == 924);
    memcpy(data_out + PDU_AT_TTT, header + PDU_AT_TTT, 4);
    pdu_put32(data_out + PDU_AT_ITT, 2);
    pdu_put32(data_out + PDU_AT_BUFFER_OFFSET, 100);
    give(data_out, block + 100, 924);
    header = next_is(PDU_SCSI_RESPONSE);
    cr_assert(header[PDU_AT_STATUS] == SCSI_GOOD && header[PDU_AT_FLAGS] == 0x80);
    command(0x40, 3, 2048, read_two, 10, NULL, 0);
    for (size_t at = 0; at < 1024; at += len) {
        header = next(&data, &len);
        cr_assert_eq(pdu_get32(header + PDU_AT_BUFFER_OFFSET), at);
        memcpy(back + at, data, len);
        if (at + len == 1024)
            cr_assert(header[PDU_AT_FLAGS] == 0x83 && pdu_get32(header + 44) == 1024, "status, underflow of 1024");
    }
    cr_assert_arr_eq(back, block, 1024);
}

Test(session, data_that_was_not_asked_for_aborts_the_command)
{
    uint8_t data_out[PDU_HEADER_BYTES] = {PDU_DATA_OUT, 0x80}, block[1024] = {0};
    const uint8_t *header, *data;
    size_t len;

    LOG_IN("");
    clear_power_on();
    command(0x20, 2, 1024, write_two, 10, NULL, 0);
    memcpy(data_out + PDU_AT_TTT, next_is(PDU_R2T) + PDU_AT_TTT, 4);
    pdu_put32(data_out + PDU_AT_ITT, 2);
    pdu_put32(data_out + PDU_AT_BUFFER_OFFSET, 4);
    give(data_out, block, 1024);
    header = next(&data, &len);
    cr_assert_eq(header[PDU_AT_STATUS], SCSI_CHECK_CONDITION);
    cr_assert(len == 20 && (data[4] & 15) == KEY_ABORTED_COMMAND);
    cr_assert_eq(give(data_out, block, 1024), SESSION_GOES_ON);
    cr_assert_eq(sent_at, sent_len, "data of a command that is gone is dropped");
}

Test(session, what_breaks_the_protocol_is_rejected)
{
    uint8_t long_header[PDU_HEADER_BYTES + 4] = {PDU_NOP_OUT, 0x80, 0, 0, 1};
    struct framer_pdu pdu = {.bytes = long_header, .len = 52, .header_len = 52, .data = long_header + 52};

    LOG_IN("");
    request(0x10, 0x80, 1, NULL, 0);
    cr_assert_eq(next_is(PDU_REJECT)[PDU_AT_RESPONSE], 0x03);
    request(0x1c, 0x80, 1, NULL, 0);
    cr_assert_eq(next_is(PDU_REJECT)[PDU_AT_RESPONSE], 0x05);
    cmdsn = s.expcmdsn;
    command(0x60, 2, 0, read_two, 10, NULL, 0);
    cr_assert_eq(next_is(PDU_REJECT)[PDU_AT_RESPONSE], 0x04);
    pdu_put32(long_header + 24, cmdsn++);
    session_receive(&s, &pdu);
    cr_assert_eq(next_is(PDU_REJECT)[PDU_AT_RESPONSE], 0x09);
    command(0x20, 2, UNIT_TRANSFER_BYTES + 1, write_two, 10, NULL, 0);
    cr_assert_eq(next_is(PDU_SCSI_RESPONSE)[PDU_AT_STATUS], SCSI_CHECK_CONDITION);
}

Test(session, waiting_commands_are_bounded_and_narrow_the_window)
{
    LOG_IN("");
    clear_power_on();
    for (uint32_t i = 0; i < SESSION_WINDOW; i++) {
        command(0x20, 100 + i, 1024, write_two, 10, NULL, 0);
        cr_assert_eq(pdu_get32(next_is(PDU_R2T) + 32) - s.expcmdsn + 1, SESSION_WINDOW - i - 1);
    }
    command(0x20, 999, 1024, write_two, 10, NULL, 0);
    cr_assert_eq(next_is(PDU_SCSI_RESPONSE)[PDU_AT_STATUS], SCSI_BUSY);
    cr_assert_eq(session_abort(&s, 1), 0);
    cr_assert_eq(session_abort(&s, 0), SESSION_WINDOW);
}

Test(session, task_management)
{
    static const struct {
        uint8_t function, lun, response;
    } rows[] = {{1, 0, 1}, {2, 0, 0}, {2, 9, 2}, {3, 0, 5}, {4, 0, 0}, {5, 0, 0}, {6, 0, 0}, {8, 0, 4}};

    LOG_IN("");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t header[PDU_HEADER_BYTES] = {PDU_TASK_MANAGEMENT_REQUEST, (uint8_t)(0x80 | rows[i].function)};

        header[PDU_AT_LUN + 1] = rows[i].lun;
        pdu_put32(header + 24, cmdsn++);
        cr_assert_eq(give(header, NULL, 0), SESSION_GOES_ON);
        cr_assert_eq(next_is(PDU_TASK_MANAGEMENT_RESPONSE)[PDU_AT_RESPONSE], rows[i].response, "row %zu", i);
    }
    cr_assert_eq(aborted, DEVICE_ALL_UNITS);
    cr_assert_eq(request(PDU_TASK_MANAGEMENT_REQUEST, 0x87, 5, NULL, 0), SESSION_ENDS);
    cr_assert_eq(n_cold, 1);
}

Test(session, discovery_lists_the_target_and_does_nothing_else)
{
    static const char login[] = "InitiatorName=iqn.i\0SessionType=Discovery", ask[] = "SendTargets=All";
    static const char answer[] = "TargetName=iqn.t\0TargetAddress=127.0.0.1:3260,1";
    const uint8_t *data;
    size_t len;

    log_in_with(login, sizeof(login));
    request(PDU_TEXT_REQUEST, 0x80, 1, ask, sizeof(ask));
    next(&data, &len);
    cr_assert_eq(len, sizeof(answer));
    cr_assert_arr_eq(data, answer, len);
    command(0, 2, 0, read_two, 10, NULL, 0);
    next_is(PDU_REJECT);
    cr_assert_eq(request(PDU_LOGOUT_REQUEST, 0x80, 3, NULL, 0), SESSION_ENDS);
    cr_assert_eq(next_is(PDU_LOGOUT_RESPONSE)[PDU_AT_RESPONSE], 0);
}

Test(session, a_refusal_carries_its_status_and_address)
{
    uint8_t header[PDU_HEADER_BYTES] = {PDU_LOGIN_REQUEST | 0x40, 0x87};
    const uint8_t *data;
    size_t len;

    target.refuse = LOGIN_MOVED_TEMPORARILY;
    target.moved_to = "10.0.0.1:3260,1";
    cr_assert_eq(give(header, NULL, 0), SESSION_ENDS);
    cr_assert_eq(next(&data, &len)[PDU_AT_LOGIN_CLASS], 1);
    cr_assert_str_eq((const char *)data, "TargetAddress=10.0.0.1:3260,1");
    target.refuse = 0;
    header[3] = 1;
    cr_assert_eq(give(header, NULL, 0), SESSION_ENDS);
    cr_assert_eq(get_be(next_is(PDU_LOGIN_RESPONSE) + PDU_AT_LOGIN_CLASS, 2), LOGIN_BAD_VERSION);
    header[3] = 0;
    header[15] = 1;
    cr_assert_eq(give(header, NULL, 0), SESSION_ENDS);
    cr_assert_eq(get_be(next_is(PDU_LOGIN_RESPONSE) + PDU_AT_LOGIN_CLASS, 2), LOGIN_TOO_MANY_CONNECTIONS);
}

Test(session, asynchronous_messages_are_numbered)
{
    const struct session_async message = {.event = 255,
                                          .vcode = 3,
                                          .parameters = {1, 2, 0xffff},
                                          .lun = 300,
                                          .data = (const uint8_t *)"abc",
                                          .data_len = 3};
    const uint8_t *header, *data;
    uint32_t before;
    size_t len;

    LOG_IN("");
    before = s.statsn;
    cr_assert_eq(session_async(&s, &message), 0);
    header = next(&data, &len);
    cr_assert(pdu_opcode(header) == PDU_ASYNC_MESSAGE && pdu_get32(header + PDU_AT_STATSN) == before);
    cr_assert(header[PDU_AT_ASYNC_EVENT] == 255 && get_be(header + 42, 2) == 0xffff && get_be(header + 8, 2) == 0x412c);
    cr_assert(len == 3 && memcmp(data, "abc", 3) == 0);
    cr_assert_eq(s.statsn, before + 1);
}
