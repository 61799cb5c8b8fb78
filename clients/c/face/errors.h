/* SPDX-License-Identifier: Apache-2.0 */
/* What a failure is called: errno of this platform, detail, words. The only place that knows all three worlds: the
 * contract's symbolic Errno, gRPC's statuses and <errno.h>. */
#pragma once

#define SB_MESSAGE_BYTES 512

struct sb;

/* errno for an Errno of adapter.proto (rule 32); EPROTO for a number that this build does not know, 0 for OK. */
int errors_from_errno(int symbolic);
/* errno for a gRPC status of a call, with its detail; never 0: a call that ends where none should is EPROTO. */
int errors_from_status(int status, int *out_detail);
/* errno for libuv's negative numbers, which are the platform's own, or its inventions (EIO). */
int errors_from_uv(int rc);

/* Note why, set errno, and return -1. */
int errors_set(struct sb *sb, int error, int detail, const char *format, ...) __attribute__((format(printf, 4, 5)));
