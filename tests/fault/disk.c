/* SPDX-License-Identifier: Apache-2.0 */
/* Stands between the log and the disk: what is written to a file data.mdb (by LMDB) or redo (the write-ahead log)
 * passes through here, can fail here, and is put on record. Linked into a program, these functions take the place of
 * libc's, also for liblmdb.
 *
 * Steps (failpoint.c): disk.write and disk.meta (the pages 0 and 1) before something is written, disk.written after it,
 * disk.sync before a flush, disk.synced after it. Of the write-ahead log: redo.write, redo.written, redo.sync,
 * redo.synced.
 *
 * SENSEBUS_RECORD=FILE: everything that was done is appended to FILE (disk_record.h), in order. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "runtime/failpoint.h"
#include "tests/fault/disk_record.h"

#define META_BYTES 8192

static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off_t);
static int (*real_fdatasync)(int);
static int (*real_fsync)(int);
static int (*real_ftruncate)(int, off_t);
static int record = -1;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void find(void *out, const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);
    if (!function)
        abort();
    memcpy(out, &function, sizeof function);
}

static void open_record(const char *path)
{
    record = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (record < 0)
        abort();
}

static void start(void)
{
    const char *path = getenv("SENSEBUS_RECORD");
    find(&real_pwrite, "pwrite");
    find(&real_writev, "writev");
    find(&real_pwritev, "pwritev");
    find(&real_fdatasync, "fdatasync");
    find(&real_fsync, "fsync");
    find(&real_ftruncate, "ftruncate");
    if (path)
        open_record(path);
}

static bool ends_with(const char *path, size_t len, const char *end)
{
    size_t n = strlen(end);
    return len >= n && memcmp(path + len - n, end, n) == 0;
}

static enum disk_record_file file_of(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path);
    size_t len = n > 0 ? (size_t)n : 0;
    return ends_with(path, len, "/data.mdb") ? DISK_DATA : ends_with(path, len, "/redo") ? DISK_REDO : DISK_OTHER;
}

static void put(const void *bytes, size_t len)
{
    const struct iovec v = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
    if (len > 0 && real_writev(record, &v, 1) != (ssize_t)len)
        abort();
}

static void note(enum disk_record_kind kind, enum disk_record_file file, uint64_t offset, const void *bytes, size_t len)
{
    struct disk_record_entry entry = {
        .kind = (uint16_t)kind, .file = (uint16_t)file, .len = (uint32_t)len, .offset = offset};
    if (record < 0)
        return;
    put(&entry, sizeof entry);
    put(bytes, len);
}

static int fails(const char *step)
{
    int rc = failpoint(step);
    if (rc)
        errno = -rc;
    return rc;
}

/* A write through a descriptor with O_DSYNC is on the disk when it returns, itself and nothing else. */
static enum disk_record_kind write_kind(int fd)
{
    return fcntl(fd, F_GETFL) & O_DSYNC ? DISK_WRITE_DURABLE : DISK_WRITE;
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    pthread_once(&once, start);
    enum disk_record_file file = file_of(fd);
    if (file == DISK_OTHER)
        return real_pwrite(fd, bytes, len, offset);
    if (fails(file == DISK_REDO ? "redo.write" : offset < META_BYTES ? "disk.meta" : "disk.write"))
        return -1;
    ssize_t n = real_pwrite(fd, bytes, len, offset);
    if (n > 0)
        note(write_kind(fd), file, (uint64_t)offset, bytes, (size_t)n);
    return fails(file == DISK_REDO ? "redo.written" : "disk.written") ? -1 : n;
}

static void note_parts(int fd, enum disk_record_file file, const struct iovec *v, int n_v, off_t offset, ssize_t n)
{
    size_t left = n > 0 ? (size_t)n : 0;
    for (int i = 0; i < n_v && left > 0; i++) {
        size_t len = v[i].iov_len < left ? v[i].iov_len : left;
        note(write_kind(fd), file, (uint64_t)offset, v[i].iov_base, len);
        offset += (off_t)len;
        left -= len;
    }
}

ssize_t writev(int fd, const struct iovec *v, int n_v)
{
    pthread_once(&once, start);
    enum disk_record_file file = file_of(fd);
    if (file == DISK_OTHER)
        return real_writev(fd, v, n_v);
    off_t offset = lseek(fd, 0, SEEK_CUR);
    if (fails("disk.write"))
        return -1;
    ssize_t n = real_writev(fd, v, n_v);
    note_parts(fd, file, v, n_v, offset, n);
    return fails("disk.written") ? -1 : n;
}

ssize_t pwritev(int fd, const struct iovec *v, int n_v, off_t offset)
{
    pthread_once(&once, start);
    enum disk_record_file file = file_of(fd);
    if (file == DISK_OTHER)
        return real_pwritev(fd, v, n_v, offset);
    if (fails("redo.write"))
        return -1;
    ssize_t n = real_pwritev(fd, v, n_v, offset);
    note_parts(fd, file, v, n_v, offset, n);
    return fails("redo.written") ? -1 : n;
}

static int sync_data(int fd, int (*real)(int))
{
    enum disk_record_file file = file_of(fd);
    if (file == DISK_OTHER)
        return real(fd);
    if (fails(file == DISK_REDO ? "redo.sync" : "disk.sync"))
        return -1;
    int rc = real(fd);
    if (rc == 0)
        note(DISK_SYNC, file, 0, NULL, 0);
    return fails(file == DISK_REDO ? "redo.synced" : "disk.synced") ? -1 : rc;
}

int fdatasync(int fd)
{
    pthread_once(&once, start);
    return sync_data(fd, real_fdatasync);
}

int fsync(int fd)
{
    pthread_once(&once, start);
    return sync_data(fd, real_fsync);
}

/* Not used without MDB_WRITEMAP: a recorder that missed it would prove nothing. */
int msync(void *address, size_t len, int flags)
{
    (void)address, (void)len, (void)flags;
    abort();
}

int ftruncate(int fd, off_t len)
{
    pthread_once(&once, start);
    if (file_of(fd) != DISK_OTHER)
        abort(); /* the same */
    return real_ftruncate(fd, len);
}

void disk_record_to(const char *path)
{
    pthread_once(&once, start);
    open_record(path);
}

void disk_mark(uint64_t number)
{
    pthread_once(&once, start);
    note(DISK_MARK, DISK_OTHER, number, NULL, 0);
}
