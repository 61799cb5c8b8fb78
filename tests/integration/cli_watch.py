# SPDX-License-Identifier: Apache-2.0
"""sensebus watch and get: against a real broker and a synthetic agent."""
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
from cli_program import PATH, Running, environment, sensebus, wait_subscribed  # noqa: E402

DEVICE = event_pb2.Device(vendor="LIO-ORG", product="disk0", designator="naa.60014050123456789a1b2", serial="0012",
                          target_name="iqn.2026-01.test:t0")
SENSE = event_pb2.Sense(response_code=0x70, key=6, asc=0x29, ascq=3)


def fill(agent, n, first=1, **members):
    agent.publish_range(first, first + n - 1, **members)
    agent.wait_acked(first + n - 1)


def sequences(result):
    return [int(o["sequence"]) for o in result.objects() if "sequence" in o]


# ---------------------------------------------------------------------------------------------------- get

def test_get_shows_everything_kept_and_ends():
    with Broker() as broker, FakeAgent(broker, host="db-07") as agent:
        fill(agent, 50, device=DEVICE, sense=SENSE, lun=4)
        result = sensebus("get", broker=broker)
        check_equal(len(result.lines()), 51)
        check_equal(result.err, "")
        check(re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} db-07 iscsi0:-:0:4 naa\.6001405\.\.a1b2 LUN_RESET NOTICE 06/29/03 "
                           r"[Bb]us device reset function occurred  #51", result.lines()[-1]), result.lines()[-1])
        check_equal(sequences(sensebus("get", "-o", "ndjson", broker=broker)), list(range(1, 52)))
        check_equal(sequences(sensebus("get", "-o", "ndjson", "--last", 5, broker=broker)), [47, 48, 49, 50, 51])
        check_equal(sequences(sensebus("get", "-o", "ndjson", "--count", 3, broker=broker)), [1, 2, 3])
        check_equal(sequences(sensebus("get", "-o", "ndjson", "--since", "#50", broker=broker)), [50, 51])
        check_equal(sequences(sensebus("get", "-o", "ndjson", "--since", "1h", broker=broker)), list(range(1, 52)))
        check_equal(sequences(sensebus("get", "-o", "ndjson", "--since", "now", broker=broker)), [])
        epoch = broker.info().newest.epoch
        check_equal(sequences(sensebus("get", "-o", "ndjson", "--since", f"{epoch:x}.49", broker=broker)), [50, 51])


def test_an_empty_log_is_an_empty_answer():
    with Broker() as broker:
        check_equal(sensebus("get", broker=broker).out, "")
        check_equal(json.loads(sensebus("get", "-o", "json", broker=broker).out), [])


def test_json_is_the_protobuf_mapping():
    from google.protobuf import json_format
    with Broker() as broker, FakeAgent(broker) as agent:
        fill(agent, 5, device=DEVICE, sense=SENSE)
        array = json.loads(sensebus("get", "-o", "json", broker=broker).out)
        check_equal(array, sensebus("get", "-o", "ndjson", broker=broker).objects())
        for shown, event in zip(array, broker.read_all(), strict=True):
            check_equal(json_format.ParseDict(shown, event_pb2.Event()), event)


def test_wide_has_the_remedy_and_compact_on_request():
    with Broker() as broker, FakeAgent(broker) as agent:
        fill(agent, 1, device=DEVICE, sense=SENSE)
        wide = sensebus("get", "-o", "wide", "--code", "LUN_RESET", broker=broker).out
        for text in ("remedy", "iqn.2026-01.test:t0", "naa.60014050123456789a1b2", "06/29/03", "UNIT ATTENTION"):
            check(text in wide, f"no {text} in\n{wide}")
        check_equal(len(sensebus("get", "--code", "LUN_RESET", broker=broker).lines()), 1)
        check("    -> " in sensebus("get", "--remedy", broker=broker).out)
        sensebus("get", "--remedy", "-o", "json", broker=broker, expect=2)


def test_selectors_reach_the_broker_and_where_is_applied_here():
    with Broker() as broker, FakeAgent(broker, host="db-07") as agent:
        agent.publish(make_event("db-07", agent.epoch, 1, lun=1, device=DEVICE, sense=SENSE),
                      make_event("db-07", agent.epoch, 2, code="DEVICE_REMOVED", severity="SEVERITY_ERROR", lun=2,
                                 aix_bits=0),
                      make_event("db-07", agent.epoch, 3, code="BUFFERS_EXHAUSTED", severity="SEVERITY_WARN", lun=3,
                                 adapter="fcs0", aix_bits=8))
        agent.wait_acked(3)

        def picked(*arguments):
            return [n - 1 for n in sequences(sensebus("get", "-o", "ndjson", *arguments, broker=broker)) if n > 1]

        check_equal(picked("--code", "LUN_*,device_removed"), [1, 2])
        check_equal(picked("--code", "203"), [1])
        check_equal(picked("--category", "RESET"), [1])
        check_equal(picked("--severity", "warn"), [2, 3])
        check_equal(picked("--severity", "warn", "--not", "--code", "DEVICE_*"), [3])
        check_equal(picked("--host", "db-0?", "--lun", "1,3"), [1, 3])
        check_equal(picked("--addr", "iscsi0:*:*:*", "--lun", "2-9"), [2])
        check_equal(picked("--inquiry", "LIO-ORG disk"), [1])
        check_equal(picked("--wwid", "naa.6001*"), [1])
        check_equal(picked("--target", "iqn.2026-01.*"), [1])
        check_equal(picked("--pdt", "disk"), [1])
        check_equal(picked("--bits", "buffers_exhausted"), [3])
        check_equal(picked("--mode", "target"), [])
        check_equal(picked("--where", "asc==0x29 && ascq==3"), [1])
        check_equal(picked("--where", "severity>=warn && !(lun==2)"), [3])
        check_equal(picked("--lun", "1-2", "--where", "code=~*_REMOVED"), [2])
        shown = json.loads(sensebus("get", "--code", "LUN_RESET", "--print-filter").out)
        check_equal(shown, {"codes": ["LUN_RESET"]})


# ---------------------------------------------------------------------------------------------------- watch

def test_watch_shows_events_as_they_come():
    with Broker() as broker, FakeAgent(broker) as agent:
        fill(agent, 3)
        with Running("watch", "-o", "ndjson", broker=broker) as watch:
            wait_subscribed(broker)
            fill(agent, 2, first=4)
            check_equal([json.loads(line)["sequence"] for line in watch.wait_lines(2)], ["5", "6"])
            watch.interrupt()
            watch.end(130)


def test_count_and_until_synced_end_by_themselves():
    with Broker() as broker, FakeAgent(broker) as agent:
        fill(agent, 10)
        check_equal(len(sensebus("watch", "--since", "oldest", "--count", 4, broker=broker).lines()), 4)
        check_equal(len(sensebus("watch", "--since", "oldest", "--until-synced", broker=broker).lines()), 11)
        check_equal(sensebus("watch", "--until-synced", broker=broker).out, "")
        result = sensebus("watch", "--last", 2, "--until-synced", "-o", "json", broker=broker)
        check_equal([list(o)[0] for o in json.loads(result.out)], ["sequence", "sequence", "synced"])


def test_snapshot_comes_first_and_is_marked():
    with Broker() as broker, FakeAgent(broker) as agent:
        for n in range(1, 11):
            agent.publish(make_event(agent.host, agent.epoch, n, lun=n % 2))
        agent.wait_acked(10)
        objects = sensebus("watch", "--snapshot", "--until-synced", "-o", "ndjson", broker=broker).objects()
        check("snapshotBegin" in objects[0] and "synced" in objects[-1], objects)
        luns = {o.get("address", {}).get("lun", "0") for o in objects[1:-1] if o["code"] == "LUN_RESET"}
        check_equal(luns, {"0", "1"})


class CutOnce:
    """Stands between a program and the broker. The first connection is cut when the broker has sent so much on it."""

    def __init__(self, broker, n_bytes):
        self.broker, self.left = broker, n_bytes
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            host, port = self.broker.address.rsplit(":", 1)
            far = socket.create_connection((host, int(port)))
            left, self.left = self.left, None
            for pair in ((near, far, None), (far, near, left)):
                threading.Thread(target=self._copy, args=pair, daemon=True).start()

    @staticmethod
    def _copy(source, sink, left):
        with contextlib.suppress(OSError):
            while left is None or left > 0:
                data = source.recv(65536 if left is None else left)
                if not data:
                    break
                sink.sendall(data)
                left = left and left - len(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


def test_a_snapshot_that_is_cut_begins_again():
    with Broker() as broker, FakeAgent(broker) as agent:
        for n in range(1, 501):
            agent.publish(make_event(agent.host, agent.epoch, n, lun=n))
        agent.wait_acked(500)
        with CutOnce(broker, 20000) as cut, \
                Running("watch", "--snapshot", "--until-synced", "-o", "ndjson", address=cut.address) as watch:
            watch.end(0)
        objects = [json.loads(line) for line in watch.out]
        begins = [i for i, o in enumerate(objects) if "snapshotBegin" in o]
        check_equal(len(begins), 2, "snapshots begun")
        check(any("trying again" in line for line in watch.err), watch.err)
        luns = {int(o["address"].get("lun", 0)) for o in objects[begins[1]:] if o.get("code") == "LUN_RESET"}
        check_equal(luns, set(range(1, 501)))
        check("synced" in objects[-1], objects[-1])


def test_a_killed_broker_costs_no_event_and_repeats_none():
    with Broker() as broker:
        with FakeAgent(broker) as agent, Running("watch", "--since", "oldest", "-o", "ndjson", broker=broker) as watch:
            fill(agent, 500)
            watch.wait_lines(1)
            for round_ in range(3):
                broker.kill()
                watch.wait_error("trying again")
                watch.err.clear()
                broker.restart()
                with FakeAgent(broker, epoch=agent.epoch, newest=500 * (round_ + 1)) as again:
                    fill(again, 500, first=500 * (round_ + 1) + 1)
                newest = broker.info().newest.sequence
                watch.wait_for(lambda: any(f'"sequence":"{newest}"' in line for line in watch.out), f"#{newest}")
                watch.wait_error("connected again; resumed after #")
            watch.interrupt()
            watch.end(130)
        objects = [json.loads(line) for line in watch.out]
        numbers = [int(o["sequence"]) for o in objects if "sequence" in o]
        check_equal(numbers, list(range(1, len(numbers) + 1)), "sequences")
        check_equal(len([o for o in objects if o.get("code") == "LUN_RESET"]), 2000)
        check(any("warning" in o for o in objects), "the loss is told in the stream, too")
        check(not any("gap" in o for o in objects))


def test_ctrl_c_completes_json_and_says_where_to_resume():
    with Broker() as broker, FakeAgent(broker) as agent:
        fill(agent, 20)
        for number in (signal.SIGINT, signal.SIGTERM):
            with Running("watch", "--since", "oldest", "-o", "json", broker=broker) as watch:
                watch.wait_lines(21)  # the last object's line is not ended yet
                watch.interrupt(number)
                watch.end(130)
            check_equal(len(json.loads("\n".join(watch.out))), 21)
            position = re.fullmatch(r"sensebus: resume with --since ([0-9a-f]+\.21)", watch.err[-1]).group(1)
        fill(agent, 2, first=21)
        check_equal(sequences(sensebus("get", "-o", "ndjson", "--since", position, broker=broker)), [22, 23])


def test_a_second_ctrl_c_ends_at_once_when_output_is_blocked():
    with Broker() as broker, FakeAgent(broker) as agent:
        fill(agent, 2000, summary="x" * 100)
        process = subprocess.Popen([PATH, "watch", "--since", "oldest", "--broker", broker.address],
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment())
        try:
            def blocked():
                with open(f"/proc/{process.pid}/wchan") as file:
                    return "pipe" in file.read()
            wait_until(blocked, "a full pipe")

            def pressed_again():
                # Two signals that arrive together are one: to the kernel, and to ThreadSanitizer, which keeps the first
                # back until the blocked call returns. So press on, as people do.
                process.send_signal(signal.SIGINT)
                return process.poll() is not None
            wait_until(pressed_again, "the end of a command that was interrupted more than once")
            check_equal(process.returncode, 130)
        finally:
            process.kill()
            process.stdout.close()
            process.wait()


def test_a_reader_that_goes_away_ends_it_quietly():
    with Broker() as broker, FakeAgent(broker) as agent:
        fill(agent, 3000)
        command = f"'{PATH}' get --broker {broker.address} | head -n 1; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment(),
                              timeout=LIMIT_S)
        check_equal(done.stderr, "")
        check_equal(done.stdout.splitlines()[1], "0")
        # Nothing is written, and it is noticed all the same.
        done = subprocess.run(["bash", "-c", f"'{PATH}' watch --broker {broker.address} | true"], capture_output=True,
                              text=True, env=environment(), timeout=LIMIT_S)
        check_equal(done.stderr, "")


def test_output_that_cannot_be_written_is_a_failure():
    with Broker() as broker, FakeAgent(broker) as agent:
        fill(agent, 30)
        loss = event_pb2.Loss(stage=event_pb2.LOSS_STAGE_AGENT, count=1, first_source_sequence=31,
                              last_source_sequence=31, reason="spool full")
        agent.publish(make_event(agent.host, agent.epoch, 31, code="EVENTS_LOST", loss=loss))
        agent.wait_acked(31)
        for arguments in ("get", "get --strict"):  # with --strict it ends in the middle of what came
            command = f"'{PATH}' {arguments} --broker {broker.address}"
            for where, text in (("> /dev/full", "no space left"), ("> file", "file too large")):
                with tempfile.TemporaryDirectory(prefix="sensebus-output.") as directory:
                    done = subprocess.run(["bash", "-c", f"ulimit -f 1; exec {command} {where}"], cwd=directory,
                                          capture_output=True, text=True, env=environment(), timeout=LIMIT_S)
                check_equal(done.returncode, 1, f"exit code of {arguments} {where}")
                check(text in done.stderr, done.stderr)
                check("resume" not in done.stderr, f"what was not written would be missing: {done.stderr}")


def test_standard_files_may_be_closed():
    with Broker() as broker, FakeAgent(broker, devices=[make_device(0, 0)]) as agent:
        fill(agent, 3)

        def run(arguments, closed):
            command = f"exec '{PATH}' {arguments} --broker {broker.address} {closed}"
            done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment(), timeout=LIMIT_S)
            return done.returncode, done.stdout, done.stderr
        for arguments in ("get", "watch --since oldest --count 2 -o json", "status", "metrics --help", "health"):
            for closed in ("<&-", "2>&-", "<&- 2>&-"):
                code, out, err = run(arguments, closed)
                check_equal((code, err), (0, ""), f"{arguments} {closed}")
                check(out, f"{arguments} {closed} says nothing")
            for closed in (">&-", "<&- >&-"):
                code, _, err = run(arguments, closed)
                check_equal(code, 1, f"exit code of {arguments} {closed}")
                check("bad file descriptor" in err or arguments in ("metrics --help", "health"), err)
            check_equal(run(arguments, "<&- >&- 2>&-")[0], 1, f"exit code of {arguments} with everything closed")


# ---------------------------------------------------------------------------------------------------- gaps

def damage(broker, marker):
    """Spoil one record in the log's file."""
    path = os.path.join(broker.data, "data.mdb")
    with open(path, "r+b") as file:
        content, count = file.read(), 0
        at = content.find(marker)
        while at >= 0:
            file.seek(at + len(marker) + 5)
            file.write(b"\x00")
            count += 1
            at = content.find(marker, at + 1)
    check(count > 0, "the record is not in the file")


def test_a_gap_is_told_everywhere_and_ends_strict():
    with Broker() as broker:
        with FakeAgent(broker) as agent:
            for n in range(1, 11):  # one commit each
                agent.publish(make_event(agent.host, agent.epoch, n, summary=f"MARKER-{n:04d}-" + "d" * 100))
                agent.wait_acked(n)
            agent.detach()
        broker.stop()
        damage(broker, b"MARKER-0005-")
        broker.restart()
        text = sensebus("get", broker=broker)
        check("GAP 1 events missing after #5 up to #6 (store" in text.err, text.err)
        check("GAP" not in text.out)
        check_equal(len([line for line in text.lines() if "LUN_RESET" in line]), 9)
        stream = sensebus("get", "-o", "json", broker=broker)
        gap, = [o["gap"] for o in json.loads(stream.out) if "gap" in o]
        check_equal((gap["count"], gap["to"]["sequence"], gap["stage"]), ("1", "6", "LOSS_STAGE_STORE"))
        check("GAP" in stream.err)
        strict = sensebus("get", "--strict", "-o", "ndjson", broker=broker, expect=7)
        check("gap" in strict.objects()[-1], "nothing comes behind the gap")
        position = re.search(r"resume with --since (\S+)", strict.err).group(1)
        rest = sensebus("get", "--strict", "-o", "ndjson", "--since", position, broker=broker)
        check_equal(sequences(rest)[0], 7)


def test_events_lost_before_the_broker_end_strict_too():
    with Broker() as broker, FakeAgent(broker) as agent:
        fill(agent, 2)
        loss = event_pb2.Loss(stage=event_pb2.LOSS_STAGE_AGENT, count=3, first_source_sequence=3,
                              last_source_sequence=5, reason="spool full")
        agent.publish(make_event(agent.host, agent.epoch, 5, code="EVENTS_LOST", loss=loss))
        agent.wait_acked(5)
        fill(agent, 2, first=6)
        strict = sensebus("watch", "--since", "oldest", "--strict", "--until-synced", broker=broker, expect=7)
        check("3 events lost: spool full" in strict.lines()[-1], strict.out)
        sensebus("watch", "--since", "oldest", "--until-synced", broker=broker)


def test_a_position_that_was_trimmed_is_gone():
    with Broker("--retain-records", "1000") as broker, FakeAgent(broker) as agent:
        fill(agent, 5000, summary="y" * 200)
        epoch = broker.info().newest.epoch

        def trimmed():
            fill(agent, 1, first=agent.acked() + 1)
            return broker.info().oldest.sequence > 0
        wait_until(trimmed, "retention")
        for since in (f"{epoch:x}.0", "#1", f"{epoch ^ 1:x}.5", f"{epoch:x}.999999"):
            result = sensebus("get", "--since", since, broker=broker, expect=10)
            check("OUT_OF_RANGE" in result.err, result.err)


# ---------------------------------------------------------------------------------------------------- safety

HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\n12:00:00.000 forged line \u202egnirts \u200b\x9b31m"


def test_hostile_strings_cannot_reach_the_terminal():
    with Broker() as broker, FakeAgent(broker) as agent:
        device = event_pb2.Device(vendor=HOSTILE[:20], product=HOSTILE[:20], serial=HOSTILE, designator=HOSTILE,
                                  target_name=HOSTILE, portal=HOSTILE, kernel_names=[HOSTILE])
        fill(agent, 1, device=device, summary=HOSTILE, adapter="a\x1b[31m",
             native=event_pb2.Native(name=HOSTILE, detail=HOSTILE))
        inventory = agents_pb2.InventoryDevice(address=event_pb2.Address(adapter="a\x1b[31m"), device=device,
                                               state="ready")
        agent.send(agents_pb2.AgentMessage(inventory=agents_pb2.Inventory(devices=[inventory])))
        agent.send(agents_pb2.AgentMessage(coverage=agents_pb2.Coverage(sources=[agents_pb2.SourceCoverage(
            source=event_pb2.SOURCE_ISCSI, instance=HOSTILE, state=agents_pb2.SOURCE_STATE_OFF, reason=HOSTILE)])))
        wait_until(lambda: "a" in sensebus("devices", broker=broker).lines()[-1], "the inventory")
        commands = [(verb, "-o", form) for verb in ("get", "status", "agents", "devices")
                    for form in ("compact", "wide", "json", "ndjson")]
        for command in commands:
            if command[2] == "compact" and command[0] != "get":
                command = command[:2] + ("table",)
            out = sensebus(*command, broker=broker).out
            bad = [c for c in out if (ord(c) < 0x20 and c != "\n") or 0x7f <= ord(c) < 0xa0 or c == "\u202e"]
            check(not bad, f"{command}: {bad!r} in\n{out!r}")
            check(not re.search(r"^12:00:00\.000 forged", out, re.M), f"{command}: a forged line")
        check_equal(len(sensebus("get", "--code", "LUN_RESET", broker=broker).lines()), 1)


def run_on_terminal(*arguments, **env):
    """Standard output and error on a terminal of their own."""
    master, slave = os.openpty()
    process = subprocess.Popen([PATH, *arguments], stdin=subprocess.DEVNULL, stdout=slave, stderr=slave,
                               env=environment(**env))
    os.close(slave)
    out = b""
    try:
        while True:
            data = os.read(master, 65536)
            if not data:
                break
            out += data
    except OSError:
        pass  # the terminal closes with its last user
    os.close(master)
    check_equal(process.wait(LIMIT_S), 0)
    return out.decode()


def test_colour_only_on_a_terminal_and_only_if_wanted():
    with Broker() as broker, FakeAgent(broker) as agent:
        fill(agent, 1)
        get = ("get", "--broker", broker.address)
        check("\x1b[" in run_on_terminal(*get))
        check("\x1b[" not in run_on_terminal(*get, NO_COLOR="1"))
        check("\x1b[" not in run_on_terminal(*get, TERM="dumb"))
        check("\x1b[" not in run_on_terminal(*get, "--color", "never"))
        check("\x1b[" in run_on_terminal(*get, "--color=always", NO_COLOR="1"))
        check("\x1b[" not in sensebus("get", broker=broker).out)
        check("\x1b[" in sensebus("get", "--color", "always", broker=broker).out)


def test_times_follow_the_zone_or_utc():
    with Broker() as broker, FakeAgent(broker) as agent:
        agent.publish(make_event(agent.host, agent.epoch, 1))
        agent.wait_acked(1)
        wide = ("get", "-o", "wide", "--last", "1")
        check("+05:45  LUN_RESET" in sensebus(*wide, broker=broker, TZ="XXX-05:45").out)
        check("Z  LUN_RESET" in sensebus(*wide, "--utc", broker=broker, TZ="XXX-05:45").out)


def test_the_address_comes_from_option_environment_or_default():
    with Broker() as broker, FakeAgent(broker) as agent:
        fill(agent, 1)
        nowhere = "127.0.0.1:1"
        check_equal(len(sensebus("get", SENSEBUS_BROKER=broker.address).lines()), 2)
        check_equal(len(sensebus("get", SENSEBUS_URL=broker.address).lines()), 2)
        check_equal(len(sensebus("get", SENSEBUS_URL=f"grpc://{broker.address}").lines()), 2)
        check_equal(len(sensebus("get", SENSEBUS_BROKER=broker.address, SENSEBUS_URL=nowhere).lines()), 2)
        check_equal(len(sensebus("get", broker=broker, SENSEBUS_BROKER=nowhere).lines()), 2)
        check("tls://x" in sensebus("get", "--broker", "tls://x", expect=2).err)


def test_a_unix_socket_will_do():
    directory = tempfile.mkdtemp(prefix="sensebus-cli.")
    path = f"unix:{directory}/broker.sock"
    try:
        with Broker(listen=path):
            check("not reached" not in sensebus("version", "--broker", path).out)
            check_equal(sensebus("get", "--broker", path).out, "")
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    run_tests(globals())
