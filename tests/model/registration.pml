/* SPDX-License-Identifier: Apache-2.0 */
/* Registration of one device: START, EVENT, STOP, loss of the agent and its return, an operator's takeover.
 *
 * Two connections of one principal, one agent, one operator. The broker's steps are those of broker/core/adapter:
 * each handles one input completely. Channels are connections: ordered, and they can end. What the operator does is a
 * takeover: it ends the session with a reason; the next START has a new generation, and the old one is fenced.
 *
 * The invariants carry the names that broker/core/adapter/adapter.h and the simulator's checker give them:
 *   one-registration   never two live registrations, and never a second one in the life of a session
 *   no-stale           no record under a generation that is not the session's, none behind the cancellation
 *   every-wait-ends    each request is answered exactly once
 *   cancelled-last     whoever registered is told of the end, once, as the last thing
 *   bits-kept          a bit that arrived for an open session is in its pending word until a query takes it
 *
 * With -DMUTANT=n one rule is broken; the checks must then fail (check_model.py runs them all). */

#ifndef MUTANT
#define MUTANT 0
#endif

#define N          2 /* connections */
#ifndef REQUESTS
#define REQUESTS   3 /* that each makes */
#endif
#define RECORDS    1 /* that the device raises in all */
#define AGENT_LIVES 2
#define NOBODY     255

mtype = { START, EVENT, STOP, QUERY,                    /* requests */
          OK, CONFLICT, NOT_STARTED, REFUSED, EIO,      /* replies */
          RECORD, CANCELLED,                            /* on the stream of whoever registered */
          OPEN, REGISTER, CLOSE,                        /* broker to agent */
          DONE, NO };                                   /* agent to broker */

chan request = [N] of { mtype, byte };                  /* kind, who */
chan stream[N] = [8] of { mtype, byte };                /* kind, generation */
chan down = [8] of { mtype, byte, byte, byte };         /* kind, generation, who asked, life of the agent */
chan up = [8] of { mtype, byte, byte, byte, mtype };    /* kind, generation, who asked, life, of what */
chan log = [4] of { byte, byte };                       /* records, later than results: generation, life */

/* The broker's state. */
byte generation = 0;    /* of the open session, 0 = none */
byte last_generation = 0;
byte starting = NOBODY; /* who waits for OPEN */
byte starting_generation = 0;
byte holder = NOBODY;   /* who registered, or tries to */
bool live = false;      /* the registration holds */
bool used = false;      /* the session's one chance is used up */
bit pending = 0;
byte agent_life = 1;
bool agent_up = true;

/* For the invariants. */
byte n_live = 0;              /* registrations that hold now */
byte n_registered[8];         /* by generation */
byte n_ever = 0, n_cancelled = 0;
byte n_asked[N], n_answered[N];
bit arrived = 0;              /* a bit came for the session, and no query took it */

inline answer(who, what, g)
{
    n_answered[who]++;
    assert(n_answered[who] <= n_asked[who]); /* every-wait-ends: never twice */
    stream[who]!what, g;
}

inline note_registered(g_)
{
    n_live++;
    n_ever++;
    n_registered[g_]++;
    assert(n_live <= 1 && n_registered[g_] <= 1) /* one-registration */
}

inline cancel()
{
    if
    :: live ->
        live = false;
        n_live--;
        if
        :: MUTANT == 1 -> skip
        :: else -> stream[holder]!CANCELLED, generation; n_cancelled++
        fi
    :: else -> skip
    fi;
    assert(n_cancelled == n_ever); /* cancelled-last: whoever registered is told */
    holder = NOBODY
}

/* The session ends; a registration on its way is answered. */
inline end_session(why)
{
    if
    :: holder != NOBODY && !live -> answer(holder, why, generation); holder = NOBODY
    :: else -> skip
    fi;
    cancel();
    assert(pending == arrived); /* bits-kept */
    generation = 0;
    used = false;
    pending = 0; arrived = 0
}

inline on_start(who)
{
    if
    :: !agent_up -> answer(who, EIO, 0)
    :: agent_up && (generation != 0 || starting != NOBODY) -> answer(who, CONFLICT, 0)
    :: else ->
        starting = who;
        if
        :: MUTANT == 2 && last_generation > 0 -> starting_generation = last_generation
        :: else -> last_generation++; starting_generation = last_generation
        fi;
        down!OPEN, starting_generation, who, agent_life
    fi
}

inline on_event(who)
{
    if
    :: generation == 0 -> answer(who, NOT_STARTED, 0)
    :: generation != 0 && (holder != NOBODY || used) && MUTANT != 3 -> answer(who, CONFLICT, generation)
    :: else ->
        holder = who;
        down!REGISTER, generation, who, agent_life
    fi
}

inline on_stop(who)
{
    if
    :: generation == 0 -> answer(who, NOT_STARTED, 0)
    :: else ->
        down!CLOSE, generation, who, agent_life;
        end_session(NOT_STARTED);
        answer(who, OK, 0)
    fi
}

inline on_query(who)
{
    if
    :: generation == 0 -> answer(who, NOT_STARTED, 0)
    :: else ->
        assert(pending == arrived);
        if
        :: MUTANT == 6 -> skip
        :: else -> pending = 0
        fi;
        arrived = 0;
        answer(who, OK, generation)
    fi
}

inline on_agent_gone()
{
    agent_up = false;
    if
    :: starting != NOBODY && MUTANT != 9 -> answer(starting, EIO, 0)
    :: else -> skip
    fi;
    starting = NOBODY;
    if
    :: generation != 0 && MUTANT != 4 -> end_session(EIO)
    :: else -> skip
    fi;
    assert(!live && generation == 0) /* a registration ends with its session, a session with its agent */
}

/* Scratch of one atomic step: not part of the state. */
hidden byte who, g, life;
hidden mtype op, what;

active proctype broker()
{
    end: do
    :: atomic { request?START, who -> on_start(who) }
    :: atomic { request?EVENT, who -> on_event(who) }
    :: atomic { request?STOP, who -> on_stop(who) }
    :: atomic { request?QUERY, who -> on_query(who) }
    :: atomic { up?DONE, g, who, life, op ->
        if
        :: life != agent_life || !agent_up -> skip /* of a stream that ended */
        :: else ->
            if
            :: op == OPEN && starting == who && starting_generation == g ->
                starting = NOBODY; generation = g; answer(who, OK, g)
            :: op == REGISTER && generation == g && holder == who && !live ->
                live = true; used = true; note_registered(g); answer(who, OK, g)
            :: op == REGISTER && MUTANT == 3 && generation == g ->
                note_registered(g)
            :: else -> skip /* late: nobody waits */
            fi
        fi }
    :: atomic { up?NO, g, who, life, op ->
        if
        :: life != agent_life || !agent_up -> skip
        :: else ->
            if
            :: op == OPEN && starting == who && starting_generation == g -> starting = NOBODY; answer(who, REFUSED, 0)
            :: op == REGISTER && generation == g && holder == who && !live ->
                /* a failed attempt does not use up the chance */
                if
                :: MUTANT == 5 -> used = true
                :: else -> skip
                fi;
                holder = NOBODY; answer(who, REFUSED, g);
                assert(!used)
            :: else -> skip
            fi
        fi }
    :: atomic { log?g, life ->
        if
        :: generation == 0 || life != agent_life || !agent_up -> skip
        :: else ->
            if
            :: g != generation && MUTANT != 7 -> skip /* stale: dropped */
            :: else ->
                arrived = 1;
                if
                :: MUTANT == 8 && !live -> skip
                :: else -> pending = 1
                fi;
                if
                :: live -> stream[holder]!RECORD, g
                :: else -> skip
                fi
            fi
        fi }
    od
}

/* A connection: asks one thing after the other, and checks what it hears. */
active [N] proctype connection()
{
    byte me = _pid - 1; /* the broker is process 0 */
    byte n = 0, registered = 0, over = 0;
    mtype asked;
    bool waiting = false;

    end: do
    :: !waiting && n < REQUESTS ->
        atomic {
            if
            :: asked = START
            :: asked = EVENT
            :: asked = STOP
            :: asked = QUERY
            fi;
            n++; n_asked[me]++; waiting = true;
            request!asked, me
        }
    :: atomic { stream[me]?what, g ->
        if
        :: what == RECORD ->
            assert(registered == g && over != g) /* no-stale */
        :: what == CANCELLED ->
            assert(registered == g);
            over = g; registered = 0
        :: else ->
            assert(waiting);
            waiting = false;
            if
            :: asked == EVENT && what == OK -> registered = g
            :: else -> skip
            fi
        fi }
    od
}

/* The agent: does or refuses what it is told, raises records, dies and comes back as another. */
active proctype agent()
{
    byte open = 0, n = 0;

    end: do
    :: atomic { down?what, g, who, life ->
        if
        :: life != agent_life || !agent_up -> skip /* was on its way when the stream ended */
        :: else ->
            if
            :: what == CLOSE -> open = 0
            :: what == OPEN -> open = g; up!DONE, g, who, life, OPEN
            :: what == OPEN -> up!NO, g, who, life, OPEN
            :: what == REGISTER -> up!DONE, g, who, life, REGISTER
            :: what == REGISTER -> up!NO, g, who, life, REGISTER
            fi
        fi }
    :: atomic { open != 0 && n < RECORDS -> n++; log!open, agent_life }
    :: atomic { agent_up && agent_life < AGENT_LIVES -> open = 0; on_agent_gone() }
    :: atomic { !agent_up -> agent_life++; agent_up = true }
    od
}

active proctype operator()
{
    end: if
    :: atomic { generation != 0 -> down!CLOSE, generation, 0, agent_life; end_session(EIO) }
    fi
}

#define all_answered (n_asked[0] == n_answered[0] && n_asked[1] == n_answered[1])
ltl every_wait_ends { [] <> all_answered }
