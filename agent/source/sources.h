/* SPDX-License-Identifier: Apache-2.0 */
/* All sources of the host's own kernel: started by configuration, their coverage told, what they saw turned into
 * records.
 *
 *   source_api … ── observations ──▶ pipeline.h ──▶ on_record
 *        └── lost, doubt ──▶ EVENTS_LOST (a loss of unknown size), and a resync of all of them
 *
 * Losses are told, and resyncs asked for, at most once a second; what comes in between is told together. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "agent/source/source.h"

struct coverage;
struct record;
struct sources;

#define SOURCES_MAX 16

/* In the order in which they are listed. */
extern const struct source_api *const sources_list[];
size_t sources_count(void);
/* Index of the source with that name, or -1. */
int sources_find(const char *name);
/* What its coverage is told for: "" where one source is all of its kind, else its name. */
const char *sources_instance(const struct source_api *api);
/* What is said of one that is off by configuration. */
const char *sources_off_reason(const struct source_api *api);

struct sources_options {
    uint32_t off; /* bit i: the i-th is turned off */
    const char *sysfs_root;
    uint32_t poll_ms;
    uint32_t merge_window_ms;             /* merge.h; 0 = its default */
    struct coverage *coverage;            /* borrowed */
    const struct source_api *const *list; /* NULL = sources_list; another in tests */
    size_t n_list;
};

struct sources_ops {
    /* Valid until it returns. */
    void (*on_record)(void *data, const struct record *record);
    /* options.coverage changed. */
    void (*on_coverage)(void *data);
};

/* Returns 0 or UV_ENOMEM. Sources that cannot be armed are a matter of coverage. */
int sources_start(uv_loop_t *loop, const struct sources_options *options, const struct sources_ops *ops, void *data,
                  struct sources **out_sources);
/* What is held becomes records before this returns; then nothing comes any more. `cb` runs from the loop, when the
 * memory is gone. */
void sources_stop(struct sources *s, void (*cb)(void *data), void *data);
/* A record that another part of the agent made, of a place of the kernel's: it is told behind what the sources said of
 * that place before. on_record may run before this returns. */
void sources_report(struct sources *s, const struct record *record);
/* Bring the proofs of life in the coverage up to date. */
void sources_prove(struct sources *s);
