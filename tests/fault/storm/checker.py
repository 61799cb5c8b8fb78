# SPDX-License-Identifier: Apache-2.0
"""Judges a history by the guarantees, and by nothing else: it knows neither the broker nor the clients.

    python3 tests/fault/storm/checker.py HISTORY
"""
import collections
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from history import History  # noqa: E402
from streams import Judge  # noqa: E402
from truth import Truth  # noqa: E402

EXAMPLES = 3


class Verdict:
    """violations: kind → number; examples: kind → a few texts; counts: what the history holds."""

    def __init__(self):
        self.violations = collections.Counter()
        self.examples = collections.defaultdict(list)
        self.counts = collections.Counter()

    def complain(self, what, detail):
        self.violations[what] += 1
        if len(self.examples[what]) < EXAMPLES:
            self.examples[what].append(detail)

    def text(self):
        lines = ["  ".join(f"{what} {n}" for what, n in sorted(self.counts.items()))]
        for what, n in self.violations.most_common():
            lines.append(f"VIOLATION {what} ({n} times)")
            lines += [f"    {example}" for example in self.examples[what]]
        lines.append(f"{sum(self.violations.values())} violations")
        return "\n".join(lines)


def judge(history):
    """`history` is gone through twice: a list of facts, or a History."""
    verdict = Verdict()
    known = Truth(history, verdict.complain)
    streams = Judge(history, known, verdict.complain)
    verdict.counts = known.counts + streams.counts
    if not any(log.final is not None for log in known.logs.values()):
        verdict.complain("no end", "the run did not come to rest")
    return verdict


def main():
    verdict = judge(History(sys.argv[1]))
    print(verdict.text())
    sys.exit(1 if verdict.violations else 0)


if __name__ == "__main__":
    main()
