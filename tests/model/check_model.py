#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Check the model of registration with spin, and prove that the checks can fail.

    check_model.py MODEL.pml

The invariants are checked over every reachable state with three requests a connection, "every-wait-ends" (a liveness
property, under weak fairness) with two. Then each mutant, a model with one rule broken, must be caught.
"""
import os
import subprocess
import sys
import tempfile

SAFETY = ["-DSAFETY", "-DNOCLAIM"]
LIVENESS = ["-DNFAIR=3"]
MUTANTS = {  # number: (what is broken, which check must see it)
    1: ("whoever registered is not told of the end", "safety"),
    2: ("a generation is given out twice", "safety"),
    3: ("a second registration is accepted", "safety"),
    4: ("a session survives its agent", "safety"),
    5: ("a failed attempt uses up the one chance", "safety"),
    6: ("a query does not clear the pending word", "safety"),
    7: ("a stale record is delivered", "safety"),
    8: ("bits of a session that is not registered are dropped", "safety"),
    9: ("a START that waits for an agent is forgotten when the agent is lost", "liveness"),
}


def run(model, mutant, requests, flags, arguments):
    """Returns (was an error found, the checker's own summary)."""
    with tempfile.TemporaryDirectory() as directory:
        generate = ["spin", f"-DMUTANT={mutant}", f"-DREQUESTS={requests}", "-a", model]
        made = subprocess.run(generate, cwd=directory, capture_output=True, text=True)
        if made.returncode or not os.path.exists(os.path.join(directory, "pan.c")):
            sys.exit(f"spin does not take {model}:\n{made.stdout}{made.stderr}")
        subprocess.run(["gcc", "-O1", "-w", "-DCOLLAPSE", "-DMEMLIM=2000", *flags, "-o", "pan", "pan.c"],
                       cwd=directory, check=True)
        done = subprocess.run(["./pan", *arguments, "-m300000", "-w22"], cwd=directory, capture_output=True, text=True,
                              timeout=600)
    if "errors:" not in done.stdout or "Search not completed" in done.stdout and "errors: 0" in done.stdout:
        sys.exit(f"the search did not end:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return "errors: 0" not in done.stdout, done.stdout


def check(model, mutant, kind):
    if kind == "safety":
        return run(model, mutant, 3, SAFETY, [])
    return run(model, mutant, 2, LIVENESS, ["-a", "-f"])


def main():
    model = os.path.abspath(sys.argv[1])
    failed = 0
    for kind in ("safety", "liveness"):
        found, text = check(model, 0, kind)
        print(f"{'FAIL' if found else 'ok'}    {kind}")
        if found:
            failed += 1
            print(text[-3000:])
    for mutant, (what, kind) in MUTANTS.items():
        found, _ = check(model, mutant, kind)
        print(f"{'ok' if found else 'FAIL'}    mutant {mutant} is caught: {what}")
        failed += not found
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
