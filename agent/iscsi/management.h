/* SPDX-License-Identifier: Apache-2.0 */
/* The task management requests of one session, from the owner's call to its callback.
 *
 * Invariant: each is answered once. One that the target never answers keeps its place until the session ends, because
 * an answer may still come. Pure: no I/O, no clock. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/iscsi/session.h"

enum management_state {
    MANAGEMENT_FREE,
    MANAGEMENT_ASKED, /* handed to libiscsi */
    MANAGEMENT_SENT,  /* on its way; `itt` is known */
    MANAGEMENT_HEARD, /* the relay saw the answer */
    MANAGEMENT_DONE,  /* libiscsi saw it too, and everything that came before it */
};

struct management {
    struct iscsi_session *session;
    enum management_state state;
    uint64_t order; /* as they were asked for */
    uint32_t itt;
    uint64_t deadline_ms;
    bool answered; /* the owner had its callback (a timeout) */
    bool rejected;
    uint8_t response;
    iscsi_session_management_cb cb;
    void *data;
};

struct management_table {
    struct management items[ISCSI_SESSION_MAX_MANAGEMENT];
    uint64_t n_asked;
};

/* A free place, which becomes ASKED; NULL when there is none. */
struct management *management_ask(struct management_table *t);
/* The relay saw a request go out: the oldest that was asked for. */
void management_sent(struct management_table *t, uint32_t itt);
/* The relay saw the answer. */
void management_heard(struct management_table *t, uint32_t itt, bool rejected, uint8_t response);
/* One in this state that has waited the longest, or NULL. */
struct management *management_find(struct management_table *t, enum management_state state);
/* One whose owner still waits, and whose time is up; NULL when there is none. */
struct management *management_expired(struct management_table *t, uint64_t now_ms);
/* Any whose owner still waits, or NULL. */
struct management *management_waiting(struct management_table *t);
/* When the next one expires, UINT64_MAX for never. */
uint64_t management_deadline(const struct management_table *t);
/* Done with it. */
void management_free(struct management *m);
