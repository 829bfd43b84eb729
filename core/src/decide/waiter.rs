//! What a waiter does: look, take a ticket, look again, announce itself, sleep.
//!
//! | the word, against the reference's generation | verdict |
//! |---|---|
//! | malformed, or a generation below, or IDLE at the same | stale: read again a few times, then no such IO |
//! | a generation above | recycled: over, whatever it was |
//! | COMPLETED_SHARED or later | done |
//! | HANDED_OUT … COMPLETED_IO | block |
//!
//! Own IO: STAGED is submitted first (MUSEUM U1, R5), HANDED_OUT would be waiting for oneself.
//! Invariants: S6, S10, S11, L4. The look after the ticket is what makes a lost wake-up impossible
//! (RC5, RC7). Checked by: model scenario issuer + waiter; unit tests below.

use crate::ids::Generation;
use crate::platform::Slept;
use crate::state::{State, Word};

/// What one look at a word says about one generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use]
pub enum Look {
    /// The handle has been used again: the IO is over, its result gone.
    Recycled,
    /// The IO is over.
    Done,
    /// It is not over.
    Pending,
    /// No such IO can exist, unless this read is old.
    Stale,
}

/// Judges a word against the generation of a reference.
#[inline(always)]
pub const fn look(word: Word, generation: Generation) -> Look {
    let (now, then) = (word.generation().get(), generation.get());
    if now == then {
        // The usual answer first: asked with the others it is a jump through a table.
        if word.state().is_over() {
            return Look::Done;
        }
        match word.state() {
            State::CompletedShared | State::CompletedLocal => Look::Done,
            State::Idle => Look::Stale,
            State::HandedOut
            | State::Defined
            | State::Staged
            | State::Submitted
            | State::CompletedIo => {
                if word.is_well_formed() {
                    Look::Pending
                } else {
                    Look::Stale
                }
            }
        }
    } else if now > then {
        Look::Recycled
    } else {
        Look::Stale
    }
}

/// How many stale reads in a row are forgiven before the reference is called invalid.
pub const STALE_READS: u8 = 8;

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use]
pub enum Verdict {
    /// The IO is over.
    Done,
    /// The IO is over and its handle was used again or released: the result is gone.
    Recycled,
    /// The time allowed is over; the IO goes on.
    TimedOut,
    /// The pool has no such IO, and never had one this process could have heard of.
    NoSuchIo,
    /// The caller's own handle, handed out and not started: it would wait for itself.
    WouldWaitForItself,
}

/// What the waiter wants done next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use]
pub enum Action {
    /// Read the word (acquire), report [`Observation::Word`].
    Read,
    /// The IO is the caller's own and STAGED: submit what is staged, report
    /// [`Observation::Submitted`].
    SubmitStaged,
    /// SUBMITTED into the caller's own ring: drain it, and if nobody leads, sleep in it for one slice.
    /// Report [`Observation::Led`].
    Lead(Word),
    /// Take the ticket of the handle's event count, report [`Observation::Ticket`].
    TakeTicket,
    /// Set WAITERS by compare-exchange on this word, report [`Observation::Announced`].
    Announce(Word),
    /// The word before a sleep: let the method move (reap, ring the doorbell, post the slot's
    /// bell), report [`Observation::Driven`].
    Drive(Word),
    /// Sleep on the event count with the ticket for one slice, report [`Observation::Slept`].
    Sleep,
    /// A slice is over: look whether owner or completer died, report [`Observation::Probed`].
    Probe(Word),
    /// Finished.
    Return(Verdict),
}

/// What the protocol saw.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Observation {
    /// The word.
    Word(Word),
    /// Staged IO was submitted.
    Submitted,
    /// The ring was drained or slept in (look again), or somebody else leads.
    Led {
        /// Whether to look again.
        look_again: bool,
    },
    /// The ticket is taken.
    Ticket,
    /// WAITERS is set, or the word had changed.
    Announced(bool),
    /// The method moved something (look again) or has nothing to do.
    Driven {
        /// Whether to look again before sleeping.
        look_again: bool,
    },
    /// The sleep ended.
    Slept {
        /// How.
        how: Slept,
        /// Whether the caller's deadline has passed.
        deadline_passed: bool,
    },
    /// The probe was made.
    Probed,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Stage {
    Looking,
    Ticketed,
    LastLook,
}

/// The machine of one wait. Start it with [`Waiter::start`], then feed it observations.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Waiter {
    generation: Generation,
    own: bool,
    leads: bool,
    stage: Stage,
    stale: u8,
    seen: Word,
}

impl Waiter {
    /// A wait for `generation`; `own` if the caller owns the handle, `leads` if it may sleep in the
    /// ring that the IO completes through. The first action is [`Action::Read`].
    #[inline(always)]
    #[must_use]
    pub const fn start(generation: Generation, own: bool, leads: bool) -> Self {
        Self { generation, own, leads, stage: Stage::Looking, stale: 0, seen: Word::NEW }
    }

    /// The generation that is waited for.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// The next action.
    #[inline]
    pub fn next(&mut self, saw: Observation) -> Action {
        match saw {
            Observation::Word(word) => self.judge(word),
            Observation::Probed if self.stage == Stage::LastLook => Action::Read,
            Observation::Submitted | Observation::Probed => self.restart(),
            Observation::Ticket => {
                self.stage = Stage::Ticketed;
                Action::Read
            }
            Observation::Led { look_again: true } => self.restart(),
            Observation::Led { look_again: false } => Action::TakeTicket,
            Observation::Announced(true) => Action::Drive(self.seen),
            Observation::Announced(false) => Action::Read,
            Observation::Driven { look_again: true } => self.restart(),
            Observation::Driven { look_again: false } => Action::Sleep,
            // A caller that waits again and again for less than a slice must notice a death, too.
            Observation::Slept { deadline_passed: true, .. } => {
                self.stage = Stage::LastLook;
                Action::Probe(self.seen)
            }
            Observation::Slept { how: Slept::LookAgain, .. } => self.restart(),
            Observation::Slept { how: Slept::SliceOver, .. } => Action::Probe(self.seen),
        }
    }

    #[inline(always)]
    const fn restart(&mut self) -> Action {
        self.stage = Stage::Looking;
        // Nothing depends on it any more, so that a wait that starts again is the same wait.
        self.seen = Word::NEW;
        Action::Read
    }

    #[inline(always)]
    fn judge(&mut self, word: Word) -> Action {
        self.seen = word;
        match look(word, self.generation) {
            Look::Done => Action::Return(Verdict::Done),
            Look::Recycled => Action::Return(Verdict::Recycled),
            Look::Stale => self.stale(),
            Look::Pending => self.pending(word),
        }
    }

    fn stale(&mut self) -> Action {
        self.stale += 1;
        if self.stale < STALE_READS { Action::Read } else { Action::Return(Verdict::NoSuchIo) }
    }

    fn pending(&mut self, word: Word) -> Action {
        self.stale = 0;
        match word.state() {
            State::HandedOut if self.own => return Action::Return(Verdict::WouldWaitForItself),
            State::Staged if self.own => return Action::SubmitStaged,
            State::HandedOut
            | State::Defined
            | State::Staged
            | State::Submitted
            | State::CompletedIo
            | State::Idle
            | State::CompletedShared
            | State::CompletedLocal => {}
        }
        match self.stage {
            Stage::LastLook => Action::Return(Verdict::TimedOut),
            Stage::Looking if self.leads && in_a_ring(word) => Action::Lead(word),
            Stage::Looking => Action::TakeTicket,
            Stage::Ticketed if word.has_waiters() => Action::Drive(word),
            Stage::Ticketed => Action::Announce(word),
        }
    }
}

/// Whether, where its owner has a ring, its completion comes through that.
const fn in_a_ring(word: Word) -> bool {
    matches!(word.state(), State::Submitted) && !word.is_sync()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ProcessSlot;
    use crate::state::{Event, Role, compose};

    fn submitted() -> Word {
        let me = Role::Issuer(ProcessSlot::new(0).unwrap());
        let events = [Event::HandOut, Event::Define, Event::Stage, Event::Submit];
        compose(Word::NEW, &events, me).unwrap()
    }

    #[test]
    fn rc7_the_word_is_read_again_between_ticket_and_sleep() {
        let mut waiter = Waiter::start(Generation::FIRST, false, false);
        assert_eq!(waiter.next(Observation::Word(submitted())), Action::TakeTicket);
        assert_eq!(waiter.next(Observation::Ticket), Action::Read);
        assert_eq!(waiter.next(Observation::Word(submitted())), Action::Announce(submitted()));
        assert_eq!(waiter.next(Observation::Announced(true)), Action::Drive(submitted()));
        assert_eq!(waiter.next(Observation::Driven { look_again: false }), Action::Sleep);
    }

    #[test]
    fn l9_a_wait_that_times_out_probes_before_its_last_look() {
        let mut waiter = Waiter::start(Generation::FIRST, false, false);
        let _ = waiter.next(Observation::Word(submitted()));
        let over = Observation::Slept { how: Slept::SliceOver, deadline_passed: true };
        assert_eq!(waiter.next(over), Action::Probe(submitted()));
        assert_eq!(waiter.next(Observation::Probed), Action::Read);
        let last = waiter.next(Observation::Word(submitted()));
        assert_eq!(last, Action::Return(Verdict::TimedOut));
    }

    #[test]
    fn s11_a_reference_to_no_io_is_refused_after_a_few_reads() {
        let mut waiter = Waiter::start(Generation::new(5).unwrap(), false, false);
        for _ in 1..STALE_READS {
            assert_eq!(waiter.next(Observation::Word(Word::NEW)), Action::Read);
        }
        let last = waiter.next(Observation::Word(Word::NEW));
        assert_eq!(last, Action::Return(Verdict::NoSuchIo));
    }

    #[test]
    fn r6_idle_at_the_same_generation_is_not_done() {
        assert_eq!(look(Word::NEW, Generation::FIRST), Look::Stale);
    }

    #[test]
    fn s10_an_older_generation_is_recycled_in_every_state() {
        let two = Generation::new(2).unwrap();
        for state in State::ALL {
            let word = Word::from_raw(Word::idle(two).raw() | state as u64);
            assert_eq!(look(word, Generation::FIRST), Look::Recycled, "{state}");
        }
    }
}
