# SPDX-License-Identifier: Apache-2.0
"""What a disk says, and what becomes of it: scsi_debug, and qemu's disk on virtio-scsi."""
import os

from row import Told, row
from world import Disk, SCSI_DEBUG, devices, get, put, run, unload, until

UNIT_ATTENTION = ("unit-attention", "SDEV_UA")


def attention(name, cause, code, sense, trigger, seen_by=UNIT_ATTENTION):
    """A row of a unit attention that scsi_debug makes and a command collects."""
    @row(name, cause)
    def body(world):
        disk = world.scsi_debug(ptype=0)
        yield
        trigger(disk)
        disk.ask()
        yield [Told(code, disk, sense=sense, seen_by=seen_by)]
        unload("scsi_debug")
    return body


attention("capacity", "the disk grows (2A/09)", "CAPACITY_CHANGED", "6/2a/09",
          lambda disk: put(f"{SCSI_DEBUG}/virtual_gb", 4))
attention("lun-inventory", "the target has another number of units (3F/0E)", "REPORTED_LUNS_CHANGED", "6/3f/0e",
          lambda disk: put(f"{SCSI_DEBUG}/max_luns", 2))
attention("mode-parameters", "MODE SELECT on the control page (2A/01)", "MODE_PARAMETERS_CHANGED", "6/2a/01",
          lambda disk: run("sg_wr_mode", "-p", "0xa", "-c", "0a,0a,02,00,00,00,00,00,00,00,02,4b", disk.node))
attention("reset", "a logical unit reset (29/00)", "POWER_ON_OR_RESET", "6/29/00",
          lambda disk: run("sg_reset", "-d", disk.node))
attention("microcode", "WRITE BUFFER with new microcode (3F/16)", "MICROCODE_CHANGED", "6/3f/16",
          lambda disk: run("sg_write_buffer", "-m", "5", "-l", "0", disk.node), seen_by=("unit-attention",))


def error(name, cause, code, sense, prepare, block=0, seen_by=("check-condition",)):
    """A row of a read that fails."""
    @row(name, cause)
    def body(world):
        disk = world.scsi_debug(statistics=1)
        yield
        prepare()
        disk.read(block)
        put(f"{SCSI_DEBUG}/opts", 0)
        put(f"{SCSI_DEBUG}/every_nth", 0)
        yield [Told(code, disk, sense=sense, seen_by=seen_by)]
        unload("scsi_debug")
    return body


def injected(opts):
    def prepare():
        put(f"{SCSI_DEBUG}/every_nth", 1)
        put(f"{SCSI_DEBUG}/opts", opts)
    return prepare


error("medium-error", "a block that cannot be read (3/11/00)", "DEVICE_WARNING", "3/11/00",
      lambda: put(f"{SCSI_DEBUG}/opts", 2), block=0x1234)
error("recovered", "a read that was recovered and says so (1/5D/00)", "FAILURE_PREDICTED", "1/5d/00", injected(8))
error("aborted", "a read that the transport spoils (B/10/01)", "DEVICE_WARNING", "b/10/01", injected(32))


@row("timeout", "a command that is not answered; it is aborted and sent again")
def timeout(world):
    disk = world.scsi_debug(statistics=1)
    put(f"{disk.path}/timeout", 1)
    yield
    put(f"{SCSI_DEBUG}/every_nth", 1)
    put(f"{SCSI_DEBUG}/opts", 4)
    reader = disk.start_read()
    until(lambda: get(f"{disk.path}/block/{disk.name}/inflight").split()[0] == "1", "the command on its way")
    put(f"{SCSI_DEBUG}/opts", 0)
    put(f"{SCSI_DEBUG}/every_nth", 0)
    reader.wait()
    yield [Told("DEVICE_NOT_READY", disk, seen_by=("command-timeout",))]
    unload("scsi_debug")


@row("offline", "somebody takes a device offline, and back")
def offline(world):
    disk = world.scsi_debug()
    yield
    put(f"{disk.path}/state", "offline")
    world.settle()
    put(f"{disk.path}/state", "running")
    yield [Told("DEVICE_OFFLINE", disk, seen_by=("state",)), Told("DEVICE_ONLINE", disk, seen_by=("state",))]
    unload("scsi_debug")


@row("host-added", "an adapter comes, with a disk")
def host_added(world):
    world.scsi_debug()
    yield
    disk = world.new_disk(lambda: put(f"{SCSI_DEBUG}/add_host", 1))
    yield [Told("ADAPTER_ADDED", f"host{disk.host}", seen_by=("uevent",)),
           Told("TARGET_ONLINE", f"host{disk.host}:0:0", seen_by=("uevent",)),
           Told("DEVICE_ADDED", disk, seen_by=("uevent",)),
           Told("POWER_ON", disk, sense="6/29/01", seen_by=("unit-attention", "SDEV_UA"))]
    unload("scsi_debug")


@row("host-removed", "an adapter goes, with its disk")
def host_removed(world):
    world.scsi_debug()
    disk = world.new_disk(lambda: put(f"{SCSI_DEBUG}/add_host", 1))
    yield
    put(f"{SCSI_DEBUG}/add_host", -1)
    yield [Told("DEVICE_REMOVED", disk, seen_by=("uevent",)),
           Told("TARGET_REMOVED", f"host{disk.host}:0:0", seen_by=("uevent",)),
           Told("ADAPTER_REMOVED", f"host{disk.host}", seen_by=("uevent",))]
    unload("scsi_debug")


@row("device-removed", "somebody deletes a device")
def device_removed(world):
    disk = world.scsi_debug()
    yield
    put(f"{disk.path}/delete", 1)
    yield [Told("DEVICE_REMOVED", disk, seen_by=("uevent",)),
           Told("TARGET_REMOVED", f"host{disk.host}:0:0", seen_by=("uevent",))]
    unload("scsi_debug")


@row("device-found", "a scan finds a device again")
def device_found(world):
    disk = world.scsi_debug()
    put(f"{disk.path}/delete", 1)
    yield
    put(f"/sys/class/scsi_host/host{disk.host}/scan", "- - -")
    yield [Told("TARGET_ONLINE", f"host{disk.host}:0:0", seen_by=("uevent",)),
           Told("DEVICE_ADDED", disk, seen_by=("uevent",)), Told("POWER_ON", disk, sense="6/29/01")]
    unload("scsi_debug")


def virtio_disk():
    """qemu's disk that is there from the beginning."""
    name = until(lambda: [n for n in devices()
                          if "virtio" in os.path.realpath(f"/sys/class/scsi_device/{n}")], "the virtio disk")[0]
    return Disk(name)


@row("virtio-resize", "the hypervisor resizes a disk")
def virtio_resize(world):
    disk, qmp = virtio_disk(), world.qmp()
    yield
    qmp.command("block_resize", device="disk0", size=96 << 20)
    yield [Told("CAPACITY_CHANGED", disk, seen_by=("SDEV_UA", "RESIZE"))]


@row("virtio-plug", "the hypervisor plugs a disk in")
def virtio_plug(world):
    qmp, first = world.qmp(), virtio_disk()
    qmp.command("blockdev-add", driver="null-co", **{"node-name": "disk1", "size": 8 << 20, "read-zeroes": True})
    yield
    disk = world.new_disk(lambda: qmp.command("device_add", driver="scsi-hd", id="hd1", drive="disk1", bus="scsi0.0",
                                              **{"scsi-id": 1, "lun": 0}))
    yield [Told("TARGET_ONLINE", f"host{first.host}:0:1", seen_by=("uevent",)),
           Told("DEVICE_ADDED", disk, seen_by=("uevent",)),
           Told("POWER_ON_OR_RESET", disk, seen_by=UNIT_ATTENTION),
           Told("REPORTED_LUNS_CHANGED", disk, seen_by=UNIT_ATTENTION)]


@row("virtio-unplug", "the hypervisor pulls a disk out")
def virtio_unplug(world):
    qmp, first = world.qmp(), virtio_disk()
    disk = Disk(f"{first.host}:0:1:0")
    yield
    qmp.command("device_del", id="hd1")
    yield [Told("DEVICE_REMOVED", disk, seen_by=("uevent",)),
           Told("TARGET_REMOVED", f"host{first.host}:0:1", seen_by=("uevent",))]
    qmp.command("blockdev-del", **{"node-name": "disk1"})
