/* SPDX-License-Identifier: Apache-2.0 */
/* Runs one verb to its end; "expect" is asked again until it is so, or its time is over. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "tests/target/orders.h"

struct runner {
    struct server *server;
    uv_timer_t timer;
    bool busy;
    struct verb verb;
    uint64_t deadline_ms;
    struct orders_answer answer;
    void (*on_done)(struct runner *r,
                    enum orders_result result); /* never before runner_start returns; ORDERS_LATER: time is over */
    void *data;
};

void runner_init(struct runner *r, struct server *server, void (*on_done)(struct runner *r, enum orders_result result),
                 void *data);
/* Run a copy of `verb` after `after_ms`. Not while busy. */
void runner_start(struct runner *r, const struct verb *verb, uint64_t after_ms);
/* `on_closed` gets the timer; `on_done` does not run any more. */
void runner_close(struct runner *r, uv_close_cb on_closed);
