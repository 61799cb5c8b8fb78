/* SPDX-License-Identifier: Apache-2.0 */
/* The record of what a program did to its file data.mdb, made by disk.c: entries one behind the other, a write's bytes
 * behind its entry. Read by disk_image.c and tests/lib/disk_record.py. */
#pragma once

#include <stdint.h>

enum disk_record_kind {
    DISK_WRITE = 1,         /* at `offset`; on the disk at the next sync, or earlier, in any order, in part */
    DISK_WRITE_DURABLE = 2, /* on the disk, whole */
    DISK_SYNC = 3,          /* every write before it is on the disk */
    DISK_MARK = 4,          /* disk_mark(offset) */
};

struct disk_record_entry {
    uint32_t kind, len;
    uint64_t offset;
};

/* From here on, append to `path`; the same as SENSEBUS_RECORD in the environment. */
void disk_record_to(const char *path);
/* Put a note of the test's own on the record: everything promised so far. */
void disk_mark(uint64_t number);
