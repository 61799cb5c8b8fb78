#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes corpus/redo: frames of a write-ahead log (broker/engine/redo.c), whole, cut off, and out of order.

Checksums of frames are made by the fuzzer; those of the values in them are right.
"""
import os
import struct

BLOCK = 4096
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "redo")


def crc32c(data, crc=0):
    crc ^= 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def value(first, n_records, records):
    """A stored value of the log: journal_format.h."""
    rest = struct.pack("=IIQ", n_records, 1, 1000 * first) + records
    return struct.pack("=HHI", 2, 0, crc32c(rest, crc32c(struct.pack("=Q", first)))) + rest


def put(table, key, content, delete=0):
    return struct.pack("=BBHI", table, delete, len(key), len(content)) + key + content


def frame(number, before, values, puts):
    blob = b"".join(puts)
    front = b"".join(struct.pack("=QII", first, len(content), 0) for first, content in values) + blob
    front += bytes(-(48 + len(front)) % 8)
    body = b"".join(content for _, content in values)
    head = struct.pack("=IIQQQIIII", 0x6d617266, 0, number, before, number, 48 + len(front) + len(body), len(values), len(blob), 0)
    whole = head + front + body
    return whole + bytes(-len(whole) % BLOCK)


def main():
    os.makedirs(FOLDER, exist_ok=True)
    one = frame(1, 0, [(1, value(1, 2, b"\x12\x03abc\x12\x02de"))], [put(0, b"agent", b"12345678"), put(2, b"cursor", b"", 1)])
    two = frame(2, 1, [], [put(1, b"device", b"x" * 40)])
    three = frame(5, 2, [(3, value(3, 1, b"\x12\x03xyz")), (4, value(4, 1, b"\x12\x01q"))], [])
    long = frame(6, 5, [(5, value(5, 1, b"\x12\xb8\x27" + b"z" * 5048))], [])
    for name, content in {"frames": one + two + three + long, "damaged": one + bytes(BLOCK) + three, "cut": one + two[:100],
                          "old": three + one + two, "empty": b"", "alone": long}.items():
        with open(os.path.join(FOLDER, name), "wb") as file:
            file.write(content)


if __name__ == "__main__":
    main()
