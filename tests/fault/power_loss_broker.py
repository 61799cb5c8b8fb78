# SPDX-License-Identifier: Apache-2.0
"""Power is lost under a broker at work: its log opens again, and the agent that goes on loses and repeats nothing.

The broker runs over a disk that records what it writes and flushes (disk.c). At moments of its life we note how much an
agent has acknowledged; then files are made as a loss of power may have left them there, a broker is started on each, the
agent sends what it has no acknowledgement for, and the judge of kill_broker.py looks at the whole log.

SENSEBUS_SEED repeats a run; SENSEBUS_IMAGES says how many files.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import disk_record  # noqa: E402
import kill_broker  # noqa: E402
from failpoints import STORE, FaultyBroker  # noqa: E402
from kill_broker import *  # noqa: E402,F403

kill_broker.RATE = 1000
IMAGES = int(os.environ.get("SENSEBUS_IMAGES", "30"))


def run_and_note(directory, *options):
    """Let a broker work. Returns the agent's events, the record, and [(bytes of the record, acknowledged)]."""
    record, notes = os.path.join(directory, "record"), []
    with FaultyBroker(*options, env={"SENSEBUS_RECORD": record}) as broker:
        broker.start_soundly()
        agent = SteadyAgent(broker)
        agent.start()
        for _ in range(40):
            before = agent.acked
            wait_until(lambda: agent.acked > before or agent.faults, "an acknowledgement")
            acked = agent.acked  # first: what the record holds by then covers it
            notes.append((os.path.getsize(record), acked))
        agent.stop_making.set()
        agent.maker.join()
        wait_until(lambda: agent.acked == len(agent.made) or agent.faults, "everything to be acknowledged")
        agent.over.set()
        broker.kill()
        check(not agent.faults, str(agent.faults))
        return agent.made, record, notes


def go_on(data, made, acked):
    """A broker on what is left, and the agent that goes on. Returns the whole log."""
    done = subprocess.run([STORE, "verify", "--data", data], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=LIMIT_S)
    check_equal(done.returncode, 0, f"verify: {done.stdout}")
    with Broker("--agent-grace", "5m", data=data) as broker:
        agent = SteadyAgent(broker)
        agent.made, agent.acked = list(made), acked  # its spool has the rest
        agent.stop_making.set()
        agent.start()
        wait_until(lambda: agent.acked == len(made) or agent.faults, "everything to be acknowledged")
        check(not agent.faults, str(agent.faults))
        agent.over.set()
        return [Record.of(event) for event in broker.read_all()]


def test_nothing_acknowledged_is_lost_or_repeated():
    chance = random.Random(SEED)
    print(f"seed {SEED}", flush=True)
    with tempfile.TemporaryDirectory(prefix="sensebus-power.") as directory:
        made, record, notes = run_and_note(directory)
        for n in range(IMAGES):
            # The first is of the end, when all that was made is there and only an Ack is missing; the others of any moment at
            # which so many were acknowledged.
            at = chance.randrange(len(notes) - 1) if n > 0 else len(notes) - 2
            end = chance.randint(notes[at][0], notes[at + 1][0]) if n > 0 else os.path.getsize(record)
            entries, n_done = disk_record.read_entries(record, end)
            data = os.path.join(directory, f"data.{n}")
            os.mkdir(data, 0o700)
            disk_record.write_images(data, entries, n_done, chance, torn=chance.random() < 0.5)
            records = go_on(data, made, notes[at][1])
            judge(records, len(made), len(made))
            shutil.rmtree(data)
        print(f"{IMAGES} files of {len(made)} events, each event once and in order", flush=True)


def test_relaxed_begins_anew_and_says_so():
    chance = random.Random(SEED)
    with tempfile.TemporaryDirectory(prefix="sensebus-power.") as directory:
        made, record, notes = run_and_note(directory, "--durability", "relaxed")
        entries, n_done = disk_record.read_entries(record, notes[-1][0])
        data = os.path.join(directory, "data")
        os.mkdir(data, 0o700)
        disk_record.write_images(data, entries, n_done, chance, torn=True)
        with open(os.path.join(data, "relaxed"), "w") as file:
            file.write("another boot")
        with Broker("--durability", "relaxed", data=data) as broker:
            check_equal(broker.info().newest.sequence, 0)
            check("log.started_over" in broker.log(), broker.log())
            check(os.path.exists(os.path.join(data, "data.mdb.unsafe")), "what was there is kept aside")


if __name__ == "__main__":
    run_tests({name: value for name, value in globals().items() if not hasattr(kill_broker, name)})
