# SPDX-License-Identifier: Apache-2.0
"""What a process costs, and on which machine."""
import mmap
import os
import platform
import re
import subprocess
import time


def cpu_ns(pid):
    """CPU time of a process, all its threads, also those that have ended: its CPU clock (clock_getcpuclockid(3))."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def rss_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def busy_ns():
    """CPU time that the whole machine has spent, of all cores."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def cores():
    """(cores of the server, cores of the load generator): apart when there are two."""
    mine = sorted(os.sched_getaffinity(0))
    return ([mine[0]], mine[1:2]) if len(mine) > 1 else (mine, mine)


def place(where, realtime):
    """For a process before it begins: on these cores, and, if asked and allowed, before everything else on them."""
    def before_exec():
        os.sched_setaffinity(0, where)
        if realtime:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    return before_exec


def touch_memory():
    """Let free memory be there. A virtual machine may have given it back to its host, and gets each page anew when it is
    touched, at some 10 µs a page: that would be on the account of whichever server happens to be the first."""
    n = min(2 << 30, available_bytes() // 4)
    with mmap.mmap(-1, n, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        memory[::mmap.PAGESIZE] = b"\1" * len(range(0, n, mmap.PAGESIZE))


def available_bytes():
    with open("/proc/meminfo", encoding="ascii") as file:
        return int(re.search(r"^MemAvailable:\s*(\d+)", file.read(), re.M).group(1)) << 10


def realtime_allowed():
    pid = os.fork()
    if pid == 0:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def first_line(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        return None
    return (done.stdout + done.stderr).strip().split("\n")[0]


def describe(folder):
    """The machine in words, for a report."""
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        found = re.search(r"^model name\s*: (.*)$", file.read(), re.M)
        model = found.group(1) if found else model
    with open("/proc/meminfo", encoding="ascii") as file:
        memory = int(re.search(r"^MemTotal:\s*(\d+)", file.read()).group(1))
    with open("/etc/os-release", encoding="utf-8") as file:
        system = re.search(r'^PRETTY_NAME="(.*)"$', file.read(), re.M)
    return {
        "processor": f"{model}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{memory / (1 << 20):.0f} GiB",
        "system": f"{system.group(1) if system else 'Linux'}, kernel {platform.release()}",
        "file system": first_line("findmnt", "-no", "FSTYPE", "-T", folder) or "unknown",
        "compiler": first_line("gcc", "--version"),
        "libraries": ", ".join(f"{name} {first_line('pkg-config', '--modversion', name)}"
                               for name in ("libuv", "libnghttp2", "lmdb", "openssl")),
        "placed": "server and load generator on a core each" if len(cores()[1]) and cores()[0] != cores()[1]
                  else "server and load generator share a core",
    }
