#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every function of the installed header has a manual page that shows its prototype, and every page names the errnos
that the header names for it. Every installed program has one that is true (program_pages.py). With mandoc, the pages are
checked for their form too.

Usage: check_man_pages.py SOURCE [PROGRAM...]. Programs that are not given are not asked what they know."""
import os
import re
import shutil
import subprocess
import sys

import program_pages

FUNCTION = re.compile(r"^[a-z][\w *]*?[ *](sb_\w+)\(([^;{]*)\);", re.M)
ERRNO = re.compile(r"\bE[A-Z]{2,}\b")
NOT_OURS = {"EVENT", "ENOCONNECT"}  # a word, and AIX's name of another
NO_ERRNO = {"sb_detail"}  # pages of functions that cannot fail


def functions(header):
    """(name, parameters, errnos of the comment right in front) of each function."""
    found = []
    for match in FUNCTION.finditer(header):
        before = header[:match.start()].rstrip()
        comment = ""
        if before.endswith("*/"):
            comment = before[before.rindex("/*"):]
        found.append((match.group(1), " ".join(match.group(2).split()), set(ERRNO.findall(comment)) - NOT_OURS))
    return found


def read_page(folder, name):
    """Text of a page, links followed; None when there is none."""
    path = os.path.join(folder, name + ".3")
    if not os.path.exists(path):
        return None, None
    with open(path, encoding="utf-8") as file:
        text = file.read()
    link = re.fullmatch(r"\.so man3/(\w+)\.3\n", text)
    return read_page(folder, link.group(1)) if link else (name, text)


def parameters_of(page, function):
    match = re.search(rf"^\.Fn {function}((?: \"[^\"]*\")*)$", page, re.M)
    return None if not match else re.findall(r'"([^"]*)"', match.group(1))


def check(header, folder):
    problems = []
    known = set()
    for name, parameters, errnos in functions(header):
        known.add(name)
        source, page = read_page(folder, name)
        if page is None:
            problems.append(f"{name}: no page")
            continue
        wanted = [] if parameters == "void" else [p.strip() for p in parameters.split(",")]
        shown = parameters_of(page, name)
        if shown != wanted:
            problems.append(f"{name}: the page shows {shown}, the header {wanted}")
        if f".Nm {name}" not in page:
            problems.append(f"{name}: the page does not name it")
        named = set(re.findall(r"^\.It Bq Er (\w+)$", page, re.M))
        if not named and source not in NO_ERRNO:
            problems.append(f"{name}: the page names no errno")
        if errnos - named:
            problems.append(f"{name}: the header names {sorted(errnos - named)}, the page does not")
    for file in sorted(os.listdir(folder)):
        if file[:-2] not in known | {"sensebus"}:
            problems.append(f"{file}: there is no such function")
    if not known:
        problems.append("no functions found in the header")
    return problems


def lint(paths):
    """What mandoc has to say of pages; links to other pages are none."""
    pages = []
    for path in sorted(paths):
        with open(path, encoding="utf-8") as page:
            if not page.readline().startswith(".so "):
                pages.append(path)
    done = subprocess.run(["mandoc", "-Tlint", "-W", "warning", *pages], capture_output=True, text=True, check=False)
    return [line for line in (done.stdout + done.stderr).splitlines() if line]


def self_test():
    """A check that cannot fail is none."""
    header = "/* EPERM. */\nint sb_no_such(struct sb *sb);\nint sb_halt(struct sb *sb, int x);\n"
    found = check(header, os.path.join(sys.argv[1], "clients", "c", "man"))
    wanted = ("sb_no_such: no page", "sb_halt: the page shows", "sb_stop.3: there is no such function")
    return [f"self-test: nothing like '{w}' in {found}" for w in wanted if not any(p.startswith(w) for p in found)]


def main():
    root, programs = sys.argv[1], sys.argv[2:]
    folder = os.path.join(root, "clients", "c", "man")
    with open(os.path.join(root, "clients", "c", "sensebus.h"), encoding="utf-8") as file:
        header = file.read()
    problems = self_test() + check(header, folder)
    found, pages = program_pages.check(root, programs)
    problems += found
    if shutil.which("mandoc"):
        problems += lint([os.path.join(folder, file) for file in os.listdir(folder)] + [*pages.values()] +
                         [program_pages.configuration_page(root)])
    else:
        print("no mandoc here: the form of the pages was not checked")
    for problem in problems:
        print(problem)
    print(f"{len(functions(header))} functions, {len(pages)} programs, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
