/* SPDX-License-Identifier: Apache-2.0 */
/* What may happen to a device that its initiators must hear of. */
#include <stdlib.h>
#include <uv.h>

#include "tests/target/scsi/device.h"

/* The initiator of device_preempt: a port number that no session gets. */
#define OTHER_PORT UINT32_MAX
#define OTHER_KEY  UINT64_C(0x6f74686572)

int device_establish(struct device *d, int number, uint16_t asc, const struct port *except)
{
    int rc = 0;

    if (number != DEVICE_ALL_UNITS && !device_unit(d, (uint64_t)number))
        return UV_ENOENT;
    for (size_t p = 0; p < d->n_ports; p++)
        for (size_t i = 0; d->ports[p] != except && i < d->n_units; i++)
            if (number == DEVICE_ALL_UNITS || d->units[i]->number == number) {
                int result = attention_establish(&d->ports[p]->attentions, d->units[i]->number, asc);

                rc = rc < 0 ? rc : result;
            }
    return rc;
}

int device_script(struct device *d, uint64_t number, const uint8_t *sense, size_t len)
{
    const struct unit *u = device_unit(d, number);
    int rc = 0;

    if (!u)
        return UV_ENOENT;
    for (size_t p = 0; p < d->n_ports && rc == 0; p++)
        if (d->ports[p]->connected)
            rc = attention_script(&d->ports[p]->attentions, u->number, sense, len);
    return rc;
}

int device_resize(struct device *d, uint64_t number, uint64_t n_blocks)
{
    struct unit *u = device_unit(d, number);

    if (!u)
        return UV_ENOENT;
    if (n_blocks == 0 || n_blocks > UNIT_MAX_BLOCKS)
        return UV_EINVAL;
    if (n_blocks == u->n_blocks)
        return 0;
    u->n_blocks = n_blocks;
    return device_establish(d, u->number, ASC_CAPACITY_CHANGED, NULL);
}

/* SPC has no unit attention for it but that of the mode parameters: WP is in their header. */
int device_protect(struct device *d, uint64_t number, bool read_only)
{
    struct unit *u = device_unit(d, number);

    if (!u)
        return UV_ENOENT;
    if (u->read_only == read_only)
        return 0;
    u->read_only = read_only;
    return device_establish(d, u->number, ASC_MODE_CHANGED, NULL);
}

int device_set_offline(struct device *d, uint64_t number, bool offline)
{
    struct unit *u = device_unit(d, number);

    if (!u)
        return UV_ENOENT;
    u->offline = offline;
    return 0;
}

int device_set_alua(struct device *d, uint64_t number, enum alua state)
{
    struct unit *u = device_unit(d, number);

    if (!u)
        return UV_ENOENT;
    if (u->alua == state)
        return 0;
    u->alua = state;
    return device_establish(d, u->number, ASC_ALUA_CHANGED, NULL);
}

int device_set_health(struct device *d, uint64_t number, uint16_t asc)
{
    struct unit *u = device_unit(d, number);

    if (!u)
        return UV_ENOENT;
    u->health = asc;
    return asc != 0 && unit_tells_health(u) ? device_establish(d, u->number, asc, NULL) : 0;
}

int device_set_threshold(struct device *d, uint64_t number, uint64_t n_blocks)
{
    struct unit *u = device_unit(d, number);

    if (!u)
        return UV_ENOENT;
    u->threshold_blocks = n_blocks;
    u->threshold_reached = false;
    return unit_crosses_threshold(u) ? device_establish(d, u->number, ASC_THIN_THRESHOLD, NULL) : 0;
}

static void notify(struct device *d, const struct unit *u, const struct reservation_notices *notices)
{
    for (size_t n = 0; n < notices->n; n++)
        for (size_t p = 0; p < d->n_ports; p++)
            if (d->ports[p]->id == notices->items[n].port)
                attention_establish(&d->ports[p]->attentions, u->number, notices->items[n].asc);
}

/* The key of the holder, or else of anybody who is registered. */
static uint64_t key_to_preempt(const struct reservation *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->items[i].port != OTHER_PORT && reservation_is_holder(r, r->items[i].port))
            return r->items[i].key;
    for (size_t i = 0; i < r->n; i++)
        if (r->items[i].port != OTHER_PORT)
            return r->items[i].key;
    return 0;
}

int device_preempt(struct device *d, uint64_t number)
{
    struct unit *u = device_unit(d, number);
    struct reservation_request order = {.action = PROUT_REGISTER_AND_IGNORE, .action_key = OTHER_KEY};
    struct reservation_notices notices = {0};
    struct scsi_reply reply = {0};

    if (!u)
        return UV_ENOENT;
    if (key_to_preempt(&u->reservation) == 0)
        return UV_EALREADY;
    reservation_out(&u->reservation, OTHER_PORT, &order, &reply, &notices);
    order.action = PROUT_PREEMPT;
    order.type = (uint8_t)(u->reservation.type ? u->reservation.type : RESERVE_WRITE_EXCLUSIVE);
    order.key = OTHER_KEY;
    order.action_key = key_to_preempt(&u->reservation);
    reservation_out(&u->reservation, OTHER_PORT, &order, &reply, &notices);
    notify(d, u, &notices);
    reply_deinit(&reply);
    return 0;
}

int device_reset(struct device *d, int number)
{
    struct unit *u = number < 0 ? NULL : device_unit(d, (uint64_t)number);

    if (number != DEVICE_ALL_UNITS && !u)
        return UV_ENOENT;
    if (u)
        unit_reset_pages(u);
    for (size_t i = 0; !u && i < d->n_units; i++)
        unit_reset_pages(d->units[i]);
    return device_establish(d, number, u ? ASC_LUN_RESET : ASC_HARD_RESET, NULL);
}

void device_power_cycle(struct device *d)
{
    d->power_cycled = true;
    for (size_t i = 0; i < d->n_units; i++) {
        unit_reset_pages(d->units[i]);
        d->units[i]->reservation = (struct reservation){0};
    }
    while (d->n_ports > 0) {
        struct port *port = d->ports[--d->n_ports];

        attention_deinit(&port->attentions);
        free(port);
    }
}
