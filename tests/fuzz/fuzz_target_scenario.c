/* SPDX-License-Identifier: Apache-2.0 */
/* Scenarios of sensebus-target, and with them each of its verbs. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/target/scenario.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct scenario s = {0};
    char err[300] = "";

    if (scenario_parse(&s, (const char *)data, size, err, sizeof(err)) < 0 && (s.steps || err[0] == '\0'))
        abort();
    for (size_t i = 0; i < s.n; i++)
        if (s.steps[i].verb.data_len > VERB_DATA_MAX || s.steps[i].verb.lun < VERB_ALL_UNITS ||
            !memchr(s.steps[i].verb.word, '\0', VERB_MAX_BYTES))
            abort();
    scenario_free(&s);
    return 0;
}
