#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What sensebus-target causes, the agent tells: a cause, and the event that it becomes, with its sense."""
import re

from target_program import Target

from agent_program import *

LONG = "60s"
AFTER_LOGIN = ("POWER_ON_OR_RESET", "POWER_ON", "NEXUS_LOST")  # of units: what each new session hears first


class Seen:
    """What the agent tells, but for what a target says on every unit after a login."""

    def __init__(self, subscription):
        self.subscription, self.n = subscription, 0

    def told(self, events):
        return [e for e in of_targets(events) if brief(e)[1] is None or brief(e)[0] not in AFTER_LOGIN]

    def expect(self, *expected):
        """The next events are these, in order. Returns them."""
        self.subscription.wait(lambda s: len(self.told(s.events())) >= self.n + len(expected), f"{expected}")
        events = self.told(self.subscription.events())[self.n:self.n + len(expected)]
        check_equal([brief(e) for e in events], list(expected), "events")
        self.n += len(expected)
        return events

    def nothing_more(self):
        check_equal([brief(e) for e in self.told(self.subscription.events())[self.n:]], [], "further events")


@contextlib.contextmanager
def watched(*options, units=2, target_options=()):
    """A target, watched and quiet: nothing waits to be told any more."""
    with Target(*target_options, units=units) as target, Broker("--agent-heartbeat", "200ms") as broker, \
            Agent(broker, *options, targets=[target.url()], poll="50ms"), \
            Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
        seen = Seen(subscription)
        seen.expect(("SESSION_STARTED", None))
        polled = polls(broker)
        target.tell("expect", "sessions", 1, LONG)
        wait_until(lambda: polls(broker) >= polled + units, "all units polled")
        target.tell("expect", "pending", 0, LONG)
        yield target, seen


def sense_of(event):
    return (event.sense.key, event.sense.asc, event.sense.ascq)


def test_causes_become_unit_attentions():
    with watched("--header-digest") as (target, seen):
        for words, code, sense in ((("resize", 1, 4096), "CAPACITY_CHANGED", (6, 0x2A, 0x09)),
                                   (("protect", 1, "on"), "MODE_PARAMETERS_CHANGED", (6, 0x2A, 0x01)),
                                   (("alua", 1, "non-optimized"), "ALUA_STATE_CHANGED", (6, 0x2A, 0x06)),
                                   (("thin", 1), "PROVISIONING_THRESHOLD", (6, 0x38, 0x07)),
                                   (("health", 1, "5d/10"), "FAILURE_PREDICTED", (6, 0x5D, 0x10)),
                                   (("reset", 1), "LUN_RESET", (6, 0x29, 0x03)),
                                   (("attention", 1, "2a/03"), "RESERVATIONS_PREEMPTED", (6, 0x2A, 0x03)),
                                   (("sense", 1, "hex:71000b00000000000000000044"), "DEFERRED_ERROR", (0x0B, 0, 0)),
                                   (("sense", 1, "6/80/81"), "VENDOR_SPECIFIC", (6, 0x80, 0x81))):
            target.tell(*words)
            event, = seen.expect((code, 1))
            check_equal(sense_of(event), sense, f"sense of {words}")
        seen.nothing_more()


def test_power_on_is_told_on_every_unit():
    with watched(units=3) as (_, seen):
        seen.subscription.wait(lambda s: len(of_targets(s.events())) >= 4, "power on of three units")
        check_equal([brief(e) for e in of_targets(seen.subscription.events())],
                    [("SESSION_STARTED", None)] + [("POWER_ON_OR_RESET", lun) for lun in range(3)])


def test_a_changed_list_of_units():
    with watched() as (target, seen):
        target.tell("add", 300, 2048)
        changed, added = seen.expect(("REPORTED_LUNS_CHANGED", None), ("DEVICE_ADDED", 300))
        check_equal(sense_of(changed), (6, 0x3F, 0x0E))
        check_equal(len(added.device.serial), 16, "identity")
        target.tell("remove", 300)
        seen.expect(("REPORTED_LUNS_CHANGED", None), ("DEVICE_REMOVED", 300))


def test_asynchronous_messages():
    with watched() as (target, seen):
        target.tell("async", 0, 1, "6/2a/09")
        event, = seen.expect(("CAPACITY_CHANGED", 1))
        check_equal((event.native.name, event.native.code, sense_of(event)), ("async-message", 0, (6, 0x2A, 0x09)))
        target.tell("async", 0, 1)
        seen.expect(("ASYNC_EVENT_PENDING", 1))
        target.tell("async", 5, 0)
        seen.expect(("COMMANDS_CLEARED", 0))
        target.tell("async", 255, 0, "raw:c0ffee", 1, 2, 3)
        event, = seen.expect(("VENDOR_SPECIFIC", None))
        check_equal((event.native.code, list(event.native.parameters)), (255, [1, 2, 3]))
        target.tell("ping")
        target.tell("state")
        seen.nothing_more()
        target.tell("async", 1, 0, "raw:", 0, 0, 3)
        seen.expect(("LOGOUT_REQUESTED", None), ("SESSION_STOPPED", None), ("SESSION_STARTED", None))


def test_loss():
    with watched() as (target, seen):
        for words, name in ((("drop", "fin"), "connection-closed"), (("drop", "rst"), None),
                            (("garbage", "3e" + "00" * 47), "protocol-error"), (("reboot", "100ms"), None)):
            target.tell(*words)
            lost, _ = seen.expect(("NEXUS_LOST", None), ("NEXUS_RESTORED", None))
            check(name in (None, lost.native.name), f"{words}: {lost.native.name}")
            target.tell("expect", "sessions", 1, LONG)


def test_a_target_that_refuses():
    with watched() as (target, seen):
        target.tell("refuse", "0x0301")
        target.tell("drop", "rst")
        seen.expect(("NEXUS_LOST", None), ("LOGIN_FAILED", None))
        target.tell("refuse", 0)
        seen.expect(("NEXUS_RESTORED", None))


def test_the_scenario_of_the_manual():
    with open(os.path.join(os.environ["SENSEBUS_SOURCE"], "docs/target.md"), encoding="utf-8") as file:
        scenario, = re.findall(r"^```\n(# controller-failover.*?)^```", file.read(), re.M | re.S)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(scenario)
        file.flush()
        with Target("--scenario", file.name) as target, Broker() as broker, \
                Agent(broker, targets=[target.url()], poll="50ms"), \
                Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
            wait_until(lambda: "scenario done" in target.log() or not target.running(), "the end of the scenario")
            check("scenario done" in target.log(), target.log())
            told = ("ALUA_STATE_CHANGED", "NEXUS_LOST", "NEXUS_RESTORED", "POWER_ON")
            subscription.wait(lambda s: set(told) <= {brief(e)[0] for e in s.events()}, f"{told}")


def test_a_slow_target_is_waited_for():
    with watched() as (target, seen):
        target.tell("slow", "20ms")
        target.tell("resize", 0, 8192)
        seen.expect(("CAPACITY_CHANGED", 0))
        target.tell("slow", "0")
        seen.nothing_more()


if __name__ == "__main__":
    run_tests(globals())
