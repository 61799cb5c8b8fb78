# SPDX-License-Identifier: Apache-2.0
"""The history of a run: what everybody saw, one fact a line, appended by all processes to one file.

A fact is a JSON object: "k" its kind, "t" CLOCK_MONOTONIC in seconds when it was written, and members by kind. A line goes
out in one write to a file opened for appending, so facts stand in the order in which they were written down. Whoever acts
on something writes it down first. A process that is killed may leave a torn line: then what stood in it has not happened.

    run       seed, agents, subscribers
    fault     what, who: something was done to somebody ("start": the broker serves again)
    died      status, log: the broker ended by itself
    report    log: a sanitizer found something in the broker
    mute      log: the broker does not answer, and nothing is wrong any more
    life      keeps: a life of the broker begins, which keeps so many of the newest records at least
    unacked   a, n, made, late: at rest the agent has an acknowledgement of n, and has made more; late: it was getting on
    damage    log: what `sensebus-store verify` says of the log at the end
    made      a, e, x: agent `a` made events in its epoch `e`; x: list of [number, crc, is bad]
    hello     a, e, oldest: a stream of the agent begins
    welcome   a, e, E, n: the broker knows everything up to n; E is the epoch of its log
    ack       a, e, E, n
    refused   a, e, n, reason
    open      s, i, req: subscriber `s` asks for its stream number i; start "refused" (E, at, newest): its position is gone, it
              was told, and behind `at` is the oldest of a log that ends at newest
    opened    s, i, E, at, oldest, newest
    watching  s, i, E, at: the same of a client that resumes by itself: the stream is all of its streams
    rec       s, i, x: records in full, from the auditor: list of RECORD members
    ev        s, i, x: [sequence, crc, sequence, crc, ...]
    gap       s, i, f, from, E, to, count, least, bits, stage: f is the epoch of `from`
    snap, synced, mark, closed      s, i, E, at
    end       s, i, code, details, ours: ours = the subscriber cancelled it
    strange   s, i, what: a batch that the contract does not allow
    try, moved  s, cursor, E, at: Acknowledge is about to be called; it was answered OK
    rest      E, newest, ends, subscribers, late: all was quiet and healed, everybody had time to read to newest, and the
              log ends at `ends` (newest); late: those who were still reading on when the time was up
"""
import json
import os
import time

# Members of an item of "rec".
RECORD = ("seq", "crc", "time", "source", "host", "epoch", "n", "code", "severity", "bits", "adapter", "target", "lun",
          "designator", "loss_first", "loss_last")


class Writer:
    """Appends facts. Made before processes fork, it may be used by all of them."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, kind, **members):
        fact = {"k": kind, "t": round(time.monotonic(), 6), **members}
        # A line break first as well: a torn line of somebody else must not take this one with it.
        line = b"\n" + json.dumps(fact, separators=(",", ":")).encode() + b"\n"
        if os.write(self.fd, line) != len(line):
            raise OSError("the history takes no more")


class History:
    """A history in a file, to be gone through as often as one likes."""

    def __init__(self, path):
        self.path = path

    def __iter__(self):
        with open(self.path, "rb") as file:
            for line in file:
                if len(line) > 1:
                    try:
                        yield json.loads(line)
                    except ValueError:  # torn: its writer was killed
                        continue
