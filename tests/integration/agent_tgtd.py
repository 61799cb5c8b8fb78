#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A real target, an agent, a broker and a stock subscriber: each cause gives exactly its events, and soon."""
import signal
import socket

from agent_program import *

import tgtd

SOON_S = 2.0       # what is promised at a poll of one second
POWER_ON = [("POWER_ON_OR_RESET", 0), ("POWER_ON_OR_RESET", 1)]


class Target(tgtd.Tgtd):
    """A tgtd that can go and come back at the same portal."""

    def make_target(self, luns=(1,)):
        self.admin("--op", "new", "--mode", "target", "--tid", "1", "-T", self.name)
        for lun in luns:
            self.add_lun(lun)
        self.admin("--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL")

    def set(self, lun, parameter):
        self.admin("--op", "update", "--mode", "logicalunit", "--tid", "1", "--lun", str(lun), "-P", parameter)


def second_initiator(*command):
    """Its own verdict does not count (iscsi-test-cu also tests the target); that it ran does."""
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    check(result.returncode >= 0, f"{command}: {result.stdout}{result.stderr}")


class Story:
    """Causes one after the other; after each, the events so far are exactly those expected so far."""

    def __init__(self, subscription):
        self.subscription = subscription
        self.parts = []
        self.times = []

    def events(self):
        return of_targets(self.subscription.events())

    def cause(self, name, action, *expected, soon=True):
        """`expected` is compared without order inside one cause: units are polled in any order."""
        begin = sum(len(part) for part in self.parts)
        started, stalls = time.time_ns(), Stalls.so_far()
        action()
        self.parts.append(sorted(expected, key=str))
        wait_until(lambda: len(self.events()) >= begin + len(expected), f"the events of {name}: {expected}; got "
                   f"{[brief(e) for e in self.events()[begin:]]}")
        self.check(name)
        if expected:
            first = (self.events()[begin].broker_time_unix_ns - started) / 1e9
            last = (self.events()[-1].broker_time_unix_ns - started) / 1e9
            self.times.append((name, first, last, soon, Stalls.so_far() - stalls))

    def check(self, name):
        """Exactly what was expected, cause by cause; the parts are sorted, as units report in any order."""
        got = [brief(e) for e in self.events()]
        begin = 0
        for part in self.parts:
            check_equal(sorted(got[begin:begin + len(part)], key=str), part, f"events up to {name}")
            begin += len(part)
        check_equal(got[begin:], [], f"further events after {name}")

    def print_times(self):
        for name, first, last, soon, _ in self.times:
            print(f"    {name:36} first {first * 1000:7.0f} ms  last {last * 1000:7.0f} ms{'' if soon else '  (not promised)'}")
        late = [name for name, first, _, soon, stalled in self.times if soon and first > SOON_S + 5 + 2 * stalled]
        check(not late, f"later than {SOON_S} s by more than a busy machine explains: {late}")
        slow = [name for name, first, _, soon, _ in self.times if soon and first > SOON_S]
        if slow:
            print(f"    slower than {SOON_S} s here: {slow}")


def quiet(broker, n=6):
    """The agent has polled some times more, so what was to come has come."""
    before = polls(broker)
    wait_until(lambda: polls(broker) >= before + n, "more polls")


def test_each_cause_gives_exactly_its_events():
    with Target() as target, Broker("--agent-heartbeat", "1s") as broker, \
            Agent(broker, targets=[url(target)], poll="1s") as agent, \
            Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
        story = Story(subscription)
        lost, restored = ("NEXUS_LOST", None), ("NEXUS_RESTORED", None)
        story.cause("login", lambda: None, ("SESSION_STARTED", None), *POWER_ON)
        story.cause("LUN added", lambda: target.add_lun(2), ("REPORTED_LUNS_CHANGED", None), ("DEVICE_ADDED", 2))
        story.cause("LUN deleted", lambda: target.remove_lun(2), ("REPORTED_LUNS_CHANGED", None), ("DEVICE_REMOVED", 2))
        story.cause("LUN offline", lambda: target.set_online(1, False), ("DEVICE_NOT_READY", 1))
        story.cause("LUN online", lambda: target.set_online(1, True), ("DEVICE_ONLINE", 1))
        target.set(1, "removable=1")
        story.cause("medium out", lambda: target.set_online(1, False), ("MEDIUM_ABSENT", 1))
        story.cause("medium in", lambda: target.set_online(1, True), ("DEVICE_ONLINE", 1))
        target.set(1, "removable=0")
        story.cause("LUN reset by a second initiator", lambda: second_initiator(
            "iscsi-test-cu", "--dataloss", "-n", "-t", "ALL.iSCSITMF.LUNResetSimpleAsync", url(target) + "/1"),
            ("POWER_ON_OR_RESET", 1))
        story.cause("mode page changed", lambda: second_initiator("iscsi-swp", "-s", "on", url(target) + "/1"),
                    ("MODE_PARAMETERS_CHANGED", 1))
        story.cause("mode page changed back", lambda: second_initiator("iscsi-swp", "-s", "off", url(target) + "/1"),
                    ("MODE_PARAMETERS_CHANGED", 1))
        story.cause("connection deleted", target.drop_connections, lost, restored, *POWER_ON)

        def unbind():
            target.admin("--op", "unbind", "--mode", "target", "--tid", "1", "-I", "ALL")
            target.drop_connections()
        story.cause("initiator unbound", unbind, lost, ("LOGIN_FAILED", None))
        story.cause("bound again", lambda: target.admin("--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL"),
                    restored, *POWER_ON, soon=False)  # at the next dial: a target that refuses is asked more rarely
        story.cause("target deleted", lambda: target.admin("--op", "delete", "--force", "--mode", "target", "--tid", "1"),
                    lost, ("LOGIN_FAILED", None))
        story.cause("target made again", target.make_target, restored, *POWER_ON, soon=False)
        story.cause("target killed", target.kill, lost)

        def come_back():
            target.start()
            target.make_target()
        # until the target exists again, tgtd may refuse one login: the portal is there before it
        begin = len(story.events())
        come_back()
        wait_until(lambda: sum(brief(e) in POWER_ON for e in story.events()[begin:]) == 2, "return")
        returned = [brief(e) for e in story.events()[begin:] if brief(e) != ("LOGIN_FAILED", None)]
        check_equal(sorted(returned, key=str), sorted([restored, *POWER_ON], key=str), "events of the return")
        quiet(broker)
        check_equal(len(story.events()) - begin - len(returned) in (0, 1), True, "nothing else came")
        story.print_times()
        check_details(story.events())
        check_commands(broker)
        check_equal(agent.stop(), 0, "exit status")
        check_stopped(broker, subscription)


def check_details(events):
    """Evidence is kept: native words, sense, identity."""
    by_name = {}
    for event in events:
        by_name.setdefault(brief(event)[0], event)
    reset = by_name["POWER_ON_OR_RESET"]
    check_equal((reset.sense.key, reset.sense.asc, reset.sense.ascq), (6, 0x29, 0), "sense")
    check_equal(reset.native.raw, reset.sense.raw, "raw sense is kept")
    check_equal(reset.aix_bits, 4, "AIX bits")
    added = by_name["DEVICE_ADDED"]
    check_equal((added.device.vendor, added.device.product, added.device.device_type), ("IET", "VIRTUAL-DISK", 0), "identity")
    check(added.device.serial and added.device.designator.startswith("naa."), "serial and designator")
    check(added.synthetic and not reset.synthetic, "found by comparing is synthetic, announced is not")
    refused = by_name["LOGIN_FAILED"]
    check_equal(refused.native.subcode, 0x0203, "login status")
    check("not found" in refused.native.detail, refused.native.detail)
    luns = by_name["REPORTED_LUNS_CHANGED"]
    check_equal((luns.scope, luns.address.lun), (event_pb2.SCOPE_TARGET, -1), "scope of the list's change")
    lost = by_name["NEXUS_LOST"]
    # Closed with a command unread, it is reset.
    check(lost.native.name in ("connection-closed", "connection-reset"), f"how it was lost: {lost.native.name}")
    sequences = [e.origin.source_sequence for e in events]
    check_equal(sequences, list(range(1, len(events) + 1)), "source sequences have no holes")


def check_commands(broker):
    allowed = {"INQUIRY", "TEST UNIT READY", "REPORT LUNS", "READ CAPACITY(10)", "READ CAPACITY(16)", "REQUEST SENSE",
               "MODE SENSE(6)", "MODE SENSE(10)"}
    agent = broker.admin().ListAgents(admin_pb2.ListAgentsRequest(), timeout=LIMIT_S).agents[0]
    check_equal(set(agent.commands) <= allowed, True, f"commands {sorted(agent.commands)}")
    check(agent.commands["READ CAPACITY(16)"] >= 2 and agent.commands["MODE SENSE(10)"] >= 2, f"{agent.commands}")
    devices = broker.admin().ListDevices(admin_pb2.ListDevicesRequest(), timeout=LIMIT_S).devices
    check(len(devices) >= 2, "the broker knows the devices")


def check_stopped(broker, subscription):
    """SIGTERM: logged out, delivered, detached; not an agent loss."""
    subscription.wait(lambda s: brief(of_targets(s.events())[-1]) == ("SESSION_STOPPED", None), "SESSION_STOPPED")
    agent = broker.admin().ListAgents(admin_pb2.ListAgentsRequest(), timeout=LIMIT_S).agents[0]
    check_equal(agent.state, admin_pb2.AGENT_STATE_DETACHED, "state of the agent")
    check("AGENT_LOST" not in [brief(e)[0] for e in subscription.events()], "an orderly end is no loss")


def test_a_target_that_stands_still_is_lost_and_found_again():
    """So it may be before we stop it, where the machine holds it up: each loss is followed by a return."""
    with Target() as target, Broker("--agent-heartbeat", "1s") as broker, \
            Agent(broker, "--command-timeout", "1s", targets=[url(target)], poll="1s"), \
            Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
        def nexus():
            return [brief(e)[0] for e in of_targets(subscription.events()) if brief(e)[0].startswith("NEXUS_")]

        subscription.wait(lambda s: len(of_targets(s.events())) >= 3, "login")
        target.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: len(nexus()) % 2 == 1, "the loss")
        lost = [e for e in of_targets(subscription.events()) if brief(e)[0] == "NEXUS_LOST"][-1]
        check_equal(lost.native.name, "nop-timeout", "how it was lost")
        target.process.send_signal(signal.SIGCONT)
        wait_until(lambda: len(nexus()) % 2 == 0, "the return")
        check_equal(nexus(), ["NEXUS_LOST", "NEXUS_RESTORED"] * (len(nexus()) // 2), "in turns")


def test_a_target_that_answers_nothing_is_one_event_a_unit():
    with Target() as target, Broker("--agent-heartbeat", "1s") as broker, \
            Agent(broker, "--command-timeout", "10s", targets=[url(target)]), \
            Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
        story = Story(subscription)
        story.cause("login", lambda: None, ("SESSION_STARTED", None), *POWER_ON)
        story.cause("target offline", lambda: target.admin(
            "--op", "update", "--mode", "target", "--tid", "1", "-n", "state", "-v", "offline"),
            ("DEVICE_NOT_READY", 0), ("DEVICE_NOT_READY", 1), soon=False)
        check_equal([e.native.name for e in story.events()[-2:]], ["command-timeout"] * 2, "why")
        story.print_times()


def test_a_wrong_chap_secret_is_told_once():
    with Target() as target, Broker() as broker, tempfile.NamedTemporaryFile("w") as secrets:
        target.add_chap("host", "right-secret-1234")
        secrets.write("# who and what\n* host wrong-secret-1234\n")
        secrets.flush()
        with Agent(broker, "--chap-file", secrets.name, "--log-level", "debug", targets=[url(target)]) as agent, \
                Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
            agent.wait_log("connecting to portal", 4)
            subscription.wait(lambda s: of_targets(s.events()), "LOGIN_FAILED")
            check_equal([brief(e) for e in of_targets(subscription.events())], [("LOGIN_FAILED", None)], "events")
            event = of_targets(subscription.events())[0]
            check_equal((event.native.code, event.native.subcode), (2, 0x0201), "login status")
            check("wrong-secret" not in agent.log(), "secrets are not logged")
        with tempfile.NamedTemporaryFile("w") as right:
            right.write(f"{target.name} host right-secret-1234\n")
            right.flush()
            with Agent(broker, "--chap-file", right.name, targets=[url(target)]), \
                    Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
                subscription.wait(lambda s: ("SESSION_STARTED", None) in [brief(e) for e in s.events()], "login")
                check_equal([brief(e)[0] for e in of_targets(subscription.events())].count("LOGIN_FAILED"), 1, "refusals")


def test_a_chap_file_that_others_may_read_is_refused():
    with tempfile.NamedTemporaryFile("w") as secrets:
        secrets.write("* host secret-secret\n")
        secrets.flush()
        os.chmod(secrets.name, 0o640)
        with refused_start("--chap-file", secrets.name) as log:
            check("group or others" in log and secrets.name in log, log)


def test_an_unreachable_portal_is_told_once_and_never_ends_the_agent():
    portal = reserve_address()
    with Broker("--agent-heartbeat", "100ms") as broker, \
            Agent(broker, targets=[f"iscsi://{portal}/iqn.2026-01.org.sensebus:nobody"]) as agent, \
            Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
        subscription.wait(lambda s: of_targets(s.events()), "LOGIN_FAILED")
        event = of_targets(subscription.events())[0]
        check_equal((brief(event), event.native.name), (("LOGIN_FAILED", None), "connect-failed"))
        check(portal in event.native.detail and "refused" in event.native.detail, event.native.detail)

        def sources():
            agents = broker.admin().ListAgents(admin_pb2.ListAgentsRequest(), timeout=LIMIT_S).agents
            return {s.instance: s for a in agents for s in a.sources}
        wait_until(lambda: "refused" in sources()["iqn.2026-01.org.sensebus:nobody"].reason, "coverage says why")
        check_equal(sources()["iqn.2026-01.org.sensebus:nobody"].state, agents_pb2.SOURCE_STATE_OFF, "coverage")
        # the target appears at last
        with socket.create_server(tuple([portal.split(":")[0], int(portal.split(":")[1])])) as server:
            server.settimeout(LIMIT_S)
            server.accept()[0].close()
        check(agent.running(), "the agent goes on")
        check_equal(len([e for e in of_targets(subscription.events()) if e.native.name == "connect-failed"]), 1, "told")


def test_discovery_finds_targets_and_later_ones():
    with Target() as target, Broker() as broker, \
            Agent(broker, "--discover", target.portal, "--discover-interval", "300ms"), \
            Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
        subscription.wait(lambda s: len(of_targets(s.events())) >= 3, "login")
        target.admin("--op", "new", "--mode", "target", "--tid", "2", "-T", target.name + ".second")
        target.admin("--op", "bind", "--mode", "target", "--tid", "2", "-I", "ALL")
        subscription.wait(lambda s: [e for e in of_targets(s.events())
                                     if e.device.target_name == target.name + ".second"], "the second target")
        numbers = {e.device.target_name: e.address.target for e in of_targets(subscription.events())}
        check_equal(numbers, {target.name: 0, target.name + ".second": 1}, "target numbers")


def test_write_protection_that_tgtd_does_not_announce():
    with Target() as target, Broker() as broker, Agent(broker, "--compare", "300ms", targets=[url(target)]), \
            Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
        story = Story(subscription)
        story.cause("login", lambda: None, ("SESSION_STARTED", None), *POWER_ON)
        story.cause("LUN protected", lambda: target.set(1, "readonly=1"), ("WRITE_PROTECT_CHANGED", 1))
        story.cause("LUN writable", lambda: target.set(1, "readonly=0"), ("WRITE_PROTECT_CHANGED", 1))
        check_equal([e.native.detail for e in story.events()[-2:]],
                    ["detected by comparison: write protected, writable before",
                     "detected by comparison: writable, write protected before"], "how it was found")


def test_header_digests_make_no_difference():
    with Target() as target, Broker() as broker, Agent(broker, "--header-digest", targets=[url(target)]), \
            Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
        story = Story(subscription)
        story.cause("login", lambda: None, ("SESSION_STARTED", None), *POWER_ON)
        story.cause("LUN offline", lambda: target.set_online(1, False), ("DEVICE_NOT_READY", 1))


if __name__ == "__main__":
    if not tgtd.available() or not shutil.which("iscsi-test-cu") or not shutil.which("iscsi-swp"):
        print("SKIPPED: tgtd or libiscsi-bin is not installed")
        sys.exit(SKIPPED)
    run_tests(globals())
