/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's durable queue: events that the broker has not acknowledged, kept over crashes of agent and host.
 *
 * Each event gets the next source sequence of the spool's life (its epoch: random, made with the spool). Sequences have
 * no holes. An event is *held* once the group commit that contains it is on disk; only held events are sent, so what a
 * broker has seen is never numbered twice. Commits run on libuv's pool, one at a time, each with everything that was
 * appended while the one before ran.
 *
 * Bounds: when bytes or records exceed them, the oldest events are dropped and one EVENTS_LOST record takes the source
 * sequence of the last dropped one. It covers first..last, with the OR of the AIX bits, and grows when dropping goes
 * on. When the disk fails or is full, events wait in memory, under a bound of their own with the same rule, and the
 * commit is tried again every second.
 *
 * A record that is damaged on disk, and one that never found memory, is told as EVENTS_LOST in its place, with all AIX
 * bits. When the state is damaged a new epoch begins with all records that are there: some of them may come twice. A
 * file whose structure is damaged is set aside (store_options.start_over), and what it held is lost. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "agent/record.h"
#include "runtime/store.h"

struct chunk;
struct spool;
struct spool_entry;

struct spool_options {
    const char *directory;     /* made when missing */
    const char *host;          /* borrowed while open: goes into origins */
    const char *boot_id;       /* of now; copied into each event */
    uint64_t max_bytes;        /* at least 64 KiB */
    uint64_t max_records;      /* at least 2 */
    uint64_t max_memory_bytes; /* waiting for a commit; 0 = 16 MiB */
};

struct spool_ops {
    /* Newer events are held. */
    void (*on_held)(struct spool *s, void *data);
    /* The disk does not take what we write (`error` negative, in words by uv_strerror), or takes it again (0). */
    void (*on_disk)(struct spool *s, void *data, int error);
};

/* What is on disk, besides the records. */
struct spool_state {
    uint64_t epoch;
    uint64_t base;     /* sequence = key - base: keys go on growing when a new epoch begins */
    uint64_t last_key; /* of the newest record that ever was held */
    uint64_t free_key; /* up to here all was acknowledged; such records may be there still */
    uint64_t sent_key; /* up to here events may have been sent in this epoch; none behind it was */
    uint64_t n_records, n_bytes;
    uint64_t n_dropped; /* events, since the spool was made */
    uint64_t is_untold; /* 1: begun in place of a damaged file, and no event is held yet */
};

struct spool {
    uv_loop_t *loop;
    struct spool_options options;
    const struct spool_ops *ops;
    void *data;
    struct store store;
    unsigned meta_table, records_table;
    struct spool_state held;   /* as of the last commit */
    uint64_t last_key;         /* of the newest event appended */
    uint64_t free_key;         /* everything up to here was acknowledged */
    uint64_t next_epoch;       /* not yet on disk, 0 = none */
    uint64_t n_dropped_memory; /* dropped before they were held, not yet in `held` */

    struct spool_entry *first, *last; /* appended, not in the commit that runs */
    uint64_t n_pending_bytes;
    uint64_t batch_bytes;      /* no more of them in one commit, but one event in any case */
    unsigned n_lean;           /* commits that only free come first, after one that failed */
    struct spool_entry *spare; /* so that running out of memory can be recorded */

    uv_work_t work;
    struct spool_commit *commit; /* the one that runs, or NULL */
    uv_timer_t retry;            /* after a failed commit */
    uv_timer_t tidy;             /* what was acknowledged is freed with the next events, or after a while without any */
    int n_open_timers;
    int disk_error; /* of the last commit, 0 = fine */
    bool may_send;
    bool dirty; /* something besides appended events is to be written */
    bool opened, closing;
    void (*on_closed)(void *data);
    void *on_closed_data;
};

/* Open or make the spool. `s` must be zeroed or closed. On failure nothing stays open. */
int spool_open(struct spool *s, uv_loop_t *loop, const struct spool_options *options, const struct spool_ops *ops,
               void *data);
/* Write what waits (once; not when the disk fails: then it is logged as lost), then close. `cb` may be NULL. */
void spool_close(struct spool *s, void (*cb)(void *data), void *data);

/* Queue one encoded event (copied). Never fails: what finds no memory is accounted as lost. */
void spool_append(struct spool *s, const struct record_bytes *event, uint32_t source, uint64_t wall_ns,
                  uint64_t boot_ns);

/* The file was damaged, and what it held is lost: the first event to append tells that. True until one is held, also
 * after a crash. */
bool spool_started_over(const struct spool *s);
uint64_t spool_epoch(const struct spool *s);
/* Sequence of the newest event appended, held or not. */
uint64_t spool_appended(const struct spool *s);
/* Newest held sequence, 0 = nothing ever. Oldest not acknowledged, newest + 1 when there is none. */
uint64_t spool_newest(const struct spool *s);
uint64_t spool_oldest(const struct spool *s);
uint64_t spool_n_dropped(const struct spool *s);
/* Everything appended is held, and the disk is fine. What was acknowledged may not be freed yet. */
bool spool_settled(const struct spool *s);

/* Whether events are sent from now on: what is held while they are not stays where it is, so that it is known on disk
 * what a broker cannot have, also when it remembers more than this spool (whose directory was restored from a copy).
 * Where the disk does not take that they may be sent, they are all the same: after a crash a new epoch may begin, in
 * which they come once more. */
void spool_let_send(struct spool *s, bool may_send);
/* Newest sequence that may have been sent in this epoch, in this life or an earlier one. */
uint64_t spool_sent(const struct spool *s);
/* Held events that may be sent, from sequence `from` on, as elements of Publish.events: at most `max_events`, at most
 * `max_bytes` (but one event in any case). A loss record that began before `from` is told from `from` on. Returns 0,
 * UV_ENOENT when there is none yet, or another negative errno. */
int spool_read(struct spool *s, uint64_t from, size_t max_bytes, uint64_t max_events, struct chunk **out_records,
               uint64_t *out_last, uint64_t *out_n);
/* Acknowledged: free everything up to this sequence, with a later commit. */
void spool_free_upto(struct spool *s, uint64_t sequence);
/* Begin a new epoch, numbered from 1 at the oldest event: for a broker that has seen sequences of this epoch that the
 * spool does not know (its directory was restored from a copy). It begins when it is on disk: nothing may be sent while
 * it is not, as after a crash the spool would know nothing of it. Returns 0 or a negative errno. */
int spool_renew(struct spool *s);
bool spool_renewing(const struct spool *s);
