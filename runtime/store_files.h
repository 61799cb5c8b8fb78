/* SPDX-License-Identifier: Apache-2.0 */
/* The files beside a store's data: the lock that keeps other processes out, and the marker of the relaxed mode.
 *
 * The marker is there while a store is open relaxed, and says in which boot. A clean close removes it, so one of an
 * earlier boot means: the machine went down in between, and pages may be missing that the file speaks of. Whatever is
 * changed here is on disk when the function returns. All return 0 or a negative errno. */
#pragma once

#include <stdbool.h>

/* DIRECTORY/NAME on the heap, or NULL. */
char *store_files_path(const char *directory, const char *name);
/* Make the directory, mode 0700, if it is missing; its parent must be there. */
int store_files_make_directory(const char *path);
int store_files_sync_directory(const char *path);

/* Exclusive, to work with the store, or shared, to look at it: then nothing is made, and without a lock file *out_fd is
 * -1, since no process ever had the store open. UV_EBUSY: another process has it open. The lock ends with the
 * descriptor. */
int store_files_lock(const char *directory, bool shared, int *out_fd);

enum store_files_mark {
    STORE_MARK_NONE,    /* everything in data.mdb can be trusted */
    STORE_MARK_RELAXED, /* open relaxed, or killed while it was; the machine did not go down since */
    STORE_MARK_UNSAFE,  /* the machine went down while it was open relaxed */
};
int store_files_mark(const char *directory, enum store_files_mark *out_mark);
int store_files_set_mark(const char *directory);
int store_files_clear_mark(const char *directory);

/* Rename data.mdb to `name`, and forget who was reading it. */
int store_files_set_aside(const char *directory, const char *name);
