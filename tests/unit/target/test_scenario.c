/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>
#include <uv.h>

#include "tests/target/scenario.h"

static struct scenario s;
static char err[300];

static int parse(const char *text)
{
    return scenario_parse(&s, text, strlen(text), err, sizeof(err));
}

Test(scenario, steps_have_times_and_lines)
{
    cr_assert_eq(parse("# begin\nexpect sessions 1\n\n  after 1500ms drop rst\nafter 2s resize 0 5"), 0);
    cr_assert_eq(s.n, 3);
    cr_assert(s.steps[0].after_ms == 0 && s.steps[0].line == 2 && s.steps[0].verb.kind == VERB_EXPECT);
    cr_assert(s.steps[1].after_ms == 1500 && s.steps[1].line == 4 && s.steps[1].verb.kind == VERB_DROP);
    cr_assert(s.steps[2].after_ms == 2000 && s.steps[2].verb.number == 5);
    scenario_free(&s);
}

Test(scenario, faults_name_the_line)
{
    static const struct {
        const char *text, *wanted;
    } rows[] = {{"drop rst\nnonsense\n", "line 2"},
                {"after 1s\n", "line 1"},
                {"after later drop rst\n", "line 1: after"},
                {"after\n", "line 1"}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_assert_eq(parse(rows[i].text), UV_EINVAL, "row %zu", i);
        cr_assert(strstr(err, rows[i].wanted), "%s", err);
        cr_assert_null(s.steps);
    }
}

Test(scenario, is_bounded)
{
    static char text[(SCENARIO_MAX_STEPS + 1) * 5];

    for (size_t i = 0; i <= SCENARIO_MAX_STEPS; i++)
        memcpy(text + i * 5, "ping\n", 5);
    cr_assert_eq(scenario_parse(&s, text, sizeof(text), err, sizeof(err)), UV_EINVAL);
    cr_assert(strstr(err, "steps"), "%s", err);
    cr_assert_eq(scenario_parse(&s, "pi\0ng\n", 6, err, sizeof(err)), UV_EINVAL);
}
