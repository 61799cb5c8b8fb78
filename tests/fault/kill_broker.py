# SPDX-License-Identifier: Apache-2.0
"""kill -9 the broker at random moments under 10,000 events a second, and restart it on the same data.

A synthetic agent makes events at a steady rate, keeps what is not acknowledged and sends it again. At the end a reader
from the oldest record must see every acknowledged record exactly once, in order, as it was made; so must a follower
that went on from its last position after each kill.

SENSEBUS_SEED makes the moments repeat; SENSEBUS_KILLS and SENSEBUS_RATE change how often and how fast.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from sensebus_testlib import *  # noqa: E402,F403

SEED = int(os.environ.get("SENSEBUS_SEED", "0")) or random.SystemRandom().getrandbits(32)
KILLS = int(os.environ.get("SENSEBUS_KILLS", "12"))
RATE = int(os.environ.get("SENSEBUS_RATE", "10000"))
HOST = "kill-test"
EPOCH = 0x1234567
PER_MESSAGE = 50


# ---------------------------------------------------------------------------------------------------- the judge

class Record:
    """What the judge looks at, taken from an Event."""

    def __init__(self, sequence, broker_time, code, source, epoch, source_sequence, summary):
        self.sequence, self.broker_time, self.code, self.source = sequence, broker_time, code, source
        self.epoch, self.source_sequence, self.summary = epoch, source_sequence, summary

    @staticmethod
    def of(event):
        return Record(event.sequence, event.broker_time_unix_ns, event.code, event.origin.source,
                      event.origin.agent_epoch, event.origin.source_sequence, event.summary)


def content(n):
    """What event n of the agent says: nothing but n decides it."""
    return f"event {n} {(n * 2654435761) & 0xffffffff:08x}"


def judge(records, acknowledged, generated):
    """Fails unless `records`, a whole log from its first record on, keeps every promise. Knows nothing of the broker."""
    expected_source = 1
    broker_time = 0
    for place, record in enumerate(records, start=1):
        if record.sequence != place:
            raise AssertionError(f"place {place} of the log holds sequence {record.sequence}")
        if record.broker_time < broker_time:
            raise AssertionError(f"broker time goes back at sequence {record.sequence}")
        broker_time = record.broker_time
        if record.code == code_pb2.EVENTS_LOST:
            raise AssertionError(f"sequence {record.sequence} says that events were lost")
        if record.source == event_pb2.SOURCE_BROKER:
            continue
        if record.epoch != EPOCH:
            raise AssertionError(f"sequence {record.sequence} is of agent epoch {record.epoch}")
        if record.source_sequence != expected_source:
            raise AssertionError(f"sequence {record.sequence} holds event {record.source_sequence} of the agent, "
                                 f"expected {expected_source}")
        if record.summary != content(expected_source):
            raise AssertionError(f"event {expected_source} of the agent is not what was sent: {record.summary!r}")
        expected_source += 1
    seen = expected_source - 1
    if seen < acknowledged:
        raise AssertionError(f"{acknowledged} events were acknowledged, {seen} are in the log")
    if seen > generated:
        raise AssertionError(f"{seen} events are in the log, {generated} were made")


def test_judge_finds_every_kind_of_wrong():
    def history():
        records = [Record(1, 5, code_pb2.AGENT_CONNECTED, event_pb2.SOURCE_BROKER, 99, 1, "")]
        records += [Record(n + 1, 10 + n // 3, code_pb2.LUN_RESET, event_pb2.SOURCE_ISCSI, EPOCH, n, content(n))
                    for n in range(1, 101)]
        return records

    def renumbered(records):
        for place, record in enumerate(records, start=1):
            record.sequence = place
        return records

    def changed(place, **members):
        records = history()
        for name, value in members.items():
            setattr(records[place], name, value)
        return records

    def swapped(records, a, b):
        records[a], records[b] = records[b], records[a]
        return records

    judge(history(), 100, 100)
    judge(history(), 90, 110)
    wrong = {
        "a record missing, numbers left": [r for r in history() if r.sequence != 50],
        "a record missing, numbers closed up": renumbered([r for r in history() if r.sequence != 50]),
        "the newest acknowledged missing": history()[:-1],
        "the first event missing": renumbered(history()[:1] + history()[2:]),
        "a record twice": renumbered(history()[:50] + history()[49:]),
        "the last record twice": renumbered(history() + history()[-1:]),
        "two out of order": renumbered(swapped(history(), 10, 11)),
        "two far out of order": swapped(history(), 10, 80),
        "other content": changed(20, summary="event 20"),
        "content of another": changed(20, summary=content(21)),
        "other epoch": changed(20, epoch=EPOCH + 1),
        "time goes back": changed(20, broker_time=1),
        "a loss told": changed(20, code=code_pb2.EVENTS_LOST),
        "a number used twice": changed(20, sequence=20),
        "nothing at all": [],
    }
    for what, records in wrong.items():
        try:
            judge(records, 100, 100)
        except AssertionError:
            continue
        raise AssertionError(f"the judge did not find: {what}")
    try:
        judge(history(), 90, 99)
    except AssertionError:
        return
    raise AssertionError("the judge did not find: more than was made")


# ---------------------------------------------------------------------------------------------------- the agent

class SteadyAgent(threading.Thread):
    """Makes events at a steady rate, keeps all that is not acknowledged, reconnects for ever."""

    def __init__(self, broker):
        super().__init__(daemon=True)
        self.broker = broker
        self.made = []           # encoded events, made[n - 1] is event n
        self.acked = 0
        self.stop_making = threading.Event()
        self.over = threading.Event()
        self.faults = []
        self.n_streams = 0
        self.maker = threading.Thread(target=self._make, daemon=True)

    def make_until(self, end):
        for n in range(len(self.made) + 1, end + 1):
            event = make_event(HOST, EPOCH, n, lun=n % 64, summary=content(n)).SerializeToString()
            self.made.append(event)

    def run(self):
        self.maker.start()
        while not self.over.is_set():
            try:
                self._stream()
            except grpc.RpcError:
                pass
            except Exception as error:  # shown by the test
                self.faults.append(repr(error))
                return

    def _make(self):
        start = time.monotonic()
        while not self.stop_making.is_set():
            self.make_until(int((time.monotonic() - start) * RATE))
            time.sleep(0.005)

    def _stream(self):
        channel = grpc.insecure_channel(self.broker.address, options=[("grpc.use_local_subchannel_pool", 1)])
        attach = channel.stream_stream("/sensebus.v1.Agents/Attach", request_serializer=lambda b: b,
                                       response_deserializer=agents_pb2.BrokerMessage.FromString)
        outgoing, gone = queue.Queue(maxsize=20), threading.Event()

        def requests():
            while not gone.is_set():
                try:
                    yield outgoing.get(timeout=0.05)
                except queue.Empty:
                    continue

        def publish(first):
            """Everything from `first` on, then what comes new."""
            while not gone.is_set():
                batch = self.made[first - 1:first - 1 + PER_MESSAGE]
                if not batch:
                    time.sleep(0.002)
                    continue
                body = b"".join(b"\x12" + varint(len(event)) + event for event in batch)
                message = b"\x12" + varint(len(body)) + body
                while not gone.is_set():
                    try:
                        outgoing.put(message, timeout=0.05)
                        first += len(batch)
                        break
                    except queue.Full:
                        continue

        outgoing.put(agents_pb2.AgentMessage(hello=agents_pb2.Hello(
            version=1, host=HOST, agent_epoch=EPOCH, instance=1, oldest_source_sequence=self.acked + 1,
            newest_source_sequence=len(self.made))).SerializeToString())
        try:
            for message in attach(requests()):
                if message.HasField("welcome"):
                    self.n_streams += 1
                    committed = message.welcome.committed_source_sequence
                    check(committed >= self.acked, f"acknowledged {self.acked}, after the restart {committed}")
                    self.acked = committed  # the Ack itself may have been lost, and there is none for what is not sent again
                    threading.Thread(target=publish, args=(committed + 1,), daemon=True).start()
                elif message.HasField("ack"):
                    check(message.ack.source_sequence >= self.acked, "an Ack goes back")
                    self.acked = message.ack.source_sequence
                elif message.HasField("refused"):
                    raise AssertionError(f"refused: {message.refused.reason}")
        finally:
            gone.set()
            channel.close()


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


class Follower(threading.Thread):
    """Reads from the oldest record on; after each break it goes on from the last position it saw."""

    endings = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)  # that it may meet

    def __init__(self, broker):
        super().__init__(daemon=True)
        self.broker = broker
        self.records = []
        self.faults = []
        self.over = threading.Event()
        self.epoch = None

    def run(self):
        while not self.over.is_set():
            try:
                self._stream()
            except grpc.RpcError as error:
                # gRPC's core says "Stream removed" of a call whose connection went before it was told why.
                if error.code() not in self.endings and error.details() != "Stream removed":
                    self.faults.append(f"{error.code()}: {error.details()}")
                    return

    def _stream(self):
        request = events_pb2.SubscribeRequest(oldest=events_pb2.StartOldest())
        if self.records:
            request = events_pb2.SubscribeRequest(
                position=events_pb2.Position(epoch=self.epoch, sequence=self.records[-1].sequence))
        channel = grpc.insecure_channel(self.broker.address, options=[("grpc.use_local_subchannel_pool", 1)])
        try:
            for batch in events_pb2_grpc.EventsStub(channel).Subscribe(request):
                if batch.HasField("opened"):
                    self.epoch = batch.opened.position.epoch
                if batch.HasField("gap"):
                    self.faults.append(f"gap: {batch.gap}")
                self.records += [Record.of(event) for event in batch.events]
        finally:
            channel.close()


def finish(broker, agent, follower):
    """Let everything come to rest, and judge it."""
    agent.stop_making.set()
    agent.maker.join()
    wait_until(lambda: agent.acked == len(agent.made) or agent.faults, "everything to be acknowledged")
    check(not agent.faults, str(agent.faults))
    records = [Record.of(event) for event in broker.read_all()]
    judge(records, agent.acked, len(agent.made))
    wait_until(lambda: len(follower.records) >= len(records) or follower.faults, "the follower")
    check(not follower.faults, str(follower.faults))
    judge(follower.records, agent.acked, len(agent.made))
    agent.over.set()
    follower.over.set()
    print(f"{agent.acked} events over {agent.n_streams} streams, each once and in order", flush=True)


# ---------------------------------------------------------------------------------------------------- the test

def test_kill_at_random_moments():
    chance = random.Random(SEED)
    print(f"seed {SEED}, {KILLS} kills, {RATE} events/s", flush=True)
    with Broker("--agent-grace", "5m") as broker:
        agent, follower = SteadyAgent(broker), Follower(broker)
        agent.start()
        follower.start()
        for kill in range(KILLS):
            before = agent.acked
            if chance.random() < 0.75:  # mostly under load, sometimes while it starts or catches up
                wait_until(lambda: agent.acked > before or agent.faults, "an acknowledgement")
            time.sleep(chance.uniform(0, 0.6))
            broker.kill()
            acked = agent.acked
            check(not agent.faults, str(agent.faults))
            broker.restart()
            print(f"kill {kill + 1}: {acked} acknowledged, {len(agent.made)} made", flush=True)
        before = agent.acked
        wait_until(lambda: agent.acked > before or agent.faults, "an acknowledgement after the last kill")
        finish(broker, agent, follower)
        broker.stop()


if __name__ == "__main__":
    run_tests(globals())
