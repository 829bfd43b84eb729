//! The states of a search, what leads from one to the next, and the graph of them.

use super::memory::Local;
use super::operation::Note;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
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

/// The states that were found, by their keys.
pub(crate) type Known = HashMap<u128, u32, BuildHasherDefault<Same>>;

/// What makes a state this state.
pub(crate) fn key(state: &State, buffer: &mut Vec<u8>) -> u128 {
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
