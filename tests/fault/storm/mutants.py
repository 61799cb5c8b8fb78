# SPDX-License-Identifier: Apache-2.0
"""Does the storm find each fault that broker/core/mutant.h can put into delivery?

    python3 tests/fault/storm/mutants.py [NUMBER ...]

Each mutant is given runs with one seed after the other, longer each time, until one is found guilty. Ends 0 when all are, and a run without a mutant is clean.
"""
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS = (15, 30, 75)
SEED = int(os.environ.get("SENSEBUS_SEED", "1"))


def known():
    with open(os.path.join(HERE, "..", "..", "..", "broker", "core", "mutant.h")) as file:
        return [(int(n), text) for n, text in re.findall(r"^ \*  (2\d\d)  (.*?)(?: \*/)?$", file.read(), re.M)]


def storm(number, seconds, seed):
    # With a mutant some may wait for ever, and need not be waited for long; without one, a busy machine gets its time.
    settle = ["--settle", "40"] if number else []
    return subprocess.run([sys.executable, HERE, "--mutant", str(number), "--seconds", str(seconds), "--seed", str(seed), *settle],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True)


def try_mutant(number, text):
    """True when it is found."""
    begin = time.monotonic()
    for i, seconds in enumerate(SECONDS):
        done = storm(number, seconds, SEED + i)
        if done.returncode not in (0, 1):
            print(f"mutant {number}: the run itself failed ({done.returncode}):\n{done.stdout}", flush=True)
            return False
        if done.returncode == 1:
            kinds = re.findall(r"^VIOLATION (.*)$", done.stdout, re.M)
            example = re.search(r"^    (.*)$", done.stdout, re.M)
            print(f"mutant {number} found in {time.monotonic() - begin:.0f} s: {text}\n    {'; '.join(kinds[:4])}\n"
                  f"    {example[1] if example else ''}", flush=True)
            return True
    print(f"mutant {number} NOT FOUND: {text}\n{done.stdout}", flush=True)
    return False


def main():
    wanted = {int(word) for word in sys.argv[1:]}
    mutants = [(n, text) for n, text in known() if not wanted or n in wanted]
    if not mutants:
        sys.exit("no such mutant")
    done = storm(0, SECONDS[0], SEED)
    if done.returncode != 0:
        sys.exit(f"without a mutant there is something wrong already:\n{done.stdout}")
    found = [n for n, text in mutants if try_mutant(n, text)]
    print(f"{len(found)} of {len(mutants)} mutants were found")
    sys.exit(0 if len(found) == len(mutants) else 1)


if __name__ == "__main__":
    main()
