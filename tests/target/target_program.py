# SPDX-License-Identifier: Apache-2.0
"""sensebus-target as a program, for tests of itself and of what meets it."""
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

from sensebus_testlib import BUILD, LIMIT_S, Program, check, grpc, wait_until  # noqa: E402

from sensebus.target.v1 import target_pb2, target_pb2_grpc  # noqa: E402

PATH = os.path.join(BUILD, "tests/target/sensebus-target")


class Target(Program):
    """A target on a free port of loopback, with a control socket of its own, and its service by gRPC if wanted."""

    def __init__(self, *options, units=1, name="iqn.2026-01.org.sensebus:target", grpc_at=None, path=PATH):
        self.directory = tempfile.mkdtemp(prefix="sensebus-target.")
        self.control = os.path.join(self.directory, "control")
        self.target_name = name
        self.grpc_at = grpc_at
        self.channels = []
        if grpc_at:
            options = (*options, "--grpc", grpc_at)
        super().__init__(path, "--listen", "127.0.0.1:0", "--units", units, "--name", name, "--control", self.control,
                         *options)

    def start(self):
        super().start()
        listening = "\ngrpc " if self.grpc_at else "listening "
        wait_until(lambda: listening in self.log() or not self.running(), "the target listens")
        check(self.running(), f"the target ended:\n{self.log()}")
        self.portal = re.search(r"^listening (\S+)", self.log(), re.M).group(1)
        return self

    def __enter__(self):
        return self.start()

    def grpc_address(self):
        return re.search(r"^grpc (\S+)", self.log(), re.M).group(1)

    def stub(self):
        """A stock client of its service, on a connection of its own."""
        self.channels.append(grpc.insecure_channel(self.grpc_address(), [("grpc.use_local_subchannel_pool", 1)]))
        return target_pb2_grpc.TargetStub(self.channels[-1])

    def __exit__(self, kind, value, trace):
        for channel in self.channels:
            channel.close()
        try:
            super().__exit__(kind, value, trace)
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def url(self, lun=None):
        return f"iscsi://{self.portal}/{self.target_name}" + ("" if lun is None else f"/{lun}")

    def try_tell(self, *words):
        return subprocess.run([PATH, "--control", self.control, *map(str, words)], capture_output=True, text=True,
                              check=False, timeout=LIMIT_S)

    def tell(self, *words):
        """Give an order that must succeed; what it says. Over the socket itself."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(LIMIT_S)
            control.connect(self.control)
            control.sendall((" ".join(map(str, words)) + "\n").encode())
            with control.makefile() as answer:
                lines = []
                for line in answer:
                    if line == "ok\n":
                        return "".join(lines)
                    lines.append(line)
        raise AssertionError(f"{words}: {lines}")
