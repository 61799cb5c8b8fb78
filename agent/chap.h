/* SPDX-License-Identifier: Apache-2.0 */
/* CHAP credentials of targets, read from a file that only its owner may read. Secrets are never printed. */
#pragma once

#include <stddef.h>

/* One line of the CHAP file. */
struct chap {
    char *target; /* target name, "*" = any other, "discovery" = discovery sessions */
    char *user, *secret;
    char *mutual_user, *mutual_secret; /* NULL = none */
};
struct chap_list {
    struct chap *items;
    size_t n;
};
/* Lines "target user secret [mutual-user mutual-secret]"; empty lines and '#' comments are skipped. A file that others
 * may read is refused. Returns 0, or a negative errno with `err` naming file, line and fault (never a secret). */
int chap_list_load(struct chap_list *list, const char *path, char *err, size_t err_len);
/* The line of this target, else the "*" line, else NULL. */
const struct chap *chap_list_find(const struct chap_list *list, const char *target);
/* Secrets are overwritten before they are freed. */
void chap_list_free(struct chap_list *list);
