/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/merge_rules.h"

#include <string.h>

#include "sensebus/v1/code.pb-c.h"
#include "sensebus/v1/event.pb-c.h"

#define CODE(name) SENSEBUS__V1__CODE__##name

#define TRACE         SENSEBUS__V1__SOURCE__SOURCE_TRACE
#define UEVENT        SENSEBUS__V1__SOURCE__SOURCE_UEVENT
#define ISCSI_NETLINK SENSEBUS__V1__SOURCE__SOURCE_ISCSI_NETLINK
#define FC_NETLINK    SENSEBUS__V1__SOURCE__SOURCE_FC_NETLINK
#define SYSFS         SENSEBUS__V1__SOURCE__SOURCE_SYSFS

static const char consumed[] = "no traced command returned it: consumed by the error handler";

/* The first rule that fits is the one that is named. The last is for what no other knows. docs/sources.md has this
 * table for people. */
static const struct merge_rule rules[] = {
    {
        .name = "unit-attention",
        .codes = {CODE(INQUIRY_DATA_CHANGED), CODE(MODE_PARAMETERS_CHANGED), CODE(REPORTED_LUNS_CHANGED),
                  CODE(ALUA_STATE_CHANGED), CODE(PROVISIONING_THRESHOLD)},
        .same_code = true,
        .roles = {{.source = TRACE, .wait = true},
                  {.source = ISCSI_NETLINK},
                  {.source = UEVENT, .name = "SDEV_UA", .wait = true, .alone = consumed},
                  {.source = SYSFS, .poll = true}},
        .why = "the kernel announces what a command's sense said",
    },
    {
        .name = "reset",
        .codes = {CODE(POWER_ON_OR_RESET), CODE(POWER_ON), CODE(BUS_RESET), CODE(TARGET_RESET), CODE(LUN_RESET),
                  CODE(DEVICE_INTERNAL_RESET), CODE(TRANSFER_SETTINGS_CHANGED), CODE(NEXUS_LOST)},
        .roles = {{.source = TRACE, .name = "unit-attention", .wait = true},
                  {.source = UEVENT, .name = "SDEV_UA", .wait = true, .alone = consumed}},
        .why = "the kernel announces any 29/xx as POWER_ON_RESET_OCCURRED; the sense says which",
    },
    {
        .name = "capacity",
        .codes = {CODE(CAPACITY_CHANGED)},
        .roles = {{.source = TRACE, .wait = true},
                  {.source = ISCSI_NETLINK},
                  {.source = UEVENT, .name = "SDEV_UA", .wait = true, .alone = consumed},
                  {.source = UEVENT, .name = "RESIZE", .wait = true},
                  {.source = SYSFS, .poll = true}},
        .why = "sense, the kernel's announcement, and the disk that has its new size",
    },
    {
        .name = "medium",
        .codes = {CODE(MEDIUM_CHANGED)},
        .roles = {{.source = TRACE, .wait = true},
                  {.source = UEVENT, .name = "SDEV_MEDIA_CHANGE"},
                  {.source = UEVENT, .name = "DISK_MEDIA_CHANGE", .wait = true}},
        .why = "sense, and the disk's own announcement",
    },
    {
        .name = "eject",
        .codes = {CODE(MEDIUM_REMOVAL_REQUESTED)},
        .roles = {{.source = TRACE}, {.source = UEVENT, .name = "DISK_EJECT_REQUEST", .wait = true}},
        .why = "sense, and the disk's own announcement",
    },
    {
        .name = "device-removed",
        .state = "presence",
        .codes = {CODE(DEVICE_REMOVED)},
        .roles = {{.source = UEVENT, .wait = true},
                  {.source = TRACE, .name = "state", .bare = true, .many = true},
                  {.source = SYSFS, .poll = true}},
        .why = "the device's states on its way out, and that it is gone",
    },
    {
        .name = "device-added",
        .state = "presence",
        .codes = {CODE(DEVICE_ADDED)},
        .roles = {{.source = UEVENT, .wait = true},
                  {.source = TRACE, .name = "state", .bare = true, .many = true},
                  {.source = SYSFS, .poll = true}},
        .why = "told, and found in sysfs",
    },
    {
        .name = "device-state",
        .state = "device",
        .codes = {CODE(DEVICE_OFFLINE), CODE(DEVICE_ONLINE)},
        .same_code = true,
        .roles = {{.source = TRACE, .wait = true},
                  {.source = TRACE, .name = "state", .bare = true, .many = true},
                  {.source = SYSFS, .poll = true}},
        .why = "the change itself, and the state in sysfs",
    },
    {
        .name = "adapter",
        .state = "adapter",
        .codes = {CODE(ADAPTER_ADDED), CODE(ADAPTER_REMOVED)},
        .same_code = true,
        .roles = {{.source = UEVENT, .wait = true},
                  {.source = UEVENT, .name = "uevent", .bare = true, .many = true},
                  {.source = SYSFS, .poll = true}},
        .why = "the adapter, its parts by transport, and what sysfs lists",
    },
    {
        .name = "session-stopped",
        .state = "session",
        .codes = {CODE(SESSION_STOPPED)},
        .roles = {{.source = ISCSI_NETLINK, .many = true, .wait = true},
                  {.source = ISCSI_NETLINK, .name = "DESTROY", .bare = true, .many = true, .wait = true},
                  {.source = UEVENT, .weak = true, .wait = true},
                  {.source = SYSFS, .poll = true}},
        .why = "a session object without a session ends, too: that is no event",
    },
    {
        .name = "session-lost",
        .state = "session",
        .codes = {CODE(NEXUS_LOST), CODE(SESSION_STOPPED)},
        .roles = {{.source = ISCSI_NETLINK, .code = CODE(NEXUS_LOST), .wait = true},
                  {.source = ISCSI_NETLINK, .code = CODE(SESSION_STOPPED), .many = true},
                  {.source = ISCSI_NETLINK, .name = "CONN_ERROR", .bare = true, .many = true},
                  {.source = ISCSI_NETLINK, .name = "DESTROY", .bare = true, .many = true},
                  {.source = UEVENT, .code = CODE(SESSION_STOPPED), .weak = true, .wait = true},
                  {.source = SYSFS, .code = CODE(NEXUS_LOST), .poll = true},
                  {.source = SYSFS, .code = CODE(SESSION_STOPPED), .poll = true}},
        .why = "a connection error that takes the session with it at once",
    },
    {
        .name = "session-started",
        .state = "session",
        .codes = {CODE(SESSION_STARTED), CODE(NEXUS_RESTORED)},
        .same_code = true,
        .roles = {{.source = ISCSI_NETLINK, .many = true, .wait = true},
                  {.source = ISCSI_NETLINK, .name = "CREATE", .bare = true, .many = true},
                  {.source = UEVENT, .weak = true},
                  {.source = SYSFS, .poll = true}},
        .why = "the session object comes before the login, which may fail",
    },
    {
        .name = "target",
        .state = "target",
        .codes = {CODE(TARGET_ONLINE), CODE(TARGET_REMOVED)},
        .same_code = true,
        .roles = {{.source = FC_NETLINK},
                  {.source = UEVENT, .named = true},
                  {.source = UEVENT, .wait = true},
                  {.source = SYSFS, .poll = true}},
        .why = "a remote port, the target behind it, and what sysfs lists",
    },
    {
        .name = "target-blocked",
        .state = "target",
        .codes = {CODE(TARGET_OFFLINE)},
        .roles = {{.source = FC_NETLINK}, {.source = TRACE}, {.source = SYSFS, .poll = true}},
        .why = "the driver's word, and the port's state",
    },
    {
        .name = "link-up",
        .state = "link",
        .codes = {CODE(LINK_UP), CODE(PORT_ONLINE)},
        .roles = {{.source = FC_NETLINK, .wait = true}, {.source = ISCSI_NETLINK}, {.source = SYSFS, .poll = true}},
        .why = "the driver's word, and the port's state",
    },
    {
        .name = "link-down",
        .state = "link",
        .codes = {CODE(LINK_DOWN), CODE(PORT_OFFLINE), CODE(LINK_DEAD)},
        .roles = {{.source = FC_NETLINK, .wait = true}, {.source = ISCSI_NETLINK}, {.source = SYSFS, .poll = true}},
        .why = "the driver's word, and the port's state",
    },
    {
        .name = "link-unknown",
        .state = "link",
        .codes = {CODE(LINK_STATE_UNKNOWN)},
        .roles = {{.source = FC_NETLINK, .wait = true}, {.source = SYSFS, .poll = true}},
        .why = "the driver's word, and the port's state",
    },
    {
        .name = "other",
        .same_code = true,
        .roles = {{.source = TRACE},
                  {.source = UEVENT},
                  {.source = ISCSI_NETLINK},
                  {.source = FC_NETLINK},
                  {.source = SYSFS, .poll = true}},
        .why = "the same code from two hooks at once; nobody waits for it",
    },
};
_Static_assert(sizeof rules / sizeof *rules <= MERGE_MAX_RULES, "a set of rules is 32 bits");

size_t merge_rule_count(void)
{
    return sizeof rules / sizeof *rules;
}

const struct merge_rule *merge_rule_at(size_t i)
{
    return &rules[i];
}

static bool has_code(const struct merge_rule *rule, uint32_t code)
{
    if (rule->codes[0] == 0)
        return true;
    for (size_t i = 0; i < MERGE_MAX_CODES && rule->codes[i]; i++)
        if (rule->codes[i] == code)
            return true;
    return false;
}

static bool fits(const struct merge_rule *rule, const struct merge_role *role, const struct observation *o)
{
    const char *name = o->native.name ? o->native.name : "";

    if (role->source != o->source || role->bare != (o->code == 0))
        return false;
    if (role->named && !o->object)
        return false;
    if (role->name && strncmp(name, role->name, strlen(role->name)) != 0)
        return false;
    if (o->code == 0)
        return true;
    return has_code(rule, o->code) && (role->code == 0 || role->code == o->code);
}

int merge_rule_role(const struct merge_rule *rule, const struct observation *o)
{
    for (int i = 0; i < MERGE_MAX_ROLES && rule->roles[i].source; i++)
        if (fits(rule, &rule->roles[i], o))
            return i;
    return -1;
}

uint32_t merge_rules_of(const struct observation *o)
{
    uint32_t known = 0, fallback = 0;

    for (uint32_t i = 0; i < merge_rule_count(); i++)
        if (merge_rule_role(merge_rule_at(i), o) >= 0)
            *(merge_rule_at(i)->codes[0] ? &known : &fallback) |= 1u << i;
    return known ? known : fallback;
}

bool merge_is_poll(const struct observation *o)
{
    uint32_t known = merge_rules_of(o);

    for (uint32_t i = 0; i < merge_rule_count(); i++)
        if (known & 1u << i && merge_rule_at(i)->roles[merge_rule_role(merge_rule_at(i), o)].poll)
            return true;
    return false;
}
