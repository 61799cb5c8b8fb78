/* SPDX-License-Identifier: Apache-2.0 */
/* Operations that were given up before their result came, and that the broker did all the same: a query has cleared
 * bits that nobody has seen, a registration has used up the one chance of its session. They are remembered until asked
 * again. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "clients/c/sensebus.h"
#include "sensebus/v1/adapter.pb-c.h"

struct sb;

/* The result of this request is not waited for any more. False: out of memory. */
bool late_note(struct sb *sb, const Sensebus__V1__AdapterRequest *request);
/* A result came that nobody waits for. */
void late_answer(struct sb *sb, const Sensebus__V1__Result *result);
/* The bits that queries of this session brought too late; `peek`: they stay. */
uint32_t late_events(struct sb *sb, const char *session, bool peek);
/* The request that is to register the session exactly so, given up and still without its result; 0: none. */
uint64_t late_registering(const struct sb *sb, const char *session, const struct sb_registration *registration);
/* Was the session registered so, by an attempt that was given up? Only once. */
bool late_registered(struct sb *sb, const char *session, const struct sb_registration *registration);
void late_forget(struct sb *sb, uint64_t id);
void late_deinit(struct sb *sb);
