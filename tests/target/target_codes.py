#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every row of proto/events.tsv that an iSCSI target can raise, raised by sensebus-target: each arrives once, as its
own code and with its own sense. A row that is marked so and that nothing here raises is an error."""
import csv
import re

from target_agent import Seen, sense_of, watched

from sensebus_testlib import *

TABLE = os.path.join(os.environ["SENSEBUS_SOURCE"], "proto/events.tsv")
PAIR = re.compile(r"\b([0-9A-F]{2})/([0-9A-F]{2}|\*)(?![0-9A-F])")
BATCH = 16  # senses that wait at once
LUN = 1

# Rows whose cause is not sense data or one Asynchronous Message: orders, and the events that follow.
ORDERS = {
    "NEXUS_RESTORED": [("drop", "fin")],
    "LOGIN_FAILED": [("refuse", "0x0301"), ("drop", "rst")],
    "ADDRESS_CHANGED": [("redirect", "127.0.0.1:1,1"), ("drop", "rst")],
    "LOGOUT_REQUESTED": [("async", 1)],
    "NEGOTIATION_REQUESTED": [("async", 4)],
    "CONNECTION_DROP_NOTICE": [("async", 2)],
    "SESSION_DROP_NOTICE": [("async", 3)],
    "ASYNC_EVENT_PENDING": [("async", 0, LUN)],
    "UNCLASSIFIED": [("async", 6)],
}
KEYS = {("47", "7F"): "b"}  # pairs that need another key than UNIT ATTENTION
# Rows whose sense has no pair in the table.
SENSES = {
    "DEFERRED_ERROR": ["hex:710003000000000a000000001100"],
    "VENDOR_SPECIFIC": ["6/80/00", "6/29/80"],
    "UNIT_ATTENTION_OTHER": ["6/01/02"],
}


def rows():
    with open(TABLE, encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def senses_of(row):
    """The senses of a row in the form of the order "sense"."""
    pairs = PAIR.findall(row["asc_ascq"].split(" except ")[0])
    return SENSES.get(row["name"], []) + [f"{KEYS.get(pair, '6')}/{pair[0]}/{pair[1].replace('*', '7e')}".lower()
                                          for pair in pairs]


def test_every_row_that_a_target_can_raise_has_a_cause():
    raisable = [r for r in rows() if r["asc_ascq"] or r["iscsi"]]
    missing = [r["name"] for r in raisable if not senses_of(r) and r["name"] not in ORDERS]
    check_equal(missing, [], "rows of events.tsv that nothing raises")
    check(len(raisable) > 70, "rows")


def bytes_of(sense):
    """(key, asc, ascq) of an order."""
    if sense.startswith("hex:"):
        data = bytes.fromhex(sense[4:])
        return data[2] & 15, data[12], data[13]
    return tuple(int(part, 16) for part in sense.split("/"))


def test_every_sense_arrives_once_as_its_code():
    causes = [(row["name"], sense) for row in rows() for sense in senses_of(row)]
    with watched() as (target, seen):
        told = []
        seen.subscription.wait(lambda s: len(with_sense(s)) >= 2, "power on of both units")
        before = with_sense(seen.subscription)
        for at in range(0, len(causes), BATCH):
            told += [(code, bytes_of(sense)) for code, sense in causes[at:at + BATCH]]
            for _, sense in causes[at:at + BATCH]:
                target.tell("sense", LUN, sense)
            seen.subscription.wait(lambda s: len(with_sense(s)) >= len(before) + len(told), f"{told[-BATCH:]}")
        target.tell("expect", "pending", 0, "60s")
        # The agent keeps a changed list of units back until it knows the difference.
        check_equal(sorted(with_sense(seen.subscription)), sorted(before + told), "events")
        print(f"{len(causes)} senses of {len({code for code, _ in causes})} rows")


def with_sense(subscription):
    events = [e for e in subscription.events() if e.HasField("sense") and e.origin.source == event_pb2.SOURCE_ISCSI]
    return [(code_pb2.Code.Name(e.code), sense_of(e)) for e in events]


def test_every_other_cause_is_told():
    with watched() as (target, seen):
        for code, orders in ORDERS.items():
            before = count(seen, code)
            for order in orders:
                target.tell(*order)
            seen.subscription.wait(lambda s, c=code, n=before: count(seen, c) > n, code)
            target.tell("refuse", 0)
            if orders[0][0] == "async" and orders[0][1] in (2, 3):
                target.tell("drop", "fin")
            if code != "ASYNC_EVENT_PENDING" and code != "UNCLASSIFIED":
                settled(target, seen)
            check_equal(count(seen, code), before + 1, code)


def settled(target, seen):
    """The agent is logged in again, and heard what each session hears first."""
    def ends(names):
        return sum(count(seen, name) for name in names)
    seen.subscription.wait(lambda s: ends(("SESSION_STARTED", "NEXUS_RESTORED")) ==
                           1 + ends(("SESSION_STOPPED",)) + nexus_losses(seen), "logged in again")
    target.tell("expect", "sessions", 1, "60s")
    target.tell("expect", "pending", 0, "60s")


def count(seen, code):
    return sum(code_pb2.Code.Name(e.code) == code for e in seen.subscription.events())


def nexus_losses(seen):
    return sum(code_pb2.Code.Name(e.code) == "NEXUS_LOST" and e.address.lun < 0 for e in seen.subscription.events())


if __name__ == "__main__":
    run_tests(globals())
