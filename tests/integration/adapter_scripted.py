#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The AIX face against a target that does what the test says: what real targets here do not do."""
from agent_program import *

from adapter_stream import *
from scripted_target import SCSI_COMMAND, TASK_MANAGEMENT, ScriptedTarget, sense, sense_segment

ABORT_TASK_SET, LUN_RESET, TARGET_WARM_RESET = 2, 5, 6


@contextlib.contextmanager
def attached(*options, luns=(0, 1), poll="1h"):
    """A scripted target, a broker, and an agent that has seen every unit and is quiet."""
    with ScriptedTarget(luns=luns) as target, Broker("--agent-heartbeat", "1s") as broker, \
            Agent(broker, *options, targets=[url(target)], poll=poll), AdapterStream(broker) as stream:
        wait_until(lambda: {d.device.address.lun for d in devices(broker) if d.device.state == "ready"} == set(luns),
                   "the units are known")
        yield target, broker, stream


def devices(broker):
    return broker.admin().ListDevices(admin_pb2.ListDevicesRequest(), timeout=LIMIT_S).devices


def functions(target):
    return [(bytes.fromhex(p["header"])[1] & 0x7F, p["lun"]) for p in target.pdus if p["opcode"] == TASK_MANAGEMENT]


def start(stream, lun, **members):
    return check_result(stream.start(target=0, lun=lun, **members)).start


def test_a_reset_of_the_target_reaches_the_sessions_of_all_its_units():  # rule 15
    with attached() as (target, broker, stream):
        sessions = [start(stream, lun) for lun in (0, 1)]
        for n, session in enumerate(sessions):
            check_result(stream.register(session, correlator=bytes([n])))
        asked = stream.send(reset=A.Reset(session_id=sessions[0].session_id))
        check_result(stream.result(asked))
        before = stream.order[:stream.order.index(("result", asked))]
        check_equal(before.count("event") >= 2, True, f"both heard of it first: {stream.order}")
        events = [e for e in stream.events if e.record.code == code_pb2.TARGET_RESET]
        check_equal(sorted(e.correlator for e in events), [b"\x00", b"\x01"], "one for each session")
        record = events[0].record
        check_equal((record.scope, record.address.lun, record.origin_session),
                    (event_pb2.SCOPE_TARGET, -1, sessions[0].session_id), "one record of the target")
        check_equal(functions(target), [(TARGET_WARM_RESET, 0)], "what went to the target")


def test_halt_aborts_what_is_in_flight():  # rule 14
    with attached() as (target, broker, stream):
        session, other = start(stream, 1), start(stream, 0)
        since = len(target.pdus)
        target.script(drop=True, remember=True)
        target.script(drop=True, remember=True)
        waiting = stream.send(test_unit_ready=A.TestUnitReady(session_id=session.session_id))
        unhurt = stream.send(test_unit_ready=A.TestUnitReady(session_id=other.session_id))
        target.wait(lambda: len(target.remembered) == 2, "two commands without an answer")
        check_result(stream.halt(session))
        check_result(stream.result(waiting), "EIO", "NONE", "aborted by HALT")
        check(not stream.answered(unhurt), "the other unit's command goes on")
        target.answer_late()
        check_result(stream.result(unhurt))
        check_equal(functions(target), [(ABORT_TASK_SET, 1)], "what went to the target")
        check_result(stream.test_unit_ready(session, resume=True))
        check([p for p in target.pdus[since:] if p["opcode"] == SCSI_COMMAND], "commands go again")


NO_AGENT = "no agent of host agent-1 is attached"


def start_in_vain(stream, **members):
    """START until it goes well; gives what was said before."""
    said = set()
    wait_until(lambda: (r := stream.start(lun=1, **members)).error == A.ERRNO_OK or said.add(r.message), "START")
    return said


def said_at_restart(trouble):
    """What START says until an agent is back that meets `trouble(target)`; its units are known from its life before."""
    with ScriptedTarget() as target, Broker("--agent-heartbeat", "1s") as broker, AdapterStream(broker) as stream, \
            tempfile.TemporaryDirectory(prefix="sensebus-agent.") as state:
        while True:
            with Agent(broker, targets=[url(target)], state=state):
                start_in_vain(stream, target=0)
            since = time.monotonic()
            with trouble(target), Agent(broker, targets=[url(target)], state=state):
                said = start_in_vain(stream, target=0)
                if time.monotonic() - since < 1.5:  # after two seconds it attaches without those who keep it waiting
                    return said


def test_an_agent_that_starts_is_told_of_when_it_knows_its_units():  # A19: START by one who waits for it never fails
    @contextlib.contextmanager
    def late_list(target):
        target.script(delay_ms=300)  # REPORT LUNS, the first command
        yield

    check_equal(said_at_restart(late_list), {NO_AGENT}, "what START said until it went well")


def test_an_agent_whose_session_ends_before_it_knows_the_units_waits_for_the_next():
    @contextlib.contextmanager
    def cut_list(target):
        since = len(target.pdus)
        target.script(drop=True)  # REPORT LUNS
        cutter = threading.Thread(target=lambda: (target.wait_pdu(lambda p: p["opcode"] == SCSI_COMMAND, since), target.fin()))
        cutter.start()
        try:
            yield
        finally:
            cutter.join()

    check_equal(said_at_restart(cut_list), {NO_AGENT}, "what START said until it went well")


def test_an_agent_waits_two_seconds_for_a_target_that_does_not_answer():
    with ScriptedTarget() as target, ScriptedTarget(name="iqn.2026-01.org.sensebus:other") as other, \
            Broker("--agent-heartbeat", "1s") as broker, AdapterStream(broker) as stream:
        target.set(hang_login=True)
        since = time.monotonic()
        with Agent(broker, targets=[url(target), url(other)]):
            said = start_in_vain(stream, target=0, target_name=other.name)
            check(time.monotonic() - since >= 1.9, "it waited")
        check(NO_AGENT in said and not any("nothing at this address" in text for text in said), f"{said}")


def test_an_agent_that_is_stopped_while_it_waits_tells_what_has_happened():
    with ScriptedTarget() as target, ScriptedTarget(name="iqn.2026-01.org.sensebus:other") as other, \
            Broker("--agent-heartbeat", "1s") as broker:
        target.set(hang_login=True)
        with Agent(broker, targets=[url(target)]) as agent:
            agent.wait_log("targets.added")
            check_equal(agent.stop(), 0, "exit status")
            if "publish.attached" in agent.log():  # it was held up, and waited no more
                return
        check_equal(broker.read_all(), [], "it has nothing to tell")
        with Agent(broker, targets=[url(target), url(other)], poll="1h") as agent:
            agent.wait_log("asking for the list")
            broker.process.send_signal(signal.SIGSTOP)  # it answers late
            agent.process.send_signal(signal.SIGTERM)
            agent.wait_log('reason="stopped"', 2)
            broker.process.send_signal(signal.SIGCONT)
            check_equal(agent.stop(), 0, "exit status")
        check_equal(code_names(broker.read_all()), ["AGENT_CONNECTED", "SESSION_STARTED", "SESSION_STOPPED"], "what it told")
        check("agent.detached" in broker.log(), "its farewell")


def test_an_agent_that_is_stopped_while_it_waits_leaves_its_devices_known():
    with ScriptedTarget() as target, Broker("--agent-heartbeat", "1s") as broker, \
            tempfile.TemporaryDirectory(prefix="sensebus-agent.") as state:
        def keys():
            return sorted((d.device.address.target, d.device.address.lun) for d in devices(broker))

        with Agent(broker, targets=[url(target)], state=state):
            wait_until(lambda: keys() == [(0, 0), (0, 1)], "the units")
        target.script(drop=True)  # REPORT LUNS
        with Agent(broker, targets=[url(target)], state=state) as agent:
            agent.wait_log("asking for the list")
            check_equal(agent.stop(), 0, "exit status")
            if "publish.attached" in agent.log().split("agent.stopping")[0]:  # it was held up, and waited no more
                return
        check("SESSION_STOPPED" in code_names(broker.read_all()), "it told what it had")
        check_equal(keys(), [(0, 0), (0, 1)], "what is known of it")


def test_the_late_sense_of_a_command_that_halt_ended_is_an_event():
    with attached() as (target, broker, stream):
        session = start(stream, 1)
        check_result(stream.register(session, correlator=b"late"))
        target.script(drop=True, remember=True)
        stream.send(test_unit_ready=A.TestUnitReady(session_id=session.session_id))
        target.wait(lambda: target.remembered, "the command")
        check_result(stream.halt(session))
        target.answer_late(status=2, segment=sense_segment(sense(6, 0x2A, 0x09)).hex())
        check_equal(stream.wait_code("CAPACITY_CHANGED").correlator, b"late", "whose it is")


def test_what_a_target_answers_to_a_reset_is_told():  # rule 12
    with attached() as (target, broker, stream):
        session = start(stream, 1)
        for response, expected in ((1, ("EIO", "NONE", "response 1")), (2, ("ENODEV", "NONE", "LUN does not exist")),
                                   (5, ("ENXIO", "NOT_SUPPORTED", "not supported")),
                                   (6, ("EIO", "NONE", "authorization failed")), (255, ("EIO", "NONE", "rejected"))):
            target.set(task_response=response)
            check_result(stream.reset(session), *expected)
        target.set(task_response=0, reject_task=True)
        check_result(stream.reset(session), "EIO", "NONE", "rejected")
        check_result(stream.reset(session))


def test_no_answer_is_etimedout_and_a_reset_that_is_done_later_is_an_event():
    with attached() as (target, broker, stream):
        session = start(stream, 1)
        check_result(stream.register(session))
        target.set(hang_tasks=True)
        check_result(stream.reset(session, deadline_ms=200), "ETIMEDOUT")
        request = target.wait_pdu(lambda p: p["opcode"] == TASK_MANAGEMENT)
        target.session().answer(0x22, bytes.fromhex(request["header"]))
        event = stream.wait_code("LUN_RESET")
        check_equal(event.record.origin_session, session.session_id, "who asked for it")


def test_short_deadlines_do_not_make_a_slow_target_look_dead():
    # the target's own queue has 64 places: what waits at one unit leaves some to the other
    with attached() as (target, broker, stream):
        session, other = start(stream, 1), start(stream, 0)
        for _ in range(32):
            target.script(drop=True, remember=True)
        for _ in range(32):
            check_result(stream.ask(test_unit_ready=A.TestUnitReady(session_id=session.session_id), deadline_ms=5),
                         "ETIMEDOUT")
        check_result(stream.test_unit_ready(session), "ENOMEM", "RESOURCE_EXHAUSTED")
        check_result(stream.test_unit_ready(other))
        target.answer_late()
        wait_until(lambda: stream.test_unit_ready(session).error == A.ERRNO_OK, "the target has caught up")
        check_equal(len(target.connections), 1, "one session with the target through all of it")


def test_resets_that_are_not_answered_leave_room_for_other_units():
    with attached() as (target, broker, stream):
        session, other = start(stream, 1), start(stream, 0)
        target.set(hang_tasks=True)
        for _ in range(4):
            check_result(stream.reset(session, lun_reset=True, deadline_ms=50), "ETIMEDOUT")
        check_result(stream.reset(session, lun_reset=True), "ENOMEM", "RESOURCE_EXHAUSTED")
        target.set(hang_tasks=False)
        check_result(stream.reset(other, lun_reset=True))


def test_a_page_that_is_no_page_is_refused():
    # what a caller may write is more than what a command can carry
    with attached() as (target, broker, stream):
        session = start(stream, 1)
        for page in (0x100, 1 << 31, (1 << 32) - 1):
            check_result(stream.ask(inquiry=A.Inquiry(session_id=session.session_id, page=page)), "EINVAL", "NONE",
                         str(page))
        check_result(stream.ask(inquiry=A.Inquiry(session_id=session.session_id, page=0x80)))


def test_a_unit_that_is_no_more_is_enodev():
    with attached() as (target, broker, stream):
        with target.condition:
            del target.units[1]  # and nobody says so
        check_result(stream.start(target=0, lun=1), "ENODEV")


def test_the_end_of_the_iscsi_session_is_enoconnect_and_the_session_goes_on():  # A20
    with attached() as (target, broker, stream):
        session = start(stream, 1)
        check_result(stream.register(session, correlator=b"on"))
        target.script(drop=True)
        waiting = stream.send(test_unit_ready=A.TestUnitReady(session_id=session.session_id))
        target.wait_pdu(lambda p: p["opcode"] == SCSI_COMMAND and p["lun"] == 1 and not target.scripts)
        target.fin()
        check_result(stream.result(waiting), "ENOCONNECT")
        for name in ("NEXUS_LOST", "NEXUS_RESTORED"):
            check_equal(stream.wait_code(name).correlator, b"on", name)
        wait_until(lambda: stream.test_unit_ready(session).error == A.ERRNO_OK, "the same session")


if __name__ == "__main__":
    run_tests(globals())
