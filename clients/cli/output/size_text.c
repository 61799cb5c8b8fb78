/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/output/size_text.h"

#include <stddef.h>
#include <stdio.h>

const char *size_text(double bytes, char buf[SIZE_TEXT_BYTES])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;
    for (; bytes >= 1024 && unit + 1 < sizeof units / sizeof *units; unit++)
        bytes /= 1024;
    snprintf(buf, SIZE_TEXT_BYTES, bytes < 10 && unit > 0 ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return buf;
}
