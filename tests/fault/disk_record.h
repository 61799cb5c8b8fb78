/* SPDX-License-Identifier: Apache-2.0 */
/* The record of what a program did to its files data.mdb and redo, made by disk.c: entries one behind the other, a
 * write's bytes behind its entry. Read by disk_image.c and tests/lib/disk_record.py. */
#pragma once

#include <stdint.h>

enum disk_record_kind {
    DISK_WRITE = 1,         /* at `offset`; on the disk at the file's next sync, or earlier, in any order, in part */
    DISK_WRITE_DURABLE = 2, /* on the disk, whole */
    DISK_SYNC = 3,          /* every write to the file before it is on the disk */
    DISK_MARK = 4,          /* disk_mark(offset) */
};

enum disk_record_file { DISK_OTHER, DISK_DATA, DISK_REDO };

struct disk_record_entry {
    uint16_t kind, file;
    uint32_t len;
    uint64_t offset;
};

/* From here on, append to `path`; the same as SENSEBUS_RECORD in the environment. */
void disk_record_to(const char *path);
/* Put a note of the test's own on the record: everything promised so far. */
void disk_mark(uint64_t number);
