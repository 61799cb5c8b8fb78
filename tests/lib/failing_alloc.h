/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that runs out when a test says so: for sweeps that fail the first allocation, then the second, and so on.
 * sensebus_failing_alloc(target) in CMake (failing_alloc.cmake) sends the allocations of our own code, not those of
 * shared libraries, through here. */
#pragma once

#include <stdbool.h>

/* Let `n` more allocations succeed and the next one fail, once. */
void failing_alloc_after(unsigned n);
/* No failures any more. Returns whether one happened since failing_alloc_after. */
bool failing_alloc_stop(void);
