# SPDX-License-Identifier: Apache-2.0
"""What a starved program is told, and what it counts: the other side of tests/fault/allocation.c."""
import mmap
import struct

from sensebus_testlib import *  # noqa: F401,F403


class Allocations:
    """A file that both sides map: `env` is for the program."""

    MEMBERS = ("armed", "counted", "fail_at", "one_in", "seed", "failed", "trace")

    def __init__(self):
        fd, self.path = tempfile.mkstemp(prefix="sensebus-allocations.")
        os.ftruncate(fd, 8 * len(self.MEMBERS))
        self.map = mmap.mmap(fd, 8 * len(self.MEMBERS))
        os.close(fd)
        self.env = {"SENSEBUS_ALLOCATIONS": self.path,
                    "LSAN_OPTIONS": f"suppressions={SOURCE}/tests/fault/starved.supp:print_suppressions=0"}
        self["trace"] = int(os.environ.get("SENSEBUS_SWEEP_TRACE", "0"))

    def __getitem__(self, name):
        return struct.unpack_from("=Q", self.map, 8 * self.MEMBERS.index(name))[0]

    def __setitem__(self, name, value):
        struct.pack_into("=Q", self.map, 8 * self.MEMBERS.index(name), value)

    def fail(self, **how):
        """fail(fail_at=7), fail(one_in=2000, seed=5); fail() only counts."""
        self["armed"] = 0
        for name in ("counted", "fail_at", "one_in", "seed", "failed"):
            self[name] = how.get(name, 0)
        self["armed"] = 1

    def stop(self):
        self["armed"] = 0

    def close(self):
        self.map.close()
        os.unlink(self.path)
