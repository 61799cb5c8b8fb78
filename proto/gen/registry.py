#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Everything that is made from proto/events.tsv, the event registry.

    registry.py EVENTS.TSV EVENT.PROTO --table OUT.c      the tables behind proto/registry.h, at build time
    registry.py EVENTS.TSV EVENT.PROTO --proto OUT.proto  proto/sensebus/v1/code.proto, checked in
    registry.py EVENTS.TSV EVENT.PROTO --markdown OUT.md  docs/events.md, checked in

With --check the file is compared instead of written: exit status 1 when they differ. The registry is checked on every
run; a fault is reported with its line. Standard library only.
"""
import argparse
import re
import sys

COLUMNS = ("num", "name", "category", "severity", "scope", "mode", "aix_bits", "asc_ascq", "iscsi", "linux", "cam", "sdi",
           "aix", "other", "meaning", "remedy")
MODES = {"I": "INITIATOR", "T": "TARGET", "B": "BOTH"}
MODE_WORDS = {"I": "initiator", "T": "target", "B": "both"}
NATIVE = (("asc_ascq", "Sense"), ("iscsi", "iSCSI"), ("linux", "Linux"), ("cam", "CAM"), ("sdi", "SDI"), ("aix", "AIX"),
          ("other", "Other"))
CATEGORY_WORDS = {
    "ADAPTER": "The adapter itself.",
    "RESET": "Resets and power-on: outstanding commands, reservations and unsaved settings may be gone.",
    "LINK": "Ports, links and fabrics between host and device.",
    "TOPOLOGY": "What exists, where it is and what it says it is.",
    "SESSION": "Sessions, logins and opens.",
    "DEVICE": "State and settings of one device.",
    "HEALTH": "Failing, or about to fail.",
    "TARGET_MODE": "The host as a target.",
    "SERVICE": "Sensebus about itself.",
    "OTHER": "Native events without a code of their own.",
}
ASYNC_EVENTS = range(256)


class Fault(Exception):
    """A mistake in the registry."""


class Entry:
    """One line of the registry. `senses` holds (asc, ascq or None for any, key or None for any)."""

    def __init__(self, cells):
        self.cells = dict(zip(COLUMNS, cells))
        self.number = int(self.cells["num"])
        self.name = self.cells["name"]
        self.aix_bits = int(self.cells["aix_bits"])
        self.senses = []
        self.exceptions = []  # (asc, ascq) pairs that another entry must list
        self.asyncs = []      # (first, last)
        self.deferred_response_codes = []
        self.vendor_from = None
        self.other_key = None
        self.parse_senses(self.cells["asc_ascq"])
        self.parse_asyncs(self.cells["iscsi"])

    def __getitem__(self, column):
        return self.cells[column]

    def parse_senses(self, text):
        """ASC/ASCQ pairs, '*' for any ASCQ, 'except' and '(key X)' behind a pair; or one of the three general rules."""
        if match := re.fullmatch(r"response code ([0-9A-F]{2})h or ([0-9A-F]{2})h, any ASC", text):
            self.deferred_response_codes = [int(code, 16) for code in match.groups()]
            return
        if match := re.fullmatch(r"ASC or ASCQ >= ([0-9A-F]{2})", text):
            self.vendor_from = int(match[1], 16)
            return
        if match := re.fullmatch(r"sense key ([0-9A-F]), any other ASC", text):
            self.other_key = int(match[1], 16)
            return
        item = re.compile(r"([0-9A-F]{2})/([0-9A-F]{2}|\*)( except ([0-9A-F]{2})/([0-9A-F]{2}))?( \(key ([0-9A-F])\))?( |$)")
        at = 0
        while at < len(text):
            match = item.match(text, at)
            if not match:
                raise Fault(f"{self.name}: asc_ascq not understood: {text[at:]!r}")
            asc, ascq, exception, except_asc, except_ascq, _, key, _ = match.groups()
            if exception:
                if ascq != "*" or except_asc != asc:
                    raise Fault(f"{self.name}: 'except' must name an ASCQ of the family before it")
                self.exceptions.append((int(except_asc, 16), int(except_ascq, 16)))
            self.senses.append((int(asc, 16), None if ascq == "*" else int(ascq, 16), int(key, 16) if key else None))
            at = match.end()

    def parse_asyncs(self, text):
        """'Async N', 'Async N-M', with a remark or without; what libiscsi or a login says is for the agent."""
        if not text or text.startswith(("libiscsi ", "login status class ")):
            return
        match = re.fullmatch(r"Async (\d+)(?:-(\d+))?(?: with no/short sense| \([A-Za-z]+\))?", text)
        if not match:
            raise Fault(f"{self.name}: iscsi not understood: {text!r}")
        first = int(match[1])
        self.asyncs.append((first, int(match[2]) if match[2] else first))


def enum_names(event_proto, enum):
    """Names of an enum of event.proto without their prefix."""
    text = open(event_proto, encoding="utf-8").read()
    match = re.search(r"^enum %s \{(.*?)^\}" % enum, text, re.M | re.S)
    if not match:
        raise Fault(f"{event_proto}: no enum {enum}")
    return {name for name in re.findall(r"^  %s_(\w+) = [1-9]" % enum.upper(), match[1], re.M)}


def read_registry(path, event_proto):
    """The entries, sorted by number, checked one by one."""
    lines = open(path, encoding="utf-8").read().splitlines()
    if tuple(lines[0].split("\t")) != COLUMNS:
        raise Fault(f"{path}:1: the columns must be {' '.join(COLUMNS)}")
    known = {column: enum_names(event_proto, column.capitalize()) for column in ("severity", "scope", "mode")}
    entries = []
    for number, line in enumerate(lines[1:], 2):
        try:
            cells = line.split("\t")
            if len(cells) != len(COLUMNS):
                raise Fault(f"{len(cells)} columns instead of {len(COLUMNS)}")
            entry = Entry(cells)
            check_entry(entry, known)
        except (Fault, ValueError) as fault:
            raise Fault(f"{path}:{number}: {fault}") from None
        entries.append(entry)
    try:
        check_registry(entries)
    except Fault as fault:
        raise Fault(f"{path}: {fault}") from None
    return sorted(entries, key=lambda entry: entry.number)


def check_entry(entry, known):
    if not 100 <= entry.number < 1000:
        raise Fault(f"{entry.name}: number {entry.number} is not in 100..999")
    if not re.fullmatch(r"[A-Z][A-Z0-9_]*", entry.name):
        raise Fault(f"not a name: {entry.name!r}")
    if entry["mode"] not in MODES:
        raise Fault(f"{entry.name}: unknown mode {entry['mode']!r}")
    names = {"severity": entry["severity"], "scope": entry["scope"], "mode": MODES[entry["mode"]]}
    for column, name in names.items():
        if name not in known[column]:
            raise Fault(f"{entry.name}: unknown {column} {name!r}")
    if not 0 <= entry.aix_bits <= 15:
        raise Fault(f"{entry.name}: AIX bits {entry.aix_bits} are not in 0..15")
    if entry["category"] not in CATEGORY_WORDS:
        raise Fault(f"{entry.name}: unknown category {entry['category']!r}")
    if not entry["meaning"]:
        raise Fault(f"{entry.name}: no meaning")
    if not re.fullmatch(r"[A-Z`].*\.", entry["remedy"]) or len(entry["remedy"]) > 140:
        raise Fault(f"{entry.name}: the remedy must be one sentence of at most 140 characters")


def check_unique(what, values):
    seen = set()
    for value in values:
        if value in seen:
            raise Fault(f"{what} {value} given twice")
        seen.add(value)


def check_registry(entries):
    """What no line can say for itself: nothing twice, nothing missing."""
    check_unique("number", [entry.number for entry in entries])
    check_unique("name", [entry.name for entry in entries])
    hundreds = {}
    for entry in entries:
        if hundreds.setdefault(entry["category"], entry.number // 100) != entry.number // 100:
            raise Fault(f"{entry.name}: category {entry['category']} has the numbers {hundreds[entry['category']]}xx")
    check_unique("ASC/ASCQ", ["%02X/%s" % (asc, "*" if ascq is None else "%02X" % ascq)
                              for entry in entries for asc, ascq, _ in entry.senses])
    exact = {(asc, ascq) for entry in entries for asc, ascq, _ in entry.senses if ascq is not None}
    for entry in entries:
        for asc, ascq in entry.exceptions:
            if (asc, ascq) not in exact:
                raise Fault(f"{entry.name}: no other code has {asc:02X}/{ascq:02X}, which it excepts")
    covered = [event for entry in entries for first, last in entry.asyncs for event in range(first, last + 1)]
    check_unique("iSCSI AsyncEvent", covered)
    if sorted(covered) != list(ASYNC_EVENTS):
        raise Fault("an iSCSI AsyncEvent has no code: %s" % sorted(set(ASYNC_EVENTS) - set(covered)))
    for what in ("deferred_response_codes", "vendor_from", "other_key"):
        if len([entry for entry in entries if getattr(entry, what)]) != 1:
            raise Fault(f"there must be exactly one code with the rule {what}")


def c_string(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def enum_constant(enum, name):
    return f"SENSEBUS__V1__{enum.upper()}__{enum.upper()}_{name}"


def table(entries):
    """C source of the tables."""
    out = ["/* SPDX-License-Identifier: Apache-2.0 */",
           "/* Written by proto/gen/registry.py from proto/events.tsv. */",
           '#include "proto/registry_table.h"',
           "",
           '#include "sensebus/v1/event.pb-c.h"',
           "",
           "const struct registry_entry registry_entries[] = {"]
    for entry in entries:
        out += [f"    {{.code = {entry.number},",
                f"     .name = {c_string(entry.name)},",
                f"     .category = {c_string(entry['category'])},",
                f"     .severity = {enum_constant('severity', entry['severity'])},",
                f"     .scope = {enum_constant('scope', entry['scope'])},",
                f"     .mode = {enum_constant('mode', MODES[entry['mode']])},",
                f"     .aix_bits = {entry.aix_bits},",
                f"     .meaning = {c_string(entry['meaning'])},",
                f"     .remedy = {c_string(entry['remedy'])}}},"]
    out += ["};",
            "const size_t n_registry_entries = sizeof(registry_entries) / sizeof(registry_entries[0]);",
            "",
            "const struct registry_sense registry_senses[] = {"]
    senses = [(asc, -1 if ascq is None else ascq, -1 if key is None else key, entry)
              for entry in entries for asc, ascq, key in entry.senses]
    for asc, ascq, key, entry in sorted(senses, key=lambda sense: sense[:3]):
        ascq = "REGISTRY_ANY" if ascq < 0 else f"0x{ascq:02X}"
        key = "REGISTRY_ANY" if key < 0 else f"0x{key:X}"
        out.append(f"    {{.asc = 0x{asc:02X}, .ascq = {ascq}, .key = {key}, .code = {entry.number}}}, /* {entry.name} */")
    out += ["};",
            "const size_t n_registry_senses = sizeof(registry_senses) / sizeof(registry_senses[0]);",
            "",
            "const struct registry_async registry_asyncs[] = {"]
    for first, last, entry in sorted((first, last, entry) for entry in entries for first, last in entry.asyncs):
        out.append(f"    {{.first = {first}, .last = {last}, .code = {entry.number}}}, /* {entry.name} */")
    out += ["};",
            "const size_t n_registry_asyncs = sizeof(registry_asyncs) / sizeof(registry_asyncs[0]);",
            "",
            "const struct registry_sense_rules registry_sense_rules = {"]
    deferred = next(entry for entry in entries if entry.deferred_response_codes)
    vendor = next(entry for entry in entries if entry.vendor_from)
    other = next(entry for entry in entries if entry.other_key)
    codes = ", ".join(f"0x{code:02X}" for code in deferred.deferred_response_codes)
    out += [f"    .deferred_response_codes = {{{codes}}},",
            f"    .deferred_code = {deferred.number}, /* {deferred.name} */",
            f"    .vendor_from = 0x{vendor.vendor_from:02X},",
            f"    .vendor_code = {vendor.number}, /* {vendor.name} */",
            f"    .other_key = 0x{other.other_key:X},",
            f"    .other_code = {other.number}, /* {other.name} */",
            "};"]
    return "\n".join(out) + "\n"


PROTO_HEAD = """\
// SPDX-License-Identifier: Apache-2.0
//
// Event codes: what happened. Written by proto/gen/registry.py from proto/events.tsv (which also says severity, scope,
// mode, AIX bits, native codes and remedy of each); a test keeps the two equal. Numbers and names never change their
// meaning. number / 100 is the category. 1000 and up are for later categories.
syntax = "proto3";

package sensebus.v1;

enum Code {
  CODE_UNSPECIFIED = 0;
"""


def proto(entries):
    """code.proto."""
    return PROTO_HEAD + "".join(f"  {entry.name} = {entry.number};  // {entry['meaning']}\n" for entry in entries) + "}\n"


MARKDOWN_HEAD = """\
<!-- SPDX-License-Identifier: Apache-2.0 -->
<!-- Written by proto/gen/registry.py from proto/events.tsv; a test keeps the two equal. Edit events.tsv. -->
# Event reference

{n} codes; a code's number divided by 100 is its category (SERVICE and OTHER share 9). Severity and scope are defaults: a
record carries the actual ones. *Mode* is the role of the reporting host on the nexus. *Bits* are the bits of the AIX event
word: 1 fatal hardware error, 2 adapter command failed, 4 reset, 8 buffers exhausted. *Native codes* are what becomes this
code; every record keeps its native event unchanged beside the code. `sensebus explain CODE` and `sensebus explain ASC/ASCQ`
print the same.

How sense data gets its code, first rule that holds: a deferred error (response code 71h, 73h) is DEFERRED_ERROR; a sense
key that answers the command itself (ILLEGAL REQUEST, DATA PROTECT, BLANK CHECK, COPY ABORTED, VOLUME OVERFLOW, MISCOMPARE)
is no event; a listed ASC/ASCQ has its code; then a listed family (`04/*`) has its own; then an ASC or ASCQ of 80h and up is
VENDOR_SPECIFIC, unless the key is MEDIUM ERROR or ABORTED COMMAND; then sense key 6 is UNIT_ATTENTION_OTHER; anything else
is an ordinary error reply and no event.
"""


def cell(text):
    return text.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_") or "-"


def native_codes(entry):
    return "<br>".join(f"{word}: {cell(entry[column])}" for column, word in NATIVE if entry[column]) or "-"


def sentence(text):
    """A remedy keeps its `code` spans, so it is not escaped like a cell."""
    return text.replace("|", "\\|")


def markdown(entries):
    """docs/events.md."""
    categories = list(dict.fromkeys(entry["category"] for entry in entries))
    out = [MARKDOWN_HEAD.format(n=len(entries))]
    for category in categories:
        members = [entry for entry in entries if entry["category"] == category]
        out += [f"## {members[0].number // 100}xx {category}", "", CATEGORY_WORDS[category], "",
                "| number | name | severity | scope | mode | bits | native codes | meaning | remedy |",
                "|---|---|---|---|---|---|---|---|---|"]
        for entry in members:
            out.append(f"| {entry.number} | `{entry.name}` | {entry['severity']} | {entry['scope']} "
                       f"| {MODE_WORDS[entry['mode']]} | {entry.aix_bits or '-'} | {native_codes(entry)} "
                       f"| {cell(entry['meaning'])} | {sentence(entry['remedy'])} |")
        out.append("")
    return "\n".join(out).rstrip("\n") + "\n"


def write_or_check(path, text, check):
    if not check:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return
    try:
        found = open(path, encoding="utf-8").read()
    except OSError as error:
        raise Fault(f"{path}: {error.strerror}") from None
    if found != text:
        raise Fault(f"{path} is not what proto/gen/registry.py makes of proto/events.tsv: write it anew")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("events_tsv")
    parser.add_argument("event_proto")
    parser.add_argument("--table", metavar="FILE")
    parser.add_argument("--proto", metavar="FILE")
    parser.add_argument("--markdown", metavar="FILE")
    parser.add_argument("--check", action="store_true", help="compare instead of write")
    arguments = parser.parse_args()
    try:
        entries = read_registry(arguments.events_tsv, arguments.event_proto)
        for path, make in ((arguments.table, table), (arguments.proto, proto), (arguments.markdown, markdown)):
            if path:
                write_or_check(path, make(entries), arguments.check)
    except Fault as fault:
        sys.exit(f"registry.py: {fault}")


if __name__ == "__main__":
    main()
