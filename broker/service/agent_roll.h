/* SPDX-License-Identifier: Apache-2.0 */
/* The agents that the store knows: after a restart those that were attached are expected back, and who does not come
 * within the grace period is lost, which is an event. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "sensebus/v1/admin.pb-c.h"

struct agent_expected;
struct broker;
struct directory_agent;

struct agent_roll {
    struct broker *broker;
    LIST_HEAD(agent_expecteds, agent_expected) expected; /* attached before the start, not back yet */
    uv_timer_t grace;                                    /* who did not come back? */
    bool grace_open;
    bool grace_owed; /* it was over while nothing was taken, and nobody could come back: once more */
};

/* Read the store's list into the directory and give those that were attached their time. Returns 0 or a negative errno;
 * then agent_roll_stop and agent_roll_deinit are still owed. */
int agent_roll_start(struct agent_roll *r, struct broker *broker);
/* Closes the timer. */
void agent_roll_stop(struct agent_roll *r);
void agent_roll_deinit(struct agent_roll *r);

/* Let the store know the agent's state. What cannot be stored is logged: after a restart the state before it counts. */
void agent_roll_store(struct agent_roll *r, const struct directory_agent *agent, Sensebus__V1__AgentState state);
/* The directory has forgotten it. */
void agent_roll_forget(struct agent_roll *r, const char *host);
/* It is attached, and not expected any more. Is it the one that was attached when the log was closed? */
bool agent_roll_is_back(struct agent_roll *r, const struct directory_agent *agent);
/* The log takes something again. */
void agent_roll_on_room(struct agent_roll *r);
