#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every row of proto/events.tsv that an iSCSI target can raise, raised by sensebus-target with an agent and a broker
attached: each cause arrives once, as the row's code, with the sense bytes that the target says it sent.

What a row's causes are is read from the table: each ASC/ASCQ pair, each range of Asynchronous Messages, and the words of
the column `iscsi`, which must be known here. Rows without either are raised by what ORDERS has for them, or are in
NOT_RAISABLE with the reason. A row that is in neither, or in both, fails."""
import collections
import csv
import re
import threading

from target_agent import AFTER_LOGIN, Seen, brief
from target_program import Target

from agent_program import *
from sensebus.target.v1 import target_pb2 as t

TABLE = os.path.join(SOURCE, "proto/events.tsv")
PAIR = re.compile(r"\b([0-9A-F]{2})/([0-9A-F]{2}|\*)(?![0-9A-F])(?: \(key ([0-9A-F])\))?")
ASYNC = re.compile(r"^Async (\d+)(?:-(\d+))?(?: .*)?$")
LOGOUT, DROPS, ENDS = 1, (2, 3), (1, 2, 3, 4)  # Asynchronous Messages, and those after which a session ends
OTHER_QUALIFIER = 0x7E     # of a family, 04/*: one that the table does not name
UNIT_ATTENTION, ILLEGAL_REQUEST = 6, 5
LUN = 1
BATCH = 16                 # senses that wait at once
LONG = "60s"

# Words of the column `asc_ascq`, and a sense that is meant: key, ASC, ASCQ, deferred.
SENSE_WORDS = {
    "sense key 6, any other ASC": (UNIT_ATTENTION, 0x01, 0x02, False),
    "ASC or ASCQ >= 80": (UNIT_ATTENTION, 0x29, 0x80, False),
    "response code 71h or 73h, any ASC": (3, 0x11, 0x00, True),
}
# Words of the column `iscsi`, and orders that do it.
ORDER_WORDS = {
    "login status class 1 (redirect)": [("redirect", "127.0.0.1:1,1"), ("drop", "rst")],
    "login status class 2, 3": [("refuse", "0x0301"), ("drop", "rst")],
    "libiscsi socket error / reconnect begun": [("drop", "fin")],
    "libiscsi reconnect done": [("drop", "fin")],
}
# Rows of which the table says nothing of iSCSI, and that a target causes all the same. "until" waits for an event.
ORDERS = {
    "DEVICE_ADDED": [("add", 40)],
    "DEVICE_REMOVED": [("remove", 40)],
    "DEVICE_ONLINE": [("offline", LUN, "on"), ("until", "DEVICE_NOT_READY"), ("offline", LUN, "off")],
    "SESSION_STOPPED": [("async", LOGOUT)],
    "SESSION_STARTED": [("async", LOGOUT)],
}
NOT_RAISABLE = {
    "of an adapter of the host": """ADAPTER_FATAL ADAPTER_COMMAND_FAILED ADAPTER_RESET ADAPTER_ADDED ADAPTER_REMOVED ADAPTER_CHANGED
        ADAPTER_SUSPENDED ADAPTER_RESUMED ADAPTER_ENVIRONMENT""",
    "of links that are not TCP": """LINK_UP LINK_DOWN LINK_DEAD LINK_STATE_UNKNOWN LINK_ERROR LOOP_INITIALIZED LOOP_RESET
        FABRIC_STATE_CHANGE PORT_ONLINE PORT_OFFLINE FABRIC_CHANGED FPIN_LINK_INTEGRITY FPIN_DELIVERY FPIN_CONGESTION
        FPIN_PEER_CONGESTION UNSOLICITED_RESELECTION TOPOLOGY_CHANGED""",
    "of devices and ports that the host's kernel has": "TARGET_ONLINE TARGET_OFFLINE TARGET_REMOVED DEVICE_OFFLINE",
    "told by whoever resets: those who are reset hear 29/02 and 29/03": "TARGET_RESET",
    "of programs that use Sensebus": """DEVICE_FIRST_OPEN DEVICE_LAST_CLOSE DEVICE_LAST_CLOSE_ERROR PASSTHROUGH_USED PRIVATE""",
    "the host is the target": "REMOTE_LOGIN REMOTE_LOGOUT BUFFERS_EXHAUSTED BUFFERS_RESUMED TARGET_WRITE_COMPLETE",
    "of Sensebus itself": "EVENTS_LOST AGENT_CONNECTED AGENT_LOST REGISTRATION_CANCELLED RESYNC BROKER_STOPPING",
}


# What is said more often than it is so, and told once: every unit says that another comes or goes, and a unit that is not
# ready says it to every command.
FOLDED = {bytes([0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, asc, ascq, 0, 0, 0, 0]): code
          for key, asc, ascq, code in ((UNIT_ATTENTION, 0x3F, 0x0E, "REPORTED_LUNS_CHANGED"), (2, 0x04, 0x12, "DEVICE_NOT_READY"))}


# ---------------------------------------------------------------------------------------------------- what the table wants

def rows():
    with open(TABLE, encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def senses_of(row):
    """(key, asc, ascq, deferred) of each sense of a row. Every word of the column must be understood."""
    text = row["asc_ascq"]
    if text in SENSE_WORDS:
        return [SENSE_WORDS[text]]
    found = list(PAIR.finditer(text.split(" except ")[0]))
    rest = PAIR.sub("", text.replace(" except ", " "))
    check(not rest.strip(), f"{row['name']}: nobody knows what {rest.strip()!r} of {text!r} is")
    return [(int(key or "6", 16), int(asc, 16), OTHER_QUALIFIER if ascq == "*" else int(ascq, 16), False)
            for asc, ascq, key in (match.groups() for match in found)]


def messages_of(row):
    """Numbers of Asynchronous Messages of a row: both ends of a range, and one between."""
    match = ASYNC.match(row["iscsi"])
    if not match:
        return []
    first, last = int(match.group(1)), int(match.group(2) or match.group(1))
    return sorted({first, (first + last) // 2, last})


def orders_of(row):
    words = row["iscsi"]
    check(not words or messages_of(row) or words in ORDER_WORDS, f"{row['name']}: nobody knows what {words!r} is")
    return ORDER_WORDS.get(words) or ORDERS.get(row["name"])


def reasons():
    return {name: reason for reason, names in NOT_RAISABLE.items() for name in names.split()}


def fault_of(row):
    """What is wrong with a row, None when nothing is."""
    try:
        raised = senses_of(row) or messages_of(row) or orders_of(row)
    except AssertionError as error:
        return str(error)
    if not raised and row["name"] not in reasons():
        return f"{row['name']}: nothing raises it, and there is no reason why not"
    if raised and (row["name"] in reasons() or row["mode"] == "T"):
        return f"{row['name']}: it is raised, and there is a reason why that cannot be"
    return None


def test_every_row_is_raised_or_has_a_reason():
    everything = rows()
    check_equal([fault_of(row) for row in everything if fault_of(row)], [], "rows")
    names = {row["name"] for row in everything}
    check_equal(sorted((set(reasons()) | set(ORDERS)) - names), [], "names that no row has")
    print(f"{len(everything) - len(reasons())} rows are raised, {len(reasons())} cannot be")


def test_the_manual_has_the_same_reasons():
    with open(os.path.join(SOURCE, "docs/target.md"), encoding="utf-8") as file:
        table = re.search(r"^\| why not \| codes \|\n\|.*\n((?:\|.*\n)+)", file.read(), re.M).group(1)
    listed = {name: reason for reason, names in re.findall(r"^\| (.*) \| (.*) \|$", table, re.M)
              for name in re.findall(r"`(\w+)`", names)}
    check_equal(listed, reasons(), "why rows are not raised")


def test_a_row_that_nobody_raises_is_found():
    row = dict(rows()[0], name="NEW", asc_ascq="", iscsi="", mode="I")
    for members, text in (({}, "nothing raises it"), ({"asc_ascq": "6 or 7"}, "nobody knows"), ({"iscsi": "Async twelve"}, "nobody knows"),
                          ({"name": "LINK_UP", "asc_ascq": "29/00"}, "there is a reason"),
                          ({"asc_ascq": "29/00", "mode": "T"}, "there is a reason")):
        check(text in (fault_of({**row, **members}) or ""), f"{members}: {fault_of({**row, **members})}")
    check_equal(fault_of({**row, "asc_ascq": "29/00"}), None)


# ---------------------------------------------------------------------------------------------------- raising

class Told:
    """What the target says it sent, from its own Watch."""

    def __init__(self, stub):
        self.call = stub.Watch(t.WatchRequest())
        next(self.call)
        self.happenings = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        with contextlib.suppress(grpc.RpcError):
            for happening in self.call:
                self.happenings.append(happening)

    def senses(self):
        """Sense that is an event by its key (docs/events.md): not what only answers a command."""
        return [h.sense.sense for h in self.happenings if h.WhichOneof("what") == "sense" and key_of(h.sense.sense) != ILLEGAL_REQUEST]

    def messages(self):
        return [h.async_message for h in self.happenings if h.WhichOneof("what") == "async_message"]


def key_of(sense):
    return (sense[1] if sense[0] in (0x72, 0x73) else sense[2]) & 15


def sense_bytes(n, key, asc, ascq, deferred):
    """Fixed and descriptor format in turn, each with its own number as command-specific information."""
    if n % 2:
        descriptor = bytes([1, 10, 0, 0]) + n.to_bytes(8, "big")
        return bytes([0x73 if deferred else 0x72, key, asc, ascq, 0, 0, 0, len(descriptor)]) + descriptor
    return bytes([0x71 if deferred else 0x70, 0, key, 0, 0, 0, 0, 10]) + n.to_bytes(4, "big") + bytes([asc, ascq, 0, 0, 0, 0])


@contextlib.contextmanager
def attached(units=2):
    """A target, an agent that has heard what each session hears first, and what both say from the beginning on."""
    with Target(units=units, grpc_at="127.0.0.1:0") as target:
        stub = target.stub()
        told = Told(stub)
        with Broker("--agent-heartbeat", "200ms") as broker, Agent(broker, targets=[target.url()], poll="50ms"), \
                Subscription(broker, oldest=events_pb2.StartOldest()) as subscription:
            seen = Seen(subscription)
            seen.expect(("SESSION_STARTED", None))
            subscription.wait(lambda s: len(with_sense(s)) >= units, "power on of all units")
            yield target, stub, told, seen


def name_of(event):
    return brief(event)[0]


def with_sense(subscription):
    """Events of CHECK CONDITION."""
    return [e for e in of_targets(subscription.events()) if e.HasField("sense") and e.native.name != "async-message"]


def count(seen, name):
    return sum(name_of(e) == name for e in of_targets(seen.subscription.events()))


def check_senses(seen, told):
    """What the agent told of is what the target sent: each once, byte by byte."""
    def differences():
        """How many more arrived than were sent, for each sense; one of both may come here later than the other."""
        n = collections.Counter(e.sense.raw for e in with_sense(seen.subscription))
        n.subtract(collections.Counter(told.senses()))
        return {sense.hex(): more for sense, more in n.items() if more and sense not in FOLDED}
    try:
        wait_until(lambda: not differences(), "as many events as senses were sent")
    except AssertionError as error:
        raise AssertionError(f"more arrived than were sent, or fewer: {differences()}") from error
    for sense, code in FOLDED.items():
        check(sense not in told.senses() or 0 < count(seen, code) <= told.senses().count(sense), code)


def test_every_sense_arrives_once_as_it_was_sent():
    causes = [(row["name"], sense_bytes(n, *sense))
              for n, (row, sense) in enumerate((row, sense) for row in rows() for sense in senses_of(row))]
    with attached() as (target, stub, told, seen):
        for at in range(0, len(causes), BATCH):
            for _, sense in causes[at:at + BATCH]:
                check_equal(stub.Run(t.Order(sense=t.Sense(lun=LUN, raw=sense)), timeout=LIMIT_S).sense, sense, "sense")
            target.tell("expect", "pending", 0, LONG)
        wait_until(lambda: {sense for _, sense in causes} <= set(told.senses()), "all causes are sent")
        check_senses(seen, told)
        got = {e.sense.raw: e for e in with_sense(seen.subscription)}
        for name, sense in causes:
            event = got[sense]
            check_equal(name_of(event), name, f"code of {sense.hex()}")
            check(event.address.lun in (LUN, -1) and event.count <= 1, f"{name}: unit {event.address.lun}, {event.count} times")
        print(f"{len(causes)} senses of {len({name for name, _ in causes})} rows")


MALFORMED = [bytes.fromhex(text) for text in (
    "", "70", "72", "700006", "7f0006" + 15 * "00", 252 * "ff", 18 * "00", "7406290000000000",
    "70000600000000ff" + "00000000" + "2904" + "00000000",  # longer by its own word than it is
    "72062a09000000ff", "7206290400000004ffff0000", "7206290400000006020600000000")]


def test_malformed_sense_ends_nothing():
    good = sense_bytes(1, UNIT_ATTENTION, 0x2A, 0x09, False)
    with attached() as (target, stub, _, seen):
        before = [session.tsih for session in stub.GetState(t.GetStateRequest(), timeout=LIMIT_S).sessions]
        for sense in (*MALFORMED, good):
            stub.Run(t.Order(sense=t.Sense(lun=LUN, raw=sense)), timeout=LIMIT_S)
        target.tell("expect", "pending", 0, LONG)
        seen.subscription.wait(lambda s: any(e.sense.raw == good for e in with_sense(s)), "sense that is well-formed")
        check_equal([session.tsih for session in stub.GetState(t.GetStateRequest(), timeout=LIMIT_S).sessions], before, "sessions")
        check_equal(count(seen, "NEXUS_LOST"), 0, "sessions lost")


def test_every_message_arrives_once_as_it_was_sent():
    causes = [(row["name"], number) for row in rows() for number in messages_of(row)]
    with attached() as (target, stub, told, seen):
        for name, number in causes:
            before, began = count(seen, name), begins(seen)
            parameters = [number, 0, 3] if number in ENDS else [number, 7, 9]  # 0 s to wait, 3 s for it
            stub.Run(t.Order(async_message=t.AsyncMessage(event=number, lun=LUN, parameters=parameters)), timeout=LIMIT_S)
            seen.subscription.wait(lambda s, c=name, n=before: count(seen, c) > n, name)
            event = [e for e in of_targets(seen.subscription.events()) if name_of(e) == name][-1]
            check_equal((event.native.name, event.native.code, list(event.native.parameters)),
                        ("async-message", number, parameters), name)
            if number in DROPS:
                target.tell("drop", "fin")
            if number in ENDS:
                settled(target, seen, began)
        sense = sense_bytes(0, UNIT_ATTENTION, 0x2A, 0x09, False)
        stub.Run(t.Order(async_message=t.AsyncMessage(event=0, lun=LUN, sense=sense)), timeout=LIMIT_S)
        seen.subscription.wait(lambda s: count(seen, "CAPACITY_CHANGED") > 0, "the sense of a message")
        wait_until(lambda: len(told.messages()) > len(causes), "what the target says of its messages")
        native = [e for e in of_targets(seen.subscription.events()) if e.native.name == "async-message"]
        check_equal([(e.native.code, list(e.native.parameters)) for e in native],
                    [(m.event, list(m.parameters)) for m in told.messages()], "messages: each once, in order")
        check_equal((native[-1].sense.raw, name_of(native[-1])), (sense, "CAPACITY_CHANGED"), "the sense of a message")
        check_senses(seen, told)
        print(f"{len(causes)} messages of {len({name for name, _ in causes})} rows")


def test_everything_else_is_told_once():
    causes = {}  # rows by what raises them
    for row in rows():
        if orders_of(row):
            causes.setdefault(tuple(orders_of(row)), []).append(row["name"])
    with attached() as (target, _, told, seen):
        for orders, names in causes.items():
            before, began = [count(seen, name) for name in names], begins(seen)
            for order in orders:
                if order[0] == "until":
                    seen.subscription.wait(lambda s, c=order[1]: count(seen, c), order[1])
                else:
                    target.tell(*order)
            for name, n in zip(names, before):
                seen.subscription.wait(lambda s, c=name, m=n: count(seen, c) > m, name)
            if orders[0][0] in ("refuse", "redirect"):
                target.tell("refuse", 0)
            if orders[0][0] not in ("add", "remove", "offline"):
                settled(target, seen, began)
            check_equal([count(seen, name) for name in names], [n + 1 for n in before], f"{names}")
        check_senses(seen, told)
        print(f"{sum(len(names) for names in causes.values())} other rows")


def begins(seen):
    return count(seen, "SESSION_STARTED") + count(seen, "NEXUS_RESTORED")


def settled(target, seen, before):
    """The agent is logged in again, one time more than `before`, and heard what each session hears first."""
    seen.subscription.wait(lambda s: begins(seen) > before, "logged in again")
    target.tell("expect", "sessions", 1, LONG)
    target.tell("expect", "pending", 0, LONG)


if __name__ == "__main__":
    run_tests(globals())
