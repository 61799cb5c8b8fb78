/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses as people write them: "HOST:PORT", "[IPV6]:PORT", "unix:PATH". Pure. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/un.h>

enum address_kind { ADDRESS_TCP, ADDRESS_UNIX };

struct address {
    enum address_kind kind;
    char host[256];                                         /* without brackets */
    char port[6];                                           /* decimal, 0 … 65535 */
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* of the socket file */
};

/* Room for any text made by address_format: "unix:" + path, or a bracketed IPv6 address with its port. */
#define ADDRESS_TEXT_MAX 128

/* 0, or UV_EINVAL with the reason in `err`. */
int address_parse(const char *text, struct address *out_address, char *err, size_t err_len);
/* "10.0.0.1:5123", "[::1]:5123"; IPv4 addresses mapped into IPv6 are written as IPv4. */
void address_format(const struct sockaddr *sa, char *out_text, size_t len);
/* 127.0.0.0/8, ::1 and their mapped forms. */
bool address_is_loopback(const struct sockaddr *sa);
