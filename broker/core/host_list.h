/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts that a list is asked for: names, '*' and '?' allowed; none = all. Whoever may read may ask, and each entry is
 * compared with each host, so both number and length are bounded. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define HOST_LIST_MAX       256
#define HOST_LIST_MAX_BYTES 4096 /* of all entries together */

/* 0, or UV_EINVAL with `err` beginning with `what` ("ListSessionsRequest.hosts"). */
int host_list_check(char *const *hosts, size_t n, const char *what, char *err, size_t err_len);
bool host_list_has(char *const *hosts, size_t n, const char *host);
