/* SPDX-License-Identifier: Apache-2.0 */
/* The write-ahead log: small transactions go to one place of one file, with one flush, and into the store later, many
 * of them in one transaction. A commit of the store costs two flushes and pages all over its file; this costs one flush
 * of bytes that lie in a row, in blocks that the file has already.
 *
 * File "redo": block 0 says whose it is, then frames, one a transaction, each at a block of its own. Frames have
 * numbers that only grow. When the store has them, the next frame is written behind block 0 again; the store knows the
 * number of the last one it has (table "meta", "redo"), and older frames are no frames any more.
 *
 * Invariant: a frame that was said to be written is found by redo_scan until the store has it. A frame that is cut off
 * was never acknowledged, and nothing is behind it; if something is, the bytes between are damage, and that is told. A
 * damaged frame that is the last one cannot be told from one that was cut off. Numbers are in the byte order of the
 * host. Blocking; one thread at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define REDO_FILE        "redo"
#define REDO_BLOCK       4096u
#define REDO_BYTES       (4u * 1024 * 1024) /* of the file, at most */
#define REDO_MAX_FRAME   (64u * 1024)       /* what is larger has its flushes for itself, and is better written once */
#define REDO_MAX_BATCHES 8u                 /* of one frame */

struct redo {
    int fd;
    bool relaxed; /* no flush */
    bool sealed;  /* the store is to take everything, and may have done so already */
    uint64_t salt;
    uint64_t next;      /* number of the next frame */
    uint64_t last;      /* number of the frame in front of it, 0 = it will be the first */
    uint64_t end;       /* where it will lie */
    uint64_t allocated; /* bytes of the file that are there, and on disk */
};

/* Records of one stored value, as in the log (journal_format.h). */
struct redo_batch {
    uint64_t first;
    const uint8_t *bytes;
    size_t len;
};

/* One transaction, as it is in the file; borrowed. */
struct redo_frame {
    uint64_t number;
    uint64_t status_through;
    struct redo_batch batches[REDO_MAX_BATCHES];
    size_t n_batches;
    const uint8_t *puts; /* for redo_put_next */
    size_t puts_len;
};

/* A pair to be stored, or deleted; borrowed. `value` is as stored, checksum and all. */
struct redo_put {
    uint32_t table; /* enum journal_table */
    bool delete;
    const uint8_t *key, *value;
    size_t key_len, value_len;
};

/* ---- reading: pure */

struct redo_scan_ops {
    /* A frame with a number above `applied`, in order. Other than 0 ends the scan and is returned. */
    int (*on_frame)(void *data, const struct redo_frame *frame);
    /* Frames are missing: they were in the bytes from `from` to before `to`, which may be none. */
    void (*on_damage)(void *data, uint64_t from, uint64_t to);
};

struct redo_scan_result {
    uint64_t salt;
    bool is_ours;  /* block 0 is whole, and names this epoch */
    bool is_torn;  /* block 0 is damaged, and there may have been frames: nobody knows which */
    uint64_t last; /* number of the last frame, 0 = there is none */
    uint64_t end;  /* where the next one may be written */
};

/* Every frame above `applied` of a log's file. A file of another epoch, or none at all, has no frames. */
int redo_scan(const uint8_t *bytes, size_t len, uint64_t epoch, uint64_t applied, const struct redo_scan_ops *ops,
              void *data, struct redo_scan_result *out_result);
/* Takes the next put off *puts; false at the end. The frame came from redo_scan. */
bool redo_put_next(const uint8_t **puts, size_t *puts_len, struct redo_put *out_put);

/* The whole file of a directory, malloc'd; *out_bytes NULL when there is none. Returns 0, an errno of the system,
 * UV_EISDIR or UV_EINVAL when it is no file at all. */
int redo_load(const char *directory, uint8_t **out_bytes, size_t *out_len);

/* ---- writing */

/* Open or make the file. `scan` NULL, or the file is not ours: begin it anew, with `salt`. Frames go on behind those
 * that the scan found, or from the front when the store has them all. On failure nothing stays open. */
int redo_open(struct redo *r, const char *directory, uint64_t epoch, uint64_t applied,
              const struct redo_scan_result *scan, uint64_t salt, bool relaxed);
/* What stays in the file is flushed. Accepts a zeroed one. */
void redo_close(struct redo *r);
/* Let what is in a file be on the disk, for who opens a log that was relaxed. Returns 0 also without a file. */
int redo_flush_file(const char *directory);

/* Bytes of a put in a frame. */
size_t redo_put_size(const struct redo_put *put);
/* Append it to `out`, which has room. */
void redo_put_write(const struct redo_put *put, uint8_t *out);

/* Write the frame and let it be on the disk. `frame->number` is not looked at. UV_ENOBUFS: there is no room before the
 * store has what is here, or it is too large. UV_ENOMEM, and any of the system's: may be tried again. */
int redo_append(struct redo *r, const struct redo_frame *frame);
/* The number that the store has to know when it takes everything that was written so far. None of it is used again,
 * also if a frame was written and said to have failed. Nothing can be appended from here on to redo_restart: the store
 * may have taken what it says it has not, and in a frame it would be there twice. */
uint64_t redo_seal(struct redo *r);
/* The store has it all. */
void redo_restart(struct redo *r);
