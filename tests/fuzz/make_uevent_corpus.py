#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of the uevent corpus: make_uevent_corpus.py. The keys and their order are those of Linux 6.1."""
import os

HERE = os.path.dirname(os.path.abspath(__file__))
DISK = "/devices/pseudo_0/adapter0/host0/target0:0:0/0:0:0:0"
FC = "/devices/pci0000:00/0000:00:03.0/host5/vport-5:0-0/host6/rport-6:0-2"
SESSION = "/devices/platform/host3/session1"


def write(name, action, devpath, *keys, last="SEQNUM=638", end=b"\0"):
    text = "\0".join([f"{action}@{devpath}", f"ACTION={action}", f"DEVPATH={devpath}", *keys, last])
    directory = os.path.join(HERE, "corpus", "uevent")
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, name), "wb") as f:
        f.write(text.encode() + end)


def main():
    for n, value in enumerate(("INQUIRY_DATA_HAS_CHANGED", "CAPACITY_DATA_HAS_CHANGED",
                               "THIN_PROVISIONING_SOFT_THRESHOLD_REACHED", "MODE_PARAMETERS_CHANGED",
                               "REPORTED_LUNS_DATA_HAS_CHANGED", "ASYMMETRIC_ACCESS_STATE_CHANGED",
                               "POWER_ON_RESET_OCCURRED", "OF_A_LATER_KERNEL")):
        write(f"ua_{n}", "change", DISK, "SUBSYSTEM=scsi", f"SDEV_UA={value}", "DEVTYPE=scsi_device", "DRIVER=sd",
              "MODALIAS=scsi:t-0x00")
    write("media", "change", DISK, "SUBSYSTEM=scsi", "SDEV_MEDIA_CHANGE=1", "DEVTYPE=scsi_device")
    write("resize", "change", DISK + "/block/sda", "SUBSYSTEM=block", "RESIZE=1", "MAJOR=8", "MINOR=0", "DEVNAME=sda",
          "DEVTYPE=disk", "DISKSEQ=9")
    write("disk_media", "change", DISK + "/block/sr0", "SUBSYSTEM=block", "DISK_MEDIA_CHANGE=1", "DEVTYPE=disk")
    write("eject", "change", DISK + "/block/sr0", "SUBSYSTEM=block", "DISK_EJECT_REQUEST=1", "DEVTYPE=disk")
    write("loop", "change", "/devices/virtual/block/loop0", "SUBSYSTEM=block", "RESIZE=1", "DEVTYPE=disk")
    for action in ("add", "remove"):
        write(action + "_host", action, "/devices/pseudo_0/adapter0/host0/scsi_host/host0", "SUBSYSTEM=scsi_host")
        write(action + "_device", action, DISK + "/scsi_device/0:0:0:0", "SUBSYSTEM=scsi_device")
        write(action + "_target", action, FC + "/target6:0:1", "SUBSYSTEM=scsi", "DEVTYPE=scsi_target")
        write(action + "_rport", action, FC + "/fc_remote_ports/rport-6:0-2", "SUBSYSTEM=fc_remote_ports")
        write(action + "_session", action, SESSION + "/iscsi_session/session1", "SUBSYSTEM=iscsi_session")
    write("replayed", "add", DISK + "/scsi_device/0:0:0:0", "SUBSYSTEM=scsi_device", "SYNTH_UUID=0")
    write("large_lun", "add", "/devices/host1/target1:0:0/1:0:0:18446744073709551615", "SUBSYSTEM=scsi_device")
    write("bad_seqnum", "add", DISK, "SUBSYSTEM=scsi", last="SEQNUM=99999999999999999999")
    write("no_end", "add", DISK, "SUBSYSTEM=scsi", end=b"")
    write("no_value", "add", DISK, "SUBSYSTEM", "=scsi")
    with open(os.path.join(HERE, "corpus", "uevent", "libudev"), "wb") as f:
        f.write(b"libudev\0\xfe\xed\xca\xfe" + 28 * b"\0" + b"ACTION=add\0")


if __name__ == "__main__":
    main()
