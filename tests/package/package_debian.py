#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The Debian packages, made by CPack of the build in build/release: what is in them, what they say of themselves, their
units, and, where this user may mount, how they install over this machine's own packages (nothing of it is written to it).

It takes a few seconds and builds nothing: without a release build of these sources it is skipped."""
import contextlib
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from sensebus_testlib import AT_END, SOURCE, Skip, check, check_equal, run_tests  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
RELEASE = os.environ.get("SENSEBUS_RELEASE", os.path.join(SOURCE, "build", "release"))
MOST_EXPOSED = {"sensebus-broker": 1.5, "sensebus-agent": 3.5}  # systemd-analyze security, 0 to 10
DEPENDS = {"sensebus-broker": {"passwd", "procps", "libc6", "libcyaml1", "liblmdb0", "libnghttp2-14", "libssl3", "libuv1"},
           "sensebus-agent": {"passwd", "procps", "libc6", "libiscsi7", "liblmdb0", "libmnl0", "libnghttp2-14", "libssl3",
                              "libuv1"},
           "sensebus": {"libc6", "libnghttp2-14", "libssl3", "libuv1"}}
FILES = {
    "sensebus-broker": {"usr/bin/sensebus-broker", "usr/bin/sensebus-store", "etc/sensebus/broker.yaml",
                        "lib/systemd/system/sensebus-broker.service"},
    "sensebus-agent": {"usr/bin/sensebus-agent", "etc/sensebus/agent.env", "lib/systemd/system/sensebus-agent.service"},
    "sensebus": {"usr/bin/sensebus"},
}
CONFFILES = {"sensebus-broker": "/etc/sensebus/broker.yaml\n", "sensebus-agent": "/etc/sensebus/agent.env\n"}


def run(*command, **options):
    return subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False, timeout=600, **options)


def output(*command, **options):
    done = run(*command, **options)
    check_equal(done.returncode, 0, f"{' '.join(map(str, command))}:\n{done.stdout}\nstatus")
    return done.stdout


def obstacle():
    """Why no packages can be made here; nothing when they can."""
    for program in "cpack", "ninja", "dpkg-deb", "dpkg-shlibdeps", "file":
        if not shutil.which(program):
            return f"{program} is not installed (sh deploy/install-deps.sh test)"
    if not os.path.exists(os.path.join(RELEASE, "CPackConfig.cmake")):
        return f"no build in {RELEASE}: cmake --preset release && cmake --build build/release"
    if "no work to do" not in run("ninja", "-C", RELEASE, "-n").stdout:
        return f"{RELEASE} is older than the sources: cmake --build build/release"
    return ""


class Packages:
    """Made once, for all tests here."""
    made = None

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="sensebus-package.")
        AT_END.callback(shutil.rmtree, self.folder)
        output("cpack", "--config", os.path.join(RELEASE, "CPackConfig.cmake"), "-G", "DEB", "-B", self.folder)
        shutil.rmtree(os.path.join(self.folder, "_CPack_Packages"))
        self.paths = {name.partition("_")[0]: os.path.join(self.folder, name) for name in sorted(os.listdir(self.folder))}
        self.root = os.path.join(self.folder, "root")  # all of them, unpacked
        for path in self.paths.values():
            output("dpkg-deb", "-x", path, self.root)

    @classmethod
    def get(cls):
        reason = obstacle()
        if reason:
            raise Skip(reason)
        if not cls.made:
            cls.made = cls()
        return cls.made

    def field(self, package, name):
        return output("dpkg-deb", "-f", self.paths[package], name).strip()

    def program(self, name):
        return os.path.join(self.root, "usr/bin", name)


def version():
    with open(os.path.join(SOURCE, "CMakeLists.txt"), encoding="utf-8") as file:
        return re.search(r"^project\(sensebus VERSION (\S+)", file.read(), re.M).group(1)


def test_each_package_has_its_files_and_nothing_else():
    packages = Packages.get()
    check(set(FILES) <= set(packages.paths) <= set(FILES) | {"sensebus-target"}, f"packages: {sorted(packages.paths)}")
    for name, wanted in FILES.items():
        files = set()
        for line in output("dpkg-deb", "-c", packages.paths[name]).splitlines():
            mode, owner, *_, path = line.split()
            check_equal(owner, "root/root", f"{name}: owner of {path}")
            check("w" not in mode[4:], f"{name}: {path} has mode {mode}")
            if not path.endswith("/"):
                files.add(path[2:])
        documents = {f for f in files if f.startswith(("usr/share/doc/" + name + "/", "usr/share/man/"))}
        check_equal(files - documents, wanted, f"{name}: files")
        for document in "copyright", "changelog.gz", "changelog.Debian.gz":
            check(f"usr/share/doc/{name}/{document}" in documents, f"{name}: no {document}")
        with gzip.open(os.path.join(packages.root, f"usr/share/doc/{name}/changelog.Debian.gz"), "rt", encoding="utf-8") as file:
            check(file.readline().startswith(f"sensebus ({version()}) "), f"{name}: the changelog begins with another version")


def test_control_data():
    packages = Packages.get()
    architecture = output("dpkg", "--print-architecture").strip()
    for name in FILES:
        check_equal(packages.field(name, "Version"), version(), f"{name}: version")
        check_equal(packages.field(name, "Architecture"), architecture, f"{name}: architecture")
        depends = {re.split(r"[ (:]", d.strip())[0] for d in packages.field(name, "Depends").split(",")}
        check(DEPENDS[name] <= depends, f"{name} depends on {sorted(depends)}, without {sorted(DEPENDS[name] - depends)}")
        check(not any(d.startswith(("libasan", "libubsan", "libtsan")) for d in depends), f"{name} depends on {sorted(depends)}")
        summary, *rest = packages.field(name, "Description").splitlines()
        check("event bus for SCSI" in summary and rest, f"{name}: description {summary!r}, {rest!r}")
        folder = os.path.join(packages.folder, "control." + name)
        output("dpkg-deb", "-e", packages.paths[name], folder)
        scripts = {"postinst", "prerm", "postrm"} if name in CONFFILES else set()
        check_equal(set(os.listdir(folder)) - {"control", "md5sums", "conffiles"}, scripts, f"{name}: scripts")
        for script in scripts:
            check_equal(os.stat(os.path.join(folder, script)).st_mode & 0o777, 0o755, f"{name}: mode of {script}")
            output("sh", "-n", os.path.join(folder, script))
        if name in CONFFILES:
            with open(os.path.join(folder, "conffiles"), encoding="utf-8") as file:
                check_equal(file.read(), CONFFILES[name], f"{name}: conffiles")


def test_the_programs_run():
    packages = Packages.get()
    for name in "sensebus-broker", "sensebus-agent":
        check_equal(output(packages.program(name), "--version"), f"{name} {version()}\n")
    for name in os.listdir(os.path.join(packages.root, "usr/bin")):
        check("Usage:" in (said := output(packages.program(name), "--help")) or "usage:" in said, f"{name} --help: {said}")
        check(".debug_info" not in output("readelf", "-SW", packages.program(name)), f"{name} is not stripped")


def test_the_units_are_right():
    packages = Packages.get()
    if not shutil.which("systemd-analyze"):
        raise Skip("systemd-analyze is not installed (sh deploy/install-deps.sh test)")
    # Units are looked at in a root of their own: the packages, and the targets that systemd brings.
    units = os.path.join(packages.root, "lib/systemd/system")
    for name in os.listdir("/lib/systemd/system"):
        if name.endswith((".target", ".slice", ".socket", ".mount")) and not os.path.exists(os.path.join(units, name)):
            with contextlib.suppress(OSError):
                shutil.copy(os.path.join("/lib/systemd/system", name), units)
    kill = os.path.join(packages.root, "bin/kill")  # ExecReload=; in a package that ours depend on
    os.makedirs(os.path.dirname(kill), exist_ok=True)
    os.close(os.open(kill, os.O_CREAT, 0o755))
    for name, most in MOST_EXPOSED.items():
        unit = os.path.join(units, name + ".service")
        done = run("systemd-analyze", "verify", "--man=no", f"--root={packages.root}", name + ".service")
        check(done.returncode == 0 and not done.stdout.strip(), f"systemd-analyze verify {name}: {done.returncode} {done.stdout}")
        said = output("systemd-analyze", "security", "--offline=yes", "--no-pager", unit)
        exposed = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", said).group(1))
        check(exposed <= most, f"{name}: exposure {exposed}, at most {most}:\n{said}")
        print(f"{name}: exposure {exposed}")


def examples(path, pattern):
    """The text of a configuration whose examples are settings."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    changed, n = re.subn(pattern, r"\1", text, flags=re.M)
    check(n >= 5, f"{path}: only {n} examples")
    return text, changed


def test_the_configurations_hold_as_they_come_and_with_their_examples():
    packages = Packages.get()
    with tempfile.TemporaryDirectory(prefix="sensebus-package.") as folder:
        tls = os.path.join(folder, "tls")
        sensebus, ca = packages.program("sensebus"), os.path.join(folder, "ca")
        os.mkdir(tls)
        output(sensebus, "pki", "init", ca)
        shutil.copy(os.path.join(ca, "ca.pem"), tls)
        output(sensebus, "pki", "issue", "broker", "b1", "--ca", ca, "--dns", "localhost",
               "--out", os.path.join(tls, "broker.pem"))
        output(sensebus, "pki", "issue", "agent", "db-07", "--ca", ca, "--out", os.path.join(tls, "agent.pem"))
        os.close(os.open(os.path.join(folder, "chap"), os.O_CREAT, 0o600))

        for text in examples(os.path.join(packages.root, "etc/sensebus/broker.yaml"), r"^#(  - |  [a-z_]+:|[a-z_]+:)"):
            path = os.path.join(folder, "broker.yaml")
            with open(path, "w", encoding="utf-8") as file:
                file.write(text.replace("/etc/sensebus", folder))
            check_equal(output(packages.program("sensebus-broker"), "--config", path, "--check-config"), "ok\n")

        targets = ["neither --target nor --discover", "1 targets, 1 portals"]
        for text, target in zip(examples(os.path.join(packages.root, "etc/sensebus/agent.env"), r"^#([A-Z_]+=)"), targets):
            settings = {n: v.strip('"').replace("/etc/sensebus", folder) for n, v in re.findall(r"^([A-Z_]+)=(.*)$", text, re.M)}
            options = settings.pop("SENSEBUS_AGENT_OPTIONS", "").split()
            said = output(packages.program("sensebus-agent"), "check", *options, env=dict(os.environ, **settings))
            check(target in said and re.search(r"^uevent ", said, re.M), f"sensebus-agent check: {said}")


# Everything in it is gone with its last process: mounts are private, and what is written is in memory.
IN_A_ROOT = """
work=$1
mount -t tmpfs -o mode=0755 tmpfs "$work" || exit 77
mkdir "$work/upper" "$work/work" "$work/root"
mount -t overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" overlay "$work/root" || exit 77
cd "$work/root"
[ -e var/lib/dpkg/status ] || { echo "the list of packages is on another file system"; exit 77; }
mount -t proc proc proc && mount -t sysfs -o ro sysfs sys && mount --rbind /dev dev || exit 77
mount -t tmpfs tmpfs run && mount -t tmpfs -o mode=1777 tmpfs tmp || exit 77
"""


def test_installed_they_work_and_leave_nothing():
    packages = Packages.get()
    if os.geteuid() != 0:
        raise Skip("not root: packages cannot be installed")
    if not shutil.which("setpriv") or run("unshare", "--mount", "--pid", "--fork", "true").returncode != 0:
        raise Skip("namespaces cannot be made here")
    with tempfile.TemporaryDirectory(prefix="sensebus-package.") as work:
        script = IN_A_ROOT + """
mkdir -p tmp/packages && cp "$2"/*.deb "$3" tmp/packages/
exec chroot . env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \\
    DEBIAN_FRONTEND=noninteractive sh /tmp/packages/installed.sh dpkg /tmp/packages
"""
        # The mounts hide the folder only inside.
        done = run("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "sh", "-eu", "-c", script,
                   "package", work, packages.folder, os.path.join(HERE, "installed.sh"))
        if done.returncode == 77:
            raise Skip(f"no root of its own can be mounted here: {done.stdout.strip()}")
        check_equal(done.returncode, 0, f"{done.stdout}\nstatus")


if __name__ == "__main__":
    run_tests(globals())
