/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/iscsi_netlink.h"

#include <inttypes.h>
#include <linux/netlink.h>
#include <stdio.h>

#include "agent/async_event.h"
#include "agent/iscsi/login_status.h"
#include "agent/source/iscsi_netlink_message.h"
#include "agent/source/iscsi_netlink_sessions.h"
#include "agent/source/iscsi_netlink_sysfs.h"
#include "agent/source/netlink_source.h"
#include "runtime/clock.h"
#include "sensebus/v1/code.pb-c.h"
#include "sensebus/v1/event.pb-c.h"

#define ISCSI_GROUP  1 /* ISCSI_NL_GRP_ISCSID */
#define DETAIL_BYTES 128

struct source {
    struct netlink_source base;
    struct iscsi_sessions sessions;
};

/* ------------------------------------------------------------------------------------------------ observations */

/* `detail` holds the words. */
static struct record_native native_of(const struct iscsi_netlink_message *m, char detail[DETAIL_BYTES])
{
    struct record_native n = {
        .name = iscsi_netlink_kevent_name(m->kevent),
        .code = m->kevent,
        .parameters = {m->sid, m->cid},
        .n_parameters = 2,
        .detail = detail,
    };

    detail[0] = 0;
    switch (m->kind) {
    case ISCSI_NETLINK_ASYNC: return async_event_native(&m->async);
    case ISCSI_NETLINK_CONNECTION_ERROR:
        n.code = m->number;
        snprintf(detail, DETAIL_BYTES, "%s", iscsi_netlink_error_text(m->number));
        break;
    case ISCSI_NETLINK_LOGIN_RESPONSE:
        n.name = "login-response";
        n.code = m->login.status_class;
        n.subcode = (uint32_t)m->login.status_class << 8 | m->login.status_detail;
        n.parameters[0] = m->login.transit;
        n.parameters[1] = m->login.next_stage;
        snprintf(detail, DETAIL_BYTES, "%s",
                 m->login.status_class ? login_status_text(m->login.status_class, m->login.status_detail)
                                       : "logged in");
        break;
    case ISCSI_NETLINK_REJECT:
        n.name = "reject";
        n.code = m->reject.reason;
        n.raw = m->reject.pdu;
        n.raw_len = m->reject.pdu_len;
        break;
    case ISCSI_NETLINK_LINK_UP:
    case ISCSI_NETLINK_LINK_DOWN:
        n.subcode = m->number;
        n.n_parameters = 0; /* no session */
        break;
    default: n.subcode = m->number; break;
    }
    return n;
}

/* The kernel's number of a LUN: its 16-bit words, the first one lowest (scsilun_to_int of scsi_common.c). */
static int64_t kernel_lun(uint64_t lun_raw)
{
    uint64_t lun = 0;

    for (int word = 0; word < 4; word++)
        lun |= (lun_raw >> (48 - 16 * word) & 0xffff) << (16 * word);
    return lun <= INT64_MAX ? (int64_t)lun : -1;
}

static void observe(struct netlink_source *s, const struct iscsi_netlink_message *m,
                    const struct iscsi_kernel_session *session, uint32_t code)
{
    char detail[DETAIL_BYTES], object[24];
    struct observation o = {
        .source = SENSEBUS__V1__SOURCE__SOURCE_ISCSI_NETLINK,
        .code = code,
        .place = {.host = -1, .channel = -1, .target = -1, .lun = -1},
        .wall_ns = clock_wall_ns(),
        .boot_ns = clock_boot_ns(),
        .native = native_of(m, detail),
    };

    if (session) {
        snprintf(object, sizeof object, "session%" PRIu32, session->sid);
        o.object = object;
        o.place.host = session->host;
        o.target_name = session->target_name[0] ? session->target_name : NULL;
        o.portal = session->portal[0] ? session->portal : NULL;
    } else if (m->host <= INT32_MAX) {
        o.place.host = (int32_t)m->host;
    }
    if (session && m->kind == ISCSI_NETLINK_ASYNC && async_event_has_lun(&m->async)) {
        o.place.channel = session->channel;
        o.place.target = session->target;
        o.place.lun = kernel_lun(m->async.lun_raw);
        o.sense = m->async.sense;
        o.sense_len = m->async.sense_len;
    }
    s->ops->on_observation(s->data, &o);
}

/* ------------------------------------------------------------------------------------------------ messages */

/* The session that a message is about. One that was never told of was there before. */
static struct iscsi_kernel_session *session_of(struct source *s, const struct iscsi_netlink_message *m,
                                               struct iscsi_kernel_session *stranger)
{
    struct iscsi_kernel_session *session = iscsi_sessions_find(&s->sessions, m->sid);

    if (!session) {
        session = iscsi_sessions_add(&s->sessions, m->sid);
        if (!session) {
            iscsi_session_init(stranger, m->sid);
            session = stranger;
        }
        if (m->kind == ISCSI_NETLINK_CONNECTION_ERROR || m->kind == ISCSI_NETLINK_UNBOUND)
            session->phase = ISCSI_PHASE_UP;
    }
    if (m->host <= INT32_MAX)
        session->host = (int32_t)m->host;
    /* Of a session that is gone sysfs has nothing; of one that logged in, perhaps another portal than before. */
    if (m->kind != ISCSI_NETLINK_DESTROYED)
        iscsi_netlink_learn(&s->base, m->cid, session);
    return session;
}

static void on_session_message(struct source *s, const struct iscsi_netlink_message *m)
{
    struct iscsi_kernel_session stranger, *session = session_of(s, m, &stranger);
    uint32_t code = 0;

    if (iscsi_session_judge(session, m, &code) != ISCSI_NEWS_NONE)
        observe(&s->base, m, session, code);
    if (m->kind == ISCSI_NETLINK_DESTROYED)
        iscsi_sessions_remove(&s->sessions, m->sid);
}

static bool on_message(struct netlink_source *base, const struct netlink_message *message)
{
    struct iscsi_netlink_message m;

    if (iscsi_netlink_parse(message->payload, message->len, &m) < 0)
        return false;
    switch (m.kind) {
    case ISCSI_NETLINK_OTHER: break;
    case ISCSI_NETLINK_LINK_UP: observe(base, &m, NULL, SENSEBUS__V1__CODE__LINK_UP); break;
    case ISCSI_NETLINK_LINK_DOWN: observe(base, &m, NULL, SENSEBUS__V1__CODE__LINK_DOWN); break;
    default: on_session_message((struct source *)base, &m); break;
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------ life */

static void on_armed(struct netlink_source *base)
{
    iscsi_netlink_learn_all(base, &((struct source *)base)->sessions);
}

static void deinit(struct netlink_source *base)
{
    iscsi_sessions_deinit(&((struct source *)base)->sessions);
}

static const struct netlink_source_kind kind = {
    .name = "iscsi-netlink",
    .source = SENSEBUS__V1__SOURCE__SOURCE_ISCSI_NETLINK,
    .bytes = sizeof(struct source),
    .group = {.protocol = NETLINK_ISCSI, .number = ISCSI_GROUP},
    .gate = "class/iscsi_transport",
    .absent = "scsi_transport_iscsi is not loaded: this kernel has had no iSCSI session of its own since it started",
    .on_armed = on_armed,
    .on_message = on_message,
    .deinit = deinit,
};

static int start(const struct source_options *options, const struct source_ops *ops, void *data,
                 struct source **out_source)
{
    return netlink_source_start(&kind, options, ops, data, out_source);
}

/* Nothing is told: what sessions are now is the sysfs source's to tell. Only what the next message means may be another
 * thing. */
static void resync(struct source *s)
{
    iscsi_netlink_learn_all(&s->base, &s->sessions);
}

static uint32_t check(const struct source_options *options, char *reason, size_t reason_len)
{
    return netlink_source_check(&kind, options, reason, reason_len);
}

const struct source_api iscsi_netlink_source = {
    .name = "iscsi-netlink",
    .source = SENSEBUS__V1__SOURCE__SOURCE_ISCSI_NETLINK,
    .start = start,
    .stop = netlink_source_stop,
    .resync = resync,
    .last_proof = netlink_source_last_proof,
    .check = check,
};
