/* SPDX-License-Identifier: Apache-2.0 */
/* The words of the contract as people type them: "warn" for SEVERITY_WARN, "disk" for device type 0, "lun_reset" for
 * LUN_RESET. Case never matters. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The kinds of words; each is an enum of the contract. */
enum names_kind {
    NAMES_CODE,
    NAMES_CATEGORY,
    NAMES_SEVERITY,
    NAMES_SCOPE,
    NAMES_MODE,
    NAMES_SOURCE,
    NAMES_DEVICE_TYPE
};

/* The number of a word. Plain numbers (decimal, 0x) are taken as they are. False when the word is not known. */
bool names_number(enum names_kind kind, const char *word, int64_t *out_number);
/* The word of a number, or NULL when it has none. Constant memory. */
const char *names_word(enum names_kind kind, int64_t number);
/* The known word nearest to a misspelt one, or NULL when none is near. */
const char *names_nearest(enum names_kind kind, const char *word);
/* Words of a kind, one after the other: NULL behind the last. */
const char *names_at(enum names_kind kind, size_t i, int64_t *out_number);
/* All words of a kind, "a, b, c", cut when there are too many for `buf`. Codes: the command that lists them. */
const char *names_all(enum names_kind kind, char *buf, size_t len);
/* "codes", "severities": for messages. */
const char *names_plural(enum names_kind kind);

/* Decimal or 0x number with an optional '-', nothing behind it. */
bool names_parse_number(const char *text, int64_t *out_number);
