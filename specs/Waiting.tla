------------------------------ MODULE Waiting -----------------------------
(***************************************************************************)
(* Waiting for generation g of handle h, and looking for the dead when a   *)
(* slice of the sleep is over.                                             *)
(*                                                                         *)
(* Rust: core/src/decide/waiter.rs, core/src/protocol/wait.rs.             *)
(* PostgreSQL: pgaio_wref_wait, pgaio_io_wait, pgaio_io_was_recycled.      *)
(*                                                                         *)
(*   w_read -> w_ticket -> w_read -> w_announce -> w_bell -> w_sleep       *)
(*                                                                         *)
(* The look between ticket and sleep is what makes a lost wake-up          *)
(* impossible: what is posted later makes the ticket old, what was posted  *)
(* earlier is seen.                                                        *)
(***************************************************************************)
EXTENDS Pool

\* Before any sleep an issuer submits what it has staged (L3).
HasStaged(a) == a \in IssuerIds /\ staged[a] # <<>> /\ Fault # "sleep with IO staged"

\* Before it sleeps on an IO in a ring, the ring's own issuer takes a turn at it; everybody else
\* posts the slot's bell, so that the reaper looks after it (L4).
InRing(w) == Method = "ring" /\ w.state = "SUBMITTED"

BeforeSleep(a, f, w) ==
    LET next == [f EXCEPT !.pc = "w_sleep", !.w = w] IN
    CASE HasStaged(a) -> Submit(staged[a]) \o <<Again(f)>>
      [] ~HasStaged(a) /\ InRing(w) /\ Owner(f.h) = a -> Turn(a, f.h, f.g, TRUE, next)
      [] ~HasStaged(a) /\ InRing(w) /\ Owner(f.h) # a /\ Fault # "bell not posted" ->
            <<[next EXCEPT !.pc = "w_bell"]>>
      [] OTHER -> <<next>>

\* The look.  Nothing but an older reference is recycled, and nothing but COMPLETED_SHARED
\* or later is over; S6 and S11 say that the rest of the table is never needed.
WRead(a) ==
    LET f == Top(a)
        w == word[f.h] IN
    /\ fresh' = IF w.gen > f.g \/ IsOver(w) THEN [fresh EXCEPT ![f.h] = @ \ {a}] ELSE fresh
    /\ Put(a, IF w.gen > f.g \/ IsOver(w) THEN <<>>
              ELSE IF w.state = "STAGED" /\ Owner(f.h) = a THEN Submit(staged[a]) \o <<Again(f)>>
              ELSE IF ~f.ticketed /\ InRing(w) /\ Owner(f.h) = a THEN
                  IF HasStaged(a) THEN Submit(staged[a]) \o <<Again(f)>>
                  ELSE Turn(a, f.h, f.g, FALSE, [f EXCEPT !.pc = "w_ticket"])
              ELSE IF ~f.ticketed /\ Fault # "ticket after the last look" THEN <<[f EXCEPT !.pc = "w_ticket"]>>
              ELSE IF w.waiters \/ Fault = "no announcement" THEN BeforeSleep(a, f, w)
              ELSE <<[f EXCEPT !.pc = "w_announce", !.w = w]>>)
    /\ UNCHANGED <<word, asleep, callbackVars, reference, workerVars, ringVars, bookVars, slotVars>>

WTicket(a) ==
    LET f == Top(a) IN
    /\ fresh' = [fresh EXCEPT ![f.h] = @ \union {a}]
    /\ Put(a, <<[f EXCEPT !.pc = IF Fault = "ticket after the last look" THEN "w_sleep" ELSE "w_read",
                          !.ticketed = TRUE]>>)
    /\ UNCHANGED <<word, asleep, callbackVars, reference, workerVars, ringVars, bookVars, slotVars>>

\* Sets WAITERS, if the word is still the one that was read.
WAnnounce(a) ==
    LET f == Top(a) IN
    /\ IF word[f.h] = f.w
       THEN /\ Write(f.h, Announced(f.w))
            /\ Put(a, IF Fault = "ticket after the last look"
                      THEN <<[f EXCEPT !.pc = "w_ticket"]>>
                      ELSE BeforeSleep(a, f, f.w))
       ELSE Put(a, <<[f EXCEPT !.pc = "w_read", !.w = NewWord]>>) /\ UNCHANGED word
    /\ UNCHANGED <<countVars, callbackVars, reference, workerVars, ringVars, bookVars, slotVars>>

WBell(a) ==
    LET f == Top(a)
        p == Owner(f.h) IN
    /\ ringBell' = [ringBell EXCEPT ![p] = [fresh |-> {}, asleep |-> {}]]
    /\ Put(a, <<[f EXCEPT !.pc = "w_sleep"]>>)
    /\ UNCHANGED <<handleVars, workerVars, kernel, queue, reaping, lead, bookVars, slotVars>>

\* Compare and block, in one step as the kernel's futex does.
WSleep(a) ==
    LET f == Top(a) IN
    /\ IF a \in fresh[f.h]
       THEN asleep' = [asleep EXCEPT ![f.h] = @ \union {a}] /\ Put(a, <<[f EXCEPT !.pc = "w_asleep"]>>)
       ELSE UNCHANGED asleep /\ Put(a, <<Again(f)>>)
    /\ UNCHANGED <<word, fresh, callbackVars, reference, workerVars, ringVars, bookVars, slotVars>>

\* Posted; or, only after somebody has died, the slice is over.
WAsleep(a) ==
    LET f == Top(a) IN
    /\ IF a \notin asleep[f.h]
       THEN Put(a, <<Again(f)>>) /\ UNCHANGED asleep
       ELSE /\ killed > 0
            /\ asleep' = [asleep EXCEPT ![f.h] = @ \ {a}]
            /\ Put(a, <<[pc |-> "p_owner", h |-> f.h, w |-> f.w], Again(f)>>)
    /\ UNCHANGED <<word, fresh, callbackVars, reference, workerVars, ringVars, bookVars, slotVars>>

---------------------------------------------------------------------------
(* The probe (Rust: Context::probe): is the owner dead, or the completer?  *)
(* Then recover it.  Does no worker claim it?  Then do their work, if      *)
(* there are none, or ring them all.                                       *)

LooksDead(a, p) == p # Process(a) /\ slot[p] = "active" /\ LockIsFree(p)

POwner(a) ==
    LET f == Top(a)
        p == Owner(f.h)
        next == [f EXCEPT !.pc = "p_by"] IN
    /\ Put(a, IF LooksDead(a, p) THEN <<Recover(p, "r_lock", FALSE), next>> ELSE <<next>>)
    /\ OnlyLooks

PBy(a) ==
    LET f == Top(a)
        p == f.w.by
        next == IF Method = "worker" /\ CanClaim(f.w) THEN <<[f EXCEPT !.pc = "p_work"]>> ELSE <<>> IN
    /\ Put(a, IF p # Nobody /\ LooksDead(a, p) THEN <<Recover(p, "r_lock", FALSE)>> \o next ELSE next)
    /\ OnlyLooks

PWork(a) ==
    LET f == Top(a) IN
    /\ Put(a, IF \A p \in WorkerIds : lock[p] = Nobody
              THEN <<[pc |-> "k_look", h |-> f.h, w |-> NewWord]>> ELSE <<RingAll>>)
    /\ OnlyLooks

---------------------------------------------------------------------------
(* A process that does nothing but wait, once, for the newest IO that it   *)
(* has heard of.                                                           *)

Heard == {h \in Handles : reference[h] > 0}
HeardOfLast == {h \in Handles : reference[h] > 0 /\ h = Issuers * HandlesEach}   \* instead of Heard, where a size is too large

VStart(a) ==
    /\ \/ \E h \in Heard : Put(a, <<WaitFor(h, reference[h])>>)
       \/ (\A p \in IssuerIds : stack[p] = <<>>) /\ Put(a, <<>>)
    /\ OnlyLooks
=============================================================================
