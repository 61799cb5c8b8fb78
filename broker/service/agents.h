/* SPDX-License-Identifier: Apache-2.0 */
/* The Agents service: agents attach, hand over what they saw, and hear what is on disk.
 *
 * Invariants: an acknowledgement never runs ahead of the disk; of one agent's records each source sequence enters the
 * log once, in order, and what never came is told by an EVENTS_LOST record. That an agent went without a word is an
 * event, and so is its return. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "broker/service/agent_roll.h"
#include "runtime/log.h"

struct adapter_service;
struct broker;
struct journal_write;
struct agent_session;
struct agent_source;

struct agents {
    struct broker *broker;
    struct adapter_service *adapter;                    /* hears of operations, and of agents that went */
    TAILQ_HEAD(agent_sessions, agent_session) sessions; /* whose turn it is when there is room again */
    size_t held_bytes;                                  /* of all sessions: arrived while the log took nothing */
    LIST_HEAD(agent_sources, agent_source) sources;     /* (host, epoch) pairs with a stream or records not on disk */
    struct agent_roll roll;                             /* whom the store knows */
    uv_timer_t tick;                                    /* who is silent? */
    bool tick_open;
    uint64_t ticked_ms; /* when that was asked last */
};

/* Read which agents were attached when the log was closed, start the timers and add the service to the server.
 * `adapter` need not be started yet. Returns 0 or a negative errno. */
int agents_start(struct agents *a, struct broker *broker, struct adapter_service *adapter);
/* Every stream is over. Closes the timers. */
void agents_stop(struct agents *a);
void agents_deinit(struct agents *a);

/* From the commit engine. */
int agents_on_seal(struct agents *a, struct journal_write *w, uint64_t through);
void agents_on_committed(struct agents *a, uint64_t through);
/* Take nothing more until agents_resume. */
void agents_pause(struct agents *a);
void agents_resume(struct agents *a);
