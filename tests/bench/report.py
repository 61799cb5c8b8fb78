# SPDX-License-Identifier: Apache-2.0
"""Results as a table, as a judgement by the targets, and as docs/performance.md."""
import os
import statistics

from workloads import METRICS

REASONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "reasons.md")

OURS = "sensebus"


class Results:
    """The measurements of a run: values by (workload, variant, system, metric)."""

    def __init__(self, results):
        self.raw = results
        self.values = {}
        self.order = []  # (workload, variant, unit), each once, as measured
        self.systems = {}
        for m in results["measurements"]:
            where = (m["workload"], m["variant"], m["unit"])
            if where not in self.order:
                self.order.append(where)
            names = self.systems.setdefault(where[:2], [])
            if m["system"] not in names:
                names.append(m["system"])
            for metric, value in m["metrics"].items():
                if metric in METRICS:
                    self.values.setdefault((*where[:2], m["system"], metric), []).append(value)

    def metrics(self, workload, variant):
        return list(dict.fromkeys(key[3] for key in self.values if key[:2] == (workload, variant)))

    def median(self, workload, variant, system, metric):
        values = self.values.get((workload, variant, system, metric))
        return statistics.median(values) if values else None

    def text(self, *key):
        """min / median / max"""
        values = self.values.get(key)
        if not values:
            return "–"
        return " / ".join(number(v) for v in (min(values), statistics.median(values), max(values)))


def number(value):
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) >= 0.0005 else "0"


def ratio(value, base):
    return f"{value / base:.2f}" if value is not None and base else "–"


# ---------------------------------------------------------------------------------------------------- targets

class Target:
    """`metric` of ours is at most `bound`: by itself, times or (with `more`) plus that of another system."""

    def __init__(self, workload, variant, metric, bound, other=None, more=False, system=OURS, least=False):
        self.workload, self.variant, self.metric, self.bound = workload, variant, metric, bound
        self.other, self.more, self.system, self.least = other, more, system, least

    def judge(self, r):
        """(what is asked, what is, met), or None when it was not measured."""
        ours = r.median(self.workload, self.variant, self.system, self.metric)
        if ours is None:
            return None
        sign = "≥" if self.least else "≤"
        if not self.other:
            bound, asked = self.bound, f"{sign} {number(self.bound)}"
        else:
            other_variant, other_system = self.other if isinstance(self.other, tuple) else (self.variant, self.other)
            base = r.median(self.workload, other_variant, other_system, self.metric)
            if base is None:
                return None
            of = other_system if other_variant == self.variant else f"{other_system} with {other_variant}"
            bound = base + self.bound if self.more else base * self.bound
            asked = f"≤ {of} + {number(self.bound)}" if self.more else f"≤ {number(self.bound)} × {of}"
            asked += f" = {number(bound)}"
        return (f"{self.workload} {self.variant}: {self.system}: {METRICS[self.metric]} {asked}", ours,
                ours >= bound if self.least else ours <= bound, bound)


def fan_out_targets(variant):
    return [Target("W2", variant, "cpu_us", 1.3, "limit: relay"), Target("W2", variant, "cpu_us", 1 / 8, "nats core"),
            Target("W2", variant, "cpu_us", 1 / 2, "RabbitMQ stream")]


TARGETS = [
    Target("W1", "1 → 1", "cpu_us", 0.75),
    Target("W1", "1 → 1", "cpu_us", 1 / 5, "nats JetStream, file"),
    *fan_out_targets("1 → 100"),
    *fan_out_targets("1 → 1000"),
    Target("W3", "1,000/s → 10", "p50_us", 1, "nats core", system="sensebus, relaxed"),
    Target("W3", "1,000/s → 10", "p99_us", 1, "nats core", system="sensebus, relaxed"),
    Target("W3", "1,000/s → 10", "p50_us", 60, "limit: relay, log, fdatasync", more=True),
    Target("W3", "1,000/s → 10", "p99_us", 1, "nats JetStream, file"),
    Target("W4", "1 publisher, window 1024", "cpu_us", 0.5),
    Target("W4", "1 publisher, window 16384", "cpu_us", 0.5),
    Target("W4", "16 publishers, window 1024", "cpu_us", 0.5),
    Target("W5", "1000 subscribers, by target", "cpu_us", 1, "nats core"),
    Target("W5", "1000 subscribers, by designator", "cpu_us", 1, ("1000 subscribers, by target", "nats core")),
    Target("W5", "1000 subscribers that match nothing, by target", "cpu_us", 1.1, ("no subscriber", OURS)),
    Target("W5", "1000 subscribers that match nothing, by designator", "cpu_us", 1.1, ("no subscriber", OURS)),
    Target("W6", "catch-up of the log", "cpu_us", 0.05),
    Target("W6", "catch-up by a stock Python client", "rate", 400_000, least=True),
    Target("W7", "1000 subscribers", "rss_kib", 16),
    Target("W7", "5000 subscribers", "rss_kib", 16),
    Target("W7", "1000 subscribers", "after_kib", 16),
    Target("W7", "1000 subscribers, TLS", "rss_kib", 40, system="sensebus, TLS"),
    Target("W7", "1000 subscribers, TLS", "after_kib", 40, system="sensebus, TLS"),
    Target("W8", "5000 subscribers", "cpu_percent", 0.1),
]


def judged(r):
    for target in TARGETS:
        verdict = target.judge(r)
        if verdict:
            yield verdict


# ---------------------------------------------------------------------------------------------------- texts

def limit_of(names):
    return next((n for n in names if n.startswith("limit")), None)


def rows(r, workload, variant):
    """A header, then a line for each system."""
    metrics = r.metrics(workload, variant)
    names = r.systems[(workload, variant)]
    first = metrics[0]
    base = r.median(workload, variant, limit_of(names), first) if limit_of(names) else None
    ours = r.median(workload, variant, OURS, first)
    yield ["system", *[f"{METRICS[m]} min / median / max" for m in metrics], "÷ limit", "÷ sensebus"]
    for name in names:
        value = r.median(workload, variant, name, first)
        yield [name, *[r.text(workload, variant, name, m) for m in metrics], ratio(value, base), ratio(value, ours)]


def table(results):
    r = Results(results)
    lines = []
    for workload, variant, unit in r.order:
        lines += ["", f"{workload}  {variant}, each {unit}"]
        cells = list(rows(r, workload, variant))
        widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
        lines += ["  " + "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths)))
                  for row in cells]
    verdicts = list(judged(r)) if results["size"] != "smoke" else []
    if verdicts:
        lines += ["", "targets"]
        lines += [f"  {'met   ' if met else 'MISSED'}  {asked}, is {number(value)}"
                  + ("" if met else f" ({value / bound:.2f} ×)") for asked, value, met, bound in verdicts]
    if results["notes"]:
        lines += ["", "not measured"]
        lines += [f"  {where}: {why}" for where, why in results["notes"].items()]
    lines += ["", *remarks(results)]
    return "\n".join(lines).strip("\n")


def remarks(results):
    """What a reader has to know to believe the numbers, or not."""
    others = sorted(m["metrics"]["others"] for m in results["measurements"] if "others" in m["metrics"])
    if others:
        yield (f"Meanwhile other programs used {100 * statistics.median(others):.0f} % of the machine (median; "
               f"{100 * others[-1]:.0f} % at worst): CPU is comparable, time only as far as that allows.")
    counts = {len(v) for v in Results(results).values.values()}
    if counts and max(counts) < 3:
        yield "Each was measured " + ("once." if max(counts) == 1 else "twice.")
    if not results.get("realtime"):
        yield "W3 was measured without real-time priority: its times are those of a shared machine."
    if results["size"] != "full":
        yield f"Size: {results['size']}. To look at while working, not to quote."


# ---------------------------------------------------------------------------------------------------- the document

HEAD = """# Performance

<!-- Made by `bench.py --document`: change tests/bench/report.py and tests/bench/reasons.md, not this file. -->

What the broker costs, beside the brokers that people would otherwise pick and beside the least that any broker could do
on the same machine; all systems of one table in the same run.

"""

HOW = """## How it is measured

- **The same payload**: an encoded event of 150 bytes. Ours arrives as a record of 171: the broker adds sequence and time.
- **The same load generator** (`tests/bench/load`), one thread of C for all protocols: subscribers count and decode nothing,
  a connection each. Publishers keep at most a window of events unacknowledged, and never more than 64 Ki events (512 MiB
  over all subscribers) on the way to the slowest subscriber, so that brokers without flow control are not measured by the
  size of their queues.
- **CPU of the server per unit**, all threads, system calls and loopback TCP included (the process's CPU clock), is what
  counts; time on the wall stands beside it. Server and load generator have a core each.
- **In turn**: each system once, then each again, each time with a new server in an empty folder; min / median / max.
- **Memory that is there**: before each measurement, up to 2 GiB of free memory are touched. A virtual machine that gives free
  memory back to its host gets each page anew when it is used, at some 10 µs a page here; whoever wrote the next log would
  pay for that (W4 with a window of 16,384: 0.45 µs a record, and 0.55 to 0.67 without).
- **A load generator that does not sleep**, on its own core, where CPU is measured: what wakes it is on the account of the server
  that wrote to it, and depends on how deep a virtual core sleeps (W2 with 100 subscribers: 0.031 in one run, 0.056 in the next).
- W3 measures time, so server and load generator have real-time priority there (SCHED_FIFO).
- *limit* is `tests/bench/limit.c`: it reads frames and writes the same bytes to every subscriber with `writev`; appends
  them to a file written before and waits for `fdatasync`; or sends the file with `sendfile`.

| system | configuration |
|---|---|
| sensebus | `--durability sync`: acknowledged and delivered only when on disk; *relaxed*: without the wait |
| nats core, redis pub/sub, mosquitto QoS 0 | no log |
| nats JetStream | file storage, synced every two minutes; a push consumer without acknowledgements for each subscriber |
| redis stream | append-only file, `everysec` or `always`; `XREAD BLOCK` with `COUNT 1000` |
| mosquitto QoS 1 | kept sessions, saved every 10,000 changes; in W4 one session that is away |
| RabbitMQ stream | schedulers that do not spin; synced by nobody before it is acknowledged |

| workload | |
|---|---|
| W1, W2 | one publisher as fast as it goes, to 1, 100, 1000 subscribers that want everything |
| W3 | 1,000 events a second to 10 subscribers: age of an event when it arrives |
| W4 | publishers alone, acknowledged |
| W5 | 1000 subscribers, each with a filter for another thousandth (a subject, channel or topic each for the others); and 1000 whose filter matches nothing |
| W6 | the whole log to one subscriber that begins at the oldest record; the same to Debian's Python client, which decodes it |
| W7 | resident memory for each subscriber, idle and after it was sent about 100 MiB over all |
| W8 | CPU of the server while nothing happens |

## Repeat it

```
sh deploy/install-deps.sh test && sh tests/bench/install.sh   # root; installs the other brokers, starts none
sh tests/bench/run.sh                                         # everything: more than an hour
sh tests/bench/run.sh W2 W4 --quick                           # some of it, small
/usr/bin/python3 tests/bench/bench.py --document build/bench/results.json >docs/performance.md
/usr/bin/python3 tests/bench/bench.py --profile build/bench/profile W2   # where the broker's time goes (perf)
```
"""


def markdown(rows_of_cells):
    rows_of_cells = list(rows_of_cells)
    yield "| " + " | ".join(rows_of_cells[0]) + " |"
    yield "|---" + "|---:" * (len(rows_of_cells[0]) - 1) + "|"
    for cells in rows_of_cells[1:]:
        bold = cells[0].startswith(OURS)
        yield "| " + " | ".join([f"**{cells[0]}**" if bold else cells[0], *cells[1:]]) + " |"


def targets_section(runs):
    """What was asked, what is, and what it was in the other runs."""
    verdicts = [{asked.split(" = ")[0]: (asked, value, met, bound) for asked, value, met, bound in judged(r)} for r in runs]
    others = [f"run {i + 1}" for i in range(1, len(runs))]
    if not verdicts[0]:
        return
    yield from ["## Targets", ""]
    yield "| | asked | is | |" + "".join(f" {name} | |" for name in others)
    yield "|---|---|---:|---|" + "---:|---|" * len(others)
    for what, (asked, *_) in verdicts[0].items():
        cells = asked.split(": ", 1)
        for of_run in verdicts:
            _, value, met, bound = of_run.get(what, (None, None, None, None))
            cells += [number(value), "met" if met else f"**missed**, {value / bound:.2f} ×"] if value is not None else ["–", ""]
        yield "| " + " | ".join(cells) + " |"
    yield ""


def document(results, *others):
    r = Results(results)
    lines = [HEAD.rstrip("\n"), "", "| | |", "|---|---|"]
    lines += [f"| {name} | {text} |" for name, text in results["machine"].items()]
    lines += [f"| {name} | {text} |" for name, text in results["versions"].items()]
    lines += [f"| date | {results['date']} |", "", "*" + " ".join(remarks(results)) + "*", ""]
    lines += targets_section([r, *(Results(other) for other in others)])
    lines += ["## Results", ""]
    for workload, variant, unit in r.order:
        lines += [f"### {workload}: {variant}, each {unit}", "", *markdown(rows(r, workload, variant)), ""]
    if results["notes"]:
        lines += ["Not measured:", "", *[f"- {where}: {why}" for where, why in results["notes"].items()], ""]
    with open(REASONS, encoding="utf-8") as file:
        reasons = file.read().split("\n", 1)[1]  # behind the licence
    return "\n".join(lines) + "\n" + reasons + HOW.rstrip("\n")
