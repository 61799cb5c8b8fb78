/* SPDX-License-Identifier: Apache-2.0 */
/* The SDI face as rules: handlers, calls and their verdicts (semantics.md section 6, rules 26..31; A13..A17).
 *
 * Handlers are called in the order they were added, all of them, each on the stream that added it; the notifier hears
 * OK or ERR when every verdict is in, or the deadline passed. A machine without I/O, like adapter/adapter.h: inputs in,
 * actions out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/chunk.h"
#include "sensebus/v1/sdi.pb-c.h"

#define SDI_FIRSTOPEN     1
#define SDI_LASTCLOSE     2
#define SDI_LASTCLOSE_ERR 3

#define SDI_MAX_INQUIRY         24 /* vendor (8) and product (16), padded with spaces */
#define SDI_MAX_EVENT_INFO      256
#define SDI_MAX_HOST            253
#define SDI_MAX_SB              4096
#define SDI_DEFAULT_DEADLINE_MS 2000u
#define SDI_MAX_DEADLINE_MS     600000u

/* Zero in a member means its default, given here. */
struct sdi_limits {
    uint32_t max_handlers;           /* 65,536 in all */
    uint32_t max_streams_principal;  /* 256 */
    uint32_t max_handlers_principal; /* 1,024 */
    uint32_t max_notifies_principal; /* 64 waiting for verdicts */
    uint32_t max_notifies_broker;    /* 4,096 of the broker's own waiting for verdicts */
    uint32_t max_calls_stream;       /* 1,024 calls without a verdict yet, late ones too; a further one is lost */
};

struct sdi;
struct sdi_listener; /* one Sdi.Listen */

/* NULL when memory is out. */
struct sdi *sdi_new(const struct sdi_limits *limits, uint64_t seed);
void sdi_free(struct sdi *s);

/* NULL with *out_rc UV_ENOBUFS (over max_streams_principal) or UV_ENOMEM. */
struct sdi_listener *sdi_open(struct sdi *s, const char *principal, void *owner, int *out_rc, char *err,
                              size_t err_len);
/* The stream is gone: its handlers with it, its open calls count as lost. */
void sdi_close(struct sdi *s, struct sdi_listener *listener, uint64_t now_ns);
/* AddEvent, RemoveEvent or Verdict; checked completely. Each is answered once, with a ListenResult of its id; a verdict
 * for a call that is unknown, answered already or late is answered ERR. */
void sdi_request(struct sdi *s, struct sdi_listener *listener, const Sensebus__V1__ListenRequest *request,
                 uint64_t now_ns);
/* A message that does not decode: answered ERR, with `id` when it could be read, else 0. */
void sdi_fault(struct sdi *s, struct sdi_listener *listener, uint64_t id, const char *message);
/* A message could not be sent on the stream (its queue is full): the call counts as lost. */
void sdi_call_failed(struct sdi *s, uint64_t call_id, uint64_t now_ns);

/* NotifyEvent: `notifier`, which is not NULL and not waiting already, comes back with SDI_VERDICT. Every matching
 * handler is called at once, in the order they were added: a handler that is slow or gone holds up no other. Returns 0;
 * UV_EINVAL (event types 1..3 are the broker's own unless `by_broker`, sb, inquiry or host too long, an address member
 * below -1, deadline too long) or UV_ENOBUFS (over max_notifies_principal) with `err`; UV_ENOMEM. No action comes then.
 * `sender` is the principal; bytes of it that are not UTF-8 are told as '?'. */
int sdi_notify(struct sdi *s, const Sensebus__V1__NotifyEventRequest *request, const char *sender, bool by_broker,
               void *notifier, uint64_t now_ns, char *err, size_t err_len);
/* The notifier does not wait any more: no SDI_VERDICT comes. Its handlers are not told, and their verdicts are taken.
 */
void sdi_notifier_gone(struct sdi *s, void *notifier);

void sdi_tick(struct sdi *s, uint64_t now_ns);
uint64_t sdi_next_ns(const struct sdi *s);

enum sdi_action_kind {
    SDI_SEND,    /* an encoded ListenReply on the listener's stream: `message` with `tail` behind it when not NULL */
    SDI_VERDICT, /* the notifier's answer */
    SDI_END,     /* memory was out for a reply: end the listener's stream, since an answer is missing on it */
};
struct sdi_action {
    enum sdi_action_kind kind;
    void *owner;                  /* SEND, END: the listener's */
    struct chunk *message, *tail; /* SEND: references of the taker: chunk_unref both */
    uint64_t call_id;             /* SEND: not 0 when it is a HandlerCall */
    void *notifier;               /* VERDICT */
    bool ok;
    uint32_t n_called, n_failed;
};
/* The next action, in order; false when there is none. */
bool sdi_take(struct sdi *s, struct sdi_action *out);

struct sdi_counters {
    uint64_t handlers_open, listeners_open, notifies_open;
    uint64_t notifies, calls, calls_failed, calls_late, calls_lost;
    uint64_t verdicts_late, verdicts_unknown; /* answered ERR */
    uint64_t refused;                         /* requests and notifies over a bound */
};
void sdi_counters(const struct sdi *s, struct sdi_counters *out);
