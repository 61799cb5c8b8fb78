# SPDX-License-Identifier: Apache-2.0
"""The kernel's own target (LIO), made and taken away through configfs, and the kernel's iSCSI initiator."""
import os
import shutil
import socket
from contextlib import contextmanager

from row import Told
from world import Daemon, Failed, put, run, until

CONFIG = "/sys/kernel/config/target"
BACKSTORE = f"{CONFIG}/core/fileio_0/d0"
LOOP_NAME = "naa.6001405000000001"
LOOP_INITIATOR = "naa.6001405000000002"
LOOP = f"{CONFIG}/loopback/{LOOP_NAME}"
LIO_NAME = "iqn.2026-01.org.sensebus:lio"
LIO_PORTAL = "127.0.0.1:3260"
LIO_TPG = f"{CONFIG}/iscsi/{LIO_NAME}/tpgt_1"
INITIATOR = "iqn.2026-01.org.sensebus:guest"


def load(*modules):
    for module in modules:
        run("modprobe", module)


def make_backstore(size=32 << 20):
    load("target_core_mod", "target_core_file")
    make_device(BACKSTORE, f"fd_dev_name=/tmp/lio.d0,fd_dev_size={size}")


def make_device(backstore, control):
    os.makedirs(backstore)
    put(f"{backstore}/control", control)
    put(f"{backstore}/enable", 1)


def remove_backstore():
    remove_device(BACKSTORE)
    os.unlink("/tmp/lio.d0")


def remove_device(backstore):
    os.rmdir(backstore)
    os.rmdir(os.path.dirname(backstore))


def make_loop():
    """A disk of LIO's on this machine itself (tcm_loop)."""
    make_backstore()
    serve_loop(BACKSTORE)


def serve_loop(backstore):
    load("tcm_loop")
    os.makedirs(f"{LOOP}/tpgt_1/lun/lun_0")
    put(f"{LOOP}/tpgt_1/nexus", LOOP_INITIATOR)
    os.symlink(backstore, f"{LOOP}/tpgt_1/lun/lun_0/d0")


def remove_loop():
    end_loop()
    remove_backstore()


def end_loop():
    os.unlink(f"{LOOP}/tpgt_1/lun/lun_0/d0")
    os.rmdir(f"{LOOP}/tpgt_1/lun/lun_0")
    os.rmdir(f"{LOOP}/tpgt_1")
    os.rmdir(LOOP)
    os.rmdir(os.path.dirname(LOOP))


def change_alua():
    """Its port group becomes active/non-optimized: each initiator is told, with its next command."""
    put(f"{BACKSTORE}/alua/default_tg_pt_gp/alua_access_state", 1)


def told_by_lio(code, sense, target, initiator):
    """What LIO answers an initiator with, as its own host tells it. A target of iSCSI is an adapter of target mode."""
    return Told(code, sense=sense, seen_by=("target_cmd_complete",), mode="MODE_TARGET", target=target,
                adapter="lio" if target == LIO_NAME else None,
                says=(f"told {initiator} on LUN 0 of {target}, tpgt_1, backstore fileio_0/d0",))


def make_iscsi():
    make_backstore()
    load("iscsi_target_mod")
    os.makedirs(f"{LIO_TPG}/lun/lun_0")
    os.mkdir(f"{LIO_TPG}/np/{LIO_PORTAL}")
    os.symlink(BACKSTORE, f"{LIO_TPG}/lun/lun_0/d0")
    for name, value in (("authentication", 0), ("generate_node_acls", 1), ("demo_mode_write_protect", 0)):
        put(f"{LIO_TPG}/attrib/{name}", value)
    put(f"{LIO_TPG}/enable", 1)


def remove_iscsi():
    put(f"{LIO_TPG}/enable", 0)
    os.unlink(f"{LIO_TPG}/lun/lun_0/d0")
    os.rmdir(f"{LIO_TPG}/lun/lun_0")
    os.rmdir(f"{LIO_TPG}/np/{LIO_PORTAL}")
    os.rmdir(LIO_TPG)
    os.rmdir(os.path.dirname(LIO_TPG))
    os.rmdir(os.path.dirname(os.path.dirname(LIO_TPG)))
    remove_backstore()


class Initiator:
    """iscsid and iscsiadm, with their files in memory. No other settings than the package's, but quicker ones."""

    SETTINGS = {"node.startup": "manual", "node.session.timeo.replacement_timeout": 120,
                "node.conn[0].timeo.noop_out_interval": 3600, "node.conn[0].timeo.login_timeout": 15,
                "node.conn[0].timeo.logout_timeout": 15, "node.session.initial_login_retry_max": 1}

    def __init__(self, log, settings=None):
        for directory in ("/etc/iscsi/nodes", "/etc/iscsi/send_targets"):
            shutil.rmtree(directory, ignore_errors=True)
        os.makedirs("/etc/iscsi", exist_ok=True)
        os.makedirs("/run/lock/iscsi", exist_ok=True)
        with open("/etc/iscsi/iscsid.conf", "w", encoding="ascii") as file:
            file.writelines(f"{name} = {value}\n" for name, value in
                            dict(self.SETTINGS, **(settings or {})).items())
        with open("/etc/iscsi/initiatorname.iscsi", "w", encoding="ascii") as file:
            file.write(f"InitiatorName={INITIATOR}\n")
        run("modprobe", "iscsi_tcp")
        self.daemon = Daemon("iscsid", "-f", "-d", "1", log=log)
        until(lambda: "can not connect" not in run("iscsiadm", "-m", "session", check=False), "iscsid")

    def login(self, name, portal):
        run("iscsiadm", "-m", "node", "-o", "new", "-T", name, "-p", portal)
        run("iscsiadm", "-m", "node", "-T", name, "-p", portal, "-l")

    def logout(self, name, portal):
        run("iscsiadm", "-m", "node", "-T", name, "-p", portal, "-u")

    def stop(self):
        run("iscsiadm", "-m", "node", "-u", check=False)
        until(lambda: not os.listdir("/sys/class/iscsi_session"), "the end of all sessions")
        self.daemon.stop()


@contextmanager
def initiator(world):
    iscsi = Initiator(f"{world.directory}/iscsid.log")
    try:
        yield iscsi
    finally:
        iscsi.stop()


def session_state():
    """Of the one session: "LOGGED_IN" or what else the kernel says; None when there is none."""
    root = "/sys/class/iscsi_session"
    names = os.listdir(root) if os.path.isdir(root) else []
    if not names:
        return None
    try:
        with open(f"{root}/{names[0]}/state", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class OwnTarget:
    """sensebus-target, which does what a verb says."""

    NAME = "iqn.2026-01.org.sensebus:target"

    def __init__(self, world, units=1, options=()):
        self.program = f"{os.environ['SENSEBUS_BUILD']}/tests/target/sensebus-target"
        self.control = f"{world.directory}/target"
        self.portal = f"127.0.0.1:{free_port()}"
        self.daemon = Daemon(self.program, "--listen", self.portal, "--units", str(units), "--control", self.control,
                             *options, log=f"{world.directory}/target.log")
        until(lambda: os.path.exists(self.control), "sensebus-target")

    def tell(self, *verb):
        return run(self.program, *verb, "--control", self.control)

    def stop(self):
        if self.daemon.stop():
            with open(self.daemon.log, encoding="utf-8", errors="replace") as file:
                raise Failed(f"sensebus-target: {file.read()[-400:]}")
