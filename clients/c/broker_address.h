/* SPDX-License-Identifier: Apache-2.0 */
/* Where a broker is, as people write it; whether it is spoken to with TLS, and whether plaintext may go there. No name
 * is resolved here: of names, only "localhost" is taken to be this machine. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define BROKER_ADDRESS_DEFAULT "127.0.0.1:7070"
#define BROKER_ADDRESS_BYTES   300

/* "HOST[:PORT]", "[IPV6][:PORT]", "unix:PATH", each also behind "grpc://": plaintext. "tls://HOST[:PORT]": TLS.
 * Checked, and completed with port 7070; "tls://" stays, "grpc://" goes. Returns 0; UV_EINVAL; UV_EACCES for plaintext
 * beyond this machine unless `insecure`. `err` says what is wrong. */
int broker_address_complete(const char *text, bool insecure, char out[BROKER_ADDRESS_BYTES], char *err, size_t err_len);
/* Does `address`, which is complete, begin with "tls://"? */
bool broker_address_is_tls(const char *address);
/* The same without its "tls://": what proto/grpc takes. */
const char *broker_address_plain(const char *address);
/* A Unix socket, 127.0.0.0/8, ::1 or "localhost". `address` is complete; what is none is not local. */
bool broker_address_is_local(const char *address);
