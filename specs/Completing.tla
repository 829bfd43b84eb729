---------------------------- MODULE Completing ----------------------------
(***************************************************************************)
(* Whoever has the result of an IO: store it, win the exchange, run the    *)
(* shared callbacks, publish, wake.                                        *)
(*                                                                         *)
(* Rust: core/src/decide/completer.rs, core/src/protocol/complete.rs.      *)
(* PostgreSQL: pgaio_io_process_completion.                                *)
(*                                                                         *)
(*   with callbacks      c_look, c_win, c_publish, c_post                  *)
(*   without             c_look, c_finish, c_post     (site Finish)        *)
(*   in place, without   c_inplace, c_post            (site FinishInPlace) *)
(*   never executed      c_abandon, c_publish, c_post                      *)
(*   for a dead one      c_takeover, c_publish, c_post                     *)
(***************************************************************************)
EXTENDS Pool

\* What is left after the change that makes the end visible to all.
PostIf(waiters, f) == IF waiters THEN <<PostFor(f.h, f.g)>> ELSE <<>>

CLook(a) ==
    LET f == Top(a)
        w == word[f.h] IN
    /\ IF CanComplete(w, f.role, Process(a)) /\ w.gen = f.g
       THEN /\ Put(a, <<[f EXCEPT !.pc = IF Callbacks THEN "c_win" ELSE "c_finish", !.w = w]>>)
            /\ IF Callbacks THEN UNCHANGED outcome ELSE Store(f.h, f.g)
       ELSE /\ Put(a, <<>>)   \* somebody else was first: nothing has happened
            /\ UNCHANGED outcome
    /\ UNCHANGED <<word, countVars, reference, runs, workerVars, ringVars, bookVars, slotVars>>

\* The shared callbacks run in the step that wins: nobody can look in between.
AfterWinning(f) ==
    CASE Fault = "publish before outcome" -> <<[f EXCEPT !.pc = "c_publish"], [f EXCEPT !.pc = "c_late"]>>
      [] Fault = "post before publish" -> <<PostFor(f.h, f.g), [f EXCEPT !.pc = "c_publish"]>>
      [] OTHER -> <<[f EXCEPT !.pc = "c_publish"]>>

Won(a, f, w) ==
    /\ Write(f.h, w)
    /\ Put(a, AfterWinning([f EXCEPT !.w = w]))
    /\ IF Fault = "publish before outcome" THEN UNCHANGED outcome ELSE Store(f.h, f.g)

\* SUBMITTED -> COMPLETED_IO.  A lost exchange is tried again while it is legal:
\* only WAITERS can have come.
CWin(a) ==
    LET f == Top(a)
        now == word[f.h] IN
    /\ IF now = f.w
       THEN Won(a, f, CompletedIo(now, Process(a))) /\ CountRun(f.h, f.g)
       ELSE /\ Put(a, IF CanComplete(now, f.role, Process(a)) /\ now.gen = f.g
                      THEN <<[f EXCEPT !.w = now]>> ELSE <<>>)
            /\ UNCHANGED <<word, outcome, runs>>
    /\ UNCHANGED <<countVars, reference, workerVars, ringVars, bookVars, slotVars>>

\* DEFINED or STAGED -> COMPLETED_IO, by the issuer or who recovers it.
CAbandon(a) ==
    LET f == Top(a)
        now == word[f.h] IN
    /\ IF now = f.w
       THEN Won(a, f, CompletedIo(now, Process(a))) /\ CountRun(f.h, f.g)
       ELSE /\ Put(a, IF CanAbandon(now) /\ now.gen = f.g THEN <<[f EXCEPT !.w = now]>> ELSE <<>>)
            /\ UNCHANGED <<word, outcome, runs>>
    /\ UNCHANGED <<countVars, reference, workerVars, ringVars, bookVars, slotVars>>

\* COMPLETED_IO of the dead -> of me.  The callbacks run again, told that it is a repeat.
CTakeOver(a) ==
    LET f == Top(a)
        now == word[f.h] IN
    /\ IF now = f.w
       THEN Won(a, f, Claimed(now, Process(a)))
       ELSE /\ Put(a, IF now = [f.w EXCEPT !.waiters = now.waiters] THEN <<[f EXCEPT !.w = now]>> ELSE <<>>)
            /\ UNCHANGED <<word, outcome>>
    /\ UNCHANGED <<countVars, reference, runs, workerVars, ringVars, bookVars, slotVars>>

\* COMPLETED_IO -> COMPLETED_SHARED: a swap, for only WAITERS can have come.  It
\* is the completer's last write to the handle but the post (S5).
CPublish(a) ==
    LET f == Top(a) IN
    /\ Write(f.h, Published(f.w))
    /\ Put(a, IF Fault = "post before publish" THEN <<>> ELSE PostIf(word[f.h].waiters, f))
    /\ UNCHANGED <<countVars, outcome, reference, runs, workerVars, ringVars, bookVars, slotVars>>

\* SUBMITTED -> COMPLETED_SHARED in one exchange.
CFinish(a) ==
    LET f == Top(a)
        now == word[f.h] IN
    /\ IF now = f.w
       THEN /\ Write(f.h, Finished(now, Process(a)))
            /\ CountRun(f.h, f.g)
            /\ Put(a, PostIf(now.waiters, f))
       ELSE /\ Put(a, IF CanComplete(now, f.role, Process(a)) /\ now.gen = f.g
                      THEN <<[f EXCEPT !.w = now]>> ELSE <<>>)
            /\ UNCHANGED <<word, runs>>
    /\ UNCHANGED <<countVars, outcome, reference, workerVars, ringVars, bookVars, slotVars>>

\* The same in place, by a swap: nobody but the issuer may complete a SYNC handle.
CInPlace(a) ==
    LET f == Top(a) IN
    /\ Write(f.h, Finished(f.w, Process(a)))
    /\ CountRun(f.h, f.g)
    /\ Put(a, PostIf(word[f.h].waiters, f))
    /\ UNCHANGED <<countVars, outcome, reference, workerVars, ringVars, bookVars, slotVars>>

CPost(a) ==
    LET f == Top(a) IN
    /\ Post(f.h)
    /\ Put(a, <<>>)
    /\ UNCHANGED <<word, outcome, reference, runs, workerVars, ringVars, bookVars, slotVars>>

\* Only with a planted fault: the result is stored after it was published.
CLate(a) ==
    LET f == Top(a) IN
    /\ Store(f.h, f.g)
    /\ Put(a, <<>>)
    /\ UNCHANGED <<word, countVars, reference, runs, workerVars, ringVars, bookVars, slotVars>>
=============================================================================
