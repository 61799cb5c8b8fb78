/* SPDX-License-Identifier: Apache-2.0 */
/* Orders to sensebus-target as they come over gRPC: checked, unpacked, and made verbs. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/message.h"
#include "tests/target/order_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_verb(const struct verb *v)
{
    if (v->data_len > VERB_DATA_MAX || v->lun < VERB_ALL_UNITS || v->lun > UNIT_MAX_NUMBER ||
        !memchr(v->word, '\0', VERB_MAX_BYTES))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const ProtobufCMessageDescriptor *descriptor = &sensebus__target__v1__order__descriptor;
    struct ProtobufCMessage *order;
    char err[300] = "";
    struct verb verb;

    if (message_check(descriptor, data, size, err, sizeof(err)) != 0)
        return 0;
    order = message_unpack(descriptor, data, size, 0);
    if (!order)
        return 0;
    if (request_check_known(order, err, sizeof(err)) == 0) {
        if (order_message_read((Sensebus__Target__V1__Order *)order, &verb, err, sizeof(err)) == 0)
            check_verb(&verb);
        else if (strncmp(err, "Order", 5) != 0)
            abort();
    }
    message_free(order);
    return 0;
}
