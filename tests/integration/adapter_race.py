# SPDX-License-Identifier: Apache-2.0
"""Rule 4 under a race: two connections ask for one session's registration, again and again. Exactly one wins each time,
and the loser hears since when the other holds it.

    adapter_race.py [--races N]     10,000 unless said otherwise
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from adapter_stream import *  # noqa: E402,F403

RACES = 10_000
LANES = 50  # sessions that are raced for at a time: requests travel in bunches
SINCE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


def race(one, two, first_lane_turn):
    """One bunch: gives how often the first stream won, and the messages that the losers got."""
    starts = [one.send(start=A.Start(address=address(1, lane))) for lane in range(LANES)]
    sessions = [check_result(one.result(i)).start for i in starts]
    asked = []
    for lane, session in enumerate(sessions):
        request = A.RegisterEvent(session_id=session.session_id, mode=INITIATOR, correlator=b"%d" % lane)
        pair = (one, two) if (lane + first_lane_turn) % 2 else (two, one)
        ids = {stream: stream.send(event=request) for stream in pair}
        asked.append((ids[one], ids[two]))
    wins, messages = 0, []
    for (id_one, id_two), session in zip(asked, sessions):
        results = [one.result(id_one), two.result(id_two)]
        winners = [r for r in results if r.error == A.ERRNO_OK]
        check_equal(len(winners), 1, f"winners of {session.session_id} ({', '.join(map(describe, results))})")
        loser = results[0] if winners[0] is results[1] else results[1]
        check_result(loser, "EINVAL", "ALREADY_REGISTERED")
        messages.append(loser.message)
        wins += winners[0] is results[0]
    stops = [one.send(stop=A.Stop(session_id=session.session_id)) for session in sessions]
    for request in stops:
        check_result(one.result(request))
    one.forget()
    two.forget()
    return wins, messages


def test_two_connections_race_for_a_registration():
    # rule 4; A2: the loser's attempt costs nobody anything
    with face(devices=[make_device(1, lane) for lane in range(LANES)]) as (broker, agent, one), \
            AdapterStream(broker) as two:
        begin, n, wins = time.monotonic(), 0, 0
        year = time.gmtime().tm_year
        while n < RACES:
            won, messages = race(one, two, n // LANES)
            for message in messages:
                since = SINCE.search(message)
                check(since is not None and int(since.group()[:4]) in (year, year + 1), f"since when? {message!r}")
            n += LANES
            wins += won
            agent.operations.clear()
        counters = broker.counters()
        check_equal(counters["sensebus_adapter_registrations_total"], n)
        check_equal(counters["sensebus_adapter_registration_conflicts_total"], n)
        check_equal(counters["sensebus_adapter_registrations_open"], 0)
        print(f"{n} races in {time.monotonic() - begin:.1f} s; the first connection won {wins}")
        check(0 < wins < n, "both win sometimes: it is a race")


if __name__ == "__main__":
    if "--races" in sys.argv:
        at = sys.argv.index("--races")
        RACES = int(sys.argv[at + 1])
        del sys.argv[at:at + 2]
    run_tests(globals())
