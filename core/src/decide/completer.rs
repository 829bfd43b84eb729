//! What whoever has a result does with it: store, win, run callbacks, publish, wake.
//!
//! Exactly one actor wins the change to COMPLETED_IO (S1); the publication is its last access to
//! the handle but the post (S5). If it dies in between, a recoverer enters at
//! [`Completer::take_over`] and the callbacks run again, told so.
//! (`pgaio_io_process_completion`.) Checked by: model scenario issuer + completer; unit test below.

use crate::outcome::{Outcome, RawResult};

/// What the completer wants done next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use]
pub enum Action {
    /// Store the raw result, keyed by the generation.
    StoreRaw(RawResult),
    /// SUBMITTED → COMPLETED_IO by compare-exchange.
    CompleteIo,
    /// DEFINED or STAGED → COMPLETED_IO.
    Abandon,
    /// COMPLETED_IO of the dead → of me, by compare-exchange.
    TakeOver,
    /// Run the shared callbacks, last registered first.
    RunCallbacks {
        /// Whether another process may have run them before.
        repeat: bool,
    },
    /// Store the packed result.
    StoreOutcome(Outcome),
    /// COMPLETED_IO → COMPLETED_SHARED.
    Publish,
    /// Wake the waiters.
    Post,
    /// Finished; whether this actor was the one.
    Return {
        /// Whether this actor was the completer.
        won: bool,
    },
}

/// What the protocol saw.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Observation {
    /// The store is done.
    Stored,
    /// The change to COMPLETED_IO (or the take-over) happened, or somebody else was first.
    Won(bool),
    /// What the callbacks made of the raw result.
    Outcome(Outcome),
    /// Published; whether somebody waits.
    Published {
        /// WAITERS was set.
        waiters: bool,
    },
    /// The post is made.
    Posted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Entry {
    Complete,
    Abandon,
    TakeOver,
}

/// The machine of one completion.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Completer {
    entry: Entry,
    publishing: bool,
}

impl Completer {
    /// Somebody has the result of a SUBMITTED IO.
    #[inline(always)]
    pub const fn complete(raw: RawResult) -> (Self, Action) {
        (Self { entry: Entry::Complete, publishing: false }, Action::StoreRaw(raw))
    }

    /// The issuer (or its recoverer) gives up a DEFINED or STAGED IO.
    #[inline(always)]
    pub const fn abandon(raw: RawResult) -> (Self, Action) {
        (Self { entry: Entry::Abandon, publishing: false }, Action::StoreRaw(raw))
    }

    /// A recoverer continues for a dead completer.
    #[inline(always)]
    pub const fn take_over() -> (Self, Action) {
        (Self { entry: Entry::TakeOver, publishing: false }, Action::TakeOver)
    }

    /// The next action.
    #[inline(always)]
    pub const fn next(&mut self, saw: Observation) -> Action {
        match saw {
            Observation::Stored if self.publishing => Action::Publish,
            Observation::Stored => match self.entry {
                Entry::Complete => Action::CompleteIo,
                Entry::Abandon => Action::Abandon,
                Entry::TakeOver => Action::TakeOver,
            },
            Observation::Won(true) => {
                Action::RunCallbacks { repeat: matches!(self.entry, Entry::TakeOver) }
            }
            Observation::Won(false) => Action::Return { won: false },
            Observation::Outcome(outcome) => {
                self.publishing = true;
                Action::StoreOutcome(outcome)
            }
            Observation::Published { waiters: true } => Action::Post,
            Observation::Published { waiters: false } | Observation::Posted => {
                Action::Return { won: true }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_nothing_follows_the_publication_but_the_post() {
        let (mut machine, first) = Completer::complete(RawResult(3));
        assert_eq!(first, Action::StoreRaw(RawResult(3)));
        assert_eq!(machine.next(Observation::Stored), Action::CompleteIo);
        assert_eq!(machine.next(Observation::Won(true)), Action::RunCallbacks { repeat: false });
        let outcome = Outcome::from_raw(RawResult(3));
        assert_eq!(machine.next(Observation::Outcome(outcome)), Action::StoreOutcome(outcome));
        assert_eq!(machine.next(Observation::Stored), Action::Publish);
        assert_eq!(machine.next(Observation::Published { waiters: true }), Action::Post);
        assert_eq!(machine.next(Observation::Posted), Action::Return { won: true });
    }

    #[test]
    fn s1_a_loser_runs_no_callback() {
        let (mut machine, _) = Completer::complete(RawResult(3));
        let _ = machine.next(Observation::Stored);
        assert_eq!(machine.next(Observation::Won(false)), Action::Return { won: false });
    }
}
