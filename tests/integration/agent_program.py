# SPDX-License-Identifier: Apache-2.0
"""The agent as a program, and events in a form that tests can compare."""
import os
import shutil
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

from sensebus_testlib import *  # noqa: E402,F403


class Agent(Program):
    """An agent with its state in a directory of its own unless `state` is given; polls as often as `poll` says."""

    def __init__(self, broker, *options, targets=(), host="agent-1", state=None, poll="100ms", env=None):
        self.own_state = None
        if state is None:
            self.own_state = state = tempfile.mkdtemp(prefix="sensebus-agent.")
        self.state = state
        self.host = host
        address = broker if isinstance(broker, str) else broker.address
        arguments = ["--broker", address, "--host", host, "--state", state, "--poll", poll, "--poll-jitter", "0",
                     "--initiator-name", "iqn.2026-01.org.sensebus:test-agent"]
        if "--source" not in options:  # events of this machine's own kernel are not what a test expects
            arguments += ["--source", "all=off"]
        if "--command-timeout" not in options:  # nor is the loss of a target that a busy machine holds up
            arguments += ["--command-timeout", "60s"]
        for target in targets:
            arguments += ["--target", target]
        super().__init__("agent/sensebus-agent", *arguments, *options, env=env)

    def wait_log(self, text, n=1):
        wait_until(lambda: self.log().count(text) >= n or not self.running(), f"{text!r} in the agent's log")
        check(self.log().count(text) >= n, f"the agent ended without {text!r}:\n{self.log()}")

    def __exit__(self, kind, value, trace):
        try:
            super().__exit__(kind, value, trace)
        finally:
            if self.own_state:
                shutil.rmtree(self.own_state, ignore_errors=True)


@contextlib.contextmanager
def refused_start(*options):
    """The agent says what is wrong with these options and ends with 2; gives what it said."""
    with tempfile.TemporaryDirectory(prefix="sensebus-agent.") as state:
        result = subprocess.run([os.path.join(BUILD, "agent/sensebus-agent"), "--state", state, *options],
                                capture_output=True, text=True, check=False, timeout=LIMIT_S)
    check_equal(result.returncode, 2, f"exit status; it said {result.stderr}")
    yield result.stderr


def url(target):
    return f"iscsi://{target.portal}/{target.name}"


def brief(event):
    """("LUN_RESET", 1): what and on which unit, None when it is about something wider."""
    name = code_pb2.Code.Name(event.code) if event.code in code_pb2.Code.values() else str(event.code)
    return (name, event.address.lun if event.address.lun >= 0 else None)


def of_targets(events):
    """Without what the broker says about the agent itself."""
    return [e for e in events if e.origin.source == event_pb2.SOURCE_ISCSI]


def polls(broker, host="agent-1"):
    """How many TEST UNIT READY the agent says it has sent."""
    agents = broker.admin().ListAgents(admin_pb2.ListAgentsRequest(), timeout=LIMIT_S).agents
    return sum(a.commands.get("TEST UNIT READY", 0) for a in agents if a.host == host)
