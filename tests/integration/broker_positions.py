# SPDX-License-Identifier: Apache-2.0
"""Where a subscription begins: positions, cursors, times, the newest N and the snapshot, at every boundary."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from sensebus_testlib import *  # noqa: E402,F403

Position = events_pb2.Position
Filter = events_pb2.Filter
OUT_OF_RANGE = grpc.StatusCode.OUT_OF_RANGE
LARGEST = 2 ** 64 - 1


def sequences(events):
    return [event.sequence for event in events]


@contextlib.contextmanager
def trimmed_broker():
    """A broker whose log has lost its beginning; gives it with its epoch, oldest and newest record."""
    with Broker("--retain-records", "1000", "--checkpoint-interval", "1ms") as broker, FakeAgent(broker) as agent:
        agent.publish_range(1, 4000, summary="y" * 200)
        agent.wait_acked(4000)

        def n_records():
            info = broker.info()
            return info.newest.sequence - info.oldest.sequence

        wait_until(lambda: n_records() <= 1000, "retention")  # then nothing more may go
        info = broker.info()
        yield broker, agent, info.newest.epoch, info.oldest.sequence + 1, info.newest.sequence


def acknowledge(broker, cursor, epoch, sequence):
    return broker.events().Acknowledge(events_pb2.AcknowledgeRequest(
        cursor=cursor, position=Position(epoch=epoch, sequence=sequence)), timeout=LIMIT_S)


def gaps_and_events(broker, **request):
    """Up to the newest record."""
    with Subscription(broker, stop_at_newest=True, **request) as s:
        events = s.until_end()
        return s.controls("gap"), sequences(events)


def test_a_position_at_every_boundary():
    with trimmed_broker() as (broker, _, epoch, oldest, newest):
        def at(sequence, of=epoch, **more):
            return gaps_and_events(broker, position=Position(epoch=of, sequence=sequence), **more)

        everything = list(range(oldest, newest + 1))
        for resume in (False, True):  # it makes no difference where the position is good
            check_equal(at(oldest - 1, resume_at_oldest=resume), ([], everything), "behind what is gone")
            check_equal(at(oldest, resume_at_oldest=resume), ([], everything[1:]), "behind the oldest")
            check_equal(at(newest - 1, resume_at_oldest=resume), ([], [newest]), "before the newest")
            check_equal(at(newest, resume_at_oldest=resume), ([], []), "behind the newest")
            for sequence in (newest + 1, LARGEST):
                with expect_status(OUT_OF_RANGE, "newer than the newest", str(sequence), f"{oldest}..{newest}"):
                    at(sequence, resume_at_oldest=resume)
        for sequence in (oldest - 2, 1, 0):
            with expect_status(OUT_OF_RANGE, "older than the oldest", f"{oldest}..{newest}"):
                at(sequence)
            (gap,), events = at(sequence, resume_at_oldest=True)
            check_equal(events, everything)
            check_equal((getattr(gap, "from").sequence, gap.to.sequence, gap.count, gap.at_least),
                        (sequence, oldest - 1, oldest - 1 - sequence, False), "the gap")
        for other in (epoch ^ 1, 0, LARGEST):
            for sequence in (0, oldest, newest, newest + 1, LARGEST):
                with expect_status(OUT_OF_RANGE, "another log"):
                    at(sequence, of=other)
                (gap,), events = at(sequence, of=other, resume_at_oldest=True)
                check_equal(events, everything)
                check_equal((getattr(gap, "from").epoch, gap.to.epoch, gap.to.sequence, gap.count, gap.at_least),
                            (other, epoch, oldest - 1, 0, True), "the gap")


def test_a_position_in_an_empty_log():
    with Broker() as broker:
        epoch = broker.info().newest.epoch
        check_equal(gaps_and_events(broker, position=Position(epoch=epoch)), ([], []))
        with expect_status(OUT_OF_RANGE, "newer than the newest"):
            gaps_and_events(broker, position=Position(epoch=epoch, sequence=1))
        for start in ({"oldest": events_pb2.StartOldest()}, {"last": 1}, {"since_unix_ns": 0}, {"since_unix_ns": LARGEST},
                      {"cursor": "new"}, {"snapshot": True}, {}):
            check_equal(gaps_and_events(broker, **start), ([], []), str(start))


def test_a_cursor_at_every_boundary():
    with trimmed_broker() as (broker, agent, epoch, oldest, newest):
        def at(name, **more):
            return gaps_and_events(broker, cursor=name, **more)

        everything = list(range(oldest, newest + 1))
        check_equal(at("new"), ([], everything), "a new name begins at the oldest kept")
        for name, sequence in (("before", oldest - 1), ("oldest", oldest), ("newest", newest)):
            acknowledge(broker, name, epoch, sequence)
            check_equal(at(name), ([], [n for n in everything if n > sequence]), name)
        for sequence in (newest + 1, LARGEST):
            with expect_status(OUT_OF_RANGE, "beyond", "newer than the newest", str(newest)):
                acknowledge(broker, "beyond", epoch, sequence)
        with expect_status(OUT_OF_RANGE, "other", "epoch"):
            acknowledge(broker, "other", epoch ^ 1, oldest)
        check_equal(at("beyond"), ([], everything), "what was refused made no cursor")
        # Retention does not wait for a cursor: one that it has passed says so, or goes on at the oldest when asked to.
        acknowledge(broker, "late", epoch, 1)
        with expect_status(OUT_OF_RANGE, "older than the oldest"):
            at("late")
        (gap,), events = at("late", resume_at_oldest=True)
        check_equal((getattr(gap, "from").sequence, gap.to.sequence, gap.count), (1, oldest - 1, oldest - 2))
        check_equal(events, everything)
        acknowledge(broker, "late", epoch, newest)
        more = agent.acked() + 1
        agent.publish(make_event(agent.host, agent.epoch, more))
        agent.wait_acked(more)
        check_equal(at("late")[1], [newest + 1])


def test_cursors_go_with_their_log():
    """A log that is started over takes its cursors along: none of them points into records it never saw."""
    with Broker("--durability", "relaxed") as broker:
        with FakeAgent(broker) as agent:
            agent.publish_range(1, 5)
            agent.wait_acked(5)
            old = broker.info().newest
            acknowledge(broker, "backup", old.epoch, 4)
            broker.kill()
        with open(os.path.join(broker.data, "relaxed"), "w") as file:
            file.write("another boot")
        broker.restart()
        check(broker.info().newest.epoch != old.epoch, "the epoch is the old one")
        with expect_status(OUT_OF_RANGE, "epoch"):
            acknowledge(broker, "backup", old.epoch, 5)
        with FakeAgent(broker) as agent:
            agent.publish_range(1, 5)
            agent.wait_acked(5)
        broker.wait_newest(7)  # that the agent came, and that it went
        newest = broker.info().newest
        check_equal(gaps_and_events(broker, cursor="backup"), ([], list(range(1, newest.sequence + 1))), "a new name")
        acknowledge(broker, "backup", newest.epoch, 2)
        check_equal(gaps_and_events(broker, cursor="backup"), ([], list(range(3, newest.sequence + 1))))


def test_a_time_at_every_boundary():
    with Broker() as broker, FakeAgent(broker) as agent:
        for n in range(1, 6):
            agent.publish(*[make_event(agent.host, agent.epoch, 10 * n + k) for k in range(10)])
            agent.wait_acked(10 * n + 9)
        events = broker.read_all()
        times = {e.sequence: e.broker_time_unix_ns for e in events}
        newest = events[-1].sequence

        def since(ns):
            gaps, got = gaps_and_events(broker, since_unix_ns=ns)
            check_equal(gaps, [])
            return got

        for ns in (0, 1, times[1] - 1, times[1]):
            check_equal(since(ns), list(range(1, newest + 1)), "before the oldest, and exactly there")
        for ns in sorted(set(times.values())):
            for moment in (ns - 1, ns, ns + 1):  # between two records, exactly one's, just behind it
                check_equal(since(moment), [n for n in times if times[n] >= moment], f"since {moment}")
        for ns in (times[newest] + 1, time.time_ns() + 3600 * 10 ** 9, LARGEST):
            check_equal(since(ns), [], "behind the newest")
            with Subscription(broker, since_unix_ns=ns) as s:
                check_equal(s.wait_control("synced").position.sequence, newest, "what comes is not before it")
                more = agent.acked() + 1
                agent.publish(make_event(agent.host, agent.epoch, more))
                check_equal(sequences(s.wait_events(1)), [newest + 1])
                agent.wait_acked(more)
                newest += 1
                times[newest] = s.events()[0].broker_time_unix_ns


def test_a_time_before_what_is_kept():
    with trimmed_broker() as (broker, _, _, oldest, newest):
        check_equal(gaps_and_events(broker, since_unix_ns=1), ([], list(range(oldest, newest + 1))))


def test_the_newest_n_at_every_boundary():
    with trimmed_broker() as (broker, _, _, oldest, newest):
        everything = list(range(oldest, newest + 1))
        for filtered in (None, Filter(hosts=["agent-*"])):  # counted by position, or looked for backwards
            for n in (1, 2, len(everything) - 1, len(everything), len(everything) + 1, 100000):
                check_equal(gaps_and_events(broker, last=n, filter=filtered), ([], everything[-n:]), f"the newest {n}")
        check_equal(gaps_and_events(broker, last=5, filter=Filter(hosts=["nobody"])), ([], []), "of nothing")
        for n in (0, 100001, LARGEST):
            with expect_status(grpc.StatusCode.INVALID_ARGUMENT, "last", str(n), "1..100000"):
                gaps_and_events(broker, last=n)


def position_of(batches):
    """Check the order on a stream, gaps included; returns the last place it tells of."""
    at = batches[0].opened.position.sequence
    for batch in batches:
        if batch.HasField("gap"):
            check_equal(getattr(batch.gap, "from").sequence, at, "the start of a gap")
            at = batch.gap.to.sequence
        for event in batch.events:
            check_equal(event.sequence, at + 1, "the next event")
            at = event.sequence
    return at


def test_resuming_while_the_log_is_trimmed_leaves_no_hole():
    """Each asks for the place that is about to go: refused in words, or everything from there, or a gap that says what."""
    with trimmed_broker() as (broker, agent, epoch, _, _):
        stop = threading.Event()

        def publish():
            while not stop.is_set():
                at = agent.acked() + 1
                agent.publish_range(at, at + 199, summary="y" * 200)
                agent.wait_acked(at + 199)

        publisher = threading.Thread(target=publish)
        publisher.start()
        results = {"refused": 0, "whole": 0, "gap": 0}
        end, give_up = time.monotonic() + 4, time.monotonic() + LIMIT_S
        try:
            while time.monotonic() < end or (0 in results.values() and time.monotonic() < give_up):
                oldest = broker.info().oldest.sequence
                for sequence in (oldest - 1, oldest, oldest + 1):
                    for resume in (False, True):
                        with Subscription(broker, position=Position(epoch=epoch, sequence=max(sequence, 0)),
                                          resume_at_oldest=resume, stop_at_newest=True) as s:
                            try:
                                s.until_end()
                            except grpc.RpcError as error:
                                check_equal(error.code(), OUT_OF_RANGE)
                                check(not resume, "it asked to go on at the oldest")
                                results["refused"] += 1
                                continue
                            newest = s.controls("synced")[0].position.sequence
                            first = s.batches[1].gap if s.batches[1].HasField("gap") else None
                            if first and resume:
                                check_equal(getattr(first, "from").sequence, max(sequence, 0))
                                s.batches[0].opened.position.sequence = max(sequence, 0)
                            check_equal(position_of(s.batches), newest)
                            results["gap" if s.controls("gap") else "whole"] += 1
        finally:
            stop.set()
            publisher.join()
        check(results["whole"] > 0 and results["refused"] > 0 and results["gap"] > 0, str(results))


def test_a_status_that_changes_under_a_snapshot_comes_behind_it():
    """The snapshot is of one moment: what happens while it is sent is told after Synced, once and in order."""
    n_devices = 3000
    with Broker() as broker, FakeAgent(broker) as agent:
        for start in range(1, n_devices + 1, 100):
            agent.publish(*[make_event(agent.host, agent.epoch, n, lun=n, summary="s" * 250)
                            for n in range(start, start + 100)])
        agent.wait_acked(n_devices)
        channel = broker.channel(**{"grpc.http2.lookahead_bytes": 0, "grpc.http2.bdp_probe": 0})
        stream = events_pb2_grpc.EventsStub(channel).Subscribe(
            events_pb2.SubscribeRequest(snapshot=True, filter=Filter(codes=[code_pb2.LUN_RESET])), timeout=10 * LIMIT_S)
        batches = [next(stream), next(stream)]  # Opened and SnapshotBegin; the rest waits for its window
        check(batches[1].HasField("snapshot_begin"), "the second message")
        through = batches[1].snapshot_begin.position.sequence
        check_equal(through, n_devices + 1)
        for start in range(1, n_devices + 1, 100):  # every device has newer news before it is read
            agent.publish(*[make_event(agent.host, agent.epoch, n_devices + n, lun=n) for n in range(start, start + 100)])
        agent.wait_acked(2 * n_devices)
        while not batches[-1].HasField("synced"):
            batches.append(next(stream))
        got = [e for b in batches for e in b.events]
        check_equal(sequences(got), list(range(2, n_devices + 2)), "the snapshot: as it was at its moment")
        check_equal(batches[-1].synced.position.sequence, through)
        after = []
        while len(after) < n_devices:
            after += next(stream).events
        check_equal(sequences(after), list(range(through + 1, through + n_devices + 1)), "what followed")
        check_equal([e.address.lun for e in after], list(range(1, n_devices + 1)))
        stream.cancel()


def test_marks_never_run_ahead_of_what_was_sent():
    """A Mark is a promise about everything before it, also while events come in floods and the reader has a filter."""
    with Broker() as broker, FakeAgent(broker) as agent:
        pattern = events_pb2.AddressPattern(controller=-1, bus=-1, target=-1, lun=1)
        with Subscription(broker, filter=Filter(addresses=[pattern]), mark_interval_ms=100) as s:
            s.wait_control("synced")
            wanted, end, n = [], time.monotonic() + 3, 0
            while time.monotonic() < end:
                agent.publish(*[make_event(agent.host, agent.epoch, n + k, lun=1 if k == 50 else 0) for k in range(1, 101)])
                n += 100
                wanted.append(n - 50)
                agent.wait_acked(n)
                time.sleep(random.choice((0, 0.02, 0.25)))
            s.wait_events(len(wanted))
            newest = broker.info().newest.sequence
            s.wait(lambda s: s.controls("mark") and s.controls("mark")[-1].position.sequence == newest, "the last mark")
            at = 0
            for batch in list(s.batches):
                for event in batch.events:
                    check(event.sequence > at, f"event {event.sequence} behind mark {at}")
                    at = event.sequence
                if batch.HasField("mark"):
                    check(batch.mark.position.sequence >= at, f"mark {batch.mark.position.sequence} behind event {at}")
                    at = batch.mark.position.sequence
            check_equal([e.origin.source_sequence for e in s.events()], wanted)


def test_marks_come_on_the_way_through_a_log_in_which_nothing_matches():
    """The broker stands still where it looks through an old log for somebody who wants nothing of it: he hears how far it
    is."""
    request = events_pb2.SubscribeRequest(oldest=events_pb2.StartOldest(), filter=Filter(hosts=["nobody"]),
                                          mark_interval_ms=100)
    with Broker() as broker, FakeAgent(broker) as agent:
        stub, tries = broker.events(), []

        def publish_more():
            last = agent.acked() + 20000
            agent.publish_range(last - 19999, last, summary="y" * 200)
            agent.wait_acked(last)

        def hold_up():
            """Gives the marks of one who was on his way when it stood still for longer than the interval; else None."""
            stream = stub.Subscribe(request, timeout=LIMIT_S)
            next(stream)  # Opened
            broker.process.send_signal(signal.SIGSTOP)
            stopped = time.monotonic()
            timer = threading.Timer(0.3, broker.process.send_signal, [signal.SIGCONT])
            timer.start()
            batches = [next(stream)]
            while not batches[-1].HasField("synced"):
                batches.append(next(stream))
            is_on_its_way = time.monotonic() - stopped >= 0.3
            timer.join()
            stream.cancel()
            marks = [batch.mark.position.sequence for batch in batches[:-1]]
            check(marks == sorted(marks) and all(0 < m <= batches[-1].synced.position.sequence for m in marks), str(marks))
            return marks if is_on_its_way else None

        def enough():
            publish_more()  # the more there is to look through, the more likely
            tries.append(hold_up())
            return any(tries) or sum(marks is not None for marks in tries) == 3

        wait_until(enough, "one who was on his way")
        check(any(tries), "nothing was told on the way")


if __name__ == "__main__":
    run_tests(globals())
