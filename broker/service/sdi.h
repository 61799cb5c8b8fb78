/* SPDX-License-Identifier: Apache-2.0 */
/* The Sdi service: Listen, NotifyEvent and Xaen, around the rules of broker/core/sdi.h. Role kernel.
 *
 * Listen and NotifyEvent are the driver events; Xaen is the other code space: it becomes a record in the log and
 * reaches sessions of the Adapter face as every record does (xaen.h). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "broker/core/sdi.h"
#include "runtime/log.h"

struct adapter_where;
struct broker;

struct sdi_service {
    struct broker *broker;
    struct sdi *rules; /* NULL when not started */
    uv_timer_t timer;  /* the earliest deadline */
    uint64_t due_ns;   /* what it is set to */
    bool timer_open;
    uint64_t n_device_failed; /* of sdi_service_device_event */
    uint64_t n_told;          /* sessions told by Xaen */
    struct log_limit device_limit, listen_limit;
};

/* Returns 0 or a negative errno. */
int sdi_service_start(struct sdi_service *service, struct broker *broker);
/* Every call is over. Frees the rules and closes the timer. */
void sdi_service_stop(struct sdi_service *service);

/* Zeros when not started. */
void sdi_service_counters(const struct sdi_service *service, struct sdi_counters *out);

/* The broker's own driver event: SDI_FIRSTOPEN, SDI_LASTCLOSE or SDI_LASTCLOSE_ERR of the device at `where` of `host`.
 * Verdicts are not waited for here; that a handler failed is logged and counted. Before the start and after the stop
 * nobody hears it. */
void sdi_service_device_event(struct broker *b, int32_t event_type, const char *host,
                              const struct adapter_where *where);
