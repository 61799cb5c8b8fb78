/* SPDX-License-Identifier: Apache-2.0 */
/* A directory for one test's log, and events to put into it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct journal;
struct journal_batch;
struct journal_run;

#define EVENT_MAX 512

struct log_directory {
    char path[64];
};

void log_directory_make(struct log_directory *d);
void log_directory_remove(const struct log_directory *d);
/* Open the log in it; fails the test when it does not open. */
void log_open(struct journal *j, const struct log_directory *d, uint64_t map_bytes, uint64_t tail_bytes);
/* The stored value that begins with this record, past the log's back: a copy (returns its length), another, none. */
size_t log_copy_value(struct journal *j, uint64_t first, uint8_t *out, size_t cap);
void log_put_value(struct journal *j, uint64_t first, const uint8_t *bytes, size_t len);
void log_remove_value(struct journal *j, uint64_t first);

/* An encoded event whose source sequence is `n`, padded with a summary of `padding` bytes. Returns its length. */
size_t event_write(uint8_t out[EVENT_MAX], uint64_t n, size_t padding);
/* Append events n = first..last to a batch; their log sequence is n, their broker time n * 1000. */
void batch_fill(struct journal_batch *b, uint64_t first, uint64_t last, size_t padding);
/* Does the run hold events first..last with source sequences to match? */
void run_check(const struct journal_run *run, uint64_t first, uint64_t last);
