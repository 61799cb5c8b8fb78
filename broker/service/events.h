/* SPDX-License-Identifier: Apache-2.0 */
/* The Events service: Subscribe (subscription.h), Acknowledge, GetStatus.
 *
 * Subscriptions take turns: each sends a bounded amount, then the next one, so that a long replay delays nobody. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "broker/core/status.h"
#include "broker/service/matcher.h"
#include "runtime/log.h"

#define EVENTS_MAX_SUBSCRIPTIONS  10000u
#define EVENTS_MAX_SNAPSHOT_BYTES ((size_t)2 * STATUS_MAX_BYTES) /* waiting to be sent, over all snapshots */

struct broker;
struct subscription;

struct events {
    struct broker *broker;
    TAILQ_HEAD(subscription_list, subscription) all; /* oldest first */
    TAILQ_HEAD(subscription_ready, subscription) ready;
    LIST_HEAD(subscription_watching, subscription) watching; /* every commit concerns them, though they cannot send */
    size_t n_all, n_ready;
    uint64_t next_id;
    size_t snapshot_bytes;
    struct matcher matcher;
    struct log_limit damaged_limit; /* many may read the same range */
    uv_idle_t turns;
    bool turns_open;
};

/* Returns 0 or a negative errno. */
int events_start(struct events *e, struct broker *broker);
void events_stop(struct events *e);

/* A record was accepted; it will be committed with this sequence. `id`: which of the remembered events it is, or 0. */
void events_on_accepted(struct events *e, const struct event_view *event, known_id id, uint64_t sequence);
/* Records were committed. Those whose filter matches some have a turn: at once when they are few, or else soon. */
void events_on_committed(struct events *e);
