//! One step of one actor: its access, and everything up to the next one; or its death.

use super::explorer::Search;
use super::memory;
use super::operation::{
    Limit, Newcomer, Note, Operation, SLICE_OVER, SPURIOUS, WOKEN, asleep, fresh,
};
use super::state::{Move, Node, Player, State};
use std::sync::Arc;

/// A step as far as it has come.
#[derive(Clone)]
pub(super) struct Partial {
    pub memory: Vec<u64>,
    pub players: Vec<Player>,
    pub replaced: Option<u64>,
    pub notes: Vec<Note>,
    /// Memory as a death would leave it before each write of payload.
    pub torn: Vec<Box<[u64]>>,
}

impl Search {
    pub(super) fn after(&self, state: &State, who: usize, way: usize, end: Partial) -> State {
        let spurious = self.is_spurious(state, who, way);
        State {
            memory: end.memory.into(),
            players: end.players.into(),
            spurious: state.spurious - u8::from(spurious),
            ..*state
        }
    }

    /// Whether this way is a sleep that ends for no reason.
    pub(super) fn is_spurious(&self, state: &State, who: usize, way: usize) -> bool {
        let doing = self.doing(state, who);
        matches!(doing, Operation::Sleep(..) | Operation::SleepOnAny(..) | Operation::Await(..))
            && way == SPURIOUS
    }

    /// What an actor is about to do.
    pub fn doing(&self, state: &State, who: usize) -> &Operation {
        self.program.operation(state.players[who].local)
    }

    pub fn runs(&self, player: Player) -> bool {
        !player.died && *self.program.operation(player.local) != Operation::End
    }

    pub(super) fn is_mortal(&self, state: &State, who: usize) -> bool {
        let player = state.players[who];
        state.deaths > 0 && self.runs(player) && self.program.newcomer(player.who).actor.mortal
    }

    /// The process of `who` is gone, and left this memory behind.
    pub(super) fn killed(&self, state: &State, who: usize, memory: &[u64]) -> State {
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
    pub(super) fn let_go(&self, memory: &mut [u64], who: usize) {
        let others = !(fresh(who) | asleep(who));
        for &count in &self.counts {
            memory[count] &= others;
        }
    }

    /// One actor's step: its access, and everything up to the next one. Several if it chooses.
    pub(super) fn step(
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

    pub(super) fn perform(
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

    pub(super) fn rest(
        &mut self,
        from: Partial,
        who: usize,
        tears: bool,
    ) -> Result<Vec<Partial>, String> {
        self.rest_noting(from, who, tears, &mut Vec::new())
    }

    /// Everything up to the next access, in each way that it can be chosen.
    pub(super) fn rest_noting(
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
                Operation::Get(_) | Operation::Withdraw(_) => {
                    self.perform(&mut partial, who, &operation, 0)?;
                }
                Operation::End => {
                    self.let_go(&mut partial.memory, who);
                    done.push(partial);
                    continue;
                }
                Operation::Word(..)
                | Operation::Ticket(_)
                | Operation::FallAsleep(_)
                | Operation::Sleep(..)
                | Operation::SleepOnAny(..)
                | Operation::Post(..)
                | Operation::Push(..)
                | Operation::PushWithin(..)
                | Operation::Pop(..)
                | Operation::First(_)
                | Operation::Await(..)
                | Operation::TryLock(_)
                | Operation::UntilFree(_)
                | Operation::Pause
                | Operation::Join(_) => {
                    done.push(partial);
                    continue;
                }
            }
            open.push(partial);
        }
        Ok(done)
    }

    pub(super) fn spawn(
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

    pub(super) fn note(&mut self, partial: &mut Partial, note: Note) -> Result<(), String> {
        if let Note::Changed(change) = note {
            let old = partial.replaced.take();
            if old != Some(change.old.raw()) {
                let found = old.map_or(change.old, handfast_core::state::Word::from_raw);
                return Err(format!(
                    "S2: a change was wiped out: {found:?} was taken for {:?}",
                    change.old
                ));
            }
        }
        self.happened.insert(note);
        partial.notes.push(note);
        Ok(())
    }

    /// The ways in which an actor can go on; none if it is blocked.
    pub fn ways(&self, state: &State, who: usize) -> Vec<usize> {
        let memory = &state.memory;
        if state.players[who].died {
            return Vec::new();
        }
        let if_so = |so: bool| if so { vec![WOKEN] } else { Vec::new() };
        match *self.doing(state, who) {
            Operation::Sleep(at, limit) if memory[at] & asleep(who) != 0 => unwoken(state, limit),
            Operation::SleepOnAny(ref on, limit)
                if on.iter().all(|&at| memory[at] & asleep(who) != 0) =>
            {
                unwoken(state, limit)
            }
            Operation::Await(at, limit) if memory[at] == 0 => unwoken(state, limit),
            Operation::Post(at, count) => (0..selections(memory[at] >> 32, count)).collect(),
            Operation::Pop(at, true) => if_so(memory[at] > 0),
            Operation::UntilFree(at) => if_so(memory[at] == 0),
            Operation::Join(other) => if_so(!self.runs(state.players[other])),
            Operation::End => Vec::new(),
            Operation::Sleep(..)
            | Operation::SleepOnAny(..)
            | Operation::Withdraw(_)
            | Operation::Await(..)
            | Operation::Pop(_, false)
            | Operation::First(_)
            | Operation::Word(..)
            | Operation::Ticket(_)
            | Operation::FallAsleep(_)
            | Operation::Push(..)
            | Operation::PushWithin(..)
            | Operation::TryLock(_)
            | Operation::Choose(_)
            | Operation::Get(_)
            | Operation::Set(..)
            | Operation::Note(_)
            | Operation::Pause
            | Operation::Spawn(_) => vec![WOKEN],
        }
    }

    pub(super) fn node(&self, parent: u32, by: Move, state: &State) -> Node {
        let (mut running, mut enabled) = (0, 0);
        for (who, player) in state.players.iter().enumerate() {
            running |= u16::from(self.runs(*player)) << who;
            let goes_on = |way: &usize| !self.is_spurious(state, who, *way);
            enabled |= u16::from(self.ways(state, who).iter().any(goes_on)) << who;
        }
        Node { parent, by, running, enabled }
    }
}

/// The ways in which a sleep ends that nobody ends.
fn unwoken(state: &State, limit: Limit) -> Vec<usize> {
    let over = match limit {
        Limit::Short => true,
        Limit::Slice => state.died,
        Limit::Long => false,
    };
    let spurious = state.spurious > 0;
    let ways = [(over, SLICE_OVER), (spurious, SPURIOUS)];
    ways.into_iter().filter_map(|(can, way)| can.then_some(way)).collect()
}

/// In how many ways it can be chosen which of these sleepers are woken first.
fn selections(sleepers: u64, count: u32) -> usize {
    if sleepers.count_ones() <= count { 1 } else { sleepers.count_ones() as usize }
}
