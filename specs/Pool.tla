------------------------------- MODULE Pool -------------------------------
(***************************************************************************)
(* What the processes of a pool share, what each keeps to itself, and how  *)
(* the steps of the other modules are written down.                        *)
(*                                                                         *)
(* One step is one access to shared memory, as in handfast-model's search. *)
(* All accesses happen in one order; weak memory is loom's part.           *)
(***************************************************************************)
EXTENDS Word, Sequences, FiniteSets

CONSTANTS
    Issuers, Waiters, Workers,  \* how many processes of each kind
    HandlesEach,                \* how many handles an issuer owns
    Generations,                \* how often each handle is used
    Method,                     \* "place" | "worker" | "ring": who executes
    Callbacks,                  \* TRUE: stage, shared and local callbacks exist, and may refuse
    Batches,                    \* "never" | "may" | "must": whether an issuer leaves IOs staged
    Releases,                   \* TRUE: an issuer may give a handle back unused
    Crosswise,                  \* how often an issuer waits for an IO of another one
    MayLeave,                   \* TRUE: a worker may leave while another one stays
    Mortal,                     \* the processes that may be killed, at any step
    Deaths,                     \* how many of them are, at most
    Newcomers,                  \* TRUE: a new process takes the slot of a dead issuer
    Fault                       \* "none", or the mistake that is planted

Min(S) == CHOOSE x \in S : \A y \in S : x <= y
Without(s, x) == SelectSeq(s, LAMBDA y : y # x)

IssuerIds == 1..Issuers
WaiterIds == Issuers+1..Issuers+Waiters
WorkerIds == Issuers+Waiters+1..Issuers+Waiters+Workers
Processes == 1..Issuers+Waiters+Workers

\* With rings, each issuer has a second thread, the reaper: actor "issuer + Reaper".
Reaper == Issuers + Waiters + Workers
ReaperIds == IF Method = "ring" THEN Reaper+1..Reaper+Issuers ELSE {}
Actors == Processes \union ReaperIds
Process(a) == IF a \in ReaperIds THEN a - Reaper ELSE a

\* The owner of a handle is a function of its number (Rust: Shared::owner).
Handles == 1..Issuers * HandlesEach
Owner(h) == (h - 1) \div HandlesEach + 1
Own(p) == {h \in Handles : Owner(h) = p}

VARIABLES
    \* Each handle (Rust: core/src/handle.rs; PostgreSQL: PgAioHandle).
    word,       \* its word
    fresh,      \* its event count: whose ticket is still good,
    asleep,     \*   and who sleeps (PostgreSQL: the condition variable)
    outcome,    \* of which generation the stored result is (distilled_result)
    reference,  \* the newest generation that others have a reference to (PgAioWaitRef)
    runs,       \* for S1: how often its shared callbacks ran for the first time
    \* Workers.
    hints,      \* handles that a worker should look at (the submission queue)
    bell,       \* [sleepers, owed, fresh, asleep]: the doorbell
    \* Rings, one for each issuer.
    kernel,     \* what the kernel has been given and may still write, <<handle, generation>>
    queue,      \* completions that it has left
    reaping,    \* who holds the reap lock, or Nobody
    ringBell,   \* [fresh, asleep]: the slot's bell, on which the reaper sleeps
    lead,       \* [by, want]: who may sleep in the ring, whether somebody else wants more of it
    \* Each issuer's private lists (Rust: decide/book.rs).
    staged, flight,
    \* Slots (Rust: protocol/end.rs, platform::SlotLocks).
    slot,       \* "active" | "free"
    lock,       \* whose process holds the lock of the slot, or Nobody
    dead,       \* slots whose process was killed, and no newcomer is there
    killed,     \* how many were
    \* Each thread: what it is doing, innermost first.
    stack

callbackVars == <<outcome, runs>>
countVars == <<fresh, asleep>>
handleVars == <<word, fresh, asleep, outcome, reference, runs>>
workerVars == <<hints, bell>>
ringVars == <<kernel, queue, reaping, ringBell, lead>>
bookVars == <<staged, flight>>
slotVars == <<slot, lock, dead, killed>>
vars == <<handleVars, workerVars, ringVars, bookVars, slotVars, stack>>

\* Of a step that only looks.
OnlyLooks == UNCHANGED <<handleVars, workerVars, ringVars, bookVars, slotVars>>

---------------------------------------------------------------------------
(* A thread is a stack of frames.  A frame is a record: "pc" names the     *)
(* access that comes next, the rest is what the thread remembers.          *)

Top(a) == Head(stack[a])
At(a, pc) == stack[a] # <<>> /\ Top(a).pc = pc
Frames(a) == {stack[a][n] : n \in 1..Len(stack[a])}

\* The innermost frame is replaced by these: one to go on, two to call, none to return.
Put(a, frames) == stack' = [stack EXCEPT ![a] = frames \o Tail(@)]

Write(h, w) == word' = [word EXCEPT ![h] = w]

\* Wakes everybody who sleeps on a handle, and makes every ticket old.
Post(h) ==
    /\ fresh' = [fresh EXCEPT ![h] = {}]
    /\ asleep' = [asleep EXCEPT ![h] = {}]

\* The shared callbacks run for generation g, and their result is stored.
Store(h, g) == outcome' = [outcome EXCEPT ![h] = g]
CountRun(h, g) ==
    runs' = [runs EXCEPT ![h] = IF @.gen = g THEN [@ EXCEPT !.times = @ + 1]
                                             ELSE [gen |-> g, times |-> 1]]

\* A slot's lock is free when its process is gone, and the kernel writes nothing
\* for it any more: the ring holds the lock as well.
LockIsFree(p) ==
    /\ lock[p] = Nobody
    /\ \/ Method # "ring" \/ p \notin IssuerIds \/ Fault = "lock free too early"
       \/ kernel[p] = {}

---------------------------------------------------------------------------
(* The frames that one module makes for another.                           *)

ReaperStarts == [pc |-> "b_ticket", h |-> 0, leading |-> FALSE]
IssuerStarts == [pc |-> "i_free", h |-> 0, at |-> 0, left |-> Crosswise]

WaitFor(h, g) == [pc |-> "w_read", h |-> h, g |-> g, w |-> NewWord, ticketed |-> FALSE]

\* A wait that begins again, with the first look.
Again(f) == [f EXCEPT !.pc = "w_read", !.w = NewWord, !.ticketed = FALSE]

\* pc is the entry: "c_look" with a result, "c_abandon" without one, "c_takeover" for the dead.
Complete(pc, h, w, role) == [pc |-> pc, h |-> h, g |-> w.gen, w |-> w, role |-> role]

PostFor(h, g) == [pc |-> "c_post", h |-> h, g |-> g]

Submit(todo) ==
    IF todo = <<>> THEN <<>>
    ELSE <<[pc |-> IF Method = "worker" THEN "s_hint" ELSE "s_submit",
            todo |-> todo, started |-> <<>>, awaited |-> FALSE]>>

Ring(n) == [pc |-> "d_ring", n |-> n]
RingAll == [pc |-> "d_all", n |-> 0]

Drain(p, pc) == [pc |-> pc, p |-> p, any |-> FALSE]

\* An issuer's turn at its ring, before it sleeps on an own IO: it begins with a drain.
\* The frame below is what the wait does next, should somebody else lead.
Turn(p, h, g, announced, below) ==
    <<Drain(p, "q_lock"),
      [pc |-> "t_drained", p |-> p, h |-> h, g |-> g, announced |-> announced, stage |-> "outside"],
      below>>

Recover(p, pc, onlyStep1) ==
    [pc |-> pc, p |-> p, h |-> 1, w |-> NewWord, only |-> onlyStep1,
     unfinished |-> FALSE, mine |-> FALSE]
=============================================================================
