//! handfast's protocol under model checkers: the shipped source of `handfast-core`, run over loom's
//! atomics through every interleaving and every value that a load may legally see.
//!
//! Nothing here repeats the protocol. A scenario builds a [`world`] of shared words, lets a few
//! threads call the same entry points that production calls, and asserts what RACES promises.
//!
//! | part | may touch |
//! |---|---|
//! | [`loom_platform`] | the atomics, through sites; a chosen site is weakened here |
//! | [`witness`] | nothing shared: it watches one execution from outside of the model |
//! | [`mailbox`] | its own atomics: the simulated method's queue |
//! | [`world`] | builds shared words, callbacks and a simulated method |
//! | [`scenario`] | entry points of `handfast_core::protocol` only |
//! | [`pins`] | `pins.txt`: how many executions each scenario has |
//!
//! Invariants asserted: S1, S2, S4, S5, S7, S9, S10, S14, S15, S23, L4, by each scenario as its module says.
//!
//! How it fails: an assertion inside the execution that breaks it, or loom's `deadlock` for a
//! wake-up that was lost (a sleep in the model never ends by itself). A scenario that silently
//! shrank fails its pin. A run can not be cut off: every limit of loom is switched off, whatever
//! its environment variables say, and the one that cannot be (branches of one execution) panics.
//!
//! Checked by: `model/tests/scenarios.rs`, which also runs, each in a process of its own, a mutant
//! of every scenario that must fail.
//!
//! Not checked: deaths (nobody's lock is ever free), more than two threads that block on
//! each other, two completers of one IO, time. loom does not produce load buffering; a wake-up orders memory, as a futex does.

#![forbid(unsafe_code)]

pub mod loom_platform;
pub mod mailbox;
pub mod pins;
pub mod scenario;
pub mod witness;
pub mod world;
