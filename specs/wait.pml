/*
 * Waiting for an IO: announce, ticket, publish, post, sleep.  A second opinion on what Waiting.tla and
 * Completing.tla say about lost wake-ups, in another language, with another checker.
 *
 * One handle, used GENERATIONS times.  The completer of each use publishes and, if it saw WAITERS, posts;
 * the issuer reclaims.  Each of SLEEPERS processes waits once, for the generation that it finds.  No slice
 * of a sleep is ever over here: nobody dies, so no wake-up may depend on that.
 *
 * Rust: core/src/decide/waiter.rs and completer.rs; the event count is platform::EventCount.
 * PostgreSQL: pgaio_io_wait, pgaio_io_process_completion, ConditionVariablePrepareToSleep and Broadcast.
 *
 * Checked under weak fairness (pan -f): everybody ends, so there is no deadlock either.
 *
 *     spin -a wait.pml && cc -O2 -DNFAIR=6 -o pan pan.c && ./pan -a -f -m100000
 *
 * Planted mistakes, one at a time, by -D to spin; each must give an error:
 *     POST_FIRST       the completer posts before it publishes
 *     NO_ANNOUNCEMENT  a waiter sleeps without WAITERS
 *     TICKET_LAST      the ticket is taken after the last look at the word
 *     POST_NEVER_BUMPS a post wakes who sleeps, but leaves tickets good
 */
#ifndef GENERATIONS
#define GENERATIONS 2
#endif
#ifndef SLEEPERS
#define SLEEPERS 2
#endif

mtype = { IDLE, SUBMITTED, COMPLETED_SHARED };

/* The shared word; every change of it is one atomic step. */
mtype state = IDLE;
byte generation = 1;
bool waiters = false;

/* The event count.  A ticket is good until the next post: one bit for each waiter says so, as in the
 * search, which keeps the number of states finite. */
bool fresh[SLEEPERS];
bool asleep[SLEEPERS];

byte ended = 0;

inline post() {
    atomic {
        byte w;
        for (w : 0 .. SLEEPERS - 1) {
#ifndef POST_NEVER_BUMPS
            fresh[w] = false;
#endif
            asleep[w] = false
        }
        w = 0
    }
}

/* The issuer submits, its completer completes, the issuer reclaims when it sees the end. */
active proctype issuer() {
    do
    :: generation <= GENERATIONS ->
        atomic { state == IDLE -> state = SUBMITTED }
        (state == COMPLETED_SHARED);
        atomic { state = IDLE; generation++ }
    :: else -> break
    od;
    ended++
}

active proctype completer() {
    bool saw;
    byte done = 0;
    do
    :: done < GENERATIONS ->
        (state == SUBMITTED);
#ifdef POST_FIRST
        saw = waiters;
        if :: saw -> post() :: else fi;
        atomic { state = COMPLETED_SHARED; waiters = false; saw = false }
#else
        atomic { state = COMPLETED_SHARED; saw = waiters; waiters = false }
        if :: saw -> post() :: else fi;
        saw = false;
#endif
        done++
    :: else -> break
    od;
    ended++
}

/* Sleeps with a ticket: compare and block is one step of the kernel's. */
inline sleep(me) {
    if
    :: atomic { fresh[me] -> asleep[me] = true }
       (!asleep[me])                            /* until somebody posts: no slice is ever over */
    :: atomic { !fresh[me] -> skip }
    fi
}

proctype waiter(byte me) {
    byte mine;
    bool changed;
    /* A reference, once there is one: to an IO that is submitted, or to the last one. */
    if
    :: atomic { state != IDLE -> mine = generation }
    :: atomic { generation > GENERATIONS -> mine = GENERATIONS }
    fi;
again:
    atomic {                                    /* the first look */
        if
        :: generation > mine || state == COMPLETED_SHARED -> goto over
        :: else
        fi
    }
#ifndef TICKET_LAST
    fresh[me] = true;                           /* the ticket */
#endif
look:
    atomic {                                    /* the look after it, and what it decides */
        if
        :: generation > mine || state == COMPLETED_SHARED -> goto over
        :: else
        fi;
        changed = waiters
    }
#ifndef NO_ANNOUNCEMENT
    if
    :: changed                                  /* announced by another one */
    :: !changed ->
        atomic {                                /* announce: an exchange with what was seen */
            if
            :: generation == mine && state == SUBMITTED && !waiters -> waiters = true
            :: else -> goto look
            fi
        }
    fi;
#endif
#ifdef TICKET_LAST
    fresh[me] = true;
#endif
    sleep(me);
    goto again;
over:
    atomic { fresh[me] = false; changed = false; ended++ }
}

init {
    atomic {
        byte w;
        for (w : 0 .. SLEEPERS - 1) { run waiter(w) }
    }
}

ltl ends { <> (ended == SLEEPERS + 2) }
