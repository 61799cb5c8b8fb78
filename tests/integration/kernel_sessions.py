#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Sessions of devices of the host's own kernel: a stock client, the broker, the agent, and a tree that looks like sysfs. They
only observe. What the kernel itself does with a reset is tested in a guest (tests/guest/kernel_sessions.py)."""
import functools

from agent_program import *  # noqa: F403

from adapter_stream import *  # noqa: F403

PORT = "0x50060e8000000001"
PAGES = {"inquiry": bytes.fromhex("00000602 1f000002") + b"EXAMPLE DISK            1.0 ",
         "vpd_pg0": bytes.fromhex("00000003 008083"), "vpd_pg80": bytes.fromhex("00800004") + b"S123",
         "vpd_pg83": bytes.fromhex("0083000c 01030008 6001405a1b2c3d4e")}


class Tree:
    """As sysfs: adapters with disks on them."""

    def __init__(self):
        self.root = tempfile.mkdtemp(prefix="sensebus-sysfs.")
        self.n_hosts = 0
        os.makedirs(self.root + "/class")

    def new_host(self, *kib):
        """An adapter with disks 0, 1, … that transfer so much at most. Gives its number."""
        host = self.n_hosts
        self.n_hosts += 1
        self.add_host(host)
        for lun, most in enumerate(kib):
            self.add_disk(host, lun, kib=most)
        return host

    def write(self, path, content):
        """Who reads it sees the old content or the new, and nothing in between."""
        os.makedirs(os.path.dirname(self.root + path), exist_ok=True)
        with open(self.root + ".new", "wb") as f:
            f.write(content if isinstance(content, bytes) else content.encode() + b"\n")
        os.replace(self.root + ".new", self.root + path)

    def link(self, path, target):
        os.makedirs(os.path.dirname(self.root + path), exist_ok=True)
        os.symlink(os.path.relpath(self.root + target, os.path.dirname(self.root + path)), self.root + path)

    @staticmethod
    def of_host(host):
        return f"/devices/pseudo_0/adapter{host}/host{host}"

    def add_host(self, host):
        path = self.of_host(host)
        self.write(f"{path}/scsi_host/host{host}/state", "running")
        self.write(f"{path}/scsi_host/host{host}/proc_name", "scsi_debug")
        self.link(f"/class/scsi_host/host{host}", f"{path}/scsi_host/host{host}")
        self.link(f"/bus/scsi/devices/host{host}", path)

    def disk(self, host, lun):
        return f"{self.of_host(host)}/target{host}:0:0/{host}:0:0:{lun}"

    def add_disk(self, host, lun, kib, state="running"):
        name, path = f"{host}:0:0:{lun}", self.disk(host, lun)
        block = f"{path}/block/sd{host}{lun}"
        for file, content in {**PAGES, "state": state, "type": "0"}.items():
            self.write(f"{path}/{file}", content)
        self.write(f"{block}/size", "16384")
        self.write(f"{block}/queue/logical_block_size", "512")
        if kib:
            self.write(f"{block}/queue/max_hw_sectors_kb", str(kib))
            self.write(f"{block}/queue/max_sectors_kb", "127")
        self.write(f"{path}/scsi_device/{name}/uevent", "")
        self.link(f"{path}/scsi_device/{name}/device", path)
        self.link(f"/class/scsi_device/{name}", f"{path}/scsi_device/{name}")
        self.link(f"/bus/scsi/devices/{name}", path)

    def remove_disk(self, host, lun):
        for link in (f"/class/scsi_device/{host}:0:0:{lun}", f"/bus/scsi/devices/{host}:0:0:{lun}"):
            os.unlink(self.root + link)
        shutil.rmtree(self.root + self.disk(host, lun))

    def remove_host(self, host, luns):
        """As the kernel does: gone in one moment as far as a look at it can tell, the devices first."""
        for lun in luns:
            self.remove_disk(host, lun)
        os.unlink(self.root + f"/class/scsi_host/host{host}")
        os.unlink(self.root + f"/bus/scsi/devices/host{host}")
        shutil.rmtree(self.root + self.of_host(host))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.root)


def devices(broker):
    listed = broker.admin().ListDevices(admin_pb2.ListDevicesRequest(), timeout=LIMIT_S).devices
    return {(d.device.address.adapter, d.device.address.lun): d.device for d in listed}


def wait_disks(broker, host, n):
    wait_until(lambda: sum(adapter == f"host{host}" for adapter, _ in devices(broker)) == n, f"{n} disks of host{host}")


@contextlib.contextmanager
def observing(*options):
    """A broker, an agent that knows the two disks of an adapter, host0, and a stream."""
    with Tree() as tree, Broker() as broker:
        tree.new_host(512, 1280)
        with Agent(broker, "--source", "all=off", "--source", "sysfs=on", "--source-poll", "100ms", "--sysfs", tree.root,
                   *options) as agent:
            wait_disks(broker, 0, 2)
            agent.wait_log("source=sysfs state=armed")
            with AdapterStream(broker) as stream:
                yield tree, broker, agent, stream


@functools.cache
def shared():
    """One for all tests that need an adapter of their own and nothing else."""
    tree, broker, agent, _ = AT_END.enter_context(observing())
    subscription = AT_END.enter_context(Subscription(broker))
    subscription.wait(lambda s: s.controls("opened"), "the subscription")
    return tree, broker, agent, subscription


def told(subscription, host, code):
    return sum(e.code == code and e.address.adapter == f"host{host}" for e in subscription.events())


@contextlib.contextmanager
def adapter_of_its_own(*kib):
    """It came, and that was told: what a session hears is what happens from then on."""
    tree, broker, agent, subscription = shared()
    check(agent.running(), "the agent ended")
    host = tree.new_host(*kib)
    wait_disks(broker, host, len(kib))
    subscription.wait(lambda s: told(s, host, code_pb2.ADAPTER_ADDED) == 1, "the adapter")
    subscription.wait(lambda s: told(s, host, code_pb2.DEVICE_ADDED) == len(kib), "its disks")
    with AdapterStream(broker) as stream:
        yield tree, broker, host, stream


def started(stream, host, lun, **members):
    return stream.started(target=0, lun=lun, adapter=f"host{host}", **members)


def registered(stream, host, lun, correlator):
    session = started(stream, host, lun)
    check_result(stream.register(session, correlator=correlator))
    return session


def ends(stream, session):
    """The last records of its registration: the reasons."""
    return [e.record.native.name for e in stream.events
            if e.session_id == session.session_id and e.record.code == code_pb2.REGISTRATION_CANCELLED]


def codes(stream, session):
    return [code_pb2.Code.Name(e.record.code) for e in stream.events if e.session_id == session.session_id]


def test_devices_of_the_kernel_are_listed():
    with adapter_of_its_own(512) as (tree, broker, host, _):
        tree.add_disk(host, 7, kib=64, state="offline")
        wait_disks(broker, host, 2)
        disk = devices(broker)[f"host{host}", 0]
        check_equal((disk.state, disk.n_blocks, disk.block_bytes, disk.address.bus, disk.address.target,
                     disk.address.controller), ("ready", 16384, 512, 0, 0, host), "a disk")
        check_equal((disk.device.vendor, disk.device.product, disk.device.serial, disk.device.designator,
                     list(disk.device.kernel_names), disk.device.transport),
                    ("EXAMPLE", "DISK", "S123", "naa.6001405a1b2c3d4e", [f"{host}:0:0:0", f"sd{host}0"],
                     event_pb2.TRANSPORT_VIRTUAL), "its identity")
        check_equal(devices(broker)[f"host{host}", 7].state, "not ready", "one that is offline")
        tree.write(tree.disk(host, 7) + "/state", "running")
        wait_until(lambda: devices(broker)[f"host{host}", 7].state == "ready", "its new state")
        tree.remove_disk(host, 7)
        wait_disks(broker, host, 1)


def test_ioc_info_of_an_adapter_of_the_kernel():  # rule 13
    with adapter_of_its_own(512, 1280, None) as (tree, broker, host, stream):
        def ioc_info(adapter, *expected):
            return check_result(stream.ask(ioc_info=A.IocInfo(host="agent-1", adapter=adapter)), *expected).ioc_info

        info = ioc_info(f"host{host}")
        check_equal((info.adapter, info.major, info.minor, info.own_id, info.maximum_transfer_bytes, info.transport,
                     list(info.capabilities)),
                    (f"host{host}", 3, host, str(host), 512 * 1024, event_pb2.TRANSPORT_VIRTUAL, ["event"]), "IOCINFO")
        tree.write(f"/class/fc_host/host{host + 1}/port_name", PORT)
        check_equal(tree.new_host(None), host + 1, "another adapter")
        wait_disks(broker, host + 1, 1)
        info = ioc_info(f"host{host + 1}")
        check_equal((info.minor, info.own_id, info.maximum_transfer_bytes), (host + 1, "naa." + PORT[2:], 0), "its IOCINFO")
        ioc_info("host999", "EINVAL", "ADDRESS")
        ioc_info("", "EINVAL", "ADDRESS", "name one")
        check("halt" in ioc_info("iscsi0").capabilities, "the agent's own adapter")


def test_what_a_hook_sees_reaches_the_registered_session_with_its_correlator():  # rules 2, 4, 7, 17, 21
    with adapter_of_its_own(None, None) as (tree, _, host, stream):
        session = started(stream, host, 1)
        check_equal((session.address.adapter, session.address.bus, session.address.target, session.address.lun),
                    (f"host{host}", 0, 0, 1), "address in full")
        check_equal((session.reached.vendor, list(session.reached.kernel_names)),
                    ("EXAMPLE", [f"{host}:0:0:1", f"sd{host}1"]), "who was reached")
        check_result(stream.start(target=0, lun=1, adapter=f"host{host}"), "EINVAL", "ALREADY_STARTED")
        other = registered(stream, host, 0, b"other")
        check_result(stream.register(session, mode=TARGET), "EINVAL", "MODE")
        check_result(stream.register(session, correlator=b"\0\xff me"))
        check_result(stream.register(session, correlator=b"again"), "EINVAL", "ALREADY_REGISTERED")
        tree.write(tree.disk(host, 1) + "/state", "offline")
        event = stream.wait_code("DEVICE_OFFLINE")
        check_equal((event.session_id, event.correlator, event.generation, event.registered.adapter, event.registered.lun,
                     event.adapter_major, event.adapter_minor),
                    (session.session_id, b"\0\xff me", session.generation, f"host{host}", 1, 3, host), "its own record")
        check_equal((event.record.origin.source, event.record.address.adapter, event.record.device.serial),
                    (event_pb2.SOURCE_SYSFS, f"host{host}", "S123"), "the record")
        tree.write(tree.disk(host, 1) + "/state", "running")
        stream.wait_code("DEVICE_ONLINE")
        check_equal(codes(stream, other), [], "the other device heard nothing")
        check_result(stream.stop(session))
        stream.wait(lambda: ends(stream, session), "the end")
        check_equal(ends(stream, session), ["STOP"], "reason")
        check(started(stream, host, 1).generation > session.generation, "a new generation")


def test_inquiry_answers_from_the_pages_that_the_kernel_keeps():
    with adapter_of_its_own(None) as (tree, _, host, stream):
        session, disk = started(stream, host, 0), tree.disk(host, 0)
        for page, name in ((None, "inquiry"), (0, "vpd_pg0"), (0x80, "vpd_pg80"), (0x83, "vpd_pg83")):
            command = check_result(stream.inquiry(session, **({} if page is None else {"page": page}))).command
            check_equal((command.scsi_status, command.data), (0, PAGES[name]), name)
        check_result(stream.inquiry(session, page=0xb0), "ENXIO", "NOT_SUPPORTED", "VPD page B0h", "00h, 80h, 83h")
        check_result(stream.inquiry(session, page=256), "EINVAL", "NONE", "256")
        tree.write(disk + "/vpd_pgb0", bytes.fromhex("00b10004 00000000"))
        check_result(stream.inquiry(session, page=0xb0), "EIO", "NONE", "VPD page B0h", "malformed")
        tree.write(disk + "/vpd_pgb0", bytes.fromhex("00b00004 00010203"))
        check_equal(check_result(stream.inquiry(session, page=0xb0)).command.data.hex(), "00b0000400010203", "B0h")
        tree.write(disk + "/inquiry", b"")
        check_result(stream.inquiry(session), "ENXIO", "NOT_SUPPORTED", "standard data")


def test_commands_and_resets_are_refused():  # rules 12, 14, 15
    with adapter_of_its_own(None) as (tree, _, host, stream):
        session = started(stream, host, 0)
        check_result(stream.halt(session), "ENXIO", "NOT_SUPPORTED", "halt")
        check_result(stream.reset(session), "ENXIO", "NOT_SUPPORTED", "reset-lun")
        check_result(stream.reset(session, lun_reset=False), "ENXIO", "NOT_SUPPORTED", "reset-target")
        check_result(stream.test_unit_ready(session), "ENXIO", "NOT_SUPPORTED", f"{host}:0:0:0", "running")
        tree.write(tree.disk(host, 0) + "/state", "offline")
        check_result(stream.test_unit_ready(session), "ENXIO", "NOT_SUPPORTED", "offline")
        check_result(stream.inquiry(session))


def test_addresses_where_the_kernel_has_nothing_are_refused():
    with adapter_of_its_own(*[None] * 3) as (_, _, host, stream):
        def start(adapter, target, lun, bus, *expected):
            check_result(stream.ask(start=A.Start(address=A.DeviceAddress(
                host="agent-1", adapter=adapter, target=target, lun=lun, bus=bus))), *expected)

        start(f"host{host}", 0, 3, -1, "EINVAL", "ADDRESS")
        start(f"host{host}", 1, 0, -1, "EINVAL", "ADDRESS")
        start(f"host{host}", 0, 0, 1, "EINVAL", "ADDRESS")
        start("host999", 0, 0, -1, "EINVAL", "ADDRESS")
        start("", 0, 0, -1, "EINVAL", "ADDRESS", "several adapters")
        start(f"host{host}", 0, 0, 0)
        start(f"host{host}", 0, 1, -1)


def test_a_device_that_goes_ends_its_session():  # rules 5, 12
    with adapter_of_its_own(None, None) as (tree, broker, host, stream):
        session, other = registered(stream, host, 1, b"one"), registered(stream, host, 0, b"two")
        tree.remove_disk(host, 1)
        stream.wait(lambda: ends(stream, session), "the end of the session")
        check_equal(codes(stream, session), ["DEVICE_REMOVED", "REGISTRATION_CANCELLED"], "what it was told")
        check_equal(ends(stream, session), ["DEVICE_REMOVED"], "reason")
        check_equal({e.correlator for e in stream.events if e.session_id == session.session_id}, {b"one"}, "correlator")
        check_result(stream.inquiry(session), "EINVAL", "NOT_STARTED")
        check_result(stream.inquiry(other))
        check_equal(ends(stream, other), [], "the other goes on")
        wait_disks(broker, host, 1)
        check_result(stream.start(target=0, lun=1, adapter=f"host{host}"), "EINVAL", "ADDRESS")
        tree.add_disk(host, 1, kib=64)
        wait_disks(broker, host, 2)
        check(registered(stream, host, 1, b"three").generation > session.generation, "a session of another disk")


def test_what_happens_to_an_adapter_reaches_each_of_its_sessions():  # rule 17
    with adapter_of_its_own(None, None) as (tree, _, host, stream):
        mine = {lun: registered(stream, host, lun, b"unit %d" % lun) for lun in (0, 1)}
        other = registered(stream, 0, 0, b"other")
        state = tree.of_host(host) + f"/scsi_host/host{host}/state"
        tree.write(state, "recovery")
        stream.wait_code("ADAPTER_SUSPENDED", 2)
        tree.write(state, "running")
        stream.wait_code("ADAPTER_RESUMED", 2)
        tree.write(f"/class/fc_host/host{host}/port_state", "Linkdown")
        stream.wait_code("LINK_DOWN", 2)
        for lun, session in mine.items():
            check_equal(codes(stream, session), ["ADAPTER_SUSPENDED", "ADAPTER_RESUMED", "LINK_DOWN"], f"unit {lun}")
            check_equal({e.correlator for e in stream.events if e.session_id == session.session_id}, {b"unit %d" % lun},
                        "correlator")
        check_equal(codes(stream, other), [], "of another adapter")


def test_an_adapter_that_goes_takes_its_sessions_with_it():  # rules 5, 17
    with adapter_of_its_own(None, None) as (tree, _, host, stream):
        mine = {lun: registered(stream, host, lun, b"unit %d" % lun) for lun in (0, 1)}
        other = registered(stream, 0, 0, b"other")
        tree.remove_host(host, mine)
        for lun, session in mine.items():
            stream.wait(lambda s=session: ends(stream, s), f"the end of unit {lun}")
            check(ends(stream, session)[0] in ("DEVICE_REMOVED", "ADAPTER_REMOVED"), str(ends(stream, session)))
            check_equal(codes(stream, session)[-2:], [ends(stream, session)[0], "REGISTRATION_CANCELLED"],
                        "why, then the end")
            check_equal({e.correlator for e in stream.events if e.session_id == session.session_id}, {b"unit %d" % lun},
                        "correlator")
        stream.wait(lambda: "ADAPTER_REMOVED" in codes(stream, other), "what the others hear")  # of the host's scope
        check_equal(ends(stream, other), [], "who goes on")


def test_an_adapter_whose_devices_nobody_missed_ends_their_sessions():  # rules 5, 17
    with adapter_of_its_own(None, None) as (tree, _, host, stream):
        mine = {lun: registered(stream, host, lun, b"unit %d" % lun) for lun in (0, 1)}
        os.unlink(tree.root + f"/class/scsi_host/host{host}")
        for lun, session in mine.items():
            stream.wait(lambda s=session: ends(stream, s), f"the end of unit {lun}")
            check_equal((codes(stream, session), ends(stream, session)),
                        (["ADAPTER_REMOVED", "REGISTRATION_CANCELLED"], ["ADAPTER_REMOVED"]), f"unit {lun}")


def test_the_command_line_names_a_device_by_the_kernels_numbers():
    with adapter_of_its_own(None, None) as (_, broker, host, _):
        def sensebus(*words):
            return subprocess.run([os.path.join(BUILD, "clients/sensebus"), *words, "--broker", broker.address],
                                  capture_output=True, text=True, check=False, timeout=LIMIT_S)

        answer = sensebus("reset", f"agent-1:{host}:0:0:1", "--scope", "lun")
        check("reset-lun" in answer.stderr, f"{answer.returncode} {answer.stdout} {answer.stderr}")
        answer = sensebus("reset", f"agent-1:{host}:0:0:9", "--scope", "lun")
        check("nothing at this address" in answer.stderr, f"{answer.returncode} {answer.stdout} {answer.stderr}")
        answer = sensebus("reset", f"agent-1:{host}:0:0:1", "--adapter", "host0", "--scope", "lun")
        check_equal((answer.returncode, "given twice" in answer.stderr), (2, True), answer.stderr)


def test_a_device_that_is_gone_before_anybody_noticed_is_named():  # rule 6 too
    with observing("--source-poll", "10m") as (tree, _, agent, stream):
        session, other = started(stream, 0, 1), registered(stream, 0, 0, b"me")
        tree.remove_disk(0, 1)
        check_result(stream.inquiry(session), "ENODEV", "NONE", "0:0:0:1")
        check_result(stream.test_unit_ready(session), "ENODEV", "NONE", "0:0:0:1")
        check_result(stream.register(session), "ENXIO", "NOT_SUPPORTED", "0:0:0:1")
        check_result(stream.stop(session))
        check_result(stream.start(target=0, lun=1, adapter="host0"), "ENODEV", "NONE", "0:0:0:1")
        check_equal(agent.stop(), 0, "exit status")
        stream.wait(lambda: ends(stream, other), "the end of the agent's sessions")
        check_equal(ends(stream, other), ["AGENT_DETACHED"], "reason")


def test_a_reset_that_is_allowed_and_cannot_be_done_says_why():  # rule 12
    with observing("--allow", "reset") as (tree, _, _, stream):
        info = check_result(stream.ask(ioc_info=A.IocInfo(host="agent-1", adapter="host0"))).ioc_info
        check_equal(list(info.capabilities), ["event", "reset-lun", "reset-target"], "capabilities")
        session, disk = registered(stream, 0, 0, b"me"), tree.disk(0, 0)
        check_result(stream.halt(session), "ENXIO", "NOT_SUPPORTED", "halt")
        check_result(stream.reset(session), "ENXIO", "NOT_SUPPORTED", "no node")  # its node has no number
        tree.write(disk + "/block/sd00/dev", "8:0")
        check_result(stream.reset(session), "ENXIO", "NOT_SUPPORTED", "/dev/sd00", "no such file")
        tree.write(disk + "/scsi_generic/null/dev", "21:0")  # /dev/null is another one
        check_result(stream.reset(session), "ENXIO", "NOT_SUPPORTED", "/dev/null", "21:0")
        tree.write(disk + "/scsi_generic/null/dev", "1:3")  # and has no resets
        check_result(stream.reset(session, lun_reset=False), "EIO", "NONE", "/dev/null")
        check_equal(codes(stream, session), [], "what was not done is no event")


def test_without_a_hook_that_tells_of_their_end_there_are_no_sessions():
    with Tree() as tree, Broker() as broker, \
            Agent(broker, "--source", "all=off", "--source", "trace=on", "--sysfs", tree.root) as agent:
        tree.new_host(None)
        agent.wait_log("publish.attached")
        with AdapterStream(broker) as stream:
            check_result(stream.ask(ioc_info=A.IocInfo(host="agent-1", adapter="host0")), "EINVAL", "ADDRESS")
            check_result(stream.start(target=0, lun=0, adapter="host0"), "EINVAL", "ADDRESS")
        check_equal(devices(broker), {}, "devices")


def test_when_the_hooks_see_nothing_any_more_events_are_refused():  # rule 12, A5
    with observing() as (tree, broker, agent, stream):
        session = started(stream, 0, 0)
        os.rename(tree.root + "/class", tree.root + "/elsewhere")
        agent.wait_log("source=sysfs state=off")
        check_result(stream.register(session), "ENXIO", "NOT_SUPPORTED", "sysfs:")
        agent.wait_log("kernel.look")
        wait_disks(broker, 0, 2)  # what cannot be looked at stays as it was known
        os.rename(tree.root + "/elsewhere", tree.root + "/class")
        agent.wait_log("source=sysfs state=armed", 2)
        check_result(stream.register(session))


def test_an_option_that_allows_nothing_known_is_refused():
    with refused_start("--allow", "format") as said:
        check("--allow" in said and "reset" in said, said)


if __name__ == "__main__":
    run_tests(globals())
