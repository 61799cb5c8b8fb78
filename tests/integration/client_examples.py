# SPDX-License-Identifier: Apache-2.0
"""The examples in clients/python and clients/node really run: subscribe, survive a broker's death, resume by position."""
import json
import os
import shutil
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from adapter_stream import *  # noqa: E402,F403

PYTHON = os.path.join(SOURCE, "clients", "python")
NODE = os.path.join(SOURCE, "clients", "node")


class Example:
    """An example in the background, with the lines it prints."""

    def __init__(self, *command, **env):
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, env=dict(os.environ, **env))
        self.lines = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_lines(self, n):
        wait_until(lambda: len(self.lines) >= n or self.process.poll() is not None, f"{n} lines, so far {self.lines}")
        check(len(self.lines) >= n, self.process.poll() is not None and self.process.stderr.read())
        return self.lines

    def sequences(self):
        return [int(line.split()[0]) for line in self.lines]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.thread.join()
        self.process.stdout.close()
        self.process.stderr.close()


def noted(path):
    """The sequence in a position file: a Position message, or its JSON."""
    with open(path, "rb") as file:
        data = file.read()
    return int(json.loads(data)["sequence"]) if data.startswith(b"{") else events_pb2.Position.FromString(data).sequence


def tell_the_story(command, **env):
    """From the oldest; the broker is killed and comes back; the example is killed and comes back."""
    directory = tempfile.mkdtemp(prefix="sensebus-example.")
    position = os.path.join(directory, "position")
    try:
        with Broker() as broker, FakeAgent(broker, host="db-07") as agent:
            agent.publish_range(1, 5)
            agent.wait_acked(5)
            with Example(*command, broker.address, position, **env) as example:
                example.wait_lines(6)
                check("db-07 LUN_RESET" in example.lines[-1], example.lines)
                broker.kill()
                broker.restart()
                with FakeAgent(broker, host="db-07", epoch=agent.epoch, newest=5) as again:
                    again.publish_range(6, 8)
                    again.wait_acked(8)
                    newest = broker.info().newest.sequence
                    wait_until(lambda: example.sequences()[-1] == newest, f"#{newest}, so far {example.lines}")
                    check_equal(example.sequences(), list(range(1, newest + 1)))
                    wait_until(lambda: noted(position) >= newest, "the position to be noted")
            with Example(*command, broker.address, position, **env) as example, \
                    FakeAgent(broker, host="db-07", epoch=agent.epoch, newest=8) as last:
                last.publish_range(9, 10)
                last.wait_acked(10)
                end = broker.info().newest.sequence
                wait_until(lambda: example.lines and example.sequences()[-1] == end, f"#{end}")
                first = example.sequences()[0]
                # The loss of the agent above may have been printed before the example ended, or not.
                check(newest < first <= newest + 2, f"resumed at {first} behind {newest}")
                check_equal(example.sequences(), list(range(first, end + 1)))
    finally:
        shutil.rmtree(directory)


def refused(command, **env):
    """Another log: the position means nothing there, and the example says so and ends."""
    directory = tempfile.mkdtemp(prefix="sensebus-example.")
    position = os.path.join(directory, "position")
    try:
        with Broker() as broker, Example(*command, broker.address, position, **env):
            wait_until(lambda: os.path.exists(position), "a position")
        with Broker() as other, Example(*command, other.address, position, **env) as example:
            check_equal(example.process.wait(LIMIT_S), 1)
            check("OUT_OF_RANGE" in example.process.stderr.read())
    finally:
        shutil.rmtree(directory)


def test_python_subscribes_and_resumes():
    tell_the_story([sys.executable, os.path.join(PYTHON, "subscribe.py")], PYTHONPATH=STUBS)


def test_python_says_when_its_position_is_of_another_log():
    refused([sys.executable, os.path.join(PYTHON, "subscribe.py")], PYTHONPATH=STUBS)


def node_command():
    """The example beside the packages that its lock file names."""
    if not shutil.which("npm"):
        raise Skip("npm is not installed")
    work = os.path.join(BUILD, "tests", "clients_node")
    os.makedirs(work, exist_ok=True)
    for name in ("package.json", "package-lock.json", "subscribe.js"):
        shutil.copy(os.path.join(NODE, name), work)
    if not os.path.exists(os.path.join(work, "node_modules", ".package-lock.json")):
        done = subprocess.run(["npm", "ci", "--fetch-retries=1", "--fetch-timeout=60000", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=work)
        if done.returncode != 0:
            raise Skip("npm could not install @grpc/grpc-js")
    return ["node", os.path.join(work, "subscribe.js")]


def test_node_subscribes_and_resumes():
    tell_the_story(node_command(), SENSEBUS_PROTO=os.path.join(SOURCE, "proto"))


def test_node_says_when_its_position_is_of_another_log():
    refused(node_command(), SENSEBUS_PROTO=os.path.join(SOURCE, "proto"))


def test_reflection_alone_is_enough():
    from google.protobuf import json_format
    with Broker() as broker, FakeAgent(broker) as agent:
        agent.publish_range(1, 20, summary="by reflection")
        agent.wait_acked(20)
        # An empty place: no .proto file and no generated one can be found.
        done = subprocess.run([sys.executable, "-P" if sys.version_info >= (3, 11) else "-B",
                               os.path.join(PYTHON, "reflect_subscribe.py"), broker.address, "21"], cwd="/",
                              env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=LIMIT_S)
        check_equal(done.returncode, 0, done.stderr)
        shown = [json_format.ParseDict(json.loads(line), event_pb2.Event()) for line in done.stdout.splitlines()]
        check_equal(shown, broker.read_all())


def test_python_listens_to_first_opens_and_last_closes():
    with Broker() as broker, FakeAgent(broker, adapters={"iscsi0": ALL_CAPABILITIES}, devices=[make_device(1, 0)]), \
            Example("/usr/bin/python3", os.path.join(PYTHON, "listen.py"), broker.address, PYTHONPATH=STUBS) as example:
        example.wait_lines(3)
        wait_until(lambda: broker.admin().ListDevices(admin_pb2.ListDevicesRequest(), timeout=LIMIT_S).devices,
                   "the inventory")
        with AdapterStream(broker) as stream:
            check_result(stream.stop(stream.started(1, 0)))
            check_equal(example.wait_lines(5)[3:], ["SDI_FIRSTOPEN agent-1 0:-1:1:0 by broker",
                                                    "SDI_LASTCLOSE agent-1 0:-1:1:0 by broker"])
        wait_until(lambda: broker.counters()["sensebus_sdi_calls_total"] == 2, "two calls")
        check_equal(broker.counters()["sensebus_sdi_device_events_failed_total"], 0)


def test_python_registers_for_the_events_of_one_device():
    with face() as (broker, agent, stream), \
            Example("/usr/bin/python3", os.path.join(PYTHON, "register.py"), broker.address, "agent-1",
                    "iqn.2026-01.example:t1", "1", PYTHONPATH=STUBS) as example:
        example.wait_lines(1)
        agent.publish(make_event(agent.host, agent.epoch, 1, target=1, lun=1, summary="somebody reset it"))
        check_equal(example.wait_lines(2)[1], "mine LUN_RESET 0x4 somebody reset it")
        agent.vanish()
        check("REGISTRATION_CANCELLED" in example.wait_lines(3)[2], example.lines)
        check_equal(example.process.wait(LIMIT_S), 1)
        check_equal(example.process.stderr.read().strip(), "ended: AGENT_LOST")


if __name__ == "__main__":
    run_tests(globals())
