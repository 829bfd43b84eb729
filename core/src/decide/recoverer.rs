//! What a survivor does for a dead process, with the dead one's slot lock held.
//!
//! In this order, each step a compare-exchange on a word that names a generation, so that a
//! recoverer may die anywhere and another one starts again from the top (S25):
//! 1. as completer, over the whole pool: claims are taken back, half-done completions finished;
//! 2. the dead one's completion queue is drained, so that true results are kept;
//! 3. as owner, over its own handles: each is led to IDLE;
//! 4. every event count of the pool is posted (the dead one may have published without waking),
//!    the doorbell is rung;
//! 5. if every handle is IDLE: its leases are freed, then the slot.
//!
//! A handle that a *live* process completes is left: the recovery is unfinished and whoever looks
//! next goes on. Invariants: S1, S19, S24, S25, L9, L10.

use crate::ids::{HandleId, ProcessSlot};
use crate::state::{State, Word};
use core::ops::Range;

/// What is to be done about one word on behalf of its dead completer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use]
pub enum AsCompleter {
    /// Nothing: it is not the dead one's.
    Nothing,
    /// The claim is taken back; somebody else executes it.
    Unclaim,
    /// The completion is finished.
    TakeOver,
}

/// Judges a word on behalf of its dead completer.
pub const fn as_completer(word: Word, dead: ProcessSlot) -> AsCompleter {
    let its = match word.completer() {
        Some(completer) => completer.get() == dead.get(),
        None => false,
    };
    match word.state() {
        State::Submitted if its => AsCompleter::Unclaim,
        State::CompletedIo if its => AsCompleter::TakeOver,
        State::Idle
        | State::HandedOut
        | State::Defined
        | State::Staged
        | State::Submitted
        | State::CompletedIo
        | State::CompletedShared
        | State::CompletedLocal => AsCompleter::Nothing,
    }
}

/// What is to be done about one word on behalf of its dead owner.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use]
pub enum AsOwner {
    /// IDLE: done.
    Done,
    /// HANDED_OUT → IDLE.
    Release,
    /// DEFINED or STAGED → completed as interrupted.
    Abandon,
    /// SUBMITTED, open to workers: claim it first.
    Claim,
    /// SUBMITTED in place, or claimed by the recoverer: complete it with the stored result, or
    /// with `OWNER_DIED`.
    Complete,
    /// Another process completes it.
    AskCompleter(ProcessSlot),
    /// COMPLETED_SHARED or COMPLETED_LOCAL → IDLE.
    Bury,
}

/// Judges a word on behalf of its dead owner. `claimed` says that the recoverer has claimed it in
/// this recovery: a claim in its name that it did not make is some other thread's work.
pub fn as_owner(word: Word, me: ProcessSlot, claimed: bool) -> AsOwner {
    match word.state() {
        State::Idle => AsOwner::Done,
        State::HandedOut => AsOwner::Release,
        State::Defined | State::Staged => AsOwner::Abandon,
        State::Submitted => match word.completer() {
            None if word.is_sync() => AsOwner::Complete,
            None => AsOwner::Claim,
            Some(completer) if completer == me && claimed => AsOwner::Complete,
            Some(completer) => AsOwner::AskCompleter(completer),
        },
        State::CompletedIo => AsOwner::AskCompleter(word.completer().unwrap_or(me)),
        State::CompletedShared | State::CompletedLocal => AsOwner::Bury,
    }
}

/// What the recoverer wants done next. `Word`s are what a compare-exchange expects.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use]
pub enum Action {
    /// Is the slot still not FREE? Report [`Observation::Slot`].
    ReadSlot,
    /// Read the handle's word, report [`Observation::Word`].
    Read(HandleId),
    /// Set its hint, then take the claim back; report [`Observation::Stepped`].
    Unclaim(HandleId, Word),
    /// Take over and finish the completion; report [`Observation::Stepped`].
    TakeOver(HandleId, Word),
    /// Complete what the dead one's completion queue holds; report [`Observation::Stepped`].
    DrainQueue,
    /// Do this on behalf of the owner; report [`Observation::Stepped`].
    Own(AsOwner, HandleId, Word),
    /// Is that completer dead, too? Then do step 1 for it, with its lock held. Report
    /// [`Observation::Helped`].
    Help(ProcessSlot),
    /// Post the handle's event count; report [`Observation::Stepped`].
    Post(HandleId),
    /// Ring the workers' doorbell; report [`Observation::Stepped`].
    RingDoorbell,
    /// Free every lease of the dead one; report [`Observation::Stepped`].
    FreeLeases,
    /// FREE: the last write; report [`Observation::Stepped`].
    FreeSlot,
    /// Finished.
    Return(Recovery),
}

/// What the protocol saw.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Observation {
    /// Whether the slot is active (not FREE).
    Slot {
        /// Not FREE.
        active: bool,
    },
    /// A handle's word.
    Word(Word),
    /// The action was tried; a lost compare-exchange is seen at the next read.
    Stepped,
    /// Whether the other completer was dead and its claims are taken back now.
    Helped(bool),
}

/// How a recovery ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use]
pub enum Recovery {
    /// The slot was free already.
    NothingToDo,
    /// All handles are idle, all leases returned, the slot is free.
    Complete,
    /// A live process still completes some IO of the dead one; look again later.
    Unfinished,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Slot,
    Completer,
    Drain,
    Owner,
    Post,
    Doorbell,
    Leases,
    Free,
}

/// A handle is led to IDLE in at most this many steps; more means a hostile peer.
const MAX_STEPS: u8 = 32;

/// The machine of one recovery.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Recoverer {
    me: ProcessSlot,
    dead: ProcessSlot,
    all: u32,
    own: Range<u32>,
    phase: Phase,
    at: u32,
    steps: u8,
    claimed: bool,
    unfinished: bool,
}

impl Recoverer {
    /// `me` recovers `dead`, who owns the handles `own` of `all`. The first action is
    /// [`Action::ReadSlot`].
    #[must_use]
    pub const fn new(me: ProcessSlot, dead: ProcessSlot, all: u32, own: Range<u32>) -> Self {
        Self {
            me,
            dead,
            all,
            own,
            phase: Phase::Slot,
            at: 0,
            steps: 0,
            claimed: false,
            unfinished: false,
        }
    }

    /// Only step 1: for a completer that is found dead while its IO's owner is recovered.
    #[must_use]
    pub const fn as_completer_only(me: ProcessSlot, dead: ProcessSlot, all: u32) -> Self {
        Self {
            me,
            dead,
            all,
            own: 0..0,
            phase: Phase::Completer,
            at: 0,
            steps: 0,
            claimed: false,
            unfinished: true,
        }
    }

    /// The next action.
    pub fn next(&mut self, saw: Observation) -> Action {
        match (self.phase, saw) {
            (Phase::Slot, Observation::Slot { active: false }) => {
                Action::Return(Recovery::NothingToDo)
            }
            (Phase::Slot, _) => self.enter(Phase::Completer, 0),
            (Phase::Completer | Phase::Owner, Observation::Word(word)) => self.judge(word),
            (Phase::Completer | Phase::Owner, Observation::Helped(false)) => {
                self.unfinished = true;
                self.advance()
            }
            (Phase::Completer | Phase::Owner, _) => self.again(),
            (Phase::Drain, _) => self.enter(Phase::Owner, self.own.start),
            (Phase::Post, _) => self.advance(),
            (Phase::Doorbell, _) if self.unfinished => Action::Return(Recovery::Unfinished),
            (Phase::Doorbell, _) => self.enter(Phase::Leases, 0),
            (Phase::Leases, _) => self.enter(Phase::Free, 0),
            (Phase::Free, _) => Action::Return(Recovery::Complete),
        }
    }

    /// The first action of [`Self::as_completer_only`].
    pub fn begin(&mut self) -> Action {
        self.enter(self.phase, 0)
    }

    fn enter(&mut self, phase: Phase, at: u32) -> Action {
        self.phase = phase;
        self.at = at;
        self.steps = 0;
        self.claimed = false;
        let (completer_end, owner_end) = (self.all, self.own.end);
        match phase {
            Phase::Slot => Action::ReadSlot,
            Phase::Completer if at < completer_end => Action::Read(HandleId(at)),
            Phase::Completer if self.own.is_empty() && self.unfinished => {
                Action::Return(Recovery::Unfinished)
            }
            Phase::Completer => self.enter(Phase::Drain, 0),
            Phase::Drain => Action::DrainQueue,
            Phase::Owner if at < owner_end => Action::Read(HandleId(at)),
            Phase::Owner => self.enter(Phase::Post, 0),
            Phase::Post if at < completer_end => Action::Post(HandleId(at)),
            Phase::Post => self.enter(Phase::Doorbell, 0),
            Phase::Doorbell => Action::RingDoorbell,
            Phase::Leases => Action::FreeLeases,
            Phase::Free => Action::FreeSlot,
        }
    }

    fn advance(&mut self) -> Action {
        self.enter(self.phase, self.at + 1)
    }

    fn again(&mut self) -> Action {
        self.steps += 1;
        if self.steps < MAX_STEPS {
            Action::Read(HandleId(self.at))
        } else {
            self.unfinished = true;
            self.advance()
        }
    }

    fn judge(&mut self, word: Word) -> Action {
        let handle = HandleId(self.at);
        if self.phase == Phase::Completer {
            return match as_completer(word, self.dead) {
                AsCompleter::Nothing => self.advance(),
                AsCompleter::Unclaim => Action::Unclaim(handle, word),
                AsCompleter::TakeOver => Action::TakeOver(handle, word),
            };
        }
        match as_owner(word, self.me, self.claimed) {
            AsOwner::Done => self.advance(),
            AsOwner::AskCompleter(completer) => Action::Help(completer),
            duty @ (AsOwner::Release
            | AsOwner::Abandon
            | AsOwner::Claim
            | AsOwner::Complete
            | AsOwner::Bury) => {
                self.claimed = duty == AsOwner::Claim;
                Action::Own(duty, handle, word)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(n: u32) -> ProcessSlot {
        ProcessSlot::new(n).unwrap()
    }

    /// Runs a recovery against words that every action leaves as they are.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "every other action only reports that it was tried"
    )]
    fn actions_on(word: Word) -> alloc::vec::Vec<Action> {
        let mut machine = Recoverer::new(slot(1), slot(2), 2, 1..2);
        let mut seen = alloc::vec![Action::ReadSlot];
        let mut saw = Observation::Slot { active: true };
        loop {
            let action = machine.next(saw);
            seen.push(action);
            saw = match action {
                Action::Read(_) => Observation::Word(word),
                Action::Help(_) => Observation::Helped(false),
                Action::Return(_) => return seen,
                _ => Observation::Stepped,
            };
        }
    }

    #[test]
    fn l10_idle_handles_lead_to_a_free_slot_and_free_is_last() {
        let seen = actions_on(Word::NEW);
        let (last, before) = seen.split_last().unwrap();
        assert_eq!(*last, Action::Return(Recovery::Complete));
        assert!(before.ends_with(&[Action::RingDoorbell, Action::FreeLeases, Action::FreeSlot]));
        assert!(before.contains(&Action::Post(HandleId(0))), "of the whole pool");
    }

    #[test]
    fn s24_a_live_completer_keeps_the_slot_from_being_freed() {
        let claimed = Word::from_raw(Word::NEW.raw() | State::Submitted as u64 | 8 << 6);
        let seen = actions_on(claimed);
        assert_eq!(seen.last(), Some(&Action::Return(Recovery::Unfinished)));
        assert!(seen.contains(&Action::Help(slot(7))));
        assert!(!seen.contains(&Action::FreeSlot) && !seen.contains(&Action::FreeLeases));
    }

    #[test]
    fn s25_a_word_that_never_moves_ends_the_recovery_all_the_same() {
        let stuck = Word::from_raw(Word::NEW.raw() | State::HandedOut as u64);
        assert_eq!(actions_on(stuck).last(), Some(&Action::Return(Recovery::Unfinished)));
    }
}
