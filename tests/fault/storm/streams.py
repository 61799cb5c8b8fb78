# SPDX-License-Identifier: Apache-2.0
"""Is what each subscriber got what docs/guarantees.md promises? Judged fact by fact, against the truth (truth.py).

A stream has a place: everything that matches up to there was delivered, or told as lost. It begins where the stream
opened, and each fact moves it on, never back and never over a record that matches.
"""
import collections
import re

import truth

STAGE_RETENTION, STAGE_SUBSCRIPTION = 5, 6
# How a stream may end without a reason of its own: the broker is gone, or the way to it.
BREAKS = ("UNAVAILABLE", "CANCELLED")


class Stream:
    """What is known of one stream while the history goes by."""

    def __init__(self, fact, newest, trimmed):
        self.request = fact["req"]
        self.asked = self.request.get("filter") or {}
        self.time = fact["t"]
        self.newest_before = newest  # epoch → newest record that anybody had when it was asked for
        self.trimmed_before = trimmed  # epoch → newest record that anybody had been told to be trimmed
        self.epoch = None
        self.place = None
        self.first = True            # nothing yet but Opened
        self.synced = self.closed = False
        self.gone = None             # (epoch, sequence) that was asked for and is gone: a Gap has to come first
        self.may_be_gone = []        # the same, one of these, when it is not known what was asked for
        self.snapshot_due = False    # a snapshot has to come first
        self.snapshot = None         # sequences of a snapshot under way
        self.n_gaps = 0


class Fold:
    """The newest record of each code of each device up to `through`: what a snapshot has to be."""

    def __init__(self):
        self.through = 0
        self.newest = {}

    def until(self, log, through):
        if through < self.through:
            self.__init__()
        for record in log.records[self.through:through]:
            if record[truth.SOURCE] != truth.SOURCE_BROKER:
                self.newest[record[truth.AGENT], record[10:13], record[truth.CODE]] = record
        self.through = max(self.through, through)
        return self.newest.values()


class Subscriber:
    def __init__(self):
        self.streams = {}
        self.opened_stream = None                   # the newest that was opened
        self.moved = {}                             # cursor → (epoch, sequence) that was answered
        self.tried = collections.defaultdict(list)  # cursor → those asked for since


class Judge:
    def __init__(self, history, known, complain, doubt):
        self.known, self._complain, self.doubt = known, complain, doubt
        self.keeps = None  # no life of the broker so far was to keep less
        self.subscribers = collections.defaultdict(Subscriber)
        self.newest = collections.Counter()  # epoch → newest record that anybody has seen so far
        self.trimmed = collections.Counter()  # epoch → newest record that anybody was told so far to be trimmed
        self.folds = collections.defaultdict(Fold)
        self.counts = collections.Counter()
        for fact in history:
            if "s" not in fact or fact["k"] in ("try", "moved"):
                take = getattr(self, "_on_" + fact["k"], None)
                if take:
                    take(fact)
                continue
            self.name = fact["s"]
            self.subscriber = self.subscribers[fact["s"]]
            if fact["k"] == "open":
                self._open(fact)
                continue
            stream = self.subscriber.streams.get(fact["i"])
            if stream is not None:
                self._stream_fact(stream, fact)

    def complain(self, what, detail):
        self._complain(what, f"{self.name}: {detail}")

    def _open(self, fact):
        stream, before = Stream(fact, dict(self.newest), dict(self.trimmed)), self.subscriber.opened_stream
        start = stream.request["start"]
        if start[0] == "position" and before and before.epoch == start[1] and before.place < start[2]:
            self.complain("the subscriber left something out", f"asks for {start[2]}, it was at {before.place}")
        if start[0] == "refused":
            self._judge_trimmed(start[2], start[3])
            if before and before.epoch == start[1] and before.place >= start[2]:
                self.complain("refused a position that is there", f"{before.place}, the oldest is {start[2] + 1}")
        self.subscriber.streams = {fact["i"]: stream}  # the one before has nothing more to say
        self.counts["streams"] += 1

    def _stream_fact(self, stream, fact):
        kind = fact["k"]
        if kind in ("end", "strange"):
            getattr(self, "_stream_" + kind)(stream, fact)
            return
        if (stream.place is None) != (kind in ("opened", "watching")):
            self.complain("not in order", f"{kind} " + ("before" if stream.place is None else "after") + " Opened")
            if stream.place is None:
                return
        if stream.closed:
            self.complain("not in order", f"{kind} after Closed")
        if stream.snapshot is not None and kind not in ("ev", "rec", "synced", "closed"):
            self.complain("not in order", f"{kind} inside a snapshot")
        if stream.first and (stream.gone and kind != "gap" or stream.snapshot_due and kind != "snap"):
            self.complain("not in order", f"{kind} before the gap or the snapshot")
        getattr(self, "_stream_" + kind)(stream, fact)
        stream.first = stream.first and kind in ("opened", "watching")

    # ---- the beginning

    def _stream_opened(self, stream, fact):
        stream.epoch, stream.place = fact["E"], fact["at"]
        self.subscriber.opened_stream = stream
        self._judge_trimmed(fact["oldest"], fact["newest"])
        log = self.known.logs[stream.epoch]
        before = stream.newest_before.get(stream.epoch, 0)
        if fact["newest"] < before:
            self.complain("the log went back", f"its newest is {fact['newest']}, {before} was delivered before")
        trimmed = stream.trimmed_before.get(stream.epoch, 0)
        if fact["oldest"] < trimmed:
            self.complain("told as trimmed, and is there", f"through {trimmed}, and later only through {fact['oldest']}")
        if log.final is not None and fact["newest"] > log.final:
            self.complain("delivered and not kept", f"newest {fact['newest']}, the log ends at {log.final}")
        if not fact["oldest"] <= fact["at"] <= fact["newest"]:
            self.complain("opened outside of the log", f"at {fact['at']} of {fact['oldest']}..{fact['newest']}")
        start = stream.request["start"]
        expected = getattr(self, "_start_" + start[0])(stream, fact, log, *start[1:])
        if expected is not None and fact["at"] not in expected:
            self.complain("opened in the wrong place", f"{start}: at {fact['at']}, expected one of {sorted(expected)[:9]}")

    def _stream_watching(self, stream, fact):
        stream.epoch, stream.place = fact["E"], fact["at"]
        self.subscriber.opened_stream = stream

    def _judge_trimmed(self, through, newest):
        """Through there nothing is left, of a log that ends at `newest` at most."""
        if through > 0 and self.keeps is not None and newest - through < self.keeps:
            self.complain("trimmed too early", f"through {through} of {newest}, {self.keeps} are to be kept")

    def _on_life(self, fact):
        self.keeps = min(fact["keeps"], fact["keeps"] if self.keeps is None else self.keeps)

    @staticmethod
    def _start_now(stream, fact, log):
        return {fact["newest"]}

    @staticmethod
    def _start_oldest(stream, fact, log):
        return {fact["oldest"]}

    @staticmethod
    def _start_snapshot(stream, fact, log):
        stream.snapshot_due = True
        return {fact["newest"]}

    def _start_position(self, stream, fact, log, epoch, sequence):
        if epoch == fact["E"] and sequence >= fact["oldest"]:
            return {sequence}
        if not stream.request.get("resume_at_oldest"):
            self.complain("went on from a position that is gone", f"{sequence}, the oldest is {fact['oldest']}")
        stream.gone = epoch, sequence
        return {fact["oldest"]}

    def _start_cursor(self, stream, fact, log, cursor):
        moved = self.subscriber.moved.get(cursor)
        places = self.subscriber.tried[cursor] + ([moved] if moved else [])
        allowed = {sequence for epoch, sequence in places if epoch == fact["E"] and sequence >= fact["oldest"]}
        gone = [p for p in places if p[0] != fact["E"] or p[1] < fact["oldest"]]
        stream.may_be_gone = gone
        if gone or not moved:
            allowed.add(fact["oldest"])
        return allowed

    @staticmethod
    def _start_since(stream, fact, log, time):
        if fact["newest"] > log.newest():
            return None
        at = log.first_since(time, fact["oldest"]) - 1
        places = {at}
        while at > fact["oldest"] and log.is_unknown(at):  # of when?
            at -= 1
            places.add(at)
        return {min(place, fact["newest"]) for place in places}

    @staticmethod
    def _start_last(stream, fact, log, n):
        """The newest n at some moment between the request and Opened: records may have come while it looked."""
        if fact["newest"] > log.newest() or stream.asked and log.n_unknown(fact["at"], fact["newest"]):
            return None
        at, before = fact["at"], max(stream.newest_before.get(stream.epoch, 0), fact["at"])
        latest = log.matches_between(stream.asked, at, fact["newest"])
        fits = len(latest) >= n and latest[0] == at + 1 and len(log.matches_between(stream.asked, at, before)) <= n
        if fits or at == fact["oldest"] and len(log.matches_between(stream.asked, at, before)) <= n:
            return None
        found = log.matches_between(stream.asked, fact["oldest"], fact["newest"])
        return {fact["oldest"] if len(found) < n else found[-n] - 1}

    # ---- what comes

    def _passed(self, stream, through, by):
        """The place moves on to `through`, and nothing that matches lies between."""
        log = self.known.logs[stream.epoch]
        if through < stream.place:
            self.complain("went back", f"{by} {through} after {stream.place}")
            return
        self._judge_missed(stream.place, through, log.matches_between(stream.asked, stream.place, through), by)
        if log.final is not None and through > log.final:
            self.complain("delivered and not kept", f"{by} {through}, the log ends at {log.final}")
        stream.place = through
        self.newest[stream.epoch] = max(self.newest[stream.epoch], through)

    def _stream_ev(self, stream, fact):
        log, items = self.known.logs[stream.epoch], fact["x"]
        self.counts["deliveries"] += len(items) // 2
        if stream.snapshot is not None:
            stream.snapshot += [s for s, crc in zip(items[::2], items[1::2]) if self._is_of_log(log, s, crc)]
            return
        found = log.matches_between(stream.asked, stream.place, items[-2])
        at, n_found, place, records, n_records = 0, len(found), stream.place, log.records, log.newest()
        for sequence, crc in zip(items[::2], items[1::2]):
            if at < n_found and found[at] == sequence and records[sequence - 1][truth.CRC] == crc:
                at += 1
            elif not self._is_of_log(log, sequence, crc):
                continue
            elif sequence <= place:
                self.complain("twice, or not in order", f"{sequence} after {place}")
                continue
            else:
                missed = log.matches_between(stream.asked, place, sequence)
                self._judge_missed(place, sequence, [s for s in missed if s != sequence], "event")
                if sequence <= n_records and sequence not in missed and not log.is_unknown(sequence):
                    self.complain("delivered and not asked for", f"{sequence} does not match")
                while at < n_found and found[at] <= sequence:
                    at += 1
            place = sequence
        stream.place = place
        self.newest[stream.epoch] = max(self.newest[stream.epoch], place)

    def _is_of_log(self, log, sequence, crc):
        known = log.crc(sequence)
        if known is None and (log.final is None or log.is_unknown(sequence)):
            log.tail[sequence] = crc
        elif known is None:
            self.complain("delivered and not kept", f"{sequence}, the log ends at {log.final}")
            return False
        elif known != crc:
            self.complain("a sequence of two records", f"{sequence} is not what others got")
        return True

    def _judge_missed(self, place, through, missed, by):
        if len(missed) > 0:
            self.complain("lost", f"{by} {through}: {len(missed)} matches behind {place} did not come, the first is "
                                  f"{missed[0]}")

    def _stream_rec(self, stream, fact):
        self._stream_ev(stream, dict(fact, x=[m for record in fact["x"] for m in record[:2]]))

    def _stream_gap(self, stream, fact):
        log = self.known.logs[stream.epoch]
        stream.n_gaps += 1
        self.counts["gaps"] += 1
        self.counts["gaps of LIVE" if fact["stage"] == STAGE_SUBSCRIPTION else "gaps of retention"] += 1
        if stream.first and (stream.gone or stream.may_be_gone):
            self._gap_at_start(stream, fact)
            return
        if stream.n_gaps > 2 + fact["t"] - stream.time:
            self.complain("more than one gap a second", f"{stream.n_gaps} in {fact['t'] - stream.time:.1f} s")
        if fact["f"] != stream.epoch or fact["E"] != stream.epoch or fact["to"] <= fact["from"]:
            self.complain("a gap that is none", f"{fact['from']}..{fact['to']}")
            return
        self._passed(stream, fact["from"], "a gap from")
        self._gap_content(stream, log, fact)
        stream.place = max(stream.place, fact["to"])

    def _gap_at_start(self, stream, fact):
        allowed = [stream.gone] if stream.gone else stream.may_be_gone
        if (fact["f"], fact["from"]) not in [tuple(p) for p in allowed] or fact["to"] != stream.place:
            self.complain("a gap that is none", f"{fact['from']}..{fact['to']} at the beginning")
        elif fact["f"] == stream.epoch:
            self._gap_content(stream, self.known.logs[stream.epoch], fact)
        elif not fact["least"] or fact["count"] != 0:
            self.complain("a wrong count", f"{fact['count']} of another log")
        stream.gone, stream.may_be_gone = None, []

    def _gap_content(self, stream, log, fact):
        if log.final is None and fact["to"] > log.newest():
            return  # the end of a log that is gone: nobody knows what it was
        missing = log.matches_between(stream.asked, fact["from"], fact["to"])
        bits = log.bits(missing)
        n_unknown = log.n_unknown(fact["from"], fact["to"])
        most = len(missing) + (n_unknown if stream.asked else 0)  # otherwise they are among the missing
        if fact["stage"] == STAGE_SUBSCRIPTION and stream.request["policy"] == "LIVE":
            right = len(missing) <= fact["count"] <= most if not fact["least"] else \
                len(missing) <= fact["to"] - fact["from"] and fact["count"] > 0
            if not fact["least"] and (bits & ~fact["bits"] if n_unknown else fact["bits"] != bits):
                self.complain("wrong bits", f"gap {fact['from']}..{fact['to']}: {fact['bits']}, not {bits}")
        elif fact["stage"] == STAGE_RETENTION:
            # All records count, matching or not, and that is said.
            right = fact["count"] == fact["to"] - fact["from"] and fact["least"] == bool(stream.asked)
            self.trimmed[stream.epoch] = max(self.trimmed[stream.epoch], fact["to"])
            if log.final is not None:
                self._judge_trimmed(fact["to"], log.final)
            if bits & ~fact["bits"]:
                self.complain("wrong bits", f"gap {fact['from']}..{fact['to']}: {fact['bits']} without some of {bits}")
        else:
            self.complain("a gap that nobody asked for", f"stage {fact['stage']}, {fact['from']}..{fact['to']}")
            return
        if not right:
            self.complain("a wrong count", f"gap {fact['from']}..{fact['to']} of stage {fact['stage']}: {fact['count']}"
                          f"{' at least' if fact['least'] else ''}, {len(missing)} match")
        self.counts["missed"] += len(missing)

    def _stream_mark(self, stream, fact):
        self.counts["marks"] += 1
        self._passed(stream, fact["at"], "Mark")

    def _stream_snap(self, stream, fact):
        self.counts["snapshots"] += 1
        if not stream.snapshot_due or fact["at"] != stream.place:
            self.complain("not in order", f"SnapshotBegin {fact['at']}, opened at {stream.place}")
        stream.snapshot_due = False
        stream.snapshot = []

    def _stream_synced(self, stream, fact):
        if stream.synced:
            self.complain("not in order", "Synced twice")
        stream.synced = True
        if stream.snapshot is not None:
            self._judge_snapshot(stream, fact["at"])
        self._passed(stream, fact["at"], "Synced")

    def _judge_snapshot(self, stream, at):
        log = self.known.logs[stream.epoch]
        got, stream.snapshot = stream.snapshot, None
        if log.final is None and at > log.newest():
            return
        if at != stream.place or at > log.newest():
            self.complain("a snapshot of another place", f"Synced {at}, it began at {stream.place}")
            return
        if got != sorted(set(got)):
            self.complain("twice, or not in order", "a snapshot")
        devices = {s for s in got if s <= log.newest() and log.records[s - 1][truth.SOURCE] != truth.SOURCE_BROKER}
        wanted = {r[truth.SEQ] for r in self.folds[self.name, stream.epoch].until(log, at)
                  if truth.matching.matches(stream.asked, r)}
        unknown = log.newest_unknown(at)  # it may be newer than what is older
        missing = [s for s in wanted - devices if s > unknown]
        if missing or devices - wanted:
            self.complain("a wrong snapshot", f"of {at}: missing {sorted(missing)[:5]}, too much "
                                              f"{sorted(devices - wanted)[:5]}")

    # ---- the end

    def _stream_closed(self, stream, fact):
        if stream.snapshot is None:
            self._passed(stream, fact["at"], "Closed")
        stream.closed = True

    def _stream_strange(self, stream, fact):
        self.complain("not by the contract", fact["what"])

    def _stream_end(self, stream, fact):
        code, details = fact["code"], fact["details"]
        if fact["ours"] or code in BREAKS:
            return
        self.counts["ended " + code] += 1
        if code == "OK":
            if not stream.request.get("stop_at_newest") or not stream.synced:
                self.complain("ended too early", "OK")
        elif code == "OUT_OF_RANGE":
            self._judge_out_of_range(stream, details)
        elif code == "RESOURCE_EXHAUSTED" and stream.request["policy"] == "DISCONNECT":
            if not stream.closed or "resume from" not in details:
                self.complain("a refusal without a reason", details)
        else:
            self.complain("ended for no good reason", f"{code}: {details}")

    def _judge_out_of_range(self, stream, details):
        said = re.search(r"holds records (\d+)\.\.(\d+)", details)
        if not said or stream.place is not None:
            self.complain("a refusal without a reason", details)
            return
        if stream.request["start"][0] == "cursor":
            cursor = stream.request["start"][1]
            places = self.subscriber.tried[cursor] + [self.subscriber.moved.get(cursor, (0, 0))]
        else:
            places = [tuple(stream.request["start"][1:])]
        oldest, newest = int(said[1]), int(said[2])
        self._judge_trimmed(oldest - 1, newest)
        for epoch, sequence in places:
            if epoch not in self.known.logs or f"{epoch:016x}" not in details.split("log")[-1] or \
                    sequence < oldest - 1 or sequence > newest:
                break
        else:
            self.complain("refused a position that is there", details)
        before = max(stream.newest_before.get(epoch, 0) for epoch, _ in places)
        if any(f"log {epoch:016x}" in details for epoch, _ in places) and newest < before:
            self.complain("the log went back", f"its newest is {newest}, {before} was delivered before")

    def _on_try(self, fact):
        self.subscribers[fact["s"]].tried[fact["cursor"]].append((fact["E"], fact["at"]))

    def _on_moved(self, fact):
        subscriber = self.subscribers[fact["s"]]
        place = fact["E"], fact["at"]
        tried = subscriber.tried[fact["cursor"]]
        if place in tried:
            del tried[:tried.index(place) + 1]
        subscriber.moved[fact["cursor"]] = place
        self.counts["cursors moved"] += 1

    def _on_rest(self, fact):
        """Everybody had time: nobody may lack anything. A connection may break at the last moment: then the stream before
        counts."""
        for name in fact["subscribers"]:
            self.name = name
            stream = self.subscribers[name].opened_stream
            if name in fact.get("late", ()):
                self.doubt(f"{name} was still reading when the time was up")
            elif stream is None or stream.epoch != fact["E"]:
                self.complain("lost", "has no stream at the end")
            else:
                self._passed(stream, max(stream.place, fact["newest"]), "the end of the run at")
