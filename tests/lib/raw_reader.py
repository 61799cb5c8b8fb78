# SPDX-License-Identifier: Apache-2.0
"""Subscribers on bare sockets: thousands in one thread, or one that reads as badly as a test wants.

A RawReader speaks just enough HTTP/2: it sends its request, takes frames apart, answers SETTINGS and PING, and keeps what it
was sent as EventBatch messages. It reads only when it is told to (pump). A Crowd pumps many.
"""
import os
import selectors
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
import raw_h2  # noqa: E402
from sensebus_testlib import LIMIT_S, check, events_pb2  # noqa: E402

SUBSCRIBE = "/sensebus.v1.Events/Subscribe"
WINDOW_MAX = 0x7fffffff
WINDOW_DEFAULT = 65535
HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE = 1, 4


def resident_kib(pid):
    """What a process has in memory."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


def setting(identifier, value):
    return struct.pack(">HI", identifier, value)


def opening(window=WINDOW_MAX):
    """The first words of a connection: no header table, and as much window for everything."""
    words = raw_h2.PREFACE + raw_h2.frame(raw_h2.SETTINGS, 0, 0, setting(HEADER_TABLE_SIZE, 0) +
                                          setting(INITIAL_WINDOW_SIZE, window))
    if window > WINDOW_DEFAULT:
        words += window_update(0, window - WINDOW_DEFAULT)
    return words


def window_update(stream, more):
    return raw_h2.frame(raw_h2.WINDOW_UPDATE, 0, stream, struct.pack(">I", more))


def call(stream, request, path=SUBSCRIBE, extra=()):
    """The frames of a call with one request."""
    return raw_h2.frame(raw_h2.HEADERS, raw_h2.END_HEADERS, stream, raw_h2.header_block(path, extra=extra)) + \
        raw_h2.frame(raw_h2.DATA, raw_h2.END_STREAM, stream, raw_h2.message(request))


def cancel(stream):
    return raw_h2.frame(raw_h2.RST_STREAM, 0, stream, struct.pack(">I", raw_h2.CANCEL))


class Stream:
    """What came on one stream."""

    def __init__(self, keep):
        self.keep = keep
        self.batches = []
        self.sequences = []   # of every event
        self.n_batches = 0
        self.position = 0     # up to here everything came: events, Synced and Mark say it
        self.trailers = None  # the header block that ended it
        self.reset = None     # the code of RST_STREAM
        self.part = b""

    def take(self, data):
        self.part += data
        while len(self.part) >= 5 and len(self.part) >= 5 + int.from_bytes(self.part[1:5], "big"):
            end = 5 + int.from_bytes(self.part[1:5], "big")
            batch = events_pb2.EventBatch.FromString(self.part[5:end])
            self.part = self.part[end:]
            self.n_batches += 1
            self.sequences += [event.sequence for event in batch.events]
            if self.sequences:
                self.position = max(self.position, self.sequences[-1])
            for name in ("synced", "mark", "opened"):
                if batch.HasField(name):
                    self.position = max(self.position, getattr(batch, name).position.sequence)
            if self.keep:
                self.batches.append(batch)

    def controls(self, name):
        return [getattr(batch, name) for batch in self.batches if batch.HasField(name)]

    def status(self):
        """Of the call; None while it goes on. Shorter in plain text than in HPACK's Huffman code, so it can be seen."""
        if self.trailers is None:
            return None
        return next((n for n in range(17) if bytes([len(str(n))]) + str(n).encode() in self.trailers), None)


class RawReader:
    """A connection with a Subscribe call on stream 1, unless `request` is None."""

    def __init__(self, address, request=None, window=WINDOW_MAX, receive_buffer=None, keep=True, connect=True):
        host, port = address.rsplit(":", 1)
        self.streams = {}
        self.keep = keep
        self.next_stream = 1
        self.buffer = b""
        self.n_bytes = 0
        self.n_pings = 0
        self.goaway = None
        self.ended = False
        self.waiting = bytearray()  # what the socket did not take yet
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setblocking(False)
        self.socket.connect_ex((host, int(port)))
        self.send(opening(window))
        if request is not None:
            self.subscribe(request)
        if connect:
            self.flush()

    def subscribe(self, request):
        return self.call(request.SerializeToString())

    def call(self, message, path=SUBSCRIBE, extra=()):
        """Start a call; returns its Stream."""
        number, self.next_stream = self.next_stream, self.next_stream + 2
        stream = self.streams[number] = Stream(self.keep)
        stream.number = number
        self.send(call(number, message, path, extra))
        return stream

    @property
    def first(self):
        return self.streams[1]

    def send(self, data):
        """Soon: flush or pump writes it."""
        self.waiting += data

    def write_some(self):
        """Give the socket what it takes now. False when something is left."""
        while self.waiting:
            try:
                del self.waiting[:self.socket.send(self.waiting)]
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno == 107:  # not connected yet
                    return False
                self.waiting, self.ended = bytearray(), True
        return True

    def flush(self):
        end = time.monotonic() + LIMIT_S
        selector = selectors.DefaultSelector()
        selector.register(self.socket, selectors.EVENT_WRITE)
        while not self.write_some():
            check(time.monotonic() < end, "the socket takes nothing")
            selector.select(0.1)
        selector.close()
        return self

    def pump(self, n=65536):
        """Read at most `n` bytes, if there are some. Returns how many; -1 at the end."""
        try:
            data = self.socket.recv(n)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if not data:
            self.ended = True
            return -1
        self.n_bytes += len(data)
        self.buffer += data
        self._frames()
        return len(data)

    def _frames(self):
        at, buffer = 0, self.buffer
        while len(buffer) - at >= 9:
            length = int.from_bytes(buffer[at:at + 3], "big")
            if len(buffer) - at < 9 + length:
                break
            kind, flags, number = struct.unpack(">BBI", buffer[at + 3:at + 9])
            self._frame(kind, flags, number, buffer[at + 9:at + 9 + length])
            at += 9 + length
        self.buffer = buffer[at:]

    def _frame(self, kind, flags, number, payload):
        stream = self.streams.get(number)
        if kind == raw_h2.DATA and stream:
            stream.take(payload)
        elif kind == raw_h2.HEADERS and stream and flags & raw_h2.END_STREAM:
            stream.trailers = payload
        elif kind == raw_h2.RST_STREAM and stream:
            stream.reset = int.from_bytes(payload, "big")
        elif kind == raw_h2.SETTINGS and not flags & 1:
            self.send(raw_h2.frame(raw_h2.SETTINGS, 1, 0))
        elif kind == raw_h2.PING and not flags & 1:
            self.n_pings += 1
            self.send(raw_h2.frame(raw_h2.PING, 1, 0, payload))
        elif kind == raw_h2.GOAWAY:
            self.goaway = int.from_bytes(payload[4:8], "big")
        self.write_some()

    def read_until(self, condition, what="the reader", limit_s=None):
        """Read until condition(self) or the end."""
        end = time.monotonic() + (limit_s or LIMIT_S)
        selector = selectors.DefaultSelector()
        selector.register(self.socket, selectors.EVENT_READ)
        try:
            while not condition(self):
                check(not self.ended, f"the connection ended before {what}")
                check(time.monotonic() < end, f"waited in vain for {what}")
                self.write_some()
                if selector.select(0.05):
                    self.pump()
        finally:
            selector.close()
        return self

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Crowd:
    """Many RawReaders, one thread."""

    def __init__(self):
        self.readers = []
        self.selector = selectors.DefaultSelector()

    def add(self, reader):
        self.readers.append(reader)
        self.selector.register(reader.socket, selectors.EVENT_READ | (selectors.EVENT_WRITE if reader.waiting else 0), reader)
        return reader

    def turn(self, wait_s=0.05):
        """Handle what there is to read and to write."""
        for key, events in self.selector.select(wait_s):
            reader = key.data
            if events & selectors.EVENT_WRITE and reader.write_some():
                self.selector.modify(reader.socket, selectors.EVENT_READ, reader)
            if events & selectors.EVENT_READ and reader.pump() < 0:
                self.selector.unregister(reader.socket)

    def until(self, condition, what, limit_s=None):
        """Until condition(reader) is true of every reader."""
        end = time.monotonic() + (limit_s or LIMIT_S)
        left = [reader for reader in self.readers if not condition(reader)]
        while left:
            check(time.monotonic() < end, f"waited in vain for {what}: {len(left)} of {len(self.readers)} have it not")
            self.turn()
            left = [reader for reader in left if not condition(reader)]

    def close(self):
        self.selector.close()
        for reader in self.readers:
            reader.close()
        self.readers = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
