#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Peers that break or abuse HTTP/2 and gRPC, against the echo server: h2_edges.py ECHO_SERVER"""
import contextlib
import os
import struct
import sys
import time

from echo_process import echo_server, run
from raw_h2 import (CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR,
                    FRAME_SIZE_ERROR, GOAWAY, HEADERS, LIMIT_S, NO_ERROR, PADDED, PING, PREFACE, PRIORITY, PROTOCOL_ERROR,
                    REFUSED_STREAM, RST_STREAM, SETTINGS, STREAM_CLOSED, WINDOW_UPDATE, Connection, field, frame, header_block,
                    integer, message, request)

PROGRAM = sys.argv[1]
SAY, COUNT, CHAT, COLLECT = (f"/sensebus.test.Echo/{name}" for name in ("Say", "Count", "Chat", "Collect"))


# ------------------------------------------------------------------------------------------------ floods

def expect_flood_ends(flood, *options):
    """`flood(connection)` sends it; the server says so and closes, and serves others as before."""
    with echo_server(PROGRAM, *options) as server:
        with Connection(server.address) as c:
            flood(c)
            goaway = c.until_end()
            assert goaway is None or goaway.error == ENHANCE_YOUR_CALM, goaway
        with Connection(server.address) as c:
            assert c.counters()["flood_closures"] == 1, c.counters()


def ping_flood():
    expect_flood_ends(lambda c: c.send(frame(PING, 0, 0, b"12345678") * 3000))


def ping_flood_is_told():
    with echo_server(PROGRAM) as server, Connection(server.address) as c:
        c.send(frame(PING, 0, 0, b"12345678") * 1100)
        c.until_goaway(ENHANCE_YOUR_CALM)


def settings_flood():
    expect_flood_ends(lambda c: c.send(frame(SETTINGS, 0, 0) * 3000))


def priority_flood():
    expect_flood_ends(lambda c: c.send(frame(PRIORITY, 0, 1, b"\0\0\0\0\1") * 3000))


def empty_data_flood():
    def flood(c):
        stream = c.open(COLLECT, end=False)
        c.send(frame(DATA, 0, stream) * 3000)
    expect_flood_ends(flood)


def padded_data_flood():
    def flood(c):
        stream = c.open(COLLECT, end=False)
        c.send(frame(DATA, PADDED, stream, b"\3\0\0\0") * 3000)
    expect_flood_ends(flood)


def rapid_reset():
    def flood(c):
        for _ in range(1000):
            stream = c.open(COUNT, end=False)
            c.send(frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL)))
    expect_flood_ends(flood, "--reset-burst", "200", "--reset-per-second", "1")


def resets_provoked_from_the_server():
    def flood(c):
        for _ in range(1000):
            stream = c.open(COLLECT, end=False)
            c.send(frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 0x7fffffff)))
    expect_flood_ends(flood, "--reset-burst", "200", "--reset-per-second", "1")


def header_bomb():
    """One field of 4 KB in the table, then referred to again and again with one byte each."""
    def flood(c):
        block = header_block(SAY) + field("x-bomb", "b" * 3500, first=0x40) + bytes([0x80 | 62]) * 10000
        c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
    expect_flood_ends(flood)


def endless_continuation():
    with echo_server(PROGRAM) as server:
        with Connection(server.address) as c:
            c.send(frame(HEADERS, 0, 1, header_block(SAY)))
            c.send(frame(CONTINUATION, 0, 1, field("x", "y")) * 3000)
            c.until_end()
        with Connection(server.address) as c:
            c.expect_alive()


# ------------------------------------------------------------------------------------------------ limits

def header_list_over_the_limit():
    with echo_server(PROGRAM) as server, Connection(server.address) as c:
        block = header_block(SAY, extra=[("x-long", "v" * 10000)])
        rest = field("x-longer", "w" * 10000)
        c.send(frame(HEADERS, END_STREAM, 1, block), frame(CONTINUATION, END_HEADERS, 1, rest))
        c.next_stream = 3
        c.expect_status(1, 8)
        c.expect_alive()


def message_over_the_limit_by_its_prefix():
    with echo_server(PROGRAM) as server, Connection(server.address) as c:
        stream = c.open(COLLECT, b"\0\xff\xff\xff\xff", end=False)
        c.expect_status(stream, 8)
        assert c.until(RST_STREAM, stream).error == NO_ERROR
        assert c.counters()["oversize_messages"] == 1
        c.expect_alive()


def announced_length_takes_no_memory():
    with echo_server(PROGRAM) as server, Connection(server.address) as c:
        def rss_kb():
            with open(f"/proc/{server.pid}/statm") as f:
                return int(f.read().split()[1]) * 4
        c.expect_alive()
        before = rss_kb()
        for _ in range(900):
            c.open(COLLECT, b"\0\0\x3f\xff\xff" + b"x" * 10, end=False)
        c.expect_alive()
        assert rss_kb() - before < 200 * 1024, f"{before} KB before, {rss_kb()} KB after"


def more_streams_than_allowed():
    with echo_server(PROGRAM, "--max-streams", "3") as server, Connection(server.address) as c:
        for _ in range(4):
            stream = c.open(COLLECT, end=False)
        assert c.until(RST_STREAM).stream == stream
        c.send(frame(RST_STREAM, 0, 1, struct.pack(">I", CANCEL)))
        c.expect_alive()


def refused_streams_say_so():
    with echo_server(PROGRAM, "--max-streams", "1") as server, Connection(server.address) as c:
        c.open(COLLECT, end=False)
        stream = c.open(COLLECT, end=False)
        assert c.until(RST_STREAM, stream).error == REFUSED_STREAM


def more_connections_than_allowed():
    with echo_server(PROGRAM, "--max-connections", "2") as server:
        with Connection(server.address) as a, Connection(server.address) as b:
            a.expect_alive()
            b.expect_alive()
            with contextlib.suppress(ConnectionError):  # it may be closed before it is open here
                with Connection(server.address, preface=False) as c:
                    c.until_end()
            assert a.counters()["connections_refused"] == 1


# ------------------------------------------------------------------------------------------------ silence

def nothing_after_connecting():
    with echo_server(PROGRAM, "--handshake-ms", "300") as server:
        for start in (b"", PREFACE[:10], PREFACE):
            with Connection(server.address, preface=False) as c:
                c.send(start)
                c.until_end()


def no_answer_to_keepalive():
    with echo_server(PROGRAM, "--keepalive-ms", "200", "--keepalive-timeout-ms", "2000") as server:
        with Connection(server.address) as c:
            c.open(COLLECT, end=False)
            c.until(PING)
            c.until_end()
        values = counters_of(server)
        assert values["keepalive_timeouts"] >= 1 and values["calls_open"] == 1, values


def counters_of(server):
    """Asked on a connection of its own, and again where the machine held us up for so long that it was ended as silent."""
    give_up = time.monotonic() + LIMIT_S
    while True:
        try:
            with Connection(server.address) as c:
                return c.counters()
        except (AssertionError, ConnectionError):
            if time.monotonic() > give_up:
                raise


def a_peer_that_never_reads_its_replies():
    """Its calls fill their queues and stop; others go on; keepalive ends it."""
    with echo_server(PROGRAM, "--keepalive-ms", "500", "--keepalive-timeout-ms", "1000") as server:
        with Connection(server.address, settings=struct.pack(">HI", 4, 0x7fffffff)) as c:
            c.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7fff0000)))
            for _ in range(5):
                c.open(COUNT, request(repeat=0, reply_bytes=100000))
            give_up = time.monotonic() + LIMIT_S
            while (values := counters_of(server))["keepalive_timeouts"] == 0 or values["calls_open"] > 1:
                assert time.monotonic() < give_up, values
                time.sleep(0.05)


def a_peer_that_talks_but_never_reads():
    """Nothing that it says makes up for a write that it never takes."""
    with echo_server(PROGRAM, "--keepalive-ms", "500", "--keepalive-timeout-ms", "1000") as server:
        with Connection(server.address, settings=struct.pack(">HI", 4, 0x7fffffff)) as c:
            c.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7fff0000)))
            c.open(COUNT, request(repeat=0, reply_bytes=100000))
            give_up = time.monotonic() + LIMIT_S
            while (values := counters_of(server))["keepalive_timeouts"] == 0 or values["calls_open"] > 1:
                assert time.monotonic() < give_up, values
                c.send(frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"))
                time.sleep(0.05)


def dribbled_bytes():
    with echo_server(PROGRAM) as server, Connection(server.address, preface=False) as c:
        data = PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 1, header_block(SAY))
        for byte in data + frame(DATA, END_STREAM, 1, request(repeat=1)):
            c.send(bytes([byte]))
        c.expect_status(1, 0)


# ------------------------------------------------------------------------------------------------ broken HTTP/2

def bad_preface():
    with echo_server(PROGRAM) as server:
        for start in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", os.urandom(1000)):
            with Connection(server.address, preface=False) as c:
                c.send(start)
                c.until_end()
        with Connection(server.address) as c:
            c.expect_alive()


def garbage_after_the_preface():
    with echo_server(PROGRAM, "--handshake-ms", "1000") as server:
        for _ in range(20):
            with Connection(server.address, preface=False) as c:
                c.send(PREFACE, os.urandom(5000))
                c.until_end()


def expect_goaway(error, *frames):
    with echo_server(PROGRAM) as server:
        with Connection(server.address) as c:
            c.send(*frames)
            c.until_goaway(error)
            c.until_end()
        with Connection(server.address) as c:
            c.expect_alive()


def data_on_the_connection():
    expect_goaway(PROTOCOL_ERROR, frame(DATA, 0, 0, b"x"))


def even_stream_number():
    expect_goaway(PROTOCOL_ERROR, frame(HEADERS, END_HEADERS, 2, header_block(SAY)))


def reset_of_an_idle_stream():
    """gRPC's C core resets calls that were cancelled before their headers were sent: no reason to end their siblings."""
    with echo_server(PROGRAM, "--reset-burst", "50", "--reset-per-second", "1") as server:
        with Connection(server.address) as c:
            sibling = c.open(SAY, end=False)
            for _ in range(20):
                stream, c.next_stream = c.next_stream, c.next_stream + 2
                c.send(frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL)))
            c.expect_alive()
            c.send(frame(DATA, END_STREAM, sibling, request(sleep_ms=0)))
            c.expect_status(sibling, 0)
            for _ in range(100):  # but they count as the others do
                stream, c.next_stream = c.next_stream, c.next_stream + 2
                c.send(frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL)))
            c.until_goaway(ENHANCE_YOUR_CALM)
    expect_goaway(PROTOCOL_ERROR, frame(RST_STREAM, 0, 2, struct.pack(">I", CANCEL)))  # none that a client could open


def frame_longer_than_allowed():
    expect_goaway(FRAME_SIZE_ERROR, frame(DATA, 0, 1, b"x" * 70000))


def settings_of_a_wrong_length():
    expect_goaway(FRAME_SIZE_ERROR, frame(SETTINGS, 0, 0, b"12345"))


def ping_of_a_wrong_length():
    expect_goaway(FRAME_SIZE_ERROR, frame(PING, 0, 0, b"1234"))


def broken_header_compression():
    expect_goaway(9, frame(HEADERS, END_HEADERS, 1, integer(1000, 7, 0x80)))


def window_of_the_connection_overflows():
    expect_goaway(FLOW_CONTROL_ERROR, frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7fffffff)))


def window_of_a_stream_overflows():
    with echo_server(PROGRAM) as server, Connection(server.address) as c:
        stream = c.open(COLLECT, end=False)
        c.send(frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 0x7fffffff)))
        assert c.until(RST_STREAM, stream).error == FLOW_CONTROL_ERROR
        c.expect_alive()


def more_data_than_granted():
    """Chat stops reading while its replies are not taken; then the client's window is what it is."""
    with echo_server(PROGRAM) as server, Connection(server.address) as c:
        stream = c.open(CHAT, end=False)
        for _ in range(40):
            c.send(frame(DATA, 0, stream, request(reply_bytes=100000)))
        c.send(frame(DATA, 0, stream, message(b"\x0a" + b"\xf0\xff\x3f" + b"x" * 16000)[:16384]))
        for _ in range(80):
            c.send(frame(DATA, 0, stream, b"x" * 16384))
        assert c.until(RST_STREAM, stream).error == FLOW_CONTROL_ERROR


def data_after_the_end():
    with echo_server(PROGRAM) as server, Connection(server.address) as c:
        stream = c.open(SAY, request(sleep_ms=60000))
        c.send(frame(DATA, 0, stream, b"more"))
        c.until_goaway(STREAM_CLOSED)


# ------------------------------------------------------------------------------------------------ windows

INITIAL_WINDOW_SIZE = 4


def initial_window(n):
    return struct.pack(">HI", INITIAL_WINDOW_SIZE, n)


def settings(*entries):
    return frame(SETTINGS, 0, 0, b"".join(entries))


def window(stream, n):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", n))


def data_until(c, stream, n):
    """The first `n` bytes of the stream, and how many frames they came in."""
    data, frames = b"", 0
    while len(data) < n:
        data += c.until(DATA, stream).payload
        frames += 1
    return data, frames


def replies(data):
    """The messages in what a stream sent."""
    found = []
    while data:
        length = int.from_bytes(data[1:5], "big")
        assert data[0] == 0 and len(data) >= 5 + length, "a message is cut"
        found.append(data[5:5 + length])
        data = data[5 + length:]
    return found


def a_window_of_one_byte_at_a_time():
    with echo_server(PROGRAM) as server, Connection(server.address, settings=initial_window(1)) as c:
        stream = c.open(COUNT, request(repeat=2, reply_bytes=20))
        whole = c.until(DATA, stream).payload
        assert len(whole) == 1
        while len(whole) < 58:  # two messages of 5 + 24 bytes
            c.send(window(stream, 1))
            part = c.until(DATA, stream).payload
            assert len(part) == 1, part
            whole += part
        assert [len(reply) for reply in replies(whole)] == [24, 24]
        c.expect_status(stream, 0)


def a_window_of_zero_that_opens_for_all_by_settings():
    with echo_server(PROGRAM) as server, Connection(server.address, settings=initial_window(0)) as c:
        first, second = (c.open(COUNT, request(repeat=100, reply_bytes=100)) for _ in range(2))
        for stream in (first, second):
            assert not c.until(HEADERS, stream).flags & END_STREAM
        c.send(frame(PING, 0, 0, b"12345678"))
        while (found := c.read()).kind != PING or found.flags == 0:
            assert found.kind != DATA, "data without a window"
        c.send(settings(initial_window(65535)))
        data = {first: b"", second: b""}
        ended = set()
        while len(ended) < 2:
            found = c.read()
            if found.kind == DATA:
                data[found.stream] += found.payload
            elif found.kind == HEADERS and found.flags & END_STREAM:
                ended.add(found.stream)
        assert all(len(replies(d)) == 100 for d in data.values())


def a_window_below_zero():
    """Settings may take back what was used already (RFC 9113 section 6.9.2): nothing comes until that is made up for."""
    with echo_server(PROGRAM) as server, Connection(server.address, settings=initial_window(1000)) as c:
        stream = c.open(COUNT, request(repeat=20, reply_bytes=100))
        whole, _ = data_until(c, stream, 1000)
        c.send(settings(initial_window(0)), window(stream, 999), frame(PING, 0, 0, b"12345678"))
        while (found := c.read()).kind != PING or found.flags == 0:
            assert found.kind != DATA, "data below zero"
        c.send(window(stream, 2))
        assert len(part := c.until(DATA, stream).payload) == 1, part
        c.send(settings(initial_window(65535)))
        whole += part
        while len(whole) < 20 * 109:
            whole += c.until(DATA, stream).payload
        assert len(replies(whole)) == 20
        c.expect_status(stream, 0)


def the_largest_windows():
    largest = 0x7fffffff
    with echo_server(PROGRAM) as server, Connection(server.address, settings=initial_window(largest)) as c:
        c.send(window(0, largest - 65535))
        stream = c.open(COUNT, request(repeat=1000, reply_bytes=1000))
        whole, _ = data_until(c, stream, 1000 * 1010)
        assert len(replies(whole)) == 1000
        c.expect_status(stream, 0)
        c.expect_alive()
        c.send(settings(initial_window(largest + 1)))
        c.until_goaway(FLOW_CONTROL_ERROR)


def window_updates_without_end():
    """They cost about as much as they do: a peer may open its window byte by byte."""
    with echo_server(PROGRAM) as server, Connection(server.address) as c:
        stream = c.open(COUNT, end=False)
        c.send(window(stream, 1) * 50000 + window(0, 1) * 50000)
        c.expect_alive()


def settings_that_toggle_the_windows_of_many_streams():
    with echo_server(PROGRAM) as server:
        with Connection(server.address) as c:
            for _ in range(500):
                c.open(COUNT, end=False)
            c.send(b"".join(settings(initial_window(n % 2 * 65535)) for n in range(900)))
            c.expect_alive()
            c.send(b"".join(settings(initial_window(n % 2 * 65535)) for n in range(3000)))
            goaway = c.until_end()
            assert goaway is None or goaway.error == ENHANCE_YOUR_CALM, goaway
        with Connection(server.address) as c:
            c.expect_alive()


# ------------------------------------------------------------------------------------------------ storms

def cancels_leave_their_siblings_alone():
    """nghttp2's own limit would end the connection at the thousandth."""
    with echo_server(PROGRAM) as server, Connection(server.address) as c:
        sibling = c.open(COUNT, request(repeat=1000, reply_bytes=50))
        chatting = c.open(CHAT, end=False)
        c.until(HEADERS, chatting)
        for _ in range(6):
            storm = b""
            for _ in range(500):
                stream, c.next_stream = c.next_stream, c.next_stream + 2
                storm += frame(HEADERS, END_HEADERS, stream, header_block(COUNT))
                storm += frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL))
            c.send(storm)
            c.send(frame(DATA, 0, chatting, request(reply_bytes=10)))
            c.until(DATA, chatting)
        c.expect_alive()
        assert c.counters()["calls_open"] == 2  # this one, and the one that chats
        c.send(frame(DATA, END_STREAM, chatting, request(reply_bytes=10)))
        c.expect_status(chatting, 0)
        assert sibling


def unknown_frames_are_passed_over():
    """RFC 9113 section 5.5. They are answered with nothing, and cost less than they do the peer."""
    with echo_server(PROGRAM) as server, Connection(server.address) as c:
        c.send(frame(0x77, 0, 0, b"what?") * 3000, frame(0x77, 0xff, 1, b"x" * 16384))
        c.expect_alive()


def trailers_without_end():
    """Header blocks behind the first: the second must end the stream (RFC 9113 section 8.1)."""
    with echo_server(PROGRAM) as server, Connection(server.address) as c:
        stream = c.open(COLLECT, end=False)
        c.send(frame(HEADERS, END_HEADERS, stream, field("x-more", "and more")) * 3)
        assert c.until(RST_STREAM, stream).error == PROTOCOL_ERROR
        c.expect_alive()


def continuation_that_continues_nothing():
    expect_goaway(PROTOCOL_ERROR, frame(CONTINUATION, END_HEADERS, 1, field("x", "y")))


def continuation_that_is_interrupted():
    with echo_server(PROGRAM) as server, Connection(server.address) as c:
        c.send(frame(HEADERS, 0, 1, header_block(SAY)), frame(PING, 0, 0, b"12345678"))
        c.until_goaway(PROTOCOL_ERROR)


def promises_from_a_client():
    expect_goaway(PROTOCOL_ERROR, frame(5, END_HEADERS, 1, struct.pack(">I", 2) + header_block(SAY)))


# ------------------------------------------------------------------------------------------------ broken gRPC

def message_cut_short():
    with echo_server(PROGRAM) as server, Connection(server.address) as c:
        for body in (b"\0\0\0\0\5abc", b"\0\0\0"):
            c.expect_status(c.open(COLLECT, body), 13)
        c.expect_alive()


def compressed_message():
    with echo_server(PROGRAM) as server, Connection(server.address) as c:
        c.expect_status(c.open(SAY, message(b"x", flag=1)), 12)
        c.expect_status(c.open(SAY, message(b"x", flag=2)), 13)


def no_message_and_two():
    with echo_server(PROGRAM) as server, Connection(server.address) as c:
        c.expect_status(c.open(SAY), 3)
        c.expect_status(c.open(SAY, request(repeat=1) * 2), 3)


def not_post():
    with echo_server(PROGRAM) as server, Connection(server.address) as c:
        assert b"\x03405" in c.last_headers(c.open(SAY, method="GET"))
        c.expect_alive()


def wrong_content_type():
    with echo_server(PROGRAM) as server, Connection(server.address) as c:
        for name in ("application/json", "application/grpcish", "text/plain"):
            assert b"\x03415" in c.last_headers(c.open(SAY, request(repeat=1), content_type=name)), name
        for name in ("application/grpc+proto", "application/grpc;charset=utf-8", "application/grpc"):
            c.expect_status(c.open(SAY, request(repeat=1), content_type=name), 0)


def timeouts():
    with echo_server(PROGRAM) as server, Connection(server.address) as c:
        for text in ("", "5", "S", "-1S", "123456789S", "5s", "1.5S"):
            c.expect_status(c.open(SAY, request(repeat=1), extra=[("grpc-timeout", text)]), 3)
        c.expect_status(c.open(SAY, request(sleep_ms=60000), extra=[("grpc-timeout", "0n")]), 4)
        c.expect_status(c.open(SAY, request(sleep_ms=60000), extra=[("grpc-timeout", "50m")]), 4)
        c.expect_status(c.open(SAY, request(repeat=1), extra=[("grpc-timeout", "99999999H")]), 0)


def early_status_frees_the_stream():
    """The server has answered, the client has not finished asking: RST_STREAM(NO_ERROR) follows the status."""
    with echo_server(PROGRAM) as server, Connection(server.address) as c:
        stream = c.open("/no/method", b"\0\0\0\0\5", end=False)
        c.expect_status(stream, 12)
        assert c.until(RST_STREAM, stream).error == NO_ERROR


def drain_in_two_steps():
    with echo_server(PROGRAM, ends_by_itself=True) as server, Connection(server.address) as c:
        stream = c.open(SAY, request(sleep_ms=60000))  # until the server's grace is over
        c.expect_alive()
        server.terminate()
        first = c.until(GOAWAY)
        assert struct.unpack(">I", first.payload[:4])[0] == 0x7fffffff and first.error == NO_ERROR, first
        c.expect_status(stream, 14)
        second = c.until(GOAWAY)
        assert struct.unpack(">I", second.payload[:4])[0] == c.next_stream - 2 and second.error == NO_ERROR, second
        c.until_end()


sys.exit(run([
    ping_flood, ping_flood_is_told, settings_flood, priority_flood, empty_data_flood,
    padded_data_flood, rapid_reset, resets_provoked_from_the_server, header_bomb, endless_continuation,
    header_list_over_the_limit, message_over_the_limit_by_its_prefix, announced_length_takes_no_memory,
    more_streams_than_allowed, refused_streams_say_so, more_connections_than_allowed, nothing_after_connecting,
    no_answer_to_keepalive, a_peer_that_never_reads_its_replies,
    a_peer_that_talks_but_never_reads, dribbled_bytes, bad_preface,
    garbage_after_the_preface, data_on_the_connection, even_stream_number, reset_of_an_idle_stream,
    frame_longer_than_allowed, settings_of_a_wrong_length, ping_of_a_wrong_length, broken_header_compression,
    window_of_the_connection_overflows, window_of_a_stream_overflows, more_data_than_granted, data_after_the_end,
    message_cut_short, compressed_message, no_message_and_two, not_post, wrong_content_type, timeouts,
    early_status_frees_the_stream, drain_in_two_steps,
    a_window_of_one_byte_at_a_time, a_window_of_zero_that_opens_for_all_by_settings, a_window_below_zero,
    the_largest_windows, window_updates_without_end, settings_that_toggle_the_windows_of_many_streams,
    cancels_leave_their_siblings_alone, unknown_frames_are_passed_over, trailers_without_end,
    continuation_that_continues_nothing, continuation_that_is_interrupted, promises_from_a_client,
]))
