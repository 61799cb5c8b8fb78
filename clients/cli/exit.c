/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/exit.h"

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
