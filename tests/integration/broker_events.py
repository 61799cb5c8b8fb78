# SPDX-License-Identifier: Apache-2.0
"""Events: subscribe, resume, filter, limits, cursors and status, seen by a stock client."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from sensebus_testlib import *  # noqa: E402,F403

Position = events_pb2.Position
Filter = events_pb2.Filter


def sequences(events):
    return [event.sequence for event in events]


def filled(broker, n, **members):
    """n events in the log behind the AGENT_CONNECTED of their agent."""
    agent = FakeAgent(broker)
    agent.publish_range(1, n, **members)
    agent.wait_acked(n)
    return agent


def epoch_of(broker):
    return broker.info().newest.epoch


def test_oldest_gives_everything_in_order():
    with Broker() as broker, filled(broker, 250) as agent:
        events = broker.read_all()
        check_equal(sequences(events), list(range(1, 252)), "sequences")
        check_equal(events[0].code, code_pb2.AGENT_CONNECTED)
        check_equal([e.origin.source_sequence for e in events[1:]], list(range(1, 251)))
        times = [e.broker_time_unix_ns for e in events]
        check_equal(times, sorted(times), "broker times")
        check(all(e.origin.host == agent.host for e in events))


def test_now_gives_only_what_comes_after():
    with Broker() as broker, filled(broker, 10) as agent, Subscription(broker, now=events_pb2.StartNow()) as s:
        check_equal(s.wait_control("opened").position.sequence, 11)
        check_equal(s.wait_control("synced").position.sequence, 11)
        agent.publish_range(11, 13)
        check_equal(sequences(s.wait_events(3)), [12, 13, 14])


def test_no_start_means_now():
    with Broker() as broker, filled(broker, 10), Subscription(broker) as s:
        check_equal(s.wait_control("opened").position.sequence, 11)


def test_opened_comes_first_and_synced_after_the_records():
    with Broker() as broker, filled(broker, 10), Subscription(broker, oldest=events_pb2.StartOldest()) as s:
        s.wait_control("synced")
        check(s.batches[0].HasField("opened"))
        check(s.batches[0].opened.subscription, "no subscription id")
        check_equal(s.batches[0].opened.oldest.sequence, 0)
        check_equal(s.batches[0].opened.newest.sequence, 11)
        check(s.batches[-1].HasField("synced"))
        check_equal(len(s.events()), 11)


def test_position_resumes_without_hole_or_repeat():
    with Broker() as broker, filled(broker, 20):
        epoch = epoch_of(broker)
        for at in (0, 1, 7, 20, 21):
            events = broker.read_all(oldest=None, position=Position(epoch=epoch, sequence=at))
            check_equal(sequences(events), list(range(at + 1, 22)), f"behind {at}")


def test_position_of_another_log_is_out_of_range():
    with Broker() as broker, filled(broker, 5):
        epoch = epoch_of(broker)
        other = Position(epoch=epoch ^ 1, sequence=3)
        with expect_status(grpc.StatusCode.OUT_OF_RANGE, "another log", "1..6"):
            broker.read_all(oldest=None, position=other)
        with Subscription(broker, position=other, resume_at_oldest=True, stop_at_newest=True) as s:
            check_equal(sequences(s.until_end()), list(range(1, 7)))
            gap = s.controls("gap")[0]
            check(s.batches[1].HasField("gap"), "the gap comes right behind Opened")
            check_equal(getattr(gap, "from").epoch, epoch ^ 1)
            check(gap.at_least)


def test_position_newer_than_newest_is_out_of_range():
    with Broker() as broker, filled(broker, 5):
        for resume in (False, True):
            with expect_status(grpc.StatusCode.OUT_OF_RANGE, "newer than the newest"):
                broker.read_all(oldest=None, position=Position(epoch=epoch_of(broker), sequence=7),
                                resume_at_oldest=resume)


def test_last_gives_the_newest_that_match():
    with Broker() as broker, FakeAgent(broker) as agent:
        for n in range(1, 301):
            agent.publish(make_event(agent.host, agent.epoch, n, lun=n % 3))
        agent.wait_acked(300)
        check_equal(sequences(broker.read_all(oldest=None, last=5)), [297, 298, 299, 300, 301])
        check_equal(len(broker.read_all(oldest=None, last=100000)), 301)
        pattern = events_pb2.AddressPattern(controller=-1, bus=-1, target=-1, lun=0)
        got = broker.read_all(oldest=None, last=4, filter=Filter(addresses=[pattern]))
        check_equal([e.origin.source_sequence for e in got], [291, 294, 297, 300])
        got = broker.read_all(oldest=None, last=1000, filter=Filter(addresses=[pattern]))
        check_equal(len(got), 100)


def test_since_begins_at_the_first_record_not_before():
    with Broker() as broker, FakeAgent(broker) as agent:
        for n in range(1, 21):
            agent.publish(make_event(agent.host, agent.epoch, n))
            agent.wait_acked(n)
        events = broker.read_all()
        for at in (0, 5, 20):
            since = events[at].broker_time_unix_ns
            want = [e.sequence for e in events if e.broker_time_unix_ns >= since]
            check_equal(sequences(broker.read_all(oldest=None, since_unix_ns=since)), want)
        check_equal(broker.read_all(oldest=None, since_unix_ns=events[-1].broker_time_unix_ns + 1), [])
        check_equal(len(broker.read_all(oldest=None, since_unix_ns=1)), 21)


def test_filters_pick_by_every_member():
    with Broker() as broker, FakeAgent(broker, host="db-07") as agent:
        device = event_pb2.Device(vendor="NETAPP", product="LUN C-Mode", device_type=0, designator="naa.6001405a",
                                  target_name="iqn.2026-01.test:t0")
        agent.publish(make_event("db-07", agent.epoch, 1, lun=1, device=device),
                      make_event("db-07", agent.epoch, 2, code="DEVICE_REMOVED", severity="SEVERITY_ERROR", lun=2,
                                 aix_bits=0),
                      make_event("db-07", agent.epoch, 3, code="BUFFERS_EXHAUSTED", severity="SEVERITY_WARN", lun=3,
                                 aix_bits=8))
        agent.wait_acked(3)

        def picked(**members):
            return [e.origin.source_sequence for e in broker.read_all(filter=Filter(**members))
                    if e.code != code_pb2.AGENT_CONNECTED]

        check_equal(picked(codes=[code_pb2.LUN_RESET, code_pb2.DEVICE_REMOVED]), [1, 2])
        check_equal(picked(categories=[8]), [3])
        check_equal(picked(minimum_severity=event_pb2.SEVERITY_WARN), [2, 3])
        check_equal(picked(hosts=["db-*"], any_aix_bits=12), [1, 3])
        check_equal(picked(hosts=["web-*"]), [])
        check_equal(picked(addresses=[events_pb2.AddressPattern(controller=-1, bus=-1, target=-1, lun=2, lun_last=9)]),
                    [2, 3])
        check_equal(picked(inquiry_prefixes=["NETAPP  LUN"]), [1])
        check_equal(picked(designators=["naa.6001405*"]), [1])
        check_equal(picked(target_names=["*:t0"]), [1])
        check_equal(picked(codes=[203, 402, 801], exclude=[Filter(categories=[2])]), [2, 3])


def test_unknown_fields_and_values_are_refused_by_name():
    with Broker() as broker:
        request = events_pb2.SubscribeRequest(slow_reader_policy=9)
        with expect_status(grpc.StatusCode.INVALID_ARGUMENT, "slow_reader_policy"):
            list(broker.events().Subscribe(request, timeout=LIMIT_S))
        raw = broker.channel().unary_stream("/sensebus.v1.Events/Subscribe", request_serializer=lambda b: b,
                                            response_deserializer=events_pb2.EventBatch.FromString)
        with expect_status(grpc.StatusCode.INVALID_ARGUMENT, "unknown field 77"):
            list(raw(b"\xe8\x04\x01", timeout=LIMIT_S))
        with expect_status(grpc.StatusCode.INVALID_ARGUMENT, "filter"):
            list(raw(b"\x0a\x03\xe8\x04\x01", timeout=LIMIT_S))
        with expect_status(grpc.StatusCode.INVALID_ARGUMENT):
            list(raw(b"\x0a\xff\xff\xff", timeout=LIMIT_S))


def test_bounds_are_refused_by_name():
    with Broker() as broker:
        epoch = epoch_of(broker)

        def refused(text, **request):
            with expect_status(grpc.StatusCode.INVALID_ARGUMENT, text):
                list(broker.events().Subscribe(events_pb2.SubscribeRequest(**request), timeout=LIMIT_S))

        refused("context", context=b"x" * 257)
        refused("last", last=0)
        refused("last", last=100001)
        refused("mark_interval_ms", mark_interval_ms=99)
        refused("mark_interval_ms", mark_interval_ms=3600001)
        refused("snapshot", snapshot=True, oldest=events_pb2.StartOldest())
        refused("snapshot", snapshot=True, position=Position(epoch=epoch))
        refused("cursor", cursor="no spaces please")
        refused("cursor", cursor="x" * 129)
        refused("exclude", filter=Filter(exclude=[Filter(exclude=[Filter(categories=[1])])]))
        with Subscription(broker, context=b"x" * 256, mark_interval_ms=100) as s:
            check_equal(s.wait_control("opened") and s.batches[0].correlator, b"x" * 256)


def test_correlator_is_in_every_batch_bit_for_bit():
    context = bytes(range(256))
    with Broker() as broker, filled(broker, 1000), \
            Subscription(broker, oldest=events_pb2.StartOldest(), context=context, stop_at_newest=True) as s:
        check_equal(len(s.until_end()), 1001)
        check(all(b.correlator == context for b in s.batches))


def test_batches_hold_at_most_64_kib():
    with Broker() as broker, FakeAgent(broker) as agent:
        # In one message, so that large stored values come of it.
        agent.publish(*[make_event(agent.host, agent.epoch, n, summary="x" * 200) for n in range(1, 2001)])
        agent.wait_acked(2000)
        for extra in ({}, {"filter": Filter(hosts=["agent-*"])}):
            with Subscription(broker, oldest=events_pb2.StartOldest(), stop_at_newest=True, **extra) as s:
                check_equal(sequences(s.until_end()), list(range(1, 2002)))
                sizes = [b.ByteSize() for b in s.batches if b.events]
                check(max(sizes) <= 65536, f"a batch of {max(sizes)} bytes")
                check(max(sizes) > 30000, "small batches only")


def test_live_events_reach_all_subscribers_alike():
    with Broker() as broker, FakeAgent(broker) as agent:
        broker.wait_newest(1)
        few = Filter(codes=[code_pb2.LUN_RESET])
        subscriptions = [Subscription(broker, filter=f) for f in (None, few, few, Filter(hosts=["other"]))]
        for s in subscriptions:
            s.wait_control("synced")
        agent.publish_range(1, 500)
        agent.wait_acked(500)
        for s in subscriptions[:3]:
            check_equal([e.origin.source_sequence for e in s.wait_events(500)], list(range(1, 501)))
        check_equal(subscriptions[3].events(), [])
        for s in subscriptions:
            s.cancel()


def test_marks_follow_while_nothing_matches():
    with Broker() as broker, FakeAgent(broker) as agent, \
            Subscription(broker, filter=Filter(hosts=["nobody"]), mark_interval_ms=100) as s:
        s.wait_control("mark", 2)
        agent.publish_range(1, 5)
        agent.wait_acked(5)
        newest = broker.info().newest.sequence
        s.wait(lambda s: s.controls("mark")[-1].position.sequence == newest, "a mark at the newest record")
        marks = [m.position.sequence for m in s.controls("mark")]
        check_equal(marks, sorted(marks), "marks")


def test_who_waits_for_a_match_is_at_the_newest_and_loses_nothing():
    """Of many filters each matches one event in ten: all the others pass, and nobody lags."""
    with Broker() as broker, FakeAgent(broker) as agent:
        wanted = [Filter(designators=[f"naa.{i}"]) for i in range(10)]
        subscriptions = [Subscription(broker, filter=f) for f in wanted]
        for s in subscriptions:
            s.wait_control("synced")
        for n in range(1, 101):  # in commits of their own, and several in one
            agent.publish(make_event(agent.host, agent.epoch, n,
                                     device=event_pb2.Device(designator=f"naa.{n % 10}", device_type=0)))
            if n % 7 == 0:
                agent.wait_acked(n)
        agent.wait_acked(100)
        for i, s in enumerate(subscriptions):
            check_equal([e.origin.source_sequence for e in s.wait_events(10)],
                        [n for n in range(1, 101) if n % 10 == i], f"subscription {i}")
        newest = broker.info().newest.sequence
        listed = broker.admin().ListSubscriptions(admin_pb2.ListSubscriptionsRequest(), timeout=LIMIT_S).subscriptions
        check_equal([(l.position.sequence, l.lag) for l in listed], [(newest, 0)] * 10, "where they are")
        for s in subscriptions:
            s.cancel()


def check_large_batches(broker):
    with Subscription(broker, oldest=events_pb2.StartOldest(), stop_at_newest=True) as s:
        got = sequences(s.until_end())
        check_equal(got, list(range(1, len(got) + 1)))
        check(len(got) > 200, f"{len(got)} events")
        n_batches = len([b for b in s.batches if b.events])
        check(n_batches <= len(got) / 10, f"{n_batches} batches")


def test_small_commits_make_large_batches():
    with Broker() as broker:
        with FakeAgent(broker) as agent:
            for n in range(1, 201):
                agent.publish_range(n, n)
                agent.wait_acked(n)
            check_large_batches(broker)  # from memory
        broker.kill()
        broker.restart()
        check_large_batches(broker)  # from disk


def test_snapshot_is_the_status_then_live_without_repeat():
    with Broker() as broker, FakeAgent(broker) as agent:
        for n in range(1, 31):
            agent.publish(make_event(agent.host, agent.epoch, n, lun=n % 3))
        agent.wait_acked(30)
        with Subscription(broker, snapshot=True, filter=Filter(codes=[code_pb2.LUN_RESET])) as s:
            synced = s.wait_control("synced")
            check_equal(s.wait_control("snapshot_begin").position.sequence, 31)
            check_equal(synced.position.sequence, 31)
            check_equal([e.origin.source_sequence for e in s.events()], [28, 29, 30])
            agent.publish_range(31, 32)
            check_equal([e.origin.source_sequence for e in s.wait_events(5)], [28, 29, 30, 31, 32])


def test_status_pages_and_filters():
    with Broker() as broker, FakeAgent(broker) as agent:
        for n in range(1, 31):
            agent.publish(make_event(agent.host, agent.epoch, n, lun=n % 10))
        agent.wait_acked(30)
        stub, keys, token = broker.events(), [], ""
        lun_resets = Filter(codes=[code_pb2.LUN_RESET])
        while True:
            page = stub.GetStatus(events_pb2.GetStatusRequest(filter=lun_resets, page_size=4, page_token=token),
                                  timeout=LIMIT_S)
            check_equal(page.position.sequence, 31)
            keys += [d.key for d in page.devices]
            check(all(d.pending_aix_bits == 4 and d.n_events == 3 for d in page.devices))
            token = page.next_page_token
            if not token:
                break
        check_equal(len(keys), 10)
        check_equal(len(set(keys)), 10)
        with expect_status(grpc.StatusCode.INVALID_ARGUMENT, "page_size"):
            stub.GetStatus(events_pb2.GetStatusRequest(page_size=10001), timeout=LIMIT_S)


def test_cursors_are_durable_and_never_go_back():
    with Broker() as broker, filled(broker, 10):
        epoch, stub = epoch_of(broker), broker.events()

        def acknowledge(sequence, cursor="backup", epoch=epoch):
            return stub.Acknowledge(events_pb2.AcknowledgeRequest(
                cursor=cursor, position=Position(epoch=epoch, sequence=sequence)), timeout=LIMIT_S)

        check_equal(sequences(broker.read_all(oldest=None, cursor="backup")), list(range(1, 12)), "a new name")
        check_equal(acknowledge(4).position.sequence, 4)
        check_equal(sequences(broker.read_all(oldest=None, cursor="backup")), list(range(5, 12)))
        check_equal(acknowledge(4).position.sequence, 4)
        with expect_status(grpc.StatusCode.FAILED_PRECONDITION, "backup", "3"):
            acknowledge(3)
        with expect_status(grpc.StatusCode.OUT_OF_RANGE, "backup"):
            acknowledge(1000)
        with expect_status(grpc.StatusCode.OUT_OF_RANGE, "epoch"):
            acknowledge(5, epoch=epoch ^ 1)
        with expect_status(grpc.StatusCode.INVALID_ARGUMENT, "cursor"):
            acknowledge(5, cursor="")
        acknowledge(9)
        broker.kill()
        broker.restart()
        check_equal(sequences(broker.read_all(oldest=None, cursor="backup"))[0], 10, "after the restart")


def test_retention_refuses_or_announces_what_is_gone():
    with Broker("--retain-records", "1000") as broker, filled(broker, 5000, summary="y" * 200) as agent:
        def trimmed():
            info = broker.info()
            if info.newest.sequence - info.oldest.sequence <= 1000:  # it goes in steps
                return info.oldest
            at = agent.acked() + 1
            agent.publish(make_event(agent.host, agent.epoch, at))
            agent.wait_acked(at)
            return None

        oldest = wait_until(trimmed, "retention")
        newest = broker.info().newest.sequence
        check_equal(sequences(broker.read_all()), list(range(oldest.sequence + 1, newest + 1)))
        exact = Position(epoch=oldest.epoch, sequence=oldest.sequence)
        check_equal(sequences(broker.read_all(oldest=None, position=exact))[0], oldest.sequence + 1)
        gone = Position(epoch=oldest.epoch, sequence=oldest.sequence - 1)
        with expect_status(grpc.StatusCode.OUT_OF_RANGE, str(oldest.sequence + 1), str(newest)):
            broker.read_all(oldest=None, position=gone)
        with Subscription(broker, position=gone, resume_at_oldest=True, stop_at_newest=True) as s:
            check_equal(s.until_end()[0].sequence, oldest.sequence + 1)
            gap = s.controls("gap")[0]
            check_equal((gap.stage, gap.count, gap.to.sequence), (event_pb2.LOSS_STAGE_RETENTION, 1, oldest.sequence))


def test_a_request_that_is_too_large_is_refused():
    with Broker() as broker:
        with expect_status(grpc.StatusCode.RESOURCE_EXHAUSTED):
            broker.read_all(filter=Filter(hosts=["h" * 1000] * 5000))
        with expect_status(grpc.StatusCode.INVALID_ARGUMENT, "hosts"):
            broker.read_all(filter=Filter(hosts=["h"] * 1025))


def test_reflection_lists_what_is_served():
    import reflection_pb2
    import reflection_pb2_grpc
    with Broker() as broker:
        stub = reflection_pb2_grpc.ServerReflectionStub(broker.channel())
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        answer = next(stub.ServerReflectionInfo(iter([request]), timeout=LIMIT_S))
        names = {s.name for s in answer.list_services_response.service}
        check({f"sensebus.v1.{name}" for name in ("Events", "Agents", "Admin", "Adapter", "Sdi")} <= names, str(names))


if __name__ == "__main__":
    run_tests(globals())
