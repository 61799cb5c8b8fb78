#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of the grpc corpus: what a stock client and the echo server said to each other, both directions, and
frames that are wrong on purpose. record_grpc_corpus.py ECHO_SERVER STUBS"""
import os
import socket
import sys
import threading

PROGRAM, STUBS = sys.argv[1:3]
HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = os.path.join(HERE, "corpus/grpc")
sys.path[:0] = [STUBS, os.path.join(HERE, "../interop")]

import grpc  # noqa: E402
import echo_pb2  # noqa: E402
import echo_pb2_grpc  # noqa: E402
from echo_process import echo_server  # noqa: E402
from raw_h2 import (DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS,  # noqa: E402
                    WINDOW_UPDATE, field, frame, header_block, message)

AS_CLIENT, WITH_PREFACE = 1, 2
Say = echo_pb2.SayRequest


def write(name, options, data):
    os.makedirs(CORPUS, exist_ok=True)
    with open(os.path.join(CORPUS, name), "wb") as file:
        file.write(bytes([options]) + data[:6000])


class Recorder:
    """Passes one connection on to the server and keeps the bytes of both directions."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.server = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.up, self.down = b"", b""
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        client, _ = self.listener.accept()
        server = socket.create_connection(self.server)
        back = threading.Thread(target=self.copy, args=(server, client, "down"))
        back.start()
        self.copy(client, server, "up")
        back.join()
        client.close()
        server.close()
        self.listener.close()

    def copy(self, source, target, name):
        try:
            while data := source.recv(65536):
                setattr(self, name, getattr(self, name) + data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # one of the two has left: what was said is recorded


def record(name, use):
    with echo_server(PROGRAM) as server:
        recorder = Recorder(server.address)
        with grpc.insecure_channel(recorder.address) as channel:
            try:
                use(echo_pb2_grpc.EchoStub(channel))
            except grpc.RpcError:
                pass
        recorder.thread.join()
    write(f"{name}-client", 0, recorder.up)
    write(f"{name}-server", AS_CLIENT, recorder.down)


record("unary", lambda echo: echo.Say(Say(text="hello"), metadata=(("x-test", "seen"),), timeout=9))
record("status", lambda echo: echo.Say(Say(status=5, message="gerät weg"), timeout=9))
record("stream", lambda echo: list(echo.Count(Say(repeat=20, reply_bytes=100), timeout=9)))
record("chat", lambda echo: list(echo.Chat(iter([Say(text="a"), Say(text="b" * 100)]), timeout=9)))
record("collect", lambda echo: echo.Collect(iter([Say(text="c" * 9000)] * 2), timeout=9))
record("counters", lambda echo: echo.GetCounters(echo_pb2.CountersRequest(), timeout=9))


def cancel(echo):
    call = echo.Count(Say(repeat=0, reply_bytes=10), timeout=9)
    next(call)
    call.cancel()


record("cancel", cancel)

chat = frame(HEADERS, END_HEADERS, 1, header_block("/echo/Chat"))
request = frame(HEADERS, END_HEADERS | END_STREAM, 1, header_block("/echo/Chat"))
write("floods", WITH_PREFACE, frame(PING, 0, 0, bytes(8)) * 50 + frame(SETTINGS, 0, 0) * 50 +
      frame(PRIORITY, 0, 1, bytes(5)) * 50)
write("resets", WITH_PREFACE, b"".join(
    frame(HEADERS, END_HEADERS, i, header_block("/echo/Chat")) + frame(RST_STREAM, 0, i, b"\0\0\0\x08")
    for i in range(1, 60, 2)))
write("cut-message", WITH_PREFACE, chat + frame(DATA, END_STREAM, 1, b"\0\0\0\0\x09abc"))
write("long-message", WITH_PREFACE, chat + frame(DATA, 0, 1, b"\0\xff\xff\xff\xff"))
write("compressed", WITH_PREFACE, chat + frame(DATA, 0, 1, message(b"x", flag=1)))
write("every-action", WITH_PREFACE | 7 << 2, chat + b"".join(
    frame(DATA, 0, 1, message(bytes([action]) + b"abc")) for action in (0, 1, 0, 2, 5, 0x54)))
write("cancel-inside", WITH_PREFACE, chat + frame(DATA, 0, 1, message(b"\3") + message(b"after")))
write("two-requests", WITH_PREFACE, frame(HEADERS, END_HEADERS, 1, header_block("/echo/Say")) +
      frame(DATA, END_STREAM, 1, message(b"a") + message(b"b")))
write("not-grpc", WITH_PREFACE, frame(HEADERS, END_HEADERS | END_STREAM, 1, header_block("/", method="GET")) +
      frame(HEADERS, END_HEADERS | END_STREAM, 3, header_block("/", content_type="text/html")))
write("timeout", WITH_PREFACE, frame(HEADERS, END_HEADERS | END_STREAM, 1,
                                     header_block("/echo/Chat", extra=[("grpc-timeout", "20S")])))
write("header-bomb", WITH_PREFACE, frame(HEADERS, END_HEADERS, 1, header_block("/echo/Chat") +
                                         field("x", "b" * 3000, first=0x40) + b"\xbe" * 500))
write("windows", WITH_PREFACE, chat + frame(WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff") +
      frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"))
write("http1", 0, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

answer = b"\x88" + field("content-type", "application/grpc")
trailers = field("grpc-status", "5") + field("grpc-message", "a%20%C3%A4%zz")
write("answer", AS_CLIENT | WITH_PREFACE, frame(HEADERS, END_HEADERS, 1, answer) + frame(DATA, 0, 1, message(b"xyz")) +
      frame(HEADERS, END_HEADERS | END_STREAM, 1, trailers))
write("answer-without-status", AS_CLIENT | WITH_PREFACE, frame(HEADERS, END_HEADERS, 1, answer) +
      frame(DATA, END_STREAM, 1, message(b"xyz")[:6]))
write("answer-503", AS_CLIENT | WITH_PREFACE, frame(HEADERS, END_HEADERS, 1, field(":status", "503")))
write("goaway", AS_CLIENT | WITH_PREFACE, frame(GOAWAY, 0, 0, b"\0\0\0\1\0\0\0\0going"))
