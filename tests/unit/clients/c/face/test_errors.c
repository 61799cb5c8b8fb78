/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <uv.h>

#include "clients/c/face/errors.h"
#include "clients/c/sensebus.h"
#include "proto/grpc/grpc.h"
#include "sensebus/v1/adapter.pb-c.h"

/* rule 32: every symbolic errno has one of the platform. */
Test(errors, every_symbolic_errno_is_translated)
{
    const ProtobufCEnumDescriptor *d = &sensebus__v1__errno__descriptor;
    for (unsigned i = 0; i < d->n_values; i++) {
        int number = d->values[i].value;
        cr_assert_neq(errors_from_errno(number), EPROTO, "%s", d->values[i].name);
        cr_assert_eq(errors_from_errno(number) == 0, number == 0, "%s", d->values[i].name);
    }
    cr_assert_eq(errors_from_errno(SENSEBUS__V1__ERRNO__ERRNO_ENOCONNECT), ENOTCONN);
    cr_assert_eq(errors_from_errno(99), EPROTO);
    cr_assert_eq(errors_from_errno(-1), EPROTO);
}

/* rule 11: the details of the contract are those of the header, and have the same names. */
Test(errors, every_detail_of_the_contract_has_its_name)
{
    const ProtobufCEnumDescriptor *d = &sensebus__v1__einval_detail__descriptor;
    for (unsigned i = 0; i < d->n_values; i++)
        cr_assert_str_eq(sb_detail_name(d->values[i].value), d->values[i].name + strlen("EINVAL_DETAIL_"));
    for (int detail = SB_DETAIL_CONNECTION_LOST; detail <= SB_DETAIL_ARGUMENT; detail++)
        cr_assert_str_neq(sb_detail_name(detail), "UNKNOWN");
    cr_assert_str_eq(sb_detail_name(99), "UNKNOWN");
}

Test(errors, every_status_is_an_errno)
{
    for (int status = GRPC_OK; status <= GRPC_UNAUTHENTICATED; status++) {
        int detail = -1;
        cr_assert_gt(errors_from_status(status, &detail), 0, "%s", grpc_status_name(status));
        cr_assert_geq(detail, 0);
    }
    int detail;
    cr_assert_eq(errors_from_status(GRPC_PERMISSION_DENIED, &detail), EPERM);
    cr_assert_eq(errors_from_status(GRPC_UNAVAILABLE, &detail), ENOTCONN);
    cr_assert_eq(detail, SB_DETAIL_CONNECTION_LOST);
    cr_assert_eq(errors_from_status(99, &detail), EPROTO);
}

Test(errors, uv_inventions_are_no_errnos)
{
    cr_assert_eq(errors_from_uv(UV_EACCES), EACCES);
    cr_assert_eq(errors_from_uv(UV_ENOTCONN), ENOTCONN);
    cr_assert_eq(errors_from_uv(UV_EOF), EIO);
    cr_assert_eq(errors_from_uv(UV_EAI_NONAME), EIO);
}
