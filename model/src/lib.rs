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
//! | [`ring`], [`asynchronous`] | the same for rings and workers |
//! | [`tasks`] | its list of tasks that wait |
//! | [`scenario`] | entry points of `handfast_core::protocol` only |
//! | [`check`] | for users: their own callbacks under these tools |
//! | [`explore`], [`search`] | run a scenario through its executions, its states |
//! | [`sweep`] | processes that run mutants |
//! | [`walk`] | chooses the schedules of a random walk |
//! | [`trace`], [`report`] | what the witness saw, as text for people and for programs |
//! | [`pins`] | `pins.txt`: how many executions each scenario has |
//! | [`mutant`], [`mutants`] | copies of the sources, in which a mistake is planted |
//! | [`races`], [`rules`], [`museum`] | nothing: what must hold, in words |
//! | [`coverage`] | `COVERAGE.md` |
//!
//! How it fails: an assertion inside the execution that breaks it, or a deadlock for a
//! wake-up that was lost (a sleep in the model never ends by itself). A scenario that silently
//! shrank fails its pin.
//!
//! Checked by: `model/tests/`, which also runs mutants, each in a process of its own, that must fail.

#![forbid(unsafe_code)]

pub mod asynchronous;
pub mod check;
pub mod coverage;
pub mod device;
pub mod effects;
pub mod explore;
pub mod mailbox;
pub mod manner;
pub mod museum;
pub mod mutant;
pub mod mutants;
pub mod pins;
pub mod races;
pub mod report;
pub mod ring;
pub mod rules;
pub mod runtime;
pub mod scenario;
pub mod search;
pub mod sweep;
pub mod tasks;
pub mod trace;
pub mod walk;
pub mod witness;
pub mod worker;
pub mod world;
