# SPDX-License-Identifier: Apache-2.0
"""What is measured. A workload has variants; each variant names its systems and measures one of them once.

A measurement is a dict of numbers by the names of METRICS; all are better when smaller, but `rate`. The number of events
of a run follows from what a unit costs the system about, so that each run takes its server some `budget_s` of CPU.
"""
import os
import time

import machine
from load import Load
from stock_client import Reader, ReaderMissing
from systems import (Absent, JetStream, LimitByKey, LimitRelay, LimitReplay, LimitSync, Mosquitto, Mosquitto1, Nats, Rabbit, Redis,
                     RedisStream, RedisStreamAlways, Sensebus, SensebusRelaxed, SensebusTls)

RECORD_BYTES = 171           # of ours, on the wire; the others are near it
FLIGHT_BYTES = 512 << 20     # on the way to all subscribers together
METRICS = {
    "cpu_us": "CPU µs",
    "wall_us": "wall µs",
    "p50_us": "p50 µs",
    "p99_us": "p99 µs",
    "rss_kib": "KiB",
    "after_kib": "KiB after traffic",
    "rss_mib": "RSS MiB",
    "cpu_percent": "CPU %",
    "client_us": "client's CPU µs",
    "rate": "records/s",
}


class Plan:
    """How much: full, quick (seconds each, to look at while working), or smoke (does it run?)."""

    def __init__(self, size):
        self.size = size
        self.budget_s = {"full": 2.0, "quick": 0.3, "smoke": 0.002}[size]
        self.repetitions = {"full": 5, "quick": 3, "smoke": 1}[size]
        self.paced_s = {"full": 10, "quick": 2, "smoke": 0.2}[size]
        self.replayed = {"full": 1_000_000, "quick": 200_000, "smoke": 2_000}[size]
        self.idle_s = {"full": 180, "quick": 5, "smoke": 0.5}[size]
        self.divide_subscribers = {"full": 1, "quick": 1, "smoke": 50}[size]
        server, load = machine.cores()
        self.awake = size != "smoke" and server != load  # the load generator, where CPU is measured

    def subscribers(self, n):
        return max(2, n // self.divide_subscribers) if n > 1 else n


class Meter:
    """CPU of a server over a stretch of time; and which part of the machine others took meanwhile."""

    def __init__(self, system, load):
        self.system = system
        self.pid = system.pid
        self.load_pid = load.pid

    def _read(self):
        return machine.cpu_ns(self.pid), time.monotonic_ns(), machine.busy_ns(), machine.cpu_ns(self.load_pid)

    def __enter__(self):
        self.system.measuring(True)
        self.begin = self._read()
        return self

    def read(self):
        self.cpu, self.wall, busy, load = (now - begin for now, begin in zip(self._read(), self.begin))
        self.others = max(0.0, (busy - self.cpu - load) / self.wall / os.cpu_count())
        self.system.measuring(False)

    def __exit__(self, kind, *_):
        if kind is None:
            self.read()

    def result(self, **metrics):
        return dict(metrics, others=round(self.others, 3))


def round_to(n):
    """Two digits are enough."""
    digits = max(0, len(str(int(n))) - 2)
    return max(1, int(n) // 10 ** digits * 10 ** digits)


class Variant:
    unit = "record"
    realtime = False  # before everything else on its core: for times, not for CPU
    expected_us = {}  # by system: what a unit costs, about

    def __init__(self, workload, name, systems):
        self.workload = workload
        self.name = name
        self.systems = systems

    def events(self, plan, system, units_each=1, least=200):
        us = next((self.expected_us[c] for c in type(system).__mro__ if c in self.expected_us), 1.0)
        return max(round_to(plan.budget_s * 1e6 / us / units_each), least if plan.size != "smoke" else 64)


def flight(subscribers):
    return max(1024, min(65536, FLIGHT_BYTES // RECORD_BYTES // max(1, subscribers)))


# ---------------------------------------------------------------------------------------------------- W1, W2

class FanOut(Variant):
    """One publisher, as fast as it goes, to n subscribers that want everything."""
    unit = "delivery"

    def __init__(self, workload, name, systems, subscribers):
        super().__init__(workload, name, systems)
        self.n = subscribers
        one, many = subscribers == 1, subscribers >= 1000
        self.expected_us = {
            LimitRelay: 0.06 if one else 0.03, LimitSync: 0.2 if one else 0.03,
            Sensebus: 1.0 if one else 0.05, SensebusRelaxed: 1.0 if one else 0.05,
            Nats: 0.45 if many or one else 0.35, JetStream: 4.5 if one else 2.2,
            Redis: 0.8 if one else 0.5 if many else 0.2, RedisStream: 2.5 if one else 0.6,
            RedisStreamAlways: 5.0, Mosquitto: 9.0, Mosquitto1: 13.0, Rabbit: 2.0 if one else 0.1,
        }

    def measure(self, plan, system):
        n = plan.subscribers(self.n)
        events = self.events(plan, system, n)
        with Load(system, publishers=1, subscribers=n, flight=flight(n), window=16384, awake=plan.awake) as load:
            load.publish(max(events // 5, 64))
            with Meter(system, load) as meter:
                load.publish(events)
        return meter.result(cpu_us=meter.cpu / 1e3 / events / n, wall_us=meter.wall / 1e3 / events / n)


# ---------------------------------------------------------------------------------------------------- W3

class Paced(Variant):
    """1,000 records a second to 10 subscribers: how old is a record when it arrives?"""
    unit = "delivery"
    realtime = True
    rate = 1000
    n = 10

    def measure(self, plan, system):
        with Load(system, publishers=1, subscribers=self.n, rate=self.rate, latency=True) as load:
            load.publish(int(self.rate * plan.paced_s / 4))
            events = int(self.rate * plan.paced_s)
            with Meter(system, load) as meter:
                done = load.publish(events)
        return meter.result(p50_us=done["p50_us"], p99_us=done["p99_us"], cpu_us=meter.cpu / 1e3 / events / self.n)


# ---------------------------------------------------------------------------------------------------- W4

class Ingest(Variant):
    """Publishers alone, acknowledged; nobody reads."""
    expected_us = {LimitSync: 0.1, Sensebus: 0.9, JetStream: 3.0, RedisStreamAlways: 5.0, RedisStream: 2.2, Mosquitto1: 11.0,
                   Rabbit: 1.5}

    def __init__(self, workload, name, systems, publishers, window):
        super().__init__(workload, name, systems)
        self.publishers = publishers
        self.window = window

    def measure(self, plan, system):
        events = self.events(plan, system)
        with Load(system, publishers=self.publishers, window=self.window, awake=plan.awake) as load:
            load.publish(max(events // 5, 64))
            with Meter(system, load) as meter:
                load.publish(events)
        return meter.result(cpu_us=meter.cpu / 1e3 / events, wall_us=meter.wall / 1e3 / events)


# ---------------------------------------------------------------------------------------------------- W5

class Selective(Variant):
    """1,000 subscribers, each of which wants another thousandth; or another key that no record has."""
    n = 1000
    expected_us = {LimitByKey: 2.0, Sensebus: 10.0, Nats: 2.5, JetStream: 220.0, Redis: 5.0, RedisStream: 18.0,
                   Mosquitto: 12.0}

    def __init__(self, workload, name, systems, matching=True, **options):
        super().__init__(workload, name, systems)
        self.matching = matching
        self.options = options
        if not matching:
            self.expected_us = {Sensebus: 5.0}

    def measure(self, plan, system):
        options = dict({"subscribers": self.n}, **self.options)
        options["subscribers"] = n = plan.subscribers(options["subscribers"])
        keys = plan.subscribers(self.n)
        events = self.events(plan, system, least=2 * keys)
        with Load(system, publishers=1, keys=keys, by_key=n > 0, first_key=0 if self.matching else keys, window=16384,
                  awake=plan.awake, **{k: v for k, v in options.items()}) as load:
            load.publish(max(events // 5, 64))
            with Meter(system, load) as meter:
                load.publish(events)
        return meter.result(cpu_us=meter.cpu / 1e3 / events, wall_us=meter.wall / 1e3 / events)


# ---------------------------------------------------------------------------------------------------- W6

class CatchUp(Variant):
    """A log of a million records, and one subscriber that begins at the oldest."""

    def measure(self, plan, system):
        with Load(system, publishers=1, window=16384) as fill:
            fill.publish(plan.replayed)
        with Load(system, subscribers=1, replay=True, awake=plan.awake) as load, Meter(system, load) as meter:
            load.begin(f"replay {plan.replayed}")
            load.end()
        return meter.result(cpu_us=meter.cpu / 1e3 / plan.replayed, wall_us=meter.wall / 1e3 / plan.replayed)


class PythonCatchUp(CatchUp):
    """The same, read by Debian's Python client, which decodes every record."""

    def measure(self, plan, system):
        with Load(system, publishers=1, window=16384) as fill:
            fill.publish(plan.replayed)
        try:
            reader = Reader(system, plan.replayed)
        except ReaderMissing as reason:
            raise Absent(str(reason)) from None
        meter = Meter(system, reader).__enter__()
        seconds, client_s = reader.run(meter.read)
        return meter.result(cpu_us=meter.cpu / 1e3 / plan.replayed, client_us=client_s * 1e6 / plan.replayed,
                            rate=plan.replayed / seconds)


# ---------------------------------------------------------------------------------------------------- W7, W8

class Memory(Variant):
    """What an idle subscriber costs in memory, before and after it was sent something."""
    unit = "subscriber"

    def __init__(self, workload, name, systems, subscribers):
        super().__init__(workload, name, systems)
        self.n = subscribers

    def measure(self, plan, system):
        n = plan.subscribers(self.n)
        events = min(10_000, max(100, (100 << 20) // RECORD_BYTES // n))
        with Load(system, publishers=1, window=256) as publisher:
            publisher.publish(1000)
            before = machine.rss_bytes(system.pid)
            with Load(system, subscribers=n, **system.subscriber_options) as load:
                time.sleep(0.5)
                idle = machine.rss_bytes(system.pid)
                load.begin(f"expect {events}")
                publisher.publish(events)
                load.end()
                time.sleep(0.5)
                after = machine.rss_bytes(system.pid)
        return {"rss_kib": (idle - before) / 1024 / n, "after_kib": (after - before) / 1024 / n,
                "rss_mib": after / (1 << 20)}


class Idle(Variant):
    """Subscribers, and nothing to tell them."""
    unit = "server"

    def __init__(self, workload, name, systems, subscribers):
        super().__init__(workload, name, systems)
        self.n = subscribers

    def measure(self, plan, system):
        with Load(system, publishers=1, subscribers=plan.subscribers(self.n)) as load:
            load.publish(1)
            time.sleep(1)
            with Meter(system, load) as meter:
                time.sleep(plan.idle_s)
        return meter.result(cpu_percent=100 * meter.cpu / meter.wall)


# ---------------------------------------------------------------------------------------------------- all of them

BROKERS = [Nats, JetStream, Redis, RedisStream, Mosquitto, Mosquitto1, Rabbit]
LOGS = [JetStream, RedisStream, RedisStreamAlways, Mosquitto1, Rabbit]

VARIANTS = [
    FanOut("W1", "1 → 1", [LimitRelay, LimitSync, Sensebus, *BROKERS], 1),
    FanOut("W2", "1 → 100", [LimitRelay, LimitSync, Sensebus, *BROKERS], 100),
    FanOut("W2", "1 → 1000", [LimitRelay, LimitSync, Sensebus, *BROKERS], 1000),
    Paced("W3", "1,000/s → 10", [LimitRelay, LimitSync, Sensebus, SensebusRelaxed, *BROKERS]),
    Ingest("W4", "1 publisher, window 1024", [LimitSync, Sensebus, *LOGS], 1, 1024),
    Ingest("W4", "1 publisher, window 16384", [LimitSync, Sensebus, *LOGS], 1, 16384),
    Ingest("W4", "16 publishers, window 1024", [LimitSync, Sensebus, *LOGS], 16, 1024),
    Selective("W5", "1000 subscribers, by target", [LimitByKey, Sensebus, Nats, JetStream, Redis, RedisStream, Mosquitto]),
    Selective("W5", "1000 subscribers, by designator", [Sensebus], by_designator=True),
    Selective("W5", "no subscriber", [Sensebus], matching=False, subscribers=0),
    Selective("W5", "1000 subscribers that match nothing, by target", [Sensebus], matching=False),
    Selective("W5", "1000 subscribers that match nothing, by designator", [Sensebus], matching=False, by_designator=True),
    CatchUp("W6", "catch-up of the log", [LimitReplay, Sensebus, JetStream, RedisStream, Rabbit]),
    PythonCatchUp("W6", "catch-up by a stock Python client", [Sensebus]),
    Memory("W7", "1000 subscribers", [LimitRelay, Sensebus, *BROKERS], 1000),
    Memory("W7", "1000 subscribers, TLS", [SensebusTls], 1000),
    Memory("W7", "5000 subscribers", [LimitRelay, Sensebus, Nats, JetStream, Redis, Mosquitto], 5000),
    Memory("W7", "10000 subscribers", [Sensebus], 10000),
    Idle("W8", "1000 subscribers", [LimitRelay, Sensebus, *BROKERS], 1000),
    Idle("W8", "5000 subscribers", [LimitRelay, Sensebus, Nats, JetStream, Redis, Mosquitto], 5000),
]
