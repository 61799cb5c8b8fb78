# SPDX-License-Identifier: Apache-2.0
"""Readers that fall behind: each policy does what it says, and nothing is passed over in silence."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from sensebus_testlib import *  # noqa: E402,F403

Filter = events_pb2.Filter


class SlowReader:
    """A stream that is opened and then not read: its window fills, then the broker's queue."""

    def __init__(self, broker, **request):
        channel = broker.channel(**{"grpc.http2.lookahead_bytes": 0, "grpc.http2.bdp_probe": 0})
        self.call = events_pb2_grpc.EventsStub(channel).Subscribe(events_pb2.SubscribeRequest(**request),
                                                                 timeout=2 * LIMIT_S)  # less than CTest's patience
        self.batches = [next(self.call)]

    def read_until(self, condition):
        while not condition(self.batches):
            self.batches.append(next(self.call))
        return self.batches

    def read_rest(self):
        for batch in self.call:
            self.batches.append(batch)


N_MORE_THAN_BUFFERS = 12000  # large ones: 25 MB
LATE_S = 0.25  # so long a reader may be more than its limit behind (broker/core/hub.h)


def published_events(agent, n=N_MORE_THAN_BUFFERS):
    """More bytes than what lies between the broker's queue and a reader may hold."""
    agent.publish_range(1, n, native=event_pb2.Native(name="unit-attention", raw=bytes(2000)))
    agent.wait_acked(n)


def test_slow_reader_with_lag_gets_everything():
    with Broker() as broker, FakeAgent(broker) as agent:
        broker.wait_newest(1)
        slow = SlowReader(broker, now=events_pb2.StartNow())
        first = slow.batches[0].opened.position.sequence
        published_events(agent)
        slow.read_until(lambda b: b[-1].events and b[-1].events[-1].origin.source_sequence == N_MORE_THAN_BUFFERS)
        got = [e.sequence for b in slow.batches for e in b.events]
        check_equal(got, list(range(first + 1, first + N_MORE_THAN_BUFFERS + 1)))
        check(not any(b.HasField("gap") for b in slow.batches))
        slow.call.cancel()


def test_slow_reader_that_retention_passes_gets_a_gap():
    with Broker("--retain-records", "1000") as broker, FakeAgent(broker) as agent:
        broker.wait_newest(1)
        slow = SlowReader(broker, now=events_pb2.StartNow())
        at = slow.batches[0].opened.position.sequence
        published_events(agent)
        wait_until(lambda: broker.info().oldest.sequence > N_MORE_THAN_BUFFERS // 2, "retention")
        slow.read_until(lambda b: b[-1].events and b[-1].events[-1].origin.source_sequence == N_MORE_THAN_BUFFERS)
        gaps = 0
        for batch in slow.batches:
            if batch.HasField("gap"):
                gaps += 1
                check_equal(getattr(batch.gap, "from").sequence, at, "start of the gap")
                check_equal(batch.gap.stage, event_pb2.LOSS_STAGE_RETENTION)
                check_equal(batch.gap.count, batch.gap.to.sequence - at)
                check_equal(batch.gap.aix_bits, 4)
                at = batch.gap.to.sequence
            for event in batch.events:
                check_equal(event.sequence, at + 1)
                at = event.sequence
        check(gaps, "retention did not pass the reader")
        slow.call.cancel()


def test_slow_reader_that_stops_at_newest_misses_nothing_that_came_later():
    """Retention passes it, and goes on beyond what it asked for: the gap is of its own records alone."""
    for policy in events_pb2.SlowReaderPolicy.values():
        with Broker("--retain-records", "1000") as broker, FakeAgent(broker) as agent:
            published_events(agent, 500)  # more than it is sent unread
            slow = SlowReader(broker, oldest=events_pb2.StartOldest(), stop_at_newest=True, slow_reader_policy=policy)
            at, newest = 0, slow.batches[0].opened.newest.sequence
            agent.publish_range(501, N_MORE_THAN_BUFFERS, native=event_pb2.Native(name="unit-attention", raw=bytes(2000)))
            agent.wait_acked(N_MORE_THAN_BUFFERS)
            wait_until(lambda: broker.info().oldest.sequence > newest, "retention")
            slow.read_rest()
            for batch in slow.batches:
                if batch.HasField("gap"):
                    check_equal((getattr(batch.gap, "from").sequence, batch.gap.to.sequence, batch.gap.count),
                                (at, newest, newest - at), "the gap")
                    at = newest
                for event in batch.events:
                    check_equal(event.sequence, at + 1)
                    at = event.sequence
            check(any(batch.HasField("gap") for batch in slow.batches), "retention did not pass the reader")
            check_equal(slow.batches[-1].synced.position.sequence, newest)


def test_slow_reader_with_live_skips_with_an_exact_gap():
    with Broker() as broker, FakeAgent(broker) as agent:
        broker.wait_newest(1)
        slow = SlowReader(broker, slow_reader_policy=events_pb2.SLOW_READER_POLICY_LIVE, lag_limit=1000,
                          filter=Filter(codes=[code_pb2.LUN_RESET]))
        first = slow.batches[0].opened.position.sequence
        published_events(agent)
        time.sleep(2 * LATE_S)  # all this time it is behind, whether the machine is fast or slow
        slow.read_until(lambda b: b[-1].events and b[-1].events[-1].origin.source_sequence == N_MORE_THAN_BUFFERS
                        or b[-1].HasField("gap") and b[-1].gap.to.sequence >= first + N_MORE_THAN_BUFFERS)
        gaps = [b.gap for b in slow.batches if b.HasField("gap")]
        check(gaps, "nothing was skipped")
        at = first
        for batch in slow.batches:
            if batch.HasField("gap"):
                check_equal(getattr(batch.gap, "from").sequence, at, "start of the gap")
                check_equal(batch.gap.stage, event_pb2.LOSS_STAGE_SUBSCRIPTION)
                check_equal(batch.gap.count, batch.gap.to.sequence - at)
                check_equal(batch.gap.aix_bits, 4)
                check(not batch.gap.at_least)
                at = batch.gap.to.sequence
            for event in batch.events:
                check_equal(event.sequence, at + 1)
                at = event.sequence
        slow.call.cancel()


def test_slow_reader_with_disconnect_is_told_where_to_resume():
    with Broker() as broker, FakeAgent(broker) as agent:
        broker.wait_newest(1)
        slow = SlowReader(broker, slow_reader_policy=events_pb2.SLOW_READER_POLICY_DISCONNECT, lag_limit=1000)
        published_events(agent)
        wait_until(lambda: broker.counters()["sensebus_subscriptions_too_slow_total"] == 1, "it to be too slow")
        with expect_status(grpc.StatusCode.RESOURCE_EXHAUSTED, "too slowly", "resume from"):
            slow.read_rest()
        closed = slow.batches[-1].closed
        last = [e.sequence for b in slow.batches for e in b.events][-1]
        check_equal(closed.position.sequence, last)
        rest = broker.read_all(oldest=None, position=closed.position)
        check_equal(rest[0].sequence, last + 1)


if __name__ == "__main__":
    run_tests(globals())
