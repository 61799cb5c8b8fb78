/* SPDX-License-Identifier: Apache-2.0 */
/* PERSISTENT RESERVE IN and OUT on the wire (SPC-4 sections 6.15 and 6.16). */
#include <stdlib.h>
#include <string.h>

#include "tests/target/scsi/unit.h"

enum { PRIN_READ_KEYS = 0, PRIN_READ_RESERVATION = 1, PRIN_REPORT_CAPABILITIES = 2, PRIN_READ_FULL_STATUS = 3 };

#define FULL_STATUS_BYTES (24 + UNIT_TRANSPORT_ID_BYTES)

static size_t read_keys(const struct reservation *r, uint8_t *out)
{
    for (size_t i = 0; i < r->n; i++)
        put_be(out + 8 + 8 * i, r->items[i].key, 8);
    return 8 + 8 * r->n;
}

static bool one_holds(const struct reservation *r)
{
    return r->type == RESERVE_WRITE_EXCLUSIVE || r->type == RESERVE_EXCLUSIVE_ACCESS ||
           r->type == RESERVE_WRITE_EXCLUSIVE_REGISTRANTS || r->type == RESERVE_EXCLUSIVE_ACCESS_REGISTRANTS;
}

static size_t read_reservation(const struct reservation *r, uint8_t *out)
{
    if (r->type == RESERVE_NONE)
        return 8;
    for (size_t i = 0; one_holds(r) && i < r->n; i++)
        if (r->items[i].port == r->holder)
            put_be(out + 8, r->items[i].key, 8);
    out[8 + 13] = (uint8_t)r->type;
    return 8 + 16;
}

static size_t read_full_status(const struct unit *u, const struct unit_context *context, uint8_t *out)
{
    const struct reservation *r = &u->reservation;
    uint8_t *at = out + 8;

    for (size_t i = 0; i < r->n; i++) {
        size_t id_len = context->transport_id(context->transport_id_data, r->items[i].port, at + 24);

        put_be(at, r->items[i].key, 8);
        if (reservation_is_holder(r, r->items[i].port)) {
            at[12] = 0x01;
            at[13] = (uint8_t)r->type;
        }
        put_be(at + 18, 1, 2);
        put_be(at + 20, id_len, 4);
        at += 24 + id_len;
    }
    return (size_t)(at - out);
}

static size_t report_capabilities(uint8_t *out)
{
    put_be(out, 8, 2);
    out[3] = 0x80;              /* TMV: the type mask is valid */
    put_be(out + 4, 0xea01, 2); /* all six types */
    return 8;
}

void unit_reserve_in(const struct unit *u, const struct unit_context *context, const struct scsi_request *request,
                     struct scsi_reply *reply)
{
    uint8_t *out = calloc(1, 8 + RESERVATION_MAX * FULL_STATUS_BYTES), action = request->cdb[1] & 0x1f;
    size_t len = 0;

    if (!out) {
        reply->status = SCSI_BUSY;
        return;
    }
    put_be(out, u->reservation.generation, 4);
    switch (action) {
    case PRIN_READ_KEYS: len = read_keys(&u->reservation, out); break;
    case PRIN_READ_RESERVATION: len = read_reservation(&u->reservation, out); break;
    case PRIN_READ_FULL_STATUS: len = read_full_status(u, context, out); break;
    case PRIN_REPORT_CAPABILITIES: len = report_capabilities(out); break;
    default: break;
    }
    if (len > 0 && action != PRIN_REPORT_CAPABILITIES)
        put_be(out + 4, len - 8, 4);
    if (len > 0)
        reply_data(reply, out, len, get_be(request->cdb + 7, 2));
    else
        reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
    free(out);
}

void unit_reserve_out(struct unit *u, const struct unit_context *context, const struct scsi_request *request,
                      struct scsi_reply *reply, struct reservation_notices *out_notices)
{
    const size_t list_len = 24;
    struct reservation_request order = {
        .action = request->cdb[1] & 0x1f,
        .scope = request->cdb[2] >> 4,
        .type = request->cdb[2] & 0x0f,
    };

    reply->data_out_len = get_be(request->cdb + 5, 4);
    if (reply->data_out_len != list_len || request->data_len < list_len) {
        reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_PARAMETER_LIST_LENGTH);
        return;
    }
    if (request->data[20] & 0x0d) { /* SPEC_I_PT, ALL_TG_PT, APTPL */
        reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_LIST);
        return;
    }
    order.key = get_be64(request->data);
    order.action_key = get_be64(request->data + 8);
    reservation_out(&u->reservation, context->port, &order, reply, out_notices);
}
