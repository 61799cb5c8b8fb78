/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/grpc/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static int refuse(char *err, size_t err_len, const char *text, const char *why)
{
    snprintf(err, err_len, "address '%.200s': %s", text, why);
    return UV_EINVAL;
}

static bool parse_port(const char *text, char *out_port, size_t len)
{
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 5 || text[n] != '\0' || strtol(text, NULL, 10) > 65535)
        return false;
    snprintf(out_port, len, "%s", text);
    return true;
}

static int parse_unix(const char *text, struct address *a, char *err, size_t err_len)
{
    const char *path = text + strlen("unix:");
    if (*path == '\0')
        return refuse(err, err_len, text, "no path after 'unix:'");
    if (strlen(path) >= sizeof a->path)
        return refuse(err, err_len, text, "the path of a Unix socket has at most 107 bytes");
    a->kind = ADDRESS_UNIX;
    snprintf(a->path, sizeof a->path, "%s", path);
    return 0;
}

int address_parse(const char *text, struct address *out_address, char *err, size_t err_len)
{
    struct address a = {.kind = ADDRESS_TCP};
    const char *host = text;
    const char *host_end;
    const char *colon;

    if (strncmp(text, "unix:", 5) == 0) {
        int rc = parse_unix(text, &a, err, err_len);
        if (rc == 0)
            *out_address = a;
        return rc;
    }
    if (*text == '[') {
        host = text + 1;
        host_end = strchr(host, ']');
        if (!host_end)
            return refuse(err, err_len, text, "no ']' after the IPv6 address");
        colon = host_end + 1;
        if (*colon != ':')
            return refuse(err, err_len, text, "no port: write [ADDRESS]:PORT");
    } else {
        colon = host_end = strrchr(text, ':');
        if (!colon)
            return refuse(err, err_len, text, "no port: write HOST:PORT, [IPV6]:PORT or unix:PATH");
        if (memchr(text, ':', (size_t)(colon - text)))
            return refuse(err, err_len, text, "an IPv6 address goes in brackets: [ADDRESS]:PORT");
    }
    size_t host_len = (size_t)(host_end - host);
    if (host_len == 0)
        return refuse(err, err_len, text, "no host");
    if (host_len >= sizeof a.host)
        return refuse(err, err_len, text, "the host name is longer than 255 bytes");
    memcpy(a.host, host, host_len);
    if (!parse_port(colon + 1, a.port, sizeof a.port))
        return refuse(err, err_len, text, "the port is not a number from 0 to 65535");
    *out_address = a;
    return 0;
}

/* The IPv4 address inside ::ffff:a.b.c.d, or NULL. */
static const uint8_t *mapped_ipv4(const struct sockaddr_in6 *sin6)
{
    return IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr) ? sin6->sin6_addr.s6_addr + 12 : NULL;
}

void address_format(const struct sockaddr *sa, char *out_text, size_t len)
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *sin = (const struct sockaddr_in *)sa;
        inet_ntop(AF_INET, &sin->sin_addr, host, sizeof host);
        snprintf(out_text, len, "%s:%u", host, ntohs(sin->sin_port));
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)sa;
        const uint8_t *ipv4 = mapped_ipv4(sin6);
        inet_ntop(ipv4 ? AF_INET : AF_INET6, ipv4 ? (const void *)ipv4 : &sin6->sin6_addr, host, sizeof host);
        snprintf(out_text, len, ipv4 ? "%s:%u" : "[%s]:%u", host, ntohs(sin6->sin6_port));
    } else {
        snprintf(out_text, len, "unknown");
    }
}

bool address_is_loopback(const struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *sin = (const struct sockaddr_in *)sa;
        return (ntohl(sin->sin_addr.s_addr) >> 24) == 127;
    }
    if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)sa;
        const uint8_t *ipv4 = mapped_ipv4(sin6);
        return ipv4 ? ipv4[0] == 127 : IN6_IS_ADDR_LOOPBACK(&sin6->sin6_addr) != 0;
    }
    return sa->sa_family == AF_UNIX;
}
