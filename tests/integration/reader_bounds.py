# SPDX-License-Identifier: Apache-2.0
"""Stock clients that subscribe and do not read: what waits for them is bounded for each stream and for all streams of a
principal, and the answer to "full" is a refusal by name. Whoever reads gets everything."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from sensebus_testlib import *  # noqa: E402,F403

MIB = 1 << 20
STREAM_BYTES = (256 + 64) << 10  # of one stream: the low-water mark, and the batch that went over it
BATCH_BYTES = 64 << 10
EVIDENCE = event_pb2.Native(raw=bytes(4000), raw_length=4000)
RECORD_BYTES = 4200
LIMITS = "limits: {events: {queued_bytes_per_principal: 1M, streams_per_principal: 12}}\n"


class Stuck:
    """A subscriber that asks and never reads. Policy LAG without a limit: the broker must keep it."""

    def __init__(self, broker, i):
        # Without the probe its window stays at 64 KiB; with it, megabytes wait on the client's side first.
        stub = events_pb2_grpc.EventsStub(broker.channel(**{"grpc.http2.bdp_probe": 0}))
        # A filter of its own: nothing of what waits for it is shared with others.
        request = events_pb2.SubscribeRequest(oldest=events_pb2.StartOldest(), filter=events_pb2.Filter(
            exclude=[events_pb2.Filter(hosts=[f"none-{i}"])]))
        self.call = stub.Subscribe(request, timeout=10 * LIMIT_S)

    def cancel(self):
        self.call.cancel()


def subscriptions(broker):
    return list(broker.admin().ListSubscriptions(admin_pb2.ListSubscriptionsRequest(), timeout=LIMIT_S).subscriptions)


def queued(broker):
    return sum(s.queued_bytes for s in subscriptions(broker))


def test_what_waits_for_a_principal_is_bounded():
    with tempfile.TemporaryDirectory(prefix="sensebus-bounds.") as directory:
        socket_path = f"unix:{directory}/broker.sock"
        with Broker("--listen", socket_path, config=Broker.EVERYBODY + LIMITS) as broker:
            agent = FakeAgent(broker)
            # Of the principal whose others do not read. What waits for it, and goes, would count while the bound is reached:
            # it has nothing of that.
            reader = Subscription(broker, filter=events_pb2.Filter(codes=[code_pb2.CAPACITY_CHANGED]))
            reader.wait_control("synced")
            stuck = [Stuck(broker, i) for i in range(8)]
            wait_until(lambda: len(subscriptions(broker)) == 9, "all subscriptions")
            # Of what is published, each could have four times its own bound.
            n = 4 * STREAM_BYTES // RECORD_BYTES
            agent.publish_range(1, n, native=EVIDENCE)
            agent.wait_acked(n)
            wait_until(lambda: queued(broker) >= MIB, "the bound to be reached")
            check(queued(broker) <= MIB + 9 * (BATCH_BYTES + 2 * RECORD_BYTES), f"{queued(broker)} bytes wait")
            for s in subscriptions(broker):
                check(s.queued_bytes <= STREAM_BYTES + 2 * RECORD_BYTES, f"{s.queued_bytes} bytes wait for one")

            with expect_status(grpc.StatusCode.RESOURCE_EXHAUSTED, "plaintext", "does not read",
                               "limits.events.queued_bytes_per_principal"):
                broker.read_all()
            check_equal(len(subscriptions(broker)), 9, "subscriptions")
            with grpc.insecure_channel(socket_path) as other:
                with Subscription(broker, channel=other, oldest=events_pb2.StartOldest(), stop_at_newest=True) as s:
                    check(len(s.until_end()) >= n, "another principal gets everything")

            # Who reads goes on while the bound is reached.
            agent.publish_range(n + 1, n + 200, code="CAPACITY_CHANGED", native=EVIDENCE)
            check_equal([e.origin.source_sequence for e in reader.wait_events(200)], list(range(n + 1, n + 201)),
                        "sequence numbers")

            for s in stuck:
                s.cancel()
            wait_until(lambda: len(subscriptions(broker)) == 1, "the others to be gone")
            check(len(broker.read_all()) >= n + 200, "there is room again")
            reader.cancel()
            agent.vanish()


def test_a_stuck_reader_goes_on_where_it_was_when_it_reads():
    with Broker(config=Broker.EVERYBODY + LIMITS) as broker:
        agent = FakeAgent(broker)
        stuck = [Stuck(broker, i) for i in range(6)]
        wait_until(lambda: len(subscriptions(broker)) == 6, "all subscriptions")
        n = 4 * STREAM_BYTES // RECORD_BYTES
        agent.publish_range(1, n, native=EVIDENCE)
        agent.wait_acked(n)
        wait_until(lambda: queued(broker) >= MIB, "the bound to be reached")
        for s in stuck:  # one after the other: the first has its share though the others hold theirs
            got = []
            for batch in s.call:
                check(not batch.HasField("gap"), "a gap")
                got += [e.origin.source_sequence for e in batch.events if e.code == code_pb2.LUN_RESET]
                if got and got[-1] == n:
                    break
            check_equal(got, list(range(1, n + 1)), "sequence numbers")
            s.cancel()
        agent.vanish()


def test_streams_of_a_principal_are_bounded():
    with Broker(config=Broker.EVERYBODY + LIMITS) as broker:
        open_ones = [Subscription(broker) for _ in range(12)]
        for s in open_ones:
            s.wait_control("opened")
        with expect_status(grpc.StatusCode.RESOURCE_EXHAUSTED, "plaintext has 12 subscriptions",
                           "limits.events.streams_per_principal"):
            broker.read_all()
        open_ones[0].cancel()
        wait_until(lambda: len(subscriptions(broker)) == 11, "one to be gone")
        broker.read_all()
        for s in open_ones:
            s.cancel()


def test_filters_of_all_subscriptions_are_bounded():
    with Broker() as broker:
        events = events_pb2_grpc.EventsStub(broker.channel())
        calls, error = [], None

        def subscribe(n):
            hosts = [f"{n:04d}-{k:04d}-" + "h" * 240 for k in range(1024)]
            exclude = [events_pb2.Filter(hosts=hosts[:-1] + [f"{n}-{e}"]) for e in range(8)]
            call = events.Subscribe(events_pb2.SubscribeRequest(filter=events_pb2.Filter(hosts=hosts, exclude=exclude)),
                                    timeout=10 * LIMIT_S)  # each has to last until the last is there
            next(call)
            return call

        while error is None and len(calls) < 100:
            try:
                calls.append(subscribe(len(calls)))
            except grpc.RpcError as refused:
                error = refused
        check(error is not None, "100 filters of 2 MiB were taken")
        check_equal(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        check("filter" in error.details(), error.details())
        check(len(calls) > 5, f"only {len(calls)} were taken")
        calls.append(subscribe(0))  # an equal filter costs nothing more
        for call in calls:
            call.cancel()

        def room():
            with contextlib.suppress(grpc.RpcError):
                return subscribe(1000)

        wait_until(room, "room for another filter")


if __name__ == "__main__":
    run_tests(globals())
