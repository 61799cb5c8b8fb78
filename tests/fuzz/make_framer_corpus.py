#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of corpus/framer: one stream a file, see fuzz_framer.c for the two bytes in front."""
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../integration"))
from scripted_target import (ASYNC_MESSAGE, DATA_IN, LOGIN_RESPONSE, LOGOUT_RESPONSE, NO_TAG, NOP_IN, R2T, REJECT,
                             SCSI_RESPONSE, TASK_MANAGEMENT_RESPONSE, TEXT_RESPONSE, crc32c, padded, sense,
                             sense_segment, text_of)

AFTER_LOGIN, DIGEST, DATA_DIGEST, PROVE = 1, 2, 4, 8


def pdu(opcode, itt=NO_TAG, statsn=0, flags=0x80, byte2=0, byte3=0, ttt=NO_TAG, tail=bytes(12), data=b"", mode=0, ahs=b"",
        lie=None):
    length = len(data) if lie is None else lie
    header = struct.pack(">BBBBI8xIIIII", opcode, flags, byte2, byte3, len(ahs) // 4 << 24 | length, itt, ttt, statsn, 1, 64)
    header += tail + ahs
    if mode & DIGEST:
        header += crc32c(header)
    data = padded(data)
    return header + data + (crc32c(data) if mode & DATA_DIGEST and data else b"")


def asynchronous(event, mode=0, statsn=0, data=b""):
    return pdu(ASYNC_MESSAGE, statsn=statsn, tail=struct.pack(">BBHHH4x", event, 1, 2, 3, 4), data=data, mode=mode)


def stream(mode):
    reset = sense_segment(sense(6, 0x29, 0))
    return b"".join([
        asynchronous(0, mode, 0, reset), asynchronous(255, mode, 1, b"vendor"),
        pdu(NOP_IN, 0, 2, mode=mode), pdu(NOP_IN, statsn=3, ttt=9, mode=mode),
        pdu(DATA_IN, 1, data=bytes(32), flags=0, mode=mode),
        pdu(SCSI_RESPONSE, 1, 3, byte3=2, data=reset, mode=mode),
        pdu(TASK_MANAGEMENT_RESPONSE, 2, 4, mode=mode),
        pdu(TEXT_RESPONSE, 4, 5, data=text_of([("TargetName", "iqn.a")]), mode=mode),
        pdu(REJECT, statsn=6, byte2=4, data=pdu(6, 6), mode=mode), pdu(LOGOUT_RESPONSE, 6, 7, mode=mode)])


SEEDS = {
    "all": (AFTER_LOGIN, 0, stream(0)),
    "all_by_sevens": (AFTER_LOGIN, 7, stream(0)),
    "all_header_digest": (AFTER_LOGIN | DIGEST, 5, stream(DIGEST)),
    "all_both_digests": (AFTER_LOGIN | DIGEST | DATA_DIGEST, 1, stream(DIGEST | DATA_DIGEST)),
    "bad_digest": (AFTER_LOGIN | DIGEST, 0, stream(0)),
    "huge": (AFTER_LOGIN, 0, pdu(NOP_IN, lie=0xFFFFFF)),
    "additional_headers": (AFTER_LOGIN, 3, pdu(ASYNC_MESSAGE, ahs=bytes(1020), data=b"x") + pdu(NOP_IN, 0, 1, ahs=bytes(4))),
    "data_in_status": (AFTER_LOGIN, 0, pdu(DATA_IN, 1, flags=0x81, data=bytes(64))),
    "data_in_beyond": (AFTER_LOGIN, 0, pdu(DATA_IN, 1, flags=0, data=bytes(65))),
    "empty_sense": (AFTER_LOGIN, 0, pdu(SCSI_RESPONSE, 1, byte3=2)),
    "long_sense_length": (AFTER_LOGIN, 0, pdu(SCSI_RESPONSE, 1, byte3=2, data=b"\xff\xff\x70")),
    "reject_of_scsi": (AFTER_LOGIN, 0, pdu(REJECT, byte2=5, data=pdu(1, 1))),
    "short_reject": (AFTER_LOGIN, 0, pdu(REJECT, byte2=5, data=bytes(12))),
    "r2t": (AFTER_LOGIN, 0, pdu(R2T, 1)),
    "statsn_jump": (AFTER_LOGIN, 0, pdu(SCSI_RESPONSE, 1, statsn=0x80000000)),
    "login": (0, 0, pdu(LOGIN_RESPONSE, 3, flags=0x87, data=text_of([("DataDigest", "None")])) + pdu(NOP_IN, 0, 1)),
    "login_proof": (PROVE, 0, pdu(LOGIN_RESPONSE, 3, flags=0x87, data=text_of([("CHAP_R", "0x00")]))),
    "login_refused": (0, 9, pdu(LOGIN_RESPONSE, 3, tail=bytes([2, 1]) + bytes(10))),
    "login_moved": (0, 0, pdu(LOGIN_RESPONSE, 3, tail=bytes([1, 1]) + bytes(10), data=b"TargetAddress=" + b"x" * 400)),
    "login_no_nul": (0, 0, pdu(LOGIN_RESPONSE, 3, data=b"HeaderDigest")),
    "garbage": (0, 0, b"HTTP/1.0 400 Bad Request\r\n\r\n" * 4),
}

for name, (flags, step, data) in SEEDS.items():
    with open(os.path.join(HERE, "corpus/framer", name), "wb") as file:
        file.write(bytes([flags, step]) + data)
