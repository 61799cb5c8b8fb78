/* SPDX-License-Identifier: Apache-2.0 */
/* `sensebus-agent check`: the table of what this agent could watch here with its options, why not, and what to grant.
 *
 * Nothing is armed, started or written, and no target is asked. */
#pragma once

#include <stdio.h>

struct config;

void check_print(const struct config *config, FILE *out);
