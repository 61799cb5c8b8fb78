/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/iscsi/digest.h"
#include "agent/iscsi/inspector.h"
#include "tests/unit/agent/iscsi/pdus.h"

static struct inspector in;
static struct pdus p;
static struct framer framer;
static struct framer_pdu pdu; /* the last one inspected, as changed */
static char story[8192];      /* what was reported */

static void __attribute__((format(printf, 1, 2))) tell(const char *format, ...)
{
    size_t len = strlen(story);
    va_list args;

    va_start(args, format);
    vsnprintf(story + len, sizeof(story) - len, format, args);
    va_end(args);
}

static void tell_hex(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        tell("%02x", bytes[i]);
    tell(";");
}

static void on_full_feature(void *data, bool header_digest)
{
    (void)data;
    tell("full feature digest=%d;", header_digest);
}

static void on_login_refused(void *data, uint8_t status_class, uint8_t detail, const char *moved_to)
{
    (void)data;
    tell("refused %02x%02x %s;", status_class, detail, moved_to ? moved_to : "-");
}

static void on_async(void *data, const struct iscsi_async_message *m)
{
    (void)data;
    tell("async %u/%u %u,%u,%u lun=%llx pdu=%zu sense=", m->event, m->vcode, m->parameter1, m->parameter2,
         m->parameter3, (unsigned long long)m->lun_raw, m->pdu_len);
    tell_hex(m->sense, m->sense_len);
}

static void on_status(void *data, const struct inspector_status *s)
{
    (void)data;
    tell("status itt=%x lun=%llx op=%d %s%02x sense=", s->itt, (unsigned long long)s->lun_raw, s->opcode,
         s->refused ? "refused " : "", s->status);
    tell_hex(s->sense, s->sense_len);
}

static void on_reject(void *data, uint8_t reason, const uint8_t *header)
{
    (void)data;
    tell("reject %02x %s;", reason, header ? "header" : "-");
}

static void on_text(void *data, const uint8_t *text, size_t len, bool complete)
{
    (void)data;
    (void)text;
    tell("text %zu %d;", len, complete);
}

static void on_managing(void *data, uint32_t itt)
{
    (void)data;
    tell("managing %x;", itt);
}

static void on_aborted(void *data, uint32_t command_itt, uint32_t itt)
{
    (void)data;
    tell("aborted %x by %x;", command_itt, itt);
}

static void on_managed(void *data, uint32_t itt, bool rejected, uint8_t response)
{
    (void)data;
    tell("managed %x %s%u;", itt, rejected ? "rejected " : "", response);
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

/* One PDU, framed as it would come. */
static enum inspector_verdict inspect(bool from_target, const struct pdu_fields *fields)
{
    const uint8_t *bytes = p.bytes;
    size_t len;

    p.len = 0;
    p.header_digest = in.full_feature && in.header_digest;
    pdus_add(&p, fields);
    len = p.len;
    framer.header_digest = p.header_digest;
    cr_assert_eq(framer_next(&framer, &bytes, &len, &pdu), FRAMER_PDU);
    return from_target ? inspector_from_target(&in, &pdu) : inspector_from_initiator(&in, &pdu);
}
#define FROM_TARGET(...)    inspect(true, &(struct pdu_fields){__VA_ARGS__})
#define FROM_INITIATOR(...) inspect(false, &(struct pdu_fields){__VA_ARGS__})

/* What was reported since the last call. */
static const char *reported(void)
{
    static char copy[sizeof(story)];

    memcpy(copy, story, sizeof(story));
    story[0] = 0;
    return copy;
}

#define KEYS(text) .data = text, .data_len = sizeof(text) - 1

/* To full feature phase, the last StatSN being 100. */
static void log_in(bool digest)
{
    story[0] = 0;
    cr_assert_eq(
        FROM_INITIATOR(.opcode = PDU_LOGIN_REQUEST, .itt = 1, KEYS("HeaderDigest=CRC32C,None\0DataDigest=None\0")),
        INSPECTOR_FORWARD);
    if (digest)
        FROM_TARGET(.opcode = PDU_LOGIN_RESPONSE, .flags = 0x87, .itt = 1, .at24 = 100,
                    KEYS("HeaderDigest=CRC32C\0DataDigest=None\0"));
    else
        FROM_TARGET(.opcode = PDU_LOGIN_RESPONSE, .flags = 0x87, .itt = 1, .at24 = 100, KEYS("HeaderDigest=None\0"));
    cr_assert(in.full_feature);
    cr_assert_str_eq(reported(), digest ? "full feature digest=1;" : "full feature digest=0;");
}

static void send_tur(uint32_t itt, uint32_t expected_bytes)
{
    cr_assert_eq(
        FROM_INITIATOR(.opcode = PDU_SCSI_COMMAND, .itt = itt, .lun = UINT64_C(2) << 48, .at20 = expected_bytes),
        INSPECTOR_FORWARD);
}

/* The ExpStatSN that goes out now. */
static uint32_t acknowledged(void)
{
    cr_assert_eq(FROM_INITIATOR(.opcode = PDU_NOP_OUT, .itt = PDU_NO_TAG, .at28 = 1), INSPECTOR_FORWARD);
    if (in.header_digest)
        cr_assert(digest_matches(pdu.bytes + PDU_HEADER_BYTES, pdu.bytes, PDU_HEADER_BYTES));
    return pdu_get32(pdu.bytes + PDU_AT_EXPSTATSN);
}

static void setup(void)
{
    inspector_init(&in, false, &events, NULL);
    framer_init(&framer, 262144);
    story[0] = 0;
}

static void teardown(void)
{
    framer_deinit(&framer);
}

TestSuite(inspector, .init = setup, .fini = teardown);

Test(inspector, counts_every_status_bearing_pdu_in_expstatsn)
{
    for (int digest = 0; digest < 2; digest++) {
        inspector_init(&in, false, &events, NULL);
        log_in(digest);
        cr_assert_eq(acknowledged(), 101);
        FROM_TARGET(.opcode = PDU_ASYNC_MESSAGE, .flags = 0x80, .itt = PDU_NO_TAG, .at24 = 101, .at32 = {[4] = 255});
        cr_assert_eq(acknowledged(), 102);
        FROM_TARGET(.opcode = PDU_REJECT, .itt = PDU_NO_TAG, .at24 = 102);
        cr_assert_eq(acknowledged(), 103);
        send_tur(7, 64);
        FROM_TARGET(.opcode = PDU_DATA_IN, .itt = 7, .at24 = 0xdead, .data = "12345678", .data_len = 8);
        cr_assert_eq(acknowledged(), 103);
        FROM_TARGET(.opcode = PDU_DATA_IN, .flags = 0x81, .itt = 7, .at24 = 103, .at32 = {[11] = 8}, .data = "12",
                    .data_len = 2);
        cr_assert_eq(acknowledged(), 104);
        FROM_TARGET(.opcode = PDU_NOP_IN, .itt = PDU_NO_TAG, .at20 = 5, .at24 = 104);
        cr_assert_eq(acknowledged(), 104, "a ping does not use its StatSN up");
        send_tur(8, 0);
        FROM_TARGET(.opcode = PDU_SCSI_RESPONSE, .flags = 0x80, .itt = 8, .at24 = 104);
        cr_assert_eq(acknowledged(), 105);
    }
}

Test(inspector, counts_statsn_across_the_end_of_its_numbers)
{
    log_in(false);
    in.exp_statsn = UINT32_MAX;
    FROM_TARGET(.opcode = PDU_ASYNC_MESSAGE, .at24 = UINT32_MAX);
    cr_assert_eq(acknowledged(), 0);
    FROM_TARGET(.opcode = PDU_ASYNC_MESSAGE, .at24 = 0);
    cr_assert_eq(acknowledged(), 1);
}

Test(inspector, forgives_small_gaps_in_statsn_and_refuses_large_ones)
{
    log_in(false);
    cr_assert_eq(FROM_TARGET(.opcode = PDU_ASYNC_MESSAGE, .at24 = 111), INSPECTOR_CONSUME);
    cr_assert_eq(acknowledged(), 112);
    cr_assert_eq(FROM_TARGET(.opcode = PDU_ASYNC_MESSAGE, .at24 = 90), INSPECTOR_CONSUME);
    cr_assert_eq(acknowledged(), 112);
    cr_assert_eq(FROM_TARGET(.opcode = PDU_ASYNC_MESSAGE, .at24 = 112 + 5000), INSPECTOR_REFUSE);
    cr_assert_str_eq(in.error, "StatSN 5112 where 112 was due");
}

Test(inspector, attributes_sense_and_shows_libiscsi_good_without_data)
{
    static const uint8_t sense[] = {0, 18, 0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x29, 0, 0, 0, 0, 0};

    for (int digest = 0; digest < 2; digest++) {
        inspector_init(&in, false, &events, NULL);
        log_in(digest);
        send_tur(9, 0);
        cr_assert_eq(FROM_TARGET(.opcode = PDU_SCSI_RESPONSE, .flags = 0x80, .byte3 = 2, .itt = 9, .at24 = 101,
                                 .ahs = "1234", .ahs_len = 4, .data = sense, .data_len = sizeof(sense)),
                     INSPECTOR_FORWARD);
        cr_assert_str_eq(reported(), "status itt=9 lun=2000000000000 op=0 02 sense=70000600000000"
                                     "0a00000000290000000000;");
        cr_assert_eq(pdu.bytes[PDU_AT_STATUS], 0);
        cr_assert_eq(pdu_get32(pdu.bytes + PDU_AT_DATA_LENGTH), 0);
        cr_assert_eq(pdu.len, PDU_HEADER_BYTES + (digest ? DIGEST_BYTES : 0));
        cr_assert(!digest || digest_matches(pdu.bytes + PDU_HEADER_BYTES, pdu.bytes, PDU_HEADER_BYTES));
        cr_assert_eq(in.n_tasks, 0);
    }
}

Test(inspector, keeps_lengths_inside_the_data_segment)
{
    static const struct {
        const char *segment;
        size_t len;
        const char *expected;
    } table[] = {
        {"", 0, ""},         {"\0", 1, ""},       {"\0\x12", 2, ""}, {"\xff\xff\x70", 3, "70"},
        {"\0\0\x70", 3, ""}, {"\0\1pq", 4, "70"},
    };

    log_in(false);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char expected[128];

        send_tur(1, 0);
        FROM_TARGET(.opcode = PDU_SCSI_RESPONSE, .flags = 0x80, .byte3 = 2, .itt = 1, .at24 = in.exp_statsn,
                    .data = table[i].segment, .data_len = table[i].len);
        snprintf(expected, sizeof(expected), "status itt=1 lun=2000000000000 op=0 02 sense=%s;", table[i].expected);
        cr_assert_str_eq(reported(), expected);
        FROM_TARGET(.opcode = PDU_ASYNC_MESSAGE, .at24 = in.exp_statsn, .data = table[i].segment,
                    .data_len = table[i].len);
        snprintf(expected, sizeof(expected), "async 0/0 0,0,0 lun=0 pdu=%zu sense=%s;", 48 + table[i].len,
                 table[i].expected);
        cr_assert_str_eq(reported(), expected);
    }
}

Test(inspector, gives_libiscsi_no_answer_that_it_did_not_ask_for)
{
    static const enum pdu_opcode answers[] = {PDU_NOP_IN,        PDU_SCSI_RESPONSE, PDU_TASK_MANAGEMENT_RESPONSE,
                                              PDU_TEXT_RESPONSE, PDU_DATA_IN,       PDU_LOGOUT_RESPONSE};

    log_in(false);
    FROM_INITIATOR(.opcode = PDU_NOP_OUT, .itt = 3);
    for (size_t i = 1; i < sizeof(answers) / sizeof(answers[0]); i++) {
        cr_assert_eq(FROM_TARGET(.opcode = answers[i], .flags = 0x80, .itt = 3, .at24 = in.exp_statsn),
                     INSPECTOR_CONSUME, "0x%02x", answers[i]);
        cr_assert_eq(FROM_TARGET(.opcode = answers[i], .flags = 0x80, .itt = 4, .at24 = in.exp_statsn),
                     INSPECTOR_CONSUME);
    }
    cr_assert_str_eq(reported(), "status itt=3 lun=ffffffffffffffff op=-1 00 sense=;"
                                 "status itt=4 lun=ffffffffffffffff op=-1 00 sense=;");
    cr_assert_eq(FROM_TARGET(.opcode = PDU_NOP_IN, .itt = 3, .at24 = in.exp_statsn), INSPECTOR_FORWARD);
    cr_assert_eq(FROM_TARGET(.opcode = PDU_NOP_IN, .itt = 3, .at24 = in.exp_statsn), INSPECTOR_CONSUME, "twice");
}

Test(inspector, refuses_pdus_that_have_no_place)
{
    static const uint8_t opcodes[] = {0x00, 0x01, 0x06, 0x23, 0x31, 0x33, 0x3e};

    for (size_t i = 0; i < sizeof(opcodes); i++) {
        inspector_init(&in, false, &events, NULL);
        log_in(false);
        cr_assert_eq(FROM_TARGET(.opcode = opcodes[i], .at24 = 101), INSPECTOR_REFUSE, "0x%02x", opcodes[i]);
    }
}

Test(inspector, holds_data_in_to_what_was_asked_for)
{
    log_in(false);
    send_tur(5, 10);
    cr_assert_eq(FROM_TARGET(.opcode = PDU_DATA_IN, .itt = 5, .data = "123456", .data_len = 6), INSPECTOR_FORWARD);
    cr_assert_eq(FROM_TARGET(.opcode = PDU_DATA_IN, .itt = 5, .at32 = {[11] = 6}), INSPECTOR_CONSUME, "empty");
    cr_assert_eq(FROM_TARGET(.opcode = PDU_DATA_IN, .itt = 5, .data = "x", .data_len = 1), INSPECTOR_REFUSE, "offset");
    cr_assert_eq(FROM_TARGET(.opcode = PDU_DATA_IN, .itt = 5, .at32 = {[11] = 6}, .data = "12345", .data_len = 5),
                 INSPECTOR_REFUSE, "too much");
    cr_assert_eq(FROM_TARGET(.opcode = PDU_DATA_IN, .flags = 0x81, .itt = 5, .at24 = 101, .at32 = {[11] = 6}),
                 INSPECTOR_FORWARD, "status without data");
    cr_assert_eq(pdu_opcode(pdu.bytes), PDU_SCSI_RESPONSE);
}

Test(inspector, turns_a_reject_into_the_end_of_the_request)
{
    uint8_t rejected[PDU_HEADER_BYTES] = {PDU_SCSI_COMMAND};

    log_in(false);
    pdu_put32(rejected + PDU_AT_ITT, 6);
    send_tur(6, 0);
    cr_assert_eq(FROM_TARGET(.opcode = PDU_REJECT, .byte2 = 4, .itt = PDU_NO_TAG, .at24 = 101, .data = rejected,
                             .data_len = sizeof(rejected)),
                 INSPECTOR_FORWARD);
    cr_assert_eq(pdu_opcode(pdu.bytes), PDU_SCSI_RESPONSE);
    cr_assert_eq(pdu_get32(pdu.bytes + PDU_AT_ITT), 6);
    cr_assert_str_eq(reported(), "reject 04 header;status itt=6 lun=2000000000000 op=0 refused 00 sense=;");
    FROM_INITIATOR(.opcode = PDU_NOP_OUT, .itt = 6);
    cr_assert_eq(FROM_TARGET(.opcode = PDU_REJECT, .itt = PDU_NO_TAG, .at24 = 102, .data = rejected,
                             .data_len = sizeof(rejected)),
                 INSPECTOR_FORWARD);
    cr_assert_eq(pdu_opcode(pdu.bytes), PDU_NOP_IN);
    cr_assert_eq(FROM_TARGET(.opcode = PDU_REJECT, .itt = PDU_NO_TAG, .at24 = 103, .data = rejected, .data_len = 20),
                 INSPECTOR_CONSUME);
    cr_assert_str_eq(reported(), "reject 00 header;reject 00 -;");
}

#define LUN(n) (UINT64_C(n) << 48)

static void manage(uint32_t itt, uint8_t function, uint64_t lun)
{
    cr_assert_eq(
        FROM_INITIATOR(.opcode = PDU_TASK_MANAGEMENT_REQUEST, .flags = 0x80 | function, .itt = itt, .lun = lun),
        INSPECTOR_FORWARD);
}

static enum inspector_verdict managed(uint32_t itt, uint8_t response)
{
    return FROM_TARGET(.opcode = PDU_TASK_MANAGEMENT_RESPONSE, .flags = 0x80, .byte2 = response, .itt = itt,
                       .at24 = in.exp_statsn);
}

static enum inspector_verdict respond(uint32_t itt)
{
    static const uint8_t sense[] = {0, 18, 0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x29, 0, 0, 0, 0, 0};

    return FROM_TARGET(.opcode = PDU_SCSI_RESPONSE, .flags = 0x80, .byte3 = 2, .itt = itt, .at24 = in.exp_statsn,
                       .data = sense, .data_len = sizeof(sense));
}

/* Tasks 1 and 2 of LUN 2 before the function, 3 of LUN 5 too, 4 of LUN 2 after it. */
static void four_tasks_around(uint8_t function)
{
    inspector_init(&in, false, &events, NULL);
    log_in(false);
    send_tur(1, 0);
    send_tur(2, 96);
    FROM_INITIATOR(.opcode = PDU_SCSI_COMMAND, .itt = 3, .lun = LUN(5));
    manage(9, function, LUN(2));
    send_tur(4, 0);
    cr_assert_str_eq(reported(), "managing 9;");
}

Test(inspector, a_completed_function_ends_what_went_out_before_it_and_that_it_reaches)
{
    four_tasks_around(ISCSI_ABORT_TASK_SET);
    cr_assert_eq(managed(9, 0), INSPECTOR_FORWARD);
    cr_assert_eq(pdu.bytes[PDU_AT_RESPONSE], 0);
    cr_assert_str_eq(reported(), "aborted 1 by 9;aborted 2 by 9;managed 9 0;");
    four_tasks_around(ISCSI_LUN_RESET);
    managed(9, 0);
    cr_assert_str_eq(reported(), "aborted 1 by 9;aborted 2 by 9;managed 9 0;");
    four_tasks_around(ISCSI_TARGET_WARM_RESET);
    managed(9, 0);
    cr_assert_str_eq(reported(), "aborted 1 by 9;aborted 2 by 9;aborted 3 by 9;managed 9 0;");
}

Test(inspector, a_function_that_did_not_complete_ends_nothing)
{
    static const uint8_t responses[] = {1, 2, 3, 4, 5, 6, 255};

    for (size_t i = 0; i < sizeof(responses); i++) {
        char expected[32];

        four_tasks_around(ISCSI_TARGET_WARM_RESET);
        cr_assert_eq(managed(9, responses[i]), INSPECTOR_FORWARD);
        snprintf(expected, sizeof(expected), "managed 9 %u;", responses[i]);
        cr_assert_str_eq(reported(), expected);
        cr_assert_eq(respond(1), INSPECTOR_FORWARD);
        reported();
    }
    cr_assert_eq(managed(9, 0), INSPECTOR_CONSUME, "answered twice");
    cr_assert_str_eq(reported(), "");
}

Test(inspector, the_sense_of_an_aborted_command_is_reported_and_libiscsi_does_not_see_it)
{
    four_tasks_around(ISCSI_LUN_RESET);
    managed(9, 0);
    reported();
    cr_assert_eq(respond(1), INSPECTOR_CONSUME);
    cr_assert_str_eq(reported(), "status itt=1 lun=2000000000000 op=0 02 sense=70000600000000"
                                 "0a00000000290000000000;");
    cr_assert_eq(FROM_TARGET(.opcode = PDU_DATA_IN, .itt = 2, .data = "1234", .data_len = 4), INSPECTOR_CONSUME);
    cr_assert_eq(FROM_TARGET(.opcode = PDU_DATA_IN, .flags = 0x81, .itt = 2, .at24 = in.exp_statsn, .at32 = {[11] = 4},
                             .data = "5678", .data_len = 4),
                 INSPECTOR_CONSUME);
    cr_assert_eq(respond(4), INSPECTOR_FORWARD, "what came after goes on");
}

Test(inspector, a_rejected_function_is_told_and_libiscsi_sees_it_done)
{
    uint8_t rejected[PDU_HEADER_BYTES] = {PDU_TASK_MANAGEMENT_REQUEST};

    four_tasks_around(ISCSI_LUN_RESET);
    pdu_put32(rejected + PDU_AT_ITT, 9);
    cr_assert_eq(FROM_TARGET(.opcode = PDU_REJECT, .byte2 = 5, .itt = PDU_NO_TAG, .at24 = in.exp_statsn,
                             .data = rejected, .data_len = sizeof(rejected)),
                 INSPECTOR_FORWARD);
    cr_assert_eq(pdu_opcode(pdu.bytes), PDU_TASK_MANAGEMENT_RESPONSE);
    cr_assert_eq(pdu_get32(pdu.bytes + PDU_AT_ITT), 9);
    cr_assert_str_eq(reported(), "reject 05 header;managed 9 rejected 0;");
}

Test(inspector, aborted_commands_give_way_to_new_ones)
{
    log_in(false);
    for (uint32_t itt = 0; itt < INSPECTOR_MAX_TASKS - 1; itt++)
        send_tur(itt, 0);
    manage(9998, ISCSI_LUN_RESET, LUN(2));
    managed(9998, 0);
    for (uint32_t itt = 10000; itt < 10000 + INSPECTOR_MAX_TASKS; itt++)
        send_tur(itt, 0);
    cr_assert_eq(FROM_INITIATOR(.opcode = PDU_SCSI_COMMAND, .itt = 9999), INSPECTOR_REFUSE);
}

Test(inspector, bounds_the_requests_it_remembers)
{
    log_in(false);
    for (uint32_t itt = 0; itt < INSPECTOR_MAX_TASKS; itt++)
        send_tur(itt, 0);
    cr_assert_eq(FROM_INITIATOR(.opcode = PDU_SCSI_COMMAND, .itt = 9999), INSPECTOR_REFUSE);
}

Test(inspector, refuses_logins_that_libiscsi_would_misread)
{
    static const struct {
        struct pdu_fields answer;
        const char *error;
    } table[] = {
        {{.opcode = PDU_SCSI_RESPONSE, .itt = 1}, "PDU 0x21 where a login response was due"},
        {{.opcode = PDU_REJECT, .byte2 = 9}, "the login request was rejected, reason 0x09"},
        {{.opcode = PDU_LOGIN_RESPONSE, .itt = 2}, "login response to task 0x00000002, which asked nothing"},
        {{.opcode = PDU_LOGIN_RESPONSE, .itt = 1, .flags = 0x40}, "login response continued in another PDU"},
        {{.opcode = PDU_LOGIN_RESPONSE, .itt = 1, .ahs = "1234", .ahs_len = 4},
         "login response with additional headers"},
        {{.opcode = PDU_LOGIN_RESPONSE, .itt = 1, .data = "Key=Value", .data_len = 9},
         "login response whose keys do not end in NUL"},
        {{.opcode = PDU_LOGIN_RESPONSE, .itt = 1, .flags = 0x87, KEYS("DataDigest=CRC32C\0")},
         "the target chose DataDigest=CRC32C, which was not offered"},
        {{.opcode = PDU_LOGIN_RESPONSE, .itt = 1, .flags = 0x87}, "the target did not answer HeaderDigest"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        inspector_init(&in, false, &events, NULL);
        FROM_INITIATOR(.opcode = PDU_LOGIN_REQUEST, .itt = 1, KEYS("HeaderDigest=CRC32C,None\0DataDigest=None\0"));
        cr_assert_eq(inspect(true, &table[i].answer), INSPECTOR_REFUSE);
        cr_assert_str_eq(in.error, table[i].error);
        cr_assert_str_eq(reported(), "");
    }
}

Test(inspector, refuses_a_target_that_proves_nothing)
{
    for (int proof = 0; proof < 3; proof++) {
        enum inspector_verdict verdict;

        inspector_init(&in, true, &events, NULL);
        FROM_INITIATOR(.opcode = PDU_LOGIN_REQUEST, .itt = 1, KEYS("AuthMethod=CHAP,None\0"));
        if (proof == 1) /* an answer before there was a challenge is none */
            FROM_TARGET(.opcode = PDU_LOGIN_RESPONSE, .itt = 1, KEYS("CHAP_R=0x00\0"));
        FROM_INITIATOR(.opcode = PDU_LOGIN_REQUEST, .itt = 1, KEYS("CHAP_N=me\0CHAP_C=0x1234\0"));
        if (proof == 2)
            verdict = FROM_TARGET(.opcode = PDU_LOGIN_RESPONSE, .itt = 1, .flags = 0x87, KEYS("CHAP_R=0x01\0"));
        else
            verdict = FROM_TARGET(.opcode = PDU_LOGIN_RESPONSE, .itt = 1, .flags = 0x87);
        cr_assert_eq(verdict, proof == 2 ? INSPECTOR_FORWARD : INSPECTOR_REFUSE);
    }
    cr_assert_eq(in.full_feature, true);
}

Test(inspector, tells_a_refused_login_and_where_to_go)
{
    FROM_INITIATOR(.opcode = PDU_LOGIN_REQUEST, .itt = 1);
    cr_assert_eq(FROM_TARGET(.opcode = PDU_LOGIN_RESPONSE, .itt = 1, .at32 = {[4] = 2, [5] = 1}), INSPECTOR_CONSUME);
    FROM_INITIATOR(.opcode = PDU_LOGIN_REQUEST, .itt = 1);
    cr_assert_eq(FROM_TARGET(.opcode = PDU_LOGIN_RESPONSE, .itt = 1, .at32 = {[4] = 1, [5] = 2},
                             KEYS("X=Y\0TargetAddress=192.0.2.1:3260,1")),
                 INSPECTOR_CONSUME);
    cr_assert_str_eq(reported(), "refused 0201 -;refused 0102 192.0.2.1:3260,1;");
}

Test(inspector, takes_text_answers_for_itself)
{
    log_in(false);
    FROM_INITIATOR(.opcode = PDU_TEXT_REQUEST, .itt = 2);
    cr_assert_eq(FROM_TARGET(.opcode = PDU_TEXT_RESPONSE, .flags = 0x80, .itt = 2, .at24 = 101, KEYS("a=b\0")),
                 INSPECTOR_CONSUME);
    FROM_INITIATOR(.opcode = PDU_TEXT_REQUEST, .itt = 3);
    FROM_TARGET(.opcode = PDU_TEXT_RESPONSE, .flags = 0x40, .itt = 3, .at24 = 102);
    cr_assert_str_eq(reported(), "text 4 1;text 0 0;");
}
