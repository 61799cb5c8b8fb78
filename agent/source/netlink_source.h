/* SPDX-License-Identifier: Apache-2.0 */
/* What the sources on netlink have in common: when to listen, and what to say when that cannot be.
 *
 * To open such a socket makes the kernel load the module behind it, so a source opens only once sysfs shows that the
 * module is there (its gate), and looks again every poll_ms: a module that is loaded later, or was unloaded and loaded
 * again, is found then. An open socket keeps its module in use, as iscsid does.
 *
 *           gate is there, joined              gate is gone or another one
 *   OFF ───────────────────────────▶ ARMED ─────────────────────────────────▶ OFF
 *    ▲ why: no module, no right, another network namespace …                   │
 *    └────────────────────────── looked at again every poll_ms ◀──────────────┘ */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "agent/source/netlink.h"
#include "agent/source/source.h"
#include "runtime/log.h"

#define NETLINK_SOURCE_PATH_BYTES 1024

struct netlink_source;

struct netlink_source_kind {
    const char *name; /* "iscsi-netlink" */
    uint32_t source;  /* enum Source */
    size_t bytes;     /* of its struct source, which begins with a struct netlink_source */
    struct netlink_group group;
    const char *gate;   /* below the root of sysfs: exists once the kernel has what the source listens to */
    const char *absent; /* what is not there while the gate is not, and what loads it */
    /* Joined, nothing came yet: learn what there is. NULL = nothing to learn. */
    void (*on_armed)(struct netlink_source *s);
    /* Returns false when the message is not whole; it is logged and left, and all look whether something is missing. */
    bool (*on_message)(struct netlink_source *s, const struct netlink_message *message);
    /* Free what it holds beside itself. NULL = nothing. */
    void (*deinit)(struct netlink_source *s);
};

/* Embedded in each source as its first member. */
struct netlink_source {
    const struct netlink_source_kind *kind;
    const struct source_ops *ops;
    void *data;
    uv_loop_t *loop;
    uv_timer_t timer;
    uint32_t poll_ms;
    char *sysfs_root;
    struct netlink *netlink; /* NULL = not joined */
    uint64_t gate_inode;     /* of the gate at which it was joined */
    uint64_t heard_wall_ns;  /* the newest message of the kernel, else when it was joined */
    uint64_t proof_wall_ns;  /* the newest message of the kernel; 0 = never */
    uint32_t state;          /* enum SourceState, as told; 0 = not told yet */
    char reason[SOURCE_REASON_BYTES];
    struct log_limit malformed_limit, forged_limit;
    int n_open; /* handles that are not closed yet */
    void (*on_stopped)(void *data);
    void *on_stopped_data;
};

/* As the members of source_api; stop and last_proof fit there as they are. */
int netlink_source_start(const struct netlink_source_kind *kind, const struct source_options *options,
                         const struct source_ops *ops, void *data, struct source **out_source);
void netlink_source_stop(struct source *s, void (*cb)(void *data), void *data);
uint64_t netlink_source_last_proof(const struct source *s);
uint32_t netlink_source_check(const struct netlink_source_kind *kind, const struct source_options *options,
                              char *reason, size_t reason_len);

/* `format` below the root of sysfs. Returns 0 or UV_ENAMETOOLONG. */
int netlink_source_path(const struct netlink_source *s, char out[NETLINK_SOURCE_PATH_BYTES], const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The first line of a file of sysfs, `format` below the root, without its end. Returns 0 and a terminated text, or a
 * negative errno and ""; UV_ENXIO when the kernel says that it has none ("(null)", "<NULL>", nothing). */
int netlink_source_read(const struct netlink_source *s, char *out, size_t out_len, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
