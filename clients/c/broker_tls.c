/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/c/broker_tls.h"

#include <stdio.h>
#include <uv.h>

#include "clients/c/broker_address.h"

int broker_tls_load(const char *address, const struct tls_files *files, const char *server_name,
                    struct tls_context **out_context, char *err, size_t err_len)
{
    struct tls_files all = *files;
    if (!broker_address_is_tls(address)) {
        if (!files->certificate && !files->key && !files->authority && !server_name) {
            *out_context = NULL;
            return 0;
        }
        snprintf(err, err_len,
                 "certificate, key, CA or server name are given, but %.200s is not encrypted: write tls://%.200s, or "
                 "leave them out",
                 address, address);
        return UV_EINVAL;
    }
    if (!files->certificate || !files->authority) {
        snprintf(err, err_len, "%.200s needs %s", address,
                 files->certificate ? "the CA's certificate (--ca)"
                 : files->authority ? "our certificate (--certificate)"
                                    : "our certificate (--certificate), its key (--key) and the CA's (--ca)");
        return UV_EINVAL;
    }
    if (!all.key)
        all.key = all.certificate;
    return tls_context_new(false, &all, out_context, err, err_len);
}
