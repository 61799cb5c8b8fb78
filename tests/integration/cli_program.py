# SPDX-License-Identifier: Apache-2.0
"""The program `sensebus` as tests run it: to its end, or in the background with its lines as they come."""
import contextlib
import json
import os
import signal
import subprocess
import threading
import time

from sensebus_testlib import BUILD, LIMIT_S, THREAD_SANITIZER, check, check_equal, wait_until

PATH = os.path.join(BUILD, "clients", "sensebus")


def environment(**changes):
    env = {name: value for name, value in os.environ.items() if not name.startswith("SENSEBUS_")}
    env.pop("NO_COLOR", None)
    return dict(env, TERM="xterm", TZ="UTC") | changes


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def lines(self):
        return self.out.splitlines()

    def objects(self):
        """ndjson"""
        return [json.loads(line) for line in self.lines()]


def sensebus(*arguments, broker=None, expect=0, limit_s=None, **env):
    """Run to the end; `expect` is the exit code that must come (None: any)."""
    where = ["--broker", broker.address] if broker else []
    done = subprocess.run([PATH, *map(str, arguments), *where], stdin=subprocess.DEVNULL, capture_output=True,
                          env=environment(**env), timeout=limit_s or LIMIT_S)
    result = Result(done.returncode, done.stdout.decode(), done.stderr.decode())
    if expect is not None and result.code != expect:
        raise AssertionError(f"sensebus {' '.join(map(str, arguments))}: exit code {result.code}, not {expect}\n"
                             f"{result.out}{result.err}")
    return result


def out_of_time(*arguments, broker, word, **env):
    """A command that waits in vain, for as short as may be: it says so with `word` and ends with 6. On a busy machine it may
    not even have reached the broker by then, or its device not be free again: once more, with more time."""
    for timeout in ("300ms", "3s", "20s", "60s"):
        result = sensebus(*arguments, "--timeout", timeout, broker=broker, expect=None, **env)
        if result.code == 6 and word in result.err:
            return
        check(result.code in (3, 6, 9), f"exit code {result.code}: {result.err}")
    raise AssertionError(f"no {word!r} in {result.err!r}, exit code {result.code}")


class Running:
    """In the background; stopped at the end of the `with`."""

    def __init__(self, *arguments, broker=None, address=None, **env):
        address = address or broker.address
        self.process = subprocess.Popen([PATH, *map(str, arguments), "--broker", address], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(**env))
        self.out, self.err = [], []
        self.threads = [threading.Thread(target=self._read, args=pair, daemon=True)
                        for pair in ((self.process.stdout, self.out), (self.process.stderr, self.err))]
        for thread in self.threads:
            thread.start()

    def _read(self, stream, lines):
        for line in stream:
            lines.append(line.decode().rstrip("\n"))

    def wait_lines(self, n):
        self.wait_for(lambda: len(self.out) >= n, f"{n} lines")
        return self.out

    def wait_error(self, text):
        self.wait_for(lambda: any(text in line for line in self.err), f"{text!r} on standard error")

    def wait_for(self, condition, what):
        wait_until(lambda: condition() or self.process.poll() is not None, f"{what} (so far {self.out} {self.err})")
        check(condition(), f"ended with {self.process.poll()} before {what}: {self.out} {self.err}")

    def interrupt(self, number=signal.SIGINT):
        """Once: a second one means something else. Where ThreadSanitizer keeps it back until the program waits for something
        again, a stop and a start make it do so."""
        self.process.send_signal(number)
        if THREAD_SANITIZER:
            threading.Thread(target=self._nudge, daemon=True).start()

    def _nudge(self):
        while self.process.returncode is None:
            time.sleep(5)
            with contextlib.suppress(OSError):
                self.process.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
                self.process.send_signal(signal.SIGCONT)

    def end(self, code):
        got = self.process.wait(LIMIT_S)
        for thread in self.threads:
            thread.join(LIMIT_S)
        check_equal(got, code, f"exit code ({self.err})")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def wait_subscribed(broker, n=1):
    """Until the broker has n streams: what is published from here on is seen by them."""
    from sensebus_testlib import admin_pb2
    stub = broker.admin()
    wait_until(lambda: len(stub.ListSubscriptions(admin_pb2.ListSubscriptionsRequest(), timeout=LIMIT_S).subscriptions)
               >= n, f"{n} subscriptions")
