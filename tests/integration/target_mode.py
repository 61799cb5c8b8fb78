#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Target mode: a real tgtd and a data feed, the agent, the broker, and stock clients of both faces."""
from agent_program import *
from adapter_stream import *

import feed_target
import tgtd
from iscsi_session import Driver

CLIENT = "iqn.2026-01.org.sensebus:driver"
SERVED = "iqn.2026-01.org.sensebus:fed"
REMOTE = "iqn.2026-01.example:remote"
SEEN_BY = event_pb2.SOURCE_TARGET


class Target(tgtd.Tgtd):
    @property
    def management_socket(self):
        return f"{self.environment['TGT_IPC_SOCKET']}.{self.control_port}"

    def set_state(self, state):
        self.admin("--op", "update", "--mode", "target", "--tid", "1", "-n", "state", "-v", state)


def coverage(broker, instance):
    agents = broker.admin().ListAgents(admin_pb2.ListAgentsRequest(), timeout=LIMIT_S).agents
    return next((s for a in agents for s in a.sources if s.source == SEEN_BY and s.instance == instance), None)


def wait_coverage(broker, instance, state):
    value = agents_pb2.SourceState.Value(f"SOURCE_STATE_{state}")
    wait_until(lambda: (c := coverage(broker, instance)) and c.state == value, f"{instance} is {state}")
    return coverage(broker, instance)


@contextlib.contextmanager
def watched():
    """tgtd, a broker, an agent that looks at tgtd ten times a second, a subscription."""
    with Target() as target, Broker("--agent-heartbeat", "1s") as broker:
        options = ["--tgtd", target.management_socket, "--target-poll", "100ms"]
        with Agent(broker, *options) as agent, Subscription(broker) as subscription:
            subscription.wait_control("opened")  # what comes from now on is seen by it
            wait_coverage(broker, "tgtd", "ARMED")
            yield target, broker, agent, subscription


def of_target_mode(subscription):
    return [e for e in subscription.events() if e.origin.source == SEEN_BY]


def what(event):
    return (code_pb2.Code.Name(event.code), event.address.lun if event.address.lun >= 0 else None)


def expect(subscription, *expected):
    """All records of target mode so far, and no others."""
    wait_until(lambda: len(of_target_mode(subscription)) >= len(expected),
               f"{expected}; got {[what(e) for e in of_target_mode(subscription)]}")
    events = of_target_mode(subscription)
    check_equal([what(e) for e in events], list(expected))
    for e in events:
        check_equal(e.mode, TARGET, "mode")
    return events


def test_what_is_there_at_the_start_is_no_event():
    with watched() as (_, broker, _, subscription):
        wait_until(lambda: coverage(broker, "tgtd").last_proof_unix_ns, "a look")
        proof = coverage(broker, "tgtd").last_proof_unix_ns
        wait_until(lambda: coverage(broker, "tgtd").last_proof_unix_ns > proof, "a later look")
        check_equal(of_target_mode(subscription), [])


def test_login_and_logout_of_a_remote_initiator():
    with watched() as (target, broker, _, subscription):
        driver = Driver(target.portal, target=target.name)
        driver.next("login")
        (login,) = expect(subscription, ("REMOTE_LOGIN", None))
        initiator = login.device.target_name
        check(initiator.startswith("iqn."), initiator)
        check_equal((login.address.adapter, login.scope, login.synthetic, login.native.name, login.device.portal),
                    ("tgt1", event_pb2.SCOPE_TARGET, True, "tgtd-state", "127.0.0.1"))
        check(login.address.target >= 0, "the initiator has a number")
        check(target.name in login.native.detail, login.native.detail)
        check_equal(driver.close(), 0)
        _, logout = expect(subscription, ("REMOTE_LOGIN", None), ("REMOTE_LOGOUT", None))
        check_equal((logout.device.target_name, logout.address.target), (initiator, login.address.target))
        again = Driver(target.portal, target=target.name)
        again.next("login")
        third = expect(subscription, ("REMOTE_LOGIN", None), ("REMOTE_LOGOUT", None), ("REMOTE_LOGIN", None))[2]
        check_equal(third.address.target, login.address.target, "the number stays")  # A22
        check_equal(again.close(), 0)


def test_units_that_come_go_and_change_state():
    with watched() as (target, _, _, subscription):
        target.add_lun(5)
        expect(subscription, ("DEVICE_ADDED", 5))
        target.set_online(1, False)
        expect(subscription, ("DEVICE_ADDED", 5), ("DEVICE_OFFLINE", 1))
        target.set_online(1, True)
        expect(subscription, ("DEVICE_ADDED", 5), ("DEVICE_OFFLINE", 1), ("DEVICE_ONLINE", 1))
        target.remove_lun(5)
        events = expect(subscription, ("DEVICE_ADDED", 5), ("DEVICE_OFFLINE", 1), ("DEVICE_ONLINE", 1),
                        ("DEVICE_REMOVED", 5))
        check_equal({(e.address.adapter, e.device.target_name, e.scope) for e in events},
                    {("tgt1", target.name, event_pb2.SCOPE_ADAPTER)})


def test_targets_that_come_go_and_change_state():
    with watched() as (target, broker, _, subscription):
        target.set_state("offline")
        expect(subscription, ("ADAPTER_SUSPENDED", None))
        target.set_state("ready")
        expect(subscription, ("ADAPTER_SUSPENDED", None), ("ADAPTER_RESUMED", None))
        target.admin("--op", "new", "--mode", "target", "--tid", "9", "-T", target.name + ".nine")
        expect(subscription, ("ADAPTER_SUSPENDED", None), ("ADAPTER_RESUMED", None), ("ADAPTER_ADDED", None))
        target.admin("--op", "delete", "--mode", "target", "--tid", "9")
        events = expect(subscription, ("ADAPTER_SUSPENDED", None), ("ADAPTER_RESUMED", None), ("ADAPTER_ADDED", None),
                        ("ADAPTER_REMOVED", None))
        check_equal([(e.address.adapter, e.aix_bits) for e in events[2:]], [("tgt9", 0), ("tgt9", 1)])


def test_a_dead_tgtd_is_one_event_and_coverage_off():
    with watched() as (target, broker, agent, subscription):
        driver = Driver(target.portal, target=target.name)
        driver.next("login")
        expect(subscription, ("REMOTE_LOGIN", None))
        target.kill()
        events = expect(subscription, ("REMOTE_LOGIN", None), ("ADAPTER_FATAL", None))
        check_equal((events[1].address.adapter, events[1].aix_bits), ("tgt1", 1))
        check("refused" in wait_coverage(broker, "tgtd", "OFF").reason, coverage(broker, "tgtd").reason)
        driver.close()
        target.start()
        target.admin("--op", "new", "--mode", "target", "--tid", "1", "-T", target.name)
        wait_coverage(broker, "tgtd", "ARMED")
        # Between the return of tgtd and that of its target a look may find none: then it went and came.
        back = {"ADAPTER_RESET"}, {"ADAPTER_REMOVED", "ADAPTER_ADDED"}
        wait_until(lambda: any(want <= {what(e)[0] for e in of_target_mode(subscription)[2:]} for want in back),
                   "it is back")
        check(agent.running(), "the agent goes on")


def test_without_tgtd_coverage_says_so_and_nothing_else():
    with Broker("--agent-heartbeat", "1s") as broker, \
            Agent(broker, "--tgtd", "/nonexistent/socket.0", "--lio", "/nonexistent", "--target-poll", "100ms"):
        check("no such file" in wait_coverage(broker, "tgtd", "OFF").reason, "the reason")
        wait_until(lambda: "/nonexistent/iscsi" in coverage(broker, "lio").reason, "the folder is named")
        with AdapterStream(broker) as stream:
            check_result(stream.start_target(adapter="tgt1"), "EINVAL", "ADDRESS")


def test_a_session_on_a_served_target_gets_its_events():  # rule 2, rule 4, A4, A22
    with watched() as (target, broker, _, subscription), AdapterStream(broker) as stream:
        info = check_result(stream.ask(ioc_info=A.IocInfo(host="agent-1", adapter="tgt1"))).ioc_info  # rule 13
        check_equal((info.adapter, info.own_id, sorted(info.capabilities)),
                    ("tgt1", target.name, ["event", "target-mode"]))
        driver = Driver(target.portal, target=target.name)
        driver.next("login")
        (login,) = expect(subscription, ("REMOTE_LOGIN", None))
        session = check_result(stream.start_target(login.device.target_name, correlator=b"tm")).start
        check_equal((session.address.adapter, session.address.target_name, session.address.target),
                    ("tgt1", login.device.target_name, login.address.target))
        check_result(stream.register(session, TARGET, correlator=b"mine"))
        target.add_lun(7)
        added = stream.wait_code("DEVICE_ADDED")
        check_equal((added.correlator, added.mode, added.record.address.lun), (b"mine", TARGET, 7))  # rule 7
        check_equal(driver.close(), 0)
        check_equal(stream.wait_code("REMOTE_LOGOUT").record.device.target_name, login.device.target_name)
        target.kill()
        stream.wait_code("ADAPTER_FATAL")
        check_equal(check_result(stream.tm_event(session)).tm_event.events, 1, "TM_FATAL_HDW_ERR")  # rule 24


def test_start_target_says_which_part_is_wrong():  # rule 11, rule 12
    with watched() as (target, broker, _, _), AdapterStream(broker) as stream:
        check_result(stream.start_target(target.name), "EINVAL", "OWN_ID")
        check_result(stream.start_target(adapter="tgt7"), "EINVAL", "ADDRESS")
        check_result(stream.start_target("not-a-name"), "EINVAL", "ADDRESS")
        check_result(stream.start_target(n_buffers=15), "EINVAL", "BUFFERS")
        check_result(stream.start_target(buffer_bytes=4097), "EINVAL", "BUFFERS")
        check_result(stream.start_target(lun=1), "EINVAL", "ADDRESS")
        check_result(stream.start_target(n_buffers=5000, buffer_bytes=512), "ENOMEM", "NONE", "4096")
        check_result(stream.start_target())
        check_result(stream.start_target(), "EINVAL", "ALREADY_STARTED")


# ---------------------------------------------------------------------------------------------------- data

@contextlib.contextmanager
def fed():
    with feed_target.FeedTarget(SERVED) as target, Broker("--agent-heartbeat", "1s") as broker:
        with Agent(broker, *target.option) as agent, AdapterStream(broker) as stream:
            wait_coverage(broker, "feed", "ARMED")
            info = check_result(stream.ask(ioc_info=A.IocInfo(host="agent-1", adapter="feed0"))).ioc_info
            check_equal(info.own_id, SERVED)
            yield target, broker, agent, stream


def release(stream, session, n):
    return stream.ask(release_buffers=A.ReleaseBuffers(session_id=session.session_id, n_buffers=n))


def received(stream, session):
    return b"".join(d.data for d in stream.data if d.session_id == session.session_id)


def test_data_arrives_in_buffers_with_the_correlator():
    with fed() as (target, _, _, stream):
        session = check_result(stream.start_target(REMOTE, "feed0", buffer_bytes=100, correlator=b"\x00tm")).start
        target.write(SERVED, REMOTE, bytes(range(250)))
        target.write(SERVED, "iqn.2026-01.example:other", b"for nobody")
        target.write(SERVED, REMOTE, b"end")
        stream.wait_data(4)
        check_equal([len(d.data) for d in stream.data], [100, 100, 50, 3])
        check_equal(received(stream, session), bytes(range(250)) + b"end")
        check_equal({(d.correlator, d.generation) for d in stream.data}, {(b"\x00tm", session.generation)})
        wait_until(lambda: target.n_done == 3, "the target hears that all is done")


def test_held_buffers_hold_off_and_half_of_them_free_go_on():  # rule 22, rule 23, A12
    with fed() as (target, broker, _, stream), Subscription(broker) as subscription:
        subscription.wait_control("opened")
        session = check_result(stream.start_target(REMOTE, "feed0", buffer_bytes=512, n_buffers=16)).start
        check_result(stream.register(session, TARGET, correlator=b"x"))
        data = random.randbytes(64 * 512)
        for at in range(0, len(data), 2048):
            target.write(SERVED, REMOTE, data[at:at + 2048])
        stream.wait_data(16)
        wait_until(lambda: target.n_done >= 4, "the target to hear of all that are full")
        exhausted = stream.wait_code("BUFFERS_EXHAUSTED")
        check_equal((exhausted.events, exhausted.correlator), (8, b"x"), "TM_BUFS_EXHAUSTED")
        check_equal(check_result(stream.wait_pri(session)).wait_pri.ready, [session.session_id])  # rule 25
        check_equal(check_result(stream.tm_event(session)).tm_event.events, 8)  # rule 24
        check_result(release(stream, session, 7))
        check_result(stream.test_unit_ready(session), "EINVAL", "MODE")  # a round trip: nothing came meanwhile
        check_equal((len(stream.data), target.n_done), (16, 4), "held off below half")
        check_result(release(stream, session, 1))
        stream.wait_code("BUFFERS_RESUMED")
        stream.wait_code("BUFFERS_EXHAUSTED", 2)
        check_equal(len(stream.data), 24)
        released = 8
        while len(received(stream, session)) < len(data):
            n = len(stream.data)
            check_result(release(stream, session, n - released))
            released = n
            stream.wait_data(n + 1)
        check_equal(received(stream, session), data, "nothing is lost")
        wait_until(lambda: target.n_done == 16, "all is done")
        codes = [code_pb2.Code.Name(e.record.code) for e in stream.events]
        check_equal(codes, ["BUFFERS_EXHAUSTED", "BUFFERS_RESUMED"] * (len(codes) // 2) +
                    ["BUFFERS_EXHAUSTED"] * (len(codes) % 2), "strictly in turns")
        records = [e for e in of_target_mode(subscription) if e.code == code_pb2.BUFFERS_EXHAUSTED]
        check_equal({(e.session_id, e.mode, e.aix_bits) for e in records}, {(session.session_id, TARGET, 8)})


def test_stop_frees_all_buffers_also_held_ones():
    with fed() as (target, _, _, stream):
        session = check_result(stream.start_target(REMOTE, "feed0", buffer_bytes=10)).start
        target.write(SERVED, REMOTE, bytes(400))
        target.write(SERVED, REMOTE, b"next")
        stream.wait_data(16)
        check_result(stream.stop(session))
        wait_until(lambda: target.n_done == 2, "what was for it alone is done")
        again = check_result(stream.start_target(REMOTE, "feed0", buffer_bytes=10)).start
        target.write(SERVED, REMOTE, b"fresh")
        stream.wait(lambda: received(stream, again) == b"fresh", "fresh buffers")


def test_a_feed_that_comes_back_sends_again_what_was_not_done():
    with fed() as (target, broker, _, stream):
        session = check_result(stream.start_target(REMOTE, "feed0", buffer_bytes=100)).start
        target.write(SERVED, REMOTE, b"a" * 1000)
        target.write(SERVED, REMOTE, b"b" * 1000)
        stream.wait_data(16)
        wait_until(lambda: target.n_done == 1, "the first write is done")
        target.drop()
        check_result(release(stream, session, 16))  # held off, the agent does not read, and so sees no end
        wait_until(lambda: target.n_connections == 2, "the agent comes back")
        stream.wait(lambda: len(received(stream, session)) >= 3000, "the second write, again")
        check_equal(received(stream, session), b"a" * 1000 + b"b" * 2000, "twice, and nothing is lost")
        wait_until(lambda: target.n_done == 2, "all is done")
        wait_coverage(broker, "feed", "ARMED")


def test_a_feed_that_breaks_the_protocol_is_left_and_tried_again():
    with fed() as (target, broker, _, stream):
        session = check_result(stream.start_target(REMOTE, "feed0")).start
        target.send_raw(b"\xff\xff\xff\xff")
        wait_until(lambda: target.n_connections == 2, "the agent comes back")
        wait_coverage(broker, "feed", "ARMED")
        target.write(SERVED, REMOTE, b"still here")
        stream.wait(lambda: received(stream, session) == b"still here", "the session lives on")


def test_what_the_feed_serves_comes_and_goes():
    with fed() as (target, broker, _, stream), Subscription(broker) as subscription:
        subscription.wait_control("opened")
        target.serve(SERVED, SERVED + ".two")
        (added,) = expect(subscription, ("ADAPTER_ADDED", None))
        check_equal((added.address.adapter, added.synthetic, added.native.name), ("feed1", False, "target-feed"))
        wait_until(lambda: stream.start_target(REMOTE, "feed1").error == A.ERRNO_OK, "the broker knows the adapter")
        target.go_away()
        expect(subscription, ("ADAPTER_ADDED", None), ("ADAPTER_FATAL", None), ("ADAPTER_FATAL", None))
        wait_coverage(broker, "feed", "OFF")


def test_the_feed_option_says_what_it_wants():
    for value in ("/no/scheme", "unix:", "tcp:host:1"):
        with refused_start("--target-feed", value) as said:
            check("unix:PATH" in said, said)


if __name__ == "__main__":
    if not tgtd.available():
        print("SKIPPED: tgtd is not installed")
        sys.exit(SKIPPED)
    run_tests(globals())
