/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/check_ahead.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int on_frame(void *data, const struct redo_frame *frame)
{
    const struct check_ahead *check = data;
    return check->on_frame(check->data, frame);
}

static void on_damage(void *data, uint64_t from, uint64_t to)
{
    const struct check_ahead *check = data;
    char reason[128];

    snprintf(reason, sizeof reason,
             "write-ahead log: transactions are missing between its bytes %" PRIu64 " and %" PRIu64, from, to);
    check->on_fault(check->data, reason);
}

int check_ahead(const char *directory, const struct check_ahead *check)
{
    static const struct redo_scan_ops ops = {on_frame, on_damage};
    struct redo_scan_result result;
    uint8_t *bytes;
    size_t len;
    int rc = redo_load(directory, &bytes, &len);

    if (rc)
        return rc;
    /* The callbacks change nothing of it. */
    rc = redo_scan(bytes, len, check->epoch, check->applied, &ops, (void *)(uintptr_t)check, &result);
    free(bytes);
    if (!rc && result.is_torn)
        check->on_fault(check->data, "write-ahead log: its first block is damaged, what it holds is not known");
    else if (!rc && !result.is_ours && check->must_be)
        check->on_fault(check->data, "write-ahead log: the file redo is missing, or of another log; what it held is a "
                                     "hole after the next start");
    return rc;
}
