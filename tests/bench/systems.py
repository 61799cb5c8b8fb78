# SPDX-License-Identifier: Apache-2.0
"""What is measured: our broker, the limits, and the brokers that people would otherwise pick.

Each is started on a free port in a folder of its own and ended by its process number.
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
    """It does not run as it should; the text says why."""


class Absent(Unable):
    """It cannot run here, because something is not installed: the text says what."""


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
    subscriber_options = {}  # of bench_load, for subscribers alone
    synced = None    # is it on disk before it is acknowledged? None: there is no log

    def __init__(self, folder, build, realtime=False):
        self.folder = folder
        self.realtime = realtime
        self.build = build
        self.process = None
        self.port = None
        self.log = os.path.join(folder, "server.log")

    @classmethod
    def missing(cls):
        """Why it cannot run here; None when it can."""
        if cls.program and not shutil.which(cls.program, path=os.environ["PATH"] + ":/usr/sbin"):
            return f"{os.path.basename(cls.program)} is not installed (sh tests/bench/install.sh)"
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
                                            preexec_fn=machine.place(server, self.realtime))
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

    def measuring(self, begins):
        """A measurement begins, or ends: for those that want to look on."""

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


class SensebusTls(Sensebus):
    """Agents come in plaintext, subscribers over TLS."""
    name = "sensebus, TLS"

    def command(self):
        self.tls_port = free_port()
        self.pki("init", self.path("ca"))
        self.pki("issue", "broker", "b1", "--ip", "127.0.0.1", "--ca", self.path("ca"), "--out", self.path("broker.pem"))
        self.pki("issue", "reader", "r1", "--ca", self.path("ca"), "--out", self.path("reader.pem"))
        with open(self.path("broker.yaml"), "w", encoding="ascii") as file:
            file.write('principals:\n  - {identity: "uri:sensebus://reader/*", roles: [reader]}\n')
        return [*super().command(), "--config", self.path("broker.yaml"), "--listen", f"tls://127.0.0.1:{self.tls_port}",
                "--tls-authority", self.path("ca/ca.pem"), "--tls-certificate", self.path("broker.pem"), "--tls-key",
                self.path("broker.key")]

    def path(self, name):
        return os.path.join(self.folder, name)

    def pki(self, *arguments):
        done = subprocess.run([os.path.join(self.build, "clients", "sensebus"), "pki", *arguments], capture_output=True,
                              text=True, timeout=PATIENCE_S, check=False)
        if done.returncode:
            raise Unable(f"sensebus pki: {done.stderr.strip()}")

    @property
    def subscriber_options(self):
        return {"port": self.tls_port, "authority": self.path("ca/ca.pem"), "certificate": self.path("reader.pem"),
                "key": self.path("reader.key")}


# ---------------------------------------------------------------------------------------------------- limits

class Limit(System):
    """bench_limit in one of its shapes."""
    protocol = "raw"
    options = ()

    def __enter__(self):
        server, _ = machine.cores()
        self.process = subprocess.Popen([os.path.join(self.build, "tests", "bench", "bench_limit"), *self.options],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=self.folder,
                                        start_new_session=True, preexec_fn=machine.place(server, self.realtime))
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


# ---------------------------------------------------------------------------------------------------- redis

class Redis(System):
    name = "redis pub/sub"
    protocol = "redis"
    program = "redis-server"
    options = ("--appendonly", "no")

    @classmethod
    def version(cls):
        return (machine.first_line("redis-server", "--version") or "").split(" sha=")[0]

    def command(self):
        return ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--dir", self.folder, "--save", "",
                "--maxclients", "15000", "--client-output-buffer-limit", "pubsub 0 0 0", "--daemonize", "no", *self.options]


class RedisStream(Redis):
    name = "redis stream, everysec"
    protocol = "redis-stream"
    synced = False
    options = ("--appendonly", "yes", "--appendfsync", "everysec")


class RedisStreamAlways(RedisStream):
    name = "redis stream, always"
    synced = True
    options = ("--appendonly", "yes", "--appendfsync", "always")


# ---------------------------------------------------------------------------------------------------- mosquitto

class Mosquitto(System):
    name = "mosquitto QoS 0"
    protocol = "mqtt-0"
    program = "mosquitto"
    options = "persistence false\n"

    @classmethod
    def version(cls):
        return machine.first_line("mosquitto", "-h")

    def command(self):
        path = os.path.join(self.folder, "mosquitto.conf")
        with open(path, "w", encoding="ascii") as file:
            # No bound on queues: a bound of messages would drop them, and the flight window holds publishers back.
            file.write(f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\nmax_queued_messages 0\n"
                       f"max_inflight_messages 0\nlog_type error\nset_tcp_nodelay true\n{self.options}")
        return ["mosquitto", "-c", path]


class Mosquitto1(Mosquitto):
    name = "mosquitto QoS 1"
    protocol = "mqtt-1"
    synced = False

    def command(self):
        self.options = f"persistence true\npersistence_location {self.folder}/\nautosave_on_changes true\nautosave_interval 10000\n"
        return super().command()


# ---------------------------------------------------------------------------------------------------- RabbitMQ

class Rabbit(System):
    """Streams. Erlang's schedulers do not spin, which would be counted as work."""
    name = "RabbitMQ stream"
    protocol = "rabbit-stream"
    program = "/usr/lib/rabbitmq/bin/rabbitmq-server"
    synced = False

    @classmethod
    def version(cls):
        return "RabbitMQ " + (machine.first_line("dpkg-query", "-W", "-f", "${Version}", "rabbitmq-server") or "")

    def __enter__(self):
        self.names = free_port()
        self.epmd = subprocess.Popen(["epmd", "-address", "127.0.0.1", "-port", str(self.names)], stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            wait_for(lambda: answers(self.names), "epmd")
            return super().__enter__()
        except BaseException:
            self.stop()
            raise

    def environment(self):
        folder = self.folder
        with open(f"{folder}/plugins", "w", encoding="ascii") as file:
            file.write("[rabbitmq_stream].\n")
        with open(f"{folder}/rabbit.conf", "w", encoding="ascii") as file:
            file.write(f"listeners.tcp.1 = 127.0.0.1:{free_port()}\nstream.listeners.tcp.1 = 127.0.0.1:{self.port}\n"
                       "disk_free_limit.absolute = 1MB\nvm_memory_high_watermark.relative = 0.8\n")
        return dict(os.environ, HOME=folder, ERL_EPMD_PORT=str(self.names), ERL_EPMD_ADDRESS="127.0.0.1",
                    RABBITMQ_NODENAME=f"bench{self.port}@localhost", RABBITMQ_NODE_IP_ADDRESS="127.0.0.1",
                    RABBITMQ_DIST_PORT=str(free_port()), RABBITMQ_MNESIA_BASE=f"{folder}/data",
                    RABBITMQ_LOG_BASE=f"{folder}/log", RABBITMQ_ENABLED_PLUGINS_FILE=f"{folder}/plugins",
                    RABBITMQ_CONFIG_FILE=f"{folder}/rabbit.conf", RABBITMQ_CONF_ENV_FILE="/dev/null",
                    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+sbwt none +sbwtdcpu none +sbwtdio none",
                    NOTIFY_SOCKET="/nowhere")  # so that the script becomes the server, with one process number

    def command(self):
        return [self.program]

    def stop(self):
        if self.process:
            super().stop()
        self.epmd.terminate()
        self.epmd.wait()
