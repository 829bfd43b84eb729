//! What the reaper of a ring does: nothing, until somebody asks.
//!
//! | it | then |
//! |---|---|
//! | finds none of its slot's IOs SUBMITTED with WAITERS | sleeps on the slot's bell, or gives the lead up if it leads |
//! | finds one | enters; leads, or leaves it to the issuer, who posts the bell when it leaves |
//! | leads | drains, looks again, sleeps in the ring, drains, looks again |
//! | gives up and more is wanted | looks again: the issuer waits for an IO by now |
//! | is woken, or has drained | wakes the tasks of its process whose IO is over; while some wait, it sleeps in slices and probes |
//!
//! The ticket of the bell is taken before every look, so that who sets WAITERS and then posts is either seen
//! or ends the sleep. Whether the reaper is to leave is asked after the ticket, for the same reason: who asks
//! sets a flag, posts the bell, and rouses the ring. Nobody's death can leave it asleep while somebody alive
//! asks, because everybody who waits posts.
//! Invariants: L2, L4, L7. Checked by: the unit tests below and the model's lead scenarios.

use super::lead::Entered;
use crate::ids::HandleId;
use crate::platform::Slept;
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
    /// Wake the tasks whose IO is over, report [`Observation::Woken`].
    Wake,
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
    /// Sleep on the bell with the ticket, for one slice if `tasks` wait, report [`Observation::Slept`].
    SleepOnBell {
        /// Whether some do.
        tasks: bool,
    },
    /// A slice is over while tasks wait: look for deaths on their behalf, report [`Observation::Probed`].
    Probe,
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
    /// The tasks whose IO is over are awake.
    Woken {
        /// Whether others still wait.
        left: bool,
    },
    /// The word; `None` if there is no such handle.
    Word(Option<Word>),
    /// The lead is taken or wanted.
    Entered(Entered),
    /// The ring was empty.
    Drained,
    /// The sleep has ended.
    Slept(Slept),
    /// The probes were made.
    Probed,
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
    leaving: bool,
    tasks: bool,
}

impl Reaper {
    /// The reaper of the slot with these handles.
    #[must_use]
    pub const fn new(own: Range<u32>) -> Self {
        let at = own.start;
        Self { own, at, leading: false, leaving: false, tasks: false }
    }

    /// The next action.
    pub fn next(&mut self, saw: Observation) -> Action {
        match saw {
            Observation::Ticket => Action::AskLeave,
            Observation::Leave(leaving) => {
                self.leaving = leaving;
                Action::Wake
            }
            Observation::Drained => Action::Wake,
            Observation::Woken { .. } if self.leaving => Action::Return,
            Observation::Woken { left } => {
                self.tasks = left;
                self.start_looking()
            }
            Observation::GivenUp(false) => self.start_looking(),
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
            Observation::Entered(Entered::Wanted) => Action::SleepOnBell { tasks: self.tasks },
            Observation::Slept(_) if self.leading => Action::Drain,
            Observation::Slept(Slept::SliceOver) if self.tasks => Action::Probe,
            Observation::Slept(_) | Observation::Probed => Action::TakeTicket,
            Observation::GivenUp(true) => {
                self.leading = false;
                Action::TakeTicket
            }
        }
    }

    const fn start_looking(&mut self) -> Action {
        self.at = self.own.start;
        self.look()
    }

    const fn look(&self) -> Action {
        if self.at < self.own.end {
            Action::Look(HandleId(self.at))
        } else if self.leading {
            Action::GiveUp
        } else {
            Action::SleepOnBell { tasks: self.tasks }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ProcessSlot;
    use crate::state::{Event, Role, compose, step};

    const SLICE_OVER: Observation = Observation::Slept(Slept::SliceOver);

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
        assert_eq!(reaper.next(Observation::Leave(false)), Action::Wake);
        assert_eq!(reaper.next(Observation::Woken { left: false }), Action::Look(HandleId(4)));
        let next = reaper.next(Observation::Word(Some(submitted())));
        assert_eq!(next, Action::Look(HandleId(5)), "nobody waits for this one");
        assert_eq!(reaper.next(Observation::Word(Some(awaited()))), Action::Enter);
        reaper
    }

    #[test]
    fn l2_it_sleeps_on_the_bell_while_nobody_asks() {
        let mut reaper = Reaper::new(0..1);
        assert_eq!(reaper.next(Observation::Ticket), Action::AskLeave);
        assert_eq!(reaper.next(Observation::Leave(false)), Action::Wake);
        assert_eq!(reaper.next(Observation::Woken { left: false }), Action::Look(HandleId(0)));
        let next = reaper.next(Observation::Word(Some(submitted())));
        assert_eq!(next, Action::SleepOnBell { tasks: false });
        assert_eq!(reaper.next(SLICE_OVER), Action::TakeTicket);
    }

    #[test]
    fn l9_it_probes_after_a_slice_while_tasks_wait() {
        let mut reaper = Reaper::new(0..0);
        let _ = reaper.next(Observation::Ticket);
        assert_eq!(reaper.next(Observation::Leave(false)), Action::Wake);
        let next = reaper.next(Observation::Woken { left: true });
        assert_eq!(next, Action::SleepOnBell { tasks: true });
        assert_eq!(reaper.clone().next(Observation::Slept(Slept::LookAgain)), Action::TakeTicket);
        assert_eq!(reaper.next(SLICE_OVER), Action::Probe);
        assert_eq!(reaper.next(Observation::Probed), Action::TakeTicket);
    }

    #[test]
    fn l7_it_wakes_tasks_once_more_before_it_leaves() {
        let mut reaper = Reaper::new(0..1);
        let _ = reaper.next(Observation::Ticket);
        assert_eq!(reaper.next(Observation::Leave(true)), Action::Wake);
        assert_eq!(reaper.next(Observation::Woken { left: true }), Action::Return);
    }

    #[test]
    fn l4_it_drains_and_looks_again_before_it_sleeps_in_the_ring() {
        let mut reaper = reaper_that_enters();
        assert_eq!(reaper.next(Observation::Entered(Entered::Taken)), Action::Drain);
        assert_eq!(reaper.next(Observation::Drained), Action::Wake);
        assert_eq!(reaper.next(Observation::Woken { left: false }), Action::Look(HandleId(4)));
        assert_eq!(reaper.next(Observation::Word(Some(awaited()))), Action::SleepInRing);
        assert_eq!(reaper.next(SLICE_OVER), Action::Drain);
    }

    #[test]
    fn l4_it_looks_again_if_more_is_wanted_when_it_gives_up() {
        let mut reaper = reaper_that_enters();
        let _ = reaper.next(Observation::Entered(Entered::Taken));
        let _ = reaper.next(Observation::Drained);
        let _ = reaper.next(Observation::Woken { left: false });
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
        let next = reaper.next(Observation::Entered(Entered::Wanted));
        assert_eq!(next, Action::SleepOnBell { tasks: false });
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
