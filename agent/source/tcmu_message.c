/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/tcmu_message.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "agent/source/netlink.h"
#include "sensebus/v1/code.pb-c.h"

#define CODE(name) SENSEBUS__V1__CODE__##name

#define GENERIC_HEADER_BYTES 4 /* struct genlmsghdr: command, version, two reserved */

/* enum tcmu_genl_cmd and enum tcmu_genl_attr of linux/target_core_user.h, which cannot be included beside uv.h. */
enum { COMMAND_ADDED_DEVICE = 1, COMMAND_REMOVED_DEVICE = 2, COMMAND_RECONFIG_DEVICE = 3 };
enum { ATTRIBUTE_DEVICE = 1, ATTRIBUTE_MINOR = 2, ATTRIBUTE_DEV_SIZE = 5, ATTRIBUTE_WRITECACHE = 6 };

/* Numbers come in one, four or eight bytes, in the byte order of the host. */
static int read_number(const struct netlink_attribute *a, size_t len, uint64_t *out)
{
    uint32_t word;

    if (a->len != len)
        return UV_EINVAL;
    if (len == 1) {
        *out = a->data[0];
    } else if (len == 4) {
        memcpy(&word, a->data, sizeof word);
        *out = word;
    } else {
        memcpy(out, a->data, sizeof *out);
    }
    return 0;
}

static int read_attribute(const struct netlink_attribute *a, struct tcmu_message *m)
{
    uint64_t number;
    int rc = 0;

    switch (a->type) {
    case ATTRIBUTE_DEVICE:
        if (a->len == 0 || !memchr(a->data, 0, a->len))
            return UV_EINVAL;
        m->device = (const char *)a->data;
        break;
    case ATTRIBUTE_MINOR:
        rc = read_number(a, 4, &number);
        if (rc == 0)
            m->minor = (uint32_t)number;
        break;
    case ATTRIBUTE_DEV_SIZE:
        m->code = CODE(CAPACITY_CHANGED);
        rc = read_number(a, 8, &m->value);
        break;
    case ATTRIBUTE_WRITECACHE:
        m->code = CODE(MODE_PARAMETERS_CHANGED); /* the caching mode page */
        rc = read_number(a, 1, &m->value);
        break;
    default: break; /* DEV_CFG (4): that it changed is what is told */
    }
    return rc;
}

int tcmu_parse(const uint8_t *bytes, size_t len, struct tcmu_message *out)
{
    struct tcmu_message m = {.device = ""};
    struct netlink_attribute a;
    const uint8_t *at;
    int rc;

    if (len < GENERIC_HEADER_BYTES)
        return UV_EINVAL;
    m.command = bytes[0];
    m.code = CODE(PARAMETERS_CHANGED);
    at = bytes + GENERIC_HEADER_BYTES;
    len -= GENERIC_HEADER_BYTES;
    while (netlink_attribute_next(&at, &len, &a))
        if ((rc = read_attribute(&a, &m)) < 0)
            return rc;
    if (len > 0)
        return UV_EINVAL;
    switch (m.command) {
    case COMMAND_ADDED_DEVICE: m.code = CODE(DEVICE_ADDED); break;
    case COMMAND_REMOVED_DEVICE: m.code = CODE(DEVICE_REMOVED); break;
    case COMMAND_RECONFIG_DEVICE: break;
    default: return UV_ENOENT;
    }
    *out = m;
    return 0;
}

const char *tcmu_command_name(uint32_t command)
{
    switch (command) {
    case COMMAND_ADDED_DEVICE: return "ADDED_DEVICE";
    case COMMAND_REMOVED_DEVICE: return "REMOVED_DEVICE";
    case COMMAND_RECONFIG_DEVICE: return "RECONFIG_DEVICE";
    default: return "tcmu";
    }
}

/* "tcm-user/0/u0/anything" is "user_0/u0". */
static void name_device(const char *device, char *out, size_t out_len)
{
    static const char prefix[] = "tcm-user/";
    const char *hba = device + strlen(prefix), *name;

    if (strncmp(device, prefix, strlen(prefix)) != 0 || !(name = strchr(hba, '/'))) {
        snprintf(out, out_len, "%s", device[0] ? device : "(no name)");
        return;
    }
    snprintf(out, out_len, "user_%.*s/%.*s", (int)(name - hba), hba, (int)strcspn(name + 1, "/"), name + 1);
}

void tcmu_describe(const struct tcmu_message *m, char *out, size_t out_len)
{
    char device[160];

    name_device(m->device, device, sizeof device);
    switch (m->code) {
    case CODE(DEVICE_ADDED): snprintf(out, out_len, "backstore %s added", device); break;
    case CODE(DEVICE_REMOVED): snprintf(out, out_len, "backstore %s removed", device); break;
    case CODE(CAPACITY_CHANGED):
        snprintf(out, out_len, "backstore %s has %llu bytes now", device, (unsigned long long)m->value);
        break;
    case CODE(MODE_PARAMETERS_CHANGED):
        snprintf(out, out_len, "write cache of backstore %s is %s now", device, m->value ? "on" : "off");
        break;
    default: snprintf(out, out_len, "backstore %s has another configuration now", device); break;
    }
}
