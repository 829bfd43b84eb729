//! Explicit-state search: the shipped protocol through every state that it can reach, one shared
//! access at a time, with deaths between any two accesses.
//!
//! The actors of a scenario run the same source as under loom and in production; nothing is encoded
//! a second time. What makes that possible is described in `memory`; the order of accesses is one
//! for all (loom looks at weak memory).
//!
//! | part | does |
//! |---|---|
//! | [`sim`] | the runtime: every access is a step |
//! | `operation` | what an actor can do, as data |
//! | `memory` | each actor as an automaton, learned by running it |
//! | `state`, `step`, `explorer` | breadth first, states known by a 128-bit hash |
//! | `liveness` | fair cycles |
//! | `told` | a step, for a person |
//! | `hook` | keeps panics quiet: they are findings |
//!
//! Checked in every state: what the scenario's `always` says; in every step: the protocol's and the
//! scenario's assertions, S2 (no change wiped out), S5; over the graph: no deadlock, and no fair cycle
//! (L1 to L10: every actor that is not killed ends). A violation is told as a shortest story.
//! Checked by: the tests below, and the mutants. Not checked: weak memory; hash collisions (2^-128
//! for each pair of states).

mod explorer;
mod hook;
mod liveness;
mod memory;
mod operation;
pub mod sim;
mod state;
mod step;
mod told;

use crate::report::{self, Failure};
use crate::runtime::{Actor, Body};
use crate::scenario::{Entry, Reach, Scenario};
use crate::trace::conformance::{self, Taken};
use crate::trace::{Line, What, columns, ndjson};
use crate::{mutant, pins, witness};
use explorer::Search;
use handfast_core::platform::Change;
use memory::{Made, Program};
use operation::{Note, Operation};
use sim::Sim;
use state::{Graph, Move, State};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Instant;

/// What a search has found.
#[derive(Clone, Debug)]
pub struct Report {
    /// How many states.
    pub states: u64,
    /// How many moves from one to another.
    pub moves: u64,
    /// How many local states the actors have together.
    pub local: u64,
    /// What was `saw`n in some step.
    pub seen: BTreeSet<&'static str>,
    /// The changes of words that some step makes, each once.
    pub changes: Vec<Change>,
    /// What is wrong, with the shortest story that shows it.
    pub violation: Option<Violation>,
}

/// Something that must not be.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What is wrong.
    pub what: String,
    /// How it comes to that.
    pub story: Vec<Line>,
}

/// The world of a scenario: its main actor, and what always holds in it.
pub(crate) fn world<S: Scenario>() -> (Body, Body) {
    let world = Arc::new(S::world::<Sim>());
    let inspected = Arc::clone(&world);
    (Arc::new(move || S::run(&world)), Arc::new(move || S::always(&inspected)))
}

/// Searches a scenario as far as `reach` says.
#[must_use]
pub fn run(entry: &Entry, reach: Reach) -> Report {
    let _quiet = hook::quiet();
    let Made { main, always, memory, counts } = memory::set_up(entry.bodies.search);
    let mut search = Search {
        program: Program::new(main),
        memory,
        counts,
        always,
        reach,
        progress: |states, local| eprintln!("... {states} states, {local} local states"),
        happened: HashSet::new(),
    };
    let graph = search.search();
    let violation = found(&mut search, &graph);
    let (mut seen, mut changes) = (BTreeSet::new(), Vec::new());
    for note in &search.happened {
        match note {
            Note::Saw(what) => drop(seen.insert(*what)),
            Note::Changed(change) => changes.push(*change),
        }
    }
    let (states, local) = (graph.states.len() as u64, search.program.len() as u64);
    Report { states, moves: graph.moves, local, seen, changes, violation }
}

fn found(search: &mut Search, graph: &Graph) -> Option<Violation> {
    if let Some(wrong) = &graph.wrong {
        if graph.states.is_empty() {
            return Some(Violation { what: wrong.what.clone(), story: Vec::new() });
        }
        let (mut story, last) = lines(search, graph, wrong.at);
        match &wrong.by {
            Some((who, notes)) => story.extend(told_move(search, &last, *who, notes)),
            None => story.extend(blocked(search, &last)),
        }
        return Some(Violation { what: wrong.what.clone(), story });
    }
    let (at, moving) = liveness::fair_cycle(graph)?;
    let (mut story, last) = lines(search, graph, at);
    story.extend(blocked(search, &last));
    let names = (0..last.players.len()).filter(|who| moving >> who & 1 == 1);
    let names: Vec<_> = names.map(|who| actor(search, &last, who).name).collect();
    let what = format!("{FOR_EVER}\nround and round go: {}\n", names.join(", "));
    Some(Violation { what, story })
}

const FOR_EVER: &str =
    "liveness: from here on this can go round for ever, and nobody is kept from running";

/// The way to a state, and the state.
fn lines(search: &mut Search, graph: &Graph, to: u32) -> (Vec<Line>, State) {
    let (told, last) = search.story(graph, to);
    let mut lines = Vec::new();
    for (index, (state, by, notes)) in told.iter().enumerate() {
        match by {
            Move::Step(who, _) => {
                lines.extend(told_move(search, state, *who, notes));
                let (who, after) = (usize::from(*who), told.get(index + 1).map(|(next, ..)| next));
                let after = after.unwrap_or(&last);
                if *search.doing(after, who) == Operation::End {
                    lines.push(Line { actor: actor(search, after, who), what: What::Ended });
                }
            }
            Move::Die(who, _) => {
                lines.push(Line { actor: actor(search, state, (*who).into()), what: What::Died });
            }
        }
    }
    (lines, last)
}

fn actor(search: &Search, state: &State, who: usize) -> Actor {
    search.program.newcomer(state.players[who].who).actor
}

fn told_move(search: &Search, state: &State, who: u8, notes: &[Note]) -> Vec<Line> {
    let who = usize::from(who);
    let on = search.program.on(state.players[who].local);
    let doing = (search.doing(state, who), on);
    told::step(doing, &state.memory, (who, actor(search, state, who)), notes)
}

fn blocked(search: &Search, state: &State) -> Vec<Line> {
    let running = (0..state.players.len()).filter(|&who| search.runs(state.players[who]));
    let line = |who| told::blocked(search.doing(state, who), actor(search, state, who));
    running.filter_map(line).collect()
}

impl Violation {
    /// Says it, for people and for programs.
    fn publish(&self, scenario: &str, states: u64) {
        let failure = Failure {
            tool: "search".to_owned(),
            scenario: scenario.to_owned(),
            execution: states,
            message: report::said(&self.what),
            actor: None,
            place: None,
        };
        let story = report::story(&failure, &self.story);
        report::publish(&failure, &story, &ndjson::lines(&self.story));
    }

    /// The story as text, a line for each step.
    #[must_use]
    pub fn tell(&self) -> String {
        format!("{}\n{}", self.what, columns::table(&self.story))
    }
}

/// Searches a scenario, prints what was done, and compares with the pin if it is as far as planned.
///
/// # Panics
/// If something is wrong, with the story; if an outcome was never reached; if the numbers are not the
/// pinned ones.
pub(crate) fn explore(entry: &Entry, reach: Reach) {
    let started = Instant::now();
    let report = run(entry, reach);
    let (name, Reach { deaths, spurious, .. }) = (entry.name, reach);
    println!(
        "scenario {name}: search, every state, {deaths} deaths, {spurious} spurious wake-ups: \
         {} states, {} moves, {} local states, {:.2} s",
        report.states,
        report.moves,
        report.local,
        started.elapsed().as_secs_f64()
    );
    let _not_of_this_tool = witness::take_seen();
    let edges = report.changes.iter().try_fold(Taken::NONE, Taken::and);
    let edges = edges.expect("S2: every change is a way along edges");
    if let Some(violation) = &report.violation {
        violation.publish(name, report.states);
        panic!("scenario {name}: {}", violation.what.lines().next().unwrap_or_default());
    }
    let is_this = |planned: Reach| (planned.deaths, planned.spurious) == (deaths, spurious);
    let planned = entry.plan.search.is_some_and(is_this);
    // Nobody dies in a search without deaths.
    let expected = entry.reached.iter().filter(|what| **what != "died" || deaths > 0);
    let missing = expected.filter(|_| planned).find(|what| !report.seen.contains(**what));
    let missing = missing.map(|missing| format!("scenario {name} never reached: {missing}"));
    let wrong = entry.never.iter().find(|what| report.seen.contains(**what));
    let wrong = wrong.map(|wrong| format!("scenario {name} must not reach: {wrong}"));
    if let Some(what) = wrong.or(missing) {
        Violation { what: what.clone(), story: Vec::new() }.publish(name, report.states);
        panic!("{what}");
    }
    if mutant::what_is_planted().is_some() {
        return println!("survived by {name}");
    }
    if !planned {
        return println!("no fault found; a reach that is not planned has no pin");
    }
    let bound = format!("{name}/search/{deaths}/{spurious}");
    pins::check(&format!("{bound}/states"), report.states);
    pins::check(&format!("{bound}/moves"), report.moves);
    conformance::check(&format!("search {name}/{deaths}/{spurious}"), edges);
}

#[cfg(test)]
mod tests;
