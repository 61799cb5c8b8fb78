#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of the TLS corpus. The ways of fuzz_tls.c: first bytes, bytes behind a handshake, damage to one."""
import os
import ssl

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "tls")
CLIENT, FIRST, BEHIND, DAMAGE = 1, 0 << 1, 1 << 1, 2 << 1


def write(name, mode, data, piece=0):
    os.makedirs(CORPUS, exist_ok=True)
    with open(os.path.join(CORPUS, name), "wb") as file:
        file.write(bytes([mode | piece << 3]) + data)


def client_hello(version, alpn=("h2",)):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(alpn)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        connection.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def damage(*edits):
    return b"".join(at.to_bytes(2, "big") + bytes([bits]) for at, bits in edits)


hello = client_hello(ssl.TLSVersion.TLSv1_3)
write("hello", FIRST, hello)
write("hello-in-pieces", FIRST, hello, piece=7)
write("hello-cut", FIRST, hello[:100])
write("hello-without-alpn", FIRST, client_hello(ssl.TLSVersion.TLSv1_3, ()))
write("hello-tls12", FIRST, client_hello(ssl.TLSVersion.TLSv1_2))
write("hello-twice", FIRST, hello + hello)
write("plaintext-http2", FIRST, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
write("plaintext-http1", FIRST, b"GET / HTTP/1.1\r\n\r\n")
write("settings-to-client", FIRST | CLIENT, b"\0\0\x12\4\0\0\0\0\0")
write("alert-to-client", FIRST | CLIENT, b"\x15\3\3\0\2\2\x28")
write("hello-to-client", FIRST | CLIENT, hello)
write("empty-records", FIRST, b"\x16\3\1\0\0" * 20)
write("longest-record", FIRST, b"\x16\3\1\x40\0" + b"\1" * 16384)
for mode, side in ((0, "server"), (CLIENT, "client")):
    write(f"behind-{side}", BEHIND | mode, b"\x17\3\3\0\x20" + bytes(32))
    write(f"behind-{side}-plain-alert", BEHIND | mode, b"\x15\3\3\0\2\1\0")
    write(f"behind-{side}-ccs", BEHIND | mode, b"\x14\3\3\0\1\1" * 3)
    write(f"honest-{side}", DAMAGE | mode, b"")
    write(f"honest-{side}-bytewise", DAMAGE | mode, b"", piece=1)
    for at in (5, 6, 43, 90, 130, 200, 300, 700, 1100):
        write(f"damaged-{side}-{at}", DAMAGE | mode, damage((at, 1)))
