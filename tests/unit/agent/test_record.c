/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/record.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "agent/identify.h"
#include "proto/event_view.h"
#include "proto/registry.h"
#include "sensebus/v1/agents.pb-c.h"

static const struct record_origin origin = {
    .host = "host-1", .boot_id = "boot", .epoch = 42, .source = SENSEBUS__V1__SOURCE__SOURCE_ISCSI, .sequence = 7};
static const uint8_t sense_mode[18] = {0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x2a, 1};

/* The record as the broker gets it: scanned by its rules, then unpacked. */
static Sensebus__V1__Event *sent(const struct record_bytes *event, const struct record_origin *o)
{
    size_t size = record_element_write(NULL, event->bytes, event->len, o), len;
    uint8_t *out = malloc(size);
    const uint8_t *cursor = out, *found;
    struct event_view view;
    Sensebus__V1__Event *e;
    char err[128] = "";

    cr_assert_eq(record_element_write(out, event->bytes, event->len, o), size);
    cr_assert(records_next(&cursor, out + size, &found, &len));
    cr_assert_eq(cursor, out + size);
    cr_assert_eq(event_scan(found, len, &(struct event_limits){0}, &view, err, sizeof err), 0, "%s", err);
    e = sensebus__v1__event__unpack(NULL, len, found);
    cr_assert_not_null(e);
    free(out);
    free(event->bytes);
    return e;
}

static Sensebus__V1__Event *encoded(const struct record *r)
{
    struct record_bytes event;

    cr_assert_eq(record_encode(r, &event), 0);
    return sent(&event, &origin);
}

static void done(Sensebus__V1__Event *e)
{
    sensebus__v1__event__free_unpacked(e, NULL);
}

static struct record on_unit(const struct identity *id)
{
    return (struct record){
        .code = SENSEBUS__V1__CODE__MODE_PARAMETERS_CHANGED,
        .source = SENSEBUS__V1__SOURCE__SOURCE_ISCSI,
        .place =
            {.adapter = "iscsi0", .target = 3, .lun = 300, .target_name = "iqn.t", .portal = "p:1", .identity = id},
        .wall_ns = 1000,
        .boot_ns = 2000,
    };
}

/* Rule 22: what is for one target-mode session alone says so. */
Test(record, carries_mode_session_and_adapter_of_target_mode)
{
    struct record r = {
        .code = SENSEBUS__V1__CODE__BUFFERS_EXHAUSTED,
        .source = SENSEBUS__V1__SOURCE__SOURCE_TARGET,
        .mode = SENSEBUS__V1__MODE__MODE_TARGET,
        .place = {.adapter = "tgt7", .controller = 1007, .target = 2, .lun = -1, .target_name = "iqn.initiator"},
        .session_id = "s12",
    };
    Sensebus__V1__Event *e = encoded(&r);

    cr_assert_eq(e->mode, SENSEBUS__V1__MODE__MODE_TARGET);
    cr_assert_eq(e->aix_bits, 8);
    cr_assert_str_eq(e->session_id, "s12");
    cr_assert_str_eq(e->address->adapter, "tgt7");
    cr_assert_eq(e->address->controller, 1007);
    cr_assert_eq(e->address->target, 2);
    done(e);
}

Test(record, sense_becomes_an_event_with_its_evidence)
{
    struct identity id = {0};
    struct record r = on_unit(&id);
    char detail[64];
    Sensebus__V1__Event *e;

    identity_init(&id);
    id.known = true;
    id.device_type = 5;
    strcpy(id.vendor, "V");
    strcpy(id.designator, "naa.1");
    r.sense = sense_mode;
    r.sense_len = sizeof sense_mode;
    record_native_sense(&r.native, sense_mode, sizeof sense_mode, 0x00, detail, sizeof detail);
    e = encoded(&r);
    cr_assert_eq(e->code, SENSEBUS__V1__CODE__MODE_PARAMETERS_CHANGED);
    cr_assert_eq(e->severity, registry_find(e->code)->severity);
    cr_assert_eq(e->scope, SENSEBUS__V1__SCOPE__SCOPE_LUN);
    cr_assert_eq(e->mode, SENSEBUS__V1__MODE__MODE_INITIATOR);
    cr_assert_str_eq(e->origin->host, "host-1");
    cr_assert_eq(e->origin->agent_epoch, 42);
    cr_assert_eq(e->origin->source_sequence, 7);
    cr_assert_eq(e->address->target, 3);
    cr_assert_eq(e->address->lun, 300);
    cr_assert_eq(e->address->lun_raw, 0x412c000000000000);
    cr_assert_eq(e->address->bus, -1);
    cr_assert_eq(e->device->device_type, 5);
    cr_assert_str_eq(e->device->designator, "naa.1");
    cr_assert_str_eq(e->native->name, "unit-attention");
    cr_assert_eq(e->native->code, 6);
    cr_assert_eq(e->native->subcode, 0x2a01);
    cr_assert_eq(e->native->raw.len, sizeof sense_mode);
    cr_assert_eq(memcmp(e->sense->raw.data, sense_mode, sizeof sense_mode), 0);
    cr_assert_str_eq(e->sense->text, "Mode parameters changed");
    cr_assert_str_eq(e->summary, "Mode parameters changed (2A/01) on LUN 300 of iqn.t");
    cr_assert_eq(e->wall_time_unix_ns, 1000);
    cr_assert_eq(e->monotonic_time_ns, 2000);
    cr_assert(!e->synthetic);
    done(e);
}

Test(record, sense_that_does_not_decode_is_kept_raw)
{
    static const uint8_t garbage[] = {0xff, 0x01};
    struct record r = on_unit(NULL);
    char detail[64];
    Sensebus__V1__Event *e;

    r.code = SENSEBUS__V1__CODE__UNCLASSIFIED;
    r.sense = garbage;
    r.sense_len = sizeof garbage;
    record_native_sense(&r.native, garbage, sizeof garbage, -1, detail, sizeof detail);
    e = encoded(&r);
    cr_assert_eq(e->sense->raw.len, 2);
    cr_assert_eq(e->sense->response_code, 0);
    cr_assert_str_eq(e->native->name, "sense");
    cr_assert_eq(e->device->device_type, -1);
    done(e);
}

Test(record, what_is_too_long_is_cut_and_says_how_long_it_was)
{
    static uint8_t raw[10000];
    char name[224], detail[2000];
    struct record r = on_unit(NULL);
    Sensebus__V1__Event *e;

    memset(name, 'x', sizeof name);
    name[223] = 0;
    memset(detail, 0xc3, sizeof detail); /* and no valid UTF-8 either */
    detail[1999] = 0;
    r.place.target_name = name;
    r.native = (struct record_native){.name = "async-message",
                                      .raw = raw,
                                      .raw_len = sizeof raw,
                                      .detail = detail,
                                      .parameters = {1, 2, 3},
                                      .n_parameters = 3};
    e = encoded(&r);
    cr_assert_eq(e->native->raw.len, RECORD_MAX_RAW);
    cr_assert_eq(e->native->raw_length, 10000);
    cr_assert_eq(e->native->n_parameters, 3);
    cr_assert_eq(e->native->parameters[2], 3);
    cr_assert_leq(strlen(e->summary), 256);
    cr_assert(utf8_valid((uint8_t *)e->summary, strlen(e->summary)));
    done(e);
}

Test(record, the_summary_is_one_printable_line)
{
    struct record r = on_unit(NULL);
    Sensebus__V1__Event *e;

    r.place.lun = -1;
    r.native = (struct record_native){.name = "x", .detail = "line\nfeed\x1b[31m"};
    e = encoded(&r);
    cr_assert_str_eq(e->summary, "line?feed?[31m at iqn.t");
    cr_assert_str_eq(e->native->detail, "line\nfeed\x1b[31m", "the field keeps what was said");
    done(e);
}

Test(record, coalesced_records_carry_count_times_and_evidence)
{
    struct record_native evidence[RECORD_MAX_EVIDENCE + 5];
    struct record r = on_unit(NULL);
    Sensebus__V1__Event *e;

    for (size_t i = 0; i < sizeof evidence / sizeof evidence[0]; i++)
        evidence[i] = (struct record_native){.name = "unit-attention", .code = (uint32_t)i};
    r.evidence = evidence;
    r.n_evidence = sizeof evidence / sizeof evidence[0];
    r.count = 3;
    r.first_wall_ns = 10;
    e = encoded(&r);
    cr_assert_eq(e->n_evidence, RECORD_MAX_EVIDENCE);
    cr_assert_eq(e->evidence[2]->code, 2);
    cr_assert_eq(e->count, 3);
    cr_assert_eq(e->first_time_unix_ns, 10);
    cr_assert_eq(e->last_time_unix_ns, 1000);
    done(e);
}

Test(record, every_code_of_the_registry_can_be_encoded)
{
    for (size_t i = 0; i < registry_size(); i++) {
        struct record r = on_unit(NULL);
        Sensebus__V1__Event *e;

        r.code = registry_at(i)->code;
        e = encoded(&r);
        cr_assert_eq(e->aix_bits, registry_at(i)->aix_bits);
        cr_assert_eq(e->scope, registry_at(i)->scope);
        cr_assert(e->summary[0]);
        done(e);
    }
}

Test(record, a_device_of_the_kernel_carries_its_names_transport_and_numbers)
{
    static const char *const names[] = {"3:1:2:16640", "sdc", "mpathb"};
    struct record_kernel kernel = {
        .transport = SENSEBUS__V1__TRANSPORT__TRANSPORT_FC, .bus = 1, .lun_raw = 0x4100000000000000, .names = names};
    struct record r = on_unit(NULL);
    Sensebus__V1__Event *e;

    r.place = (struct record_place){.adapter = "host3", .controller = 3, .target = 2, .lun = 256, .kernel = &kernel};
    kernel.n_names = 3;
    e = encoded(&r);
    cr_assert_eq(e->address->bus, 1);
    cr_assert_eq(e->address->lun, 256);
    cr_assert_eq(e->address->lun_raw, 0x4100000000000000);
    cr_assert_eq(e->device->transport, SENSEBUS__V1__TRANSPORT__TRANSPORT_FC);
    cr_assert_eq(e->device->n_kernel_names, 3);
    cr_assert_str_eq(e->device->kernel_names[2], "mpathb");
    cr_assert_str_eq(e->summary, "mode pages changed on 3:1:2:16640");
    done(e);
}

Test(record, a_gap_says_how_much_is_missing_and_its_bits)
{
    struct record_gap gap = {.stage = SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_KERNEL,
                             .count = 3,
                             .at_least = true,
                             .aix_bits = 4,
                             .reason = "the queue was full"};
    struct record r = on_unit(NULL);
    Sensebus__V1__Event *e;

    r.code = SENSEBUS__V1__CODE__EVENTS_LOST;
    r.more_bits = 1;
    r.gap = &gap;
    e = encoded(&r);
    cr_assert_eq(e->aix_bits, 5);
    cr_assert_eq(e->loss->count, 3);
    cr_assert(e->loss->at_least);
    cr_assert_eq(e->loss->stage, SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_KERNEL);
    cr_assert_str_eq(e->summary, "at least 3 events lost: the queue was full on LUN 300 of iqn.t");
    done(e);
}

Test(record, a_loss_says_what_and_how_much)
{
    struct record_loss loss = {.first = 5, .last = 104, .aix_bits = 6, .wall_ns = 9, .reason = "full"};
    struct record_origin o = origin;
    struct record_bytes event;
    Sensebus__V1__Event *e;

    cr_assert_eq(record_encode_loss(&loss, &event), 0);
    cr_assert_eq(event.aix_bits, 6);
    o.sequence = 104;
    e = sent(&event, &o);
    cr_assert_eq(e->code, SENSEBUS__V1__CODE__EVENTS_LOST);
    cr_assert_eq(e->loss->count, 100);
    cr_assert_eq(e->loss->stage, SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_AGENT);
    cr_assert_eq(e->loss->first_source_sequence, 5);
    cr_assert_eq(e->loss->last_source_sequence, 104);
    cr_assert_eq(e->aix_bits, 6);
    cr_assert_str_eq(e->summary, "100 events lost: full");
    done(e);
}
