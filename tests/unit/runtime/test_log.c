/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "runtime/log.h"

/* Standard error into a file while `write_line` runs. */
static void capture(void (*write_line)(void), char *out, size_t cap)
{
    FILE *file = tmpfile();
    int saved = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    write_line();
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(file);
    size_t n = fread(out, 1, cap - 1, file);
    out[n] = 0;
    fclose(file);
}

static void write_hostile(void)
{
    log_info("agent.attached", "host=%s", "evil\nerror forged.line \x1b[31m");
}

Test(log, keeps_one_call_on_one_line)
{
    char text[512];
    capture(write_hostile, text, sizeof text);
    cr_assert_eq(strchr(text, '\n'), text + strlen(text) - 1);
    cr_assert_not_null(strstr(text, "info  agent.attached host=evil\\x0aerror forged.line \\x1b[31m"), "%s", text);
}

static void write_huge(void)
{
    static char value[20000];
    memset(value, 1, sizeof value - 1);
    log_error("big", "value=%s", value);
}

Test(log, bounds_a_line)
{
    static char text[40000];
    capture(write_huge, text, sizeof text);
    cr_assert_lt(strlen(text), 4300);
    cr_assert_eq(text[strlen(text) - 1], '\n');
}

static void write_debug(void)
{
    log_debug("hidden", "x=1");
}

Test(log, drops_lines_below_the_level)
{
    char text[64];
    capture(write_debug, text, sizeof text);
    cr_assert_str_empty(text);
    log_set_level(LOG_LEVEL_DEBUG);
    capture(write_debug, text, sizeof text);
    cr_assert_not_null(strstr(text, "hidden x=1"));
}

Test(log, parses_levels)
{
    enum log_level level = LOG_LEVEL_INFO;
    cr_assert_eq(log_parse_level("error", &level), 0);
    cr_assert_eq(level, LOG_LEVEL_ERROR);
    cr_assert_eq(log_parse_level("loud", &level), UV_EINVAL);
    cr_assert_eq(level, LOG_LEVEL_ERROR);
}

Test(log, limit_allows_a_burst_then_one_a_second_and_counts_the_rest)
{
    struct log_limit limit = {0};
    uint64_t suppressed = 99;
    for (int i = 0; i < 3; i++)
        cr_assert(log_limit_allow(&limit, 1000, 3, &suppressed));
    cr_assert_eq(suppressed, 0);
    for (int i = 0; i < 5; i++)
        cr_assert_not(log_limit_allow(&limit, 1500, 3, &suppressed));
    cr_assert(log_limit_allow(&limit, 2000, 3, &suppressed));
    cr_assert_eq(suppressed, 5);
    cr_assert_not(log_limit_allow(&limit, 2001, 3, &suppressed));
    cr_assert(log_limit_allow(&limit, 900000, 3, &suppressed));
    cr_assert_eq(suppressed, 1);
}
