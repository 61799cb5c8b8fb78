#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The end of the agent while the kernel keeps calls: looks at sysfs and at configfs, and resets. sensebus-agent-hanging is the
agent with such a kernel (tests/lib/hanging_call.h)."""
from agent_program import *  # noqa: F403

from adapter_stream import *  # noqa: F403
from agent_scripted import polled_after_capacity
from kernel_sessions import Tree, wait_disks
from scripted_target import ScriptedTarget, sense

N_LOOKS = 3  # sessions of the kernel's devices, source sysfs, LIO
N_RESETS = 2  # as many as are done at a time


class HangingAgent(Agent):
    """Its calls hang from hang() on until let_go()."""

    def __init__(self, *arguments, **members):
        self.folder = tempfile.mkdtemp(prefix="sensebus-hang.")
        super().__init__(*arguments, env={"SENSEBUS_HANG": self.folder}, **members)
        self.path = os.path.join(BUILD, "tests/integration/sensebus-agent-hanging")

    def hang(self):
        os.mkfifo(self.folder + "/hang")

    def wait_hanging(self, n):
        waiting = self.folder + "/waiting"
        wait_until(lambda: os.path.exists(waiting) and os.path.getsize(waiting) >= n, f"{n} calls that hang")

    def let_go(self):
        with open(self.folder + "/hang", "r+b", buffering=0):
            os.unlink(self.folder + "/hang")

    def __exit__(self, kind, value, trace):
        try:
            super().__exit__(kind, value, trace)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def hanging():
    """A broker, an agent in which everything hangs that may, and who waits for two resets of disks of host0."""
    with Tree() as tree, tempfile.TemporaryDirectory(prefix="sensebus-lio.") as lio, ScriptedTarget() as target, \
            Broker() as broker:
        tree.new_host(512, 512)
        os.makedirs(lio + "/iscsi")
        with HangingAgent(broker, "--source", "all=off", "--source", "sysfs=on", "--source-poll", "100ms", "--sysfs", tree.root,
                          "--lio", lio, "--target-poll", "100ms", "--allow", "reset", targets=[url(target)]) as agent, \
                AdapterStream(broker) as stream, Subscription(broker) as subscription:
            wait_disks(broker, 0, 2)
            sessions = [stream.started(target=0, lun=lun, adapter="host0") for lun in range(N_RESETS)]
            target.wait(lambda: all(polled_after_capacity(target, lun) for lun in target.units), "all units polled")
            agent.hang()
            agent.wait_hanging(N_LOOKS)
            resets = [stream.send(deadline_ms=600_000, reset=A.Reset(session_id=s.session_id, lun_reset=True))
                      for s in sessions]
            agent.wait_hanging(N_LOOKS + N_RESETS)
            yield broker, agent, stream, subscription, target, resets


def test_calls_that_hang_delay_neither_events_nor_the_end_and_lose_nothing():
    with hanging() as (broker, agent, stream, subscription, target, resets):
        target.queue_sense(1, sense(6, 0x2A, 0x03))
        subscription.wait(lambda s: any(e.code == code_pb2.RESERVATIONS_PREEMPTED for e in s.events()), "an event")
        began = time.monotonic()
        check_equal(agent.stop(), 0, "exit status")
        print(f"the end took {time.monotonic() - began:.1f} s")
        for reset in resets:
            check_result(stream.result(reset), "EIO", "NONE", "the agent stops")
        subscription.wait(lambda s: [e.code for e in of_targets(s.events())][-1] == code_pb2.SESSION_STOPPED, "its last event")
        check("agent.detached host=agent-1" in broker.log(), "its farewell")
        check("agent.left_behind" in agent.log(), agent.log())
        with Agent(broker, state=agent.state, host="agent-2") as next_one:  # the spool is not in use any more
            next_one.wait_log("publish.attached")


def test_calls_that_return_late_are_answered():
    with hanging() as (_, agent, stream, _, _, resets):
        agent.let_go()
        for reset in resets:
            check_result(stream.result(reset), "ENXIO", "NOT_SUPPORTED", "no node")
        check_equal(agent.stop(), 0, "exit status")


if __name__ == "__main__":
    run_tests(globals())
