/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "proto/grpc/grpc.h"

Test(status, every_number_has_the_published_name)
{
    cr_assert_str_eq(grpc_status_name(GRPC_OK), "OK");
    cr_assert_str_eq(grpc_status_name(GRPC_OUT_OF_RANGE), "OUT_OF_RANGE");
    cr_assert_str_eq(grpc_status_name(GRPC_UNAUTHENTICATED), "UNAUTHENTICATED");
    for (int i = 0; i <= GRPC_UNAUTHENTICATED; i++)
        cr_assert_not_null(grpc_status_name(i));
    cr_assert_str_eq(grpc_status_name(17), "UNKNOWN");
    cr_assert_str_eq(grpc_status_name(-1), "UNKNOWN");
}
