/* SPDX-License-Identifier: Apache-2.0 */
/* Files as a loss of power may leave them, made from the record of what was written and flushed (disk_record.h).
 *
 * Whatever a completed flush covers is there, and a durable write that returned. Of the rest each write is there, or
 * not, or in part: a disk may do what it has not been told to flush in any order, and tear it between its sectors. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tests/fault/disk_record.h"

struct disk_log_entry {
    enum disk_record_kind kind;
    enum disk_record_file file;
    uint64_t offset; /* of a mark: its number */
    size_t len;
    const uint8_t *bytes; /* in the log */
};

struct disk_log {
    uint8_t *file;
    struct disk_log_entry *entries;
    size_t n;
};

/* Abort when the record cannot be read: it is our own. */
void disk_log_read(struct disk_log *log, const char *path);
void disk_log_free(struct disk_log *log);

enum disk_fate {
    DISK_ALL,     /* everything written is there: as after kill -9 */
    DISK_NONE,    /* nothing that was not flushed is there */
    DISK_SOME,    /* each write is there or not */
    DISK_TORN,    /* the same for each sector of 512 bytes */
    DISK_TORN_4K, /* … of 4,096 bytes */
    DISK_LATE,    /* the later half is there, the earlier is not */
    DISK_N_FATES,
};

/* The file when the power is lost while entry `cut` is under way: that one counts as not completed. On the heap;
 * *out_len is 0 when nothing was written to it. */
uint8_t *disk_image(const struct disk_log *log, enum disk_record_file file, size_t cut, enum disk_fate fate,
                    uint64_t seed, size_t *out_len);
