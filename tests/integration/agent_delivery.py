#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""From the agent's spool to the subscriber: every event once, in order, through outages and kills; losses are counted."""
import concurrent.futures
import re

from agent_program import *

from scripted_target import ScriptedTarget, sense


def numbered(n):
    """A unit attention that tells which one it is: vendor specific ASC and ASCQ."""
    return sense(6, 0x80 + n // 256, n % 256)


def number_of(event):
    return (event.sense.asc - 0x80) * 256 + event.sense.ascq


def newest_held(agent):
    return max([int(n) for n in re.findall(r"spool\.held newest=(\d+)", agent.log())], default=0)


def wait_held(agent, n):
    wait_until(lambda: newest_held(agent) >= n or not agent.running(), f"{n} held events")
    check(newest_held(agent) >= n, agent.log())


def agent_for(target, broker, *options, **members):
    return Agent(broker, "--log-level", "debug", *options, targets=[url(target)], poll="20ms", **members)


def sequences(events):
    return [e.origin.source_sequence for e in of_targets(events)]


def test_what_happens_while_the_broker_is_away_comes_once_when_it_is_back():
    address = reserve_address()
    with ScriptedTarget() as target, agent_for(target, address) as agent:
        wait_held(agent, 1)
        for n in range(300):
            target.queue_sense(n % 2, numbered(n))
        wait_held(agent, 301)
        with Broker(listen=address) as broker, Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
            subscription.wait(lambda s: len(of_targets(s.events())) >= 301, "all of it")
            check_equal(sequences(subscription.events()), list(range(1, 302)), "sequences")
            check_equal(sorted(number_of(e) for e in of_targets(subscription.events())[1:]), list(range(300)), "events")
            # the broker dies and returns: nothing twice, nothing missing
            broker.kill()
            for n in range(300, 400):
                target.queue_sense(0, numbered(n))
            wait_held(agent, 401)
            broker.restart()
            events = wait_until(lambda: (lambda e: len(sequences(e)) >= 401 and e)(broker.read_all()), "the rest")
            check_equal(sequences(events), list(range(1, 402)), "sequences")
            agents = broker.admin().ListAgents(admin_pb2.ListAgentsRequest(), timeout=LIMIT_S).agents
            check_equal([a.n_dropped for a in agents], [0], "dropped")


def test_overflow_is_one_exact_loss():
    address = reserve_address()
    with ScriptedTarget() as target, agent_for(target, address, "--spool-max-records", "20") as agent:
        wait_held(agent, 1)
        target.queue_sense(0, sense(6, 0x29, 0x00))  # the one with AIX bits, and the first to be dropped
        for n in range(100):
            target.queue_sense(0, numbered(n))
        wait_held(agent, 102)
        with Broker(listen=address) as broker, Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
            subscription.wait(lambda s: [e for e in of_targets(s.events()) if number_of(e) == 99], "the newest")
            events = [e for e in subscription.events() if e.origin.source != event_pb2.SOURCE_BROKER]
            lost, kept = events[0], events[1:]
            check_equal(brief(lost)[0], "EVENTS_LOST")
            check_equal(len(kept), 19, "events kept beside the loss")
            check_equal([number_of(e) for e in kept], list(range(81, 100)), "the newest are kept")
            check_equal(lost.loss.count, 102 - 19, "lost")
            check_equal((lost.loss.first_source_sequence, lost.loss.last_source_sequence), (1, 83), "range")
            check_equal((lost.loss.aix_bits, lost.aix_bits), (4, 4), "AIX bits of what was lost")
            check_equal(lost.loss.stage, event_pb2.LOSS_STAGE_AGENT)
            check_equal(lost.origin.source_sequence, 83, "in the place of the last one lost")
            check_equal(sequences(subscription.events()), list(range(84, 103)), "no holes")
            target.queue_sense(0, numbered(100))
            subscription.wait(lambda s: number_of(of_targets(s.events())[-1]) == 100, "life goes on")


def test_kill_9_loses_nothing_that_was_held():
    state = tempfile.mkdtemp(prefix="sensebus-agent.")
    address = reserve_address()
    held, sent = 0, 0
    with ScriptedTarget() as target:
        for round_number in range(5):
            agent = agent_for(target, address, state=state)
            with agent:
                for n in range(sent, sent + 60):
                    target.queue_sense(n % 2, numbered(n))
                sent += 60
                wait_held(agent, held + 5 + 12 * round_number)
                agent.kill()
                check(newest_held(agent) > held, "progress")
                held = newest_held(agent)
            for unit in target.units.values():
                unit.senses.clear()
        with Broker(listen=address) as broker, agent_for(target, address, state=state) as agent:
            agent.wait_log("publish.attached")
            wait_until(lambda: len(sequences(broker.read_all())) >= held, "all that was held")
            got = sequences(broker.read_all())
            check_equal(got[:held], list(range(1, held + 1)), "sequences")
            check_equal(len(set(got)), len(got), "nothing twice")
    shutil.rmtree(state)


def test_kill_9_while_delivering_repeats_nothing():
    state = tempfile.mkdtemp(prefix="sensebus-agent.")
    sent, held = 0, 0
    with ScriptedTarget() as target, Broker("--agent-heartbeat", "200ms") as broker:
        for _ in range(4):
            agent = agent_for(target, broker, state=state)
            with agent:
                agent.wait_log("publish.attached")
                for n in range(sent, sent + 60):
                    target.queue_sense(0, numbered(n))
                sent += 60
                wait_held(agent, held + 30)
                agent.kill()
                held = newest_held(agent)
            target.units[0].senses.clear()
        with agent_for(target, broker, state=state) as agent:
            agent.wait_log("publish.attached")
            wait_until(lambda: len(sequences(broker.read_all())) >= held, "all that was held")
            got = sequences(broker.read_all())
            check_equal(got[:held], list(range(1, held + 1)), "sequences")
    shutil.rmtree(state)


def test_a_second_agent_of_the_host_is_refused_and_says_so():
    with ScriptedTarget() as target, Broker() as broker, agent_for(target, broker, host="twin") as first:
        first.wait_log("publish.attached")
        with agent_for(target, broker, host="twin") as second:
            second.wait_log("publish.refused")
            line = next(line for line in second.log().splitlines() if "publish.refused" in line)
            check("ALREADY_EXISTS" in line and "host=twin" in line, line)
            check(int(re.search(r"retry_ms=(\d+)", line).group(1)) >= 2000, "it waits long: " + line)
            check(second.running() and first.running(), "both go on")
            check_equal(first.stop(), 0, "exit status of the first")
            second.wait_log("publish.attached")  # the place is free


def test_two_agents_cannot_share_a_spool():
    with ScriptedTarget() as target, Broker() as broker, agent_for(target, broker) as first:
        first.wait_log("publish.attached")
        second = agent_for(target, broker, state=first.state, host="other")
        second.start()
        try:
            check_equal(second.wait(), 1, "exit status")
            check("another agent has it open" in second.log(), second.log())
        finally:
            second.kill()
            os.unlink(second.output.name)


def test_a_spool_restored_from_a_copy_begins_a_new_epoch():
    state = tempfile.mkdtemp(prefix="sensebus-agent.")
    copy = state + ".copy"
    with ScriptedTarget() as target, Broker() as broker:
        with agent_for(target, broker, state=state) as agent:
            wait_held(agent, 1)
        shutil.copytree(state, copy)
        with agent_for(target, broker, state=state) as agent:
            for n in range(50):
                target.queue_sense(0, numbered(n))
            wait_held(agent, 53)
        with agent_for(target, broker, state=copy) as agent:
            agent.wait_log("publish.epoch")
            agent.wait_log("publish.attached")
            target.queue_sense(0, numbered(777))
            wait_until(lambda: 777 in [number_of(e) for e in broker.read_all()], "the event of the new epoch")
            epochs = {e.origin.agent_epoch for e in of_targets(broker.read_all())}
            check_equal(len(epochs), 2, "epochs")
    shutil.rmtree(state)
    shutil.rmtree(copy)


def test_a_restored_spool_that_has_overtaken_the_broker_loses_nothing():
    overtake(restart=False)


def test_nor_does_it_when_the_agent_is_restarted_before_the_broker_is_back():
    overtake(restart=True)


def overtake(restart):
    address = reserve_address()
    state = tempfile.mkdtemp(prefix="sensebus-agent.")
    copy = state + ".copy"
    with ScriptedTarget() as target, Broker(listen=address) as broker:
        with agent_for(target, broker, state=state) as agent:
            wait_held(agent, 1)
        shutil.copytree(state, copy)
        with agent_for(target, broker, state=state) as agent:
            for n in range(50):
                target.queue_sense(0, numbered(n))
            wait_until(lambda: 49 in [number_of(e) for e in broker.read_all()], "the events after the copy")
        broker.kill()
        with agent_for(target, address, state=copy) as agent:
            for n in range(100, 200):
                target.queue_sense(0, numbered(n))
            wait_held(agent, 103)  # more than the broker has seen of this epoch, and all of them
            if restart:
                agent.kill()
                agent.start()
            broker.restart()
            agent.wait_log("publish.epoch")
            wait_until(lambda: 199 in [number_of(e) for e in broker.read_all()], "the events of the copy")
            came = [number_of(e) for e in of_targets(broker.read_all())]
            check_equal([n for n in came if 100 <= n < 200], list(range(100, 200)), "each once")
    shutil.rmtree(state)
    shutil.rmtree(copy)


def damage(state, find, replace):
    """Replace bytes in the file of a spool that nobody has open, wherever they are."""
    path = os.path.join(state, "spool", "data.mdb")
    with open(path, "rb") as file:
        bytes_ = file.read()
    check(find in bytes_, "it is not in the spool")
    with open(path, "wb") as file:
        file.write(bytes_.replace(find, replace))


def with_damaged_spool(damaging, judge):
    """An agent holds 20 events, is killed, and finds its spool damaged."""
    address = reserve_address()
    state = tempfile.mkdtemp(prefix="sensebus-agent.")
    with ScriptedTarget() as target:
        with agent_for(target, address, state=state) as agent:
            for n in range(20):
                target.queue_sense(0, numbered(n))
            wait_held(agent, 21)
            agent.kill()
        damaging(state)
        with Broker(listen=address) as broker, agent_for(target, address, state=state) as agent:
            agent.wait_log("publish.attached")
            target.queue_sense(0, numbered(500))
            wait_until(lambda: 500 in [number_of(e) for e in broker.read_all()], "what came after the damage")
            judge(broker.read_all(), agent)
    shutil.rmtree(state)


def test_a_damaged_record_of_the_spool_is_told_in_its_place():
    def damaging(state):
        damage(state, numbered(7), numbered(8))

    def judge(events, agent):
        numbers = [number_of(e) for e in of_targets(events)]
        check_equal([n for n in numbers if 0 <= n < 20], [n for n in range(20) if n != 7], "events")
        losses = [e for e in events if e.code == code_pb2.EVENTS_LOST]
        check_equal([(e.loss.count, e.loss.aix_bits) for e in losses], [(1, 15)], "losses")
        before, after = (next(e for e in of_targets(events) if number_of(e) == n) for n in (6, 8))
        check_equal(losses[0].loss.first_source_sequence, before.origin.source_sequence + 1, "its place")
        check_equal(losses[0].loss.last_source_sequence, after.origin.source_sequence - 1, "its place")
        agent.wait_log("spool.missing")

    with_damaged_spool(damaging, judge)


def test_a_spool_that_cannot_be_read_is_set_aside_and_told():
    def damaging(state):
        with open(os.path.join(state, "spool", "data.mdb"), "r+b") as file:
            file.write(b"\0" * 8192)  # both meta pages

    def judge(events, agent):
        losses = [e for e in events if e.code == code_pb2.EVENTS_LOST]
        check_equal([(e.loss.at_least, e.loss.aix_bits, e.loss.stage) for e in losses],
                    [(True, 15, event_pb2.LOSS_STAGE_AGENT)], "losses")
        agent.wait_log("spool.started_over")
        check(os.path.exists(os.path.join(agent.state, "spool", "data.mdb.damaged")), "it is not there")

    with_damaged_spool(damaging, judge)


class FakeBroker(agents_pb2_grpc.AgentsServicer):
    """A broker that says what a test wants: `script` gets each message and gives the replies."""

    def __init__(self, script, window=1024):
        self.script, self.messages, self.calls, self.window = script, [], 0, window
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        agents_pb2_grpc.add_AgentsServicer_to_server(self, self.server)
        self.address = reserve_address()
        check(self.server.add_insecure_port(self.address) > 0, "the port that was reserved")

    def Attach(self, requests, context):
        self.calls += 1
        for message in requests:
            self.messages.append(message)
            yield from self.script(message) or ()

    def welcome(self, **members):
        fields = dict(version=1, window_events=self.window, heartbeat_ms=200, broker_version="fake")
        fields.update(members)
        return agents_pb2.BrokerMessage(welcome=agents_pb2.Welcome(**fields))

    def sent(self):
        return [e.origin.source_sequence for m in list(self.messages) for e in m.publish.events]

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.server.stop(None).wait()


def ack(sequence):
    return agents_pb2.BrokerMessage(ack=agents_pb2.Ack(source_sequence=sequence))


def test_the_window_is_kept_and_refusals_are_logged():
    with ScriptedTarget() as target:
        with FakeBroker(lambda m: [broker.welcome()] if m.HasField("hello") else None, window=5) as broker, \
                agent_for(target, broker) as agent:
            for n in range(30):
                target.queue_sense(0, numbered(n))
            wait_held(agent, 31)
            for _ in range(2):  # and again: nothing more is sent meanwhile
                n = len(broker.messages)
                wait_until(lambda: any(m.heartbeat.newest_source_sequence == 31 for m in broker.messages[n:]),
                           "heartbeats that tell the backlog")
            check_equal(broker.sent(), [1, 2, 3, 4, 5], "sent without an acknowledgement")

            def goes_on(message):
                if message.HasField("hello"):
                    return [broker.welcome(committed_source_sequence=5)]
                if message.HasField("publish"):
                    last = message.publish.events[-1].origin.source_sequence
                    return [agents_pb2.BrokerMessage(refused=agents_pb2.Refused(source_sequence=last, reason="ugly")),
                            ack(last)]
                return None
            broker.script = goes_on
            broker.server.stop(None).wait()
            broker.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
            agents_pb2_grpc.add_AgentsServicer_to_server(broker, broker.server)
            check(broker.server.add_insecure_port(broker.address) > 0, "the same port again")
            broker.server.start()
            wait_until(lambda: 31 in broker.sent(), "the rest")
            check_equal(broker.sent(), list(range(1, 32)), "each once")
            agent.wait_log('publish.event_refused sequence=')
            check("ugly" in agent.log(), "with its reason")


def test_brokers_that_talk_nonsense_are_left_alone_for_long():
    def another_version(broker, message):
        return [broker.welcome(version=2, broker_version="9.9")] if message.HasField("hello") else None

    def two_welcomes(broker, message):
        return [broker.welcome(), broker.welcome()] if message.HasField("hello") else None

    def ack_from_the_future(broker, message):
        return [broker.welcome(), ack(1000)] if message.HasField("hello") else None

    def ack_before_the_welcome(broker, message):
        return [ack(0), broker.welcome()] if message.HasField("hello") else None

    for script, text in ((another_version, "publish.version"), (two_welcomes, "a second Welcome"),
                         (ack_before_the_welcome, "an Ack before the Welcome"),
                         (ack_from_the_future, "acknowledges 1000")):
        with ScriptedTarget() as target:
            with FakeBroker(lambda m, s=script: s(broker, m)) as broker, agent_for(target, broker) as agent:
                agent.wait_log(text)
                agent.wait_log("publish.refused")
                calls = broker.calls  # more than one on a machine that stood still meanwhile
                lines = [line for line in agent.log().splitlines() if "publish.refused" in line]
                for line in lines:
                    check(int(re.search(r"retry_ms=(\d+)", line).group(1)) >= 2000, line)
                check(calls <= len(lines) + 1 and agent.running(), f"{calls} calls, {len(lines)} refusals: it waits")


def test_something_that_is_no_broker():
    with ScriptedTarget() as target:
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))  # no services: UNIMPLEMENTED
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with agent_for(target, f"127.0.0.1:{port}") as agent:
            agent.wait_log("publish.refused")
            check("UNIMPLEMENTED" in agent.log(), agent.log())
        server.stop(None).wait()


def test_a_torn_line_in_the_list_of_targets_moves_no_number():
    names = ["iqn.2026-01.example:one", "iqn.2026-01.example:two"]
    state = tempfile.mkdtemp(prefix="sensebus-agent.")
    with open(os.path.join(state, "targets"), "w", encoding="ascii") as file:
        file.write("iqn.2026-01.example:gone\niqn.2026-01.exam")  # the disk was full
    seen = []
    for _ in range(2):
        with Agent(reserve_address(), state=state, targets=[f"iscsi://127.0.0.1:1/{n}" for n in names]) as agent:
            agent.wait_log("targets.added", 2)
            seen.append(dict(re.findall(r"targets\.added target=(\S+) .*number=(\d+)", agent.log())))
    check_equal(seen[0], dict(zip(names, "12")), "numbers")
    check_equal(seen[1], seen[0], "the same after a restart")
    shutil.rmtree(state)


def test_nothing_to_watch_and_nobody_to_tell_is_no_reason_to_end():
    with Agent(reserve_address()) as agent:
        agent.wait_log("targets.none")
        agent.wait_log("publish.broker_away")
        check(agent.running(), "it runs")
        check_equal(agent.stop(), 0, "exit status")


def test_bad_options_are_named():
    for options, texts in (
            (["--target", "iscsi://host"], ["--target", "name is missing"]),
            (["--target", "http://host/iqn.x:y"], ["--target", "iscsi://HOST"]),
            (["--target", "iscsi://host:99999/iqn.x:y"], ["port", "65535"]),
            (["--target", "iscsi://host/iqn.x:y/99999"], ["LUN", "16383"]),
            (["--target", "iscsi://host/disk"], ["iqn."]),
            (["--discover", "a b"], ["--discover"]),
            (["--host", "no spaces"], ["--host"]),
            (["--initiator-name", "me"], ["--initiator-name"]),
            (["--log-level", "loud"], ["--log-level", "loud"]),
            (["--poll", "0"], ["poll"]),
            (["--chap-file", "/nonexistent/file"], ["/nonexistent/file", "no such file"]),
            (["--spool-max-bytes", "1"], ["spool-max-bytes"]),
            (["extra"], ["extra"])):
        with refused_start(*options) as said:
            for text in texts:
                check(text in said, f"{options}: no {text!r} in {said!r}")
    result = subprocess.run([os.path.join(BUILD, "agent/sensebus-agent"), "--state", "/proc/nowhere"],
                            capture_output=True, text=True, check=False, timeout=LIMIT_S)
    check(result.returncode == 2 and "/proc/nowhere" in result.stderr, result.stderr)


def test_environment_and_version():
    version = subprocess.run([os.path.join(BUILD, "agent/sensebus-agent"), "--version"], capture_output=True, text=True,
                             check=True, timeout=LIMIT_S).stdout
    check(re.fullmatch(r"sensebus-agent \d+\.\d+\.\d+\n", version), version)
    with ScriptedTarget() as target, Broker() as broker, tempfile.TemporaryDirectory() as state:
        environment = {"SENSEBUS_BROKER": broker.address, "SENSEBUS_TARGET": url(target), "SENSEBUS_AGENT_STATE": state,
                       "SENSEBUS_HOST": "from-env"}
        with Program("agent/sensebus-agent", env=environment), \
                Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
            subscription.wait(lambda s: of_targets(s.events()), "an event")
            check_equal(of_targets(subscription.events())[0].origin.host, "from-env", "host")
            check(os.path.exists(os.path.join(state, "initiator-name")) or os.path.exists("/etc/iscsi/initiatorname.iscsi"),
                  "an initiator name was kept")


if __name__ == "__main__":
    run_tests(globals())
