/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of every service: the first byte says which, the rest is the message. Unpacked within its memory, searched
 * for unknown members and printed as JSON. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/json.h"
#include "proto/message.h"
#include "sensebus/v1/adapter.pb-c.h"
#include "sensebus/v1/admin.pb-c.h"
#include "sensebus/v1/agents.pb-c.h"
#include "sensebus/v1/events.pb-c.h"
#include "sensebus/v1/sdi.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const descriptors[] = {
    &sensebus__v1__agent_message__descriptor,        &sensebus__v1__broker_message__descriptor,
    &sensebus__v1__subscribe_request__descriptor,    &sensebus__v1__event_batch__descriptor,
    &sensebus__v1__acknowledge_request__descriptor,  &sensebus__v1__get_status_request__descriptor,
    &sensebus__v1__get_status_response__descriptor,  &sensebus__v1__adapter_request__descriptor,
    &sensebus__v1__adapter_reply__descriptor,        &sensebus__v1__listen_request__descriptor,
    &sensebus__v1__listen_reply__descriptor,         &sensebus__v1__notify_event_request__descriptor,
    &sensebus__v1__list_agents_response__descriptor, &sensebus__v1__list_devices_response__descriptor,
    &sensebus__v1__get_broker_response__descriptor,
};

static void print(const struct ProtobufCMessage *message, enum json_style style)
{
    struct json_buffer text = {0};
    if (json_print(message, style, &text) != 0 || text.len != strlen(text.text) || text.text[0] != '{' ||
        text.text[text.len - 1] != '}')
        abort();
    json_buffer_deinit(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char err[160] = "";

    if (size == 0)
        return 0;
    const ProtobufCMessageDescriptor *descriptor = descriptors[data[0] % (sizeof(descriptors) / sizeof(*descriptors))];
    if (message_check(descriptor, data + 1, size - 1, err, sizeof(err)) != 0 && !strchr(err, ':'))
        abort();
    struct ProtobufCMessage *message = message_unpack(descriptor, data + 1, size - 1, 0);
    if (!message)
        return 0;
    if (request_check_known(message, err, sizeof(err)) != 0 && !strchr(err, ':'))
        abort();
    print(message, JSON_LINE);
    print(message, JSON_INDENTED);
    message_free(message);
    return 0;
}
