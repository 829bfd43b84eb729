------------------------------ MODULE Ringing -----------------------------
(***************************************************************************)
(* Rings: the kernel executes, and leaves completions in a queue of the    *)
(* issuer's process.  Whoever drains it holds the reap lock from copying   *)
(* an entry to giving it back.                                             *)
(*                                                                         *)
(* Rust: core/src/protocol/{lead,reap}.rs, core/src/decide/reaper.rs.      *)
(* PostgreSQL: method_io_uring.c (pgaio_uring_wait_one, _drain_locked).    *)
(*                                                                         *)
(* At most one thread leads, that is, sleeps in the ring: the issuer while *)
(* it waits for an own IO, the reaper while somebody else waits.  Whoever  *)
(* finds the lead taken says that it wants more, having said before what   *)
(* for (WAITERS).  Who leaves sees that and has a duty: the issuer posts   *)
(* the bell, the reaper looks again.                                       *)
(***************************************************************************)
EXTENDS Pool

\* The kernel finishes what it was given, in any order.  For a dead process it may also give up.
KernelFinishes(p) ==
    /\ \E io \in kernel[p] :
          /\ kernel' = [kernel EXCEPT ![p] = @ \ {io}]
          /\ \/ queue' = [queue EXCEPT ![p] = Append(@, io)]
             \/ p \in dead /\ UNCHANGED queue
    /\ UNCHANGED <<handleVars, workerVars, reaping, ringBell, lead, bookVars, slotVars, stack>>

QLock(a) ==
    LET f == Top(a) IN
    /\ reaping[f.p] = Nobody \/ Fault = "drain without the reap lock"
    /\ reaping' = [reaping EXCEPT ![f.p] = a]
    /\ Put(a, <<[f EXCEPT !.pc = "q_head"]>>)
    /\ UNCHANGED <<handleVars, workerVars, kernel, queue, ringBell, lead, bookVars, slotVars>>

\* A turn returns: the wait below looks again.
TurnEnds(frames) == <<Again(frames[2])>> \o SubSeq(frames, 3, Len(frames))

\* What the caller of a drain does next, told whether there was anything.
AfterDrain(frames, any) ==
    IF frames = <<>> \/ Head(frames).pc # "t_drained" THEN frames
    ELSE LET turn == Head(frames)
             on(pc) == <<[turn EXCEPT !.pc = pc]>> \o Tail(frames) IN
         CASE turn.stage = "outside" /\ any -> TurnEnds(frames)
           [] turn.stage = "outside" /\ ~any -> on(IF turn.announced THEN "t_enter" ELSE "t_take")
           [] turn.stage = "leading" -> on("t_look")
           [] OTHER -> on("t_leave")

\* A recoverer drains for the dead one; it holds its slot lock, and needs no reap lock.
QHead(a) ==
    LET f == Top(a)
        role == IF Process(a) = f.p /\ reaping[f.p] # Nobody THEN "completer" ELSE "owner's recoverer" IN
    /\ IF queue[f.p] = <<>>
       THEN /\ reaping' = [reaping EXCEPT ![f.p] = IF @ = a THEN Nobody ELSE @]
            /\ stack' = [stack EXCEPT ![a] = AfterDrain(Tail(@), f.any)]
       ELSE /\ LET io == Head(queue[f.p])
                   c == [Complete("c_look", io[1], NewWord, role) EXCEPT !.g = io[2]] IN
               Put(a, <<c, [f EXCEPT !.pc = "q_advance", !.any = TRUE]>>)
            /\ UNCHANGED reaping
    /\ UNCHANGED <<handleVars, workerVars, kernel, queue, ringBell, lead, bookVars, slotVars>>

QAdvance(a) ==
    LET f == Top(a) IN
    /\ queue' = [queue EXCEPT ![f.p] = IF @ = <<>> THEN @ ELSE Tail(@)]
    /\ Put(a, <<[f EXCEPT !.pc = "q_head"]>>)
    /\ UNCHANGED <<handleVars, workerVars, kernel, reaping, ringBell, lead, bookVars, slotVars>>

---------------------------------------------------------------------------
(* The lead's word (Rust: core/src/decide/lead.rs), and an issuer's turn.  *)

FreeLead == [by |-> "nobody", want |-> FALSE]
Leads(who) == [by |-> who, want |-> FALSE]

Unled == UNCHANGED <<handleVars, workerVars, kernel, queue, reaping, ringBell, bookVars, slotVars>>

\* It leads now, and drains: the one before may have left something.
Led(a, p, who, below) ==
    /\ lead' = [lead EXCEPT ![p] = Leads(who)]
    /\ Put(a, <<Drain(p, "q_lock"), below>>)

LeadsNow(f) == [f EXCEPT !.pc = "t_drained", !.stage = "leading"]

TTake(a) ==
    LET f == Top(a) IN
    /\ IF lead[f.p] = FreeLead THEN Led(a, f.p, "issuer", LeadsNow(f))
       ELSE UNCHANGED lead /\ Put(a, <<>>)
    /\ Unled

TEnter(a) ==
    LET f == Top(a) IN
    /\ IF lead[f.p] = FreeLead THEN Led(a, f.p, "issuer", LeadsNow(f))
       ELSE /\ lead' = [lead EXCEPT ![f.p].want = TRUE]
            /\ Put(a, <<>>)
    /\ Unled

TLook(a) ==
    LET f == Top(a)
        pending == word[f.h].gen = f.g /\ word[f.h].state = "SUBMITTED" IN
    /\ Put(a, <<[f EXCEPT !.pc = IF pending THEN "t_sleep" ELSE "t_leave"]>>)
    /\ OnlyLooks

\* Asleep in the ring until there is a completion.
TSleep(a) ==
    LET f == Top(a) IN
    /\ queue[f.p] # <<>>
    /\ Put(a, <<Drain(f.p, "q_lock"), [f EXCEPT !.pc = "t_drained", !.stage = "over"]>>)
    /\ OnlyLooks

TLeave(a) ==
    LET f == Top(a) IN
    /\ lead' = [lead EXCEPT ![f.p] = FreeLead]
    /\ IF lead[f.p].want /\ Fault # "leave without a look at want"
       THEN Put(a, <<[f EXCEPT !.pc = "t_bell"]>>)
       ELSE stack' = [stack EXCEPT ![a] = TurnEnds(@)]
    /\ Unled

TBell(a) ==
    LET f == Top(a) IN
    /\ ringBell' = [ringBell EXCEPT ![f.p] = [fresh |-> {}, asleep |-> {}]]
    /\ stack' = [stack EXCEPT ![a] = TurnEnds(@)]
    /\ UNCHANGED <<handleVars, workerVars, kernel, queue, reaping, lead, bookVars, slotVars>>

---------------------------------------------------------------------------
(* The reaper: asleep on the slot's bell until somebody asks.              *)

IsAwaited(w) == w.state = "SUBMITTED" /\ w.waiters /\ ~w.sync

LooksFirst(p, leading) == [pc |-> "b_look", h |-> Min(Own(p)), leading |-> leading]

BTicket(a) ==
    LET p == Process(a) IN
    /\ ringBell' = [ringBell EXCEPT ![p].fresh = @ \union {a}]
    /\ Put(a, <<LooksFirst(p, FALSE)>>)
    /\ UNCHANGED <<handleVars, workerVars, kernel, queue, reaping, lead, bookVars, slotVars>>

BLook(a) ==
    LET f == Top(a)
        awaited == IsAwaited(word[f.h])
        on(pc) == <<[f EXCEPT !.pc = pc, !.h = 0]>> IN
    /\ Put(a, CASE awaited -> on(IF f.leading THEN "b_ring" ELSE "b_enter")
                [] ~awaited /\ f.h + 1 \in Own(Process(a)) -> <<[f EXCEPT !.h = @ + 1]>>
                [] OTHER -> on(IF f.leading THEN "b_give" ELSE "b_sleep"))
    /\ OnlyLooks

BEnter(a) ==
    LET p == Process(a) IN
    /\ IF lead[p] = FreeLead THEN Led(a, p, "reaper", LooksFirst(p, TRUE))
       ELSE /\ lead' = [lead EXCEPT ![p].want = TRUE]
            /\ Put(a, <<[Top(a) EXCEPT !.pc = "b_sleep"]>>)
    /\ Unled

\* Asleep in the ring until there is a completion.
BRing(a) ==
    /\ queue[Process(a)] # <<>>
    /\ Put(a, <<Drain(Process(a), "q_lock"), LooksFirst(Process(a), TRUE)>>)
    /\ OnlyLooks

\* Nobody waits any more: it leaves, unless more is wanted; then it looks again.
BGive(a) ==
    LET p == Process(a) IN
    /\ IF lead[p].want
       THEN lead' = [lead EXCEPT ![p].want = FALSE] /\ Put(a, <<LooksFirst(p, TRUE)>>)
       ELSE lead' = [lead EXCEPT ![p] = FreeLead] /\ Put(a, <<ReaperStarts>>)
    /\ Unled

BSleep(a) ==
    LET p == Process(a) IN
    /\ IF a \in ringBell[p].fresh
       THEN /\ ringBell' = [ringBell EXCEPT ![p].asleep = @ \union {a}]
            /\ Put(a, <<[Top(a) EXCEPT !.pc = "b_asleep"]>>)
       ELSE UNCHANGED ringBell /\ Put(a, <<ReaperStarts>>)
    /\ UNCHANGED <<handleVars, workerVars, kernel, queue, reaping, lead, bookVars, slotVars>>

BAsleep(a) ==
    /\ a \notin ringBell[Process(a)].asleep
    /\ Put(a, <<ReaperStarts>>)
    /\ OnlyLooks
=============================================================================
