/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks, read in one place. Pure modules get times as arguments. */
#pragma once

#include <stdint.h>

/* ns since 1970-01-01 UTC (CLOCK_REALTIME). */
uint64_t clock_wall_ns(void);
/* ns since boot, suspend included (CLOCK_BOOTTIME): comparable between processes of one boot. */
uint64_t clock_boot_ns(void);
/* ns, monotonic within this process (CLOCK_MONOTONIC). */
uint64_t clock_mono_ns(void);
