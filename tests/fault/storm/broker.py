# SPDX-License-Identifier: Apache-2.0
"""The broker of a run: killed, stopped and started again on the same data, watched for ends that nobody caused."""
import os
import random
import signal
import subprocess
import time

import agent
from cast import AGENTS
from sensebus_testlib import BUILD, Broker, Program, wait_until

# Of each life one; small ones trim what slow readers have not read yet.
RETAIN_RECORDS = (12000, 12000, 30000, 400000)
# What the auditor may not have read (agent.LEAD), and some of the broker's own. Records go by whole commits, and one cannot
# hold more than that; so what is kept is smaller by this at most, and has to be larger than this.
UNREAD_RECORDS = len(AGENTS) * agent.LEAD + 1000
assert min(RETAIN_RECORDS) >= 2 * UNREAD_RECORDS


class StormBroker(Broker):
    def __init__(self, world, disk, data, program, mutant, seed):
        super().__init__("--insecure", "--agent-heartbeat", "1s", "--agent-grace", "5s", "--drain-grace", "1s",
                         "--log-max-bytes", "400M", data=data, listen=world.network.listen)
        self.world, self.disk = world, disk
        self.path = program
        if mutant:
            self.env["SENSEBUS_MUTANT"] = str(mutant)
        self.chance = random.Random(seed)
        self.fixed = list(self.arguments)
        self.state = "down"  # starting, up, down
        self.may_end = False  # a failpoint kills it
        self.read = 0
        self.begun = 0

    def begin(self, failpoint=None):
        """Start, and do not wait."""
        self.env.pop("SENSEBUS_FAILPOINT", None)
        self.may_end = failpoint is not None and "kill" in failpoint
        if failpoint:
            self.env["SENSEBUS_FAILPOINT"] = failpoint
        if os.path.exists(self.port_file):
            os.unlink(self.port_file)
        retain = self.chance.choice(RETAIN_RECORDS)
        self.world.history.write("life", keeps=retain - UNREAD_RECORDS)
        self.arguments = self.fixed + ["--retain-records", str(retain),
                                       "--checkpoint-interval", self.chance.choice(("10ms", "200ms", "1s"))]
        self.begun = time.monotonic()
        Program.start(self)
        self.state = "starting"

    def begin_and_wait(self):
        self.begin()
        wait_until(lambda: self.look_after() == "up", "the broker")

    def look_after(self):
        """See how it is; start it again if it has ended and may have."""
        if self.state == "starting" and os.path.exists(self.port_file):
            with open(self.port_file) as file:
                self.address = file.readline().strip()
            self.world.network.serves(self.address)
            self.state = "up"
        if self.state != "down" and not self.running():
            status, starting = self.process.returncode, self.state == "starting"
            self.state = "down"
            if status == -signal.SIGKILL and self.may_end or starting and self.disk.was_full_since(self.begun) or \
                    starting and "SENSEBUS_FAILPOINT" in self.env:
                self.begin()
            else:
                self.tell_death(status)
                self.begin()
        return self.state

    def tell_death(self, status):
        self.world.history.write("died", status=status, log=self.log()[-1500:])

    def tell_silence(self):
        self.world.history.write("mute", log=self.log()[-1500:])

    def kill(self):
        self.state = "down"
        super().kill()
        self.see_reports()

    def terminate(self):
        """SIGTERM, and the drain. It has to end well."""
        if self.state == "down":
            return
        allowed = {0}
        if self.state == "starting":
            allowed.add(-signal.SIGTERM)  # it came before there was anybody to hear it
        if self.may_end:
            allowed.add(-signal.SIGKILL)
        self.state = "down"
        try:
            status = self.stop()
        except AssertionError:
            status = "none, it does not stop"
        if status not in allowed and not self.disk.was_full_since(self.begun):
            self.tell_death(status)
        self.see_reports()

    def see_reports(self):
        """Of the sanitizers."""
        with open(self.output.name, errors="replace") as file:
            file.seek(self.read)
            text = file.read()
            self.read = file.tell()
        if "Sanitizer" in text or "runtime error" in text:
            self.world.history.write("report", log=text[-3000:])

    def send_signal(self, number):
        if self.running():
            self.process.send_signal(number)

    def clean_up(self):
        if self.running():
            self.process.kill()
            self.process.wait()
        for path in (self.output and self.output.name, self.config_file, self.port_file):
            if path and os.path.exists(path):
                os.unlink(path)

    def verify(self):
        """What `sensebus-store verify` says, None when all is well."""
        done = subprocess.run([os.path.join(BUILD, "broker", "sensebus-store"), "verify", "--data", self.data],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.stdout if done.returncode else None
