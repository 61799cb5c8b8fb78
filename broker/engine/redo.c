/* SPDX-License-Identifier: Apache-2.0 */
/* A frame: struct frame_head, an array of struct batch_head, the puts, zeros to a multiple of 8, the batches one behind
 * the other. The checksum of the head covers all but the batches, which have their own. */
#include "broker/engine/redo.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "broker/engine/journal_format.h"
#include "runtime/crc32c.h"
#include "runtime/store_files.h"

#define FILE_MAGIC  0x5253422d6f646572ull /* "redo-BSR" */
#define FRAME_MAGIC 0x6d617266u           /* "fram" */
#define VERSION     1u
#define GROW_BYTES  (256u * 1024)
#define MAX_FILE    (64u * 1024 * 1024) /* that is read */

struct file_head {
    uint64_t magic;
    uint32_t version, crc; /* of the two below */
    uint64_t epoch, salt;
};

struct frame_head {
    uint32_t magic, crc; /* of the salt, and of everything behind this member and before the batches */
    uint64_t number;
    uint64_t before; /* number of the frame in front of it, 0 = it is the first */
    uint64_t status_through;
    uint32_t len; /* of all of it */
    uint32_t n_batches;
    uint32_t puts_len;
    uint32_t reserved;
};

struct batch_head {
    uint64_t first;
    uint32_t len, reserved;
};

struct put_head {
    uint8_t table, delete;
    uint16_t key_len;
    uint32_t value_len;
};

static const uint8_t zeros[REDO_BLOCK];

static size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* Bytes before the batches. */
static size_t front_len(size_t n_batches, size_t puts_len)
{
    return round_up(sizeof(struct frame_head) + n_batches * sizeof(struct batch_head) + puts_len, 8);
}

static uint32_t front_crc(uint64_t salt, const uint8_t *front, size_t len)
{
    size_t from = offsetof(struct frame_head, number);
    return crc32c(crc32c(0, &salt, sizeof salt), front + from, len - from);
}

static uint32_t file_crc(const struct file_head *head)
{
    return crc32c(crc32c(0, &head->epoch, sizeof head->epoch), &head->salt, sizeof head->salt);
}

/* ------------------------------------------------------------------------------------------------ puts */

size_t redo_put_size(const struct redo_put *put)
{
    return sizeof(struct put_head) + put->key_len + put->value_len;
}

void redo_put_write(const struct redo_put *put, uint8_t *out)
{
    struct put_head head = {.table = (uint8_t)put->table,
                            .delete = put->delete,
                            .key_len = (uint16_t)put->key_len,
                            .value_len = (uint32_t)put->value_len};

    assert(put->key_len <= UINT16_MAX && put->value_len <= UINT32_MAX);
    memcpy(out, &head, sizeof head);
    memcpy(out + sizeof head, put->key, put->key_len);
    if (put->value_len > 0)
        memcpy(out + sizeof head + put->key_len, put->value, put->value_len);
}

bool redo_put_next(const uint8_t **puts, size_t *puts_len, struct redo_put *out_put)
{
    struct put_head head;

    if (*puts_len < sizeof head)
        return false;
    memcpy(&head, *puts, sizeof head);
    size_t left = *puts_len - sizeof head;
    if (head.table >= JOURNAL_N_TABLES || head.delete > 1 || head.key_len == 0 || head.key_len > left ||
        head.value_len > left - head.key_len)
        return false;
    *out_put = (struct redo_put){.table = head.table,
                                 .delete = head.delete,
                                 .key = *puts + sizeof head,
                                 .key_len = head.key_len,
                                 .value = *puts + sizeof head + head.key_len,
                                 .value_len = head.value_len};
    size_t size = redo_put_size(out_put);
    *puts += size;
    *puts_len -= size;
    return true;
}

static bool puts_are_whole(const uint8_t *puts, size_t len)
{
    struct redo_put put;
    while (redo_put_next(&puts, &len, &put))
        ;
    return len == 0;
}

/* ------------------------------------------------------------------------------------------------ reading */

/* Is there a whole frame at the beginning of `bytes`? *out_len is its length in the file. */
static bool frame_read(const uint8_t *bytes, size_t len, uint64_t salt, struct redo_frame *out_frame,
                       uint64_t *out_before, size_t *out_len)
{
    struct frame_head head;

    if (len < sizeof head)
        return false;
    memcpy(&head, bytes, sizeof head);
    if (head.magic != FRAME_MAGIC || head.len > len || head.n_batches > REDO_MAX_BATCHES || head.puts_len > head.len)
        return false;
    size_t at = front_len(head.n_batches, head.puts_len);
    if (at > head.len || front_crc(salt, bytes, at) != head.crc)
        return false;
    *out_frame = (struct redo_frame){.number = head.number,
                                     .status_through = head.status_through,
                                     .n_batches = head.n_batches,
                                     .puts = bytes + sizeof head + head.n_batches * sizeof(struct batch_head),
                                     .puts_len = head.puts_len};
    if (!puts_are_whole(out_frame->puts, out_frame->puts_len))
        return false;
    for (size_t i = 0; i < head.n_batches; i++) {
        struct batch_head b;
        struct journal_value_header header;
        memcpy(&b, bytes + sizeof head + i * sizeof b, sizeof b);
        struct store_value value = {.data = bytes + at, .len = b.len};
        if (b.len > head.len - at || !journal_value_check(b.first, &value, &header))
            return false;
        out_frame->batches[i] = (struct redo_batch){.first = b.first, .bytes = bytes + at, .len = b.len};
        at += b.len;
    }
    *out_before = head.before;
    *out_len = round_up(head.len, REDO_BLOCK);
    return at == head.len;
}

/* The next block, from `at` on, at which a frame with a number of at least `number` lies; `len` when there is none. */
static size_t find_later(const uint8_t *bytes, size_t len, size_t at, uint64_t salt, uint64_t number)
{
    struct redo_frame frame;
    uint64_t before;
    size_t frame_len;

    for (; at < len; at += REDO_BLOCK)
        if (frame_read(bytes + at, len - at, salt, &frame, &before, &frame_len) && frame.number >= number)
            return at;
    return len;
}

/* The file grows only when its block 0 is on disk. */
static void head_read(const uint8_t *bytes, size_t len, uint64_t epoch, struct redo_scan_result *out)
{
    struct file_head head;

    if (len < REDO_BLOCK)
        return;
    memcpy(&head, bytes, sizeof head);
    bool is_whole = head.magic == FILE_MAGIC && head.version == VERSION && head.crc == file_crc(&head);
    out->salt = head.salt;
    out->is_ours = is_whole && head.epoch == epoch;
    out->is_torn = !is_whole && len > REDO_BLOCK;
}

int redo_scan(const uint8_t *bytes, size_t len, uint64_t epoch, uint64_t applied, const struct redo_scan_ops *ops,
              void *data, struct redo_scan_result *out_result)
{
    struct redo_scan_result *result = out_result;
    size_t at = REDO_BLOCK;
    bool after_damage = false;

    *result = (struct redo_scan_result){.end = REDO_BLOCK};
    if (bytes)
        head_read(bytes, len, epoch, result);
    while (result->is_ours && at < len) {
        struct redo_frame frame;
        size_t frame_len;
        uint64_t before, least = (result->last > applied ? result->last : applied) + 1;
        bool whole = frame_read(bytes + at, len - at, result->salt, &frame, &before, &frame_len);
        if (whole && !after_damage && before != result->last)
            whole = false;
        if (!whole) {
            /* A restart at the front leaves old frames behind the last one, with smaller numbers. */
            size_t later = find_later(bytes, len, at, result->salt, least);
            if (later == len)
                break;
            ops->on_damage(data, at, later);
            at = later;
            after_damage = true;
            continue;
        }
        after_damage = false;
        int rc = frame.number > applied ? ops->on_frame(data, &frame) : 0;
        if (rc)
            return rc;
        result->last = frame.number;
        at += frame_len;
        result->end = at;
    }
    return 0;
}

/* A descriptor, or a negative errno. What is there may be anything: opening it must not wait, as of a pipe. */
static int open_file(const char *directory, int flags, uint64_t *out_len)
{
    struct stat st;
    char *path = store_files_path(directory, REDO_FILE);
    if (!path)
        return UV_ENOMEM;
    int fd = open(path, flags | O_NONBLOCK | O_CLOEXEC, 0600);
    int rc = fd < 0 ? -errno : 0;
    free(path);
    if (rc)
        return rc;
    if (fstat(fd, &st) < 0)
        rc = -errno;
    else if (!S_ISREG(st.st_mode))
        rc = S_ISDIR(st.st_mode) ? UV_EISDIR : UV_EINVAL;
    if (rc) {
        close(fd);
        return rc;
    }
    *out_len = (uint64_t)st.st_size;
    return fd;
}

int redo_load(const char *directory, uint8_t **out_bytes, size_t *out_len)
{
    uint64_t file_len = 0;

    *out_bytes = NULL;
    *out_len = 0;
    int fd = open_file(directory, O_RDONLY, &file_len);
    if (fd < 0)
        return fd == UV_ENOENT ? 0 : fd;
    size_t len = file_len < MAX_FILE ? (size_t)file_len : MAX_FILE, at = 0;
    uint8_t *bytes = len > 0 ? malloc(len) : NULL;
    int rc = len > 0 && !bytes ? UV_ENOMEM : 0;
    while (!rc && at < len) {
        ssize_t n = pread(fd, bytes + at, len - at, (off_t)at);
        if (n < 0 && errno != EINTR)
            rc = -errno;
        else if (n == 0)
            break;
        else if (n > 0)
            at += (size_t)n;
    }
    close(fd);
    if (rc) {
        free(bytes);
        return rc;
    }
    *out_bytes = bytes;
    *out_len = at;
    return 0;
}

/* ------------------------------------------------------------------------------------------------ writing */

/* Of the last call of the system. A quota is a disk that is full; libuv has no word for it. */
static int last_error(void)
{
    return errno == EDQUOT ? UV_ENOSPC : -errno;
}

/* All of it, at `offset`. Changes `v`. */
static int write_all(int fd, struct iovec *v, int n_v, uint64_t offset)
{
    while (n_v > 0) {
        ssize_t n = pwritev(fd, v, n_v, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? UV_EIO : last_error();
        offset += (uint64_t)n;
        for (; n_v > 0 && (size_t)n >= v->iov_len; v++, n_v--)
            n -= (ssize_t)v->iov_len;
        if (n_v > 0) {
            v->iov_base = (uint8_t *)v->iov_base + n;
            v->iov_len -= (size_t)n;
        }
    }
    return 0;
}

static int flush(const struct redo *r)
{
    return r->relaxed || fdatasync(r->fd) == 0 ? 0 : last_error();
}

static struct iovec as_iovec(const void *bytes, size_t len)
{
    return (struct iovec){.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
}

/* Blocks that are there, and on disk, before they are used: a flush then has nothing but the bytes to write. */
static int grow(struct redo *r, uint64_t end)
{
    while (r->allocated < end) {
        struct iovec v[GROW_BYTES / REDO_BLOCK];
        size_t n = 0;
        for (; n < sizeof v / sizeof *v; n++)
            v[n] = as_iovec(zeros, sizeof zeros);
        int rc = write_all(r->fd, v, (int)n, r->allocated);
        if (!rc && fsync(r->fd) < 0)
            rc = last_error();
        if (rc)
            return rc;
        r->allocated += GROW_BYTES;
    }
    return 0;
}

static int begin_anew(struct redo *r, uint64_t epoch, uint64_t salt)
{
    struct file_head head = {.magic = FILE_MAGIC, .version = VERSION, .epoch = epoch, .salt = salt};

    head.crc = file_crc(&head);
    r->salt = salt;
    struct iovec v[2] = {as_iovec(&head, sizeof head), as_iovec(zeros, REDO_BLOCK - sizeof head)};
    int rc = write_all(r->fd, v, 2, 0);
    if (rc)
        return rc;
    return fsync(r->fd) == 0 ? 0 : last_error();
}

int redo_open(struct redo *r, const char *directory, uint64_t epoch, uint64_t applied,
              const struct redo_scan_result *scan, uint64_t salt, bool relaxed)
{
    uint64_t len = 0;
    int rc = 0;

    *r = (struct redo){.relaxed = relaxed, .next = applied + 1, .end = REDO_BLOCK};
    int fd = open_file(directory, O_RDWR | O_CREAT, &len);
    if (fd < 0) {
        memset(r, 0, sizeof *r);
        return fd;
    }
    r->fd = fd;
    if (scan && scan->is_ours) {
        r->salt = scan->salt;
        if (scan->last > applied) {
            r->next = scan->last + 1;
            r->last = scan->last;
            r->end = scan->end;
        }
    } else {
        rc = begin_anew(r, epoch, salt);
        if (!rc)
            rc = store_files_sync_directory(directory);
    }
    r->allocated = len / REDO_BLOCK * REDO_BLOCK;
    if (r->allocated < REDO_BLOCK)
        r->allocated = REDO_BLOCK;
    if (rc)
        redo_close(r);
    return rc;
}

void redo_close(struct redo *r)
{
    if (r->fd > 0 && r->relaxed && r->last > 0)
        (void)fdatasync(r->fd); /* if it fails, a loss of power may take it: relaxed is no more than that */
    if (r->fd > 0)
        close(r->fd);
    memset(r, 0, sizeof *r);
}

int redo_flush_file(const char *directory)
{
    uint64_t len;
    int fd = open_file(directory, O_RDWR, &len);
    if (fd < 0)
        return fd == UV_ENOENT ? 0 : fd;
    int rc = fsync(fd) == 0 ? 0 : -errno;
    close(fd);
    return rc;
}

/* Head, batch heads, puts: malloc'd, *out_len bytes. */
static uint8_t *front_new(const struct redo *r, const struct redo_frame *frame, size_t *out_len, size_t *out_frame_len)
{
    size_t len = front_len(frame->n_batches, frame->puts_len), total = len;
    uint8_t *front = calloc(1, len);

    if (!front)
        return NULL;
    uint8_t *p = front + sizeof(struct frame_head);
    for (size_t i = 0; i < frame->n_batches; i++, p += sizeof(struct batch_head)) {
        struct batch_head b = {.first = frame->batches[i].first, .len = (uint32_t)frame->batches[i].len};
        memcpy(p, &b, sizeof b);
        total += frame->batches[i].len;
    }
    if (frame->puts_len > 0)
        memcpy(p, frame->puts, frame->puts_len);
    struct frame_head head = {.magic = FRAME_MAGIC,
                              .number = r->next,
                              .before = r->last,
                              .status_through = frame->status_through,
                              .len = (uint32_t)total,
                              .n_batches = (uint32_t)frame->n_batches,
                              .puts_len = (uint32_t)frame->puts_len};
    memcpy(front, &head, sizeof head);
    head.crc = front_crc(r->salt, front, len);
    memcpy(front, &head, sizeof head);
    *out_len = len;
    *out_frame_len = total;
    return front;
}

/* Does it fit, and where would it end? */
static bool fits(const struct redo *r, const struct redo_frame *frame, uint64_t *out_end)
{
    uint64_t len = front_len(frame->n_batches, frame->puts_len);

    if (frame->n_batches > REDO_MAX_BATCHES)
        return false;
    for (size_t i = 0; i < frame->n_batches; i++)
        len += frame->batches[i].len;
    *out_end = r->end + round_up(len, REDO_BLOCK);
    return len <= REDO_MAX_FRAME && *out_end <= REDO_BYTES;
}

int redo_append(struct redo *r, const struct redo_frame *frame)
{
    struct iovec v[REDO_MAX_BATCHES + 2];
    size_t front_bytes, len;
    uint64_t end;
    int n = 0;

    if (r->sealed || !fits(r, frame, &end))
        return UV_ENOBUFS;
    int rc = grow(r, end);
    if (rc)
        return rc;
    uint8_t *front = front_new(r, frame, &front_bytes, &len);
    if (!front)
        return UV_ENOMEM;
    v[n++] = as_iovec(front, front_bytes);
    for (size_t i = 0; i < frame->n_batches; i++)
        v[n++] = as_iovec(frame->batches[i].bytes, frame->batches[i].len);
    if (end - r->end > len)
        v[n++] = as_iovec(zeros, (size_t)(end - r->end - len));
    rc = write_all(r->fd, v, n, r->end);
    free(front);
    if (!rc)
        rc = flush(r);
    if (rc)
        return rc;
    r->end = end;
    r->last = r->next++;
    return 0;
}

uint64_t redo_seal(struct redo *r)
{
    r->sealed = true;
    return r->next++;
}

void redo_restart(struct redo *r)
{
    r->end = REDO_BLOCK;
    r->last = 0;
    r->sealed = false;
}
