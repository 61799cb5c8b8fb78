/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/sample_event.h"

#include <stdbool.h>
#include <string.h>

#include "proto/registry.h"

uint64_t sample_random(uint64_t *state)
{
    uint64_t x = *state ? *state : 88172645463325252u;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

static uint64_t below(struct sample_event *s, uint64_t n)
{
    return sample_random(&s->random) % n;
}

static bool coin(struct sample_event *s)
{
    return below(s, 2) == 0;
}

/* Small, large and every size between, so that each varint length comes up. */
static uint64_t number(struct sample_event *s)
{
    return sample_random(&s->random) >> below(s, 64);
}

/* Of one to four bytes a character. */
static char *text(struct sample_event *s)
{
    static const char *const pieces[] = {"a",    "Z", "9", " ", "\"",           "\\", "\n",
                                         "\x7f", "é", "ß", "€", "\xe2\x80\xa8", "𝄞"};
    char *out = s->texts[s->n_texts++];
    size_t n = below(s, 6);
    out[0] = '\0';
    for (size_t i = 0; i < n; i++)
        strcat(out, pieces[below(s, sizeof(pieces) / sizeof(*pieces))]);
    return out;
}

static ProtobufCBinaryData bytes(struct sample_event *s, size_t max)
{
    ProtobufCBinaryData data = {.len = below(s, max + 1), .data = s->bytes[s->n_bytes++]};
    for (size_t i = 0; i < data.len; i++)
        data.data[i] = (uint8_t)sample_random(&s->random);
    return data;
}

static void make_origin(struct sample_event *s)
{
    sensebus__v1__origin__init(&s->origin);
    s->origin.host = text(s);
    s->origin.boot_id = text(s);
    s->origin.agent_epoch = number(s);
    s->origin.source = (Sensebus__V1__Source)below(s, 11);
    s->origin.source_sequence = number(s);
}

static void make_address(struct sample_event *s)
{
    sensebus__v1__address__init(&s->address);
    s->address.adapter = text(s);
    s->address.bus = (int32_t)number(s);
    s->address.target = coin(s) ? -1 : (int32_t)below(s, 300);
    s->address.lun = coin(s) ? -1 : (int64_t)number(s);
    s->address.lun_raw = number(s);
    s->address.controller = -(int32_t)below(s, 3);
}

static void make_device(struct sample_event *s)
{
    sensebus__v1__device__init(&s->device);
    s->device.vendor = text(s);
    s->device.product = text(s);
    s->device.revision = text(s);
    s->device.serial = text(s);
    s->device.designator = text(s);
    s->device.device_type = (int32_t)below(s, 33) - 1;
    s->device.transport = (Sensebus__V1__Transport)below(s, 9);
    s->device.target_name = text(s);
    s->device.portal = text(s);
    s->device.n_kernel_names = below(s, SAMPLE_LIST_MAX + 1);
    s->device.kernel_names = s->kernel_names;
    for (size_t i = 0; i < s->device.n_kernel_names; i++)
        s->kernel_names[i] = text(s);
    s->device.raw_inquiry = bytes(s, 64);
}

static Sensebus__V1__Native *make_native(struct sample_event *s, size_t which)
{
    Sensebus__V1__Native *native = &s->natives[which];
    sensebus__v1__native__init(native);
    native->name = text(s);
    native->code = (uint32_t)number(s);
    native->subcode = (uint32_t)number(s);
    native->raw = bytes(s, 64);
    native->raw_length = (uint32_t)number(s);
    native->n_parameters = below(s, SAMPLE_LIST_MAX + 1);
    native->parameters = s->parameters[which];
    for (size_t i = 0; i < native->n_parameters; i++)
        native->parameters[i] = (uint32_t)number(s);
    native->detail = text(s);
    return native;
}

static void make_sense(struct sample_event *s)
{
    sensebus__v1__sense__init(&s->sense);
    s->sense.raw = bytes(s, 64);
    s->sense.response_code = 0x70 + (uint32_t)below(s, 4);
    s->sense.key = (uint32_t)below(s, 16);
    s->sense.asc = (uint32_t)below(s, 256);
    s->sense.ascq = (uint32_t)below(s, 256);
    s->sense.deferred = s->sense.response_code & 1;
    if (coin(s)) {
        s->sense._information_case = SENSEBUS__V1__SENSE___INFORMATION_INFORMATION;
        s->sense.information = number(s);
    }
    s->sense.text = text(s);
    s->sense.sense_key_specific = bytes(s, 3);
}

static void make_loss(struct sample_event *s)
{
    sensebus__v1__loss__init(&s->loss);
    s->loss.stage = (Sensebus__V1__LossStage)below(s, 7);
    s->loss.count = number(s);
    s->loss.at_least = coin(s);
    s->loss.aix_bits = (uint32_t)below(s, 16);
    s->loss.first_source_sequence = number(s);
    s->loss.last_source_sequence = number(s);
    s->loss.reason = text(s);
}

static void make_parts(struct sample_event *s)
{
    if (!coin(s) || !coin(s)) {
        make_origin(s);
        s->event.origin = &s->origin;
    }
    if (coin(s)) {
        make_address(s);
        s->event.address = &s->address;
    }
    if (coin(s)) {
        make_device(s);
        s->event.device = &s->device;
    }
    if (coin(s))
        s->event.native = make_native(s, 0);
    s->event.n_evidence = coin(s) ? 0 : below(s, SAMPLE_LIST_MAX + 1);
    s->event.evidence = s->evidence;
    for (size_t i = 0; i < s->event.n_evidence; i++)
        s->evidence[i] = make_native(s, 1 + i);
    if (coin(s)) {
        make_sense(s);
        s->event.sense = &s->sense;
    }
    if (coin(s)) {
        make_loss(s);
        s->event.loss = &s->loss;
    }
}

void sample_event_make(struct sample_event *sample, uint64_t *seed)
{
    const struct registry_entry *entry;

    memset(sample, 0, sizeof(*sample));
    sample_random(seed);
    sample->random = *seed;
    entry = registry_at(below(sample, registry_size()));
    sensebus__v1__event__init(&sample->event);
    sample->event.code = (Sensebus__V1__Code)entry->code;
    sample->event.severity = (Sensebus__V1__Severity)below(sample, 6);
    sample->event.scope = (Sensebus__V1__Scope)below(sample, 12);
    sample->event.mode = (Sensebus__V1__Mode)below(sample, 4);
    sample->event.wall_time_unix_ns = number(sample);
    sample->event.monotonic_time_ns = number(sample);
    sample->event.session_id = text(sample);
    sample->event.origin_session = text(sample);
    sample->event.aix_bits = (uint32_t)below(sample, 16);
    sample->event.count = number(sample);
    sample->event.synthetic = coin(sample);
    sample->event.summary = text(sample);
    make_parts(sample);
}
