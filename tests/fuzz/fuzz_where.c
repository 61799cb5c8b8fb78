/* SPDX-License-Identifier: Apache-2.0 */
/* Text of --where: compiled, or refused with a column inside the text; evaluated against an event that has everything
 * and one that has nothing. Adding a pair of parentheses changes no answer. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/cli/query/where.h"
#include "sensebus/v1/event.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool matches_full(const struct where *where)
{
    Sensebus__V1__Event event = SENSEBUS__V1__EVENT__INIT;
    Sensebus__V1__Origin origin = SENSEBUS__V1__ORIGIN__INIT;
    Sensebus__V1__Address address = SENSEBUS__V1__ADDRESS__INIT;
    Sensebus__V1__Device device = SENSEBUS__V1__DEVICE__INIT;
    Sensebus__V1__Sense sense = SENSEBUS__V1__SENSE__INIT;
    event.code = SENSEBUS__V1__CODE__LUN_RESET;
    event.severity = SENSEBUS__V1__SEVERITY__SEVERITY_WARN;
    event.sequence = UINT64_MAX;
    event.synthetic = true;
    event.origin = &origin;
    event.address = &address;
    event.device = &device;
    event.sense = &sense;
    origin.host = "db-07";
    address.adapter = "iscsi0";
    device.vendor = device.product = device.serial = "x";
    device.designator = device.target_name = "naa.6001405";
    sense.asc = 0x29;
    return where_matches(where, &event);
}

static bool matches_empty(const struct where *where)
{
    Sensebus__V1__Event event = SENSEBUS__V1__EVENT__INIT;
    return where_matches(where, &event);
}

static void check_same_in_parentheses(const char *text, bool full, bool empty)
{
    static char inside[WHERE_MAX_BYTES + 3];
    struct where *where;
    struct where_error error;
    snprintf(inside, sizeof inside, "(%s)", text);
    if (where_new(inside, &where, &error) < 0)
        return; /* a level or two bytes too many */
    if (matches_full(where) != full || matches_empty(where) != empty)
        abort();
    where_free(where);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    struct where *where;
    struct where_error error;
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    if (where_new(text, &where, &error) == 0) {
        bool full = matches_full(where), empty = matches_empty(where);
        where_free(where);
        check_same_in_parentheses(text, full, empty);
    } else if (error.column < 1 || error.column > strlen(text) + 1 || !error.text[0]) {
        abort();
    }
    free(text);
    return 0;
}
