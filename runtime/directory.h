/* SPDX-License-Identifier: Apache-2.0 */
/* Directories for a program's own files. */
#pragma once

/* Make `path` and what is missing above it, mode 0700 for those that are made; they survive a loss of
 * power. Returns 0 (also when all was there) or a
 * libuv error. */
int directory_make(const char *path);
