# SPDX-License-Identifier: Apache-2.0
"""In the guest: Linux's own iSCSI initiator works with sensebus-target. No broker and no agent.

    initiator.py [TEST…]
"""
import os
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lio import Initiator, OwnTarget, session_state  # noqa: E402
from world import Disk, Failed, devices, get, put, run, until  # noqa: E402

BLOCKS = 131072  # what sensebus-target gives a unit


class Place:
    """What OwnTarget and Initiator want of a world: a directory."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="guest.")


def check(condition, text):
    if not condition:
        raise Failed(text)


class Session:
    """The kernel's disks of one sensebus-target, by logical unit number."""

    def __init__(self, units=1, settings=None, options=()):
        place = Place()
        before = devices()
        self.target = OwnTarget(place, units=units, options=options)
        self.initiator = Initiator(f"{place.directory}/iscsid.log", settings=settings)
        try:
            self.initiator.login(OwnTarget.NAME, self.target.portal)
            until(lambda: len(devices() - before) >= units, f"{units} units")
            self.disks = {disk.lun: disk for disk in map(Disk, devices() - before)}
        except Failed:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.initiator.stop()
        self.target.stop()


def transfer(disk, pattern, offset=0):
    """Write, forget what the kernel has, and read again."""
    with open(disk.node, "r+b", buffering=0) as file:
        os.pwrite(file.fileno(), pattern, offset)
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        check(os.pread(file.fileno(), len(pattern), offset) == pattern, f"{disk.node} gives back something else")


def test_data_of_many_units():
    with Session(units=8) as session:
        check(sorted(session.disks) == list(range(8)), f"units {sorted(session.disks)}")
        for lun, disk in session.disks.items():
            check(get(f"/sys/block/{disk.name}/size") == str(BLOCKS), f"size of {disk.name}")
            transfer(disk, bytes([lun + 1]) * (1 << 20), lun << 20)
        for lun, disk in session.disks.items():
            with open(disk.node, "rb") as file:
                file.seek(lun << 20)
                check(set(file.read(1 << 20)) == {lun + 1}, f"unit {lun} has another unit's data")


def test_a_file_system():
    with Session() as session:
        disk = session.disks[0]
        run("modprobe", "ext4")
        run("mkfs.ext4", "-q", disk.node)
        os.makedirs("/mnt", exist_ok=True)
        content = os.urandom(3 << 20)
        run("mount", disk.node, "/mnt")
        with open("/mnt/file", "wb") as file:
            file.write(content)
        run("umount", "/mnt")
        run("mount", disk.node, "/mnt")
        with open("/mnt/file", "rb") as file:
            same = file.read() == content
        run("umount", "/mnt")
        check(same, "the file is another")
        run("fsck.ext4", "-f", "-n", disk.node)


def test_digests_of_header_and_data():
    digests = {f"node.conn[0].iscsi.{kind}Digest": "CRC32C" for kind in ("Header", "Data")}
    with Session(settings=digests) as session:
        shown = run("iscsiadm", "-m", "session", "-P", "2")
        check(shown.count("Digest: CRC32C") == 2, f"negotiated: {shown}")
        transfer(session.disks[0], os.urandom(1 << 20))


def test_both_directions_of_chap():
    with tempfile.NamedTemporaryFile("w", prefix="chap.") as file:
        file.write("* alice secret-of-alice target secret-of-target\n")
        file.flush()
        os.chmod(file.name, 0o600)
        chap = {"node.session.auth.authmethod": "CHAP", "node.session.auth.username": "alice",
                "node.session.auth.password": "secret-of-alice", "node.session.auth.username_in": "target",
                "node.session.auth.password_in": "secret-of-target"}
        with Session(settings=chap, options=("--chap", file.name)) as session:
            transfer(session.disks[0], os.urandom(1 << 16))
        try:
            with Session(settings=dict(chap, **{"node.session.auth.password": "another-secret"}),
                         options=("--chap", file.name)):
                raise AssertionError("a wrong secret was accepted")
        except Failed as refused:
            check("authorization failure" in str(refused), f"refused as: {refused}")


def test_sizes_and_units_that_change():
    with Session() as session:
        disk = session.disks[0]
        session.target.tell("resize", 0, 2 * BLOCKS)
        disk.ask()
        put(f"{disk.path}/rescan", 1)
        until(lambda: get(f"/sys/block/{disk.name}/size") == str(2 * BLOCKS), "the new size")
        before = devices()
        session.target.tell("add", 5, 4096)
        run("iscsiadm", "-m", "session", "--rescan")
        new = Disk(until(lambda: devices() - before, "the new unit").pop())
        check(new.lun == 5 and get(f"/sys/block/{new.name}/size") == "4096", f"{new.hctl} is new")
        transfer(new, os.urandom(1 << 16))


def test_a_connection_that_is_lost_under_load():
    with Session() as session:
        disk = session.disks[0]
        content = os.urandom(8 << 20)
        with open("/tmp/content", "wb") as file:
            file.write(content)
        with disk.start_write("/tmp/content") as writer:
            session.target.tell("drop", "rst")
            check(writer.wait() == 0, "the write failed")
        until(lambda: session_state() == "LOGGED_IN", "the session", 60)
        with open(disk.node, "rb") as file:
            check(file.read(len(content)) == content, "the disk has something else")


def test_blocks_that_are_discarded_and_a_threshold_that_is_reached():
    with Session() as session:
        disk = session.disks[0]
        check(int(get(f"/sys/block/{disk.name}/queue/discard_max_bytes")) > 0, "the kernel sees no UNMAP")
        transfer(disk, b"\x5a" * (1 << 20))
        run("blkdiscard", "-o", "4096", "-l", "65536", disk.node)
        with open(disk.node, "rb") as file:
            check(file.read(4096 + 65536 + 1) == b"\x5a" * 4096 + bytes(65536) + b"\x5a",
                  "what was discarded is not zero")
        session.target.tell("thin", 0, 3072)
        session.target.tell("expect", "pending", 0)
        transfer(disk, b"\xa5" * (1 << 20), 2 << 20)
        disk.ask()
        check("thin provisioning soft threshold" in run("dmesg"), "the kernel did not hear of the threshold")


def test_reservations():
    with Session() as session:
        node = session.disks[0].node
        run("sg_persist", "--out", "--register", "--param-sark=0x1", node)
        run("sg_persist", "--out", "--reserve", "--param-rk=0x1", "--prout-type=3", node)
        check("Exclusive Access" in run("sg_persist", "-r", node), "no reservation")
        session.target.tell("preempt", 0)
        session.disks[0].ask()
        check("0x1\n" not in run("sg_persist", "-k", node), "the registration is still there")


def test_tools_read_what_it_says_of_itself():
    with Session() as session:
        node = session.disks[0].node
        for tool in (("sg_inq",), ("sg_vpd", "-p", "0x83"), ("sg_vpd", "-p", "bl"), ("sg_vpd", "-p", "lbpv"),
                     ("sg_luns",), ("sg_readcap", "--16"), ("sg_rtpg",), ("sg_modes", "-p", "0xa"), ("sg_logs", "-p", "0x2f"),
                     ("sg_requests",), ("sg_sync",)):
            run(*tool, node)


def main():
    tests = [(name, body) for name, body in list(globals().items()) if name.startswith("test_")]
    failed = 0
    for name, body in tests:
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        begin = time.monotonic()
        try:
            body()
            fault = None
        except Failed as reason:
            fault = str(reason)
        except Exception:
            fault = traceback.format_exc(limit=-3)
        failed += fault is not None
        print(f"{'FAIL' if fault else 'ok  '} {name} ({time.monotonic() - begin:.0f} s)", flush=True)
        if fault:
            print(f"       {fault}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
