/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's lockdown (kernel_lockdown(7)): at "confidentiality" it lets nobody, root included, read its memory or
 * trace it; the refusals that then come say only "invalid argument". */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Is it at that level? Then `reason` says so. False also where securityfs is not mounted, and nobody can tell. */
bool lockdown_forbids_tracing(const char *sysfs_root, char *reason, size_t reason_len);
