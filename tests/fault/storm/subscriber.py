# SPDX-License-Identifier: Apache-2.0
"""A subscriber on a stock client: asks, writes down what comes, and goes on from where it was after each break.

Its plan (cast.py) says what it asks for, how it goes on, and how badly it behaves.
"""
import random
import time
import zlib

import agent
from sensebus_testlib import code_pb2, event_pb2, events_pb2, events_pb2_grpc, grpc

PLACE, EPOCH, KNOWN = 0, 1, 2  # of the board: KNOWN is 1 once there is a place
N_NUMBERS = 3
BROKER_FIELDS = ("sequence", "broker_time_unix_ns", "session_generation")
START_NOW = events_pb2.StartNow()


def crc_of(event):
    """Of what the agent made: without the broker's fields."""
    for name in BROKER_FIELDS:
        event.ClearField(name)
    return zlib.crc32(event.SerializeToString())


def record_of(event):
    """As history.RECORD."""
    o, a = event.origin, event.address
    sequence, when = event.sequence, event.broker_time_unix_ns
    return [sequence, crc_of(event), when, o.source, o.host, o.agent_epoch, o.source_sequence, event.code, event.severity,
            event.aix_bits, a.adapter, a.target, a.lun, event.device.designator, event.loss.first_source_sequence,
            event.loss.last_source_sequence]


def filter_of(asked):
    """The message for a filter as the history has it."""
    members = dict(asked)
    members["addresses"] = [events_pb2.AddressPattern(bus=-1, controller=-1, **p) for p in asked.get("addresses", [])]
    members["exclude"] = [filter_of(f) for f in asked.get("exclude", [])]
    return events_pb2.Filter(**members)


class Subscriber:
    def __init__(self, player):
        self.player, self.plan, self.name = player, player.plan, player.name
        self.world = player.world
        self.stream = player.lives * 100000
        self.resume_at_oldest = self.plan.get("resume_at_oldest", False)
        self.acknowledged = 0

    # ---- where it is

    def place(self):
        return (self.player.get(EPOCH), self.player.get(PLACE)) if self.player.get(KNOWN) else None

    def moved_to(self, epoch, sequence):
        self.player.set(EPOCH, epoch)
        self.player.set(PLACE, sequence)
        self.player.set(KNOWN, 1)

    # ---- asking

    def request(self):
        plan, place = self.plan, self.place()
        asked, start = plan.get("filter"), plan.get("start", ("now",))
        stop = False
        if plan.get("tourist") and not self.world.calm():
            asked, start, stop = self.tour()
        elif plan.get("cursor"):
            start = ("cursor", plan["cursor"])
        elif place and start[0] != "snapshot":
            start = ("position", *place)
        req = {"policy": plan.get("policy", "LAG"), "start": start, "mark": plan.get("mark", 0)}
        if asked:
            req["filter"] = asked
        if plan.get("lag_limit"):
            req["lag_limit"] = plan["lag_limit"]
        if self.resume_at_oldest:
            req["resume_at_oldest"] = True
        if stop:
            req["stop_at_newest"] = True
        return req

    def tour(self):
        """Something else each time."""
        place = self.place()
        asked = random.choice([None, {"designators": [agent.designator(random.randrange(60))]},
                               {"hosts": [f"agent-{random.randint(1, 4)}"], "minimum_severity": random.randint(1, 5)},
                               {"codes": random.sample(sorted({code_pb2.Code.Value(c) for c in agent.CODES}), 2)}])
        back = random.randint(0, 3000)
        start = random.choice([("now",), ("oldest",), ("last", random.randint(1, 2000)), ("snapshot",),
                               ("since", time.time_ns() - random.randint(0, 10 ** 10)),
                               ("position", place[0], max(0, place[1] - back)) if place else ("oldest",)])
        return asked, start, random.random() < 0.5

    def message(self, req):
        kind, *values = req["start"]
        start = {"now": lambda: {"now": START_NOW},
                 "oldest": lambda: {"oldest": events_pb2.StartOldest()},
                 "snapshot": lambda: {"snapshot": True},
                 "position": lambda: {"position": events_pb2.Position(epoch=values[0], sequence=values[1])},
                 "cursor": lambda: {"cursor": values[0]},
                 "since": lambda: {"since_unix_ns": values[0]},
                 "last": lambda: {"last": values[0]}}[kind]()
        return events_pb2.SubscribeRequest(
            filter=filter_of(req["filter"]) if "filter" in req else None, context=self.name.encode(),
            slow_reader_policy="SLOW_READER_POLICY_" + req["policy"], lag_limit=req.get("lag_limit", 0),
            mark_interval_ms=req["mark"], resume_at_oldest=req.get("resume_at_oldest", False),
            stop_at_newest=req.get("stop_at_newest", False), **start)

    # ---- reading

    def write(self, kind, **members):
        self.player.write(kind, s=self.name, i=self.stream, **members)

    def take(self, batch):
        """Write it down, then know it."""
        kinds = [f.name for f, _ in batch.ListFields() if f.name != "correlator"]
        if len(kinds) != 1 or batch.correlator != self.name.encode():
            self.write("strange", what=f"members {kinds}, correlator {batch.correlator!r}")
            return
        kind = kinds[0]
        if kind == "events":
            self.take_events(batch.events)
            return
        message = getattr(batch, kind)
        if kind == "gap":
            self.write("gap", **{"f": getattr(message, "from").epoch, "from": getattr(message, "from").sequence},
                       E=message.to.epoch, to=message.to.sequence, count=message.count, least=message.at_least,
                       bits=message.aix_bits, stage=message.stage)
            self.moved_to(message.to.epoch, message.to.sequence)
            if self.plan.get("auditor") and (getattr(message, "from").epoch == message.to.epoch or message.to.sequence):
                self.pass_over()
            return
        at = message.position
        if kind == "opened":
            self.epoch = at.epoch
            self.resume_at_oldest = self.plan.get("resume_at_oldest", False)
            self.write("opened", E=at.epoch, at=at.sequence, oldest=message.oldest.sequence, newest=message.newest.sequence)
            if self.asked["start"][0] != "position" or [at.epoch, at.sequence] == list(self.asked["start"][1:]):
                self.moved_to(at.epoch, at.sequence)  # otherwise a Gap comes, and is what moves it
            return
        self.write({"snapshot_begin": "snap"}.get(kind, kind), E=at.epoch, at=at.sequence)
        if kind == "snapshot_begin":
            self.in_snapshot = True
        else:
            self.in_snapshot = False
            self.moved_to(at.epoch, at.sequence)

    def take_events(self, events):
        newest = events[-1].sequence
        if self.plan.get("auditor"):
            records = [record_of(e) for e in events]
            self.write("rec", E=self.epoch, x=records)
            self.tell_agents(records)
        else:
            self.write("ev", x=[x for e in events for x in (e.sequence, crc_of(e))])
        if not self.in_snapshot:
            self.moved_to(self.epoch, newest)

    # ---- the auditor, for whom agents wait

    def tell_agents(self, records):
        read = {host: n for _, _, _, source, host, _, n, *_ in records if source != event_pb2.SOURCE_BROKER}
        for host, n in read.items():
            self.tell_agent(host, n)

    def pass_over(self):
        """What was acknowledged may be gone, and is not waited for."""
        for host, player in self.world.agents.items():
            self.tell_agent(host, player.get(agent.ACKED))

    def tell_agent(self, host, n):
        player = self.world.agents[host]
        player.set(agent.AUDITED, max(n, player.get(agent.AUDITED)))

    def read(self, call):
        """Until the stream ends, or it is time for another."""
        end = time.monotonic() + random.uniform(0.2, 5)
        churns = self.plan.get("tourist") or self.plan.get("churns")
        for batch in call:
            self.take(batch)
            if self.world.calm():
                continue
            if churns and time.monotonic() > end:
                return True
            self.loiter()
            self.acknowledge()
        return False

    def loiter(self):
        if self.plan.get("slow_s"):
            time.sleep(random.random() * 2 * self.plan["slow_s"])
        if random.random() < self.plan.get("naps", 0):
            end = time.monotonic() + random.uniform(*self.plan["nap_s"])
            while time.monotonic() < end and not self.world.calm():
                time.sleep(0.1)

    def acknowledge(self):
        if not self.plan.get("cursor") or time.monotonic() < self.acknowledged + 0.3 or self.place() is None:
            return
        self.acknowledged = time.monotonic()
        epoch, sequence = self.place()
        move = {"cursor": self.plan["cursor"], "E": epoch, "at": sequence}
        self.player.write("try", s=self.name, **move)
        try:
            self.stub.Acknowledge(events_pb2.AcknowledgeRequest(
                cursor=move["cursor"], position=events_pb2.Position(epoch=epoch, sequence=sequence)), timeout=3)
            self.player.write("moved", s=self.name, **move)
        except grpc.RpcError:
            pass

    def one_stream(self, channel):
        self.stream += 1
        self.in_snapshot = False
        req = self.asked = self.request()
        self.write("open", req=req)
        self.stub = events_pb2_grpc.EventsStub(channel)
        call = self.stub.Subscribe(self.message(req), wait_for_ready=False)
        code, details, ours = "OK", "", False
        try:
            ours = self.read(call)
        except grpc.RpcError as error:
            code, details = error.code().name, error.details() or ""
        call.cancel()
        self.write("end", code=code, details=details, ours=ours)
        if code == "OUT_OF_RANGE":
            self.resume_at_oldest = True
        return code not in ("UNAVAILABLE", "OK") or ours

    def play(self):
        options = {"grpc.use_local_subchannel_pool": 1, "grpc.keepalive_time_ms": 4000, "grpc.keepalive_timeout_ms": 4000,
                   "grpc.http2.max_pings_without_data": 0, "grpc.initial_reconnect_backoff_ms": 100,
                   "grpc.max_reconnect_backoff_ms": 500}
        if self.plan.get("slow_s") or self.plan.get("naps"):
            options.update({"grpc.http2.lookahead_bytes": 0, "grpc.http2.bdp_probe": 0})
        while not self.world.over():
            channel = grpc.insecure_channel(self.world.network.address(self.player.host), options=list(options.items()))
            while self.one_stream(channel) and not self.world.over():
                pass
            channel.close()
            time.sleep(0.05 + random.random() * 0.1)


def play(player):
    Subscriber(player).play()


assert event_pb2  # the modules of the stubs import one another
