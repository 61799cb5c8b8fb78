/* SPDX-License-Identifier: Apache-2.0 */
/* Which mutant a program of the tests is (broker/core/mutant.h), by the environment variable SENSEBUS_MUTANT. */
#include <stdlib.h>

#include "broker/core/mutant.h"

int sensebus_mutation;

__attribute__((constructor)) static void choose(void)
{
    const char *text = getenv("SENSEBUS_MUTANT");
    sensebus_mutation = text ? atoi(text) : 0;
}
