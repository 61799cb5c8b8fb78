/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to the kernel that do not return: on any thread but the first, readdir() and ioctl(SG_SCSI_RESET) wait as long
 * as the folder that the environment names in SENSEBUS_HANG has a FIFO "hang". Who opens that for writing lets go all
 * that wait. Each call that begins to wait adds a byte to the file "waiting" there.
 *
 * A program takes it with sensebus_hanging_call() of hanging_call.cmake. */
#pragma once

/* For a test that has them inside: make the folder, and have them hang. */
void hanging_call_begin(void);
/* How many have begun to wait. */
unsigned hanging_call_count(void);
/* Those that wait return, and no more hang; the folder is removed. */
void hanging_call_let_go(void);
