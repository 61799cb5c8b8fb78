#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of corpus/target_session (see fuzz_target_session.c for the two bytes in front) and
corpus/target_scenario."""
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../integration"))
from scripted_target import (DATA_OUT, LOGIN, LOGOUT, NOP_OUT, SCSI_COMMAND, TASK_MANAGEMENT, TEXT, crc32c, padded,
                             text_of)

CHAP, LOGGED_IN, DIGESTS = 1, 2, 4
NAMES = [("InitiatorName", "iqn.i"), ("TargetName", "iqn.t")]
TERMS = [("HeaderDigest", "CRC32C,None"), ("DataDigest", "None"), ("MaxRecvDataSegmentLength", "4096"),
         ("InitialR2T", "No"), ("ImmediateData", "Yes"), ("MaxBurstLength", "512"), ("ErrorRecoveryLevel", "2")]


class Stream:
    def __init__(self, mode=LOGGED_IN, step=0):
        self.mode, self.step, self.cmdsn, self.itt, self.bytes = mode, step, 0, 1, b""

    def add(self, opcode, flags=0x80, data=b"", lun=0, at20=0, tail=bytes(16), immediate=False, ttt=None):
        header = struct.pack(">BBHIQIIII", opcode | (0x40 if immediate else 0), flags, 0, len(data), lun << 48, self.itt,
                             at20 if ttt is None else ttt, self.cmdsn, 0) + tail
        self.itt += 1
        if not immediate and opcode != DATA_OUT:
            self.cmdsn += 1
        digests = self.mode & DIGESTS
        self.bytes += header + (crc32c(header) if digests else b"")
        self.bytes += padded(data) + (crc32c(padded(data)) if digests and data else b"")
        return self

    def login(self, flags, keys):
        return self.add(LOGIN, flags, text_of(keys), immediate=True)

    def command(self, cdb, flags=0x80, expected=0, data=b"", lun=0):
        return self.add(SCSI_COMMAND, flags, data, lun, expected, bytes.fromhex(cdb).ljust(16, b"\0"))

    def packed(self):
        return bytes([self.mode, self.step]) + self.bytes


READS = ["12000000ff00", "1201000000ff", "1201830000ff", "1201b00000ff", "1201b20000ff", "25" + "00" * 9, "9e10" + "00" * 11 + "20",
         "a000000000000000010000", "1a003f00ff00", "5a003f0000000000ff00", "0300000000ff", "a30a000000000000ff00",
         "4d006f00000000ff00", "5e0000000000000fff00", "5e0300000000000fff00", "2800000000000000020000",
         "8800000000000000000100000001", "080000ff00", "a8000000000000000001", "1201b10000ff"]
WRITES = [("2a00000000040000010000", bytes(512)), ("151000000c00", bytes.fromhex("000000000a0a0200080000000000000000")[:12]),
          ("5f000000000000001800", bytes(8) + struct.pack(">Q", 7) + bytes(8)), ("0a0000010000", bytes(512)),
          ("aa000000000400000001", bytes(512))]


def commands(mode, step=0):
    stream = Stream(mode, step)
    for lun in (0, 1):
        stream.command("00" * 6, lun=lun)
        for cdb in READS:
            stream.command(cdb, 0xC0, 4096, lun=lun)
        for cdb, data in WRITES:
            stream.command(cdb, 0xA0, len(data), data, lun=lun)
    stream.command("2a00000000040000010000", 0xA0, 512)
    stream.itt -= 1
    stream.add(DATA_OUT, 0x80, bytes(512), ttt=1)
    for function in range(1, 9):
        stream.add(TASK_MANAGEMENT, 0x80 | function)
    return stream.packed()


SESSIONS = {
    "login": Stream(0).login(0x81, NAMES + [("AuthMethod", "None")]).login(0x87, TERMS).command("00" * 6).packed(),
    "login_once_by_threes": Stream(0, 3).login(0x87, NAMES + TERMS).add(NOP_OUT, data=b"x").packed(),
    "login_split": Stream(0).login(0x44, NAMES).login(0x87, TERMS).packed(),
    "discovery": Stream(0).login(0x87, [NAMES[0], ("SessionType", "Discovery")])
                          .add(TEXT, data=text_of([("SendTargets", "All")])).add(LOGOUT).packed(),
    "chap": Stream(CHAP).login(0x81, NAMES + [("AuthMethod", "CHAP,None")]).login(0, [("CHAP_A", "7,5")])
                        .login(0x81, [("CHAP_N", "user"), ("CHAP_R", "0x" + "00" * 32), ("CHAP_I", "1"),
                                      ("CHAP_C", "0x0102")]).packed(),
    "chap_left_out": Stream(CHAP).login(0x87, NAMES + TERMS).packed(),
    "commands": commands(LOGGED_IN),
    "commands_with_digests": commands(LOGGED_IN | DIGESTS, 11),
    "others": Stream().add(NOP_OUT, data=b"ping").add(0x10).add(0x3F).add(TEXT, 0x40, b"a=b\0").add(TEXT, data=b"bad")
                      .add(LOGOUT, 0x81, at20=5 << 16).packed(),
    "garbage": bytes([0, 0]) + b"GET / HTTP/1.0\r\n\r\n" * 5,
}
SCENARIOS = {
    "all": "# every verb\nadd 5 100\nalua 0 standby\nasync 255 1 raw:00ff 1 2 3\nasync 0 0 6/29/00\nattention all 2a/09\n"
           "after 500ms drop rst\nexpect sessions 1 2s\ngarbage 00ff\nhang on\nhealth 0 5d/10\noffline 0 off\nping\n"
           "preempt 0\nprotect 0 on\nraise LUN_RESET 1\nreboot 1s\nredirect 127.0.0.1:1\nrefuse 0x0301\nreject 4\nremove 5\n"
           "reset all\nresize 0 7\nsense 0 hex:7000\nslow 1ms\nstate\nstatsn 3\nthin 0\n",
    "wrong": "after\n", "long": "raise " + "x" * 2000, "empty": "",
}

for folder, seeds in (("target_session", SESSIONS), ("target_scenario", SCENARIOS)):
    os.makedirs(os.path.join(HERE, "corpus", folder), exist_ok=True)
    for name, seed in seeds.items():
        with open(os.path.join(HERE, "corpus", folder, name), "wb") as file:
            file.write(seed if isinstance(seed, bytes) else seed.encode())
