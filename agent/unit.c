/* SPDX-License-Identifier: Apache-2.0 */
/* The normal path: INQUIRY -> VPD 00h -> 80h -> 83h -> B0h (those it has) -> announced -> TEST UNIT READY until GOOD ->
 * a look (look.c) -> resting; then TEST UNIT READY at every poll.
 * INQUIRY reports no unit attention, so the events of the first drain already carry the identity.
 * A VPD page that is refused or garbage is left out; the unit is watched all the same.
 * CHECK CONDITION without sense: REQUEST SENSE asks for it, then the step goes on as failed.
 * A command that times out ends the sequence and counts as a poll without answer. */
#include "agent/unit.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/iscsi/session.h"
#include "agent/look.h"
#include "agent/survey.h"
#include "agent/watch.h"
#include "proto/sense.h"
#include "runtime/clock.h"
#include "sensebus/v1/event.pb-c.h"

#define STATUS_GOOD            0x00
#define STATUS_CHECK_CONDITION 0x02
#define STATUS_BUSY            0x08
#define QUALIFIER_NO_UNIT      3
#define OPCODE_TEST_UNIT_READY 0x00
#define KEY_UNIT_ATTENTION     0x6
#define OPCODE_REQUEST_SENSE   0x03

struct unit *unit_new(struct watch *w, uint16_t lun)
{
    struct unit *u = calloc(1, sizeof *u);

    if (!u)
        return NULL;
    u->watch = w;
    u->lun = lun;
    u->want_identify = true;
    identity_init(&u->identity);
    return u;
}

void unit_free(struct unit *u)
{
    if (!u)
        return;
    free(u->fresh);
    free(u);
}

const char *unit_state_name(const struct unit *u)
{
    switch (u->poll.state) {
    case POLL_READY: return "ready";
    case POLL_NOT_READY: return "not ready";
    case POLL_UNKNOWN:
    case POLL_NOT_SUPPORTED: break;
    }
    return "unknown";
}

/* ------------------------------------------------------------------------------------------------ events */

/* An event that comparing found. */
static void report_found(struct unit *u, uint32_t code, const char *name, const char *detail)
{
    struct record r = {
        .code = code,
        .wall_ns = clock_wall_ns(),
        .boot_ns = clock_boot_ns(),
        .synthetic = true,
        .prompt = true,
        .native = {.name = name, .detail = detail},
    };

    watch_report(u->watch, &r, u);
}

static void report_sense(struct unit *u, uint32_t code, const uint8_t *sense, size_t len, int opcode)
{
    char detail[64];
    struct record r = {
        .code = code,
        .wall_ns = clock_wall_ns(),
        .boot_ns = clock_boot_ns(),
        .sense = sense,
        .sense_len = len,
    };

    record_native_sense(&r.native, sense, len, opcode, detail, sizeof detail);
    watch_report(u->watch, &r, u);
}

void unit_sense(struct unit *u, const uint8_t *sense, size_t len, int opcode)
{
    bool is_poll = opcode == OPCODE_TEST_UNIT_READY || opcode == OPCODE_REQUEST_SENSE;
    struct poll_verdict verdict;
    struct sense s;

    if (sense_decode(sense, len, &s) < 0) {
        if (!u->garbage)
            report_sense(u, SENSEBUS__V1__CODE__UNCLASSIFIED, sense, len, opcode);
        u->garbage = true;
        return;
    }
    verdict = poll_sense(&u->poll, &s, is_poll);
    if (verdict.identify)
        u->want_identify = u->expect_changes = true;
    if (compare_announced(&u->compare, verdict.code))
        u->want_look = true;
    if (verdict.luns_changed && !survey_note_luns_changed(u->watch, u, sense, len, opcode))
        verdict.code = SENSEBUS__V1__CODE__REPORTED_LUNS_CHANGED; /* no memory to gather them: each by itself */
    if (verdict.code)
        report_sense(u, verdict.code, sense, len, opcode);
    if (verdict.survey)
        survey_want(u->watch);
}

/* ------------------------------------------------------------------------------------------------ steps */

static void set_problem(struct unit *u, const char *problem)
{
    snprintf(u->problem, sizeof u->problem, "%s", problem);
}

static void begin_poll(struct unit *u)
{
    poll_begin(&u->poll);
    look_reset(u);
    u->step = UNIT_POLL;
}

void unit_begin(struct unit *u)
{
    assert(u->step == UNIT_RESTING && !u->fresh);
    u->absent = false;
    u->skip = 0;
    u->fresh = calloc(1, sizeof *u->fresh);
    if (!u->fresh) { /* poll now, identify later */
        begin_poll(u);
        return;
    }
    identity_init(u->fresh);
    u->want_identify = false; /* a change that is told from now on asks for one more round */
    u->problem[0] = 0;
    u->step = UNIT_INQUIRY;
}

void unit_fetch_sense(struct unit *u)
{
    if (u->step != UNIT_RESTING || u->absent)
        return;
    begin_poll(u);
    u->step = UNIT_ASK_SENSE;
}

void unit_poll_due(struct unit *u)
{
    if (u->step != UNIT_RESTING || u->absent)
        return;
    if (u->skip > 0)
        u->skip--;
    else if (u->want_identify)
        unit_begin(u);
    else
        begin_poll(u);
}

bool unit_runnable(const struct unit *u)
{
    return u->step != UNIT_RESTING && !u->in_flight;
}

struct command unit_command(const struct unit *u)
{
    switch (u->step) {
    case UNIT_INQUIRY: return command_build(COMMAND_INQUIRY, COMMAND_STANDARD_INQUIRY);
    case UNIT_VPD_PAGES: return command_build(COMMAND_INQUIRY, 0x00);
    case UNIT_VPD_SERIAL: return command_build(COMMAND_INQUIRY, 0x80);
    case UNIT_VPD_DESIGNATORS: return command_build(COMMAND_INQUIRY, 0x83);
    case UNIT_VPD_LIMITS: return command_build(COMMAND_INQUIRY, 0xb0);
    case UNIT_ASK_SENSE: return command_build(COMMAND_REQUEST_SENSE, 0);
    case UNIT_LOOK_LIMITS:
    case UNIT_LOOK_PROTECTION:
    case UNIT_LOOK_PROTECTION_6:
    case UNIT_CAPACITY_16:
    case UNIT_CAPACITY_10: return look_command(u);
    case UNIT_POLL: break;
    case UNIT_RESTING: assert(!"a resting unit has no command"); break;
    }
    return command_build(COMMAND_TEST_UNIT_READY, 0);
}

/* Take what was learnt; tell when the unit is new or another one. */
static void identified(struct unit *u)
{
    struct identity before = u->identity;
    bool another = identity_differs(&before, u->fresh);

    u->fresh->n_blocks = before.n_blocks;
    u->fresh->block_bytes = before.block_bytes;
    u->identity = *u->fresh;
    free(u->fresh);
    u->fresh = NULL;
    look_identified(u, another);
    if (!u->announced) {
        u->announced = true;
        report_found(u, SENSEBUS__V1__CODE__DEVICE_ADDED, "report-luns", "logical unit found");
    } else if (!u->expect_changes && another) {
        report_found(u, SENSEBUS__V1__CODE__IDENTITY_CHANGED, "inquiry", "another device answers at this address");
    }
    u->expect_changes = u->want_identify;
    u->watch->ops->on_inventory(u->watch, u->watch->data);
    begin_poll(u);
}

/* INQUIRY says that nothing is here: not watched until the next survey. */
static void found_absent(struct unit *u)
{
    free(u->fresh);
    u->fresh = NULL;
    u->want_identify = false;
    u->absent = true;
    u->step = UNIT_RESTING;
    if (u->announced && u->identity.known) {
        look_tell(u);
        report_found(u, SENSEBUS__V1__CODE__DEVICE_REMOVED, "inquiry", "INQUIRY reports no logical unit here");
        u->watch->ops->on_inventory(u->watch, u->watch->data);
    }
    u->announced = false;
    identity_init(&u->identity);
    compare_reset(&u->compare);
}

/* The first of the steps from `step` on whose page the unit has. */
static void next_page(struct unit *u, enum unit_step step)
{
    unsigned pages = u->fresh->pages;

    if (step == UNIT_VPD_SERIAL && !(pages & IDENTITY_HAS_SERIAL))
        step = UNIT_VPD_DESIGNATORS;
    if (step == UNIT_VPD_DESIGNATORS && !(pages & IDENTITY_HAS_DESIGNATORS))
        step = UNIT_VPD_LIMITS;
    if (step == UNIT_VPD_LIMITS && !(pages & IDENTITY_HAS_BLOCK_LIMITS))
        identified(u);
    else
        u->step = step;
}

static void answer_inquiry(struct unit *u, const uint8_t *data, size_t len, bool good)
{
    int rc = good ? identify_inquiry(data, len, u->fresh) : -1;

    if (rc == 0 && u->fresh->qualifier == QUALIFIER_NO_UNIT) {
        found_absent(u);
    } else if (rc == 0) {
        u->step = UNIT_VPD_PAGES;
    } else {
        set_problem(u, good ? "INQUIRY data is malformed" : "INQUIRY failed");
        identified(u);
    }
}

static void answer_page(struct unit *u, const uint8_t *data, size_t len, bool good)
{
    static const char *const problems[] = {
        [UNIT_VPD_PAGES] = "VPD page 00h is malformed",
        [UNIT_VPD_SERIAL] = "VPD page 80h is malformed",
        [UNIT_VPD_DESIGNATORS] = "VPD page 83h is malformed",
        [UNIT_VPD_LIMITS] = "VPD page B0h is malformed",
    };
    enum unit_step step = u->step;
    int rc = 0;

    if (good) {
        switch (step) {
        case UNIT_VPD_PAGES: rc = identify_vpd_pages(data, len, u->fresh); break;
        case UNIT_VPD_SERIAL: rc = identify_vpd_serial(data, len, u->fresh); break;
        case UNIT_VPD_DESIGNATORS: rc = identify_vpd_designators(data, len, u->fresh); break;
        default: rc = identify_vpd_block_limits(data, len, u->fresh); break;
        }
    }
    if (rc < 0)
        set_problem(u, problems[step]);
    if (step == UNIT_VPD_LIMITS)
        identified(u);
    else
        next_page(u, step + 1);
}

/* After a drain. */
static void poll_over(struct unit *u, bool good)
{
    u->polled = true;
    u->step = UNIT_RESTING;
    if (good)
        look_step(u);
}

static void poll_answered(struct unit *u, enum poll_answer_kind kind, uint8_t key)
{
    enum poll_state before = u->poll.state;
    struct poll_next next = poll_answer(&u->poll, kind, key);
    char detail[96];

    if (next.code) {
        switch (kind) {
        case POLL_ANSWER_TIMEOUT:
            snprintf(detail, sizeof detail, "no answer within %" PRIu32 " ms", u->watch->options.command_timeout_ms);
            report_found(u, next.code, "command-timeout", detail);
            break;
        case POLL_ANSWER_NO_SENSE:
            report_found(u, next.code, "check-condition", "CHECK CONDITION without sense data");
            break;
        default:
            report_found(u, next.code, "test-unit-ready", "TEST UNIT READY is GOOD again");
            u->want_look = true; /* perhaps with another medium */
            break;
        }
    }
    if (kind == POLL_ANSWER_GOOD)
        u->garbage = false;
    if (before != u->poll.state)
        u->watch->ops->on_inventory(u->watch, u->watch->data);
    u->skip = next.skip;
    if (next.again)
        u->step = UNIT_POLL;
    else
        poll_over(u, kind == POLL_ANSWER_GOOD);
}

static void answer_poll(struct unit *u, const struct iscsi_command_result *result)
{
    struct sense s;

    if (result->scsi_status == STATUS_GOOD) {
        poll_answered(u, POLL_ANSWER_GOOD, 0);
    } else if (result->scsi_status != STATUS_CHECK_CONDITION) {
        poll_answered(u, POLL_ANSWER_BUSY, 0);
    } else if (result->sense_len == 0 && u->step == UNIT_POLL) {
        u->step = UNIT_ASK_SENSE;
    } else if (result->sense_len == 0) {
        poll_answered(u, POLL_ANSWER_NO_SENSE, 0);
    } else if (sense_decode(result->sense, result->sense_len, &s) < 0) {
        poll_answered(u, POLL_ANSWER_BUSY, 0); /* reported as garbage by unit_sense */
    } else {
        poll_answered(u, POLL_ANSWER_SENSE, s.key);
    }
}

static void answer_step(struct unit *u, enum unit_step step, const struct iscsi_command_result *result, bool attention);

/* The same for a command that was no poll: the step goes on as failed. */
static void answer_sense_of_step(struct unit *u, const struct iscsi_command_result *result)
{
    static const struct iscsi_command_result failed = {.scsi_status = STATUS_CHECK_CONDITION};
    struct sense s = {0};

    u->step = u->asked_for;
    u->asked_for = UNIT_RESTING;
    if (result->scsi_status == STATUS_GOOD && result->len > 0 && sense_decode(result->data, result->len, &s) == 0 &&
        (s.key != 0 || s.asc != 0 || s.ascq != 0))
        unit_sense(u, result->data, result->len < 252 ? result->len : 252, unit_command(u).cdb[0]);
    answer_step(u, u->step, &failed, s.key == KEY_UNIT_ATTENTION);
}

/* The sense that should have come with the CHECK CONDITION, as data. */
static void answer_ask_sense(struct unit *u, const struct iscsi_command_result *result)
{
    struct sense s;

    if (result->scsi_status != STATUS_GOOD) {
        answer_poll(u, result);
    } else if (result->len == 0 || sense_decode(result->data, result->len, &s) < 0 ||
               (s.key == 0 && s.asc == 0 && s.ascq == 0)) {
        poll_answered(u, POLL_ANSWER_NO_SENSE, 0);
    } else {
        unit_sense(u, result->data, result->len < 252 ? result->len : 252, OPCODE_REQUEST_SENSE);
        poll_answered(u, POLL_ANSWER_SENSE, s.key);
    }
}

static bool is_attention(const struct iscsi_command_result *result)
{
    struct sense s;

    return result->scsi_status == STATUS_CHECK_CONDITION && result->sense_len > 0 &&
           sense_decode(result->sense, result->sense_len, &s) == 0 && s.key == KEY_UNIT_ATTENTION;
}

/* Answers of what is no poll. */
static void answer_step(struct unit *u, enum unit_step step, const struct iscsi_command_result *result, bool attention)
{
    bool good = result->scsi_status == STATUS_GOOD;

    switch (step) {
    case UNIT_INQUIRY: answer_inquiry(u, result->data, result->len, good); break;
    case UNIT_LOOK_LIMITS:
    case UNIT_LOOK_PROTECTION:
    case UNIT_LOOK_PROTECTION_6:
    case UNIT_CAPACITY_16:
    case UNIT_CAPACITY_10: look_answer(u, result, attention); break;
    default: answer_page(u, result->data, result->len, good); break;
    }
}

void unit_answer(struct unit *u, const struct iscsi_command_result *result)
{
    static const struct iscsi_command_result refused = {.end = ISCSI_COMMAND_DONE, .scsi_status = STATUS_BUSY};

    if (result->end == ISCSI_COMMAND_REFUSED) /* a Reject: the target is there and does not do this now */
        result = &refused;
    if (result->end == ISCSI_COMMAND_TIMEOUT) {
        if (look_running(u))
            look_timed_out(u);
        u->asked_for = UNIT_RESTING;
        u->want_identify = u->want_identify || u->fresh;
        free(u->fresh);
        u->fresh = NULL;
        poll_answered(u, POLL_ANSWER_TIMEOUT, 0);
        return;
    }
    u->watch->last_proof_ns = clock_wall_ns();
    switch (u->step) {
    case UNIT_POLL: answer_poll(u, result); break;
    case UNIT_ASK_SENSE:
        if (u->asked_for == UNIT_RESTING)
            answer_ask_sense(u, result);
        else
            answer_sense_of_step(u, result);
        break;
    case UNIT_RESTING: assert(!"a resting unit has no command"); break;
    default:
        if (result->scsi_status == STATUS_CHECK_CONDITION && result->sense_len == 0) {
            u->asked_for = u->step;
            u->step = UNIT_ASK_SENSE;
        } else {
            answer_step(u, u->step, result, is_attention(result));
        }
        break;
    }
}

void unit_reset(struct unit *u)
{
    free(u->fresh);
    u->fresh = NULL;
    u->in_flight = false;
    u->step = u->asked_for = UNIT_RESTING;
    u->polled = false;
    u->skip = 0;
    u->poll.n_timeouts = 0;
    u->want_identify = true;
    u->n_luns_changed = 0;
    look_reset(u);
}
