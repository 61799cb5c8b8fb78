/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/c/face/errors.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <uv.h>

#include "clients/c/face/handle.h"
#include "proto/grpc/grpc.h"
#include "sensebus/v1/adapter.pb-c.h"

int errors_from_errno(int symbolic)
{
    switch ((Sensebus__V1__Errno)symbolic) {
    case SENSEBUS__V1__ERRNO__ERRNO_OK: return 0;
    case SENSEBUS__V1__ERRNO__ERRNO_EPERM: return EPERM;
    case SENSEBUS__V1__ERRNO__ERRNO_EFAULT: return EFAULT;
    case SENSEBUS__V1__ERRNO__ERRNO_EINVAL: return EINVAL;
    case SENSEBUS__V1__ERRNO__ERRNO_EIO: return EIO;
    case SENSEBUS__V1__ERRNO__ERRNO_ENXIO: return ENXIO;
    case SENSEBUS__V1__ERRNO__ERRNO_ENOMEM: return ENOMEM;
    case SENSEBUS__V1__ERRNO__ERRNO_ENODEV: return ENODEV;
    case SENSEBUS__V1__ERRNO__ERRNO_ENOCONNECT: return ENOTCONN;
    case SENSEBUS__V1__ERRNO__ERRNO_ETIMEDOUT: return ETIMEDOUT;
    case SENSEBUS__V1__ERRNO__ERRNO_EACCES: return EACCES;
    case _SENSEBUS__V1__ERRNO_IS_INT_SIZE: break;
    }
    return EPROTO;
}

int errors_from_status(int status, int *out_detail)
{
    *out_detail = SB_DETAIL_NONE;
    switch ((enum grpc_status)status) {
    case GRPC_INVALID_ARGUMENT: *out_detail = SB_DETAIL_ARGUMENT; return EINVAL;
    case GRPC_UNAUTHENTICATED:
    case GRPC_PERMISSION_DENIED: return EPERM;
    case GRPC_RESOURCE_EXHAUSTED: *out_detail = SB_DETAIL_RESOURCE_EXHAUSTED; return ENOMEM;
    case GRPC_UNIMPLEMENTED: *out_detail = SB_DETAIL_NOT_SUPPORTED; return ENXIO;
    case GRPC_DEADLINE_EXCEEDED: return ETIMEDOUT;
    case GRPC_CANCELLED:
    case GRPC_UNAVAILABLE: *out_detail = SB_DETAIL_CONNECTION_LOST; return ENOTCONN;
    case GRPC_NOT_FOUND:
    case GRPC_ALREADY_EXISTS:
    case GRPC_FAILED_PRECONDITION:
    case GRPC_OUT_OF_RANGE:
    case GRPC_ABORTED:
    case GRPC_UNKNOWN:
    case GRPC_INTERNAL:
    case GRPC_DATA_LOSS: return EIO;
    case GRPC_OK: break;
    }
    return EPROTO;
}

int errors_from_uv(int rc)
{
    return rc <= -3000 || rc >= 0 ? EIO : -rc; /* the inventions: -3000 and beyond (uv/errno.h) */
}

int errors_set(struct sb *sb, int error, int detail, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(sb->message, sizeof sb->message, format, args);
    va_end(args);
    sb->detail = detail;
    errno = error;
    return -1;
}

int sb_detail(const struct sb *sb)
{
    return sb->detail;
}

const char *sb_message(const struct sb *sb)
{
    return sb->message;
}

const char *sb_detail_name(int detail)
{
    switch (detail) {
    case SB_DETAIL_NONE: return "NONE";
    case SB_DETAIL_NOT_STARTED: return "NOT_STARTED";
    case SB_DETAIL_ALREADY_REGISTERED: return "ALREADY_REGISTERED";
    case SB_DETAIL_ALREADY_STARTED: return "ALREADY_STARTED";
    case SB_DETAIL_MODE: return "MODE";
    case SB_DETAIL_RESERVED: return "RESERVED";
    case SB_DETAIL_VERSION: return "VERSION";
    case SB_DETAIL_ADDRESS: return "ADDRESS";
    case SB_DETAIL_OWN_ID: return "OWN_ID";
    case SB_DETAIL_BUFFERS: return "BUFFERS";
    case SB_DETAIL_NOT_OWNER: return "NOT_OWNER";
    case SB_DETAIL_NOT_SUPPORTED: return "NOT_SUPPORTED";
    case SB_DETAIL_HALTED: return "HALTED";
    case SB_DETAIL_RESOURCE_EXHAUSTED: return "RESOURCE_EXHAUSTED";
    case SB_DETAIL_CONNECTION_LOST: return "CONNECTION_LOST";
    case SB_DETAIL_IN_CALLBACK: return "IN_CALLBACK";
    case SB_DETAIL_CORRELATOR: return "CORRELATOR";
    case SB_DETAIL_EVENT_TYPE: return "EVENT_TYPE";
    case SB_DETAIL_VERDICT: return "VERDICT";
    case SB_DETAIL_ARGUMENT: return "ARGUMENT";
    default: return "UNKNOWN";
    }
}
