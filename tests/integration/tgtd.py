# SPDX-License-Identifier: Apache-2.0
"""A tgtd of one's own: own port, private control socket, temporary disks, gone at the end.

tgtd ignores SIGTERM, so it is killed, by its process id.
"""
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from ports import reserve_address  # noqa: E402

WAIT_S = 60


def available():
    return shutil.which("tgtd") is not None and shutil.which("tgtadm") is not None


class Tgtd:
    """One target, tid 1, with LUN 1 and whatever is added."""

    _control_port = 1000 + os.getpid() % 30000

    def __init__(self, name="iqn.2026-01.org.sensebus:tgtd"):
        self.name = name
        self.directory = tempfile.mkdtemp(prefix="sensebus-tgtd-")
        self.environment = dict(os.environ, TGT_IPC_SOCKET=os.path.join(self.directory, "ipc"))
        Tgtd._control_port += 1
        self.control_port = str(Tgtd._control_port)
        self.portal = self.process = None
        self.start()
        self.admin("--op", "new", "--mode", "target", "--tid", "1", "-T", name)
        self.add_lun(1)
        self.admin("--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        """At a portal that stays ours, also while nobody listens there."""
        self.portal = self.portal or reserve_address()
        with open(os.path.join(self.directory, "log"), "ab") as log:
            self.process = subprocess.Popen(["tgtd", "-f", "-C", self.control_port, "--iscsi", f"portal={self.portal}"],
                                            env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if not self.wait_ready():
            self.kill()
            with open(os.path.join(self.directory, "log")) as log:
                raise RuntimeError("tgtd does not start: " + log.read())

    def wait_ready(self):
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.try_admin("--op", "show", "--mode", "sys").returncode == 0:  # without its port it goes on all the same
                return self.portal in self.try_admin("--op", "show", "--mode", "portal").stdout
            time.sleep(0.02)
        return False

    def try_admin(self, *arguments):
        return subprocess.run(["tgtadm", "-C", self.control_port, "--lld", "iscsi", *arguments], env=self.environment,
                              capture_output=True, text=True, check=False)

    def admin(self, *arguments):
        result = self.try_admin(*arguments)
        if result.returncode:
            raise RuntimeError(f"tgtadm {' '.join(arguments)}: {result.stdout}{result.stderr}")
        return result.stdout

    def add_lun(self, lun, mebibytes=8):
        path = os.path.join(self.directory, f"disk{lun}")
        with open(path, "ab") as disk:
            disk.truncate(mebibytes << 20)
        self.admin("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", str(lun), "-b", path)

    def remove_lun(self, lun):
        self.admin("--op", "delete", "--mode", "logicalunit", "--tid", "1", "--lun", str(lun))

    def set_online(self, lun, online):
        self.admin("--op", "update", "--mode", "logicalunit", "--tid", "1", "--lun", str(lun), "-P", f"online={int(online)}")

    def add_chap(self, user, secret, outgoing=False):
        self.admin("--op", "new", "--mode", "account", "--user", user, "--password", secret)
        self.admin("--op", "bind", "--mode", "account", "--tid", "1", "--user", user, *(["--outgoing"] if outgoing else []))

    def drop_connections(self):
        """Close every connection of the target, by FIN."""
        session = None
        for line in self.admin("--op", "show", "--mode", "conn", "--tid", "1").splitlines():
            key, _, value = line.strip().partition(":")
            if key == "Session":
                session = value.strip()
            elif key == "Connection":
                self.admin("--op", "delete", "--mode", "conn", "--tid", "1", "--sid", session, "--cid", value.strip())

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def stop(self):
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
