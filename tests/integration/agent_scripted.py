#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A target that does what tests tell it: asynchronous messages, garbage, hostile text; seen by a stock subscriber."""
import struct

from agent_program import *

from scripted_target import ScriptedTarget, sense, sense_segment, text_of

ALLOWED = {0x00, 0x03, 0x12, 0xA0, 0x25, 0x9E, 0x1A, 0x5A}


@contextlib.contextmanager
def watched(*options, **properties):
    """A scripted target, watched and quiet."""
    with ScriptedTarget(**properties) as target, Broker("--agent-heartbeat", "200ms") as broker, \
            Agent(broker, *options, targets=[url(target)], poll="50ms") as agent, \
            Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
        seen = Seen(subscription, agent)
        seen.expect(("SESSION_STARTED", None))
        target.wait(lambda: all(polled_after_capacity(target, lun) for lun in target.units), "all units polled")
        yield target, broker, agent, seen
        check_equal({bytes.fromhex(p["cdb"])[0] for p in target.pdus if p["opcode"] == 1} <= ALLOWED, True, "commands")


def polled_after_capacity(target, lun):
    """The unit is identified and polled: what is queued from now on answers a TEST UNIT READY."""
    opcodes = [bytes.fromhex(p["cdb"])[0] for p in target.pdus if p["opcode"] == 1 and p["lun"] == lun]
    return 0x9E in opcodes and 0x00 in opcodes[opcodes.index(0x9E):]


class Seen:
    def __init__(self, subscription, agent):
        self.subscription, self.agent, self.n = subscription, agent, 0

    def expect(self, *expected):
        """The next events are these, in order. Returns them."""
        self.subscription.wait(lambda s: len(of_targets(s.events())) >= self.n + len(expected), f"{expected}")
        events = of_targets(self.subscription.events())[self.n:self.n + len(expected)]
        check_equal([brief(e) for e in events], list(expected), "events")
        self.n += len(expected)
        return events

    def nothing_more(self):
        check_equal([brief(e) for e in of_targets(self.subscription.events())[self.n:]], [], "further events")


def test_events_of_scsi_and_vendors_keep_the_session():
    with watched() as (target, _, _, seen):
        target.raise_async(0, lun=1, data=sense(6, 0x2A, 0x09))
        event, = seen.expect(("CAPACITY_CHANGED", 1))
        check_equal((event.native.name, event.native.code), ("async-message", 0), "native words")
        check_equal((event.sense.key, event.sense.asc, event.sense.ascq), (6, 0x2A, 0x09), "sense")
        check_equal(event.native.raw[0] & 0x3F, 0x32, "the PDU is kept")
        check_equal(event.native.raw_length, len(event.native.raw), "whole")
        target.raise_async(0, lun=1)
        seen.expect(("ASYNC_EVENT_PENDING", 1))
        target.raise_async(5, lun=0)
        seen.expect(("COMMANDS_CLEARED", 0))
        for number in (248, 255):
            target.raise_async(number, parameters=(1, 2, 3), vcode=9)
            event, = seen.expect(("VENDOR_SPECIFIC", None))
            check_equal((event.native.code, event.native.subcode, list(event.native.parameters)), (number, 9, [1, 2, 3]))
        target.queue_sense(1, sense(6, 0x2A, 0x03))
        seen.expect(("RESERVATIONS_PREEMPTED", 1))
        check_equal(len(target.connections), 1, "one session through all of it")
        seen.nothing_more()


def test_events_that_nobody_has_defined_keep_the_session():
    with watched() as (target, _, _, seen):
        for number in (6, 128, 247):
            target.raise_async(number, parameters=(4, 5, 6), segment=b"what is this")
            event, = seen.expect(("UNCLASSIFIED", None))
            check_equal((event.native.code, list(event.native.parameters)), (number, [4, 5, 6]), "native words")
            check(event.native.raw.endswith(b"what is this"), "the PDU is kept")
        check_equal(len(target.connections), 1, "one session through all of it")


def test_units_with_numbers_above_255_are_watched_as_any_other():
    with watched(luns=[1, 300]) as (target, _, _, seen):
        target.queue_sense(300, sense(6, 0x2A, 0x01))
        event, = seen.expect(("MODE_PARAMETERS_CHANGED", 300))
        check_equal((event.address.lun_raw, event.device.serial), (0x412C << 48, "SCRIPT0300"), "flat on the wire")
        target.raise_async(0, lun=300, data=sense(6, 0x2A, 0x09))
        seen.expect(("CAPACITY_CHANGED", 300))
        target.add_lun(16383)
        changed, _ = seen.expect(("REPORTED_LUNS_CHANGED", None), ("DEVICE_ADDED", 16383))
        target.wait(lambda: polled_after_capacity(target, 16383), "the new unit polled")
        target.queue_sense(16383, sense(6, 0x2A, 0x01))
        seen.expect(("MODE_PARAMETERS_CHANGED", 16383))
        target.remove_lun(300)
        seen.expect(("REPORTED_LUNS_CHANGED", None), ("DEVICE_REMOVED", 300))
        seen.nothing_more()


@contextlib.contextmanager
def chap_file(text):
    with tempfile.NamedTemporaryFile("w") as file:  # made with mode 0600
        file.write(text)
        file.flush()
        yield file.name


def test_a_target_proves_itself_with_the_secret_of_the_file():
    with ScriptedTarget(chap=("host", "secret-of-host-1"), mutual=("disks", "secret-of-disks-1")) as target, \
            Broker() as broker:
        with chap_file(f"{target.name} host secret-of-host-1 disks another-secret-1\n") as file, \
                Agent(broker, "--chap-file", file, targets=[url(target)]) as agent, \
                Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
            seen = Seen(subscription, agent)
            refused, = seen.expect(("LOGIN_FAILED", None))
            check_equal(refused.native.name, "login-failed", "the agent refuses the target")
        with chap_file("* host secret-of-host-1 disks secret-of-disks-1\n") as file, \
                Agent(broker, "--chap-file", file, targets=[url(target)]) as agent, \
                Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
            subscription.wait(lambda s: ("SESSION_STARTED", None) in [brief(e) for e in s.events()], "the login")
            with open(f"/proc/{agent.process.pid}/cmdline", "rb") as file:
                check(b"secret-of" not in file.read(), "no secret among the arguments")
            check("secret-of" not in agent.log(), "none in the log")


def test_luns_changed_by_asynchronous_message_is_followed_by_the_differences():
    with watched() as (target, _, _, seen):
        target.units[4] = type(target.units[0])(4)
        target.raise_async(0, lun=0, data=sense(6, 0x3F, 0x0E))
        _, added = seen.expect(("REPORTED_LUNS_CHANGED", 0), ("DEVICE_ADDED", 4))
        check_equal(added.device.serial, "SCRIPT0004", "identity of the new unit")
        seen.nothing_more()


def test_a_change_told_by_every_unit_is_one_event():
    with watched(luns=[0, 1, 2]) as (target, _, _, seen):
        target.add_lun(5)
        changed, _ = seen.expect(("REPORTED_LUNS_CHANGED", None), ("DEVICE_ADDED", 5))
        check(changed.count <= 1, "one change")
        target.remove_lun(5)
        seen.expect(("REPORTED_LUNS_CHANGED", None), ("DEVICE_REMOVED", 5))


def test_a_request_to_log_out_is_followed():
    for number, code in ((1, "LOGOUT_REQUESTED"), (4, "NEGOTIATION_REQUESTED")):
        with watched() as (target, _, _, seen):
            target.raise_async(number, parameters=(0, 0, 3))
            notice, _, _ = seen.expect((code, None), ("SESSION_STOPPED", None), ("SESSION_STARTED", None))
            check_equal(notice.native.parameters[2], 3, "Parameter3")
            check_equal(len(target.connections), 2, "connections")


def test_a_drop_notice_is_followed_by_the_loss():
    for number, code in ((2, "CONNECTION_DROP_NOTICE"), (3, "SESSION_DROP_NOTICE")):
        with watched() as (target, _, _, seen):
            target.raise_async(number, parameters=(1, 1, 20))
            seen.expect((code, None))
            dropped = time.monotonic()
            target.fin()
            seen.expect(("NEXUS_LOST", None), ("NEXUS_RESTORED", None))
            check(time.monotonic() - dropped >= 0.9, "Time2Wait of one second is honoured")


def test_loss_is_told_with_its_cause():
    with watched("--header-digest") as (target, _, _, seen):
        target.fin()
        lost, _ = seen.expect(("NEXUS_LOST", None), ("NEXUS_RESTORED", None))
        check_equal(lost.native.name, "connection-closed")
        target.rst()
        lost, _ = seen.expect(("NEXUS_LOST", None), ("NEXUS_RESTORED", None))
        check_equal(lost.native.name in ("connection-reset", "connection-closed"), True, lost.native.name)
        target.send_bad_digest()
        lost, _ = seen.expect(("NEXUS_LOST", None), ("NEXUS_RESTORED", None))
        check_equal(lost.native.name, "protocol-error")
        target.send_raw(bytes([0x3E]) + bytes(47))
        lost, _ = seen.expect(("NEXUS_LOST", None), ("NEXUS_RESTORED", None))
        check_equal(lost.native.name, "protocol-error")


def test_a_target_that_falls_silent_is_lost():
    with watched("--command-timeout", "1s") as (target, _, _, seen):
        target.set(hang=True)
        lost, = seen.expect(("NEXUS_LOST", None))
        check_equal(lost.native.name, "nop-timeout")
        target.unset("hang")
        seen.expect(("NEXUS_RESTORED", None))


def test_garbage_at_login_is_told_once_and_survived():
    with ScriptedTarget() as target, Broker() as broker:
        target.set(login_garbage="ff" * 96)
        with Agent(broker, targets=[url(target)]) as agent, \
                Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
            seen = Seen(subscription, agent)
            seen.expect(("LOGIN_FAILED", None))
            target.wait(lambda: len(target.connections) >= 4, "more tries")
            seen.nothing_more()
            target.unset("login_garbage")
            seen.expect(("SESSION_STARTED", None))


def test_check_condition_without_sense():
    with watched() as (target, _, _, seen):
        target.queue_segment(1, b"")
        event, _ = seen.expect(("DEVICE_NOT_READY", 1), ("DEVICE_ONLINE", 1))
        check("without sense" in event.native.detail, event.native.detail)
        check(event.synthetic, "found, not announced")
        check(any(bytes.fromhex(p["cdb"])[0] == 3 for p in target.pdus), "REQUEST SENSE was asked")
        seen.nothing_more()


def test_sense_that_cannot_be_decoded_is_kept_raw():
    with watched() as (target, _, _, seen):
        target.queue_segment(1, sense_segment(b"\x11\x22\x33\x44"))
        event, = seen.expect(("UNCLASSIFIED", 1))
        check_equal(event.sense.raw, b"\x11\x22\x33\x44", "raw sense")
        target.queue_segment(0, sense_segment(bytes([0x72, 6, 0x2A, 0x01, 0, 0, 0, 0])))
        event, = seen.expect(("MODE_PARAMETERS_CHANGED", 0))
        check_equal(event.sense.response_code, 0x72, "descriptor format")
        target.queue_segment(0, sense_segment(sense(4, 0x44, 0x00, response_code=0x71)))
        event, = seen.expect(("DEFERRED_ERROR", 0))
        check(event.sense.deferred, "deferred")


def test_garbage_in_answers_degrades_the_coverage_and_nothing_else():
    with ScriptedTarget() as target, Broker("--agent-heartbeat", "100ms") as broker:
        target.script(data_in="00000007000000000001")  # REPORT LUNS
        with Agent(broker, targets=[url(target)], poll="50ms") as agent, \
                Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
            def source():
                agents = broker.admin().ListAgents(admin_pb2.ListAgentsRequest(), timeout=LIMIT_S).agents
                return next((s for a in agents for s in a.sources if s.instance == target.name), None)
            agent.wait_log("malformed answer")
            wait_until(lambda: source() and source().state == agents_pb2.SOURCE_STATE_ARMED, "healed")
            seen = Seen(subscription, agent)
            seen.expect(("SESSION_STARTED", None))
            seen.nothing_more()


def test_hostile_names_reach_the_subscriber_as_valid_text_with_the_bytes_beside():
    with ScriptedTarget() as target, Broker() as broker:
        original = target.units[1].inquiry

        def inquiry(cdb):
            data = original(cdb)
            if cdb[1] & 1:
                return data
            return data[:8] + b"\xff\xfeEVIL\0\x1b" + b"\xc3\xa9 disk \xed\xa0\x80\n\x07   "[:16].ljust(16) + data[32:]
        target.units[1].inquiry = inquiry
        with Agent(broker, targets=[url(target)]) as agent, \
                Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
            seen = Seen(subscription, agent)
            seen.expect(("SESSION_STARTED", None))
            target.queue_sense(1, sense(6, 0x29, 0x00))
            event, = seen.expect(("POWER_ON_OR_RESET", 1))
            check(event.device.vendor.startswith("\ufffd\ufffdEVIL\ufffd"), repr(event.device.vendor))
            check(event.device.product.startswith("é disk \ufffd"), repr(event.device.product))
            check(event.device.raw_inquiry[8:14] == b"\xff\xfeEVIL", "raw bytes")
            check("\n" not in event.summary and "\x1b" not in event.summary, repr(event.summary))


def test_a_redirect_is_told_and_followed():
    with ScriptedTarget() as there, ScriptedTarget() as here, Broker() as broker:
        here.set(refuse_login=[1, 1], moved_to=there.portal + ",1")
        with Agent(broker, targets=[url(here)]) as agent, \
                Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
            seen = Seen(subscription, agent)
            moved, started = seen.expect(("ADDRESS_CHANGED", None), ("SESSION_STARTED", None))
            check(there.portal in moved.native.detail, moved.native.detail)
            check_equal(started.device.portal, there.portal, "portal reached")


def test_a_lost_target_is_found_at_its_next_portal():
    with ScriptedTarget() as one, ScriptedTarget() as two, Broker() as broker, \
            Agent(broker, targets=[f"iscsi://{one.portal},{two.portal}/{one.name}"], poll="50ms") as agent, \
            Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
        seen = Seen(subscription, agent)
        started, = seen.expect(("SESSION_STARTED", None))
        check_equal(started.device.portal, one.portal, "the first of the list")
        one.wait(lambda: all(polled_after_capacity(one, lun) for lun in one.units), "all units polled")
        one.fin()
        lost, restored = seen.expect(("NEXUS_LOST", None), ("NEXUS_RESTORED", None))
        check_equal((lost.device.portal, restored.device.portal), (one.portal, two.portal), "portals of the two events")
        two.wait(lambda: all(polled_after_capacity(two, lun) for lun in two.units), "all units polled")
        two.queue_sense(1, sense(6, 0x2A, 0x01))
        event, = seen.expect(("MODE_PARAMETERS_CHANGED", 1))
        check_equal(event.device.portal, two.portal, "the portal of the session that saw it")
        one.set(refuse_login=[2, 3])
        two.set(refuse_login=[3, 1])
        two.fin()
        _, *refused = seen.expect(("NEXUS_LOST", None), ("LOGIN_FAILED", None), ("LOGIN_FAILED", None))
        check_equal([(e.device.portal, e.native.subcode) for e in refused], [(one.portal, 0x203), (two.portal, 0x301)])
        two.wait(lambda: len(two.connections) >= 4, "more tries")
        two.unset("refuse_login")
        restored, = seen.expect(("NEXUS_RESTORED", None))  # what both go on refusing was told once
        check_equal(restored.device.portal, two.portal)
        seen.nothing_more()


def test_portals_of_a_discovery_are_tried_in_turn():
    with ScriptedTarget() as one, ScriptedTarget() as two, Broker() as broker:
        one.set(text=text_of([("TargetName", one.name), ("TargetAddress", one.portal + ",1"),
                              ("TargetAddress", two.portal + ",2")]).hex())
        with Agent(broker, "--discover", one.portal) as agent, \
                Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
            seen = Seen(subscription, agent)
            seen.expect(("SESSION_STARTED", None))
            one.fin()
            lost, restored = seen.expect(("NEXUS_LOST", None), ("NEXUS_RESTORED", None))
            check_equal((lost.device.portal, restored.device.portal), (one.portal, two.portal), "portals")


def looks(target, lun):
    """How often the unit's capacity was read."""
    return sum(p["opcode"] == 1 and p["lun"] == lun and p["cdb"].startswith("9e") for p in target.pdus)


def test_what_a_target_does_not_announce_is_found_by_comparison():
    with watched("--compare", "300ms") as (target, _, _, seen):
        unit = target.units[1]
        unit.blocks = 4096
        capacity, = seen.expect(("CAPACITY_CHANGED", 1))
        check_equal((capacity.synthetic, capacity.native.name, capacity.native.detail), (True, "read-capacity",
                    "detected by comparison: 4096 blocks of 512 bytes, 2048 of 512 before"), "evidence")
        check_equal((capacity.native.raw, capacity.evidence[0].raw), (struct.pack(">QI", 4095, 512),
                    struct.pack(">QI", 2047, 512)), "what was read, now and before")
        unit.protected = True
        protection, = seen.expect(("WRITE_PROTECT_CHANGED", 1))
        check("detected by comparison: write protected" in protection.native.detail, protection.native.detail)
        unit.maximum_transfer = 128
        limits, = seen.expect(("INQUIRY_DATA_CHANGED", 1))
        check_equal(limits.native.detail, "detected by comparison: maximum transfer length 128 blocks, 65535 before "
                    "(0 = no limit)")
        for announced, ascq in ((8192, 0x09), (2048, 0x09)):  # told by the unit: not told again
            with target.condition:
                unit.blocks = announced
                target.queue_sense(1, sense(6, 0x2A, ascq))
            event, = seen.expect(("CAPACITY_CHANGED", 1))
            check(not event.synthetic, "the unit's own word")
            before = looks(target, 1)
            target.wait(lambda: looks(target, 1) >= before + 3, "more looks")
        seen.nothing_more()


def test_one_lun_of_a_target():
    with ScriptedTarget(luns=[0, 1, 2]) as target, Broker() as broker, \
            Agent(broker, targets=[url(target) + "/2"]) as agent, \
            Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
        seen = Seen(subscription, agent)
        seen.expect(("SESSION_STARTED", None))
        target.queue_sense(1, sense(6, 0x29, 0x00))
        target.queue_sense(2, sense(6, 0x2A, 0x01))
        seen.expect(("MODE_PARAMETERS_CHANGED", 2))
        seen.nothing_more()


if __name__ == "__main__":
    run_tests(globals())
