/* SPDX-License-Identifier: Apache-2.0 */
/* Does what a verb says, and tells in words what came of it. */
#pragma once

#include <stddef.h>

#include "tests/target/server.h"
#include "tests/target/verb.h"

#define ORDERS_REPLY_BYTES 8192

enum orders_result {
    ORDERS_DONE,
    ORDERS_FAILED,
    ORDERS_LATER, /* "expect": not yet so; ask again until `v->ms` have passed */
};

/* `reply` gets the answer without "ok" or "error", perhaps nothing. */
enum orders_result orders_run(struct server *s, const struct verb *v, char reply[ORDERS_REPLY_BYTES]);
