# SPDX-License-Identifier: Apache-2.0
"""Files as a loss of power may leave them, from the record that tests/fault/disk.c makes (tests/fault/disk_record.h).

Whatever a completed flush covers is there, and a durable write that returned; of the rest each sector is there or not.
"""
import struct

WRITE, WRITE_DURABLE, SYNC, MARK = 1, 2, 3, 4
ENTRY = struct.Struct("=IIQ")
SECTOR = 512


def read_entries(path, end):
    """Each entry (kind, offset, bytes) that was done when the record had `end` bytes, and the one that came next: under
    way, or not begun. An entry is put on record when it is done."""
    with open(path, "rb") as file:
        record = file.read()
    entries, at, n_done = [], 0, 0
    while at + ENTRY.size <= len(record) and n_done == len(entries):
        kind, length, offset = ENTRY.unpack_from(record, at)
        at += ENTRY.size
        if at + length > len(record):
            break
        entries.append((kind, offset, record[at:at + length]))
        at += length
        n_done += at <= end
    return entries, n_done


def image(entries, n_done, chance, torn):
    """The file when the power is lost while entries[n_done] is under way. `chance`: a random.Random. `torn`: what was not
    flushed is there by sectors; else by whole writes."""
    flushed = max((i for i, entry in enumerate(entries[:n_done]) if entry[0] == SYNC), default=0)
    file = bytearray()
    for i, (kind, offset, content) in enumerate(entries):
        if kind not in (WRITE, WRITE_DURABLE):
            continue
        is_sure = i < flushed or (kind == WRITE_DURABLE and i < n_done)
        step = SECTOR if torn and not is_sure else len(content)
        for at in range(0, len(content), step):
            if not is_sure and chance.random() < 0.5:
                continue
            part = content[at:at + step]
            if len(file) < offset + at + len(part):
                file.extend(bytes(offset + at + len(part) - len(file)))
            file[offset + at:offset + at + len(part)] = part
    return bytes(file)
