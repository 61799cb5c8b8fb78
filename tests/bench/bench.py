#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The benchmark: every workload, every system, again and again in turn; one table.

    bench.py [--quick | --smoke] [--build DIR] [--repetitions N] [--only NAME]... [--results FILE [--add]] [WORKLOAD]...
    bench.py --profile DIR [--quick] [WORKLOAD]...      our broker alone, under perf
    bench.py --table FILE                               the table of an earlier run
    bench.py --document FILE [OTHER]...                 docs/performance.md from it; from other runs, what was met

Exit status: 0, or 1 when something failed that should have run.
"""
import argparse
import json
import os
import sys
import tempfile
import time

import hotpath
import machine
import report
from load import Failed
from systems import Absent, Unable
from workloads import VARIANTS, Plan

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))


class Run:
    def __init__(self, arguments):
        self.arguments = arguments
        self.plan = Plan("smoke" if arguments.smoke else "quick" if arguments.quick else "full")
        self.build = os.path.abspath(arguments.build)
        self.realtime = self.plan.size != "smoke" and machine.realtime_allowed()
        self.failed = 0
        self.measurements = []
        self.notes = {}

    def wanted(self):
        for variant in VARIANTS:
            if self.arguments.workloads and variant.workload not in self.arguments.workloads:
                continue
            only = self.arguments.only
            systems = [s for s in variant.systems if not only or any(word in s.name for word in only)]
            if systems:
                yield variant, systems

    def measure(self, variant, system):
        with tempfile.TemporaryDirectory(prefix="sensebus-bench.", dir=self.arguments.folder) as folder:
            if self.plan.size != "smoke":  # where nothing is measured, it is most of the time of the test
                machine.touch_memory()
            begin = time.monotonic()
            with system(folder, self.build, variant.realtime and self.realtime) as running:
                result = variant.measure(self.plan, running)
            return dict(result, seconds=round(time.monotonic() - begin, 2))

    def once(self, variant, system):
        where = (variant.workload, variant.name, system.name)
        reason = system.missing()
        try:
            if not reason:
                result = self.measure(variant, system)
                self.measurements.append({"workload": where[0], "variant": where[1], "system": where[2],
                                          "unit": variant.unit, "metrics": result})
                return
        except Absent as error:
            reason = str(error)
        except (Unable, Failed) as error:
            reason = str(error)
            self.failed += 1
        self.notes[" / ".join(where)] = reason

    def all(self):
        repetitions = self.arguments.repetitions or self.plan.repetitions
        for variant, systems in self.wanted():
            for repetition in range(repetitions):
                for system in systems:
                    if " / ".join((variant.workload, variant.name, system.name)) in self.notes:
                        continue
                    self.tell(f"{variant.workload} {variant.name}: {system.name} {repetition + 1}/{repetitions}")
                    self.once(variant, system)
        self.tell("")

    def measured(self):
        """What our broker was built from, as run.sh notes it."""
        try:
            with open(os.path.join(self.build, "measured"), encoding="utf-8") as file:
                return file.read().strip()
        except FileNotFoundError:
            return "unknown"

    @staticmethod
    def tell(text):
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    def results(self):
        versions = {"sensebus": self.measured()}
        for variant, systems in self.wanted():
            for system in systems:
                if not system.missing() and system.version():
                    versions[os.path.basename(system.program)] = system.version()
        return {"size": self.plan.size, "date": time.strftime("%Y-%m-%d"), "machine": machine.describe(self.arguments.folder or tempfile.gettempdir()), "realtime": self.realtime,
                "versions": versions, "measurements": self.measurements, "notes": self.notes}


def read(name):
    with open(name, encoding="utf-8") as file:
        return json.load(file)


def add(results, earlier):
    """Keep what an earlier run of the same size has of variants that this one has not."""
    if earlier["size"] != results["size"]:
        return
    have = {(m["workload"], m["variant"]) for m in results["measurements"]}
    kept = [m for m in earlier["measurements"] if (m["workload"], m["variant"]) not in have]
    results["measurements"] = sorted(results["measurements"] + kept, key=lambda m: m["workload"])
    results["versions"] = {**earlier["versions"], **results["versions"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="W1 … W8; none: all")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--build", default=os.path.join(SOURCE, "build", "bench"))
    parser.add_argument("--folder", help="where servers keep their data (TMPDIR)")
    parser.add_argument("--repetitions", type=int)
    parser.add_argument("--only", action="append", metavar="NAME", help="only systems with this in their name")
    parser.add_argument("--results", metavar="FILE", help="write the results here too")
    parser.add_argument("--add", action="store_true", help="… and keep what is in it of variants that are not run now")
    parser.add_argument("--profile", metavar="DIR")
    parser.add_argument("--table", metavar="FILE")
    parser.add_argument("--document", nargs="+", metavar="FILE")
    arguments = parser.parse_args()

    if arguments.table or arguments.document:
        runs = [read(name) for name in arguments.document or [arguments.table]]
        print(report.document(*runs) if arguments.document else report.table(*runs))
        return 0
    run = Run(arguments)
    if not list(run.wanted()):
        parser.error("nothing of that name is measured")
    if arguments.profile:
        try:
            hotpath.profile(run, arguments.profile)
        except Absent as reason:
            parser.exit(1, f"{reason}\n")
        return 0
    run.all()
    results = run.results()
    if arguments.add and arguments.results and os.path.exists(arguments.results):
        add(results, read(arguments.results))
    if arguments.results:
        with open(arguments.results, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1, ensure_ascii=False)
    print(report.table(results))
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
