------------------------------ MODULE Working -----------------------------
(***************************************************************************)
(* Workers: scan the hints, claim, execute, complete, scan again; sleep at *)
(* the doorbell when a whole round after the announcement found nothing.   *)
(*                                                                         *)
(* Rust: core/src/decide/worker.rs, core/src/protocol/{work,hint,doorbell, *)
(* complete}.rs.  PostgreSQL: IoWorkerMain, pgaio_worker_submit.           *)
(*                                                                         *)
(* A hint only says where to look; the word is the truth.  A ring moves    *)
(* sleepers of the doorbell's word to "owed", then posts; whoever does not *)
(* sleep any more takes one of the owed, or else one of the sleepers.      *)
(***************************************************************************)
EXTENDS Pool

NewRound(f) == [f EXCEPT !.pc = "k_hints", !.left = IssuerIds, !.bits = {}, !.h = 0, !.w = NewWord]

WorkerStarts ==
    [pc |-> "k_hints", h |-> 0, w |-> NewWord, left |-> IssuerIds, bits |-> {},
     announced |-> FALSE, then |-> "scan"]

\* The next thing of a round.
GoOn(f) ==
    CASE f.bits # {} -> [f EXCEPT !.pc = "k_look", !.h = Min(f.bits), !.w = NewWord]
      [] f.left # {} -> [f EXCEPT !.pc = "k_hints", !.h = 0, !.w = NewWord]
      [] OTHER -> [f EXCEPT !.pc = IF f.announced THEN "k_sleep" ELSE "k_ticket", !.h = 0, !.w = NewWord]

\* A worker may leave only if another one stays: who starts and stops them sees to that.
AnotherStays(a) ==
    \E b \in WorkerIds \ {a} :
       stack[b] # <<>> /\ LET main == stack[b][Len(stack[b])] IN main.pc # "k_gone" /\ main.then # "leave"

KHints(a) ==
    LET f == Top(a)
        p == Min(f.left) IN
    /\ \/ Put(a, <<GoOn([f EXCEPT !.left = @ \ {p}, !.bits = hints \intersect Own(p)])>>)
       \/ /\ MayLeave /\ f.left = IssuerIds /\ AnotherStays(a)
          /\ Put(a, IF f.announced THEN <<[f EXCEPT !.pc = "k_withdraw", !.then = "leave"]>>
                    ELSE IF Fault = "leave without passing on" THEN <<[f EXCEPT !.pc = "k_gone"]>>
                    ELSE <<Ring(1), [f EXCEPT !.pc = "k_gone"]>>)
    /\ OnlyLooks

\* A lost claim: a worker goes on scanning, a waiter that stood in goes on waiting.
Lost(a, f) == IF a \in WorkerIds THEN <<GoOn([f EXCEPT !.bits = @ \ {f.h}])>> ELSE <<>>

KLook(a) ==
    LET f == Top(a)
        w == word[f.h] IN
    /\ Put(a, IF CanClaim(w) THEN <<[f EXCEPT !.pc = "k_claim", !.w = w]>> ELSE Lost(a, f))
    /\ OnlyLooks

KClaim(a) ==
    LET f == Top(a)
        now == word[f.h] IN
    /\ IF now = f.w \/ Fault = "claim by store"
       THEN /\ Write(f.h, Claimed(f.w, Process(a)))
            /\ LET claimed == [f EXCEPT !.pc = "k_unhint", !.w = Claimed(f.w, Process(a))] IN
               Put(a, IF Fault = "hint cleared late"
                      THEN <<Complete("c_look", f.h, claimed.w, "completer"), claimed>> ELSE <<claimed>>)
       ELSE /\ Put(a, IF CanClaim(now) /\ now.gen = f.w.gen THEN <<[f EXCEPT !.w = now]>> ELSE Lost(a, f))
            /\ UNCHANGED word
    /\ UNCHANGED <<countVars, callbackVars, reference, workerVars, ringVars, bookVars, slotVars>>

Execute(a, f) ==
    <<Complete("c_look", f.h, f.w, "completer")>> \o (IF a \in WorkerIds THEN <<NewRound(f)>> ELSE <<>>)

\* Before it completes: the handle may be submitted again right after that.
KUnhint(a) ==
    LET f == Top(a) IN
    /\ hints' = hints \ {f.h}
    /\ Put(a, IF Fault = "hint cleared late" THEN <<NewRound(f)>>
              ELSE IF a \in WorkerIds /\ f.announced
              THEN <<[f EXCEPT !.pc = "k_withdraw", !.then = "execute"]>> ELSE Execute(a, f))
    /\ UNCHANGED <<handleVars, bell, ringVars, bookVars, slotVars>>

KTicket(a) ==
    /\ bell' = [bell EXCEPT !.fresh = @ \union {a}]
    /\ Put(a, <<[Top(a) EXCEPT !.pc = "k_announce"]>>)
    /\ UNCHANGED <<handleVars, hints, ringVars, bookVars, slotVars>>

KAnnounce(a) ==
    LET f == [Top(a) EXCEPT !.announced = TRUE] IN
    /\ bell' = [bell EXCEPT !.sleepers = @ + 1]
    /\ Put(a, IF Fault = "no round after the announcement"
              THEN <<[f EXCEPT !.pc = "k_sleep"]>> ELSE <<NewRound(f)>>)
    /\ UNCHANGED <<handleVars, hints, ringVars, bookVars, slotVars>>

KSleep(a) ==
    LET f == Top(a) IN
    /\ IF a \in bell.fresh
       THEN bell' = [bell EXCEPT !.asleep = @ \union {a}] /\ Put(a, <<[f EXCEPT !.pc = "k_asleep"]>>)
       ELSE UNCHANGED bell /\ Put(a, <<[f EXCEPT !.pc = "k_withdraw", !.then = "scan"]>>)
    /\ UNCHANGED <<handleVars, hints, ringVars, bookVars, slotVars>>

KAsleep(a) ==
    /\ a \notin bell.asleep
    /\ Put(a, <<[Top(a) EXCEPT !.pc = "k_withdraw", !.then = "scan"]>>)
    /\ OnlyLooks

KWithdraw(a) ==
    LET f == [Top(a) EXCEPT !.announced = FALSE, !.then = "scan"]
        then == Top(a).then IN
    /\ bell' = CASE bell.owed > 0 -> [bell EXCEPT !.owed = @ - 1]
                 [] bell.owed = 0 /\ bell.sleepers > 0 -> [bell EXCEPT !.sleepers = @ - 1]
                 [] OTHER -> bell
    /\ Put(a, CASE then = "execute" -> Execute(a, f)
                [] then = "leave" /\ Fault # "leave without passing on" -> <<Ring(1), [f EXCEPT !.pc = "k_gone"]>>
                [] then = "leave" /\ Fault = "leave without passing on" -> <<[f EXCEPT !.pc = "k_gone"]>>
                [] OTHER -> <<NewRound(f)>>)
    /\ UNCHANGED <<handleVars, hints, ringVars, bookVars, slotVars>>

\* It has nothing to give back but its slot.
KGone(a) ==
    /\ slot' = [slot EXCEPT ![a] = "free"]
    /\ lock' = [lock EXCEPT ![a] = Nobody]
    /\ bell' = [bell EXCEPT !.fresh = @ \ {a}]
    /\ Put(a, <<>>)
    /\ UNCHANGED <<handleVars, hints, ringVars, bookVars, dead, killed>>

---------------------------------------------------------------------------
(* The doorbell (Rust: Doorbell::ring, ring_all).                          *)

DRing(a) ==
    LET n == Min({Top(a).n, bell.sleepers}) IN
    /\ bell' = [bell EXCEPT !.sleepers = @ - n, !.owed = IF Fault = "wake-ups not counted" THEN @ ELSE @ + n]
    /\ Put(a, IF n = 0 THEN <<>> ELSE <<[pc |-> "d_post", n |-> n]>>)
    /\ UNCHANGED <<handleVars, hints, ringVars, bookVars, slotVars>>

DAll(a) ==
    /\ bell' = [bell EXCEPT !.owed = @ + bell.sleepers, !.sleepers = 0]
    /\ Put(a, <<[pc |-> "d_post", n |-> Workers]>>)
    /\ UNCHANGED <<handleVars, hints, ringVars, bookVars, slotVars>>

DPost(a) ==
    LET n == Min({Top(a).n, Cardinality(bell.asleep)}) IN
    /\ \E woken \in SUBSET bell.asleep :
          /\ Cardinality(woken) = n
          /\ bell' = [bell EXCEPT !.fresh = {}, !.asleep = @ \ woken]
    /\ Put(a, <<>>)
    /\ UNCHANGED <<handleVars, hints, ringVars, bookVars, slotVars>>
=============================================================================
