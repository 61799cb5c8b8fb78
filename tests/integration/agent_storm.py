#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A unit that says the same again and again: told at once, then as one, and nothing of it is lost or overtaken."""
import re

from agent_program import *
from agent_scripted import watched

from scripted_target import sense

MODE = "MODE_PARAMETERS_CHANGED"


def said(n=0):
    return sense(6, 0x2A, 0x01, information=n)


def told(seen, lun=0, name=MODE):
    return [e for e in of_targets(seen.subscription.events()) if brief(e) == (name, lun)]


def conditions(events):
    return sum(max(e.count, 1) for e in events)


def taken(target):
    """The agent has all that was queued on unit 0: it asks again."""
    target.wait(lambda: not target.units[0].senses, "all senses taken")
    asked = len(target.pdus)
    target.wait(lambda: any(p["opcode"] == 1 and p["lun"] == 0 for p in target.pdus[asked:]), "another poll")


def test_a_burst_is_the_first_and_few_updates_and_hides_no_other_unit():
    with watched() as (target, _, agent, seen):
        for n in range(200):
            target.queue_sense(0, said(n % 3))
        target.queue_sense(1, said())
        seen.subscription.wait(lambda _: conditions(told(seen)) >= 200, "all of it")
        events = told(seen)
        check_equal(conditions(events), 200, "none is lost, none twice")
        check_equal(conditions(told(seen, 1)), 1, "the other unit")
        check(events[0].count <= 1, "the first at once")
        check(2 <= len(events) < 20, f"{len(events)} events for 200")
        update = max(events, key=lambda e: e.count)
        check(update.first_time_unix_ns < update.last_time_unix_ns, "first and last time")
        raw = {bytes(n.raw) for e in events for n in [e.native, *e.evidence]}
        check(all(said(n) in raw for n in range(3)), "distinct sense data is kept")
        line = r'storm\.told count=\d+ ms=\d+ key="MODE_PARAMETERS_CHANGED ISCSI iscsi0/\d+/0 \S+ (\S+ )?6/2A/01"'
        check(re.search(line, agent.log()), f"the key is printed:\n{agent.log()}")


def test_the_life_of_the_session_is_never_held_and_comes_behind_what_was_before_it():
    with watched() as (target, _, _, seen):
        for _ in range(3):
            target.queue_sense(0, said())
        taken(target)
        target.session().close()
        seen.subscription.wait(
            lambda s: ("NEXUS_RESTORED", None) in [brief(e) for e in of_targets(s.events())], "login")
        events = of_targets(seen.subscription.events())
        lost = [brief(e) for e in events].index(("NEXUS_LOST", None))
        check_equal(conditions(e for e in events[:lost] if brief(e) == (MODE, 0)), 3, "what was before it")
        target.queue_sense(0, said())
        seen.subscription.wait(lambda _: conditions(told(seen)) == 4, "the one after it")
        check(told(seen)[-1].count <= 1, "which is a first one again")


def test_what_is_held_when_the_agent_stops_is_told():
    with watched() as (target, broker, agent, seen):
        for _ in range(3):
            target.queue_sense(0, said())
        taken(target)
        agent.stop()
        seen.subscription.wait(lambda _: conditions(told(seen)) >= 3, "all of it")
        check_equal(conditions(told(seen)), 3)
        check_equal(brief(of_targets(broker.read_all())[-1]), ("SESSION_STOPPED", None), "the last word")


if __name__ == "__main__":
    run_tests(globals())
