#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""sensebus-target as others get it: the component `test` installed into a directory, its examples, its manual page."""
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading

from target_peers import Initiator
from target_program import Target

from sensebus_testlib import BUILD, LIMIT_S, SOURCE, check, check_equal, run_tests

COMPONENT = {"bin/sensebus-target", "share/man/man1/sensebus-target.1", "share/doc/sensebus-target/target.md",
             "share/doc/sensebus-target/events.md", "share/doc/sensebus-target/copyright",
             "share/doc/sensebus-target/changelog.gz", "share/doc/sensebus-target/changelog.Debian.gz",
             "share/doc/sensebus-target/examples/controller-failover.scenario",
             "share/doc/sensebus-target/examples/resize.py",
             "share/sensebus-target/proto/sensebus/target/v1/target.proto"}


def output(*command, **options):
    done = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          timeout=LIMIT_S, **options)
    check_equal(done.returncode, 0, f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}\nstatus")
    return done.stdout


@contextlib.contextmanager
def installed():
    with tempfile.TemporaryDirectory(prefix="sensebus-target.") as root:
        output("cmake", "--install", BUILD, "--prefix", root, "--component", "test")
        yield root


class Polling:
    """An initiator that asks both units again and again, and logs in again when it was thrown out."""

    def __init__(self, target):
        self.target, self.over = target, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.over.is_set():
            with contextlib.suppress(OSError, EOFError), Initiator(self.target) as initiator:
                while not self.over.wait(0.02):
                    initiator.test_ready()
            self.over.wait(0.02)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(LIMIT_S)


def test_the_component_has_all_that_is_needed_and_nothing_else():
    with installed() as root:
        files = {os.path.relpath(os.path.join(folder, name), root) for folder, _, names in os.walk(root) for name in names}
        check_equal(files, COMPONENT, "files")
        check("--grpc" in output(os.path.join(root, "bin/sensebus-target"), "--help"), "it runs")


def test_the_example_of_a_scenario():
    with installed() as root:
        scenario = os.path.join(root, "share/doc/sensebus-target/examples/controller-failover.scenario")
        with Target("--scenario", scenario, "--exit", path=os.path.join(root, "bin/sensebus-target")) as target, Polling(target):
            check_equal(target.wait(LIMIT_S), 0, f"exit status: {target.log()}")
            check("scenario done" in target.log(), target.log())
        with open(os.path.join(SOURCE, "docs/target.md"), encoding="utf-8") as manual, open(scenario, encoding="utf-8") as file:
            orders = [line for line in file.read().splitlines() if not line.startswith("#")]
            check("\n".join(orders) in manual.read(), "the manual shows the same scenario")


def test_the_example_of_a_client():
    plugin = shutil.which("grpc_python_plugin")
    with installed() as root:
        proto = os.path.join(root, "share/sensebus-target/proto")
        output("protoc", f"--proto_path={proto}", f"--python_out={root}", f"--grpc_python_out={root}",
               f"--plugin=protoc-gen-grpc_python={plugin}", "sensebus/target/v1/target.proto")
        example = os.path.join(root, "share/doc/sensebus-target/examples/resize.py")
        with Target(path=os.path.join(root, "bin/sensebus-target"), grpc_at="127.0.0.1:0") as target, Polling(target):
            said = output(sys.executable, example, target.grpc_address(), env=dict(os.environ, PYTHONPATH=root))
            check("iqn.2026-01.org.sensebus:raw was told that unit 0 has 262144 blocks" in said, said)


def test_the_manual_page_has_every_option_and_every_verb():
    with open(os.path.join(SOURCE, "tests/target/man/sensebus-target.1"), encoding="utf-8") as file:
        page = file.read()
    with open(os.path.join(SOURCE, "docs/target.md"), encoding="utf-8") as file:
        manual = file.read()
    program = os.path.join(BUILD, "tests/target/sensebus-target")
    options = re.findall(r"^ .*--(\w+)", output(program, "--help"), re.M)
    verbs = re.findall(r"^(\w+)", output(program, "--verbs"), re.M)
    check(len(options) >= 13 and len(verbs) >= 26, f"{options} {verbs}")
    for option in options:
        check(re.search(rf"^\.It Fl (\w , Fl )?\\-{option}\b", page, re.M), f"--{option} is not in the manual page")
    for verb in verbs:
        check(re.search(rf"^\.It Cm .*\b{verb}\b", page, re.M), f"{verb} is not in the manual page")
        check(re.search(rf"^\| .*`{verb}\b", manual, re.M), f"{verb} is not in the manual")
    if shutil.which("mandoc"):
        check_equal(output("mandoc", "-Tlint", "-W", "warning", os.path.join(SOURCE, "tests/target/man/sensebus-target.1")), "")


if __name__ == "__main__":
    run_tests(globals())
