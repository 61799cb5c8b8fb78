/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's iSCSI sessions as far as its messages told: says which message is news, and of which kind.
 *
 *               logged in            error            unbound, destroyed
 *   NEW         UP: started          NEW              over: nothing was there
 *   UP          UP: restored         LOST: lost       OVER: stopped
 *   LOST        UP: restored         LOST             OVER: stopped
 *   OVER        UP: started          OVER             OVER
 *
 * A session object is created before its login and destroyed after the session: those two messages are evidence. A
 * login that fails is told when it fails in another way than the last time. Pure.
 *
 * At most ISCSI_SESSIONS_MAX are remembered; each message of one beyond that is judged without memory. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/source/iscsi_netlink_message.h"

#define ISCSI_SESSIONS_MAX         4096
#define ISCSI_SESSION_NAME_BYTES   224 /* RFC 7143 section 4.2.7.1: 223 bytes */
#define ISCSI_SESSION_PORTAL_BYTES 96

enum iscsi_phase { ISCSI_PHASE_NEW, ISCSI_PHASE_UP, ISCSI_PHASE_LOST, ISCSI_PHASE_OVER };

struct iscsi_kernel_session {
    uint32_t sid;
    enum iscsi_phase phase;
    bool failed; /* the last login was refused, with: */
    uint8_t failed_class, failed_detail;
    /* What sysfs said when it last knew; a session that is gone has no files any more. */
    int32_t host, channel, target;              /* -1 = not known */
    char target_name[ISCSI_SESSION_NAME_BYTES]; /* "" = not known, as the portal */
    char portal[ISCSI_SESSION_PORTAL_BYTES];
};

struct iscsi_sessions {
    struct iscsi_kernel_session *list; /* in no order */
    size_t n, cap;
};

void iscsi_sessions_deinit(struct iscsi_sessions *s);
struct iscsi_kernel_session *iscsi_sessions_find(const struct iscsi_sessions *s, uint32_t sid);
/* The session, added when it is not there. NULL when that cannot be. Valid until the next add or remove. */
struct iscsi_kernel_session *iscsi_sessions_add(struct iscsi_sessions *s, uint32_t sid);
void iscsi_sessions_remove(struct iscsi_sessions *s, uint32_t sid);
/* A session of which nothing is known. */
void iscsi_session_init(struct iscsi_kernel_session *session, uint32_t sid);

enum iscsi_news {
    ISCSI_NEWS_NONE,  /* tell nothing: it was told before */
    ISCSI_NEWS_PROOF, /* no event by itself, but evidence for one */
    ISCSI_NEWS_EVENT, /* *out_code */
};
/* What a message of this session means, and what the session is from now on. Not for messages of a host. */
enum iscsi_news iscsi_session_judge(struct iscsi_kernel_session *session, const struct iscsi_netlink_message *m,
                                    uint32_t *out_code);
