#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""proto/gen/registry.py refuses a registry with a mistake in it, and says where."""
import os
import re
import subprocess
import sys
import tempfile

SOURCE = os.environ.get("SENSEBUS_SOURCE") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../..")
REGISTRY = open(os.path.join(SOURCE, "proto/events.tsv"), encoding="utf-8").read()

# What is replaced (once), by what, and what the error says.
MISTAKES = [
    ("\n102\t", "\n101\t", "number 101 given twice"),
    ("\n102\tADAPTER_COMMAND_FAILED", "\n102\tADAPTER_FATAL", "name ADAPTER_FATAL given twice"),
    ("\n101\t", "\nten\t", ":2: "),
    ("\n101\t", "\n1000\t", "number 1000 is not in 100..999"),
    ("\n103\t", "\n299\t", "category ADAPTER has the numbers 1xx"),
    ("LUN_RESET\tRESET\tNOTICE\tLUN\tB\t4", "LUN_RESET\tRESET\tBAD\tLUN\tB\t4", "unknown severity 'BAD'"),
    ("LUN_RESET\tRESET\tNOTICE\tLUN\tB\t4", "LUN_RESET\tRESET\tNOTICE\tMOON\tB\t4", "unknown scope 'MOON'"),
    ("LUN_RESET\tRESET\tNOTICE\tLUN\tB\t4", "LUN_RESET\tRESET\tNOTICE\tLUN\tX\t4", "unknown mode 'X'"),
    ("LUN_RESET\tRESET\tNOTICE\tLUN\tB\t4", "LUN_RESET\tRESET\tNOTICE\tLUN\tB\t16", "AIX bits 16 are not in 0..15"),
    ("\t29/01\t", "\t29/00\t", "ASC/ASCQ 29/00 given twice"),
    ("\t29/01\t", "\t29/0\t", "asc_ascq not understood: '29/0'"),
    ("\t29/01\t", "\t29/01 29\t", "asc_ascq not understood: '29'"),
    ("\t5D/FF\t", "\t5D/FE\t", "no other code has 5D/FF, which it excepts"),
    ("\tAsync 1\t", "\tAsync one\t", "iscsi not understood: 'Async one'"),
    ("\tAsync 1\t", "\t\t", "an iSCSI AsyncEvent has no code: [1]"),
    ("\tAsync 1\t", "\tAsync 2\t", "iSCSI AsyncEvent 2 given twice"),
    ("\tresponse code 71h or 73h, any ASC\t", "\t\t", "exactly one code with the rule deferred_response_codes"),
]


def generate(directory, registry):
    path = os.path.join(directory, "events.tsv")
    with open(path, "w", encoding="utf-8") as file:
        file.write(registry)
    return subprocess.run([sys.executable, os.path.join(SOURCE, "proto/gen/registry.py"), path,
                           os.path.join(SOURCE, "proto/sensebus/v1/event.proto"),
                           "--table", os.path.join(directory, "table.c")],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def without_remedy(registry):
    lines = registry.splitlines(keepends=True)
    lines[5] = re.sub(r"\t[^\t]*\n", "\t\n", lines[5])
    return "".join(lines)


def main():
    with tempfile.TemporaryDirectory() as directory:
        assert generate(directory, REGISTRY).returncode == 0
        cases = [(old, REGISTRY.replace(old, new, 1), message) for old, new, message in MISTAKES]
        cases.append(("remedy", without_remedy(REGISTRY), "the remedy must be one sentence"))
        cases.append(("column", REGISTRY.replace("\tremedy\n", "\n", 1), "the columns must be"))
        for what, registry, message in cases:
            assert registry != REGISTRY, f"{what!r} is not in the registry any more"
            run = generate(directory, registry)
            assert run.returncode == 1 and message in run.stdout, f"{what!r}: wanted {message!r}, got {run.stdout!r}"
            assert "Traceback" not in run.stdout, run.stdout
        print(f"{len(cases)} mistakes found")


if __name__ == "__main__":
    main()
