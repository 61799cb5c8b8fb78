#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/rules.md names a test for every rule and every resolution; is each of them there, does it run, does it name the rule?

    check_rules.py [SOURCE]

A row is `| rule | what it says | tests |`; a test is `path::name`: a Criterion test `suite.name`, a Python function, or a
mark (a comment "rule: name") in a script. A test names its rule: "rule 4" or "A7" stands in it, or in the comment before.
The file must be named in a CMakeLists.txt of its folder, so that CTest runs it.
"""
import os
import re
import sys
import tempfile

WANTED = [str(n) for n in range(1, 33)] + [f"A{n}" for n in range(1, 24)]
ROW = re.compile(r"^\|\s*(A?\d+)\s*\|(.*)\|(.*)\|\s*$")
REFERENCE = re.compile(r"`([^`:]+)::([^`]+)`")


def test_text(text, name):
    """The test and the comment before it; None when it is not there."""
    if "." in name:
        suite, test = name.split(".", 1)
        start = re.search(rf"^(?:Test|ParameterizedTest)\((?:[^,()]*,\s*)?{re.escape(suite)},\s*{re.escape(test)}\b", text, re.M)
        start = start or re.search(rf"^ParameterizedTest\([^)]*\b{re.escape(suite)},\s*{re.escape(test)}\)", text, re.M)
        following = r"^(?:Test|ParameterizedTest|ParameterizedTestParameters|TestSuite)\("
    else:
        start = re.search(rf"^\s*(?:async )?def {re.escape(name)}\b", text, re.M)
        following = r"^\s*(?:async )?def "
    if not start:
        return None
    end = re.search(following, text[start.end():], re.M)
    body = text[start.start():start.end() + end.start()] if end else text[start.start():]
    before = text[:start.start()].rstrip("\n").split("\n")
    comment = []
    while before and re.match(r"^\s*(#|/\*|\*|//|@)|.*\*/$", before[-1]):
        comment.insert(0, before.pop())
    return "\n".join(comment) + "\n" + body


def names_rule(text, rule):
    if rule.startswith("A"):
        return re.search(rf"\b{rule}\b", text) is not None
    # "rule 4", "rules 4, 5 and 7", "rules 1-3"
    for listed in re.findall(r"\brules?\s+([\dA-Z][\dA-Z, andto.\-–]*)", text):
        if re.search(rf"(?<![\dA]){rule}(?!\d)", listed):
            return True
        for first, last in re.findall(r"(?<![\dA])(\d+)\s*(?:-|–|\.\.|to)\s*(\d+)", listed):
            if int(first) <= int(rule) <= int(last):
                return True
    return False


def check(root):
    problems = []
    path = os.path.join(root, "docs/rules.md")
    if not os.path.exists(path):
        return ["docs/rules.md: not there"]
    rows = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            match = ROW.match(line)
            if not match:
                continue
            rule = match.group(1)
            if rule in rows:
                problems.append(f"docs/rules.md: {rule}: two rows")
            rows[rule] = REFERENCE.findall(match.group(3))
    for rule in WANTED:
        if rule not in rows:
            problems.append(f"docs/rules.md: {rule}: no row")
        elif not rows[rule]:
            problems.append(f"docs/rules.md: {rule}: no test")
    problems += [f"docs/rules.md: {rule}: no such rule" for rule in rows if rule not in WANTED]
    for rule, references in rows.items():
        for file, name in references:
            problems += check_reference(root, rule, file, name)
    return problems


def check_reference(root, rule, file, name):
    where = f"docs/rules.md: {rule}: {file}::{name}"
    full = os.path.join(root, file)
    if not os.path.exists(full):
        return [f"{where}: no such file"]
    with open(full, encoding="utf-8") as f:
        text = test_text(f.read(), name)
    if text is None:
        return [f"{where}: no such test"]
    if not names_rule(text, rule):
        return [f"{where}: the test does not name {rule if rule[0] == 'A' else 'rule ' + rule}"]
    folder, base = os.path.split(file)
    listed = False
    while folder and not listed:
        lists = os.path.join(root, folder, "CMakeLists.txt")
        if os.path.exists(lists):
            with open(lists, encoding="utf-8") as f:
                text = f.read()
            stem = os.path.splitext(base)[0]
            listed = re.search(rf"\b{re.escape(stem)}\b", text) is not None or \
                re.search(rf"\b{re.escape(stem.removeprefix('test_'))}\b", text) is not None
        folder = os.path.dirname(folder)
    return [] if listed else [f"{where}: no CMakeLists.txt names the file, so nothing runs it"]


def self_test():
    """A check that cannot fail is none: each kind of fault must be found."""
    good = "/* rule 1, A1 */\nTest(s, holds)\n{\n}\nTest(s, other)\n{\n}\n"
    row = "| {} | what | `tests/test_a.c::{}` |\n"
    def table(skip=(), **names):
        return "".join(row.format(rule, names.get("r" + rule, "s.holds")) for rule in WANTED if rule not in skip)
    everything = good.replace("rule 1, A1", "rules " + ", ".join(WANTED[:32]) + " " + " ".join(WANTED[32:]))
    cases = [
        (table(), everything, "test_a.c", None),
        (table(skip=("7",)), everything, "test_a.c", "7: no row"),
        (table().replace("`tests/test_a.c::s.holds`", "", 1), everything, "test_a.c", "1: no test"),
        (table(r2="s.gone"), everything, "test_a.c", "no such test"),
        (table(r3="s.other"), everything, "test_a.c", "does not name rule 3"),
        (table(rA4="s.other"), everything, "test_a.c", "does not name A4"),
        (table(), everything, "test_b.c", "nothing runs it"),
        (table() + row.format("33", "s.holds"), everything, "test_a.c", "33: no such rule"),
    ]
    for text, tests, listed, wanted in cases:
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.join(root, "docs"))
            os.makedirs(os.path.join(root, "tests"))
            for file, content in (("docs/rules.md", text), ("tests/test_a.c", tests), ("tests/CMakeLists.txt", listed)):
                with open(os.path.join(root, file), "w", encoding="utf-8") as f:
                    f.write(content)
            found = check(root)
        if wanted is None and found:
            return [f"self-test: {found[0]} in a good table"]
        if wanted and not any(wanted in problem for problem in found):
            return [f"self-test: not found: {wanted}"]
    return []


def main():
    problems = self_test() + check(sys.argv[1] if len(sys.argv) > 1 else ".")
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
