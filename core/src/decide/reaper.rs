//! What the reaper of a ring does: nothing, until somebody asks.
//!
//! | it | then |
//! |---|---|
//! | finds none of its slot's IOs SUBMITTED with WAITERS | sleeps on the slot's bell, or gives the lead up if it leads |
//! | finds one | enters; leads, or leaves it to the issuer, who posts the bell when it leaves |
//! | leads | drains, looks again, sleeps in the ring, drains, looks again |
//! | gives up and more is wanted | looks again: the issuer waits for an IO by now |
//!
//! The ticket of the bell is taken before every look, so that who sets WAITERS and then posts is either seen
//! or ends the sleep. Whether the reaper is to leave is asked after the ticket, for the same reason: who asks
//! sets a flag, posts the bell, and rouses the ring. Nobody's death can leave it asleep while somebody alive
//! asks, because everybody who waits posts.
//! Invariants: L2, L4, L7. Checked by: the unit tests below and the model's lead scenarios.

use super::lead::Entered;
use crate::ids::HandleId;
use crate::state::{State, Word};
use core::ops::Range;

/// What the reaper wants done next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use]
pub enum Action {
    /// Take the bell's ticket, report [`Observation::Ticket`].
    TakeTicket,
    /// Is it to leave? Report [`Observation::Leave`].
    AskLeave,
    /// Read the word of a handle of the slot, report [`Observation::Word`].
    Look(HandleId),
    /// Enter as the reaper, report [`Observation::Entered`].
    Enter,
    /// Complete what is in the ring, report [`Observation::Drained`].
    Drain,
    /// Sleep in the ring for one slice, report [`Observation::Slept`].
    SleepInRing,
    /// Leave, unless more is wanted: then clear that. Report [`Observation::GivenUp`].
    GiveUp,
    /// Sleep on the bell with the ticket, report [`Observation::Slept`].
    SleepOnBell,
    /// Finished.
    Return,
}

/// What the protocol saw.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Observation {
    /// The ticket is taken.
    Ticket,
    /// Whether it is asked to leave.
    Leave(bool),
    /// The word; `None` if there is no such handle.
    Word(Option<Word>),
    /// The lead is taken or wanted.
    Entered(Entered),
    /// The ring was empty.
    Drained,
    /// The sleep has ended, for whatever reason.
    Slept,
    /// Whether the lead is free now.
    GivenUp(bool),
}

/// Whether somebody waits for a completion that comes through the ring.
#[must_use]
pub fn is_awaited(word: Word) -> bool {
    word.state() == State::Submitted && word.has_waiters() && !word.is_sync()
}

/// The machine of one reaper. The first action is [`Action::TakeTicket`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Reaper {
    own: Range<u32>,
    at: u32,
    leading: bool,
}

impl Reaper {
    /// The reaper of the slot with these handles.
    #[must_use]
    pub const fn new(own: Range<u32>) -> Self {
        let at = own.start;
        Self { own, at, leading: false }
    }

    /// The next action.
    pub fn next(&mut self, saw: Observation) -> Action {
        match saw {
            Observation::Ticket => Action::AskLeave,
            Observation::Leave(true) => Action::Return,
            Observation::Leave(false) | Observation::Drained | Observation::GivenUp(false) => {
                self.at = self.own.start;
                self.look()
            }
            Observation::Word(word) if word.is_some_and(is_awaited) => {
                if self.leading {
                    Action::SleepInRing
                } else {
                    Action::Enter
                }
            }
            Observation::Word(_) => {
                self.at += 1;
                self.look()
            }
            Observation::Entered(Entered::Taken) => {
                self.leading = true;
                Action::Drain
            }
            Observation::Entered(Entered::Wanted) => Action::SleepOnBell,
            Observation::Slept if self.leading => Action::Drain,
            Observation::Slept => Action::TakeTicket,
            Observation::GivenUp(true) => {
                self.leading = false;
                Action::TakeTicket
            }
        }
    }

    const fn look(&self) -> Action {
        if self.at < self.own.end {
            Action::Look(HandleId(self.at))
        } else if self.leading {
            Action::GiveUp
        } else {
            Action::SleepOnBell
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ProcessSlot;
    use crate::state::{Event, Role, compose, step};

    fn submitted() -> Word {
        let me = Role::Issuer(ProcessSlot::new(0).unwrap());
        let events = [Event::HandOut, Event::Define, Event::Stage, Event::Submit];
        compose(Word::NEW, &events, me).unwrap()
    }

    fn awaited() -> Word {
        step(submitted(), Event::AddWaiter, Role::Waiter).unwrap()
    }

    /// A reaper of handles 4 and 5 that has just found 5 awaited.
    fn reaper_that_enters() -> Reaper {
        let mut reaper = Reaper::new(4..6);
        assert_eq!(reaper.next(Observation::Ticket), Action::AskLeave);
        assert_eq!(reaper.next(Observation::Leave(false)), Action::Look(HandleId(4)));
        let next = reaper.next(Observation::Word(Some(submitted())));
        assert_eq!(next, Action::Look(HandleId(5)), "nobody waits for this one");
        assert_eq!(reaper.next(Observation::Word(Some(awaited()))), Action::Enter);
        reaper
    }

    #[test]
    fn l2_it_sleeps_on_the_bell_while_nobody_asks() {
        let mut reaper = Reaper::new(0..1);
        assert_eq!(reaper.next(Observation::Ticket), Action::AskLeave);
        assert_eq!(reaper.next(Observation::Leave(false)), Action::Look(HandleId(0)));
        assert_eq!(reaper.next(Observation::Word(Some(submitted()))), Action::SleepOnBell);
        assert_eq!(reaper.next(Observation::Slept), Action::TakeTicket);
    }

    #[test]
    fn l4_it_drains_and_looks_again_before_it_sleeps_in_the_ring() {
        let mut reaper = reaper_that_enters();
        assert_eq!(reaper.next(Observation::Entered(Entered::Taken)), Action::Drain);
        assert_eq!(reaper.next(Observation::Drained), Action::Look(HandleId(4)));
        assert_eq!(reaper.next(Observation::Word(Some(awaited()))), Action::SleepInRing);
        assert_eq!(reaper.next(Observation::Slept), Action::Drain);
    }

    #[test]
    fn l4_it_looks_again_if_more_is_wanted_when_it_gives_up() {
        let mut reaper = reaper_that_enters();
        let _ = reaper.next(Observation::Entered(Entered::Taken));
        let _ = reaper.next(Observation::Drained);
        assert_eq!(reaper.next(Observation::Word(None)), Action::Look(HandleId(5)));
        assert_eq!(reaper.next(Observation::Word(Some(Word::NEW))), Action::GiveUp);
        assert_eq!(reaper.next(Observation::GivenUp(false)), Action::Look(HandleId(4)));
        let _ = reaper.next(Observation::Word(None));
        assert_eq!(reaper.next(Observation::Word(None)), Action::GiveUp);
        assert_eq!(reaper.next(Observation::GivenUp(true)), Action::TakeTicket);
    }

    #[test]
    fn l4_it_leaves_the_ring_to_an_issuer_that_leads() {
        let mut reaper = reaper_that_enters();
        assert_eq!(reaper.next(Observation::Entered(Entered::Wanted)), Action::SleepOnBell);
    }

    #[test]
    fn rc13_an_io_in_place_does_not_come_through_the_ring() {
        let me = Role::Issuer(ProcessSlot::new(0).unwrap());
        let events = [Event::HandOut, Event::Define, Event::Stage, Event::SubmitInPlace];
        let word = compose(Word::NEW, &events, me).unwrap();
        assert!(!is_awaited(step(word, Event::AddWaiter, Role::Waiter).unwrap()));
        assert!(is_awaited(awaited()));
    }
}
