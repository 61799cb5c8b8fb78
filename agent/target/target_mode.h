/* SPDX-License-Identifier: Apache-2.0 */
/* Target mode: the targets that this host serves (AIX tmscsi), and the sessions of the Adapter face on them.
 *
 *   tgtd (management socket) ─┐
 *   LIO (configfs)           ─┴─ polled ─▶ snapshots ─ compared ─▶ records, coverage, adapters
 *   a target's data feed ──▶ receive buffers of the open sessions ─▶ on_received; on_record (exhausted, resumed)
 *                    └─────▶ what it serves: adapters
 *
 * Each served target is an adapter of its own: "tgt<tid>" of tgtd, "lio<n>" of LIO, "feed<n>" of the feed; its own id
 * is its iSCSI name. A session is (adapter, remote initiator); the initiator need not be logged in. Its data arrives in
 * buffers; a buffer is held by the subscriber until released (semantics.md rule 23).
 *
 * Everything runs on the loop and nothing blocks it; no callback runs before the call that leads to it returned, except
 * where said. Bounds: TARGET_MODE_MAX_… below, and n_buffers * buffer_bytes for each session. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "sensebus/v1/adapter.pb-c.h"

struct coverage;
struct record;
struct target_mode; /* opaque */

#define TARGET_MODE_MAX_SESSIONS     1024
#define TARGET_MODE_MAX_BUFFERS      4096 /* of one session */
#define TARGET_MODE_MIN_BUFFERS      16   /* sc_strt_tgt.num_bufs */
#define TARGET_MODE_MAX_BUFFER_BYTES 4096 /* sc_strt_tgt.buf_size */
#define TARGET_MODE_MAX_ADAPTERS     512  /* that are listed */
#define TARGET_MODE_ADAPTER_BYTES    16   /* "tgt2147483647" */
#define TARGET_MODE_NAME_BYTES       224  /* RFC 7143 section 4.2.7.1: 223 bytes */
#define TARGET_MODE_SOCKET_BYTES     108  /* sun_path */

struct target_mode_options {
    const char *tgtd_socket;     /* path of tgtd's management socket; "auto" finds it; NULL = tgtd is not watched */
    const char *lio_root;        /* configfs folder "target"; "auto" = its place in sysfs; NULL = LIO is not watched */
    const char *feed;            /* path of the Unix socket that a target serves its data on; NULL = none */
    const char *state_directory; /* keeps the numbers of LIO targets and of initiators over restarts */
    uint32_t poll_ms;            /* between two looks at tgtd and LIO; 0 = 1,000 */
    struct coverage *coverage;   /* borrowed */
};

struct target_mode_ops {
    /* As targets_ops.on_record. Records of target mode have mode TARGET; BUFFERS_… carry their session. */
    void (*on_record)(void *data, const struct record *record);
    /* options.coverage changed. */
    void (*on_coverage)(void *data);
    /* The list of adapters changed. */
    void (*on_adapters)(void *data);
    /* One buffer of data for a session, at most its buffer_bytes. Returns false when it cannot be taken now: then it is
     * offered again after target_mode_writable(). Sessions may not be opened or closed in it. */
    bool (*on_received)(void *data, const char *session_id, uint64_t generation, const uint8_t *bytes, size_t len);
};

/* What "auto" stands for here, and anything else for itself. The first returns 0 or UV_ENAMETOOLONG. */
int target_mode_tgtd_socket(const char *given, char out[TARGET_MODE_SOCKET_BYTES]);
const char *target_mode_lio_root(const char *given);

/* Begin to watch. With every source off this is allowed, and there are no adapters. Options are copied. Returns 0;
 * UV_EINVAL with `err` naming the option; UV_ENOMEM; then nothing stays. */
int target_mode_start(uv_loop_t *loop, const struct target_mode_options *options, const struct target_mode_ops *ops,
                      void *data, struct target_mode **out_target_mode, char *err, size_t err_len);
/* Close everything, also sessions; no other callback comes any more. `cb` runs from the loop, when the memory is gone.
 * NULL is accepted only without `cb`. */
void target_mode_stop(struct target_mode *t, void (*cb)(void *data), void *data);
/* Each source that is on has shown its targets or failed to, once at least; on_coverage is called when that is so. */
bool target_mode_has_looked(const struct target_mode *t);
/* Bring the proofs of life in the coverage up to date. */
void target_mode_prove(struct target_mode *t);

/* ------------------------------------------------------------------------------------------------ adapters */

struct target_mode_adapter {
    const char *name;                /* "tgt1"; borrowed until the next turn of the loop, as own_id is */
    const char *own_id;              /* name of the served target: nobody may START it (OWN_ID) */
    int32_t controller;              /* Address.controller of its records */
    const char *const *capabilities; /* as IocInfoResult.capabilities */
    size_t n_capabilities;
};
size_t target_mode_n_adapters(const struct target_mode *t);
/* The adapter at `index` < n. */
void target_mode_adapter_at(const struct target_mode *t, size_t index, struct target_mode_adapter *out);
/* Is this the name of an adapter of target mode, there or not? Operations on such a name belong here. */
bool target_mode_is_adapter(const char *name);
/* False when there is no such adapter. */
bool target_mode_find_adapter(const struct target_mode *t, const char *name, struct target_mode_adapter *out);
/* The adapter that LIO's target `target_name` is; false when LIO is not watched, or serves none of that name. */
bool target_mode_find_lio(const struct target_mode *t, const char *target_name, struct target_mode_adapter *out);

/* ------------------------------------------------------------------------------------------------ sessions */

/* How an operation went, for OperationResult. */
struct target_mode_result {
    Sensebus__V1__Errno error;
    Sensebus__V1__EinvalDetail detail;
    char message[256];                       /* "" when it went well */
    char adapter[TARGET_MODE_ADAPTER_BYTES]; /* open: the address in full */
    char initiator[TARGET_MODE_NAME_BYTES];  /*   target_name */
    int32_t controller, target;              /*   target: number of the initiator */
    bool logged_in;                          /* open: the initiator has a session with the target now */
};

/* SCIOSTARTTGT. `start->address`: adapter (may be empty when one adapter is there), target_name or number of the
 * initiator. Refused with EINVAL: OWN_ID (the adapter's own id), ADDRESS (lun not 0, name malformed, number unknown, no
 * such adapter), BUFFERS, ALREADY_STARTED (session_id is open, or its generation is not newer); ENXIO NOT_SUPPORTED (no
 * source of target mode is on); ENOMEM (TARGET_MODE_MAX_…, or out of memory). Several sessions may have the same
 * initiator: each gets all of its data in buffers of its own (A8). */
void target_mode_open(struct target_mode *t, const char *session_id, uint64_t generation,
                      const Sensebus__V1__StartTarget *start, struct target_mode_result *out);
/* SCIOSTOPTGT: frees all buffers, also those that are held; what was not handed out yet is dropped with them. False
 * when there is no such session. */
bool target_mode_close(struct target_mode *t, const char *session_id, uint64_t generation);
/* The stream to the broker ended, and its sessions with it. */
void target_mode_close_all(struct target_mode *t);
/* RegisterEvent on a target-mode session: can events of it be seen? OK, EINVAL NOT_STARTED, or ENXIO NOT_SUPPORTED when
 * its adapter is gone. */
void target_mode_register(const struct target_mode *t, const char *session_id, uint64_t generation,
                          struct target_mode_result *out);
/* free_func: the caller is done with so many buffers. Those above what is held, and sessions that are gone, are
 * ignored. on_record may run before this returns. */
void target_mode_release(struct target_mode *t, const char *session_id, uint64_t generation, uint32_t n_buffers);
/* on_received may be tried again. */
void target_mode_writable(struct target_mode *t);
