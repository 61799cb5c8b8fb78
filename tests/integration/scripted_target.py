#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An iSCSI target that does what a test tells it, right or wrong, and remembers every PDU it received.

As a class:

    with ScriptedTarget(luns=[0, 1]) as target:
        ... dial target.portal, target.name ...
        target.raise_async(event=255, parameters=(1, 2, 3))
        target.queue_sense(1, sense(6, 0x29, 0x00))
        pdu = target.wait_pdu(lambda p: p["opcode"] == NOP_OUT)

As a program: `scripted_target.py --control PATH` prints "listening HOST:PORT"; a client of the Unix socket PATH sends one
JSON object a line, {"do": METHOD, ...arguments}, with bytes as hex, and gets {"ok": ...} or {"error": ...} back.

Every connection has a thread. StatSN is kept as RFC 7143 wants it, so that a test can hold ExpStatSN against it.
"""
import argparse
import hashlib
import json
import os
import socket
import socketserver
import struct
import sys
import threading
import time

NOP_OUT, SCSI_COMMAND, TASK_MANAGEMENT, LOGIN, TEXT, DATA_OUT, LOGOUT = range(7)
NOP_IN, SCSI_RESPONSE, TASK_MANAGEMENT_RESPONSE, LOGIN_RESPONSE, TEXT_RESPONSE, DATA_IN, LOGOUT_RESPONSE = range(0x20, 0x27)
R2T, ASYNC_MESSAGE, REJECT = 0x31, 0x32, 0x3F
NO_TAG = 0xFFFFFFFF
WAIT_S = 60  # how long a test waits for what must come

_CRC_TABLE = []
for _byte in range(256):
    for _ in range(8):
        _byte = _byte >> 1 ^ (0x82F63B78 if _byte & 1 else 0)
    _CRC_TABLE.append(_byte)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return struct.pack("<I", crc ^ 0xFFFFFFFF)


def padded(data):
    return data + bytes(-len(data) % 4)


def sense(key, asc, ascq, response_code=0x70, information=0):
    """Fixed-format sense data."""
    return struct.pack(">BBBIBIBBBB2x", response_code, 0, key, information, 10, 0, asc, ascq, 0, 0)


def sense_segment(data):
    """The data segment of a SCSI Response that carries `data` as sense."""
    return struct.pack(">H", len(data)) + data


LUNS_CHANGED = sense_segment(sense(6, 0x3F, 0x0E))


def wire_lun(lun):
    return struct.pack(">H6x", lun if lun < 256 else 0x4000 | lun)


def flat_lun(wire):
    return struct.unpack(">H", wire[:2])[0] & 0x3FFF


def keys_of(data):
    return dict(item.split("=", 1) for item in data.decode("latin-1").split("\0") if "=" in item)


def text_of(keys):
    return "".join(f"{key}={value}\0" for key, value in keys).encode("latin-1")


class Closed(Exception):
    """The initiator is gone."""


class Unit:
    """A logical unit: a disk that answers questions about itself."""

    def __init__(self, lun, blocks=2048, block_bytes=512, device_type=0, serial=None):
        self.lun, self.blocks, self.block_bytes, self.device_type = lun, blocks, block_bytes, device_type
        self.serial = serial or f"SCRIPT{lun:04d}"
        self.naa = bytes([0x60, 0x00, 0x00, 0x00]) + struct.pack(">Q", 0x5E45EB05 << 16 | lun) + bytes(4)
        self.maximum_transfer, self.protected = 65535, False
        self.senses = []  # data segments of CHECK CONDITIONs to come

    def inquiry(self, cdb):
        if not cdb[1] & 1:
            return struct.pack(">BBBBBBBB8s16s4s", self.device_type, 0, 6, 2, 91, 0, 0, 2, b"SENSEBUS",
                               b"SCRIPTED TARGET ", b"0001") + bytes(60)
        pages = {
            0x00: bytes([0x00, 0x80, 0x83, 0xB0]),
            0x80: self.serial.encode(),
            0x83: bytes([0x01, 0x03, 0x00, len(self.naa)]) + self.naa,
            0xB0: struct.pack(">BBHIII", 0, 0, 1, self.maximum_transfer, 1024, 0) + bytes(44),
        }
        page = pages.get(cdb[2])
        return None if page is None else struct.pack(">BBH", self.device_type, cdb[2], len(page)) + page

    def answer(self, cdb):
        """Data-In, or None: no such command."""
        op = cdb[0]
        if op == 0x00:
            return b""
        if op == 0x03:
            return sense(0, 0, 0)
        if op == 0x12:
            return self.inquiry(cdb)
        if op == 0x25:
            return struct.pack(">II", self.blocks - 1, self.block_bytes)
        if op == 0x9E and cdb[1] & 0x1F == 0x10:
            return struct.pack(">QI", self.blocks - 1, self.block_bytes) + bytes(20)
        if op == 0x1A:
            return bytes([3, 0, 0x80 * self.protected, 0])
        if op == 0x5A:
            return bytes([0, 6, 0, 0x80 * self.protected, 0, 0, 0, 0])
        return None


class Connection:
    """One TCP connection, from login to its end."""

    def __init__(self, target, sock, number):
        self.target, self.sock, self.number = target, sock, number
        self.lock = threading.RLock()
        self.statsn = 0x1000  # the next
        self.expcmdsn = 1
        self.full_feature = False
        self.discovery = False
        self.header_digest = False
        self.login_keys = {}
        self.authenticated = False
        self.challenge = b""
        self.closed = False

    # -- bytes --

    def receive_exactly(self, n):
        data = b""
        while len(data) < n:
            try:
                part = self.sock.recv(n - len(data))
            except OSError:
                raise Closed from None
            if not part:
                raise Closed
            data += part
        return data

    def receive(self):
        header = self.receive_exactly(48)
        header += self.receive_exactly(header[4] * 4)
        if self.header_digest and self.receive_exactly(4) != crc32c(header):
            self.target.note_error("header digest of the initiator is wrong")
            raise Closed
        length = struct.unpack(">I", header[4:8])[0] & 0xFFFFFF
        data = self.receive_exactly(length + -length % 4)[:length]
        self.target.note_pdu(self, header, data)
        return header, data

    def send_raw(self, data):
        with self.lock:
            try:
                self.sock.sendall(data)
            except OSError:
                raise Closed from None

    def pack(self, header, data=b"", break_digest=False):
        header = bytearray(header)
        header[4:8] = struct.pack(">I", header[4] << 24 | len(data))
        out = bytes(header)
        if self.header_digest:
            digest = crc32c(out)
            out += bytes(b ^ 0xFF for b in digest) if break_digest else digest
        return out + padded(data)

    def send(self, header, data=b"", break_digest=False):
        self.send_raw(self.pack(header, data, break_digest))

    def next_statsn(self):
        with self.lock:
            skew = self.target.take("statsn_skew", 0)
            self.statsn = self.statsn + skew & 0xFFFFFFFF
            statsn = self.statsn
            self.statsn = self.statsn + 1 & 0xFFFFFFFF
            return statsn

    def numbers(self, statsn):
        return struct.pack(">III", statsn, self.expcmdsn, self.expcmdsn + 63 & 0xFFFFFFFF)

    # -- login --

    def serve_login(self):
        while not self.full_feature:
            header, data = self.receive()
            if self.target.setting("hang_login"):
                continue
            garbage = self.target.setting("login_garbage")
            if garbage:
                self.send_raw(bytes.fromhex(garbage))
                raise Closed
            self.login_keys.update(keys_of(data))
            self.login_step(header, keys_of(data))

    def login_reply(self, header, keys, transit, status=(0, 0)):
        flags = header[1] & 0x0C
        if transit:
            flags |= header[1] & 0x83
        reply = struct.pack(">BBBB4x", LOGIN_RESPONSE, flags, 0, 0) + header[8:14] + struct.pack(">H", 1)
        reply += header[16:20] + bytes(4) + self.numbers(self.next_statsn()) + bytes(status) + bytes(10)
        final = transit and header[1] & 0x03 == 3
        out = self.pack(reply, text_of(keys))
        event = self.target.take("async_at_login", None) if final else None
        self.send_raw(out + (self.pack(self.async_header(event)) if event is not None else b""))
        if status[0]:
            raise Closed
        self.full_feature = final

    def login_step(self, header, keys):
        refuse = self.target.setting("refuse_login")
        if refuse:
            moved = self.target.setting("moved_to")
            self.login_reply(header, [("TargetAddress", moved)] if moved else [], False, tuple(refuse))
        self.expcmdsn = struct.unpack(">I", header[24:28])[0]
        self.discovery = self.login_keys.get("SessionType") == "Discovery"
        if not self.discovery and self.login_keys.get("TargetName") != self.target.name:
            self.login_reply(header, [], False, (2, 3))
        if header[1] >> 2 & 3 == 0:
            self.security(header, keys)
        elif self.target.chap and not self.authenticated:
            self.login_reply(header, [], False, (2, 1))
        else:
            self.negotiate(header, keys)

    def security(self, header, keys):
        target, reply = self.target, []
        if not target.chap:
            self.login_reply(header, [("AuthMethod", "None")] if "AuthMethod" in keys else [], bool(header[1] & 0x80))
        elif "CHAP_N" in keys:
            self.check_chap(header, keys)
        elif "CHAP_A" in keys:
            self.challenge = os.urandom(16)
            reply = [("CHAP_A", "5"), ("CHAP_I", "7"), ("CHAP_C", "0x" + self.challenge.hex())]
            self.login_reply(header, reply, False)
        elif "CHAP" in keys.get("AuthMethod", "").split(","):
            self.login_reply(header, [("AuthMethod", "CHAP")], False)
        else:
            self.login_reply(header, [], False, (2, 1))

    def check_chap(self, header, keys):
        user, secret = self.target.chap
        expected = hashlib.md5(b"\x07" + secret.encode() + self.challenge).hexdigest()
        if keys["CHAP_N"] != user or keys["CHAP_R"].lower() != "0x" + expected:
            self.login_reply(header, [], False, (2, 1))
        reply, self.authenticated = [], True
        if self.target.mutual and "CHAP_C" in keys and not self.target.setting("skip_mutual"):
            name, own = self.target.mutual
            challenge = bytes.fromhex(keys["CHAP_C"][2:])
            proof = hashlib.md5(bytes([int(keys["CHAP_I"])]) + own.encode() + challenge).hexdigest()
            reply = [("CHAP_N", name), ("CHAP_R", "0x" + proof)]
        self.login_reply(header, reply, bool(header[1] & 0x80))

    def negotiate(self, header, keys):
        reply = [("TargetPortalGroupTag", "1")]
        digest = self.target.header_digest and "CRC32C" in keys.get("HeaderDigest", "")
        choose = {"HeaderDigest": "CRC32C" if digest else "None", "DataDigest": "None",
                  "MaxRecvDataSegmentLength": "262144", "ErrorRecoveryLevel": "0", "MaxConnections": "1"}
        for key, value in keys.items():
            if key in choose:
                reply.append((key, choose[key]))
            elif key in ("InitialR2T", "ImmediateData", "MaxBurstLength", "FirstBurstLength", "DefaultTime2Wait",
                         "DefaultTime2Retain", "MaxOutstandingR2T", "DataPDUInOrder", "DataSequenceInOrder"):
                reply.append((key, value))
        self.login_reply(header, reply, bool(header[1] & 0x80))
        self.header_digest = digest and self.full_feature

    # -- full feature --

    def serve(self):
        try:
            self.serve_login()
            self.target.note_change()
            while self.serve_pdu(*self.receive()):
                pass
        except Closed:
            pass
        finally:
            self.close()
            self.sock.close()
            self.target.note_change()

    def serve_pdu(self, header, data):
        opcode, immediate = header[0] & 0x3F, header[0] & 0x40
        if not immediate and opcode in (SCSI_COMMAND, TEXT, NOP_OUT, TASK_MANAGEMENT, LOGOUT):
            self.expcmdsn = struct.unpack(">I", header[24:28])[0] + 1 & 0xFFFFFFFF
        if self.target.setting("hang"):
            return True
        time.sleep(self.target.setting("delay_ms", 0) / 1000)
        if opcode == NOP_OUT:
            self.on_nop(header, data)
        elif opcode == SCSI_COMMAND:
            self.on_scsi(header)
        elif opcode == TASK_MANAGEMENT:
            self.on_task_management(header)
        elif opcode == TEXT:
            self.on_text(header)
        elif opcode == LOGOUT:
            self.answer(LOGOUT_RESPONSE, header)
            return False
        elif opcode != DATA_OUT:
            self.reject(header, 0x05)
        return True

    def answer(self, opcode, request, response=0, status=0, data=b"", flags=0x80, tail=bytes(12), ttt=bytes(4)):
        header = struct.pack(">BBBB4x8x", opcode, flags, response, status) + request[16:20] + ttt
        with self.lock:
            self.send(header + self.numbers(self.next_statsn()) + tail, data)

    def on_nop(self, header, data):
        if struct.unpack(">I", header[16:20])[0] == NO_TAG:
            return
        if self.target.take("reject_nop", None) is not None:
            self.reject(header, 0x04)
        else:
            self.answer(NOP_IN, header, data=data, ttt=b"\xff" * 4)

    def on_text(self, header):
        if self.target.setting("hang_text"):
            return
        raw = self.target.setting("text")
        if raw is not None:
            data = bytes.fromhex(raw)
        else:
            data = text_of([("TargetName", self.target.name), ("TargetAddress", self.target.portal + ",1")])
        self.answer(TEXT_RESPONSE, header, data=data, flags=self.target.setting("text_flags", 0x80), ttt=b"\xff" * 4)

    def on_task_management(self, header):
        lun, function = flat_lun(header[8:16]), header[1] & 0x7F
        if self.target.setting("hang_tasks"):
            return
        if self.target.take("reject_task", None) is not None:
            self.reject(header, 0x04)
            return
        response = self.target.setting("task_response", 0)
        if response == 0 and function == 5:
            self.target.queue_sense(lun, sense(6, 0x29, 0x03))
        if response == 0 and function == 6:
            for number in list(self.target.units):
                self.target.queue_sense(number, sense(6, 0x29, 0x03))
        self.answer(TASK_MANAGEMENT_RESPONSE, header, response=response)

    def on_scsi(self, header):
        script = self.target.next_script()
        if "drop" in script:
            if script.get("remember"):
                self.target.remember(self, header)
            return
        time.sleep(script.get("delay_ms", 0) / 1000)
        if "reject" in script:
            self.reject(header, script["reject"])
        elif "segment" in script or "status" in script or "response" in script:
            self.scsi_response(header, script.get("status", 0), bytes.fromhex(script.get("segment", "")),
                               script.get("response", 0))
        elif "data_in" in script:
            self.data_in(header, bytes.fromhex(script["data_in"]), script)
        else:
            self.scsi_answer(header)

    def scsi_response(self, header, status, segment=b"", response=0):
        self.answer(SCSI_RESPONSE, header, response=response, status=status, data=segment)

    def scsi_answer(self, header):
        cdb, lun = header[32:48], flat_lun(header[8:16])
        unit = self.target.units.get(lun) or self.target.leaving.get(lun)
        if cdb[0] == 0xA0:
            with self.target.condition:  # who has read the list has been told of its change (SPC-4 6.33)
                luns = b"".join(wire_lun(n) for n in sorted(self.target.units))
                for other in self.target.units.values():
                    other.senses = [s for s in other.senses if s != LUNS_CHANGED]
                self.target.leaving.clear()
            self.data_in(header, struct.pack(">I4x", len(luns)) + luns, {})
        elif unit is None and cdb[0] == 0x12:
            self.data_in(header, bytes([0x7F]) + bytes(35), {})
        elif unit is None:
            self.scsi_response(header, 2, sense_segment(sense(5, 0x25, 0x00)))
        elif unit.senses and cdb[0] not in (0x12, 0x03):
            self.scsi_response(header, 2, unit.senses.pop(0))
        else:
            data = unit.answer(cdb)
            if data is None:
                self.scsi_response(header, 2, sense_segment(sense(5, 0x20, 0x00)))
            else:
                self.data_in(header, data, {})

    def data_in(self, header, data, script):
        """The data in pieces of 8 KiB, status in the last; `offset`, `more`, `split` make it wrong or different."""
        expected = struct.unpack(">I", header[20:24])[0]
        if not script.get("more"):
            data = data[:expected]
        if not data:
            self.scsi_response(header, 0)
            return
        step = script.get("step", 8192)
        for at in range(0, len(data), step):
            piece = data[at:at + step]
            last = at + step >= len(data)
            collapsed = last and not script.get("split")
            flags = (0x80 if last else 0) | (0x01 if collapsed else 0)
            with self.lock:
                out = struct.pack(">BBBB4x8x", DATA_IN, flags, 0, script.get("data_status", 0)) + header[16:20]
                out += struct.pack(">I", NO_TAG) + self.numbers(self.next_statsn() if collapsed else 0)
                self.send(out + struct.pack(">III", at // step, at + script.get("offset", 0), 0), piece)
        if script.get("split"):
            self.scsi_response(header, 0)

    # -- things no request asked for --

    def reject(self, header, reason):
        out = struct.pack(">BBBB4x8xI4x", REJECT, 0x80, reason, 0, NO_TAG)
        with self.lock:
            self.send(out + self.numbers(self.next_statsn()) + bytes(12), bytes(header[:48]))

    def async_header(self, event, parameters=(0, 0, 0), vcode=0, lun=0):
        out = struct.pack(">BB2x4x", ASYNC_MESSAGE, 0x80) + wire_lun(lun) + struct.pack(">I4x", NO_TAG)
        return out + self.numbers(self.next_statsn()) + struct.pack(">BBHHH4x", event, vcode, *parameters)

    def raise_async(self, event, parameters=(0, 0, 0), vcode=0, lun=0, segment=b""):
        with self.lock:
            statsn = self.statsn
            self.send(self.async_header(event, parameters, vcode, lun), segment)
            return statsn

    def ping(self):
        with self.lock:
            out = struct.pack(">BB2x4x8xII", NOP_IN, 0x80, NO_TAG, 0x1234)
            self.send(out + self.numbers(self.statsn) + bytes(12))

    def close(self, reset=False):
        """End the connection by FIN or RST. The thread that reads it wakes up and frees the socket."""
        with self.lock:
            if self.closed:
                return
            self.closed = True
            try:
                if reset:
                    self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.sock.shutdown(socket.SHUT_RD)
                else:
                    self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class ScriptedTarget:
    """See the module's text. All methods may be called from any thread."""

    def __init__(self, name="iqn.2026-01.org.sensebus:scripted", luns=(0, 1), chap=None, mutual=None,
                 header_digest=True, address="127.0.0.1", port=0):
        self.name, self.chap, self.mutual, self.header_digest = name, chap, mutual, header_digest
        self.units, self.leaving = {lun: Unit(lun) for lun in luns}, {}
        self.condition = threading.Condition(threading.RLock())
        self.settings, self.scripts, self.pdus, self.errors = {}, [], [], []
        self.connections, self.remembered = [], []
        self.listener = socket.create_server((address, port), backlog=16)
        self.portal = "%s:%d" % self.listener.getsockname()[:2]
        self.stopping = False
        self.acceptor = threading.Thread(target=self._accept, daemon=True)
        self.acceptor.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.condition:
                connection = Connection(self, sock, len(self.connections))
                connection.thread = threading.Thread(target=connection.serve, daemon=True)
                self.connections.append(connection)
                self.condition.notify_all()
            connection.thread.start()

    def stop(self):
        """Close everything."""
        self.stopping = True
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in list(self.connections):
            connection.close()

    # -- what connections ask and tell --

    def setting(self, name, default=None):
        with self.condition:
            return self.settings.get(name, default)

    def take(self, name, default):
        """A setting that is used up by use."""
        with self.condition:
            return self.settings.pop(name, default)

    def next_script(self):
        with self.condition:
            script = self.scripts.pop(0) if self.scripts else {}
            self.condition.notify_all()  # somebody may wait for the last one to be used
            return script

    def remember(self, connection, header):
        with self.condition:
            self.remembered.append((connection, header))
            self.condition.notify_all()

    def note_pdu(self, connection, header, data):
        pdu = {
            "connection": connection.number, "opcode": header[0] & 0x3F, "immediate": bool(header[0] & 0x40),
            "itt": struct.unpack(">I", header[16:20])[0], "cmdsn": struct.unpack(">I", header[24:28])[0],
            "expstatsn": struct.unpack(">I", header[28:32])[0], "statsn": connection.statsn,
            "ttt": struct.unpack(">I", header[20:24])[0], "lun": flat_lun(header[8:16]), "cdb": header[32:48].hex(),
            "header": header.hex(), "data": data.hex(), "full_feature": connection.full_feature,
        }
        with self.condition:
            self.pdus.append(pdu)
            self.condition.notify_all()

    def note_change(self):
        with self.condition:
            self.condition.notify_all()

    def note_error(self, text):
        with self.condition:
            self.errors.append(text)
            self.condition.notify_all()

    # -- what a test does --

    def wait(self, predicate, what="condition", limit_s=WAIT_S):
        """Wait until predicate() is true and return what it returned."""
        with self.condition:
            result = self.condition.wait_for(predicate, limit_s)
        if not result:
            raise AssertionError(f"not within {limit_s} s: {what}")
        return result

    def wait_pdu(self, predicate, since=0, what="PDU"):
        """The first PDU received, from the `since`-th on, for which predicate(pdu) is true."""
        return self.wait(lambda: next((p for p in self.pdus[since:] if predicate(p)), None), what)

    def session(self):
        """The newest connection in full feature phase."""
        return self.wait(lambda: next((c for c in reversed(self.connections) if c.full_feature and not c.closed), None),
                         "a session")

    def set(self, **settings):
        """hang, hang_login, hang_text: read and do not answer; delay_ms; refuse_login [class, detail], moved_to;
        login_garbage (hex); text (hex), text_flags; skip_mutual; hang_tasks (task management is not answered),
        task_response (its response code); once: reject_task, statsn_skew, reject_nop, async_at_login=event
        (in one segment with the last login response, without header digest)."""
        with self.condition:
            self.settings.update(settings)

    def unset(self, *names):
        with self.condition:
            for name in names:
                self.settings.pop(name, None)

    def script(self, **step):
        """What becomes of the next SCSI command, one call a command: drop [remember]; delay_ms; reject=reason;
        status, response, segment (hex); data_in (hex) with step, offset, more, split."""
        with self.condition:
            self.scripts.append(step)

    def answer_late(self, status=0, segment=""):
        """Answer the commands that script(drop=True, remember=True) held back."""
        for connection, header in self.remembered:
            connection.scsi_response(header, status, bytes.fromhex(segment))
        self.remembered = []

    def queue_sense(self, lun, data):
        """CHECK CONDITION with this sense on the next command to the LUN."""
        self.queue_segment(lun, sense_segment(as_bytes(data)))

    def queue_segment(self, lun, data):
        """CHECK CONDITION with this data segment, well-formed or not."""
        with self.condition:
            self.units[lun].senses.append(as_bytes(data))

    def add_lun(self, lun, **properties):
        with self.condition:  # all of it: who is asked in between would not know what another has told
            others = list(self.units)
            self.units[lun] = Unit(lun, **properties)
            for other in others:
                self.queue_segment(other, LUNS_CHANGED)

    def remove_lun(self, lun):
        """It answers until the list without it was read: else its refusal could ask for the list before the others,
        polled just before, have told the change."""
        with self.condition:
            self.leaving[lun] = self.units.pop(lun)
            for other in self.units:
                self.queue_segment(other, LUNS_CHANGED)

    def raise_async(self, event, parameters=(0, 0, 0), vcode=0, lun=0, data=None, segment=b""):
        """`data` is the sense of event 0; `segment` the whole data segment. Returns the StatSN used."""
        raw = sense_segment(as_bytes(data)) if data is not None else as_bytes(segment)
        return self.session().raise_async(event, tuple(parameters), vcode, lun, raw)

    def ping(self):
        self.session().ping()

    def reject(self, reason=4, header="", itt=NO_TAG):
        """A Reject that answers nothing, or pretends to answer `itt`."""
        raw = bytearray(as_bytes(header) or bytes(48))
        raw[16:20] = struct.pack(">I", itt)
        self.session().reject(bytes(raw), reason)

    def fin(self):
        self.session().close()

    def rst(self):
        self.session().close(reset=True)

    def send_raw(self, data):
        self.session().send_raw(as_bytes(data))

    def send_bad_digest(self):
        session = self.session()
        session.send(struct.pack(">BB2x4x8xII", NOP_IN, 0x80, NO_TAG, NO_TAG) + session.numbers(session.statsn) +
                     bytes(12), break_digest=True)

    def send_huge(self):
        """The header of a PDU of nearly 16 MiB."""
        session = self.session()
        header = struct.pack(">BB2xI8xII", NOP_IN, 0x80, 0xFFFFFF, NO_TAG, NO_TAG) + session.numbers(session.statsn)
        header += bytes(12)
        session.send_raw(header + (crc32c(header) if session.header_digest else b""))

    def send_r2t(self):
        session = self.session()
        itt = self.pdus[-1]["itt"]
        session.send(struct.pack(">BB2x4x8xII", R2T, 0x80, itt, 1) + session.numbers(session.statsn) +
                     struct.pack(">III", 0, 0, 512))

    def send_response(self, itt, opcode=SCSI_RESPONSE, status=0, segment=b""):
        """An answer, wanted or not."""
        self.session().answer(opcode, bytes(16) + struct.pack(">I", itt), status=status, data=as_bytes(segment))

    def state(self):
        with self.condition:
            return {"portal": self.portal, "name": self.name, "luns": sorted(self.units), "pdus": len(self.pdus),
                    "sessions": sum(c.full_feature and not c.closed for c in self.connections), "errors": self.errors}

    def records(self, since=0):
        with self.condition:
            return self.pdus[since:]


def as_bytes(data):
    return bytes.fromhex(data) if isinstance(data, str) else bytes(data)


CONTROLS = ("set", "unset", "script", "answer_late", "queue_sense", "queue_segment", "add_lun", "remove_lun",
            "raise_async", "ping", "reject", "fin", "rst", "send_raw", "send_bad_digest", "send_huge", "send_r2t",
            "send_response", "state", "records")


class Control(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            try:
                request = json.loads(line)
                method = request.pop("do")
                if method not in CONTROLS:
                    raise ValueError(f"no such method: {method}")
                names = request.pop("names", [])
                reply = {"ok": getattr(self.server.target, method)(*names, **request)}
            except Exception as error:  # a control client must hear about anything
                reply = {"error": f"{type(error).__name__}: {error}"}
            self.wfile.write(json.dumps(reply).encode() + b"\n")


class ControlServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def pair(text):
    user, _, secret = text.partition(":")
    return user, secret


def main():
    parser = argparse.ArgumentParser(description="A scripted iSCSI target.")
    parser.add_argument("--control", required=True, help="path of the control socket")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--name", default="iqn.2026-01.org.sensebus:scripted")
    parser.add_argument("--lun", type=int, action="append", help="may be given several times; default 0 and 1")
    parser.add_argument("--chap", type=pair, metavar="USER:SECRET")
    parser.add_argument("--mutual", type=pair, metavar="USER:SECRET")
    parser.add_argument("--no-header-digest", action="store_true")
    arguments = parser.parse_args()
    target = ScriptedTarget(name=arguments.name, luns=arguments.lun or (0, 1), chap=arguments.chap,
                            mutual=arguments.mutual, header_digest=not arguments.no_header_digest,
                            address=arguments.address, port=arguments.port)
    with ControlServer(arguments.control, Control) as server:
        server.target = target
        print("listening", target.portal, flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
    target.stop()
    os.unlink(arguments.control)
    return 0


if __name__ == "__main__":
    sys.exit(main())
