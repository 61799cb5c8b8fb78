/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/query/since.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#define NOW 1800000000000000000u /* 2027-01-15T08:00:00Z */

static struct since parse(const char *text)
{
    struct since s = {0};
    char err[256] = "";
    cr_assert_eq(since_parse(text, NOW, &s, err, sizeof err), 0, "%s: %s", text, err);
    return s;
}

Test(since, words)
{
    cr_expect_eq(parse("now").kind, SINCE_NOW);
    cr_expect_eq(parse("oldest").kind, SINCE_OLDEST);
}

Test(since, ages_count_back_from_now)
{
    cr_expect_eq(parse("5m").kind, SINCE_TIME);
    cr_expect_eq(parse("5m").unix_ns, NOW - 300 * 1000000000ull);
    cr_expect_eq(parse("1500ms").unix_ns, NOW - 1500 * 1000000ull);
    cr_expect_eq(parse("99999999d").unix_ns, 0, "longer ago than time itself is from the beginning");
}

Test(since, rfc3339)
{
    cr_expect_eq(parse("2027-01-15T08:00:00Z").unix_ns, NOW);
    cr_expect_eq(parse("2027-01-15t08:00:00z").unix_ns, NOW);
    cr_expect_eq(parse("2027-01-15T08:00Z").unix_ns, NOW);
    cr_expect_eq(parse("2027-01-15T09:30:00+01:30").unix_ns, NOW);
    cr_expect_eq(parse("2027-01-15T03:00:00-05:00").unix_ns, NOW);
    cr_expect_eq(parse("2027-01-15T08:00:00.123456789Z").unix_ns, NOW + 123456789);
    cr_expect_eq(parse("2027-01-15T08:00:00.5Z").unix_ns, NOW + 500000000);
    cr_expect_eq(parse("2027-01-15T08:00:00.1234567899Z").unix_ns, NOW + 123456789, "finer than ns is cut");
    cr_expect_eq(parse("1970-01-01T00:00:00Z").unix_ns, 0);
}

Test(since, without_a_zone_it_is_local_time)
{
    setenv("TZ", "UTC-2", 1); /* two hours east */
    tzset();
    cr_expect_eq(parse("2027-01-15T10:00:00").unix_ns, NOW);
    cr_expect_eq(parse("2027-01-15 10:00").unix_ns, NOW);
    cr_expect_eq(parse("2027-01-15").unix_ns, NOW - 10 * 3600 * 1000000000ull);
}

Test(since, sequences_and_positions)
{
    struct since s = parse("#884213");
    cr_expect_eq(s.kind, SINCE_SEQUENCE);
    cr_expect_eq(s.sequence, 884213);
    s = parse("9f3c21d4.884213");
    cr_expect_eq(s.kind, SINCE_POSITION);
    cr_expect_eq(s.epoch, 0x9f3c21d4);
    cr_expect_eq(s.sequence, 884213);
    s = parse("000000009f3c21d4:884214"); /* as the broker writes it */
    cr_expect_eq(s.kind, SINCE_POSITION);
    cr_expect_eq(s.epoch, 0x9f3c21d4);
    cr_expect_eq(s.sequence, 884214);
    s = parse("ffffffffffffffff.0");
    cr_expect_eq(s.epoch, UINT64_MAX);
}

Test(since, a_printed_position_reads_back)
{
    char text[POSITION_TEXT_BYTES];
    struct since s = parse(position_text(UINT64_MAX, UINT64_MAX, text));
    cr_expect_eq(s.epoch, UINT64_MAX);
    cr_expect_eq(s.sequence, UINT64_MAX);
}

Test(since, refuses_what_it_does_not_understand)
{
    static const char *const texts[] = {
        "",
        "5",
        "yesterday",
        "#",
        "#x",
        "#-1",
        "5x",
        "-5m",
        ".5",
        "x.5",
        "12345678901234567.5",
        "9f.",
        "9f.x",
        "2027-13-01",
        "2027-02-30",
        "2027-04-31T00:00:00Z",
        "2027-01-15T25:00:00Z",
        "2027-01-15T08:00:00+25:00",
        "2027-01-15T08:00:00.Z",
        "2027-01-15T08:00:00Zjunk",
        "2027-01-15T",
        "1969-12-31T23:59:59Z",
        "20270115",
        "99999999999999999999.1",
        "1.99999999999999999999",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct since s;
        char err[256] = "";
        cr_expect_eq(since_parse(texts[i], NOW, &s, err, sizeof err), UV_EINVAL, "'%s'", texts[i]);
        cr_expect(strstr(err, "is no point"), "'%s': %s", texts[i], err);
    }
}
