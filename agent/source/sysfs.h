/* SPDX-License-Identifier: Apache-2.0 */
/* States of the SCSI layer in sysfs, looked at every poll_ms on the pool: what the kernel announces by nothing else,
 * and what was lost. resync looks at once. */
#pragma once

#include "agent/source/source.h"

extern const struct source_api sysfs_source;
