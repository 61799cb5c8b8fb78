/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/service/xaen.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/adapter/adapter.h"
#include "broker/core/sdi.h"
#include "broker/service/announce.h"
#include "broker/service/broker.h"
#include "proto/wire.h"

/* ---- what is asked */

static int check_member(const char *name, int32_t value, char *err, size_t err_len)
{
    if (value >= -1)
        return 0;
    snprintf(err, err_len, "XaenRequest.%s: %" PRId32 " is below -1, which means all", name, value);
    return UV_EINVAL;
}

/* A16 */
static int check(const Sensebus__V1__XaenRequest *r, char *err, size_t err_len)
{
    if (r->hba < 0) {
        snprintf(err, err_len, "XaenRequest.hba: %" PRId32 ": has no wildcard, name one adapter", r->hba);
        return UV_EINVAL;
    }
    if (strlen(r->host) > SDI_MAX_HOST) {
        snprintf(err, err_len, "XaenRequest.host: more than %d bytes", SDI_MAX_HOST);
        return UV_EINVAL;
    }
    int rc = check_member("scsi_id", r->scsi_id, err, err_len);
    if (!rc)
        rc = check_member("lun", r->lun, err, err_len);
    return rc || r->aen ? rc : check_member("bus", r->bus, err, err_len);
}

/* What it becomes. Of all devices, all units: a unit number means nothing then. */
struct meaning {
    Sensebus__V1__Code code;
    Sensebus__V1__Scope scope;
    int32_t bus, target, lun;
};

static struct meaning meaning_of(const Sensebus__V1__XaenRequest *r)
{
    struct meaning m = {.bus = r->aen ? -1 : r->bus, .target = r->scsi_id, .lun = r->scsi_id < 0 ? -1 : r->lun};
    Sensebus__V1__Code reset;

    if (m.target < 0) {
        m.scope = SENSEBUS__V1__SCOPE__SCOPE_BUS;
        reset = SENSEBUS__V1__CODE__BUS_RESET;
    } else if (m.lun < 0) {
        m.scope = SENSEBUS__V1__SCOPE__SCOPE_TARGET;
        reset = SENSEBUS__V1__CODE__TARGET_RESET;
    } else {
        m.scope = SENSEBUS__V1__SCOPE__SCOPE_LUN;
        reset = SENSEBUS__V1__CODE__LUN_RESET;
    }
    switch (r->event) {
    case XAEN_FLT_RESET: m.code = reset; break;
    case XAEN_FLT_PTHRU: m.code = SENSEBUS__V1__CODE__PASSTHROUGH_USED; break;
    case XAEN_TARMOD_WRCOMP: m.code = SENSEBUS__V1__CODE__TARGET_WRITE_COMPLETE; break;
    default: m.code = SENSEBUS__V1__CODE__PRIVATE; break;
    }
    return m;
}

/* ---- whom it touches */

/* Where at least one session is. */
struct touched {
    const char *host, *adapter; /* the rules' own */
    int32_t bus;
};
struct touched_list {
    struct touched *all;
    size_t n, cap;
    uint32_t n_sessions;
    bool any_bus; /* the bus makes no difference */
    bool no_memory;
};

static int by_place(const void *a, const void *b)
{
    const struct touched *x = a, *y = b;
    int order = strcmp(x->host, y->host);

    if (!order)
        order = strcmp(x->adapter, y->adapter);
    return order ? order : (x->bus > y->bus) - (x->bus < y->bus);
}

/* Sort, and keep one of each. */
static void touched_unite(struct touched_list *l)
{
    size_t n = 0;

    if (l->n)
        qsort(l->all, l->n, sizeof *l->all, by_place);
    for (size_t i = 0; i < l->n; i++)
        if (!n || by_place(&l->all[n - 1], &l->all[i]))
            l->all[n++] = l->all[i];
    l->n = n;
}

static void on_touched(void *data, const char *host, const char *adapter, int32_t bus)
{
    struct touched_list *l = data;
    struct touched place = {.host = host, .adapter = adapter, .bus = l->any_bus ? -1 : bus};

    l->n_sessions++;
    if (l->n && !by_place(&l->all[l->n - 1], &place)) /* the usual case: neighbours are alike */
        return;
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 16;
        struct touched *all = realloc(l->all, cap * sizeof *all);
        if (!all) {
            l->no_memory = true;
            return;
        }
        l->all = all;
        l->cap = cap;
    }
    l->all[l->n++] = place;
}

/* ---- telling them */

static const char *number_text(char out[16], int32_t value)
{
    snprintf(out, 16, "%" PRId32, value);
    return value < 0 ? "any" : out;
}

static int tell(struct broker *b, const Sensebus__V1__XaenRequest *r, const struct meaning *m,
                const struct touched *where, const char *sender)
{
    const uint32_t var[2] = {(uint32_t)r->var, (uint32_t)(r->var >> 32)};
    char summary[512], bus[16], target[16], lun[16];
    struct announce_reported reported = {
        .code = m->code,
        .scope = m->scope,
        .host = where->host,
        .adapter = where->adapter,
        .controller = r->hba,
        .bus = where->bus,
        .target = m->target,
        .lun = m->lun,
        .native_name = r->aen ? "sdi_aen" : "sdi_xaen",
        .native_code = (uint32_t)r->event,
        .parameters = var,
        .n_parameters = r->aen ? 0 : 2,
        .reporter = sender,
        .summary = summary,
    };

    snprintf(summary, sizeof summary, "%s(%" PRId32 ") on %s/%s bus %s target %s lun %s by %s", reported.native_name,
             r->event, where->host, where->adapter, number_text(bus, where->bus), number_text(target, m->target),
             number_text(lun, m->lun), sender);
    return announce_reported(b, &reported);
}

int xaen_take(struct broker *b, const Sensebus__V1__XaenRequest *request, const char *sender, uint32_t *out_n_told,
              char *err, size_t err_len)
{
    struct meaning m = meaning_of(request);
    struct touched_list list = {.any_bus = m.target < 0 && m.bus < 0};
    int rc = check(request, err, err_len);

    if (rc)
        return rc;
    if (!broker_accepting(b)) {
        snprintf(err, err_len, "not accepting: %s", b->not_accepting);
        return UV_EAGAIN;
    }
    adapter_touched(b->adapter.core, request->host, request->hba, m.bus, m.target, m.lun, on_touched, &list);
    touched_unite(&list);
    rc = list.no_memory ? UV_ENOMEM : 0;
    for (size_t i = 0; !rc && i < list.n; i++)
        rc = tell(b, request, &m, &list.all[i], sender);
    free(list.all);
    if (rc)
        snprintf(err, err_len, "%s", rc == UV_ENOBUFS ? "too much waits for the disk" : "out of memory");
    else
        *out_n_told = list.n_sessions;
    return rc;
}
