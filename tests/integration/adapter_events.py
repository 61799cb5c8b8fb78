# SPDX-License-Identifier: Apache-2.0
"""What a registered session is told, over real connections: records, correlators, order, losses, and why it ended."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from adapter_stream import *  # noqa: E402,F403

LUN_RESET, TARGET_RESET = (code_pb2.Code.Value(name) for name in ("LUN_RESET", "TARGET_RESET"))
LOST, CANCELLED = (code_pb2.Code.Value(name) for name in ("EVENTS_LOST", "REGISTRATION_CANCELLED"))


class Numbered:
    """Publishes an agent's events with its numbers: numbered.tell(lun=1)."""

    def __init__(self, agent):
        self.agent, self.next = agent, 1

    def tell(self, scope=event_pb2.SCOPE_LUN, mode=event_pb2.MODE_BOTH, target=1, **members):
        event = make_event(self.agent.host, self.agent.epoch, self.next, target=target, **members)
        event.scope, event.mode = scope, mode
        self.next += 1
        self.agent.publish(event)
        return event.origin.source_sequence

    def settle(self):
        self.agent.wait_acked(self.next - 1)


def registered(stream, target=1, lun=0, **members):
    shared = members.pop("shared", False)
    session = stream.started(target, lun, shared=shared)
    check_result(stream.register(session, **members))
    return session


def n_lost(events):
    return sum(e.record.loss.count for e in events if e.record.code == LOST)


def n_told(events):
    return sum(e.record.code != LOST for e in events)


def reasons(stream):
    return [e.record.native.name for e in stream.events if e.record.code == CANCELLED]


# ---------------------------------------------------------------------------------------------------- records

def test_correlators_come_back_bit_identical():
    # rule 7, A9, A10: opaque bytes, presence kept; equal ones are nobody's business
    cases = [dict(correlator=b""), {}, dict(correlator=bytes(range(256))), dict(correlator=b"\0\0\0\0"),
             dict(correlator=b"\xff\0text\0"), dict(correlator=b"\0\0\0\0"), dict(correlator=b"\xff\xff\xff\xff\0\0\0\1")]
    with face() as (broker, agent, stream):
        sessions = [registered(stream, shared=True, **case) for case in cases]
        Numbered(agent).tell()
        stream.wait_events(len(cases))
        by_session = {e.session_id: e for e in stream.events}
        for session, case in zip(sessions, cases):
            event = by_session[session.session_id]
            check_equal(event.WhichOneof("_correlator") is not None, "correlator" in case, f"presence of {case}")
            check_equal(event.correlator, case.get("correlator", b""))


def test_a_record_says_whose_it_is_and_is_whole():
    # rule 17, rule 18, rule 20, rule 21: registered address and mode echoed, the log's record untouched
    with face() as (broker, agent, stream):
        session = registered(stream, 1, 1, correlator=b"me")
        Numbered(agent).tell(lun=1, summary="a reset", session_id="")
        event = stream.wait_events(1)[0]
        check_equal((event.session_id, event.generation), (session.session_id, session.generation))
        check_equal(event.registered, session.address)
        check_equal(event.mode, INITIATOR)
        check_equal(event.events, 4)
        in_log = [e for e in broker.read_all() if e.code == LUN_RESET]
        check_equal(event.record, in_log[0])
        check_equal(event.record.summary, "a reset")


def test_scopes_reach_whom_they_cover():
    # rule 17: one record for each registered session that it concerns, each with its own correlator
    with face() as (broker, agent, stream):
        numbered = Numbered(agent)
        for correlator, (target, lun) in {b"a": (1, 0), b"b": (1, 1), b"c": (2, 0)}.items():
            registered(stream, target, lun, correlator=correlator)
        numbered.tell(lun=1)
        check_equal([e.correlator for e in stream.wait_events(1)], [b"b"])
        numbered.tell(scope=event_pb2.SCOPE_TARGET, lun=-1, code="TARGET_RESET")
        check_equal(sorted(e.correlator for e in stream.wait_events(3)[1:]), [b"a", b"b"])
        numbered.tell(scope=event_pb2.SCOPE_ADAPTER, target=-1, lun=-1)
        check_equal(sorted(e.correlator for e in stream.wait_events(6)[3:]), [b"a", b"b", b"c"])
        numbered.tell(scope=event_pb2.SCOPE_ADAPTER, target=-1, lun=-1, adapter="iscsi9")
        numbered.tell(scope=event_pb2.SCOPE_HOST, target=-1, lun=-1, adapter="", aix_bits=0)
        check_equal(sorted(e.correlator for e in stream.wait_events(9)[6:]), [b"a", b"b", b"c"])


def test_events_before_the_registration_are_only_pending():
    # A6, rule 24: words accumulate from START
    with face() as (broker, agent, stream):
        numbered = Numbered(agent)
        session = stream.started()
        numbered.tell(aix_bits=1)
        wait_until(lambda: stream.pending(session) == 1, "the pending word")
        check_result(stream.register(session))
        numbered.tell(aix_bits=4)
        check_equal([e.events for e in stream.wait_events(1)], [4])
        check_equal(stream.pending(session), 5)


def test_tm_event_clears_and_peek_does_not():
    # A7, A8, rule 24: per session
    with face() as (broker, agent, stream):
        numbered = Numbered(agent)
        one, two = stream.started(shared=True), stream.started(shared=True)
        numbered.tell(aix_bits=1)
        numbered.tell(aix_bits=4)
        wait_until(lambda: stream.pending(two) == 5, "both bits")
        check_equal(check_result(stream.tm_event(one, peek=True)).tm_event.events, 5)
        check_equal(check_result(stream.tm_event(one)).tm_event.events, 5)
        check_equal(check_result(stream.tm_event(one)).tm_event.events, 0)
        check_equal(stream.pending(two), 5)


def test_wait_pri_is_level_triggered_and_always_ends():
    # rule 25: POLLSYNC, wake, no clearing, closed sessions as POLLHUP, timeout
    with face() as (broker, agent, stream):
        numbered = Numbered(agent)
        one, two = stream.started(1, 0), stream.started(2, 0)
        result = check_result(stream.wait_pri(one, two, timeout_ms=0)).wait_pri
        check_equal((list(result.ready), list(result.closed)), ([], []))
        begin = time.monotonic()
        result = check_result(stream.wait_pri(one, timeout_ms=150)).wait_pri
        check(list(result.ready) == [] and time.monotonic() - begin >= 0.15, "the time was over")
        waiting = stream.send(wait_pri=A.WaitPri(session_ids=[one.session_id, two.session_id], timeout_ms=-1))
        numbered.tell(target=2)
        check_equal(list(check_result(stream.result(waiting)).wait_pri.ready), [two.session_id])
        check_equal(list(check_result(stream.wait_pri(one, two)).wait_pri.ready), [two.session_id])
        check_result(stream.tm_event(two))
        waiting = stream.send(wait_pri=A.WaitPri(session_ids=[one.session_id, two.session_id], timeout_ms=-1))
        check_result(stream.stop(one))
        check_equal(list(check_result(stream.result(waiting)).wait_pri.closed), [one.session_id])
        waiting = stream.send(wait_pri=A.WaitPri(session_ids=[two.session_id], timeout_ms=-1))
        agent.vanish()
        check_equal(list(check_result(stream.result(waiting)).wait_pri.closed), [two.session_id])


def test_order_holds_and_a_slow_reader_hears_what_it_lost():
    # rule 16, rule 17, rule 19: strictly in order; coalesced, the OR of the bits and the count survive
    config = Broker.EVERYBODY + "limits: {adapter: {queued_records_per_session: 8}}\n"
    evidence = [event_pb2.Native(raw=bytes(4096), raw_length=4096)] * 13
    bits = [1, 2, 4]
    with face(config=config) as (broker, agent, stream):
        numbered = Numbered(agent)
        channel = broker.channel(**{"grpc.http2.bdp_probe": 0, "grpc.http2.lookahead_bytes": 65536})
        with AdapterStream(broker, channel) as slow:
            session = registered(slow, shared=True)
            registered(stream, shared=True)
            slow.reading.clear()
            for n in range(60):
                numbered.tell(aix_bits=bits[n % 3], evidence=evidence)
            # Who reads has heard of all, though on a busy machine not of each: nothing more is on its way to the other.
            stream.wait(lambda: n_told(stream.events) + n_lost(stream.events) == 60, "all for who reads")
            wait_until(lambda: slow.listed(broker, session).n_lost > 0, "something to be lost")
            slow.reading.set()
            slow.wait_code("EVENTS_LOST")
            numbered.tell(aix_bits=0)  # live again
            slow.wait(lambda: slow.events[-1].record.origin.source_sequence == numbered.next - 1, "the newest event")
            lost = [e for e in slow.events if e.record.code == LOST]
            told = [e for e in slow.events if e.record.code == LUN_RESET]
            check_equal(sum(e.record.loss.count for e in lost) + len(told), 61, "told and lost")
            sequences = [e.record.origin.source_sequence for e in told]
            check_equal(sequences, sorted(set(sequences)), "the order")
            check_equal(sequences[:-1], list(range(1, len(sequences))), "the first ones were told")
            missing = set(range(1, 61)) - set(sequences)
            expected = 0
            for n in missing:
                expected |= bits[(n - 1) % 3]
            told_lost = 0
            for e in lost:
                check_equal(e.events, e.record.loss.aix_bits)
                check_equal((e.session_id, e.generation), (session.session_id, session.generation))
                told_lost |= e.events
            check_equal(told_lost, expected, "the OR of the bits")
            check_equal(slow.pending(session), 7)
            stream.wait(lambda: n_told(stream.events) + n_lost(stream.events) == 61, "the newest for who reads")
            check_equal(broker.counters()["sensebus_adapter_records_lost_total"], len(missing) + n_lost(stream.events))


def test_records_of_the_other_role_do_not_reach_a_session():
    # rule 22: BUFFERS_EXHAUSTED and all target-only codes are for target mode, and counted otherwise
    with face() as (broker, agent, stream):
        numbered = Numbered(agent)
        session = registered(stream)
        numbered.tell(code="BUFFERS_EXHAUSTED", aix_bits=8)
        numbered.tell(aix_bits=12)
        check_equal([e.events for e in stream.wait_events(1)], [4])
        check_equal(stream.pending(session), 4)
        check_equal(broker.counters()["sensebus_adapter_records_wrong_mode_total"], 1)


def test_what_is_tagged_with_a_session_is_for_that_one_only():
    # rule 2: with the broker's generation; of a session that is gone nothing reaches anybody
    with face() as (broker, agent, stream):
        numbered = Numbered(agent)
        one, two = registered(stream, shared=True), registered(stream, shared=True)
        numbered.tell(session_id=one.session_id)
        event = stream.wait_events(1)[0]
        check_equal((event.session_id, event.record.session_generation), (one.session_id, one.generation))
        check_result(stream.stop(one))
        numbered.tell(session_id=one.session_id)
        numbered.tell(session_id="never")
        numbered.tell(lun=0, summary="untagged")
        stream.wait(lambda: stream.events[-1].record.summary == "untagged", "the untagged one")
        check_equal([e.session_id for e in stream.events if e.record.code == LUN_RESET],
                    [one.session_id, two.session_id])
        check_equal(broker.counters()["sensebus_adapter_records_stale_total"], 2)
        stale = [e for e in broker.read_all() if e.session_id == "never"]
        check_equal([e.session_generation for e in stale], [0])


def test_a_nexus_that_is_lost_and_back_keeps_the_registration():
    # A20: the session is the driver's open, not the TCP connection
    with face() as (broker, agent, stream):
        numbered = Numbered(agent)
        session = registered(stream)
        numbered.tell(code="NEXUS_LOST", scope=event_pb2.SCOPE_SESSION, lun=-1, aix_bits=0)
        numbered.tell(code="NEXUS_RESTORED", scope=event_pb2.SCOPE_SESSION, lun=-1, aix_bits=0)
        numbered.tell()
        check_equal([code_pb2.Code.Name(e.record.code) for e in stream.wait_events(3)],
                    ["NEXUS_LOST", "NEXUS_RESTORED", "LUN_RESET"])
        check_equal({e.generation for e in stream.events}, {session.generation})


def test_a_reset_and_its_unit_attention_are_both_told():
    # A11: two native sources, two records
    with face() as (broker, agent, stream):
        numbered = Numbered(agent)
        registered(stream)
        numbered.tell(native=event_pb2.Native(name="tmf"))
        numbered.tell(native=event_pb2.Native(name="unit-attention"))
        check_equal([e.record.native.name for e in stream.wait_events(2)], ["tmf", "unit-attention"])


# ---------------------------------------------------------------------------------------------------- RESET

def reset_by(numbered, **scope):
    """What an agent does: its event first, the answer names it."""
    def answer(operation):
        sequence = numbered.tell(origin_session=operation.session_id, **scope)
        return dict(after_source_sequence=sequence)
    return answer


def test_reset_tells_everybody_concerned_before_it_is_answered():
    # rule 15: every affected registered session, the requester included, with origin_session
    with face() as (broker, agent, stream), AdapterStream(broker) as other:
        numbered = Numbered(agent)
        mine, beside = registered(stream, 1, 0), registered(other, 1, 1)
        agent.answers["reset"] = reset_by(numbered, lun=0)
        reset = stream.send(reset=A.Reset(session_id=mine.session_id, lun_reset=True))
        check_result(stream.result(reset))
        check_equal(stream.order[-2:], ["event", ("result", reset)])
        check_equal(stream.events[-1].record.origin_session, mine.session_id)
        check_equal(len(other.events), 0)
        agent.answers["reset"] = reset_by(numbered, code="TARGET_RESET", scope=event_pb2.SCOPE_TARGET, lun=-1)
        reset = stream.send(reset=A.Reset(session_id=mine.session_id))
        check_result(stream.result(reset))
        check_equal(stream.order[-2:], ["event", ("result", reset)])
        check_equal(other.wait_events(1)[0].record.origin_session, mine.session_id)
        check_equal([o.reset.lun_reset for o in agent.operated("reset")], [True, False])


def test_a_result_that_overtakes_its_event_waits_for_it():
    # rule 15, when the agent's spool sends later than it answers
    with face() as (broker, agent, stream):
        numbered = Numbered(agent)
        session = registered(stream)
        agent.answers["reset"] = dict(after_source_sequence=1)
        reset = stream.send(reset=A.Reset(session_id=session.session_id, lun_reset=True))
        wait_until(lambda: agent.operated("reset"), "the operation")
        check_result(stream.test_unit_ready(session))  # it came behind the result, and is answered
        check(not stream.answered(reset), "the reply waits")
        numbered.tell(origin_session=session.session_id)
        check_result(stream.result(reset))
        check_equal(stream.order[-2:], ["event", ("result", reset)])
        # an event that never comes: the deadline ends it
        agent.answers["reset"] = dict(after_source_sequence=1 << 40)
        check_result(stream.reset(session, deadline_ms=200), "ETIMEDOUT")


# ---------------------------------------------------------------------------------------------------- the end

def test_stop_ends_with_a_cancellation():
    # rule 5
    with face() as (broker, agent, stream):
        session = registered(stream, correlator=b"last")
        check_result(stream.stop(session))
        check_equal(reasons(stream), ["STOP"])
        check_equal((stream.events[-1].session_id, stream.events[-1].correlator), (session.session_id, b"last"))


def test_agent_loss_delivers_what_is_queued_then_cancels():
    # rule 5, rule 6
    with face() as (broker, agent, stream):
        numbered = Numbered(agent)
        sessions = [registered(stream, 1, 0), registered(stream, 1, 1)]
        for _ in range(50):
            numbered.tell(scope=event_pb2.SCOPE_TARGET, lun=-1)
        numbered.settle()
        agent.vanish()
        stream.wait(lambda: len(reasons(stream)) == 2, "both cancellations")
        check_equal(reasons(stream), ["AGENT_LOST"] * 2)
        for session in sessions:
            mine = [e.record.code for e in stream.events if e.session_id == session.session_id]
            check_equal(mine, [LUN_RESET] * 50 + [CANCELLED])


def test_a_detached_agent_is_said_so():
    # rule 5: an orderly end of the agent
    with face() as (broker, agent, stream):
        registered(stream)
        agent.detach()
        stream.wait_code("REGISTRATION_CANCELLED")
        check_equal(reasons(stream), ["AGENT_DETACHED"])


def test_an_agent_that_attaches_again_has_closed_its_sessions():
    # A19: also when the broker had not noticed that the old stream was gone
    with face() as (broker, agent, stream):
        registered(stream)
        with FakeAgent(broker, epoch=agent.epoch, instance=agent.instance, adapters=ADAPTERS, devices=DEVICES):
            stream.wait_code("REGISTRATION_CANCELLED")
            check_equal(reasons(stream), ["AGENT_LOST"])
            wait_until(lambda: [e.code for e in broker.read_all()].count(code_pb2.AGENT_CONNECTED) == 2,
                       "to be told when to START again")


def test_what_an_agent_lost_or_was_refused_is_told():
    # rule 17: no holes but announced ones
    with face() as (broker, agent, stream):
        session = registered(stream)
        numbered = Numbered(agent)
        numbered.tell(aix_bits=0)
        numbered.next += 3
        numbered.tell()
        numbered.tell(summary="x" * 300)
        numbered.tell()
        stream.wait_events(5)
        check_equal([(e.record.code == LOST, e.record.loss.count) for e in stream.events],
                    [(False, 0), (True, 3), (False, 0), (True, 1), (False, 0)])
        check_equal(stream.pending(session), 7, "rule 16: which were lost is not known; 8 is for target mode (rule 22)")


def test_a_removed_device_ends_its_session():
    # rule 5
    with face() as (broker, agent, stream):
        numbered = Numbered(agent)
        registered(stream, 1, 0)
        other = registered(stream, 1, 1)
        numbered.tell(code="DEVICE_REMOVED", aix_bits=0)
        stream.wait_code("REGISTRATION_CANCELLED")
        check_equal([e.record.code for e in stream.events], [code_pb2.Code.Value("DEVICE_REMOVED"), CANCELLED])
        check_equal(stream.pending(other), 0)


def test_an_operator_ends_somebodys_session():
    # rule 5, Admin.EndSession: with the operator's name for the owner and for the log
    with unix_face('principals: [{identity: "unix:uid=*", name: boss, roles: [operator]}]\n') \
            as (broker, agent, stream, channel):
        admin = admin_pb2_grpc.AdminStub(channel)

        def end(session_id, reason):
            return admin.EndSession(admin_pb2.EndSessionRequest(session_id=session_id, reason=reason), timeout=LIMIT_S)

        session = registered(stream)
        for reason in ("", "x" * 257):
            with expect_status(grpc.StatusCode.INVALID_ARGUMENT, "reason"):
                end(session.session_id, reason)
        with expect_status(grpc.StatusCode.NOT_FOUND, "nobody"):
            end("nobody", "because")
        ended = end(session.session_id, "the disk is needed")
        check_equal((ended.generation, ended.principal, ended.was_registered), (session.generation, "plaintext", True))
        event = stream.wait_code("REGISTRATION_CANCELLED")
        check_equal(event.record.native.name, "OPERATOR")
        check("boss" in event.record.native.detail and "the disk is needed" in event.record.native.detail,
              event.record.native.detail)
        check_result(stream.tm_event(session), "EINVAL", "NOT_STARTED")
        check(stream.started().generation > session.generation, "its owner may START again")
        agent.wait(lambda a: a.operated("close"), "the close")
        long = end(stream.started(2, 0).session_id, "é" * 128)
        check(not long.was_registered, "it was not")


def test_a_stopping_broker_cancels_before_it_says_unavailable():
    # rule 5, A21
    with face() as (broker, agent, stream):
        agent.answers["inquiry"] = SILENCE
        session = registered(stream)
        waiting = stream.send(inquiry=A.Inquiry(session_id=session.session_id))
        pri = stream.send(wait_pri=A.WaitPri(session_ids=[session.session_id], timeout_ms=-1))
        wait_until(lambda: agent.operated("inquiry"), "the operation")
        broker.ask_to_stop()
        with expect_status(grpc.StatusCode.UNAVAILABLE, "stopping"):
            stream.until_end()
        check_equal(reasons(stream), ["BROKER_STOPPING"])
        check_result(stream.results[waiting], "EIO")
        check_equal(list(stream.results[pri].wait_pri.closed), [session.session_id])
        check_equal(broker.wait(), 0)
        broker.restart()
        check_equal(code_names(broker.read_all())[-4:],
                    ["SESSION_STARTED", "REGISTRATION_CANCELLED", "SESSION_STOPPED", "BROKER_STOPPING"])


def test_sessions_leave_a_trail_in_the_log():
    with face() as (broker, agent, stream):
        session = registered(stream)
        check_result(stream.stop(session))
        wait_until(lambda: len(broker.read_all()) >= 4, "the trail")
        trail = [e for e in broker.read_all() if e.session_id == session.session_id]
        check_equal(code_names(trail), ["SESSION_STARTED", "REGISTRATION_CANCELLED", "SESSION_STOPPED"])
        for event in trail:
            check_equal(event.session_generation, session.generation)
            check_equal((event.address.adapter, event.address.target, event.address.lun), ("iscsi0", 1, 0))
            check_equal((event.origin.host, event.device.target_name), ("agent-1", "iqn.2026-01.example:t1"))
            check("plaintext" in event.summary, event.summary)


# ---------------------------------------------------------------------------------------------------- target mode

def test_target_mode_brings_data_and_takes_buffers_back():
    # rule 23: data in order, buffers held until released, more than are held cannot be released
    with face(adapters={"tgt1": ("event", "target-mode")}) as (broker, agent, stream):
        numbered = Numbered(agent)
        session = check_result(stream.start_target(correlator=b"\0in\0")).start
        check_result(stream.register(session, TARGET, correlator=b"ev"))
        for n in range(16):
            agent.target_received(session, bytes([n]) * 4096)
        stream.wait_data(16)
        check_equal([d.data[0] for d in stream.data], list(range(16)))
        check_equal({(d.session_id, d.generation, d.correlator) for d in stream.data},
                    {(session.session_id, session.generation, b"\0in\0")})
        check_result(stream.ask(release_buffers=A.ReleaseBuffers(session_id=session.session_id, n_buffers=17)),
                     "EINVAL", "BUFFERS")
        check_result(stream.ask(release_buffers=A.ReleaseBuffers(session_id=session.session_id, n_buffers=8)))
        agent.wait(lambda a: a.operated("release_buffers"), "the released buffers")
        check_equal(agent.operated("release_buffers")[0].release_buffers.n_buffers, 8)
        # rule 22: and here BUFFERS_EXHAUSTED is told
        numbered.tell(code="BUFFERS_EXHAUSTED", aix_bits=8, session_id=session.session_id, mode=TARGET)
        event = stream.wait_code("BUFFERS_EXHAUSTED")
        check_equal((event.events, event.mode, event.correlator), (8, TARGET, b"ev"))
        agent.target_received(session, b"stale", generation=session.generation + 1)
        agent.target_received(session, b"fresh")
        check_equal(stream.wait_data(17)[16].data, b"fresh")
        check_result(stream.stop(session))


if __name__ == "__main__":
    run_tests(globals())
