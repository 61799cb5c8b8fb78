# SPDX-License-Identifier: Apache-2.0
"""Boots the guest that image.py made, runs one command line in it, and ends as that did.

    boot.py IMAGE SHARE [--seconds N] [--accelerator auto|kvm|tcg] [--count] COMMAND

The guest sees this host's files read only under the same paths, starts in the folder of the sources, and may write into
SHARE, which is /guest there. It has no network but its own, a disk on virtio-scsi, and qemu's monitor (QMP) as
/dev/qmp. What the command writes is passed on as it comes. Ends 124 after N seconds, 125 when the guest
died or never came up (then with the end of its console). With --count each instruction of the guest takes one nanosecond
of its clocks, so that these count instructions, the same ones each time.

/dev/kvm alone proves nothing: some accept a virtual processor and then emulate every instruction of a stock kernel,
more slowly than qemu does. So KVM is used where the processor has it, and left when the guest is not up in time.
"""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
QEMU = "qemu-system-x86_64"
UP_LIMIT_S = {"kvm": 15, "tcg": 120}
DISK_BYTES = 64 << 20


class NotUp(Exception):
    pass


def kvm_is_real():
    if not os.access("/dev/kvm", os.W_OK) or os.path.isdir("/sys/module/kvm_pvm"):
        return False
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        words = file.read().split()
    return "vmx" in words or "svm" in words


def qemu_command(image, share, accelerator, count):
    disk = os.path.join(share, "disk")
    with open(disk, "wb") as file:
        file.truncate(DISK_BYTES)
    qmp = os.path.join(share, "qmp")
    kernel_line = f"console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check source={SOURCE} image={image}"
    options = [
        "-machine", f"q35,accel={accelerator}", "-cpu", "host" if accelerator == "kvm" else "max",
        "-smp", "1", "-m", "768",
        "-nodefaults", "-no-user-config", "-display", "none", "-nic", "none", "-no-reboot",
        "-kernel", f"{image}/vmlinux", "-initrd", f"{image}/initramfs", "-append", kernel_line,
        "-serial", f"file:{share}/console",
        "-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap",
        "-device", "virtio-9p-pci,fsdev=host,mount_tag=host",
        "-fsdev", f"local,id=share,path={share},security_model=none",
        "-device", "virtio-9p-pci,fsdev=share,mount_tag=share",
        # The monitor listens, and the guest's serial port calls it: nothing between them is needed.
        "-chardev", f"socket,id=monitor,path={qmp},server=on,wait=off", "-mon", "chardev=monitor,mode=control",
        "-chardev", f"socket,id=caller,path={qmp}", "-device", "virtio-serial-pci",
        "-device", "virtserialport,chardev=caller,name=qmp",
        "-drive", f"if=none,id=disk0,format=raw,file={disk}",
        "-device", "virtio-scsi-pci,id=scsi0", "-device", "scsi-hd,id=hd0,drive=disk0,bus=scsi0.0,serial=guest0",
    ]
    return [QEMU] + options + (["-icount", "shift=0"] if count else [])


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


class Output:
    """Passes on what comes into a file."""

    def __init__(self, path):
        self.path = path
        self.position = 0

    def pass_on(self):
        if os.path.exists(self.path):
            with open(self.path, "rb") as file:
                file.seek(self.position)
                text = file.read()
            self.position += len(text)
            sys.stdout.buffer.write(text)
            sys.stdout.buffer.flush()


def prepare(share, command):
    os.makedirs(share, exist_ok=True)
    for name in ("status", "output", "console", "disk", "qmp"):
        if os.path.exists(os.path.join(share, name)):
            os.unlink(os.path.join(share, name))
    with open(os.path.join(share, "command"), "w", encoding="utf-8") as file:
        file.write(command + "\n")


def run(image, share, accelerator, seconds, count, command):
    """The command's status, or 124, or 125. NotUp when the guest never got as far as the command."""
    prepare(share, command)
    status_file = os.path.join(share, "status")
    output = Output(os.path.join(share, "output"))
    begin = time.monotonic()
    guest = subprocess.Popen(qemu_command(image, share, accelerator, count), stdin=subprocess.DEVNULL)
    try:
        while guest.poll() is None:
            now = time.monotonic() - begin
            if now > UP_LIMIT_S[accelerator] and not read(status_file):
                raise NotUp(f"not up after {UP_LIMIT_S[accelerator]} s")
            if now > seconds:
                output.pass_on()
                print(f"guest: stopped after {seconds} s\n{read(share + '/console')[-2000:]}", file=sys.stderr)
                return 124
            output.pass_on()
            time.sleep(0.05)
    finally:
        if guest.poll() is None:
            guest.kill()
        guest.wait()
    output.pass_on()
    lines = read(status_file).split("\n")
    if not lines[0]:
        raise NotUp(f"qemu ended with {guest.returncode}")
    ended = [line.split() for line in lines if line.startswith("exit ")]
    if not ended:
        print(f"guest: died without an exit status\n{read(share + '/console')[-4000:]}", file=sys.stderr)
        return 125
    return int(ended[0][1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("image")
    parser.add_argument("share")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--accelerator", choices=("auto", "kvm", "tcg"), default="auto")
    parser.add_argument("--count", action="store_true")
    parser.add_argument("command")
    options = parser.parse_args()
    if not shutil.which(QEMU):
        print(f"guest: skipped: no {QEMU} (sh deploy/install-deps.sh guest)", file=sys.stderr)
        return 77
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that qemu is stopped, too
    accelerators = [options.accelerator]
    if options.count:
        accelerators = ["tcg"]
    elif options.accelerator == "auto":
        accelerators = ["kvm", "tcg"] if kvm_is_real() else ["tcg"]
    for accelerator in accelerators:
        try:
            return run(os.path.abspath(options.image), os.path.abspath(options.share), accelerator, options.seconds,
                       options.count, options.command)
        except NotUp as reason:
            print(f"guest: with {accelerator}: {reason}", file=sys.stderr)
    print(read(os.path.join(options.share, "console"))[-4000:], file=sys.stderr)
    return 125


if __name__ == "__main__":
    sys.exit(main())
