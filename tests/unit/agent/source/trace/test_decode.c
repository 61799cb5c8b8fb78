/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/trace/decode.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "proto/registry.h"
#include "sensebus/v1/event.pb-c.h"

/* What scsi_debug, tcm_loop and the disk driver made of Linux 6.1 at the trace points. */
struct recorded {
    const char *name;
    int32_t result;
    const char *cdb, *sense;
    enum trace_verdict verdict;
    const char *code; /* "" = none */
    bool at_once, state;
};

static uint8_t unhex(const char *text, uint8_t *out)
{
    uint8_t n = 0;

    for (unsigned byte; sscanf(text + 2 * n, "%2x", &byte) == 1; n++)
        out[n] = (uint8_t)byte;
    return n;
}

static struct trace_wire wire(const struct recorded *c)
{
    struct trace_wire w = {.mono_ns = 5491642000,
                           .host = 2,
                           .channel = 0,
                           .target = 1,
                           .lun = 3,
                           .kind = TRACE_DONE,
                           .result = c->result,
                           .retries = 1,
                           .allowed = 5};

    w.cdb_len = unhex(c->cdb, w.cdb);
    if (c->sense && c->sense[0]) {
        unhex(c->sense, w.sense);
        w.sense_len = sizeof w.sense; /* always all of the kernel's buffer */
    }
    return w;
}

static struct trace_record parsed(const struct trace_wire *w)
{
    struct trace_record r;

    cr_assert_eq(trace_parse((const uint8_t *)w, sizeof *w, &r), 0);
    return r;
}

Test(decode, judges_what_was_recorded)
{
    static const struct recorded cases[] = {
        {"capacity changed", 0x2, "000000000000", "700006000000000a000000002a0900000000", TRACE_EVENT,
         "CAPACITY_CHANGED", true, false},
        {"reported luns", 0x2, "000000000000", "700006000000000a000000003f0e00000000", TRACE_EVENT,
         "REPORTED_LUNS_CHANGED", true, false},
        {"microcode", 0x2, "000000000000", "700006000000000a000000003f1600000000", TRACE_EVENT, "MICROCODE_CHANGED",
         true, false},
        {"unknown attention", 0x2, "000000000000", "7206200500000000", TRACE_EVENT, "UNIT_ATTENTION_OTHER", true,
         false},
        {"medium error", 0x2, "28000000123400000100", "f00003000012340a00000000110000000000", TRACE_EVENT,
         "DEVICE_WARNING", false, false},
        {"medium error, descriptors", 0x2, "28000000123400000100", "7203110000000000", TRACE_EVENT, "DEVICE_WARNING",
         false, false},
        {"recovered, failure predicted", 0x2, "28000000000000000100", "700001000000000a000000005d0000000000",
         TRACE_EVENT, "FAILURE_PREDICTED", false, false},
        {"recovered", 0x2, "28000000000000000100", "700001000000000a00000000170100000000", TRACE_EVIDENCE, "", false,
         false},
        {"aborted by a check of protection", 0x50002, "28000000000000000100", "70000b000000000a00000000100100000000",
         TRACE_EVENT, "DEVICE_WARNING", false, false},
        {"deferred", 0x2, "2a000000000000000100", "710003000000000a000000000c0000000000", TRACE_EVENT, "DEFERRED_ERROR",
         true, false},
        {"not ready", 0x2, "000000000000", "700002000000000a00000000040100000000", TRACE_EVENT, "DEVICE_NOT_READY",
         false, true},
        {"no medium", 0x2, "000000000000", "700002000000000a000000003a0000000000", TRACE_EVENT, "MEDIUM_ABSENT", false,
         true},
        {"probe: opcode", 0x2, "a30c01120000000002000000", "700005000000000a00000000200000000000", TRACE_NOISE, "",
         false, false},
        {"probe: field", 0x2, "1a0008000400", "700005000000000a00000000240000000000", TRACE_NOISE, "", false, false},
        {"flush at removal", 0x40000, "35000000000000000000", "", TRACE_NOISE, "", false, false},
        {"read at a target that is gone", 0x40000, "28000000000000000100", "", TRACE_EVENT, "TARGET_OFFLINE", false,
         false},
        {"probe of nothing", 0x10000, "120000002400", "", TRACE_NOISE, "", false, false},
        {"transport disrupted", 0xe0000, "28000000000000000100", "", TRACE_EVENT, "TARGET_OFFLINE", false, false},
        {"driver asks again", 0xc0000, "28000000000000000100", "", TRACE_NOISE, "", false, false},
        {"reset by somebody", 0x80000, "28000000000000000100", "", TRACE_EVENT, "BUS_RESET", false, false},
        {"host byte of a later kernel", 0x770000, "28000000000000000100", "", TRACE_EVENT, "UNCLASSIFIED", false,
         false},
        {"negative result", -1, "28000000000000000100", "", TRACE_EVENT, "UNCLASSIFIED", false, false},
        {"task set full", 0x28, "28000000000000000100", "", TRACE_NOISE, "", false, false},
        {"task aborted", 0x40, "28000000000000000100", "", TRACE_EVENT, "COMMANDS_CLEARED", false, false},
        {"check condition without sense", 0x2, "28000000000000000100", "", TRACE_EVIDENCE, "", false, false},
        {"garbage for sense", 0x2, "28000000000000000100", "1234567890", TRACE_EVENT, "UNCLASSIFIED", false, false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct recorded *c = &cases[i];
        struct trace_wire w = wire(c);
        struct trace_record r = parsed(&w);
        struct trace_judgement j = trace_judge(&r);
        const struct registry_entry *entry = registry_find(j.code);

        cr_expect_eq(j.verdict, c->verdict, "%s", c->name);
        cr_expect_str_eq(entry ? entry->name : "", c->code, "%s", c->name);
        cr_expect_eq(j.at_once, c->at_once, "%s", c->name);
        cr_expect_eq(j.state, c->state, "%s", c->name);
    }
}

Test(decode, keeps_the_sense_as_long_as_it_says)
{
    struct recorded c = {.result = 2, .cdb = "28000000123400000100", .sense = "f00003000012340a00000000110000000000"};
    struct trace_wire w = wire(&c);
    struct trace_record r = parsed(&w);
    char detail[TRACE_DETAIL_BYTES];
    struct observation o;

    trace_observe(&r, 0, 3, detail, &o);
    cr_expect_eq(o.sense_len, 18);
    cr_expect_eq(o.sense[6], 0x34); /* the block's address is in it */
    cr_expect_eq(o.source, SENSEBUS__V1__SOURCE__SOURCE_TRACE);
    cr_expect_eq(o.count, 3);
    cr_expect_eq(o.place.host, 2);
    cr_expect_eq(o.place.channel, 0);
    cr_expect_eq(o.place.target, 1);
    cr_expect_eq(o.place.lun, 3);
    cr_expect_str_eq(o.native.name, "check-condition");
    cr_expect_eq(o.native.code, 3);
    cr_expect_eq(o.native.subcode, 0x1100);
    cr_expect_str_eq(o.native.detail, "in answer to command 28h");
    cr_expect_eq(o.native.n_parameters, 2);
    cr_expect_eq(o.native.parameters[0], 2);
    cr_expect_eq(o.native.parameters[1], 1);
}

Test(decode, describes_transport_results_with_the_command)
{
    struct recorded c = {.result = 0xe0000, .cdb = "28000000123400000100"};
    struct trace_wire w = wire(&c);
    struct trace_record r = parsed(&w);
    char detail[TRACE_DETAIL_BYTES];
    struct observation o;

    trace_observe(&r, 0, 1, detail, &o);
    cr_expect_str_eq(o.native.name, "host-status");
    cr_expect_eq(o.native.code, 0x0e);
    cr_expect_eq(o.native.subcode, 0);
    cr_expect_eq(o.native.raw_len, 10);
    cr_expect_str_eq(o.native.detail, "command 28h ended with DID_TRANSPORT_DISRUPTED, SCSI status 00h");
    cr_expect_null(o.sense);
}

Test(decode, takes_the_key_where_the_bytes_are_not_told)
{
    struct trace_record r = {.kind = TRACE_DONE,
                             .result = 2,
                             .retries = -1,
                             .cdb = {0x28},
                             .cdb_len = 10,
                             .has_key = true,
                             .key = 6,
                             .asc = 0x2a,
                             .ascq = 9};
    struct trace_judgement j = trace_judge(&r);
    char detail[TRACE_DETAIL_BYTES];
    struct observation o;

    cr_expect_str_eq(registry_find(j.code)->name, "CAPACITY_CHANGED");
    trace_observe(&r, j.code, 1, detail, &o);
    cr_expect_str_eq(o.native.name, "unit-attention");
    cr_expect_eq(o.native.code, 6);
    cr_expect_eq(o.native.subcode, 0x2a09);
    cr_expect_null(o.sense);
    cr_expect(strstr(o.native.detail, "Capacity data has changed"), "%s", o.native.detail);
}

struct transition {
    uint8_t from, to;
    enum trace_verdict verdict;
    const char *code;
};

Test(decode, judges_states)
{
    static const struct transition cases[] = {
        {1, 2, TRACE_EVIDENCE, ""},            /* created, running: a probe that ended */
        {2, 6, TRACE_EVENT, "DEVICE_OFFLINE"}, /* given up by the error handler, or by hand */
        {8, 7, TRACE_EVENT, "DEVICE_OFFLINE"}, /* blocked for too long */
        {2, 8, TRACE_EVIDENCE, ""},            /* blocked: may come back at once */
        {8, 2, TRACE_EVIDENCE, ""},            /* and does */
        {6, 2, TRACE_EVENT, "DEVICE_ONLINE"},  /* by hand */
        {7, 2, TRACE_EVENT, "DEVICE_ONLINE"},  /* the port is back */
        {7, 6, TRACE_EVIDENCE, ""},            /* offline it was */
        {2, 2, TRACE_NOISE, ""},               /* nothing changes */
        {3, 6, TRACE_NOISE, ""},               /* refused: the device is being removed */
        {2, 3, TRACE_EVIDENCE, ""},            /* removal begins: the uevent tells */
        {250, 251, TRACE_EVIDENCE, ""},        /* a later kernel's */
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct transition *c = &cases[i];
        struct trace_wire w = {.kind = TRACE_STATE, .state_from = c->from, .state_to = c->to};
        struct trace_record r = parsed(&w);
        struct trace_judgement j = trace_judge(&r);
        const struct registry_entry *entry = registry_find(j.code);

        cr_expect_eq(j.verdict, c->verdict, "%u to %u", c->from, c->to);
        cr_expect_str_eq(entry ? entry->name : "", c->code, "%u to %u", c->from, c->to);
        cr_expect(j.at_once);
    }
}

Test(decode, places_an_error_handler_at_its_adapter)
{
    struct trace_wire w = {.kind = TRACE_EH_WAKEUP, .host = 7};
    struct trace_record r = parsed(&w);
    char detail[TRACE_DETAIL_BYTES];
    struct observation o;

    cr_expect_eq(trace_judge(&r).verdict, TRACE_EVIDENCE);
    trace_observe(&r, 0, 1, detail, &o);
    cr_expect_eq(o.place.host, 7);
    cr_expect_eq(o.place.channel, -1);
    cr_expect_eq(o.place.target, -1);
    cr_expect_eq(o.place.lun, -1);
    cr_expect_str_eq(o.native.name, "error-handler");
}

Test(decode, refuses_what_is_no_record)
{
    struct trace_wire good = {.kind = TRACE_TIMEOUT, .cdb_len = 6}, bad;
    struct trace_record r;

    cr_assert_eq(trace_parse((const uint8_t *)&good, sizeof good, &r), 0);
    cr_expect_eq(trace_parse((const uint8_t *)&good, sizeof good - 1, &r), UV_EINVAL);
    cr_expect_eq(trace_parse((const uint8_t *)&good, 0, &r), UV_EINVAL);
    bad = good;
    bad.kind = 0;
    cr_expect_eq(trace_parse((const uint8_t *)&bad, sizeof bad, &r), UV_EINVAL);
    bad.kind = TRACE_STATE + 1;
    cr_expect_eq(trace_parse((const uint8_t *)&bad, sizeof bad, &r), UV_EINVAL);
    bad = good;
    bad.cdb_len = TRACE_CDB_BYTES + 1;
    cr_expect_eq(trace_parse((const uint8_t *)&bad, sizeof bad, &r), UV_EINVAL);
    bad = good;
    bad.sense_len = TRACE_SENSE_BYTES + 1;
    cr_expect_eq(trace_parse((const uint8_t *)&bad, sizeof bad, &r), UV_EINVAL);
}

/* ------------------------------------------------------------------------------------------------ answers of a target
 */

static struct trace_answer_wire answer_wire(const char *sense)
{
    struct trace_answer_wire w = {.mono_ns = 77,
                                  .lun = 5,
                                  .status = 2,
                                  .cdb_len = TRACE_CDB_BYTES,
                                  .cdb = {0x28, 0, 0, 0, 0x12},
                                  .initiator = "iqn.2026-01.example:host",
                                  .target = "iqn.2026-01.example:disks",
                                  .group = "tpgt_1",
                                  .hba = "fileio_0",
                                  .device = "d0"};

    unhex(sense, w.sense);
    w.sense_len = sizeof w.sense;
    return w;
}

static struct trace_record answered(const struct trace_answer_wire *w)
{
    struct trace_record r;

    cr_assert_eq(trace_parse_answer((const uint8_t *)w, sizeof *w, &r), 0);
    return r;
}

Test(decode, says_whom_the_target_told_and_of_which_unit)
{
    struct trace_answer_wire w = answer_wire("700006000000000a000000002a06000000000000");
    struct trace_record r = answered(&w);
    struct trace_judgement j = trace_judge(&r);
    char detail[TRACE_DETAIL_BYTES];
    struct observation o;

    cr_expect_eq(j.verdict, TRACE_EVENT);
    cr_expect_str_eq(registry_find(j.code)->name, "ALUA_STATE_CHANGED");
    cr_expect(j.at_once);
    trace_observe(&r, j.code, 1, detail, &o);
    cr_expect_eq(o.source, SENSEBUS__V1__SOURCE__SOURCE_TARGET);
    cr_expect_eq(o.place.host, -1);
    cr_expect_eq(o.place.channel, -1);
    cr_expect_eq(o.place.target, -1);
    cr_expect_eq(o.place.lun, 5);
    cr_expect_str_eq(o.target_name, "iqn.2026-01.example:disks");
    cr_expect_str_eq(o.object, "iqn.2026-01.example:host");
    cr_expect_str_eq(o.native.name, "target_cmd_complete");
    cr_expect_eq(o.native.code, 6);
    cr_expect_eq(o.native.subcode, 0x2a06);
    cr_expect_eq(o.sense_len, 18);
    cr_expect_str_eq(o.native.detail, "told iqn.2026-01.example:host on LUN 5 of iqn.2026-01.example:disks, tpgt_1, "
                                      "backstore fileio_0/d0, in answer to command 28h");
    cr_expect_eq(r.cdb_len, 10, "as long as its operation code says");
}

Test(decode, judges_what_a_target_tells_as_what_a_host_is_told)
{
    static const struct {
        const char *sense;
        enum trace_verdict verdict;
        const char *code;
        bool state;
    } cases[] = {
        {"700006000000000a000000002a09000000000000", TRACE_EVENT, "CAPACITY_CHANGED", false},
        {"700003000000000a000000001100000000000000", TRACE_EVENT, "DEVICE_WARNING", false},
        {"700002000000000a00000000040b000000000000", TRACE_EVENT, "DEVICE_NOT_READY", true},
        {"700005000000000a000000002000000000000000", TRACE_NOISE, "", false}, /* probes ask what is not there */
        {"00", TRACE_EVIDENCE, "", false},                                    /* no sense at all */
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trace_answer_wire w = answer_wire(cases[i].sense);
        struct trace_record r = answered(&w);
        struct trace_judgement j = trace_judge(&r);
        const struct registry_entry *entry = registry_find(j.code);

        cr_expect_eq(j.verdict, cases[i].verdict, "%s", cases[i].sense);
        cr_expect_str_eq(entry ? entry->name : "", cases[i].code, "%s", cases[i].sense);
        cr_expect_eq(j.state, cases[i].state, "%s", cases[i].sense);
    }
}

Test(decode, takes_names_without_an_end_and_with_anything_in_them)
{
    struct trace_answer_wire w = answer_wire("700006000000000a000000002a06000000000000");
    char detail[TRACE_DETAIL_BYTES];
    struct trace_record r;
    struct observation o;

    memset(w.initiator, 'i', sizeof w.initiator);
    memset(w.target, '\xff', sizeof w.target);
    memset(w.group, '\n', sizeof w.group);
    memset(w.hba, 'h', sizeof w.hba);
    w.device[0] = 0;
    r = answered(&w);
    cr_expect_eq(strlen(r.nexus.initiator), sizeof w.initiator - 1);
    cr_expect_null(strchr(r.nexus.group, '\n'));
    cr_expect_str_eq(r.nexus.backstore, "", "half a name is none");
    trace_observe(&r, 0, 1, detail, &o);
    cr_expect_lt(strlen(o.native.detail), TRACE_DETAIL_BYTES);

    memset(&w.initiator, 0, sizeof w.initiator + sizeof w.target + sizeof w.group);
    r = answered(&w);
    trace_observe(&r, 0, 1, detail, &o);
    cr_expect_null(o.target_name, "what is not known is not told");
    cr_expect_null(o.object);
    cr_expect_str_eq(o.native.detail, "told an initiator on LUN 5, in answer to command 28h");
}

Test(decode, refuses_what_is_no_answer_with_sense)
{
    struct trace_answer_wire good = answer_wire("700006"), bad = good;
    struct trace_record r;

    cr_expect_eq(trace_parse_answer((const uint8_t *)&good, sizeof good - 1, &r), UV_EINVAL);
    bad.status = 0;
    cr_expect_eq(trace_parse_answer((const uint8_t *)&bad, sizeof bad, &r), UV_EINVAL);
    bad = good;
    bad.cdb_len = TRACE_CDB_BYTES + 1;
    cr_expect_eq(trace_parse_answer((const uint8_t *)&bad, sizeof bad, &r), UV_EINVAL);
    bad = good;
    bad.sense_len = TRACE_SENSE_BYTES + 1;
    cr_expect_eq(trace_parse_answer((const uint8_t *)&bad, sizeof bad, &r), UV_EINVAL);
    bad = good;
    bad.lun = UINT64_MAX;
    cr_assert_eq(trace_parse_answer((const uint8_t *)&bad, sizeof bad, &r), 0);
    cr_expect_eq(r.place.lun, -1, "no number that there can be");
}
