# SPDX-License-Identifier: Apache-2.0
"""What is the truth of a history: the log as the auditor read it, and whether it is what the agents were promised.

The auditor reads every record from the oldest on and is never harmed. First this finds the log of each epoch; a second
reader of the history (streams.py) then judges every subscriber by it.

What retention took before the auditor had read it is not known. That is a doubt, not a violation: of such records every
sequence counts as one that exists, and all that follows from sequences alone is judged as ever (order, repeats, holes for
those who asked for everything, counts); what they were, and so which filters wanted them, is not.
"""
import bisect
import collections

import matching
from history import RECORD

SEQ, CRC, TIME, SOURCE, AGENT, EPOCH, N, CODE, BITS = (
    RECORD.index(m) for m in ("seq", "crc", "time", "source", "host", "epoch", "n", "code", "bits"))
LOSS_FIRST, LOSS_LAST = RECORD.index("loss_first"), RECORD.index("loss_last")
AUDITOR = "auditor"
SOURCE_BROKER, EVENTS_LOST = 9, 901
BLOCK = 1024  # records


class Log:
    """The records of one epoch, by sequence: records[s - 1]."""

    def __init__(self):
        self.records = []
        self.final = None    # newest record at the end of the run; None: the epoch ended before, its tail is not known
        self.tail = {}       # crc of records that the auditor has not got, from whoever got them first
        self.unknown = []    # (first, last) of those between the known ones: their crc is None, they match nothing
        self.by_filter = {}  # filter and block → sequences that match
        self.times = None
        self.n_excused = 0   # acknowledged numbers that must be among the unknown

    def newest(self):
        return len(self.records)

    def crc(self, sequence):
        """None when the sequence is not in the log."""
        if 0 < sequence <= len(self.records) and not self.is_unknown(sequence):
            return self.records[sequence - 1][CRC]
        return self.tail.get(sequence)

    def leave_out(self, through):
        """Nobody knows what the records up to there are."""
        first, time = self.newest() + 1, self.records[-1][TIME] if self.records else 0
        if first <= through:
            self.unknown.append((first, through))
            self.records += [(s, None, time, SOURCE_BROKER, "", 0, 0, 0, 0, 0, "", 0, 0, "", 0, 0)
                             for s in range(first, through + 1)]

    def is_unknown(self, sequence):
        return 0 < sequence <= len(self.records) and self.records[sequence - 1][CRC] is None

    def n_unknown(self, after, through):
        """How many of after + 1 .. through."""
        return sum(max(0, min(last, through) - max(first - 1, after)) for first, last in self.unknown)

    def newest_unknown(self, through):
        """0 when there is none up to there."""
        return max((min(last, through) for first, last in self.unknown if first <= through), default=0)

    def matches_between(self, asked, after, through):
        """Sequences of the matches in after + 1 .. through."""
        if not asked:
            return range(after + 1, min(through, len(self.records)) + 1)
        through = min(through, len(self.records))
        found = []
        for block in range(after // BLOCK, (through + BLOCK - 1) // BLOCK):
            found += self._matches_in(asked, block)
        return found[bisect.bisect_right(found, after):bisect.bisect_right(found, through)]

    def _matches_in(self, asked, block):
        """Only what streams went over is looked at, each once for each filter."""
        key = repr(asked), block
        if key not in self.by_filter:
            self.by_filter[key] = [r[SEQ] for r in self.records[block * BLOCK:(block + 1) * BLOCK]
                                   if r[CRC] is not None and matching.matches(asked, r)]
        return self.by_filter[key]

    def bits(self, sequences):
        bits = 0
        for s in sequences:
            bits |= self.records[s - 1][BITS]
        return bits

    def first_since(self, time, after):
        """The first record behind `after` whose broker time is not before `time`; one more than the newest if none is."""
        if self.times is None:
            self.times = [r[TIME] for r in self.records]
        return max(bisect.bisect_left(self.times, time), after) + 1


class Agent:
    """One agent in one epoch of its own."""

    def __init__(self):
        self.made = {}                                   # number → (crc, is bad)
        self.acked = collections.defaultdict(int)        # log epoch → newest acknowledged
        self.begins = {}                                 # log epoch → the number that its first stream there began with
        self.oldest = 1
        self.refused = set()


class Truth:
    def __init__(self, history, complain, doubt):
        self.complain, self.doubt = complain, doubt
        self.audit_begins = None  # with what the auditor's newest stream asked to begin
        self.logs = collections.defaultdict(Log)
        self.agents = collections.defaultdict(Agent)
        self.counts = collections.Counter()
        for fact in history:
            take = getattr(self, "_on_" + fact["k"], None)
            if take:
                take(fact)
        for epoch, log in self.logs.items():
            self._judge_log(epoch, log)
            for (host, agent_epoch), agent in self.agents.items():
                self._judge_agent(epoch, log, host, agent_epoch, agent)

    # ---- the history

    def _on_fault(self, fact):
        self.counts[fact["what"]] += 1

    def _on_died(self, fact):
        self.complain("the broker ended by itself", f"status {fact['status']}: {fact['log']}")

    def _on_report(self, fact):
        self.complain("a sanitizer's report", fact["log"])

    def _on_mute(self, fact):
        self.complain("the broker does not answer", fact["log"])

    def _on_unacked(self, fact):
        said = f"{fact['a']}: {fact['n']} of {fact['made']} at rest"
        if fact.get("late"):
            self.doubt(f"{said}, it was getting on")
        else:
            self.complain("never acknowledged", said)

    def _on_damage(self, fact):
        self.complain("the log is damaged", fact["log"])

    def _agent(self, fact):
        return self.agents[fact["a"], fact["e"]]

    def _on_made(self, fact):
        agent = self._agent(fact)
        for n, crc, bad in fact["x"]:
            if agent.made.setdefault(n, (crc, bad)) != (crc, bad):
                raise ValueError(f"{fact['a']} made event {n} twice, and different: the harness is wrong")

    def _on_hello(self, fact):
        self._agent(fact).oldest = fact["oldest"]

    def _on_welcome(self, fact):
        agent, who = self._agent(fact), fact["a"]
        agent.begins.setdefault(fact["E"], agent.oldest)
        if fact["n"] < agent.acked[fact["E"]]:
            self.complain("acknowledged and not kept",
                          f"{who}: {agent.acked[fact['E']]} was acknowledged, a later Welcome knows {fact['n']}")
        if fact["n"] > max(agent.made, default=0):
            self.complain("acknowledged and never made", f"{who}: Welcome {fact['n']}")
        agent.acked[fact["E"]] = max(agent.acked[fact["E"]], fact["n"])

    def _on_ack(self, fact):
        agent, who = self._agent(fact), fact["a"]
        if fact["n"] > max(agent.made, default=0):
            self.complain("acknowledged and never made", f"{who}: {fact['n']}")
        agent.acked[fact["E"]] = max(agent.acked[fact["E"]], fact["n"])
        self.counts["acks"] += 1

    def _on_refused(self, fact):
        agent = self._agent(fact)
        agent.refused.add(fact["n"])
        self.counts["refused"] += 1
        if not agent.made.get(fact["n"], (0, True))[1]:
            self.complain("a good event refused", f"{fact['a']} {fact['n']}: {fact['reason']}")
        if not fact["reason"]:
            self.complain("a refusal without a reason", f"{fact['a']} {fact['n']}")

    def _on_open(self, fact):
        if fact["s"] == AUDITOR:
            self.audit_begins = fact["req"]["start"][0]

    def _on_opened(self, fact):
        log = self.logs[fact["E"]]
        if fact["s"] == AUDITOR and self.audit_begins == "oldest":
            self._miss(fact["E"], log, fact["at"])

    def _on_gap(self, fact):
        if fact["s"] == AUDITOR:
            log = self.logs[fact["E"]]
            if fact["f"] == fact["E"] and fact["from"] > log.newest():
                self.complain("a hole in the log", f"auditor: a gap from {fact['from']} comes after {log.newest()}")
            self._miss(fact["E"], log, fact["to"])

    def _miss(self, epoch, log, through):
        if through > log.newest():
            self.doubt(f"the auditor lagged: what records {log.newest() + 1}..{through} of log {epoch:x} were is not known")
            log.leave_out(through)

    def _on_rec(self, fact):
        log = self.logs[fact["E"]]
        for record in fact["x"]:
            sequence = record[SEQ]
            if sequence == log.newest() + 1:
                log.records.append(tuple(record))
            elif sequence > log.newest():
                self.complain("a hole in the log", f"auditor: {sequence} comes after {log.newest()}")
                log.leave_out(sequence - 1)  # go on judging
                log.records.append(tuple(record))
            elif not log.is_unknown(sequence) and log.crc(sequence) != record[CRC]:
                self.complain("a sequence of two records", f"auditor: {sequence} is another record now")

    def _on_rest(self, fact):
        log = self.logs[fact["E"]]
        log.final = fact.get("ends", fact["newest"])
        if log.newest() > log.final:
            self.complain("delivered and not kept", f"the log ends at {log.final}, {log.newest()} was delivered")
        if log.newest() < fact["newest"] and AUDITOR in fact.get("late", ()):
            self._miss(fact["E"], log, fact["newest"])
        elif log.newest() < fact["newest"]:
            self.complain("lost", f"auditor: {fact['newest']} records, it got {log.newest()}")
        log.leave_out(log.final)

    # ---- the log

    def _judge_log(self, epoch, log):
        time = 0
        seen = {}
        for record in log.records:
            if record[CRC] is None:
                continue
            if record[TIME] < time:
                self.complain("broker time goes back", f"at {record[SEQ]}")
            time = max(time, record[TIME])
            if record[SOURCE] == SOURCE_BROKER:
                if record[CODE] == EVENTS_LOST:
                    self._judge_loss(record)
                continue
            key = record[AGENT], record[EPOCH]
            made = self.agents[key].made.get(record[N]) if key in self.agents else None
            if made is None:
                self.complain("delivered and never made", f"{record[AGENT]} {record[N]} at {record[SEQ]}")
            elif made[1]:
                self.complain("a bad event taken", f"{record[AGENT]} {record[N]} at {record[SEQ]}")
            elif made[0] != record[CRC]:
                self.complain("changed on the way", f"{record[AGENT]} {record[N]} at {record[SEQ]}")
            if record[N] <= seen.get(key, 0):
                self.complain("twice, or not in order", f"{record[AGENT]} {record[N]} at {record[SEQ]}, after {seen[key]}")
            seen[key] = record[N]
        self.counts["records"] += log.newest()
        self.counts["records not known"] += log.n_unknown(0, log.newest())

    def _judge_loss(self, record):
        """No agent here loses anything: only what was refused may be told as lost."""
        first, last = record[LOSS_FIRST], record[LOSS_LAST]
        agents = [a for (host, _), a in self.agents.items() if host == record[AGENT]]
        if first == 0 or not any(all(a.made.get(n, (0, False))[1] for n in range(first, last + 1)) for a in agents):
            self.complain("told as lost, and was not", f"{record[AGENT]} {first}..{last} at {record[SEQ]}")

    def _judge_agent(self, epoch, log, host, agent_epoch, agent):
        """What was acknowledged is in the log."""
        there, told = {}, set()  # there: number → sequence
        for record in log.records:
            if record[AGENT] != host:
                continue
            if record[SOURCE] != SOURCE_BROKER and record[EPOCH] == agent_epoch:
                there[record[N]] = record[SEQ]
            elif record[CODE] == EVENTS_LOST:
                told.update(range(record[LOSS_FIRST], record[LOSS_LAST] + 1))
        through = agent.acked[epoch]
        if log.final is None:  # its end is not known
            through = min(through, max(there, default=0))
        missing = [n for n in range(agent.begins.get(epoch, 1), through + 1)
                   if n not in (told if agent.made.get(n, (0, False))[1] else there)]
        for n in self._not_excused(log, there, missing):
            self.complain("acknowledged and lost", f"{host} {n}, acknowledged up to {agent.acked[epoch]}")
        self.counts["acknowledged"] += agent.acked[epoch]

    @staticmethod
    def _not_excused(log, there, missing):
        """Of numbers that are missing, those that cannot be among the records that are not known: an agent's records are in
        order, so a number lies between its neighbours'; and of all agents' no more than there are."""
        numbers, excused, room = sorted(there), set(), log.n_unknown(0, log.newest()) - log.n_excused
        for n in missing:
            at = bisect.bisect_left(numbers, n)
            after = there[numbers[at - 1]] if at else 0
            before = there[numbers[at]] if at < len(numbers) else log.newest() + 1
            if len(excused) < room and log.n_unknown(after, before - 1):
                excused.add(n)
        log.n_excused += len(excused)
        return [n for n in missing if n not in excused]
