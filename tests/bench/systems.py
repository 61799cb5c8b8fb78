# SPDX-License-Identifier: Apache-2.0
"""What is measured: our broker, the limits, and the brokers that people would otherwise pick.

Each is started on a free port in a folder of its own and ended by its process number. EXPECTED_US says about what a unit
costs each: it sets how many events a run has, nothing else.
"""
import os
import shutil
import signal
import socket
import subprocess
import time

import machine

PATIENCE_S = 60


class Unable(Exception):
    """It cannot run here; the text says why."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(condition, what, limit_s=PATIENCE_S):
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise Unable(f"{what} did not come within {limit_s} s")
        time.sleep(0.02)


def answers(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class System:
    """One broker in one configuration. Use as a context manager: running inside."""
    name = None      # in the table
    protocol = None  # of bench_load
    program = None
    synced = None    # is it on disk before it is acknowledged? None: there is no log

    def __init__(self, folder, build):
        self.folder = folder
        self.build = build
        self.process = None
        self.port = None
        self.log = os.path.join(folder, "server.log")

    @classmethod
    def missing(cls):
        """Why it cannot run here; None when it can."""
        if cls.program and not shutil.which(cls.program):
            return f"{cls.program} is not installed (sh tests/bench/install.sh)"
        return None

    @classmethod
    def version(cls):
        return None

    def command(self):
        raise NotImplementedError

    def environment(self):
        return os.environ

    def ready(self):
        return answers(self.port)

    def __enter__(self):
        self.port = free_port()
        server, _ = machine.cores()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=self.folder,
                                            env=self.environment(), start_new_session=True,
                                            preexec_fn=lambda: os.sched_setaffinity(0, server))
        try:
            wait_for(lambda: self.process.poll() is not None or self.ready(), f"{self.name}")
            if self.process.poll() is not None:
                raise Unable(f"{self.name} did not start: {self.tail()}")
        except BaseException:
            self.stop()
            raise
        return self

    def tail(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return " | ".join(file.read().strip().split("\n")[-3:])

    @property
    def pid(self):
        return self.process.pid

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self.process.stdin.close()

    def __exit__(self, *_):
        self.stop()


# ---------------------------------------------------------------------------------------------------- ours

class Sensebus(System):
    name = "sensebus"
    protocol = "sensebus"
    synced = True
    durability = "sync"

    def command(self):
        # Silence of an agent between two measurements is no loss of it.
        return [os.path.join(self.build, "broker", "sensebus-broker"), "--listen", f"127.0.0.1:{self.port}", "--data",
                os.path.join(self.folder, "data"), "--plaintext-roles", "all", "--durability", self.durability,
                "--agent-heartbeat", "1h", "--log-level", "warn", "--drain-grace", "1s"]


class SensebusRelaxed(Sensebus):
    name = "sensebus, relaxed"
    synced = False
    durability = "relaxed"


# ---------------------------------------------------------------------------------------------------- limits

class Limit(System):
    """bench_limit in one of its shapes."""
    protocol = "raw"
    options = ()

    def __enter__(self):
        server, _ = machine.cores()
        self.process = subprocess.Popen([os.path.join(self.build, "tests", "bench", "bench_limit"), *self.options],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=self.folder,
                                        start_new_session=True, preexec_fn=lambda: os.sched_setaffinity(0, server))
        line = self.process.stdout.readline()
        if not line:
            self.stop()
            raise Unable(f"{self.name} did not start")
        self.port = int(line)
        return self

    def stop(self):
        super().stop()
        self.process.stdout.close()


class LimitRelay(Limit):
    name = "limit: relay"


class LimitSync(Limit):
    name = "limit: relay, log, fdatasync"
    protocol = "raw-acknowledged"
    options = ("--log", "log", "--sync", "--acknowledge")
    synced = True


class LimitByKey(Limit):
    name = "limit: a write per record"
    options = ("--by-key",)


class LimitReplay(Limit):
    name = "limit: sendfile"
    protocol = "raw-acknowledged"
    options = ("--log", "log", "--log-mib", "200", "--acknowledge")


# ---------------------------------------------------------------------------------------------------- NATS

class Nats(System):
    name = "nats core"
    protocol = "nats"
    program = "nats-server"
    jetstream = ""

    @classmethod
    def version(cls):
        return machine.first_line("nats-server", "--version")

    def command(self):
        path = os.path.join(self.folder, "nats.conf")
        with open(path, "w", encoding="ascii") as file:
            # Held back by the flight window, nobody is slow: the deadlines of slow consumers are out of the way.
            file.write(f'listen: "127.0.0.1:{self.port}"\nmax_pending: 1GB\nwrite_deadline: "60s"\n{self.jetstream}')
        return ["nats-server", "-c", path]


class JetStream(Nats):
    name = "nats JetStream, file"
    protocol = "jetstream"
    synced = False
    jetstream = 'jetstream {\n store_dir: "data"\n max_file_store: 20GB\n max_memory_store: 1GB\n}\n'
