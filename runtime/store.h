/* SPDX-License-Identifier: Apache-2.0 */
/* Embedded storage: tables of ordered key-value pairs in one crash-safe file. The only user of LMDB.
 *
 * A transaction begun is committed or aborted by the same thread. Values read are borrowed from the map and live until
 * the transaction ends. All functions return 0 or a negative errno; LMDB's codes never leave store.c:
 *   UV_ENOENT no such key or no further pair     UV_ENOSPC disk full, or the map reached its limit
 *   UV_EEXIST key is there (STORE_NO_OVERWRITE)  UV_EIO    damaged file        UV_EBUSY  open in another process
 *
 * A full store or disk breaks nothing: the transaction fails with UV_ENOSPC, everything committed before stays
 * readable, and commits succeed again as soon as there is room. To make room one must delete, and deleting needs a few
 * pages itself, so a part of the map is kept in reserve: over the limit, a transaction may put only after it has
 * deleted something. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct MDB_env;
struct MDB_txn;
struct MDB_cursor;

struct store {
    struct MDB_env *env;
    int lock_fd; /* held while open: one process at a time */
    char *path;
    bool relaxed;
    bool started_over; /* relaxed, and the machine went down while it was open: the file could not be trusted and was
                        * set aside as data.mdb.unsafe; or damaged, and set aside as data.mdb.damaged. This one began
                        * empty */
    uint64_t limit_bytes;
    unsigned n_tables, max_tables;
    struct store_table_name *tables; /* to open them again */
    pthread_mutex_t lock;            /* of the two below */
    unsigned n_open;                 /* transactions */
    bool broken;                     /* the environment must be opened again before the next transaction */
    bool over_limit;                 /* the writer's: puts are refused until it deletes */
    bool met_limit;                  /* the writer's: see store_met_limit */
};

struct store_options {
    const char *directory; /* made when missing, mode 0700 */
    size_t map_bytes;      /* upper bound of the data; address space only until used */
    unsigned n_tables;
    bool relaxed;    /* commits survive a crash of the process, not of the machine */
    bool start_over; /* where the file is damaged; false: UV_EIO */
    bool set_aside;  /* whoever used it found the file to be damaged: start over in any case */
};

struct store_txn {
    struct MDB_txn *txn;
};

struct store_value {
    const void *data;
    size_t len;
};

enum store_table_flag {
    STORE_INTEGER_KEYS = 1, /* keys are native uint64_t, ordered as numbers */
};
enum store_put_flag {
    STORE_APPEND = 1, /* key is greater than every key in the table: fast path, UV_EEXIST otherwise */
    STORE_NO_OVERWRITE = 2,
};

/* On failure nothing stays open. The parent of the directory must exist. */
int store_open(struct store *s, const struct store_options *options);
/* Accepts zeroed and half-open stores. No transaction may be open. */
void store_close(struct store *s);

/* Open or make a table; done once at start, outside any transaction. */
int store_table(struct store *s, const char *name, unsigned flags, unsigned *out_table);

/* Readers may be many; one writer at a time (a second blocks until the first ends). */
int store_begin(struct store *s, bool write, struct store_txn *out_txn);
/* The transaction is over in any case. On error nothing of it is stored. */
int store_commit(struct store_txn *t);
/* Accepts a transaction that is over or zeroed. */
void store_abort(struct store_txn *t);

int store_get(struct store_txn *t, unsigned table, const void *key, size_t key_len, struct store_value *out_value);
int store_put(struct store_txn *t, unsigned table, const void *key, size_t key_len, const void *value, size_t value_len,
              unsigned flags);
/* Room for `value_len` bytes that the caller fills before its next call on this transaction. */
int store_reserve(struct store_txn *t, unsigned table, const void *key, size_t key_len, size_t value_len,
                  unsigned flags, void **out_space);
int store_delete(struct store_txn *t, unsigned table, const void *key, size_t key_len);
int store_count(struct store_txn *t, unsigned table, uint64_t *out_n);

struct store_cursor {
    struct MDB_cursor *cursor;
    struct store_value key;
    struct store_value value;
};
/* A cursor lives inside its transaction: close it before the transaction ends. */
int store_cursor_open(struct store_txn *t, unsigned table, struct store_cursor *out_cursor);
void store_cursor_close(struct store_cursor *c);
/* Each sets key and value, or returns UV_ENOENT. */
int store_cursor_first(struct store_cursor *c);
int store_cursor_last(struct store_cursor *c);
int store_cursor_next(struct store_cursor *c);
int store_cursor_prev(struct store_cursor *c);
int store_cursor_seek(struct store_cursor *c, const void *key, size_t key_len); /* first key not less */
int store_cursor_delete(struct store_cursor *c);                                /* write transactions */

/* 1: a damaged file was set aside here, in this life or an earlier one, and is there still; 0: none is; UV_ENOMEM. */
int store_was_set_aside(const struct store *s);
/* UV_ENOSPC of the newest write transaction came of the store's own limit, not of a full disk. Asked by the writer. */
bool store_met_limit(const struct store *s);
/* Have so many bytes of the disk beside those in use, free pages or behind the last one, or UV_ENOSPC: who asks for
 * more than it is about to write leaves the rest to those who delete. No transaction of this thread may be open. */
int store_make_room(struct store *s, uint64_t bytes);
/* Bytes in use (pages that hold data), and the most the map can hold. */
int store_usage(struct store *s, uint64_t *out_used_bytes, uint64_t *out_limit_bytes);
