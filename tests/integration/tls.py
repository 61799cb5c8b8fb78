# SPDX-License-Identifier: Apache-2.0
"""TLS from outside: stock grpcio, openssl and our own programs against a real broker. Each bad certificate is refused
by name on both sides."""
import os
import socket
import stat
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from sensebus_testlib import *  # noqa: E402,F403
from pki import Certificate, Pki  # noqa: E402
from agent_program import Agent, refused_start  # noqa: E402
from cli_program import Running, sensebus, wait_subscribed  # noqa: E402

ROLES = """principals:
  - identity: "uri:sensebus://reader/*"
    roles: [reader]
  - identity: "uri:sensebus://operator/*"
    roles: [operator]
  - identity: "uri:sensebus://agent/*"
    roles: [agent]
    host_from_identity: true
"""


class TlsBroker(Broker):
    def __init__(self, pki, certificate=None, **arguments):
        certificate = certificate or pki.broker()
        super().__init__(*certificate.listen_options(), listen="tls://127.0.0.1:0", plaintext_roles=None, config=ROLES,
                         **arguments)

    def url(self):
        return "tls://" + self.address.removeprefix("tls://")

    def secure_channel(self, certificate, **options):
        authority, key, chain = certificate.read()
        return self.secure(grpc.ssl_channel_credentials(authority, key, chain), **options)

    def secure(self, credentials, **options):
        arguments = {"grpc.use_local_subchannel_pool": 1} | options
        channel = grpc.secure_channel(self.address.removeprefix("tls://"), credentials, options=list(arguments.items()))
        self.channels.append(channel)
        return channel

    def wait_refusal(self, *texts):
        """Until the log has a line that names a peer and has these texts."""
        def lines():
            return [line for line in self.log().splitlines() if "grpc.connection_dropped" in line and "peer=127.0.0.1:" in line]
        wait_until(lambda: any(all(text in line for text in texts) for line in lines()), f"{texts} in {lines()}")


def broker_info(channel):
    return admin_pb2_grpc.AdminStub(channel).GetBroker(admin_pb2.GetBrokerRequest(), timeout=LIMIT_S)


def cannot_connect(channel):
    """The call fails before anything is asked; gives what stock grpc says."""
    try:
        broker_info(channel)
    except grpc.RpcError as error:
        check_equal(error.code(), grpc.StatusCode.UNAVAILABLE, error.details())
        return error.details()
    raise AssertionError("the call did not fail")


# ---------------------------------------------------------------------------------------------------- it works

def test_stock_clients_speak_to_the_broker():
    with Pki() as pki, TlsBroker(pki) as broker:
        reader, agent = pki.issue("reader", "r1"), pki.issue("agent", "db-07")
        info = broker_info(broker.secure_channel(reader))
        check(info.version, "an answer")
        with FakeAgent(broker, host="db-07", channel=broker.secure_channel(agent)) as fake:
            fake.publish_range(1, 3000)
            fake.wait_acked(3000)
            with Subscription(broker, broker.secure_channel(reader), oldest=events_pb2.StartOldest()) as subscription:
                subscription.wait(lambda s: sum(e.origin.host == "db-07" and e.code == code_pb2.LUN_RESET
                                                for e in s.events()) == 3000, "3000 events")


def test_the_certificate_says_who_may_do_what():
    # rule 1
    with Pki() as pki, TlsBroker(pki) as broker:
        nobody, agent = pki.issue("kernel", "k1"), pki.issue("agent", "db-07")
        with expect_status(grpc.StatusCode.PERMISSION_DENIED, "sensebus://kernel/k1"):
            broker_info(broker.secure_channel(nobody))
        other = FakeAgent(broker, host="db-08", channel=broker.secure_channel(agent), attach=False)
        other.hello()
        check(other.ended.wait(LIMIT_S), "an agent for another host")
        check_equal(other.error.code(), grpc.StatusCode.PERMISSION_DENIED)
        check("db-08" in other.error.details(), other.error.details())


def test_our_programs_speak_to_the_broker():
    with Pki() as pki, TlsBroker(pki) as broker:
        reader, agent = pki.issue("reader", "r1"), pki.issue("agent", "db-07")
        check_equal(sensebus("health", "--broker", broker.url(), *reader.options()).out, "serving\n")
        by_environment = {"SENSEBUS_BROKER": broker.url(), "SENSEBUS_CA": reader.authority,
                          "SENSEBUS_CERTIFICATE": reader.certificate, "SENSEBUS_KEY": reader.key}
        check("newest" in sensebus("status", **by_environment).out)
        with Running("watch", "--since", "oldest", *reader.options(), address=broker.url()) as watch:
            with Agent(broker.url(), *agent.options(), host="db-07") as program:
                program.wait_log("publish.attached")
                watch.wait_for(lambda: any("AGENT_CONNECTED" in line and "db-07" in line for line in watch.out),
                               "AGENT_CONNECTED")
                sensebus("wait", "--for", "agent db-07", *reader.options(), "--broker", broker.url())


def test_the_key_may_be_in_the_file_of_the_certificate():
    with Pki() as pki, TlsBroker(pki) as broker:
        reader = pki.issue("reader", "r1")
        both = pki.path("both.pem")
        with open(both, "w") as out:
            for path in (reader.certificate, reader.key):
                with open(path) as part:
                    out.write(part.read())
        sensebus("health", "--broker", broker.url(), "--ca", reader.authority, "--certificate", both)


# ---------------------------------------------------------------------------------------------------- bad clients

def refuse_client(pki, broker, certificate, *texts):
    cannot_connect(broker.secure_channel(certificate))
    broker.wait_refusal(*texts)


def test_an_expired_client_is_refused():
    with Pki() as pki, TlsBroker(pki) as broker:
        late = pki.dated("late", "20200101000000Z", "20210101000000Z")
        refuse_client(pki, broker, late, "the peer's certificate (CN=late) has expired on 2021-01-01 00:00:00Z")
        said = sensebus("health", "--broker", broker.url(), *late.options(), expect=2).err
        check(late.certificate in said and "has expired on 2021-01-01" in said, said)


def test_a_client_of_tomorrow_is_refused():
    with Pki() as pki, TlsBroker(pki) as broker:
        early = pki.dated("early", "20480101000000Z", "20490101000000Z")
        refuse_client(pki, broker, early, "(CN=early) is not yet valid: it begins on 2048-01-01 00:00:00Z")


def test_a_self_signed_client_is_refused():
    with Pki() as pki, TlsBroker(pki) as broker:
        own = pki.self_signed("own")
        refuse_client(pki, broker, own, "(CN=own) is self-signed")
        said = sensebus("health", "--broker", broker.url(), *own.options(), expect=3).err
        check("the peer refused our certificate: it does not know the authority that signed it" in said, said)


def test_a_client_of_another_authority_is_refused():
    with Pki() as pki, Pki() as other, TlsBroker(pki) as broker:
        stranger = other.issue("reader", "stranger")
        stranger.authority = pki.authority
        refuse_client(pki, broker, stranger, "(CN=stranger) was signed by another authority (CN=Sensebus authority")


def test_a_client_without_certificate_is_refused():
    with Pki() as pki, TlsBroker(pki) as broker:
        with open(pki.authority, "rb") as file:
            channel = broker.secure(grpc.ssl_channel_credentials(file.read()))
        cannot_connect(channel)
        broker.wait_refusal("the peer shows no certificate")


def test_old_tls_is_refused():
    with Pki() as pki, TlsBroker(pki) as broker:
        reader = pki.issue("reader", "r1")
        done = subprocess.run(["openssl", "s_client", "-connect", broker.address.removeprefix("tls://"), "-tls1_2", "-cert",
                               reader.certificate, "-key", reader.key], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=LIMIT_S, check=False)
        check("protocol version" in done.stderr, done.stderr)
        broker.wait_refusal("the peer does not speak TLS 1.3")


# ---------------------------------------------------------------------------------------------------- bad servers

def serve_stock(pki, certificate):
    """A server on stock grpcio with a certificate that our broker would not start with."""
    from concurrent import futures
    authority, key, chain = certificate.read()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    credentials = grpc.ssl_server_credentials([(key, chain)], authority, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    return server, f"tls://127.0.0.1:{port}"


def refuse_server(pki, certificate, *texts):
    server, url = serve_stock(pki, certificate)
    try:
        said = sensebus("health", "--broker", url, *pki.issue("reader", "r1").options(), expect=3).err
        for text in texts:
            check(text in said, f"no {text!r} in {said!r}")
    finally:
        server.stop(None)


def test_an_expired_server_is_refused():
    with Pki() as pki:
        refuse_server(pki, pki.dated("late", "20200101000000Z", "20210101000000Z", "IP:127.0.0.1"),
                      "the peer's certificate (CN=late) has expired on 2021-01-01 00:00:00Z")


def test_a_self_signed_server_is_refused():
    with Pki() as pki:
        refuse_server(pki, pki.self_signed("own", "IP:127.0.0.1"), "(CN=own) is self-signed")


def test_a_server_of_another_authority_is_refused():
    with Pki() as pki, Pki() as other:
        refuse_server(pki, other.broker(), "the peer's certificate was signed by another authority (CN=Sensebus authority")


def test_a_server_with_another_name_is_refused():
    with Pki() as pki, TlsBroker(pki, pki.broker("--dns", "broker.example", "--ip", "10.0.0.7")) as broker:
        reader = pki.issue("reader", "r1")
        said = sensebus("health", "--broker", broker.url(), *reader.options(), expect=3).err
        check("the peer's certificate is for dns:broker.example, ip:10.0.0.7 and not for 127.0.0.1" in said, said)
        broker.wait_refusal("the peer refused our certificate")
        named = ["--server-name", "broker.example"]
        sensebus("health", "--broker", broker.url(), *reader.options(), *named)
        cannot_connect(broker.secure_channel(reader))
        broker_info(broker.secure_channel(reader, **{"grpc.ssl_target_name_override": "broker.example"}))


# ---------------------------------------------------------------------------------------------------- the wrong protocol

def test_plaintext_on_the_tls_port_is_refused():
    with Pki() as pki, TlsBroker(pki) as broker:
        plain = broker.address.removeprefix("tls://")
        said = sensebus("health", "--broker", plain, expect=3).err
        check("the peer speaks TLS here: use tls://" in said, said)
        broker.wait_refusal("the peer speaks HTTP/2 without TLS, and this port needs TLS")
        # A stock client waits before it tries again: it must not come back at once for ever.
        cannot_connect(grpc.insecure_channel(plain))
        check(broker.log().count("grpc.connection_dropped") < 10, broker.log())
        with Agent(plain, host="db-07") as agent:
            agent.wait_log("the peer speaks TLS here: use tls://")


def test_tls_on_a_plaintext_port_is_refused():
    with Pki() as pki, Broker() as broker:
        reader = pki.issue("reader", "r1")
        said = sensebus("health", "--broker", "tls://" + broker.address, *reader.options(), expect=3).err
        check("the peer does not speak TLS" in said, said)
        wait_until(lambda: "the peer speaks TLS, and this port does not" in broker.log(), "the refusal in the log")
        check("peer=127.0.0.1:" in broker.log())


def test_noise_on_the_tls_port_leaves_others_alone():
    with Pki() as pki, TlsBroker(pki) as broker:
        channel = broker.secure_channel(pki.issue("reader", "r1"))
        broker_info(channel)
        host, port = broker.address.removeprefix("tls://").rsplit(":", 1)
        for noise in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\xff\xff", os.urandom(4096), b"",
                      b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00" * 1000):
            with socket.create_connection((host, int(port)), LIMIT_S) as peer:
                with contextlib.suppress(OSError):  # it may have hung up before all was said
                    peer.sendall(noise)
        broker_info(channel)


# ---------------------------------------------------------------------------------------------------- options

def test_options_that_do_not_go_together_are_refused():
    with Pki() as pki:
        reader = pki.issue("reader", "r1")
        said = sensebus("health", "--broker", "tls://127.0.0.1:1", expect=2).err
        check("tls://127.0.0.1:1 needs our certificate (--certificate), its key (--key) and the CA's (--ca)" in said, said)
        said = sensebus("health", "--broker", "127.0.0.1:1", *reader.options(), expect=2).err
        check("write tls://127.0.0.1:1, or leave them out" in said, said)
        said = sensebus("health", "--broker", "tls://127.0.0.1:1", "--ca", "/nowhere", "--certificate", reader.certificate,
                        "--key", reader.key, expect=2).err
        check("authority /nowhere: no such file" in said, said)
        other = pki.issue("reader", "r2")
        said = sensebus("health", "--broker", "tls://127.0.0.1:1", "--ca", reader.authority, "--certificate",
                        reader.certificate, "--key", other.key, expect=2).err
        check(f"{other.key}: the key does not belong to the certificate" in said, said)
        with refused_start("--broker", "tls://127.0.0.1:1") as said:
            check("needs our certificate" in said, said)
        with refused_start("--broker", "127.0.0.1:1", *reader.options()) as said:
            check("write tls://127.0.0.1:1" in said, said)


# ---------------------------------------------------------------------------------------------------- pki

def test_pki_makes_files_for_their_owner_alone():
    with Pki() as pki:
        agent = pki.issue("agent", "db-07")
        for path, mode in ((os.path.join(pki.ca, "ca.key"), 0o600), (agent.key, 0o600)):
            check_equal(stat.S_IMODE(os.stat(path).st_mode), mode, path)
        text = subprocess.run(["openssl", "x509", "-in", agent.certificate, "-noout", "-text"], capture_output=True,
                              text=True, check=True).stdout
        check("URI:sensebus://agent/db-07" in text and "Public-Key: (256 bit)" in text, text)
        check("TLS Web Client Authentication" in text and "TLS Web Server Authentication" not in text, text)
        subprocess.run(["openssl", "verify", "-CAfile", pki.authority, agent.certificate], check=True, capture_output=True)


def test_pki_overwrites_nothing():
    with Pki() as pki:
        agent = pki.issue("agent", "db-07")
        with open(agent.certificate) as file:
            before = file.read()
        for arguments in (("init", pki.ca), ("issue", "agent", "db-07", "--ca", pki.ca, "--out", agent.certificate)):
            said = sensebus("pki", *arguments, expect=1).err
            check("exists already, and nothing is overwritten" in said, said)
        os.unlink(agent.key)
        said = sensebus("pki", "issue", "agent", "db-07", "--ca", pki.ca, "--out", agent.certificate, expect=1).err
        check(agent.certificate in said and not os.path.exists(agent.key), "no key without its certificate")
        with open(agent.certificate) as file:
            check_equal(file.read(), before)


def test_pki_says_what_is_wrong():
    with Pki() as pki:
        ca, out = ("--ca", pki.ca), ("--out", pki.path("x.pem"))
        for arguments, text in (
                ((), "init or issue"), (("int",), "init or issue"), (("init",), "one directory"),
                (("issue", "agent"), "a role and a name"), (("issue", "agnet", "x", *ca, *out), "did you mean agent?"),
                (("issue", "agent", "a/b", *ca, *out), "NAME has 1 to 64"), (("issue", "agent", "a", *ca), "--out FILE is missing"),
                (("issue", "broker", "b", *ca, *out), "needs --dns or --ip"),
                (("issue", "broker", "b", *ca, *out, "--ip", "1.2.3"), "'1.2.3' is no IP address"),
                (("issue", "broker", "b", *ca, *out, "--dns", "a b"), "'a b' is no DNS name"),
                (("issue", "agent", "a", *ca, *out, "--ip", "1.2.3.4"), "--ip is for the role broker"),
                (("issue", "agent", "a", *ca, *out, "--days", "0"), "--days"),
                (("issue", "agent", "a", *ca, *out, "--days", "5000"), "outlive its authority")):
            said = sensebus("pki", *arguments, expect=2).err
            check(text in said, f"{arguments}: no {text!r} in {said!r}")
        said = sensebus("pki", "issue", "agent", "a", "--ca", "/nowhere", *out, expect=1).err
        check("/nowhere/ca.pem" in said and "pki init" in said, said)
        check(not os.path.exists(pki.path("x.pem")) and not os.path.exists(pki.path("x.key")))


if __name__ == "__main__":
    run_tests(globals())
