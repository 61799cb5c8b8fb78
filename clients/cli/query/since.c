/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/query/since.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#include "runtime/options.h"

#define NS_PER_S 1000000000u

/* ------------------------------------------------------------------------------------------------ RFC 3339 */

/* Exactly `n` digits within min..max. */
static bool read_digits(const char **at, unsigned n, int min, int max, int *out)
{
    int value = 0;
    for (unsigned i = 0; i < n; i++) {
        if (!isdigit((unsigned char)(*at)[i]))
            return false;
        value = value * 10 + ((*at)[i] - '0');
    }
    *at += n;
    *out = value;
    return value >= min && value <= max;
}

static bool read_char(const char **at, char c)
{
    if (**at != c)
        return false;
    (*at)++;
    return true;
}

static bool read_date(const char **at, struct tm *tm)
{
    int year, month;
    if (!read_digits(at, 4, 1970, 2261, &year) || !read_char(at, '-') || !read_digits(at, 2, 1, 12, &month) ||
        !read_char(at, '-') || !read_digits(at, 2, 1, 31, &tm->tm_mday))
        return false;
    tm->tm_year = year - 1900;
    tm->tm_mon = month - 1;
    return true;
}

/* HH:MM, HH:MM:SS, HH:MM:SS.fraction */
static bool read_clock(const char **at, struct tm *tm, uint32_t *out_ns)
{
    if (!read_digits(at, 2, 0, 23, &tm->tm_hour) || !read_char(at, ':') || !read_digits(at, 2, 0, 59, &tm->tm_min))
        return false;
    if (!read_char(at, ':'))
        return true;
    if (!read_digits(at, 2, 0, 60, &tm->tm_sec))
        return false;
    if (!read_char(at, '.'))
        return true;
    uint32_t scale = NS_PER_S / 10;
    if (!isdigit((unsigned char)**at))
        return false;
    for (; isdigit((unsigned char)**at); (*at)++) {
        *out_ns += (uint32_t)(**at - '0') * scale;
        scale /= 10;
    }
    return true;
}

/* "Z", "+01:00" or nothing (local time). */
static bool read_zone(const char **at, bool *out_local, long *out_offset_s)
{
    int hours, minutes;
    char c = **at;
    *out_local = c == 0;
    *out_offset_s = 0;
    if (c == 0)
        return true;
    (*at)++;
    if (c == 'Z' || c == 'z')
        return true;
    if ((c != '+' && c != '-') || !read_digits(at, 2, 0, 23, &hours) || !read_char(at, ':') ||
        !read_digits(at, 2, 0, 59, &minutes))
        return false;
    *out_offset_s = (c == '-' ? -60L : 60L) * (hours * 60 + minutes);
    return true;
}

static bool parse_time(const char *text, uint64_t *out_unix_ns)
{
    struct tm tm = {.tm_isdst = -1};
    uint32_t ns = 0;
    bool local = true;
    long offset_s = 0;
    const char *at = text;
    if (!read_date(&at, &tm))
        return false;
    int day = tm.tm_mday;
    if (*at) {
        if (*at != 'T' && *at != 't' && *at != ' ')
            return false;
        at++;
        if (!read_clock(&at, &tm, &ns) || !read_zone(&at, &local, &offset_s))
            return false;
    }
    time_t seconds = local ? mktime(&tm) : timegm(&tm) - offset_s;
    /* mktime makes 31 April into 1 May. */
    if (*at || seconds < 0 || tm.tm_mday != day)
        return false;
    *out_unix_ns = (uint64_t)seconds * NS_PER_S + ns;
    return true;
}

/* ------------------------------------------------------------------------------------------------ the rest */

/* "EPOCH.SEQUENCE"; the broker's messages write it as 16 digits, ':', sequence. */
static bool parse_position(const char *text, struct since *s)
{
    const char *dot = strpbrk(text, ".:");
    if (!dot || dot == text || dot - text > 16 || (*dot == ':' && dot - text != 16))
        return false;
    s->epoch = 0;
    for (const char *p = text; p < dot; p++) {
        if (!isxdigit((unsigned char)*p))
            return false;
        int digit = isdigit((unsigned char)*p) ? *p - '0' : tolower((unsigned char)*p) - 'a' + 10;
        s->epoch = s->epoch << 4 | (unsigned)digit;
    }
    return options_uint(dot + 1, &s->sequence) == 0;
}

static bool parse_ago(const char *text, uint64_t now_ns, uint64_t *out_unix_ns)
{
    uint64_t ms;
    size_t len = strlen(text);
    /* A bare number could be a sequence as well: say which. */
    if (len == 0 || isdigit((unsigned char)text[len - 1]) || options_duration_ms(text, &ms) != 0)
        return false;
    *out_unix_ns = ms < now_ns / 1000000 ? now_ns - ms * 1000000 : 0;
    return true;
}

int since_parse(const char *text, uint64_t now_ns, struct since *out_since, char *err, size_t err_len)
{
    struct since s = {0};
    if (strcmp(text, "now") == 0)
        s.kind = SINCE_NOW;
    else if (strcmp(text, "oldest") == 0)
        s.kind = SINCE_OLDEST;
    else if (text[0] == '#' && options_uint(text + 1, &s.sequence) == 0)
        s.kind = SINCE_SEQUENCE;
    else if (parse_ago(text, now_ns, &s.unix_ns) || parse_time(text, &s.unix_ns))
        s.kind = SINCE_TIME;
    else if (parse_position(text, &s))
        s.kind = SINCE_POSITION;
    else {
        snprintf(err, err_len,
                 "'%.80s' is no point to start from (now, oldest, 5m, 2026-01-31T12:00:00Z, #884213, EPOCH.SEQUENCE)",
                 text);
        return UV_EINVAL;
    }
    *out_since = s;
    return 0;
}

const char *position_text(uint64_t epoch, uint64_t sequence, char buf[POSITION_TEXT_BYTES])
{
    snprintf(buf, POSITION_TEXT_BYTES, "%" PRIx64 ".%" PRIu64, epoch, sequence);
    return buf;
}
