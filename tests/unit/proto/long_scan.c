/* SPDX-License-Identifier: Apache-2.0 */
/* event_view.c once more, without its short way: what it does is what the short way has to do. */
#define SCAN_QUICK             0
#define event_scan             long_event_scan
#define records_next           long_records_next
#define records_index          long_records_index
#define record_size            long_record_size
#define record_write           long_record_write
#define event_write_generation long_event_write_generation
#include "proto/event_view.c" /* NOLINT(bugprone-suspicious-include) */

#include "tests/unit/proto/long_scan.h"

const char *long_scan_difference(const uint8_t *bytes, size_t len, const struct event_limits *limits,
                                 const struct event_view *view, int rc, const char *err)
{
    struct event_view expected;
    char expected_err[120] = "";

    if (rc != long_event_scan(bytes, len, limits, &expected, expected_err, sizeof expected_err))
        return rc ? "refused, which the long way takes" : "taken, which the long way refuses";
    if (rc)
        return strcmp(err, expected_err) ? "refused for another reason than the long way gives" : NULL;
    return memcmp(view, &expected, sizeof expected) ? "read unlike the long way" : NULL;
}
