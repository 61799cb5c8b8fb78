# SPDX-License-Identifier: Apache-2.0
"""A row of the event table: a cause, and what is told of it, once and with its evidence.

    @row("capacity", "a disk says that its capacity changed")
    def capacity(world):
        disk = world.scsi_debug()          # what the row needs; what is told of this is not looked at
        yield
        put(…)                             # the cause
        yield [Told("CAPACITY_CHANGED", disk, sense="6/2a/09", seen_by=("unit-attention", "SDEV_UA"))]
        …                                  # tidy up: runs always

Whatever else is told between the cause and the quiet after it fails the row.
"""
import time
import traceback

from world import Failed, WAIT_S, until

ROWS = []


class Told:
    """An event that must come: its code, the device or adapter that it is about, the native names of its evidence."""

    def __init__(self, code, where=None, sense=None, seen_by=(), mode="MODE_INITIATOR", target=None, says=(),
                 adapter=None):
        """`target`: its name; `says`: what must be in the words of the leading record; `adapter`: how its name begins."""
        self.code, self.where, self.sense, self.seen_by, self.mode = code, where, sense, seen_by, mode
        self.target, self.says, self.adapter = target, says, adapter

    def place(self):
        if self.where is None or isinstance(self.where, str):
            return self.where
        return f"host{self.where.host}:{self.where.channel}:{self.where.target}:{self.where.lun}"

    def __str__(self):
        return f"{self.code}{' at ' + self.place() if self.where else ''}"

    def faults(self, event):
        """What is wrong with the event that has this code and place."""
        found = []
        if self.sense and self.sense != sense_of(event):
            found.append(f"{self.code}: sense {sense_of(event)}, not {self.sense}")
        for name in self.seen_by:
            if name not in natives(event):
                found.append(f"{self.code}: no evidence {name}, only {', '.join(natives(event))}")
        if event.get("mode", "MODE_UNSPECIFIED") != self.mode:
            found.append(f"{self.code}: {event.get('mode')}, not {self.mode}")
        if self.target and event.get("device", {}).get("targetName") != self.target:
            found.append(f"{self.code}: {event.get('device')}, not of {self.target}")
        if self.adapter and not event.get("address", {}).get("adapter", "").startswith(self.adapter):
            found.append(f"{self.code}: {event.get('address')}, not of an adapter {self.adapter}…")
        for words in self.says:
            if words not in event.get("native", {}).get("detail", ""):
                found.append(f"{self.code}: {event.get('native', {}).get('detail')!r} does not say {words!r}")
        return found


class MayBeTold(Told):
    """What only a look at the states in sysfs shows, which comes too late when the state was short: once, or not."""


def place_of(event):
    """host3:0:1:4, without the parts that the event does not have."""
    address = event.get("address", {})
    parts = [address.get("adapter", "")]
    for part in ("bus", "target", "lun"):
        if int(address.get(part, 0)) < 0:
            break
        parts.append(str(address.get(part, 0)))
    return ":".join(parts)


def sense_of(event):
    sense = event.get("sense", {})
    return f"{sense.get('key', 0):x}/{sense.get('asc', 0):02x}/{sense.get('ascq', 0):02x}"


def natives(event):
    """The names of the native records in it, the leading one first."""
    return [native.get("name", "?") for native in [event.get("native", {})] + event.get("evidence", [])]


def describe(event):
    native = event.get("native", {})
    return (f"{event['code']} at {place_of(event)} ({', '.join(natives(event))}: {native.get('detail', '')}"
            f"{', synthetic' if event.get('synthetic') else ''})")


def fits(told, event):
    return (told.code == event["code"] and (told.where is None or place_of(event) == told.place()) and
            told.mode == event.get("mode"))


class Row:
    def __init__(self, name, cause, body):
        self.name, self.cause, self.body = name, cause, body

    def check(self, world):
        """Returns a Result; raises nothing."""
        result = Result(self)
        steps = self.body(world)
        try:
            next(steps)
            mark = world.settle()
            result.begin = time.time()
            expected = next(steps)
            result.judge(world, mark, expected)
        except StopIteration:
            result.faults.append("the row ended early")
        except Failed as reason:
            result.faults.append(str(reason))
        except Exception:  # a fault of the test itself fails this row alone
            result.faults.append(traceback.format_exc(limit=-2))
        finally:
            try:
                next(steps, None)
                steps.close()
            except Exception as error:
                result.faults.append(f"tidying up: {error}")
        return result


class Result:
    def __init__(self, row):
        self.row = row
        self.begin = time.time()
        self.faults = []
        self.lines = []  # (event's code, natives, source, seconds) of each expected event that came

    def judge(self, world, mark, expected):
        musts = [told for told in expected if not isinstance(told, MayBeTold)]
        try:
            until(lambda: all(any(fits(told, e) for _, e in world.watch.since(mark)) for told in musts), "events",
                  WAIT_S)
        except Failed:
            pass
        world.settle()
        left = world.watch.since(mark)
        for told in expected:
            found = next((pair for pair in left if fits(told, pair[1])), None)
            if found is None:
                if told in musts:
                    self.faults.append(f"not told: {told}")
                continue
            left.remove(found)
            arrival, event = found
            self.faults += told.faults(event)
            self.lines.append((told.code, natives(event), event.get("origin", {}).get("source", "?"),
                               arrival - int(event["wallTimeUnixNs"]) / 1e9))
        self.faults += [f"told, too: {describe(event)}" for _, event in left]

    def passed(self):
        return not self.faults


def row(name, cause):
    def add(body):
        ROWS.append(Row(name, cause, body))
        return body
    return add
