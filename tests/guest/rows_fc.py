# SPDX-License-Identifier: Apache-2.0
"""Fibre Channel without hardware: two ends of a virtual Ethernet cable that speak FCoE to each other (VN2VN), one of
them a target of LIO's."""
import glob
import os

from lio import BACKSTORE, CONFIG, load, make_backstore, remove_backstore
from row import MayBeTold, Told, row
from world import Failed, get, put, run, until

ENDS = ("ve0", "ve1")


class Fabric:
    """host0 is the initiator's end, host1 the target's; `disk` is LIO's over the cable."""

    def __init__(self, world):
        load("fcoe", "tcm_fc")
        run("ip", "link", "add", ENDS[0], "mtu", "2500", "type", "veth", "peer", "name", ENDS[1], "mtu", "2500")
        before = set(os.listdir("/sys/class/fc_host"))
        for end in ENDS:
            run("ip", "link", "set", end, "up")
            put("/sys/bus/fcoe/ctlr_create", end)
        self.hosts = sorted(set(os.listdir("/sys/class/fc_host")) - before, key=lambda name: int(name[4:]))
        if len(self.hosts) != 2:
            raise Failed(f"two FC adapters were to come, and there are {self.hosts}")
        names = [get(f"/sys/class/fc_host/{host}/port_name")[2:] for host in self.hosts]
        wwpn = [":".join(name[i:i + 2] for i in range(0, 16, 2)) for name in names]
        make_backstore()
        self.tpg = f"{CONFIG}/fc/{wwpn[1]}/tpgt_1"
        self.acl = f"{self.tpg}/acls/{wwpn[0]}"
        os.makedirs(f"{self.tpg}/lun/lun_0")
        os.symlink(BACKSTORE, f"{self.tpg}/lun/lun_0/d0")
        os.makedirs(f"{self.acl}/lun_0")
        os.symlink(f"{self.tpg}/lun/lun_0", f"{self.acl}/lun_0/d0")
        self.disk = world.new_disk(self.enable)
        # Each end's remote port: the target behind it where it is one.
        self.remote_places = (f"{self.hosts[0]}:0:{self.disk.target}", f"{self.hosts[1]}:0")

    def controllers(self):
        return sorted(glob.glob("/sys/bus/fcoe/devices/ctlr_*"))

    def enable(self):
        for controller in self.controllers():
            put(f"{controller}/mode", "vn2vn")
            put(f"{controller}/enabled", 1)

    def port(self, host, name):
        return f"/sys/class/fc_host/{self.hosts[host]}/{name}"

    def remote_port(self):
        found = [path for path in glob.glob("/sys/class/fc_remote_ports/rport-*")
                 if f"/{self.hosts[0]}/" in os.path.realpath(path) and get(f"{path}/port_state") == "Online"]
        if not found:
            raise Failed("no remote port is online")
        return found[0]

    def stop(self):
        for controller in self.controllers():
            put(f"{controller}/enabled", 0)
        for end in ENDS:
            put("/sys/bus/fcoe/ctlr_destroy", end)
        until(lambda: not self.controllers(), "the end of the FC adapters")
        os.unlink(f"{self.acl}/lun_0/d0")
        os.rmdir(f"{self.acl}/lun_0")
        os.rmdir(self.acl)
        os.unlink(f"{self.tpg}/lun/lun_0/d0")
        os.rmdir(f"{self.tpg}/lun/lun_0")
        os.rmdir(self.tpg)
        os.rmdir(os.path.dirname(self.tpg))
        os.rmdir(os.path.dirname(os.path.dirname(self.tpg)))
        remove_backstore()
        run("ip", "link", "del", ENDS[0])


@row("fc-lip", "somebody makes a port reset its loop")
def fc_lip(world):
    fabric = Fabric(world)
    try:
        yield
        put(fabric.port(0, "issue_lip"), 1)
        yield [Told("LOOP_RESET", fabric.hosts[0], seen_by=("FCH_EVT_LIPRESET",)),
               MayBeTold("PORT_OFFLINE", fabric.hosts[0]), MayBeTold("PORT_ONLINE", fabric.hosts[0])] + [
                   MayBeTold(code, place) for place in fabric.remote_places for code in ("TARGET_OFFLINE", "TARGET_ONLINE")]
    finally:
        fabric.stop()


@row("fc-loss", "the cable is pulled: first the target is away, then it is gone")
def fc_loss(world):
    fabric = Fabric(world)
    try:
        disk = fabric.disk
        put(f"{fabric.remote_port()}/fast_io_fail_tmo", 2)
        put(f"{fabric.remote_port()}/dev_loss_tmo", 6)
        yield
        run("ip", "link", "set", ENDS[1], "down")
        until(lambda: not os.path.exists(disk.path), "the loss of the disk", 60)
        yield [Told(code, host, seen_by=(name,)) for host in fabric.hosts
               for code, name in (("LOOP_RESET", "FCH_EVT_LIPRESET"), ("LINK_DOWN", "state"))] + [
                   Told("TARGET_OFFLINE", place, seen_by=("state",)) for place in fabric.remote_places] + [
                       Told("DEVICE_OFFLINE", disk, seen_by=("state",)),
                       Told("DEVICE_REMOVED", disk, seen_by=("uevent",)),
                       Told("TARGET_REMOVED", f"host{disk.host}:0:{disk.target}", seen_by=("uevent",))]
    finally:
        fabric.stop()
