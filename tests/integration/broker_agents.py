# SPDX-License-Identifier: Apache-2.0
"""Agents: attach, publish, repeats, holes, refusals, loss and return, seen by a synthetic agent on a stock client."""
import concurrent.futures
import contextlib
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from sensebus_testlib import *  # noqa: E402,F403

ADMIN = admin_pb2


def listed_agent(broker, host="agent-1"):
    agents = broker.admin().ListAgents(ADMIN.ListAgentsRequest(), timeout=LIMIT_S).agents
    return next(a for a in agents if a.host == host)


def test_welcome_says_how_to_talk():
    with Broker("--agent-heartbeat", "7s") as broker, FakeAgent(broker) as agent:
        welcome = agent.welcome()
        check_equal(welcome.version, 1)
        check_equal(welcome.heartbeat_ms, 7000)
        check_equal(welcome.committed_source_sequence, 0)
        check_equal(welcome.log_epoch, broker.info().newest.epoch)
        check(welcome.maximum_message_bytes > 0 and welcome.maximum_event_bytes > 0 and welcome.window_events > 0)


def test_hello_is_checked_by_member():
    with Broker() as broker:
        def refused(text, first=None, **members):
            agent = FakeAgent(broker, attach=False)
            if first is not None:
                agent.send(first)
            else:
                agent.hello(**members)
            with expect_status(grpc.StatusCode.INVALID_ARGUMENT, text):
                agent.until_end()
            agent.vanish()

        refused("version", version=2)
        refused("host", host="")
        refused("host", host="no spaces")
        refused("epoch", agent_epoch=0)
        refused("instance", instance=0)
        refused("hello", first=agents_pb2.AgentMessage(heartbeat=agents_pb2.Heartbeat()))
        refused("hello", first=agents_pb2.AgentMessage(publish=agents_pb2.Publish()))
        refused("hello", first=agents_pb2.AgentMessage())
        with FakeAgent(broker) as agent:
            agent.hello()
            with expect_status(grpc.StatusCode.INVALID_ARGUMENT, "comes once"):
                agent.until_end()


def test_repeats_are_taken_once():
    with Broker() as broker, FakeAgent(broker) as agent:
        agent.publish_range(1, 50)
        agent.publish_range(11, 60)
        agent.wait_acked(60)
        check_equal([e.origin.source_sequence for e in broker.read_all()[1:]], list(range(1, 61)))
        agent.publish_range(1, 60)
        wait_until(lambda: listed_agent(broker).n_duplicates == 100, "the repeats to be counted")
        check_equal(len(broker.read_all()), 61)


def test_resend_of_only_known_records_is_acknowledged():
    with Broker() as broker:
        with FakeAgent(broker, epoch=5) as agent:
            agent.publish_range(1, 10)
            agent.wait_acked(10)
        wait_until(lambda: listed_agent(broker).state == ADMIN.AGENT_STATE_LOST, "its loss")
        with FakeAgent(broker, epoch=5) as agent:
            check_equal(agent.welcome().committed_source_sequence, 10)
            agent.publish_range(5, 10)
            agent.wait_acked(10)


def test_another_epoch_is_another_numbering():
    with Broker() as broker:
        for epoch in (5, 6):
            with FakeAgent(broker, epoch=epoch) as agent:
                check_equal(agent.welcome().committed_source_sequence, 0)
                agent.publish_range(1, 3)
                agent.wait_acked(3)
            wait_until(lambda: listed_agent(broker).state == ADMIN.AGENT_STATE_LOST, "its loss")
        events = [e for e in broker.read_all() if e.code == code_pb2.LUN_RESET]
        check_equal([(e.origin.agent_epoch, e.origin.source_sequence) for e in events],
                    [(5, 1), (5, 2), (5, 3), (6, 1), (6, 2), (6, 3)])


def test_a_hole_becomes_an_events_lost_record():
    with Broker() as broker, FakeAgent(broker) as agent:
        agent.publish_range(1, 5)
        agent.publish_range(9, 10)
        agent.wait_acked(10)
        events = broker.read_all()[1:]
        lost = events[5]
        check_equal(code_pb2.Code.Name(lost.code), "EVENTS_LOST")
        check_equal((lost.loss.stage, lost.loss.count, lost.loss.first_source_sequence, lost.loss.last_source_sequence),
                    (event_pb2.LOSS_STAGE_WIRE, 3, 6, 8))
        check_equal(lost.origin.host, agent.host)
        check_equal(lost.origin.source, event_pb2.SOURCE_BROKER)
        check_equal([e.origin.source_sequence for e in events[6:]], [9, 10])


def test_events_lost_of_the_agent_fills_its_own_hole():
    with Broker() as broker, FakeAgent(broker) as agent:
        agent.publish_range(1, 2)
        loss = event_pb2.Loss(stage=event_pb2.LOSS_STAGE_AGENT, count=5, aix_bits=4, first_source_sequence=3,
                              last_source_sequence=7)
        agent.publish(make_event(agent.host, agent.epoch, 8, code="EVENTS_LOST", loss=loss))
        agent.wait_acked(8)
        check_equal(code_names(broker.read_all()), ["AGENT_CONNECTED", "LUN_RESET", "LUN_RESET", "EVENTS_LOST"])


def test_a_refused_event_is_named_and_the_ones_behind_go_on():
    with Broker() as broker, FakeAgent(broker) as agent:
        foreign = make_event("someone-else", agent.epoch, 2)
        stale = make_event(agent.host, agent.epoch ^ 1, 3)
        numbered = make_event(agent.host, agent.epoch, 4)
        numbered.sequence = 77
        nothing = make_event(agent.host, agent.epoch, 5, code=0)
        forged = make_event(agent.host, agent.epoch, 6)
        forged.origin.source = event_pb2.SOURCE_BROKER
        said = make_event(agent.host, agent.epoch, 8)  # by a program, through sdi_xaen
        said.origin.source = event_pb2.SOURCE_SUBSCRIBER
        ended = [make_event(agent.host, agent.epoch, 9 + n, code=code) for n, code in
                 enumerate(("AGENT_LOST", "AGENT_CONNECTED", "REGISTRATION_CANCELLED", "BROKER_STOPPING"))]
        long = make_event(agent.host, agent.epoch, 7, summary="x" * 70000)
        agent.publish(make_event(agent.host, agent.epoch, 1), foreign, stale, numbered, nothing, forged, long, said,
                      *ended, make_event(agent.host, agent.epoch, 13))
        agent.wait_acked(13)
        reasons = {r.source_sequence: r.reason for r in agent.refused()}
        check_equal(sorted(reasons), list(range(2, 13)), "refused")
        for sequence, text in ((2, "host"), (3, "epoch"), (4, "sequence"), (5, "code"), (6, "source"), (8, "source"),
                               (9, "AGENT_LOST"), (10, "AGENT_CONNECTED"), (11, "REGISTRATION_CANCELLED"),
                               (12, "BROKER_STOPPING")):
            check(text in reasons[sequence], reasons[sequence])
        events = broker.read_all()[1:]
        check_equal(code_names(events), ["LUN_RESET"] + ["EVENTS_LOST"] * 11 + ["LUN_RESET"])
        check_equal([e.loss.first_source_sequence for e in events[1:12]], list(range(2, 13)))
        check_equal(listed_agent(broker).n_refused, 11)
        agent.publish(foreign)
        agent.publish(make_event(agent.host, agent.epoch, 14))
        agent.wait_acked(14)
        check_equal(len(broker.read_all()), 15, "records after a refused one came again")


def test_an_impossible_number_is_refused_and_the_ones_behind_go_on():
    with Broker() as broker, FakeAgent(broker) as agent:
        agent.publish(*[make_event(agent.host, agent.epoch, n) for n in (1, 2, (1 << 63) + 5, 3, 4)])
        agent.wait_acked(4)
        check_equal([r.source_sequence for r in agent.refused()], [(1 << 63) + 5])
        check_equal(code_names(broker.read_all()[1:]), ["LUN_RESET"] * 2 + ["EVENTS_LOST"] + ["LUN_RESET"] * 2)


def test_invalid_utf8_is_refused_and_never_reaches_a_subscriber():
    with Broker() as broker, FakeAgent(broker, attach=False) as probe:
        probe.vanish()
        good = make_event("agent-1", 9, 1, summary="AAAA").SerializeToString()
        bad = good.replace(b"AAAA", b"A\xff\xfeA")
        event = b"\x12" + bytes([len(bad) & 0x7f | 0x80, len(bad) >> 7]) + bad
        publish = b"\x12" + bytes([len(event) & 0x7f | 0x80, len(event) >> 7]) + event
        hello = agents_pb2.AgentMessage(hello=agents_pb2.Hello(version=1, host="agent-1", agent_epoch=9, instance=1))
        call = broker.channel().stream_stream("/sensebus.v1.Agents/Attach", request_serializer=lambda b: b,
                                              response_deserializer=agents_pb2.BrokerMessage.FromString)
        outgoing = queue.Queue()
        answers = call(iter(outgoing.get, None), timeout=LIMIT_S)
        outgoing.put(hello.SerializeToString())
        outgoing.put(publish)
        refused = next(m.refused for m in answers if m.HasField("refused"))
        check_equal(refused.source_sequence, 1)
        check("summary" in refused.reason and "UTF-8" in refused.reason, refused.reason)
        answers.cancel()
        outgoing.put(None)
        wait_until(lambda: "EVENTS_LOST" in code_names(broker.read_all()), "EVENTS_LOST")


def test_garbage_ends_the_stream_with_a_clear_error():
    with Broker() as broker:
        call = broker.channel().stream_stream("/sensebus.v1.Agents/Attach", request_serializer=lambda b: b,
                                              response_deserializer=agents_pb2.BrokerMessage.FromString)
        hello = agents_pb2.AgentMessage(hello=agents_pb2.Hello(version=1, host="h", agent_epoch=9, instance=1))
        for garbage, text in ((b"\x12\x03\xff\xff\xff", "publish"), (b"\xff\xff\xff", "AgentMessage"),
                              (b"\xe8\x04\x01", "unknown field 77"), (b"\x12\x02\x0a\x00", "publish")):
            with expect_status(grpc.StatusCode.INVALID_ARGUMENT, text):
                list(call(iter([hello.SerializeToString(), garbage]), timeout=LIMIT_S))


def test_messages_beyond_their_size_are_refused_by_size():
    with Broker() as broker:
        for n_bytes, text in ((1 << 20, "publish: "), (5 << 20, "")):
            with FakeAgent(broker) as agent:
                events = [make_event(agent.host, agent.epoch, n, summary="x" * 250)
                          for n in range(1, n_bytes // 300 + 2)]
                agent.publish(*events)
                with expect_status(grpc.StatusCode.RESOURCE_EXHAUSTED, text):
                    agent.until_end()
        check("LUN_RESET" not in code_names(broker.read_all()), "a part of a refused message was taken")


def test_a_second_agent_of_the_same_host_is_refused_naming_the_first():
    with Broker() as broker, FakeAgent(broker, instance=1) as first:
        second = FakeAgent(broker, instance=2, attach=False)
        second.hello()
        with expect_status(grpc.StatusCode.ALREADY_EXISTS, first.host, "127.0.0.1:"):
            second.until_end()
        second.vanish()
        first.publish_range(1, 3)
        first.wait_acked(3)
        check_equal(code_names(broker.read_all()), ["AGENT_CONNECTED"] + ["LUN_RESET"] * 3)


def test_the_same_process_may_come_again():
    with Broker() as broker, FakeAgent(broker, instance=1, epoch=3) as first:
        first.publish_range(1, 3)
        first.wait_acked(3)
        with FakeAgent(broker, instance=1, epoch=3) as again:
            check_equal(again.welcome().committed_source_sequence, 3)
            with expect_status(grpc.StatusCode.ABORTED, "superseded"):
                first.until_end()
            again.publish_range(4, 5)
            again.wait_acked(5)
            check_equal(code_names(broker.read_all()), ["AGENT_CONNECTED"] + ["LUN_RESET"] * 5, "no loss, no return")


def test_gone_without_a_word_is_lost_and_its_return_is_told():
    with Broker() as broker, Subscription(broker) as s:
        s.wait_control("synced")
        with FakeAgent(broker) as agent:
            agent.publish_range(1, 2)
            agent.wait_acked(2)
        lost = s.wait_events(4)[3]
        check_equal(code_pb2.Code.Name(lost.code), "AGENT_LOST")
        check_equal((lost.severity, lost.scope), (event_pb2.SEVERITY_ERROR, event_pb2.SCOPE_HOST))
        check_equal((lost.origin.host, lost.origin.source), ("agent-1", event_pb2.SOURCE_BROKER))
        check_equal(listed_agent(broker).state, ADMIN.AGENT_STATE_LOST)
        with FakeAgent(broker):
            check_equal(code_names(s.wait_events(5))[4], "AGENT_CONNECTED")
            check_equal(listed_agent(broker).state, ADMIN.AGENT_STATE_ATTACHED)


def test_detach_is_no_loss():
    with Broker() as broker:
        agent = FakeAgent(broker)
        agent.publish_range(1, 2)
        agent.wait_acked(2)
        agent.detach()
        agent.until_end()
        agent.vanish()
        wait_until(lambda: listed_agent(broker).state == ADMIN.AGENT_STATE_DETACHED, "the state DETACHED")
        check_equal(code_names(broker.read_all()), ["AGENT_CONNECTED", "LUN_RESET", "LUN_RESET"])


def test_a_silent_agent_is_lost():
    with Broker("--agent-heartbeat", "200ms") as broker, FakeAgent(broker) as agent:
        with expect_status(grpc.StatusCode.DEADLINE_EXCEEDED, "silent"):
            agent.until_end()
        wait_until(lambda: code_names(broker.read_all())[-1] == "AGENT_LOST", "AGENT_LOST")


def test_heartbeats_keep_an_agent():
    with Broker("--agent-heartbeat", "900ms") as broker, FakeAgent(broker) as agent:
        for n in range(20):
            agent.heartbeat(newest=n, commands={"INQUIRY": n}, dropped=n)
            time.sleep(0.2)  # the promise is about time: four seconds are more than three heartbeats
        check(not agent.ended.is_set())
        wait_until(lambda: listed_agent(broker).newest_source_sequence == 19, "the heartbeat in the list")
        check_equal(listed_agent(broker).n_dropped, 19)
        check_equal(listed_agent(broker).commands["INQUIRY"], 19)


def test_a_broker_that_was_held_up_blames_no_agent():
    """What was said meanwhile waits in the socket, and the clock is looked at first."""
    with Broker("--agent-heartbeat", "1s") as broker, FakeAgent(broker) as agent:  # which sends its heartbeats by itself
        broker.wait_newest(1)
        broker.process.send_signal(signal.SIGSTOP)
        time.sleep(4)  # more than three heartbeats
        broker.process.send_signal(signal.SIGCONT)
        agent.publish_range(1, 1)
        agent.wait_acked(1)
        check_equal(code_names(broker.read_all()), ["AGENT_CONNECTED", "LUN_RESET"])


def test_coverage_and_inventory_are_listed():
    with Broker() as broker, FakeAgent(broker, host="db-1") as agent:
        agent.send(agents_pb2.AgentMessage(coverage=agents_pb2.Coverage(sources=[agents_pb2.SourceCoverage(
            source=event_pb2.SOURCE_ISCSI, instance="iqn.x:t0", state=agents_pb2.SOURCE_STATE_ARMED)])))
        devices = [agents_pb2.InventoryDevice(
            address=event_pb2.Address(adapter="iscsi0", bus=-1, target=0, lun=lun, controller=-1),
            device=event_pb2.Device(vendor="IET", target_name="iqn.x:t0"), n_blocks=2048, block_bytes=512,
            state="ready") for lun in range(25)]
        agent.send(agents_pb2.AgentMessage(inventory=agents_pb2.Inventory(devices=devices)))
        wait_until(lambda: listed_agent(broker, "db-1").n_devices == 25, "the inventory")
        check_equal(listed_agent(broker, "db-1").sources[0].instance, "iqn.x:t0")
        luns, token, stub = [], "", broker.admin()
        while True:
            page = stub.ListDevices(ADMIN.ListDevicesRequest(page_size=10, page_token=token, hosts=["db-*"]),
                                    timeout=LIMIT_S)
            luns += [d.device.address.lun for d in page.devices]
            check(all(d.host == "db-1" and d.agent_attached for d in page.devices))
            token = page.next_page_token
            if not token:
                break
        check_equal(sorted(luns), list(range(25)))
        with expect_status(grpc.StatusCode.INVALID_ARGUMENT, "page_size"):
            stub.ListDevices(ADMIN.ListDevicesRequest(page_size=10001), timeout=LIMIT_S)


def flood(agent, over, window=10000, most=100000):
    """Records as fast as the broker takes them, a window of them unacknowledged, until it is `over`. Returns the last."""
    last = 0
    while not over.is_set():
        if last - agent.acked() >= window or last >= most:
            time.sleep(0.001)
            continue
        agent.publish_range(last + 1, last + 500)
        last += 500
    return last


def test_a_flood_of_one_agent_starves_no_other():
    rounds = 5
    with Broker() as broker, contextlib.ExitStack() as stack:
        flooder = stack.enter_context(FakeAgent(broker, host="flooder"))
        quiet = [stack.enter_context(FakeAgent(broker, host=f"quiet-{n}")) for n in range(15)]
        over = threading.Event()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            flooded = pool.submit(flood, flooder, over)
            try:
                wait_until(lambda: flooder.acked() > 0, "the flood to begin")
                for n in range(1, rounds + 1):
                    before = flooder.acked()
                    for agent in quiet:
                        agent.publish_range(n, n)
                    for agent in quiet:
                        agent.wait_acked(n)
                    between = flooder.acked() - before
                    check(between <= 2 * 65536, f"{between} records of the flood went before one of the others")
            finally:
                over.set()
        flooder.wait_acked(flooded.result())
        of = {}
        for event in broker.read_all():
            if event.code == code_pb2.LUN_RESET:
                of.setdefault(event.origin.host, []).append(event.origin.source_sequence)
        check_equal(of.pop("flooder"), list(range(1, flooded.result() + 1)))
        check_equal(of, {agent.host: list(range(1, rounds + 1)) for agent in quiet})


def test_agents_attached_before_a_restart_are_expected_back():
    with Broker("--agent-grace", "3s") as broker:
        returns = FakeAgent(broker, host="returns", epoch=1, instance=11)
        restarted = FakeAgent(broker, host="restarted", epoch=2, instance=12)
        stays_away = FakeAgent(broker, host="stays-away", epoch=3, instance=13)
        detached = FakeAgent(broker, host="detached", epoch=4, instance=14)
        detached.detach()
        wait_until(lambda: listed_agent(broker, "detached").state == ADMIN.AGENT_STATE_DETACHED, "DETACHED")
        wait_until(lambda: len(broker.read_all()) == 4, "four AGENT_CONNECTED")
        broker.kill()
        for agent in (returns, restarted, stays_away, detached):
            agent.vanish()
        began = time.monotonic()
        broker.restart()
        with FakeAgent(broker, host="returns", epoch=1, instance=11), \
                FakeAgent(broker, host="restarted", epoch=2, instance=99):
            if time.monotonic() - began > 2.5:
                raise Skip("the machine stood still for longer than agents have to come back")
            wait_until(lambda: "AGENT_LOST" in code_names(broker.read_all()), "AGENT_LOST")
            news = [(e.origin.host, code_pb2.Code.Name(e.code)) for e in broker.read_all()[4:]]
            check_equal(news, [("restarted", "AGENT_CONNECTED"), ("stays-away", "AGENT_LOST")])
            check_equal(listed_agent(broker, "stays-away").state, ADMIN.AGENT_STATE_LOST)
        broker.kill()
        broker.restart()
        check_equal(listed_agent(broker, "detached").state, ADMIN.AGENT_STATE_DETACHED, "over restarts")


if __name__ == "__main__":
    run_tests(globals())
