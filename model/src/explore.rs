//! Runs a scenario in a runtime through all of the executions of its bound, and judges the run.
//!
//! A run fails in the execution that breaks an assertion; at its end if an outcome that the scenario
//! names was not reached, or if the count of executions is not the pinned one (see [`crate::pins`]).
//! It cannot be cut off: every limit of loom is switched off, whatever its environment variables
//! say, and the one that cannot be (branches of one execution) panics.
//! Checked by: the mutants.

use crate::runtime::loom as loom_runtime;
use crate::runtime::loom::Loom;
use crate::scenario::Scenario;
use crate::{mutant, pins, witness};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

/// More branch points than any execution of a scenario has; loom panics above it.
const MAX_BRANCHES: usize = 10_000;

thread_local! {
    static EXECUTIONS: Cell<u64> = const { Cell::new(0) };
}

/// Runs a scenario under loom, prints what was done, and compares with the pin. `preemptions` bounds
/// how often a thread that could go on is stopped; without it the run is exhaustive.
///
/// # Panics
/// In the execution that breaks an assertion; at the end if an outcome was never reached or the
/// count is not the pinned one.
pub fn loom<S: Scenario>(preemptions: Option<usize>) {
    let started = Instant::now();
    EXECUTIONS.set(0);
    let _of_an_earlier_scenario = witness::take_seen();
    for variant in 0..S::VARIANTS {
        loom_runtime::set_variant(variant);
        unlimited(preemptions).check(|| {
            EXECUTIONS.set(EXECUTIONS.get() + 1);
            witness::start();
            S::run(&Arc::new(S::world::<Loom>()));
            witness::judge();
        });
    }
    loom_runtime::set_variant(0);
    let (executions, seen) = (EXECUTIONS.get(), witness::take_seen());
    let name = S::NAME;
    let bound = preemptions.map_or_else(
        || "none (exhaustive)".to_owned(),
        |preemptions| format!("{preemptions} preemptions"),
    );
    println!(
        "scenario {name}: loom, bound {bound}, {executions} executions, {:.2} s; seen {seen:?}",
        started.elapsed().as_secs_f64()
    );
    for what in S::REACHED.iter().chain(S::REACHED_BY_WEAKNESS) {
        assert!(seen.contains_key(what), "scenario {name} never reached: {what}");
    }
    match mutant::weakened() {
        None => pins::check(&pin(name, preemptions), executions),
        Some(site) => println!("mutant {} survives {name}", site.name()),
    }
}

fn pin(name: &str, preemptions: Option<usize>) -> String {
    preemptions.map_or_else(|| name.to_owned(), |bound| format!("{name}/{bound}"))
}

/// Runs every execution of a body, without a bound, a name or a pin.
pub fn every_execution(body: fn()) {
    unlimited(None).check(body);
}

/// A run that stops at a limit returns as if it had passed, so there is none, whatever the
/// environment says.
fn unlimited(preemptions: Option<usize>) -> loom::model::Builder {
    let mut builder = loom::model::Builder::new();
    builder.max_threads = loom::MAX_THREADS;
    builder.max_branches = MAX_BRANCHES;
    builder.max_permutations = None;
    builder.max_duration = None;
    builder.preemption_bound = preemptions;
    builder.checkpoint_file = None;
    builder.expect_explicit_explore = false;
    builder
}
