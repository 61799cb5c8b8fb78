/* SPDX-License-Identifier: Apache-2.0 */
/* Names and places of iSCSI targets, as people and targets write them. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TARGET_NAME_BYTES   224 /* RFC 7143 section 4.2.7.1: 223 bytes */
#define TARGET_PORTAL_BYTES 128

#define TARGET_MAX_PORTALS 16

/* "iscsi://HOST[:PORT][,HOST[:PORT]]…/IQN[/LUN]". */
struct target_url {
    char portals[TARGET_MAX_PORTALS][TARGET_PORTAL_BYTES]; /* each with port, in the order given, none twice */
    size_t n_portals;                                      /* at least 1 */
    char name[TARGET_NAME_BYTES];
    int32_t lun; /* -1 = all */
};
/* Returns 0, or UV_EINVAL with `err` saying what is wrong. */
int target_url_parse(const char *text, struct target_url *out, char *err, size_t err_len);
/* "HOST[:PORT]", "[IPV6][:PORT]" or "IPV6": completed with port 3260. */
int target_portal_parse(const char *text, char out[TARGET_PORTAL_BYTES], char *err, size_t err_len);
/* iqn., eui. or naa. name: printable ASCII without space, 4..223 bytes. */
bool target_name_valid(const char *name);
