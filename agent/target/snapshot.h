/* SPDX-License-Identifier: Apache-2.0 */
/* What a target on this host looked like at one moment, and what changed from one moment to the next.
 *
 * Sources (tgtd's answer, LIO's configfs) are filled in with the add functions, target by target; then
 * snapshot_finish() puts everything in order. Names and addresses become valid UTF-8 without control characters,
 * whatever the source said. Bounded: what is beyond a bound is left out, and `cut` says so. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SNAPSHOT_MAX_TARGETS   512
#define SNAPSHOT_MAX_NEXUSES   4096   /* of all targets together */
#define SNAPSHOT_MAX_LUNS      16384  /* likewise */
#define SNAPSHOT_MAX_NUMBER    999999 /* of a target */
#define SNAPSHOT_MAX_LUN       16383  /* flat space addressing, SAM-5 section 4.7.7.4 */
#define SNAPSHOT_NAME_BYTES    224    /* RFC 7143 section 4.2.7.1: 223 bytes */
#define SNAPSHOT_ADDRESS_BYTES 64

struct snapshot_nexus {
    uint64_t id;
    char initiator[SNAPSHOT_NAME_BYTES];
    char address[SNAPSHOT_ADDRESS_BYTES]; /* "" when not known */
};

struct snapshot_lun {
    uint32_t lun;
    bool online;
};

/* Its nexuses and logical units are ranges of the snapshot's lists. */
struct snapshot_target {
    int32_t number; /* in the source's own numbering; together with the name it is who the target is */
    char name[SNAPSHOT_NAME_BYTES];
    bool online;
    size_t first_nexus, n_nexuses;
    size_t first_lun, n_luns;
};

enum snapshot_skip { SNAPSHOT_SKIP_NOTHING, SNAPSHOT_SKIP_PART, SNAPSHOT_SKIP_TARGET };

struct snapshot {
    struct snapshot_target *targets; /* by number, then name */
    struct snapshot_nexus *nexuses;  /* of one target: by id, then initiator */
    struct snapshot_lun *luns;       /* of one target: ascending */
    size_t n_targets, n_nexuses, n_luns;
    size_t cap_targets, cap_nexuses, cap_luns;
    enum snapshot_skip skip; /* filling: what was added last was left out, and what is said of it is, too */
    bool cut;                /* there is more than the bounds allow, or something was said twice or not understood */
};

/* Texts are borrowed for the call. Return 0, or UV_ENOMEM; beyond a bound 0, and `cut` is set. */
int snapshot_add_target(struct snapshot *s, int32_t number, const char *name, size_t name_len);
/* To the target added last; without one they are ignored, and `cut` is set. */
int snapshot_add_nexus(struct snapshot *s, uint64_t id);
int snapshot_add_lun(struct snapshot *s, uint64_t lun, bool online);
/* Of the target, nexus or unit added last. The first address counts. */
void snapshot_set_target_online(struct snapshot *s, bool online);
void snapshot_set_initiator(struct snapshot *s, const char *name, size_t len);
void snapshot_set_address(struct snapshot *s, const char *address, size_t len);
void snapshot_set_lun_online(struct snapshot *s, bool online);
/* Sort, and drop what was said twice. Nothing is added after it. */
void snapshot_finish(struct snapshot *s);
/* Give the targets of a finished snapshot other numbers; those whose number is negative are left out (`cut`). */
void snapshot_renumber(struct snapshot *s, int32_t (*number)(void *data, const struct snapshot_target *target),
                       void *data);
/* One target for each number: of several the one that the finished `before` has, else the first by name (`cut`). */
void snapshot_settle_numbers(struct snapshot *s, const struct snapshot *before);
void snapshot_free(struct snapshot *s); /* leaves it empty */

/* NULL when there is none. */
const struct snapshot_target *snapshot_find(const struct snapshot *s, int32_t number, const char *name);
/* Every nexus is over: what they were is forgotten without a change. */
void snapshot_forget_nexuses(struct snapshot *s);

enum snapshot_change_kind {
    SNAPSHOT_TARGET_ADDED,
    SNAPSHOT_TARGET_REMOVED,
    SNAPSHOT_TARGET_ONLINE,
    SNAPSHOT_TARGET_OFFLINE,
    SNAPSHOT_LUN_ADDED,
    SNAPSHOT_LUN_REMOVED,
    SNAPSHOT_LUN_ONLINE,
    SNAPSHOT_LUN_OFFLINE,
    SNAPSHOT_LOGIN,
    SNAPSHOT_LOGOUT,
};
struct snapshot_change {
    enum snapshot_change_kind kind;
    const struct snapshot_target *target; /* as it is now; as it was, for REMOVED and its LOGOUTs */
    const struct snapshot_nexus *nexus;   /* LOGIN, LOGOUT */
    const struct snapshot_lun *lun;       /* LUN_… */
};
/* What made `now` out of `before`, told one change after the other, targets in their order: what ended, then what
 * began. A target that went or came is told without its units; its nexuses log out before, or in after. Both snapshots
 * are finished, and their numbers settled. */
void snapshot_diff(const struct snapshot *before, const struct snapshot *now,
                   void (*on_change)(void *data, const struct snapshot_change *change), void *data);

/* What tgtd.h and lio.h tell each time they looked. */
struct snapshot_ops {
    /* It looked. The receiver takes the contents of the (finished) snapshot and leaves it empty. */
    void (*on_snapshot)(void *data, struct snapshot *snapshot);
    /* It could not look, told each time. `gone`: nobody serves targets there, so every session with them is over. */
    void (*on_failed)(void *data, bool gone, const char *reason);
};
