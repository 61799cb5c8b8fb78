/* SPDX-License-Identifier: Apache-2.0 */
/* One Subscribe stream, from its request to its end.
 *
 * The order on the stream is the guarantee: Opened, then a Gap if the start was gone or the status is not whole, then
 * either the snapshot between SnapshotBegin and Synced or the records up to Synced, then what follows. Every batch
 * comes after all matches before its position. What is sent is decided by core/hub.h; the files of this folder do it:
 * start.h takes the request, snapshot.h and newest.h may come first, then follow.h, with skip.h for what it leaves out;
 * batch.h has the messages.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "broker/core/cursors.h"
#include "broker/core/hub.h"
#include "broker/service/subscription/skip.h"

#define SUBSCRIPTION_MAX_CONTEXT 256u
#define SUBSCRIPTION_MAX_LAST    100000u

struct events;
struct grpc_call;
struct reader_account;
struct matcher_class;
struct snapshot;

enum subscription_state {
    SUBSCRIPTION_NEW,      /* no request yet */
    SUBSCRIPTION_SCAN,     /* looking backwards for the newest N that match */
    SUBSCRIPTION_SNAPSHOT, /* sending the status */
    SUBSCRIPTION_FOLLOW,
    SUBSCRIPTION_OVER, /* the call is finished: on_close follows */
};

/* What is it waiting for, beside room to send and its timer? */
enum subscription_waiting {
    SUBSCRIPTION_WAITS_NOT,
    SUBSCRIPTION_WAITS_FOR_MATCH,  /* in its class's `idle`: no record behind its cursor matches, to the newest */
    SUBSCRIPTION_WAITS_FOR_COMMIT, /* in events->watching */
};

struct subscription {
    TAILQ_ENTRY(subscription) all, ready;
    LIST_ENTRY(subscription) waiting;
    bool is_ready;
    enum subscription_waiting wait;
    struct events *events;
    struct grpc_call *call; /* NULL once it is gone */
    struct reader_account *account;
    uint64_t id;
    enum subscription_state state;
    struct matcher_class *matcher;
    struct hub_reader reader;
    enum hub_policy policy;
    uint64_t lag_limit, mark_interval_ns;
    bool stop_at_newest;
    uint8_t correlator[SUBSCRIPTION_MAX_CONTEXT + 3]; /* as field 1 of a batch */
    size_t correlator_len;
    uint64_t scan_wanted, scan_found, scan_at; /* SUBSCRIPTION_SCAN */
    struct snapshot *snapshot;
    struct skip skip;
    uint64_t n_delivered, n_gaps, since_unix_ns;
    char cursor[CURSOR_MAX_NAME + 1];
    uv_timer_t timer;
};

/* grpc_start_cb of /sensebus.v1.Events/Subscribe; the service is struct events. */
void subscription_accept(struct grpc_call *call, void *service);
/* Send what there is to send, up to one turn. Asks for another turn by itself (subscription_ready). */
void subscription_turn(struct subscription *s);
/* Put it in line for a turn. */
void subscription_ready(struct subscription *s);
/* No longer waiting; if it waited for a match, there is none up to record `looked`. */
void subscription_wake(struct subscription *s, uint64_t looked);
/* The last record it looked at, by itself or by its class. */
uint64_t subscription_cursor(const struct subscription *s);
/* A batch could not be queued: the call is over anyway, or memory is out. */
void subscription_send_failed(struct subscription *s, int rc);

/* For the files of this folder. */

struct hub_log subscription_log(const struct subscription *s);
/* It waits, if it does not yet. */
void subscription_wait(struct subscription *s, enum subscription_waiting what);
/* The call ends with a status and its reason. */
void subscription_finish(struct subscription *s, int status, const char *reason);
/* The same, after last words (Closed) with the place to go on from. */
void subscription_end(struct subscription *s, int status, const char *reason);
/* The log cannot be read at all (`rc`), which is worse than a damaged range: with what status does the call end? */
int subscription_unreadable_status(struct subscription *s, int rc);
