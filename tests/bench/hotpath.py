# SPDX-License-Identifier: Apache-2.0
"""Where our broker's time goes: perf(1) beside a workload, and its report as text.

These runs are not counted: perf costs something itself.
"""
import os
import shutil
import signal
import subprocess
import time

from systems import Absent, Sensebus

SHOWN = 25


class Profiled(Sensebus):
    """Watched by perf while it is measured, and only then."""
    data = None
    perf = None

    def measuring(self, begins):
        if begins:
            self.perf = subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-F", "4000", "-g", "-o", self.data, "-p",
                                          str(self.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.5)
        elif self.perf:
            self.perf.send_signal(signal.SIGINT)
            self.perf.wait(60)


def report(data, *options):
    done = subprocess.run(["perf", "report", "-i", data, "--no-children", "--stdio", "-g", "none", *options],
                          capture_output=True, text=True, check=False)
    lines = [line.rstrip("- ") for line in done.stdout.split("\n")]
    return "\n".join(line for line in lines if line and not line.startswith("#"))


def profile(run, folder):
    """Our broker once a variant; in `folder` the data, and what it says as text."""
    if not shutil.which("perf"):
        raise Absent("perf is not installed (Debian: linux-perf)")
    os.makedirs(folder, exist_ok=True)
    for variant, systems in run.wanted():
        if Sensebus not in systems:
            continue
        name = "".join(c if c.isalnum() else "-" for c in f"{variant.workload} {variant.name}".replace("→", "to"))
        Profiled.data = os.path.join(folder, name + ".perf")
        run.measure(variant, Profiled)
        if not os.path.exists(Profiled.data):
            continue  # memory: no time is measured
        parts = report(Profiled.data, "--sort", "dso")
        functions = report(Profiled.data, "--percent-limit", "0.5", "--sort", "dso,symbol")
        with open(os.path.join(folder, name + ".txt"), "w", encoding="utf-8") as file:
            file.write(parts + "\n\n" + functions + "\n")
        print(f"\n{variant.workload}  {variant.name}\n" + "\n".join(parts.split("\n")[:5] + functions.split("\n")[:SHOWN]))
