/* SPDX-License-Identifier: Apache-2.0 */
/* One order to the target as text: "sense 3 6/3f/0e", "drop rst", "reboot 2s". Pure.
 *
 * Words are separated by blanks; '#' begins a comment. Errors name the word that was wrong. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VERB_MAX_BYTES 1024 /* a line and its NUL */
#define VERB_DATA_MAX  252
#define VERB_ALL_UNITS (-1)

enum verb_kind {
    VERB_ADD,
    VERB_ALUA,
    VERB_ASYNC,
    VERB_ATTENTION,
    VERB_DROP,
    VERB_EXPECT,
    VERB_GARBAGE,
    VERB_HANG,
    VERB_HEALTH,
    VERB_OFFLINE,
    VERB_PING,
    VERB_PREEMPT,
    VERB_PROTECT,
    VERB_RAISE,
    VERB_REBOOT,
    VERB_REDIRECT,
    VERB_REFUSE,
    VERB_REJECT,
    VERB_REMOVE,
    VERB_RESET,
    VERB_RESIZE,
    VERB_SENSE,
    VERB_SLOW,
    VERB_STATE,
    VERB_STATSN,
    VERB_THIN,
};

struct verb {
    enum verb_kind kind;
    int lun;         /* or VERB_ALL_UNITS */
    uint64_t number; /* blocks, event, status, reason, skew; the count that is expected */
    uint16_t parameters[3];
    uint16_t asc;
    bool on;
    uint64_t ms;
    char word[VERB_MAX_BYTES]; /* code, state, address */
    uint8_t data[VERB_DATA_MAX];
    size_t data_len;
    bool has_sense; /* `data` is sense: an Asynchronous Message puts its length in front */
};

/* Returns 0; UV_EINVAL with `err` set; UV_ENOENT for a line with nothing but blanks and comment. */
int verb_parse(const char *line, struct verb *out_verb, char *err, size_t err_len);
/* One line for each verb, its arguments and what it does. */
const char *verb_help(void);
