# SPDX-License-Identifier: Apache-2.0
"""Memory runs out in a program that uses libsensebus, at one allocation after the other.

face_driver-starved is the program that asks for everything (tests/integration/face_driver.c), with an allocator that
fails when it is told to (allocation.c). Whatever fails, the program must not crash and not wait for ever: all goes well
all the same, or a call fails with a reason and the driver, which takes no failure, ends with 1.

SENSEBUS_SEED makes a run repeat; SENSEBUS_SWEEP=all sweeps over every allocation; SENSEBUS_SWEEP_TRACE=1 shows where one
failed.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "integration"))
import c_face  # noqa: E402
from c_face import *  # noqa: E402,F403
from starvation import *  # noqa: E402,F403

SEED = int(os.environ.get("SENSEBUS_SEED", "0")) or random.SystemRandom().getrandbits(32)
SAMPLES = 60
c_face.DRIVER = os.path.join(BUILD, "tests", "fault", "face_driver-starved")


def play(broker, allocations, scenario, answers, **how):
    """Give the exit status and what was said."""
    os.environ.update(allocations.env)
    allocations.fail(**how)
    with Driver(broker.address, scenario) as driver:
        try:
            driver.serve(**answers)
        except AssertionError:
            if driver.process.poll() is None:
                raise
        return driver.process.returncode, driver.lines


def sweep(broker, scenario, **answers):
    allocations, endings = Allocations(), {}
    try:
        status, lines = play(broker, allocations, scenario, answers)
        check_equal(status, 0, f"with memory it ended with {lines}")
        n_all = allocations["counted"]
        chance, n = random.Random(SEED), min(SAMPLES, n_all)
        rounds = [int((i + chance.random()) * n_all / n) + 1 for i in range(n)]
        if os.environ.get("SENSEBUS_SWEEP") == "all":
            rounds = range(1, n_all + 1)
        print(f"seed {SEED}, {scenario}: {n_all} allocations, {len(rounds)} of them fail", flush=True)
        for at in rounds:
            status, lines = play(broker, allocations, scenario, answers, fail_at=at)
            check(status == 0 or (status == 1 and lines), f"allocation {at}: ended with {status}: {lines}")
            said = lines[-1] if status else "all is well"
            endings[said] = endings.get(said, 0) + 1
        for said, times in sorted(endings.items(), key=lambda e: -e[1]):
            print(f"  {times} × {said}", flush=True)
    finally:
        allocations.close()


def test_each_allocation_of_the_operations_fails_once():
    with face() as (broker, agent, _):
        numbering = Numbering(agent)
        agent.answers["reset"] = numbering.reset
        sweep(broker, "operations", publish=numbering.publish)


def test_each_allocation_of_driver_events_fails_once():
    with face() as (broker, _, __):
        sweep(broker, "sdi")


if __name__ == "__main__":
    run_tests({name: value for name, value in globals().items() if not hasattr(c_face, name)})
