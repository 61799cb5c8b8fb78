# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 frames by hand, right or wrong: a client for tests that no library would let us write."""
import socket
import struct
import time

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED = 1, 4, 8
NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR = 0, 1, 3, 5, 6
REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 7, 8, 11
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LIMIT_S = 60


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def integer(value, bits, first=0):
    """HPACK: an integer with a prefix of `bits`."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([first | value])
    out = [first | limit]
    value -= limit
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + [value])


def field(name, value, first=0):
    """HPACK: a literal field, not indexed (or with first=0x40, added to the table)."""
    name, value = name.encode(), value.encode()
    return bytes([first]) + integer(len(name), 7) + name + integer(len(value), 7) + value


def header_block(path, method="POST", content_type="application/grpc", extra=()):
    fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "test"), ("te", "trailers"),
              ("content-type", content_type), *extra]
    return b"".join(field(name, value) for name, value in fields)


def message(payload, flag=0):
    return struct.pack(">BI", flag, len(payload)) + payload


def varint(value):
    out = b""
    while value >= 128:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def request(**numbers):
    """A SayRequest of numbers only."""
    tags = {"status": 2, "repeat": 4, "reply_bytes": 5, "sleep_ms": 6}
    return message(b"".join(bytes([tags[name] << 3]) + varint(value) for name, value in numbers.items()))


class Frame:
    def __init__(self, kind, flags, stream, payload):
        self.kind, self.flags, self.stream, self.payload = kind, flags, stream, payload

    def __repr__(self):
        return f"frame {self.kind} flags {self.flags} stream {self.stream} {self.payload[:60]!r}"

    @property
    def error(self):
        """Of RST_STREAM and GOAWAY."""
        return struct.unpack(">I", self.payload[4:8] if self.kind == GOAWAY else self.payload[:4])[0]


class Connection:
    def __init__(self, address, preface=True, settings=b""):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout=LIMIT_S)
        self.buffer = b""
        self.next_stream = 1
        if preface:
            # No table on the server's side, so that what it says can be seen in its bytes.
            self.send(PREFACE, frame(SETTINGS, 0, 0, struct.pack(">HI", 1, 0) + settings))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *parts):
        """A server that has had enough may close while we still send."""
        try:
            self.socket.sendall(b"".join(parts))
        except (BrokenPipeError, ConnectionResetError):
            pass

    def open(self, path, body=b"", end=True, **headers):
        """A request; returns its stream."""
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        last = END_STREAM if end and not body else 0
        self.send(frame(HEADERS, END_HEADERS | last, stream, header_block(path, **headers)))
        if body:
            self.send(frame(DATA, END_STREAM if end else 0, stream, body))
        return stream

    def read(self):
        """The next frame, or None at the end of the connection."""
        give_up = time.monotonic() + LIMIT_S
        while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
            assert time.monotonic() < give_up, "the server is silent"
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return None
            self.buffer += data
        length = int.from_bytes(self.buffer[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
        payload, self.buffer = self.buffer[9:9 + length], self.buffer[9 + length:]
        return Frame(kind, flags, stream & 0x7fffffff, payload)

    def until(self, kind, stream=None):
        """The next frame of that kind; others are passed over."""
        while True:
            found = self.read()
            assert found, f"the connection ended before a frame {kind}"
            if found.kind == kind and (stream is None or found.stream == stream):
                return found

    def until_goaway(self, error):
        found = self.until(GOAWAY)
        assert found.error == error, found
        return found

    def until_end(self):
        """The connection must end; the last GOAWAY on the way."""
        goaway = None
        while True:
            found = self.read()
            if not found:
                return goaway
            if found.kind == GOAWAY:
                goaway = found

    def last_headers(self, stream):
        """The headers or trailers that end the stream."""
        while True:
            found = self.until(HEADERS, stream)
            if found.flags & END_STREAM:
                return found.payload

    def expect_status(self, stream, status):
        """Status values are shorter in plain text than in HPACK's Huffman code, so they can be seen."""
        value = str(status).encode()
        block = self.last_headers(stream)
        assert bytes([len(value)]) + value in block, f"no status {status} in {block!r}"

    def counters(self):
        stream = self.open("/sensebus.test.Echo/GetCounters", message(b""))
        data = self.until(DATA, stream).payload[5:]
        names = ["calls_open", "calls_started", "flood_closures", "protocol_errors", "oversize_messages",
                 "keepalive_timeouts", "connections_open", "connections_refused"]
        values = dict.fromkeys(names, 0)
        while data:
            tag, value, shift, i = data[0] >> 3, 0, 0, 1
            while True:
                value |= (data[i] & 127) << shift
                shift, i = shift + 7, i + 1
                if data[i - 1] < 128:
                    break
            values[names[tag - 1]] = value
            data = data[i:]
        return values

    def expect_alive(self):
        stream = self.open("/sensebus.test.Echo/Say", request(sleep_ms=0))
        self.expect_status(stream, 0)
