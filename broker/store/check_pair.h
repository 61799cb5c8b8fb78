/* SPDX-License-Identifier: Apache-2.0 */
/* Does a pair of the broker's tables say something that the rules can take? Pure but for memory. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "broker/engine/journal.h"
#include "runtime/store.h"

/* `value` as it was put; `epoch` and `newest` of the log it belongs to (UINT64_MAX: not known). Returns 0; UV_EINVAL
 * with `err` saying what is wrong; UV_ENOMEM. */
int check_pair(enum journal_table table, const struct store_value *key, const struct store_value *value, uint64_t epoch,
               uint64_t newest, char *err, size_t err_len);
