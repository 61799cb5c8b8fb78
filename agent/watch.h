/* SPDX-License-Identifier: Apache-2.0 */
/* One target, watched: dialled, logged in, its logical units identified and polled, lost, dialled again, for ever; at
 * its portals one after the other.
 *
 * Invariants: at most one session at a time, whatever the number of portals; every asynchronous message and every sense
 * of the session is judged exactly once; a state (lost, refused, not ready) is reported when it begins and when it
 * ends, not while it lasts. Only commands of command.h are sent, at most WATCH_MAX_IN_FLIGHT at a time; what
 * subscribers ask for goes beside them (ask.h). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "agent/command.h"
#include "agent/inventory.h"
#include "agent/iscsi/session.h"
#include "agent/record.h"
#include "agent/target_url.h"
#include "agent/unit.h"
#include "runtime/backoff.h"
#include "runtime/log.h"

#define WATCH_MAX_IN_FLIGHT 32
#define WATCH_REASON_BYTES  256

struct ask;
struct watch;

struct watch_options {
    const char *target_name, *portal; /* copied; the portal dialled first, watch_add_portal for more */
    int32_t lun;                      /* watch only this one; -1 = all */
    int32_t alias;                    /* target number in addresses */
    const char *adapter;              /* borrowed for the life of the watch */
    const char *initiator_name;       /* borrowed likewise, as the secrets are */
    const char *chap_user, *chap_secret, *mutual_chap_user, *mutual_chap_secret;
    bool header_digest;
    uint32_t poll_ms, jitter_ms, command_timeout_ms;
    uint32_t compare_ms;           /* between two looks at what units change without a word; 0 = never compared */
    uint32_t seed;                 /* of the jitter */
    struct command_counts *counts; /* borrowed: counts every command sent */
    const struct iscsi_session_api *session_api;
};

enum watch_health { WATCH_OFF, WATCH_DEGRADED, WATCH_ARMED };

struct watch_ops {
    /* One event. The record and what it points to live until the callback returns. */
    void (*on_record)(struct watch *w, void *data, const struct record *record);
    /* health, reason changed. */
    void (*on_health)(struct watch *w, void *data);
    /* A unit came, went, or told something new about itself. */
    void (*on_inventory)(struct watch *w, void *data);
    /* After watch_stop: logged out, nothing comes any more; the owner may free. */
    void (*on_stopped)(struct watch *w, void *data);
};

enum watch_state {
    WATCH_WAITING,  /* for the moment to dial */
    WATCH_DIALLING, /* TCP connect and login */
    WATCH_UP,       /* full feature phase */
    WATCH_LEAVING,  /* logout asked */
    WATCH_STOPPED,
};

enum watch_survey {
    SURVEY_NONE,
    SURVEY_WANTED,  /* until the units are quiet: what they say on the way belongs to the same change */
    SURVEY_RUNNING, /* REPORT LUNS is out */
};

/* "Reported LUNs data has changed", as each unit says it, until REPORT LUNS. */
struct watch_luns_changed {
    uint32_t n;      /* senses seen, of which the first RECORD_MAX_EVIDENCE + 1 are kept */
    uint32_t n_most; /* by one unit */
    uint64_t wall_ns, boot_ns, first_wall_ns;
    struct {
        uint8_t sense[RECORD_MAX_SENSE];
        size_t len;
        char detail[64];
    } said[RECORD_MAX_EVIDENCE + 1];
};

/* Where the target can be reached, and what was told of the last try there, so that it is told once. */
struct watch_portal {
    char text[128];
    struct {
        bool any;
        enum iscsi_session_end end;
        uint8_t status_class, status_detail;
    } failure;
    struct {
        bool any;
        char to[128];
    } redirection; /* likewise: a dead portal behind it makes the two alternate */
};

struct watch {
    uv_loop_t *loop;
    struct watch_options options;
    char *target_name;
    struct watch_portal *portals; /* in the order in which they are tried */
    size_t n_portals, at_portal;  /* of the session, else of the next dial */
    size_t n_failed;              /* logins since the last one that succeeded */
    bool told_full;               /* that there were more portals than are kept */
    char portal[128];             /* as reached, else as dialled last */
    const struct watch_ops *ops;
    void *data;

    enum watch_state state;
    struct iscsi_session *session;
    uv_timer_t timer;  /* WAITING: dial; UP: next poll; LEAVING: patience */
    uv_timer_t settle; /* SURVEY_WANTED: patience with units that are not quiet */
    int n_open_timers;
    uint32_t random;
    struct backoff redial, refused;
    char moved_to[128];    /* the portal that the target named for the next login, "" = none */
    uint32_t time2wait_ms; /* before the next dial, as the target wished */
    uint64_t up_since_ns;

    bool stopping;  /* watch_stop was called */
    bool lost;      /* ended without logout, not yet restored */
    bool leave_due; /* the target asked for logout before login was through */
    bool looked;    /* once at least its units were listed, or it could not be reached or did not list them */

    enum watch_survey survey;
    bool survey_again; /* wanted once more while it runs */
    bool surveyed;     /* the list is known: what differs from it from now on is news */
    uint32_t survey_retries, survey_skip;
    struct lun_list luns;
    struct watch_luns_changed *luns_changed; /* NULL = nobody said so */
    char survey_problem[WATCH_REASON_BYTES / 2];

    struct unit **units; /* ascending by LUN */
    size_t n_units, cap_units, next_unit;
    struct unit *gone; /* removed while their command is out; freed when that or the session ends */
    uint32_t n_in_flight;
    struct ask *asks; /* ask.h */

    enum watch_health health;
    char reason[WATCH_REASON_BYTES];
    uint64_t last_proof_ns; /* wall clock: the target answered */
    struct log_limit reject_limit;
};

/* Begin to watch. Returns 0, UV_EINVAL (the portal is too long) or UV_ENOMEM; on failure nothing stays. */
int watch_start(struct watch *w, uv_loop_t *loop, const struct watch_options *options, const struct watch_ops *ops,
                void *data);
/* Another portal of the target, tried behind those that are known. UV_EEXIST when it is known, UV_ENOSPC beyond
 * TARGET_MAX_PORTALS, UV_EINVAL when it is too long, UV_ENOMEM. */
int watch_add_portal(struct watch *w, const char *portal);
/* Log out and end; on_stopped follows, from the loop, within a few seconds. */
void watch_stop(struct watch *w);
/* After on_stopped. */
void watch_deinit(struct watch *w);

/* NULL when the unit is not on the list. */
struct unit *watch_find_unit(const struct watch *w, uint16_t lun);

/* For survey.c, unit.c and operation_device.c. */
void watch_report(struct watch *w, struct record *r, const struct unit *u);
/* A command of the watch's own. Returns 0, or as iscsi_session_command. */
int watch_send(struct watch *w, uint16_t lun, const struct command *c, iscsi_session_command_cb cb, void *data);
/* `looked` is true from now on. */
void watch_set_looked(struct watch *w);
/* Send what there is to send. */
void watch_pump(struct watch *w);
/* Something that health is made of changed. While up it is armed, unless something is known to be missing. */
void watch_judge_health(struct watch *w);
