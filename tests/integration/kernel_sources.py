#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The agent as an observer of its host's kernel: uevents that the kernel sends into a network namespace of this test, and
a tree that looks like sysfs. What the kernel itself does is tested in a guest (tests/guest)."""
import ctypes
import fcntl
import signal
import socket
import struct

from agent_program import *  # noqa: F403

DISK = "/devices/pseudo_0/adapter0/host0/target0:0:0/0:0:0:4"
CLONE_NEWNET = 0x40000000
INITIAL_USER = 0xEFFFFFFD  # PROC_USER_INIT_INO of include/linux/proc_ns.h
NO_NAMESPACE = None  # why there is no namespace of our own


def enter_namespace():
    """Uevents that we cause reach nobody else."""
    global NO_NAMESPACE
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) < 0:
        NO_NAMESPACE = f"no network namespace of our own: {os.strerror(ctypes.get_errno())}"
        return
    with socket.socket() as s:
        fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 0x49))  # SIOCSIFFLAGS: UP, LOOPBACK, RUNNING


class Kernel:
    """Lets the kernel send uevents (uevent_net_rcv of lib/kobject_uevent.c)."""

    def __init__(self):
        if NO_NAMESPACE:
            raise Skip(NO_NAMESPACE)
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15)
        self.socket.bind((0, 0))
        try:
            self.send("change", "/devices/x", "SUBSYSTEM=x")
        except OSError as error:
            raise Skip(f"the kernel sends no uevent for us: {error}") from None

    @staticmethod
    def text(action, path, *keys):
        return "\0".join([f"{action}@{path}", f"ACTION={action}", f"DEVPATH={path}", *keys, ""]).encode()

    def send(self, action, path, *keys):
        text = self.text(action, path, *keys)
        self.socket.sendto(struct.pack("=IHHII", 16 + len(text), 16, 1, 0, 0) + text, (0, 0))

    def forge(self, action, path, *keys):
        self.socket.sendto(self.text(action, path, *keys), (0, 1))

    def attention(self, value):
        self.send("change", DISK, "SUBSYSTEM=scsi", f"SDEV_UA={value}", "DEVTYPE=scsi_device")


class Tree:
    """As sysfs: a disk at 0:0:0:4."""

    def __init__(self):
        self.root = tempfile.mkdtemp(prefix="sensebus-sysfs.")
        device = DISK + "/"
        for name, text in (("state", "running"), ("vendor", "EXAMPLE "), ("model", "DISK            "), ("rev", "1.0 "),
                           ("type", "0")):
            self.write(device + name, text)
        self.write(device + "scsi_device/0:0:0:4/uevent", "")
        self.link(device + "scsi_device/0:0:0:4/device", "../..")
        self.link("/class/scsi_device/0:0:0:4", "../.." + device + "scsi_device/0:0:0:4")
        self.link("/bus/scsi/devices/0:0:0:4", "../../.." + DISK)

    def write(self, path, text):
        """Who reads it sees the old text or the new, and nothing in between, as in sysfs."""
        os.makedirs(os.path.dirname(self.root + path), exist_ok=True)
        with open(self.root + ".new", "w", encoding="ascii") as f:
            f.write(text + "\n")
        os.replace(self.root + ".new", self.root + path)

    def link(self, path, target):
        os.makedirs(os.path.dirname(self.root + path), exist_ok=True)
        os.symlink(target, self.root + path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.root)


def of_kernel(events):
    return [e for e in events if e.origin.source in (event_pb2.SOURCE_UEVENT, event_pb2.SOURCE_SYSFS)]


def sources(broker):
    agents = broker.admin().ListAgents(admin_pb2.ListAgentsRequest(), timeout=LIMIT_S).agents
    return {(event_pb2.Source.Name(s.source), s.instance): s for a in agents for s in a.sources}


def wait_source(broker, name, *states):
    values = [agents_pb2.SourceState.Value("SOURCE_STATE_" + s) for s in states]
    wait_until(lambda: (s := sources(broker).get((name, ""))) and s.state in values, f"{name} is {states}")
    return sources(broker)[name, ""]


@contextlib.contextmanager
def watching(*options, tree):
    with Broker() as broker, Agent(broker, "--source", "all=off", "--sysfs", tree.root, *options) as agent, \
            Subscription(broker) as subscription:
        subscription.wait_control("opened")
        yield broker, agent, subscription


def test_a_unit_attention_that_the_kernel_announces_is_an_event():
    kernel = Kernel()
    with Tree() as tree, watching("--source", "uevent=on", tree=tree) as (broker, _, subscription):
        wait_source(broker, "SOURCE_UEVENT", "ARMED", "DEGRADED")
        check_equal(sources(broker)["SOURCE_UEVENT", ""].last_proof_unix_ns, 0, "no proof yet")
        kernel.forge("change", DISK, "SUBSYSTEM=scsi", "SDEV_UA=INQUIRY_DATA_HAS_CHANGED", "DEVTYPE=scsi_device")
        kernel.attention("MODE_PARAMETERS_CHANGED")
        subscription.wait(lambda s: of_kernel(s.events()), "the event")
        event, = of_kernel(subscription.events())
        check_equal(brief(event), ("MODE_PARAMETERS_CHANGED", 4), "only what the kernel sent")
        check_equal((event.address.adapter, event.address.bus, event.address.target), ("host0", 0, 0), "address")
        check_equal((event.mode, event.synthetic), (event_pb2.MODE_INITIATOR, False), "mode")
        check_equal((event.device.vendor, event.device.product), ("EXAMPLE", "DISK"), "identity")
        check("0:0:0:4" in event.device.kernel_names, f"names {event.device.kernel_names}")
        check_equal((event.native.name, event.native.subcode), ("SDEV_UA", 0x2a01), "native")
        check(b"SDEV_UA=MODE_PARAMETERS_CHANGED\0" in event.native.raw, "the message itself")


def test_a_state_that_nobody_announces_is_found_in_sysfs():
    with Tree() as tree, watching("--source", "sysfs=on", "--source-poll", "100ms", tree=tree) as (
            broker, _, subscription):
        wait_until(lambda: wait_source(broker, "SOURCE_SYSFS", "ARMED"), "a look")
        tree.write(DISK + "/state", "offline")
        subscription.wait(lambda s: of_kernel(s.events()), "the event")
        tree.write(DISK + "/state", "running")
        subscription.wait(lambda s: len(of_kernel(s.events())) == 2, "the other")
        check_equal([brief(e) for e in of_kernel(subscription.events())],
                    [("DEVICE_OFFLINE", 4), ("DEVICE_ONLINE", 4)], "events")
        check(all(e.synthetic for e in of_kernel(subscription.events())), "found by comparison")


def test_a_full_queue_is_told_and_what_happened_meanwhile_is_found():
    kernel = Kernel()
    with Tree() as tree, watching("--source", "uevent=on", "--source", "sysfs=on", "--source-poll", "10m", tree=tree) as (
            broker, agent, subscription):
        wait_source(broker, "SOURCE_UEVENT", "ARMED", "DEGRADED")
        wait_source(broker, "SOURCE_SYSFS", "ARMED")
        agent.process.send_signal(signal.SIGSTOP)
        for _ in range(20000):
            kernel.send("change", "/devices/x", "SUBSYSTEM=x", "FILL=" + "x" * 1500)
        tree.write(DISK + "/state", "offline")
        agent.process.send_signal(signal.SIGCONT)
        subscription.wait(lambda s: len(of_kernel(s.events())) == 2, "loss and difference")
        lost, offline = sorted(of_kernel(subscription.events()), key=lambda e: e.code, reverse=True)
        check_equal(brief(lost)[0], "EVENTS_LOST", "loss")
        check_equal((lost.loss.stage, lost.loss.at_least), (event_pb2.LOSS_STAGE_KERNEL, True), "how many is not known")
        check("faster than they were read" in lost.loss.reason, lost.loss.reason)
        check_equal((brief(offline), offline.synthetic), (("DEVICE_OFFLINE", 4), True), "what the resync found")
        kernel.attention("CAPACITY_DATA_HAS_CHANGED")
        subscription.wait(lambda s: len(of_kernel(s.events())) == 3, "it goes on")


def test_each_source_has_a_line_of_coverage():
    with Tree() as tree, watching(tree=tree) as (broker, _, _):
        wait_until(lambda: len(sources(broker)) >= 6, "all of them")
        for name in ("UEVENT", "TRACE", "ISCSI_NETLINK", "FC_NETLINK", "SYSFS"):
            source = wait_source(broker, "SOURCE_" + name, "OFF")
            check("--source" in source.reason, source.reason)


AGENT = os.path.join(BUILD, "agent/sensebus-agent")


def rows_of(text):
    """What the tables of `check` say, by the first column."""
    return {line.split()[0]: line.split(None, 2)[1:] for line in text.splitlines() if line}


def test_check_prints_what_could_be_watched():
    with Tree() as tree:
        def table(*options):
            out = subprocess.run([AGENT, "check", "--state", tree.root + "/state", "--sysfs", tree.root, *options],
                                 stdout=subprocess.PIPE, text=True, check=True, timeout=LIMIT_S).stdout
            check(not os.path.exists(tree.root + "/state"), "nothing is written")
            return rows_of(out)

        rows = table("--source", "fc-netlink=off", "--lio", "/nonexistent")
        check_equal(rows["sysfs"], ["armed"], "sysfs")
        check_equal(rows["fc-netlink"], ["off", "turned off by --source"], "fc-netlink")
        check_equal(rows["lio"], ["off", "/nonexistent: no such file or directory"], "lio")
        check_equal(rows["tgtd"], ["off", "--tgtd was not given"], "tgtd")
        check_equal(rows["iscsi"][0], "off", "iscsi")
        check({"uevent", "trace", "iscsi-netlink", "tcmu", "feed"} <= set(rows), str(rows))
        check("off unless --source tcmu=on" in rows["tcmu"][1], rows["tcmu"][1])
        check("off unless" not in table("--source", "tcmu=on")["tcmu"][1], "tcmu when it is asked for")
        check_equal(table("--discover", "127.0.0.1")["iscsi"][0], "armed", "iscsi")
        state, reason = table("--sysfs", "/nonexistent")["sysfs"]
        check(state == "off" and "--sysfs" in reason, reason)
        check_equal(table("--tgtd", "/")["tgtd"], ["off", "/: is no socket"], "what is no socket")
        check_equal(table("--lio", AGENT)["lio"], ["off", f"{AGENT}: is no directory"], "what is no directory")


NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def check_as(*how):
    with Tree() as tree:
        os.chmod(tree.root, 0o755)
        command = [*how, AGENT, "check", "--state", tree.root + "/state", "--sysfs", tree.root]
        may = subprocess.run([*how, "test", "-x", AGENT], check=False, stderr=subprocess.DEVNULL, timeout=LIMIT_S)
        if may.returncode:
            raise Skip(f"cannot run the agent by {' '.join(how)} here")
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
        check_equal((result.returncode, result.stderr), (0, ""), "check")
        return rows_of(result.stdout)


def test_check_says_what_is_missing_without_privileges():
    rows = check_as(*NOBODY)
    for name in ("CAP_NET_ADMIN", "CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN"):
        check_equal(rows[name][0], "no", name)
    check_equal(rows["sysfs"], ["armed"], "sysfs needs none")
    check(rows["uevent"] == ["armed"] or "CAP_NET_ADMIN" in rows["uevent"][1] or rows["uevent"][0] == "off",
          f"{rows['uevent']}")


def test_check_tells_one_capability_from_another():
    rows = check_as(*NOBODY, "--inh-caps=+net_admin", "--ambient-caps=+net_admin")
    check_equal((rows["CAP_NET_ADMIN"][0], rows["CAP_SYS_ADMIN"][0]), ("yes", "no"), "what is held")
    if os.stat("/proc/self/ns/user").st_ino == INITIAL_USER:  # in another one it is not that of the host
        check("CAP_NET_ADMIN" not in " ".join(rows["uevent"]), f"{rows['uevent']}")


def test_sources_that_do_not_exist_are_refused():
    for text in ("uevent", "uevent=yes", "=on", "nothing=off"):
        with refused_start("--source", text) as said:
            check("--source" in said and "fc-netlink" in said, said)


if __name__ == "__main__":
    enter_namespace()
    run_tests(globals())
