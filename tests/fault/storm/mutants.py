# SPDX-License-Identifier: Apache-2.0
"""Does the storm find each fault that broker/core/mutant.h can put into delivery?

    python3 tests/fault/storm/mutants.py [--within SECONDS] [NUMBER ...]

Each mutant is given runs with one seed after the other, longer each time, until one is found guilty: only a violation is a
find, not a run that failed or could not be judged. Ends 0 when all are found, and a run without a mutant is clean. 77 when
that could not be judged, because the machine was too slow for this: also when no time is left for another run that may take
as long as one can on such a machine.
"""
import argparse
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS = (15, 30, 75)
CLEAN, GUILTY, FAILED, INCONCLUSIVE = 0, 1, 2, 77
SEED = int(os.environ.get("SENSEBUS_SEED", "1"))


def known():
    with open(os.path.join(HERE, "..", "..", "..", "broker", "core", "mutant.h")) as file:
        return [(int(n), text) for n, text in re.findall(r"^ \*  (2\d\d)  (.*?)(?: \*/)?$", file.read(), re.M)]


def storm(number, seconds, seed, ends):
    """It takes its seconds, its patience and four times what it waits for who stands still, at most, and is judged."""
    left = ends - time.monotonic()
    if seconds > left / 5:
        return subprocess.CompletedProcess([], INCONCLUSIVE, f"{left:.0f} s are left, too few for a run of {seconds} s\n")
    # With a mutant some may wait for ever, and need not be waited for long; without one, a busy machine gets its time.
    settle, patience = min(40 if number else 120, left / 10), min(360, left / 4)
    return subprocess.run([sys.executable, HERE, "--mutant", str(number), "--seconds", str(seconds), "--seed", str(seed),
                           "--settle", str(settle), "--patience", str(patience)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True)


def try_mutant(number, text, ends):
    """GUILTY when it is found, else how the last run ended."""
    begin = time.monotonic()
    for i, seconds in enumerate(SECONDS):
        done = storm(number, seconds, SEED + i, ends)
        kinds = re.findall(r"^VIOLATION (.*)$", done.stdout, re.M)
        if done.returncode not in (CLEAN, INCONCLUSIVE) and not (done.returncode == GUILTY and kinds):
            print(f"mutant {number}: the run itself failed ({done.returncode}):\n{done.stdout}", flush=True)
            return FAILED
        if done.returncode == GUILTY:
            example = re.search(r"^    (.*)$", done.stdout, re.M)
            print(f"mutant {number} found in {time.monotonic() - begin:.0f} s: {text}\n    {'; '.join(kinds[:4])}\n"
                  f"    {example[1] if example else ''}", flush=True)
            return GUILTY
    print(f"mutant {number} NOT FOUND: {text}\n{done.stdout}", flush=True)
    return done.returncode


def run_clean(ends):
    """Nothing may be wrong without a mutant. A machine that is too slow for one run may do for the next."""
    for i, seconds in enumerate(SECONDS):
        done = storm(0, seconds, SEED + i, ends)
        if done.returncode != INCONCLUSIVE:
            break
    if done.returncode != CLEAN:
        what = "it cannot be judged" if done.returncode == INCONCLUSIVE else "there is something wrong already"
        print(f"without a mutant {what}:\n{done.stdout}", flush=True)
        sys.exit(INCONCLUSIVE if done.returncode == INCONCLUSIVE else 1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--within", type=float, default=float("inf"), help="end after so many seconds (never)")
    parser.add_argument("numbers", type=int, nargs="*")
    arguments = parser.parse_args()
    mutants = [(n, text) for n, text in known() if not arguments.numbers or n in arguments.numbers]
    if not mutants:
        sys.exit("no such mutant")
    ends = time.monotonic() + arguments.within
    run_clean(ends)
    found = [try_mutant(n, text, ends) for n, text in mutants]
    missed = [end for end in found if end != GUILTY]
    print(f"{len(found) - len(missed)} of {len(found)} mutants were found")
    sys.exit(0 if not missed else INCONCLUSIVE if set(missed) == {INCONCLUSIVE} else 1)


if __name__ == "__main__":
    main()
