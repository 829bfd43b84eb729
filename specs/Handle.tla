------------------------------- MODULE Handle -----------------------------
(***************************************************************************)
(* handfast's protocol: all processes together, death, and what must hold. *)
(*                                                                         *)
(* Read Word (the word), Pool (who shares what), then the processes:       *)
(* Completing, Waiting, Issuing, Working, Ringing, Recovering.  README.md  *)
(* is the guide.  Each .cfg is one size, or one planted fault.             *)
(***************************************************************************)
EXTENDS Completing, Waiting, Issuing, Working, Ringing, Recovering

Init ==
    /\ word = [h \in Handles |-> NewWord]
    /\ fresh = [h \in Handles |-> {}]
    /\ asleep = [h \in Handles |-> {}]
    /\ outcome = [h \in Handles |-> 0]
    /\ reference = [h \in Handles |-> 0]
    /\ runs = [h \in Handles |-> [gen |-> 0, times |-> 0]]
    /\ hints = {}
    /\ bell = [sleepers |-> 0, owed |-> 0, fresh |-> {}, asleep |-> {}]
    /\ kernel = [p \in IssuerIds |-> {}]
    /\ queue = [p \in IssuerIds |-> <<>>]
    /\ reaping = [p \in IssuerIds |-> Nobody]
    /\ ringBell = [p \in IssuerIds |-> [fresh |-> {}, asleep |-> {}]]
    /\ lead = [p \in IssuerIds |-> FreeLead]
    /\ staged = [p \in IssuerIds |-> <<>>]
    /\ flight = [p \in IssuerIds |-> <<>>]
    /\ slot = [p \in Processes |-> "active"]
    /\ lock = [p \in Processes |-> p]
    /\ dead = {}
    /\ killed = 0
    /\ stack = [a \in Actors |->
                  CASE a \in IssuerIds -> <<IssuerStarts>>
                    [] a \in WaiterIds -> <<[pc |-> "v_start"]>>
                    [] a \in WorkerIds -> <<WorkerStarts>>
                    [] OTHER -> <<ReaperStarts>>]

---------------------------------------------------------------------------
(* A thread's next access.                                                 *)

Step(a) ==
    /\ stack[a] # <<>>
    /\ LET pc == Top(a).pc IN
       CASE pc = "i_free" -> IFree(a)
         [] pc = "i_scan" -> IScan(a)
         [] pc = "i_release" -> IRelease(a)
         [] pc = "i_define" -> IDefine(a)
         [] pc = "i_stage" -> IStage(a)
         [] pc = "i_localise" -> ILocalise(a)
         [] pc = "i_reclaim" -> IReclaim(a)
         [] pc = "i_unlock" -> IUnlock(a)
         [] pc = "s_hint" -> SHint(a)
         [] pc = "s_submit" -> SSubmit(a)
         [] pc = "s_kernel" -> SKernel(a)
         [] pc = "s_tend" -> STend(a)
         [] pc = "s_bell" -> SBell(a)
         [] pc = "c_look" -> CLook(a)
         [] pc = "c_win" -> CWin(a)
         [] pc = "c_abandon" -> CAbandon(a)
         [] pc = "c_takeover" -> CTakeOver(a)
         [] pc = "c_publish" -> CPublish(a)
         [] pc = "c_finish" -> CFinish(a)
         [] pc = "c_inplace" -> CInPlace(a)
         [] pc = "c_post" -> CPost(a)
         [] pc = "c_late" -> CLate(a)
         [] pc = "v_start" -> VStart(a)
         [] pc = "w_read" -> WRead(a)
         [] pc = "w_ticket" -> WTicket(a)
         [] pc = "w_announce" -> WAnnounce(a)
         [] pc = "w_bell" -> WBell(a)
         [] pc = "w_sleep" -> WSleep(a)
         [] pc = "w_asleep" -> WAsleep(a)
         [] pc = "p_owner" -> POwner(a)
         [] pc = "p_by" -> PBy(a)
         [] pc = "p_work" -> PWork(a)
         [] pc = "k_hints" -> KHints(a)
         [] pc = "k_look" -> KLook(a)
         [] pc = "k_claim" -> KClaim(a)
         [] pc = "k_unhint" -> KUnhint(a)
         [] pc = "k_ticket" -> KTicket(a)
         [] pc = "k_announce" -> KAnnounce(a)
         [] pc = "k_sleep" -> KSleep(a)
         [] pc = "k_asleep" -> KAsleep(a)
         [] pc = "k_withdraw" -> KWithdraw(a)
         [] pc = "k_gone" -> KGone(a)
         [] pc = "d_ring" -> DRing(a)
         [] pc = "d_all" -> DAll(a)
         [] pc = "d_post" -> DPost(a)
         [] pc = "q_lock" -> QLock(a)
         [] pc = "q_head" -> QHead(a)
         [] pc = "q_advance" -> QAdvance(a)
         [] pc = "t_take" -> TTake(a)
         [] pc = "t_enter" -> TEnter(a)
         [] pc = "t_look" -> TLook(a)
         [] pc = "t_sleep" -> TSleep(a)
         [] pc = "t_leave" -> TLeave(a)
         [] pc = "t_bell" -> TBell(a)
         [] pc = "b_ticket" -> BTicket(a)
         [] pc = "b_enter" -> BEnter(a)
         [] pc = "b_give" -> BGive(a)
         [] pc = "b_look" -> BLook(a)
         [] pc = "b_ring" -> BRing(a)
         [] pc = "b_sleep" -> BSleep(a)
         [] pc = "b_asleep" -> BAsleep(a)
         [] pc = "r_lock" -> RLock(a)
         [] pc = "r_slot" -> RSlot(a)
         [] pc = "rc_read" -> RCRead(a)
         [] pc = "rc_hint" -> RCHint(a)
         [] pc = "rc_unclaim" -> RCUnclaim(a)
         [] pc = "ro_read" -> RORead(a)
         [] pc = "ro_release" -> RORelease(a)
         [] pc = "ro_claim" -> ROClaim(a)
         [] pc = "ro_unhint" -> ROUnhint(a)
         [] pc = "ro_bury" -> ROBury(a)
         [] pc = "ro_help" -> ROHelp(a)
         [] pc = "r_post" -> RPost(a)
         [] pc = "r_free" -> RFree(a)
         [] pc = "r_unlock" -> RUnlock(a)
         [] pc = "a_lock" -> ALock(a)
         [] pc = "a_active" -> AActive(a)

---------------------------------------------------------------------------
(* A process is killed between two accesses.  Its private memory is gone,  *)
(* its threads sleep nowhere, and the kernel drops every lock it held.     *)

Die(p) ==
    LET mine == {a \in Actors : Process(a) = p} IN
    /\ p \in Mortal /\ p \notin dead /\ killed < Deaths
    /\ \E a \in mine : stack[a] # <<>>
    /\ stack' = [a \in Actors |-> IF a \in mine THEN <<>> ELSE stack[a]]
    /\ fresh' = [h \in Handles |-> fresh[h] \ mine]
    /\ asleep' = [h \in Handles |-> asleep[h] \ mine]
    /\ bell' = [bell EXCEPT !.fresh = @ \ mine, !.asleep = @ \ mine]
    /\ ringBell' = [q \in IssuerIds |-> IF q = p THEN [fresh |-> {}, asleep |-> {}] ELSE ringBell[q]]
    /\ reaping' = [q \in IssuerIds |-> IF q = p THEN Nobody ELSE reaping[q]]
    /\ lead' = [q \in IssuerIds |-> IF q = p THEN FreeLead ELSE lead[q]]
    /\ staged' = [q \in IssuerIds |-> IF q = p THEN <<>> ELSE staged[q]]
    /\ flight' = [q \in IssuerIds |-> IF q = p THEN <<>> ELSE flight[q]]
    /\ lock' = [q \in Processes |-> IF lock[q] = p THEN Nobody ELSE lock[q]]
    /\ dead' = dead \union {p}
    /\ killed' = killed + 1
    /\ UNCHANGED <<word, callbackVars, reference, hints, kernel, queue, slot>>

Newcome(p) ==
    /\ Newcomers /\ p \in dead /\ p \in IssuerIds
    /\ dead' = dead \ {p}
    /\ stack' = [stack EXCEPT ![p] = <<[pc |-> "a_lock"]>>]
    /\ UNCHANGED <<handleVars, workerVars, ringVars, bookVars, slot, lock, killed>>

---------------------------------------------------------------------------
(* Nothing is left to do: workers and reapers sleep, everybody else is     *)
(* through.  Any other state without a successor is a deadlock.            *)

Rests(a) ==
    \/ stack[a] = <<>>
    \/ At(a, "k_asleep") /\ a \in bell.asleep
    \/ At(a, "b_asleep") /\ a \in ringBell[Process(a)].asleep
    \/ At(a, "b_ring") /\ queue[Process(a)] = <<>>

Ended == (\A a \in Actors : Rests(a)) /\ (\A p \in IssuerIds : kernel[p] = {})

Next ==
    \/ \E a \in Actors : Step(a)
    \/ \E p \in IssuerIds : KernelFinishes(p)
    \/ \E p \in Mortal : Die(p)
    \/ \E p \in IssuerIds : Newcome(p)
    \/ Ended /\ UNCHANGED vars

Spec ==
    /\ Init
    /\ [][Next]_vars
    /\ \A a \in Actors : WF_vars(Step(a))
    /\ \A p \in IssuerIds : WF_vars(KernelFinishes(p)) /\ WF_vars(Newcome(p))

\* The same, but an issuer that is in no call may be busy with its own affairs for ever (L2).
Busy(a) == a \in IssuerIds /\ At(a, "i_free")
SpecBusy ==
    /\ Init
    /\ [][Next]_vars
    /\ \A a \in Actors : WF_vars(~Busy(a) /\ Step(a))
    /\ \A p \in IssuerIds : WF_vars(KernelFinishes(p)) /\ WF_vars(Newcome(p))

---------------------------------------------------------------------------
(* Safety, in every state.  The numbers are those of the code and its      *)
(* tests.                                                                  *)

TypeOK ==
    /\ \A h \in Handles : word[h] \in Words(Generations + 1, Processes)
    /\ \A h \in Handles : outcome[h] \in 0..Generations /\ reference[h] \in 0..Generations
    /\ hints \subseteq Handles
    /\ \A p \in Processes : lock[p] \in Processes \union {Nobody} /\ slot[p] \in {"active", "free"}

\* Who executes an IO at this moment, or is about to: a claim's holder, the issuer in place.
Executes(a, h, g) ==
    \E f \in Frames(a) :
       \/ f.pc \in {"c_look", "c_win", "c_finish", "c_inplace"} /\ f.role # "owner's recoverer"
            /\ f.h = h /\ f.g = g
       \/ f.pc \in {"k_unhint", "k_withdraw"} /\ f.h = h /\ f.w.gen = g /\ f.w.by # Nobody

\* One completer, and its callbacks run for the first time once.
S1_OneCompleter ==
    \A h \in Handles :
       /\ runs[h].times <= 1
       /\ Cardinality({a \in Actors : Executes(a, h, word[h].gen) /\ word[h].state = "SUBMITTED"}) <= 1

\* Each handle of a living issuer is in the one of its lists that its word says.
S3_Lists ==
    \A p \in IssuerIds : stack[p] # <<>> /\ (\A f \in Frames(p) : f.pc \notin {"a_lock", "a_active"}) =>
       \A h \in Own(p) :
          LET inFlight == Cardinality({n \in 1..Len(flight[p]) : flight[p][n] = h})
              isStaged == Cardinality({n \in 1..Len(staged[p]) : staged[p][n] = h})
              s == word[h].state IN
          /\ inFlight + isStaged <= 1
          /\ s = "STAGED" => isStaged = 1
          /\ s = "SUBMITTED" \/ IsOver(word[h]) => inFlight = 1
          /\ s \in {"IDLE", "HANDED_OUT"} => inFlight + isStaged = 0

\* Nothing but the post follows the publication: who is about to write has something to write to.
S5_PublishedLast ==
    \A a \in Actors : \A f \in Frames(a) :
       f.pc \in {"c_publish", "c_late"} => word[f.h].gen = f.g /\ word[f.h].state = "COMPLETED_IO"

\* A reference never shows an older generation, nor IDLE or HANDED_OUT at its own.
S6_NoStaleReference ==
    \A a \in Actors : \A f \in Frames(a) :
       f.pc \in {"w_read", "w_ticket", "w_announce", "w_bell", "w_sleep", "w_asleep"} =>
          /\ word[f.h].gen >= f.g
          /\ word[f.h].gen = f.g => word[f.h].state \notin {"IDLE", "HANDED_OUT"}

\* Whoever learns that it is over finds the result of this generation.
S7_ResultBeforeEnd == \A h \in Handles : IsOver(word[h]) => outcome[h] = word[h].gen

S11_ReferenceFromDefined ==
    \A h \in Handles :
       /\ reference[h] <= word[h].gen
       /\ reference[h] = word[h].gen => word[h].state \notin {"IDLE", "HANDED_OUT"}

\* Nobody sleeps at the doorbell without being counted, or owed a wake-up.
S18_SleepersAreCounted ==
    Cardinality(bell.asleep) <= bell.sleepers + bell.owed

\* A free slot is pristine.
S19_FreeIsPristine ==
    \A p \in IssuerIds : slot[p] = "free" =>
       /\ \A h \in Own(p) : word[h].state = "IDLE"
       /\ staged[p] = <<>> /\ flight[p] = <<>> /\ kernel[p] = {}

S22_OneHandedOut ==
    \A p \in IssuerIds : Cardinality({h \in Own(p) : word[h].state = "HANDED_OUT"}) <= 1

\* While the kernel or an executor may still write, the IO is not over.
S24_NotOverWhileWritten ==
    /\ \A p \in IssuerIds : \A io \in kernel[p] :
          word[io[1]].gen = io[2] /\ word[io[1]].state = "SUBMITTED"
    /\ \A a \in Actors : \A f \in Frames(a) :
          f.pc \in {"k_unhint", "k_withdraw"} /\ f.w.by # Nobody =>
             word[f.h].gen = f.w.gen /\ word[f.h].state = "SUBMITTED" /\ word[f.h].by = f.w.by

\* One survivor at a time recovers a slot.
S25_OneRecoverer ==
    \A p \in Processes :
       Cardinality({a \in Actors : \E f \in Frames(a) :
          f.pc \in {"r_slot", "rc_read", "rc_hint", "rc_unclaim", "ro_read", "ro_release", "ro_claim",
                    "ro_unhint", "ro_bury", "ro_help", "r_post", "r_free", "r_unlock"} /\ f.p = p}) <= 1

\* An issuer that sleeps has nothing staged (L3).
L3_NothingStagedAsleep ==
    \A p \in IssuerIds : (\E h \in Handles : p \in asleep[h]) => staged[p] = <<>>

\* Who sleeps on an IO that is not over has announced it; who sleeps on one that is over
\* will be posted by who published it.  After a death, slices see to it (L4, L9).
SleepsOn(a, h) == At(a, "w_asleep") /\ Top(a).h = h /\ a \in asleep[h]
Posts(a, h) == \E f \in Frames(a) : f.pc = "c_post" /\ f.h = h

L4_SleepersAreAnnounced ==
    \A a \in Processes : \A h \in Handles : SleepsOn(a, h) =>
       \/ word[h].gen > Top(a).g \/ IsOver(word[h])
       \/ word[h].waiters

L4_SleepersWillBePosted ==
    \A a \in Processes : \A h \in Handles : SleepsOn(a, h) =>
       \/ word[h].gen = Top(a).g /\ IsPending(word[h])
       \/ killed > 0
       \/ \E b \in Actors : Posts(b, h)

\* While the reaper sleeps on its bell and nobody leads, whoever waits for an IO in the ring
\* has yet to post that bell, or the issuer is about to look at its ring.
L4_RingIsWatched ==
    \A p \in IssuerIds : \A h \in Own(p) :
       Method = "ring" /\ IsAwaited(word[h]) /\ lead[p] = FreeLead
          /\ At(p + Reaper, "b_asleep") /\ p + Reaper \in ringBell[p].asleep =>
       \/ \E a \in Actors : \E f \in Frames(a) : f.pc = "w_bell" /\ f.h = h
       \/ \E f \in Frames(p) : f.pc \in {"s_submit", "s_kernel", "s_tend", "s_bell", "q_lock", "q_head", "q_advance",
                                         "t_drained", "t_take", "t_enter", "t_look", "t_sleep", "t_leave", "t_bell"}

---------------------------------------------------------------------------
(* Safety, in every step.                                                  *)

S2_EveryChangeIsAnEdge == [][\A h \in Handles : word'[h] = word[h] \/ IsEdge(word[h], word'[h])]_word

\* Generations go up by one, and only to IDLE.
S23_Generations ==
    [][\A h \in Handles :
          \/ word'[h].gen = word[h].gen /\ (word'[h].state = "IDLE" => word[h].state = "IDLE")
          \/ word'[h].gen = word[h].gen + 1 /\ word'[h].state = "IDLE"]_word

---------------------------------------------------------------------------
(* Liveness: every thread that can go on does, the kernel finishes what it *)
(* is given, nobody is owed a death.                                       *)

\* An issuer that wants a handle gets one, or has used them all, or dies.
L1_AcquireReturns ==
    \A p \in IssuerIds : (stack[p] # <<>> /\ Usable(p) = {}) ~> (Usable(p) # {} \/ stack[p] = <<>>)

L2_SubmittedEnds == \A h \in Handles : word[h].state = "SUBMITTED" ~> word[h].state # "SUBMITTED"
L3_StagedIsSubmitted == \A h \in Handles : word[h].state = "STAGED" ~> word[h].state # "STAGED"

Waiting(a) == \E f \in Frames(a) : f.pc \in {"w_read", "w_ticket", "w_announce", "w_bell", "w_sleep", "w_asleep"}
L4_WaitReturns == \A a \in Processes : Waiting(a) ~> ~Waiting(a)

\* The same for those who issue nothing: whatever the issuer does once the IO is SUBMITTED.
L4_OthersReturn == \A a \in WaiterIds : Waiting(a) ~> ~Waiting(a)

\* What a worker should look at is claimed by somebody, or over.
L5_WorkIsClaimed == \A h \in Handles : (h \in hints /\ CanClaim(word[h])) ~> ~CanClaim(word[h])

\* The dead one's slot and all its handles are usable again.
L10_SlotIsRecovered == \A p \in IssuerIds : p \in dead ~> (slot[p] = "free" \/ p \notin dead)
L10_NewcomerAttaches == \A p \in IssuerIds : At(p, "a_lock") ~> (slot[p] = "active" /\ lock[p] = p)

\* Everything ends (L7, L8).
L7_EverythingEnds == <>[]Ended
=============================================================================
