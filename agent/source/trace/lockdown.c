/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/trace/lockdown.h"

#include <stdio.h>
#include <string.h>

bool lockdown_forbids_tracing(const char *sysfs_root, char *reason, size_t reason_len)
{
    char path[256], levels[64];
    FILE *f;
    size_t len;

    snprintf(path, sizeof path, "%s/kernel/security/lockdown", sysfs_root);
    f = fopen(path, "re");
    if (!f)
        return false;
    len = fread(levels, 1, sizeof levels - 1, f); /* "none integrity [confidentiality]" */
    fclose(f);
    levels[len] = 0;
    if (!strstr(levels, "[confidentiality]"))
        return false;
    snprintf(reason, reason_len, "lockdown=confidentiality: the kernel lets nobody trace it");
    return true;
}
