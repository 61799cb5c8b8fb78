/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers for names, kept over restarts in a file: one name a line, the line is the number, counted from 0.
 *
 * What a target, or an initiator of target mode, is called in addresses of events (semantics.md A22). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NUMBERS_MAX        4096 /* the largest bound */
#define NUMBERS_NAME_BYTES 256

struct numbers {
    char path[4096];
    char **names;
    size_t n, cap, max;
    size_t n_written; /* of them, in the file */
    bool durable;
};

/* Read what is there, at most `max` names; a last line that was torn while it was written is cut off, else the next
 * name would grow out of it. `durable`: each new name is on the disk before its number is used, which takes as long as
 * the disk; else a crash of the machine may lose the newest numbers. Returns 0, or a negative errno (UV_EINVAL: a line
 * is too long for a name); numbers_free() then, too. */
int numbers_load(struct numbers *n, const char *directory, const char *file, size_t max, bool durable);
/* The number of `name`: the one it had, else the next, written to the file. UV_ENOSPC beyond the bound, UV_ENOMEM,
 * UV_EINVAL for a name with a line end or too long. A file that cannot be written is logged, and written with the next
 * name; until then the number is good until the restart. */
int32_t numbers_get(struct numbers *n, const char *name);
/* The number that it has, or UV_ENOENT. */
int32_t numbers_find(const struct numbers *n, const char *name);
/* NULL when the number was given to nobody. */
const char *numbers_name(const struct numbers *n, int32_t number);
void numbers_free(struct numbers *n);
