/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/host_list.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "runtime/glob.h"

int host_list_check(char *const *hosts, size_t n, const char *what, char *err, size_t err_len)
{
    size_t bytes = 0;

    if (n > HOST_LIST_MAX) {
        snprintf(err, err_len, "%s: %zu entries, at most %d", what, n, HOST_LIST_MAX);
        return UV_EINVAL;
    }
    for (size_t i = 0; i < n; i++)
        bytes += strlen(hosts[i]);
    if (bytes <= HOST_LIST_MAX_BYTES)
        return 0;
    snprintf(err, err_len, "%s: %zu bytes in all, at most %d", what, bytes, HOST_LIST_MAX_BYTES);
    return UV_EINVAL;
}

bool host_list_has(char *const *hosts, size_t n, const char *host)
{
    size_t len = strlen(host);

    for (size_t i = 0; i < n; i++)
        if (glob_matches(hosts[i], host, len, false))
            return true;
    return n == 0;
}
