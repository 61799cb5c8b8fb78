# SPDX-License-Identifier: Apache-2.0
"""The load generator, bench_load, as a process that takes commands."""
import json
import os
import queue
import subprocess
import threading

import machine

LIMIT_S = 180


class Failed(Exception):
    """A run that did not come to its end; the text says why."""


class Load:
    def __init__(self, system, limit_s=LIMIT_S, port=None, **options):
        arguments = [os.path.join(system.build, "tests", "bench", "bench_load"), "--protocol", system.protocol, "--address",
                     f"127.0.0.1:{port or system.port}"]
        for name, value in options.items():
            name = "--" + name.replace("_", "-")
            arguments += [name] if value is True else [name, str(value)] if value not in (None, False) else []
        _, cores = machine.cores()
        self.limit_s = limit_s
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        start_new_session=True, preexec_fn=machine.place(cores, system.realtime))
        self.lines = queue.Queue()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.strip())
        self.lines.put(None)

    def _answer(self, what):
        try:
            line = self.lines.get(timeout=self.limit_s)
        except queue.Empty:
            raise Failed(f"no \"{what}\" within {self.limit_s} s") from None
        if line is None or not line.startswith(what):
            raise Failed(line or f"the load generator ended with {self.process.wait()}")
        return line[len(what):].strip()

    def begin(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def end(self):
        return json.loads(self._answer("done"))

    def publish(self, n):
        self.begin(f"publish {n}")
        return self.end()

    def __enter__(self):
        try:
            self._answer("ready")
        except BaseException:
            self.__exit__()
            raise
        return self

    @property
    def pid(self):
        return self.process.pid

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.thread.join()
        self.process.stdout.close()
