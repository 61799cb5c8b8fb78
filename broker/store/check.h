/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at a log that no broker has open: what is in it and, on demand, whether all of it is as it was written.
 *
 * Nothing is changed, and nothing in the file is believed (store_image.h). Invariant: a sequence between the oldest and
 * the newest is either whole or part of one hole that is told. Memory is bounded whatever the file says: a value, a
 * page for each level of a tree, a bit for each page. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/store_files.h"
#include "runtime/store_image.h"

/* Records that cannot be had. */
struct check_hole {
    uint64_t first, last; /* first 0: where it begins is not known */
    const char *reason;
};

/* Anything else that is not as it must be. Texts may hold any bytes but NUL. */
struct check_fault {
    const char *table; /* NULL: not of one table */
    uint64_t page;     /* or STORE_IMAGE_NO_PAGE */
    const char *reason;
};

struct check_ops {
    void (*on_hole)(void *data, const struct check_hole *hole);
    void (*on_fault)(void *data, const struct check_fault *fault);
};

struct check_table {
    char name[STORE_IMAGE_MAX_NAME + 1];
    uint64_t n_pairs, bytes; /* of keys and values */
};

struct check_summary {
    enum store_files_mark mark;
    bool is_made; /* a broker has begun its log; otherwise what follows is 0 */
    uint64_t epoch;
    uint64_t oldest, newest; /* oldest is newest + 1 without records */
    uint64_t oldest_time_ns, newest_time_ns;
    uint64_t n_records; /* that are whole; unless `deep`, newest - oldest + 1 */
    uint64_t log_bytes, status_through;
    uint64_t n_ahead; /* transactions in the write-ahead log that are not in the store; what is above counts them */
    uint64_t file_bytes, used_bytes, free_bytes;
    struct check_table tables[STORE_IMAGE_MAX_TABLES];
    size_t n_tables;
    uint64_t n_holes, n_lost, n_faults; /* n_lost: records in holes whose beginning is known */
};

/* `deep`: read every value, check its checksum, scan every record, decode every pair. Otherwise only what the file
 * looks like. Returns 0, also with damage. Otherwise `err` says why nothing could be said: UV_EBUSY, a process has it
 * open; UV_ENOENT, there is none; UV_EIO, it is no store; UV_EINVAL, a format of another version; others from the file
 * system. */
int check_log(const char *directory, bool deep, const struct check_ops *ops, void *data,
              struct check_summary *out_summary, char *err, size_t err_len);
