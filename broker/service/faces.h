/* SPDX-License-Identifier: Apache-2.0 */
/* What of the Sdi service this version does not serve: each call gets a clear answer. */
#pragma once

struct grpc_server;

/* Returns 0 or a negative errno. */
int faces_start(struct grpc_server *server);
