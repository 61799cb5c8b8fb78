# SPDX-License-Identifier: Apache-2.0
"""libsensebus against a real broker: face_driver.c plays the program, a synthetic agent the host. Each scenario checks for
itself; here is what happens around it."""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from adapter_stream import *  # noqa: E402,F403
from pki import Pki  # noqa: E402

DRIVER = os.path.join(BUILD, "tests", "integration", "face_driver")
REASON = "failover to backup-8"


class Driver:
    """One scenario. `serve` answers what it asks, by the first word: {"publish": function of the rest}."""

    def __init__(self, where, *arguments):
        self.process = subprocess.Popen(WRAPPER + [DRIVER, where, *arguments], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines = []

    def serve(self, expect=0, **answers):
        for line in self.process.stdout:
            if not line.startswith("? "):
                self.lines.append(line.rstrip("\n"))
                continue
            word, _, rest = line[2:].strip().partition(" ")
            answers[word](*([rest] if rest else []))
            self.process.stdin.write("done\n")
            self.process.stdin.flush()
        status = self.process.wait(LIMIT_S)
        check_equal(status, expect, f"exit status; it said {self.lines}")
        return self.lines

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Numbering:
    """Events of an agent, one after the other."""

    def __init__(self, agent):
        self.agent, self.sequence = agent, 0

    def publish(self, lun="1", **members):
        self.sequence += 1
        self.agent.publish(make_event(self.agent.host, self.agent.epoch, self.sequence, target=1, lun=int(lun), **members))
        return self.sequence

    def reset(self, operation):
        """What an agent does on RESET: its own event first, and the answer names it (rule 15)."""
        return {"after_source_sequence": self.publish(lun="1", origin_session=operation.session_id)}


def run(scenario, *arguments, broker, **answers):
    with Driver(broker.address, scenario, *arguments) as driver:
        driver.serve(**answers)


def test_every_operation():
    # rules 2, 5, 7, 13, 14, 15, 17, 19, 20, 21, 24, 25; A7, A10
    with face() as (broker, agent, _):
        numbering = Numbering(agent)
        agent.answers["reset"] = numbering.reset
        run("operations", broker=broker, publish=numbering.publish)


def test_einval_and_its_details():
    # rules 3, 4, 11; A3
    with face() as (broker, _, __):
        run("einval", broker=broker)


def test_what_the_agent_answers_is_an_errno_here():
    # rule 32
    with face() as (broker, agent, _):
        def answer(name):
            detail = A.EINVAL_DETAIL_NOT_SUPPORTED if name == "ENXIO" else A.EINVAL_DETAIL_NONE
            agent.answers["halt"] = {"error": A.Errno.Value("ERRNO_" + name), "detail": detail,
                                     "message": "the agent's words"}
        run("agent-errnos", broker=broker, answer=answer)


def test_without_role_kernel():
    # rule 1
    with unix_face(READER_ON_UNIX) as (broker, _, __, ___):
        path = next(o for o in broker.arguments if o.startswith("unix:"))
        with Driver(path, "no-kernel") as driver:
            driver.serve()


def test_sessions_are_of_the_principal():
    with face() as (broker, agent, _):
        run("sessions", broker=broker, publish=Numbering(agent).publish)


def test_a_killed_broker_is_told_to_every_registration():
    with face() as (broker, _, __):
        def kill(_):
            broker.kill()
        run("lost", broker=broker, kill=kill)


def test_the_last_word_names_a_device_that_another_handle_started():
    # rule 21
    with face() as (broker, agent, _):
        def kill(_):
            broker.kill()
        run("lost-elsewhere", broker=broker, publish=Numbering(agent).publish, kill=kill)


def test_an_orderly_stop_is_told_with_its_reason():
    # rule 5
    with face() as (broker, _, __):
        def end(_):
            broker.ask_to_stop()
        run("ended", "BROKER_STOPPING", "stopping", broker=broker, end=end)
        broker.wait()


def test_an_operators_end_is_told_with_its_reason():
    # rule 5
    with face() as (broker, _, __):
        def end(session):
            broker.admin().EndSession(admin_pb2.EndSessionRequest(session_id=session, reason=REASON), timeout=LIMIT_S)
        run("ended", "OPERATOR", REASON, broker=broker, end=end)


def test_a_lost_agent_is_told_with_its_reason():
    # rule 6
    with face() as (broker, agent, _):
        run("ended", "AGENT_LOST", "AGENT_LOST", broker=broker, end=lambda _: agent.vanish())


def test_a_program_without_standard_files():
    with face() as (broker, _, __):
        run("daemon", broker=broker)


def test_target_mode():
    # rule 23
    with face(adapters={"iscsi0": ALL_CAPABILITIES, "tgt1": ("event", "target-mode")}) as (broker, agent, _):
        def send(text):
            session_id, generation = text.split()
            for data in (b"free", b"kept!"):
                agent.send(agents_pb2.AgentMessage(target_received=agents_pb2.TargetReceived(
                    session_id=session_id, generation=int(generation), data=data)))

        def released():
            agent.wait(lambda a: sum(o.release_buffers.n_buffers for o in a.operated("release_buffers")) == 2,
                       "both buffers")
        run("target", broker=broker, send=send, released=released)


def test_driver_events():
    # rules 26 to 31
    with face() as (broker, _, __):
        run("sdi", broker=broker)


def halt(program):
    """Until SIGCONT."""
    program.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, program.process.pid, os.WSTOPPED | os.WNOWAIT)


def test_what_is_done_too_late_is_not_lost():
    # rules 4, 16, 24; A2
    with face("--agent-heartbeat", "60s") as (broker, agent, _):
        def go(_):
            broker.process.send_signal(signal.SIGCONT)
        run("late-results", broker=broker, publish=Numbering(agent).publish, stop=lambda: halt(broker), go=go)


def test_a_handler_that_was_added_too_late_is_removed():
    with face() as (broker, _, __):
        def wait_handlers(n):
            wait_until(lambda: broker.counters()["sensebus_sdi_handlers"] == n, f"{n} handlers")

        def go(_):
            broker.process.send_signal(signal.SIGCONT)
            wait_handlers(1)
        run("late-handler", broker=broker, stop=lambda: halt(broker), go=go, removed=lambda: wait_handlers(0))


def test_a_handle_for_each_thread():
    with face() as (broker, _, __):
        run("threads", broker=broker)
        run("wanders", broker=broker)


TLS_ROLES = """principals:
  - {identity: "uri:sensebus://reader/*", roles: [reader]}
  - {identity: "uri:sensebus://agent/*", roles: [agent], host_from_identity: true}
  - {identity: "plaintext", roles: [agent, reader], hosts: ["*"]}
"""


def test_tls():
    # rule 1: who we are is in the certificate
    with Pki() as pki:
        certificate = pki.broker()
        with face("--listen", "tls://127.0.0.1:0", *certificate.listen_options(), plaintext_roles=None,
                  config=TLS_ROLES) as (broker, _, __):
            with open(broker.port_file) as file:
                url = "tls://" + file.read().split()[1].removeprefix("tls://")
            reader = pki.issue("reader", "me")
            with Driver(url, "tls", reader.certificate, reader.key, reader.authority) as driver:
                driver.serve()
            with Pki() as other, Driver(url, "tls", reader.certificate, reader.key,
                                        other.broker().authority) as driver:
                check("certificate" in driver.serve(expect=3)[0], f"{driver.lines}")


if __name__ == "__main__":
    run_tests(globals())
