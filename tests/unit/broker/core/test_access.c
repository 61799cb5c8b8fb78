/* SPDX-License-Identifier: Apache-2.0 */
/* rule 1: kernel mode is a role of a proven identity. */
#include "broker/core/access.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static struct access a;
static char err[256];

static void teardown(void)
{
    access_deinit(&a);
}

TestSuite(access, .fini = teardown);

static int add(const char *identity, const char *name, unsigned roles, char **hosts, size_t n_hosts, bool own_host)
{
    struct access_rule rule = {.identity = (char *)identity,
                               .name = (char *)name,
                               .roles = roles,
                               .hosts = hosts,
                               .n_hosts = n_hosts,
                               .host_from_identity = own_host};
    return access_add(&a, &rule, err, sizeof err);
}

static struct access_principal resolve(const char *first, const char *second)
{
    const char *texts[] = {first, second};
    struct access_identity identity = {.texts = texts, .n = second ? 2 : 1};
    struct access_principal out;
    access_resolve(&a, &identity, &out);
    return out;
}

static bool may_speak_for(const char *text, const char *second, const char *host)
{
    const char *texts[] = {text, second};
    struct access_identity identity = {.texts = texts, .n = second ? 2 : 1};
    return access_agent_host(&a, &identity, host, err, sizeof err);
}

Test(access, every_role_has_a_name_and_back)
{
    unsigned all = 0;
    static const char *const names[] = {"agent", "reader", "kernel", "dev-config", "operator"};
    for (size_t i = 0; i < 5; i++) {
        unsigned role = access_role_by_name(names[i]);
        cr_assert_neq(role, 0, "%s", names[i]);
        cr_assert_str_eq(access_role_name(role), names[i]);
        all |= role;
    }
    cr_assert_eq(all, ACCESS_ALL);
    cr_assert_eq(access_role_by_name("root"), 0);
    cr_assert_eq(access_role_by_name(""), 0);
    cr_assert_null(access_role_name(ACCESS_AGENT | ACCESS_READER));
}

Test(access, roles_are_read_from_a_list)
{
    unsigned found = 0;
    cr_assert_eq(access_parse_roles("all", &found, err, sizeof err), 0);
    cr_assert_eq(found, ACCESS_ALL);
    cr_assert_eq(access_parse_roles("reader,dev-config", &found, err, sizeof err), 0);
    cr_assert_eq(found, ACCESS_READER | ACCESS_DEV_CONFIG);
    static const char *const bad[][2] = {
        {"", "\"\" is no role"},
        {"reader,", "\"\" is no role"},
        {"reader, kernel", "did you mean \"kernel\"?"},
        {"kernal", "did you mean \"kernel\"?"},
        {"administrator", "agent, reader, kernel, dev-config, operator or all"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        found = 77;
        cr_expect_eq(access_parse_roles(bad[i][0], &found, err, sizeof err), UV_EINVAL, "%s", bad[i][0]);
        cr_expect(strstr(err, bad[i][1]), "%s: %s", bad[i][0], err);
        cr_expect_eq(found, 77);
    }
}

Test(access, nobody_may_anything_without_a_rule)
{
    struct access_principal p = resolve("plaintext", NULL);
    cr_assert_eq(p.roles, 0);
    cr_assert_str_eq(p.name, "plaintext");
    cr_assert_not(may_speak_for("plaintext", NULL, "db-07"));
    cr_assert(strstr(err, "plaintext") && strstr(err, "db-07") && strstr(err, "agent"), "%s", err);

    const struct access_identity nothing = {.texts = NULL, .n = 0};
    access_resolve(&a, &nothing, &p);
    cr_assert_eq(p.roles, 0);
}

Test(access, a_rule_is_for_its_identity_alone)
{
    cr_assert_eq(add("unix:uid=0", NULL, ACCESS_OPERATOR, NULL, 0, false), 0);
    cr_assert_eq(add("uri:sensebus://reader/*", NULL, ACCESS_READER, NULL, 0, false), 0);
    static const struct {
        const char *identity;
        unsigned roles;
    } table[] = {
        {"unix:uid=0", ACCESS_OPERATOR},
        {"unix:uid=01", 0},
        {"unix:uid=1000", 0},
        {"unix:gid=0", 0},
        {"plaintext", 0},
        {"uri:sensebus://reader/a", ACCESS_READER},
        {"uri:sensebus://reader/", ACCESS_READER},
        {"uri:sensebus://reader", 0},
        {"uri:sensebus://READER/a", 0}, /* the path of a URI has case */
        {"dns:sensebus://reader/a", 0},
        {"xuri:sensebus://reader/a", 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        cr_expect_eq(resolve(table[i].identity, NULL).roles, table[i].roles, "%s", table[i].identity);
}

Test(access, the_roles_of_all_matching_rules_count)
{
    cr_assert_eq(add("dns:backup.example", "backup", ACCESS_READER, NULL, 0, false), 0);
    cr_assert_eq(add("uri:spiffe://example/backup", "other name", ACCESS_KERNEL, NULL, 0, false), 0);
    cr_assert_eq(add("dns:*.example", NULL, ACCESS_DEV_CONFIG, NULL, 0, false), 0);
    struct access_principal p = resolve("uri:spiffe://example/backup", "dns:backup.example");
    cr_assert_eq(p.roles, ACCESS_READER | ACCESS_KERNEL | ACCESS_DEV_CONFIG);
    cr_assert_str_eq(p.name, "backup"); /* of the first rule */
    p = resolve("dns:other.example", NULL);
    cr_assert_eq(p.roles, ACCESS_DEV_CONFIG);
    cr_assert_str_eq(p.name, "dns:other.example"); /* a rule without a name: the text that matched */
}

Test(access, the_case_of_dns_names_means_nothing)
{
    cr_assert_eq(add("dns:Backup.Example", NULL, ACCESS_READER, NULL, 0, false), 0);
    cr_assert_eq(resolve("dns:backup.example", NULL).roles, ACCESS_READER);
}

/* Cut, two long identities could become one principal. */
Test(access, an_identity_that_cannot_be_a_name_is_nobody)
{
    char longest[ACCESS_MAX_PRINCIPAL + 1];
    cr_assert_eq(add("uri:*", NULL, ACCESS_READER, NULL, 0, false), 0);
    memset(longest, 'x', sizeof longest);
    memcpy(longest, "uri:", 4);
    longest[ACCESS_MAX_PRINCIPAL] = 0;
    struct access_principal p = resolve(longest, NULL);
    cr_assert_eq(p.roles, 0);
    cr_assert_eq(strlen(p.name), ACCESS_MAX_PRINCIPAL - 1);
    longest[ACCESS_MAX_PRINCIPAL - 1] = 0;
    cr_assert_eq(resolve(longest, NULL).roles, ACCESS_READER);
    p = resolve("uri:a\nb", NULL);
    cr_assert_eq(p.roles, 0);
    cr_assert_str_eq(p.name, "uri:a?b");
    cr_assert_eq(resolve("uri:\xc3\xa4", NULL).roles, 0);
}

Test(access, an_agent_speaks_for_the_hosts_of_its_rules)
{
    char *hosts[] = {"db-*", "web-0?"};
    cr_assert_eq(add("uri:sensebus://agents", "the agents", ACCESS_AGENT, hosts, 2, false), 0);
    cr_assert_eq(add("dns:reader.example", NULL, ACCESS_READER, NULL, 0, false), 0);
    cr_assert(may_speak_for("uri:sensebus://agents", NULL, "db-07"));
    cr_assert(may_speak_for("uri:sensebus://agents", NULL, "web-01"));
    cr_assert_not(may_speak_for("uri:sensebus://agents", NULL, "web-011"));
    cr_assert(strstr(err, "the agents") && strstr(err, "web-011"), "%s", err);
    cr_assert_not(may_speak_for("uri:sensebus://agents", NULL, "DB-07"));
    cr_assert_not(may_speak_for("dns:reader.example", NULL, "db-07"));
    cr_assert(strstr(err, "no role \"agent\""), "%s", err);
}

Test(access, an_agent_speaks_for_the_host_in_its_identity)
{
    cr_assert_eq(add("uri:sensebus://agent/*", NULL, ACCESS_AGENT, NULL, 0, true), 0);
    cr_assert_eq(add("dns:*.example", NULL, ACCESS_AGENT, NULL, 0, true), 0);
    cr_assert_eq(add("uri:urn:*", NULL, ACCESS_AGENT, NULL, 0, true), 0);
    static const struct {
        const char *identity, *second, *host;
        bool may;
    } table[] = {
        {"uri:sensebus://agent/db-07", NULL, "db-07", true},
        {"uri:sensebus://agent/db-07", NULL, "db-08", false},
        {"uri:sensebus://agent/db-07", NULL, "db-0", false},
        {"uri:sensebus://agent/db-07", NULL, "agent", false},
        {"uri:sensebus://agent/rack/db-07", NULL, "db-07", true},
        {"uri:sensebus://agent/db-07?x=/db-08", NULL, "db-07", true},
        {"uri:sensebus://agent/db-07?x=/db-08", NULL, "db-08", false},
        {"uri:sensebus://agent/db-07#/db-08", NULL, "db-08", false},
        {"uri:sensebus://agent/db-07/", NULL, "db-07", false},
        {"uri:sensebus://agent/", NULL, "agent", false},
        {"uri:urn:host:db-07", NULL, "db-07", false},
        {"dns:db-07.example", NULL, "db-07.example", true},
        {"dns:db-07.example", NULL, "db-07", false},
        {"dns:DB-07.Example", NULL, "db-07.example", true}, /* the case of a DNS name means nothing … */
        {"dns:db-07.example", NULL, "DB-07.example", true},
        {"dns:db-07.example", NULL, "DB-08.example", false},
        {"dns:db-07.example", NULL, "DB\r07.example", false}, /* … of its letters, that is */
        {"uri:sensebus://agent/DB-07", NULL, "db-07", false}, /* the path of a URI has case */
        {"uri:sensebus://agent/db-07", "dns:other.example", "DB-07", false},
        {"uri:other://agent/db-07", "dns:db-09.example", "db-09.example", true},
        {"uri:other://agent/db-07", "dns:db-09.example", "db-07", false}, /* only of the text that the rule matches */
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        cr_expect_eq(may_speak_for(table[i].identity, table[i].second, table[i].host), table[i].may, "%s as %s",
                     table[i].identity, table[i].host);
}

Test(access, a_rule_that_means_nothing_is_refused)
{
    char *hosts[] = {"*"}, *empty[] = {""}, *many[ACCESS_MAX_HOSTS + 1];
    char longest[ACCESS_MAX_PRINCIPAL + 1];
    memset(longest, 'x', sizeof longest);
    memcpy(longest, "uri:", 4);
    longest[ACCESS_MAX_PRINCIPAL] = 0;
    for (size_t i = 0; i < ACCESS_MAX_HOSTS + 1; i++)
        many[i] = "h";
    const struct {
        const char *identity, *name;
        unsigned roles;
        char **hosts;
        size_t n_hosts;
        bool own_host;
        const char *says;
    } table[] = {
        {NULL, NULL, ACCESS_READER, NULL, 0, false, "identity: is missing"},
        {"", NULL, ACCESS_READER, NULL, 0, false, "identity: is missing"},
        {"*", NULL, ACCESS_READER, NULL, 0, false, "identity: is none of"},
        {"uri:", NULL, ACCESS_READER, NULL, 0, false, "identity: is none of"},
        {"plaintext2", NULL, ACCESS_READER, NULL, 0, false, "identity: is none of"},
        {"unix:pid=1", NULL, ACCESS_READER, NULL, 0, false, "identity: is none of"},
        {longest, NULL, ACCESS_READER, NULL, 0, false, "longer than 255"},
        {"plaintext", "", ACCESS_READER, NULL, 0, false, "name:"},
        {"plaintext", "a\nb", ACCESS_READER, NULL, 0, false, "name:"},
        {"plaintext", "\xff", ACCESS_READER, NULL, 0, false, "name:"},
        {"plaintext", longest, ACCESS_READER, NULL, 0, false, "name:"},
        {"plaintext", NULL, 0, NULL, 0, false, "roles: none"},
        {"plaintext", NULL, 0x20, NULL, 0, false, "roles: an unknown"},
        {"plaintext", NULL, ACCESS_AGENT, NULL, 0, false, "role agent needs the hosts"},
        {"plaintext", NULL, ACCESS_AGENT, NULL, 0, true, "host_from_identity"},
        {"unix:uid=0", NULL, ACCESS_AGENT, NULL, 0, true, "host_from_identity"},
        {"plaintext", NULL, ACCESS_READER, hosts, 1, false, "only role agent has hosts"},
        {"dns:a", NULL, ACCESS_READER, NULL, 0, true, "only role agent has hosts"},
        {"plaintext", NULL, ACCESS_AGENT, empty, 1, false, "hosts: one is empty"},
        {"plaintext", NULL, ACCESS_AGENT, many, ACCESS_MAX_HOSTS + 1, false, "more than 64"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        err[0] = 0;
        cr_expect_eq(
            add(table[i].identity, table[i].name, table[i].roles, table[i].hosts, table[i].n_hosts, table[i].own_host),
            UV_EINVAL, "row %zu", i);
        cr_expect(strstr(err, table[i].says), "row %zu: %s", i, err);
    }
    cr_assert_eq(a.n_rules, 0);
    cr_assert_eq(add("plaintext", NULL, ACCESS_AGENT, many, ACCESS_MAX_HOSTS, false), 0);
    cr_assert_eq(add("tls:unnamed", NULL, ACCESS_READER, NULL, 0, false), 0);
}

Test(access, the_number_of_rules_is_bounded)
{
    for (size_t i = 0; i < ACCESS_MAX_RULES; i++)
        cr_assert_eq(add("plaintext", NULL, ACCESS_READER, NULL, 0, false), 0);
    cr_assert_eq(add("plaintext", NULL, ACCESS_READER, NULL, 0, false), UV_E2BIG);
    cr_assert(strstr(err, "4096"), "%s", err);
}
