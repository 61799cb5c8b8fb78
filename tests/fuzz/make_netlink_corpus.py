#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of corpus/netlink: one message a file without struct nlmsghdr, as a little-endian kernel sends it;
the byte in front says which protocol, see fuzz_netlink.c. Those called recorded_* came from a kernel."""
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
ISCSI, FC, TCMU = b"\0", b"\1", b"\2"
SENSE = bytes.fromhex("0012 70000600000000 0a00000000 3f0e00000000")


def uevent(kind, first=2, second=0, third=0):
    return struct.pack("<IIQ24xIIII", kind, 0, 0xffffffffc029d060, first, second, third, 0)


def pdu(opcode, flags=0x80, tail=b"", data=b"", lie=None):
    header = struct.pack(">BB2xI8xII12s", opcode, flags, len(data) if lie is None else lie, 0xffffffff, 0, b"")
    return uevent(101) + (header + tail).ljust(48, b"\0") + data


def asynchronous(event, data=b"", lie=None):
    return pdu(0x32, tail=struct.pack(">BBHHH4x", event, 0x5a, 1, 2, 3), data=data, lie=lie)


def fc(event, data, length=None):
    size = (40 + len(data) + 7) & ~7
    return struct.pack("<BBHHHQQHHII", 1, 1, 0xa1b2, 0x100, size, 1763799900, 0, 5,
                       len(data) if length is None else length, 12, event).ljust(36, b"\0") + data.ljust(size - 36, b"\0")


def fpin(*descriptors, length=None):
    body = b"".join(struct.pack(">II", tag, len(value)) + value for tag, value in descriptors)
    return struct.pack(">B3xI", 0x16, len(body) if length is None else length) + body


def attribute(kind, data):
    return (struct.pack("<HH", len(data) + 4, kind) + data).ljust((len(data) + 7) & ~3, b"\0")


def tcmu(command, *attributes):
    return struct.pack("<BBH", command, 1, 0) + b"".join(attribute(*a) for a in attributes)


DEVICE = (1, b"tcm-user/0/u0/foo/bar\0")
SEEDS = {
    "recorded_async": ISCSI + bytes.fromhex(
        "65000000 00000000 60d029c0ffffffff" + "00" * 24 + "02000000 00000000" + "00" * 8 +
        "3280000000000014 0000000000000000 ffffffff00000000 000000210000001f 0000003f005a0001 0002000300000000") + SENSE,
    "recorded_lipreset": FC + bytes.fromhex(
        "0101b2a1 00012800 5cb1216900000000 0000000000000000 0500 0400 0c000000 04000000 00000000"),
    "created": ISCSI + uevent(106, 2, 3), "unbound": ISCSI + uevent(105, 2, 3), "destroyed": ISCSI + uevent(104, 3, 2),
    "connection_error": ISCSI + uevent(102, 2, 0, 1020), "login_state": ISCSI + uevent(109, 2, 0, 3),
    "link_up": ISCSI + uevent(110, 4, 0, 1), "interface_down": ISCSI + uevent(108, 4),
    "login": ISCSI + pdu(0x23, 0x87, data=b"CHAP_R=0x00\0"), "login_refused": ISCSI + pdu(0x23, 0, bytes([2, 1])),
    "text": ISCSI + pdu(0x24, data=b"SendTargets=All\0"), "reject": ISCSI + pdu(0x3f, data=bytes(64)),
    "short_reject": ISCSI + pdu(0x3f, data=bytes(20)), "logout": ISCSI + pdu(0x26),
    "async_logout": ISCSI + asynchronous(1), "async_vendor": ISCSI + asynchronous(255, b"vendor"),
    "async_lie": ISCSI + asynchronous(0, SENSE, 0xffffff), "async_short_sense": ISCSI + asynchronous(0, b"\xff\xff\x70"),
    "cut_header": ISCSI + pdu(0x32)[:80],
    "fc_link_down": FC + fc(3, bytes(4)), "fc_rscn": FC + fc(5, bytes([0, 1, 2, 3])), "fc_unknown": FC + fc(77, bytes(4)),
    "fc_vendor": FC + fc(0xffff, b"vendor data"), "fc_lie": FC + fc(3, bytes(4), 0xffff),
    "fpin_all": FC + fc(0x501, fpin(*((0x20001 + i, bytes(20)) for i in range(4)))),
    "fpin_ack": FC + fc(0x502, fpin((0x20004, bytes(8)))), "fpin_lie": FC + fc(0x501, fpin((0x20001, b""), length=0xffffffff)),
    "fpin_cut": FC + fc(0x501, fpin((0x20001, bytes(20)))[:20]),
    "tcmu_added": TCMU + tcmu(1, DEVICE, (2, bytes(4)), (8, bytes(4))), "tcmu_removed": TCMU + tcmu(2, DEVICE, (2, bytes(4))),
    "tcmu_size": TCMU + tcmu(3, DEVICE, (5, struct.pack("<Q", 1 << 20))), "tcmu_cache": TCMU + tcmu(3, DEVICE, (6, b"\1")),
    "tcmu_config": TCMU + tcmu(3, DEVICE, (4, b"rbd/pool/image\0")), "tcmu_cut": TCMU + tcmu(3, DEVICE)[:20],
    "tcmu_no_end": TCMU + tcmu(1, (1, b"tcm-user/")), "tcmu_long": TCMU + tcmu(1, (1, b"tcm-user/0/" + b"x" * 400 + b"\0")),
}

os.makedirs(os.path.join(HERE, "corpus/netlink"), exist_ok=True)
for name, data in SEEDS.items():
    with open(os.path.join(HERE, "corpus/netlink", name), "wb") as file:
        file.write(data)
