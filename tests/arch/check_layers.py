#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Keeps the arrows of ARCHITECTURE.md: who may include whom, which file wraps which foreign library, and that the pure
rules stay pure. Prints each violation; exit status 1 when there is one."""
import os
import re
import sys
import tempfile

LAYERS = {  # folder: folders whose headers it may include
    "runtime": {"runtime"},
    "proto": {"proto", "runtime"},
    "broker": {"broker", "proto", "runtime"},
    "clients": {"clients", "proto", "runtime"},
    "agent": {"agent", "clients", "proto", "runtime"},
}
GENERATED = ("sensebus/v1/", "grpc/")  # headers made from .proto files: for proto and everything above it

WRAPPERS = [  # foreign header, the only files that may include it
    (r"nghttp2/", r"proto/grpc/"),
    (r"lmdb\.h", r"runtime/store\.c$"),
    (r"libmnl/", r"agent/source/netlink\.c$"),
    (r"iscsi/", r"agent/iscsi/(session|session_connection|session_requests|discovery)\.c$"),
    (r"scsi/sg_", r"proto/sense\.c$"),
    (r"openssl/", r"runtime/tls"),
    (r"cyaml/", r"broker/config\.c$"),
    (r"yaml\.h", r"broker/config_tree\.c$"),
    (r"bpf/", r"agent/source/trace/(bpf_hook|hook\.bpf|target\.bpf)\.c$"),
    (r"(tracefs|event-parse|kbuffer)\.h", r"agent/source/trace/tracefs_hook\.c$"),
    (r"sys/socket\.h", r"(proto/grpc|agent/iscsi|agent/source|runtime)/"),
]

# Pure rules: no loop, socket, clock, file, log or random source. (uv.h only for its error numbers.)
PURE = re.compile(r"^broker/core/|^proto/(event_view|registry|sense|json)\.|^agent/(async_event|record|identify|inventory|poll)\.|"
                  r"^agent/iscsi/(async_message|framer|crc32c)\.|"
                  r"^agent/source/(identity|identity_cache|merge|merge_piece|merge_rules|merge_told|storm|storm_held|storm_key)\."
                  r"|^agent/source/(fc_netlink_message|iscsi_netlink_message|iscsi_netlink_sessions|tcmu_message|uevent_message|sysfs_changes)\.|^agent/source/trace/(decode|fold)\.|"
                  r"^agent/kernel/device_list\.|"
                  r"^agent/target/(buffers|change|feed_message|receive|snapshot|tgtd_text)\.")
IMPURE = re.compile(r"^(runtime/(log|clock|store)\.h|proto/grpc/.*|unistd\.h|fcntl\.h|sys/(time|socket|random)\.h)$")
IMPURE_CALL = re.compile(r"\b(time|clock_gettime|gettimeofday|rand|random|getenv|uv_hrtime|uv_now)\s*\(")

VAGUE = re.compile(r"(^|[_/])(util|utils|common|misc|helper|helpers)(_|\.|/|$)")
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^">]+)[">]', re.M)


def sources(root):
    for layer in LAYERS:
        for folder, _, names in os.walk(os.path.join(root, layer)):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def check_include(path, quote, header):
    layer = path.split("/")[0]
    head = header.split("/")[0]
    if quote == '"':
        if head == "tests":
            yield f"{path}: includes {header}: nothing outside tests sees tests"
        elif header.startswith(GENERATED) and not header.startswith("grpc/grpc"):
            if layer == "runtime":
                yield f"{path}: includes {header}: runtime does not know the contract"
        elif head in LAYERS and head not in LAYERS[layer]:
            yield f"{path}: includes {header}: {layer} must not know {head}"
        elif head not in LAYERS:
            yield f"{path}: includes \"{header}\": name our headers from the source root"
    for foreign, wrapper in WRAPPERS:
        if re.match(foreign, header) and not re.search(wrapper, path):
            yield f"{path}: includes {header}: only {wrapper} wraps it"
    if PURE.match(path) and IMPURE.match(header):
        yield f"{path}: includes {header}: this module is pure"


def check(root):
    problems = []
    n = 0
    for path in sources(root):
        n += 1
        with open(os.path.join(root, path), encoding="utf-8") as f:
            text = f.read()
        if "SPDX-License-Identifier: Apache-2.0" not in text[:200]:
            problems.append(f"{path}: no SPDX line")
        if VAGUE.search(path):
            problems.append(f"{path}: a file of that name holds two ideas or none")
        if path.endswith(".h") and "#pragma once" not in text:
            problems.append(f"{path}: no #pragma once")
        if PURE.match(path):
            problems += [f"{path}: calls {call}(): this module is pure" for call in IMPURE_CALL.findall(text)]
        for quote, header in INCLUDE.findall(text):
            problems += check_include(path, quote, header)
    if n == 0:
        problems.append(f"{root}: no source files found")
    return problems


def self_test():
    """A check that cannot fail is none: one file for each rule, each must be found."""
    spdx = "/* SPDX-License-Identifier: Apache-2.0 */\n"
    bad = {
        "runtime/a.c": '#include "proto/registry.h"\n',
        "runtime/b.c": '#include "sensebus/v1/event.pb-c.h"\n',
        "broker/c.c": '#include "clients/c/link.h"\n',
        "clients/d.c": '#include "broker/core/filter.h"\n',
        "agent/e.c": '#include "tests/lib/loop.h"\n',
        "agent/f.c": "#include <nghttp2/nghttp2.h>\n",
        "broker/core/g.c": '#include "runtime/clock.h"\n',
        "broker/core/k.c": "int now(void) { return time(0); }\n",
        "proto/util.c": "\n",
        "proto/h.h": "int x;\n",
        "agent/i.c": '#include "spool.h"\n',
    }
    with tempfile.TemporaryDirectory() as root:
        for path, text in bad.items():
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as f:
                f.write(spdx + text)
        with open(os.path.join(root, "runtime/j.c"), "w", encoding="utf-8") as f:
            f.write("int x;\n")
        found = check(root)
        for path in list(bad) + ["runtime/j.c"]:
            if not any(p.startswith(path + ":") for p in found):
                return [f"self-test: nothing found in {path}"]
    return []


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    problems = self_test() + check(root)
    for problem in problems:
        print(problem)
    print(f"{len(problems)} violations")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
