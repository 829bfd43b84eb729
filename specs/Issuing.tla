------------------------------ MODULE Issuing -----------------------------
(***************************************************************************)
(* The issuer: takes handles, starts IOs or gives handles back, reclaims,  *)
(* and at the end detaches.                                                *)
(*                                                                         *)
(* Rust: core/src/protocol/issue.rs, end.rs, core/src/decide/book.rs.      *)
(* PostgreSQL: pgaio_io_acquire, pgaio_io_release, pgaio_io_stage,         *)
(* pgaio_submit_staged, pgaio_io_reclaim, pgaio_io_wait_for_free,          *)
(* pgaio_shutdown.                                                         *)
(*                                                                         *)
(* Its lowest frame is [pc, h, at, left]: the handle it works on, where in *)
(* the list of what is in flight it looks, and how many IOs of others it   *)
(* may still wait for.                                                     *)
(***************************************************************************)
EXTENDS Pool

Free(f) == [f EXCEPT !.pc = "i_free", !.h = 0, !.at = 0]

\* Idle, and not yet used as often as this model wants.
Usable(p) == {h \in Own(p) : word[h].state = "IDLE" /\ word[h].gen <= Generations}

\* Others may have a reference from here on.
Publish(h) == reference' = [reference EXCEPT ![h] = word[h].gen]

\* What an issuer may do with a handle that it has taken.
Uses(a, f, h) ==
    LET on(pc) == [f EXCEPT !.pc = pc, !.h = h] IN
      (IF Releases THEN {<<on("i_release")>>} ELSE {})
      \union (IF Callbacks \/ Batches # "never" THEN {<<on("i_define")>>} ELSE {})
      \union (IF ~Callbacks /\ Batches # "must" /\ staged[a] = <<>> THEN {Submit(<<h>>) \o <<Free(f)>>} ELSE {})

\* IDLE -> HANDED_OUT.  Nobody else has a reference to this generation: a store.
HandOut(a, f) ==
    LET h == Min(Usable(a)) IN
    /\ Write(h, To(word[h], "HANDED_OUT"))
    /\ \E frames \in Uses(a, f, h) : Put(a, frames)
    /\ IF Fault = "reference from hand-out" THEN Publish(h) ELSE UNCHANGED reference
    /\ UNCHANGED <<countVars, callbackVars, workerVars, ringVars, bookVars, slotVars>>

\* A look at one IO in flight.  When all were looked at and none is over, staged IO is
\* submitted, and then the oldest is waited for (L1, S21).
Scan(a, f, n) ==
    LET h == flight[a][n] IN
    /\ Put(a, CASE IsOver(word[h]) ->
                     <<[f EXCEPT !.pc = IF Callbacks THEN "i_localise" ELSE "i_reclaim", !.h = h, !.at = n]>>
                [] ~IsOver(word[h]) /\ n < Len(flight[a]) ->
                     <<[f EXCEPT !.pc = "i_scan", !.h = 0, !.at = n + 1]>>
                [] ~IsOver(word[h]) /\ n = Len(flight[a]) /\ Usable(a) # {} -> <<Free(f)>>
                [] OTHER -> IF staged[a] # <<>> THEN Submit(staged[a]) \o <<Free(f)>>
                            ELSE <<WaitFor(flight[a][1], word[flight[a][1]].gen), Free(f)>>)
    /\ OnlyLooks

IScan(a) == Scan(a, Top(a), Top(a).at)

\* Detaching: everything is reclaimed; then FREE, the last write (S19, L7).
Detach(a, f) ==
    /\ slot' = [slot EXCEPT ![a] = "free"]
    /\ Put(a, <<[f EXCEPT !.pc = "i_unlock"]>>)
    /\ UNCHANGED <<handleVars, workerVars, ringVars, bookVars, lock, dead, killed>>

IFree(a) ==
    LET f == Top(a) IN
    \/ /\ f.left > 0
       /\ \E h \in Handles \ Own(a) :
             /\ reference[h] > 0
             /\ Put(a, <<WaitFor(h, reference[h]), [f EXCEPT !.left = @ - 1]>>)
       /\ OnlyLooks
    \/ Usable(a) # {} /\ HandOut(a, f)
    \/ Usable(a) = {} /\ flight[a] # <<>> /\ Scan(a, f, 1)
    \/ /\ Usable(a) = {} /\ flight[a] = <<>> /\ staged[a] # <<>>
       /\ Put(a, Submit(staged[a]) \o <<Free(f)>>)
       /\ OnlyLooks
    \/ Usable(a) = {} /\ flight[a] = <<>> /\ staged[a] = <<>> /\ Detach(a, f)

IUnlock(a) ==
    /\ lock' = [lock EXCEPT ![a] = Nobody]
    /\ Put(a, <<>>)
    /\ UNCHANGED <<handleVars, workerVars, ringVars, bookVars, slot, dead, killed>>

Retired(w) == IF Fault = "same generation" THEN [NewWord EXCEPT !.gen = w.gen] ELSE Recycled(w)

\* HANDED_OUT -> IDLE, generation + 1: a swap, which tells whether somebody waits.
IRelease(a) ==
    LET f == Top(a)
        old == word[f.h] IN
    /\ Write(f.h, Retired(old))
    /\ Put(a, (IF old.waiters THEN <<PostFor(f.h, old.gen)>> ELSE <<>>) \o <<Free(f)>>)
    /\ UNCHANGED <<countVars, callbackVars, reference, workerVars, ringVars, bookVars, slotVars>>

---------------------------------------------------------------------------
(* HANDED_OUT -> DEFINED -> STAGED: additions, for WAITERS may come.  From *)
(* DEFINED on others may have a reference (S11).                           *)

\* Staged: submitted at once, or left in the batch.
StagedNow(a, f, h) ==
    LET all == Append(staged[a], h) IN
    /\ staged' = [staged EXCEPT ![a] = all]
    /\ UNCHANGED flight
    /\ \/ Batches # "must" /\ Put(a, Submit(all) \o <<Free(f)>>)
       \/ Batches # "never" /\ Put(a, <<Free(f)>>)

IDefine(a) ==
    LET f == Top(a)
        w == To(word[f.h], IF Callbacks THEN "DEFINED" ELSE "STAGED") IN
    /\ Write(f.h, w)
    /\ Publish(f.h)
    /\ IF Callbacks
       THEN \/ Put(a, <<[f EXCEPT !.pc = "i_stage"]>>) /\ UNCHANGED bookVars
            \/ \* A stage callback refuses: completed with an error, never executed.
               /\ Put(a, <<Complete("c_abandon", f.h, w, "issuer"), Free(f)>>)
               /\ flight' = [flight EXCEPT ![a] = Append(@, f.h)]
               /\ UNCHANGED staged
       ELSE StagedNow(a, f, f.h)
    /\ UNCHANGED <<countVars, callbackVars, workerVars, ringVars, slotVars>>

IStage(a) ==
    LET f == Top(a) IN
    /\ Write(f.h, To(word[f.h], "STAGED"))
    /\ StagedNow(a, f, f.h)
    /\ UNCHANGED <<countVars, callbackVars, reference, workerVars, ringVars, slotVars>>

---------------------------------------------------------------------------
(* Submission: [pc, todo, started, awaited].  First every word is changed, *)
(* then what was started is handed to the method.                          *)

SHint(a) ==
    LET f == Top(a) IN
    /\ hints' = hints \union {Head(f.todo)}
    /\ Put(a, <<[f EXCEPT !.pc = "s_submit"]>>)
    /\ UNCHANGED <<handleVars, bell, ringVars, bookVars, slotVars>>

\* What comes after the last word was changed.
HandOver(f) ==
    CASE f.started = <<>> -> <<>>
      [] f.started # <<>> /\ Method = "worker" -> <<Ring(Len(f.started))>>
      [] OTHER -> <<[f EXCEPT !.pc = "s_kernel"]>>

AfterSubmit(f) ==
    IF f.todo # <<>>
    THEN <<[f EXCEPT !.pc = IF Method = "worker" THEN "s_hint" ELSE "s_submit"]>> ELSE HandOver(f)

\* STAGED -> SUBMITTED, or at once from HANDED_OUT.  In place, the IO is executed
\* and its result stored before the next access.
SSubmit(a) ==
    LET f == Top(a)
        h == Head(f.todo)
        old == word[h]
        w == Submitted(old, Method = "place")
        rest == [f EXCEPT !.todo = Tail(@)] IN
    /\ Write(h, w)
    /\ reference' = [reference EXCEPT ![h] = old.gen]
    /\ staged' = [staged EXCEPT ![a] = Without(@, h)]
    /\ flight' = [flight EXCEPT ![a] = Append(@, h)]
    /\ IF Method = "place"
       THEN /\ Put(a, <<Complete(IF Callbacks THEN "c_look" ELSE "c_inplace", h, w, "issuer")>>
                      \o AfterSubmit(rest))
            /\ IF Callbacks THEN UNCHANGED outcome ELSE Store(h, old.gen)
       ELSE /\ Put(a, AfterSubmit([rest EXCEPT !.started = Append(@, h), !.awaited = @ \/ old.waiters]))
            /\ UNCHANGED outcome
    /\ UNCHANGED <<countVars, runs, workerVars, ringVars, slotVars>>

\* The system call.  Then a look at the queue; if somebody waited since before
\* Submit, and that was not all, the reaper must know.
SKernel(a) ==
    LET f == Top(a) IN
    /\ kernel' = [kernel EXCEPT ![a] = @ \union {<<h, word[h].gen>> : h \in {f.started[n] : n \in 1..Len(f.started)}}]
    /\ Put(a, <<Drain(a, "q_lock")>> \o (IF f.awaited THEN <<[f EXCEPT !.pc = "s_tend"]>> ELSE <<>>))
    /\ UNCHANGED <<handleVars, workerVars, queue, reaping, ringBell, lead, bookVars, slotVars>>

STend(a) ==
    LET f == Top(a)
        w == word[Head(f.started)]
        rest == [f EXCEPT !.started = Tail(@)] IN
    /\ Put(a, CASE w.state = "SUBMITTED" /\ w.waiters -> <<[f EXCEPT !.pc = "s_bell"]>>
                [] ~(w.state = "SUBMITTED" /\ w.waiters) /\ rest.started # <<>> -> <<rest>>
                [] OTHER -> <<>>)
    /\ OnlyLooks

SBell(a) ==
    /\ ringBell' = [ringBell EXCEPT ![a] = [fresh |-> {}, asleep |-> {}]]
    /\ Put(a, <<>>)
    /\ UNCHANGED <<handleVars, workerVars, kernel, queue, reaping, lead, bookVars, slotVars>>

---------------------------------------------------------------------------
(* COMPLETED_SHARED -> IDLE, by plain stores: from here on nobody else may *)
(* change the word.  Local callbacks run before the first one.             *)

ILocalise(a) ==
    LET f == Top(a) IN
    /\ Write(f.h, To(word[f.h], "COMPLETED_LOCAL"))
    /\ Put(a, <<[f EXCEPT !.pc = "i_reclaim"]>>)
    /\ UNCHANGED <<countVars, callbackVars, reference, workerVars, ringVars, bookVars, slotVars>>

IReclaim(a) ==
    LET f == Top(a)
        left == Without(flight[a], f.h) IN
    /\ Write(f.h, Retired(word[f.h]))
    /\ flight' = [flight EXCEPT ![a] = left]
    /\ Put(a, IF f.at <= Len(left) THEN <<[f EXCEPT !.pc = "i_scan", !.h = 0]>> ELSE <<Free(f)>>)
    /\ UNCHANGED <<countVars, callbackVars, reference, workerVars, ringVars, staged, slotVars>>
=============================================================================
