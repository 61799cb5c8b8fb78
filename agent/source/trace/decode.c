/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/trace/decode.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "agent/identify.h"
#include "proto/registry.h"
#include "proto/sense.h"
#include "sensebus/v1/code.pb-c.h"
#include "sensebus/v1/event.pb-c.h"

#define STATUS_CHECK_CONDITION 0x02 /* SAM-5 section 5.3.1 */
#define STATUS_TASK_ABORTED    0x40
#define KEY_NOT_READY          0x2
#define KEY_MEDIUM_ERROR       0x3
#define KEY_HARDWARE_ERROR     0x4
#define KEY_ILLEGAL_REQUEST    0x5
#define KEY_UNIT_ATTENTION     0x6
#define KEY_ABORTED_COMMAND    0xb

#define OPCODE_TEST_UNIT_READY      0x00
#define OPCODE_INQUIRY              0x12
#define OPCODE_START_STOP_UNIT      0x1b
#define OPCODE_SYNCHRONIZE_CACHE    0x35
#define OPCODE_SYNCHRONIZE_CACHE_16 0x91
#define OPCODE_REPORT_LUNS          0xa0

/* ------------------------------------------------------------------------------------------------ parsing */

static bool has_response_code(const uint8_t *sense)
{
    uint8_t code = sense[0] & 0x7f;

    return code >= 0x70 && code <= 0x73;
}

/* The kernel's buffer is always as long; what is in it says how much of that was sent (SPC-4 section 4.5.1). */
static uint8_t sense_length(const uint8_t *sense, uint8_t len)
{
    size_t told;

    if (len < 8 || !has_response_code(sense)) {
        while (len > 0 && sense[len - 1] == 0)
            len--;
        return len;
    }
    told = 8u + sense[7];
    return told < len ? (uint8_t)told : len;
}

int trace_parse(const uint8_t *bytes, size_t len, struct trace_record *out)
{
    struct trace_wire w;

    if (len < sizeof w)
        return UV_EINVAL;
    memcpy(&w, bytes, sizeof w);
    if (w.kind < TRACE_DONE || w.kind > TRACE_STATE || w.cdb_len > sizeof w.cdb || w.sense_len > sizeof w.sense)
        return UV_EINVAL;
    memset(out, 0, sizeof *out);
    out->kind = w.kind;
    out->mono_ns = w.mono_ns;
    out->place = (struct observation_place){(int32_t)w.host, -1, -1, -1};
    out->retries = out->allowed = -1;
    if (w.kind == TRACE_EH_WAKEUP)
        return 0;
    out->place.channel = (int32_t)w.channel;
    out->place.target = (int32_t)w.target;
    out->place.lun = w.lun <= INT64_MAX ? (int64_t)w.lun : -1;
    out->state_from = w.state_from;
    out->state_to = w.state_to;
    if (w.kind == TRACE_STATE)
        return 0;
    out->result = w.result;
    out->retries = w.retries;
    out->allowed = w.allowed;
    out->cdb_len = w.cdb_len;
    memcpy(out->cdb, w.cdb, w.cdb_len);
    out->sense_len = sense_length(w.sense, w.sense_len);
    memcpy(out->sense, w.sense, out->sense_len);
    return 0;
}

void trace_name(const char *bytes, size_t len, char *out, size_t cap)
{
    identify_text((const uint8_t *)bytes, strnlen(bytes, len), out, cap);
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
}

uint8_t trace_cdb_length(const uint8_t *cdb, uint8_t len)
{
    static const uint8_t lengths[8] = {6, 10, 10, TRACE_CDB_BYTES, 16, 12, TRACE_CDB_BYTES, TRACE_CDB_BYTES};
    uint8_t told = len > 0 ? lengths[cdb[0] >> 5] : 0;

    return told < len ? told : len;
}

int trace_parse_answer(const uint8_t *bytes, size_t len, struct trace_record *out)
{
    struct trace_answer_wire w;
    char hba[TRACE_LABEL_BYTES], device[TRACE_LABEL_BYTES];

    if (len < sizeof w)
        return UV_EINVAL;
    memcpy(&w, bytes, sizeof w);
    if (w.status != STATUS_CHECK_CONDITION || w.cdb_len > sizeof w.cdb || w.sense_len > sizeof w.sense)
        return UV_EINVAL;
    memset(out, 0, sizeof *out);
    out->kind = TRACE_ANSWER;
    out->mono_ns = w.mono_ns;
    out->place = (struct observation_place){-1, -1, -1, w.lun <= INT64_MAX ? (int64_t)w.lun : -1};
    out->retries = out->allowed = -1;
    out->result = w.status;
    out->cdb_len = trace_cdb_length(w.cdb, w.cdb_len);
    memcpy(out->cdb, w.cdb, out->cdb_len);
    out->sense_len = sense_length(w.sense, w.sense_len);
    memcpy(out->sense, w.sense, out->sense_len);
    trace_name(w.initiator, sizeof w.initiator, out->nexus.initiator, sizeof out->nexus.initiator);
    trace_name(w.target, sizeof w.target, out->nexus.target, sizeof out->nexus.target);
    trace_name(w.group, sizeof w.group, out->nexus.group, sizeof out->nexus.group);
    trace_name(w.hba, sizeof w.hba, hba, sizeof hba);
    trace_name(w.device, sizeof w.device, device, sizeof device);
    if (hba[0] && device[0])
        snprintf(out->nexus.backstore, sizeof out->nexus.backstore, "%s/%s", hba, device);
    return 0;
}

bool trace_sense_key(const struct trace_record *r, uint8_t *out_key, uint8_t *out_asc, uint8_t *out_ascq)
{
    struct sense s;

    if (r->sense_len > 0 && sense_decode(r->sense, r->sense_len, &s) == 0) {
        *out_key = s.key;
        *out_asc = s.asc;
        *out_ascq = s.ascq;
        return true;
    }
    if (!r->has_key)
        return false;
    *out_key = r->key;
    *out_asc = r->asc;
    *out_ascq = r->ascq;
    return true;
}

/* ------------------------------------------------------------------------------------------------ judging */

/* Host bytes of the result (include/scsi/scsi_status.h): what the adapter's driver says of the transport. */
struct host_status {
    const char *name;
    uint32_t code; /* 0: no event by itself */
    bool noise;    /* the midlayer sends the command again, as it is meant to */
};

static const struct host_status host_statuses[] = {
    [0x00] = {"DID_OK", 0, false},
    [0x01] = {"DID_NO_CONNECT", SENSEBUS__V1__CODE__TARGET_OFFLINE, false},
    [0x02] = {"DID_BUS_BUSY", 0, true},
    [0x03] = {"DID_TIME_OUT", SENSEBUS__V1__CODE__DEVICE_NOT_READY, false},
    [0x04] = {"DID_BAD_TARGET", SENSEBUS__V1__CODE__TARGET_OFFLINE, false},
    [0x05] = {"DID_ABORT", 0, false},
    [0x06] = {"DID_PARITY", SENSEBUS__V1__CODE__LINK_ERROR, false},
    [0x07] = {"DID_ERROR", SENSEBUS__V1__CODE__LINK_ERROR, false},
    [0x08] = {"DID_RESET", SENSEBUS__V1__CODE__BUS_RESET, false},
    [0x09] = {"DID_BAD_INTR", SENSEBUS__V1__CODE__ADAPTER_COMMAND_FAILED, false},
    [0x0a] = {"DID_PASSTHROUGH", 0, false},
    [0x0b] = {"DID_SOFT_ERROR", 0, false},
    [0x0c] = {"DID_IMM_RETRY", 0, true},
    [0x0d] = {"DID_REQUEUE", 0, true},
    [0x0e] = {"DID_TRANSPORT_DISRUPTED", SENSEBUS__V1__CODE__TARGET_OFFLINE, false},
    [0x0f] = {"DID_TRANSPORT_FAILFAST", SENSEBUS__V1__CODE__TARGET_OFFLINE, false},
    [0x10] = {"DID_TARGET_FAILURE", 0, false},
    [0x11] = {"DID_NEXUS_FAILURE", 0, false},
    [0x12] = {"DID_ALLOC_FAILURE", 0, false},
    [0x13] = {"DID_MEDIUM_ERROR", SENSEBUS__V1__CODE__DEVICE_WARNING, false},
    [0x14] = {"DID_TRANSPORT_MARGINAL", SENSEBUS__V1__CODE__LINK_ERROR, false},
};
static const struct host_status unknown_host_status = {"unknown host status", SENSEBUS__V1__CODE__UNCLASSIFIED, false};

static uint8_t host_byte(const struct trace_record *r)
{
    return (uint8_t)((uint32_t)r->result >> 16);
}

static const struct host_status *host_status(const struct trace_record *r)
{
    uint8_t host = host_byte(r);

    return host < sizeof host_statuses / sizeof *host_statuses ? &host_statuses[host] : &unknown_host_status;
}

static struct trace_judgement event(uint32_t code)
{
    return (struct trace_judgement){.verdict = code ? TRACE_EVENT : TRACE_EVIDENCE, .code = code};
}

/* What a probe asks places where nothing may be, and what the disk driver sends to a device that is being removed. */
static bool is_expected_to_fail(const struct trace_record *r)
{
    switch (r->cdb[0]) {
    case OPCODE_TEST_UNIT_READY:
    case OPCODE_INQUIRY:
    case OPCODE_REPORT_LUNS:
    case OPCODE_START_STOP_UNIT:
    case OPCODE_SYNCHRONIZE_CACHE:
    case OPCODE_SYNCHRONIZE_CACHE_16: return r->cdb_len > 0;
    default: return false;
    }
}

static struct trace_judgement judge_host(const struct trace_record *r)
{
    static const struct trace_judgement noise = {.verdict = TRACE_NOISE};
    const struct host_status *host = host_status(r);
    uint8_t byte = host_byte(r);

    if (host->noise || ((byte == 0x01 || byte == 0x04) && is_expected_to_fail(r)))
        return noise;
    return event(host->code);
}

/* The registry says what sense is an asynchronous condition. What a failed command of this host says beyond that of the
 * health of the unit is a warning without a kind of its own, as an initiator of the same host would not hear it. */
static struct trace_judgement judge_sense(uint8_t response_code, uint8_t key, uint8_t asc, uint8_t ascq)
{
    struct trace_judgement j = event(registry_classify_sense(response_code, key, asc, ascq));

    j.at_once = (response_code & 1) || key == KEY_UNIT_ATTENTION; /* 71h and 73h: deferred */
    j.state = key == KEY_NOT_READY && !j.at_once;
    if (key == KEY_ILLEGAL_REQUEST && !j.at_once)
        j.verdict = TRACE_NOISE;
    else if (!j.code && (key == KEY_MEDIUM_ERROR || key == KEY_HARDWARE_ERROR || key == KEY_ABORTED_COMMAND))
        j = event(SENSEBUS__V1__CODE__DEVICE_WARNING);
    else if (!j.code && key == KEY_NOT_READY)
        j = (struct trace_judgement){TRACE_EVENT, SENSEBUS__V1__CODE__DEVICE_NOT_READY, false, true};
    return j;
}

static struct trace_judgement judge_done(const struct trace_record *r)
{
    uint8_t status = (uint8_t)r->result, key, asc, ascq;

    if (status == STATUS_CHECK_CONDITION && trace_sense_key(r, &key, &asc, &ascq))
        return judge_sense(r->sense_len > 0 ? r->sense[0] & 0x7f : 0x70, key, asc, ascq);
    if (host_byte(r) != 0)
        return judge_host(r);
    if (status == STATUS_CHECK_CONDITION) /* with garbage for sense, or with none */
        return event(r->sense_len > 0 ? SENSEBUS__V1__CODE__UNCLASSIFIED : 0);
    if (status == STATUS_TASK_ABORTED) /* another initiator's doing: SAM-5 section 5.3.1 */
        return event(SENSEBUS__V1__CODE__COMMANDS_CLEARED);
    return (struct trace_judgement){.verdict = TRACE_NOISE}; /* busy, task set full, reservation conflict: flow */
}

static const char *state_name(uint8_t state)
{
    static const char *const names[] = {"?",       "created", "running",           "cancel", "deleted",
                                        "quiesce", "offline", "transport-offline", "block",  "created-block"};

    return state < sizeof names / sizeof *names ? names[state] : "?";
}

enum { STATE_CANCEL = 3, STATE_DELETED = 4, STATE_RUNNING = 2, STATE_OFFLINE = 6, STATE_TRANSPORT_OFFLINE = 7 };

/* The hook is before the change, so some of them are refused: those of a device that goes, and those to what is. */
static struct trace_judgement judge_state(const struct trace_record *r)
{
    bool was_offline = r->state_from == STATE_OFFLINE || r->state_from == STATE_TRANSPORT_OFFLINE;
    bool is_offline = r->state_to == STATE_OFFLINE || r->state_to == STATE_TRANSPORT_OFFLINE;
    struct trace_judgement j = {.verdict = TRACE_EVIDENCE, .at_once = true};

    if (r->state_from == r->state_to || r->state_from == STATE_CANCEL || r->state_from == STATE_DELETED)
        j.verdict = TRACE_NOISE;
    else if (is_offline && !was_offline)
        j = event(SENSEBUS__V1__CODE__DEVICE_OFFLINE);
    else if (r->state_to == STATE_RUNNING && was_offline)
        j = event(SENSEBUS__V1__CODE__DEVICE_ONLINE);
    j.at_once = true;
    return j;
}

struct trace_judgement trace_judge(const struct trace_record *r)
{
    switch (r->kind) {
    case TRACE_DONE: return judge_done(r);
    case TRACE_TIMEOUT: return event(SENSEBUS__V1__CODE__DEVICE_NOT_READY);
    case TRACE_EH_WAKEUP: return event(0);
    case TRACE_STATE: return judge_state(r);
    case TRACE_ANSWER: return judge_done(r); /* the unit's own words are the same from either end */
    }
    return event(SENSEBUS__V1__CODE__UNCLASSIFIED);
}

/* ------------------------------------------------------------------------------------------------ words */

static int opcode(const struct trace_record *r)
{
    return r->cdb_len > 0 ? r->cdb[0] : -1;
}

/* "command 28h", for the detail. */
static const char *command_name(const struct trace_record *r, char buf[16])
{
    if (r->cdb_len > 0)
        snprintf(buf, 16, "command %02Xh", r->cdb[0]);
    else
        snprintf(buf, 16, "a command");
    return buf;
}

static void describe_sense(const struct trace_record *r, char detail[TRACE_DETAIL_BYTES], struct record_native *n)
{
    uint8_t key, asc, ascq;

    record_native_sense(n, r->sense, r->sense_len, opcode(r), detail, TRACE_DETAIL_BYTES);
    if (r->sense_len == 0 && trace_sense_key(r, &key, &asc, &ascq)) {
        char text[SENSE_TEXT_BYTES];

        n->name = key == KEY_UNIT_ATTENTION ? "unit-attention" : "check-condition";
        n->code = key;
        n->subcode = (uint32_t)asc << 8 | ascq;
        snprintf(detail, TRACE_DETAIL_BYTES, "%s: %.100s (%02X/%02X)", sense_key_name(key), sense_text(asc, ascq, text),
                 asc, ascq);
    }
    if (host_byte(r) != 0) {
        size_t used = strlen(detail);

        snprintf(detail + used, TRACE_DETAIL_BYTES - used, ", %s", host_status(r)->name);
    }
}

static void describe_done(const struct trace_record *r, char detail[TRACE_DETAIL_BYTES], struct record_native *n)
{
    char command[16];
    uint8_t status = (uint8_t)r->result;

    if (status == STATUS_CHECK_CONDITION && (r->sense_len > 0 || r->has_key)) {
        describe_sense(r, detail, n);
    } else {
        n->name = host_byte(r) != 0 ? "host-status" : "scsi-status";
        n->code = host_byte(r);
        n->subcode = status;
        n->raw = r->cdb;
        n->raw_len = r->cdb_len;
        snprintf(detail, TRACE_DETAIL_BYTES, "%s ended with %s, SCSI status %02Xh", command_name(r, command),
                 host_status(r)->name, status);
    }
    n->parameters[0] = (uint32_t)r->result;
    n->parameters[1] = (uint32_t)r->retries;
    n->n_parameters = r->retries >= 0 ? 2 : 1;
}

static void add_words(char detail[TRACE_DETAIL_BYTES], const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add_words(char detail[TRACE_DETAIL_BYTES], const char *format, ...)
{
    size_t used = strlen(detail);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(detail + used, TRACE_DETAIL_BYTES - used, format, arguments);
    va_end(arguments);
}

/* "told iqn.i on LUN 0 of iqn.t, tpgt_1, backstore fileio_0/d0, in answer to command 00h" */
static void describe_answer(const struct trace_record *r, char detail[TRACE_DETAIL_BYTES], struct record_native *n)
{
    const struct trace_nexus *x = &r->nexus;
    char answer[TRACE_DETAIL_BYTES];

    describe_done(r, answer, n);
    n->name = "target_cmd_complete";
    n->n_parameters = 1; /* retries are the initiator's */
    snprintf(detail, TRACE_DETAIL_BYTES, "told %s", x->initiator[0] ? x->initiator : "an initiator");
    if (r->place.lun >= 0)
        add_words(detail, " on LUN %lld", (long long)r->place.lun);
    if (x->target[0])
        add_words(detail, " of %s", x->target);
    if (x->group[0])
        add_words(detail, ", %s", x->group);
    if (x->backstore[0])
        add_words(detail, ", backstore %s", x->backstore);
    add_words(detail, "%s%s", answer[0] ? ", " : "", answer);
}

/* Target and unit are the place, on the wire; the initiator is what these two cannot tell apart. */
static void place_answer(const struct trace_record *r, struct observation *out)
{
    out->source = SENSEBUS__V1__SOURCE__SOURCE_TARGET;
    out->target_name = r->nexus.target[0] ? r->nexus.target : NULL;
    out->object = r->nexus.initiator[0] ? r->nexus.initiator : NULL;
}

static void put_sense(const struct trace_record *r, struct observation *out)
{
    if (r->sense_len == 0)
        return;
    out->sense = r->sense;
    out->sense_len = r->sense_len;
}

void trace_observe(const struct trace_record *r, uint32_t code, uint32_t count, char detail[TRACE_DETAIL_BYTES],
                   struct observation *out)
{
    struct record_native *n = &out->native;
    char command[16];

    memset(out, 0, sizeof *out);
    out->source = SENSEBUS__V1__SOURCE__SOURCE_TRACE;
    out->code = code;
    out->place = r->place;
    out->count = count;
    n->detail = detail;
    switch (r->kind) {
    case TRACE_DONE:
        describe_done(r, detail, n);
        put_sense(r, out);
        n->detail = detail;
        return;
    case TRACE_ANSWER:
        place_answer(r, out);
        describe_answer(r, detail, n);
        put_sense(r, out);
        n->detail = detail;
        return;
    case TRACE_TIMEOUT:
        n->name = "command-timeout";
        n->raw = r->cdb;
        n->raw_len = r->cdb_len;
        snprintf(detail, TRACE_DETAIL_BYTES, "%s timed out", command_name(r, command));
        return;
    case TRACE_EH_WAKEUP:
        n->name = "error-handler";
        snprintf(detail, TRACE_DETAIL_BYTES, "the error handler of host%d begins", r->place.host);
        return;
    case TRACE_STATE:
        n->name = "state";
        n->code = r->state_to;
        n->subcode = r->state_from;
        snprintf(detail, TRACE_DETAIL_BYTES, "%s to %s", state_name(r->state_from), state_name(r->state_to));
        return;
    }
}
