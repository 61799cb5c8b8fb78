/* SPDX-License-Identifier: Apache-2.0 */
/* Orders of the gRPC service (sensebus/target/v1/target.proto) as verbs, and states back. Pure. */
#pragma once

#include <stddef.h>

#include "sensebus/target/v1/target.pb-c.h"
#include "tests/target/scsi/unit.h"
#include "tests/target/verb.h"

/* `order` was checked by request_check_known. Returns 0, or UV_EINVAL with `err` naming the member: "Order.resize.lun:
 * 20000, at most 16383". */
int order_message_read(const Sensebus__Target__V1__Order *order, struct verb *out_verb, char *err, size_t err_len);
Sensebus__Target__V1__AccessState order_message_access(enum alua state);
