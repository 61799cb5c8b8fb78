# SPDX-License-Identifier: Apache-2.0
"""Certificates are renewed without a restart: SIGHUP to a real broker and a real agent. What is wrong is named, and the old
ones stay; new ones are for new connections; streams go on."""
import os
import shutil
import signal
import socket
import ssl
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from sensebus_testlib import *  # noqa: E402,F403
from pki import Certificate, Pki, run  # noqa: E402
from agent_program import Agent  # noqa: E402
from tls import ROLES, TlsBroker, broker_info, cannot_connect  # noqa: E402


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def serial(certificate):
    return run("openssl", "x509", "-in", certificate.certificate, "-noout", "-serial").strip().removeprefix("serial=")


class Live(Certificate):
    """The files that a program reads again."""

    def __init__(self, pki, name, certificate):
        super().__init__(*(pki.path(f"live-{name}.{part}") for part in ("pem", "key", "ca")))
        self.put(certificate, certificate.authority)

    def put(self, certificate, *authorities):
        """The certificate and its key, as `mv` would; and who is trusted, when that changes."""
        self._put(certificate.certificate, self.certificate)
        self._put(certificate.key, self.key)
        if authorities:
            with open(self.authority, "w", encoding="utf-8") as file:
                file.write("".join(map(read, authorities)))

    @staticmethod
    def _put(source, target):
        shutil.copy(source, target + ".new")
        os.rename(target + ".new", target)


def hang_up(program, *words):
    """SIGHUP, until the log answers with a line that has these words. (ThreadSanitizer holds a signal back that comes just
    before the loop waits, and another one brings both.)"""
    so_far, again = len(program.log()), [0.0]

    def is_answered():
        if time.monotonic() >= again[0]:
            program.process.send_signal(signal.SIGHUP)
            again[0] = time.monotonic() + (5 if THREAD_SANITIZER else 10 * LIMIT_S)
        return any(all(word in line for word in words) for line in program.log()[so_far:].splitlines())

    wait_until(lambda: is_answered() or not program.running(), f"{words} in {program.log()[so_far:]}")
    check(program.running(), program.log())


def served(broker, client):
    """The serial number of the certificate that a new connection is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(client.authority)
    context.load_cert_chain(client.certificate, client.key)
    context.set_alpn_protocols(["h2"])
    host, port = broker.address.removeprefix("tls://").rsplit(":", 1)
    with socket.create_connection((host, int(port)), LIMIT_S) as plain:
        with context.wrap_socket(plain, server_hostname=host) as secure:
            return secure.getpeercert()["serialNumber"]


class ReturningBroker(TlsBroker):
    """On the same port in all its lives."""

    def __init__(self, files):
        Broker.__init__(self, *files.listen_options(), listen="tls://" + reserve_address(), plaintext_roles=None, config=ROLES)


class Manager:
    """A service manager: what it was told."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(LIMIT_S)

    def expect(self, text):
        got = self.socket.recv(4096).decode()
        check(got.startswith(text), f"{got!r} is not {text!r}")


def test_the_broker_renews_its_certificate_while_streams_go_on():
    with Pki() as pki:
        first, second = pki.broker(), pki.issue("broker", "b2", "--dns", "localhost", "--ip", "127.0.0.1", "--days", "20")
        reader, agent = pki.issue("reader", "r1"), pki.issue("agent", "db-07")
        live = Live(pki, "broker", first)
        old, new = serial(first), serial(second)
        with TlsBroker(pki, live) as broker:
            check(f'tls.in_use subject="CN=b1" serial={old} not_after="20' in broker.log(), broker.log())
            check("tls.expires" not in broker.log(), broker.log())
            check_equal(served(broker, reader), old)
            with FakeAgent(broker, host="db-07", channel=broker.secure_channel(agent)) as fake, \
                    Subscription(broker, broker.secure_channel(reader), oldest=events_pb2.StartOldest()) as subscription:
                def publish(begin, end):
                    fake.publish_range(begin, end)
                    fake.wait_acked(end)
                    subscription.wait(lambda s: sum(e.code == code_pb2.LUN_RESET for e in s.events()) == end, f"{end} events")

                publish(1, 10)
                shutil.copy(second.key, live.key)  # its certificate is not there yet
                hang_up(broker, "error tls.not_reloaded", f"{live.key}: the key does not belong to the certificate",
                        f"in_use={old}")
                os.unlink(live.certificate)
                hang_up(broker, "error tls.not_reloaded", f"certificate {live.certificate}: no such file", f"in_use={old}")
                check_equal(served(broker, reader), old)
                publish(11, 20)
                live.put(second)
                hang_up(broker, "info  tls.in_use", 'subject="CN=b2"', f"serial={new}")
                wait_until(lambda: f'warn  tls.expires subject="CN=b2" serial={new} reason="our certificate ends in ' in broker.log(),
                           "the warning")
                check_equal(served(broker, reader), new)
                publish(21, 30)
                check(broker_info(broker.secure_channel(reader)).version, "a new channel")


def test_the_manager_hears_of_a_reload():
    with tempfile.TemporaryDirectory(prefix="sensebus-manager.") as directory:
        manager = Manager(os.path.join(directory, "socket"))
        with contextlib.closing(manager.socket), Broker(env={"NOTIFY_SOCKET": manager.path}) as broker:
            manager.expect("READY=1")
            hang_up(broker, "tls.not_used")
            manager.expect("RELOADING=1\nMONOTONIC_USEC=")
            manager.expect("READY=1")
            check(broker.info().version, "it serves")


def test_an_authority_is_replaced_while_broker_and_agent_run():
    with Pki() as pki, Pki() as successor:
        old_broker = pki.broker()
        broker_files = Live(pki, "broker", old_broker)
        agent_files = Live(pki, "agent", pki.issue("agent", "db-07"))
        old_reader, new_reader = pki.issue("reader", "r1"), successor.issue("reader", "r1")
        old_reader.authority = new_reader.authority = broker_files.authority
        new_broker, new_agent = successor.broker(), successor.issue("agent", "db-07", "--days", "12")
        with ReturningBroker(broker_files) as broker, Agent(broker.url(), *agent_files.options(), host="db-07") as agent:
            agent.wait_log("publish.attached")
            # Both are trusted, then everybody gets new certificates, then only the new authority is.
            broker_files.put(old_broker, pki.authority, successor.authority)
            hang_up(broker, "info  tls.in_use")
            agent_files.put(new_agent, pki.authority, successor.authority)
            hang_up(agent, "info  tls.in_use", 'subject="CN=db-07"', f"serial={serial(new_agent)}")
            agent.wait_log("warn  tls.expires")
            for certificate in (old_reader, new_reader):
                broker_info(broker.secure_channel(certificate))
            broker_files.put(new_broker, successor.authority)
            hang_up(broker, "info  tls.in_use", f"serial={serial(new_broker)}")
            broker_info(broker.secure_channel(new_reader))
            cannot_connect(broker.secure_channel(old_reader))
            # The agent's stream has outlived all of it; its next connection shows the new certificate.
            check_equal(agent.log().count("publish.attached"), 1)
            check("publish.broker_away" not in agent.log(), agent.log())
            check_equal(broker.stop(), 0)
            broker.restart()
            agent.wait_log("publish.attached", 2)


if __name__ == "__main__":
    run_tests(globals())
