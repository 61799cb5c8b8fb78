# SPDX-License-Identifier: Apache-2.0
"""Readers that ask for too much, read too little, come in storms or talk nonsense: each is answered by name or bounded, and
whoever reads beside them gets every event, in order."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from sensebus_testlib import *  # noqa: E402,F403
from raw_reader import (RawReader, WINDOW_DEFAULT, WINDOW_MAX, call, cancel, opening, raw_h2, resident_kib,  # noqa: E402
                        window_update)

import socket

Request = events_pb2.SubscribeRequest
Filter = events_pb2.Filter
LAG, LIVE, DISCONNECT = (events_pb2.SLOW_READER_POLICY_LAG, events_pb2.SLOW_READER_POLICY_LIVE,
                         events_pb2.SLOW_READER_POLICY_DISCONNECT)
LARGEST = 2 ** 64 - 1
# Freed memory that a sanitizer holds back would hide what the broker holds.
LEAN = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=4"}
# What a storm may leave behind: some MiB of noise, several times that under a sanitizer, and that of threads keeps notes of
# each page that was ever in use. Ten thousand streams that are not forgotten would be more, and so would what they are to be
# sent.
ROOM_KIB = (400 if THREAD_SANITIZER else 96) << 10


class Witness:
    """A healthy subscriber, and the agent whose events it must all get while others misbehave."""

    def __init__(self, broker):
        self.broker = broker
        self.agent = FakeAgent(broker)
        broker.wait_newest(1)
        self.reader = Subscription(broker)
        self.reader.wait_control("synced")
        self.n = 0

    def publish(self, n, **members):
        self.agent.publish_range(self.n + 1, self.n + n, **members)
        self.n += n

    def check(self, n=100):
        """Publish some more: everything so far must arrive, once and in order, without a gap."""
        self.publish(n)
        self.agent.wait_acked(self.n)
        self.reader.wait_events(self.n)
        check_equal([e.origin.source_sequence for e in self.reader.events()], list(range(1, self.n + 1)), "the witness")
        check(not self.reader.controls("gap"), "the witness has a gap")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.reader.cancel()
        self.agent.vanish()


def ended_with(stream):
    return stream.trailers is not None or stream.reset is not None


# ---------------------------------------------------------------------------------------------------- numbers

def test_numbers_beyond_reason_are_taken_as_they_are_or_refused_by_name():
    with Broker() as broker, Witness(broker) as witness:
        witness.check(10)
        newest = broker.info().newest

        def taken(**request):
            events = broker.read_all(**request)
            check_equal(events[-1].sequence, newest.sequence, str(request))

        def refused(code, *texts, **request):
            with expect_status(code, *texts):
                list(broker.events().Subscribe(Request(**request), timeout=LIMIT_S))

        for policy in (0, LAG, LIVE, DISCONNECT):
            for limit in (0, 1, 2 ** 63, LARGEST):
                taken(slow_reader_policy=policy, lag_limit=limit)
        for interval in (0, 100, 3_600_000):
            taken(mark_interval_ms=interval)
        for interval in (1, 99, 3_600_001, 2 ** 32 - 1):
            refused(grpc.StatusCode.INVALID_ARGUMENT, "mark_interval_ms", str(interval), mark_interval_ms=interval)
        for n in (0, 100_001, LARGEST):
            refused(grpc.StatusCode.INVALID_ARGUMENT, "last", str(n), last=n)
        for policy in (-1, 4, 2 ** 31 - 1):
            refused(grpc.StatusCode.INVALID_ARGUMENT, "slow_reader_policy", slow_reader_policy=policy)
        for epoch, sequence in ((0, 0), (0, LARGEST), (LARGEST, 0), (newest.epoch, LARGEST)):
            refused(grpc.StatusCode.OUT_OF_RANGE, str(sequence),
                    position=events_pb2.Position(epoch=epoch, sequence=sequence))
        witness.check()


def test_filters_that_contradict_themselves_match_nothing_and_cost_nothing():
    with Broker() as broker, Witness(broker) as witness:
        nothing = (Filter(hosts=["agent-1"], exclude=[Filter(hosts=["agent-*"])]),
                   Filter(codes=[code_pb2.LUN_RESET], categories=[8]),
                   Filter(minimum_severity=event_pb2.SEVERITY_ERROR, codes=[code_pb2.LUN_RESET]),
                   Filter(any_aix_bits=2 ** 32 - 1, hosts=["*"], exclude=[Filter(any_aix_bits=2 ** 32 - 1)]))
        for filter in nothing:
            with Subscription(broker, filter=filter, mark_interval_ms=100) as s:
                s.wait_control("synced")
                witness.check(5)
                newest = broker.info().newest.sequence
                s.wait(lambda s: s.controls("mark") and s.controls("mark")[-1].position.sequence == newest, "a mark")
                check_equal(s.events(), [])
        backwards = events_pb2.AddressPattern(controller=-1, bus=-1, target=-1, lun=9, lun_last=2)
        for filter, name in ((Filter(exclude=[Filter()]), "exclude[0]"), (Filter(addresses=[backwards]), "lun_last")):
            with expect_status(grpc.StatusCode.INVALID_ARGUMENT, name):
                broker.read_all(filter=filter)
        witness.check()


def test_questions_beyond_reason_are_answered_or_refused_by_name():
    with Broker() as broker, Witness(broker) as witness:
        witness.check(10)
        events, admin = broker.events(), broker.admin()
        for size in (0, 1, 10_000):
            check(events.GetStatus(events_pb2.GetStatusRequest(page_size=size), timeout=LIMIT_S).devices)
        for size in (10_001, 2 ** 32 - 1):
            with expect_status(grpc.StatusCode.INVALID_ARGUMENT, "page_size", str(size)):
                events.GetStatus(events_pb2.GetStatusRequest(page_size=size), timeout=LIMIT_S)
            with expect_status(grpc.StatusCode.INVALID_ARGUMENT, "page_size", str(size)):
                admin.ListSubscriptions(admin_pb2.ListSubscriptionsRequest(page_size=size), timeout=LIMIT_S)
        with expect_status(grpc.StatusCode.INVALID_ARGUMENT, "page_token"):
            events.GetStatus(events_pb2.GetStatusRequest(page_token="\0"), timeout=LIMIT_S)
        for token in ("x", "9" * 1000, "-1"):
            with expect_status(grpc.StatusCode.INVALID_ARGUMENT, "page_token"):
                admin.ListSubscriptions(admin_pb2.ListSubscriptionsRequest(page_token=token), timeout=LIMIT_S)
            # The status goes on behind a key, which need not be there any more.
            page = events.GetStatus(events_pb2.GetStatusRequest(page_token=token), timeout=LIMIT_S)
            check(all(device.key > token for device in page.devices), "keys before the token")
        newest = broker.info().newest
        for name in ("", "x" * 129, "no spaces", "../etc/passwd", "\0", "é"):
            with expect_status(grpc.StatusCode.INVALID_ARGUMENT, "cursor"):
                events.Acknowledge(events_pb2.AcknowledgeRequest(cursor=name, position=newest), timeout=LIMIT_S)
        with expect_status(grpc.StatusCode.INVALID_ARGUMENT, "position"):
            events.Acknowledge(events_pb2.AcknowledgeRequest(cursor="x"), timeout=LIMIT_S)
        for sequence in (newest.sequence + 1000, LARGEST):
            with expect_status(grpc.StatusCode.OUT_OF_RANGE, str(sequence)):
                events.Acknowledge(events_pb2.AcknowledgeRequest(cursor="x", position=events_pb2.Position(
                    epoch=newest.epoch, sequence=sequence)), timeout=LIMIT_S)
        witness.check()


def test_a_limit_smaller_than_one_commit_harms_no_healthy_reader():
    """However much comes at once: who reads it is not late."""
    with Broker() as broker, FakeAgent(broker) as agent:
        broker.wait_newest(1)
        readers = [Subscription(broker, slow_reader_policy=policy, lag_limit=limit, filter=filter)
                   for policy in (LIVE, DISCONNECT) for limit in (1, 10) for filter in (None, Filter(hosts=["agent-1"]))]
        for reader in readers:
            reader.wait_control("synced")
        n = 0
        for _ in range(20):
            agent.publish(*[make_event(agent.host, agent.epoch, n + k) for k in range(1, 1001)])
            n += 1000
            agent.wait_acked(n)
        for reader in readers:
            check_equal([e.origin.source_sequence for e in reader.wait_events(n)], list(range(1, n + 1)))
            check(not reader.controls("gap"), "a gap")
            reader.cancel()
        check_equal(broker.counters().get("sensebus_subscriptions_too_slow_total", 0), 0)


# ---------------------------------------------------------------------------------------------------- windows

def test_a_window_of_zero_holds_its_own_stream_and_no_other():
    with Broker(env=LEAN) as broker, Witness(broker) as witness:
        with RawReader(broker.address, window=0) as reader:
            stuck = [reader.subscribe(Request(oldest=events_pb2.StartOldest())) for _ in range(50)]
            open_one = reader.subscribe(Request(oldest=events_pb2.StartOldest()))
            reader.send(window_update(open_one.number, WINDOW_MAX))
            reader.send(window_update(0, WINDOW_MAX - WINDOW_DEFAULT))
            before = resident_kib(broker.process.pid)
            for _ in range(20):
                witness.publish(1000, summary="z" * 250)
                witness.agent.wait_acked(witness.n)
                reader.read_until(lambda r: len(open_one.sequences) > witness.n, "the open stream")
            check_equal(open_one.sequences, list(range(1, witness.n + 2)), "the open stream beside them")
            check_equal([s.n_batches for s in stuck], [0] * 50, "messages on streams without a window")
            grown = resident_kib(broker.process.pid) - before
            check(grown < 2 * ROOM_KIB, f"{grown} KiB more for fifty streams that take nothing")
            witness.check()
            reader.send(b"".join(window_update(s.number, WINDOW_MAX) for s in stuck[:5]))
            reader.read_until(lambda r: all(len(s.sequences) > witness.n for s in stuck[:5]), "all that waited")
            for stream in stuck[:5]:
                check_equal(stream.sequences, list(range(1, witness.n + 2)), "what waited")


def test_the_largest_windows_unread_are_bounded_by_the_broker():
    """A window of 2 GiB for each stream and connection, and nobody reads: what waits is bounded all the same."""
    with Broker(env=LEAN) as broker, Witness(broker) as witness:
        n_connections, n_streams = 10, 20
        witness.publish(5000, summary="z" * 250)
        witness.agent.wait_acked(witness.n)
        before = resident_kib(broker.process.pid)
        readers = [RawReader(broker.address, receive_buffer=4096) for _ in range(n_connections)]
        for reader in readers:
            for _ in range(n_streams):
                reader.subscribe(Request(oldest=events_pb2.StartOldest()))
            reader.flush()
        listed = admin_pb2.ListSubscriptionsRequest(page_size=1000)
        admin = broker.admin()
        wait_until(lambda: len(admin.ListSubscriptions(listed, timeout=LIMIT_S).subscriptions) > n_connections * n_streams,
                   "every subscription")
        for _ in range(10):
            witness.publish(1000, summary="z" * 250)
            witness.agent.wait_acked(witness.n)
        witness.check()
        grown = resident_kib(broker.process.pid) - before
        most = ROOM_KIB + n_connections * n_streams * 512  # 256 KiB and one batch more for each
        check(grown < most, f"{grown} KiB more")
        for reader in readers:
            reader.close()
        wait_until(lambda: len(admin.ListSubscriptions(listed, timeout=LIMIT_S).subscriptions) == 1, "they are forgotten")
        witness.check()


def test_who_is_late_is_ended_also_when_nothing_more_happens():
    """One commit, more than the queue of a stream that has no window; then silence."""
    with Broker() as broker, FakeAgent(broker) as agent:
        broker.wait_newest(1)
        with RawReader(broker.address, Request(slow_reader_policy=DISCONNECT, lag_limit=1), window=0) as reader:
            admin = broker.admin()
            wait_until(lambda: admin.ListSubscriptions(admin_pb2.ListSubscriptionsRequest(), timeout=LIMIT_S).subscriptions,
                       "the subscription")
            agent.publish(*[make_event(agent.host, agent.epoch, n, summary="z" * 250) for n in range(1, 2501)])
            agent.wait_acked(2500)
            wait_until(lambda: broker.counters()["sensebus_subscriptions_too_slow_total"] == 1, "the end")
            reader.send(window_update(1, WINDOW_MAX) + window_update(0, WINDOW_MAX - WINDOW_DEFAULT))
            reader.read_until(lambda r: r.first.trailers is not None, "what it is told")
            check_equal(reader.first.status(), grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])
            last = reader.first.sequences[-1]
            check(last < 2501, "it was sent everything")
            check_equal(reader.first.sequences, list(range(2, last + 1)))
            check_equal(reader.first.controls("closed")[0].position.sequence, last, "where to go on")


# ---------------------------------------------------------------------------------------------------- storms

def storm(reader, n):
    """Open and cancel n calls, as fast as the socket takes them; reads what comes meanwhile."""
    request = Request(oldest=events_pb2.StartOldest()).SerializeToString()
    for _ in range(n):
        number, reader.next_stream = reader.next_stream, reader.next_stream + 2
        reader.send(call(number, request) + cancel(number))
        if len(reader.waiting) > 65536:
            reader.write_some()
            while reader.pump() > 0:
                pass
            if reader.ended:
                return


def test_a_storm_of_cancels_leaves_the_sibling_alone():
    """Ten thousand calls opened and cancelled on a connection: the stream beside them, on it, misses nothing."""
    with Broker(env=LEAN) as broker, Witness(broker) as witness:
        with RawReader(broker.address, Request()) as reader:
            reader.read_until(lambda r: r.first.n_batches >= 2, "the sibling")
            before = resident_kib(broker.process.pid)
            for _ in range(10):
                storm(reader, 1000)
                witness.publish(100)
            reader.flush()
            witness.check()
            reader.read_until(lambda r: len(r.first.sequences) >= witness.n, "every event for the sibling")
            check_equal(reader.first.sequences, list(range(2, witness.n + 2)), "the sibling")
            check_equal(reader.goaway, None, "GOAWAY")
            grown = resident_kib(broker.process.pid) - before
            check(grown < ROOM_KIB, f"{grown} KiB more after the storm")
        admin = broker.admin()
        wait_until(lambda: len(admin.ListSubscriptions(admin_pb2.ListSubscriptionsRequest(), timeout=LIMIT_S)
                               .subscriptions) == 1, "they are forgotten")


def test_storms_on_several_connections_end_only_those_that_go_too_far():
    """A connection that cancels more than it may is told so and closed; everybody else goes on."""
    with Broker(env=LEAN) as broker, Witness(broker) as witness:
        sibling = RawReader(broker.address, Request())
        sibling.read_until(lambda r: r.first.n_batches >= 2, "the reader beside them")
        stormy = [RawReader(broker.address, Request()) for _ in range(4)]
        for reader in stormy:
            reader.read_until(lambda r: r.first.n_batches >= 2, "a stream of the storm")
        before = resident_kib(broker.process.pid)
        for _ in range(5):
            for reader in stormy[1:]:
                storm(reader, 1000)
            storm(stormy[0], 8000)  # 40,000 in all: far more than 10,000 and 1,000 a second
            witness.publish(100)
        witness.check()
        end = time.monotonic() + LIMIT_S
        while not stormy[0].ended:  # on a slow machine that was not yet more than a thousand a second
            check(time.monotonic() < end, "the storm is not ended")
            storm(stormy[0], 1000)
            stormy[0].pump()
        check_equal(stormy[0].goaway, raw_h2.ENHANCE_YOUR_CALM)
        for reader in (sibling, *stormy[1:]):
            reader.read_until(lambda r: len(r.first.sequences) >= witness.n, "every event")
            check_equal(reader.first.sequences, list(range(2, witness.n + 2)))
            check_equal(reader.goaway, None)
            reader.close()
        grown = resident_kib(broker.process.pid) - before
        check(grown < ROOM_KIB, f"{grown} KiB more after the storm")
        check_equal(broker.counters()["sensebus_grpc_flood_closures_total"], 1)


def test_a_stock_client_may_cancel_as_it_likes():
    with Broker() as broker, Witness(broker) as witness:
        channel = broker.channel()
        stub = events_pb2_grpc.EventsStub(channel)
        with Subscription(broker, channel=channel) as sibling:
            sibling.wait_control("synced")
            before = witness.n
            for round in range(20):
                calls = [stub.Subscribe(Request(oldest=events_pb2.StartOldest())) for _ in range(100)]
                if round % 2:
                    for one in calls:
                        next(one)
                for one in calls:
                    one.cancel()
                witness.publish(20)
            witness.check()
            check_equal([e.origin.source_sequence for e in sibling.wait_events(witness.n - before)],
                        list(range(before + 1, witness.n + 1)))


# ---------------------------------------------------------------------------------------------------- headers

def test_metadata_has_a_bound_in_bytes_and_many_keys_harm_nobody():
    with Broker(env=LEAN) as broker, Witness(broker) as witness:
        question = events_pb2.GetStatusRequest()
        few = [(f"x-key-{n}", "v" * 20) for n in range(100)]  # 100 × (about 7 + 20 + 32)
        check(broker.events().GetStatus(question, metadata=few, timeout=LIMIT_S).position.sequence)
        for metadata in ([("x-large", "v" * 20_000)], [(f"x-key-{n}", "v") for n in range(1000)]):
            with expect_status(grpc.StatusCode.RESOURCE_EXHAUSTED):
                broker.events().GetStatus(question, metadata=metadata, timeout=LIMIT_S)
        before = resident_kib(broker.process.pid)
        with RawReader(broker.address, Request()) as reader:  # who does not heed what the server said it takes
            reader.read_until(lambda r: r.first.n_batches >= 2, "the sibling")
            extra = [(f"x-{n}", "v" * 80) for n in range(150)]  # one frame of less than 16 KiB, a list of more
            floods = [reader.call(b"", extra=extra) for _ in range(200)]
            reader.flush()
            reader.read_until(lambda r: all(ended_with(s) for s in floods), "every answer")
            check(all(s.status() or s.reset for s in floods), "a flood was taken")
            witness.check()
            reader.read_until(lambda r: len(r.first.sequences) >= witness.n, "every event for the sibling")
            check_equal(reader.first.sequences, list(range(2, witness.n + 2)))
        grown = resident_kib(broker.process.pid) - before
        check(grown < ROOM_KIB, f"{grown} KiB more after the flood")


def test_a_block_of_headers_that_never_ends_is_ended():
    with Broker(env=LEAN) as broker, Witness(broker) as witness:
        before = resident_kib(broker.process.pid)
        for _ in range(10):
            with RawReader(broker.address) as reader:
                block = raw_h2.header_block("/sensebus.v1.Events/Subscribe")
                reader.send(raw_h2.frame(raw_h2.HEADERS, 0, 1, block))
                more = raw_h2.frame(raw_h2.CONTINUATION, 0, 1, raw_h2.field("x-more", "v" * 4000) * 4)
                for _ in range(2000):  # 32 MB
                    reader.send(more)
                    reader.write_some()
                    reader.pump()
                    if reader.ended:
                        break
                    while len(reader.waiting) > 1 << 20 and not reader.ended:
                        time.sleep(0.01)
                        reader.write_some()
                        reader.pump()
                check(reader.ended, "32 MB of headers were read")
            witness.check(10)
        grown = resident_kib(broker.process.pid) - before
        check(grown < ROOM_KIB, f"{grown} KiB more after the flood")


# ---------------------------------------------------------------------------------------------------- slow and silent

def test_readers_of_a_byte_now_and_then_are_bounded_by_their_policy():
    with Broker(env=LEAN) as broker, Witness(broker) as witness:
        slow = {}
        for policy in (LAG, LIVE, DISCONNECT):
            slow[policy] = [RawReader(broker.address, Request(slow_reader_policy=policy, lag_limit=1000), receive_buffer=4096)
                            for _ in range(10)]
        everybody = [reader for readers in slow.values() for reader in readers]
        admin = broker.admin()

        def listed():
            return admin.ListSubscriptions(admin_pb2.ListSubscriptionsRequest(page_size=1000), timeout=LIMIT_S).subscriptions

        wait_until(lambda: len(listed()) == 31, "every subscription")
        before, began = resident_kib(broker.process.pid), time.monotonic()
        last_byte = 0
        while witness.n < 20_000 or broker.counters()["sensebus_subscriptions_too_slow_total"] < 10:
            check(time.monotonic() - began < LIMIT_S, "those who asked to be ended were not")
            if time.monotonic() - last_byte > 1:
                last_byte = time.monotonic()
                for reader in everybody:
                    reader.pump(1)
            witness.publish(500, summary="z" * 250)
            witness.agent.wait_acked(witness.n)
        witness.check()
        grown = resident_kib(broker.process.pid) - before
        check(grown < ROOM_KIB + 30 * 512, f"{grown} KiB more for thirty slow readers")
        check_equal(len([s for s in listed() if s.slow_reader_policy == DISCONNECT]), 0, "those who asked to be ended")
        check_equal(len(listed()), 21, "the others go on")
        # They wake up: LAG misses nothing, LIVE knows what it missed, DISCONNECT hears where to go on.
        lag, live, ended = (slow[policy][0] for policy in (LAG, LIVE, DISCONNECT))
        lag.read_until(lambda r: r.first.position >= witness.n + 1, "the rest")
        check_equal(lag.first.sequences, list(range(2, witness.n + 2)))
        live.read_until(lambda r: r.first.controls("gap"), "a gap")
        witness.check()
        live.read_until(lambda r: r.first.position >= witness.n + 1, "the newest")
        at = 1
        for batch in live.first.batches:
            if batch.HasField("gap"):
                check_equal(getattr(batch.gap, "from").sequence, at, "start of the gap")
                check_equal(batch.gap.count, batch.gap.to.sequence - at)
                at = batch.gap.to.sequence
            for event in batch.events:
                check_equal(event.sequence, at + 1)
                at = event.sequence
        ended.read_until(lambda r: r.first.trailers is not None, "the end")
        check_equal(ended.first.status(), grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])
        check_equal(ended.first.controls("closed")[0].position.sequence, ended.first.sequences[-1], "where to go on")
        for reader in everybody:
            reader.close()


def test_those_who_say_nothing_or_half_of_it_are_forgotten():
    """Half-open connections: nothing, a piece of the preface, the preface alone, half a frame; gone after ten seconds."""
    with Broker(env=LEAN) as broker, Witness(broker) as witness:
        before = resident_kib(broker.process.pid)
        port = int(broker.address.rsplit(":", 1)[1])
        words = (b"", raw_h2.PREFACE[:10], raw_h2.PREFACE, raw_h2.PREFACE + b"\0\0")
        silent, began = [], time.monotonic()
        for n in range(400):
            one = socket.create_connection(("127.0.0.1", port))
            with contextlib.suppress(OSError):  # on a machine that stood still it may be forgotten by now
                one.sendall(words[n % len(words)])
            silent.append(one)
        while silent and time.monotonic() - began < LIMIT_S:
            witness.check(20)
            for one in list(silent):
                one.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    try:
                        over = not one.recv(65536)
                    except ConnectionResetError:
                        over = True
                    if over:
                        one.close()
                        silent.remove(one)
            time.sleep(0.1)
        check_equal(len(silent), 0, "connections that still stand")
        check(time.monotonic() - began > 5, "they had no time to speak")
        grown = resident_kib(broker.process.pid) - before
        check(grown < ROOM_KIB, f"{grown} KiB more")


def test_a_reader_whose_request_never_ends_waits_alone():
    with Broker(env=LEAN) as broker, Witness(broker) as witness:
        with RawReader(broker.address) as reader:
            for n in range(200):
                number = 2 * n + 1
                reader.send(raw_h2.frame(raw_h2.HEADERS, raw_h2.END_HEADERS, number,
                                         raw_h2.header_block("/sensebus.v1.Events/Subscribe")))
                reader.send(raw_h2.frame(raw_h2.DATA, 0, number, b"\0\0\0\0\x7f" + b"\x0a" * 50))  # 50 of 127 bytes
            reader.flush()
            witness.check()


def test_garbage_is_ended_and_harms_nobody():
    with Broker(env=LEAN) as broker, Witness(broker) as witness:
        port = int(broker.address.rsplit(":", 1)[1])
        before = resident_kib(broker.process.pid)
        chance = random.Random(20261122)
        frames = opening()
        garbage = [bytes(chance.randrange(256) for _ in range(1000)) for _ in range(50)]
        garbage += [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"r" * 500,
                    b"SSH-2.0-OpenSSH_9.2\r\n", raw_h2.PREFACE + b"\xff" * 1000, b"\0" * 1000,
                    frames + b"\xff\xff\xff\0\0\0\0\0\1" + b"x" * 1000]
        garbage += [frames + bytes(chance.randrange(256) for _ in range(1000)) for _ in range(50)]
        for words in garbage:
            with socket.create_connection(("127.0.0.1", port)) as one:
                one.settimeout(LIMIT_S)
                one.sendall(words)
                try:
                    one.shutdown(socket.SHUT_WR)
                    while one.recv(65536):
                        pass
                except OSError as error:  # reset; to shut down what was reset is ENOTCONN
                    check(not isinstance(error, TimeoutError), "garbage is not answered and not ended")
        witness.check()
        grown = resident_kib(broker.process.pid) - before
        check(grown < ROOM_KIB, f"{grown} KiB more after garbage")


def test_requests_that_are_none_are_refused_in_words_on_their_stream():
    with Broker() as broker, Witness(broker) as witness:
        with RawReader(broker.address, Request()) as reader:
            reader.read_until(lambda r: r.first.n_batches >= 2, "the sibling")
            invalid = grpc.StatusCode.INVALID_ARGUMENT.value[0]
            chance = random.Random(7)
            streams = [reader.call(bytes([0x07]) + bytes(chance.randrange(256) for _ in range(chance.randrange(200))))
                       for _ in range(300)]
            reader.flush()
            reader.read_until(lambda r: all(ended_with(s) for s in streams), "every answer")
            check_equal({s.status() for s in streams}, {invalid})
            unknown = reader.call(b"", path="/sensebus.v1.Events/Unsubscribe")
            two = reader.call(b"")
            number = two.number
            reader.flush()
            reader.read_until(lambda r: ended_with(unknown), "the answer")
            check_equal(unknown.status(), grpc.StatusCode.UNIMPLEMENTED.value[0])
            check(number and two.trailers is None, "an empty request is a good one")
            witness.check()
            reader.read_until(lambda r: len(r.first.sequences) >= witness.n, "every event for the sibling")
            check_equal(reader.first.sequences, list(range(2, witness.n + 2)))


if __name__ == "__main__":
    run_tests(globals())
