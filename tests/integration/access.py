# SPDX-License-Identifier: Apache-2.0
"""Who may do what: nobody anything by default; roles from options, from the configuration file, by the identity that
TLS, a Unix socket or nothing but plaintext proves. rule 1: kernel mode is a role of a proven identity."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from sensebus_testlib import *  # noqa: E402,F403

DENIED = grpc.StatusCode.PERMISSION_DENIED


def refused_start(text, *options, status=2):
    """Start a broker with this configuration that must not start; returns what it said, the file's name as FILE."""
    with tempfile.TemporaryDirectory(prefix="sensebus-refused.") as directory:
        path = os.path.join(directory, "broker.yaml")
        with open(path, "w") as file:
            file.write(text)
        program = Program("broker/sensebus-broker", "--config", path, "--data", os.path.join(directory, "data"),
                          "--listen", "127.0.0.1:0", *options).start()
        check_equal(program.wait(), status, f"exit status; output: {program.log()}")
        output = program.log()
        os.unlink(program.output.name)
        return output.replace(path, "FILE")


def check_config(text, *options, status=0):
    return refused_start(text, "--check-config", *options, status=status)


def subscribe(broker, channel=None):
    """Until the stream says Opened, or raises why not."""
    with Subscription(broker, channel, stop_at_newest=True, oldest=events_pb2.StartOldest()) as subscription:
        subscription.until_end()


def attach(broker, host, channel=None):
    """Attach as the agent of `host`; raises why not."""
    agent = FakeAgent(broker, host, channel=channel, attach=False)
    agent.hello()
    wait_until(lambda: agent.welcome() or agent.ended.is_set(), "Welcome or an end")
    if agent.error:
        raise agent.error
    agent.detach()


# ---------------------------------------------------------------------------------------------------- default deny

def test_nobody_may_do_anything_by_default():
    # rule 1
    with Broker(plaintext_roles=None, config="") as broker:
        hint = "give it with the broker's --plaintext-roles, or plaintext.roles in its configuration"
        with expect_status(DENIED, "plaintext from 127.0.0.1:", 'has no role "reader" or "operator": ' + hint):
            subscribe(broker)
        with expect_status(DENIED, 'has no role "agent"', hint):
            attach(broker, "db-07")
        stub, admin = broker.events(), broker.admin()
        for call in (lambda: stub.GetStatus(events_pb2.GetStatusRequest(), timeout=LIMIT_S),
                     lambda: stub.Acknowledge(events_pb2.AcknowledgeRequest(cursor="c"), timeout=LIMIT_S),
                     lambda: admin.GetBroker(admin_pb2.GetBrokerRequest(), timeout=LIMIT_S),
                     lambda: admin.ListAgents(admin_pb2.ListAgentsRequest(), timeout=LIMIT_S),
                     lambda: admin.ListDevices(admin_pb2.ListDevicesRequest(), timeout=LIMIT_S),
                     lambda: admin.ListSubscriptions(admin_pb2.ListSubscriptionsRequest(), timeout=LIMIT_S)):
            with expect_status(DENIED, '"reader" or "operator"'):
                call()
        check_equal(broker.health(), health_pb2.HealthCheckResponse.SERVING, "health is open to everybody")
        lines = [line for line in broker.log().splitlines() if "access.denied" in line]
        check(len(lines) >= 8 and 'principal="plaintext"' in lines[0] and "peer=127.0.0.1:" in lines[0], lines)
        check("access.nobody" in broker.log(), "the broker says at its start that nobody may do anything")
    with Broker() as broker:
        check("access.nobody" not in broker.log())


def test_lines_that_anybody_can_cause_are_few():
    with Broker(plaintext_roles=None, config="") as broker:
        admin = broker.admin()
        for _ in range(200):
            with expect_status(DENIED):
                admin.GetBroker(admin_pb2.GetBrokerRequest(), timeout=LIMIT_S)
        n = broker.log().count("access.denied")
        check(1 <= n < 100, f"{n} lines")


def test_a_reader_is_no_agent():
    with Broker(plaintext_roles="reader") as broker:
        subscribe(broker)
        with expect_status(DENIED, 'plaintext from 127.0.0.1:', 'has no role "agent"'):
            attach(broker, "db-07")
        check_equal(broker.counters()["sensebus_access_denied_total"], 1)


def test_an_operator_may_read_and_an_agent_may_not():
    with Broker(plaintext_roles="operator") as broker:
        subscribe(broker)
        broker.info()
    with Broker(plaintext_roles="agent") as broker:
        attach(broker, "db-07")
        with expect_status(DENIED, '"reader" or "operator"'):
            subscribe(broker)


def is_exhausted(ask, question):
    try:
        next(ask(iter([question]), timeout=LIMIT_S))
    except grpc.RpcError as error:
        return error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    return False


def test_what_anybody_may_ask_is_answered_to_who_reads():
    # reflection: a question is short and its answer long, and nobody has to prove anything for it
    question = b"\x22\x12sensebus.v1.Events"  # file_containing_symbol
    with Broker(plaintext_roles=None, config="") as broker:
        channel = broker.channel(**{"grpc.http2.bdp_probe": 0, "grpc.http2.lookahead_bytes": 65536})
        ask = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        questions = queue.Queue()
        call = ask(iter(questions.get, None), timeout=LIMIT_S)
        for _ in range(30):  # one after the other
            questions.put(question)
            check(len(next(call)) > 1000, "an answer")
        questions.put(None)
        for _ in call:
            pass
        with expect_status(grpc.StatusCode.RESOURCE_EXHAUSTED, "bytes of answers wait, and are not read"):
            for _ in ask(iter([question] * 5000), timeout=LIMIT_S):
                time.sleep(0.01)
        open_calls = [ask(iter(queue.Queue().get, None), timeout=LIMIT_S) for _ in range(64)]
        for one in open_calls:
            one.initial_metadata()
        with expect_status(grpc.StatusCode.RESOURCE_EXHAUSTED, "64 calls"):
            next(ask(iter([question]), timeout=LIMIT_S))
        for one in open_calls:
            one.cancel()
        wait_until(lambda: not is_exhausted(ask, question), "the calls to be over")


# Who may call it at all; what an operation on a stream needs beside is said with the operation.
METHODS = {
    "Events/Subscribe": "reader operator", "Events/Acknowledge": "reader operator", "Events/GetStatus": "reader operator",
    "Agents/Attach": "agent",
    "Admin/GetBroker": "reader operator", "Admin/ListAgents": "reader operator", "Admin/ListDevices": "reader operator",
    "Admin/ListSubscriptions": "reader operator", "Admin/EndSession": "operator",
    "Adapter/Open": "reader kernel dev-config operator", "Adapter/ListSessions": "reader kernel dev-config operator",
    "Sdi/Listen": "kernel", "Sdi/NotifyEvent": "kernel", "Sdi/Xaen": "kernel",
}


def is_denied(channel, method):
    call = channel.stream_stream(f"/sensebus.v1.{method}")(iter([b""]), timeout=LIMIT_S)
    try:
        next(call, None)
    except grpc.RpcError as error:
        return error.code() == DENIED
    finally:
        call.cancel()
    return False


def test_every_method_is_for_its_roles_alone():
    # rule 1
    from sensebus.v1 import sdi_pb2
    files = (events_pb2, agents_pb2, admin_pb2, adapter_pb2, sdi_pb2)
    served = [f"{service.name}/{method.name}" for file in files for service in
              file.DESCRIPTOR.services_by_name.values() for method in service.methods]
    check_equal(sorted(served), sorted(METHODS), "methods of the contract")
    for role in ("agent", "reader", "kernel", "dev-config", "operator"):
        with Broker(plaintext_roles=role) as broker:
            channel = broker.channel()
            for method, roles in METHODS.items():
                check_equal(is_denied(channel, method), role not in roles.split(), f"{method} denied to {role}")


def test_an_agent_of_another_host_is_refused_by_name():
    with Broker("--plaintext-hosts", "db-*", "--plaintext-hosts", "web-1", plaintext_roles="agent,reader") as broker:
        for host in ("db-07", "web-1"):
            attach(broker, host)
        for host in ("db", "web-10", "DB-07", "mail"):
            with expect_status(DENIED, f"plaintext may not speak for host {host}: no rule for it names that host",
                               "plaintext.hosts in the configuration, or --plaintext-hosts"):
                attach(broker, host)
        check_equal(broker.counters()["sensebus_access_denied_total"], 4)
        check('may not speak for host mail' in broker.log(), "no line for it")
        hosts = [a.host for a in broker.admin().ListAgents(admin_pb2.ListAgentsRequest(), timeout=LIMIT_S).agents]
        check_equal(sorted(hosts), ["db-07", "web-1"], "a refused agent leaves no trace")


# ---------------------------------------------------------------------------------------------------- Unix sockets

def unix_broker(directory, config):
    return Broker(listen=f"unix:{directory}/broker.sock", plaintext_roles="all", config=config)


def test_a_unix_peer_is_known_by_its_user():
    me, mine = os.getuid(), os.getgid()
    for identity in (f"unix:uid={me}", f"unix:gid={mine}"):
        with tempfile.TemporaryDirectory(prefix="sensebus-access.") as directory:
            with unix_broker(directory, f'principals: [{{identity: "{identity}", roles: [reader]}}]') as broker:
                subscribe(broker)
                with expect_status(DENIED, f"{identity} from unix:", 'has no role "agent": give it in the configuration, '
                                   f'in an entry of principals with identity "unix:uid={me}"'):
                    attach(broker, "db-07")


def test_plaintext_roles_are_not_for_unix_peers():
    with tempfile.TemporaryDirectory(prefix="sensebus-access.") as directory:
        with unix_broker(directory, f'principals: [{{identity: "unix:uid={os.getuid() + 1}", roles: [all], '
                                    'hosts: ["*"]}]') as broker:
            with expect_status(DENIED, f"unix:uid={os.getuid()} from unix:"):
                subscribe(broker)


def test_a_principal_has_the_name_of_its_rule():
    with tempfile.TemporaryDirectory(prefix="sensebus-access.") as directory:
        with unix_broker(directory, f'principals: [{{identity: "unix:uid={os.getuid()}", name: the backup, '
                                    'roles: [reader]}]') as broker:
            with expect_status(DENIED, "the backup from unix:", 'has no role "agent"'):
                attach(broker, "db-07")


# ---------------------------------------------------------------------------------------------------- TLS

class Authority:
    """A small authority on openssl's own tool, so that nothing of ours judges ours."""

    def __init__(self, directory):
        self.directory = directory
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
                     "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem")

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.directory, check=True, capture_output=True)

    def issue(self, name, san):
        """Returns (certificate, key) as paths."""
        with open(os.path.join(self.directory, f"{name}.ext"), "w") as file:
            file.write(f"subjectAltName={san}\n" if san else "basicConstraints=CA:FALSE\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                     "-keyout", f"{name}.key", "-out", f"{name}.csr")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                     "-days", "1", "-extfile", f"{name}.ext", "-out", f"{name}.pem")
        return self.path(f"{name}.pem"), self.path(f"{name}.key")

    def path(self, name):
        return os.path.join(self.directory, name)

    def channel(self, broker, name, san):
        """A channel to the broker, with a certificate of that name."""
        certificate, key = self.issue(name, san)
        files = []
        for path in (self.path("ca.pem"), key, certificate):
            with open(path, "rb") as file:
                files.append(file.read())
        channel = grpc.secure_channel(broker.address.removeprefix("tls://"), grpc.ssl_channel_credentials(*files),
                                      options=[("grpc.use_local_subchannel_pool", 1),
                                               ("grpc.ssl_target_name_override", "localhost")])
        broker.channels.append(channel)
        return channel


@contextlib.contextmanager
def tls_broker(principals):
    with tempfile.TemporaryDirectory(prefix="sensebus-access.") as directory:
        authority = Authority(directory)
        certificate, key = authority.issue("broker", "DNS:localhost,IP:127.0.0.1")
        config = (f"tls: {{certificate: {certificate}, key: {key}, authority: {authority.path('ca.pem')}}}\n"
                  f"principals:\n{principals}")
        with Broker(listen="tls://127.0.0.1:0", config=config) as broker:
            yield broker, authority


PRINCIPALS = """
  - {identity: "uri:sensebus://agent/*", roles: [agent], host_from_identity: true}
  - {identity: "dns:*.lab.example", roles: [agent], hosts: ["lab-*"]}
  - {identity: "uri:sensebus://client/backup", name: backup, roles: [reader, kernel]}
"""


def test_a_certificate_gives_the_roles_of_its_names():
    with tls_broker(PRINCIPALS) as (broker, authority):
        check(broker.address.startswith("tls://127.0.0.1:"), "the port file has what clients write behind --broker")
        backup = authority.channel(broker, "backup", "URI:sensebus://client/backup")
        subscribe(broker, backup)
        with expect_status(DENIED, "backup from 127.0.0.1:", 'has no role "agent": give it in the configuration, in an '
                           'entry of principals with identity "uri:sensebus://client/backup"'):
            attach(broker, "db-07", backup)
        stranger = authority.channel(broker, "stranger", "URI:sensebus://client/other,DNS:other.example")
        with expect_status(DENIED, 'uri:sensebus://client/other from 127.0.0.1:', 'no role "reader" or "operator"'):
            subscribe(broker, stranger)
        unnamed = authority.channel(broker, "unnamed", None)
        with expect_status(DENIED, "tls:unnamed from 127.0.0.1:"):
            subscribe(broker, unnamed)


def test_an_agent_speaks_for_the_host_in_its_certificate():
    with tls_broker(PRINCIPALS) as (broker, authority):
        agent = authority.channel(broker, "agent", "URI:sensebus://agent/db-07")
        attach(broker, "db-07", agent)
        with expect_status(DENIED, "uri:sensebus://agent/db-07 may not speak for host db-08: no rule for it names that "
                           "host; give it with hosts or host_from_identity"):
            attach(broker, "db-08", agent)
        lab = authority.channel(broker, "lab", "DNS:rig.lab.example")
        attach(broker, "lab-3", lab)
        with expect_status(DENIED, "dns:rig.lab.example may not speak for host db-07"):
            attach(broker, "db-07", lab)


# ---------------------------------------------------------------------------------------------------- the file

def test_errors_of_the_file_name_line_and_key():
    for text, expected in (
            ("data: /x\n\nretian_age: 3d\n", 'FILE:3: retian_age: unknown key; did you mean "retain_age"?'),
            ("plaintext:\n  role: [reader]\n", 'FILE:2: plaintext.role: unknown key; did you mean "roles"?'),
            ("listen: 127.0.0.1:0\n", "FILE:1: listen: must be a list"),
            ("retain_age: soon\n", "FILE:1: retain_age: 'soon' is not a valid duration"),
            ("agent_heartbeat: 1ms\n", "FILE:1: agent_heartbeat: '1ms' is out of range (100 to 3600000 ms)"),
            ("durability: maybe\n", "FILE:1: durability: 'maybe' is none of sync|relaxed"),
            ("principals:\n  - identity: \"unix:uid=0\"\n    roles: [kernal]\n",
             'FILE:3: principals[0].roles[0]: "kernal" is no role; did you mean "kernel"?'),
            ("a: &x 1\nb: *x\n", "FILE:2: aliases"),
            ("a: [\n", "FILE:2: not YAML")):
        for output in (refused_start(text), check_config(text, status=2)):
            check(expected in output, output)


def test_a_file_that_is_not_there_is_named():
    program = Program("broker/sensebus-broker", "--config", "/nonexistent/broker.yaml").start()
    check_equal(program.wait(), 2)
    check("/nonexistent/broker.yaml: no such file or directory" in program.log(), program.log())
    os.unlink(program.output.name)


def test_a_configuration_can_be_checked():
    check_equal(check_config("retain_age: 7d\nplaintext: {roles: [all]}\n"), "ok\n")
    check_equal(check_config(""), "ok\n")
    check("no port" in check_config("", "--listen", "nowhere", status=2))
    check("0.0.0.0:7070 can be reached from other machines" in check_config("", "--listen", "0.0.0.0:7070", status=2))
    check_equal(check_config("insecure: true\n", "--listen", "0.0.0.0:7070"), "ok\n")
    missing = "tls: {certificate: /nonexistent/b.pem, key: /nonexistent/b.key, authority: /nonexistent/ca.pem}\n"
    check("certificate /nonexistent/b.pem: no such file" in check_config(missing, "--listen", "tls://127.0.0.1:0", status=2))
    check("no address to listen on begins with tls://" in check_config(missing, status=2))
    for key in ("certificate", "key", "authority"):
        partial = "\n".join(line for line in ("tls:", "  certificate: /c", "  key: /k", "  authority: /a")
                            if not line.startswith(f"  {key}")) + "\n"
        output = check_config(partial, "--listen", "tls://127.0.0.1:0", status=2)
        check(f"listening with TLS needs --tls-{key} (tls.{key})" in output, output)


def test_the_documentation_knows_every_key_and_its_example_is_right():
    with open(os.path.join(SOURCE, "docs", "operations.md")) as file:
        chapter = file.read().split("### The configuration file")[1].split("\n### ")[0]
    for within, prefix in (("nonesuch: 1", ""), ("tls: {nonesuch: 1}", "tls."), ("plaintext: {nonesuch: 1}", "plaintext."),
                           ("limits: {adapter: {nonesuch: 1}}", "limits.adapter."),
                           ("limits: {sdi: {nonesuch: 1}}", "limits.sdi."), ("principals: [{nonesuch: 1}]", "")):
        known = check_config(within, status=2).split("known here: ")[1].strip().split(", ")
        for key in known:
            check(key in ("tls", "limits", "plaintext") or f"`{prefix}{key}`" in chapter, f"{prefix}{key} is not documented")
    with tempfile.TemporaryDirectory(prefix="sensebus-access.") as directory:
        authority = Authority(directory)
        authority.issue("broker", "DNS:localhost")
        check_equal(check_config(chapter.split("```")[1].replace("/etc/sensebus/pki/", f"{directory}/"),
                                 "--listen", "tls://127.0.0.1:0"), "ok\n")


def test_options_win_over_environment_over_file():
    with tempfile.TemporaryDirectory(prefix="sensebus-access.") as directory:
        config = (f"listen: [\"unix:{directory}/of-the-file.sock\"]\ndurability: relaxed\nagent_heartbeat: 7s\n"
                  f"plaintext: {{roles: [reader], hosts: []}}\n")
        with Broker("--agent-heartbeat", "9s", plaintext_roles=None, config=config) as broker:
            check(broker.address.startswith("127.0.0.1:"), broker.address)  # --listen
            check_equal(broker.info().durability, admin_pb2.DURABILITY_RELAXED, "of the file")
            with expect_status(DENIED, "agent"):
                attach(broker, "db-07")
        with Broker("--durability", "sync", plaintext_roles=None, config=config,
                    env={"SENSEBUS_PLAINTEXT_ROLES": "agent,reader"}) as broker:
            check_equal(broker.info().durability, admin_pb2.DURABILITY_SYNC, "of the option")
            agent = FakeAgent(broker, "db-07")  # of the environment
            check_equal(agent.welcome().heartbeat_ms, 7000, "of the file")
            agent.detach()
        with Broker("--agent-heartbeat", "9s", plaintext_roles="agent,reader", config=config,
                    env={"SENSEBUS_PLAINTEXT_ROLES": "operator"}) as broker:
            agent = FakeAgent(broker, "db-07")  # of the option
            check_equal(agent.welcome().heartbeat_ms, 9000, "of the option")
            agent.detach()


def test_the_file_alone_is_enough():
    with tempfile.TemporaryDirectory(prefix="sensebus-access.") as directory:
        path, port = os.path.join(directory, "broker.yaml"), os.path.join(directory, "port")
        with open(path, "w") as file:
            file.write(f"listen: [\"127.0.0.1:0\", \"unix:{directory}/b.sock\"]\ndata: {directory}/data\n"
                       f"port_file: {port}\nplaintext: {{roles: [reader]}}\n")
        with Program("broker/sensebus-broker", env={"SENSEBUS_CONFIG": path}):
            wait_until(lambda: os.path.exists(port), "the port file")
            with open(port) as file:
                addresses = file.read().split()
            check_equal(addresses[1], f"unix:{directory}/b.sock")
            with grpc.insecure_channel(addresses[0]) as channel:
                admin_pb2_grpc.AdminStub(channel).GetBroker(admin_pb2.GetBrokerRequest(), timeout=LIMIT_S)


def test_options_that_give_roles_are_checked():
    for options, expected in (
            (("--plaintext-roles", "reader,root"), '--plaintext-roles: "root" is no role'),
            (("--plaintext-roles", "Reader"), 'did you mean "reader"?'),
            (("--plaintext-hosts", "db-*"), "--plaintext-hosts: roles: none is given"),
            (("--plaintext-roles", "reader", "--plaintext-hosts", "db-*"),
             "--plaintext-hosts: hosts: only role agent has hosts")):
        output = refused_start("", *options)
        check(expected in output, output)


def test_a_host_with_ever_new_epochs_makes_nobody_forget():
    with Broker() as broker:
        quiet = FakeAgent(broker, "quiet", epoch=7)
        quiet.publish_range(1, 5)
        quiet.wait(lambda a: a.acked() == 5, "the acknowledgement")
        quiet.detach()
        for epoch in range(1, 201):
            noisy = FakeAgent(broker, "noisy", epoch=epoch)
            noisy.detach()
        quiet = FakeAgent(broker, "quiet", epoch=7)
        check_equal(quiet.welcome().committed_source_sequence, 5)
        quiet.publish_range(1, 6)
        quiet.wait(lambda a: a.acked() == 6, "the acknowledgement")
        quiet.detach()
        own = [e.origin.source_sequence for e in broker.read_all() if e.origin.agent_epoch == 7]
        check_equal(own, [1, 2, 3, 4, 5, 6])


if __name__ == "__main__":
    run_tests(globals())
