/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of lists: page_size and text members are dealt with alike in all of them. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define LIST_PAGE_MAX_BYTES ((size_t)1024 * 1024) /* stock clients take messages of 4 MiB */

/* How many entries a page may hold: as asked, 1,000 when 0. UV_EINVAL with `err` beginning with the name of the request
 * ("ListAgentsRequest") when it is more than 10,000. */
int list_page_size(uint32_t asked, const char *request, size_t *out_size, char *err, size_t err_len);
/* Replace a string of a fresh message by a copy. Returns 0 or UV_ENOMEM. */
int list_set_text(char **field, const char *text);
