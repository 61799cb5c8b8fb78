# SPDX-License-Identifier: Apache-2.0
"""In the guest, with its clocks counting instructions: what a direct read of 4 KiB that goes well costs without and with
the programs at the trace points.

    sh tests/guest/run.sh --count --command '/usr/bin/python3 tests/guest/overhead.py [--reads N]'

`scsi` is a disk of scsi_debug that moves no data and answers at once: the cheapest read there is, hence the one of which
the programs are most. `target` is a disk of LIO's in memory on this machine itself, whose reads pass both trace points.
Runs without and with the agent alternate; the smallest of each counts, for all else that a machine does comes on top. Ends 1 when the programs cost more than 1.5 %.
"""
import argparse
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lio import CONFIG, end_loop, load, make_device, remove_device, serve_loop  # noqa: E402
from world import BUILD, Daemon, Disk, devices, get, run, unload, until  # noqa: E402

LIMIT = 0.015
ROUNDS = 5
MEMORY = f"{CONFIG}/core/rd_mcp_0/d0"
SOURCES = ("trace", "lio-sense")


def new_disk(cause):
    before = devices()
    cause()
    return Disk(sorted(until(lambda: devices() - before, "a disk"))[0])


def read_cost(disk, reads):
    """Instructions of one read."""
    return int(run(f"{BUILD}/tests/guest/guest-reads", disk.node, reads)) / reads


class Agent:
    """With the two sources alone, and nobody to tell."""

    def __init__(self, directory):
        self.log = os.path.join(directory, "agent.log")
        self.daemon = Daemon(f"{BUILD}/agent/sensebus-agent", "--broker", "127.0.0.1:9", "--host", "guest",
                             "--state", f"{directory}/state", "--source", "all=off",
                             *(word for name in SOURCES for word in ("--source", f"{name}=on")), log=self.log)
        until(lambda: all(f"source={name} state=armed" in get(self.log) for name in SOURCES), "the programs", 120)

    def stop(self):
        self.daemon.stop()


def compare(disk, directory, reads):
    costs = {False: [], True: []}
    read_cost(disk, reads)  # warm
    for _ in range(ROUNDS):
        costs[False].append(read_cost(disk, reads))
        agent = Agent(directory)
        costs[True].append(read_cost(disk, reads))
        agent.stop()
    return min(costs[False]), min(costs[True]), costs


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--reads", type=int, default=10000)
    options = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="overhead.")
    load("target_core_mod")
    failed = False
    print("| disk | instructions of a read | with the agent | more |\n|---|---|---|---|", flush=True)
    for name in ("scsi", "target"):
        if name == "scsi":
            disk = new_disk(lambda: run("modprobe", "scsi_debug", "fake_rw=1", "delay=0", "dev_size_mb=64"))
        else:
            make_device(MEMORY, "rd_pages=16384")
            disk = new_disk(lambda: serve_loop(MEMORY))
        off, on, costs = compare(disk, directory, options.reads)
        print(f"| {name} | {off:.0f} | {on:.0f} | {on - off:.0f} ({(on - off) / off:.2%}) |", flush=True)
        print("  without:", *(f"{cost:.0f}" for cost in costs[False]), "with:", *(f"{cost:.0f}" for cost in costs[True]))
        failed = failed or (on - off) / off > LIMIT
        if name == "scsi":
            unload("scsi_debug")
        else:
            end_loop()
            remove_device(MEMORY)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
