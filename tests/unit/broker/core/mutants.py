# SPDX-License-Identifier: Apache-2.0
"""Does a test notice each fault that broker/core/mutant.h can put in?

    mutants.py PROGRAM SOURCE...

PROGRAM is a test program built with SENSEBUS_MUTATIONS that takes the number of its mutant from the environment variable
SENSEBUS_MUTANT; the mutants are those named in the sources.
"""
import os
import re
import subprocess
import sys


def run(program, number):
    environment = dict(os.environ, SENSEBUS_MUTANT=str(number))
    return subprocess.run([program, "--jobs", "1", "--timeout", "120", "--fail-fast"], env=environment, capture_output=True).returncode


def main():
    program, sources = sys.argv[1], sys.argv[2:]
    numbers = sorted({int(n) for path in sources for n in re.findall(r"\bMUTANT\((\d+)\)", open(path).read())})
    if not numbers:
        sys.exit("no mutants in these sources")
    if run(program, 0) != 0:
        sys.exit("the tests fail without a mutant")
    alive = [n for n in numbers if run(program, n) == 0]
    print(f"{len(numbers) - len(alive)} of {len(numbers)} mutants were found")
    if alive:
        sys.exit(f"not found: {alive}")


if __name__ == "__main__":
    main()
