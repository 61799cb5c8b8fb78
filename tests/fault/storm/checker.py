# SPDX-License-Identifier: Apache-2.0
"""Judges a history by the guarantees, and by nothing else: it knows neither the broker nor the clients.

    python3 tests/fault/storm/checker.py HISTORY

Ends 0 when all was judged and is right, 1 when there are violations. 77 when there are none, and a part could not be
judged: because the auditor lagged behind retention, or somebody was still getting on when the time was up. That proves
nothing wrong, so it must not fail who did nothing wrong; and it proves nothing right, so it must not be a success. CTest
and tests/run.sh call 77 skipped, and count it.
"""
import collections
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from history import History  # noqa: E402
from streams import Judge  # noqa: E402
from truth import Truth  # noqa: E402

EXAMPLES = 3
INCONCLUSIVE = 77


class Verdict:
    """violations: kind → number; examples: kind → a few texts; doubts: what could not be judged; counts: what the history
    holds."""

    def __init__(self):
        self.doubts = []
        self.violations = collections.Counter()
        self.examples = collections.defaultdict(list)
        self.counts = collections.Counter()

    def complain(self, what, detail):
        self.violations[what] += 1
        if len(self.examples[what]) < EXAMPLES:
            self.examples[what].append(detail)

    def status(self):
        return 1 if self.violations else INCONCLUSIVE if self.doubts else 0

    def text(self):
        lines = ["  ".join(f"{what} {n}" for what, n in sorted(self.counts.items()))]
        for what, n in self.violations.most_common():
            lines.append(f"VIOLATION {what} ({n} times)")
            lines += [f"    {example}" for example in self.examples[what]]
        lines += [f"INCONCLUSIVE {doubt}" for doubt in self.doubts]
        lines.append(f"{sum(self.violations.values())} violations")
        return "\n".join(lines)


def judge(history):
    """`history` is gone through twice: a list of facts, or a History."""
    verdict = Verdict()
    known = Truth(history, verdict.complain, verdict.doubts.append)
    streams = Judge(history, known, verdict.complain, verdict.doubts.append)
    verdict.counts = known.counts + streams.counts
    if not any(log.final is not None for log in known.logs.values()):
        verdict.complain("no end", "the run did not come to rest")
    return verdict


def main():
    verdict = judge(History(sys.argv[1]))
    print(verdict.text())
    sys.exit(verdict.status())


if __name__ == "__main__":
    main()
