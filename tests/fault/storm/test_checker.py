# SPDX-License-Identifier: Apache-2.0
"""Does the checker find what is wrong? A good history is told, then spoilt in one place after the other. The same once more
with an auditor that retention has overtaken: the checker has to say so, and to find all the rest as before."""
import copy
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
import checker  # noqa: E402
from sensebus_testlib import check, check_equal, run_tests  # noqa: E402

E, OTHER = 77, 78  # log epochs
N = 60             # records: 1 is the broker's, 2.. are events of two agents in turn, 30 stands for one that was refused
KEEPS = 8          # of the newest the broker trims none
UNKNOWN = range(47, 53)  # what a lagging auditor does not get
LUN_RESET, AGENT_CONNECTED, EVENTS_LOST = 203, 902, 901
OF_A = {"hosts": ["a"]}


def event_of(sequence):
    """(host, number) of the agents' record there."""
    return ("a", "b")[sequence % 2], sequence // 2


def record(sequence):
    host, n = event_of(sequence)
    members = [sequence, 1000 + sequence, 10 * sequence, 1, host, 5, n, LUN_RESET, 2, 1 << sequence % 4, "iscsi0", 0,
               sequence % 5, "naa.1", 0, 0]
    if sequence == 1:
        members[3:8] = [9, "a", 0, 0, AGENT_CONNECTED]
    if sequence == 30:
        members[3:8] = [9, host, 0, 0, EVENTS_LOST]
        members[14:] = [n, n]
    return members


class Story:
    """Tells a history: facts in order, a second apart."""

    def __init__(self):
        self.facts = []

    def tell(self, kind, **members):
        self.facts.append({"k": kind, "t": float(len(self.facts)), **members})

    def stream(self, s, i, start, at=0, newest=N, oldest=0, **req):
        self.tell("open", s=s, i=i, req={"policy": "LAG", "mark": 0, "start": start, **req})
        self.tell("opened", s=s, i=i, E=E, at=at, oldest=oldest, newest=newest)

    def events(self, s, i, *sequences):
        self.tell("ev", s=s, i=i, x=[x for q in sequences for x in (q, 1000 + q)])

    def at(self, kind, s, i, at):
        self.tell(kind, s=s, i=i, E=E, at=at)

    def gap(self, s, i, first, last, count, least, bits, stage, epoch=E):
        self.tell("gap", s=s, i=i, f=epoch, **{"from": first}, E=E, to=last, count=count, least=least, bits=bits, stage=stage)

    def end(self, s, i, code, details="", ours=False):
        self.tell("end", s=s, i=i, code=code, details=details, ours=ours)


def of_a(first, last):
    return [q for q in range(first, last + 1) if q % 2 == 0 and q != 30]


def bits_of(sequences):
    bits = 0
    for q in sequences:
        bits |= 1 << q % 4
    return bits


def good_history():
    t = Story()
    t.tell("run", seed=1, agents=["a", "b"], subscribers=[])
    t.tell("life", keeps=KEEPS)
    for host in "ab":
        numbers = [(event_of(q)[1], q) for q in range(2, N + 1) if event_of(q)[0] == host]
        t.tell("made", a=host, e=5, x=[[n, 1000 + q, q == 30] for n, q in numbers])
        t.tell("hello", a=host, e=5, oldest=1)
        t.tell("welcome", a=host, e=5, E=E, n=0)
    t.tell("refused", a="a", e=5, n=15, reason="origin.host: is not a")
    t.stream("auditor", 1, ["oldest"], newest=1)
    t.stream("live", 1, ["now"], at=20, newest=20, policy="LIVE", filter=OF_A)
    t.tell("rec", s="auditor", i=1, E=E, x=[record(q) for q in range(1, 41)])
    t.tell("ack", a="a", e=5, E=E, n=20)
    t.stream("snapshot", 1, ["snapshot"], at=40, newest=40, filter=OF_A)
    t.tell("fault", what="kill -9", who="broker")
    t.end("auditor", 1, "UNAVAILABLE", "Socket closed")
    t.stream("auditor", 2, ["position", E, 40], at=40, newest=40)
    t.tell("welcome", a="a", e=5, E=E, n=20)
    t.tell("rec", s="auditor", i=2, E=E, x=[record(q) for q in range(41, N + 1)])
    t.tell("ack", a="a", e=5, E=E, n=30)
    t.tell("ack", a="b", e=5, E=E, n=29)
    # one that reads all, in two streams
    t.stream("all", 1, ["oldest"])
    t.events("all", 1, *range(1, 11))
    t.at("synced", "all", 1, 10)
    t.at("closed", "all", 1, 10)
    t.end("all", 1, "UNAVAILABLE")
    t.stream("all", 2, ["position", E, 10], at=10)
    t.events("all", 2, *range(11, N + 1))
    # one with a filter, and marks; the broker's first record names host a too
    t.stream("host", 1, ["oldest"], filter=OF_A)
    t.events("host", 1, 1, *[q for q in range(2, 21, 2)])
    t.at("mark", "host", 1, 21)
    t.events("host", 1, *[q for q in range(22, N + 1, 2)])
    # LIVE, and slow
    t.at("synced", "live", 1, 20)
    t.events("live", 1, 22, 24)
    missed = range(26, 41, 2)
    t.gap("live", 1, 25, 40, len(missed), False, bits_of(missed), 5 + 1)
    t.events("live", 1, *range(42, N + 1, 2))
    # a cursor
    t.stream("cursor", 1, ["cursor", "c"])
    t.events("cursor", 1, *range(1, 31))
    t.tell("try", s="cursor", cursor="c", E=E, at=30)
    t.tell("moved", s="cursor", cursor="c", E=E, at=30)
    t.events("cursor", 1, *range(31, 41))
    t.tell("try", s="cursor", cursor="c", E=E, at=40)
    t.end("cursor", 1, "UNAVAILABLE")
    t.stream("cursor", 2, ["cursor", "c"], at=30)
    t.events("cursor", 2, *range(31, N + 1))
    # a snapshot: of each device (lun) the newest record of each code
    t.at("snap", "snapshot", 1, 40)
    t.events("snapshot", 1, 32, 34, 36, 38, 40)
    t.at("synced", "snapshot", 1, 40)
    t.events("snapshot", 1, *range(42, N + 1, 2))
    # one that is put out, and told where to go on
    t.stream("slow", 1, ["since", 105], at=10, policy="DISCONNECT")
    t.events("slow", 1, *range(11, 31))
    t.at("closed", "slow", 1, 30)
    t.end("slow", 1, "RESOURCE_EXHAUSTED", "reads too slowly: 30 records behind; resume from 4d:30")
    t.stream("slow", 2, ["position", E, 30], at=30, policy="DISCONNECT", stop_at_newest=True)
    t.events("slow", 2, *range(31, N + 1))
    t.at("synced", "slow", 2, N)
    t.end("slow", 2, "OK")
    t.stream("slow", 3, ["last", 5], at=51, filter=OF_A)
    t.events("slow", 3, *range(52, N + 1, 2))
    # one that comes back too late
    t.stream("late", 1, ["oldest"])
    t.events("late", 1, 1, 2, 3)
    t.end("late", 1, "CANCELLED")
    t.stream("late", 2, ["position", E, 3])
    t.facts.pop()
    t.end("late", 2, "OUT_OF_RANGE", f"position {E:016x}:3 is older than the oldest record kept; the log {E:016x} holds "
                                     "records 31..60 (oldest..newest)")
    t.stream("late", 3, ["position", E, 3], at=30, oldest=30, resume_at_oldest=True)
    t.gap("late", 3, 3, 30, 27, False, 15, 5)
    t.events("late", 3, *range(31, N + 1))
    t.tell("rest", E=E, newest=N, subscribers=["auditor", "all", "host", "live", "late", "cursor", "snapshot", "slow"])
    return t.facts


def lagging_history():
    """The same run: the auditor lags until retention has taken six records, and is told."""
    facts = good_history()
    rest, read = facts.pop(), [f for f in facts if f["k"] == "rec"][1]
    known, read["x"] = read["x"], [record(q) for q in range(41, UNKNOWN[0])]
    t = Story()
    t.facts = facts
    t.gap("auditor", 2, UNKNOWN[0] - 1, UNKNOWN[-1], len(UNKNOWN), False, 15, 5)
    t.tell("rec", s="auditor", i=2, E=E, x=[r for r in known if r[0] > UNKNOWN[-1]])
    t.facts.append(rest)
    return facts


class Spoiler:
    """Finds facts of a history, to change them."""

    def __init__(self, history=good_history):
        self.facts = history()

    def all(self, kind, s=None, i=None, a=None):
        return [f for f in self.facts if f["k"] == kind and s in (None, f.get("s")) and i in (None, f.get("i")) and
                a in (None, f.get("a"))]

    def one(self, kind, s=None, i=None, a=None, nth=0):
        return self.all(kind, s, i, a)[nth]

    def remove(self, fact):
        self.facts.remove(fact)

    def drop_event(self, s, i, sequence, nth=0):
        x = self.one("ev", s, i, nth=nth)["x"]
        at = x[::2].index(sequence) * 2
        del x[at:at + 2]

    def insert_event(self, s, i, at, sequence, nth=0):
        self.one("ev", s, i, nth=nth)["x"][2 * at:2 * at] = [sequence, 1000 + sequence]

    def set_record(self, sequence, member, value):
        for fact in self.all("rec"):
            for r in fact["x"]:
                if r[0] == sequence:
                    r[checker_member(member)] = value

    def before(self, fact, kind, **members):
        self.facts.insert(self.facts.index(fact), {"k": kind, "t": fact["t"], **members})


def open_after_gap(spoiler, oldest):
    """Somebody opens at last, and hears that no more than this is trimmed."""
    rest = spoiler.one("rest")
    spoiler.before(rest, "open", s="again", i=1, req={"policy": "LAG", "mark": 0, "start": ["oldest"]})
    spoiler.before(rest, "opened", s="again", i=1, E=E, at=oldest, oldest=oldest, newest=N)


def checker_member(name):
    from history import RECORD
    return RECORD.index(name)


def swap(x, a, b):
    x[2 * a:2 * a + 2], x[2 * b:2 * b + 2] = x[2 * b:2 * b + 2], x[2 * a:2 * a + 2]


def crowd_gaps(s):
    """Ten gaps in one second."""
    s.facts = [f for f in s.facts if not (f.get("s") == "live" and f["k"] in ("gap", "ev"))]
    rest, t = s.one("rest"), s.one("synced", "live")["t"]
    for q in range(20, 40, 2):
        s.before(rest, "gap", s="live", i=1, f=E, **{"from": q}, E=E, to=q + 2, count=1, least=False, bits=1 << (q + 2) % 4,
                 stage=6)
    s.before(rest, "ev", s="live", i=1, x=[x for q in range(42, N + 1, 2) for x in (q, 1000 + q)])
    for fact in s.all("gap", "live") + s.all("open", "live"):
        fact["t"] = t


def gap_over_unknown(s, count, bits):
    """A LIVE reader with a filter is skipped from 44 to 54: it wanted 46 and 54, and of 48, 50 and 52 nobody knows."""
    x = s.one("ev", "live", nth=1)["x"]
    at = x[::2].index(46) * 2
    after = x[x[::2].index(54) * 2 + 2:]
    del x[at:]
    s.before(s.one("rest"), "gap", s="live", i=1, f=E, **{"from": 44}, E=E, to=54, count=count, least=False, bits=bits,
             stage=6)
    s.before(s.one("rest"), "ev", s="live", i=1, x=after)


def snapshot_behind_unknown(s, lacks, has=None):
    """One of 60, of everybody: the newest of each lun. That of 47..52 there is only what came behind."""
    newest = [q for q in [has, *range(51, N + 1)] if q not in (None, lacks)]
    rest = s.one("rest")
    s.before(rest, "open", s="late snapshot", i=1, req={"policy": "LAG", "mark": 0, "start": ["snapshot"]})
    s.before(rest, "opened", s="late snapshot", i=1, E=E, at=N, oldest=UNKNOWN[-1], newest=N)
    s.before(rest, "snap", s="late snapshot", i=1, E=E, at=N)
    s.before(rest, "ev", s="late snapshot", i=1, x=[x for q in newest for x in (q, 1000 + q)])
    s.before(rest, "synced", s="late snapshot", i=1, E=E, at=N)


# What is done to the history, and a word of what the checker must say.
MUTATIONS = {
    "a delivery is missing": (lambda s: s.drop_event("all", 2, 33), "lost"),
    "the first delivery is missing": (lambda s: s.drop_event("all", 1, 1), "lost"),
    "the last delivery is missing": (lambda s: s.drop_event("all", 2, N), "lost"),
    "a match of a filter is missing": (lambda s: s.drop_event("host", 1, 14), "lost"),
    "the match before a mark is missing": (lambda s: s.drop_event("host", 1, 20), "lost"),
    "the auditor misses a record": (lambda s: s.one("rec", nth=1)["x"].pop(3), "a hole in the log"),
    "two deliveries are swapped": (lambda s: swap(s.one("ev", "all", 2)["x"], 3, 4), "in order"),
    "a delivery comes twice": (lambda s: s.insert_event("all", 2, 5, 15), "twice"),
    "a delivery is repeated after a resume": (lambda s: s.insert_event("all", 2, 0, 10), "twice"),
    "a sequence is lower": (lambda s: s.one("ev", "all", 2)["x"].__setitem__(6, 4), "order"),
    "another record under a sequence": (lambda s: s.one("ev", "all", 2)["x"].__setitem__(7, 999), "two records"),
    "another record to the auditor after a restart":
        (lambda s: s.one("rec", nth=1)["x"].insert(0, [40, 4] + record(40)[2:]), "two records"),
    "a delivery that was not asked for": (lambda s: s.insert_event("host", 1, 3, 7), "not asked for"),
    "a record behind the end of the log": (lambda s: s.insert_event("all", 2, 50, N + 1), "not kept"),
    "the log ends early": (lambda s: s.one("rest").update(newest=N - 1), "not kept"),
    "content is changed on the way": (lambda s: s.set_record(20, "crc", 4), "changed"),
    "an event that nobody made": (lambda s: s.set_record(N, "n", 99), "never made"),
    "an event is in the log twice": (lambda s: s.set_record(21, "n", 9), "twice"),
    "an agent's events are out of order": (lambda s: (s.set_record(20, "n", 11), s.set_record(22, "n", 10)), "in order"),
    "an acknowledged event is not in the log": (lambda s: s.set_record(36, "source", 9), "acknowledged and lost"),
    "more is acknowledged than came": (lambda s: (s.one("made", a="b")["x"].append([30, 4, False]),
                                                  s.one("ack", a="b").update(n=30)), "acknowledged and lost"),
    "an acknowledgement is forgotten": (lambda s: s.one("welcome", a="a", nth=1).update(n=19), "not kept"),
    "what was never made is acknowledged": (lambda s: s.one("ack", a="b").update(n=40), "never made"),
    "a bad event is taken": (lambda s: s.one("made", a="a")["x"][9].__setitem__(2, True), "bad event taken"),
    "a refused event leaves no trace": (lambda s: s.set_record(30, "loss_first", 0) or s.set_record(30, "loss_last", 0),
                                        "lost"),
    "a good event is refused": (lambda s: s.one("refused").update(n=3), "good event refused"),
    "a refusal without a reason": (lambda s: s.one("refused").update(reason=""), "without a reason"),
    "a loss that did not happen": (lambda s: s.set_record(30, "loss_last", 16), "told as lost"),
    "broker time goes back": (lambda s: s.set_record(44, "time", 3), "time goes back"),
    "a gap is lost": (lambda s: s.remove(s.one("gap", "live")), "lost"),
    "a gap counts one too many": (lambda s: s.one("gap", "live").update(count=9), "wrong count"),
    "a gap counts one too few": (lambda s: s.one("gap", "live").update(count=7), "wrong count"),
    "a gap does not reach far enough": (lambda s: s.one("gap", "live").update(to=39), "wrong count"),
    "a gap begins late": (lambda s: s.one("gap", "live").update(**{"from": 26}), "lost"),
    "a gap lacks a bit": (lambda s: s.one("gap", "live").update(bits=0), "wrong bits"),
    "a gap for somebody who asked for everything":
        (lambda s: (s.drop_event("all", 2, 20), s.before(s.one("ev", "all", 2), "gap", s="all", i=2, f=E, **{"from": 10}, E=E,
                                                         to=11, count=1, least=False, bits=15, stage=6)), "nobody asked"),
    "ten gaps in a second": (crowd_gaps, "more than one gap a second"),
    "the gap at the start is lost": (lambda s: s.remove(s.one("gap", "late")), "before the gap"),
    "the gap at the start counts wrong": (lambda s: s.one("gap", "late").update(count=26), "wrong count"),
    "the gap at the start is of another place": (lambda s: s.one("gap", "late").update(**{"from": 5}), "a gap that is none"),
    "a good position is refused": (lambda s: s.one("end", "late", 2).update(
        details=s.one("end", "late", 2)["details"].replace("31..60", "2..60")), "is there"),
    "a position is refused without a word": (lambda s: s.one("end", "late", 2).update(details=""), "without a reason"),
    "a mark is ahead": (lambda s: s.one("mark").update(at=22), "lost"),
    "a mark goes back": (lambda s: s.one("mark").update(at=3), "went back"),
    "Synced is ahead": (lambda s: s.one("synced", "all").update(at=12), "lost"),
    "Synced comes twice": (lambda s: s.before(s.one("closed", "all"), "synced", s="all", i=1, E=E, at=10), "Synced twice"),
    "Closed is ahead": (lambda s: (s.one("closed", "all").update(at=12)), "lost"),
    "something comes after Closed": (lambda s: s.before(s.one("end", "all"), "ev", s="all", i=1, x=[11, 1011]), "Closed"),
    "events before Opened": (lambda s: s.before(s.one("opened", "all", 2), "ev", s="all", i=2, x=[11, 1011]), "before"),
    "a resume goes on too late": (lambda s: s.one("opened", "all", 2).update(at=11), "wrong place"),
    "a resume goes on too early": (lambda s: s.one("opened", "all", 2).update(at=9), "wrong place"),
    "a resume loses a record": (lambda s: s.drop_event("all", 2, 11), "lost"),
    "a subscriber leaves something out itself":
        (lambda s: (s.one("open", "all", 2)["req"].update(start=["position", E, 15]),
                    s.one("opened", "all", 2).update(at=15)), "left something out"),
    "the log goes back": (lambda s: s.one("opened", "cursor", 2).update(newest=50), "went back"),
    "a cursor is ahead": (lambda s: s.one("opened", "cursor", 2).update(at=33), "wrong place"),
    "a cursor was forgotten": (lambda s: s.one("opened", "cursor", 2).update(at=0), "wrong place"),
    "a cursor is older than what was answered": (lambda s: s.one("opened", "cursor", 2).update(at=29), "wrong place"),
    "since begins late": (lambda s: s.one("opened", "slow", 1).update(at=11), "wrong place"),
    "the last five are six": (lambda s: s.one("opened", "slow", 3).update(at=48), "wrong place"),
    "the last five are four": (lambda s: s.one("opened", "slow", 3).update(at=53), "wrong place"),
    "a snapshot lacks a record": (lambda s: s.drop_event("snapshot", 1, 36), "wrong snapshot"),
    "a snapshot has an old record": (lambda s: s.insert_event("snapshot", 1, 0, 28), "wrong snapshot"),
    "a snapshot is of another place": (lambda s: s.one("synced", "snapshot").update(at=41), "another place"),
    "no snapshot comes": (lambda s: s.remove(s.one("snap")), "before the gap or the snapshot"),
    "a stream ends for no reason": (lambda s: s.one("end", "all").update(code="INTERNAL"), "no good reason"),
    "a LAG reader is put out": (lambda s: s.one("open", "slow", 1)["req"].update(policy="LAG"), "no good reason"),
    "put out without a place to go on": (lambda s: s.remove(s.one("closed", "slow")), "without a reason"),
    "an end that was not asked for": (lambda s: s.one("open", "slow", 2)["req"].pop("stop_at_newest"), "too early"),
    "a strange batch": (lambda s: s.before(s.one("mark"), "strange", s="host", i=1, what="no member"), "contract"),
    "the broker dies by itself": (lambda s: s.before(s.one("mark"), "died", status=-6, log="assert"), "by itself"),
    "a sanitizer finds something": (lambda s: s.before(s.one("mark"), "report", log="heap-use-after-free"), "sanitizer"),
    "the broker says nothing at the end": (lambda s: s.before(s.one("rest"), "mute", log=""), "does not answer"),
    "an agent is never answered": (lambda s: s.before(s.one("rest"), "unacked", a="a", n=30, made=31), "never acknowledged"),
    "the file of the log is damaged": (lambda s: s.before(s.one("rest"), "damage", log="page 7"), "is damaged"),
    "a stream begins and never opens, and the one before lacks something":
        (lambda s: (s.drop_event("all", 2, N), s.before(s.one("rest"), "open", s="all", i=3, req={
            "policy": "LAG", "mark": 0, "start": ["position", E, N - 1]})), "lost"),
    "too much was trimmed at a resume": (lambda s: s.one("opened", "late", 3).update(oldest=53), "trimmed too early"),
    "too much was trimmed at a refusal": (lambda s: s.one("end", "late", 2).update(
        details=s.one("end", "late", 2)["details"].replace("31..60", "54..60")), "trimmed too early"),
    "too much was trimmed under a reader": (lambda s: s.before(s.one("rest"), "gap", s="all", i=2, f=E, **{"from": N}, E=E,
                                                               to=N + 1, count=1, least=False, bits=15, stage=5),
                                            "trimmed too early"),
    "a client was refused, and too much was trimmed": (lambda s: s.before(s.one("rest"), "open", s="watch", i=1, req={
        "policy": "LAG", "mark": 0, "start": ["refused", E, 53, N]}), "trimmed too early"),
    "a client was refused what is there": (lambda s: s.before(s.one("rest"), "open", s="all", i=3, req={
        "policy": "LAG", "mark": 0, "start": ["refused", E, 30, N]}), "is there"),
    "no end": (lambda s: s.remove(s.one("rest")), "no end"),
}

# The same where the auditor lagged: what nobody knows must not hide what can be known.
MUTATIONS_UNKNOWN = {
    "a delivery of what is not known is missing": (lambda s: s.drop_event("all", 2, 49), "lost"),
    "the first of it is missing": (lambda s: s.drop_event("all", 2, UNKNOWN[0]), "lost"),
    "the last of it is missing": (lambda s: s.drop_event("late", 3, UNKNOWN[-1]), "lost"),
    "it comes twice": (lambda s: s.insert_event("all", 2, 40, 49), "twice"),
    "it comes twice to who has a filter": (lambda s: s.insert_event("host", 1, 17, 50, nth=1), "twice"),
    "it comes out of order": (lambda s: swap(s.one("ev", "host", nth=1)["x"], 13, 14), "in order"),
    "two get different records": (lambda s: s.one("ev", "late", 3)["x"].__setitem__(2 * (49 - 31) + 1, 4), "two records"),
    "a match before it is missing": (lambda s: s.drop_event("host", 1, UNKNOWN[0] - 1, nth=1), "lost"),
    "a match behind it is missing": (lambda s: s.drop_event("host", 1, UNKNOWN[-1] + 2, nth=1), "lost"),
    "the auditor is not told": (lambda s: s.remove(s.one("gap", "auditor")), "a hole in the log"),
    "the auditor is told too late a beginning": (lambda s: s.one("gap", "auditor").update(**{"from": 48}),
                                                 "a hole in the log"),
    "the auditor is told too little": (lambda s: s.one("gap", "auditor").update(to=51), "a hole in the log"),
    "the auditor is told too much": (lambda s: s.one("gap", "auditor").update(to=54), "twice"),
    "the auditor is told a wrong number": (lambda s: s.one("gap", "auditor").update(count=5), "wrong count"),
    "the auditor is skipped": (lambda s: s.one("gap", "auditor").update(stage=6), "nobody asked"),
    "the auditor is told that what is there was trimmed": (lambda s: open_after_gap(s, UNKNOWN[-1] - 1), "and is there"),
    "the auditor's records were trimmed too early": (lambda s: s.one("life").update(keeps=9), "trimmed too early"),
    "more is acknowledged than can be there": (lambda s: [s.one("made", a="a")["x"].append([n, 4, False])
                                                          for n in range(31, 38)] + [s.one("ack", a="a", nth=1).update(n=37)],
                                               "acknowledged and lost"),
    "what is known is acknowledged and lost": (lambda s: s.set_record(54, "source", 9), "acknowledged and lost"),
    "an agent's number goes back behind it": (lambda s: s.set_record(53, "n", 21), "in order"),
    "a gap over it counts less than is known": (lambda s: gap_over_unknown(s, 1, 15), "wrong count"),
    "a gap over it counts more than there can be": (lambda s: gap_over_unknown(s, 9, 15), "wrong count"),
    "a gap over it lacks a bit that is known": (lambda s: gap_over_unknown(s, 4, 0), "wrong bits"),
    "a snapshot lacks what is behind it": (lambda s: snapshot_behind_unknown(s, 54), "wrong snapshot"),
    "a snapshot has what is older than known": (lambda s: snapshot_behind_unknown(s, None, 44), "wrong snapshot"),
    "the auditor does not get to the end": (lambda s: s.all("rec")[-1]["x"].pop(), "lost"),
}


def test_a_good_history_is_good():
    verdict = checker.judge(good_history())
    check(not verdict.violations, verdict.text())
    check_equal(verdict.counts["gaps"], 2)


def find_all(mutations, history):
    for what, (spoil, word) in mutations.items():
        spoiler = Spoiler(history)
        spoil(spoiler)
        check(spoiler.facts != history(), f"{what}: nothing was changed")
        verdict = checker.judge(copy.deepcopy(spoiler.facts))
        check(verdict.violations, f"not found: {what}")
        check_equal(verdict.status(), 1)
        check(any(word in text for text in list(verdict.violations) + sum(verdict.examples.values(), [])),
              f"{what}: found, but as something else:\n{verdict.text()}")
    print(f"{len(mutations)} mutations", flush=True)


def test_every_mutation_of_it_is_found():
    find_all(MUTATIONS, good_history)


def test_a_lagging_auditor_is_a_doubt_and_no_violation():
    verdict = checker.judge(lagging_history())
    check(not verdict.violations, verdict.text())
    check_equal(verdict.doubts, [f"the auditor lagged: what records 47..52 of log {E:x} were is not known"])
    check_equal(verdict.status(), checker.INCONCLUSIVE)
    check("INCONCLUSIVE" in verdict.text(), verdict.text())
    check_equal(verdict.counts["records not known"], len(UNKNOWN))


def test_gaps_and_snapshots_over_what_is_not_known_are_right_within_what_can_be():
    for spoil in (lambda s: gap_over_unknown(s, 4, 15), lambda s: gap_over_unknown(s, 7, 15),
                  lambda s: snapshot_behind_unknown(s, None)):
        spoiler = Spoiler(lagging_history)
        spoil(spoiler)
        verdict = checker.judge(spoiler.facts)
        check(not verdict.violations, verdict.text())


def test_every_mutation_is_found_beside_a_lagging_auditor():
    unknowable = ["the last five are six"]  # which of them are matches, nobody knows
    find_all({what: how for what, how in MUTATIONS.items() if what not in unknowable}, lagging_history)
    find_all(MUTATIONS_UNKNOWN, lagging_history)


def test_an_auditor_that_comes_late_to_a_new_log_is_a_doubt():
    """The log began anew, and its first records were gone before it was there."""
    facts = [f for f in good_history() if f.get("s") in (None, "auditor") and f["k"] not in ("ack", "welcome")]
    rest = facts.pop()
    t = Story()
    t.facts = facts
    t.stream("auditor", 3, ["position", E, N], at=5, oldest=5, newest=5, resume_at_oldest=True)
    t.facts[-1].update(E=OTHER)
    t.gap("auditor", 3, N, 5, 0, True, 0, 5)
    t.facts[-1].update(E=OTHER)
    facts = [f for f in t.facts if f["k"] != "life"]
    verdict = checker.judge(facts + [dict(rest, E=OTHER, newest=5, subscribers=["auditor"])])
    check(not verdict.violations, verdict.text())
    check_equal(verdict.doubts, [f"the auditor lagged: what records 1..5 of log {OTHER:x} were is not known"])


def test_who_is_still_reading_when_the_time_is_up_is_a_doubt():
    """A slow machine takes any time. Who stands still has lost something all the same."""
    for who, drop in (("all", lambda s: [s.drop_event("all", 2, q) for q in (N - 1, N)]),
                      ("auditor", lambda s: [s.all("rec")[-1]["x"].pop() for _ in range(2)])):
        spoiler = Spoiler()
        drop(spoiler)
        check_equal(checker.judge(copy.deepcopy(spoiler.facts)).status(), 1)
        spoiler.one("rest").update(late=[who])
        verdict = checker.judge(spoiler.facts)
        check_equal(verdict.status(), checker.INCONCLUSIVE)
        check(who in verdict.text(), verdict.text())
    spoiler = Spoiler()
    spoiler.before(spoiler.one("rest"), "unacked", a="a", n=30, made=31, late=True)
    check_equal(checker.judge(spoiler.facts).status(), checker.INCONCLUSIVE)


def test_a_connection_may_break_at_the_last_moment():
    """Who has all, and has just asked again, lacks nothing. The log may grow while everybody leaves."""
    spoiler = Spoiler()
    spoiler.before(spoiler.one("rest"), "open", s="all", i=3, req={"policy": "LAG", "mark": 0, "start": ["position", E, N]})
    spoiler.one("rest").update(ends=N + 2)
    verdict = checker.judge(spoiler.facts)
    check(not verdict.violations, verdict.text())
    check_equal(verdict.status(), 0)


def test_another_epoch_is_told():
    """The log began anew: a position of the old one is refused, or goes on after a gap that says so."""
    facts = good_history()
    rest = facts.pop()
    t = Story()
    t.facts = facts
    t.stream("all", 3, ["position", OTHER, 500])
    t.facts.pop()
    t.end("all", 3, "OUT_OF_RANGE", f"position {OTHER:016x}:500 is of another log; the log {E:016x} holds records 1..60 "
                                    "(oldest..newest)")
    t.stream("all", 4, ["position", OTHER, 500], at=30, oldest=30, resume_at_oldest=True)
    t.gap("all", 4, 500, 30, 0, True, 0, 5, epoch=OTHER)
    t.events("all", 4, *range(31, N + 1))
    t.facts.append(rest)
    verdict = checker.judge(t.facts)
    check(not verdict.violations, verdict.text())
    silent = [f for f in t.facts if not (f["k"] == "gap" and f["i"] == 4)]
    check(checker.judge(silent).violations, "went on from another log without a word")


if __name__ == "__main__":
    run_tests(globals())
