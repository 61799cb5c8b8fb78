#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of the trace corpus: records as the programs of agent/source/trace/*.bpf.c made them of
scsi_debug, tcm_loop, LIO and the disk driver on Linux 6.1. Run it when wire.h changes: make_trace_corpus.py"""
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
DONE, TIMEOUT, EH_WAKEUP, STATE = 1, 2, 3, 4
READ = "28000000123400000100"


def record(kind, ns=5_491_642_000, place=(0, 0, 0, 0), result=0, cdb="", sense="", states=(0, 0), retries=0):
    host, channel, target, lun = place
    cdb, sense = bytes.fromhex(cdb), bytes.fromhex(sense)
    return struct.pack("<QQIIIiBBBBB3xii16s96s", ns, lun, host, channel, target, result, kind, len(cdb),
                       96 if sense else 0, *states, retries, 5, cdb, sense)


def sense(key, asc, ascq, code="70"):
    return f"{code}00{key:02x}000000000a00000000{asc:02x}{ascq:02x}00000000"


def answer(sense, ns=5_491_642_000, lun=0, cdb=READ, initiator="iqn.2026-01.org.sensebus:guest",
           target="iqn.2026-01.org.sensebus:lio", backstore=("fileio_0", "d0"), status=2):
    """Of the host as a target (struct trace_answer_wire)."""
    sense = bytes.fromhex(sense)
    return struct.pack("<QQBBB5x16s96s224s224s64s64s64s", ns, lun, status, 16, 96 if sense else 0, bytes.fromhex(cdb), sense,
                       initiator.encode("latin-1"), target.encode("latin-1"), b"tpgt_1",
                       *(name.encode("latin-1") for name in backstore))


SEEDS = {
    "capacity": record(DONE, result=2, cdb="00" * 6, sense=sense(6, 0x2a, 9)),
    "medium_error": record(DONE, result=2, cdb=READ, sense="f00003000012340a00000000110000000000"),
    "medium_error_descriptors": record(DONE, result=2, cdb=READ, sense="720311000000000c000a80000000000000001234"),
    "deferred": record(DONE, result=2, cdb=READ, sense=sense(3, 0x0c, 0, "71")),
    "probe": record(DONE, result=2, cdb="a30c01120000000002000000", sense=sense(5, 0x20, 0)),
    "removal": record(DONE, result=0x40000, cdb="35" + "00" * 9),
    "no_sense": record(DONE, result=2, cdb=READ),
    "garbage_sense": record(DONE, result=2, cdb=READ, sense="ffffffffffffffff"),
    "disrupted": b"".join(record(DONE, ns=1000 + i, place=(0, 0, 1, 0), result=0xe0000, cdb=READ, retries=i)
                          for i in range(6)),
    "retried": b"".join(record(DONE, ns=1000 + i * 400_000_000, result=2, cdb=READ, sense=sense(0xb, 0x47, 3))
                        for i in range(6)),
    "not_ready": b"".join(record(DONE, ns=1 + i * 30_000_000_000, place=(0, 0, 0, i % 2), result=2, cdb="00" * 6,
                                 sense=sense(2, 4, 1)) for i in range(6)),
    "recovery": record(TIMEOUT, cdb=READ) + record(EH_WAKEUP, place=(3, 0, 0, 0)) + record(STATE, states=(2, 6)),
    "states": b"".join(record(STATE, states=(a, b)) for a, b in [(1, 2), (2, 8), (8, 7), (7, 2), (2, 3), (3, 4)]),
    "many_units": b"".join(record(DONE, ns=1000 + i, place=(0, 0, 0, i), result=2, cdb=READ, sense=sense(4, 0x44, 0))
                           for i in range(80)),
    "far_lun": record(DONE, place=(0, 0, 0, 1 << 63), result=2, cdb=READ, sense=sense(4, 0x44, 0)),
    "answer": answer(sense(6, 0x2a, 6), cdb="00" * 6),
    "answer_retried": b"".join(answer(sense(3, 0x11, 0), ns=1000 + i) for i in range(6)),
    "answers_to_many": b"".join(answer(sense(2, 4, 0xb), ns=1000 + i, initiator=f"naa.{i % 3}", target="naa.t")
                                for i in range(9)),
    "answer_probe": answer(sense(5, 0x20, 0), cdb="a30c01120000000002000000"),
    "answer_without_sense": answer(""),
    "answer_names": answer(sense(6, 0x3f, 0xe), initiator="i" * 224, target="\xff" * 224, backstore=("\n" * 64, "d" * 64)),
    "answer_nameless": answer(sense(6, 0x29, 0), initiator="", target="", backstore=("", ""), lun=(1 << 64) - 1),
    "answer_and_record": answer(sense(6, 0x2a, 6)) + record(DONE, result=2, cdb=READ, sense=sense(6, 0x2a, 6)),
    "answer_cut": answer(sense(6, 0x2a, 6))[:-1],
    "cut": record(TIMEOUT, cdb=READ)[:-9],
}


def main():
    directory = os.path.join(HERE, "corpus", "trace")
    os.makedirs(directory, exist_ok=True)
    for name, data in SEEDS.items():
        with open(os.path.join(directory, name), "wb") as file:
            file.write(data)


if __name__ == "__main__":
    main()
