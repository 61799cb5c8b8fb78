# SPDX-License-Identifier: Apache-2.0
"""The program `sensebus` as tests run it: to its end, or in the background with its lines as they come."""
import json
import os
import signal
import subprocess
import threading

from sensebus_testlib import BUILD, LIMIT_S, check, check_equal, wait_until

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
        self.process.send_signal(number)

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
