/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/disk_image.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/chance.h"

static void *allocate(size_t n, size_t size)
{
    void *memory = calloc(n ? n : 1, size);
    if (!memory)
        abort();
    return memory;
}

void disk_log_read(struct disk_log *log, const char *path)
{
    FILE *f = fopen(path, "re");
    if (!f || fseek(f, 0, SEEK_END) != 0)
        abort();
    size_t len = (size_t)ftell(f), room = 0;
    rewind(f);
    *log = (struct disk_log){.file = allocate(len, 1)};
    if (fread(log->file, 1, len, f) != len)
        abort();
    fclose(f);
    for (size_t at = 0; at < len;) {
        struct disk_record_entry entry;
        if (len - at < sizeof entry)
            abort();
        memcpy(&entry, log->file + at, sizeof entry);
        at += sizeof entry;
        if (len - at < entry.len)
            abort();
        if (log->n == room) {
            room = room ? 2 * room : 1024;
            log->entries = realloc(log->entries, room * sizeof *log->entries);
            if (!log->entries)
                abort();
        }
        log->entries[log->n++] = (struct disk_log_entry){
            .kind = entry.kind, .file = entry.file, .offset = entry.offset, .len = entry.len, .bytes = log->file + at};
        at += entry.len;
    }
}

void disk_log_free(struct disk_log *log)
{
    free(log->file);
    free(log->entries);
    *log = (struct disk_log){0};
}

static bool is_write(const struct disk_log_entry *e, enum disk_record_file file)
{
    return e->file == file && (e->kind == DISK_WRITE || e->kind == DISK_WRITE_DURABLE);
}

/* Write the parts of an entry that made it; sectors count from the beginning of the file. */
static void apply(uint8_t *file, const struct disk_log_entry *e, uint64_t sector, struct chance *chance, size_t *io_len)
{
    for (uint64_t at = e->offset, end = e->offset + e->len, next; at < end; at = next) {
        next = sector ? (at / sector + 1) * sector : end;
        next = next < end ? next : end;
        if (sector && chance_below(chance, 2))
            continue;
        memcpy(file + at, e->bytes + (at - e->offset), next - at);
        *io_len = next > *io_len ? next : *io_len;
    }
}

uint8_t *disk_image(const struct disk_log *log, enum disk_record_file name, size_t cut, enum disk_fate fate,
                    uint64_t seed, size_t *out_len)
{
    struct chance chance = chance_from(seed);
    uint64_t end = 0;
    size_t len = 0, flushed = 0, n_loose = 0, nth = 0;

    for (size_t i = 0; i <= cut && i < log->n; i++) {
        const struct disk_log_entry *e = &log->entries[i];
        if (is_write(e, name) && e->offset + e->len > end)
            end = e->offset + e->len;
        if (e->kind == DISK_SYNC && e->file == name && i < cut) {
            flushed = i;
            n_loose = 0;
        } else if (is_write(e, name)) {
            n_loose++;
        }
    }
    uint8_t *file = allocate(end, 1);
    for (size_t i = 0; i <= cut && i < log->n; i++) {
        const struct disk_log_entry *e = &log->entries[i];
        if (!is_write(e, name))
            continue;
        bool is_sure = i < flushed || (e->kind == DISK_WRITE_DURABLE && i < cut);
        bool is_there = true;
        nth += i >= flushed;
        switch (fate) {
        case DISK_NONE: is_there = false; break;
        case DISK_SOME: is_there = chance_below(&chance, 2); break;
        case DISK_LATE: is_there = nth > n_loose / 2; break;
        default: break;
        }
        uint64_t sector = fate == DISK_TORN ? 512 : fate == DISK_TORN_4K ? 4096 : 0;
        if (is_sure || is_there)
            apply(file, e, is_sure ? 0 : sector, &chance, &len);
    }
    *out_len = len;
    return file;
}
