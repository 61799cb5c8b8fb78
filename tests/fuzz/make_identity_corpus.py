#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of the identity corpus: make_identity_corpus.py. The texts are as Linux 6.1 shows them in sysfs."""
import os

HERE = os.path.dirname(os.path.abspath(__file__))
FILES = ("proc_name vendor model rev type wwid block generic other map_name map_uuid iscsi_target iscsi_port "
         "iscsi_address iscsi_tpgt port_name inquiry vpd_pg80 vpd_pg83 path lun").split()
INQUIRY = bytes([0, 0, 6, 2, 31, 0, 0, 2]) + b"LIO-ORG d0              4.0 " + bytes(28)
SERIAL = bytes([0, 0x80, 0, 4]) + b"SN42"
NAA = bytes([0, 0x83, 0, 20, 1, 3, 0, 16]) + bytes.fromhex("6001405abcdef0123456789abcdef012")
T10 = bytes([0, 0x83, 0, 12, 2, 1, 0, 8]) + b"LIO-ORG "


def write(name, **files):
    out = b""
    for key, value in files.items():
        value = value if isinstance(value, bytes) else value.encode()
        length = (len(value) + 7) // 8 if key in ("inquiry", "vpd_pg80", "vpd_pg83") else len(value)
        if key in ("inquiry", "vpd_pg80", "vpd_pg83"):
            value += bytes(8 * length - len(value))
        out += bytes([length, FILES.index(key)]) + value
    directory = os.path.join(HERE, "corpus", "identity")
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, name), "wb") as f:
        f.write(out)


def main():
    write("iscsi", proc_name="iscsi_tcp\n", inquiry=INQUIRY, vpd_pg80=SERIAL, vpd_pg83=NAA, block="sdc", generic="sg3",
          map_name="mpathb\n", map_uuid="mpath-36001405abc\n", iscsi_target="iqn.2026-01.example:t1\n",
          iscsi_address="192.0.2.7\n", iscsi_port="3260\n", iscsi_tpgt="1\n",
          path="/devices/platform/host3/session1/target3:0:0/3:0:0:4")
    write("iscsi_v6", iscsi_target="iqn.2026-01.example:t1\n", iscsi_address="2001:db8::7\n", iscsi_port="3260\n")
    write("fc", proc_name="lpfc\n", port_name="0x50014380186b46aa\n", vpd_pg83=T10,
          path="/devices/pci0000:00/0000:00:05.0/host5/rport-5:0-2/target5:0:0/5:0:0:0")
    write("old_kernel", vendor="LIO-ORG \n", model="d0              \n", rev="4.0 \n", type="5\n",
          wwid="t10.LIO-ORG d0  1234\n", other="st0", lun=(2 * 0x4100).to_bytes(8, "little"))
    write("hostile", vendor=b"\xff\xfe\0\x1b[", model=b"\xc3\x28", wwid=b"naa.\xff", type="999999999999999999999\n",
          port_name="0x\n", map_uuid="mpath-\n", iscsi_target=b"\xe2\x82", iscsi_port=b"\0", iscsi_address="[::1]\n",
          vpd_pg83=bytes([0, 0x83, 255, 255, 1, 3, 0, 255]), inquiry=b"\xff" * 36, path="rport-5/usb1/session")


if __name__ == "__main__":
    main()
