/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "proto/message.h"
#include "proto/wire.h"
#include "sensebus/v1/agents.pb-c.h"
#include "sensebus/v1/events.pb-c.h"
#include "tests/lib/sample_event.h"

static char err[120];

static void *unpack(const ProtobufCMessageDescriptor *descriptor, const char *bytes, size_t len)
{
    return message_unpack(descriptor, (const uint8_t *)bytes, len, 0);
}

Test(message, unpacks_what_is_well_formed)
{
    Sensebus__V1__AcknowledgeRequest *request = unpack(&sensebus__v1__acknowledge_request__descriptor,
                                                       "\x0a\x02"
                                                       "c1\x12\x02\x10\x05",
                                                       8);
    cr_assert_not_null(request);
    cr_assert_str_eq(request->cursor, "c1");
    cr_assert_eq(request->position->sequence, 5);
    cr_assert_eq(request_check_known(&request->base, err, sizeof err), 0);
    message_free(&request->base);
    request = unpack(&sensebus__v1__acknowledge_request__descriptor, NULL, 0);
    cr_assert_not_null(request);
    message_free(&request->base);
    message_free(NULL);
}

Test(message, refuses_by_name)
{
    static const struct {
        const ProtobufCMessageDescriptor *descriptor;
        const char *bytes;
        size_t len;
        const char *fault;
    } rows[] = {
        {&sensebus__v1__acknowledge_request__descriptor, "\x0a\x01\xff", 3, "AcknowledgeRequest.cursor: not UTF-8"},
        {&sensebus__v1__acknowledge_request__descriptor,
         "\x0a\x02"
         "a\x00",
         4, "AcknowledgeRequest.cursor: holds a NUL"},
        {&sensebus__v1__acknowledge_request__descriptor, "\x08\x01", 2, "AcknowledgeRequest.cursor: wrong wire type"},
        {&sensebus__v1__acknowledge_request__descriptor, "\x0a\x05", 2, "AcknowledgeRequest: malformed or cut off"},
        {&sensebus__v1__acknowledge_request__descriptor, "\x12\x02\x10\x80", 4,
         "AcknowledgeRequest.position: malformed or cut off"},
        {&sensebus__v1__subscribe_request__descriptor, "\x0a\x05\x62\x03\x22\x01\xff", 7,
         "SubscribeRequest.filter.exclude.hosts: not UTF-8"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        err[0] = 0;
        cr_expect_eq(message_check(rows[i].descriptor, (const uint8_t *)rows[i].bytes, rows[i].len, err, sizeof err),
                     UV_EINVAL);
        cr_expect_str_eq(err, rows[i].fault);
        cr_expect_null(unpack(rows[i].descriptor, rows[i].bytes, rows[i].len));
    }
}

/* Filter.exclude inside Filter.exclude, `levels` messages in all, written from the innermost outwards. */
static uint8_t *nested_filters(size_t levels, size_t *out_len)
{
    size_t room = levels * 6, len = 0;
    uint8_t *bytes = malloc(room);
    for (size_t i = 1; i < levels; i++) {
        uint8_t head[1 + VARINT_MAX_BYTES] = {12 << 3 | 2};
        size_t head_len = 1 + varint_write(head + 1, len);
        len += head_len;
        memcpy(bytes + room - len, head, head_len);
    }
    memmove(bytes, bytes + room - len, len);
    *out_len = len;
    return bytes;
}

Test(message, nesting_has_a_limit)
{
    for (size_t levels = 15; levels <= 18; levels++) {
        size_t len;
        uint8_t *bytes = nested_filters(levels, &len);
        Sensebus__V1__Filter *filter =
            (Sensebus__V1__Filter *)message_unpack(&sensebus__v1__filter__descriptor, bytes, len, 0);
        cr_expect_eq(filter != NULL, levels <= MESSAGE_MAX_DEPTH, "%zu levels", levels);
        if (filter)
            cr_expect_eq(request_check_known(&filter->base, err, sizeof err), 0, "%s", err);
        message_free(filter ? &filter->base : NULL);
        free(bytes);
    }
    size_t len;
    uint8_t *bytes = nested_filters(20000, &len);
    cr_expect_null(message_unpack(&sensebus__v1__filter__descriptor, bytes, len, 0), "deep enough to end a stack");
    free(bytes);
}

Test(message, memory_has_a_limit)
{
    size_t len = 2 * 1000000; /* each two bytes would become an Event of hundreds */
    uint8_t *bytes = malloc(len);
    for (size_t i = 0; i < len; i += 2) {
        bytes[i] = 0x12;
        bytes[i + 1] = 0;
    }
    cr_expect_null(message_unpack(&sensebus__v1__publish__descriptor, bytes, len, 0));
    cr_expect_null(message_unpack(&sensebus__v1__publish__descriptor, bytes, 200, 1000));
    struct ProtobufCMessage *small = message_unpack(&sensebus__v1__publish__descriptor, bytes, 200, 0);
    cr_expect_not_null(small);
    message_free(small);
    free(bytes);
}

Test(message, running_out_of_memory_anywhere_leaks_nothing)
{
    struct sample_event sample;
    Sensebus__V1__Event *events[1] = {&sample.event};
    Sensebus__V1__Publish publish = SENSEBUS__V1__PUBLISH__INIT;
    uint64_t seed = 4;
    uint8_t bytes[8192];
    sample_event_make(&sample, &seed);
    publish.events = events;
    publish.n_events = 1;
    size_t len = sensebus__v1__publish__pack(&publish, bytes);
    bool unpacked = false;
    for (size_t max_bytes = 1; max_bytes < 20000 && !unpacked; max_bytes += 7) {
        struct ProtobufCMessage *message = message_unpack(&sensebus__v1__publish__descriptor, bytes, len, max_bytes);
        unpacked = message != NULL;
        message_free(message);
    }
    cr_assert(unpacked);
}

Test(message, unknown_members_of_a_request_are_found_and_named)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *fault; /* "" when nothing is unknown */
    } rows[] = {
        {"\x0a\x03\x88\x01\x05", 5, "SubscribeRequest.filter: unknown field 17"},
        {"\x58\x09", 2, "SubscribeRequest.slow_reader_policy: unknown value 9"},
        {"\x0a\x02\x18\x07", 4, "SubscribeRequest.filter.minimum_severity: unknown value 7"},
        {"\x0a\x05\x0a\x03\xcb\x01\x05", 7, "SubscribeRequest.filter.codes: unknown value 5"},
        {"\x0a\x04\x62\x02\x50\x07", 6, "SubscribeRequest.filter.exclude.modes: unknown value 7"},
        {"\x0a\x05\x2a\x03\x98\x06\x01", 7, "SubscribeRequest.filter.addresses: unknown field 99"},
        {"\x22\x03\x98\x06\x01", 5, "SubscribeRequest.position: unknown field 99"},
        {"\x12\x02\x08\x01", 4, "SubscribeRequest.now: unknown field 1"},
        {"\x12\x00\x40\x01", 4, ""},
        {"\x22\x02\x10\x07\x5a\x00", 6, "SubscribeRequest.slow_reader_policy: wrong wire type"},
        {"\x22\x02\x10\x07", 4, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        err[0] = 0;
        int rc = message_check(&sensebus__v1__subscribe_request__descriptor, (const uint8_t *)rows[i].bytes,
                               rows[i].len, err, sizeof err);
        if (rc == 0) {
            Sensebus__V1__SubscribeRequest *request =
                unpack(&sensebus__v1__subscribe_request__descriptor, rows[i].bytes, rows[i].len);
            cr_assert_not_null(request, "row %zu", i);
            rc = request_check_known(&request->base, err, sizeof err);
            message_free(&request->base);
        }
        cr_expect_eq(rc, *rows[i].fault ? UV_EINVAL : 0, "row %zu", i);
        cr_expect_str_eq(err, rows[i].fault, "row %zu", i);
    }
}

Test(message, walks_maps)
{
    Sensebus__V1__Heartbeat *beat =
        unpack(&sensebus__v1__heartbeat__descriptor, "\x12\x0a\x0a\x03tur\x10\x07\x98\x06\x01", 12);
    cr_assert_not_null(beat);
    cr_assert_eq(request_check_known(&beat->base, err, sizeof err), UV_EINVAL);
    cr_assert_str_eq(err, "Heartbeat.commands: unknown field 99");
    message_free(&beat->base);
}

Test(message, a_short_error_buffer_is_filled_and_terminated)
{
    char small[12];
    memset(small, 'x', sizeof small);
    cr_assert_eq(message_check(&sensebus__v1__acknowledge_request__descriptor, (const uint8_t *)"\x0a\x05", 2, small,
                               sizeof small),
                 UV_EINVAL);
    cr_assert_str_eq(small, "Acknowledge");
}
