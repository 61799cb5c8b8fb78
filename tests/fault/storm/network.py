# SPDX-License-Identifier: Apache-2.0
"""A network that can be cut: the broker on one host, the players on others, between them what a run does to it.

Namespaces: this process moves into a network and a mount namespace of its own, and each host is one more, joined to it by a
virtual cable on a bridge. All of it is gone with the process, and no other program sees any of it. Where the machine does
not allow that, Proxies stands in: a relay in user space for each host that stops relaying, or breaks connections.
"""
import ctypes
import os
import socket
import subprocess
import threading
import time

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x20000, 0x10000000, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def check(result, what):
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def ip(*words):
    subprocess.run(["ip", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def unshare():
    """Into namespaces of our own; as somebody who is not root, by way of a user namespace."""
    if os.geteuid() == 0:
        check(libc.unshare(CLONE_NEWNS | CLONE_NEWNET), "unshare")
    else:
        uid, gid = os.geteuid(), os.getegid()
        check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET), "unshare")
        for path, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/self/{path}", "w") as file:
                file.write(text)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True, stderr=subprocess.PIPE)


class Namespaces:
    listen = "10.88.0.1:7070"
    ways = ("cable", "to the broker", "from the broker")  # a cable that is pulled; black holes one way

    @staticmethod
    def why_not():
        """Tried by a child, which may fail half-way; None when this machine has them."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                Namespaces(1).close()
            except (OSError, subprocess.CalledProcessError) as error:
                os.write(writer, str(error).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as file:
            why = file.read()
        os.waitpid(pid, 0)
        return why or None

    def __init__(self, n_hosts):
        unshare()
        ip("link", "set", "lo", "up")
        ip("link", "add", "br0", "type", "bridge")
        ip("addr", "add", "10.88.0.1/24", "dev", "br0")
        ip("link", "set", "br0", "up")
        self.holders = [None] + [self._add_host(h) for h in range(1, n_hosts + 1)]

    def _add_host(self, host):
        holder = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)  # it ends with us: with its standard input
        holder.stdout.readline()  # its namespace stands
        ip("link", "add", f"v{host}", "type", "veth", "peer", "name", "e0", "netns", str(holder.pid))
        ip("link", "set", f"v{host}", "master", "br0", "up")
        for words in (("link", "set", "lo", "up"), ("addr", "add", f"10.88.0.{host + 1}/24", "dev", "e0"),
                      ("link", "set", "e0", "up")):
            self._inside(holder.pid, *words)
        return holder

    @staticmethod
    def _inside(pid, *words):
        subprocess.run(["nsenter", "-t", str(pid), "-n", "ip", *words], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.PIPE)

    def address(self, host):
        return self.listen

    def serves(self, address):
        """The broker listens there."""

    def enter(self, host):
        """The calling process moves to that host."""
        if host:
            fd = os.open(f"/proc/{self.holders[host].pid}/ns/net", os.O_RDONLY)
            check(libc.setns(fd, CLONE_NEWNET), "setns")
            os.close(fd)

    def cut(self, host, way):
        self._switch(host, way, True)

    def heal(self, host, way):
        self._switch(host, way, False)

    def _switch(self, host, way, cut):
        if way == "cable":
            ip("link", "set", f"v{host}", "down" if cut else "up")
        elif way == "to the broker":
            self._inside(self.holders[host].pid, "route", "add" if cut else "del", "blackhole", "10.88.0.1/32")
        else:
            ip("route", "add" if cut else "del", "blackhole", f"10.88.0.{host + 1}/32")

    def close(self):
        for holder in self.holders[1:]:
            holder.kill()
            holder.wait()


class Proxies:
    listen = "127.0.0.1:0"
    ways = ("silence", "break")

    def __init__(self, n_hosts):
        self.target = None
        self.silent, self.broken = set(), set()
        self.listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(n_hosts + 1)]

    def start(self):
        """After everybody was forked: threads do not survive that."""
        for host in range(len(self.listeners)):  # that of the hub is never cut: the broker's port changes
            threading.Thread(target=self._accept, args=(host,), daemon=True).start()

    def serves(self, address):
        self.target = address

    def address(self, host):
        return f"127.0.0.1:{self.listeners[host].getsockname()[1]}"

    def enter(self, host):
        pass

    def cut(self, host, way):
        (self.silent if way == "silence" else self.broken).add(host)

    def heal(self, host, way):
        (self.silent if way == "silence" else self.broken).discard(host)

    def _accept(self, host):
        while True:
            near, _ = self.listeners[host].accept()
            try:
                name, port = self.target.rsplit(":", 1)
                far = socket.create_connection((name, int(port)), timeout=5)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._relay, args=(host, a, b), daemon=True).start()

    def _relay(self, host, source, sink):
        try:
            while host not in self.broken:
                data = source.recv(65536)
                while host in self.silent and host not in self.broken:
                    time.sleep(0.05)
                if not data:
                    break
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        pass
