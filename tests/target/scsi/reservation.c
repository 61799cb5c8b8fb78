/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/target/scsi/reservation.h"

static struct registration *find(const struct reservation *r, uint32_t port)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->items[i].port == port)
            return (struct registration *)&r->items[i];
    return NULL;
}

static bool all_hold(enum reservation_type type)
{
    return type == RESERVE_WRITE_EXCLUSIVE_ALL || type == RESERVE_EXCLUSIVE_ACCESS_ALL;
}

static bool registrants_share(enum reservation_type type)
{
    return type >= RESERVE_WRITE_EXCLUSIVE_REGISTRANTS;
}

static bool type_is_known(uint8_t type)
{
    return type == 1 || type == 3 || (type >= 5 && type <= 8);
}

bool reservation_is_registered(const struct reservation *r, uint32_t port)
{
    return find(r, port) != NULL;
}

bool reservation_is_holder(const struct reservation *r, uint32_t port)
{
    if (r->type == RESERVE_NONE)
        return false;
    return all_hold(r->type) ? reservation_is_registered(r, port) : r->holder == port;
}

bool reservation_allows(const struct reservation *r, uint32_t port, bool writes)
{
    bool reads_are_free = r->type == RESERVE_WRITE_EXCLUSIVE || r->type == RESERVE_WRITE_EXCLUSIVE_REGISTRANTS ||
                          r->type == RESERVE_WRITE_EXCLUSIVE_ALL;

    if (r->type == RESERVE_NONE || reservation_is_holder(r, port))
        return true;
    if (registrants_share(r->type) && reservation_is_registered(r, port))
        return true;
    return reads_are_free && !writes;
}

static void notice(struct reservation_notices *notices, uint32_t port, uint16_t asc)
{
    if (notices->n < RESERVATION_MAX) {
        notices->items[notices->n].port = port;
        notices->items[notices->n++].asc = asc;
    }
}

static void notice_others(const struct reservation *r, struct reservation_notices *notices, uint32_t port, uint16_t asc)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->items[i].port != port)
            notice(notices, r->items[i].port, asc);
}

static void end_reservation(struct reservation *r, uint32_t port, struct reservation_notices *notices)
{
    if (registrants_share(r->type))
        notice_others(r, notices, port, ASC_RESERVATIONS_RELEASED);
    r->type = RESERVE_NONE;
    r->holder = 0;
}

static void unregister(struct reservation *r, uint32_t port, struct reservation_notices *notices)
{
    bool holds = reservation_is_holder(r, port);
    struct registration *item = find(r, port);

    *item = r->items[--r->n];
    if (holds && (!all_hold(r->type) || r->n == 0))
        end_reservation(r, port, notices);
}

static void do_register(struct reservation *r, uint32_t port, const struct reservation_request *q,
                        struct scsi_reply *reply, struct reservation_notices *notices)
{
    struct registration *item = find(r, port);

    if (q->action == PROUT_REGISTER && q->key != (item ? item->key : 0)) {
        reply->status = SCSI_RESERVATION_CONFLICT;
        return;
    }
    if (!item && q->action_key != 0) {
        if (r->n == RESERVATION_MAX) {
            reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_NO_ROOM_FOR_REGISTRATION);
            return;
        }
        r->items[r->n++] = (struct registration){.port = port, .key = q->action_key};
    } else if (item && q->action_key != 0) {
        item->key = q->action_key;
    } else if (item) {
        unregister(r, port, notices);
    }
    r->generation++;
}

static void do_reserve(struct reservation *r, uint32_t port, const struct reservation_request *q,
                       struct scsi_reply *reply)
{
    if (!type_is_known(q->type) || q->scope != 0) {
        reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
    } else if (r->type == RESERVE_NONE) {
        r->type = q->type;
        r->holder = port;
    } else if (!reservation_is_holder(r, port) || r->type != q->type) {
        reply->status = SCSI_RESERVATION_CONFLICT;
    }
}

static void do_release(struct reservation *r, uint32_t port, const struct reservation_request *q,
                       struct scsi_reply *reply, struct reservation_notices *notices)
{
    if (r->type == RESERVE_NONE || !reservation_is_holder(r, port))
        return; /* not an error: SPC-4 5.9.11.2 */
    if (r->type != q->type || q->scope != 0)
        reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_INVALID_RELEASE);
    else
        end_reservation(r, port, notices);
}

static void do_clear(struct reservation *r, uint32_t port, struct reservation_notices *notices)
{
    notice_others(r, notices, port, ASC_RESERVATIONS_PREEMPTED);
    r->n = 0;
    r->type = RESERVE_NONE;
    r->holder = 0;
    r->generation++;
}

/* Remove all registrations with this key (0: all but the caller's), except the caller's own. Returns how many. */
static size_t remove_key(struct reservation *r, uint32_t port, uint64_t key, struct reservation_notices *notices)
{
    size_t kept = 0, n = r->n;

    for (size_t i = 0; i < n; i++) {
        struct registration item = r->items[i];

        if (item.port != port && (key == 0 || item.key == key))
            notice(notices, item.port, ASC_REGISTRATIONS_PREEMPTED);
        else
            r->items[kept++] = item;
    }
    r->n = kept;
    return n - kept;
}

static bool holder_has_key(const struct reservation *r, uint64_t key)
{
    const struct registration *holder = find(r, r->holder);

    if (r->type == RESERVE_NONE)
        return false;
    return all_hold(r->type) ? key == 0 : holder && holder->key == key;
}

/* SPC-4 5.9.11.4: with the holder's key the reservation changes hands, with another only registrations go. */
static void do_preempt(struct reservation *r, uint32_t port, const struct reservation_request *q,
                       struct scsi_reply *reply, struct reservation_notices *notices)
{
    bool takes_over = holder_has_key(r, q->action_key);
    enum reservation_type before = r->type;

    if (q->action_key == 0 && !takes_over) {
        reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_LIST);
        return;
    }
    if (takes_over && (!type_is_known(q->type) || q->scope != 0)) {
        reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
        return;
    }
    if (remove_key(r, port, q->action_key, notices) == 0 && !takes_over) {
        reply->status = SCSI_RESERVATION_CONFLICT;
        return;
    }
    if (takes_over) {
        if (before != q->type)
            notice_others(r, notices, port, ASC_RESERVATIONS_RELEASED);
        r->type = q->type;
        r->holder = port;
    }
    r->generation++;
}

void reservation_out(struct reservation *r, uint32_t port, const struct reservation_request *request,
                     struct scsi_reply *reply, struct reservation_notices *out_notices)
{
    const struct registration *item = find(r, port);

    out_notices->n = 0;
    if (request->action == PROUT_REGISTER || request->action == PROUT_REGISTER_AND_IGNORE) {
        do_register(r, port, request, reply, out_notices);
        return;
    }
    if (!item || item->key != request->key) {
        reply->status = SCSI_RESERVATION_CONFLICT;
        return;
    }
    switch (request->action) {
    case PROUT_RESERVE: do_reserve(r, port, request, reply); break;
    case PROUT_RELEASE: do_release(r, port, request, reply, out_notices); break;
    case PROUT_CLEAR: do_clear(r, port, out_notices); break;
    case PROUT_PREEMPT:
    case PROUT_PREEMPT_AND_ABORT: do_preempt(r, port, request, reply, out_notices); break;
    default: reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
    }
}
