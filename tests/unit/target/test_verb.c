/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>
#include <uv.h>

#include "tests/target/verb.h"

static struct verb v;
static char err[200];

static int parse(const char *line)
{
    return verb_parse(line, &v, err, sizeof(err));
}

Test(verb, arguments_are_read)
{
    cr_assert_eq(parse("resize 0x10 4096 # comment"), 0);
    cr_assert(v.kind == VERB_RESIZE && v.lun == 16 && v.number == 4096);
    cr_assert_eq(parse("sense 1 6/3f/0E"), 0);
    cr_assert(v.has_sense && v.data_len == 18 && v.data[2] == 6 && v.data[12] == 0x3f && v.data[13] == 0x0e);
    cr_assert_eq(parse("sense 1 hex:"), 0);
    cr_assert_eq(v.data_len, 0);
    cr_assert_eq(parse("async 255 3 raw:C0fe 1 2 3"), 0);
    cr_assert(!v.has_sense && v.number == 255 && v.lun == 3 && v.data_len == 2 && v.parameters[2] == 3);
    cr_assert_eq(parse("attention all 2a/09"), 0);
    cr_assert(v.lun == VERB_ALL_UNITS && v.asc == 0x2a09);
    cr_assert_eq(parse("reboot"), 0);
    cr_assert_eq(v.ms, 1000);
    cr_assert_eq(parse("expect pending 0 250ms"), 0);
    cr_assert(strcmp(v.word, "pending") == 0 && v.ms == 250);
}

Test(verb, nothing_is_no_error)
{
    cr_assert_eq(parse(""), UV_ENOENT);
    cr_assert_eq(parse("  # only this"), UV_ENOENT);
}

Test(verb, errors_name_the_word)
{
    static const struct {
        const char *line, *text;
    } rows[] = {
        {"nonsense", "\"nonsense\""},
        {"resize", "an argument is missing"},
        {"resize x 1", "\"x\": expected a LUN"},
        {"resize 16384 1", "\"16384\""},
        {"sense 0 6/29", "\"6/29\""},
        {"sense 0 16/00/00", "\"16/00/00\""},
        {"sense 0 hex:0", "\"hex:0\""},
        {"drop", "an argument is missing"},
        {"drop fi", "fin|rst"},
        {"hang maybe", "on or off"},
        {"slow fast", "a duration"},
        {"garbage zz", "in hex"},
        {"ping 1", "nothing more"},
        {"alua 0 |", "optimized"},
        {"health 0 5d", "ASC/ASCQ"},
        {"async 0 0 raw: 65536", "65535"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_assert_eq(parse(rows[i].line), UV_EINVAL, "%s", rows[i].line);
        cr_assert(strstr(err, rows[i].text), "%s: %s", rows[i].line, err);
    }
}

Test(verb, a_long_line_is_refused)
{
    char line[VERB_MAX_BYTES + 100];

    memset(line, ' ', sizeof(line));
    line[sizeof(line) - 1] = '\0';
    cr_assert_eq(parse(line), UV_EINVAL);
}
