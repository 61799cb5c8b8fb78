/* SPDX-License-Identifier: Apache-2.0 */
/* Faults put in on purpose, to see that the tests find them: MUTANT(n) is true in a test program built with
 * SENSEBUS_MUTANTS when the environment variable SENSEBUS_MUTANT is n. In everything that ships it is the constant 0.
 *
 * A mutant that no test kills is a missing test (tests/unit/broker/core/mutants.py). */
#pragma once

#ifdef SENSEBUS_MUTANTS
#include <stdbool.h>
#include <stdlib.h>

static inline bool mutant_is(int n)
{
    const char *chosen = getenv("SENSEBUS_MUTANT");
    return chosen && atoi(chosen) == n;
}
#define MUTANT(n) mutant_is(n)
#else
#define MUTANT(n) 0
#endif
