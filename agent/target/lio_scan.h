/* SPDX-License-Identifier: Apache-2.0 */
/* LIO's configfs tree, read once: ROOT/iscsi/<target>/tpgt_<tag>/{enable, lun/lun_<n>/, acls/<initiator>/info,
 * dynamic_sessions}.
 *
 * It blocks, so it runs on the pool. Nothing in the tree is trusted: names must be iSCSI names, files are read up to
 * LIO_FILE_BYTES, no special file is read, links below the root are not followed, and names and snapshot have their
 * bounds, so that it ends. */
#pragma once

#include <stddef.h>

struct snapshot;

#define LIO_FILE_BYTES 8192 /* configfs gives at most a page */

/* A finished snapshot; number = tag of the target portal group. A unit is online when a backstore is linked to it. What
 * goes away while it is read is not in it. Returns 0; a negative errno with `err` saying which folder when the tree
 * itself cannot be read (UV_ENOENT: LIO's iSCSI side is not loaded); UV_EMFILE and the like, UV_ENOMEM, when the host
 * has no room for the look. On failure `out` is empty. */
int lio_scan(const char *root, struct snapshot *out, char *err, size_t err_len);
