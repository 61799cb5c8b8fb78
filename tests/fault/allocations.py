# SPDX-License-Identifier: Apache-2.0
"""Memory runs out in the broker, at one allocation after the other, and again and again by chance.

sensebus-broker-starved is the broker with an allocator that fails when it is told to (allocation.c). One scenario goes
through everything that is asked of a broker; in each round one allocation of it fails. The broker must live, answer
what it cannot do with a reason, lose no record that it acknowledged, pass over none in silence, and work as before when
there is memory again.

SENSEBUS_SEED makes the play by chance repeat. SENSEBUS_SWEEP=all sweeps over every allocation instead of some of each
stretch, SENSEBUS_SWEEP=N,A-B over these; SENSEBUS_SWEEP_TRACE=1 writes to the log where an allocation failed.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import kill_broker  # noqa: E402
from starvation import *  # noqa: E402,F403
from adapter_stream import *  # noqa: E402,F403
from kill_broker import Follower, SteadyAgent  # noqa: E402
from pki import Pki  # noqa: E402
from sdi_listener import *  # noqa: E402,F403

SEED = int(os.environ.get("SENSEBUS_SEED", "0")) or random.SystemRandom().getrandbits(32)
SWEEP = os.environ.get("SENSEBUS_SWEEP", "")
CHANCE_S = float(os.environ.get("SENSEBUS_STARVED_S", "10"))
STEP_LIMIT_S = LIMIT_S / 2
N_EVENTS = 50
EPOCH = 77
# How something may end for want of memory: with an answer, with its stream, or with its connection.
STARVED = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)


class StarvedBroker(Broker):
    def __init__(self, *options, **members):
        self.allocations = Allocations()
        super().__init__("--agent-heartbeat", "1h", *options, env=self.allocations.env, **members)
        self.path = os.path.join(BUILD, "tests", "fault", "sensebus-broker-starved")

    def __exit__(self, *how):
        try:
            super().__exit__(*how)
        finally:
            self.allocations.close()


class Starved(Exception):
    """Something ended as it may without memory."""


def is_allowed(error):
    """gRPC's core says UNKNOWN, "Stream removed", of a call whose connection went before it was told why."""
    return error.code() in STARVED or (error.code(), error.details()) == (grpc.StatusCode.UNKNOWN, "Stream removed")


def starved(error, what):
    """Pass over an end that is allowed, and raise what is not."""
    if error is None or not is_allowed(error):
        raise AssertionError(f"{what} ended with {error and error.code()}: {error and error.details()}")
    raise Starved(f"{what}: {error.code()} {error.details()}")


# ---------------------------------------------------------------------------------------------------- the scenario

class StarvedTlsBroker(StarvedBroker):
    EVERYBODY = 'principals: [{identity: "uri:sensebus://operator/*", roles: [all], hosts: ["*"]}]\n'

    def __init__(self, pki):
        authority, key, chain = pki.issue("operator", "o1").read()
        self.credentials = grpc.ssl_channel_credentials(authority, key, chain)
        super().__init__(*pki.broker().listen_options(), listen="tls://127.0.0.1:0", plaintext_roles=None)

    def channel(self, **options):
        arguments = {"grpc.use_local_subchannel_pool": 1} | options
        self.channels.append(grpc.secure_channel(self.address.removeprefix("tls://"), self.credentials,
                                                 options=list(arguments.items())))
        return self.channels[-1]


class Scenario:
    """Everything once. Each step may end early for want of memory, and the next one is done all the same."""

    STEPS = ("attach", "follow", "publish", "resume", "ask", "adapter", "drivers", "detach")

    def __init__(self, broker, number):
        self.broker = broker
        self.host = f"host-{number}"
        self.published = 0
        self.acked = 0
        self.endings = []
        self.opened = []  # what is to be closed
        self.channels = []

    def channel(self):
        """A connection of its own, that is not tried again for a while."""
        self.channels.append(self.broker.channel(**{"grpc.enable_retries": 0}))
        return self.channels[-1]

    def step(self, step):
        try:
            step()
        except Starved as reason:
            self.endings.append(str(reason))
        except grpc.RpcError as error:
            try:
                starved(error, step.__name__)
            except Starved as reason:
                self.endings.append(str(reason))

    def run(self):
        for step in self.STEPS:
            self.step(getattr(self, step))
        for thing in self.opened:
            thing.cancel()
        for channel in self.channels:
            channel.close()
            self.broker.channels.remove(channel)
        return self

    def attach(self):
        self.agent = FakeAgent(self.broker, self.host, EPOCH, channel=self.channel(), attach=False,
                               adapters={"iscsi0": ALL_CAPABILITIES})
        self.opened.append(self.agent.call)
        self.agent.hello(adapters=self.agent.adapters)
        self.wait_agent(self.agent.welcome, "attach")
        self.agent.inventory(*DEVICES)

    def wait_agent(self, condition, what):
        wait_until(lambda: condition() or self.agent.ended.is_set(), what, STEP_LIMIT_S)
        if not condition():
            starved(self.agent.error, what)

    def subscription(self, **request):
        s = Subscription(self.broker, channel=self.channel(), limit_s=STEP_LIMIT_S, **request)
        self.opened.append(s)
        return s

    def wait_all(self, s, first, last, what):
        """Until what is between came or is told as missing; the log begins with 1 and has no holes."""
        def told():
            at = first
            for batch in list(s.batches):
                if batch.HasField("gap"):
                    check_equal(getattr(batch.gap, "from").sequence + 1, at, f"{what}: the gap's first")
                    at = batch.gap.to.sequence + 1
                for event in batch.events:
                    check_equal(event.sequence, at, f"{what}: the next sequence")
                    at += 1
            return at > last
        wait_until(lambda: told() or s.ended.is_set(), what, STEP_LIMIT_S)
        if not told():
            starved(s.error, what)

    def follow(self):
        self.follower = self.subscription(now=events_pb2.StartNow())
        wait_until(lambda: self.follower.controls("opened") or self.follower.ended.is_set(), "Opened", STEP_LIMIT_S)
        if not self.follower.controls("opened"):
            starved(self.follower.error, "follow")
        self.subscription(filter=events_pb2.Filter(codes=[code_pb2.LUN_RESET], hosts=[self.host, "db-*"],
                                                   addresses=[events_pb2.AddressPattern(bus=-1, controller=-1, target=1,
                                                                                        lun=0)]),
                          now=events_pb2.StartNow(), slow_reader_policy=events_pb2.SLOW_READER_POLICY_LIVE)

    def publish(self):
        if self.agent.ended.is_set():
            starved(self.agent.error, "agent")
        self.published = N_EVENTS
        for first in range(1, N_EVENTS + 1, 10):
            self.agent.publish(*[make_event(self.host, EPOCH, n, lun=n % 3, summary=f"event {n}")
                                 for n in range(first, first + 10)])
        try:
            self.wait_agent(lambda: self.agent.acked() >= N_EVENTS, "publish")
        finally:
            self.acked = self.agent.acked()
        check(not self.agent.refused(), str(self.agent.refused()))
        newest = self.admin(lambda a: a.GetBroker(admin_pb2.GetBrokerRequest(), timeout=STEP_LIMIT_S)).newest.sequence
        opened = self.follower.controls("opened")
        if opened:
            self.wait_all(self.follower, opened[0].position.sequence + 1, newest, "follow")

    def admin(self, call):
        return call(admin_pb2_grpc.AdminStub(self.channel()))

    def resume(self):
        info = self.admin(lambda a: a.GetBroker(admin_pb2.GetBrokerRequest(), timeout=STEP_LIMIT_S))
        first = max(0, info.newest.sequence - N_EVENTS)
        s = self.subscription(position=events_pb2.Position(epoch=info.newest.epoch, sequence=first), stop_at_newest=True)
        self.wait_end(s, "resume")
        self.wait_all(s, first + 1, info.newest.sequence, "resume")
        s = self.subscription(now=events_pb2.StartNow(), snapshot=True, stop_at_newest=True)
        self.wait_end(s, "snapshot")

    def wait_end(self, s, what):
        wait_until(s.ended.is_set, what, STEP_LIMIT_S)
        if s.error is not None:
            starved(s.error, what)

    def ask(self):
        channel = self.channel()
        events, admin = events_pb2_grpc.EventsStub(channel), admin_pb2_grpc.AdminStub(channel)
        info = admin.GetBroker(admin_pb2.GetBrokerRequest(), timeout=STEP_LIMIT_S)
        events.Acknowledge(events_pb2.AcknowledgeRequest(cursor="reader", position=info.newest), timeout=STEP_LIMIT_S)
        events.GetStatus(events_pb2.GetStatusRequest(filter=events_pb2.Filter(hosts=[self.host])), timeout=STEP_LIMIT_S)
        admin.ListAgents(admin_pb2.ListAgentsRequest(), timeout=STEP_LIMIT_S)
        admin.ListDevices(admin_pb2.ListDevicesRequest(), timeout=STEP_LIMIT_S)
        admin.ListSubscriptions(admin_pb2.ListSubscriptionsRequest(), timeout=STEP_LIMIT_S)
        self.wait_end(self.subscription(cursor="reader", stop_at_newest=True), "cursor")

    def wait_inventory(self):
        admin = admin_pb2_grpc.AdminStub(self.channel())
        request = admin_pb2.ListDevicesRequest(hosts=[self.host])
        wait_until(lambda: self.agent.ended.is_set() or admin.ListDevices(request, timeout=STEP_LIMIT_S).devices,
                   "the inventory", STEP_LIMIT_S)

    def adapter(self):
        self.wait_inventory()
        stream = AdapterStream(self.broker, channel=self.channel(), limit_s=STEP_LIMIT_S)
        self.opened.append(stream)
        session = self.asked(stream, start=A.Start(address=address(1, 0, host=self.host)))
        if session is None:
            return
        session_id = session.start.session_id
        self.asked(stream, event=A.RegisterEvent(session_id=session_id, mode=INITIATOR, correlator=b"abc"))
        if self.published > 0 and not self.agent.ended.is_set():
            self.agent.publish(make_event(self.host, EPOCH, N_EVENTS + 1, target=1))
        self.asked(stream, inquiry=A.Inquiry(session_id=session_id))
        self.asked(stream, wait_pri=A.WaitPri(session_ids=[session_id], timeout_ms=0))
        self.asked(stream, stop=A.Stop(session_id=session_id))

    def asked(self, stream, **request):
        """The result when it is one of success; None when it says why not."""
        request_id = stream.send(**request)
        wait_until(lambda: stream.answered(request_id) or stream.is_over, str(request), STEP_LIMIT_S)
        if not stream.answered(request_id):
            starved(stream.error, "adapter")
        result = stream.results[request_id]
        if result.error == A.ERRNO_OK:
            return result
        if result.error != A.ERRNO_ENOMEM and "not enough memory" not in result.message:
            check(self.agent.ended.is_set(), f"{request}: {describe(result)}")
            starved(self.agent.error, "agent")
        self.endings.append(f"adapter: {describe(result)}")
        return None

    def drivers(self):
        listener = Listener(self.broker, channel=self.channel())
        self.opened.append(listener)
        request_id = listener.send(add=sdi_pb2.AddEvent(event_type=PRIVATE, address=adr()))
        wait_until(lambda: request_id in listener.results or listener.ended.is_set(), "a handler", STEP_LIMIT_S)
        if request_id not in listener.results:
            starved(listener.error, "drivers")
        answer = sdi_pb2_grpc.SdiStub(self.channel()).NotifyEvent(
            sdi_pb2.NotifyEventRequest(event_type=PRIVATE, address=adr(bus=0)), timeout=STEP_LIMIT_S)
        if answer.result != OK:
            self.endings.append(f"drivers: {answer.n_failed} of {answer.n_called} failed")

    def detach(self):
        if not self.agent.ended.is_set():
            self.agent.send(agents_pb2.AgentMessage(detach=agents_pb2.Detach(reason="over")))
            wait_until(self.agent.ended.is_set, "the agent's end", STEP_LIMIT_S)
        self.agent.outgoing.put(None)


# ---------------------------------------------------------------------------------------------------- the judge

def judge(broker, scenarios):
    """What was acknowledged is in the log, once and in order; what is in the log was published."""
    found = {}
    expected = 1
    for event in broker.read_all():
        check_equal(event.sequence, expected, "sequence")
        expected += 1
        check(event.code != code_pb2.EVENTS_LOST, f"events were lost: {event}")
        if event.origin.source != event_pb2.SOURCE_BROKER:
            found.setdefault(event.origin.host, []).append(event.origin.source_sequence)
    for s in scenarios:
        numbers = found.get(s.host, [])
        check_equal(numbers, list(range(1, len(numbers) + 1)), f"source sequences of {s.host}")
        check(s.acked <= len(numbers) <= s.published + 1,
              f"{s.host}: {s.published} published, {s.acked} acknowledged, {len(numbers)} in the log")


def works(broker, number, kind=Scenario):
    """With memory everything works, at the first try."""
    s = kind(broker, number).run()
    check_equal(s.endings, [], "endings with memory")
    check_equal(s.acked, N_EVENTS, "acknowledged with memory")
    return s


# ---------------------------------------------------------------------------------------------------- the tests

def which(n_all, n_samples):
    if SWEEP == "all":
        return list(range(1, n_all + 1))
    if SWEEP:
        ranges = [part.partition("-") for part in SWEEP.split(",")]
        return [n for first, _, last in ranges for n in range(int(first), int(last or first) + 1)]
    chance, stretch = random.Random(SEED), n_all / n_samples
    return sorted({int((i + chance.random()) * stretch) + 1 for i in range(n_samples)})


def sweep(broker, kind, n_samples):
    """One allocation after the other fails, each in a scenario of its own."""
    scenarios = [works(broker, "first", kind), works(broker, "second", kind)]
    broker.allocations.fail()
    scenarios.append(works(broker, "counted", kind))
    broker.allocations.stop()
    rounds, n_failed, endings, wrong = which(broker.allocations["counted"], n_samples), 0, {}, []
    print(f"seed {SEED}, {broker.allocations['counted']} allocations, {len(rounds)} of them fail", flush=True)
    for i, n in enumerate(rounds):
        broker.allocations.fail(fail_at=n)
        scenarios.append(kind(broker, n))
        try:
            scenarios[-1].run()
        except AssertionError as error:
            wrong.append(f"allocation {n}: {error}")
        finally:
            broker.allocations.stop()
        check(broker.running(), f"allocation {n}: the broker ended")
        n_failed += broker.allocations["failed"]
        for ending in scenarios[-1].endings:
            ending = re.sub(r"127.0.0.1:[0-9]+", "…", ending)
            endings[ending] = endings.get(ending, 0) + 1
        if i % 25 == 24 or i == len(rounds) - 1:
            scenarios.append(works(broker, f"after-{n}", kind))
    judge(broker, scenarios)
    for ending, times in sorted(endings.items(), key=lambda e: -e[1]):
        print(f"  {times} × {ending}")
    print(f"{n_failed} failed", flush=True)
    check(not wrong, "\n".join(wrong))


def test_each_allocation_fails_once():
    with StarvedBroker() as broker:
        sweep(broker, Scenario, 110)


class Brief(Scenario):
    """What a connection is needed for; TLS makes each one dear."""
    STEPS = ("attach", "follow", "publish", "detach")


def test_each_allocation_with_tls_fails_once():
    with Pki() as pki, StarvedTlsBroker(pki) as broker:
        sweep(broker, Brief, 50)


class Visitor(Scenario):
    """Asks and listens, and leaves no events in the log but the broker's own."""
    STEPS = ("attach", "resume", "ask", "adapter", "drivers", "detach")


def test_one_allocation_in_two_thousand_fails():
    kill_broker.RATE = 2000
    Follower.endings += STARVED
    with StarvedBroker() as broker:
        agent, follower = SteadyAgent(broker), Follower(broker)
        agent.start()
        follower.start()
        wait_until(lambda: agent.acked > 0 and follower.records, "the first events")
        for n in range(3):
            check_equal(Visitor(broker, f"before-{n}").run().endings, [], "endings with memory")
        broker.allocations.fail(one_in=2000, seed=SEED)
        end, n_rounds, n_endings = time.monotonic() + CHANCE_S, 0, 0
        give_up = end + LIMIT_S  # on a busy machine it takes longer until enough has failed
        while broker.running() and (time.monotonic() < end or
                                    broker.allocations["failed"] < 20 and time.monotonic() < give_up):
            n_endings += len(Visitor(broker, f"visitor-{n_rounds}").run().endings)
            n_rounds += 1
        broker.allocations.stop()
        check(broker.running(), "the broker ended")
        n_failed, n_all = broker.allocations["failed"], broker.allocations["counted"]
        print(f"seed {SEED}: {n_failed} of {n_all} allocations failed, {n_endings} endings in {n_rounds} rounds, "
              f"{agent.n_streams} streams of the agent", flush=True)
        check(n_failed >= 10, "hardly any allocation failed")
        kill_broker.finish(broker, agent, follower)
        works(broker, "after")


def test_a_shortage_that_lasts_holds_up_no_record():
    """One allocation in fifteen fails: the status of many devices can hardly be stored, and records are acknowledged all the
    same."""
    kill_broker.RATE = 200
    Follower.endings += STARVED
    with StarvedBroker() as broker:
        agent, follower = SteadyAgent(broker), Follower(broker)
        agent.start()
        follower.start()
        wait_until(lambda: agent.acked >= 100 and follower.records, "the first events, of 64 devices")
        broker.allocations.fail(one_in=15, seed=SEED)
        for _ in range(2):
            due, before = time.monotonic() + 1.1, agent.acked  # so long the broker waits between two such times
            wait_until(lambda: time.monotonic() > due and agent.acked > before or agent.faults, "an acknowledgement")
            before = agent.acked
            wait_until(lambda: agent.acked > before or agent.faults, "an acknowledgement")
        broker.allocations.stop()
        print(f"seed {SEED}: {broker.allocations['failed']} allocations failed, {agent.acked} acknowledged over "
              f"{agent.n_streams} streams", flush=True)
        kill_broker.finish(broker, agent, follower)
        works(broker, "after")


if __name__ == "__main__":
    run_tests({name: value for name, value in globals().items() if not hasattr(kill_broker, name)})
