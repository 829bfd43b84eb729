//! One actor as an automaton, learned from the shipped code by running it.
//!
//! An actor cannot be copied in the middle of a function, but what it will do is determined by what
//! it has seen. So each of its local states ([`Program`]'s nodes) keeps one list of observations
//! that leads there. What the actor does next is learned by running its body from the start,
//! showing it what it saw ([`Mode::Replay`]), and stopping it at its first new operation: that
//! operation is the node's. What follows for another observation is learned when the search first
//! makes it, and then never again: the search itself performs operations on plain numbers.
//!
//! Two local states are the same if operation and observations are, except for those that the
//! protocol has said nothing depends on any more (`Platform::settled`).
//!
//! Checked by: `search::tests`. Not checked: that a `settled` names all it should, beyond
//! `search::tests::settling_merges_only_equal_states`.

use super::operation::{Newcomer, Note, Operation, Seen};
use crate::runtime::{Actor, Body, MAIN};
use crate::{trace, witness};
use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::panic::Location;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// How the processor treats an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    /// The world is being made: words are allocated.
    Setup,
    /// An actor runs: what it saw is shown again, and its first new operation ends the run.
    Replay,
    /// Somebody looks at a state, or changes it, from outside.
    Outside,
}

/// What an actor unwinds with when its next operation is known.
struct Stop;

/// What runs an actor, or looks at a state.
pub(crate) struct Processor {
    mode: Mode,
    pub memory: Vec<u64>,
    history: Vec<Seen>,
    position: usize,
    key: Vec<u64>,
    next: Option<(Operation, Place, usize)>,
    actor: Actor,
    pub in_callback: bool,
    pub time_over: bool,
    /// A completer has published, and made no access since.
    pub published: bool,
    counts: Vec<usize>,
    /// For a test of what is said to be settled.
    remembers_all: bool,
}

thread_local! {
    static PROCESSOR: RefCell<Option<Processor>> = const { RefCell::new(None) };
}

/// Runs with the processor.
///
/// # Panics
/// Outside of a search.
pub(crate) fn with<T>(run: impl FnOnce(&mut Processor) -> T) -> T {
    PROCESSOR.with_borrow_mut(|processor| {
        run(processor.as_mut().expect("the search's types are used inside of a search only"))
    })
}

/// A hasher that keeps what it is fed.
struct Keep<'k>(&'k mut Vec<u64>);

impl Hasher for Keep<'_> {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.extend(bytes.iter().map(|byte| u64::from(*byte)));
    }

    fn write_u32(&mut self, value: u32) {
        self.0.push(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0.push(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.0.push(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.0.push(value.cast_unsigned() as u64);
    }
}

/// Stands in a key for an operation that brings nothing.
const NOTHING: u64 = 0x5157_0000_0000_0000;

impl Processor {
    fn new(mode: Mode, memory: Vec<u64>) -> Self {
        Self {
            mode,
            memory,
            history: Vec::new(),
            position: 0,
            key: Vec::new(),
            next: None,
            actor: MAIN,
            in_callback: false,
            time_over: false,
            published: false,
            counts: Vec::new(),
            remembers_all: false,
        }
    }

    /// A new word. Only while the world is made.
    ///
    /// # Panics
    /// Later: a state has a fixed number of words.
    pub fn allocate(&mut self, value: u64) -> usize {
        assert!(self.mode == Mode::Setup, "words are made in Scenario::world, not by actors");
        self.memory.push(value);
        self.memory.len() - 1
    }

    /// Notes where an event count is, for those who let go of their tickets.
    pub fn note_count(&mut self, at: usize) {
        self.counts.push(at);
    }

    pub const fn actor(&self) -> Actor {
        self.actor
    }

    /// Whether no actor runs.
    pub fn is_outside(&self) -> bool {
        self.mode != Mode::Replay
    }

    pub fn mark(&self) -> usize {
        self.key.len()
    }

    /// Forgets what was seen since `mark` but for `local`.
    pub fn settled<K: Hash>(&mut self, mark: usize, local: &K) {
        if self.remembers_all {
            return;
        }
        self.key.truncate(mark);
        local.hash(&mut Keep(&mut self.key));
    }

    fn perform(&mut self, operation: &Operation, place: Place, on: usize) -> Option<Seen> {
        self.published &= !operation.is_access();
        if self.is_outside() {
            return Some(operation.outside(&mut self.memory, self.actor.process));
        }
        let Some(&seen) = self.history.get(self.position) else {
            self.next = Some((operation.clone(), place, on));
            return None;
        };
        self.position += 1;
        if operation.brings_something() {
            self.key.extend(seen);
        } else {
            self.key.push(NOTHING);
        }
        Some(seen)
    }
}

/// Where in the source an operation stands, as far as its callers say so.
type Place = (u32, u32);

/// Performs an operation of the running actor: shows again what it brought, or ends the run.
#[track_caller]
pub(crate) fn perform(operation: &Operation) -> Seen {
    perform_on(&(), operation)
}

/// The same, on a part of something that may have a name (see [`witness::place_of`]).
#[track_caller]
pub(crate) fn perform_on<T>(part: &T, operation: &Operation) -> Seen {
    let (caller, on) = (Location::caller(), std::ptr::from_ref(part).addr());
    let place = (caller.line(), caller.column());
    let seen = with(|processor| processor.perform(operation, place, on));
    seen.unwrap_or_else(|| resume_unwind(Box::new(Stop)))
}

/// A scenario's world, made for a search.
pub(crate) struct Made {
    /// The main actor.
    pub main: Body,
    /// What holds in every state.
    pub always: Body,
    /// What the world's words hold in the beginning.
    pub memory: Vec<u64>,
    /// Where its event counts are.
    pub counts: Vec<usize>,
}

/// Makes the world of a scenario; `make` gives the main actor and what always holds.
pub(crate) fn set_up(make: fn() -> (Body, Body)) -> Made {
    witness::start();
    PROCESSOR.set(Some(Processor::new(Mode::Setup, Vec::new())));
    let (main, always) = make();
    let processor = PROCESSOR.take().expect("it was set above");
    Made { main, always, memory: processor.memory, counts: processor.counts }
}

/// Looks at, or changes, a state's memory from outside; the memory afterwards.
///
/// # Errors
/// What the look panicked with.
pub(crate) fn outside(
    memory: Vec<u64>,
    look: impl FnOnce(),
) -> Result<Vec<u64>, Box<dyn Any + Send>> {
    PROCESSOR.set(Some(Processor::new(Mode::Outside, memory)));
    let ended = catch_unwind(AssertUnwindSafe(look));
    let processor = PROCESSOR.take().expect("it was set above");
    ended.map(|()| processor.memory)
}

/// A local state of an actor.
pub(crate) type Local = u32;

/// A local state: what is done in it, and how the actor came there.
struct Node {
    who: u32,
    operation: Operation,
    /// On what, for people.
    on: trace::Place,
    history: Arc<[Seen]>,
}

/// All that was learned of all actors.
pub(crate) struct Program {
    bodies: Vec<(Newcomer, Vec<Local>)>,
    nodes: Vec<Node>,
    known: HashMap<(u32, Vec<u64>, Operation), Local>,
    arrows: HashMap<(Local, Seen), Local>,
    remembers_all: bool,
}

impl Program {
    /// Nothing is known but the main actor's body.
    pub fn new(main: Body) -> Self {
        let main = Newcomer { actor: MAIN, seed: 0, body: main, at_death: Arc::new(|| {}) };
        let bodies = vec![(main, Vec::new())];
        let (known, arrows) = (HashMap::new(), HashMap::new());
        Self { bodies, nodes: Vec::new(), known, arrows, remembers_all: false }
    }

    /// The same, but an actor never forgets what it saw, whatever it says: for a test.
    #[cfg(test)]
    pub fn remembering_all(self) -> Self {
        Self { remembers_all: true, ..self }
    }

    /// The number of an actor's body. Two of the same actor with the same seed are the same.
    pub fn body(&mut self, newcomer: &Newcomer) -> u32 {
        let same = |(known, _): &(Newcomer, _)| {
            known.actor == newcomer.actor && known.seed == newcomer.seed
        };
        let found = self.bodies.iter().position(same).unwrap_or_else(|| {
            self.bodies.push((newcomer.clone(), Vec::new()));
            self.bodies.len() - 1
        });
        u32::try_from(found).expect("a few actors")
    }

    /// Who runs this body.
    pub fn newcomer(&self, who: u32) -> &Newcomer {
        &self.bodies[who as usize].0
    }

    /// Where a body begins.
    ///
    /// # Errors
    /// What it panicked with.
    pub fn start(&mut self, who: u32) -> Result<Local, String> {
        if let Some(&local) = self.bodies[who as usize].1.first() {
            return Ok(local);
        }
        let local = self.learn(who, Vec::new())?;
        self.bodies[who as usize].1.push(local);
        Ok(local)
    }

    /// What is done in a local state.
    pub fn operation(&self, local: Local) -> &Operation {
        &self.nodes[local as usize].operation
    }

    /// On what it is done.
    pub fn on(&self, local: Local) -> trace::Place {
        self.nodes[local as usize].on
    }

    /// The local state after an observation.
    ///
    /// # Errors
    /// What the actor panicked with.
    pub fn after(&mut self, local: Local, seen: Seen) -> Result<Local, String> {
        if let Some(&next) = self.arrows.get(&(local, seen)) {
            return Ok(next);
        }
        let node = &self.nodes[local as usize];
        let (who, mut history) = (node.who, node.history.to_vec());
        history.push(seen);
        let next = self.learn(who, history)?;
        self.arrows.insert((local, seen), next);
        Ok(next)
    }

    /// How many local states are known, of all actors together.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    fn learn(&mut self, who: u32, history: Vec<Seen>) -> Result<Local, String> {
        let Newcomer { actor, body, .. } = self.newcomer(who).clone();
        let mut processor = Processor::new(Mode::Replay, Vec::new());
        (processor.history, processor.actor) = (history, actor);
        processor.remembers_all = self.remembers_all;
        PROCESSOR.set(Some(processor));
        let ended = catch_unwind(AssertUnwindSafe(|| body()));
        let processor = PROCESSOR.take().expect("it was set above");
        match ended {
            Err(reason) if !reason.is::<Stop>() => return Err(super::hook::said(&*reason)),
            Ok(()) | Err(_) => {}
        }
        let (operation, place, on) = processor.next.unwrap_or((Operation::End, (0, 0), 0));
        let flags = [processor.in_callback, processor.time_over, processor.published];
        let mut key = processor.key;
        key.extend(flags.map(u64::from));
        key.extend([place.0, place.1].map(u64::from));
        if operation == Operation::End {
            // Nothing depends on how it came to that.
            key.clear();
        }
        let next = u32::try_from(self.nodes.len()).expect("fewer than 2^32 local states");
        let history = Arc::from(processor.history);
        let local = *self.known.entry((who, key, operation.clone())).or_insert(next);
        if local == next {
            self.nodes.push(Node { who, operation, on: witness::place_at(on), history });
        }
        Ok(local)
    }
}

/// Reports something to the story of the step.
pub(crate) fn note(note: Note) {
    if !with(|processor| processor.is_outside()) {
        perform(&Operation::Note(note));
    }
}
