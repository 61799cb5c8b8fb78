/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions that a handle has something to do with: who started them here, who is called for their events and data. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clients/c/sensebus.h"
#include "sensebus/v1/adapter.pb-c.h"

struct sb;

struct face_session {
    char id[SB_SESSION_BYTES];
    bool started_here;
    /* Of a session that was started elsewhere they are known from its first event on. */
    uint64_t generation; /* 0: not known yet */
    struct sb_place place;
    sb_receive_cb receive;
    void *receive_data;
    /* The registration. */
    sb_event_cb on_event; /* NULL: none */
    void *event_data;
    enum sb_mode mode;
    bool has_correlator;
    size_t correlator_len;
    uint8_t correlator[SB_MAX_CORRELATOR];
};

/* NULL when there is none. */
struct face_session *sessions_find(const struct sb *sb, const char *id);
/* The entry of that id, made when there is none; NULL: out of memory. */
struct face_session *sessions_add(struct sb *sb, const char *id);
void sessions_remove(struct sb *sb, struct face_session *s);
/* Forget what holds neither a session of ours nor a registration. */
void sessions_prune(struct sb *sb, struct face_session *s);
void sessions_deinit(struct sb *sb);

/* A record came: run its callback. `bytes` is the encoded AdapterReply that `event` was read from. */
void sessions_event(struct sb *sb, const Sensebus__V1__AdapterEvent *event, const uint8_t *bytes, size_t len);
/* Data for a target-mode session came: run its callback. */
void sessions_target_data(struct sb *sb, const Sensebus__V1__TargetData *data);
/* Every session has ended, for this reason: each registration hears of it. */
void sessions_lost(struct sb *sb, const char *reason);

/* Copy an address of the wire. */
void sessions_place(const Sensebus__V1__DeviceAddress *address, struct sb_place *out_place);
