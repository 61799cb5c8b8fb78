#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/regressions.md names a test of ours for every fault of others that we mean not to have; is each there, does it run?

    check_regressions.py [SOURCE]

A row is `| their fault | what must hold | tests |`; a test is `path::name`, as in docs/rules.md.
"""
import os
import re
import sys
import tempfile

from check_rules import REFERENCE, check_reference

PAGE = "docs/regressions.md"
WANTED = ["etcd#17529", "etcd#18089", "etcd#19179", "etcd#15220", "etcd#15271", "etcd#20221", "etcd#17247", "kubernetes#104171",
          "gitops-promoter#2059", "nats-server#7564", "nats-server#7549", "nats-server#6888", "mosquitto#2879", "cilium#34981",
          "cilium#15112", "cilium#46584", "nvme-stas#107", "sensu-go#4112", "bmcweb#164", "redis#5570", "redis#10756",
          "redis#13957", "grpc#idle-reset"]
ROW = re.compile(r"^\|\s*([a-z][^|]*#[^|]*)\|([^|]*)\|(.*)\|\s*$")


def check(root, wanted=WANTED):
    problems, seen = [], []
    path = os.path.join(root, PAGE)
    if not os.path.exists(path):
        return [f"{PAGE}: not there"]
    with open(path, encoding="utf-8") as f:
        for line in f:
            row = ROW.match(line)
            references = REFERENCE.findall(row.group(3) if row else line)
            if row:
                seen += [fault.strip() for fault in row.group(1).split(",")]
                if not references:
                    problems.append(f"{PAGE}: {row.group(1).strip()}: no test")
            for file, name in references:
                problems += check_reference(root, None, file, name, PAGE)
    problems += [f"{PAGE}: {fault}: no row" for fault in wanted if fault not in seen]
    problems += [f"{PAGE}: {fault}: two rows" for fault in sorted(set(seen)) if seen.count(fault) > 1]
    return problems


def self_test():
    """A check that cannot fail is none."""
    good = "| a#1, b#2 | holds | `test_a.c::s.holds` |\n"
    for text, wanted in ((good, None), ("", "a#1: no row"), (good + "| c#3 | holds | none |\n", "c#3: no test"),
                         (good.replace("s.holds", "s.gone"), "no such test"), (good + good, "a#1: two rows")):
        with tempfile.TemporaryDirectory() as root:
            for file, content in ((PAGE, text), ("tests/test_a.c", "Test(s, holds)\n{\n}\n"),
                                  ("tests/CMakeLists.txt", "test_a.c")):
                os.makedirs(os.path.dirname(os.path.join(root, file)), exist_ok=True)
                with open(os.path.join(root, file), "w", encoding="utf-8") as f:
                    f.write(content)
            found = check(root, ["a#1", "b#2"])
        if bool(wanted) != bool(found) or wanted and not any(wanted in problem for problem in found):
            return [f"self-test: found {found}, expected {wanted}"]
    return []


def main():
    problems = self_test() + check(sys.argv[1] if len(sys.argv) > 1 else ".")
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
