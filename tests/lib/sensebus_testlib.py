# SPDX-License-Identifier: Apache-2.0
"""What the tests that run whole programs share: start and stop them, talk to a broker with stock clients, wait.

Tests wait for conditions, with generous limits, and stop only what they started. A test file is a script:

    from sensebus_testlib import *

    def test_something():
        with Broker() as broker:
            ...

    if __name__ == "__main__":
        run_tests(globals())        # arguments pick tests by name
"""
import contextlib
import os
import queue
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import weakref

SOURCE = os.environ.get("SENSEBUS_SOURCE", os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..")))
BUILD = os.environ.get("SENSEBUS_BUILD", os.path.join(SOURCE, "build"))
STUBS = os.path.join(BUILD, "tests", "python")
sys.path.insert(0, STUBS)

import grpc  # noqa: E402
import health_pb2  # noqa: E402
import health_pb2_grpc  # noqa: E402
from sensebus.v1 import (  # noqa: E402
    adapter_pb2, adapter_pb2_grpc, admin_pb2, admin_pb2_grpc, agents_pb2, agents_pb2_grpc, code_pb2, event_pb2, events_pb2,
    events_pb2_grpc)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ports import reserve_address  # noqa: E402

WRAPPER = shlex.split(os.environ.get("SENSEBUS_WRAPPER", ""))  # what runs the programs: valgrind and its options
SKIPPED = 77


def sanitizers():
    """Of the build, as its configuration names them: "" is none."""
    with contextlib.suppress(FileNotFoundError), open(os.path.join(BUILD, "CMakeCache.txt"), encoding="utf-8") as file:
        for line in file:
            if line.startswith("SENSEBUS_SANITIZE:STRING="):
                return line.partition("=")[2].strip()
    return ""


THREAD_SANITIZER = sanitizers() == "thread"
LIMIT_S = float(os.environ.get("SENSEBUS_TEST_LIMIT_S") or (180 if sanitizers() else 60))


class Skip(Exception):
    """The test cannot run here; the text says why."""


# ---------------------------------------------------------------------------------------------------- waiting

def wait_until(condition, what="the condition", limit_s=None):
    """Call `condition` until it gives something true, and return that."""
    end = time.monotonic() + (limit_s or LIMIT_S)
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"waited {limit_s or LIMIT_S:.0f} s in vain for {what}")
        time.sleep(0.01)


def cpu_seconds(pid):
    """What a process has used of the processor so far."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Stopwatch:
    """How long a program let us wait. The machine may hold up anybody for any time, so only that counts in which the program
    also used the processor: `seconds` is the smaller of both."""

    def __init__(self, program):
        self.pid = program.process.pid
        self.begin, self.cpu = time.monotonic(), cpu_seconds(self.pid)

    def seconds(self):
        return min(time.monotonic() - self.begin, cpu_seconds(self.pid) - self.cpu)


class Stalls:
    """How long the machine let nobody run: a thread that wants to run fifty times a second adds up by how much it was late."""
    total_s = 0.0
    thread = None

    @classmethod
    def so_far(cls):
        if cls.thread is None:
            cls.thread = threading.Thread(target=cls._run, daemon=True)
            cls.thread.start()
        return cls.total_s

    @classmethod
    def _run(cls):
        while True:
            due = time.monotonic() + 0.02
            time.sleep(0.02)
            cls.total_s += max(0.0, time.monotonic() - due - 0.01)


def check(condition, message="check failed"):
    if not condition:
        raise AssertionError(message)


def shorten(value):
    text = repr(value)
    return text if len(text) <= 1000 else f"{text[:700]} … {text[-200:]}"


def check_equal(got, expected, what="value"):
    if got != expected:
        raise AssertionError(f"{what}: got {shorten(got)}, expected {shorten(expected)}")


@contextlib.contextmanager
def expect_status(code, *texts):
    """The call inside must fail with this status, and its message must contain the texts."""
    try:
        yield
    except grpc.RpcError as error:
        check_equal(error.code(), code, f"status ({error.details()})")
        for text in texts:
            check(text in error.details(), f"no {text!r} in the message {error.details()!r}")
        return
    raise AssertionError(f"the call did not fail; expected {code}")


# ---------------------------------------------------------------------------------------------------- programs

class Program:
    """A program of ours, started in its own process group. Use as a context manager: it is stopped at the end."""

    def __init__(self, path, *arguments, env=None, name=None):
        self.path = path if os.path.isabs(path) else os.path.join(BUILD, path)
        self.name = name or os.path.basename(path)
        self.arguments = [str(a) for a in arguments]
        self.env = dict(os.environ, **(env or {}))
        self.process = None
        self.output = None

    def start(self):
        self.output = self.output or tempfile.NamedTemporaryFile(prefix=f"{self.name}.", suffix=".log", delete=False)
        self.process = subprocess.Popen(WRAPPER + [self.path] + self.arguments, stdin=subprocess.DEVNULL, stdout=self.output,
                                        stderr=subprocess.STDOUT, env=self.env, start_new_session=True)
        return self

    def without(self, *closed):
        """Before its start: it is to find these of its standard files closed, as the shell says it ("<&-", "2>&-")."""
        self.arguments = ["-c", 'exec "$0" "$@" ' + " ".join(closed), self.path, *self.arguments]
        self.path = "/bin/sh"
        return self

    def log(self):
        with open(self.output.name, errors="replace") as file:
            return file.read()

    def running(self):
        return self.process is not None and self.process.poll() is None

    def wait(self, limit_s=None):
        return self.process.wait(limit_s or LIMIT_S)

    STOPS = ("broker.signal", "agent.stopping")  # in the log of who has heard the signal

    def ask_to_stop(self):
        """SIGTERM that arrives. ThreadSanitizer holds a signal back that comes just before the loop waits, and another one
        brings both; but one that comes when the program has done with signals would kill it, and its status would be lost."""
        if self.running():
            heard = self._n_heard()
            self.process.send_signal(signal.SIGTERM)
            if THREAD_SANITIZER:
                threading.Thread(target=self._terminate_again, args=(self.process, heard), daemon=True).start()

    def _n_heard(self):
        return sum(map(self.log().count, self.STOPS)) if self.output else 0

    def _terminate_again(self, process, heard):
        time.sleep(5)
        while process.poll() is None and self._n_heard() == heard:
            process.send_signal(signal.SIGTERM)
            time.sleep(5)

    def stop(self, limit_s=None):
        """SIGTERM, wait, and return the exit status. Sanitizers report through it."""
        if self.process is None:
            return None
        self.ask_to_stop()
        try:
            return self.process.wait(limit_s or LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop; its output:\n{self.log()}")

    def kill(self):
        """kill -9, now."""
        if self.running():
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def __enter__(self):
        return self.start() if self.process is None else self

    def __exit__(self, kind, value, trace):
        killed = self.process is not None and self.process.poll() == -signal.SIGKILL
        try:
            status = self.stop()
        finally:
            if kind is not None and self.output:
                print(f"--- output of {self.name}:\n{self.log()[-20000:]}---", file=sys.stderr)
        if kind is None and not killed and status not in (0, None):
            raise AssertionError(f"{self.name} ended with {status}; its output:\n{self.log()}")
        if self.output:
            os.unlink(self.output.name)


class Broker(Program):
    """A broker on a port of its own, the same in all its lives, with its data in a directory of its own unless `data` is
    given."""

    EVERYBODY = 'principals: [{identity: "unix:uid=*", roles: [all], hosts: ["*"]}]\n'

    def __init__(self, *options, data=None, listen="127.0.0.1:0", plaintext_roles="all", config=None, env=None):
        """`plaintext_roles`: what everybody on TCP may do here; None leaves it to options and configuration (nothing, by
        default). `config`: text of the configuration file; without one, everybody on a Unix socket may do all."""
        self.own_data = None
        with tempfile.NamedTemporaryFile("w", prefix="sensebus-broker.", suffix=".yaml", delete=False) as file:
            file.write(self.EVERYBODY if config is None else config)
        self.config_file = file.name
        if data is None:
            self.own_data = data = tempfile.mkdtemp(prefix="sensebus-broker.")
        self.data = data
        fd, self.port_file = tempfile.mkstemp(prefix="sensebus-port.")
        os.close(fd)
        os.unlink(self.port_file)
        self.address = None
        self.channels = []
        if listen == "127.0.0.1:0":
            listen = reserve_address()
        super().__init__("broker/sensebus-broker", "--data", data, "--listen", listen, "--port-file", self.port_file,
                         "--config", self.config_file,
                         *(["--plaintext-roles", plaintext_roles] if plaintext_roles else []), *options, env=env)

    def start(self):
        super().start()
        wait_until(lambda: os.path.exists(self.port_file) or not self.running(), "the broker's port file")
        if not os.path.exists(self.port_file):
            raise AssertionError(f"the broker did not start:\n{self.log()}")
        with open(self.port_file) as file:
            self.address = file.readline().strip()
        return self

    def restart(self):
        """Start again on the same data after stop() or kill()."""
        self.close_channels()
        if os.path.exists(self.port_file):
            os.unlink(self.port_file)
        return self.start()

    def channel(self, **options):
        """A channel of its own: stock grpc shares connections between channels of the same address otherwise."""
        arguments = {"grpc.use_local_subchannel_pool": 1, "grpc.max_receive_message_length": 8 << 20}
        arguments.update(options)
        channel = grpc.insecure_channel(self.address, options=list(arguments.items()))
        self.channels.append(channel)
        return channel

    def events(self):
        return events_pb2_grpc.EventsStub(self.channel())

    def admin(self):
        return admin_pb2_grpc.AdminStub(self.channel())

    def health(self, service=""):
        request = health_pb2.HealthCheckRequest(service=service)
        return health_pb2_grpc.HealthStub(self.channel()).Check(request, timeout=LIMIT_S).status

    def info(self):
        return self.admin().GetBroker(admin_pb2.GetBrokerRequest(), timeout=LIMIT_S)

    def wait_newest(self, sequence):
        """Until the log holds this many records: an agent's AGENT_CONNECTED is committed after its Welcome."""
        wait_until(lambda: self.info().newest.sequence >= sequence, f"record {sequence}")

    def counters(self):
        return {c.name: c.value for c in self.info().counters}

    def read_all(self, **request):
        """Every record up to the newest, as a list."""
        request.setdefault("oldest", events_pb2.StartOldest())
        with Subscription(self, stop_at_newest=True, **request) as subscription:
            return subscription.until_end()

    def close_channels(self):
        for channel in self.channels:
            channel.close()
        self.channels = []

    def __exit__(self, kind, value, trace):
        self.close_channels()
        try:
            super().__exit__(kind, value, trace)
        finally:
            if os.path.exists(self.port_file):
                os.unlink(self.port_file)
            os.unlink(self.config_file)
            if self.own_data:
                shutil.rmtree(self.own_data, ignore_errors=True)


# ---------------------------------------------------------------------------------------------------- subscribing

class Subscription:
    """A Subscribe stream read by a thread. `batches` is everything so far, in order."""

    def __init__(self, broker, channel=None, limit_s=None, **request):
        stub = events_pb2_grpc.EventsStub(channel or broker.channel())
        self.batches = []
        self.error = None
        self.ended = threading.Event()
        self.call = stub.Subscribe(events_pb2.SubscribeRequest(**request), timeout=limit_s or 10 * LIMIT_S)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        try:
            for batch in self.call:
                self.batches.append(batch)
        except grpc.RpcError as error:
            self.error = error
        self.ended.set()

    def events(self):
        return [event for batch in list(self.batches) for event in batch.events]

    def controls(self, name):
        """Gap, Opened… messages so far: controls("gap")."""
        return [getattr(batch, name) for batch in list(self.batches) if batch.HasField(name)]

    def wait(self, condition, what="the subscription"):
        """Until condition(self) is true, or the stream has ended."""
        wait_until(lambda: condition(self) or self.ended.is_set(), what)
        check(condition(self), f"the stream ended ({self.error and self.error.code()}: "
                               f"{self.error and self.error.details()}) before {what}")
        return self

    def wait_events(self, n):
        self.wait(lambda s: len(s.events()) >= n, f"{n} events")
        return self.events()

    def wait_control(self, name, n=1):
        self.wait(lambda s: len(s.controls(name)) >= n, f"{n} × {name}")
        return self.controls(name)[n - 1]

    def until_end(self):
        """Wait for the end; raise what it ended with unless OK. Returns the events."""
        check(self.ended.wait(LIMIT_S), "the stream does not end")
        if self.error is not None:
            raise self.error
        return self.events()

    def cancel(self):
        self.call.cancel()
        self.ended.wait(LIMIT_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cancel()


# ---------------------------------------------------------------------------------------------------- publishing

def code_names(events):
    return [code_pb2.Code.Name(event.code) for event in events]


def make_event(host, epoch, sequence, code="LUN_RESET", severity="SEVERITY_NOTICE", lun=0, target=0, adapter="iscsi0",
               aix_bits=4, **members):
    """A valid event of an agent."""
    return event_pb2.Event(
        code=code_pb2.Code.Value(code) if isinstance(code, str) else code,
        severity=event_pb2.Severity.Value(severity) if isinstance(severity, str) else severity,
        scope=event_pb2.SCOPE_LUN, mode=event_pb2.MODE_INITIATOR, aix_bits=aix_bits,
        origin=event_pb2.Origin(host=host, boot_id="b00t", agent_epoch=epoch, source=event_pb2.SOURCE_ISCSI,
                                source_sequence=sequence),
        wall_time_unix_ns=time.time_ns(), monotonic_time_ns=time.monotonic_ns(),
        address=event_pb2.Address(adapter=adapter, bus=-1, target=target, lun=lun, controller=-1), **members)


ALL_CAPABILITIES = ("event", "halt", "reset-lun", "reset-target")
SILENCE = "silence"  # an answer: say nothing
DIE = "die"          # an answer: the agent is gone without a word


def make_device(target, lun, adapter="iscsi0", name=None, **members):
    """A unit of an agent's inventory: iSCSI target number `target`, named `name`."""
    name = f"iqn.2026-01.example:t{target}" if name is None else name
    return agents_pb2.InventoryDevice(
        address=event_pb2.Address(adapter=adapter, bus=-1, target=target, lun=lun, controller=0),
        device=event_pb2.Device(vendor="ACME", product="Disk", device_type=0, target_name=name,
                                transport=event_pb2.TRANSPORT_ISCSI), state="ready", **members)


class Heart:
    """Beats for all synthetic agents of a test, in one thread."""
    agents = weakref.WeakSet()
    lock = threading.Lock()
    thread = None

    @classmethod
    def add(cls, agent):
        with cls.lock:
            cls.agents.add(agent)
            if cls.thread is None:
                cls.thread = threading.Thread(target=cls._run, daemon=True)
                cls.thread.start()

    @classmethod
    def _run(cls):
        while True:
            time.sleep(0.2)
            with cls.lock:
                attached = [agent for agent in cls.agents if not agent.ended.is_set()]
            for agent in attached:
                agent.beat(time.monotonic())


class FakeAgent:
    """A synthetic agent on a stock client. Messages go out in order; what the broker says is collected.

    With `adapters` ({"iscsi0": ALL_CAPABILITIES}) it does operations: each is answered OK, with what an agent would say,
    unless `answers` has something else under the operation's name ("halt"): a result's members as a dict, SILENCE, DIE,
    or a function of the operation that gives one of these.
    """

    def __init__(self, broker, host="agent-1", epoch=None, instance=None, channel=None, attach=True, oldest=1, newest=0,
                 version=1, adapters=None, devices=(), own_ids=None, answers=None):
        self.answers = dict(answers or {})
        self.operations = []
        self.adapters = [agents_pb2.AdapterCapabilities(adapter=name, capabilities=can, own_id=(own_ids or {}).get(name, ""))
                         for name, can in (adapters or {}).items()]
        self.host = host
        self.epoch = epoch or random.getrandbits(63) | 1
        self.instance = instance or random.getrandbits(63) | 1
        self.outgoing = queue.Queue()
        self.messages = []
        self.error = None
        self.ended = threading.Event()
        self.last_heartbeat = agents_pb2.Heartbeat(newest_source_sequence=newest)
        self.next_heartbeat = None
        stub = agents_pb2_grpc.AgentsStub(channel or broker.channel())
        self.call = stub.Attach(iter(self.outgoing.get, None))
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        if attach:
            self.hello(oldest=oldest, newest=newest, version=version, adapters=self.adapters)
            self.wait(lambda a: a.welcome() is not None, "Welcome")
            if devices:
                self.inventory(*devices)

    def _read(self):
        try:
            for message in self.call:
                if message.HasField("operation"):
                    self._operate(message.operation)
                if message.HasField("welcome"):
                    self._keep_beating(message.welcome.heartbeat_ms / 1000)
                self.messages.append(message)
        except grpc.RpcError as error:
            self.error = error
        self.ended.set()

    def _keep_beating(self, every_s):
        """A test that takes long on a busy machine has no silent agent. One that asks for very short heartbeats means it."""
        if every_s >= 1:
            self.every_s = every_s
            self.next_heartbeat = time.monotonic() + every_s / 2
            Heart.add(self)

    # what the agent says
    def send(self, message):
        self.outgoing.put(message)

    def hello(self, oldest=1, newest=0, version=1, **members):
        fields = dict(version=version, host=self.host, boot_id="b00t", agent_epoch=self.epoch,
                      instance=self.instance, agent_version="test", oldest_source_sequence=oldest,
                      newest_source_sequence=newest)
        fields.update(members)
        self.send(agents_pb2.AgentMessage(hello=agents_pb2.Hello(**fields)))

    def _operate(self, operation):
        name = operation.WhichOneof("operation")
        self.operations.append(operation)
        if name in ("close", "release_buffers"):
            return
        answer = self.answers.get(name, {})
        if callable(answer):
            answer = answer(operation)
        if answer == DIE:
            self.call.cancel()
        elif answer != SILENCE:
            self.result(operation, **answer)

    def result(self, operation, **members):
        """Answer an operation: OK, or with these members of OperationResult."""
        name = operation.WhichOneof("operation")
        answer = agents_pb2.OperationResult(id=operation.id, **members)
        if answer.error == adapter_pb2.ERRNO_OK and answer.WhichOneof("value") is None:
            if name == "ioc_info":
                answer.ioc_info.CopyFrom(adapter_pb2.IocInfoResult(
                    adapter=operation.ioc_info.adapter, major=8, minor=1, maximum_transfer_bytes=1 << 20,
                    transport=event_pb2.TRANSPORT_ISCSI, own_id="iqn.2026-01.example:me", capabilities=ALL_CAPABILITIES))
            elif name in ("open", "open_target"):
                answer.open.CopyFrom(agents_pb2.OpenResult(
                    reached=event_pb2.Device(vendor="ACME", product="Disk"), address=getattr(operation, name).address))
            elif name in ("inquiry", "test_unit_ready"):
                answer.command.CopyFrom(adapter_pb2.CommandResult(data=b"data" if name == "inquiry" else b""))
        self.send(agents_pb2.AgentMessage(operation_result=answer))

    def inventory(self, *devices, adapters=()):
        self.send(agents_pb2.AgentMessage(inventory=agents_pb2.Inventory(devices=devices, adapters=adapters)))

    def target_received(self, session, data, generation=None):
        self.send(agents_pb2.AgentMessage(target_received=agents_pb2.TargetReceived(
            session_id=session.session_id, generation=generation or session.generation, data=data)))

    def operated(self, name):
        """Operations of that name so far: operated("halt")."""
        return [o for o in list(self.operations) if o.WhichOneof("operation") == name]

    def publish(self, *events):
        self.send(agents_pb2.AgentMessage(publish=agents_pb2.Publish(events=events)))

    def publish_range(self, first, last, **members):
        for start in range(first, last + 1, 100):
            self.publish(*[make_event(self.host, self.epoch, n, **members)
                           for n in range(start, min(start + 99, last) + 1)])

    def heartbeat(self, newest=0, **members):
        self.last_heartbeat = agents_pb2.Heartbeat(newest_source_sequence=newest, **members)
        self.send(agents_pb2.AgentMessage(heartbeat=self.last_heartbeat))

    def beat(self, now):
        """Say again what was said last."""
        if now >= self.next_heartbeat:
            self.next_heartbeat = now + self.every_s / 2
            self.send(agents_pb2.AgentMessage(heartbeat=self.last_heartbeat))

    def detach(self, reason="test is over"):
        self.send(agents_pb2.AgentMessage(detach=agents_pb2.Detach(reason=reason)))
        self.ended.wait(LIMIT_S)

    def vanish(self):
        """Gone without a word."""
        self.call.cancel()
        self.outgoing.put(None)
        self.ended.wait(LIMIT_S)

    # what the broker says
    def welcome(self):
        return next((m.welcome for m in list(self.messages) if m.HasField("welcome")), None)

    def acked(self):
        return max([m.ack.source_sequence for m in list(self.messages) if m.HasField("ack")], default=0)

    def refused(self):
        return [m.refused for m in list(self.messages) if m.HasField("refused")]

    def wait(self, condition, what="the agent's stream"):
        wait_until(lambda: condition(self) or self.ended.is_set(), what)
        check(condition(self), f"the agent's stream ended ({self.error and self.error.code()}: "
                               f"{self.error and self.error.details()}) before {what}")

    def wait_acked(self, sequence):
        self.wait(lambda a: a.acked() >= sequence, f"Ack {sequence}")

    def until_end(self):
        check(self.ended.wait(LIMIT_S), "the agent's stream does not end")
        if self.error is not None:
            raise self.error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.vanish()


# ---------------------------------------------------------------------------------------------------- running

AT_END = contextlib.ExitStack()  # what several tests share, closed when all of them are over


def run_tests(scope):
    """Run every test_* function of the caller (or those named in the arguments), and exit."""
    tests = [(name, test) for name, test in scope.items() if name.startswith("test_") and callable(test)]
    wanted = sys.argv[1:]
    if wanted:
        tests = [(name, test) for name, test in tests if any(w in name for w in wanted)]
    failed, skipped = [], []
    for name, test in tests:
        start = time.monotonic()
        try:
            test()
            result = "ok"
        except Skip as reason:
            skipped.append(name)
            result = f"SKIPPED: {reason}"
        except Exception:
            traceback.print_exc()
            failed.append(name)
            result = "FAILED"
        print(f"{name}: {result} ({time.monotonic() - start:.1f} s)", flush=True)
    try:
        AT_END.close()
    except Exception:
        traceback.print_exc()
        failed.append("(the end of what they share)")
    if not tests:
        print("no such test", file=sys.stderr)
    if failed or not tests:
        print(f"{len(failed)} of {len(tests)} failed: {' '.join(failed)}", file=sys.stderr)
        sys.stdout.flush()
        os._exit(1)
    sys.stdout.flush()
    # Threads of stock clients may still be around: nothing of theirs matters now.
    os._exit(SKIPPED if skipped and len(skipped) == len(tests) else 0)
