/* SPDX-License-Identifier: Apache-2.0 */
/* Named cursors: where a subscriber that keeps no state of its own goes on. The rules; the engine stores them.
 *
 * Invariant: within one log epoch a cursor never moves backwards. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CURSORS_MAX       65536
#define CURSOR_MAX_NAME   128
#define CURSOR_VALUE_SIZE 16

struct cursor_position {
    uint64_t epoch, sequence;
};

/* 1..128 of [A-Za-z0-9._-]. Returns 0, or UV_EINVAL with `err` saying what is wrong. */
int cursor_check_name(const char *name, char *err, size_t err_len);

enum cursor_verdict {
    CURSOR_MOVE,         /* store the new position */
    CURSOR_SAME,         /* it is there already: answer at once */
    CURSOR_BACKWARDS,    /* FAILED_PRECONDITION */
    CURSOR_OUT_OF_RANGE, /* a position of another log, or newer than the newest */
    CURSOR_TOO_MANY,     /* a new name, and CURSORS_MAX are there (RESOURCE_EXHAUSTED) */
};
/* May `name` move from `current` (NULL: a new name) to `next`? `n_cursors` are stored now. A current position of
 * another epoch is no hindrance: its log is gone. On refusal `err` names the cursor and both positions. */
enum cursor_verdict cursor_judge(const char *name, const struct cursor_position *current,
                                 const struct cursor_position *next, uint64_t log_epoch, uint64_t newest,
                                 uint64_t n_cursors, char *err, size_t err_len);

void cursor_encode(const struct cursor_position *position, uint8_t out[CURSOR_VALUE_SIZE]);
/* Returns 0, or UV_EINVAL when damaged. */
int cursor_decode(const void *bytes, size_t len, struct cursor_position *out_position);
