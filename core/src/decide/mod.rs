//! Pure decisions: small resumable machines, `next(observation) -> action`.
//!
//! The protocol performs the actions and reports what it saw; it decides nothing itself. The
//! explicit-state search steps the same machines, so there is no second encoding of the protocol.
//! Each machine is private memory of one actor: nothing here is shared, nothing blocks, nothing
//! fails but by a value.
//!
//! Read in this order: [`waiter`], [`completer`], [`book`] (the issuer's lists), [`recoverer`],
//! [`worker`], [`lead`], [`reaper`].

pub mod book;
pub mod completer;
pub mod lead;
pub mod reaper;
pub mod recoverer;
pub mod waiter;
pub mod worker;
