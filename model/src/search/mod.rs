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

use crate::report::{self, Failure};
use crate::runtime::Body;
use crate::scenario::{Entry, Reach, Scenario};
use crate::trace::conformance::{self, Taken};
use crate::trace::ndjson;
use crate::{mutant, pins, witness};
use explorer::Search;
use handfast_core::platform::Change;
use memory::{Made, Program};
use operation::Note;
use serde_json::json;
use sim::Sim;
use state::{Graph, Move, State};
use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
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

/// One line of a story.
#[derive(Clone, Debug)]
pub struct Line {
    /// Who.
    pub actor: &'static str,
    /// Does what.
    pub what: String,
    /// The change of a word that it is, if it is one.
    pub change: Option<Change>,
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
        let mut story = lines(search, graph, wrong.at);
        if let Some((who, notes)) = &wrong.by {
            let told = search.story(graph, wrong.at);
            story.extend(
                told.last()
                    .map(|(state, _, _)| told_move(search, state, *who, notes))
                    .unwrap_or_default(),
            );
        }
        return Some(Violation { what: wrong.what.clone(), story });
    }
    let at = liveness::fair_cycle(graph)?;
    let what = "liveness: from here on this can go round for ever, and nobody is kept from running";
    Some(Violation { what: what.to_owned(), story: lines(search, graph, at) })
}

fn lines(search: &mut Search, graph: &Graph, to: u32) -> Vec<Line> {
    let mut lines = Vec::new();
    for (state, by, notes) in search.story(graph, to) {
        match by {
            Some(Move::Step(who, _)) => lines.extend(told_move(search, &state, who, &notes)),
            Some(Move::Die(who, _)) => {
                let actor = name(search, &state, who);
                lines.push(Line { actor, what: "is killed".to_owned(), change: None });
            }
            None => lines.extend(blocked(search, &state)),
        }
    }
    lines
}

fn name(search: &Search, state: &State, who: u8) -> &'static str {
    search.program.newcomer(state.players[usize::from(who)].who).actor.name
}

fn told_move(search: &Search, state: &State, who: u8, notes: &[Note]) -> Vec<Line> {
    let actor = name(search, state, who);
    if notes.is_empty() {
        let what = search.doing(state, usize::from(who)).tell(&state.memory);
        return vec![Line { actor, what, change: None }];
    }
    let line = |note: &Note| match note {
        Note::Changed(change) => {
            let what = format!("{:?}: {} {:?}", change.event, change.handle, change.new);
            Line { actor, what, change: Some(*change) }
        }
        Note::Saw(what) => Line { actor, what: (*what).to_owned(), change: None },
    };
    notes.iter().map(line).collect()
}

fn blocked(search: &Search, state: &State) -> Vec<Line> {
    let players = state.players.iter().enumerate();
    let running = players.filter(|(_, player)| search.runs(**player));
    let line = |(who, _): (usize, _)| Line {
        actor: name(search, state, u8::try_from(who).unwrap_or(0)),
        what: format!("is here: {}", search.doing(state, who).tell(&state.memory)),
        change: None,
    };
    running.map(line).collect()
}

impl Violation {
    /// Says it, for people and for programs.
    fn publish(&self, scenario: &str, states: u64) {
        let failure = Failure {
            tool: "search".to_owned(),
            scenario: scenario.to_owned(),
            execution: states,
            message: self.what.clone(),
            actor: None,
            place: None,
        };
        let steps = self.story.iter().enumerate().map(|(index, line)| match &line.change {
            Some(change) => ndjson::change(index + 1, line.actor, change),
            None => json!({ "step": index + 1, "actor": line.actor, "what": line.what }),
        });
        report::publish(&failure, &self.tell(), &steps.collect::<Vec<_>>());
    }

    /// The story as text, a line for each step.
    #[must_use]
    pub fn tell(&self) -> String {
        let width = self.story.iter().map(|line| line.actor.len()).max().unwrap_or(0);
        let mut text = format!("{}\n", self.what);
        for (number, line) in self.story.iter().enumerate() {
            let _ = writeln!(text, "{:4}  {:width$}  {}", number + 1, line.actor, line.what);
        }
        text
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
        panic!("scenario {name}: {}", violation.what);
    }
    if mutant::what_is_planted().is_some() {
        return println!("survived by {name}");
    }
    let is_other = |planned: Reach| (planned.deaths, planned.spurious) != (deaths, spurious);
    if entry.plan.search.is_none_or(is_other) {
        return;
    }
    // Nobody dies in a search without deaths.
    for what in entry.reached.iter().filter(|what| **what != "died" || deaths > 0) {
        assert!(report.seen.contains(what), "scenario {name} never reached: {what}");
    }
    let bound = format!("{name}/search/{deaths}/{spurious}");
    pins::check(&format!("{bound}/states"), report.states);
    pins::check(&format!("{bound}/moves"), report.moves);
    conformance::check(&format!("search {name}/{deaths}/{spurious}"), edges);
}

#[cfg(test)]
mod tests;
