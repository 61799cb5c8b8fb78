# SPDX-License-Identifier: Apache-2.0
"""In the guest: a broker, an agent, a subscriber who keeps what comes, and ways to make the kernel say something."""
import glob
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time

BUILD = os.environ["SENSEBUS_BUILD"]
WAIT_S = float(os.environ.get("GUEST_WAIT_S", "60"))  # for an event, in an emulated machine under load
QUIET_S = 3.5  # nothing came for so long: longer than a poll, a window of merging and one of storm control, of 1 s each
SERVICE = ("AGENT_CONNECTED", "AGENT_LOST")


class Failed(Exception):
    """A row did not go as it must; the text says why."""


def run(*command, check=True):
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    if check and done.returncode:
        raise Failed(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stdout.strip()[-400:]}")
    return done.stdout


def put(path, value):
    """Write into a file of sysfs or configfs; the kernel's refusal is told with its place."""
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(f"{value}\n")  # some want the end of a line
    except OSError as error:
        raise Failed(f"echo {value} >{path}: {error.strerror}") from error


def get(path):
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read().strip()


def until(condition, what, limit_s=WAIT_S):
    end = time.monotonic() + limit_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise Failed(f"waited {limit_s:.0f} s in vain for {what}")
        time.sleep(0.02)


def devices():
    """The names H:C:T:L of all SCSI devices."""
    return set(os.listdir("/sys/class/scsi_device")) if os.path.isdir("/sys/class/scsi_device") else set()


class Disk:
    """A SCSI disk of the kernel's, by its H:C:T:L."""

    def __init__(self, hctl):
        self.hctl = hctl
        self.path = f"/sys/class/scsi_device/{hctl}/device"
        self.host, self.channel, self.target, self.lun = (int(part) for part in hctl.split(":"))
        self.name = os.path.basename(until(lambda: glob.glob(f"{self.path}/block/*"), f"a disk {hctl}")[0])
        self.node = f"/dev/{self.name}"

    def ask(self):
        """TEST UNIT READY, as the kernel itself does not: unit attentions wait for a command."""
        run("sg_turs", self.node, check=False)

    def start_read(self, block=0):
        return subprocess.Popen(["dd", f"if={self.node}", "of=/dev/null", "bs=512", f"skip={block}", "count=1",
                                 "iflag=direct"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start_write(self, file):
        return subprocess.Popen(["dd", f"if={file}", f"of={self.node}", "bs=64k", "oflag=direct"],
                                stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def read(self, block=0):
        self.start_read(block).wait()


class Daemon:
    def __init__(self, *command, log):
        self.log = log
        self.file = open(log, "wb")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.file, stderr=subprocess.STDOUT,
                                        start_new_session=True)  # iscsid ends its whole process group

    def running(self):
        return self.process.poll() is None

    def stop(self):
        if self.running():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.file.close()
        return self.process.wait()


class Watch:
    """`sensebus watch` of everything; each event with the moment at which it came."""

    def __init__(self, address):
        self.events = []  # (arrival in s of the wall clock, event)
        self.process = subprocess.Popen([f"{BUILD}/clients/sensebus", "watch", "--broker", address, "--since", "oldest",
                                         "-o", "ndjson"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            event = json.loads(line)
            if "sequence" in event:
                self.events.append((time.time(), event))

    def since(self, mark):
        return [(arrival, event) for arrival, event in self.events[mark:] if event["code"] not in SERVICE]

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Qmp:
    """qemu's monitor, behind a serial port."""

    def __init__(self):
        self.port = open("/dev/qmp", "r+b", buffering=0)
        self.answer("QMP")
        self.command("qmp_capabilities")

    def answer(self, *keys):
        line = b""
        while True:
            line += self.port.read(4096)
            while b"\n" in line:
                first, line = line.split(b"\n", 1)
                message = json.loads(first)
                if "error" in message:
                    raise Failed(f"qemu: {message['error']['desc']}")
                if any(key in message for key in keys):
                    return message

    def command(self, name, **arguments):
        self.port.write(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        return self.answer("return")


class Stall(threading.Thread):
    """How long this machine stood still: by how much a thread that sleeps woke too late, at worst."""

    STEP_S = 0.05

    def __init__(self):
        super().__init__(daemon=True)
        self.worst_s = 0.0
        self.start()

    def run(self):
        while True:
            begin = time.monotonic()
            time.sleep(self.STEP_S)
            self.worst_s = max(self.worst_s, time.monotonic() - begin - self.STEP_S)


class World:
    def __init__(self):
        self.stall = Stall()
        self.directory = tempfile.mkdtemp(prefix="guest.")
        self.daemons = []
        port_file = os.path.join(self.directory, "port")
        self.broker = self.start("broker/sensebus-broker", "--data", f"{self.directory}/log", "--listen", "127.0.0.1:0",
                                 "--port-file", port_file, "--plaintext-roles", "all")
        until(lambda: os.path.exists(port_file) and get(port_file), "the broker")
        self.address = get(port_file).split()[0]
        self.watch = Watch(self.address)
        self.agent = self.start("agent/sensebus-agent", "--broker", self.address, "--host", "guest",
                                "--state", f"{self.directory}/state", "--source-poll", "1s", "--source", "tcmu=on",
                                "--lio", "auto",
                                *os.environ.get("GUEST_AGENT_OPTIONS", "").split())
        until(lambda: any(e["code"] == "AGENT_CONNECTED" for _, e in self.watch.events) or not self.agent.running(),
              "the agent", 60)
        if not self.agent.running():
            raise Failed(f"the agent ended: {get(self.agent.log)}")
        self._qmp = None

    def start(self, program, *arguments):
        daemon = Daemon(f"{BUILD}/{program}", *arguments, log=f"{self.directory}/{os.path.basename(program)}.log")
        self.daemons.append(daemon)
        return daemon

    def qmp(self):
        self._qmp = self._qmp or Qmp()
        return self._qmp

    def settle(self, limit_s=120):
        """Until nothing comes any more. Returns the mark behind what came."""
        end = time.monotonic() + limit_s
        seen, since = len(self.watch.events), time.monotonic()
        while time.monotonic() - since < QUIET_S:
            if len(self.watch.events) != seen:
                seen, since = len(self.watch.events), time.monotonic()
            if time.monotonic() > end:
                raise Failed(f"it does not become quiet: {self.watch.events[-1][1]['code']} again")
            time.sleep(0.05)
        return seen

    def new_disk(self, cause):
        """The disk that `cause` makes."""
        before = devices()
        cause()
        new = until(lambda: devices() - before, "a new device")
        return Disk(sorted(new)[0])

    def scsi_debug(self, **parameters):
        words = [f"{name}={value}" for name, value in dict({"dev_size_mb": 8}, **parameters).items()]
        return self.new_disk(lambda: run("modprobe", "scsi_debug", *words))

    def stop(self):
        """The daemons end well; what they said is in the shared folder."""
        self.watch.stop()
        status = {}
        for daemon in reversed(self.daemons):
            status[os.path.basename(daemon.log)] = daemon.stop()
            shutil.copy(daemon.log, os.environ["GUEST_SHARE"])
        return status


SCSI_DEBUG = "/sys/bus/pseudo/drivers/scsi_debug"


def unload(*modules):
    """A module whose devices are still being looked at stays a moment longer."""
    for module in modules:
        if os.path.isdir(f"/sys/module/{module}"):
            until(lambda: subprocess.run(["modprobe", "-r", module], stderr=subprocess.DEVNULL,
                                         check=False).returncode == 0, f"{module} to be unloaded")
