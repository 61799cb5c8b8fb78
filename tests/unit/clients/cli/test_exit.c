/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/exit.h"

#include <criterion/criterion.h>

#include "proto/grpc/grpc.h"

Test(exit, each_status_has_its_code)
{
    static const int codes[] = {
        [GRPC_OK] = 0,
        [GRPC_CANCELLED] = 1,
        [GRPC_UNKNOWN] = 1,
        [GRPC_INVALID_ARGUMENT] = 2,
        [GRPC_DEADLINE_EXCEEDED] = 6,
        [GRPC_NOT_FOUND] = 1,
        [GRPC_ALREADY_EXISTS] = 9,
        [GRPC_PERMISSION_DENIED] = 5,
        [GRPC_RESOURCE_EXHAUSTED] = 1,
        [GRPC_FAILED_PRECONDITION] = 9,
        [GRPC_ABORTED] = 9,
        [GRPC_OUT_OF_RANGE] = 10,
        [GRPC_UNIMPLEMENTED] = 1,
        [GRPC_INTERNAL] = 1,
        [GRPC_UNAVAILABLE] = 3,
        [GRPC_DATA_LOSS] = 1,
        [GRPC_UNAUTHENTICATED] = 4,
    };
    for (int status = 0; status < (int)(sizeof codes / sizeof *codes); status++)
        cr_expect_eq(exit_from_status(status), codes[status], "status %d", status);
    cr_expect_eq(exit_from_status(99), 1);
}
