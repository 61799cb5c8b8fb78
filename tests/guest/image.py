# SPDX-License-Identifier: Apache-2.0
"""Makes the guest: Debian's own kernel, and a first root of busybox and the few modules that reach the host's files.

    image.py DIRECTORY          DIRECTORY/vmlinux, DIRECTORY/initramfs, DIRECTORY/modules

The rest of the guest's root is this host's, read only, under a layer in memory: what is installed here is there, so
nothing is copied but busybox. What is made is kept, until the package or this program changes. Ends 77 with a reason
when the package cannot be had.
"""
import glob
import hashlib
import lzma
import os
import shutil
import stat
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
METAPACKAGE = "linux-image-amd64"  # the cloud kernel has neither 9p nor FCoE
FIRST_MODULES = ("virtio_pci", "9p", "9pnet_virtio", "overlay")
XZ_MAGIC = b"\xfd7zXZ\x00"


class Unavailable(Exception):
    """The guest cannot be made here; the text says why."""


def output_of(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, **options)
    if done.returncode:
        raise Unavailable(f"{' '.join(command)} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def kernel_package(kept):
    """The file of the kernel's package: the newest that is kept, else what the metapackage asks for, downloaded."""
    have = sorted(glob.glob(os.path.join(kept, "linux-image-*.deb")), key=os.path.getmtime)
    if have:
        return have[-1]
    depends = output_of("apt-cache", "depends", METAPACKAGE).splitlines()
    names = [line.split()[1] for line in depends if "Depends:" in line]
    if not names:
        raise Unavailable(f"apt knows no {METAPACKAGE}; its lists may be missing (apt-get update)")
    os.makedirs(kept, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept) as directory:  # a download that stops half way is not kept
        os.chmod(directory, 0o777)                            # apt downloads as another user when it can
        output_of("apt-get", "-q", "download", names[0], cwd=directory)
        file = os.listdir(directory)[0]
        os.rename(os.path.join(directory, file), os.path.join(kept, file))
    return os.path.join(kept, file)


def uncompressed(compressed):
    """The kernel itself. Started as it is, without its own decompressor, it is up three seconds earlier."""
    with open(compressed, "rb") as file:
        image = file.read()
    start = image.find(XZ_MAGIC)
    while start >= 0:
        try:
            kernel = lzma.LZMADecompressor().decompress(image[start:])
            if kernel.startswith(b"\x7fELF"):
                return kernel
        except lzma.LZMAError:
            pass
        start = image.find(XZ_MAGIC, start + 1)
    raise Unavailable(f"{compressed} has no kernel that is compressed with xz")


class Archive:
    """A cpio archive of the "newc" kind, as the kernel unpacks it."""

    def __init__(self):
        self.bytes = bytearray()
        self.count = 0

    def add(self, name, mode, content=b""):
        self.count += 1
        fields = (self.count, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        self.bytes += b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        self.pad()
        self.bytes += content
        self.pad()

    def pad(self):
        self.bytes += bytes(-len(self.bytes) % 4)

    def file(self, name, path):
        with open(path, "rb") as file:
            self.add(name, stat.S_IFREG | 0o755, file.read())

    def directory(self, name):
        self.add(name, stat.S_IFDIR | 0o755)

    def end(self):
        self.add("TRAILER!!!", 0)
        return bytes(self.bytes)


def first_root(tree, version):
    busybox = shutil.which("busybox")
    if not busybox:
        raise Unavailable("no busybox (sh deploy/install-deps.sh guest)")
    archive = Archive()
    for name in ("bin", "dev", "proc", "modules", "host", "memory", "root"):
        archive.directory(name)
    archive.file("bin/busybox", busybox)
    archive.file("init", os.path.join(HERE, "init"))
    order = []
    for module in FIRST_MODULES:
        shown = output_of("modprobe", "-C", "/dev/null", "-d", tree, "-S", version, "--show-depends", module)
        for line in shown.splitlines():
            path = line.split()[1] if line.startswith("insmod") else None
            if path and path not in order:
                order.append(path)
    for number, path in enumerate(order):
        archive.file(f"modules/{number:02d}-{os.path.basename(path)}", path)
    return archive.end()


def write(path, content):
    with open(path + ".new", "wb") as file:
        file.write(content)
    os.rename(path + ".new", path)


def make(directory):
    package = kernel_package(os.path.join(directory, "debs"))
    stamp = hashlib.sha256(package.encode())
    for name in ("image.py", "init"):
        with open(os.path.join(HERE, name), "rb") as file:
            stamp.update(file.read())
    stamp_file = os.path.join(directory, "stamp")
    if os.path.exists(stamp_file):
        with open(stamp_file, encoding="ascii") as file:
            if file.read() == stamp.hexdigest():
                return
    tree = os.path.join(directory, "kernel")
    shutil.rmtree(tree, ignore_errors=True)
    output_of("dpkg-deb", "-x", package, tree)
    version = os.listdir(os.path.join(tree, "lib", "modules"))[0]
    output_of("depmod", "-b", tree, version)
    write(os.path.join(directory, "vmlinux"), uncompressed(os.path.join(tree, "boot", f"vmlinuz-{version}")))
    write(os.path.join(directory, "initramfs"), first_root(tree, version))
    write(stamp_file, stamp.hexdigest().encode())
    print(f"guest: made {directory} from {os.path.basename(package)}", file=sys.stderr)


if __name__ == "__main__":
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    try:
        make(os.path.abspath(sys.argv[1]))
    except (Unavailable, OSError) as reason:
        print(f"guest: skipped: {reason}", file=sys.stderr)
        sys.exit(77)
