/* SPDX-License-Identifier: Apache-2.0 */
/* Places where a test lets things go wrong: between two steps, FAILPOINT("step") fails, or kills the process.
 *
 * Only test builds with SENSEBUS_FAILPOINTS have them, and define failpoint() (tests/fault/failpoint.c); in everything
 * that ships FAILPOINT is 0 and leaves no code. */
#pragma once

#ifdef SENSEBUS_FAILPOINTS
/* 0, or the negative errno with which the step is to fail. */
int failpoint(const char *name);
#define FAILPOINT(name) failpoint(name)
#else
#define FAILPOINT(name) 0
#endif
