# SPDX-License-Identifier: Apache-2.0
"""What Sdi has to do with sessions: Xaen tells them, and their first and last make driver events (semantics.md rules 30, 31;
A16)."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from adapter_stream import *  # noqa: E402,F403
from sdi_listener import *  # noqa: E402,F403

FLT_RESET, FLT_PTHRU, TARMOD_WRCOMP = 1, 2, 3
CAPABILITIES = {"iscsi0": ALL_CAPABILITIES, "scsi1": ALL_CAPABILITIES}


def on_bus(bus, target, lun=0):
    """A unit of scsi1, which is controller 1 and has channels."""
    device = make_device(target, lun, adapter="scsi1", name="")
    device.address.bus = bus
    device.address.controller = 1
    return device


DEVICES = [make_device(1, 0), make_device(1, 1), make_device(2, 0), on_bus(0, 5), on_bus(1, 5), on_bus(1, 6)]


def opened(operation):
    """What an agent says: scsi1 is controller 1."""
    at = operation.open.address
    return dict(open=agents_pb2.OpenResult(address=at, controller=1 if at.adapter == "scsi1" else 0,
                                           reached=event_pb2.Device(vendor="ACME", product="Disk")))


@contextlib.contextmanager
def world(*hosts):
    """A broker, an agent for each host, and a stream."""
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(Broker())
        for host in hosts or ("agent-1",):
            stack.enter_context(FakeAgent(broker, host=host, adapters=CAPABILITIES, devices=DEVICES,
                                          answers={"open": opened}))
        wait_until(lambda: len(broker.admin().ListDevices(admin_pb2.ListDevicesRequest(), timeout=LIMIT_S).devices)
                   == len(DEVICES) * max(1, len(hosts)), "the inventories")
        yield broker, stack.enter_context(AdapterStream(broker))


def start_on(stream, bus, target, lun=0, host="agent-1"):
    place = A.DeviceAddress(host=host, adapter="scsi1", bus=bus, target=target, lun=lun)
    return check_result(stream.ask(start=A.Start(address=place))).start


def registered(stream, session):
    check_result(stream.register(session, correlator=session.session_id.encode()))
    return session


def fence(broker, stream, host="agent-1"):
    """Everything that was said so far has been delivered: a record of each adapter that nobody else makes."""
    for hba in (0, 1):
        n = xaen(broker, 999, hba=hba, host=host)
        stream.wait(lambda: sum(e.record.native.code == 999 and e.record.address.controller == hba
                                for e in stream.events) >= n, "the fence")


def check_told(broker, stream, event, expected, code, **where):
    """Xaen tells these sessions, each once, and answers with their number."""
    del stream.events[:]
    check_equal(xaen(broker, event, **where), len(expected), f"n_told of {where}")
    fence(broker, stream)
    events = [e for e in stream.events if e.record.native.code == event]
    check_equal(sorted(e.session_id for e in events), sorted(s.session_id for s in expected), f"told by {where}")
    for e in events:
        check_equal(code_pb2.Code.Name(e.record.code), code)
        check_equal(e.correlator, e.session_id.encode(), "correlator")
    return [e.record for e in events]


def test_xaen_tells_the_sessions_of_the_place():
    """rule 30: id and lun -1 broadcast; the code follows"""
    with world() as (broker, stream):
        t1l0, t1l1, t2l0 = (registered(stream, stream.started(*unit)) for unit in ((1, 0), (1, 1), (2, 0)))
        record = check_told(broker, stream, FLT_RESET, [t1l1], "LUN_RESET", scsi_id=1, lun=1)[0]
        check_equal(record.scope, event_pb2.SCOPE_LUN)
        record = check_told(broker, stream, FLT_RESET, [t1l0, t1l1], "TARGET_RESET", scsi_id=1)[0]
        check_equal(record.scope, event_pb2.SCOPE_TARGET)
        record = check_told(broker, stream, FLT_RESET, [t1l0, t1l1, t2l0], "BUS_RESET")[0]
        check_equal(record.scope, event_pb2.SCOPE_BUS)
        check_told(broker, stream, FLT_PTHRU, [t2l0], "PASSTHROUGH_USED", scsi_id=2, lun=0)
        check_told(broker, stream, 77, [t1l0, t1l1], "PRIVATE", scsi_id=1)
        check_told(broker, stream, 78, [t1l0], "PRIVATE", scsi_id=1, lun=0)
        check_told(broker, stream, FLT_RESET, [], "LUN_RESET", scsi_id=1, lun=7)
        check_told(broker, stream, FLT_RESET, [], "LUN_RESET", hba=7)


def test_xaen_heeds_the_bus_and_aen_does_not():
    """rule 30, A16: bus -1 is accepted; sdi_aen ignores bus and var"""
    with world() as (broker, stream):
        b0, b1, b1t6 = (registered(stream, start_on(stream, *unit)) for unit in ((0, 5), (1, 5), (1, 6)))
        check_told(broker, stream, FLT_RESET, [b1], "LUN_RESET", hba=1, bus=1, scsi_id=5, lun=0)
        check_told(broker, stream, FLT_RESET, [b0, b1], "LUN_RESET", hba=1, bus=-1, scsi_id=5, lun=0)
        check_told(broker, stream, FLT_RESET, [b0, b1], "TARGET_RESET", hba=1, bus=-1, scsi_id=5)
        check_told(broker, stream, FLT_RESET, [b1, b1t6], "BUS_RESET", hba=1, bus=1)
        check_told(broker, stream, FLT_RESET, [b0, b1, b1t6], "BUS_RESET", hba=1, bus=-1)
        record = check_told(broker, stream, FLT_RESET, [b0, b1], "TARGET_RESET", hba=1, bus=1, scsi_id=5, var=9,
                            aen=True)[0]
        check_equal((record.native.name, list(record.native.parameters)), ("sdi_aen", []))


def test_what_xaen_says_is_in_the_log():
    """rule 30: the reporter's own words are kept, and who it was"""
    with world() as (broker, stream):
        session = registered(stream, stream.started(1, 0))
        xaen(broker, FLT_RESET, scsi_id=1, lun=0, var=0x1122334455667788)
        record = stream.wait_code("LUN_RESET").record
        check_equal(record.origin.source, event_pb2.SOURCE_SUBSCRIBER)
        check_equal(record.origin.host, "agent-1")
        native = record.native
        check_equal((native.name, native.code, native.detail), ("sdi_xaen", FLT_RESET, "plaintext"))
        check_equal(list(native.parameters), [0x55667788, 0x11223344], "var, low and high")
        check_equal((record.address.adapter, record.address.controller, record.address.bus, record.address.target,
                     record.address.lun), ("iscsi0", 0, -1, 1, 0))
        check_equal(record.aix_bits, 4)
        check_equal(check_result(stream.tm_event(session)).tm_event.events, 4)
        check_equal([e.SerializeToString() for e in broker.read_all() if e.code == code_pb2.LUN_RESET],
                    [record.SerializeToString()])
        check_equal(broker.counters()["sensebus_sdi_sessions_told_total"], 1)


def test_nobody_there_is_no_error_and_not_logged():
    """rule 31"""
    with world() as (broker, stream):
        stopped = stream.started(1, 0)
        check_result(stream.stop(stopped))
        broker.wait_newest(3)  # connected, started, stopped
        check_equal(xaen(broker, FLT_RESET, scsi_id=1, lun=0), 0)
        check_equal(xaen(broker, FLT_RESET), 0)
        stream.started(1, 1)
        broker.wait_newest(4)
        check_equal(broker.read_all()[3].code, code_pb2.SESSION_STARTED)


def test_one_record_for_each_host_and_adapter():
    """rule 30: an empty host is every agent's"""
    with world("agent-1", "agent-2") as (broker, stream):
        one = [registered(stream, stream.started(1, lun)) for lun in (0, 1)]
        two = registered(stream, stream.started(1, 0, host="agent-2"))
        broker.wait_newest(5)  # two connected, three started
        check_equal(xaen(broker, FLT_RESET), 3)
        wait_until(lambda: len([e for e in stream.events if e.record.code == code_pb2.BUS_RESET]) == 3, "3 events")
        check_equal(broker.info().newest.sequence, 7)
        check_equal(xaen(broker, FLT_RESET, host="agent-2"), 1)
        stream.wait(lambda: len(stream.events) == 4, "one more")
        check_equal(stream.events[-1].session_id, two.session_id)
        check(one[0].session_id != one[1].session_id)


def test_sessions_that_did_not_register_see_it_in_their_pending_word():
    """rules 24, 30; A6"""
    with world() as (broker, stream):
        session = stream.started(1, 0)
        check_equal(xaen(broker, FLT_RESET, scsi_id=1, lun=0), 1)
        wait_until(lambda: stream.pending(session) == 4, "the bit")
        check_equal(stream.events, [])


def test_a_target_mode_write_is_news_for_target_mode_alone():
    """rules 22, 30: SDI_TARMOD_WRCOMP"""
    with Broker() as broker, AdapterStream(broker) as stream, \
            FakeAgent(broker, adapters=dict(CAPABILITIES, tgt1=("event", "target-mode")), devices=DEVICES):
        wait_until(lambda: broker.admin().ListDevices(admin_pb2.ListDevicesRequest(), timeout=LIMIT_S).devices,
                   "the inventory")
        check_result(stream.register(stream.started(1, 0)))
        target = check_result(stream.start_target()).start
        check_result(stream.register(target, TARGET))
        check_equal(xaen(broker, TARMOD_WRCOMP), 2)
        fence(broker, stream)
        events = [e for e in stream.events if e.record.code == code_pb2.TARGET_WRITE_COMPLETE]
        check_equal([e.session_id for e in events], [target.session_id])


def test_hba_has_no_wildcard():
    """A16"""
    with world() as (broker, stream):
        for member, text in ((dict(hba=-1), "XaenRequest.hba"), (dict(hba=-2), "XaenRequest.hba"),
                             (dict(scsi_id=-2), "XaenRequest.scsi_id"), (dict(lun=-2), "XaenRequest.lun"),
                             (dict(bus=-2), "XaenRequest.bus"), (dict(host="x" * 254), "XaenRequest.host")):
            with expect_status(grpc.StatusCode.INVALID_ARGUMENT, text):
                xaen(broker, FLT_RESET, **member)
        check_equal(xaen(broker, FLT_RESET, bus=-2, aen=True), 0)


def test_the_code_spaces_are_apart():
    """rule 30: Xaen's 1..3 call no handler of driver events 1..3, and the reverse tells no session"""
    with world() as (broker, stream), Listener(broker) as listener:
        session = registered(stream, stream.started(1, 0))
        for event_type in (1, 2, 3, 77):
            listener.add(event_type, any_device_type=True)
        for event in (1, 2, 3, 77):
            check_equal(xaen(broker, event, scsi_id=1, lun=0), 1)
        fence(broker, stream)
        check_equal(listener.calls, [])
        n = len(stream.events)
        check_answer(notify(broker, 77, address=adr(0, -1, 1, 0, "agent-1")), OK, 1, 0)
        fence(broker, stream)
        check_equal(len([e for e in stream.events[n:] if e.record.native.code != 999]), 0)
        check(session.session_id)


def test_first_open_and_last_close_come_from_sessions():
    """A17: the broker's own driver events; matched as all others are"""
    with world() as (broker, stream), Listener(broker) as listener:
        for event_type in (FIRSTOPEN, LASTCLOSE, LASTCLOSE_ERR):
            listener.add(event_type, address=adr(0, -1, 1, 0, "agent-1"), inquiry="ACME    Disk")
            listener.add(event_type, inquiry="OTHER")
            listener.add(event_type, device_type=5)
        first = stream.started(1, 0, shared=True)
        wait_until(lambda: listener.calls, "SDI_FIRSTOPEN")
        second = stream.started(1, 0, shared=True)
        other = stream.started(1, 1)
        check_result(stream.stop(first))
        check_result(stream.stop(other))
        check_result(stream.stop(second))
        wait_until(lambda: len(listener.calls) == 2, "SDI_LASTCLOSE")
        check_equal([c.event_type for c in listener.calls], [FIRSTOPEN, LASTCLOSE])
        for call in listener.calls:
            check_equal(call.address, adr(0, -1, 1, 0, "agent-1"))
            check_equal(call.sender, "broker")


def test_a_device_whose_agent_is_lost_closes_with_errors():
    """A17, rule 6: SDI_LASTCLOSE_ERR"""
    with Broker() as broker, Listener(broker) as listener, AdapterStream(broker) as stream:
        listener.add(LASTCLOSE)
        listener.add(LASTCLOSE_ERR)
        agent = FakeAgent(broker, adapters=CAPABILITIES, devices=DEVICES)
        wait_until(lambda: broker.admin().ListDevices(admin_pb2.ListDevicesRequest(), timeout=LIMIT_S).devices,
                   "the inventory")
        stream.started(1, 0)
        agent.vanish()
        wait_until(lambda: listener.calls, "the last close")
        check_equal([c.event_type for c in listener.calls], [LASTCLOSE_ERR])


def test_a_handler_that_fails_a_device_event_is_counted_and_holds_up_nobody():
    """rule 29: nobody hears the verdict but the operator"""
    with world() as (broker, stream), Listener(broker, lambda call: ERR) as listener:
        listener.add(FIRSTOPEN)
        stream.started(1, 0)
        wait_until(lambda: broker.counters()["sensebus_sdi_device_events_failed_total"] == 1, "the count")
        check("sdi.device_event_failed" in broker.log(), "not logged")


if __name__ == "__main__":
    run_tests(globals())
