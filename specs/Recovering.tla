----------------------------- MODULE Recovering ---------------------------
(***************************************************************************)
(* What a survivor does for a dead process p, with the lock of its slot    *)
(* held; and the newcomer that takes the slot.  PostgreSQL restarts all    *)
(* processes when one crashes, and has nothing like it.                    *)
(*                                                                         *)
(* Rust: core/src/decide/recoverer.rs, core/src/protocol/{recover,end}.rs. *)
(*                                                                         *)
(*   r_lock r_slot        the lock; is the slot still not FREE?            *)
(*   rc_*                 1. as completer, every handle of the pool        *)
(*   q_*                  2. the dead one's completion queue               *)
(*   ro_*                 3. as owner, its own handles                     *)
(*   r_post d_all         4. every event count, and the doorbell           *)
(*   r_free r_unlock      5. FREE, only if every handle is IDLE            *)
(*                                                                         *)
(* Every change is an exchange on a word that names a generation, so that  *)
(* a recoverer may die anywhere and the next one begins at the top (S25).  *)
(***************************************************************************)
EXTENDS Pool

RLock(a) ==
    LET f == Top(a) IN
    /\ IF LockIsFree(f.p) \/ Fault = "recover without the lock"
       THEN /\ lock' = [lock EXCEPT ![f.p] = Process(a)]
            /\ Put(a, <<[f EXCEPT !.pc = "r_slot"]>>)
       ELSE Put(a, <<>>) /\ UNCHANGED lock
    /\ UNCHANGED <<handleVars, workerVars, ringVars, bookVars, slot, dead, killed>>

\* A newcomer keeps the lock of its own slot.
End(a, f) == IF f.p = Process(a) THEN <<>> ELSE <<[f EXCEPT !.pc = "r_unlock"]>>

RSlot(a) ==
    LET f == Top(a) IN
    /\ Put(a, IF slot[f.p] = "active" THEN <<[f EXCEPT !.pc = "rc_read"]>> ELSE End(a, f))
    /\ OnlyLooks

\* After step 4.
Last(a, f) ==
    IF f.unfinished /\ Fault # "free too early" THEN End(a, f) ELSE <<[f EXCEPT !.pc = "r_free"]>>

PostAll(f) == <<[f EXCEPT !.pc = "r_post", !.h = 1]>>

AsOwner(f) ==
    IF f.p \notin IssuerIds THEN PostAll(f)
    ELSE LET own == [f EXCEPT !.pc = "ro_read", !.h = Min(Own(f.p)), !.mine = FALSE] IN
         IF Method = "ring" THEN <<Drain(f.p, "q_head"), own>> ELSE <<own>>

NextAsCompleter(a, f) ==
    CASE f.h + 1 \in Handles -> <<[f EXCEPT !.pc = "rc_read", !.h = @ + 1, !.w = NewWord]>>
      [] f.h + 1 \notin Handles /\ f.only -> End(a, f)
      [] OTHER -> AsOwner([f EXCEPT !.w = NewWord])

NextAsOwner(f) ==
    IF f.h + 1 \in Own(f.p)
    THEN <<[f EXCEPT !.pc = "ro_read", !.h = @ + 1, !.w = NewWord, !.mine = FALSE]>>
    ELSE PostAll([f EXCEPT !.w = NewWord, !.mine = FALSE])

---------------------------------------------------------------------------
(* Step 1.  Only the holder of the completer's lock may do it: the number  *)
(* in the word does not tell a newcomer in the slot from the dead.         *)

RCRead(a) ==
    LET f == Top(a)
        w == word[f.h] IN
    /\ Put(a, CASE w.state = "SUBMITTED" /\ w.by = f.p ->
                     <<[f EXCEPT !.pc = IF Method = "worker" THEN "rc_hint" ELSE "rc_unclaim", !.w = w]>>
                [] w.state = "COMPLETED_IO" /\ w.by = f.p ->
                     <<Complete("c_takeover", f.h, w, "completer's recoverer"), f>>
                [] OTHER -> NextAsCompleter(a, f))
    /\ OnlyLooks

\* Findable first, then free to be claimed.
RCHint(a) ==
    LET f == Top(a) IN
    /\ hints' = hints \union {f.h}
    /\ Put(a, <<[f EXCEPT !.pc = "rc_unclaim"]>>)
    /\ UNCHANGED <<handleVars, bell, ringVars, bookVars, slotVars>>

\* One exchange; whatever came of it shows at the next look.
Try(a, to, next) ==
    LET f == Top(a) IN
    /\ IF word[f.h] = f.w THEN Write(f.h, to) ELSE UNCHANGED word
    /\ Put(a, next)
    /\ UNCHANGED <<countVars, callbackVars, reference, workerVars, ringVars, bookVars, slotVars>>

RCUnclaim(a) ==
    LET f == Top(a) IN Try(a, Unclaimed(f.w), <<[f EXCEPT !.pc = "rc_read", !.w = NewWord]>>)

---------------------------------------------------------------------------
(* Step 3.                                                                 *)

RORead(a) ==
    LET f == Top(a)
        w == word[f.h]
        on(pc) == <<[f EXCEPT !.pc = pc, !.w = w, !.mine = FALSE]>>
        done == [f EXCEPT !.w = NewWord, !.mine = FALSE] IN
    /\ Put(a, CASE w.state = "IDLE" -> NextAsOwner(f)
                [] w.state = "HANDED_OUT" -> on("ro_release")
                [] CanAbandon(w) -> <<Complete("c_abandon", f.h, w, "owner's recoverer"), done>>
                [] CanClaim(w) -> on("ro_claim")
                [] w.state = "SUBMITTED" /\ ((w.sync /\ w.by = Nobody) \/ (w.by = Process(a) /\ f.mine)) ->
                     <<Complete("c_look", f.h, w, "owner's recoverer"), done>>
                [] IsOver(w) -> on("ro_bury")
                [] OTHER -> on("ro_help"))
    /\ OnlyLooks

RORelease(a) ==
    LET f == Top(a)
        won == word[f.h] = f.w
        again == [f EXCEPT !.pc = "ro_read", !.w = NewWord] IN
    Try(a, Recycled(f.w), IF won /\ f.w.waiters THEN <<PostFor(f.h, f.w.gen), again>> ELSE <<again>>)

\* The recoverer claims first, so that no worker completes the same IO at the same time.
ROClaim(a) ==
    LET f == Top(a)
        won == word[f.h] = f.w
        again == [f EXCEPT !.pc = IF won /\ Method = "worker" THEN "ro_unhint" ELSE "ro_read",
                           !.w = NewWord, !.mine = TRUE] IN
    Try(a, Claimed(f.w, Process(a)), <<again>>)

ROUnhint(a) ==
    LET f == Top(a) IN
    /\ hints' = hints \ {f.h}
    /\ Put(a, <<[f EXCEPT !.pc = "ro_read"]>>)
    /\ UNCHANGED <<handleVars, bell, ringVars, bookVars, slotVars>>

ROBury(a) ==
    LET f == Top(a) IN Try(a, Recycled(f.w), <<[f EXCEPT !.pc = "ro_read", !.w = NewWord]>>)

\* Somebody else completes it.  If that one is dead as well: step 1 for it, with its
\* lock.  If not, this recovery stays unfinished, and whoever looks next goes on.
ROHelp(a) ==
    LET f == Top(a)
        p == f.w.by IN
    /\ IF p \notin {Process(a), f.p} /\ (LockIsFree(p) \/ Fault = "unclaim from the living")
       THEN /\ lock' = [lock EXCEPT ![p] = IF LockIsFree(p) THEN Process(a) ELSE @]
            /\ Put(a, <<Recover(p, "rc_read", TRUE), [f EXCEPT !.pc = "ro_read", !.w = NewWord]>>)
       ELSE /\ Put(a, NextAsOwner([f EXCEPT !.unfinished = TRUE]))
            /\ UNCHANGED lock
    /\ UNCHANGED <<handleVars, workerVars, ringVars, bookVars, slot, dead, killed>>

---------------------------------------------------------------------------
(* Steps 4 and 5.  The dead one may have published without waking.         *)

RPost(a) ==
    LET f == Top(a) IN
    /\ Post(f.h)
    /\ Put(a, CASE f.h + 1 \in Handles -> <<[f EXCEPT !.h = @ + 1]>>
                [] f.h + 1 \notin Handles /\ Method = "worker" -> <<RingAll>> \o Last(a, f)
                [] OTHER -> Last(a, f))
    /\ UNCHANGED <<word, callbackVars, reference, workerVars, ringVars, bookVars, slotVars>>

RFree(a) ==
    LET f == Top(a) IN
    /\ slot' = [slot EXCEPT ![f.p] = "free"]
    /\ Put(a, End(a, f))
    /\ UNCHANGED <<handleVars, workerVars, ringVars, bookVars, lock, dead, killed>>

RUnlock(a) ==
    LET f == Top(a) IN
    /\ lock' = [lock EXCEPT ![f.p] = IF @ = Process(a) THEN Nobody ELSE @]
    /\ Put(a, <<>>)
    /\ UNCHANGED <<handleVars, workerVars, ringVars, bookVars, slot, dead, killed>>

---------------------------------------------------------------------------
(* A new process in a dead one's slot (Rust: Context::attach; PostgreSQL:  *)
(* pgaio_init_backend).  It recovers the slot first.                       *)

ALock(a) ==
    /\ LockIsFree(a)
    /\ lock' = [lock EXCEPT ![a] = a]
    /\ Put(a, (IF Fault = "attach without recovery" THEN <<>> ELSE <<Recover(a, "r_slot", FALSE)>>)
              \o <<[pc |-> "a_active"]>>)
    /\ UNCHANGED <<handleVars, workerVars, ringVars, bookVars, slot, dead, killed>>

\* Unfinished: a process would take another slot; here it tries this one again.
AActive(a) ==
    /\ IF slot[a] = "free" \/ Fault = "attach without recovery"
       THEN /\ slot' = [slot EXCEPT ![a] = "active"]
            /\ UNCHANGED lock
            /\ stack' = [b \in Actors |-> CASE b = a -> <<IssuerStarts>>
                                           [] b # a /\ Process(b) = a -> <<ReaperStarts>>
                                           [] OTHER -> stack[b]]
       ELSE lock' = [lock EXCEPT ![a] = Nobody] /\ UNCHANGED slot /\ Put(a, <<[pc |-> "a_lock"]>>)
    /\ UNCHANGED <<handleVars, workerVars, ringVars, bookVars, dead, killed>>
=============================================================================
