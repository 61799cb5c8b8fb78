# SPDX-License-Identifier: Apache-2.0
"""Sentences of docs/guarantees.md that no other test would notice if they were false."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from sensebus_testlib import *  # noqa: E402,F403
from raw_reader import RawReader  # noqa: E402


def test_a_crash_of_a_relaxed_broker_loses_nothing_that_was_acknowledged():
    with Broker("--durability", "relaxed") as broker:
        with FakeAgent(broker) as agent:
            agent.publish_range(1, 500)
            agent.wait_acked(500)
            broker.kill()
        broker.restart()
        kept = [e.origin.source_sequence for e in broker.read_all() if e.origin.source == event_pb2.SOURCE_ISCSI]
        check_equal(kept, list(range(1, 501)))


def test_a_reader_that_does_not_read_slows_nobody_else():
    n = 20000
    with Broker() as broker, FakeAgent(broker) as agent:
        channel = broker.channel(**{"grpc.http2.lookahead_bytes": 0, "grpc.http2.bdp_probe": 0})
        stuck = events_pb2_grpc.EventsStub(channel).Subscribe(
            events_pb2.SubscribeRequest(oldest=events_pb2.StartOldest()))
        next(stuck)  # its stream stands; from here on nothing of it is read
        with Subscription(broker) as quick:
            quick.wait_control("synced")
            for first in range(1, n, 500):
                agent.publish_range(first, first + 499, summary="z" * 250)
            agent.wait_acked(n)
            got = quick.wait_events(n)
            check_equal([e.origin.source_sequence for e in got[-n:]], list(range(1, n + 1)))
            check(not quick.controls("gap"))
        shown = broker.admin().ListSubscriptions(admin_pb2.ListSubscriptionsRequest(), timeout=LIMIT_S).subscriptions
        check(max(s.lag for s in shown) > n // 2, "the other one is far behind")
        stuck.cancel()


def test_repeats_resumes_and_snapshots_overlap_and_nothing_comes_twice():
    """The agent sends again, readers come back again and again, snapshots are taken in between."""
    n = 3000
    with Broker() as broker:
        stop, snapshots = threading.Event(), []

        def publish():
            chance = random.Random(1)
            first = 1
            while first <= n:
                last = min(n, first + 199)
                with FakeAgent(broker, host="agent-1", epoch=5, instance=5) as agent:
                    agent.publish_range(max(1, first - 100), last)  # also what is there already
                    agent.publish_range(max(1, first - 50), last)
                    if chance.random() < 0.7:
                        agent.wait_acked(last)
                    first = agent.acked() + 1 if agent.acked() else first
                    if first > n:
                        agent.detach()  # that it is lost would be one more record, behind the newest that is asked for below

        def take_snapshots():
            while not stop.is_set():
                snapshots.append(Subscription(broker, snapshot=True))
                snapshots[-1].wait_control("synced")
                time.sleep(0.1)

        threads = [threading.Thread(target=publish), threading.Thread(target=take_snapshots)]
        for thread in threads:
            thread.start()
        epoch, at, got = broker.info().newest.epoch, 0, []
        chance = random.Random(2)

        def complete(events):
            return sum(e.origin.source == event_pb2.SOURCE_ISCSI for e in events) >= n

        while not complete(got):  # a reader that is cut off at any place, and resumes there
            with Subscription(broker, position=events_pb2.Position(epoch=epoch, sequence=at)) as s:
                wanted = chance.randrange(1, 400)
                wait_until(lambda: len(s.events()) >= wanted or complete(got + s.events()), "some more events")
                more = s.events()
            got += more
            at = more[-1].sequence if more else at
        wait_until(lambda: len(snapshots) > 3, "some snapshots")
        stop.set()
        for thread in threads:
            thread.join()
        check_equal([e.sequence for e in got], list(range(1, len(got) + 1)), "over all resumes")
        check_equal([e.origin.source_sequence for e in got if e.origin.source == event_pb2.SOURCE_ISCSI],
                    list(range(1, n + 1)), "of the agent")
        newest = broker.info().newest.sequence
        for s in snapshots:
            through = s.controls("synced")[0].position.sequence
            s.wait(lambda s: through == newest or s.events() and s.events()[-1].sequence == newest, "the newest")
            live = [e.sequence for e in s.events() if e.sequence > through]
            check_equal(live, list(range(through + 1, newest + 1)), f"behind the snapshot through {through}")
            before = [e.sequence for e in s.events() if e.sequence <= through]
            check_equal(len(before), len(set(before)), "of the snapshot")
            s.cancel()


def test_a_stop_under_load_sends_nothing_that_was_not_asked_for():
    with Broker() as broker:
        agent, stop = FakeAgent(broker), threading.Event()
        broker.wait_newest(1)
        patterns = [events_pb2.AddressPattern(controller=-1, bus=-1, target=-1, lun=lun) for lun in range(10)]
        filters = [events_pb2.Filter(addresses=[pattern], codes=[code_pb2.LUN_RESET]) for pattern in patterns]
        readers = [Subscription(broker, filter=f) for f in filters]
        for s in readers:
            s.wait_control("synced")

        def publish():
            n = 0
            while not stop.is_set() and not agent.ended.is_set():
                agent.publish(*[make_event(agent.host, agent.epoch, n + k, lun=(n + k) % 12) for k in range(1, 201)])
                n += 200
                while n - agent.acked() > 5000 and not agent.ended.is_set():
                    time.sleep(0.001)

        thread = threading.Thread(target=publish)
        thread.start()
        wait_until(lambda: agent.acked() > 2000, "the load")
        check_equal(broker.stop(), 0)
        stop.set()
        thread.join()
        agent.vanish()
        for s in readers:
            with expect_status(grpc.StatusCode.UNAVAILABLE, "stopping"):
                s.until_end()
        broker.restart()
        everything = broker.read_all()
        for lun, s in enumerate(readers):
            through = s.batches[-1].closed.position.sequence
            wanted = [e.sequence for e in everything if e.code == code_pb2.LUN_RESET and e.address.lun == lun
                      and 1 < e.sequence <= through]
            check_equal([e.sequence for e in s.events()], wanted, f"what was sent of lun {lun}")
            check(len(wanted) > 100, "hardly anything was sent")


def test_lag_is_exact_while_the_log_is_trimmed_under_a_reader():
    with Broker("--retain-records", "3000") as broker, FakeAgent(broker) as agent:
        broker.wait_newest(1)
        admin = broker.admin()
        with RawReader(broker.address, events_pb2.SubscribeRequest(), receive_buffer=4096) as slow:
            slow.read_until(lambda r: r.first.n_batches >= 2, "the stream")
            at, n, trimmed = 0, 0, False
            while not (trimmed and n >= 30_000):
                agent.publish_range(n + 1, n + 1000, summary="z" * 250)
                n += 1000
                agent.wait_acked(n)
                shown, = admin.ListSubscriptions(admin_pb2.ListSubscriptionsRequest(), timeout=LIMIT_S).subscriptions
                info = broker.info()  # nothing is published between the two
                check(shown.position.sequence >= at, "it went back")
                check_equal(shown.lag, info.newest.sequence - shown.position.sequence, "lag")
                at = shown.position.sequence
                trimmed = trimmed or info.oldest.sequence > at
            newest = info.newest.sequence
            slow.read_until(lambda r: r.first.position >= newest, "the rest")
            at = slow.first.controls("opened")[0].position.sequence
            for batch in slow.first.batches:
                if batch.HasField("gap"):
                    check_equal((getattr(batch.gap, "from").sequence, batch.gap.count), (at, batch.gap.to.sequence - at))
                    at = batch.gap.to.sequence
                for event in batch.events:
                    check_equal(event.sequence, at + 1)
                    check(event.origin.host, "an event of nothing")
                    at = event.sequence
            check(slow.first.controls("gap"), "retention did not pass it")
            shown, = admin.ListSubscriptions(admin_pb2.ListSubscriptionsRequest(), timeout=LIMIT_S).subscriptions
            check_equal((shown.lag, shown.n_gaps), (0, len(slow.first.controls("gap"))))


if __name__ == "__main__":
    run_tests(globals())
