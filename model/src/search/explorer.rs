//! Breadth first through every state of a scenario, one shared access at a time.
//!
//! A state is the memory, where each actor is in its program, how many may still die and how many
//! sleeps may still end for no reason. The first violation found is one of the nearest: the story
//! told is a shortest one.
//!
//! An actor that can finish a join does so before anything else happens: nobody can see it, and
//! nothing that others do can undo it, so no order is lost by it. Actors are not exchanged for each
//! other: their slots stand in the words.

use super::memory::{self, Program};
use super::operation::{Note, Operation};
use super::state::{Graph, Known, Move, Player, State, Wrong, key};
use super::step::Partial;
use crate::runtime::Body;
use crate::scenario::Reach;
use std::collections::{HashSet, VecDeque};

/// What is searched, and what was learned of it.
pub(crate) struct Search {
    pub program: Program,
    pub memory: Vec<u64>,
    pub counts: Vec<usize>,
    pub always: Body,
    pub reach: Reach,
    /// Told now and then how many states there are, and how many local ones of the actors.
    pub progress: fn(usize, usize),
    /// All that happened in any step, each once.
    pub happened: HashSet<Note>,
}

const PROGRESS: usize = 1 << 20;
/// What was found from one state.
type Successors = Vec<(Move, State)>;

impl Search {
    pub(super) fn first(&mut self) -> Result<State, String> {
        let local = self.program.start(0)?;
        let mut partial = Partial {
            memory: self.memory.clone(),
            players: vec![Player { who: 0, local, died: false }],
            replaced: None,
            notes: Vec::new(),
            torn: Vec::new(),
        };
        partial = self.rest(partial, 0, false)?.swap_remove(0);
        Ok(State {
            memory: partial.memory.into(),
            players: partial.players.into(),
            deaths: self.reach.deaths,
            spurious: self.reach.spurious,
            died: false,
        })
    }

    /// Searches everything that can be reached, or up to the first violation of safety.
    pub fn search(&mut self) -> Graph {
        let mut graph = Graph::default();
        let first = match self.first() {
            Ok(first) => first,
            Err(what) => {
                graph.wrong = Some(Wrong { what, at: 0, by: None });
                return graph;
            }
        };
        let (mut known, mut buffer) = (Known::default(), Vec::new());
        let mut frontier = VecDeque::new();
        known.insert(key(&first, &mut buffer), 0);
        graph.states.push(self.node(0, Move::Step(0, 0), &first));
        frontier.push_back(first);
        let mut at = 0;
        while let Some(state) = frontier.pop_front() {
            graph.begins.push(graph.edges.len());
            let successors = match self.expand(&state, at) {
                Ok(successors) => successors,
                Err(wrong) => {
                    graph.wrong = Some(wrong);
                    return graph;
                }
            };
            for (by, next) in successors {
                graph.moves += 1;
                let fresh = u32::try_from(graph.states.len()).expect("fewer than 2^32 states");
                let index = *known.entry(key(&next, &mut buffer)).or_insert(fresh);
                if index == fresh {
                    graph.states.push(self.node(at, by, &next));
                    if let Err(what) = self.check(&next) {
                        graph.wrong = Some(Wrong { what, at: index, by: None });
                        return graph;
                    }
                    frontier.push_back(next);
                    if graph.states.len().is_multiple_of(PROGRESS) {
                        (self.progress)(graph.states.len(), self.program.len());
                    }
                }
                let who = if let Move::Step(who, _) = by { who } else { u8::MAX };
                graph.edges.push((index, who));
            }
            at += 1;
        }
        graph.begins.push(graph.edges.len());
        graph
    }

    /// Everything that can happen next.
    pub(super) fn expand(&mut self, state: &State, at: u32) -> Result<Successors, Wrong> {
        let (mut found, mut stuck) = (Vec::new(), true);
        let joiner = (0..state.players.len()).find(|&who| {
            matches!(self.doing(state, who), Operation::Join(_))
                && !self.ways(state, who).is_empty()
        });
        for who in 0..state.players.len() {
            if joiner.is_some_and(|joiner| joiner != who) {
                continue;
            }
            let narrow = u8::try_from(who).expect("a few actors");
            let mortal = self.is_mortal(state, who);
            if mortal {
                self.happened.insert(Note::Saw("died"));
                found.push((Move::Die(narrow, 0), self.killed(state, who, &state.memory)));
            }
            let mut number = 0;
            for way in self.ways(state, who) {
                // Nobody owes anybody a sleep that ends for no reason.
                stuck &= self.is_spurious(state, who, way);
                let stepped = self.step(state, who, way, mortal);
                let ends = stepped.map_err(|(what, notes)| Wrong {
                    what,
                    at,
                    by: Some((narrow, notes)),
                })?;
                for end in ends {
                    for (writes, memory) in end.torn.iter().enumerate() {
                        let nth = u8::try_from(writes + 1).expect("a few writes");
                        found.push((Move::Die(narrow, nth), self.killed(state, who, memory)));
                    }
                    found.push((Move::Step(narrow, number), self.after(state, who, way, end)));
                    number += 1;
                }
            }
        }
        let runs = |player: &Player| self.runs(*player);
        if stuck && state.players.iter().any(runs) {
            let what = "deadlock: nobody can go on".to_owned();
            return Err(Wrong { what, at, by: None });
        }
        Ok(found)
    }
    fn check(&self, state: &State) -> Result<(), String> {
        let looked = memory::outside(state.memory.to_vec(), || (self.always)());
        looked.map(drop).map_err(|reason| super::hook::said(&*reason))
    }

    /// The way to a state, told: each state with the move made in it and what happened then; and the last
    /// state.
    ///
    /// # Panics
    /// If there is not even a first state.
    pub fn story(&mut self, graph: &Graph, to: u32) -> (Vec<(State, Move, Vec<Note>)>, State) {
        let mut moves = Vec::new();
        let mut at = to;
        while at != 0 {
            let node = &graph.states[at as usize];
            moves.push(node.by);
            at = node.parent;
        }
        let mut state = self.first().expect("the search began with it");
        let mut told = Vec::new();
        for by in moves.into_iter().rev() {
            let (next, notes) = self.repeat(&state, by);
            told.push((std::mem::replace(&mut state, next), by, notes));
        }
        (told, state)
    }

    fn repeat(&mut self, state: &State, by: Move) -> (State, Vec<Note>) {
        let (Move::Step(narrow, nth) | Move::Die(narrow, nth)) = by;
        let who = usize::from(narrow);
        if by == Move::Die(narrow, 0) {
            return (self.killed(state, who, &state.memory), Vec::new());
        }
        let mut number = 0;
        for way in self.ways(state, who) {
            for end in self.step(state, who, way, true).unwrap_or_default() {
                let torn = end.torn.get(usize::from(nth).wrapping_sub(1)).cloned();
                if let (Move::Die(..), Some(memory)) = (by, torn) {
                    return (self.killed(state, who, &memory), end.notes);
                }
                if by == Move::Step(narrow, number) {
                    let notes = end.notes.clone();
                    return (self.after(state, who, way, end), notes);
                }
                number += 1;
            }
        }
        (state.clone(), Vec::new())
    }
}
