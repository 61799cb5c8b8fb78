/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "runtime/clock.h"

#define LINE_MAX_BYTES 4096

static enum log_level threshold = LOG_LEVEL_INFO;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_set_level(enum log_level level)
{
    threshold = level;
}

int log_parse_level(const char *text, enum log_level *out_level)
{
    for (unsigned i = 0; i < sizeof level_names / sizeof *level_names; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *out_level = (enum log_level)i;
            return 0;
        }
    }
    return UV_EINVAL;
}

bool log_enabled(enum log_level level)
{
    return level >= threshold;
}

/* Copy with control characters as \xNN, so that one call is one line. Returns the bytes written. */
static size_t escape_into(char *out, size_t cap, const char *text)
{
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p >= 0x20 && *p != 0x7f) {
            if (n + 1 > cap)
                break;
            out[n++] = (char)*p;
        } else {
            if (n + 4 > cap)
                break;
            static const char hex[] = "0123456789abcdef";
            out[n++] = '\\';
            out[n++] = 'x';
            out[n++] = hex[*p >> 4];
            out[n++] = hex[*p & 15];
        }
    }
    return n;
}

void log_write(enum log_level level, const char *event, const char *format, ...)
{
    if (!log_enabled(level))
        return;
    char text[LINE_MAX_BYTES], line[LINE_MAX_BYTES + 128], stamp[32];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);

    uint64_t now = clock_wall_ns();
    time_t seconds = (time_t)(now / 1000000000u);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    int head = snprintf(line, sizeof line, "%s.%03uZ %-5s %s%s", stamp, (unsigned)(now / 1000000u % 1000u),
                        level_names[level], event, text[0] ? " " : "");
    size_t n = head < 0 ? 0 : (size_t)head < sizeof line ? (size_t)head : sizeof line - 1;
    n += escape_into(line + n, sizeof line - 1 - n, text);
    line[n++] = '\n';
    /* One write a line: lines of several processes on one pipe do not mix. A log that cannot be written is lost. */
    ssize_t written = write(STDERR_FILENO, line, n);
    (void)written;
}

bool log_limit_allow(struct log_limit *limit, uint64_t now_ms, uint32_t burst, uint64_t *out_suppressed)
{
    uint64_t regained = limit->last_ms ? (now_ms - limit->last_ms) / 1000 : 0;
    if (regained > 0 || limit->last_ms == 0) {
        limit->used = regained >= limit->used ? 0 : limit->used - (uint32_t)regained;
        limit->last_ms = limit->last_ms ? limit->last_ms + regained * 1000 : now_ms;
    }
    if (limit->used >= burst) {
        limit->n_suppressed++;
        return false;
    }
    limit->used++;
    if (out_suppressed)
        *out_suppressed = limit->n_suppressed;
    limit->n_suppressed = 0;
    return true;
}
