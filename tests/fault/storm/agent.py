# SPDX-License-Identifier: Apache-2.0
"""An agent: makes events, keeps what is not acknowledged, and sends it again after any doubt (agents.proto).

What event n of an agent is, is decided by n alone, so the spool of an agent that is killed is two numbers on the board:
how many it has made, and how many were acknowledged.

The broker keeps the newest records only, and the auditor has to read every one of them. So agents wait for it: each sends
at most LEAD events that the auditor has not read. All that it has not read is then less than what the broker keeps, however
slow the machine is.
"""
import queue
import random
import threading
import time
import zlib

from sensebus_testlib import adapter_pb2, agents_pb2, code_pb2, event_pb2, grpc  # noqa: F401

# Of the board. QUIET: it makes no more. AUDITED: the newest that the auditor has read, written by the auditor. LOG: the epoch
# of the broker's log; BASE: what had been acknowledged when that began, which is not in it.
MADE, ACKED, EPOCH, QUIET, AUDITED, LOG, BASE = range(7)
N_NUMBERS = 7
SPOOL = 2500        # then it makes no more until something is acknowledged
WINDOW = 1500        # sent and not acknowledged
LEAD = 1200          # sent and not read by the auditor
PER_MESSAGE = 60
BAD_EVERY = 701      # one event in so many is against the contract
CODES = ["LUN_RESET", "TARGET_RESET", "POWER_ON", "DEVICE_ADDED", "DEVICE_REMOVED", "INQUIRY_DATA_CHANGED", "LINK_DOWN",
         "REPORTED_LUNS_CHANGED"]
N_TARGETS, N_LUNS, N_DESIGNATORS = 3, 6, 40
BASE_NS = 1_700_000_000_000_000_000


def spread(host, n):
    return zlib.crc32(f"{host} {n}".encode())


def designator(x):
    return f"naa.6001405{x % N_DESIGNATORS:03d}"


def is_bad(n):
    return n % BAD_EVERY == 0


def make(host, epoch, n):
    """Event n, encoded. A bad one names somebody else as its origin, sets a field of the broker, or is no event code."""
    x = spread(host, n)
    event = event_pb2.Event(
        code=code_pb2.Code.Value(CODES[x % len(CODES)]), severity=1 + (x >> 3) % 5, scope=event_pb2.SCOPE_LUN,
        mode=event_pb2.MODE_INITIATOR, aix_bits=(x >> 6) % 16,
        origin=event_pb2.Origin(host=host, boot_id="b00t", agent_epoch=epoch, source=event_pb2.SOURCE_ISCSI,
                                source_sequence=n),
        wall_time_unix_ns=BASE_NS + n, monotonic_time_ns=n,
        address=event_pb2.Address(adapter=f"iscsi{x >> 10 & 1}", bus=-1, target=(x >> 11) % N_TARGETS,
                                  lun=(x >> 13) % N_LUNS, controller=-1),
        device=event_pb2.Device(vendor="ACME", product="Disk", designator=designator(x >> 16)),
        native=event_pb2.Native(name="unit-attention", raw=bytes([x & 255]) * ((x >> 8) % 400)),
        summary=f"{host} {n} {x:08x}")
    if is_bad(n):
        if n // BAD_EVERY % 2:
            event.origin.host = "somebody-else"
        else:
            event.sequence = 17
    return event.SerializeToString()


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


class Agent:
    def __init__(self, player):
        self.player, self.host, self.epoch = player, player.name, player.get(EPOCH)
        self.instance = random.getrandbits(63) | 1
        self.rate = 100
        self.spool = {}  # number → encoded
        self.lock = threading.Lock()
        for n in range(self.acked() + 1, self.made() + 1):
            self.spool[n] = make(self.host, self.epoch, n)

    def made(self):
        return self.player.get(MADE)

    def acked(self):
        return self.player.get(ACKED)

    def newest_allowed(self):
        """To be sent now."""
        return min(self.acked() + WINDOW, max(self.player.get(AUDITED), self.player.get(BASE)) + LEAD)

    # ---- making

    def make_some(self, count):
        first = self.made() + 1
        fresh = {n: make(self.host, self.epoch, n) for n in range(first, first + count)}
        self.player.write("made", a=self.host, e=self.epoch,
                          x=[[n, zlib.crc32(event), is_bad(n)] for n, event in fresh.items()])
        with self.lock:
            self.spool.update(fresh)
        self.player.set(MADE, first + count - 1)

    def keep_making(self):
        due, last = 0.0, time.monotonic()
        while not self.player.world.calm():
            time.sleep(0.01 + random.random() * 0.02)
            now = time.monotonic()
            due += min(now - last, 0.5) * self.rate
            last = now
            if random.random() < 0.004:
                due += random.randint(100, 800)  # a storm of events
            if due >= 1 and self.made() - self.acked() < SPOOL:
                self.make_some(min(int(due), 200))
                due = min(due - int(due), 1000) if due < 200 else due - 200
        self.player.set(QUIET, 1)

    # ---- sending

    def stream(self):
        channel = grpc.insecure_channel(self.player.world.network.address(self.player.host), options=[
            ("grpc.use_local_subchannel_pool", 1), ("grpc.keepalive_time_ms", 4000), ("grpc.keepalive_timeout_ms", 4000),
            ("grpc.http2.max_pings_without_data", 0), ("grpc.initial_reconnect_backoff_ms", 100)])
        attach = channel.stream_stream("/sensebus.v1.Agents/Attach", request_serializer=lambda b: b,
                                       response_deserializer=agents_pb2.BrokerMessage.FromString)
        gone, outgoing = threading.Event(), queue.Queue(maxsize=8)
        oldest = self.acked() + 1
        hello = agents_pb2.AgentMessage(hello=agents_pb2.Hello(
            version=1, host=self.host, boot_id="b00t", agent_epoch=self.epoch, instance=self.instance, agent_version="storm",
            oldest_source_sequence=oldest, newest_source_sequence=self.made())).SerializeToString()
        self.player.write("hello", a=self.host, e=self.epoch, oldest=oldest)
        outgoing.put(hello)

        def requests():
            while not gone.is_set():
                try:
                    yield outgoing.get(timeout=0.2)
                except queue.Empty:
                    continue

        try:
            call = attach(requests())
            log_epoch = None
            for message in call:
                if message.HasField("welcome"):
                    log_epoch = message.welcome.log_epoch
                    self.see_log(log_epoch)
                    self.player.write("welcome", a=self.host, e=self.epoch, E=log_epoch,
                                      n=message.welcome.committed_source_sequence)
                    self.free(message.welcome.committed_source_sequence)
                    start = max(message.welcome.committed_source_sequence + 1, oldest)
                    threading.Thread(target=self.send, args=(start, outgoing, gone, message.welcome.heartbeat_ms),
                                     daemon=True).start()
                elif message.HasField("ack"):
                    self.take_ack(log_epoch, message.ack.source_sequence)
                elif message.HasField("refused"):
                    self.player.write("refused", a=self.host, e=self.epoch, n=message.refused.source_sequence,
                                      reason=message.refused.reason)
        finally:
            gone.set()
            channel.close()

    def see_log(self, epoch):
        """What was acknowledged before a log began is not in it, and nobody reads it any more."""
        if self.player.get(LOG) != epoch:
            self.player.set(BASE, self.acked())
            self.player.set(LOG, epoch)

    def take_ack(self, log_epoch, n):
        self.player.write("ack", a=self.host, e=self.epoch, E=log_epoch, n=n)
        self.free(n)

    def free(self, n):
        with self.lock:
            for i in range(self.acked() + 1, min(n, self.made()) + 1):
                self.spool.pop(i, None)
        if n > self.acked():
            self.player.set(ACKED, n)

    def send(self, n, outgoing, gone, heartbeat_ms):
        """Everything from n on, then what comes new."""
        beat = time.monotonic()
        while not gone.is_set():
            now = time.monotonic()
            message = None
            if now - beat >= heartbeat_ms / 1000:
                beat = now
                message = agents_pb2.AgentMessage(heartbeat=agents_pb2.Heartbeat(
                    newest_source_sequence=self.made())).SerializeToString()
            elif n <= min(self.made(), self.newest_allowed()):
                last = min(n + PER_MESSAGE - 1, self.made(), self.newest_allowed())
                with self.lock:
                    batch = [self.spool[i] for i in range(n, last + 1) if i in self.spool]
                    n = last + 1
                body = b"".join(b"\x12" + varint(len(event)) + event for event in batch)
                message = b"\x12" + varint(len(body)) + body
            if message is None:
                time.sleep(0.01)
                continue
            while not gone.is_set():
                try:
                    outgoing.put(message, timeout=0.1)
                    break
                except queue.Full:
                    continue

    def keep_sending(self):
        while not self.player.world.over():
            try:
                self.stream()
            except grpc.RpcError:
                pass
            time.sleep(0.05 + random.random() * 0.1)


def play(player):
    agent = Agent(player)
    agent.rate = player.rate
    threading.Thread(target=agent.keep_making, daemon=True).start()
    agent.keep_sending()
