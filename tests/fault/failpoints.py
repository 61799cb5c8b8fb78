# SPDX-License-Identifier: Apache-2.0
"""The broker is killed between any two steps of a commit, and its commits fail at each of them.

sensebus-broker-fault is the broker with a place to fail before and after each step (runtime/failpoint.h), and with a
disk that can fail under LMDB (disk.c). One life after the other, on the same data, is killed when it comes by a step for
the first, second … time, while one agent publishes and one follower reads. The judge of kill_broker.py looks at what is
there at the end; after each life `sensebus store verify` looks at the file.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import kill_broker  # noqa: E402
from kill_broker import *  # noqa: E402,F403

kill_broker.RATE = 400  # small commits, many of them
PROGRAM = os.path.join(BUILD, "tests", "fault", "sensebus-broker-fault")
STORE = os.path.join(BUILD, "broker", "sensebus-store")
ROUNDS = int(os.environ.get("SENSEBUS_FAULT_ROUNDS", "5"))
STEPS = ("commit.seal", "commit.sealed", "commit.work", "redo.write", "redo.written", "redo.sync", "redo.synced",
         "store.begin", "store.put", "store.commit", "disk.write",
         "disk.written", "disk.sync", "disk.synced", "disk.meta", "store.committed", "commit.publish", "commit.published",
         "commit.told")  # of one commit, in order
OPTIONS = ("--agent-grace", "5m", "--drain-grace", "1s", "--checkpoint-interval", "20ms")


class FaultyBroker(Broker):
    """Broker whose next lives may end at a failpoint."""

    def __init__(self, *options, **members):
        super().__init__(*OPTIONS, *options, **members)
        self.path = PROGRAM
        self.trace_file = os.path.join(self.data, "trace")

    def __enter__(self):
        return self

    def live(self, failpoint):
        """Start, and say whether it came so far that it serves."""
        self.close_channels()
        for path in (self.port_file, self.trace_file):
            if os.path.exists(path):
                os.unlink(path)
        self.env["SENSEBUS_FAILPOINT"] = failpoint
        self.env["SENSEBUS_FAILPOINT_TRACE"] = self.trace_file
        Program.start(self)
        wait_until(lambda: os.path.exists(self.port_file) or not self.running(), "the port file or the end")
        if not os.path.exists(self.port_file):
            return False
        with open(self.port_file) as file:
            self.address = file.readline().strip()
        return True

    def steps(self):
        with open(self.trace_file) as file:
            return file.read().split()

    def start_soundly(self):
        self.env.pop("SENSEBUS_FAILPOINT", None)
        self.env.pop("SENSEBUS_FAILPOINT_TRACE", None)
        return self.restart()

    def wait_killed(self):
        check_equal(self.wait(), -signal.SIGKILL, "how it ended")

    def verify(self):
        done = subprocess.run([STORE, "verify", "--data", self.data], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=LIMIT_S)
        if done.returncode != 0:
            raise AssertionError(f"verify ended with {done.returncode}:\n{done.stdout}")


def test_kill_at_every_step_of_a_commit():
    with FaultyBroker() as broker:
        broker.start_soundly()
        agent, follower = SteadyAgent(broker), Follower(broker)
        agent.start()
        follower.start()
        wait_until(lambda: agent.acked > 0, "the first acknowledgement")
        broker.kill()
        for time_by in range(1, ROUNDS + 1):
            for step in STEPS:
                broker.live(f"{step}:{time_by}=kill")
                broker.wait_killed()
                seen = broker.steps()
                check_equal((seen[-1], seen.count(step)), (step, time_by), "where it was killed")
                check(not agent.faults, str(agent.faults))
                broker.verify()
        broker.start_soundly()
        finish(broker, agent, follower)
        broker.stop()
        broker.verify()


def test_kill_at_every_step_of_the_first_start():
    serves, n = False, 0
    while not serves:
        n += 1
        with FaultyBroker() as broker:
            serves = broker.live(f"any:{n}=kill")
            if serves:
                broker.kill()
                continue
            broker.wait_killed()
            if os.path.exists(os.path.join(broker.data, "data.mdb")):
                broker.verify()
            if n % 4 == 1:  # the others take the same ways
                broker.start_soundly()
                check_equal(broker.info().newest.sequence, 0)
                with FakeAgent(broker) as agent:
                    agent.publish_range(1, 3)
                    agent.wait_acked(3)
                    agent.detach()
                broker.stop()
                broker.verify()
    check(n > 40, f"only {n} steps")


def test_commits_that_fail_are_done_again():
    """Each step fails once, most with two errors, some for a while; the broker lives on and loses nothing."""
    rules = ["commit.seal:9=ENOMEM", "commit.work:20=EIO", "store.begin:30=EIO", "store.put:60=ENOSPC",
             "store.put:90=EIO", "store.commit:50=ENOSPC", "store.committed:55=EIO", "store.committed:62=ENOSPC",
             "disk.write:150=ENOSPC", "disk.write:190=EIO", "disk.sync:90=EIO", "disk.sync:97=ENOSPC",
             "disk.meta:110=EIO", "disk.meta:118=ENOSPC", "disk.written:500=EIO", "redo.write:70=EIO",
             "redo.write:80=ENOSPC", "redo.written:90=EIO", "redo.sync:110=EIO", "redo.synced:120=EIO"]
    with FaultyBroker() as broker:
        check(broker.live(",".join(rules)), "it does not start")
        agent, follower = SteadyAgent(broker), Follower(broker)
        agent.start()
        follower.start()

        def all_came():
            seen = broker.steps()
            return all(seen.count(rule.split(":")[0]) > int(rule.split(":")[1].split("=")[0]) for rule in rules)

        wait_until(lambda: all_came() or not broker.running() or agent.faults, "all failures", 4 * LIMIT_S)
        check(broker.running() and not agent.faults, f"{agent.faults}")
        check_equal(agent.n_streams, 1, "streams: a commit that fails ends none")
        stored = [rule for rule in rules if not rule.startswith("redo.")]  # what ails redo goes to the store at once
        check(broker.counters()["sensebus_store_commit_failures_total"] >= len(stored) - 3, str(broker.counters()))
        before = agent.acked
        wait_until(lambda: agent.acked > before or agent.faults, "it to go on")
        broker.kill()
        broker.verify()
        broker.start_soundly()
        finish(broker, agent, follower)
        broker.stop()
        broker.verify()


def test_a_disk_that_fails_for_long_is_told_and_waited_for():
    with FaultyBroker() as broker:
        check(broker.live("disk.sync:40+=EIO"), "it does not start")
        agent, follower = SteadyAgent(broker), Follower(broker)
        agent.start()
        follower.start()
        wait_until(lambda: "log.not_writable" in broker.log(), "the log to be not writable")
        check(not broker.info().accepting, "it accepts")
        acked = agent.acked
        records = len(broker.read_all())
        check(records >= acked, f"{records} of {acked} can be read")
        broker.kill()
        broker.verify()
        broker.start_soundly()
        wait_until(lambda: agent.acked > acked or agent.faults, "it to go on")
        finish(broker, agent, follower)


if __name__ == "__main__":
    run_tests({name: value for name, value in globals().items() if not hasattr(kill_broker, name)})
