# SPDX-License-Identifier: Apache-2.0
"""Many at once: as many subscribers as the broker takes, no descriptors left, everybody back after a restart, and an agent
that never stops talking.

SENSEBUS_CROWD=N subscribers (10,000 at most)."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from sensebus_testlib import *  # noqa: E402,F403
from raw_reader import Crowd, RawReader, resident_kib  # noqa: E402

import resource
import socket

Request = events_pb2.SubscribeRequest
N_CROWD = min(int(os.environ.get("SENSEBUS_CROWD", "10000")), 10_000)
FILES_BESIDE = 200  # of the tests and of the broker, beside connections
AT_ONCE = 250       # connections on their way


def raise_files(n):
    """Let this process, and what it starts, have n files; skip where that is not possible."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= n:
        return
    if hard != resource.RLIM_INFINITY and hard < n:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))
            return
        except (ValueError, OSError):
            raise Skip(f"needs {n} open files, and the hard limit of this process is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (n, hard))


def idles(pid):
    before = cpu_seconds(pid)
    time.sleep(1)  # a stretch of time to measure, not to wait for something
    return cpu_seconds(pid) - before < 0.5


def gather(crowd, address, n, request=None):
    """n more readers, each on a connection of its own, each told that it is synced."""
    for start in range(0, n, AT_ONCE):
        for _ in range(min(AT_ONCE, n - start)):
            crowd.add(RawReader(address, request or Request(), keep=False, connect=False))
        crowd.until(lambda r: r.ended or r.first.n_batches >= 2, "Opened and Synced")
        check(not any(r.ended for r in crowd.readers), "a connection was not taken")


def test_ten_thousand_subscribers_at_once():
    """Each on a connection of its own, each gets every event; the memory is told."""
    raise_files(N_CROWD + FILES_BESIDE)
    with Broker() as broker, FakeAgent(broker) as agent, Crowd() as crowd:
        broker.wait_newest(1)
        pid = broker.process.pid
        before = resident_kib(pid)
        began = time.monotonic()
        gather(crowd, broker.address, N_CROWD)
        took = time.monotonic() - began
        idle = resident_kib(pid)
        began = time.monotonic()
        for n in range(1, 6):
            agent.publish_range(20 * n - 19, 20 * n)
            agent.wait_acked(20 * n)
        crowd.until(lambda r: len(r.first.sequences) >= 100, "every event", limit_s=5 * LIMIT_S)
        delivered = time.monotonic() - began
        for reader in crowd.readers:
            check_equal(reader.first.sequences, list(range(2, 102)), "what a subscriber got")
        after = resident_kib(pid)
        check_equal(broker.counters()["sensebus_events_delivered_total"], 100 * N_CROWD)
        print(f"{N_CROWD} subscribers: RSS {before} KiB before, {idle} KiB with all idle "
              f"({(idle - before) / N_CROWD:.1f} KiB each), {after} KiB after 100 events for each; connected in {took:.1f} s, "
              f"delivered in {delivered:.1f} s", flush=True)
        wait_until(lambda: idles(pid), "a second in which the broker has nothing to do")  # it may be the hour of the pings
        crowd.close()
        wait_until(lambda: not broker.admin().ListSubscriptions(admin_pb2.ListSubscriptionsRequest(),
                                                                timeout=LIMIT_S).subscriptions, "all to be forgotten")


def test_one_more_than_there_is_room_for_is_told_so():
    """Subscriptions are bounded by name, whatever the connections are."""
    with Broker() as broker, Crowd() as crowd:
        for _ in range(10):
            reader = RawReader(broker.address, connect=False)
            for _ in range(1000):
                reader.subscribe(Request())
            crowd.add(reader)
        crowd.until(lambda r: all(s.n_batches >= 2 for s in r.streams.values()), "ten thousand subscriptions")
        with expect_status(grpc.StatusCode.RESOURCE_EXHAUSTED, "10000"):
            list(broker.events().Subscribe(Request(), timeout=LIMIT_S))


@contextlib.contextmanager
def few_files(n):
    """What is started inside may have no more than n files, soft and hard."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    popen = subprocess.Popen

    def limited(*arguments, **options):
        return popen(*arguments, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (n, n)), **options)

    subprocess.Popen = limited
    try:
        yield
    finally:
        subprocess.Popen = popen


def connect(address):
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=LIMIT_S)


def test_a_broker_without_descriptors_goes_on_with_what_it_has():
    """All files are in use: who comes is turned away at once, counted and logged, nobody inside notices, nothing spins; and
    when some are free again, the next one comes in."""
    n_files = 200
    with few_files(n_files):
        broker = Broker().start()
    with broker, FakeAgent(broker) as agent, Subscription(broker) as witness, Crowd() as crowd:
        check("broker.few_files" in broker.log(), "nothing said at the start")
        witness.wait_control("synced")
        admin = broker.admin()
        counters = lambda: {c.name: c.value for c in admin.GetBroker(admin_pb2.GetBrokerRequest(), timeout=LIMIT_S).counters}  # noqa: E731
        counters()  # connected before the others come
        crowded = time.monotonic()
        for _ in range(4 * n_files):
            crowd.add(RawReader(broker.address, Request(), keep=False, connect=False))
        crowd.until(lambda r: r.ended or r.first.n_batches >= 2, "an answer or the end for each")
        while not crowd.readers[-1].ended:  # in the crush some may have been sent away without need
            crowd.add(RawReader(broker.address, Request(), keep=False, connect=False))
            crowd.until(lambda r: r.ended or r.first.n_batches >= 2, "an answer or the end")
        inside = [r for r in crowd.readers if not r.ended]
        check(n_files // 2 <= len(inside) < n_files, f"{len(inside)} were taken")
        agent.publish_range(1, 500)
        agent.wait_acked(500)
        witness.wait_events(500)
        for reader in inside:
            reader.read_until(lambda r: len(r.first.sequences) >= 500, "every event")
        cpu, began = cpu_seconds(broker.process.pid), time.monotonic()
        while time.monotonic() - began < 2:  # knocking all the time
            with contextlib.suppress(OSError), connect(broker.address) as one:
                one.recv(1)
            time.sleep(0.005)
        check(counters()["sensebus_grpc_connections_refused_total"] > 0, "none was refused")
        used = cpu_seconds(broker.process.pid) - cpu
        check(used < 0.7 * (time.monotonic() - began), f"the broker worked {used:.1f} s of two")
        lines = broker.log().count("grpc.connection_refused")
        check(1 <= lines <= 60 + time.monotonic() - crowded, f"{lines} lines of refused connections")
        for reader in inside[:50]:
            reader.close()
        wait_until(lambda: len(admin.ListSubscriptions(admin_pb2.ListSubscriptionsRequest(page_size=1000), timeout=LIMIT_S)
                               .subscriptions) <= len(inside) - 49, "room")
        with RawReader(broker.address, Request(oldest=events_pb2.StartOldest())) as late:
            late.read_until(lambda r: len(r.first.sequences) >= 501, "all events for who came later")
        crowd.close()


def test_everybody_comes_back_after_a_restart():
    """A thousand readers at once, each from where it was: none misses or repeats an event, and the broker answers others."""
    n = min(1000, N_CROWD)
    raise_files(n + FILES_BESIDE)
    with Broker() as broker:
        with Crowd() as crowd:
            with FakeAgent(broker, host="agent-1", epoch=7, instance=7) as agent:
                broker.wait_newest(1)
                gather(crowd, broker.address, n)
                agent.publish_range(1, 200)
                agent.wait_acked(100)  # some have more than others when the broker dies
                broker.kill()
            crowd.until(lambda r: r.ended, "the end of every connection")
            seen = [r.first.sequences for r in crowd.readers]
            crowd.close()
            broker.restart()  # at the same address
        epoch = broker.info().newest.epoch
        admin = broker.admin()
        slowest = 0.0
        with Crowd() as crowd, FakeAgent(broker, host="agent-1", epoch=7, instance=7) as agent:
            for sequences in seen:
                at = sequences[-1] if sequences else 1
                crowd.add(RawReader(broker.address, Request(position=events_pb2.Position(epoch=epoch, sequence=at)), keep=False,
                                    connect=False))
            agent.publish_range(1, 400)  # what was lost on the way comes again, and more while they come back
            end = time.monotonic() + 2 * LIMIT_S
            left, newest = crowd.readers, None
            while left:
                check(time.monotonic() < end, f"{len(left)} readers do not get to the newest record")
                is_complete = agent.acked() == 400
                watch = Stopwatch(broker)
                answer = admin.GetBroker(admin_pb2.GetBrokerRequest(), timeout=LIMIT_S)
                slowest = max(slowest, watch.seconds())
                if is_complete and newest is None:
                    newest = answer.newest.sequence
                for _ in range(5):
                    crowd.turn(0.01)
                left = [r for r in left if r.ended or newest is None or r.first.position < newest]
            check_equal(len([r for r in crowd.readers if r.ended]), 0, "connections that ended")
            for before, reader in zip(seen, crowd.readers):
                check_equal(before + reader.first.sequences, list(range(2, newest + 1)), "events over the restart")
            kept = [e.origin.source_sequence for e in broker.read_all() if e.origin.source == event_pb2.SOURCE_ISCSI]
            check_equal(kept, list(range(1, 401)), "the log")
        print(f"{n} readers came back; the slowest answer to an operator took {slowest * 1000:.0f} ms", flush=True)
        check(slowest < 10, f"an operator waited {slowest:.1f} s")


def test_an_agent_that_never_stops_starves_no_other():
    """Sixteen agents; one sends as fast as it can. The others' records are acknowledged all the while."""
    with Broker() as broker:
        flooder = FakeAgent(broker, host="flood")
        others = [FakeAgent(broker, host=f"calm-{n}") for n in range(15)]
        stop = threading.Event()

        def flood():
            n = 0
            while not stop.is_set():
                flooder.publish(*[make_event(flooder.host, flooder.epoch, n + k, summary="z" * 200) for k in range(1, 501)])
                n += 500
                while not stop.is_set() and n - flooder.acked() > 20_000:
                    time.sleep(0.001)

        thread = threading.Thread(target=flood)
        thread.start()
        slowest, rounds = 0.0, 20
        try:
            wait_until(lambda: flooder.acked() > 1000, "the flood")
            for n in range(1, rounds + 1):
                watch = Stopwatch(broker)
                for agent in others:
                    agent.publish(make_event(agent.host, agent.epoch, n))
                for agent in others:
                    agent.wait_acked(n)
                slowest = max(slowest, watch.seconds())
            flooded = flooder.acked()
        finally:
            stop.set()
            thread.join()
        print(f"the slowest round of 15 acknowledgements took {slowest * 1000:.0f} ms beside {flooded} events of one agent",
              flush=True)
        check(slowest < 10, f"others waited {slowest:.1f} s")
        check_equal(sorted(e.origin.host for e in broker.read_all() if e.origin.source == event_pb2.SOURCE_ISCSI
                           and e.origin.host != "flood"), sorted(a.host for a in others for _ in range(rounds)))
        for agent in (flooder, *others):
            agent.vanish()


if __name__ == "__main__":
    run_tests(globals())
