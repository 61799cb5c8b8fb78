/* SPDX-License-Identifier: Apache-2.0 */
/* The files that go with a tls:// address. */
#pragma once

#include <stddef.h>

#include "runtime/tls.h"

/* Load what `address` (complete: see broker_address.h) needs: a context for tls://, NULL for any other. tls:// needs
 * certificate and authority; without a key, the key is looked for in the file of the certificate. Other addresses take
 * neither files nor a `server_name`: who gives them believes that the connection is encrypted. Returns 0, UV_EINVAL, or
 * as tls_context_new; `err` says what is missing or wrong. */
int broker_tls_load(const char *address, const struct tls_files *files, const char *server_name,
                    struct tls_context **out_context, char *err, size_t err_len);
