/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/service/faces.h"

#include "proto/grpc/grpc.h"

static void refuse_sdi(struct grpc_call *call, void *service)
{
    (void)service;
    grpc_call_finish(call, GRPC_UNIMPLEMENTED, "the Sdi face is not served by this version");
}

int faces_start(struct grpc_server *server)
{
    static const struct grpc_method methods[] = {
        {"/sensebus.v1.Sdi/Xaen", refuse_sdi},
    };
    return grpc_server_add(server, methods, sizeof methods / sizeof *methods, NULL);
}
