/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/exit.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "clients/c/sensebus.h"
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

Test(exit, a_failed_operation_has_its_code)
{
    cr_expect_eq(exit_from_errno(ENOTCONN, SB_DETAIL_CONNECTION_LOST), EXIT_CONNECT);
    cr_expect_eq(exit_from_errno(ENOTCONN, SB_DETAIL_NONE), EXIT_FAILED); /* the device's transport, not ours */
    cr_expect_eq(exit_from_errno(EPERM, SB_DETAIL_NONE), EXIT_UNAUTHORISED);
    cr_expect_eq(exit_from_errno(EINVAL, SB_DETAIL_ALREADY_REGISTERED), EXIT_CONFLICT);
    cr_expect_eq(exit_from_errno(EINVAL, SB_DETAIL_ALREADY_STARTED), EXIT_CONFLICT);
    cr_expect_eq(exit_from_errno(EINVAL, SB_DETAIL_NOT_OWNER), EXIT_CONFLICT);
    cr_expect_eq(exit_from_errno(EINVAL, SB_DETAIL_MODE), EXIT_USAGE);
    cr_expect_eq(exit_from_errno(EINVAL, SB_DETAIL_ADDRESS), EXIT_FAILED);
    cr_expect_eq(exit_from_errno(EINVAL, SB_DETAIL_NOT_STARTED), EXIT_FAILED);
    cr_expect_eq(exit_from_errno(ETIMEDOUT, SB_DETAIL_NONE), EXIT_TIMEOUT);
    cr_expect_eq(exit_from_errno(EINTR, SB_DETAIL_NONE), EXIT_INTERRUPTED);
    cr_expect_eq(exit_from_errno(EIO, SB_DETAIL_VERDICT), EXIT_FAILED);
}
