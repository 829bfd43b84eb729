//! Runs a scenario in a runtime through all of the executions of its bound, and judges the run.
//!
//! A run fails in the execution that breaks an assertion; at its end if an outcome that the scenario
//! names was not reached, or if the count of executions is not the pinned one (see [`crate::pins`]).
//! It cannot be cut off: every limit of loom is switched off, whatever its environment variables
//! say, and the one that cannot be (branches of one execution) panics.
//! Checked by: the mutants.

use crate::report::Then;
use crate::report::{Failure, publish, said, story};
use crate::runtime::Runtime as _;
use crate::runtime::loom as loom_runtime;
use crate::runtime::loom::Loom;
use crate::runtime::shuttle::STACK_SIZE;
use crate::scenario::{Bound, Entry};
use crate::trace::{conformance, ndjson};
use crate::walk::{self, Walk};
use crate::{mutant, pins, report, witness};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};
use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

/// More branch points than any execution of a scenario has; loom panics above it.
const MAX_BRANCHES: usize = 10_000;

thread_local! {
    static EXECUTIONS: Cell<u64> = const { Cell::new(0) };
}

/// Runs a scenario under loom, prints what was done, and compares with the pin. `preemptions` bounds
/// how often a thread that could go on is stopped; without it the run is exhaustive.
pub(crate) fn loom(entry: &Entry, preemptions: Bound) {
    let started = Instant::now();
    report::install(Then::Unwind);
    let _before = EXECUTIONS.replace(0);
    let _of_an_earlier_scenario = (witness::take_seen(), witness::take_edges());
    every_variant(entry, preemptions);
    let (executions, seen) = (EXECUTIONS.replace(0), witness::take_seen());
    let edges = witness::take_edges();
    let name = entry.name;
    let bound = preemptions.map_or_else(
        || "none (exhaustive)".to_owned(),
        |preemptions| format!("{preemptions} preemptions"),
    );
    println!(
        "scenario {name}: loom, bound {bound}, {executions} executions, {:.2} s; seen {seen:?}",
        started.elapsed().as_secs_f64()
    );
    // A smaller bound than any that is planned need not reach everything.
    let planned = entry.plan.loom.is_some_and(|bounds| bounds.contains(&preemptions));
    if planned {
        reached(name, entry.reached, &seen);
        reached(name, entry.reached_by_weakness, &seen);
    }
    never(name, entry.never, &seen);
    report::over();
    match mutant::what_is_planted() {
        None if !planned => println!("no fault found; a bound that is not planned has no pin"),
        None => {
            let pin = pin(name, preemptions);
            pins::check(&pin, executions);
            conformance::check(&format!("loom {pin}"), edges);
        }
        Some(planted) => println!("survived by {name}: {planted}"),
    }
}

/// Runs all variants of a scenario under loom, and nothing else; adds to [`executions`].
///
/// # Panics
/// If the last variant is not enough for every mortal actor to outlive it.
pub(crate) fn every_variant(entry: &Entry, preemptions: Bound) {
    let mut deaths = 0;
    for variant in 0..entry.variants {
        deaths = witness::count("died");
        every_interleaving(entry, variant, preemptions);
    }
    assert!(
        deaths == witness::count("died"),
        "scenario {}: a mortal actor has more accesses than there are variants",
        entry.name
    );
}

/// Runs one variant of a scenario under loom, and nothing else; adds to [`executions`].
pub(crate) fn every_interleaving(entry: &Entry, variant: usize, preemptions: Bound) {
    let (name, execute) = (entry.name, entry.bodies.loom);
    loom_runtime::set_variant(variant);
    unlimited(preemptions).check(move || {
        EXECUTIONS.set(EXECUTIONS.get() + 1);
        report::execution(("loom", name), EXECUTIONS.get(), Loom::actor);
        loom_runtime::begin();
        witness::start();
        execute();
        witness::judge();
    });
    report::executed();
    loom_runtime::set_variant(0);
}

/// Runs an execution of nothing under shuttle.
pub(crate) fn nothing() {
    Runner::new(Walk::new("nothing", 1, 0), config()).run(|| {});
}

/// How many executions this thread has run under loom since it was last asked.
pub(crate) fn executions() -> u64 {
    EXECUTIONS.replace(0)
}

/// Walks through schedules of a scenario under shuttle, and nothing else.
pub(crate) fn random_schedules(entry: &Entry, schedules: u32, seed: u64) {
    let execute = entry.bodies.shuttle;
    Runner::new(Walk::new(entry.name, schedules, seed), config()).run(move || {
        witness::start();
        execute();
        witness::judge();
    });
}

fn reached(name: &str, all: &[&str], seen: &BTreeMap<&'static str, u64>) {
    for what in all {
        assert!(seen.contains_key(what), "scenario {name} never reached: {what}");
    }
}

fn never(name: &str, none_of: &[&str], seen: &BTreeMap<&'static str, u64>) {
    for what in none_of {
        assert!(!seen.contains_key(what), "scenario {name} must not reach: {what}");
    }
}

/// More steps than any execution of a scenario takes: more of them is a loop that never ends.
const MAX_STEPS: usize = 200_000;

/// Runs this many random schedules of a scenario under shuttle, the first of which has this seed.
pub(crate) fn shuttle(entry: &Entry, schedules: u32, seed: u64) {
    let started = Instant::now();
    let name = entry.name;
    println!("scenario {name}: shuttle, {schedules} schedules from seed {seed}");
    let _of_an_earlier_scenario = witness::take_seen();
    let run = || random_schedules(entry, schedules, seed);
    if let Err(reason) = catch_unwind(AssertUnwindSafe(run)) {
        let at = walk::at();
        let (lines, failure) =
            (witness::lines(), in_schedule(name, u64::from(at.schedule), &*reason));
        let again = format!(
            "\nRepeat it with: cargo run --release -p handfast-model -- shuttle {name} --schedules 1 --seed {}\n",
            at.seed
        );
        publish(&failure, &(story(&failure, &lines) + &again), &ndjson::lines(&lines));
        resume_unwind(reason);
    }
    let seen = witness::take_seen();
    never(name, entry.never, &seen);
    if mutant::what_is_planted().is_some() {
        return println!("survived by {name}");
    }
    let (seconds, quick) =
        (started.elapsed().as_secs_f64(), entry.plan.shuttle.map(|plan| plan[0]));
    println!(
        "scenario {name}: shuttle, {schedules} schedules from seed {seed}, {seconds:.2} s; seen {seen:?}"
    );
    if quick.is_some_and(|quick| schedules >= quick) {
        reached(name, entry.reached, &seen);
    }
}

/// What a panic in a schedule is about.
fn in_schedule(scenario: &str, execution: u64, reason: &(dyn Any + Send)) -> Failure {
    let text = reason.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| reason.downcast_ref::<&str>().copied());
    Failure {
        tool: "shuttle".to_owned(),
        scenario: scenario.to_owned(),
        execution,
        message: said(text.unwrap_or_default()),
        actor: None,
        place: None,
    }
}

/// Steps are bounded, time is not; the line that repeats a failure is shorter than its schedule.
fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = STACK_SIZE;
    config.max_steps = MaxSteps::FailAfter(MAX_STEPS);
    config.failure_persistence = FailurePersistence::None;
    config.silence_warnings = true;
    config
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
