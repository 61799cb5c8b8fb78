/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/service/place.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "broker/core/directory.h"
#include "sensebus/v1/agents.pb-c.h"

static struct directory d;
static struct place place;
static char err[256];
static int stream;

#define ME    "iqn.2026-01.example:me"
#define DISKS "iqn.2026-01.example:disks"
#define TAPES "iqn.2026-01.example:tapes"
#define PORT  "naa.50060e8000000001"

struct unit {
    Sensebus__V1__InventoryDevice message;
    Sensebus__V1__Address address;
    Sensebus__V1__Device device;
};

static void make_unit(struct unit *u, const char *adapter, int32_t bus, int32_t target, const char *name, int64_t lun)
{
    sensebus__v1__inventory_device__init(&u->message);
    sensebus__v1__address__init(&u->address);
    sensebus__v1__device__init(&u->device);
    u->address.adapter = (char *)adapter;
    u->address.bus = bus;
    u->address.target = target;
    u->address.lun = lun;
    u->address.controller = 7;
    u->device.target_name = (char *)name;
    u->device.vendor = (char *)"ACME";
    u->message.address = &u->address;
    u->message.device = &u->device;
}

static void make_adapter(Sensebus__V1__AdapterCapabilities *a, const char *name, char **texts, size_t n)
{
    sensebus__v1__adapter_capabilities__init(a);
    a->adapter = (char *)name;
    a->capabilities = texts;
    a->n_capabilities = n;
}

static struct directory_agent *attach(void)
{
    Sensebus__V1__Hello hello = SENSEBUS__V1__HELLO__INIT;
    struct directory_agent *agent;
    void *old;

    hello.version = 1;
    hello.host = (char *)"h";
    hello.agent_epoch = hello.instance = hello.oldest_source_sequence = 1;
    cr_assert_eq(directory_attach(&d, &hello, "p", &stream, 1, &agent, &old, err, sizeof err), DIRECTORY_ACCEPT);
    return agent;
}

/* One agent "h": iSCSI units without a bus on iscsi0, a parallel bus on scsi1, a unit of PORT that the kernel reaches
 * through two adapters, and a target served. */
static void setup(void)
{
    static char *all[] = {(char *)"event", (char *)"halt", (char *)"reset-lun", (char *)"reset-target"};
    static char *target[] = {(char *)"event", (char *)"target-mode"}, *service[] = {(char *)"diagnostics"};
    struct unit units[7];
    Sensebus__V1__InventoryDevice *devices[7];
    Sensebus__V1__AdapterCapabilities adapters[3], *list[3] = {&adapters[0], &adapters[1], &adapters[2]};
    Sensebus__V1__Inventory inventory = SENSEBUS__V1__INVENTORY__INIT;
    struct directory_agent *agent;

    make_adapter(&adapters[0], "iscsi0", all, 4);
    adapters[0].own_id = (char *)ME;
    make_adapter(&adapters[1], "scsi1", service, 1);
    make_adapter(&adapters[2], "tgt1", target, 2);
    make_unit(&units[0], "iscsi0", -1, 1, DISKS, 0);
    make_unit(&units[1], "iscsi0", -1, 1, DISKS, 1);
    make_unit(&units[2], "iscsi0", -1, 2, TAPES, 1);
    make_unit(&units[3], "scsi1", 0, 1, "", 1);
    make_unit(&units[4], "scsi1", 3, 5, "", 0);
    make_unit(&units[5], "host3", 0, 0, PORT, 4);
    make_unit(&units[6], "host4", 0, 2, PORT, 4);
    for (size_t i = 0; i < 7; i++)
        devices[i] = &units[i].message;
    directory_init(&d, 0, 0, 0);
    agent = attach();
    inventory.devices = devices;
    inventory.n_devices = 7;
    inventory.adapters = list;
    inventory.n_adapters = 3;
    cr_assert_eq(directory_inventory(&d, agent, &inventory, err, sizeof err), 0);
}

static void teardown(void)
{
    place_deinit(&place);
    directory_deinit(&d);
}

TestSuite(place, .init = setup, .fini = teardown);

static Sensebus__V1__DeviceAddress at(const char *host, const char *adapter, int32_t bus, int32_t target,
                                      const char *name, int64_t lun)
{
    Sensebus__V1__DeviceAddress a = SENSEBUS__V1__DEVICE_ADDRESS__INIT;
    a.host = (char *)host;
    a.adapter = (char *)adapter;
    a.bus = bus;
    a.target = target;
    a.target_name = (char *)name;
    a.lun = lun;
    return a;
}

static enum adapter_place_state look(Sensebus__V1__DeviceAddress address)
{
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__Start start = SENSEBUS__V1__START__INIT;

    place_deinit(&place);
    start.address = &address;
    request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_START;
    request.start = &start;
    cr_assert_eq(place_of_request(&d, &request, &place), 0);
    return place.found.state;
}

static enum adapter_place_state look_for_target(Sensebus__V1__DeviceAddress address)
{
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__StartTarget start = SENSEBUS__V1__START_TARGET__INIT;

    place_deinit(&place);
    start.address = &address;
    request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_START_TARGET;
    request.start_target = &start;
    cr_assert_eq(place_of_request(&d, &request, &place), 0);
    return place.found.state;
}

static enum adapter_place_state look_for_adapter(const char *host, const char *adapter)
{
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__IocInfo ioc = SENSEBUS__V1__IOC_INFO__INIT;

    place_deinit(&place);
    ioc.host = (char *)host;
    ioc.adapter = (char *)adapter;
    request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_IOC_INFO;
    request.ioc_info = &ioc;
    cr_assert_eq(place_of_request(&d, &request, &place), 0);
    return place.found.state;
}

static void is_at(const char *adapter, int32_t bus, int32_t target, const char *name, int64_t lun)
{
    const Sensebus__V1__DeviceAddress *a = place.found.address;
    cr_assert_eq(place.found.state, ADAPTER_PLACE_OK);
    cr_assert_str_eq(a->host, "h");
    cr_assert_str_eq(a->adapter, adapter);
    cr_assert_str_eq(a->target_name, name);
    cr_assert(a->bus == bus && a->target == target && a->lun == lun);
}

/* A22: the agent's alias number and the iSCSI name lead to the same unit, and both come back. */
Test(place, is_found_by_number_and_by_name)
{
    look(at("h", "iscsi0", -1, 1, "", 1));
    is_at("iscsi0", -1, 1, DISKS, 1);
    look(at("h", "", 0, 0, DISKS, 1));
    is_at("iscsi0", -1, 1, DISKS, 1);
    cr_assert_str_eq(place.found.device->vendor, "ACME");
    cr_assert_eq(place.found.controller, 7);
    look(at("h", "", 9, 9, TAPES, 1)); /* the name wins over numbers */
    is_at("iscsi0", -1, 2, TAPES, 1);
    look(at("h", "", 3, 5, "", 0));
    is_at("scsi1", 3, 5, "", 0);
    look(at("h", "", -1, 5, "", 0)); /* any bus */
    is_at("scsi1", 3, 5, "", 0);
    look(at("h", "", 0, 1, "", 0)); /* no bus, not said */
    is_at("iscsi0", -1, 1, DISKS, 0);
}

Test(place, what_is_not_there_is_unknown)
{
    cr_assert_eq(look(at("h", "", -1, 1, "", 2)), ADAPTER_PLACE_UNKNOWN);
    cr_assert_eq(look(at("h", "", -1, 4, "", 0)), ADAPTER_PLACE_UNKNOWN);
    cr_assert_eq(look(at("h", "", 1, 5, "", 0)), ADAPTER_PLACE_UNKNOWN);
    cr_assert_eq(look(at("h", "", -1, 0, DISKS "x", 0)), ADAPTER_PLACE_UNKNOWN);
    cr_assert_eq(look(at("h", "", -1, 0, DISKS, 7)), ADAPTER_PLACE_UNKNOWN);
    cr_assert_eq(look(at("h", "scsi1", -1, 0, DISKS, 0)), ADAPTER_PLACE_UNKNOWN);
    cr_assert_eq(look(at("", "", -1, 1, "", 0)), ADAPTER_PLACE_UNKNOWN);
    cr_assert_null(place.found.address);
}

Test(place, a_number_on_two_adapters_is_ambiguous)
{
    cr_assert_eq(look(at("h", "", 0, 1, "", 1)), ADAPTER_PLACE_AMBIGUOUS);
    cr_assert_eq(look(at("h", "scsi1", 0, 1, "", 1)), ADAPTER_PLACE_OK);
    cr_assert_eq(look(at("h", "", -1, 0, DISKS, 1)), ADAPTER_PLACE_OK);
}

Test(place, of_several_ways_to_a_device_the_adapter_says_which)
{
    cr_assert_eq(look(at("h", "", -1, -1, PORT, 4)), ADAPTER_PLACE_AMBIGUOUS);
    look(at("h", "host3", -1, -1, PORT, 4));
    is_at("host3", 0, 0, PORT, 4);
    look(at("h", "host4", -1, -1, PORT, 4));
    is_at("host4", 0, 2, PORT, 4);
    look(at("h", "host4", 0, 2, "", 4));
    is_at("host4", 0, 2, PORT, 4);
    cr_assert_eq(look(at("h", "host3", 0, 2, "", 4)), ADAPTER_PLACE_UNKNOWN);
    cr_assert_eq(look(at("h", "host5", -1, -1, PORT, 4)), ADAPTER_PLACE_UNKNOWN);
    cr_assert_eq(look(at("h", "host3", -1, -1, PORT, 5)), ADAPTER_PLACE_UNKNOWN);
}

Test(place, an_agent_that_has_not_said_what_it_has_may_have_it)
{
    Sensebus__V1__Inventory none = SENSEBUS__V1__INVENTORY__INIT;
    struct directory_agent *agent = directory_find(&d, "h");

    cr_assert(directory_leave(&d, agent, &stream, true, 2));
    attach();
    cr_assert_eq(look(at("h", "", -1, 4, "", 0)), ADAPTER_PLACE_UNTOLD);
    cr_assert_eq(look(at("h", "", -1, 1, "", 0)), ADAPTER_PLACE_OK, "what it had before stands until then");
    cr_assert_eq(directory_inventory(&d, agent, &none, err, sizeof err), 0);
    cr_assert_eq(look(at("h", "", -1, 4, "", 0)), ADAPTER_PLACE_UNKNOWN);
}

Test(place, an_agent_that_is_not_attached_is_said_so)
{
    cr_assert_eq(look(at("other", "", -1, 1, "", 0)), ADAPTER_PLACE_NO_AGENT);
    cr_assert(directory_leave(&d, directory_find(&d, "h"), &stream, false, 2));
    cr_assert_eq(look(at("h", "", -1, 1, "", 0)), ADAPTER_PLACE_NO_AGENT);
    cr_assert_eq(look_for_adapter("h", "iscsi0"), ADAPTER_PLACE_NO_AGENT);
}

/* Rule 12, A23: what the adapter advertised. */
Test(place, carries_what_the_adapter_can_do)
{
    look(at("h", "", -1, 0, DISKS, 0));
    cr_assert_eq(place.found.capabilities,
                 ADAPTER_CAN_EVENT | ADAPTER_CAN_HALT | ADAPTER_CAN_RESET_LUN | ADAPTER_CAN_RESET_TARGET);
    cr_assert_str_eq(place.found.own_id, ME);
    cr_assert(!place.found.diagnostics);
    look(at("h", "scsi1", 3, 5, "", 0));
    cr_assert_eq(place.found.capabilities, 0);
    cr_assert_null(place.found.own_id);
    cr_assert(place.found.diagnostics);
}

Test(place, capabilities_are_those_of_the_adapter_of_that_name)
{
    cr_assert_eq(place_capabilities(&d, "h", "tgt1"), ADAPTER_CAN_EVENT | ADAPTER_CAN_TARGET_MODE);
    cr_assert_eq(place_capabilities(&d, "h", "iscsi1"), 0);
    cr_assert_eq(place_capabilities(&d, "x", "tgt1"), 0);
}

/* Rule 13: IOCINFO needs no device. */
Test(place, an_adapter_is_found_by_its_name_or_as_the_only_one)
{
    cr_assert_eq(look_for_adapter("h", "iscsi0"), ADAPTER_PLACE_OK);
    cr_assert_eq(place.found.address->target, -1);
    cr_assert_null(place.found.device);
    cr_assert_eq(look_for_adapter("h", "iscsi1"), ADAPTER_PLACE_UNKNOWN);
    cr_assert_eq(look_for_adapter("h", ""), ADAPTER_PLACE_AMBIGUOUS);
    cr_assert_eq(look_for_adapter("x", ""), ADAPTER_PLACE_NO_AGENT);
}

Test(place, target_mode_needs_no_initiator_logged_in)
{
    cr_assert_eq(look_for_target(at("h", "tgt1", 0, 0, "iqn.remote", 0)), ADAPTER_PLACE_OK);
    is_at("tgt1", 0, 0, "iqn.remote", 0);
    cr_assert(place.found.capabilities & ADAPTER_CAN_TARGET_MODE);
    cr_assert_eq(look_for_target(at("h", "", 0, 0, "iqn.remote", 0)), ADAPTER_PLACE_OK); /* the only one that serves */
    is_at("tgt1", 0, 0, "iqn.remote", 0);
    cr_assert_eq(look_for_target(at("h", "iscsi0", 0, 0, "iqn.remote", 0)), ADAPTER_PLACE_OK);
    cr_assert(!(place.found.capabilities & ADAPTER_CAN_TARGET_MODE));
    cr_assert_eq(look_for_target(at("h", "tgt9", 0, 0, "iqn.remote", 0)), ADAPTER_PLACE_UNKNOWN);
}

Test(place, requests_without_an_address_have_none)
{
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__Start start = SENSEBUS__V1__START__INIT;

    cr_assert_eq(place_of_request(&d, &request, &place), 1);
    request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_START;
    request.start = &start;
    cr_assert_eq(place_of_request(&d, &request, &place), 0);
    cr_assert_eq(place.found.state, ADAPTER_PLACE_UNKNOWN);
}
