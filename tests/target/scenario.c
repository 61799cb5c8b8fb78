/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/target/scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "runtime/options.h"

void scenario_free(struct scenario *s)
{
    free(s->steps);
    *s = (struct scenario){0};
}

/* Take "after DURATION" off the front. Returns the rest of the line, NULL when the duration is none. */
static const char *take_after(const char *line, uint64_t *out_ms)
{
    char duration[32];
    int used = 0;

    line += strspn(line, " \t");
    *out_ms = 0;
    if (strncmp(line, "after", 5) != 0 || !strchr(" \t", line[5]))
        return line;
    if (sscanf(line, "after %31s%n", duration, &used) != 1 || options_duration_ms(duration, out_ms) < 0)
        return NULL;
    return line + used;
}

static int parse_line(struct scenario *s, const char *line, int number, char *err, size_t err_len)
{
    struct scenario_step step = {.line = number}, *steps;
    char why[160];
    const char *rest = take_after(line, &step.after_ms);
    int rc;

    snprintf(why, sizeof(why), "after: expected a duration and a verb");
    rc = rest ? verb_parse(rest, &step.verb, why, sizeof(why)) : UV_EINVAL;
    if (rc == UV_ENOENT && rest == line + strspn(line, " \t"))
        return 0;
    if (rc == 0 && s->n == SCENARIO_MAX_STEPS) {
        snprintf(why, sizeof(why), "more than %d steps", SCENARIO_MAX_STEPS);
        rc = UV_EINVAL;
    }
    if (rc < 0) {
        snprintf(err, err_len, "line %d: %s", number, why);
        return UV_EINVAL;
    }
    steps = realloc(s->steps, (s->n + 1) * sizeof(*steps));
    if (!steps)
        return UV_ENOMEM;
    s->steps = steps;
    s->steps[s->n++] = step;
    return 0;
}

int scenario_parse(struct scenario *s, const char *text, size_t len, char *err, size_t err_len)
{
    int rc = 0;

    *s = (struct scenario){0};
    for (int number = 1; len > 0 && rc == 0; number++) {
        const char *end = memchr(text, '\n', len);
        size_t n = end ? (size_t)(end - text) : len, used = end ? n + 1 : n;
        char line[VERB_MAX_BYTES + 64];

        if (n >= sizeof(line) || memchr(text, '\0', n)) {
            snprintf(err, err_len, "line %d: too long, or not text", number);
            rc = UV_EINVAL;
            break;
        }
        memcpy(line, text, n);
        line[n] = '\0';
        rc = parse_line(s, line, number, err, err_len);
        text += used;
        len -= used;
    }
    if (rc < 0)
        scenario_free(s);
    return rc;
}
