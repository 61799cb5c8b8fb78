#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The AIX face against a real target: a stock client, the broker, the agent and tgtd."""
from agent_program import *

from adapter_stream import *

import tgtd
from iscsi_session import Driver
from scripted_target import ScriptedTarget

FUNCTION_LUN_RESET = 5
ASKED = "LOGICAL UNIT RESET (asked)"


@contextlib.contextmanager
def attached(*options, luns=(1,)):
    """A tgtd, a broker, and an agent that has polled every unit."""
    with tgtd.Tgtd() as target, Broker("--agent-heartbeat", "1s") as broker:
        for lun in luns:
            if lun != 1:
                target.add_lun(lun)
        with Agent(broker, *options, targets=[url(target)]) as agent:
            wait_until(lambda: covered(broker, target), "the agent watches the target")
            wait_until(lambda: {d.address.lun for d in devices(broker)} == {0, *luns}, "its units are known")
            yield target, broker, agent


def covered(broker, target):
    agents = broker.admin().ListAgents(admin_pb2.ListAgentsRequest(), timeout=LIMIT_S).agents
    return [s for a in agents for s in a.sources
            if s.instance == target.name and s.state == agents_pb2.SOURCE_STATE_ARMED]


def devices(broker):
    return [d.device for d in broker.admin().ListDevices(admin_pb2.ListDevicesRequest(), timeout=LIMIT_S).devices]


def commands(broker):
    agents = broker.admin().ListAgents(admin_pb2.ListAgentsRequest(), timeout=LIMIT_S).agents
    return dict(agents[0].commands)


def start(stream, target, lun=1, **members):
    """By the target's name."""
    return check_result(stream.start(target=0, lun=lun, target_name=target.name, **members)).start


def reset_by_another(target, lun=1):
    """A second initiator resets the unit."""
    driver = Driver(target.portal, target=target.name)
    try:
        driver.next("login")
        driver.say(f"manage {FUNCTION_LUN_RESET} {lun} {int(LIMIT_S * 1000)}")
        check_equal(driver.next("managed"), {"end": "ANSWERED", "response": "0"}, "LUN RESET of the second initiator")
    finally:
        check_equal(driver.close(), 0, "the driver's end")


def names(events):
    return [code_pb2.Code.Name(e.record.code) for e in events]


def test_ioc_info_before_any_start():  # rule 13
    with attached() as (_, broker, _), AdapterStream(broker) as stream:
        info = check_result(stream.ask(ioc_info=A.IocInfo(host="agent-1", adapter="iscsi0"))).ioc_info
        check_equal((info.adapter, info.own_id, info.transport),
                    ("iscsi0", "iqn.2026-01.org.sensebus:test-agent", event_pb2.TRANSPORT_ISCSI), "adapter")
        check_equal(sorted(info.capabilities), ["event", "halt", "reset-lun", "reset-target"], "capabilities")
        check(info.maximum_transfer_bytes > 0, "maximum transfer")


def test_start_says_who_is_reached_and_where():
    with attached() as (target, broker, _), AdapterStream(broker) as stream:
        started = start(stream, target)
        check_equal((started.reached.vendor, started.reached.product), ("IET", "VIRTUAL-DISK"), "who")
        check(started.reached.designator.startswith("naa.") and started.reached.serial, "what was known is there too")
        where = started.address
        check_equal((where.host, where.adapter, where.bus, where.target, where.target_name, where.lun),
                    ("agent-1", "iscsi0", -1, 0, target.name, 1), "where, in full")
        check_result(stream.start(target=0, lun=1), "EINVAL", "ALREADY_STARTED")
        check_result(stream.start(target=0, lun=9), "EINVAL", "ADDRESS")


def test_a_reset_by_another_initiator_comes_with_the_correlator():  # rule 7, rule 21
    with attached() as (target, broker, _), AdapterStream(broker) as stream:
        session = start(stream, target)
        check_result(stream.register(session, correlator=b"\x00\xffmine"))
        waiting = stream.send(wait_pri=A.WaitPri(session_ids=[session.session_id], timeout_ms=-1))
        reset_by_another(target)
        event = stream.wait_code("POWER_ON_OR_RESET")
        check_equal((event.correlator, event.session_id, event.generation),
                    (b"\x00\xffmine", session.session_id, session.generation), "whose it is")
        check_equal((event.events, event.mode, event.registered.lun), (4, INITIATOR, 1), "what it says")
        check_equal((event.record.sense.asc, event.record.sense.ascq), (0x29, 0x00), "the target's own words")
        check_equal(list(stream.result(waiting).wait_pri.ready), [session.session_id], "WAIT_PRI wakes")  # rule 25
        check_equal(check_result(stream.tm_event(session)).tm_event.events, 4, "TM_EVENT")  # rule 24, A7
        check_equal(check_result(stream.tm_event(session)).tm_event.events, 0, "TM_EVENT clears")


def test_a_reset_by_ourselves_is_an_event_before_the_reply():  # rule 15
    with attached() as (target, broker, _), AdapterStream(broker) as stream, AdapterStream(broker) as other:
        session = start(stream, target, shared=True)
        shared = start(other, target, shared=True)
        check_result(stream.register(session, correlator=b"one"))
        check_result(other.register(shared, correlator=b"two"))
        asked = stream.send(reset=A.Reset(session_id=session.session_id, lun_reset=True))
        check_result(stream.result(asked))
        check("event" in stream.order[:stream.order.index(("result", asked))], "the event came first")
        for face, correlator in ((stream, b"one"), (other, b"two")):
            event = face.wait_code("LUN_RESET")
            check_equal((event.correlator, event.record.origin_session), (correlator, session.session_id), "by whom")
            native = event.record.native
            check_equal((native.name, native.code, native.subcode), ("task-management", FUNCTION_LUN_RESET, 0), "how")
            event = face.wait_code("POWER_ON_OR_RESET")  # A11
            check_equal(event.record.origin_session, "", "the target's own word for it")
        wait_until(lambda: commands(broker).get(ASKED) == 1, "the reset is counted as asked for")
        check("NEXUS_LOST" not in names(stream.events), "the session with the target went on")
        check_result(stream.test_unit_ready(session))


def test_a_reset_of_the_target_that_it_does_not_support_is_enxio():  # rule 12
    with attached() as (target, broker, _), AdapterStream(broker) as stream:
        session = start(stream, target)
        check_result(stream.reset(session, lun_reset=False), "ENXIO", "NOT_SUPPORTED", "response 5", "not supported")


def test_halt_refuses_commands_until_resume():  # rule 14
    with attached() as (target, broker, _), AdapterStream(broker) as stream:
        session = start(stream, target)
        check_result(stream.halt(session))
        check_result(stream.test_unit_ready(session), "ENXIO", "HALTED")
        check_result(stream.inquiry(session), "ENXIO", "HALTED")
        polled = polls(broker)
        wait_until(lambda: polls(broker) > polled, "the agent's own polls go on")
        check_equal(check_result(stream.test_unit_ready(session, resume=True)).command.scsi_status, 0, "TEST UNIT READY")
        check_result(stream.inquiry(session))


def test_commands_give_data_and_sense():
    with attached() as (target, broker, _), AdapterStream(broker) as stream:
        session = start(stream, target)
        inquiry = check_result(stream.inquiry(session)).command
        check_equal((inquiry.scsi_status, inquiry.data[8:11]), (0, b"IET"), "standard INQUIRY")
        page = check_result(stream.inquiry(session, page=0x83)).command
        check_equal((page.scsi_status, page.data[1]), (0, 0x83), "VPD page")
        refused = check_result(stream.inquiry(session, page=0xEE)).command
        check_equal((refused.scsi_status, refused.sense.key, refused.sense.asc), (2, 5, 0x24), "no such page")
        target.set_online(1, False)
        wait_until(lambda: check_result(stream.test_unit_ready(session)).command.scsi_status == 2, "not ready")
        sense = check_result(stream.test_unit_ready(session)).command.sense
        check_equal((sense.key, sense.asc, sense.ascq), (2, 4, 1), "sense of TEST UNIT READY")


def test_an_attention_that_an_asked_command_brings_up_is_one_event():
    with attached("--poll", "1h") as (target, broker, _), AdapterStream(broker) as stream:
        session = start(stream, target)
        check_result(stream.register(session))
        reset_by_another(target)
        got = check_result(stream.test_unit_ready(session)).command
        check_equal((got.scsi_status, got.sense.key, got.sense.asc), (2, 6, 0x29), "the attention")
        stream.wait_code("POWER_ON_OR_RESET")
        check_equal(check_result(stream.test_unit_ready(session)).command.scsi_status, 0, "it is gone")
        check_equal(names(stream.events), ["POWER_ON_OR_RESET"], "one event")


def test_stop_ends_with_a_cancellation_record():  # rule 5
    with attached() as (target, broker, _), AdapterStream(broker) as stream:
        session = start(stream, target)
        check_result(stream.register(session, correlator=b"c"))
        check_result(stream.stop(session))
        last = stream.wait_code("REGISTRATION_CANCELLED")
        check_equal((last.correlator, stream.events[-1]), (b"c", last), "the last record")
        check_result(stream.test_unit_ready(session), "EINVAL", "NOT_STARTED")
        start(stream, target)


def test_a_unit_that_is_gone_is_no_session():
    with attached(luns=(1, 2)) as (target, broker, _), AdapterStream(broker) as stream:
        session = start(stream, target, lun=2)
        target.remove_lun(2)
        wait_until(lambda: {d.address.lun for d in devices(broker) if d.state != "removed"} == {0, 1}, "LUN 2 is gone")
        check(session.session_id, "it was there")
        result = stream.start(target=0, lun=2, target_name=target.name, shared=True)
        check(result.error in (A.ERRNO_EINVAL, A.ERRNO_ENODEV), describe(result))


def test_the_end_of_the_agent_ends_sessions():  # rule 6
    with attached() as (target, broker, agent), AdapterStream(broker) as stream:
        session = start(stream, target)
        check_result(stream.register(session))
        agent.kill()
        cancelled = stream.wait_code("REGISTRATION_CANCELLED")
        check("AGENT_LOST" in cancelled.record.native.name + cancelled.record.native.detail + cancelled.record.summary,
              str(cancelled.record))
        result = stream.test_unit_ready(session)
        check(result.error in (A.ERRNO_EIO, A.ERRNO_EINVAL), describe(result))
        agent.start()
        wait_until(lambda: stream.start(target=0, lun=1, target_name=target.name).error == A.ERRNO_OK, "a new session")


def test_without_a_session_of_the_target_start_is_enoconnect():
    with attached() as (target, broker, _), AdapterStream(broker) as stream:
        target.kill()
        result = wait_until(lambda: (lambda r: r.error == A.ERRNO_ENOCONNECT and r)(
            stream.start(target=0, lun=1, target_name=target.name, shared=True)), "ENOCONNECT")
        check(target.name in result.message, result.message)


def test_a_target_that_hangs_is_etimedout_and_its_sessions_live():
    with attached("--command-timeout", "30s") as (target, broker, _), AdapterStream(broker) as stream:
        session = start(stream, target)
        target.admin("--op", "update", "--mode", "target", "--tid", "1", "-n", "state", "-v", "offline")
        asked = stream.send(test_unit_ready=A.TestUnitReady(session_id=session.session_id), deadline_ms=300)
        check_result(stream.result(asked), "ETIMEDOUT")
        target.admin("--op", "update", "--mode", "target", "--tid", "1", "-n", "state", "-v", "ready")
        wait_until(lambda: stream.test_unit_ready(session).error == A.ERRNO_OK, "it answers again")


def registered(stream, target, **correlator):
    session = start(stream, target)
    check_result(stream.register(session, **correlator))
    return session


def test_the_adapters_numbers_are_the_same_in_ioc_info_and_records():  # rule 20: in all lives of an epoch of the agent
    with attached() as (target, broker, agent), AdapterStream(broker) as stream:
        def seen():
            info = check_result(stream.ask(ioc_info=A.IocInfo(host="agent-1"))).ioc_info
            session = registered(stream, target)
            reset_by_another(target)
            stream.wait(lambda: [e for e in stream.events if e.session_id == session.session_id], "the reset")
            event = [e for e in stream.events if e.session_id == session.session_id][0]
            check_equal((event.registered.host, event.registered.adapter, event.adapter_major, event.adapter_minor),
                        ("agent-1", info.adapter, info.major, info.minor), "the record's")
            check(info.major > 0, "a number")
            check_result(stream.stop(session))
            return event.record.origin.agent_epoch, info.adapter, info.major, info.minor
        first = seen()
        agent.stop()
        agent.start()
        wait_until(lambda: (r := stream.start(target=0, lun=1, target_name=target.name)).error == A.ERRNO_OK and
                   stream.stop(r.start), "the agent is back")
        check_equal(seen(), first, "epoch, adapter, major, minor")


def test_a_lost_and_restored_nexus_reaches_the_session_which_goes_on():  # A20
    with attached() as (target, broker, _), AdapterStream(broker) as stream:
        session = registered(stream, target, correlator=b"on")
        target.drop_connections()
        stream.wait_code("NEXUS_LOST")
        stream.wait_code("NEXUS_RESTORED")
        wait_until(lambda: stream.test_unit_ready(session).error == A.ERRNO_OK, "commands go again")
        check_result(stream.register(session), "EINVAL", "ALREADY_REGISTERED")
        reset_by_another(target)
        stream.wait_code("POWER_ON_OR_RESET")
        told = names(stream.events)
        check_equal(told.index("NEXUS_LOST") < told.index("NEXUS_RESTORED"), True, f"the order of {told}")
        check("REGISTRATION_CANCELLED" not in told, f"{told}")
        check_equal({(e.session_id, e.generation, e.correlator) for e in stream.events},
                    {(session.session_id, session.generation, b"on")}, "whose they are")


def test_a_target_keeps_its_number_when_others_go():  # A22: over lives of the agent; number and name lead to one unit
    with tgtd.Tgtd() as target, ScriptedTarget() as other, Broker("--agent-heartbeat", "1s") as broker, \
            tempfile.TemporaryDirectory(prefix="sensebus-agent.") as state, AdapterStream(broker) as stream:
        for targets in ([url(other), url(target)], [url(target)]):
            with Agent(broker, targets=targets, state=state):
                by_name = dict(target=0, lun=1, target_name=target.name, shared=True)
                wait_until(lambda: stream.start(**by_name).error == A.ERRNO_OK, "the agent watches the target")
                for members in (dict(target=1), dict(target=0, target_name=target.name)):
                    where = check_result(stream.start(lun=1, shared=True, **members)).start.address
                    check_equal((where.adapter, where.target, where.target_name), ("iscsi0", 1, target.name),
                                str(members))


def test_an_adapter_in_diagnosis_answers_ioc_info_alone():  # A23
    with attached("--diagnostics") as (target, broker, _), AdapterStream(broker) as stream:
        info = check_result(stream.ask(ioc_info=A.IocInfo(host="agent-1", adapter="iscsi0"))).ioc_info
        check_equal(list(info.capabilities), ["diagnostics"], "capabilities")
        check_result(stream.start(target=0, lun=1, target_name=target.name), "EACCES")


if __name__ == "__main__":
    if not tgtd.available():
        print("SKIPPED: tgtd is not installed")
        sys.exit(SKIPPED)
    run_tests(globals())
