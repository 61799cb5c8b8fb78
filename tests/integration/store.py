# SPDX-License-Identifier: Apache-2.0
"""`sensebus store verify` and `info`: the log of a broker that is stopped, sound and damaged."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from sensebus_testlib import *  # noqa: E402,F403

SENSEBUS = os.path.join(BUILD, "clients", "sensebus")
BESIDE = os.path.join(BUILD, "broker")  # where sensebus-store is in a build; installed it is beside sensebus


class Answer:
    def __init__(self, command, *options, path=None):
        env = dict(os.environ, PATH=path if path is not None else f"{BESIDE}:{os.environ['PATH']}")
        env.pop("SENSEBUS_DATA", None)
        done = subprocess.run([SENSEBUS, "store", command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, env=env, timeout=LIMIT_S)
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    def json(self):
        return json.loads(self.out)


def verify(broker, *options):
    return Answer("verify", "--data", broker.data, *options)


def fill(broker, n=10):
    """n records of an agent, one commit each, and a cursor."""
    with FakeAgent(broker) as agent:
        for i in range(1, n + 1):
            agent.publish(make_event(agent.host, agent.epoch, i, lun=i % 3, summary=f"MARKER-{i:04d}-" + "d" * 100))
            agent.wait_acked(i)
        agent.detach()
    acknowledge(broker)


def acknowledge(broker):
    position = broker.info().newest
    broker.events().Acknowledge(events_pb2.AcknowledgeRequest(cursor="reader", position=position), timeout=LIMIT_S)


def damage(broker, marker, offset=5):
    """Spoil a byte behind each place in the file where the marker stands."""
    with open(os.path.join(broker.data, "data.mdb"), "r+b") as file:
        content = file.read()
        at = content.find(marker)
        check(at >= 0, "the marker is not in the file")
        while at >= 0:
            file.seek(at + len(marker) + offset)
            file.write(b"\x00")
            at = content.find(marker, at + 1)


def stands_in_the_store(broker, marker):
    with open(os.path.join(broker.data, "data.mdb"), "rb") as file:
        return marker in file.read()


def test_a_sound_log():
    with Broker() as broker:
        fill(broker)
        info = broker.info()
        busy = verify(broker)
        check_equal(busy.code, 1)
        check("a broker has it open" in busy.err and broker.data in busy.err, busy.err)
        broker.stop()
        records = info.newest.sequence  # and what the broker says of its agent's leaving
        answer = verify(broker)
        check_equal((answer.code, answer.err), (0, ""))
        check(f"epoch       {info.newest.epoch:016x}\n" in answer.out, answer.out)
        check("\nclean\n" in answer.out, answer.out)
        found = verify(broker, "-o", "json").json()
        check_equal(found["findings"], [])
        check_equal((found["verified"], found["damaged"], found["durability"]), (True, False, "sync"))
        check_equal(int(found["epoch"]), info.newest.epoch)
        check_equal(int(found["oldest"]), 1)
        check(int(found["newest"]) >= records, found)
        check_equal(int(found["records"]), int(found["newest"]))
        tables = {table["name"]: table for table in found["tables"]}
        check_equal({name: int(tables[name]["pairs"]) for name in ("meta", "dedupe", "cursors", "agents")},
                    {"meta": 4, "dedupe": 1, "cursors": 1, "agents": 1})
        check(int(tables["status"]["pairs"]) in (4, 5), tables)  # of the last record, or the start tells it anew
        said = Answer("info", "--data", broker.data, "-o", "json").json()
        for name in ("epoch", "oldest", "newest", "oldestTime", "newestTime", "records", "logBytes", "tables"):
            check_equal(said[name], found[name], name)
        check_equal(said["verified"], False)
        broker.restart()


def test_a_hole_is_named_as_subscribers_are_told_it():
    with Broker() as broker:
        fill(broker)
        broker.stop()
        damage(broker, b"MARKER-0005-")
        answer = verify(broker, "-o", "json")
        check_equal(answer.code, 8)
        holes = [finding for finding in answer.json()["findings"] if finding["kind"] == "hole"]
        check_equal(len(holes), 1, "holes")
        check("checksum" in holes[0]["reason"], holes)
        check_equal(answer.json()["damaged"], True)
        text = verify(broker)
        check_equal(text.code, 8)
        check(f"hole   {holes[0]['first']}..{holes[0]['last']} (" in text.out, text.out)
        check("damaged: 1 hole with" in text.out, text.out)
        broker.restart()
        with Subscription(broker, oldest=events_pb2.StartOldest(), stop_at_newest=True) as s:
            s.until_end()
            gap, = s.controls("gap")
            check_equal((getattr(gap, "from").sequence + 1, gap.to.sequence),
                        (int(holes[0]["first"]), int(holes[0]["last"])))


def killed_before_the_status(broker):
    """Kill it while the newest values of the store, two of one record each, are not in the stored status; give the
    markers of the two."""
    for attempt in range(1, 100):
        with FakeAgent(broker) as agent:
            markers = [f"MARKER-{attempt:02d}-{k}-" for k in "ab"]
            for i, marker in enumerate(markers, 1):
                agent.publish(make_event(agent.host, agent.epoch, i, summary=marker + "d" * 100))
                agent.wait_acked(i)
                wait_until(lambda: stands_in_the_store(broker, marker.encode()), "the value in the store")
            broker.kill()
        found = Answer("info", "--data", broker.data, "-o", "json").json()
        if int(found["aheadTransactions"]) == 0 and int(found["statusThrough"]) <= int(found["newest"]) - 2:
            return markers, int(found["newest"])
        broker.restart()  # it was stored meanwhile
    raise AssertionError("the status was always faster")


def test_retention_goes_on_when_the_newest_values_are_damaged():
    # The status has not seen them, and nobody can show them to it any more.
    with Broker("--checkpoint-interval", "1ms", config=Broker.EVERYBODY + "agent_grace: 1h\n") as broker:
        markers, newest = killed_before_the_status(broker)
        for marker in markers:
            damage(broker, marker.encode())
        broker.arguments += ["--retain-records", "1"]
        broker.restart()
        with Subscription(broker, snapshot=True) as s:  # what the status is without is told
            s.wait_control("gap")
        acknowledge(broker)  # something to store: retention looks at the log again
        wait_until(lambda: broker.info().oldest.sequence == newest - 1, "retention")
        check_equal(broker.info().newest.sequence, newest)


def test_a_snapshot_tells_what_could_not_be_read_when_the_status_was_made():
    with Broker("--checkpoint-interval", "1ms") as broker:
        markers, newest = killed_before_the_status(broker)
        damage(broker, markers[0].encode())  # of the last but one: what is behind it is in the status
        broker.restart()
        with Subscription(broker, oldest=events_pb2.StartOldest(), stop_at_newest=True) as s:
            s.until_end()
            hole, = s.controls("gap")
        check_equal(hole.to.sequence, newest - 1, "the end of the hole")
        with Subscription(broker, snapshot=True, stop_at_newest=True) as s:
            s.until_end()
            check(s.batches[1].HasField("gap") and s.batches[2].HasField("snapshot_begin"), f"{s.batches[1]} {s.batches[2]}")
            opened, gap = s.batches[0].opened, s.batches[1].gap
        check_equal((getattr(gap, "from"), gap.to, gap.count, gap.at_least),
                    (getattr(hole, "from"), opened.position, hole.count, True), "the gap: up to where the stream begins")
        check_equal(gap.stage, event_pb2.LOSS_STAGE_STORE)


def test_a_log_that_the_machine_left_behind_in_relaxed_mode():
    with Broker("--durability", "relaxed") as broker:
        fill(broker)
        broker.kill()
        check_equal(verify(broker, "-o", "json").json()["durability"], "relaxed")
        with open(os.path.join(broker.data, "relaxed"), "w") as file:
            file.write("another boot")
        answer = verify(broker)
        check_equal(answer.code, 8)
        check("the next start sets this log aside" in answer.out, answer.out)
        check("\nnot safe\n" in answer.out and "clean" not in answer.out, answer.out)


def redo_of(broker):
    return os.path.join(broker.data, "redo")


@contextlib.contextmanager
def broker_killed_ahead_of_its_store(n_records, n):
    """The last n of its commits, or more, are in the write-ahead log: gives it with what `info` says. A second after a
    device changed all goes to the store, so where the machine was slower another one is taken."""
    for _ in range(50):
        with Broker("--checkpoint-interval", "1m") as broker:
            fill(broker, n_records)
            broker.kill()
            found = Answer("info", "--data", broker.data, "-o", "json").json()
            if int(found["aheadTransactions"]) >= n:
                yield broker, found
                return
    raise AssertionError("the store was always faster")


def test_what_is_not_in_the_store_yet():
    """A broker that is killed leaves its last records in the write-ahead log: they count, and damage to it is told."""
    with broker_killed_ahead_of_its_store(5, 6) as (broker, info):
        answer = verify(broker, "-o", "json")
        check_equal(answer.code, 0, answer.out)
        found = answer.json()
        check(int(found["newest"]) >= 5 and int(found["aheadTransactions"]) >= 6, found)
        check_equal(found["records"], found["newest"])
        check_equal(info["newest"], found["newest"])

        with open(redo_of(broker), "rb") as file:
            sound = file.read()
        at = sound.index(b"MARKER-0003-")
        for place, kind in ((at, "hole"), (at // 4096 * 4096, "hole"), (at // 4096 * 4096 + 9, "hole"), (0, "fault"),
                            (17, "fault")):
            with open(redo_of(broker), "wb") as file:
                file.write(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1:])
            for command in ("verify", "info"):
                answer = Answer(command, "--data", broker.data, "-o", "json")
                check_equal(answer.code, 8, f"{command}, byte {place}")
                check(kind in [finding["kind"] for finding in answer.json()["findings"]], answer.out)

        os.unlink(redo_of(broker))
        answer = verify(broker)
        check_equal(answer.code, 8)
        check("redo is missing" in answer.out, answer.out)
        os.mkfifo(redo_of(broker))
        for command in ("verify", "info"):
            answer = Answer(command, "--data", broker.data)
            check_equal(answer.code, 1)
            check("redo" in answer.err, answer.err)


def test_what_is_no_log():
    with tempfile.TemporaryDirectory(prefix="sensebus-store.") as directory:
        nothing = Answer("verify", "--data", directory)
        check_equal(nothing.code, 1)
        check("there is no data.mdb in it" in nothing.err, nothing.err)
        check_equal(Answer("info", "--data", "/nonexistent").code, 1)
        for content in (b"", b"\0" * 4096, b"garbage\n" * 10000, b"\xff" * 8192):
            with open(os.path.join(directory, "data.mdb"), "wb") as file:
                file.write(content)
            for command in ("verify", "info"):
                answer = Answer(command, "--data", directory)
                check_equal(answer.code, 8, f"{command} of {content[:8]}")
                check("it is no store" in answer.err, answer.err)
            check("no store" in Answer("verify", "--data", directory, "-o", "json").json()["error"])
    with Broker() as broker:
        fill(broker)
        broker.stop()
        size = os.path.getsize(os.path.join(broker.data, "data.mdb"))
        for cut in (size // 2, size // 4 + 1, 9000, 4096):
            os.truncate(os.path.join(broker.data, "data.mdb"), cut)
            answer = verify(broker)
            check_equal(answer.code, 8, f"cut to {cut}")
            check(answer.out or answer.err)


def test_usage():
    for arguments in ((), ("verfy",), ("verify", "more"), ("verify", "--dta", "x"), ("verify", "-o", "xml")):
        answer = Answer(*arguments) if arguments else Answer("--data", "x")
        check_equal(answer.code, 2, f"{arguments}")
        check(answer.err.startswith("sensebus store: "), answer.err)
    shown = Answer("--help")
    check_equal(shown.code, 0)
    check("usage: sensebus store verify" in shown.out, shown.out)
    absent = Answer("verify", path="/nonexistent")
    check_equal(absent.code, 1)
    check("comes with the broker" in absent.err, absent.err)


def test_a_full_disk_under_the_report_is_told():
    with Broker() as broker:
        fill(broker, 1)
        broker.stop()
        with open("/dev/full", "w") as full:
            done = subprocess.run([os.path.join(BESIDE, "sensebus-store"), "verify", "--data", broker.data], stdout=full,
                                  stderr=subprocess.PIPE, text=True, timeout=LIMIT_S)
        check_equal(done.returncode, 1)
        check("cannot write" in done.stderr, done.stderr)


if __name__ == "__main__":
    run_tests(globals())
