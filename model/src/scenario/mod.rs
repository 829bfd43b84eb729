//! Scenarios: each is a few threads on the shipped protocol, run through all of their executions.
//!
//! | scenario | threads | asserts |
//! |---|---|---|
//! | [`issuer_completer`] | issuer, completer | S1, S2, S4, S5, S7, S14 |
//! | [`issuer_waiter`] | issuer, waiter | S2, S7, S10, L4 |
//! | [`foreign_reader`] | issuer, completer, reader | S2, S9 |
//!
//! There is no bound: [`explore`] switches every limit of loom off, so a run that returns was
//! exhaustive. It fails if an outcome that the scenario names was not reached in any execution, or
//! if the count of executions is not the pinned one (see [`crate::pins`]).
//! Checked by: the mutants in `model/tests/scenarios.rs`. Not checked: three threads that
//! block.

pub mod foreign_reader;
pub mod issuer_completer;
pub mod issuer_waiter;

use crate::{loom_platform, pins, witness};
use loom::thread::JoinHandle;
use std::cell::Cell;
use std::time::Instant;

/// A scenario: what each execution does, and what has to be seen in at least one of them.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name, also in `pins.txt`.
    pub name: &'static str,
    /// One execution.
    pub body: fn(),
    /// Outcomes of which each must be reached.
    pub reached: &'static [&'static str],
}

/// More branch points than any execution of a scenario has; loom panics above it.
const MAX_BRANCHES: usize = 10_000;

thread_local! {
    static EXECUTIONS: Cell<u64> = const { Cell::new(0) };
}

/// Runs every execution of a scenario, prints what was done, and compares with the pin.
///
/// # Panics
/// In the execution that breaks an assertion; at the end if an outcome was never reached or the
/// count is not the pinned one.
pub fn explore(scenario: &Scenario) {
    let started = Instant::now();
    EXECUTIONS.set(0);
    let _of_an_earlier_scenario = witness::take_seen();
    let body = scenario.body;
    unlimited().check(move || {
        EXECUTIONS.set(EXECUTIONS.get() + 1);
        witness::start();
        body();
        witness::judge();
    });
    let (executions, seen) = (EXECUTIONS.get(), witness::take_seen());
    let name = scenario.name;
    println!(
        "scenario {name}: bound none (exhaustive), {executions} executions, {:.2} s; seen {seen:?}",
        started.elapsed().as_secs_f64()
    );
    for what in scenario.reached {
        assert!(seen.contains_key(what), "scenario {name} never reached: {what}");
    }
    match loom_platform::weakened() {
        None => pins::check(name, executions),
        Some(site) => println!("mutant {} survives {name}", site.name()),
    }
}

/// Runs every execution of a body, without a bound, a name or a pin.
pub fn every_execution(body: fn()) {
    unlimited().check(body);
}

/// loom's own stack is too small for the protocol's frames without optimisation.
const STACK_SIZE: usize = 0x1_0000;

/// Starts a thread of a scenario.
fn actor(body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let builder = loom::thread::Builder::new().stack_size(STACK_SIZE);
    builder.spawn(body).expect("loom has threads left")
}

/// A run that stops at a limit returns as if it had passed, so there is none, whatever the
/// environment says.
fn unlimited() -> loom::model::Builder {
    let mut builder = loom::model::Builder::new();
    builder.max_threads = loom::MAX_THREADS;
    builder.max_branches = MAX_BRANCHES;
    builder.max_permutations = None;
    builder.max_duration = None;
    builder.preemption_bound = None;
    builder.checkpoint_file = None;
    builder.expect_explicit_explore = false;
    builder
}
