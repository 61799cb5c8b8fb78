/* SPDX-License-Identifier: Apache-2.0 */
/* Does what a verb says, and tells in words what came of it. */
#pragma once

#include <stddef.h>

#include "tests/target/server.h"
#include "tests/target/verb.h"

#define ORDERS_REPLY_BYTES 32768 /* all sessions fit */

enum orders_result {
    ORDERS_DONE,
    ORDERS_LATER,   /* "expect": not yet so; ask again until `v->ms` have passed */
    ORDERS_WRONG,   /* an argument is out of range, whatever the target is like */
    ORDERS_UNKNOWN, /* there is no such unit or event code */
    ORDERS_THERE,   /* there is such a unit */
    ORDERS_NOBODY,  /* there is nobody whom it would concern */
    ORDERS_FULL,    /* a bound was reached */
};

struct orders_answer {
    char text[ORDERS_REPLY_BYTES]; /* what came of it, or why nothing did; perhaps empty */
    size_t n_sessions;             /* that it was sent to at once */
    uint8_t sense[VERB_DATA_MAX];  /* that the next command gets */
    size_t sense_len;
};

/* Anything but ORDERS_DONE has changed nothing, but that what is ORDERS_FULL in one session may have reached others. */
enum orders_result orders_run(struct server *s, const struct verb *v, struct orders_answer *answer);
