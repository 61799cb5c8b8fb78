/* SPDX-License-Identifier: Apache-2.0 */
/* Group commit: what is accepted on the loop reaches the disk in order, one transaction at a time, on libuv's pool.
 *
 * Acceptance gives a record its sequence and its broker time (which never goes back, also over restarts). Invariant:
 * records are told as committed in order, each once, and only when their transaction is on disk; what was accepted is
 * never dropped. When the disk is full the batch is kept and tried again; until then nothing new is to be accepted. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "broker/core/retention.h"
#include "broker/engine/journal.h"
#include "runtime/backoff.h"

#define COMMIT_MAX_BATCHES   128u                /* stored values of one transaction */
#define COMMIT_FULL_BYTES    (16u * 1024 * 1024) /* waiting: from here on writers are asked to stop … */
#define COMMIT_FULL_RECORDS  131072u
#define COMMIT_MAX_PUT_BYTES (16u * 1024 * 1024) /* waiting */

struct commit;
struct commit_waiters;

struct commit_ops {
    /* A transaction is being closed: everything accepted, up to `through`, is in it. Add the puts that belong to it
     * (journal_write_put) and set w->status_through. On UV_ENOMEM the transaction stays open, and this comes again. */
    int (*on_seal)(void *data, struct journal_write *w, uint64_t through);
    /* Records from..through are on disk and published; from > through when the transaction had no records. */
    void (*on_committed)(void *data, uint64_t from, uint64_t through);
    /* The transaction failed, is kept as it is and will be tried again. Told for each try; commit_full is true now. */
    void (*on_failed)(void *data, int error);
    /* There is room again after commit_full said no. */
    void (*on_room)(void *data);
};

struct commit_waiter {
    TAILQ_ENTRY(commit_waiter) entry;
    void (*cb)(struct commit_waiter *waiter);
    struct commit_waiters *queue; /* the one it waits in; NULL: none */
};
TAILQ_HEAD(commit_waiters, commit_waiter);

struct commit_batch {
    struct journal_write write;
    struct journal_batch batches[COMMIT_MAX_BATCHES];
    uint64_t from, through; /* records in it: from > through when there are none */
    size_t bytes, n_records, put_bytes;
    struct commit_waiters waiters;
};

struct commit {
    uv_loop_t *loop;
    struct journal *journal;
    const struct commit_ops *ops;
    void *data;
    struct retention_limits retention;
    struct commit_batch *open;   /* accepting */
    struct commit_batch *flight; /* being written, or waiting to be tried again */
    uint64_t newest;             /* accepted */
    uint64_t newest_time_ns;
    bool wanted;     /* something is to be written although there may be no record */
    bool checkpoint; /* … and is to go to the store, with what waits for it (journal.h) */
    uint32_t settle_ms;
    bool full;             /* commit_full said yes: on_room is owed */
    size_t n_gathered;     /* records that the open batch had a turn ago */
    size_t expected_bytes; /* of the transaction before: the open one may become as large */
    bool working, closing;
    int result;     /* of the write under way */
    int last_error; /* 0 while commits succeed */
    struct backoff backoff;
    uint64_t n_commits, n_failures;
    uv_work_t work;
    uv_idle_t start;
    uv_timer_t retry;
    uv_timer_t settle; /* what was written waits for the store so long at most */
    unsigned n_handles;
    void (*on_closed)(void *data);
};

/* The journal is open and stays open until commit_close is done. Returns 0 or a negative errno with nothing started. */
int commit_init(struct commit *c, uv_loop_t *loop, struct journal *journal, const struct retention_limits *retention,
                const struct commit_ops *ops, void *data);
/* How long a transaction may wait in the write-ahead log for the store; 1,000 ms when nothing is said. */
void commit_settle_after(struct commit *c, uint32_t ms);
/* Wait for the write under way, drop what is not written, and tell `cb` from the loop. */
void commit_close(struct commit *c, void (*cb)(void *data));

/* Accept one encoded event. Returns 0; UV_ENOBUFS when nothing more fits; UV_ENOMEM. Writers stop at commit_full; the
 * room behind it is for what the broker itself has to say and for messages half taken. */
int commit_append(struct commit *c, const uint8_t *event, size_t len, uint64_t now_ns, uint32_t aix_bits,
                  uint64_t *out_sequence);
/* Store a pair in the same transaction as the records accepted so far. Returns 0, UV_ENOBUFS when too many wait,
 * or UV_ENOMEM. */
int commit_put(struct commit *c, enum journal_table table, const void *key, size_t key_len, const void *value,
               size_t value_len);
/* Run w->cb once everything accepted and put so far is on disk; never before this returns. */
void commit_wait(struct commit *c, struct commit_waiter *w);
/* Forget a waiter; accepts one that is not waiting. */
void commit_forget(struct commit_waiter *w);
/* Write a transaction to the store even if there is nothing new, for retention's sake. */
void commit_poke(struct commit *c);

/* Writers must stop: too much is waiting, or commits fail. on_room comes when this has changed. */
bool commit_full(struct commit *c);
/* Nothing is waiting for the disk. */
bool commit_idle(const struct commit *c);
