/* SPDX-License-Identifier: Apache-2.0 */
/* What changed at a served target, as an event record.
 *
 * The served target is the adapter ("tgt1"). Nexus records are of scope TARGET, and their target is the initiator, as
 * in the address of a target-mode session; all others are of scope ADAPTER: they concern every session with the served
 * target, and name it. A unit that came or went is in the address (lun). Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/record.h"
#include "agent/target/snapshot.h"

/* Who saw it. */
struct change_source {
    const char *adapter_prefix; /* "tgt" */
    int32_t controller_base;
    const char *native_name; /* "tgtd-state" */
    bool synthetic;          /* found by comparing states */
};

/* Holds what the record points to. */
struct change_text {
    char adapter[16];
    char detail[512];
};

/* `initiator_number`: of the initiator for LOGIN and LOGOUT, -1 if it has none. Times are left to the caller. */
void change_record(const struct change_source *source, const struct snapshot_change *change, int32_t initiator_number,
                   struct change_text *text, struct record *out);

/* What the source itself ran into, told for each target that it had shown before. */
enum change_outage {
    CHANGE_UNREACHABLE, /* it does not answer: the adapter is suspect */
    CHANGE_GONE,        /* nobody serves the target any more */
    CHANGE_BACK,        /* it is served again, by a fresh process */
};
void change_outage_record(const struct change_source *source, const struct snapshot_target *target,
                          enum change_outage outage, const char *reason, struct change_text *text, struct record *out);
void change_adapter_name(const struct change_source *source, int32_t number, char out[16]);
