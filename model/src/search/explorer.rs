//! Breadth first through every state of a scenario, one shared access at a time.
//!
//! A state is the memory, where each actor is in its program, how many may still die and how many
//! sleeps may still end for no reason. The first violation found is one of the nearest: the story
//! told is a shortest one.
//!
//! An actor that can finish a join does so before anything else happens: nobody can see it, and
//! nothing that others do can undo it, so no order is lost by it.

use super::memory::{self, Body, Local, Program};
use super::operation::{Newcomer, Note, Operation, SLICE_OVER, SPURIOUS, WOKEN, asleep, fresh};
use crate::scenario::Reach;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use twox_hash::XxHash3_128;

/// Where an actor is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Player {
    /// Whose program it runs.
    pub who: u32,
    /// Where in it.
    pub local: Local,
    /// It was killed.
    pub died: bool,
}

/// One state.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub memory: Box<[u64]>,
    pub players: Box<[Player]>,
    pub deaths: u8,
    pub spurious: u8,
    pub died: bool,
}

/// What leads from a state to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Move {
    /// This actor takes its step; the number tells the ways apart.
    Step(u8, u8),
    /// The process of this actor dies: before its step (0), or in it, before its so-manieth write of
    /// payload.
    Die(u8, u8),
}

/// Why a search stopped.
#[derive(Clone, Debug)]
pub(crate) struct Wrong {
    pub what: String,
    /// The state in which it was found.
    pub at: u32,
    /// Whose step shows it, if it is one, with what happened in it.
    pub by: Option<(u8, Vec<Note>)>,
}

/// What a search has found.
#[derive(Default)]
pub(crate) struct Graph {
    pub states: Vec<Node>,
    /// Successors of all states, in the order of the states.
    pub edges: Vec<(u32, u8)>,
    /// Where each state's successors begin.
    pub begins: Vec<usize>,
    pub moves: u64,
    pub wrong: Option<Wrong>,
}

/// A state that was found: how, and who can move in it.
pub(crate) struct Node {
    pub parent: u32,
    pub by: Move,
    /// One bit for each actor that runs.
    pub running: u16,
    /// One bit for each actor that can take a step.
    pub enabled: u16,
}

/// A key is a hash already.
#[derive(Default)]
pub(crate) struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u128(&mut self, value: u128) {
        #[expect(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
        {
            self.0 = value as u64;
        }
    }
}

type Known = HashMap<u128, u32, BuildHasherDefault<Same>>;

/// What is searched, and what was learned of it.
pub(crate) struct Search {
    pub program: Program,
    pub memory: Vec<u64>,
    pub counts: Vec<usize>,
    pub always: Body,
    pub reach: Reach,
    /// Told now and then how many states there are.
    pub progress: fn(usize),
    /// All that happened in any step, each once.
    pub happened: HashSet<Note>,
}

const PROGRESS: usize = 1 << 20;

/// A step as far as it has come.
#[derive(Clone)]
struct Partial {
    memory: Vec<u64>,
    players: Vec<Player>,
    replaced: Option<u64>,
    notes: Vec<Note>,
    /// Memory as a death would leave it before each write of payload.
    torn: Vec<Box<[u64]>>,
}

/// What was found from one state.
type Successors = Vec<(Move, State)>;

impl Search {
    fn first(&mut self) -> Result<State, String> {
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
                        (self.progress)(graph.states.len());
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
    fn expand(&mut self, state: &State, at: u32) -> Result<Successors, Wrong> {
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
                found.push((Move::Die(narrow, 0), self.killed(state, who, &state.memory)));
            }
            let mut number = 0;
            for way in self.ways(state, who) {
                stuck = false;
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

    fn after(&self, state: &State, who: usize, way: usize, end: Partial) -> State {
        let spurious = matches!(self.doing(state, who), Operation::Sleep(..)) && way == SPURIOUS;
        State {
            memory: end.memory.into(),
            players: end.players.into(),
            spurious: state.spurious - u8::from(spurious),
            ..*state
        }
    }

    /// What an actor is about to do.
    pub fn doing(&self, state: &State, who: usize) -> &Operation {
        self.program.operation(state.players[who].local)
    }

    pub fn runs(&self, player: Player) -> bool {
        !player.died && *self.program.operation(player.local) != Operation::End
    }

    fn is_mortal(&self, state: &State, who: usize) -> bool {
        let player = state.players[who];
        state.deaths > 0 && self.runs(player) && self.program.newcomer(player.who).actor.mortal
    }

    /// The process of `who` is gone, and left this memory behind.
    fn killed(&self, state: &State, who: usize, memory: &[u64]) -> State {
        let newcomer = self.program.newcomer(state.players[who].who);
        let mut players = state.players.clone();
        let mut memory = memory.to_vec();
        for (index, player) in players.iter_mut().enumerate() {
            let actor = self.program.newcomer(player.who).actor;
            if actor.mortal && actor.process == newcomer.actor.process && self.runs(*player) {
                *player = Player { local: 0, died: true, ..*player };
                self.let_go(&mut memory, index);
            }
        }
        let at_death = Arc::clone(&newcomer.at_death);
        let memory = memory::outside(memory, || at_death()).unwrap_or_default();
        let (deaths, memory) = (state.deaths - 1, memory.into());
        State { memory, players, deaths, died: true, spurious: state.spurious }
    }

    /// Somebody who has ended holds no ticket.
    fn let_go(&self, memory: &mut [u64], who: usize) {
        let others = !(fresh(who) | asleep(who));
        for &count in &self.counts {
            memory[count] &= others;
        }
    }

    /// One actor's step: its access, and everything up to the next one. Several if it chooses.
    fn step(
        &mut self,
        state: &State,
        who: usize,
        way: usize,
        tears: bool,
    ) -> Result<Vec<Partial>, (String, Vec<Note>)> {
        let operation = self.doing(state, who).clone();
        let mut partial = Partial {
            memory: state.memory.to_vec(),
            players: state.players.to_vec(),
            replaced: None,
            notes: Vec::new(),
            torn: Vec::new(),
        };
        if let Operation::Word(at, ..) = operation {
            partial.replaced = Some(partial.memory[at]);
        }
        if let Operation::Post(at, _) = operation {
            let slept = partial.memory[at] >> 32 != 0;
            let what = if slept { "woke a sleeper" } else { "posted to nobody" };
            self.happened.insert(Note::Saw(what));
        }
        let mut notes = Vec::new();
        self.perform(&mut partial, who, &operation, way)
            .and_then(|()| self.rest_noting(partial, who, tears, &mut notes))
            .map_err(|what| (what, notes))
    }

    fn perform(
        &mut self,
        partial: &mut Partial,
        who: usize,
        operation: &Operation,
        way: usize,
    ) -> Result<(), String> {
        let process = self.program.newcomer(partial.players[who].who).actor.process;
        let seen = operation.perform(&mut partial.memory, who, process, way);
        let player = &mut partial.players[who];
        player.local = self.program.after(player.local, seen)?;
        Ok(())
    }

    fn rest(&mut self, from: Partial, who: usize, tears: bool) -> Result<Vec<Partial>, String> {
        self.rest_noting(from, who, tears, &mut Vec::new())
    }

    /// Everything up to the next access, in each way that it can be chosen.
    fn rest_noting(
        &mut self,
        from: Partial,
        who: usize,
        tears: bool,
        last: &mut Vec<Note>,
    ) -> Result<Vec<Partial>, String> {
        let (mut open, mut done) = (vec![from], Vec::new());
        while let Some(mut partial) = open.pop() {
            let operation = self.program.operation(partial.players[who].local).clone();
            last.clone_from(&partial.notes);
            match &operation {
                Operation::Choose(options) => {
                    for way in (0..*options).rev() {
                        let mut chosen = partial.clone();
                        self.perform(&mut chosen, who, &operation, way)?;
                        open.push(chosen);
                    }
                    continue;
                }
                Operation::Spawn(newcomer) => self.spawn(&mut partial, who, newcomer)?,
                Operation::Note(note) => {
                    self.note(&mut partial, *note)?;
                    self.perform(&mut partial, who, &operation, 0)?;
                }
                Operation::Set(..) => {
                    if tears {
                        partial.torn.push(partial.memory.clone().into());
                    }
                    self.perform(&mut partial, who, &operation, 0)?;
                }
                Operation::Get(_) => self.perform(&mut partial, who, &operation, 0)?,
                Operation::End => {
                    self.let_go(&mut partial.memory, who);
                    done.push(partial);
                    continue;
                }
                Operation::Word(..)
                | Operation::Ticket(_)
                | Operation::FallAsleep(_)
                | Operation::Sleep(..)
                | Operation::Post(..)
                | Operation::Push(..)
                | Operation::Pop(..)
                | Operation::TryLock(_)
                | Operation::UntilFree(_)
                | Operation::Join(_) => {
                    done.push(partial);
                    continue;
                }
            }
            open.push(partial);
        }
        Ok(done)
    }

    fn spawn(
        &mut self,
        partial: &mut Partial,
        who: usize,
        newcomer: &Newcomer,
    ) -> Result<(), String> {
        let index = partial.players.len();
        let body = self.program.body(newcomer);
        let local = self.program.start(body)?;
        partial.players.push(Player { who: body, local, died: false });
        let player = &mut partial.players[who];
        player.local = self.program.after(player.local, [index as u64, 0])?;
        // It comes to its first access at once: what is before that concerns nobody else.
        let mut ends = self.rest(partial.clone(), index, false)?;
        if ends.len() != 1 {
            return Err("an actor chooses before its first access: let it look first".to_owned());
        }
        *partial = ends.swap_remove(0);
        Ok(())
    }

    fn note(&mut self, partial: &mut Partial, note: Note) -> Result<(), String> {
        if let Note::Changed(change) = note {
            let old = partial.replaced.take();
            if old != Some(change.old.raw()) {
                return Err(format!(
                    "S2: a change was wiped out: {:?} was taken for {:?}",
                    old.map(handfast_core::state::Word::from_raw),
                    change.old
                ));
            }
        }
        self.happened.insert(note);
        partial.notes.push(note);
        Ok(())
    }

    fn check(&self, state: &State) -> Result<(), String> {
        let looked = memory::outside(state.memory.to_vec(), || (self.always)());
        looked.map(drop).map_err(|reason| super::hook::said(&*reason))
    }

    /// The way to a state, told: each state with the move made in it and what happened then.
    pub fn story(&mut self, graph: &Graph, to: u32) -> Vec<(State, Option<Move>, Vec<Note>)> {
        let mut moves = Vec::new();
        let mut at = to;
        while at != 0 {
            let node = &graph.states[at as usize];
            moves.push(node.by);
            at = node.parent;
        }
        let Ok(mut state) = self.first() else { return Vec::new() };
        let mut told = Vec::new();
        for by in moves.into_iter().rev() {
            let (next, notes) = self.repeat(&state, by);
            told.push((std::mem::replace(&mut state, next), Some(by), notes));
        }
        told.push((state, None, Vec::new()));
        told
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

    /// The ways in which an actor can go on; none if it is blocked.
    pub fn ways(&self, state: &State, who: usize) -> Vec<usize> {
        let memory = &state.memory;
        if state.players[who].died {
            return Vec::new();
        }
        let if_so = |so: bool| if so { vec![WOKEN] } else { Vec::new() };
        match *self.doing(state, who) {
            Operation::Sleep(at, short) if memory[at] & asleep(who) != 0 => {
                let (over, spurious) = (short || state.died, state.spurious > 0);
                [(over, SLICE_OVER), (spurious, SPURIOUS)]
                    .into_iter()
                    .filter_map(|(can, way)| can.then_some(way))
                    .collect()
            }
            Operation::Post(at, count) => (0..selections(memory[at] >> 32, count)).collect(),
            Operation::Pop(at, true) => if_so(memory[at] > 0),
            Operation::UntilFree(at) => if_so(memory[at] == 0),
            Operation::Join(other) => if_so(!self.runs(state.players[other])),
            Operation::End => Vec::new(),
            Operation::Sleep(..)
            | Operation::Pop(_, false)
            | Operation::Word(..)
            | Operation::Ticket(_)
            | Operation::FallAsleep(_)
            | Operation::Push(..)
            | Operation::TryLock(_)
            | Operation::Choose(_)
            | Operation::Get(_)
            | Operation::Set(..)
            | Operation::Note(_)
            | Operation::Spawn(_) => vec![WOKEN],
        }
    }

    fn node(&self, parent: u32, by: Move, state: &State) -> Node {
        let (mut running, mut enabled) = (0, 0);
        for (who, player) in state.players.iter().enumerate() {
            running |= u16::from(self.runs(*player)) << who;
            enabled |= u16::from(!self.ways(state, who).is_empty()) << who;
        }
        Node { parent, by, running, enabled }
    }
}

/// In how many ways it can be chosen which of these sleepers are woken first.
fn selections(sleepers: u64, count: u32) -> usize {
    if sleepers.count_ones() <= count { 1 } else { sleepers.count_ones() as usize }
}

/// What makes a state this state.
fn key(state: &State, buffer: &mut Vec<u8>) -> u128 {
    buffer.clear();
    buffer.extend([state.deaths, state.spurious, u8::from(state.died), 0]);
    for player in &state.players {
        buffer.extend(player.who.to_le_bytes());
        buffer.extend((u64::from(player.local) << 1 | u64::from(player.died)).to_le_bytes());
    }
    for word in &state.memory {
        buffer.extend(word.to_le_bytes());
    }
    XxHash3_128::oneshot(buffer)
}
