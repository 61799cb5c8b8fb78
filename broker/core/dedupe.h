/* SPDX-License-Identifier: Apache-2.0 */
/* Which records of an agent are new? Remembers per (host, agent epoch) the newest source sequence.
 *
 * An agent numbers its records 1, 2, 3... and sends again whatever it saw no acknowledgement for. Invariant: a source
 * sequence is taken at most once, in order, and a number that was skipped is reported as a hole. Numbers are *taken*
 * when they go to the log and *committed* when they are on disk; only committed ones are acknowledged and survive a
 * restart. Pure: bounded memory, no clock, no I/O. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "runtime/table.h"

#define DEDUPE_MAX_AGENTS 65536
#define DEDUPE_MAX_EPOCHS 64 /* of one host */
#define DEDUPE_MAX_HOST   253
#define DEDUPE_KEY_MAX    (8 + DEDUPE_MAX_HOST)
#define DEDUPE_VALUE_SIZE 17

/* The key of an entry in the store: epoch (most significant byte first), then the host's bytes. */
struct dedupe_key {
    uint8_t bytes[DEDUPE_KEY_MAX];
    size_t len; /* 0: none */
};

struct dedupe_agent {
    TAILQ_ENTRY(dedupe_agent) age; /* in struct dedupe's list, least recently used first */
    TAILQ_ENTRY(dedupe_agent) own; /* the same in its host's list */
    struct dedupe_host *host;
    struct dedupe_key key;
    uint64_t taken;     /* newest that went to the log */
    uint64_t committed; /* newest on disk; <= taken */
    uint64_t stamp;     /* log sequence when it was last used: orders entries after a restart */
    uint32_t n_users;   /* streams that hold it: not evicted */
};

/* The entries of one host: they make room for each other first, so a host that comes with ever new epochs costs nobody
 * else his entries. */
struct dedupe_host {
    TAILQ_HEAD(dedupe_own, dedupe_agent) epochs;
    size_t n;
    size_t name_len;
    char name[];
};

struct dedupe {
    struct table by_key, by_host;
    TAILQ_HEAD(dedupe_ages, dedupe_agent) ages;
    size_t max_agents;
    uint64_t n_evicted;
};

/* `seed`: any random number. `max_agents` 0 = DEDUPE_MAX_AGENTS. */
void dedupe_init(struct dedupe *d, uint64_t seed, size_t max_agents);
/* Accepts zeroed. */
void dedupe_deinit(struct dedupe *d);

/* The entry of a pair, held until dedupe_close. A pair not known begins at `oldest_source_sequence` of its Hello: what
 * lies before was acknowledged by another log and is no hole of this one. `stamp` is the newest log sequence. When the
 * host has DEDUPE_MAX_EPOCHS pairs, or the table is full, the least recently used pair that nobody holds is forgotten
 * (of this host, if it has one; of another only when the table is full) and `out_evicted` gets its key (delete it from
 * the store), else length 0. Returns 0, UV_EINVAL (host empty or too long), UV_ENOMEM, or UV_ENOBUFS (all held). */
int dedupe_open(struct dedupe *d, const char *host, uint64_t epoch, uint64_t oldest_source_sequence, uint64_t stamp,
                struct dedupe_agent **out_agent, struct dedupe_key *out_evicted);
void dedupe_close(struct dedupe_agent *a);

enum dedupe_verdict {
    DEDUPE_FRESH,
    DEDUPE_REPEAT, /* taken before: drop it, count it; the acknowledgement is `committed` as always */
    DEDUPE_HOLE,   /* fresh, and `n_missing` before it never came: log an EVENTS_LOST record for them first */
    DEDUPE_INVALID,
};

/* What a record says about its place. Without a loss range both ends are 0; a range ends at `sequence` or right before
 * it, and stands for all numbers in it. */
struct dedupe_claim {
    uint64_t sequence;
    uint64_t loss_first, loss_last;
};

struct dedupe_hole {
    uint64_t first, last; /* the missing source sequences */
    uint64_t n_missing;
};

/* `previous` is the source sequence of the record before it in the same message, 0 for the first.
 * DEDUPE_HOLE sets *out_hole. DEDUPE_INVALID points *out_fault at a constant text that says why. */
enum dedupe_verdict dedupe_judge(const struct dedupe_agent *a, uint64_t previous, const struct dedupe_claim *claim,
                                 struct dedupe_hole *out_hole, const char **out_fault);

/* The record goes to the log (also for one refused by other rules and replaced by an EVENTS_LOST record). */
void dedupe_take(struct dedupe_agent *a, uint64_t sequence);
/* Everything through `sequence` is on disk. `stamp` as in dedupe_open. */
void dedupe_commit(struct dedupe *d, struct dedupe_agent *a, uint64_t sequence, uint64_t stamp);
/* What was taken and is not committed did not reach the disk and will not: it may come again. */
void dedupe_rollback(struct dedupe_agent *a);

/* The entry as the store keeps it, once everything through `sequence` is committed. */
void dedupe_encode(const struct dedupe_agent *a, uint64_t sequence, uint64_t stamp,
                   uint8_t out_value[DEDUPE_VALUE_SIZE]);
/* Add a stored entry, at start, in any order; dedupe_loaded ends loading. Returns 0, UV_EINVAL (damaged, or there
 * twice), UV_ENOMEM, UV_ENOBUFS. */
int dedupe_load(struct dedupe *d, const void *key, size_t key_len, const void *value, size_t value_len);
int dedupe_loaded(struct dedupe *d);
