/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors 0, 1 and 2, which whoever starts a program may have closed. */
#pragma once

/* Open those that are closed, before anything else is opened: a socket or a file that got one of these numbers would be
 * taken for the output, and libuv ends a program that closes one. Reading and writing them fails as before (EBADF). */
void standard_files_ensure(void);
