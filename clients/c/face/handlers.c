/* SPDX-License-Identifier: Apache-2.0 */
/* The SDI operations (semantics.md rules 26 to 31). */
#include "clients/c/face/handlers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clients/c/face/handle.h"
#include "proto/message.h"

#define PATH_NOTIFY   "/sensebus.v1.Sdi/NotifyEvent"
#define PATH_XAEN     "/sensebus.v1.Sdi/Xaen"
#define NOTIFY_MS     2000u
#define NOTIFY_MAX_MS 600000u

static const char EMPTY[] = "";

struct face_handler {
    struct face_handler *next;
    uint64_t id;
    sb_handler_cb handler;
    void *event_info;
};

/* ------------------------------------------------------------------------------------------------ being called */

static struct face_handler *find(const struct sb *sb, uint64_t id)
{
    struct face_handler *h = sb->first_handler;
    while (h && h->id != id)
        h = h->next;
    return h;
}

static struct sb_scsi_adr adr_of(const Sensebus__V1__ScsiAdr *a)
{
    static const Sensebus__V1__ScsiAdr none = SENSEBUS__V1__SCSI_ADR__INIT;
    if (!a)
        a = &none;
    return (struct sb_scsi_adr){a->controller, a->bus, a->target, a->lun, a->host};
}

void handlers_call(struct sb *sb, const Sensebus__V1__HandlerCall *call)
{
    const struct face_handler *h = find(sb, call->handler_id);
    int verdict = SB_SDI_ERR; /* removed meanwhile */
    if (h) {
        const struct sb_handler_call told = {.handler = call->handler_id,
                                             .event_type = call->event_type,
                                             .address = adr_of(call->address),
                                             .sb_data = call->sb.len ? (const void *)call->sb.data : EMPTY,
                                             .sb_data_len = call->sb.len,
                                             .sender = call->sender};
        sb->in_callback = true;
        sb->n_callbacks++;
        verdict = h->handler(h->event_info, &told);
        sb->in_callback = false;
    }
    Sensebus__V1__SdiReturn answer =
        verdict == SB_SDI_OK ? SENSEBUS__V1__SDI_RETURN__SDI_RETURN_OK : SENSEBUS__V1__SDI_RETURN__SDI_RETURN_ERR;
    if (handle_verdict(sb, call->call_id, answer) < 0)
        handle_lose(sb, "out of memory");
}

void handlers_deinit(struct sb *sb)
{
    while (sb->first_handler) {
        struct face_handler *next = sb->first_handler->next;
        free(sb->first_handler);
        sb->first_handler = next;
    }
}

/* ------------------------------------------------------------------------------------------------ add and remove */

static int bad_argument(struct sb *sb, const char *what)
{
    return errors_set(sb, EINVAL, SB_DETAIL_ARGUMENT, "%s", what);
}

static void fill_adr(const struct sb_scsi_adr *a, Sensebus__V1__ScsiAdr *out)
{
    sensebus__v1__scsi_adr__init(out);
    out->controller = a->controller;
    out->bus = a->bus;
    out->target = a->target;
    out->lun = a->lun;
    out->host = (char *)(a->host ? a->host : EMPTY);
}

/* A17: a private code that looks like one of SDI's own would be taken for it. */
static int check_type(struct sb *sb, int32_t type, int32_t lowest)
{
    if (type >= SB_SDI_PRIVATE || (type >= lowest && type <= SB_SDI_LASTCLOSE_ERR))
        return 0;
    return errors_set(sb, EINVAL, SB_DETAIL_EVENT_TYPE, "event type %d: private ones begin at 0x%x%s", type,
                      (unsigned)SB_SDI_PRIVATE, lowest > SB_SDI_LASTCLOSE_ERR ? ", and 1 to 3 are the broker's" : "");
}

static int check_inquiry(struct sb *sb, const char *inquiry)
{
    return inquiry && strlen(inquiry) > SB_SDI_MAX_INQUIRY ? bad_argument(sb, "inquiry: longer than 24 bytes") : 0;
}

static int check_event(struct sb *sb, const struct sb_sdi_event *e)
{
    if (!e || !e->handler)
        return bad_argument(sb, "handler is NULL");
    if (handle_check_reserved(sb, e->reserved, sizeof e->reserved) < 0 ||
        check_type(sb, e->event_type, SB_SDI_FIRSTOPEN) < 0)
        return -1;
    if (e->flags & ~SB_ANY_DEVICE_TYPE)
        return bad_argument(sb, "flags: unknown");
    return check_inquiry(sb, e->inquiry);
}

int sb_add_event(struct sb *sb, const struct sb_sdi_event *event, uint64_t *out_handler)
{
    Sensebus__V1__ListenRequest request = SENSEBUS__V1__LISTEN_REQUEST__INIT;
    Sensebus__V1__AddEvent add = SENSEBUS__V1__ADD_EVENT__INIT;
    Sensebus__V1__ScsiAdr address;
    Sensebus__V1__ListenReply *reply;
    if (handle_begin(sb) < 0 || check_event(sb, event) < 0)
        return -1;
    struct face_handler *h = calloc(1, sizeof *h);
    if (!h)
        return errors_set(sb, ENOMEM, SB_DETAIL_NONE, "out of memory");
    fill_adr(&event->address, &address);
    add.event_type = event->event_type;
    add.device_type = event->device_type;
    add.any_device_type = event->flags & SB_ANY_DEVICE_TYPE;
    add.inquiry = (char *)(event->inquiry ? event->inquiry : EMPTY);
    add.address = &address;
    request.operation_case = SENSEBUS__V1__LISTEN_REQUEST__OPERATION_ADD;
    request.add = &add;
    if (handle_listen(sb, &request, &reply) < 0) {
        int error = errno;
        free(h);
        errno = error;
        return -1;
    }
    *h = (struct face_handler){.next = sb->first_handler,
                               .id = reply->result->handler_id,
                               .handler = event->handler,
                               .event_info = event->event_info};
    sb->first_handler = h;
    *out_handler = h->id;
    message_free(&reply->base);
    return 0;
}

int sb_rm_event(struct sb *sb, uint64_t handler)
{
    Sensebus__V1__ListenRequest request = SENSEBUS__V1__LISTEN_REQUEST__INIT;
    Sensebus__V1__RemoveEvent remove = SENSEBUS__V1__REMOVE_EVENT__INIT;
    Sensebus__V1__ListenReply *reply;
    if (handle_begin(sb) < 0)
        return -1;
    remove.handler_id = handler;
    request.operation_case = SENSEBUS__V1__LISTEN_REQUEST__OPERATION_REMOVE;
    request.remove = &remove;
    if (handle_listen(sb, &request, &reply) < 0)
        return -1;
    message_free(&reply->base);
    struct face_handler **at = &sb->first_handler;
    while (*at && (*at)->id != handler)
        at = &(*at)->next;
    struct face_handler *h = *at;
    if (h) { /* else another handle of the same principal added it */
        *at = h->next;
        free(h);
    }
    return 0;
}

/* ------------------------------------------------------------------------------------------------ notify, xaen */

static int check_notification(struct sb *sb, const struct sb_notification *n)
{
    if (!n)
        return bad_argument(sb, "notification is NULL");
    if (handle_check_reserved(sb, n->reserved, sizeof n->reserved) < 0 ||
        check_type(sb, n->event_type, SB_SDI_PRIVATE) < 0)
        return -1;
    if (n->sb_data_len > SB_SDI_MAX_SB)
        return bad_argument(sb, "sb_data: longer than 4,096 bytes");
    if (n->deadline_ms > NOTIFY_MAX_MS)
        return bad_argument(sb, "deadline_ms: more than 600,000");
    return check_inquiry(sb, n->inquiry);
}

int sb_notify_event(struct sb *sb, const struct sb_notification *notification, struct sb_verdicts *out_verdicts)
{
    Sensebus__V1__NotifyEventRequest request = SENSEBUS__V1__NOTIFY_EVENT_REQUEST__INIT;
    Sensebus__V1__ScsiAdr address;
    ProtobufCMessage *message;
    if (handle_begin(sb) < 0 || check_notification(sb, notification) < 0)
        return -1;
    fill_adr(&notification->address, &address);
    request.event_type = notification->event_type;
    request.address = &address;
    request.device_type = notification->device_type;
    request.inquiry = (char *)(notification->inquiry ? notification->inquiry : EMPTY);
    request.sb = (ProtobufCBinaryData){notification->sb_data_len, (uint8_t *)notification->sb_data};
    request.deadline_ms = notification->deadline_ms;
    if (handle_call(sb, PATH_NOTIFY, &request.base, &sensebus__v1__notify_event_response__descriptor,
                    notification->deadline_ms ? notification->deadline_ms : NOTIFY_MS, &message) < 0)
        return -1;
    const Sensebus__V1__NotifyEventResponse *r = (Sensebus__V1__NotifyEventResponse *)message;
    const struct sb_verdicts verdicts = {.n_called = r->n_called, .n_failed = r->n_failed};
    bool ok = r->result == SENSEBUS__V1__SDI_RETURN__SDI_RETURN_OK;
    message_free(message);
    if (out_verdicts)
        *out_verdicts = verdicts;
    return ok ? 0
              : errors_set(sb, EIO, SB_DETAIL_VERDICT, "%u of %u handlers failed, were late or were lost",
                           verdicts.n_failed, verdicts.n_called);
}

static int xaen(struct sb *sb, Sensebus__V1__XaenRequest *request, const char *host)
{
    ProtobufCMessage *message;
    if (handle_begin(sb) < 0)
        return -1;
    if (request->hba < 0)
        return bad_argument(sb, "hba: there is no wildcard for it"); /* A16 */
    if (request->scsi_id < -1 || request->lun < -1 || request->bus < -1)
        return bad_argument(sb, "scsi_id, lun and bus are -1 or a number");
    request->host = (char *)(host ? host : EMPTY);
    if (handle_call(sb, PATH_XAEN, &request->base, &sensebus__v1__xaen_response__descriptor, sb->deadline_ms,
                    &message) < 0)
        return -1;
    message_free(message);
    return 0;
}

int sb_xaen(struct sb *sb, const char *host, int event, int hba, int scsi_id, int lun, int bus, uint64_t var)
{
    Sensebus__V1__XaenRequest request = SENSEBUS__V1__XAEN_REQUEST__INIT;
    request.event = event;
    request.hba = hba;
    request.scsi_id = scsi_id;
    request.lun = lun;
    request.bus = bus;
    request.var = var;
    return xaen(sb, &request, host);
}

int sb_aen(struct sb *sb, const char *host, int event, int hba, int scsi_id, int lun)
{
    Sensebus__V1__XaenRequest request = SENSEBUS__V1__XAEN_REQUEST__INIT;
    request.event = event;
    request.hba = hba;
    request.scsi_id = scsi_id;
    request.lun = lun;
    request.bus = -1;
    request.aen = true;
    return xaen(sb, &request, host);
}
