# SPDX-License-Identifier: Apache-2.0
"""A target that hands over what remote initiators write to it: the serving side of the agent's data feed.

The protocol is in agent/target/feed_message.h. The socket's buffers are made small, so that a reader that stops is
felt soon.
"""
import os
import shutil
import socket
import struct
import tempfile
import threading

SERVES, DATA, DONE = 1, 2, 3


def name(text):
    raw = text.encode()
    return bytes([len(raw)]) + raw


def message(kind, body):
    return struct.pack(">IB", len(body) + 1, kind) + body


class FeedTarget:
    """Listens; `serves` is said on each connection. Data is sent by a thread of its own, in order, so that a test goes on
    while the agent holds off; what was not DONE when a connection ends is sent again on the next one."""

    def __init__(self, *serves):
        self.directory = tempfile.mkdtemp(prefix="sensebus-feed-")
        self.path = os.path.join(self.directory, "feed")
        self.serves = list(serves)
        self.changed = threading.Condition()
        self.queue = []          # DATA messages that are not DONE
        self.n_sent = 0          # of them, on this connection
        self.n_done = 0          # in all
        self.n_connections = 0
        self.connection = None
        self.closing = False
        self.listener = None
        self.threads = []
        self.listen()

    @property
    def option(self):
        return ["--target-feed", f"unix:{self.path}"]

    def listen(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        self.listener.bind(self.path)
        self.listener.listen(1)
        self.spawn(self.accept, self.listener)

    def spawn(self, function, *arguments):
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        thread.start()
        self.threads.append(thread)

    def accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.sendall(message(SERVES, b"".join(map(name, self.serves))))
            with self.changed:
                self.connection = connection
                self.n_sent = 0
                self.n_connections += 1
                self.changed.notify_all()
            self.spawn(self.read_done, connection)
            self.spawn(self.write_data, connection)

    def read_done(self, connection):
        before = 0
        stream = connection.makefile("rb")
        while raw := stream.read(13):
            length, kind, n = struct.unpack(">IBQ", raw)
            assert (length, kind) == (9, DONE) and n > before, (length, kind, n)
            with self.changed:
                del self.queue[:n - before]
                self.n_sent -= n - before
                self.n_done += n - before
                self.changed.notify_all()
            before = n
        with self.changed:
            if self.connection is connection:
                self.connection = None
            self.changed.notify_all()

    def write_data(self, connection):
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.connection is not connection or self.n_sent < len(self.queue))
                if self.connection is not connection:
                    return
                raw = self.queue[self.n_sent]
                self.n_sent += 1
            try:
                connection.sendall(raw)
            except OSError:
                return

    def write(self, target, initiator, data):
        """As if the initiator had written this to the target."""
        with self.changed:
            self.queue.append(message(DATA, name(target) + name(initiator) + data))
            self.changed.notify_all()

    def serve(self, *names):
        """From now on."""
        self.serves = list(names)
        self.send_raw(message(SERVES, b"".join(map(name, names))))

    def send_raw(self, data):
        with self.changed:
            self.connection.sendall(data)

    def drop(self):
        """End the connection; the agent comes back by itself."""
        with self.changed:
            connection, self.connection = self.connection, None
            self.changed.notify_all()
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()

    def go_away(self):
        """Nobody listens any more, until listen()."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        os.unlink(self.path)
        if self.connection:
            self.drop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if os.path.exists(self.path):
            self.go_away()
        for thread in self.threads:
            thread.join(10)
        shutil.rmtree(self.directory, ignore_errors=True)
