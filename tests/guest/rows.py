# SPDX-License-Identifier: Apache-2.0
"""In the guest: every row of the event table, or those that are named; then the table.

    rows.py [--list] [ROW…]

A row that needs a source which is not there fails, and says what was not told. Ends 0 when all rows passed.
"""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import rows_disk  # noqa: E402,F401  each adds its rows
import rows_lio  # noqa: E402,F401
import rows_iscsi  # noqa: E402,F401
import rows_fc  # noqa: E402,F401
from row import ROWS  # noqa: E402
from world import BUILD, World  # noqa: E402

STALL_S = 0.3
HEAD = """# What the kernel says, and what Sensebus tells of it

Each row was caused in a virtual machine with {kernel}, by `sh tests/guest/run.sh`. Exactly these events came, once
each; a row that fails says so. The first of "what saw it" is the record that leads the event, the others are its
evidence. The time is that from the kernel's record to a subscriber of a broker on the same machine, in {accelerator};
it includes the wait for further evidence (1 s at most), and looks at sysfs came once a second.

| cause | event | what saw it | time |
|---|---|---|---|
"""


def table(results):
    for result in results:
        for index, (code, natives, source, seconds) in enumerate(result.lines):
            saw = f"{source.removeprefix('SOURCE_').lower().replace('_', '-')}: {', '.join(natives)}"
            yield f"| {result.row.cause if index == 0 else ''} | {code} | {saw} | {seconds:.2f} s |\n"
        for fault in result.faults:
            yield f"| {'' if result.lines else result.row.cause} | **fails**: {fault.splitlines()[0]} | | |\n"


def accelerator():
    with open("/proc/cpuinfo", encoding="ascii") as file:
        return "emulation (TCG)" if "QEMU TCG" in file.read() else "KVM"


def write_table(results):
    with open(os.path.join(os.environ["GUEST_SHARE"], "table.md"), "w", encoding="utf-8") as file:
        file.write(HEAD.format(kernel=f"Debian's Linux {os.uname().release}", accelerator=accelerator()))
        file.writelines(table(results))


def check(row, world):
    """A row that fails while the machine stood still for a good part of the second in which the agent waits for evidence has
    proved nothing: it is tried again."""
    for again in (True, True, False):
        world.stall.worst_s = 0.0
        result = row.check(world)
        if result.passed() or world.stall.worst_s < STALL_S or not again:
            return result
        print(f"     {row.name}: the machine stood still for {world.stall.worst_s:.2f} s, so again: {result.faults[0]}",
              flush=True)


def main():
    if sys.argv[1:] == ["--list"]:
        print("\n".join(f"{row.name:24} {row.cause}" for row in ROWS))
        return 0
    unknown = set(sys.argv[1:]) - {row.name for row in ROWS}
    if unknown:
        print(f"no such rows: {', '.join(sorted(unknown))}; --list lists them")
        return 2
    world = World()
    results = []
    for row in ROWS:
        if sys.argv[1:] and row.name not in sys.argv[1:]:
            continue
        begin = time.monotonic()
        result = check(row, world)
        results.append(result)
        print(f"{'ok  ' if result.passed() else 'FAIL'} {row.name} ({time.monotonic() - begin:.0f} s)", flush=True)
        for fault in result.faults:
            print(f"       {fault}", flush=True)
    print(subprocess.run([f"{BUILD}/clients/sensebus", "agents", "--broker", world.address], capture_output=True, text=True,
                         check=False).stdout)
    for name, status in world.stop().items():
        if status:
            print(f"FAIL {name} ended with {status}; see the shared folder")
            results[0].faults.append(name)
    write_table(results)
    sys.stdout.writelines(table(results))
    passed = sum(result.passed() for result in results)
    print(f"{passed} of {len(results)} rows passed")
    return 0 if passed == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
