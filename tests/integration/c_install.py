# SPDX-License-Identifier: Apache-2.0
"""libsensebus as others get it: installed, found by pkg-config, compiled against, shared and static; nothing but sb_…
leaves it. The examples are what is compiled, and they run.

  c_install.py COMPILER SANITIZERS: what the library was built with ("": none)"""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from adapter_stream import *  # noqa: E402,F403

COMPILER, SANITIZERS = sys.argv.pop(1), sys.argv.pop(1)
FLAGS = ["-Wall", "-Wextra", "-Werror", "-g"] + ([f"-fsanitize={SANITIZERS}"] if SANITIZERS else [])
SOURCE_OF = os.path.join(SOURCE, "clients", "c", "examples")
T1 = "iqn.2026-01.example:t1"


def output(*command, **options):
    done = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          timeout=LIMIT_S * 4, **options)
    check_equal(done.returncode, 0, f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}\nstatus")
    return done.stdout


class Installed:
    """The library in a directory of its own."""

    def __enter__(self):
        self.root = tempfile.mkdtemp(prefix="sensebus-install.")
        output("cmake", "--install", BUILD, "--prefix", self.root, "--component", "libsensebus")
        self.libraries = os.path.dirname(self.find("libsensebus.so"))
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.root, ignore_errors=True)

    def find(self, name):
        found = [os.path.join(folder, name) for folder, _, names in os.walk(self.root) if name in names]
        check_equal(len(found), 1, f"places of {name}")
        return found[0]

    def pkg_config(self, *options):
        path = os.path.dirname(self.find("sensebus.pc"))
        return output("pkg-config", *options, "sensebus", env=dict(os.environ, PKG_CONFIG_PATH=path)).split()

    def compile(self, source, *flags, name="program", compiler=COMPILER, static=False):
        program = os.path.join(self.root, name)
        libraries = self.pkg_config("--libs", *(["--static"] if static else []))
        if static:
            libraries = [self.find("libsensebus.a") if word == "-lsensebus" else word for word in libraries]
        output(compiler, *FLAGS, *flags, *self.pkg_config("--cflags"), source, "-o", program, *libraries)
        return program

    def start(self, program, *arguments):
        return Example(program, *arguments, env=dict(os.environ, LD_LIBRARY_PATH=self.libraries))


class Example:
    def __init__(self, *command, env):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, env=env)
        self.lines = []

    def wait_line(self, text):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if text in line:
                return line
        raise AssertionError(f"no {text!r} in {self.lines}")

    def end(self):
        self.process.stdin.close()
        self.lines += self.process.stdout.read().splitlines()
        check_equal(self.process.wait(LIMIT_S), 0, f"exit status ({self.lines})")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def play(installed, program):
    with face() as (broker, agent, _), installed.start(program, broker.address, "agent-1", T1, "1") as example:
        example.wait_line("registered")
        agent.publish(make_event("agent-1", agent.epoch, 1, target=1, lun=1))
        example.wait_line("device 0x7f21: LUN_RESET, events 0x4")
        agent.detach()
        example.wait_line("the registration has ended: AGENT_DETACHED")
        example.end()


def test_the_example_that_registers_runs_with_the_shared_library():
    with Installed() as installed:
        program = installed.compile(os.path.join(SOURCE_OF, "register.c"))
        check("libsensebus.so.0 " in output("ldd", program, env=dict(os.environ, LD_LIBRARY_PATH=installed.libraries)),
              "the program needs libsensebus.so.0")
        play(installed, program)


def test_the_example_that_registers_runs_with_the_static_library():
    with Installed() as installed:
        program = installed.compile(os.path.join(SOURCE_OF, "register.c"), static=True)
        check("libsensebus" not in output("ldd", program), "linked statically")
        play(installed, program)


def test_the_example_that_listens_runs():
    with Installed() as installed, face() as (broker, _, stream):
        program = installed.compile(os.path.join(SOURCE_OF, "listen.c"))
        with installed.start(program, broker.address) as example:
            example.wait_line("listening")
            session = stream.started(1, 1)
            example.wait_line("first open: agent-1 ")
            stream.stop(session)
            example.wait_line("last close: agent-1 ")
            example.end()


def test_the_header_is_c99_and_cxx():
    with Installed() as installed:
        header = installed.find("sensebus.h")
        flags = ["-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only"]
        for compiler, standard, language in (("gcc", "c99", "c"), ("clang", "c99", "c"), ("clang", "c++11", "c++"),
                                             ("g++", "c++11", "c++")):
            if not shutil.which(compiler):
                print(f"no {compiler} here")
                continue
            main = os.path.join(installed.root, "main")
            with open(main, "w") as file:
                file.write(f'#include "{header}"\n#include "{header}"\n'
                           "struct sb_address a = SB_ADDRESS_INIT;\nstruct sb_scsi_adr b = SB_SCSI_ADR_ANY;\n"
                           "int main(void) { return sb_close((struct sb *)0); }\n")
            output(compiler, *flags, f"-std={standard}", "-x", language, main)
        with open(header) as file:
            check_equal(re.findall(r"#include [\"<](.*)[\">]", file.read()), ["stddef.h", "stdint.h"], "what it includes")


def test_nothing_else_is_exported():
    with Installed() as installed:
        names = output("nm", "-D", "--defined-only", installed.find("libsensebus.so")).split("\n")
        exported = {line.split()[-1].split("@")[0] for line in names if line} - {"SENSEBUS_0"}
        with open(installed.find("sensebus.h")) as file:
            declared = set(re.findall(r"[ *](sb_\w+)\([^;{]*\);", file.read())) - {"sb_event_cb"}
        declared = {name for name in declared if not name.endswith("_cb")}
        check_equal(sorted(exported), sorted(declared), "exported")
        lines = output("nm", "-g", "--defined-only", installed.find("libsensebus.a")).splitlines()
        globals_ = {line.split()[-1] for line in lines if len(line.split()) == 3}
        check_equal(sorted(name for name in globals_ if not name.startswith("__")), sorted(declared), "of the archive")


def test_the_manual_is_installed():
    with Installed() as installed:
        with open(installed.find("sb_event.3")) as file:
            check("SCIOEVENT" in file.read(), "the page of sb_event")
        if shutil.which("man"):
            shown = output("man", "-l", installed.find("sensebus.3"), env=dict(os.environ, MANPAGER="cat", MANWIDTH="100"))
            check("SCIOSTART" in shown, shown)


def test_the_library_needs_little():
    with Installed() as installed:
        needed = set(re.findall(r"NEEDED +(\S+)", output("objdump", "-p", installed.find("libsensebus.so"))))
        needed = {name.split(".so")[0] for name in needed}
        check(needed <= {"libuv", "libnghttp2", "libprotobuf-c", "libssl", "libcrypto", "libc", "libasan", "libubsan", "libtsan",
                         "libm", "libgcc_s", "libpthread", "libdl", "ld-linux-x86-64"}, f"needs {sorted(needed)}")


if __name__ == "__main__":
    run_tests(globals())
