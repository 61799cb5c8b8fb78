# SPDX-License-Identifier: Apache-2.0
"""In the guest: agents that may not do everything, or whose kernel cannot. What each of them sees is in its coverage, with
what to grant; what it can see it still tells; none of them ends.

    sh tests/guest/run.sh --command '/usr/bin/python3 tests/guest/coverage.py [CASE…]'
"""
import json
import os
import subprocess
import sys
import tempfile
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lio import BACKSTORE, LOOP_INITIATOR, LOOP_NAME, load, make_loop, remove_loop  # noqa: E402
from row import natives, place_of  # noqa: E402
from world import BUILD, Daemon, Disk, Failed, SCSI_DEBUG, Watch, devices, get, put, run, until  # noqa: E402

NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
ROOT_WITHOUT_BPF = ("setpriv", "--bounding-set=-sys_admin,-bpf,-perfmon", "--inh-caps=-sys_admin,-bpf,-perfmon")
NO_TYPES = "mount -t tmpfs none /sys/kernel/btf"
NO_TRACEFS = "umount /sys/kernel/tracing"
# A socket of the file system: reached from every network namespace.
PRINCIPALS = """principals:
  - {identity: "unix:uid=0", name: root, roles: [agent, reader, operator], hosts: ["*"]}
  - {identity: "unix:uid=65534", name: nobody, roles: [agent], hosts: ["*"]}
"""
LIMIT_S = 120  # for what an emulated machine under load does at once elsewhere


def in_namespace(*commands):
    """The agent sees the host as these leave it, and nobody else does."""
    return ("unshare", "--mount", "sh", "-c", " && ".join(commands) + ' && exec "$0" "$@"')


class Case:
    def __init__(self, name, prefix, coverage, trace, answer, before=None):
        """`coverage`: of each source its state and words of its reason. `trace`: the leading record of a unit attention;
        `answer`: what the target's own event says, None when there is none."""
        self.name, self.prefix, self.coverage, self.trace, self.answer = name, prefix, coverage, trace, answer
        self.before = before


def lock_down():
    run("mount", "-t", "securityfs", "none", "/sys/kernel/security", check=False)
    put("/sys/kernel/security/lockdown", "confidentiality")


ALL_OF_IT = f"told {LOOP_INITIATOR} on LUN 0 of {LOOP_NAME}, tpgt_1, backstore fileio_0/d0"
CASES = [
    Case("root", (), {"TRACE": ("ARMED", ""), "lio-sense": ("ARMED", "")}, "unit-attention", ALL_OF_IT),
    Case("two-capabilities",  # offsets that the agent reads, as libbpf may not relocate
         NOBODY + ("--bounding-set=-all,+bpf,+perfmon", "--inh-caps=-all,+bpf,+perfmon", "--ambient-caps=-all,+bpf,+perfmon"),
         {"TRACE": ("DEGRADED", "kernel.perf_event_paranoid"), "lio-sense": ("ARMED", "")}, "unit-attention", ALL_OF_IT),
    Case("no-capability", NOBODY + ("--bounding-set=-all", "--inh-caps=-all"),
         {"TRACE": ("OFF", "needs CAP_BPF and CAP_PERFMON"), "lio-sense": ("OFF", "needs CAP_BPF and CAP_PERFMON"),
          "UEVENT": ("DEGRADED", "CAP_NET_ADMIN"), "SYSFS": ("ARMED", "")}, "SDEV_UA", None),
    Case("tracefs", ROOT_WITHOUT_BPF,
         {"TRACE": ("DEGRADED", "through tracefs: no device states"),
          "lio-sense": ("DEGRADED", "through tracefs: no names of targets")}, "SDEV_UA",
         f"told {LOOP_INITIATOR} on LUN 0, in answer to command 00h"),
    Case("no-types", in_namespace(NO_TYPES),
         {"TRACE": ("DEGRADED", "the kernel needs CONFIG_DEBUG_INFO_BTF"),
          "lio-sense": ("DEGRADED", "the kernel needs CONFIG_DEBUG_INFO_BTF")}, "SDEV_UA",
         f"told {LOOP_INITIATOR} on LUN 0, in answer to command 00h"),
    Case("no-types-no-tracefs", in_namespace(NO_TYPES, NO_TRACEFS),
         {"TRACE": ("OFF", "is no tracefs: mount it"), "lio-sense": ("OFF", "is no tracefs: mount it")}, "SDEV_UA", None),
    Case("network-namespace", ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$0" "$@"'),
         {"TRACE": ("ARMED", ""), "lio-sense": ("ARMED", ""), "FC_NETLINK": ("OFF", "network namespace"),
          "ISCSI_NETLINK": ("OFF", "network namespace")},
         "unit-attention", ALL_OF_IT),
    Case("lockdown", (),  # the last: there is no way back
         {"TRACE": ("OFF", "lockdown"), "lio-sense": ("OFF", "lockdown"), "SYSFS": ("ARMED", "")}, "SDEV_UA", None,
         before=lock_down),
]


class Machine:
    """A broker, a disk of scsi_debug and one of LIO's."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="guest.")
        os.chmod(self.directory, 0o777)
        self.socket = f"unix:{self.directory}/broker"
        with open(f"{self.directory}/broker.yaml", "w", encoding="ascii") as file:
            file.write(PRINCIPALS)
        self.broker = Daemon(f"{BUILD}/broker/sensebus-broker", "--data", f"{self.directory}/log", "--listen", self.socket,
                             "--config", f"{self.directory}/broker.yaml", log=f"{self.directory}/broker.log")
        until(lambda: os.path.exists(f"{self.directory}/broker"), "the broker")
        os.chmod(f"{self.directory}/broker", 0o666)
        self.watch = Watch(self.socket)
        load("scsi_transport_fc", "scsi_transport_iscsi")
        self.scsi = self.new_disk(lambda: run("modprobe", "scsi_debug", "dev_size_mb=8"))
        self.loop = self.new_disk(make_loop)
        self.gigabytes, self.alua = 2, 0

    @staticmethod
    def new_disk(cause):
        before = devices()
        cause()
        return Disk(sorted(until(lambda: devices() - before, "a disk"))[0])

    def coverage(self, host):
        """{name: (state, reason)}: the name is the source, or its instance."""
        out = subprocess.run([f"{BUILD}/clients/sensebus", "agents", "--broker", self.socket, "-o", "json"],
                             stdout=subprocess.PIPE, text=True, check=True).stdout
        found = {}
        for agent in json.loads(out):
            for source in agent.get("sources", []) if agent.get("host") == host else []:
                name = source.get("instance") or source["source"].removeprefix("SOURCE_")
                found[name] = (source["state"].removeprefix("SOURCE_STATE_"), source.get("reason", ""))
        return found

    def cause(self):
        """The disk of scsi_debug grows, and LIO's is on another kind of path."""
        self.gigabytes += 2
        self.alua = 1 - self.alua
        put(f"{SCSI_DEBUG}/virtual_gb", self.gigabytes)
        put(f"{BACKSTORE}/alua/default_tg_pt_gp/alua_access_state", self.alua)
        self.scsi.ask()
        self.loop.ask()

    def stop(self):
        self.watch.stop()
        self.broker.stop()
        remove_loop()


def expect(condition, words):
    if not condition:
        raise Failed(words)


def check_coverage(machine, case):
    def fits():
        seen = machine.coverage(case.name)
        return all(name in seen and seen[name][0] == state and words in seen[name][1]
                   for name, (state, words) in case.coverage.items())
    try:
        until(fits, "its coverage", LIMIT_S)
    except Failed:
        raise Failed(f"coverage: {machine.coverage(case.name)}") from None


def check_events(machine, case):
    mark = len(machine.watch.events)
    machine.cause()

    def told(code, mode):
        return [e for _, e in machine.watch.since(mark)
                if e["code"] == code and e.get("mode") == mode and e["origin"]["host"] == case.name]
    until(lambda: told("CAPACITY_CHANGED", "MODE_INITIATOR") and told("ALUA_STATE_CHANGED", "MODE_INITIATOR"),
          "what the disks say", LIMIT_S)
    if case.answer:
        until(lambda: told("ALUA_STATE_CHANGED", "MODE_TARGET"), "what the target says", LIMIT_S)
    event = told("CAPACITY_CHANGED", "MODE_INITIATOR")[0]
    expect(place_of(event) == f"host{machine.scsi.host}:0:{machine.scsi.target}:0", f"place {place_of(event)}")
    expect(natives(event)[0] == case.trace, f"led by {natives(event)}")
    answers = told("ALUA_STATE_CHANGED", "MODE_TARGET")
    expect(len(answers) == (case.answer is not None), f"{len(answers)} answers of the target")
    for answer in answers:
        expect(case.answer in answer["native"]["detail"], answer["native"]["detail"])


def check(machine, case):
    if case.before:
        case.before()
    state = f"{machine.directory}/{case.name}"
    agent = Daemon(*case.prefix, f"{BUILD}/agent/sensebus-agent", "--broker", machine.socket, "--host", case.name, "--state",
                   state, "--source-poll", "1s", log=f"{state}.log")
    try:
        check_coverage(machine, case)
        check_events(machine, case)
        expect(agent.running(), "it ended")
    finally:
        status = agent.stop()
    expect(status == 0, f"it ended with {status}: {get(agent.log)[-400:]}")


def main():
    machine = Machine()
    failed = 0
    for case in CASES:
        if sys.argv[1:] and case.name not in sys.argv[1:]:
            continue
        try:
            check(machine, case)
            print(f"ok   {case.name}", flush=True)
        except Exception as fault:  # a fault of the test itself fails this case alone
            failed += 1
            words = str(fault) if isinstance(fault, Failed) else traceback.format_exc(limit=-2)
            print(f"FAIL {case.name}\n       {words}", flush=True)
    machine.stop()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
