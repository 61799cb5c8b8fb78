/* SPDX-License-Identifier: Apache-2.0 */
/* What is done at a logical unit: OPEN (a fresh INQUIRY says who is reached), HALT (ABORT TASK SET), RESET, INQUIRY,
 * TEST UNIT READY; and whether its events can be seen. */
#include "agent/operation.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/ask.h"
#include "agent/message_parts.h"
#include "agent/operations.h"
#include "agent/survey.h"
#include "agent/watch.h"
#include "runtime/clock.h"
#include "sensebus/v1/code.pb-c.h"

#define STATUS_GOOD            0x00
#define STATUS_CHECK_CONDITION 0x02
#define KEY_ILLEGAL_REQUEST    0x5
#define ASC_UNIT_NOT_SUPPORTED 0x25
#define QUALIFIER_CONNECTED    0

#define ERRNO_(name)  SENSEBUS__V1__ERRNO__ERRNO_##name
#define DETAIL_(name) SENSEBUS__V1__EINVAL_DETAIL__EINVAL_DETAIL_##name

/* ------------------------------------------------------------------------------------------------ what went wrong */

static void refuse_not_connected(const struct watch *w, struct refusal *why)
{
    refuse(why, ERRNO_(ENOCONNECT), DETAIL_(NONE), "not logged in at %.224s%s%.200s", w->target_name,
           w->reason[0] ? ": " : "", w->reason);
}

/* It could not be asked for. */
static bool refuse_ask(const struct operation *op, int rc, struct refusal *why)
{
    switch (rc) {
    case UV_ENOTCONN: refuse_not_connected(op->watch, why); break;
    case UV_ENOBUFS:
        refuse(why, ERRNO_(ENOMEM), DETAIL_(RESOURCE_EXHAUSTED),
               "too much is asked of the target and not answered yet");
        break;
    default: refuse(why, ERRNO_(ENOMEM), DETAIL_(NONE), "the agent: %s", uv_strerror(rc)); break;
    }
    return false;
}

/* It was not done. */
static void refuse_end(const struct operation *op, const struct ask_answer *answer, struct refusal *why)
{
    switch (answer->end) {
    case ASK_GONE:
        refuse(why, ERRNO_(ENOCONNECT), DETAIL_(NONE), "the session with %.224s ended", op->watch->target_name);
        break;
    case ASK_ABORTED:
        refuse(why, ERRNO_(EIO), DETAIL_(NONE), "aborted by task management of another session of the device");
        break;
    default: refuse(why, ERRNO_(EIO), DETAIL_(NONE), "the target rejected it"); break;
    }
}

/* SCSI said no. */
static void refuse_status(const struct ask_answer *answer, const char *command, struct refusal *why)
{
    struct message_sense sense;

    if (answer->scsi_status != STATUS_CHECK_CONDITION) {
        refuse(why, ERRNO_(EIO), DETAIL_(NONE), "%s: SCSI status %02Xh", command, answer->scsi_status);
        return;
    }
    message_sense(&sense, answer->sense, answer->sense_len);
    if (sense.decoded.key == KEY_ILLEGAL_REQUEST && sense.decoded.asc == ASC_UNIT_NOT_SUPPORTED)
        refuse(why, ERRNO_(ENODEV), DETAIL_(NONE), "logical unit not supported");
    else
        refuse(why, ERRNO_(EIO), DETAIL_(NONE), "%s: CHECK CONDITION, sense %X/%02X/%02X", command, sense.decoded.key,
               sense.decoded.asc, sense.decoded.ascq);
}

/* RFC 7143 section 11.6.1. */
static void refuse_response(uint8_t response, const char *function, struct refusal *why)
{
    switch (response) {
    case ISCSI_TASK_NO_TASK:
        refuse(why, ERRNO_(EIO), DETAIL_(NONE), "%s: response 1, task does not exist", function);
        break;
    case ISCSI_TASK_NO_LUN:
        refuse(why, ERRNO_(ENODEV), DETAIL_(NONE), "%s: response 2, LUN does not exist", function);
        break;
    case ISCSI_TASK_STILL_ALLEGIANT:
        refuse(why, ERRNO_(EIO), DETAIL_(NONE), "%s: response 3, task still allegiant", function);
        break;
    case ISCSI_TASK_NO_REASSIGNMENT:
        refuse(why, ERRNO_(EIO), DETAIL_(NONE), "%s: response 4, task allegiance reassignment not supported", function);
        break;
    case ISCSI_TASK_NOT_SUPPORTED:
        refuse(why, ERRNO_(ENXIO), DETAIL_(NOT_SUPPORTED),
               "%s: response 5, task management function not supported by the target", function);
        break;
    case ISCSI_TASK_NOT_AUTHORIZED:
        refuse(why, ERRNO_(EIO), DETAIL_(NONE), "%s: response 6, function authorization failed", function);
        break;
    case ISCSI_TASK_REJECTED:
        refuse(why, ERRNO_(EIO), DETAIL_(NONE), "%s: response 255, function rejected", function);
        break;
    default: refuse(why, ERRNO_(EIO), DETAIL_(NONE), "%s: response %u", function, response); break;
    }
}

/* ------------------------------------------------------------------------------------------------ OPEN */

/* Who answered, and what is known of it besides: of the same device only. */
static void complete_identity(struct identity *fresh, const struct unit *u)
{
    const struct identity *known = u ? &u->identity : NULL;

    if (!known || !known->known || strcmp(known->vendor, fresh->vendor) != 0 ||
        strcmp(known->product, fresh->product) != 0)
        return;
    memcpy(fresh->serial, known->serial, sizeof fresh->serial);
    memcpy(fresh->designator, known->designator, sizeof fresh->designator);
}

static void answer_open(struct operation *op, const struct identity *reached)
{
    const struct watch *w = op->watch;
    Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;
    Sensebus__V1__OpenResult opened = SENSEBUS__V1__OPEN_RESULT__INIT;
    Sensebus__V1__DeviceAddress address = SENSEBUS__V1__DEVICE_ADDRESS__INIT;
    Sensebus__V1__Device device;

    address.host = (char *)op->owner->options.host;
    address.adapter = (char *)w->options.adapter;
    address.bus = -1;
    address.target = w->options.alias;
    address.target_name = w->target_name;
    address.lun = op->lun;
    message_device(&device, reached, w->target_name, w->portal);
    opened.reached = &device;
    opened.address = &address;
    opened.controller = 0; /* of the only initiator adapter, as in its records */
    opened.adapter_major = ADAPTER_MAJOR_ISCSI;
    opened.adapter_minor = 0;
    result.value_case = SENSEBUS__V1__OPERATION_RESULT__VALUE_OPEN;
    result.open = &opened;
    operation_answer(op, &result);
}

static void on_opened(void *data, const struct ask_answer *answer)
{
    struct operation *op = data;
    struct unit *u = watch_find_unit(op->watch, op->lun);
    struct identity reached;
    struct refusal why;

    op->ask = NULL;
    identity_init(&reached);
    if (answer->end != ASK_DONE) {
        refuse_end(op, answer, &why);
        operation_refuse(op, &why);
    } else if (answer->scsi_status != STATUS_GOOD) {
        refuse_status(answer, "INQUIRY", &why);
        operation_refuse(op, &why);
    } else if (identify_inquiry(answer->data, answer->len, &reached) < 0) {
        refuse(&why, ERRNO_(EIO), DETAIL_(NONE), "INQUIRY data is malformed");
        operation_refuse(op, &why);
    } else if (reached.qualifier != QUALIFIER_CONNECTED) {
        refuse(&why, ERRNO_(ENODEV), DETAIL_(NONE), "INQUIRY reports no logical unit here (qualifier %u)",
               reached.qualifier);
        operation_refuse(op, &why);
    } else {
        if (!u || u->absent)
            survey_want(op->watch); /* it is there, so it is to be watched */
        complete_identity(&reached, u);
        op->session->open = true;
        answer_open(op, &reached);
    }
}

bool operation_open(struct operation *op, struct refusal *why)
{
    struct watch *w = op->watch;
    int rc;

    if (w->options.lun >= 0 && w->options.lun != op->lun) {
        refuse(why, ERRNO_(ENODEV), DETAIL_(NONE), "of %.224s only LUN %" PRId32 " is watched", w->target_name,
               w->options.lun);
        return false;
    }
    rc = ask_command(w, op->lun, ASKED_INQUIRY, COMMAND_STANDARD_INQUIRY, on_opened, op, &op->ask);
    return rc < 0 ? refuse_ask(op, rc, why) : true;
}

/* ------------------------------------------------------------------------------------------------ HALT, RESET */

static void on_halted(void *data, const struct ask_answer *answer)
{
    struct operation *op = data;
    Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;
    struct refusal why;

    op->ask = NULL;
    if (answer->end == ASK_DONE && answer->response == ISCSI_TASK_COMPLETE) {
        operation_answer(op, &result);
        return;
    }
    if (answer->end == ASK_DONE)
        refuse_response(answer->response, "ABORT TASK SET", &why);
    else
        refuse_end(op, answer, &why);
    operation_refuse(op, &why);
}

bool operation_halt(struct operation *op, struct refusal *why)
{
    struct refusal halted;
    int rc = ask_function(op->watch, op->lun, ASKED_ABORT_TASK_SET, on_halted, op, &op->ask);

    if (rc < 0)
        return refuse_ask(op, rc, why);
    refuse(&halted, ERRNO_(EIO), DETAIL_(NONE), "aborted by HALT");
    operations_refuse_commands(op->owner, op->session, &halted);
    return true;
}

static void report_reset(struct operation *op)
{
    struct unit *u = op->lun_reset ? watch_find_unit(op->watch, op->lun) : NULL;
    struct unit stranger = {.watch = op->watch, .lun = op->lun};
    struct record r = {
        .code = op->lun_reset ? SENSEBUS__V1__CODE__LUN_RESET : SENSEBUS__V1__CODE__TARGET_RESET,
        .wall_ns = clock_wall_ns(),
        .boot_ns = clock_boot_ns(),
        .origin_session = op->session_id,
        .native = {.name = "task-management",
                   .code = op->lun_reset ? ISCSI_LUN_RESET : ISCSI_TARGET_WARM_RESET,
                   .subcode = ISCSI_TASK_COMPLETE,
                   .detail = op->lun_reset ? "LOGICAL UNIT RESET, asked for by a subscriber"
                                           : "TARGET WARM RESET, asked for by a subscriber"},
    };

    if (op->lun_reset && !u) {
        identity_init(&stranger.identity);
        u = &stranger;
    }
    watch_report(op->watch, &r, u);
    op->sequence = op->owner->ops->reported(op->owner->data);
}

static void on_reset(void *data, const struct ask_answer *answer)
{
    struct operation *op = data;
    struct operations *o = op->owner;
    const char *name = op->lun_reset ? "LOGICAL UNIT RESET" : "TARGET WARM RESET";
    struct refusal why;

    op->ask = NULL;
    if (answer->end == ASK_DONE && answer->response == ISCSI_TASK_COMPLETE) {
        report_reset(op);
        operations_held(o); /* it may be held already */
        return;
    }
    if (answer->end == ASK_DONE)
        refuse_response(answer->response, name, &why);
    else
        refuse_end(op, answer, &why);
    operation_refuse(op, &why);
}

bool operation_reset(struct operation *op, struct refusal *why)
{
    enum asked_kind kind = op->lun_reset ? ASKED_LUN_RESET : ASKED_TARGET_RESET;
    int rc = ask_function(op->watch, op->lun_reset ? op->lun : 0, kind, on_reset, op, &op->ask);

    return rc < 0 ? refuse_ask(op, rc, why) : true;
}

/* ------------------------------------------------------------------------------------------------ commands */

static void on_command(void *data, const struct ask_answer *answer)
{
    struct operation *op = data;
    Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;
    Sensebus__V1__CommandResult command = SENSEBUS__V1__COMMAND_RESULT__INIT;
    struct message_sense sense;
    struct refusal why;

    op->ask = NULL;
    if (answer->end != ASK_DONE) {
        refuse_end(op, answer, &why);
        operation_refuse(op, &why);
        return;
    }
    command.scsi_status = answer->scsi_status;
    if (answer->sense_len > 0) {
        message_sense(&sense, answer->sense, answer->sense_len);
        command.sense = &sense.message;
    }
    command.data.data = (uint8_t *)answer->data;
    command.data.len = answer->len;
    result.value_case = SENSEBUS__V1__OPERATION_RESULT__VALUE_COMMAND;
    result.command = &command;
    operation_answer(op, &result);
}

bool operation_inquiry(struct operation *op, int page, struct refusal *why)
{
    int rc = ask_command(op->watch, op->lun, ASKED_INQUIRY, page, on_command, op, &op->ask);

    return rc < 0 ? refuse_ask(op, rc, why) : true;
}

bool operation_test_unit_ready(struct operation *op, struct refusal *why)
{
    int rc = ask_command(op->watch, op->lun, ASKED_TEST_UNIT_READY, 0, on_command, op, &op->ask);

    return rc < 0 ? refuse_ask(op, rc, why) : true;
}

/* ------------------------------------------------------------------------------------------------ EVENT */

bool operation_can_see_events(const struct device_session *s, struct refusal *why)
{
    const struct watch *w = s->watch;
    const struct unit *u = watch_find_unit(w, s->lun);

    if (w->state != WATCH_UP)
        refuse(why, ERRNO_(ENXIO), DETAIL_(NOT_SUPPORTED), "no events of this device are seen now: %.224s",
               w->reason[0] ? w->reason : "not logged in");
    else if (!u && w->survey_problem[0])
        refuse(why, ERRNO_(ENXIO), DETAIL_(NOT_SUPPORTED), "LUN %u is not watched: %s", s->lun, w->survey_problem);
    else if (!u || u->absent)
        refuse(why, ERRNO_(ENXIO), DETAIL_(NOT_SUPPORTED), "LUN %u is not watched: the target does not report it",
               s->lun);
    else
        return true;
    return false;
}
