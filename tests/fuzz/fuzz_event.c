/* SPDX-License-Identifier: Apache-2.0 */
/* What event_scan accepts decodes with protobuf-c, and reads the same there; its short way decides as its long way. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/event_view.h"
#include "tests/unit/proto/decoded_view.h"
#include "tests/unit/proto/long_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void scan(const uint8_t *bytes, size_t len, bool from_agent)
{
    struct event_view view;
    struct event_limits limits = {.allow_broker_fields = !from_agent};
    char err[120];

    int rc = event_scan(bytes, len, &limits, &view, err, sizeof(err));
    const char *difference = long_scan_difference(bytes, len, &limits, &view, rc, err);
    if (!difference && rc == 0)
        difference = decoded_view_difference(&view);
    if (difference) {
        fprintf(stderr, "fuzz_event: %s\n", difference);
        abort();
    }
    if (rc == 0 && from_agent) { /* then it becomes a record, which must be one that the broker accepts */
        uint8_t *record = malloc(record_size(len));
        const uint8_t *cursor = record, *event, *end;
        size_t event_len;
        if (!record)
            abort();
        end = record + record_write(record, bytes, len, 7, 8);
        if (!records_next(&cursor, end, &event, &event_len) || cursor != end)
            abort();
        limits.allow_broker_fields = true;
        limits.max_event_bytes = event_len;
        if (event_scan(event, event_len, &limits, &view, err, sizeof(err)) != 0 || view.sequence != 7 ||
            view.broker_time_ns != 8)
            abort();
        free(record);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { MAX_STARTS = 64 };
    const uint8_t *cursor = data, *event;
    uint32_t starts[MAX_STARTS];
    size_t event_len, len, n = records_index(data, size, 0, starts, MAX_STARTS, &len);

    scan(data, size, true);
    scan(data, size, false);
    for (size_t i = 0;; i++) {
        if (i < n ? starts[i] != cursor - data : i == n && len != (size_t)(cursor - data))
            abort();
        if (!records_next(&cursor, data + size, &event, &event_len)) {
            if (i < n)
                abort();
            return 0;
        }
        scan(event, event_len, false);
    }
}
