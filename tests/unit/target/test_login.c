/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/target/iscsi/login.h"

#define NAMES "InitiatorName=iqn.i\0TargetName=iqn.t\0SessionType=Normal\0"

static const uint8_t challenge[LOGIN_CHALLENGE_BYTES] = {1, 2, 3};
static struct login_rules rules;
static struct login l;
static struct login_answer answer;

static void open_target(void)
{
    rules = (struct login_rules){.target_name = "iqn.t"};
    login_init(&l, &rules, challenge);
}

static void chap_target(void)
{
    open_target();
    rules.user = "user";
    rules.secret = "secret-of-user";
    rules.own_user = "target";
    rules.own_secret = "secret-of-target";
}

static void end(void)
{
    login_deinit(&l);
}

TestSuite(login, .init = open_target, .fini = end);

static enum login_status step(uint8_t flags, const char *text, size_t len)
{
    login_step(&l, flags, (const uint8_t *)text, len, &answer);
    return answer.status;
}
#define STEP(flags, text) step(flags, text, sizeof(text) - 1)

/* Is "key=value" among the answers? */
static bool answered(const char *item)
{
    for (size_t at = 0; at < answer.keys.len; at += strlen((char *)answer.keys.bytes + at) + 1)
        if (strcmp((char *)answer.keys.bytes + at, item) == 0)
            return true;
    return false;
}

Test(login, goes_through_both_stages)
{
    cr_assert_eq(STEP(0x81, NAMES "AuthMethod=CHAP,None\0"), LOGIN_SUCCESS);
    cr_assert(answered("AuthMethod=None") && answered("TargetPortalGroupTag=1") && answer.transit);
    cr_assert_eq(STEP(0x87, "HeaderDigest=CRC32C,None\0DataDigest=None\0MaxRecvDataSegmentLength=65536\0"
                            "InitialR2T=No\0ImmediateData=No\0MaxBurstLength=1000000\0MaxConnections=8\0X-mine=1\0"),
                 LOGIN_SUCCESS);
    cr_assert(answered("HeaderDigest=CRC32C") && answered("DataDigest=None") && answered("InitialR2T=Yes"));
    cr_assert(answered("ImmediateData=No") && answered("MaxBurstLength=262144") && answered("MaxConnections=1"));
    cr_assert(answered("X-mine=NotUnderstood") && answered("MaxRecvDataSegmentLength=262144"));
    cr_assert(answer.transit && answer.next_stage == LOGIN_FULL_FEATURE);
    cr_assert(l.terms.header_digest && !l.terms.data_digest && !l.terms.immediate_data);
    cr_assert_eq(l.terms.max_send_bytes, 65536);
}

Test(login, refuses_what_is_missing_or_wrong)
{
    static const struct {
        uint8_t flags;
        const char *text;
        size_t len;
        enum login_status status;
    } rows[] = {
#define ROW(flags, text, status) {flags, text, sizeof(text) - 1, status}
        ROW(0x87, "TargetName=iqn.t\0", LOGIN_MISSING_PARAMETER),
        ROW(0x87, "InitiatorName=iqn.i\0", LOGIN_MISSING_PARAMETER),
        ROW(0x87, "InitiatorName=iqn.i\0TargetName=iqn.u\0", LOGIN_NOT_FOUND),
        ROW(0x87, "InitiatorName=iqn.i\0SessionType=Other\0", LOGIN_INITIATOR_ERROR),
        ROW(0x87, NAMES "MaxBurstLength=5\0", LOGIN_INITIATOR_ERROR),
        ROW(0x87, NAMES "ImmediateData=Maybe\0", LOGIN_INITIATOR_ERROR),
        ROW(0x87, NAMES "HeaderDigest=SHA\0", LOGIN_INITIATOR_ERROR),
        ROW(0x87, NAMES "no end", LOGIN_INITIATOR_ERROR),
        ROW(0x84, NAMES, LOGIN_INITIATOR_ERROR),
        ROW(0x8b, NAMES, LOGIN_INITIATOR_ERROR),
        ROW(0xc7, NAMES, LOGIN_INITIATOR_ERROR),
        ROW(0x81, NAMES "AuthMethod=KRB5\0", LOGIN_AUTHENTICATION_FAILED),
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        login_deinit(&l);
        open_target();
        cr_assert_eq(step(rows[i].flags, rows[i].text, rows[i].len), rows[i].status, "row %zu: %04x", i, answer.status);
        cr_assert_eq(answer.keys.len, 0);
    }
}

Test(login, keys_may_be_split_over_pdus)
{
    cr_assert_eq(STEP(0x44, "InitiatorName=iqn.i\0Targ"), LOGIN_SUCCESS);
    cr_assert_not(answer.transit);
    cr_assert_eq(STEP(0x87, "etName=iqn.t\0"), LOGIN_SUCCESS);
    cr_assert(answer.transit);
}

Test(login, is_bounded)
{
    static char much[LOGIN_TEXT_MAX];
    int i;

    cr_assert_eq(step(0x44, much, sizeof(much)), LOGIN_SUCCESS);
    cr_assert_eq(step(0x44, much, 1), LOGIN_INITIATOR_ERROR);
    login_deinit(&l);
    open_target();
    for (i = 0; i < 100 && STEP(0x04, NAMES) == LOGIN_SUCCESS; i++)
        ;
    cr_assert_eq(i, LOGIN_MAX_STEPS);
}

/* The step of CHAP_A, then the answer to our challenge. */
static enum login_status respond(int algorithm, const char *user, const char *secret, const char *more, size_t more_len)
{
    uint8_t digest[CHAP_MAX_BYTES];
    size_t n = chap_response(algorithm, challenge[0], secret, challenge, sizeof(challenge), digest);
    char text[600];
    size_t len = (size_t)snprintf(text, sizeof(text), "CHAP_N=%s", user) + 1;

    len += (size_t)snprintf(text + len, sizeof(text) - len, "CHAP_R=0x");
    for (size_t i = 0; i < n; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%02x", digest[i]);
    len++;
    memcpy(text + len, more, more_len);
    return step(0x81, text, len + more_len);
}

Test(login, chap_lets_in_who_knows_the_secret, .init = chap_target)
{
    static const int algorithms[] = {5, 7};

    for (int i = 0; i < 2; i++) {
        login_deinit(&l);
        chap_target();
        cr_assert_eq(STEP(0x81, NAMES "AuthMethod=CHAP,None\0"), LOGIN_SUCCESS);
        cr_assert(answered("AuthMethod=CHAP") && !answer.transit);
        cr_assert_eq(algorithms[i] == 5 ? STEP(0x00, "CHAP_A=5\0") : STEP(0x00, "CHAP_A=9,7,5\0"), LOGIN_SUCCESS);
        cr_assert(answered(algorithms[i] == 5 ? "CHAP_A=5" : "CHAP_A=7") && answered("CHAP_I=1"));
        cr_assert_eq(respond(algorithms[i], "user", "secret-of-user", "", 0), LOGIN_SUCCESS);
        cr_assert(answer.transit);
    }
}

Test(login, chap_keeps_out_everybody_else, .init = chap_target)
{
    static const struct {
        const char *user, *secret;
    } rows[] = {{"user", "another"}, {"other", "secret-of-user"}};

    for (int i = 0; i < 2; i++) {
        login_deinit(&l);
        chap_target();
        STEP(0x00, NAMES "AuthMethod=CHAP\0");
        STEP(0x00, "CHAP_A=5\0");
        cr_assert_eq(respond(5, rows[i].user, rows[i].secret, "", 0), LOGIN_AUTHENTICATION_FAILED);
    }
    login_deinit(&l);
    chap_target();
    cr_assert_eq(STEP(0x87, NAMES), LOGIN_AUTHENTICATION_FAILED, "the security stage left out");
    login_deinit(&l);
    chap_target();
    cr_assert_eq(STEP(0x81, NAMES "AuthMethod=None\0"), LOGIN_AUTHENTICATION_FAILED);
    login_deinit(&l);
    chap_target();
    STEP(0x00, NAMES "AuthMethod=CHAP\0");
    cr_assert_neq(STEP(0x81, "CHAP_N=user\0CHAP_R=0x00\0"), LOGIN_SUCCESS, "a response without a challenge");
}

Test(login, mutual_chap_is_answered_but_never_for_our_own_challenge, .init = chap_target)
{
    STEP(0x00, NAMES "AuthMethod=CHAP\0");
    STEP(0x00, "CHAP_A=5\0");
    cr_assert_eq(respond(5, "user", "secret-of-user", "CHAP_I=9\0CHAP_C=0x0102\0", 23), LOGIN_SUCCESS);
    cr_assert(answered("CHAP_N=target"));
    login_deinit(&l);
    chap_target();
    STEP(0x00, NAMES "AuthMethod=CHAP\0");
    STEP(0x00, "CHAP_A=5\0");
    cr_assert_eq(respond(5, "user", "secret-of-user", "CHAP_I=1\0CHAP_C=0x01020300000000000000000000000000\0", 51),
                 LOGIN_AUTHENTICATION_FAILED);
}
