#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""sensebus-target and initiators that no library would make: raw PDUs, right and wrong, too many and too slow."""
import resource
import socket
import struct
import time

from target_program import Target
from sensebus_testlib import LIMIT_S, check, check_equal, run_tests, wait_until

from scripted_target import (ASYNC_MESSAGE, DATA_IN, LOGIN, LOGIN_RESPONSE, NOP_IN, NOP_OUT, REJECT, SCSI_COMMAND,
                             SCSI_RESPONSE, padded, text_of)

MAX_CONNECTIONS = 64


class Initiator:
    def __init__(self, target, isid=1, login=True, name="iqn.2026-01.org.sensebus:raw"):
        host, port = target.portal.rsplit(":", 1)
        self.sock = socket.create_connection((host, int(port)), timeout=LIMIT_S)
        self.cmdsn, self.itt, self.isid, self.target, self.name = 1, 0, isid, target, name
        if login:
            self.login()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, opcode, flags=0x80, data=b"", at20=0, tail=bytes(16), lun=bytes(8)):
        self.itt += 1
        self.sock.sendall(struct.pack(">BBHI8sIIII", opcode, flags, 0, len(data), lun, self.itt, at20, self.cmdsn, 0) +
                          tail + padded(data))
        if not opcode & 0x40:
            self.cmdsn += 1

    def send_login(self):
        keys = [("InitiatorName", self.name), ("TargetName", self.target.target_name)]
        self.send(LOGIN | 0x40, 0x87, text_of(keys), lun=struct.pack(">6sH", bytes([0x80, 0, 0, 0, 0, self.isid]), 0))

    def login(self):
        self.send_login()
        header, _ = self.receive()
        check_equal((header[0], header[36:38]), (LOGIN_RESPONSE, b"\0\0"), "login")

    def exactly(self, n):
        data = b""
        while len(data) < n:
            part = self.sock.recv(n - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def receive(self):
        header = self.exactly(48)
        length = struct.unpack(">I", header[4:8])[0] & 0xFFFFFF
        return header, self.exactly(length + -length % 4)[:length]

    def test_ready(self):
        """The status of TEST UNIT READY, and ASC and ASCQ."""
        self.send(SCSI_COMMAND, 0x80)
        header, data = self.receive()
        check_equal(header[0], SCSI_RESPONSE)
        return header[3], tuple(data[14:16])

    def is_closed(self):
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return True


def test_garbage_ends_the_connection_and_nothing_else():
    with Target() as target, Initiator(target) as good:
        too_long = bytes([0x43, 0x87, 0, 0, 0, 0xFF, 0xFF, 0xFF]) + bytes(40)
        for data in (b"GET / HTTP/1.0\r\n\r\n" * 10, b"\xff" * 48, too_long):
            with Initiator(target, login=False) as bad:
                bad.sock.sendall(data)
                check(bad.is_closed())
        check_equal(good.test_ready(), (2, (0x29, 0)))


def test_the_same_port_again_ends_the_session_before():
    with Target() as target, Initiator(target) as first:
        check_equal(first.test_ready(), (2, (0x29, 0)))
        with Initiator(target) as second:
            check(first.is_closed())
            check_equal(second.test_ready(), (2, (0x29, 7)), "nexus loss")
            check_equal(second.test_ready(), (0, ()))
            with Initiator(target, isid=2) as other:
                check_equal(other.test_ready(), (2, (0x29, 0)), "another port")
                check_equal(second.test_ready(), (0, ()))


def test_connections_are_bounded():
    with Target() as target:
        initiators = [Initiator(target, isid=i) for i in range(MAX_CONNECTIONS)]
        try:
            with Initiator(target, isid=200, login=False) as surplus:
                surplus.send_login()
                check(surplus.is_closed())
        except ConnectionError:
            pass  # it was closed before, even before it was open here
        check_equal(initiators[-1].test_ready(), (2, (0x29, 0)))
        initiators.pop().sock.close()
        target.tell("expect", "sessions", MAX_CONNECTIONS - 1, "60s")
        initiators.append(Initiator(target, isid=201))
        for initiator in initiators:
            initiator.sock.close()
        target.tell("expect", "sessions", 0, "60s")


def resident_bytes(target):
    with open(f"/proc/{target.process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_an_initiator_that_does_not_read_is_not_read_from():
    with Target("--blocks", "4096") as target, Initiator(target) as slow:
        slow.test_ready()
        before = resident_bytes(target)
        cdb = bytes([0x28, 0, 0, 0, 0, 0, 0, 0x08, 0, 0]).ljust(16, b"\0")  # 1 MiB
        for _ in range(400):
            slow.send(SCSI_COMMAND, 0xC0, at20=1 << 20, tail=cdb)
        target.tell("state")
        check(resident_bytes(target) - before < 250 << 20, f"{resident_bytes(target) - before} bytes more")
        n = received = 0
        while n < 400:
            header, data = slow.receive()
            check_equal(header[0], DATA_IN)
            received += len(data)
            n += header[1] & 1
        check_equal(received, 400 << 20, "all of it comes")


def test_hang_holds_everything_back_and_nothing_is_lost():
    with Target() as target, Initiator(target) as one:
        one.test_ready()
        target.tell("hang", "on")
        one.send(NOP_OUT, data=b"still here")
        late = Initiator(target, isid=9, login=False)
        late.send_login()
        one.sock.settimeout(0.3)
        try:
            one.receive()
            raise AssertionError("a target that hangs has answered")
        except TimeoutError:
            pass
        one.sock.settimeout(LIMIT_S)
        target.tell("hang", "off")
        header, data = one.receive()
        check_equal((header[0], data), (NOP_IN, b"still here"))
        check_equal(late.receive()[0][0], LOGIN_RESPONSE)
        late.sock.close()


def test_what_is_wrong_on_demand():
    with Target() as target, Initiator(target) as one:
        one.test_ready()
        one.send(NOP_OUT)
        statsn = struct.unpack(">I", one.receive()[0][24:28])[0]
        target.tell("statsn", 7)
        one.send(NOP_OUT)
        check_equal(struct.unpack(">I", one.receive()[0][24:28])[0], statsn + 8)
        target.tell("reject", 9)
        header, _ = one.receive()
        check_equal((header[0], header[2]), (REJECT, 9))
        target.tell("async", 248, 0, "raw:0102", 1, 2, 3)
        header, data = one.receive()
        check_equal((header[0], header[36], data), (ASYNC_MESSAGE, 248, b"\1\2"))
        target.tell("sense", 0, "hex:")
        one.send(SCSI_COMMAND)
        header, data = one.receive()
        check_equal((header[3], data), (2, b"\0\0"), "CHECK CONDITION without sense")
        target.tell("garbage", "deadbeef")
        check_equal(one.exactly(4), bytes.fromhex("deadbeef"))


def test_a_reboot_forgets_and_resets():
    with Target() as target, Initiator(target) as one:
        one.test_ready()
        started = time.monotonic()
        target.tell("reboot", "300ms")
        check(one.is_closed())

        def logged_in():
            try:
                with Initiator(target) as again:
                    return again.test_ready() == (2, (0x29, 1))
            except (OSError, EOFError):
                return False
        wait_until(logged_in, "power on is told")
        check(time.monotonic() - started > 0.2, "down for a while")


if __name__ == "__main__":
    run_tests(globals())
