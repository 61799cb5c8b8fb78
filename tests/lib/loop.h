/* SPDX-License-Identifier: Apache-2.0 */
/* A libuv loop for tests: runs until something is so, with a limit in time, and proves at the end that nothing is left
 * on it. Failures abort: an assertion in a Criterion teardown would pass green. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct test_loop {
    uv_loop_t loop;
    uv_timer_t guard; /* also makes a condition be looked at that a timer brought about */
    uint64_t limit_ms;
    bool late;
};

void test_loop_init(struct test_loop *t);
/* Run until *flag, at most 20 seconds of wall time; returns *flag. */
bool test_loop_until(struct test_loop *t, const bool *flag);
/* The same for any condition. */
bool test_loop_until_true(struct test_loop *t, bool (*condition)(void *data), void *data);
/* Let pass `ms` of loop time: for promises that something does not happen. */
void test_loop_for(struct test_loop *t, unsigned ms);
/* Run what is left and close. Handles that do not go away within 20 seconds are printed, and abort. */
void test_loop_deinit(struct test_loop *t);
