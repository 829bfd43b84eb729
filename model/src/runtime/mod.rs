//! What a scenario needs of the world that it runs in: the [`Platform`] of the protocol, and besides
//! it actors, choices, queues and slot locks.
//!
//! A scenario is written once, against [`Runtime`], and runs in each of them:
//!
//! | runtime | explores | sees |
//! |---|---|---|
//! | [`loom::Loom`] | every interleaving, or those up to a bound | weak memory: what each load may legally see |
//! | [`shuttle::Shuttle`] | random interleavings of larger scenarios | depth |
//! | [`crate::search::sim::Sim`] | every state, breadth first | deaths at every step, liveness, shortest counter-examples |
//!
//! What is not the protocol's (queues of a simulated method, slot locks) is no part of what is checked:
//! a queue orders memory as the queues of real methods do, a slot lock orders nothing.

pub mod loom;
pub mod shuttle;
pub mod word;

pub use word::SharedWord;

use handfast_core::platform::{Field, Platform, Slept};
use std::sync::Arc;

/// Who an actor is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Actor {
    /// For people: the column in a trace.
    pub name: &'static str,
    /// The number of the process that it is a thread of: its slot, where it has one.
    pub process: u32,
    /// Whether its process may die at any step of this actor.
    pub mortal: bool,
}

impl Actor {
    /// A thread of a process that does not die.
    #[must_use]
    pub const fn new(name: &'static str, process: u32) -> Self {
        Self { name, process, mortal: false }
    }

    /// The same, but its process may die: at every step in a search, at one point for each variant
    /// under loom, at a random one under shuttle.
    #[must_use]
    pub const fn mortal(self) -> Self {
        Self { mortal: true, ..self }
    }
}

/// A body to run: an actor's, or what is done at its death. One type for all, so that what runs them is
/// compiled once for each runtime.
pub type Body = Arc<dyn Fn() + Send + Sync>;

/// The process of the scenario's main thread.
pub const MAIN: Actor = Actor::new("main", 0);

/// A queue of a simulated method: several may push, several may pop; it orders memory.
pub trait Queue: Send + Sync {
    /// An empty one.
    fn new() -> Self;
    /// Puts an entry at the end and wakes who waits.
    fn push(&self, entry: u64);
    /// The same, where no more than `room` entries may be.
    ///
    /// # Panics
    /// If there are as many already (S8).
    fn push_within(&self, entry: u64, room: usize);
    /// Takes the first entry; blocks while there is none.
    fn pop(&self) -> u64;
    /// Takes the first entry, if there is one.
    fn try_pop(&self) -> Option<u64>;
    /// A copy of the first entry, if there is one; it stays where it is.
    fn first(&self) -> Option<u64>;
    /// Blocks while there is no entry, but not longer than this. One thread at a time.
    fn until_some(&self, slice_ns: u64) -> Slept;
}

/// A slot lock: like an OFD lock it belongs to a process, goes with it, and orders no memory.
pub trait Lock: Send + Sync {
    /// A free one.
    fn new() -> Self;
    /// Takes it without waiting, for the calling actor's process.
    fn try_lock(&self) -> bool;
    /// Gives it back.
    fn unlock(&self);
    /// Whether nobody holds it.
    fn is_free(&self) -> bool;
    /// Blocks until nobody holds it: for actors whose part begins with a death.
    fn until_free(&self);
    /// Frees it if `process` holds it: the process has died, and its last thread with it.
    fn release_of(&self, process: u32);
}

/// The world of a scenario.
pub trait Runtime: Platform + Send + Sync {
    /// Its name, for people.
    const NAME: &'static str;
    /// A started actor.
    type Started: Send;
    /// A queue.
    type Queue: Queue;
    /// A slot lock.
    type Lock: Lock;
    /// A word of the application's own, for callbacks of users that are checked.
    type Word: SharedWord;

    /// Starts an actor. `seed` stands for everything that the body has captured and that may differ
    /// between two starts at the same place. A search runs the body again and again from its
    /// start: it must do nothing but call this trait and the protocol. `at_death` is what the
    /// kernel does when it ends the process: one step, after the actor's last.
    fn spawn(actor: Actor, seed: u64, body: Body, at_death: Body) -> Self::Started;

    /// Waits until it has returned, or died.
    fn join(started: Self::Started);

    /// One of `0 .. options`: all of them in a search, a random one under shuttle, under loom the
    /// variant that is being explored.
    fn choose(options: usize) -> usize;

    /// A scenario's own look at payload that others may be writing: no part of what is modelled, so
    /// a search does not make it a step.
    fn glimpse(field: &Self::Field) -> u64 {
        field.peek()
    }

    /// The calling actor.
    fn actor() -> Actor;

    /// Something happened: counted over all executions of a scenario, and a line of the trace.
    fn saw(what: &'static str) {
        crate::witness::step(Self::actor(), crate::trace::What::Note(what));
    }
}
