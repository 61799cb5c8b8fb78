# SPDX-License-Identifier: Apache-2.0
"""Files as a loss of power may leave them, from the record that tests/fault/disk.c makes (tests/fault/disk_record.h).

Whatever a completed flush covers is there, and a durable write that returned; of the rest each sector is there or not.
"""
import os
import struct

WRITE, WRITE_DURABLE, SYNC, MARK = 1, 2, 3, 4
DATA, REDO = 1, 2
FILES = {DATA: "data.mdb", REDO: "redo"}
ENTRY = struct.Struct("=HHIQ")
SECTOR = 512


def read_entries(path, end):
    """Each entry (kind, file, offset, bytes) that was done when the record had `end` bytes, and the one that came next: under
    way, or not begun. An entry is put on record when it is done."""
    with open(path, "rb") as file:
        record = file.read()
    entries, at, n_done = [], 0, 0
    while at + ENTRY.size <= len(record) and n_done == len(entries):
        kind, name, length, offset = ENTRY.unpack_from(record, at)
        at += ENTRY.size
        if at + length > len(record):
            break
        entries.append((kind, name, offset, record[at:at + length]))
        at += length
        n_done += at <= end
    return entries, n_done


def write_images(directory, entries, n_done, chance, torn):
    """Both files when the power is lost, see image()."""
    for name, path in FILES.items():
        content = image(entries, name, n_done, chance, torn)
        if content:
            with open(os.path.join(directory, path), "wb") as file:
                file.write(content)


def image(entries, name, n_done, chance, torn):
    """The file when the power is lost while entries[n_done] is under way. `chance`: a random.Random. `torn`: what was not
    flushed is there by sectors; else by whole writes."""
    flushed = max((i for i, entry in enumerate(entries[:n_done]) if entry[:2] == (SYNC, name)), default=0)
    file = bytearray()
    for i, (kind, of, offset, content) in enumerate(entries):
        if of != name or kind not in (WRITE, WRITE_DURABLE):
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
