# SPDX-License-Identifier: Apache-2.0
"""Does a record match a filter? Written from the words of proto/sensebus/v1/events.proto, for the checker alone.

A filter is a dict with members of message Filter; a record is a history.RECORD tuple.
"""
import functools

from history import RECORD

CODE, SEVERITY, BITS, HOST = (RECORD.index(name) for name in ("code", "severity", "bits", "host"))
ADAPTER, TARGET, LUN, DESIGNATOR = (RECORD.index(name) for name in ("adapter", "target", "lun", "designator"))


@functools.lru_cache(maxsize=65536)
def glob_matches(pattern, text):
    """'*' any run of characters, '?' one."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(glob_matches(pattern[1:], text[i:]) for i in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and glob_matches(pattern[1:], text[1:])


def address_matches(pattern, record):
    if pattern.get("adapter", "") not in ("", record[ADAPTER]):
        return False
    if pattern["target"] not in (-1, record[TARGET]):
        return False
    last = pattern.get("lun_last", pattern["lun"])
    return pattern["lun"] == -1 or pattern["lun"] <= record[LUN] <= last


def matches(asked, record):
    """All members hold; of a list, one entry."""
    tests = {
        "codes": lambda codes: record[CODE] in codes,
        "categories": lambda categories: record[CODE] // 100 in categories,
        "minimum_severity": lambda least: record[SEVERITY] >= least,
        "hosts": lambda patterns: any(glob_matches(p, record[HOST]) for p in patterns),
        "designators": lambda patterns: any(glob_matches(p, record[DESIGNATOR]) for p in patterns),
        "addresses": lambda patterns: any(address_matches(p, record) for p in patterns),
        "any_aix_bits": lambda bits: record[BITS] & bits != 0,
        "exclude": lambda filters: not any(matches(f, record) for f in filters),
    }
    return all(tests[name](value) for name, value in asked.items())
