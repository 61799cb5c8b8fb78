/* SPDX-License-Identifier: Apache-2.0 */
/* The log of record: every accepted event, in order, on disk, and the broker's small tables beside it.
 *
 * Sequence numbers start at 1 and have no holes within a log epoch; the epoch is random, made with the log and never 0.
 * What a reader gets is committed: records appear in journal_read only after journal_publish. A record on disk is
 * "12 <varint length> <Event>" as record_write makes it; one stored value holds the records of one commit (split at
 * JOURNAL_BATCH_BYTES) behind a header with a CRC-32C over them and their place. A value that fails its check is
 * reported as a damaged range, and the rest stays readable. The pairs of the tables have a CRC-32C each, which nobody
 * sees.
 *
 * The newest batches are also kept in memory (the tail), where all readers share them. A small transaction goes to the
 * write-ahead log (redo.h) and waits there for the store: within a second or so, and with many others. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/core/retention.h"
#include "broker/engine/journal_batch.h"
#include "broker/engine/journal_loaded.h"
#include "broker/engine/journal_tail.h"
#include "broker/engine/redo.h"
#include "runtime/chunk.h"
#include "runtime/store.h"

enum journal_table { JOURNAL_DEDUPE, JOURNAL_STATUS, JOURNAL_CURSORS, JOURNAL_AGENTS, JOURNAL_N_TABLES };

/* Everything that one transaction changes. Filled on the loop, handed to journal_write on any thread. */
struct journal_write {
    struct journal_batch *batches; /* owned by the caller */
    size_t n_batches;
    struct journal_put *puts; /* list, in order: see journal_write_put */
    struct journal_put *last_put;
    bool checkpoint; /* into the store, with everything that waits for it; retention has its turn only then */
    struct retention_limits retention;
    uint64_t now_ns;         /* for retention by age */
    uint64_t status_through; /* the status table then holds the fold of records 1..status_through */
    bool keep_unfolded;      /* records behind that stay, unless there is no other room for new ones */
    /* results */
    bool in_store;                       /* else it is in the write-ahead log, and what follows is not set */
    struct journal_pending_write *entry; /* in the write-ahead log */
    int ahead_error;                     /* why it could not be there, if not for want of room */
    uint64_t oldest;                     /* first sequence kept; 0, or behind the newest: none */
    uint64_t n_trimmed;                  /* records removed by retention */
    bool trim_more;                      /* one step was not enough: write again soon */
    bool trim_waits;                     /* more would have gone, had status_through been larger */
    uint32_t trimmed_bits;               /* OR of the AIX bits of what was ever removed */
    uint64_t log_bytes;                  /* of stored values that are kept */
};

struct journal_options {
    const char *directory;
    uint64_t map_bytes; /* upper bound of the file */
    bool relaxed;
    uint64_t tail_bytes; /* of recent batches kept in memory; 0 = 16 MiB */
    uint64_t new_epoch;  /* random, not 0: used when the log is made */
};

/* Transactions in the write-ahead log that the store does not have: journal_pending.h. */
struct journal_pending {
    struct journal_pending_write *first, *last;
    size_t n_batches;
};

struct journal {
    struct store store;
    struct redo redo;
    struct journal_pending pending;
    unsigned log_table, meta_table, tables[JOURNAL_N_TABLES];
    bool is_open;
    bool was_ahead;   /* it was not closed in order: its file redo must be there */
    uint64_t applied; /* number of the last frame that the store has, when it was opened */
    uint64_t stored;  /* newest record that is in the store */
    uint64_t epoch;
    uint64_t oldest; /* first sequence kept; newest + 1 when there is none */
    uint64_t newest; /* published; 0 = nothing yet */
    uint64_t newest_time_ns;
    uint64_t log_bytes;
    uint64_t status_through; /* as stored when the log was opened */
    uint32_t trimmed_bits;
    uint64_t n_damaged_reads;
    uint64_t n_damaged_pairs; /* of the tables */
    uint64_t n_trimmed;       /* records removed by retention since it was opened */
    bool trim_waits;          /* of the last transaction, see journal_write */
    int ahead_error;          /* told, and since then nothing could be written ahead */
    struct journal_tail tail;
    struct journal_loaded loaded;
};

/* Open or make the log. On failure nothing stays open and `err` names what is wrong: UV_EBUSY open elsewhere,
 * UV_EINVAL format of another version, UV_EACCES and others from the file system. */
int journal_open(struct journal *j, const struct journal_options *options, char *err, size_t err_len);
/* Brings everything into the store; what cannot be brought there stays in the write-ahead log. Accepts a zeroed
 * journal. No write may be under way. */
void journal_close(struct journal *j);

/* ---- writing */

/* Store `value` under `key` in the same transaction as the batches; `value` NULL deletes. Both are copied. A later put
 * of the same key wins. Returns 0 or UV_ENOMEM. */
int journal_write_put(struct journal_write *w, enum journal_table table, const void *key, size_t key_len,
                      const void *value, size_t value_len);
/* Move the puts of `part` behind those of `w`. */
void journal_write_join(struct journal_write *w, struct journal_write *part);
/* Frees what the write owns, not the batches. */
void journal_write_deinit(struct journal_write *w);

/* Let it all be on disk as one transaction, or nothing; writing the same again changes nothing. Blocking; may run on
 * any one thread at a time, and journal_publish not meanwhile: it touches the files and `w` only. UV_ENOSPC: no room,
 * may be tried again. */
int journal_write(struct journal *j, struct journal_write *w);
/* After journal_write succeeded: let readers see it. References the batches' chunks, and takes over the puts. On the
 * loop thread. */
void journal_publish(struct journal *j, struct journal_write *w);
/* Is anything waiting for the store? */
bool journal_has_pending(const struct journal *j);

/* Every pair of a table as it was when the log was opened, in key order; one that is damaged is logged, counted and
 * left out. `cb` returning other than 0 stops and is returned. */
int journal_each(struct journal *j, enum journal_table table,
                 int (*cb)(void *data, const struct store_value *key, const struct store_value *value), void *data);

/* ---- reading */

enum journal_read_result {
    JOURNAL_RUN,       /* out_run is filled; the caller drops it with journal_run_release */
    JOURNAL_CAUGHT_UP, /* nothing at or after `from` yet */
    JOURNAL_TRIMMED,   /* `from` is older than the oldest kept: go on at j->oldest */
    JOURNAL_DAMAGED,   /* out_run->first..last cannot be read (no bytes in it): go on behind `last` */
};

/* Records from..through: at least one, then as many as fit in `max_bytes` without passing the end of a stored value;
 * from disk, small values that follow one another are read as one.
 * Returns enum journal_read_result or a negative errno (UV_EIO, UV_ENOMEM). */
int journal_read(struct journal *j, uint64_t from, uint64_t through, size_t max_bytes, struct journal_run *out_run);
/* From the beginning of the stored value that contains `sequence`, or of one before, through `sequence`; same results,
 * and of a damaged value the whole range. For reading backwards. */
int journal_read_around(struct journal *j, uint64_t sequence, struct journal_run *out_run);

/* Sequence of the first record whose broker time is not before `time_ns`; newest + 1 when there is none. */
int journal_find_time(struct journal *j, uint64_t time_ns, uint64_t *out_sequence);
