# SPDX-License-Identifier: Apache-2.0
"""sensebus status, agents, devices, explain, version, wait, and every exit code."""
import concurrent.futures
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from sensebus_testlib import *  # noqa: E402,F403
from cli_program import PATH, Running, environment, out_of_time, sensebus, wait_subscribed  # noqa: E402


def coverage(state, reason=""):
    source = agents_pb2.SourceCoverage(source=event_pb2.SOURCE_ISCSI, instance="iqn.test:t0", state=state,
                                       reason=reason)
    return agents_pb2.AgentMessage(coverage=agents_pb2.Coverage(sources=[source]))


def inventory(n):
    devices = [agents_pb2.InventoryDevice(
        address=event_pb2.Address(adapter="iscsi0", bus=-1, lun=lun, controller=-1),
        device=event_pb2.Device(vendor="LIO-ORG", product=f"disk{lun}", designator=f"naa.{lun:016x}",
                                target_name="iqn.test:t0", serial=f"S{lun}"),
        n_blocks=2097152, block_bytes=512, state="ready") for lun in range(n)]
    return agents_pb2.AgentMessage(inventory=agents_pb2.Inventory(devices=devices))


# ---------------------------------------------------------------------------------------------------- asking

def test_status_folds_events_per_device():
    with Broker() as broker, FakeAgent(broker, host="db-07") as agent:
        for n in range(1, 7):
            agent.publish(make_event("db-07", agent.epoch, n, lun=n % 2,
                                     code="LUN_RESET" if n < 5 else "DEVICE_REMOVED"))
        agent.wait_acked(6)
        table = sensebus("status", broker=broker)
        check(re.search(r"^broker 127\.0\.0\.1:\d+  version \S+  started ", table.out), table.out)
        check(re.search(r"newest [0-9a-f]+\.7 .*durability sync", table.out), table.out)
        rows = [line for line in table.lines() if "DEVICE_REMOVED" in line]
        check_equal(len(rows), 2)
        check("reset" in rows[0], "pending bits")
        check(table.out.count("LUN_RESET") == 0 and sensebus("status", "-o", "wide", broker=broker)
              .out.count("LUN_RESET") == 2)
        objects = json.loads(sensebus("status", "-o", "json", broker=broker).out)
        check_equal(objects[0]["broker"]["newest"]["sequence"], "7")
        check_equal([o["nEvents"] for o in objects[1:] if o.get("address")], ["3", "3"])
        check_equal(len(sensebus("status", "-o", "ndjson", "--lun", "1", broker=broker).objects()), 2)
        check_equal(len(sensebus("status", "-o", "ndjson", "--not", "--host", "db-*", broker=broker).objects()), 1)


def test_status_of_many_devices_comes_in_pages():
    with Broker() as broker, FakeAgent(broker) as agent:
        agent.publish(*[make_event(agent.host, agent.epoch, n, lun=n) for n in range(1, 1001)])
        agent.wait_acked(1000)
        objects = sensebus("status", "-o", "ndjson", broker=broker).objects()
        check_equal(len({o["key"] for o in objects if o.get("address")}), 1000)
        check_equal(len(sensebus("status", broker=broker).out.split("iscsi0")), 1001)


def test_agents_tells_state_and_coverage():
    with Broker() as broker:
        check_equal(len(sensebus("agents", broker=broker).lines()), 1)
        with FakeAgent(broker, host="db-07") as agent:
            agent.send(coverage(agents_pb2.SOURCE_STATE_DEGRADED, "login refused"))
            agent.send(inventory(3))
            agent.publish_range(1, 5)
            agent.heartbeat(newest=9, dropped=2)
            agent.wait_acked(5)
            row = re.compile(r"^db-07 +attached +\d+s ago +0/1 +3 +4 +2 +\d+s ago$", re.M)
            wait_until(lambda: row.search(sensebus("agents", broker=broker).out), "the row")
            check(re.search(r"^db-07 +iscsi +iqn\.test:t0 +degraded +login refused$",
                            sensebus("agents", "-o", "wide", broker=broker).out, re.M))
            shown, = json.loads(sensebus("agents", "-o", "json", broker=broker).out)
            check_equal((shown["host"], shown["state"]), ("db-07", "AGENT_STATE_ATTACHED"))
        wait_until(lambda: "LOST" in sensebus("agents", broker=broker).out, "the loss")


SAMPLE = re.compile(r'([a-z_]+)((?:\{[a-z]+="(?:[^"\\\n]|\\[\\"n])*"(?:,[a-z]+="(?:[^"\\\n]|\\[\\"n])*")*\})?) (\d+(?:\.\d+)?)')


def read_metrics(text):
    """{name and labels: value} of Prometheus's text format; each family stands together, behind its one TYPE."""
    samples, kinds, family = {}, {}, None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            continue
        if line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ")
            check(family not in kinds and kind in ("counter", "gauge"), line)
            check_equal(kind == "counter", family.endswith("_total"), line)
            kinds[family] = kind
            continue
        found = SAMPLE.fullmatch(line)
        check(found and found.group(1) == family and line not in samples, line)
        samples[found.group(1) + found.group(2)] = float(found.group(3))
    return samples


def test_metrics_are_in_the_format_of_prometheus():
    with Broker() as broker:
        check_equal(read_metrics(sensebus("metrics", broker=broker).out)["sensebus_store_records"], 0)
        with FakeAgent(broker, host="db-07") as agent, Running("watch", broker=broker):
            wait_subscribed(broker)
            sources = [agents_pb2.SourceCoverage(source=event_pb2.SOURCE_ISCSI, instance=instance, state=state)
                       for instance, state in (("a", agents_pb2.SOURCE_STATE_ARMED),
                                               ('b"\\\n\x1b', agents_pb2.SOURCE_STATE_OFF))]
            agent.send(agents_pb2.AgentMessage(coverage=agents_pb2.Coverage(sources=sources)))
            agent.send(inventory(3))
            agent.publish_range(1, 5)
            agent.heartbeat(newest=9, dropped=2)
            agent.wait_acked(5)
            shown = lambda: read_metrics(sensebus("metrics", broker=broker).out)  # noqa: E731
            wait_until(lambda: shown()['sensebus_agent_backlog_events{host="db-07"}'] == 4, "the heartbeat")
            wait_until(lambda: [k for k, v in shown().items()
                                if k.startswith("sensebus_subscription_delivered_total{") and v >= 5], "the delivery")
            samples = shown()
            for name, value in (("agent_connected", 1), ("agent_devices", 3), ("agent_events_total", 5),
                                ("agent_events_dropped_total", 2)):
                check_equal(samples[f'sensebus_{name}{{host="db-07"}}'], value, name)
            check_equal(samples['sensebus_source_armed{host="db-07",source="iscsi",instance="a"}'], 1)
            check_equal(samples['sensebus_source_armed{host="db-07",source="iscsi",instance="b\\"\\\\\\n\\\\x1b"}'], 0)
            check_equal(samples['sensebus_source_degraded{host="db-07",source="iscsi",instance="a"}'], 0)
            check_equal(samples["sensebus_events_ingested_total"], 5)
            check_equal(samples["sensebus_store_records"], samples["sensebus_store_newest_sequence"])
            check_equal(samples["sensebus_broker_accepting"], 1)
        wait_until(lambda: shown()['sensebus_agent_connected{host="db-07"}'] == 0, "the loss")


def test_devices_lists_the_inventory():
    with Broker() as broker, FakeAgent(broker, host="db-07") as agent:
        agent.send(inventory(1500))
        wait_until(lambda: broker.admin().ListAgents(admin_pb2.ListAgentsRequest()).agents[0].n_devices == 1500)
        table = sensebus("devices", broker=broker)
        check_equal(len(table.lines()), 1501)
        check(re.fullmatch(r"db-07 +iscsi0:-:0:0 +disk +LIO-ORG +disk0 +1\.0 GiB +ready +naa\.0+", table.lines()[1]),
              table.lines()[1])
        check("S1499" in sensebus("devices", "-o", "wide", broker=broker).out)
        check_equal(len(json.loads(sensebus("devices", "-o", "json", "--host", "db-*", broker=broker).out)), 1500)
        check_equal(json.loads(sensebus("devices", "-o", "json", "--host", "x", broker=broker).out), [])


def test_explain_works_offline():
    sense = sensebus("explain", "29/03").out
    check("Bus device reset function occurred" in sense or "bus device reset" in sense.lower(), sense)
    check("LUN_RESET" in sense and "remedy" in sense, sense)
    for spelling in ("0x29/0x03", "29h/03h", "29/3"):
        check_equal(sensebus("explain", spelling).out, sense)
    for name in ("LUN_RESET", "lun_reset", "203"):
        check(sensebus("explain", name).out.startswith("LUN_RESET (203)\n"), name)
    listed = sensebus("explain", "RESERVATIONS_*").lines()
    check(len(listed) == 3 and "RESERVATIONS_PREEMPTED" in listed[1], listed)
    check(len(sensebus("explain", "*").lines()) > 100)
    check("target_name" in sensebus("explain", "where").out)
    check("did you mean LUN_RESET" in sensebus("explain", "LUN_RESETT", expect=1).err)
    sensebus("explain", "NOTHING_*", expect=1)
    sensebus("explain", "zz/00", expect=2)
    sensebus("explain", expect=2)
    check("ff/ff" in sensebus("explain", "ff/ff").out)
    check(sensebus("explain", "06/29/03").out == sense and "UNIT ATTENTION" in sense, "as events are printed")
    check("no event" in sensebus("explain", "05/24/00").out)
    check("0 to f" in sensebus("explain", "10/24/00", expect=2).err)
    check("goes with its qualifier: 29/00" in sensebus("explain", "29", expect=1).err)
    sensebus("explain", "203", SENSEBUS_URL="nonsense://", SENSEBUS_BROKER="nonsense")


def test_version_says_both_and_does_not_need_the_broker():
    with Broker() as broker:
        out = sensebus("version", broker=broker).out
        check(re.match(r"sensebus \d+\.\d+\.\d+\nbroker   \d+\.\d+\.\d+  at 127", out), out)
    check("not reached at 127.0.0.1:1: " in sensebus("version", "--broker", "127.0.0.1:1").out)
    check_equal(sensebus("--version", "--broker", "127.0.0.1:1").code, 0)


def test_health_asks_the_health_service():
    with Broker() as broker:
        check_equal(sensebus("health", broker=broker).out, "serving\n")
        check_equal(sensebus("health", "sensebus.v1.Agents", broker=broker).out, "serving\n")
        check("unknown service 'nothing'" in sensebus("health", "nothing", broker=broker, expect=1).err)
        sensebus("health", "one", "two", broker=broker, expect=2)
    sensebus("health", "--broker", "127.0.0.1:1", expect=3)


def test_health_follows_the_broker():
    with Broker() as broker:
        check_equal(sensebus("health", broker=broker).out, "serving\n")
        sensebus("health", "no.such.Service", broker=broker, expect=1)
    sensebus("health", "--broker", "127.0.0.1:1", expect=3)


# ---------------------------------------------------------------------------------------------------- waiting

def test_wait_for_an_event_that_comes():
    with Broker() as broker, FakeAgent(broker) as agent:
        for condition in ("event: asc==0x3f && ascq==0x0e && lun==3", "lun==3"):
            n = agent.acked() + 1
            with Running("wait", "--for", condition, "--timeout", "60s", broker=broker) as wait:
                wait_subscribed(broker)
                agent.publish(make_event(agent.host, agent.epoch, n, lun=2),
                              make_event(agent.host, agent.epoch, n + 1, code="REPORTED_LUNS_CHANGED", lun=3,
                                         sense=event_pb2.Sense(response_code=0x70, key=6, asc=0x3f, ascq=0x0e)))
                agent.wait_acked(n + 1)
                wait.end(0)
                check_equal(len(wait.out), 1)
                check(":3 " in wait.out[0], wait.out)


def test_wait_does_not_take_an_old_event_unless_asked():
    with Broker() as broker, FakeAgent(broker) as agent:
        agent.publish_range(1, 3, lun=3)
        agent.wait_acked(3)
        out_of_time("wait", "--for", "lun==3", broker=broker, word="")
        old = sensebus("wait", "--for", "lun==3", "--since", "oldest", "--timeout", "60s", "-o", "ndjson",
                       broker=broker)
        check_equal([o["sequence"] for o in old.objects()], ["2"])
        out_of_time("wait", "--for", "lun==3", "--since", "oldest", "--not", "--code", "LUN_RESET", broker=broker, word="")


def test_wait_goes_on_when_nobody_reads_what_it_prints():
    with Broker() as broker, FakeAgent(broker) as agent:
        def start(timeout):
            read, write = os.pipe()
            os.close(read)
            process = subprocess.Popen([PATH, "wait", "--for", "lun==3", "--timeout", timeout, "--broker", broker.address],
                                       stdin=subprocess.DEVNULL, stdout=write, env=environment())
            os.close(write)
            return process
        for timeout in ("2s", "20s", "60s"):  # on a busy machine it may not even have reached the broker by then
            code = start(timeout).wait(LIMIT_S)
            if code != 3:
                break
        check_equal(code, 6, "exit code though the event did not come")
        wait = start("60s")
        wait_subscribed(broker)
        agent.publish(make_event(agent.host, agent.epoch, 1, lun=3))
        check_equal(wait.wait(LIMIT_S), 0, "exit code")


def test_wait_for_agents():
    with Broker() as broker:
        out_of_time("wait", "--for", "agent", broker=broker, word="knows no agent")
        with Running("wait", "--for", "agent db-07", "--timeout", "60s", broker=broker) as wait, \
                FakeAgent(broker, host="db-01"), FakeAgent(broker, host="db-07") as agent:
            wait.end(0)
            sensebus("wait", "--for", "agent", "--timeout", "60s", broker=broker)
            sensebus("wait", "--for", "agent", "--agent", "db-01", "--timeout", "60s", broker=broker)
            out_of_time("wait", "--for", "agent db-99", broker=broker, word="not known")
            out_of_time("wait", "--for", "synced", "--agent", "db-07", broker=broker, word="no source armed")
            agent.send(coverage(agents_pb2.SOURCE_STATE_OFF, "login refused"))
            out_of_time("wait", "--for", "synced", "--agent", "db-07", broker=broker, word="login refused")
            with Running("wait", "--for", "synced", "--timeout", "60s", broker=broker) as synced:
                uevent = agents_pb2.SourceCoverage(source=event_pb2.SOURCE_UEVENT, reason="no CAP_NET_ADMIN",
                                                   state=agents_pb2.SOURCE_STATE_DEGRADED)
                armed = coverage(agents_pb2.SOURCE_STATE_ARMED)
                armed.coverage.sources.append(uevent)  # hooks of the kernel see what was granted: nothing to wait for
                agent.send(armed)
                synced.end(0)
            agent.heartbeat(newest=7)
            wait_until(lambda: any(a.host == "db-07" and a.newest_source_sequence == 7 for a in broker.admin().ListAgents(
                admin_pb2.ListAgentsRequest(), timeout=LIMIT_S).agents), "the heartbeat")
            out_of_time("wait", "--for", "synced", "--agent", "db-07", broker=broker, word="7 events behind")
            agent.publish_range(1, 7)
            sensebus("wait", "--for", "synced", "--agent", "db-07", "--timeout", "60s", broker=broker)


def test_wait_dials_a_broker_that_comes_later():
    address = reserve_address()
    with Running("wait", "--for", "agent", "--timeout", "60s", address=address) as agent_wait, \
            Running("wait", "--for", "lun==1", "--since", "oldest", "--timeout", "60s", address=address) as event_wait, \
            Broker(listen=address) as broker, FakeAgent(broker) as agent:
        agent.publish_range(1, 1, lun=1)
        agent_wait.end(0)
        event_wait.end(0)


# ---------------------------------------------------------------------------------------------------- exit codes

def test_usage_is_2():
    for arguments in ((), ("nothing",), ("watch", "--nothing"), ("watch", "operand"), ("watch", "--count", "0"),
                      ("watch", "--count"), ("watch", "-o", "xml"), ("watch", "--color", "pink"),
                      ("watch", "--since", "yesterday"), ("watch", "--since", "5m", "--last", "3"),
                      ("watch", "--code", "NOPE"), ("watch", "--not"), ("watch", "--where", "lun=="),
                      ("watch", "--broker", "a:b:c"), ("watch", "--broker", "localhost:70000"),
                      ("wait",), ("wait", "--for", "lun=="), ("wait", "--for", "lun==1", "--where", "lun==1"), ("wait", "--for", "synced", "--code", "LUN_RESET"),
                      ("wait", "--for", "lun==1", "--agent", "x"), ("wait", "--for", "agent a", "--agent", "b"),
                      ("status", "-o", "xml"), ("agents", "x"), ("devices", "x"), ("get", "--snapshot")):
        result = sensebus(*arguments, expect=2)
        check_equal(result.out, "", str(arguments))
        check(result.err, f"{arguments}: no word about it")


REFUSAL = ("192.0.2.1:7070 is beyond this machine and the connection is not encrypted: write tls:// before it, or give "
           "--insecure")


def test_plaintext_beyond_this_machine_needs_a_flag():
    for command in (("watch",), ("get",), ("get", "--since", "#1"), ("status",), ("agents",), ("devices",), ("health",),
                    ("version",), ("wait", "--for", "agent"), ("wait", "--for", "lun==1")):
        for where, env in ((("--broker", "192.0.2.1"), {}), ((), {"SENSEBUS_BROKER": "192.0.2.1"})):
            result = sensebus(*command, *where, expect=2, **env)
            check(REFUSAL in result.err, f"{command}: {result.err}")
            check_equal(result.out, "")
    sensebus("health", SENSEBUS_BROKER="192.0.2.1", SENSEBUS_INSECURE="no", expect=2)
    sensebus("health", "--broker", "192.0.2.1", "--insecure", "--timeout", "200ms", expect=3)
    sensebus("health", "--timeout", "200ms", SENSEBUS_BROKER="192.0.2.1", SENSEBUS_INSECURE="1", expect=3)
    with Broker("--insecure", listen="0.0.0.0:0") as broker:
        address = broker.address  # reaches this machine, and is no loopback address
        sensebus("health", "--broker", address, expect=2)
        check_equal(sensebus("health", "--broker", address, "--insecure").out, "serving\n")
        with Running("watch", "--insecure", "--until-synced", address=address) as watch:
            watch.end(0)
        out_of_time("wait", "--for", "agent", "--insecure", broker=broker, word="")


def test_an_agent_needs_the_flag_too():
    agent = os.path.join(BUILD, "agent", "sensebus-agent")
    with tempfile.TemporaryDirectory() as state:
        done = subprocess.run([agent, "--broker", "192.0.2.1", "--state", state], env=environment(),
                              capture_output=True, timeout=LIMIT_S)
        check_equal(done.returncode, 2)
        check(REFUSAL in done.stderr.decode(), done.stderr.decode())
        check_equal(os.listdir(state), [])
        with Broker("--insecure", listen="0.0.0.0:0") as broker:
            process = subprocess.Popen([agent, "--broker", broker.address, "--state", state, "--host", "far"],
                                       env=environment(SENSEBUS_INSECURE="1"), stderr=subprocess.DEVNULL)
            try:
                sensebus("wait", "--for", "agent far", "--timeout", "60s", "--insecure", broker=broker)
            finally:
                process.send_signal(signal.SIGTERM)
                check_equal(process.wait(LIMIT_S), 0)


def test_options_may_come_before_the_command():
    with Broker() as broker:
        for before in (("--broker", broker.address), (f"--broker={broker.address}",),
                       ("--utc", "--broker", broker.address, "--timeout=9s", "--color", "never", "--insecure")):
            check_equal(sensebus(*before, "health").out, "serving\n")
            check_equal(sensebus(*before, "health", "sensebus.v1.Agents").out, "serving\n")
            check(sensebus(*before, "--version").out.startswith("sensebus "))
            check("Commands:" in sensebus(*before, "-h").out)
            check("LUN_RESET" in sensebus(*before, "explain", "203").out)
        check_equal(sensebus("--broker", "127.0.0.1:1", "health", broker=broker).out, "serving\n", "the last one counts")
    for arguments, word in ((("--broker",), "--broker: needs a value (ADDRESS)"), (("--utc",), "command is missing"),
                            (("--broker", "watch"), "command is missing"),
                            (("--code", "LUN_RESET", "watch"), "'--code' goes behind the command"),
                            (("-o", "json", "get"), "'-o' goes behind the command"),
                            (("--utc=1", "get"), "--utc: takes no value")):
        check(word in sensebus(*arguments, expect=2).err, sensebus(*arguments, expect=2).err)


def test_help_is_on_standard_output_with_examples():
    for command in ("watch", "get", "status", "agents", "devices", "wait", "explain", "health", "metrics", "version"):
        text = sensebus(command, "-h").out
        check(f"usage: sensebus {command}" in text and "Example" in text and "--color" in text, text)
        check(("--insecure" in text) == (command != "explain"), text)
        check_equal(sensebus(command, "--help").out, text)
        check(("--where EXPR" in text) == (command in ("watch", "get")), text)
        check_equal([line for line in text.splitlines() if len(line) > 80], [])
        check("--not-" not in text, "hidden options are hidden")
    check("Exit codes:" in sensebus("-h").out)


def test_a_where_error_points_at_its_place():
    lines = sensebus("get", "--where", 'lun==4 && hosst=="x"', expect=2).err.splitlines()
    check_equal(lines[0], "sensebus: --where: column 11: unknown field 'hosst'; did you mean host?")
    check_equal(lines[2].index("^"), lines[1].index("hosst"))
    lines = sensebus("get", "--where", "host==\"\x1b[31mü\" && x", expect=2).err.splitlines()
    check("\x1b" not in "".join(lines))
    check_equal(lines[2].index("^"), lines[1].index("&& x") + 3)


def test_nobody_there_is_3_at_once():
    for command in (("watch",), ("get",), ("status",), ("agents",), ("devices",), ("get", "--since", "#1"),
                    ("wait", "--for", "agent", "--timeout", "300ms"),
                    ("wait", "--for", "lun==1", "--timeout", "300ms")):
        result = sensebus(*command, "--broker", "127.0.0.1:1", expect=3)
        check("cannot connect to 127.0.0.1:1" in result.err and "refused" in result.err, result.err)


def test_an_error_shows_the_way_out():
    for arguments, code, words in (
            (("wacth",), 2, "did you mean watch?"),
            (("nothing",), 2, "'sensebus -h' lists them"),
            (("watch", "--code", "LUN_RSET"), 2, "did you mean LUN_RESET?"),
            (("watch", "--code", "nothere"), 2, "'sensebus explain \"*\"' lists them"),
            (("watch", "--severity", "bad"), 2, "is none of the severities: info, notice, warn, error, crit"),
            (("watch", "--where", "severity==bad"), 2, "is none of the severities: info, notice, warn, error, crit"),
            (("watch", "--category", "bad"), 2, "is none of the categories: ADAPTER, RESET, "),
            (("watch", "--timeout", "5x"), 2, "examples: 500ms, 5s, 2m, 1h"),
            (("get", "--broker", "127.0.0.1:1"), 3,
             "cannot connect to 127.0.0.1:1: connection refused; start sensebus-broker there, or name another with"),
            (("agents", "--broker", "unix:/nowhere"), 3, "unix:/nowhere: no such file or directory; start ")):
        result = sensebus(*arguments, expect=code)
        check(words in result.err, f"{arguments}: {result.err}")
    with Broker() as broker:
        for position in ("123.4", "#99"):
            check("--since oldest" in sensebus("get", "--since", position, broker=broker, expect=10).err)


def test_a_broker_makes_its_data_directory_with_all_above_it():
    with tempfile.TemporaryDirectory() as top, Broker(data=os.path.join(top, "var", "lib", "broker")) as broker:
        check_equal(sensebus("health", broker=broker).out, "serving\n")


def test_somebody_silent_is_3_after_the_timeout():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        address = "127.0.0.1:%d" % silent.getsockname()[1]
        for command in ("watch", "agents"):
            result = sensebus(command, "--broker", address, "--timeout", "300ms", expect=3)
            check(f"cannot connect to {address}" in result.err, result.err)
            check("does a broker listen there?" in result.err, result.err)


def test_another_protocol_is_3_and_asks_whether_it_is_a_broker():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(16)

        def answer():
            for _ in range(2):
                connection, _ = other.accept()
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                # Closed with bytes unread, it would be reset, and the answer lost with it.
                while connection.recv(4096):
                    pass
                connection.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        for command in ("watch", "agents"):
            result = sensebus(command, "--broker", "127.0.0.1:%d" % other.getsockname()[1], expect=3)
            check("does a broker listen there?" in result.err, result.err)
        thread.join(LIMIT_S)


class Refusing(grpc.GenericRpcHandler):
    """A stock server that answers every call with one status."""

    def __init__(self, status):
        self.status = status

    def service(self, details):
        def refuse(request, context):
            context.abort(self.status, "because of \x1b[31m")
        return grpc.unary_unary_rpc_method_handler(refuse)


def test_each_status_of_the_broker_has_its_exit_code():
    codes = {"UNAUTHENTICATED": 4, "PERMISSION_DENIED": 5, "OUT_OF_RANGE": 10, "ALREADY_EXISTS": 9, "ABORTED": 9,
             "FAILED_PRECONDITION": 9, "INVALID_ARGUMENT": 2, "RESOURCE_EXHAUSTED": 1, "UNIMPLEMENTED": 1,
             "INTERNAL": 1}
    for name, code in codes.items():
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        server.add_generic_rpc_handlers([Refusing(getattr(grpc.StatusCode, name))])
        address = "127.0.0.1:%d" % server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            for command in (("get",), ("watch",), ("status",), ("agents",), ("devices",),
                            ("wait", "--for", "agent", "--timeout", "60s"),
                            ("wait", "--for", "lun==1", "--timeout", "60s")):
                result = sensebus(*command, "--broker", address, expect=code)
                check(f"says {name}: because of \\u{{1b}}[31m" in result.err, result.err)
        finally:
            server.stop(None).wait()


def test_a_draining_broker_is_dialled_again():
    with Broker() as broker, FakeAgent(broker) as agent:
        agent.publish_range(1, 3)
        agent.wait_acked(3)
        with Running("watch", "--since", "oldest", "-o", "ndjson", broker=broker) as watch:
            watch.wait_lines(4)
            check_equal(broker.stop(), 0)
            watch.wait_error("trying again")
            broker.restart()
            watch.wait_error("connected again")
            watch.interrupt()
            watch.end(130)
        numbers = [int(o["sequence"]) for o in map(json.loads, watch.out) if "sequence" in o]
        check_equal(numbers, sorted(set(numbers)))


class OneEvent(grpc.GenericRpcHandler):
    """A stock server whose Subscribe gives one event and then nothing."""

    def __init__(self):
        self.over = threading.Event()

    def service(self, details):
        def subscribe(request, context):
            position = events_pb2.Position(epoch=7, sequence=40)
            yield events_pb2.EventBatch(opened=events_pb2.Opened(position=position)).SerializeToString()
            yield events_pb2.EventBatch(events=[event_pb2.Event(sequence=41, code=203)]).SerializeToString()
            self.over.wait(LIMIT_S)
        return grpc.unary_stream_rpc_method_handler(subscribe)


def test_get_does_not_wait_for_ever_for_a_broker_that_is_gone():
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    handler = OneEvent()
    server.add_generic_rpc_handlers([handler])
    address = "127.0.0.1:%d" % server.add_insecure_port("127.0.0.1:0")
    server.start()
    with Running("get", "-o", "ndjson", "--timeout", "2s", address=address) as get:
        get.wait_lines(1)
        server.stop(None)
        get.wait_error("trying again")
        get.end(3)
        check_equal(get.err[-1], "sensebus: resume with --since 7.41")
        check("warning" in json.loads(get.out[1]))
    handler.over.set()


def test_an_interrupted_question_ends():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        process = subprocess.Popen([PATH, "agents", "--broker", "127.0.0.1:%d" % silent.getsockname()[1]],
                                   env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        silent.settimeout(LIMIT_S)
        connection, _ = silent.accept()
        process.send_signal(signal.SIGINT)
        check_equal(process.wait(LIMIT_S), -signal.SIGINT)  # a shell says 130
        connection.close()


if __name__ == "__main__":
    run_tests(globals())
