/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/capabilities.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "sensebus/v1/agents.pb-c.h"

static char err[512];

static Sensebus__V1__AdapterCapabilities make(const char *name, char **texts, size_t n)
{
    Sensebus__V1__AdapterCapabilities a = SENSEBUS__V1__ADAPTER_CAPABILITIES__INIT;
    a.adapter = (char *)name;
    a.capabilities = texts;
    a.n_capabilities = n;
    return a;
}

Test(capabilities, are_kept_and_found_by_name)
{
    char *some[] = {(char *)"event", (char *)"reset-lun"}, *other[] = {(char *)"target-mode"};
    Sensebus__V1__AdapterCapabilities a = make("iscsi1", some, 2), b = make("iscsi0", NULL, 0),
                                      t = make("tgt1", other, 1), *list[] = {&a, &b, &t};
    struct capabilities c;

    a.own_id = (char *)"iqn.2026-01.example:me";
    cr_assert_eq(capabilities_check(list, 3, "Hello", err, sizeof err), 0);
    cr_assert_eq(capabilities_copy(list, 3, &c), 0);
    cr_assert_eq(c.n, 3);
    const struct capabilities_adapter *found = capabilities_find(&c, "iscsi1");
    cr_assert_not_null(found);
    cr_assert_str_eq(found->own_id, "iqn.2026-01.example:me");
    cr_assert(capabilities_has(found, "event") && capabilities_has(found, "reset-lun"));
    cr_assert(!capabilities_has(found, "halt") && !capabilities_has(found, "reset"));
    cr_assert(!capabilities_has(capabilities_find(&c, "iscsi0"), "event"));
    cr_assert(capabilities_has(capabilities_find(&c, "tgt1"), "target-mode"));
    cr_assert_null(capabilities_find(&c, "iscsi2"));
    capabilities_deinit(&c);
    cr_assert_null(capabilities_find(&c, "iscsi1"));
}

Test(capabilities, nothing_said_is_nothing_kept)
{
    struct capabilities c;
    cr_assert_eq(capabilities_check(NULL, 0, "Hello", err, sizeof err), 0);
    cr_assert_eq(capabilities_copy(NULL, 0, &c), 0);
    cr_assert_eq(c.n, 0);
    cr_assert_eq(c.bytes, 0);
    capabilities_deinit(&c);
}

static void refuses(Sensebus__V1__AdapterCapabilities **list, size_t n, const char *says)
{
    err[0] = 0;
    cr_assert_eq(capabilities_check(list, n, "Inventory", err, sizeof err), UV_EINVAL);
    cr_assert_not_null(strstr(err, says), "got \"%s\", expected \"%s\"", err, says);
}

Test(capabilities, bounds_and_faults_are_named)
{
    static char name[CAPABILITIES_MAX_NAME + 2], id[CAPABILITIES_MAX_OWN_ID + 2], text[CAPABILITIES_MAX_TEXT + 2];
    static Sensebus__V1__AdapterCapabilities many[CAPABILITIES_MAX_ADAPTERS + 1], *list[CAPABILITIES_MAX_ADAPTERS + 1];
    static char names[CAPABILITIES_MAX_ADAPTERS + 1][16];
    char *texts[CAPABILITIES_MAX_LIST + 1];

    memset(name, 'n', sizeof name - 1);
    memset(id, 'i', sizeof id - 1);
    memset(text, 't', sizeof text - 1);
    for (size_t i = 0; i <= CAPABILITIES_MAX_LIST; i++)
        texts[i] = (char *)"event";
    Sensebus__V1__AdapterCapabilities a = make("iscsi0", NULL, 0), b = make("iscsi0", NULL, 0), *pair[] = {&a, &b};
    refuses(pair, 2, "Inventory.adapters: iscsi0 is given twice");
    b = make("", NULL, 0);
    refuses(pair, 2, "Inventory.adapters: the name of entry 1");
    b = make(name, NULL, 0);
    refuses(pair, 2, "Inventory.adapters: the name of entry 1");
    b = make(name + 1, NULL, 0);
    cr_assert_eq(capabilities_check(pair, 2, "Inventory", err, sizeof err), 0);
    b = make("\xff", NULL, 0);
    refuses(pair, 2, "Inventory.adapters: the name of entry 1");
    b = make("b", texts, CAPABILITIES_MAX_LIST + 1);
    refuses(pair, 2, "entry 1 has 33 capabilities");
    texts[0] = text;
    b = make("b", texts, 1);
    refuses(pair, 2, "capability 0 of entry 1");
    b = make("b", NULL, 0);
    b.own_id = id;
    refuses(pair, 2, "own_id of entry 1");
    for (size_t i = 0; i <= CAPABILITIES_MAX_ADAPTERS; i++) {
        snprintf(names[i], sizeof names[i], "a%zu", i);
        many[i] = make(names[i], NULL, 0);
        list[i] = &many[i];
    }
    cr_assert_eq(capabilities_check(list, CAPABILITIES_MAX_ADAPTERS, "Inventory", err, sizeof err), 0);
    refuses(list, CAPABILITIES_MAX_ADAPTERS + 1, "Inventory.adapters: 1025, at most 1024");
}
