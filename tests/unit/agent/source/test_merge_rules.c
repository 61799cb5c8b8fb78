/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/merge_rules.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "proto/registry.h"
#include "sensebus/v1/event.pb-c.h"

Test(merge_rules, every_code_is_one_of_the_registry_and_bare_roles_have_names)
{
    for (size_t i = 0; i < merge_rule_count(); i++) {
        const struct merge_rule *rule = merge_rule_at(i);

        cr_assert(rule->name && rule->why && rule->roles[0].source, "%zu", i);
        for (size_t c = 0; c < MERGE_MAX_CODES && rule->codes[c]; c++)
            cr_assert_not_null(registry_find(rule->codes[c]), "%s: %u", rule->name, rule->codes[c]);
        for (size_t r = 0; r < MERGE_MAX_ROLES && rule->roles[r].source; r++)
            cr_assert(!rule->roles[r].bare || rule->roles[r].name, "%s: role %zu", rule->name, r);
    }
}

Test(merge_rules, sense_leads_before_uevents_and_these_before_polls)
{
    for (size_t i = 0; i < merge_rule_count(); i++) {
        const struct merge_rule *rule = merge_rule_at(i);
        bool uevent = false;

        for (size_t r = 0; r < MERGE_MAX_ROLES && rule->roles[r].source; r++) {
            const struct merge_role *role = &rule->roles[r];

            cr_assert_eq(role->poll, role->source == SENSEBUS__V1__SOURCE__SOURCE_SYSFS);
            uevent = uevent || role->source == SENSEBUS__V1__SOURCE__SOURCE_UEVENT;
            if (role->source == SENSEBUS__V1__SOURCE__SOURCE_TRACE && !role->bare)
                cr_assert(!uevent, "%s", rule->name);
        }
    }
}

/* ------------------------------------------------------------------------------------------------ docs */

static const char *source_name(uint32_t source)
{
    switch (source) {
    case SENSEBUS__V1__SOURCE__SOURCE_TRACE: return "trace";
    case SENSEBUS__V1__SOURCE__SOURCE_UEVENT: return "uevent";
    case SENSEBUS__V1__SOURCE__SOURCE_ISCSI_NETLINK: return "iscsi-netlink";
    case SENSEBUS__V1__SOURCE__SOURCE_FC_NETLINK: return "fc-netlink";
    default: return "sysfs";
    }
}

/* The row of docs/sources.md. */
static void print_row(const struct merge_rule *rule, char *out, size_t cap)
{
    size_t at = (size_t)snprintf(out, cap, "| %s | ", rule->name);

    for (size_t c = 0; c < MERGE_MAX_CODES && rule->codes[c]; c++)
        at += (size_t)snprintf(out + at, cap - at, "%s%s", c ? ", " : "", registry_find(rule->codes[c])->name);
    at += (size_t)snprintf(out + at, cap - at, "%s%s | ", rule->codes[0] ? "" : "any other",
                           rule->same_code && (rule->codes[1] || !rule->codes[0]) ? ": each by itself" : "");
    for (size_t r = 0; r < MERGE_MAX_ROLES && rule->roles[r].source; r++) {
        const struct merge_role *role = &rule->roles[r];

        at += (size_t)snprintf(out + at, cap - at, "%s%s%s%s", r ? ", " : "", role->wait ? "**" : "",
                               source_name(role->source), role->wait ? "**" : "");
        if (role->name)
            at += (size_t)snprintf(out + at, cap - at, " `%s`", role->name);
        if (role->code)
            at += (size_t)snprintf(out + at, cap - at, " %s", registry_find(role->code)->name);
        if (role->named)
            at += (size_t)snprintf(out + at, cap - at, " (of its port)");
        if (role->bare)
            at += (size_t)snprintf(out + at, cap - at, " (evidence)");
        if (role->weak)
            at += (size_t)snprintf(out + at, cap - at, " (alone: evidence)");
        if (role->many)
            at += (size_t)snprintf(out + at, cap - at, " …");
    }
    snprintf(out + at, cap - at, " | %s |\n", rule->why);
}

Test(merge_rules, the_table_in_the_docs_is_this_one)
{
    static char text[64 * 1024];
    char row[2048];
    const char *at;
    FILE *f;

    f = fopen(SOURCES_MD, "r");
    cr_assert_not_null(f, SOURCES_MD);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    at = strstr(text, "| rule | codes |");
    cr_assert_not_null(at);
    at = strchr(strchr(at, '\n') + 1, '\n') + 1;
    for (size_t i = 0; i < merge_rule_count(); i++) {
        print_row(merge_rule_at(i), row, sizeof row);
        cr_assert_eq(strncmp(at, row, strlen(row)), 0, "docs/sources.md lacks, in this order:\n%s", row);
        at += strlen(row);
    }
    cr_assert_neq(*at, '|', "docs/sources.md has a rule too many");
}
