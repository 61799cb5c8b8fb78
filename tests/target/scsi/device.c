/* SPDX-License-Identifier: Apache-2.0 */
/* Units, ports, and the order in which a command is looked at: does the unit exist, unit attention, reservation, access
 * state, ready, and then the command itself (SAM-5 5.14, SPC-4 5.9 and 5.16). */
#include "tests/target/scsi/device.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

int device_init(struct device *d, const char *name, size_t memory_bytes)
{
    if (strlen(name) >= sizeof(d->name))
        return UV_ENAMETOOLONG;
    *d = (struct device){.memory.left_bytes = memory_bytes};
    strcpy(d->name, name); /* fits: checked above */
    return 0;
}

static void unit_free(struct unit *u)
{
    unit_deinit(u);
    free(u);
}

static void port_free(struct port *port)
{
    attention_deinit(&port->attentions);
    free(port);
}

void device_deinit(struct device *d)
{
    for (size_t i = 0; i < d->n_units; i++)
        unit_free(d->units[i]);
    for (size_t i = 0; i < d->n_ports; i++)
        port_free(d->ports[i]);
    d->n_units = d->n_ports = 0;
}

/* ------------------------------------------------------------------------------------------------ units */

/* Where the unit is, or where it would have to be. */
static size_t unit_place(const struct device *d, uint64_t number)
{
    size_t low = 0, high = d->n_units;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (d->units[middle]->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct unit *device_unit(const struct device *d, uint64_t number)
{
    size_t i = unit_place(d, number);

    return i < d->n_units && d->units[i]->number == number ? d->units[i] : NULL;
}

int device_add_unit(struct device *d, uint64_t number, uint64_t n_blocks, uint32_t block_bytes)
{
    size_t i = unit_place(d, number);
    struct unit *u;

    if (number > UNIT_MAX_NUMBER || n_blocks == 0 || n_blocks > UNIT_MAX_BLOCKS ||
        (block_bytes != 512 && block_bytes != 4096))
        return UV_EINVAL;
    if (device_unit(d, number))
        return UV_EEXIST;
    if (d->n_units == DEVICE_MAX_UNITS)
        return UV_ENOSPC;
    u = calloc(1, sizeof(*u));
    if (!u)
        return UV_ENOMEM;
    unit_init(u, d->name, (uint16_t)number, n_blocks, block_bytes, &d->memory);
    device_establish(d, DEVICE_ALL_UNITS, ASC_LUNS_CHANGED, NULL);
    memmove(d->units + i + 1, d->units + i, (d->n_units++ - i) * sizeof(d->units[0]));
    d->units[i] = u;
    return 0;
}

int device_remove_unit(struct device *d, uint64_t number)
{
    size_t i = unit_place(d, number);
    struct unit *u = device_unit(d, number);

    if (!u)
        return UV_ENOENT;
    memmove(d->units + i, d->units + i + 1, (--d->n_units - i) * sizeof(d->units[0]));
    for (size_t p = 0; p < d->n_ports; p++)
        attention_clear_lun(&d->ports[p]->attentions, u->number);
    unit_free(u);
    device_establish(d, DEVICE_ALL_UNITS, ASC_LUNS_CHANGED, NULL);
    return 0;
}

/* ------------------------------------------------------------------------------------------------ ports */

static bool is_registered(const struct device *d, const struct port *port)
{
    for (size_t i = 0; i < d->n_units; i++)
        if (reservation_is_registered(&d->units[i]->reservation, port->id))
            return true;
    return false;
}

/* Make room by forgetting a port. */
static bool forget_one(struct device *d)
{
    size_t oldest = d->n_ports;

    for (size_t i = 0; i < d->n_ports; i++)
        if (!d->ports[i]->connected && !is_registered(d, d->ports[i]) &&
            (oldest == d->n_ports || d->ports[i]->left_at < d->ports[oldest]->left_at))
            oldest = i;
    if (oldest == d->n_ports)
        return false;
    port_free(d->ports[oldest]);
    d->ports[oldest] = d->ports[--d->n_ports];
    return true;
}

static struct port *find_port(const struct device *d, const char *name, const uint8_t isid[6])
{
    for (size_t i = 0; i < d->n_ports; i++)
        if (strcmp(d->ports[i]->name, name) == 0 && memcmp(d->ports[i]->isid, isid, 6) == 0)
            return d->ports[i];
    return NULL;
}

static int attention_all(struct device *d, struct port *port, uint16_t asc)
{
    int rc = 0;

    for (size_t i = 0; i < d->n_units && rc == 0; i++)
        rc = attention_establish(&port->attentions, d->units[i]->number, asc);
    return rc;
}

static int new_port(struct device *d, const char *name, const uint8_t isid[6], struct port **out_port)
{
    struct port *port;

    if (strlen(name) >= sizeof(port->name))
        return UV_ENAMETOOLONG;
    if (d->n_ports == DEVICE_MAX_PORTS && !forget_one(d))
        return UV_ENOSPC;
    port = calloc(1, sizeof(*port));
    if (!port)
        return UV_ENOMEM;
    port->id = ++d->last_id;
    strcpy(port->name, name); /* fits: checked above */
    memcpy(port->isid, isid, 6);
    d->ports[d->n_ports++] = port;
    *out_port = port;
    return 0;
}

int device_attach(struct device *d, const char *name, const uint8_t isid[6], struct port **out_port)
{
    struct port *port = find_port(d, name, isid);
    uint16_t asc = port ? ASC_NEXUS_LOSS : d->power_cycled ? ASC_POWER_ON : ASC_POWER_ON_OR_RESET;
    int rc = port ? 0 : new_port(d, name, isid, &port);

    if (rc == 0)
        rc = attention_all(d, port, asc);
    if (rc < 0)
        return rc;
    port->connected = true;
    *out_port = port;
    return 0;
}

void device_detach(struct device *d, struct port *port)
{
    port->connected = false;
    port->left_at = ++d->n_left;
}

/* ------------------------------------------------------------------------------------------------ logical unit numbers
 */

int device_lun_number(const uint8_t lun[8])
{
    for (int i = 2; i < 8; i++)
        if (lun[i] != 0)
            return -1;
    switch (lun[0] >> 6) {
    case 0: return lun[0] == 0 ? lun[1] : -1;
    case 1: return (lun[0] & 0x3f) << 8 | lun[1];
    default: return -1;
    }
}

void device_put_lun(uint8_t lun[8], uint16_t number)
{
    memset(lun, 0, 8);
    put_be(lun, number < 256 ? number : 0x4000u | number, 2);
}

/* ------------------------------------------------------------------------------------------------ commands */

/* REPORT LUNS: answered whatever waits, and with it the change is told. */
static void report_luns(struct device *d, struct port *port, const struct scsi_request *request,
                        struct scsi_reply *reply)
{
    size_t allocation = get_be(request->cdb + 6, 4), n = request->cdb[2] == 1 ? 0 : d->n_units;
    uint8_t *list;

    if (request->cdb[2] > 2 || allocation < 16) {
        reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
        return;
    }
    list = calloc(1, 8 + 8 * n);
    if (!list) {
        reply->status = SCSI_BUSY;
        return;
    }
    put_be(list, 8 * n, 4);
    for (size_t i = 0; i < n; i++)
        device_put_lun(list + 8 + 8 * i, d->units[i]->number);
    reply_data(reply, list, 8 + 8 * n, allocation);
    free(list);
    attention_clear_code(&port->attentions, ASC_LUNS_CHANGED);
}

/* A unit that is not there says so in the form of the command (SPC-4 table 177, 6.39). */
static void absent_unit(const struct scsi_request *request, struct scsi_reply *reply)
{
    uint8_t sense[SENSE_FIXED_BYTES], inquiry[36] = {0x7f, 0x00, 0x06, 0x02, 31};

    if (request->cdb[0] == UNIT_INQUIRY && !(request->cdb[1] & 1)) {
        reply_data(reply, inquiry, sizeof(inquiry), get_be(request->cdb + 3, 2));
    } else if (request->cdb[0] == UNIT_REQUEST_SENSE) {
        sense_fixed(sense, 0x70, KEY_ILLEGAL_REQUEST, ASC_LUN_NOT_SUPPORTED);
        reply_data(reply, sense, sizeof(sense), request->cdb[4]);
    } else {
        reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_LUN_NOT_SUPPORTED);
    }
}

/* Tell what waits, once. REQUEST SENSE gets a unit attention as data, with GOOD; everything else gets CHECK CONDITION.
 */
static bool tell_attention(struct port *port, const struct unit *u, const struct scsi_request *request,
                           struct scsi_reply *reply)
{
    bool asked = request->cdb[0] == UNIT_REQUEST_SENSE;
    struct attention *item;

    if (asked && request->cdb[1] & 1)
        return false;
    item = attention_take(&port->attentions, u->number, asked);
    if (!item)
        return false;
    if (asked)
        reply_data(reply, item->sense, item->len, request->cdb[4]);
    else
        reply_sense(reply, item->sense, item->len);
    free(item);
    return true;
}

static bool is_medium_write(uint8_t opcode)
{
    return opcode == UNIT_WRITE_6 || opcode == UNIT_WRITE_10 || opcode == UNIT_WRITE_12 || opcode == UNIT_WRITE_16 ||
           opcode == UNIT_MODE_SELECT_6 || opcode == UNIT_MODE_SELECT_10 || opcode == UNIT_SYNCHRONIZE_CACHE_10 ||
           opcode == UNIT_SYNCHRONIZE_CACHE_16 || opcode == UNIT_UNMAP;
}

static bool is_medium_read(uint8_t opcode)
{
    return opcode == UNIT_READ_6 || opcode == UNIT_READ_10 || opcode == UNIT_READ_12 || opcode == UNIT_READ_16 ||
           opcode == UNIT_MODE_SENSE_6 || opcode == UNIT_MODE_SENSE_10;
}

/* Commands that need the unit to be ready (SBC-3: access to the medium, and TEST UNIT READY). */
static bool needs_ready(uint8_t opcode)
{
    return opcode == UNIT_TEST_UNIT_READY || opcode == UNIT_READ_CAPACITY_10 || opcode == UNIT_SERVICE_ACTION_IN_16 ||
           is_medium_write(opcode) || is_medium_read(opcode);
}

static enum asc not_ready(const struct unit *u)
{
    switch (u->alua) {
    case ALUA_TRANSITION: return ASC_TRANSITION;
    case ALUA_STANDBY: return ASC_STANDBY;
    case ALUA_UNAVAILABLE: return ASC_UNAVAILABLE;
    case ALUA_OFFLINE: return ASC_OFFLINE;
    default: return u->offline ? ASC_OFFLINE : ASC_NONE;
    }
}

/* The TransportID of a port: iSCSI name and ISID (SPC-4 table 501), padded to a multiple of four. */
static size_t transport_id(void *data, uint32_t id, uint8_t out[UNIT_TRANSPORT_ID_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    const struct device *d = data;
    const char *name = "";
    const uint8_t none[6] = {0}, *isid = none;
    size_t len;

    for (size_t i = 0; i < d->n_ports; i++)
        if (d->ports[i]->id == id) {
            name = d->ports[i]->name;
            isid = d->ports[i]->isid;
        }
    len = strlen(name);
    memset(out, 0, UNIT_TRANSPORT_ID_BYTES);
    out[0] = 0x45; /* name and ISID; iSCSI */
    memcpy(out + 4, name, len);
    memcpy(out + 4 + len, ",i,0x", 5);
    for (size_t i = 0; i < 12; i++)
        out[4 + len + 5 + i] = (uint8_t)digits[isid[i / 2] >> (i % 2 ? 0 : 4) & 15];
    len = (len + 5 + 12 + 1 + 3) & ~(size_t)3;
    put_be(out + 2, len, 2);
    return 4 + len;
}

static void spread(struct device *d, const struct port *port, const struct unit *u, const struct unit_effects *effects)
{
    if (effects->mode_changed)
        device_establish(d, u->number, ASC_MODE_CHANGED, port);
    if (effects->threshold_reached)
        device_establish(d, u->number, ASC_THIN_THRESHOLD, NULL);
    for (size_t n = 0; n < effects->notices.n && effects->aborts && d->on_abort; n++)
        if (effects->notices.items[n].asc == ASC_REGISTRATIONS_PREEMPTED)
            d->on_abort(d->data, effects->notices.items[n].port, u->number);
    for (size_t n = 0; n < effects->notices.n; n++)
        for (size_t i = 0; i < d->n_ports; i++)
            if (d->ports[i]->id == effects->notices.items[n].port)
                attention_establish(&d->ports[i]->attentions, u->number, effects->notices.items[n].asc);
}

static void execute_on_unit(struct device *d, struct port *port, struct unit *u, const struct scsi_request *request,
                            struct scsi_reply *reply)
{
    const struct unit_context context = {.port = port->id, .transport_id = transport_id, .transport_id_data = d};
    uint8_t opcode = request->cdb[0];
    struct unit_effects effects = {0};

    if (opcode != UNIT_INQUIRY && tell_attention(port, u, request, reply))
        return;
    if ((is_medium_write(opcode) || is_medium_read(opcode)) &&
        !reservation_allows(&u->reservation, port->id, is_medium_write(opcode))) {
        reply->status = SCSI_RESERVATION_CONFLICT;
        return;
    }
    if (needs_ready(opcode) && not_ready(u) != ASC_NONE) {
        reply_check(reply, KEY_NOT_READY, not_ready(u));
        return;
    }
    unit_execute(u, &context, request, reply, &effects);
    spread(d, port, u, &effects);
}

void device_execute(struct device *d, struct port *port, const uint8_t lun[8], const struct scsi_request *request,
                    struct scsi_reply *reply)
{
    int number = device_lun_number(lun);
    struct unit *u = number < 0 ? NULL : device_unit(d, (uint64_t)number);

    d->n_commands++;
    if (request->cdb[0] == UNIT_REPORT_LUNS && (u || number == 0))
        report_luns(d, port, request, reply);
    else if (!u)
        absent_unit(request, reply);
    else
        execute_on_unit(d, port, u, request, reply);
}
