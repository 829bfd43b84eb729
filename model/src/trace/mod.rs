//! What happened in one execution, step by step: for a person who wants to know why it failed, and
//! for checks of the steps.
//!
//! | module | makes of it |
//! |---|---|
//! | [`columns`] | one line a step, one column an actor |
//! | [`ndjson`] | one JSON object a step |
//! | [`conformance`] | which edges of the protocol's table it took, and whether there are such |
//!
//! A runtime reports a step to the [`crate::witness`] right after it, in the same step of the model,
//! so that the order of the lines is the order in which memory changed.

pub mod columns;
pub mod conformance;
pub mod ndjson;

use crate::runtime::Actor;
use handfast_core::platform::Change;
use handfast_core::site::Site;

/// Which shared thing a step touched.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    /// A handle: its word or its event count.
    Handle(u32),
    /// A slot: its word or its bell.
    Slot(u32),
    /// A lease word.
    Lease(u32),
    /// A slot's lock.
    Lock(u32),
    /// The workers' doorbell.
    Doorbell,
    /// A slot's hints.
    Hints(u32),
    /// What tells a slot's worker or reaper to leave.
    Leave(u32),
    /// Something that no scenario has named.
    Other,
}

/// One step.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// The actor starts.
    Began,
    /// The actor is through.
    Ended,
    /// A state word has changed.
    Changed(Change),
    /// A word that is not a handle's was written.
    Wrote(Site, Place, u64),
    /// A word was read.
    Read(Site, Place, u64),
    /// A compare-exchange found another word than it expected.
    Lost(Site, Place, u64),
    /// A ticket of an event count was taken.
    Ticket(Place),
    /// The actor falls asleep on an event count.
    Slept(Place),
    /// It would have slept, but the count is not its ticket any more.
    TicketOld(Place),
    /// The time given for a sleep is over.
    SliceOver(Place),
    /// It was woken.
    Woke(Place),
    /// An event count went up, and so many were woken.
    Posted(Place, usize),
    /// The same, and no more than so many were to be woken.
    PostedSome(Place, usize),
    /// An IO was put into the mailbox.
    Put,
    /// The mailbox was looked into; whether there was an IO.
    Took(bool),
    /// The actor sleeps until there is something in the mailbox.
    AwaitsMail,
    /// A slot lock was tried; whether it is the actor's now.
    Locked(Place, bool),
    /// A slot lock was given back.
    Unlocked(Place),
    /// The actor looked whether a slot lock is free.
    Probed(Place, bool),
    /// The actor's process was killed.
    Died,
    /// An access to a word of the application's own: where it is, what was done, the value.
    Application(usize, &'static str, u64),
    /// The scenario, a callback or the simulated kernel says what it did.
    Note(&'static str),
}

/// One step and who made it.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Who.
    pub actor: Actor,
    /// What.
    pub what: What,
}

impl What {
    /// The access of the protocol that it is, if it is one with a name of its own.
    #[must_use]
    pub const fn site(&self) -> Option<Site> {
        match self {
            Self::Changed(change) => Some(change.site),
            Self::Wrote(site, ..) | Self::Read(site, ..) | Self::Lost(site, ..) => Some(*site),
            Self::Began
            | Self::Ended
            | Self::Ticket(_)
            | Self::Slept(_)
            | Self::TicketOld(_)
            | Self::SliceOver(_)
            | Self::Woke(_)
            | Self::Posted(..)
            | Self::PostedSome(..)
            | Self::Put
            | Self::Took(_)
            | Self::AwaitsMail
            | Self::Locked(..)
            | Self::Unlocked(_)
            | Self::Probed(..)
            | Self::Died
            | Self::Application(..)
            | Self::Note(_) => None,
        }
    }

    /// Under which name it counts as an outcome that a scenario may require, if it does.
    #[must_use]
    pub const fn counts_as(&self) -> Option<&'static str> {
        match self {
            Self::Slept(_) => Some("slept"),
            Self::TicketOld(_) => Some("ticket was old"),
            Self::Posted(_, 0) | Self::PostedSome(_, 0) => Some("posted to nobody"),
            Self::Posted(..) => Some("woke a sleeper"),
            Self::PostedSome(..) => Some("woke some sleepers"),
            Self::Died => Some("died"),
            Self::Note(what) => Some(what),
            Self::Began
            | Self::Ended
            | Self::Changed(_)
            | Self::Wrote(..)
            | Self::Read(..)
            | Self::Lost(..)
            | Self::Ticket(_)
            | Self::SliceOver(_)
            | Self::Woke(_)
            | Self::Put
            | Self::Took(_)
            | Self::AwaitsMail
            | Self::Locked(..)
            | Self::Unlocked(_)
            | Self::Probed(..)
            | Self::Application(..) => None,
        }
    }
}
