/* SPDX-License-Identifier: Apache-2.0 */
/* Exit codes: documented and kept. */
#pragma once

enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_CONNECT = 3,
    EXIT_UNAUTHENTICATED = 4,
    EXIT_UNAUTHORISED = 5,
    EXIT_TIMEOUT = 6,
    EXIT_GAP = 7,            /* --strict */
    EXIT_DAMAGED = 8,        /* store: what is on the disk; said by sensebus-store */
    EXIT_CONFLICT = 9,       /* somebody else has it */
    EXIT_POSITION_GONE = 10, /* the log does not hold the position (any more) */
    EXIT_INTERRUPTED = 130,
};

/* The exit code for a gRPC status. */
int exit_from_status(int grpc_status);
/* The exit code for a failure of libsensebus: errno and its detail (clients/c/sensebus.h). */
int exit_from_errno(int error, int detail);
