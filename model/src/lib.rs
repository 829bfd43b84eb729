//! handfast's protocol under model checkers: the shipped source of `handfast-core`.
//!
//! Nothing here repeats the protocol. A scenario builds a [`world`] of shared words, lets a few
//! actors call the same entry points that production calls, and asserts what RACES promises.
//!
//! | part | may touch |
//! |---|---|
//! | [`runtime`] | the atomics, through sites; a chosen site is weakened here |
//! | [`witness`] | nothing shared: it watches one execution from outside of the model |
//! | [`mailbox`] | its own queue: the simulated method's |
//! | [`world`] | builds shared words, callbacks and a simulated method |
//! | [`effects`] | the application of the scenarios: callbacks that check what they see |
//! | [`manner`], [`device`], [`worker`] | how that method behaves, and who executes |
//! | [`scenario`] | entry points of `handfast_core::protocol` only |
//! | [`check`] | for users: their own callbacks under these tools |
//! | [`explore`], [`search`] | run a scenario through its executions, its states |
//! | [`mutant`] | chooses the site that this process weakens |
//! | [`sweep`] | processes that run mutants |
//! | [`walk`] | chooses the schedules of a random walk |
//! | [`pins`] | `pins.txt`: how many executions each scenario has |
//!
//! How it fails: an assertion inside the execution that breaks it, or a deadlock for a
//! wake-up that was lost (a sleep in the model never ends by itself). A scenario that silently
//! shrank fails its pin.
//!
//! Checked by: `model/tests/`, which also runs mutants, each in a process of its own, that must fail.

#![forbid(unsafe_code)]

pub mod check;
pub mod device;
pub mod effects;
pub mod explore;
pub mod mailbox;
pub mod manner;
pub mod mutant;
pub mod pins;
pub mod runtime;
pub mod scenario;
pub mod search;
pub mod sweep;
pub mod walk;
pub mod witness;
pub mod worker;
pub mod world;
