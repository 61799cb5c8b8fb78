# SPDX-License-Identifier: Apache-2.0
"""In the guest: sessions of the Adapter face on disks of the kernel itself: what the kernel says reaches who registered, with
the correlator; a reset that is asked for is done by the kernel; disks and adapters that go end their sessions.

    sh tests/guest/run.sh --command '/usr/bin/python3 tests/guest/kernel_sessions.py [TEST…]'
"""
import os
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from world import SCSI_DEBUG, Disk, Failed, World, devices, get, put, run, unload, until  # noqa: E402

import adapter_stream  # noqa: E402
from adapter_stream import A, AdapterStream, check, check_equal, check_result, code_pb2, grpc  # noqa: E402

adapter_stream.REPLY_LIMIT_S = 60  # an emulated machine


class Broker:
    """The world's, as AdapterStream wants one."""

    def __init__(self, address):
        self.address = address

    def channel(self):
        return grpc.insecure_channel(self.address)


class Disks:
    """The disks of an adapter of scsi_debug, and a stream."""

    def __init__(self, world, n=2):
        self.world, self.n = world, n

    def __enter__(self):
        self.world.settle()
        before = devices()
        run("modprobe", "scsi_debug", "dev_size_mb=8", f"max_luns={self.n}", "ptype=0")
        until(lambda: len(devices() - before) == self.n, f"{self.n} disks")
        self.disks = [Disk(hctl) for hctl in sorted(devices() - before)]
        for disk in self.disks:
            disk.ask()
        self.world.settle()
        self.stream = AdapterStream(Broker(self.world.address))
        return self

    def __exit__(self, *_):
        self.stream.cancel()
        unload("scsi_debug")

    def start(self, disk):
        return check_result(self.stream.ask(start=A.Start(address=A.DeviceAddress(
            host="guest", adapter=f"host{disk.host}", bus=disk.channel, target=disk.target, lun=disk.lun)))).start

    def register(self, disk, correlator):
        session = self.start(disk)
        check_result(self.stream.register(session, correlator=correlator))
        return session

    def events(self, session):
        return [(code_pb2.Code.Name(e.record.code), e.correlator) for e in self.stream.events
                if e.session_id == session.session_id]

    def wait(self, session, code, correlator):
        self.stream.wait(lambda: (code, correlator) in self.events(session), f"{code} of {session.session_id}")

    def reason(self, session):
        ends = [e.record.native.name for e in self.stream.events if e.session_id == session.session_id
                and e.record.code == code_pb2.REGISTRATION_CANCELLED]
        return ends[0] if ends else None


def test_a_unit_attention_reaches_the_session_of_its_disk(world):
    with Disks(world) as here:
        session = here.register(here.disks[0], b"\x7f\x21")
        other = here.register(here.disks[1], b"other")
        run("sg_wr_mode", "-p", "0xa", "-c", "0a,0a,02,00,00,00,00,00,00,00,02,4b", here.disks[0].node)
        here.disks[0].ask()
        here.wait(session, "MODE_PARAMETERS_CHANGED", b"\x7f\x21")
        check_equal([code for code, _ in here.events(other)], [], "the other disk")


def test_what_sysfs_says_is_what_the_session_answers(world):
    with Disks(world, 1) as here:
        disk = here.disks[0]
        session = here.start(disk)
        check("scsi_debug" in session.reached.product or session.reached.vendor == "Linux", str(session.reached))
        check(disk.name in session.reached.kernel_names, str(session.reached.kernel_names))
        info = check_result(here.stream.ask(ioc_info=A.IocInfo(host="guest", adapter=f"host{disk.host}"))).ioc_info
        check_equal((info.maximum_transfer_bytes, info.minor, list(info.capabilities)),
                    (1024 * int(get(f"/sys/block/{disk.name}/queue/max_hw_sectors_kb")), disk.host,
                     ["event", "reset-lun", "reset-target"]), "IOCINFO")
        for page, words in ((None, []), (0, ["-p", "0"]), (0x80, ["-p", "0x80"]), (0x83, ["-p", "0x83"]),
                            (0xb0, ["-p", "0xb0"])):
            said = check_result(here.stream.inquiry(session, **({} if page is None else {"page": page}))).command.data
            tool = ["sg_inq"] if page is None else ["sg_vpd", *words]
            dumped = run(*tool, "-H", "-H", disk.node)
            asked = bytes(int(word, 16) for line in dumped.splitlines() for word in line.split()
                          if len(word) == 2 and set(word) <= set("0123456789abcdef"))
            check(said and (not asked or asked[:len(said)] == said[:len(asked)]), f"page {page}: {said.hex()} {dumped}")
        check_result(here.stream.inquiry(session, page=0xc0), "ENXIO", "NOT_SUPPORTED", "VPD page C0h")
        check_result(here.stream.halt(session), "ENXIO", "NOT_SUPPORTED")
        check_result(here.stream.test_unit_ready(session), "ENXIO", "NOT_SUPPORTED", "running")


def test_a_reset_of_a_unit_is_done_and_told_before_the_reply(world):
    with Disks(world) as here:
        mine, other = here.register(here.disks[0], b"mine"), here.register(here.disks[1], b"other")
        check_result(here.stream.reset(mine))
        check(("LUN_RESET", b"mine") in here.events(mine), f"before the reply: {here.events(mine)}")
        record = here.stream.wait_code("LUN_RESET").record
        check_equal((record.origin_session, record.native.name, record.address.lun),
                    (mine.session_id, "SG_SCSI_RESET", here.disks[0].lun), "who asked, and how")
        here.disks[0].ask()
        here.wait(mine, "POWER_ON_OR_RESET", b"mine")  # the unit attention that follows
        check_equal(here.events(other), [], "the other unit")


def test_a_reset_of_a_target_reaches_all_its_units(world):
    with Disks(world) as here:
        sessions = [here.register(disk, b"unit %d" % disk.lun) for disk in here.disks]
        check_result(here.stream.reset(sessions[0], lun_reset=False))
        for disk, session in zip(here.disks, sessions):
            here.wait(session, "TARGET_RESET", b"unit %d" % disk.lun)


def test_a_disk_that_is_deleted_ends_its_session(world):
    with Disks(world) as here:
        session, other = here.register(here.disks[0], b"mine"), here.register(here.disks[1], b"other")
        put(f"{here.disks[0].path}/delete", 1)
        here.stream.wait(lambda: here.reason(session), "the end")
        check_equal(here.reason(session), "DEVICE_REMOVED", "reason")
        check_equal(here.events(session)[-2:], [("DEVICE_REMOVED", b"mine"), ("REGISTRATION_CANCELLED", b"mine")], "told")
        check_result(here.stream.inquiry(other))


def test_an_adapter_that_goes_ends_all_its_sessions(world):
    with Disks(world) as here:
        sessions = [here.register(disk, b"unit %d" % disk.lun) for disk in here.disks]
        put(f"{SCSI_DEBUG}/add_host", -1)
        for disk, session in zip(here.disks, sessions):
            here.stream.wait(lambda s=session: here.reason(s), "the end")
            check(here.reason(session) in ("DEVICE_REMOVED", "TARGET_REMOVED", "ADAPTER_REMOVED"), here.reason(session))
            check({correlator for _, correlator in here.events(session)} == {b"unit %d" % disk.lun}, "correlator")


def main():
    os.environ["GUEST_AGENT_OPTIONS"] = "--allow reset " + os.environ.get("GUEST_AGENT_OPTIONS", "")
    tests = [(name, body) for name, body in list(globals().items()) if name.startswith("test_")]
    failed = 0
    world = World()
    try:
        for name, body in tests:
            if sys.argv[1:] and name not in sys.argv[1:]:
                continue
            begin = time.monotonic()
            try:
                body(world)
                fault = None
            except (Failed, AssertionError) as reason:
                fault = str(reason) or traceback.format_exc(limit=-3)
            except Exception:
                fault = traceback.format_exc(limit=-3)
            failed += fault is not None
            print(f"{'FAIL' if fault else 'ok  '} {name} ({time.monotonic() - begin:.0f} s)", flush=True)
            if fault:
                print(f"       {fault}", flush=True)
    finally:
        status = world.stop()
    failed += any(status.values())
    print(f"daemons ended with {status}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
