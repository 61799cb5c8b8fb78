# SPDX-License-Identifier: Apache-2.0
"""The originals' rules where it takes more than one connection, life or identity to see them kept: docs/rules.md. What a
single request is answered is in adapter.py, what a session is told in adapter_events.py."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from adapter_stream import *  # noqa: E402,F403
from pki import Pki  # noqa: E402

RESET, LOST, CANCELLED = (code_pb2.Code.Value(n) for n in ("LUN_RESET", "EVENTS_LOST", "REGISTRATION_CANCELLED"))
SMALL_WINDOWS = {"grpc.http2.bdp_probe": 0, "grpc.http2.lookahead_bytes": 65536}
LARGE = [event_pb2.Native(raw=bytes(4096), raw_length=4096)] * 13  # evidence: such records soon fill a stream
WITH_TARGET_MODE = {"iscsi0": ALL_CAPABILITIES, "tgt1": ("event", "target-mode")}


class Numbered:
    """Publishes an agent's events with its numbers."""

    def __init__(self, agent, first=1):
        self.agent, self.next = agent, first

    def make(self, target=1, **members):
        event = make_event(self.agent.host, self.agent.epoch, self.next, target=target, **members)
        event.mode = event_pb2.MODE_BOTH
        self.next += 1
        return event

    def tell(self, scope=event_pb2.SCOPE_LUN, **members):
        event = self.make(**members)
        event.scope = scope
        self.agent.publish(event)

    def settle(self):
        self.agent.wait_acked(self.next - 1)


def registered(stream, target=1, lun=0, shared=False, **members):
    session = stream.started(target, lun, shared=shared)
    check_result(stream.register(session, **members))
    return session


def of_session(stream, session):
    return [e for e in list(stream.events) if e.session_id == session.session_id]


def codes(events):
    return [code_pb2.Code.Name(e.record.code) for e in events]


def wait_cancelled(stream, session, reason):
    """The last record of the session, and the only one of its kind, says why."""
    stream.wait(lambda: CANCELLED in [e.record.code for e in of_session(stream, session)], f"the end by {reason}")
    events = of_session(stream, session)
    check_equal([e.record.native.name for e in events if e.record.code == CANCELLED], [reason])
    check_equal(events[-1].record.code, CANCELLED, "the last record")
    return events


def wait_inventory(broker, stream, target=1):
    """The agent's units are known: one of them can be started."""
    def ready():
        result = stream.start(target, 1, shared=True)
        return result.error == A.ERRNO_OK and check_result(stream.stop(result.start))
    wait_until(ready, "the agent's units")


# ---------------------------------------------------------------------------------------------------- who asks

def test_kernel_mode_is_proven_by_certificate():
    # rule 1: the certificate counts and no word of the request; EPERM tells nothing about what is there
    roles = """principals:
  - {identity: "uri:sensebus://kernel/*", roles: [kernel]}
  - {identity: "uri:sensebus://reader/*", roles: [reader]}
  - {identity: "uri:sensebus://dev-config/*", roles: [dev-config]}
  - {identity: "plaintext", roles: [agent, reader], hosts: ["*"]}
"""
    with Pki() as pki, face("--listen", "tls://127.0.0.1:0", *pki.broker().listen_options(), plaintext_roles=None,
                            config=roles, adapters=WITH_TARGET_MODE) as (broker, agent, plain):
        with open(broker.port_file) as file:
            where = file.read().split()[1].removeprefix("tls://")

        def connect(role):
            authority, key, chain = pki.issue(role, "me").read()
            channel = grpc.secure_channel(where, grpc.ssl_channel_credentials(authority, key, chain),
                                          options=[("grpc.use_local_subchannel_pool", 1)])
            broker.channels.append(channel)
            return AdapterStream(broker, channel)

        with connect("kernel") as kernel, connect("reader") as reader, connect("dev-config") as config:
            session = registered(kernel)
            check_result(kernel.halt(session))
            check_result(kernel.reset(session))
            target = check_result(kernel.start_target()).start
            check_result(kernel.register(target, TARGET))
            never = A.StartResult(session_id="s1")
            for poor in (reader, plain, config):
                for ask in (poor.register, poor.halt) + ((poor.reset,) if poor is not config else ()):
                    there, not_there = (check_result(ask(s), "EPERM") for s in (session, never))
                    check_equal(there.message, not_there.message, "what it says")
                check_result(poor.start_target(adapter="tgt1"), "EPERM")
                check_equal(poor.start_target(adapter="tgt1").message, poor.start_target(adapter="none").message)
                check_result(poor.stop(target), "EPERM")
            own = config.started(1, 1)
            check_result(config.reset(own))
            check_result(kernel.stop(target))


def test_every_einval_says_which_part_is_wrong():
    # rule 11: each detail in its place, and the message names the member or the state
    with unix_face(KERNEL_ON_UNIX, adapters=WITH_TARGET_MODE, own_ids={"tgt1": ME}) as (broker, agent, stream, channel), \
            AdapterStream(broker, channel) as other:
        session, halted = registered(stream), stream.started(1, 1)
        check_result(stream.halt(halted))
        stop = A.Stop(session_id=session.session_id)
        cases = [
            (stream.ask(version=7, stop=stop), "VERSION", "version: 7"),
            (stream.ask(reserved1=5, stop=stop), "RESERVED", "reserved1: 5"),
            (stream.ask(reserved2=5, stop=stop), "RESERVED", "reserved2: 5"),
            (stream.register(session, TARGET), "MODE", "mode: target"),
            (stream.start(7, 0), "ADDRESS", "agent-1"),
            (stream.start(1, -4), "ADDRESS", "address.lun: -4"),
            (stream.start_target(initiator=ME), "OWN_ID", ME),
            (stream.start_target(n_buffers=3), "BUFFERS", "n_buffers: 3"),
            (stream.start_target(buffer_bytes=5000), "BUFFERS", "buffer_bytes: 5000"),
            (stream.halt(A.StartResult(session_id="never")), "NOT_STARTED", "never"),
            (other.halt(session), "NOT_OWNER", session.session_id),
            (stream.start(1, 0), "ALREADY_STARTED", "plaintext"),
            (stream.register(session), "ALREADY_REGISTERED", session.session_id),
        ]
        for result, detail, text in cases:
            check_result(result, "EINVAL", detail, text)
        told = {r.detail for r, _, _ in cases}
        others = {A.EINVAL_DETAIL_NONE, A.EINVAL_DETAIL_NOT_SUPPORTED, A.EINVAL_DETAIL_HALTED,
                  A.EINVAL_DETAIL_RESOURCE_EXHAUSTED}  # these go with ENXIO and ENOMEM
        check_equal(sorted(told | others), sorted(A.EinvalDetail.values()), "every detail of the contract")
        check_result(stream.inquiry(halted), "ENXIO", "HALTED")


# ---------------------------------------------------------------------------------------------------- what is told

def fields(data):
    """(number, value) of each field of an encoded message: the bytes as they are."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        n = {1: 8, 5: 4}.get(key & 7) or varint()
        yield key >> 3, data[at:at + n]
        at += n


class RawStream(AdapterStream):
    """Keeps the records of its events as bytes."""

    def __init__(self, *arguments):
        self.records = []
        super().__init__(*arguments)

    def decode(self, data):
        for number, event in fields(data):
            self.records += [value for n, value in fields(event) if number == 2 and n == 9]
        return super().decode(data)


def test_every_session_gets_the_same_bytes():
    # rule 18: over two streams, and in the log, with members that no version of ours knows; rule 17
    with face() as (broker, agent, _), RawStream(broker) as one, RawStream(broker) as two:
        sessions = [registered(stream, 1, lun, shared=True, correlator=b"%d" % n)
                    for n, (stream, lun) in enumerate([(one, 0), (two, 0), (one, 1), (two, 1)])]
        event = Numbered(agent).make(lun=-1, code="TARGET_RESET", summary="all units", evidence=LARGE)
        event.scope = event_pb2.SCOPE_TARGET
        event = event_pb2.Event.FromString(event.SerializeToString() + b"\xc2\xbb\x01\x07unknown")
        agent.publish(event)
        for stream in (one, two):
            stream.wait_events(2)
        check_equal(sorted(e.correlator for e in one.events + two.events), [b"0", b"1", b"2", b"3"])
        record = one.records[0]
        check(event.SerializeToString() in record and b"unknown" in record, "the agent's own bytes are in it")
        check(all(r == record for r in one.records + two.records), "the same bytes for each")
        subscribe = broker.channel().unary_stream(
            "/sensebus.v1.Events/Subscribe", request_serializer=events_pb2.SubscribeRequest.SerializeToString)
        batches = list(subscribe(events_pb2.SubscribeRequest(oldest=events_pb2.StartOldest(), stop_at_newest=True),
                                 timeout=LIMIT_S))
        check([value for batch in batches for n, value in fields(batch) if n == 2 and value == record] == [record],
              "the same bytes as in the log, once")
        check_equal(len({e.session_id for e in one.events + two.events}), len(sessions))


def test_a_slow_stream_is_told_once_what_it_lost_and_holds_up_nobody():
    # rule 16: one EVENTS_LOST with count, OR of the bits, first and last time, in its place; rule 17: in order; rule 19
    bits = [1, 2, 4]
    config = Broker.EVERYBODY + "limits: {adapter: {queued_records_per_session: 8}}\n"
    with face(config=config) as (broker, agent, fast), AdapterStream(broker, broker.channel(**SMALL_WINDOWS)) as slow:
        numbered = Numbered(agent)
        session, beside = registered(slow, shared=True, correlator=b"slow"), registered(fast, shared=True)
        slow.reading.clear()
        for n in range(60):
            numbered.tell(aix_bits=bits[n % 3], evidence=LARGE)
            fast.wait_events(n + 1)  # while the other takes nothing
        check_equal([e.record.origin.source_sequence for e in fast.events], list(range(1, 61)), "the fast one's")
        n_lost = slow.listed(broker, session).n_lost
        check(0 < n_lost < 60, f"{n_lost} are lost")
        slow.reading.set()
        slow.wait_code("EVENTS_LOST")
        numbered.tell(aix_bits=0)
        told = 60 - n_lost
        slow.wait_events(told + 2)
        check_equal(codes(slow.events), ["LUN_RESET"] * told + ["EVENTS_LOST", "LUN_RESET"], "what the slow one hears")
        check_equal([e.record.origin.source_sequence for e in slow.events if e.record.code == RESET],
                    list(range(1, told + 1)) + [61])
        lost = slow.events[told]
        missing = fast.events[told:]
        check_equal((lost.record.loss.count, lost.record.count), (n_lost, n_lost))
        check_equal((lost.events, lost.record.loss.aix_bits), (or_of(missing), or_of(missing)))
        check_equal((lost.record.first_time_unix_ns, lost.record.last_time_unix_ns),
                    (missing[0].record.wall_time_unix_ns, missing[59 - told].record.wall_time_unix_ns))
        check_equal((lost.correlator, lost.session_id, lost.generation),
                    (b"slow", session.session_id, session.generation))
        check_equal((slow.pending(session), fast.pending(beside)), (7, 7), "the pending words lost nothing")


def or_of(events):
    word = 0
    for event in events:
        word |= event.events
    return word


def test_registered_is_the_address_of_start_wherever_the_unit_is_now():
    # rule 21: also when the inventory has another number for the target by now; where it is now is in the record
    with face() as (broker, agent, stream):
        numbered = Numbered(agent)
        session = check_result(stream.ask(start=A.Start(address=A.DeviceAddress(
            host="agent-1", target_name="iqn.2026-01.example:t1", target=99, lun=1)))).start
        check_result(stream.register(session, correlator=b"c"))
        check_equal((session.address.adapter, session.address.target, session.address.lun), ("iscsi0", 1, 1))
        agent.inventory(make_device(7, 1, name="iqn.2026-01.example:t1"),
                        make_device(1, 1, name="iqn.2026-01.example:new"), adapters=agent.adapters)
        wait_until(lambda: stream.start(7, 1, shared=True).error == A.ERRNO_OK, "the new inventory")
        numbered.tell(target=7, lun=1, session_id=session.session_id)
        numbered.tell(scope=event_pb2.SCOPE_ADAPTER, target=-1, lun=-1, code="ADAPTER_RESET")
        stream.wait_events(2)
        for event, place in zip(stream.events, ((7, 1), (-1, -1))):
            check_equal(event.registered, session.address)
            check_equal((event.session_id, event.generation, event.mode, event.correlator),
                        (session.session_id, session.generation, INITIATOR, b"c"))
            check_equal((event.record.address.target, event.record.address.lun), place, "where it is now")


def test_a_bit_and_the_unit_attention_that_follows_are_both_told():
    # A11: no window removes the second; each has its own evidence
    with face() as (broker, agent, stream):
        numbered = Numbered(agent)
        session = registered(stream)
        numbered.tell(scope=event_pb2.SCOPE_BUS, code="BUS_RESET", target=-1, lun=-1,
                      native=event_pb2.Native(name="adapter", code=0x1))
        numbered.tell(code="BUS_RESET", sense=event_pb2.Sense(response_code=0x70, key=6, asc=0x29, ascq=2))
        stream.wait_events(2)
        check_equal(codes(stream.events), ["BUS_RESET", "BUS_RESET"])
        check_equal([(e.events, e.record.native.name, e.record.sense.asc) for e in stream.events],
                    [(4, "adapter", 0), (4, "", 0x29)])
        check_equal(stream.pending(session), 4)


# ---------------------------------------------------------------------------------------------------- the end

def test_every_end_has_its_reason():
    # rule 5: the last record, once, with the reason, wherever it was registered; the session is gone for everybody
    with face(adapters=WITH_TARGET_MODE) as (broker, agent, stream):
        numbered = Numbered(agent)
        admin = broker.admin()

        def stop_elsewhere(session):
            with AdapterStream(broker) as other:
                check_result(other.stop(session))

        def removed(code, lun):
            def tell(session):
                scope = event_pb2.SCOPE_TARGET if lun < 0 else event_pb2.SCOPE_LUN
                numbered.tell(scope=scope, code=code, lun=lun, aix_bits=0)
            return tell

        for reason, end in (("STOP", stop_elsewhere), ("DEVICE_REMOVED", removed("DEVICE_REMOVED", 0)),
                            ("TARGET_REMOVED", removed("TARGET_REMOVED", -1)),
                            ("ADAPTER_REMOVED", lambda s: numbered.tell(scope=event_pb2.SCOPE_HOST, target=-1, lun=-1,
                                                                        code="ADAPTER_REMOVED", aix_bits=0)),
                            ("OPERATOR", lambda s: admin.EndSession(admin_pb2.EndSessionRequest(
                                session_id=s.session_id, reason="maintenance"), timeout=LIMIT_S)),
                            ("AGENT_DETACHED", lambda s: agent.detach())):
            session = registered(stream, correlator=reason.encode())
            end(session)
            last = wait_cancelled(stream, session, reason)[-1]
            check_equal((last.correlator, last.generation), (reason.encode(), session.generation))
            check_result(stream.tm_event(session), "EINVAL", "NOT_STARTED")
        with FakeAgent(broker, adapters=WITH_TARGET_MODE, devices=DEVICES) as agent:
            wait_inventory(broker, stream)
            # the starter's stream ends, the registration was made on another of its principal
            with AdapterStream(broker) as starter:
                session = starter.started()
                check_result(stream.register(session))
            wait_cancelled(stream, session, "STREAM_ENDED")
            # an agent that sends more than the buffers hold
            session = check_result(stream.start_target(n_buffers=16)).start
            check_result(stream.register(session, TARGET))
            for _ in range(17):
                agent.target_received(session, b"data")
            wait_cancelled(stream, session, "AGENT_FAULT")
            session = registered(stream)
            agent.vanish()
            wait_cancelled(stream, session, "AGENT_LOST")


def test_what_waits_is_delivered_before_any_end_but_ones_own():
    # rule 5: a stream that is too slow loses nothing by the loss of the agent
    with face() as (broker, agent, fast):
        beside = registered(fast, shared=True)
        with AdapterStream(broker, broker.channel(**SMALL_WINDOWS)) as slow:
            session = registered(slow, shared=True, correlator=b"slow")
            slow.reading.clear()
            numbered = Numbered(agent)
            for _ in range(60):
                numbered.tell(evidence=LARGE)
            fast.wait_events(60)
            check(slow.listed(broker, session).n_delivered < 60, "records wait")
            agent.vanish()
            wait_cancelled(fast, beside, "AGENT_LOST")
            slow.reading.set()
            events = wait_cancelled(slow, session, "AGENT_LOST")
            check_equal(codes(events), ["LUN_RESET"] * 60 + ["REGISTRATION_CANCELLED"])
            check_equal([e.record.origin.source_sequence for e in events[:60]], list(range(1, 61)), "rule 17: in order")


def test_ones_own_stop_is_the_last_thing_on_a_slow_stream_too():
    # rule 5: a full stream is not read; its STOP counts when it is, behind what waits: records, cancellation, reply
    with face() as (broker, agent, fast):
        registered(fast, shared=True)
        with AdapterStream(broker, broker.channel(**SMALL_WINDOWS)) as slow:
            session = registered(slow, shared=True)
            slow.reading.clear()
            numbered = Numbered(agent)
            for _ in range(60):
                numbered.tell(evidence=LARGE)
            fast.wait_events(60)
            check(slow.listed(broker, session).n_delivered < 60, "records wait")
            stop = slow.send(stop=A.Stop(session_id=session.session_id))
            slow.reading.set()
            check_result(slow.result(stop))
            check_equal(codes(wait_cancelled(slow, session, "STOP")), ["LUN_RESET"] * 60 + ["REGISTRATION_CANCELLED"])
            check_equal(slow.order[-2:], ["event", ("result", stop)])


# ---------------------------------------------------------------------------------------------------- lives

@contextlib.contextmanager
def holder(broker):
    """Another program that registers for target 1 unit 0, and then does nothing."""
    process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--hold", broker.address],
                               stdout=subprocess.PIPE, text=True)
    try:
        session = process.stdout.readline().strip()
        check(session, "the program registered")
        yield process, A.StartResult(session_id=session)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def hold(where):
    class There:
        address = where
        channel = Broker.channel
        channels = []
    with AdapterStream(There()) as stream:
        print(registered(stream).session_id, flush=True)
        stream.until_end()


def check_closed(broker, agent, stream, session, limit_s=None):
    wait_until(lambda: session.session_id in [o.session_id for o in agent.operated("close")], "the close at the agent",
               limit_s)
    stream.started(1, 0)  # the place is free

    def trail():
        events = [e for e in broker.read_all() if e.session_id == session.session_id]
        return [(code_pb2.Code.Name(e.code), e.summary) for e in events]
    wait_until(lambda: len(trail()) >= 3, "the end of the session in the log")
    check_equal([code for code, _ in trail()], ["SESSION_STARTED", "REGISTRATION_CANCELLED", "SESSION_STOPPED"])
    check("STREAM_ENDED" in trail()[-1][1], trail()[-1][1])


def test_a_subscriber_that_is_killed_has_closed_its_sessions():
    # rule 6: its end of the connection is the close; nobody waits for it
    with face() as (broker, agent, stream), holder(broker) as (process, session):
        check_result(stream.start(1, 0), "EINVAL", "ALREADY_STARTED")
        process.kill()
        check_closed(broker, agent, stream, session)


def test_a_subscriber_that_is_silent_has_closed_its_sessions():
    # rule 6: it does not answer the keep-alive (20 s, and 20 s more to answer)
    with face() as (broker, agent, stream), holder(broker) as (process, session):
        process.send_signal(signal.SIGSTOP)
        check_closed(broker, agent, stream, session, limit_s=2 * LIMIT_S)
        check_equal(broker.counters()["sensebus_grpc_keepalive_timeouts_total"], 1)


def test_an_agent_that_is_back_at_once_finds_no_session():
    # A19, rule 6: in the same epoch or a new one; nothing reaches a registration of its earlier life
    def lives(broker):
        return sum(e.code == code_pb2.AGENT_CONNECTED for e in broker.read_all())

    for same_epoch in (True, False):
        with face() as (broker, agent, stream):
            old = registered(stream)
            wait_until(lambda: lives(broker) == 1, "AGENT_CONNECTED")
            agent.vanish()
            with FakeAgent(broker, epoch=agent.epoch if same_epoch else None, instance=agent.instance,
                           adapters=ADAPTERS, devices=DEVICES) as back:
                wait_cancelled(stream, old, "AGENT_LOST")
                wait_until(lambda: lives(broker) == 2, "AGENT_CONNECTED tells that START may be tried again")
                wait_inventory(broker, stream)
                numbered = Numbered(back)
                check_result(stream.register(old), "EINVAL", "NOT_STARTED")
                numbered.tell()
                numbered.tell(session_id=old.session_id)
                numbered.settle()
                new = registered(stream)
                check(new.generation > old.generation and new.session_id != old.session_id, "a session of its own")
                numbered.tell()
                numbered.tell(session_id=old.session_id)
                numbered.tell()
                stream.wait(lambda: len(of_session(stream, new)) == 2, "the new session's records")
                check_equal(codes(of_session(stream, old)), ["REGISTRATION_CANCELLED"], "what the old one heard")
                check_equal([e.record.origin.source_sequence for e in of_session(stream, new)], [3, 5])


def test_a_broker_that_was_killed_knows_no_session():
    # A21: killed and started in one breath, with the agent of before
    with face() as (broker, agent, stream):
        old = registered(stream)
        broker.kill()
        with expect_status(grpc.StatusCode.UNAVAILABLE):
            stream.until_end()  # clients are told
        broker.restart()
        with FakeAgent(broker, epoch=agent.epoch, instance=agent.instance, adapters=ADAPTERS, devices=DEVICES) as back, \
                AdapterStream(broker) as again:
            wait_inventory(broker, again)
            for result in (again.register(old), again.tm_event(old), again.stop(old)):
                check_result(result, "EINVAL", "NOT_STARTED")
            new = registered(again)
            numbered = Numbered(back)
            numbered.tell(session_id=old.session_id)
            numbered.tell()
            again.wait(lambda: of_session(again, new), "the record")
            check_equal([e.record.origin.source_sequence for e in again.events], [2])
            check_equal(broker.counters()["sensebus_adapter_records_stale_total"], 1)
            sessions = adapter_pb2_grpc.AdapterStub(broker.channel()).ListSessions(A.ListSessionsRequest(),
                                                                                   timeout=LIMIT_S).sessions
            check_equal([s.session_id for s in sessions], [new.session_id])


def test_no_two_lives_of_a_broker_share_a_generation():
    # A21, rule 2: also when several fit into one second
    generations = []
    with Broker() as broker:
        for _ in range(8):
            with FakeAgent(broker, adapters=ADAPTERS, devices=DEVICES), AdapterStream(broker) as stream:
                wait_until(lambda: stream.start(2, 0).error == A.ERRNO_OK, "the agent's units")
                generations += [stream.started(1, 0).generation, stream.started(1, 1).generation]
            broker.kill()
            broker.restart()
    check_equal(generations, sorted(set(generations)), "the generations")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--hold":
        hold(sys.argv[2])
    else:
        run_tests(globals())
