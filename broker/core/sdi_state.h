/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the SDI face share (sdi.h is the face):
 *
 *   sdi.c           principals, streams, requests, actions
 *   sdi_handlers.c  patterns, and the index that finds the handlers of an event
 *   sdi_calls.c     notifications, their calls, verdicts and deadlines
 *
 * A handler lies in the bucket of its (event type, device type), in order of its id, which is the order of addition. An
 * event looks at two buckets: that of its device type, and that of handlers for any device type. */
#pragma once

#include <sys/queue.h>

#include "broker/core/sdi.h"
#include "runtime/table.h"

struct sdi_principal { /* lives while it has anything */
    uint32_t n_streams, n_handlers, n_notifies;
    size_t name_len;
    char name[];
};

struct sdi_bucket_key {
    int32_t event_type, device_type, any_device_type;
};
struct sdi_bucket {
    struct sdi_bucket_key key;
    TAILQ_HEAD(sdi_bucket_handlers, sdi_handler) handlers;
};

/* -1 in a member, an empty inquiry, an empty host: any. */
struct sdi_pattern {
    int32_t controller, bus, target, lun;
    size_t inquiry_len;
    char inquiry[SDI_MAX_INQUIRY];
    char host[SDI_MAX_HOST + 1];
};

struct sdi_handler {
    uint64_t id;
    struct sdi_listener *listener;
    struct sdi_bucket *bucket;
    TAILQ_ENTRY(sdi_handler) in_bucket;
    LIST_ENTRY(sdi_handler) in_listener;
    struct sdi_pattern pattern;
    size_t event_info_len;
    uint8_t event_info[];
};

/* One call of one handler, until its verdict. Late ones stay, without a notification, until it comes: a stream that
 * never answers runs into max_calls_stream. */
struct sdi_call {
    uint64_t id;
    struct sdi_listener *listener;
    struct sdi_notify *notify; /* NULL: too late */
    LIST_ENTRY(sdi_call) in_listener, in_notify;
};

struct sdi_item { /* of the queue of actions */
    TAILQ_ENTRY(sdi_item) entry;
    struct sdi_action action;
    struct sdi_listener *listener; /* SEND, END */
    bool queued;
};

struct sdi_notify {
    void *notifier;                  /* NULL: does not wait any more */
    struct sdi_principal *principal; /* NULL: the broker's own */
    uint64_t deadline_ns;
    TAILQ_ENTRY(sdi_notify) by_deadline;
    LIST_HEAD(, sdi_call) calls; /* without a verdict */
    uint32_t n_called, n_failed;
    struct sdi_item verdict; /* here, so that memory for it cannot be missing */
};

struct sdi_listener {
    LIST_ENTRY(sdi_listener) all;
    struct sdi_principal *principal;
    void *owner;
    LIST_HEAD(, sdi_handler) handlers;
    LIST_HEAD(, sdi_call) calls;
    uint32_t n_calls;
    struct sdi_item end;
};

struct sdi {
    struct sdi_limits limits;
    struct table principals, buckets, handlers, calls, notifiers;
    LIST_HEAD(, sdi_listener) listeners;
    TAILQ_HEAD(sdi_notifies, sdi_notify) notifies; /* open, earliest deadline first */
    TAILQ_HEAD(sdi_items, sdi_item) items;
    uint64_t last_handler, last_call;
    uint32_t n_broker_notifies;
    struct sdi_counters counters;
};

/* ---- sdi.c */

/* Find or make. NULL when memory is out. Give it back with sdi_principal_release when nothing was added to it. */
struct sdi_principal *sdi_principal_get(struct sdi *s, const char *name);
void sdi_principal_release(struct sdi *s, struct sdi_principal *p);
/* Queue a message for the stream; takes both references, also when memory is out (false). */
bool sdi_send(struct sdi *s, struct sdi_listener *listener, struct chunk *message, struct chunk *tail,
              uint64_t call_id);
void sdi_push(struct sdi *s, struct sdi_item *item);

/* ---- sdi_handlers.c */

/* Checks the request. 0 with the new handler's id; UV_EINVAL, UV_ENOBUFS or UV_ENOMEM with `err`. */
int sdi_handler_add(struct sdi *s, struct sdi_listener *listener, const Sensebus__V1__AddEvent *add,
                    uint64_t *out_handler_id, char *err, size_t err_len);
/* UV_ENOENT with `err` when the principal of `listener` has no such handler. */
int sdi_handler_remove(struct sdi *s, const struct sdi_listener *listener, uint64_t id, char *err, size_t err_len);
void sdi_handler_free(struct sdi *s, struct sdi_handler *h);

/* Something happened. */
struct sdi_event {
    int32_t event_type, device_type;
    int32_t controller, bus, target, lun;
    const char *host;
    char inquiry[SDI_MAX_INQUIRY]; /* padded with spaces */
};
/* Goes through the handlers of an event in the order they were added. */
struct sdi_matches {
    const struct sdi_event *event;
    struct sdi_handler *exact, *any; /* next of each bucket */
};
void sdi_match_begin(const struct sdi *s, const struct sdi_event *event, struct sdi_matches *out);
/* NULL: no more. */
struct sdi_handler *sdi_match_next(struct sdi_matches *m);

/* An address of an event or a pattern: UV_EINVAL with `err` beginning with `what` unless all members are -1 or more and
 * the host is UTF-8 of a fair length. NULL is fine: it says nothing. */
int sdi_address_check(const Sensebus__V1__ScsiAdr *address, const char *what, char *err, size_t err_len);

/* ---- sdi_calls.c */

/* UV_EINVAL with `err`: unknown, answered already, late. */
int sdi_verdict(struct sdi *s, struct sdi_listener *listener, const Sensebus__V1__Verdict *verdict, char *err,
                size_t err_len);
/* The stream is gone. */
void sdi_calls_lost(struct sdi *s, struct sdi_listener *listener);
/* Nothing of it is queued or open any more. */
void sdi_notify_free(struct sdi *s, struct sdi_notify *n);
