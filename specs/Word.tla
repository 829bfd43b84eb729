------------------------------- MODULE Word -------------------------------
(***************************************************************************)
(* The shared word of a handle: what it holds, and every change of it that *)
(* is allowed.  Nothing here knows about processes or steps.               *)
(*                                                                         *)
(* In Rust: core/src/state.rs (step), core/src/edges.rs (EDGES).  In       *)
(* PostgreSQL: PgAioHandleState and the fields around it, changed by       *)
(* pgaio_io_update_state.  There, state and generation are two variables;  *)
(* here one exchange changes all five fields.                              *)
(***************************************************************************)
EXTENDS Naturals

States == {"IDLE", "HANDED_OUT", "DEFINED", "STAGED", "SUBMITTED",
           "COMPLETED_IO", "COMPLETED_SHARED", "COMPLETED_LOCAL"}

Nobody == 0   \* "no completer"; processes are numbered from 1

\* by: who has claimed the IO, or completes it.  sync: its issuer executes it
\* in place.  waiters: somebody may sleep on it, so that its end must be posted.
NewWord == [state |-> "IDLE", gen |-> 1, by |-> Nobody, sync |-> FALSE, waiters |-> FALSE]

Words(lastGen, processes) ==
    [state : States, gen : 1..lastGen, by : processes \union {Nobody},
     sync : BOOLEAN, waiters : BOOLEAN]

IsOver(w) == w.state \in {"COMPLETED_SHARED", "COMPLETED_LOCAL"}
IsPending(w) == w.state \in {"HANDED_OUT", "DEFINED", "STAGED", "SUBMITTED", "COMPLETED_IO"}

---------------------------------------------------------------------------
(* The changes.  Each gives the word afterwards.                           *)

To(w, state) == [w EXCEPT !.state = state]
Submitted(w, inPlace) == [w EXCEPT !.state = "SUBMITTED", !.sync = inPlace]
Claimed(w, me) == [w EXCEPT !.by = me]
Unclaimed(w) == [w EXCEPT !.by = Nobody]
CompletedIo(w, me) == [w EXCEPT !.state = "COMPLETED_IO", !.by = me]
Published(w) == [w EXCEPT !.state = "COMPLETED_SHARED", !.waiters = FALSE]
Finished(w, me) == Published(CompletedIo(w, me))   \* both at once, where no callback runs in between
Announced(w) == [w EXCEPT !.waiters = TRUE]
Recycled(w) == [NewWord EXCEPT !.gen = w.gen + 1]

---------------------------------------------------------------------------
(* When somebody may make them.                                            *)

\* A claim is the right and the duty to execute.  (A worker of PostgreSQL
\* gets it by taking the IO out of the submission queue.)
CanClaim(w) == w.state = "SUBMITTED" /\ ~w.sync /\ w.by = Nobody

\* In which capacity somebody completes (Rust: Role).
Roles == {"issuer", "completer", "owner's recoverer", "completer's recoverer"}

CanComplete(w, role, me) ==
    /\ w.state = "SUBMITTED"
    /\ \/ role = "issuer" /\ w.sync
       \/ role = "completer" /\ ~w.sync /\ w.by \in {Nobody, me}
       \/ role = "owner's recoverer" /\ w.by \in {Nobody, me}

CanAbandon(w) == w.state \in {"DEFINED", "STAGED"}

---------------------------------------------------------------------------
(* All of them again, as a relation: the second opinion on every step      *)
(* (S2).  No step of the specification uses it.                            *)

IsEdge(old, new) ==
    \/ new = To(old, "HANDED_OUT") /\ old.state = "IDLE"                       \* HandOut
    \/ new = Recycled(old) /\ old.state = "HANDED_OUT"                         \* Release
    \/ new = To(old, "DEFINED") /\ old.state = "HANDED_OUT"                    \* Define
    \/ new = To(old, "STAGED") /\ old.state \in {"HANDED_OUT", "DEFINED"}      \* Stage
    \/ /\ old.state \in {"HANDED_OUT", "STAGED"}                               \* Submit, Start
       /\ new = Submitted(old, new.sync)
    \/ new = CompletedIo(old, new.by) /\ CanAbandon(old) /\ new.by # Nobody    \* Abandon
    \/ new = Claimed(old, new.by) /\ CanClaim(old) /\ new.by # Nobody          \* Claim
    \/ /\ old.state = "SUBMITTED" /\ old.by # Nobody                           \* Unclaim
       /\ new = Unclaimed(old)
    \/ /\ old.state = "SUBMITTED" /\ new.by # Nobody                           \* CompleteIo, Finish
       /\ old.by \in {Nobody, new.by}
       /\ new \in {CompletedIo(old, new.by), Finished(old, new.by)}
    \/ /\ old.state = "COMPLETED_IO" /\ new.by # Nobody                        \* TakeOver
       /\ new = Claimed(old, new.by)
    \/ new = Published(old) /\ old.state = "COMPLETED_IO"                      \* Publish
    \/ new = To(old, "COMPLETED_LOCAL") /\ old.state = "COMPLETED_SHARED"      \* Localise
    \/ new = Recycled(old) /\ IsOver(old)                                      \* Reclaim, Retire, Bury
    \/ new = Announced(old) /\ IsPending(old)                                  \* AddWaiter
=============================================================================
