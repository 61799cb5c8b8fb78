# SPDX-License-Identifier: Apache-2.0
"""Where our broker's time goes: perf(1) beside a workload, and its report as text.

These runs are not measurements: perf costs something itself. Start and end of the broker are in the profile too, so the
larger sizes say more.
"""
import os
import shutil
import subprocess
import time

from systems import Sensebus, Unable

SHOWN = 25


class Profiled(Sensebus):
    data = None

    def __enter__(self):
        super().__enter__()
        self.perf = subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-F", "2000", "-g", "-o", self.data, "-p",
                                      str(self.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.3)
        return self

    def stop(self):
        super().stop()
        if hasattr(self, "perf"):
            self.perf.wait(30)  # it ends with what it watches


def report(data, *options):
    done = subprocess.run(["perf", "report", "-i", data, "--no-children", "--stdio", "-g", "none", *options],
                          capture_output=True, text=True, check=False)
    lines = [line.rstrip("- ") for line in done.stdout.split("\n")]
    return "\n".join(line for line in lines if line and not line.startswith("#"))


def profile(run, folder):
    """Our broker once a variant; in `folder` the data, and what it says as text."""
    if not shutil.which("perf"):
        raise Unable("perf is not installed (Debian: linux-perf)")
    os.makedirs(folder, exist_ok=True)
    for variant, systems in run.wanted():
        if Sensebus not in systems:
            continue
        name = "".join(c if c.isalnum() else "-" for c in f"{variant.workload} {variant.name}".replace("→", "to"))
        Profiled.data = os.path.join(folder, name + ".perf")
        run.measure(variant, Profiled)
        parts = report(Profiled.data, "--sort", "dso")
        functions = report(Profiled.data, "--percent-limit", "0.5", "--sort", "dso,symbol")
        with open(os.path.join(folder, name + ".txt"), "w", encoding="utf-8") as file:
            file.write(parts + "\n\n" + functions + "\n")
        print(f"\n{variant.workload}  {variant.name}\n" + "\n".join(parts.split("\n")[:5] + functions.split("\n")[:SHOWN]))
