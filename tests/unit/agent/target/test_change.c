/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/target/change.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "proto/event_view.h"
#include "proto/registry.h"
#include "sensebus/v1/code.pb-c.h"
#include "sensebus/v1/event.pb-c.h"

static const struct change_source source = {"tgt", 1000000, "tgtd-state", true};
static const struct snapshot_target target = {.number = 7, .name = "iqn.served"};
static const struct snapshot_nexus nexus = {.id = 3, .initiator = "iqn.client", .address = "192.0.2.9"};
static const struct snapshot_lun lun = {.lun = 12, .online = true};

/* As the broker takes it. */
static Sensebus__V1__Event *decoded(const struct record *r)
{
    struct record_bytes bytes;
    struct event_view view;
    Sensebus__V1__Event *e;
    char err[128];

    cr_assert_eq(record_encode(r, &bytes), 0);
    cr_assert_eq(event_scan(bytes.bytes, bytes.len, NULL, &view, err, sizeof err), 0, "%s", err);
    e = sensebus__v1__event__unpack(NULL, bytes.len, bytes.bytes);
    free(bytes.bytes);
    return e;
}

Test(change, every_kind_is_a_code_that_target_mode_may_have)
{
    for (int kind = SNAPSHOT_TARGET_ADDED; kind <= SNAPSHOT_LOGOUT; kind++) {
        struct snapshot_change c = {
            .kind = (enum snapshot_change_kind)kind, .target = &target, .nexus = &nexus, .lun = &lun};
        struct change_text text;
        struct record r;

        change_record(&source, &c, 5, &text, &r);
        cr_assert_not_null(registry_find(r.code), "kind %d", kind);
        cr_expect_neq(registry_find(r.code)->mode, SENSEBUS__V1__MODE__MODE_INITIATOR, "kind %d", kind);
        cr_expect_eq(r.mode, SENSEBUS__V1__MODE__MODE_TARGET, "kind %d", kind);
        cr_expect(r.synthetic, "kind %d", kind);
        cr_expect_str_eq(r.native.name, "tgtd-state");
    }
}

Test(change, a_login_is_of_the_initiator_at_the_served_target)
{
    struct snapshot_change c = {.kind = SNAPSHOT_LOGIN, .target = &target, .nexus = &nexus};
    struct change_text text;
    struct record r;
    Sensebus__V1__Event *e;

    change_record(&source, &c, 5, &text, &r);
    e = decoded(&r);
    cr_expect_eq(e->code, SENSEBUS__V1__CODE__REMOTE_LOGIN);
    cr_expect_eq(e->scope, SENSEBUS__V1__SCOPE__SCOPE_TARGET);
    cr_expect_str_eq(e->address->adapter, "tgt7");
    cr_expect_eq(e->address->controller, 1000007);
    cr_expect_eq(e->address->target, 5);
    cr_expect_str_eq(e->device->target_name, "iqn.client");
    cr_expect_str_eq(e->device->portal, "192.0.2.9");
    cr_expect_str_eq(e->native->detail, "initiator logged in to iqn.served, address 192.0.2.9, session 3");
    cr_expect(e->synthetic);
    sensebus__v1__event__free_unpacked(e, NULL);
}

/* Every session with the served target sees its units: scope ADAPTER. */
Test(change, a_unit_is_of_the_served_target_and_in_the_address)
{
    struct snapshot_change c = {.kind = SNAPSHOT_LUN_REMOVED, .target = &target, .lun = &lun};
    struct change_text text;
    struct record r;
    Sensebus__V1__Event *e;

    change_record(&source, &c, -1, &text, &r);
    e = decoded(&r);
    cr_expect_eq(e->code, SENSEBUS__V1__CODE__DEVICE_REMOVED);
    cr_expect_eq(e->scope, SENSEBUS__V1__SCOPE__SCOPE_ADAPTER);
    cr_expect_eq(e->address->lun, 12);
    cr_expect_str_eq(e->device->target_name, "iqn.served");
    sensebus__v1__event__free_unpacked(e, NULL);
}

Test(change, a_target_that_is_gone_is_a_dead_adapter_to_its_sessions)
{
    struct change_text text;
    struct record r;
    Sensebus__V1__Event *e;

    change_outage_record(&source, &target, CHANGE_GONE, "connection refused", &text, &r);
    e = decoded(&r);
    cr_expect_eq(e->code, SENSEBUS__V1__CODE__ADAPTER_FATAL);
    cr_expect_eq(e->aix_bits, 1);
    cr_expect_eq(e->scope, SENSEBUS__V1__SCOPE__SCOPE_ADAPTER);
    cr_expect_not_null(strstr(e->native->detail, "connection refused"));
    sensebus__v1__event__free_unpacked(e, NULL);
    change_outage_record(&source, &target, CHANGE_UNREACHABLE, "", &text, &r);
    cr_expect_eq(r.code, SENSEBUS__V1__CODE__ADAPTER_COMMAND_FAILED);
    change_outage_record(&source, &target, CHANGE_BACK, "", &text, &r);
    cr_expect_eq(r.code, SENSEBUS__V1__CODE__ADAPTER_RESET);
}

Test(change, the_longest_names_make_a_record_that_the_broker_takes)
{
    struct snapshot_target t = {.number = SNAPSHOT_MAX_NUMBER};
    struct snapshot_nexus n = {.id = UINT64_MAX};
    struct snapshot_change c = {.kind = SNAPSHOT_LOGOUT, .target = &t, .nexus = &n};
    struct change_text text;
    struct record r;

    memset(t.name, 't', sizeof t.name - 1);
    memset(n.initiator, 'i', sizeof n.initiator - 1);
    memset(n.address, 'a', sizeof n.address - 1);
    change_record(&source, &c, -1, &text, &r);
    cr_expect_str_eq(text.adapter, "tgt999999");
    sensebus__v1__event__free_unpacked(decoded(&r), NULL);
}
