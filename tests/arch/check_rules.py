#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/rules.md names a test for every rule and every resolution; is each there, does it run, does it name the rule?

    check_rules.py [SOURCE]

A row is `| rule | what it says | tests |`; a test is `path::name`, the path below tests/: a Criterion test `suite.name`,
or a function test_… of a script that runs its functions. A test names its rule: "rule 4" or "A7" stands in it, or in
the comment before. The file must be named in a CMakeLists.txt of its folder or one above, so that CTest runs it. Tests
that stand outside the rows need only be there and run.
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
        start = re.search(rf"^(?:Test|ParameterizedTest)\((?:[^,()]*,\s*)?{re.escape(suite)},\s*{re.escape(test)}\b", text,
                          re.M)
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
    for listed in re.findall(r"\b[Rr]ules?\s+([\dA-Z][\dA-Z, andto.\-–]*)", text):
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
                for file, name in REFERENCE.findall(line):
                    problems += check_reference(root, None, file, name)
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


def is_run(root, file):
    """A CMakeLists.txt beside the file or above it names it, with or without test_ and its end."""
    stem = os.path.splitext(os.path.basename(file))[0]
    folder = os.path.dirname(file)
    while folder:
        lists = os.path.join(root, folder, "CMakeLists.txt")
        if os.path.exists(lists):
            with open(lists, encoding="utf-8") as f:
                text = re.sub(r"#.*", "", f.read())
            if any(re.search(rf"\b{re.escape(name)}\b", text) for name in (stem, stem.removeprefix("test_"))):
                return True
        folder = os.path.dirname(folder)
    return False


def check_reference(root, rule, file, name, page="docs/rules.md"):
    """Problems of one test; `rule` None: it need not name one."""
    where = f"{page}: {rule or 'text'}: {file}::{name}"
    file = os.path.join("tests", file)
    full = os.path.join(root, file)
    if not os.path.exists(full):
        return [f"{where}: no such file"]
    with open(full, encoding="utf-8") as f:
        text = f.read()
    test = test_text(text, name)
    if test is None:
        return [f"{where}: no such test"]
    if "." not in name and not (name.startswith("test_") and re.search(r"\brun_tests\(.*\bglobals\(\)", text)):
        return [f"{where}: its script does not run it"]
    if re.search(r"\.disabled\s*=", test.split("{", 1)[0]):
        return [f"{where}: the test is disabled"]
    if rule and not names_rule(test, rule):
        return [f"{where}: the test does not name {rule if rule[0] == 'A' else 'rule ' + rule}"]
    return [] if is_run(root, file) else [f"{where}: no CMakeLists.txt names the file, so nothing runs it"]


def self_test():
    """A check that cannot fail is none: each kind of fault must be found."""
    every = ", ".join(WANTED[:32]) + " " + " ".join(WANTED[32:])
    good = f"/* rules {every} */\nTest(s, holds)\n{{\n}}\nTest(s, other)\n{{\n}}\n" \
        "Test(s, off, .disabled = true)\n{\n/* rule 5 */\n}\n"
    script = "def test_runs():\n    # rule 6\n    pass\n\n\ndef helps():\n    # rule 6\n    pass\n\n\n" \
        "run_tests(globals())\n"
    row = "| {} | what | `test_a.c::{}` |\n"

    def table(skip=(), **names):
        return "".join(row.format(rule, names.get("r" + rule, "s.holds")) for rule in WANTED if rule not in skip)

    def with_script(name):
        return table(skip=("6",)) + "| 6 | what | `b.py::%s` |\n" % name

    both = "test_a.c b.py"
    cases = [
        (table(), both, None),
        (with_script("test_runs") + "Also `test_a.c::s.other`.\n", both, None),
        (table(skip=("7",)), both, "7: no row"),
        (table().replace("`test_a.c::s.holds`", "", 1), both, "1: no test"),
        (table(r2="s.gone"), both, "no such test"),
        (table(r3="s.other"), both, "does not name rule 3"),
        (table(rA4="s.other"), both, "does not name A4"),
        (table(r5="s.off"), both, "disabled"),
        (with_script("helps"), both, "does not run it"),
        (table(), "test_c.c # test_a.c", "nothing runs it"),
        (table().replace("test_a.c", "test_d.c", 1), both, "no such file"),
        (table() + row.format("33", "s.holds"), both, "33: no such rule"),
        (table() + row.format("1", "s.holds"), both, "1: two rows"),
        (table() + "Also `test_a.c::s.gone`.\n", both, "text: test_a.c::s.gone: no such test"),
    ]
    for text, listed, wanted in cases:
        with tempfile.TemporaryDirectory() as root:
            for file, content in (("docs/rules.md", text), ("tests/test_a.c", good), ("tests/b.py", script),
                                  ("tests/CMakeLists.txt", listed)):
                os.makedirs(os.path.dirname(os.path.join(root, file)), exist_ok=True)
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
