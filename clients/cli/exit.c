/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/exit.h"

#include <errno.h>

#include "clients/c/sensebus.h"
#include "proto/grpc/grpc.h"

int exit_from_status(int grpc_status)
{
    switch ((enum grpc_status)grpc_status) {
    case GRPC_OK: return EXIT_OK;
    case GRPC_INVALID_ARGUMENT: return EXIT_USAGE;
    case GRPC_UNAVAILABLE: return EXIT_CONNECT;
    case GRPC_UNAUTHENTICATED: return EXIT_UNAUTHENTICATED;
    case GRPC_PERMISSION_DENIED: return EXIT_UNAUTHORISED;
    case GRPC_DEADLINE_EXCEEDED: return EXIT_TIMEOUT;
    case GRPC_ALREADY_EXISTS:
    case GRPC_FAILED_PRECONDITION:
    case GRPC_ABORTED: return EXIT_CONFLICT;
    case GRPC_OUT_OF_RANGE: return EXIT_POSITION_GONE;
    case GRPC_CANCELLED:
    case GRPC_UNKNOWN:
    case GRPC_NOT_FOUND:
    case GRPC_RESOURCE_EXHAUSTED:
    case GRPC_UNIMPLEMENTED:
    case GRPC_INTERNAL:
    case GRPC_DATA_LOSS: break;
    }
    return EXIT_FAILED;
}

int exit_from_errno(int error, int detail)
{
    switch (detail) {
    case SB_DETAIL_CONNECTION_LOST: return EXIT_CONNECT;
    case SB_DETAIL_ALREADY_STARTED:
    case SB_DETAIL_ALREADY_REGISTERED:
    case SB_DETAIL_NOT_OWNER: return EXIT_CONFLICT;
    case SB_DETAIL_MODE:
    case SB_DETAIL_RESERVED:
    case SB_DETAIL_VERSION:
    case SB_DETAIL_BUFFERS:
    case SB_DETAIL_CORRELATOR:
    case SB_DETAIL_EVENT_TYPE:
    case SB_DETAIL_ARGUMENT: return EXIT_USAGE;
    default: break;
    }
    switch (error) {
    case EPERM: return EXIT_UNAUTHORISED;
    case ETIMEDOUT: return EXIT_TIMEOUT;
    case EINTR: return EXIT_INTERRUPTED;
    default: return EXIT_FAILED;
    }
}
