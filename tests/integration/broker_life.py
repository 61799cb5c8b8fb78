# SPDX-License-Identifier: Apache-2.0
"""The broker's own life: start and what stops it from starting, drain, restart, full disk, damage, operators' view."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from sensebus_testlib import *  # noqa: E402,F403

import socket

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def refused_start(*options, status=1):
    """Start a broker that must not start; returns what it said."""
    with tempfile.TemporaryDirectory(prefix="sensebus-refused.") as directory:
        arguments = list(options)
        if "--data" not in arguments:
            arguments += ["--data", os.path.join(directory, "data")]
        program = Program("broker/sensebus-broker", *arguments).start()
        check_equal(program.wait(), status, f"exit status; output: {program.log()}")
        output = program.log()
        os.unlink(program.output.name)
        return output


def test_usage_errors_name_the_option():
    for options, text in ((["--durability", "maybe"], "--durability"), (["--log-level", "loud"], "--log-level"),
                          (["--retain-age", "soon"], "retain-age"), (["--liste", "x"], "listen"),
                          (["operand"], "operand"), (["--log-max-bytes", "1k"], "log-max-bytes")):
        output = refused_start(*options, status=2)
        check(text in output, output)


def test_version_and_help():
    for option, text in (("--version", "sensebus-broker 0."), ("--help", "--retain-bytes")):
        check(text in refused_start(option, status=0))


def test_start_is_refused_in_words():
    check("insecure" in refused_start("--listen", "0.0.0.0:0"), "plaintext beyond loopback")
    check("data directory /proc/no" in refused_start("--data", "/proc/no", "--listen", "127.0.0.1:0"))
    check("nonsense" in refused_start("--listen", "nonsense"))
    with Broker() as broker:
        output = refused_start("--listen", broker.address)
        check(broker.address in output and "in use" in output, output)
        output = refused_start("--data", broker.data, "--listen", "127.0.0.1:0")
        check("another process has it open" in output, output)
        broker.stop()
        with open(os.path.join(broker.data, "data.mdb"), "r+b") as file:
            file.truncate(9000)
        output = refused_start("--data", broker.data, "--listen", "127.0.0.1:0")
        check(broker.data in output and "damaged, cut off" in output, output)


def test_standard_files_may_be_closed():
    for closed in (["<&-"], [">&-"], ["2>&-"], ["<&-", ">&-", "2>&-"]):
        with Broker().without(*closed) as broker, FakeAgent(broker) as agent:
            agent.publish_range(1, 3)
            agent.wait_acked(3)
            check_equal(len(broker.read_all()), 4)


def test_unix_socket():
    with tempfile.TemporaryDirectory(prefix="sensebus-unix.") as directory:
        with Broker(listen=f"unix:{directory}/broker.sock") as broker:
            check_equal(broker.address, f"unix:{directory}/broker.sock")
            check_equal(broker.info().newest.sequence, 0)


def test_connections_are_not_bounded_by_the_soft_limit_of_files():
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))  # what the broker is started with
    try:
        broker = Broker().start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with broker:
        port = int(broker.address.rsplit(":", 1)[1])
        sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(400)]
        wait_until(lambda: broker.counters()["sensebus_grpc_connections_total"] > 400, "every connection")
        check_equal(broker.counters()["sensebus_grpc_connections_refused_total"], 0)
        for one in sockets:
            one.close()


def test_ready_is_told_to_the_service_manager():
    with tempfile.TemporaryDirectory(prefix="sensebus-notify.") as directory:
        path = os.path.join(directory, "notify")
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.bind(path)
        manager.settimeout(LIMIT_S)
        with Broker(env={"NOTIFY_SOCKET": path}) as broker:
            check_equal(manager.recv(100), b"READY=1")
            broker.stop()
            check_equal(manager.recv(100), b"STOPPING=1")
        manager.close()


def test_health_names_the_services():
    with Broker() as broker:
        for service in ("", "sensebus.v1.Events", "sensebus.v1.Agents", "sensebus.v1.Admin", "sensebus.v1.Adapter",
                        "sensebus.v1.Sdi"):
            check_equal(broker.health(service), SERVING, service)
        with expect_status(grpc.StatusCode.NOT_FOUND):
            broker.health("sensebus.v1.Other")


def test_drain_gives_last_words_to_everybody():
    with Broker() as broker:
        agent = FakeAgent(broker)
        agent.publish_range(1, 100)
        agent.wait_acked(100)
        with Subscription(broker, oldest=events_pb2.StartOldest()) as s, \
                Subscription(broker, filter=events_pb2.Filter(hosts=["nobody"])) as nothing:
            s.wait_control("synced")
            nothing.wait_control("synced")
            check_equal(broker.stop(), 0)
            for subscription in (s, nothing):
                with expect_status(grpc.StatusCode.UNAVAILABLE, "stopping", "resume from"):
                    subscription.until_end()
                check(subscription.batches[-1].HasField("closed"))
            last = s.events()[-1]
            check_equal(code_pb2.Code.Name(last.code), "BROKER_STOPPING")
            check_equal(last.severity, event_pb2.SEVERITY_WARN)
            check_equal(s.batches[-1].closed.position.sequence, last.sequence)
            check_equal(nothing.batches[-1].closed.position.sequence, last.sequence)
            position = s.batches[-1].closed.position
        with expect_status(grpc.StatusCode.UNAVAILABLE, "stopping"):
            agent.until_end()
        agent.vanish()
        broker.restart()
        check_equal(broker.read_all(oldest=None, position=position), [])
        check_equal([e.sequence for e in broker.read_all()], list(range(1, 103)))


def test_restart_keeps_epoch_sequence_status_and_dedupe():
    with Broker() as broker:
        with FakeAgent(broker, epoch=4, instance=9) as agent:
            for n in range(1, 101):
                agent.publish(make_event(agent.host, agent.epoch, n, lun=n % 5))
            agent.wait_acked(100)
            before, status = broker.info(), broker.events().GetStatus(events_pb2.GetStatusRequest(), timeout=LIMIT_S)
            records = [e.SerializeToString() for e in broker.read_all()]
            broker.kill()
        broker.restart()
        after = broker.info()
        check_equal((after.newest, after.oldest), (before.newest, before.oldest))
        again = broker.events().GetStatus(events_pb2.GetStatusRequest(), timeout=LIMIT_S)
        check_equal(again.SerializeToString(deterministic=True), status.SerializeToString(deterministic=True))
        check_equal([e.SerializeToString() for e in broker.read_all()], records)
        with FakeAgent(broker, epoch=4, instance=9) as agent:
            check_equal(agent.welcome().committed_source_sequence, 100)
            agent.publish_range(90, 110)
            agent.wait_acked(110)
        sequences = [e.origin.source_sequence for e in broker.read_all() if e.code == code_pb2.LUN_RESET]
        check_equal(sequences, list(range(1, 111)))


def test_a_quiet_broker_brings_its_status_to_the_disk():
    """A start folds what came after the last checkpoint: after a quiet while that must be nothing."""
    n = 10000
    with Broker() as broker, FakeAgent(broker) as agent:
        for start in range(1, n + 1, 100):
            agent.publish(*[make_event(agent.host, agent.epoch, k, lun=k) for k in range(start, start + 100)])
        agent.wait_acked(n)
        seen = [0, 0]

        def is_quiet():
            """The broker answered a hundred times, with time to work in between, and has not committed meanwhile."""
            commits = broker.counters()["sensebus_store_commits_total"]
            seen[:] = commits, seen[1] + 1 if commits == seen[0] else 0
            time.sleep(0.05)
            return seen[1] > 100

        wait_until(is_quiet, "five seconds without a commit")
        broker.kill()
        broker.restart()
        check_equal(broker.log().split("status.restored ")[-1].split("\n")[0], f"devices={n + 1} folded=0")


def test_a_kill_costs_no_status_however_short_retention_is():
    """What retention removed cannot be folded again: the store must know its devices before."""
    n = 0
    with Broker("--retain-records", "10", "--checkpoint-interval", "1ms") as broker:
        with FakeAgent(broker) as agent:
            def has_trimmed():
                nonlocal n
                agent.publish(*[make_event(agent.host, agent.epoch, k, lun=k) for k in range(n + 1, n + 101)])
                n += 100
                agent.wait_acked(n)
                return broker.info().oldest.sequence > 1000

            wait_until(has_trimmed, "retention")
            broker.kill()
        broker.restart()
        check("status.not_seen" not in broker.log(), broker.log())
        check_equal(broker.log().split("status.restored ")[-1].split(" ")[0], f"devices={n + 1}")


def test_broker_time_never_goes_back_over_restarts():
    with Broker() as broker:
        for n in range(3):
            with FakeAgent(broker, epoch=n + 1) as agent:
                agent.publish_range(1, 10)
                agent.wait_acked(10)
            broker.stop()
            broker.restart()
        times = [e.broker_time_unix_ns for e in broker.read_all()]
        check_equal(times, sorted(times))


def test_a_log_that_is_full_stops_taking_and_says_so():
    """The map's limit stands in for a disk: nothing comes back, so what was acknowledged must stay readable."""
    with Broker("--log-max-bytes", "4M", "--retain-bytes", "0", "--drain-grace", "1s") as broker, \
            FakeAgent(broker) as agent:
        for start in range(1, 20001, 100):
            agent.publish(*[make_event(agent.host, agent.epoch, n, summary="f" * 250)
                            for n in range(start, start + 100)])
        wait_until(lambda: not broker.info().accepting, "the log to be full")
        info = broker.info()
        check("no space" in info.not_accepting_reason, info.not_accepting_reason)
        check_equal(broker.health("sensebus.v1.Agents"), NOT_SERVING)
        check_equal(broker.health("sensebus.v1.Events"), SERVING)
        acked = agent.acked()
        check(0 < acked < 20000, f"acknowledged {acked}")
        check_equal([e.origin.source_sequence for e in broker.read_all()][1:acked + 1], list(range(1, acked + 1)))
        late = FakeAgent(broker, host="late", attach=False)
        late.hello()
        with expect_status(grpc.StatusCode.UNAVAILABLE, "no space"):
            late.until_end()
        late.vanish()
        check_equal(broker.log().count("log.not_writable"), 1, "error lines")
        acked = agent.acked()  # what was under way when the log was full may have come by now, and must be in it
        check_equal([e.origin.source_sequence for e in broker.read_all()][1:acked + 1], list(range(1, acked + 1)))


def test_a_stop_is_bounded_whatever_the_disk_and_the_readers_do():
    with Broker("--log-max-bytes", "4M", "--retain-bytes", "0", "--drain-grace", "6s") as broker, \
            FakeAgent(broker) as agent:
        channel = broker.channel(**{"grpc.http2.lookahead_bytes": 0, "grpc.http2.bdp_probe": 0})
        stuck = events_pb2_grpc.EventsStub(channel).Subscribe(events_pb2.SubscribeRequest(), timeout=10 * LIMIT_S)
        next(stuck)  # and no more
        for start in range(1, 20001, 100):
            agent.publish(*[make_event(agent.host, agent.epoch, n, summary="f" * 250)
                            for n in range(start, start + 100)])
        wait_until(lambda: not broker.info().accepting, "the log to be full")
        stalls, began = Stalls.so_far(), time.monotonic()
        broker.ask_to_stop()
        broker.process.send_signal(signal.SIGINT)  # a second one changes nothing
        check_equal(broker.wait(), 0)
        took, stalled = time.monotonic() - began, Stalls.so_far() - stalls
        check(took < 12 + 2 * stalled, f"took {took:.1f} s; the machine took {stalled:.1f} s of them")
        check("broker.stopping_not_written" in broker.log(), broker.log())


@contextlib.contextmanager
def small_file_system():
    """A directory on a file system of 16 MiB."""
    if os.geteuid() != 0:
        raise Skip("needs root to mount a small file system")
    directory = tempfile.mkdtemp(prefix="sensebus-small.")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", directory], stderr=subprocess.DEVNULL).returncode:
        os.rmdir(directory)
        raise Skip("cannot mount a small file system here")
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)
        os.rmdir(directory)


def test_agents_kept_out_by_a_full_disk_are_not_lost():
    with small_file_system() as directory:
        filler = os.path.join(directory, "filler")
        with Broker("--agent-grace", "5s", "--checkpoint-interval", "1m", data=os.path.join(directory, "data")) as broker:
            agents = [FakeAgent(broker, host=host, epoch=1, instance=1) for host in ("first", "second")]
            broker.wait_newest(2)
            broker.kill()
            for agent in agents:
                agent.vanish()
            with open(filler, "wb") as file, contextlib.suppress(OSError):
                while True:
                    os.write(file.fileno(), b"\0" * 4096)
            broker.arguments[broker.arguments.index("1m")] = "100ms"
            broker.restart()
            wait_until(lambda: not broker.info().accepting, "the disk to be full")
            wait_until(lambda: "agent.grace_prolonged" in broker.log(), "the grace to be over")
            began = time.monotonic()
            os.unlink(filler)
            wait_until(lambda: broker.info().accepting, "space to be seen")
            with FakeAgent(broker, host="first", epoch=1, instance=1) as first:
                first.publish_range(1, 1)
                with FakeAgent(broker, host="second", epoch=1, instance=1) as second:
                    if time.monotonic() - began > 4:
                        raise Skip("the machine stood still for longer than agents have to come back")
                    second.publish_range(1, 1)
                    second.wait_acked(1)
                    first.wait_acked(1)
                    news = sorted((e.origin.host, code_pb2.Code.Name(e.code)) for e in broker.read_all()[2:])
                    check_equal(news, [("first", "LUN_RESET"), ("second", "LUN_RESET")])


def test_a_full_disk_recovers_and_nothing_is_lost():
    with small_file_system() as directory:
        filler = os.path.join(directory, "filler")
        with open(filler, "wb") as file:
            file.write(b"\0" * (14 << 20))
        with Broker("--log-max-bytes", "64M", data=os.path.join(directory, "data")) as broker, \
                FakeAgent(broker) as agent, Subscription(broker, oldest=events_pb2.StartOldest()) as s:
            total = 15000
            for start in range(1, total + 1, 50):
                agent.publish(*[make_event(agent.host, agent.epoch, n, summary="f" * 100)
                                for n in range(start, start + 50)])
            wait_until(lambda: not broker.info().accepting, "the disk to be full")
            check_equal(broker.health("sensebus.v1.Agents"), NOT_SERVING)
            check(agent.acked() < total)
            check(not agent.ended.is_set(), "the agent's stream stays open")
            os.unlink(filler)
            wait_until(lambda: broker.info().accepting, "space to be seen")
            agent.wait_acked(total)
            check_equal(broker.health("sensebus.v1.Agents"), SERVING)
            check_equal([e.origin.source_sequence for e in s.wait_events(total + 1)[1:]], list(range(1, total + 1)))
            check_equal(broker.log().count("log.not_writable"), 1, "error lines")
            check_equal(broker.log().count("log.writable_again"), 1, "lines about the recovery")
            s.cancel()
            agent.detach()


def test_a_limit_of_file_size_is_a_full_disk():
    import resource
    with Broker() as broker, FakeAgent(broker) as agent:
        agent.publish_range(1, 100)
        agent.wait_acked(100)
        pid = broker.process.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1 << 15, hard))
        total = 10000
        agent.publish_range(101, total, summary="f" * 200)
        wait_until(lambda: not broker.info().accepting, "the limit to be reached")
        check("no space" in broker.info().not_accepting_reason, broker.info().not_accepting_reason)
        check(agent.acked() < total)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
        agent.wait_acked(total)
        check_equal([e.origin.source_sequence for e in broker.read_all()[1:]], list(range(1, total + 1)))


def test_a_damaged_range_is_a_gap_and_the_rest_is_readable():
    with Broker() as broker:
        with FakeAgent(broker) as agent:
            for n in range(1, 11):  # one commit each
                agent.publish(make_event(agent.host, agent.epoch, n, summary=f"MARKER-{n:04d}-" + "d" * 100))
                agent.wait_acked(n)
            agent.detach()
        broker.stop()
        path = os.path.join(broker.data, "data.mdb")
        with open(path, "r+b") as file:
            content = file.read()
            count = 0
            at = content.find(b"MARKER-0005-")
            while at >= 0:
                file.seek(at + 20)
                file.write(b"\x00")
                count += 1
                at = content.find(b"MARKER-0005-", at + 1)
        check(count > 0, "the record is not in the file")
        broker.restart()
        with Subscription(broker, oldest=events_pb2.StartOldest(), stop_at_newest=True) as s:
            events = s.until_end()
            numbers = [e.origin.source_sequence for e in events if e.code == code_pb2.LUN_RESET]
            check_equal(numbers, [1, 2, 3, 4, 6, 7, 8, 9, 10])
            gap, = s.controls("gap")
            check_equal((gap.stage, gap.count), (event_pb2.LOSS_STAGE_STORE, 1))
            check_equal((getattr(gap, "from").sequence, gap.to.sequence), (5, 6))
        check_equal(len(broker.read_all(oldest=None, last=3)), 3)


def test_relaxed_durability_says_so():
    with Broker("--durability", "relaxed") as broker, FakeAgent(broker) as agent:
        agent.publish_range(1, 10)
        agent.wait_acked(10)
        check_equal(broker.info().durability, admin_pb2.DURABILITY_RELAXED)
    with Broker() as broker:
        check_equal(broker.info().durability, admin_pb2.DURABILITY_SYNC)


def test_a_relaxed_log_is_started_over_when_the_machine_went_down():
    with Broker("--durability", "relaxed") as broker:
        with FakeAgent(broker) as agent:
            agent.publish_range(1, 5)
            agent.wait_acked(5)
            before = broker.info().newest
            broker.kill()
        with open(os.path.join(broker.data, "relaxed"), "w") as file:
            file.write("another boot")
        broker.restart()
        lines = [line for line in broker.log().split("\n") if "log.started_over" in line]
        check_equal(len(lines), 1, "lines")
        check(" error " in lines[0] and broker.data in lines[0], lines[0])
        check(broker.info().newest.epoch != before.epoch, "the epoch is the old one")
        with expect_status(grpc.StatusCode.OUT_OF_RANGE, "another log"):
            broker.read_all(oldest=None, position=before)
        with FakeAgent(broker, host=agent.host, epoch=agent.epoch, oldest=4, newest=5) as agent:
            agent.publish_range(4, 5)
            agent.wait_acked(5)
        broker.stop()
        broker.restart()
        check_equal(broker.log().count("log.started_over"), 1, "lines after another start")


def test_operators_see_subscriptions_in_pages():
    with Broker() as broker, FakeAgent(broker) as agent:
        agent.publish_range(1, 50)
        agent.wait_acked(50)
        subscriptions = [Subscription(broker) for _ in range(5)]
        for s in subscriptions:
            s.wait_control("synced")
        stub, ids, token = broker.admin(), [], ""
        while True:
            page = stub.ListSubscriptions(admin_pb2.ListSubscriptionsRequest(page_size=2, page_token=token),
                                          timeout=LIMIT_S)
            check(len(page.subscriptions) <= 2)
            ids += [s.id for s in page.subscriptions]
            check(all(s.position.sequence == 51 and s.lag == 0 and s.peer for s in page.subscriptions))
            token = page.next_page_token
            if not token:
                break
        check_equal(sorted(ids), sorted(s.controls("opened")[0].subscription for s in subscriptions))
        with expect_status(grpc.StatusCode.INVALID_ARGUMENT, "page_token"):
            stub.ListSubscriptions(admin_pb2.ListSubscriptionsRequest(page_token="x"), timeout=LIMIT_S)
        for s in subscriptions:
            s.cancel()
        wait_until(lambda: not stub.ListSubscriptions(admin_pb2.ListSubscriptionsRequest(),
                                                      timeout=LIMIT_S).subscriptions, "cancelled ones to go")
        counters = broker.counters()
        check_equal(counters["sensebus_events_ingested_total"], 50)
        check(counters["sensebus_store_commits_total"] >= 1)


if __name__ == "__main__":
    run_tests(globals())
