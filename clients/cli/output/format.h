/* SPDX-License-Identifier: Apache-2.0 */
/* The names of -o. Pure. */
#pragma once

#include <stdbool.h>

enum format { FORMAT_COMPACT, FORMAT_WIDE, FORMAT_JSON, FORMAT_NDJSON };

/* "compact" (or "table", the word for it where answers are tables), "wide", "json", "ndjson"; NULL is compact. */
bool format_parse(const char *text, enum format *out_format);
bool format_is_json(enum format format);
