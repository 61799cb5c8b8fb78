# SPDX-License-Identifier: Apache-2.0
"""Results as a table, as a judgement by the targets, and as docs/performance.md."""
import statistics

from workloads import METRICS

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
        return [m for m in METRICS if any(key[:2] == (workload, variant) and key[3] == m for key in self.values)]

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
    Target("W5", "1000 subscribers that match nothing", "cpu_us", 1.1, ("no subscriber", OURS)),
    Target("W6", "catch-up of a million", "cpu_us", 0.05),
    Target("W6", "catch-up, stock Python client", "rate", 400_000, least=True),
    Target("W7", "1000 subscribers", "rss_kib", 16),
    Target("W7", "5000 subscribers", "rss_kib", 16),
    Target("W7", "1000 subscribers", "after_kib", 16),
    Target("W7", "1000 subscribers, TLS", "rss_kib", 40),
    Target("W7", "1000 subscribers, TLS", "after_kib", 40),
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
    if results["size"] != "full":
        lines += ["", f"size: {results['size']} - to look at while working, not to quote"]
    return "\n".join(lines).strip("\n")
