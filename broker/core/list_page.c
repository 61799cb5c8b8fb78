/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/list_page.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

#define DEFAULT_PAGE 1000
#define MAX_PAGE     10000

int list_page_size(uint32_t asked, const char *request, size_t *out_size, char *err, size_t err_len)
{
    if (asked > MAX_PAGE) {
        snprintf(err, err_len, "%s.page_size: %u, at most %d", request, asked, MAX_PAGE);
        return UV_EINVAL;
    }
    *out_size = asked ? asked : DEFAULT_PAGE;
    return 0;
}

int list_set_text(char **field, const char *text)
{
    if (!*text)
        return 0;
    char *copy = strdup(text);
    if (!copy)
        return UV_ENOMEM;
    *field = copy;
    return 0;
}
