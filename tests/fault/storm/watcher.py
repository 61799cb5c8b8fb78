# SPDX-License-Identifier: Apache-2.0
"""`sensebus watch` as a subscriber: it dials again and resumes by itself, and what it prints is one stream to the checker.

What it prints is JSON; the records made of that have to be the agents' own to the last bit.
"""
import ctypes
import json
import os
import re
import signal
import subprocess
import time

from google.protobuf import json_format

import subscriber
from sensebus_testlib import BUILD, event_pb2, events_pb2
from world import PR_SET_PDEATHSIG

PROGRAM = os.path.join(BUILD, "clients", "sensebus")


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Watcher(subscriber.Subscriber):
    def begin(self, epoch, sequence, start=None):
        self.stream += 1
        self.write("open", req={"policy": "LAG", "mark": 0, "start": start or ["position", epoch, sequence]})
        self.write("watching", E=epoch, at=sequence)
        self.moved_to(epoch, sequence)

    def watch(self, epoch, sequence):
        """One life of the program, beginning behind a position. Returns what it said on standard error."""
        self.begin(epoch, sequence)
        program = subprocess.Popen(
            [PROGRAM, "watch", "-o", "ndjson", "--since", f"{epoch:x}.{sequence}", "--insecure", "--broker",
             self.world.network.address(self.player.host)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=die_with_parent)
        os.set_blocking(program.stderr.fileno(), False)
        said = b""
        for line in program.stdout:
            epoch = self.take_line(json.loads(line), epoch)
            said = (said + (program.stderr.read() or b""))[-4000:]  # it must not fill the pipe
        program.wait()
        said += program.stderr.read() or b""
        self.write("end", code="WATCH", details=f"{program.returncode}: {said.decode(errors='replace')[-500:]}", ours=True)
        return said.decode(errors="replace")

    def take_line(self, value, epoch):
        """Returns the epoch of the log it is in now."""
        if "gap" in value:
            gap = json_format.ParseDict(value["gap"], events_pb2.Gap())
            if gap.to.epoch != epoch:  # another log, and that is told: another stream
                epoch = gap.to.epoch
                self.write("end", code="WATCH", details="a new log", ours=True)
                self.begin(epoch, gap.to.sequence)
            else:
                self.take(events_pb2.EventBatch(correlator=self.name.encode(), gap=gap))
        elif "code" in value:
            event = json_format.ParseDict(value, event_pb2.Event())
            sequence = event.sequence
            self.write("ev", x=[sequence, subscriber.crc_of(event)])
            self.moved_to(epoch, sequence)
        return epoch

    def play(self):
        if not self.place():
            self.moved_to(self.player.log_epoch, 0)
        while not self.world.over():
            epoch, sequence = self.place()
            said = self.watch(epoch, sequence)
            gone = re.search(r"the log ([0-9a-f]+) holds records (\d+)\.\.(\d+)", said)
            if gone:
                epoch, oldest, newest = int(gone[1], 16), int(gone[2]), int(gone[3])
                self.begin(epoch, oldest - 1, ["refused", epoch, oldest - 1, newest])
            time.sleep(0.2)


def play(player):
    Watcher(player).play()
