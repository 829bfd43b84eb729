------------------------------ MODULE Ringing -----------------------------
(***************************************************************************)
(* Rings: the kernel executes, and leaves completions in a queue of the    *)
(* issuer's process.  Whoever drains it holds the reap lock from copying   *)
(* an entry to giving it back.                                             *)
(*                                                                         *)
(* Rust: core/src/protocol/{lead,reap}.rs, core/src/decide/reaper.rs.      *)
(* PostgreSQL: method_io_uring.c (pgaio_uring_wait_one, _drain_locked).    *)
(*                                                                         *)
(* Left out: the lead.  An issuer here drains after a submission and then  *)
(* waits as every other process does; only its reaper sleeps in the ring.  *)
(***************************************************************************)
EXTENDS Pool

\* The kernel finishes what it was given, in any order.  For a dead process it may also give up.
KernelFinishes(p) ==
    /\ \E io \in kernel[p] :
          /\ kernel' = [kernel EXCEPT ![p] = @ \ {io}]
          /\ \/ queue' = [queue EXCEPT ![p] = Append(@, io)]
             \/ p \in dead /\ UNCHANGED queue
    /\ UNCHANGED <<handleVars, workerVars, reaping, ringBell, bookVars, slotVars, stack>>

QLock(a) ==
    LET f == Top(a) IN
    /\ reaping[f.p] = Nobody \/ Fault = "drain without the reap lock"
    /\ reaping' = [reaping EXCEPT ![f.p] = a]
    /\ Put(a, <<[f EXCEPT !.pc = "q_head"]>>)
    /\ UNCHANGED <<handleVars, workerVars, kernel, queue, ringBell, bookVars, slotVars>>

\* A recoverer drains for the dead one; it holds its slot lock, and needs no reap lock.
QHead(a) ==
    LET f == Top(a)
        role == IF Process(a) = f.p /\ f.p \notin dead THEN "completer" ELSE "owner's recoverer" IN
    /\ IF queue[f.p] = <<>>
       THEN /\ reaping' = [reaping EXCEPT ![f.p] = IF @ = a THEN Nobody ELSE @]
            /\ Put(a, <<>>)
       ELSE /\ LET io == Head(queue[f.p])
                   c == [Complete("c_look", io[1], NewWord, role) EXCEPT !.g = io[2]] IN
               Put(a, <<c, [f EXCEPT !.pc = "q_advance"]>>)
            /\ UNCHANGED reaping
    /\ UNCHANGED <<handleVars, workerVars, kernel, queue, ringBell, bookVars, slotVars>>

QAdvance(a) ==
    LET f == Top(a) IN
    /\ queue' = [queue EXCEPT ![f.p] = IF @ = <<>> THEN @ ELSE Tail(@)]
    /\ Put(a, <<[f EXCEPT !.pc = "q_head"]>>)
    /\ UNCHANGED <<handleVars, workerVars, kernel, reaping, ringBell, bookVars, slotVars>>

---------------------------------------------------------------------------
(* The reaper: asleep on the slot's bell until somebody asks.              *)

IsAwaited(w) == w.state = "SUBMITTED" /\ w.waiters /\ ~w.sync

ReaperStarts == [pc |-> "b_ticket", h |-> 0]

BTicket(a) ==
    LET p == Process(a) IN
    /\ ringBell' = [ringBell EXCEPT ![p].fresh = @ \union {a}]
    /\ Put(a, <<[pc |-> "b_look", h |-> Min(Own(p))]>>)
    /\ UNCHANGED <<handleVars, workerVars, kernel, queue, reaping, bookVars, slotVars>>

BLook(a) ==
    LET h == Top(a).h IN
    /\ Put(a, CASE IsAwaited(word[h]) -> <<[pc |-> "b_ring", h |-> 0]>>
                [] ~IsAwaited(word[h]) /\ h + 1 \in Own(Process(a)) -> <<[pc |-> "b_look", h |-> h + 1]>>
                [] OTHER -> <<[pc |-> "b_sleep", h |-> 0]>>)
    /\ OnlyLooks

\* Asleep in the ring until there is a completion.
BRing(a) ==
    /\ queue[Process(a)] # <<>>
    /\ Put(a, <<Drain(Process(a), "q_lock"), ReaperStarts>>)
    /\ OnlyLooks

BSleep(a) ==
    LET p == Process(a) IN
    /\ IF a \in ringBell[p].fresh
       THEN /\ ringBell' = [ringBell EXCEPT ![p].asleep = @ \union {a}]
            /\ Put(a, <<[pc |-> "b_asleep", h |-> 0]>>)
       ELSE UNCHANGED ringBell /\ Put(a, <<ReaperStarts>>)
    /\ UNCHANGED <<handleVars, workerVars, kernel, queue, reaping, bookVars, slotVars>>

BAsleep(a) ==
    /\ a \notin ringBell[Process(a)].asleep
    /\ Put(a, <<ReaperStarts>>)
    /\ OnlyLooks
=============================================================================
