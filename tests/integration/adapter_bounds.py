# SPDX-License-Identifier: Apache-2.0
"""Floods of the Adapter face: every bound is met with RESOURCE_EXHAUSTED by who floods, and by nobody else."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from adapter_stream import *  # noqa: E402,F403

LIMITS = ("limits: {adapter: {sessions: 12, sessions_per_principal: 8, streams_per_principal: 4, waits_per_principal: 5, "
          "operations_per_principal: 6}}\n")
MANY = [make_device(target, lun) for target in range(1, 5) for lun in range(8)]


@contextlib.contextmanager
def flooded():
    """Two principals: the one of `stream` floods, the one of `other` must not notice."""
    with unix_face(KERNEL_ON_UNIX + LIMITS, devices=MANY) as (broker, agent, stream, channel), \
            AdapterStream(broker, channel) as other:
        session = other.started(4, 7)
        check_result(other.register(session))
        yield broker, agent, stream, other, session


def still_served(broker, agent, other, session):
    check_result(other.test_unit_ready(session))
    check_equal(other.pending(session), 0)
    check_result(other.wait_pri(session, timeout_ms=0))
    another = other.started(4, 6)
    check_result(other.register(another))
    check_result(other.stop(another))


def exhausted(result, *texts):
    check_result(result, "ENOMEM", "RESOURCE_EXHAUSTED", *texts)


def test_sessions_of_a_principal_have_a_bound():
    with flooded() as (broker, agent, stream, other, session):
        results = [check_result(stream.start(1, n)) for n in range(8)]
        ids = [stream.send(start=A.Start(address=address(2, n % 8))) for n in range(1000)]
        results += [stream.result(i) for i in ids]
        for result in results[8:]:
            exhausted(result, "8")
        still_served(broker, agent, other, session)
        check_result(stream.stop(results[0].start))
        check_result(stream.start(1, 0))


def test_sessions_of_all_have_a_bound():
    with flooded() as (broker, agent, stream, other, session):
        for n in range(8):
            stream.started(1, n)
        for n in range(3):
            other.started(2, n)
        exhausted(other.start(2, 3), "12")


def test_registrations_are_bounded_by_sessions_and_operations():
    # rule 4 under a flood: the one chance of each session is used once
    with flooded() as (broker, agent, stream, other, session):
        sessions = [stream.started(1, n) for n in range(8)]
        agent.answers["event"] = SILENCE
        ids = [stream.send(event=A.RegisterEvent(session_id=s.session_id, mode=INITIATOR)) for s in sessions]
        for request in ids[6:]:
            exhausted(stream.result(request), "6")
        wait_until(lambda: len(agent.operated("event")) == 7, "the registrations at the agent")
        agent.answers.pop("event")
        still_served(broker, agent, other, session)
        for operation in agent.operated("event")[1:7]:
            agent.result(operation)
        for request in ids[:6]:
            check_result(stream.result(request))
        for one in sessions[6:]:
            check_result(stream.register(one))  # A2: ENOMEM did not use up the chance
        for one in sessions:
            check_result(stream.register(one), "EINVAL", "ALREADY_REGISTERED")


def test_operations_of_a_principal_have_a_bound():
    with flooded() as (broker, agent, stream, other, session):
        mine = stream.started(1, 0)
        agent.answers["inquiry"] = SILENCE
        ids = [stream.send(inquiry=A.Inquiry(session_id=mine.session_id)) for _ in range(1000)]
        for request in ids[6:]:
            exhausted(stream.result(request))
        still_served(broker, agent, other, session)
        for operation in agent.operated("inquiry"):
            agent.result(operation)
        for request in ids[:6]:
            check_result(stream.result(request))


def test_waits_of_a_principal_have_a_bound():
    # rule 25: a wait that cannot be is answered, too
    with flooded() as (broker, agent, stream, other, session):
        mine = stream.started(1, 0)
        wait = A.WaitPri(session_ids=[mine.session_id], timeout_ms=-1)
        ids = [stream.send(wait_pri=wait) for _ in range(1000)]
        for request in ids[5:]:
            exhausted(stream.result(request), "5")
        still_served(broker, agent, other, session)
        check_result(stream.stop(mine))
        for request in ids[:5]:
            check_equal(list(check_result(stream.result(request)).wait_pri.closed), [mine.session_id])


def test_streams_of_a_principal_have_a_bound():
    with flooded() as (broker, agent, stream, other, session):
        more = [AdapterStream(broker) for _ in range(3)]
        for one in more:
            check_result(one.ask(ioc_info=A.IocInfo(host="agent-1")))
        for _ in range(5):
            with AdapterStream(broker) as refused, expect_status(grpc.StatusCode.RESOURCE_EXHAUSTED, "plaintext", "4"):
                refused.until_end()
        still_served(broker, agent, other, session)
        more.pop().cancel()
        wait_until(lambda: broker.counters()["sensebus_adapter_streams_open"] == 4, "the stream to be gone")
        with AdapterStream(broker) as again:
            check_result(again.ask(ioc_info=A.IocInfo(host="agent-1")))
        for one in more:
            one.cancel()


def test_who_takes_no_replies_is_not_read_until_he_does():
    # replies are not read for a while: requests are held or not taken from the sender, and all are answered once in the end
    with flooded() as (broker, agent, stream, other, session):
        channel = broker.channel(**{"grpc.http2.bdp_probe": 0, "grpc.http2.lookahead_bytes": 65536})
        with AdapterStream(broker, channel) as deaf:
            mine = deaf.started(1, 0)
            deaf.reading.clear()
            n = 40_000
            for _ in range(n):
                deaf.send(tm_event=A.TmEvent(session_id=mine.session_id, peek=True))
            still_served(broker, agent, other, session)
            deaf.reading.set()
            for so_far in range(1000, n + 1, 1000):  # each thousand has its time
                deaf.wait(lambda: len(deaf.results) > so_far, f"reply {so_far}")
            check_equal(len(deaf.results), n + 1, "replies")


def test_many_records_for_many_sessions_hold_up_nobody():
    # each of the records is about all sessions of the host: telling them takes its time, and the others have theirs
    devices = [make_device(target, lun) for target in range(1, 41) for lun in range(50)]
    with face(devices=devices) as (broker, agent, stream):
        for part in (devices[:1000], devices[1000:]):  # no more operations at once than one may have
            ids = [stream.send(start=A.Start(address=address(d.address.target, d.address.lun))) for d in part]
            last = [check_result(stream.result(i)).start for i in ids][-1]
        members = dict(code="ADAPTER_ADDED", lun=-1, aix_bits=4)
        events = [make_event(agent.host, agent.epoch, n, **members) for n in range(1, 60_001)]
        for event in events:
            event.scope = event_pb2.SCOPE_HOST
        admin, slowest = broker.admin(), 0
        before = broker.info().newest.sequence
        for at in range(0, len(events), 1000):
            agent.publish(*events[at:at + 1000])
        while agent.acked() < len(events):
            watch = Stopwatch(broker)
            admin.ListAgents(admin_pb2.ListAgentsRequest(), timeout=LIMIT_S)
            slowest = max(slowest, watch.seconds())
        print(f"somebody else waited {slowest:.2f} s", flush=True)
        check(slowest < 3, f"somebody else waited {slowest:.1f} s")
        wait_until(lambda: broker.info().newest.sequence >= before + len(events), "the log")
        check_equal(stream.pending(last), 4)


def test_sessions_that_come_and_go_do_not_fill_the_log_file():
    # the log of events has every start and stop; lines of the log file are for people
    with face() as (broker, agent, stream):
        n = 150
        for _ in range(n):
            check_result(stream.stop(stream.started()))
        wait_until(lambda: broker.info().newest.sequence >= 1 + 2 * n, "every start and stop in the log")
        lines = broker.log().count("session.changed")
        check(50 <= lines <= 2 * n * 2 // 3, f"{lines} lines")


if __name__ == "__main__":
    run_tests(globals())
