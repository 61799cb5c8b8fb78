/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/c/broker_address.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <uv.h>

#include "proto/grpc/address.h"

#define PLAIN_SCHEME "grpc://"
#define TLS_SCHEME   "tls://"
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

bool broker_address_is_tls(const char *address)
{
    return strncmp(address, TLS_SCHEME, strlen(TLS_SCHEME)) == 0;
}

const char *broker_address_plain(const char *address)
{
    return address + (broker_address_is_tls(address) ? strlen(TLS_SCHEME) : 0);
}

bool broker_address_is_local(const char *address)
{
    struct address parsed;
    char err[320];
    if (address_parse(broker_address_plain(address), &parsed, err, sizeof err) < 0)
        return false;
    if (parsed.kind == ADDRESS_UNIX)
        return !broker_address_is_tls(address);
    return is_loopback(parsed.host);
}

static bool has_port(const char *text)
{
    size_t len = strlen(text);
    return strncmp(text, "unix:", 5) == 0 || (strchr(text, ':') && text[len - 1] != ']');
}

int broker_address_complete(const char *text, bool insecure, char out[BROKER_ADDRESS_BYTES], char *err, size_t err_len)
{
    const char *rest = broker_address_plain(text);
    bool tls = rest != text;
    struct address parsed;
    if (strncmp(text, PLAIN_SCHEME, strlen(PLAIN_SCHEME)) == 0) {
        rest += strlen(PLAIN_SCHEME);
    } else if (strstr(rest, "://")) {
        snprintf(err, err_len, "'%.200s': only tls://HOST:PORT and grpc://HOST:PORT (plaintext) are supported", text);
        return UV_EINVAL;
    }
    int len =
        snprintf(out, BROKER_ADDRESS_BYTES, "%s%s%s", tls ? TLS_SCHEME : "", rest, has_port(rest) ? "" : DEFAULT_PORT);
    if (len >= BROKER_ADDRESS_BYTES) {
        snprintf(err, err_len, "longer than %d bytes", BROKER_ADDRESS_BYTES - 1);
        return UV_EINVAL;
    }
    int rc = address_parse(broker_address_plain(out), &parsed, err, err_len);
    if (rc == 0 && tls && parsed.kind == ADDRESS_UNIX) {
        snprintf(err, err_len, "'%.200s': a Unix socket stays on this machine and takes no TLS: leave out tls://",
                 text);
        return UV_EINVAL;
    }
    if (rc < 0 || tls || insecure || broker_address_is_local(out))
        return rc;
    snprintf(err, err_len,
             "%.200s is beyond this machine and the connection is not encrypted: write tls:// before it, or give "
             "--insecure if you trust the network in between",
             out);
    return UV_EACCES;
}
