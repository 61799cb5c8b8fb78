/* SPDX-License-Identifier: Apache-2.0 */
/* A kobject uevent, as anybody who may send on the kernel's group can make one up. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/source/uevent_message.h"
#include "proto/registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is pointed at lies in the message, and ends there. */
static void check_text(const uint8_t *data, size_t size, const char *text)
{
    const uint8_t *p = (const uint8_t *)text;

    if (*text && (p < data || p + strlen(text) >= data + size))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct uevent u;
    struct observation o = {.native.name = NULL};
    const char *fault = NULL;
    char detail[UEVENT_DETAIL_BYTES];

    if (uevent_parse(data, size, &u, &fault) < 0)
        return fault ? 0 : (abort(), 0);
    check_text(data, size, u.action);
    check_text(data, size, u.devpath);
    check_text(data, size, u.subsystem);
    check_text(data, size, u.devtype);
    check_text(data, size, u.sdev_ua);
    if (!uevent_observe(&u, 1, 2, detail, &o))
        return 0;
    if (o.place.host < 0 || (o.place.lun >= 0 && (o.place.channel < 0 || o.place.target < 0)) ||
        strlen(detail) >= sizeof detail || !o.native.name || (o.code && !registry_find(o.code)))
        abort();
    return 0;
}
