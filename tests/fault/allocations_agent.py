# SPDX-License-Identifier: Apache-2.0
"""Memory runs out in the agent again and again, while a target tells of one thing after the other.

sensebus-agent-starved is the agent with an allocator that fails when it is told to (allocation.c). Whatever fails, the
agent lives, and each event is delivered or told as lost: by EVENTS_LOST, or by the loss of the session it came on.

SENSEBUS_SEED makes a run repeat; SENSEBUS_SWEEP_TRACE=1 writes to the log where an allocation failed.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "integration"))
from agent_program import *  # noqa: E402,F403
from scripted_target import ScriptedTarget, sense  # noqa: E402
from starvation import *  # noqa: E402,F403

SEED = int(os.environ.get("SENSEBUS_SEED", "0")) or random.SystemRandom().getrandbits(32)
STARVED_S = float(os.environ.get("SENSEBUS_STARVED_S", "10"))
ONE_IN = int(os.environ.get("SENSEBUS_ONE_IN", "120"))
PER_SECOND = 40
UNITS = 2
BREAKS = 4  # of the session


class StarvedAgent(Agent):
    def __init__(self, *arguments, **members):
        self.allocations = Allocations()
        super().__init__(*arguments, env=self.allocations.env, **members)
        self.path = os.path.join(BUILD, "tests", "fault", "sensebus-agent-starved")

    def __exit__(self, *how):
        try:
            super().__exit__(*how)
        finally:
            self.allocations.close()


def numbered(n):
    """A unit attention that tells which one it is: vendor specific ASC and ASCQ."""
    return sense(6, 0x80 + n // 256, n % 256)


def number_of(event):
    return (event.sense.asc - 0x80) * 256 + event.sense.ascq if event.sense.asc >= 0x80 else None  # without sense 0


def judge(events, n_queued):
    """Source sequences without holes but those that the broker tells of; what is missing was told."""
    expected, n_lost, n_sessions = 1, 0, 0
    for event in events:
        by_broker = event.origin.source == event_pb2.SOURCE_BROKER
        if event.code == code_pb2.EVENTS_LOST:
            check_equal(event.loss.first_source_sequence, expected, "the first one lost")
            n_lost += event.loss.count
            expected = event.loss.last_source_sequence + by_broker
        if not by_broker:
            check_equal(event.origin.source_sequence, expected, "source sequence")
            expected += 1
        n_sessions += event.code == code_pb2.NEXUS_LOST
    numbers = [n for n in map(number_of, events) if n is not None and n < n_queued]
    check_equal(len(set(numbers)), len(numbers), "an event came twice")
    missing = set(range(n_queued)) - set(numbers)
    print(f"{n_queued} conditions, {len(missing)} missing, {n_lost} told as lost, {n_sessions} sessions lost", flush=True)
    check(len(missing) <= n_lost + UNITS * n_sessions, f"missing, and not told: {sorted(missing)}")


def test_the_agent_lives_and_tells_what_it_lost():
    with ScriptedTarget() as target, Broker("--agent-heartbeat", "200ms", "--agent-grace", "5m") as broker, \
            StarvedAgent(broker, targets=[url(target)], poll="20ms") as agent, \
            Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
        n = 0

        def queue_until(end):
            nonlocal n
            while time.monotonic() < end:
                target.queue_sense(n % UNITS, numbered(n))
                n += 1
                time.sleep(1 / PER_SECOND)

        queue_until(time.monotonic() + 0.5)
        subscription.wait(lambda s: len(of_targets(s.events())) >= n + 1, "the first ones")
        agent.allocations.fail(one_in=ONE_IN, seed=SEED)
        for _ in range(BREAKS):
            queue_until(time.monotonic() + STARVED_S / BREAKS)
            if target.session():
                target.rst()
        give_up = time.monotonic() + LIMIT_S  # on a busy machine it takes longer until enough has failed
        while agent.allocations["failed"] < 10 and time.monotonic() < give_up:
            queue_until(time.monotonic() + 1)
        agent.allocations.stop()
        check(agent.running(), "the agent ended")
        print(f"seed {SEED}: {agent.allocations['failed']} of {agent.allocations['counted']} allocations failed", flush=True)
        check(agent.allocations["failed"] >= 10, "hardly any allocation failed")
        last = n  # repeated until it comes: a session may have to be made again first

        def last_comes():
            if not any(unit.senses for unit in target.units.values()):
                target.queue_sense(0, numbered(last))
            time.sleep(0.2)
            return last in map(number_of, subscription.events())

        wait_until(last_comes, "an event with memory")
        check_equal(agent.stop(), 0, "exit status")
        judge(broker.read_all(), last)


if __name__ == "__main__":
    run_tests(globals())
