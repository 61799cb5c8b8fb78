# SPDX-License-Identifier: Apache-2.0
"""Sentences of docs/guarantees.md that no other test would notice if they were false."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from sensebus_testlib import *  # noqa: E402,F403


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


if __name__ == "__main__":
    run_tests(globals())
