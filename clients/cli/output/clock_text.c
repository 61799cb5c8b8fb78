/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/output/clock_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS_PER_S  1000000000u
#define NS_PER_MS 1000000u

static void split(uint64_t unix_ns, bool utc, struct tm *tm)
{
    time_t seconds = (time_t)(unix_ns / NS_PER_S);
    memset(tm, 0, sizeof *tm);
    if (utc)
        gmtime_r(&seconds, tm);
    else
        localtime_r(&seconds, tm);
}

const char *clock_text_short(uint64_t unix_ns, uint64_t now_ns, bool utc, char buf[CLOCK_TEXT_BYTES])
{
    if (unix_ns == 0)
        return strcpy(buf, "-");
    struct tm tm, today;
    split(unix_ns, utc, &tm);
    split(now_ns, utc, &today);
    bool same_day = tm.tm_year == today.tm_year && tm.tm_yday == today.tm_yday;
    size_t n = strftime(buf, CLOCK_TEXT_BYTES, same_day ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &tm);
    snprintf(buf + n, CLOCK_TEXT_BYTES - n, ".%03u%s", (unsigned)(unix_ns % NS_PER_S / NS_PER_MS), utc ? "Z" : "");
    return buf;
}

const char *clock_text_full(uint64_t unix_ns, bool utc, char buf[CLOCK_TEXT_BYTES])
{
    if (unix_ns == 0)
        return strcpy(buf, "-");
    struct tm tm;
    split(unix_ns, utc, &tm);
    size_t n = strftime(buf, CLOCK_TEXT_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(buf + n, CLOCK_TEXT_BYTES - n, ".%09u", (unsigned)(unix_ns % NS_PER_S));
    if (utc) {
        snprintf(buf + n, CLOCK_TEXT_BYTES - n, "Z");
    } else {
        long minutes = tm.tm_gmtoff / 60;
        snprintf(buf + n, CLOCK_TEXT_BYTES - n, "%c%02ld:%02ld", minutes < 0 ? '-' : '+', labs(minutes) / 60 % 100,
                 labs(minutes) % 60);
    }
    return buf;
}

const char *clock_text_ago(uint64_t unix_ns, uint64_t now_ns, char buf[CLOCK_TEXT_BYTES])
{
    if (unix_ns == 0)
        return strcpy(buf, "-");
    /* Clocks of hosts differ: what seems to come from the future is now. */
    uint64_t s = now_ns > unix_ns ? (now_ns - unix_ns) / NS_PER_S : 0;
    if (s < 100)
        snprintf(buf, CLOCK_TEXT_BYTES, "%" PRIu64 "s ago", s);
    else if (s < 100 * 60)
        snprintf(buf, CLOCK_TEXT_BYTES, "%" PRIu64 "m ago", s / 60);
    else if (s < 48 * 3600)
        snprintf(buf, CLOCK_TEXT_BYTES, "%" PRIu64 "h ago", s / 3600);
    else
        snprintf(buf, CLOCK_TEXT_BYTES, "%" PRIu64 "d ago", s / 86400);
    return buf;
}
