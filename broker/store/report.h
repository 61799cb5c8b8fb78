/* SPDX-License-Identifier: Apache-2.0 */
/* What a check found, as text or as one JSON object, written while it is found: nothing is collected.
 *
 * JSON is valid and text cannot steer a terminal, whatever the file held. Numbers of 64 bits are strings in JSON, as in
 * protobuf's mapping. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "broker/store/check.h"

struct report {
    FILE *out;
    const char *directory;
    bool json;
    bool any; /* a finding was written */
};

extern const struct check_ops report_ops; /* `data` is the report */

void report_begin(struct report *r);
void report_end(struct report *r, const struct check_summary *summary, bool deep);
/* Instead of report_end: nothing could be said, because of `reason`. */
void report_fail(struct report *r, const char *reason);
/* The log cannot be used as it is: damage, or a crash of the machine in relaxed mode. */
bool report_is_damaged(const struct check_summary *summary);
