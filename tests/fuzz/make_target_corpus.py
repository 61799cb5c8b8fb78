#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of the feed and target_state corpora: make_target_corpus.py"""
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))


def write(corpus, name, data):
    directory = os.path.join(HERE, "corpus", corpus)
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, name), "wb") as f:
        f.write(data)


def target(number, name, state="ready", nexuses=(), luns=()):
    """As tgtd 1.0.85 prints it."""
    lines = [f"Target {number}: {name}", "    System information:", "        Driver: iscsi", f"        State: {state}",
             "    I_T nexus information:"]
    for nexus, initiator, address in nexuses:
        lines += [f"        I_T nexus: {nexus}", f"            Initiator: {initiator} alias: none",
                  "            Connection: 0", f"                IP Address: {address}"]
    lines += ["    LUN information:"]
    for lun, online in luns:
        lines += [f"        LUN: {lun}", "            Type: disk", f"            Online: {online}",
                  "            Backing store path: /disk"]
    lines += ["    Account information:", "    ACL information:", "        ALL"]
    return "\n".join(lines).encode() + b"\n"


def name(text):
    return bytes([len(text)]) + text


def message(kind, body):
    return struct.pack(">IB", len(body) + 1, kind) + body


def main():
    one = target(1, "iqn.t1", nexuses=[(1, "iqn.a", "192.0.2.1")], luns=[(0, "Yes"), (1, "Yes")])
    other = target(1, "iqn.t1", "offline", [(2, "iqn.b", "2001:db8::1")], [(0, "Yes"), (1, "No"), (5, "Yes")])
    two = one + target(2, "iqn.t2")
    write("target_state", "same", one + b"\xff" + one)
    write("target_state", "changed", one + b"\xff" + other)
    write("target_state", "added", one + b"\xff" + two + b"\0")
    write("target_state", "removed", two + b"\xff")
    write("target_state", "forged", one.replace(b"iqn.a", b"iqn.a\n    LUN information:\n        LUN: 7\n") + b"\xff")
    write("target_state", "numbers", b"Target 1: t\n    LUN information:\n        LUN: 99999999999999999999999\n"
          b"        LUN: 16384\n    I_T nexus information:\n        I_T nexus: -1\n            Initiator: \xc3\x28\n")
    write("target_state", "nonsense", b"tgtadm: no\n\xffTarget 1000000: iqn.t\nTarget x: y\n")
    serves = message(1, name(b"iqn.t1") + name(b"iqn.t2"))
    data = message(2, name(b"iqn.t1") + name(b"iqn.a") + b"data")
    write("feed", "stream", serves + data + data + message(1, b"") + message(9, b"later"))
    write("feed", "empty_data", serves + message(2, name(b"iqn.t1") + name(b"iqn.a")))
    write("feed", "cut", (serves + data)[:-1])
    write("feed", "no_initiator", message(2, name(b"iqn.t1")))
    write("feed", "bad_name", message(1, name(b"iqn t")))
    write("feed", "long", b"\0\1\1\xff\2")
    write("feed", "zero", b"\0\0\0\0")


if __name__ == "__main__":
    main()
