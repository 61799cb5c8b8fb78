/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "broker/core/adapter/state.h"
#include "proto/wire.h"

void text_copy(char *out, size_t size, const char *text)
{
    size_t len = strlen(text), n = 0;
    for (size_t i = 0; i < len;) {
        uint32_t point;
        size_t step = utf8_decode((const uint8_t *)text + i, len - i, &point);
        size_t bytes = step ? step : 1;
        if (n + bytes + 1 > size)
            break;
        if (step)
            memcpy(out + n, text + i, step);
        else
            out[n] = '?'; /* what the network gets is UTF-8 */
        n += bytes;
        i += bytes;
    }
    out[n] = '\0';
}

void text_time(char out[24], uint64_t wall_ns)
{
    time_t seconds = (time_t)(wall_ns / 1000000000u);
    struct tm tm;
    if (!gmtime_r(&seconds, &tm) || strftime(out, 24, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(out, 24, "%" PRIu64 " ns", wall_ns);
}
