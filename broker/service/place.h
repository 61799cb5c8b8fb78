/* SPDX-License-Identifier: Apache-2.0 */
/* Where is it? An address that a request names, looked up in what the agents said of their devices and adapters.
 *
 * A name wins over a number: with `target_name` the target number and the bus are not looked at. Bus -1 stands for any;
 * bus 0 also for "the transport has none" (iSCSI). Without `adapter` the device must be on one adapter only. A
 * target-mode address names the adapter that serves; the remote initiator need not be known. No I/O. */
#pragma once

#include "broker/core/adapter/adapter.h"

struct directory;

/* Zeroed is empty. What `found` points to lives in here and in the directory: use it before either changes. */
struct place {
    struct adapter_place found;
    Sensebus__V1__DeviceAddress address;
    Sensebus__V1__InventoryDevice *device;
};

/* The place of a request's IocInfo, Start or StartTarget. Returns 0 with *out filled, also when there is no such place
 * (found.state says so); 1 when the request names none; UV_ENOMEM. */
int place_of_request(const struct directory *d, const Sensebus__V1__AdapterRequest *request, struct place *out);
void place_deinit(struct place *p);

/* ADAPTER_CAN_… of the adapter, as its agent said last; 0 when it has none of that name. */
unsigned place_capabilities(const struct directory *d, const char *host, const char *adapter);
