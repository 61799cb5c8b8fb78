/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/c/broker_address.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <uv.h>

#include "proto/grpc/address.h"

#define SCHEME       "grpc://"
#define DEFAULT_PORT ":7070"

static bool is_loopback(const char *host)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *info;
    if (strcasecmp(host, "localhost") == 0)
        return true;
    if (getaddrinfo(host, NULL, &hints, &info) != 0)
        return false; /* a name */
    bool loopback = address_is_loopback(info->ai_addr);
    freeaddrinfo(info);
    return loopback;
}

bool broker_address_is_local(const char *address)
{
    struct address parsed;
    char err[320];
    if (address_parse(address, &parsed, err, sizeof err) < 0)
        return false;
    return parsed.kind == ADDRESS_UNIX || is_loopback(parsed.host);
}

static bool has_port(const char *text)
{
    size_t len = strlen(text);
    return strncmp(text, "unix:", 5) == 0 || (strchr(text, ':') && text[len - 1] != ']');
}

int broker_address_complete(const char *text, bool insecure, char out[BROKER_ADDRESS_BYTES], char *err, size_t err_len)
{
    const char *rest = text;
    struct address parsed;
    if (strncmp(text, SCHEME, strlen(SCHEME)) == 0) {
        rest += strlen(SCHEME);
    } else if (strstr(text, "://")) {
        snprintf(err, err_len, "'%.200s': only grpc://HOST:PORT (plaintext) is supported", text);
        return UV_EINVAL;
    }
    int len = snprintf(out, BROKER_ADDRESS_BYTES, "%s%s", rest, has_port(rest) ? "" : DEFAULT_PORT);
    if (len >= BROKER_ADDRESS_BYTES) {
        snprintf(err, err_len, "longer than %d bytes", BROKER_ADDRESS_BYTES - 1);
        return UV_EINVAL;
    }
    int rc = address_parse(out, &parsed, err, err_len);
    if (rc < 0 || insecure || broker_address_is_local(out))
        return rc;
    snprintf(err, err_len,
             "%.200s is beyond this machine and the connection is not encrypted: give --insecure if you trust the "
             "network in between",
             out);
    return UV_EACCES;
}
