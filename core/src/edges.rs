//! The transition relation as data: one [`Edge`] for each row of the protocol's table.
//!
//! Documentation, the diagram in the README, the specs and the tests read this table; the code
//! runs [`crate::state::step`]. A property test holds the two against each other for random
//! words, events and roles, so neither can change alone ([`apply`] is the table's own reading).

use crate::ids::Generation;
use crate::state::{Event, Role, State, Word};
use alloc::string::String;
use core::fmt::Write as _;

/// A kind of role, without the slot numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Actor {
    /// [`Role::Issuer`].
    Issuer,
    /// [`Role::Completer`].
    Completer,
    /// [`Role::Waiter`].
    Waiter,
    /// [`Role::OwnerRecoverer`].
    OwnerRecoverer,
    /// [`Role::CompleterRecoverer`].
    CompleterRecoverer,
}

impl Actor {
    /// The kind of this role.
    #[must_use]
    pub const fn of(role: Role) -> Self {
        match role {
            Role::Issuer(_) => Self::Issuer,
            Role::Completer(_) => Self::Completer,
            Role::Waiter => Self::Waiter,
            Role::OwnerRecoverer(_) => Self::OwnerRecoverer,
            Role::CompleterRecoverer { .. } => Self::CompleterRecoverer,
        }
    }
}

/// What the completer field (and SYNC) must be before the step, beside being well-formed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// The generation is not the last one.
    NextGeneration,
    /// Not SYNC, and no completer.
    Unclaimed,
    /// SYNC.
    Sync,
    /// Not SYNC; no completer, or me.
    UnclaimedOrMine,
    /// No completer, or me (SYNC or not).
    NotAnothers,
    /// The completer is me.
    Mine,
    /// The completer is the dead process.
    OfTheDead,
}

/// What the step does to the fields beside the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// Sets SYNC.
    SetSync,
    /// Sets WAITERS.
    SetWaiters,
    /// Clears WAITERS (and its caller must wake).
    ClearWaiters,
    /// The completer becomes me.
    CompleterMe,
    /// The completer becomes none.
    CompleterNone,
    /// Generation plus one; completer, SYNC and WAITERS zero.
    Recycle,
}

/// One row of the table: who may take which event in which states, and what becomes of the word.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    /// What happens.
    pub event: Event,
    /// In any of these states.
    pub from: &'static [State],
    /// The state afterwards; `None` for "the same".
    pub to: Option<State>,
    /// To whom it is allowed.
    pub who: &'static [Actor],
    /// What else must hold.
    pub needs: Needs,
    /// What else changes.
    pub effect: Effect,
}

use Actor::{Completer, CompleterRecoverer, Issuer, OwnerRecoverer, Waiter};
use State::{
    CompletedIo, CompletedLocal, CompletedShared, Defined, HandedOut, Idle, Staged, Submitted,
};

const fn edge(
    event: Event,
    from: &'static [State],
    to: Option<State>,
    rest: (&'static [Actor], Needs, Effect),
) -> Edge {
    Edge { event, from, to, who: rest.0, needs: rest.1, effect: rest.2 }
}

const PENDING: &[State] = &[HandedOut, Defined, Staged, Submitted, CompletedIo];
const ANY_COMPLETER: &[Actor] = &[Issuer, Completer, OwnerRecoverer, CompleterRecoverer];

/// The whole relation, in the order of a handle's life.
pub const EDGES: &[Edge] = &[
    edge(
        Event::HandOut,
        &[Idle],
        Some(HandedOut),
        (&[Issuer], Needs::NextGeneration, Effect::Nothing),
    ),
    edge(
        Event::Release,
        &[HandedOut],
        Some(Idle),
        (&[Issuer, OwnerRecoverer], Needs::NextGeneration, Effect::Recycle),
    ),
    edge(Event::Define, &[HandedOut], Some(Defined), (&[Issuer], Needs::Nothing, Effect::Nothing)),
    edge(Event::Stage, &[Defined], Some(Staged), (&[Issuer], Needs::Nothing, Effect::Nothing)),
    edge(
        Event::Abandon,
        &[Defined, Staged],
        Some(CompletedIo),
        (&[Issuer, OwnerRecoverer], Needs::Nothing, Effect::CompleterMe),
    ),
    edge(Event::Submit, &[Staged], Some(Submitted), (&[Issuer], Needs::Nothing, Effect::Nothing)),
    edge(
        Event::SubmitInPlace,
        &[Staged],
        Some(Submitted),
        (&[Issuer], Needs::Nothing, Effect::SetSync),
    ),
    edge(
        Event::Claim,
        &[Submitted],
        None,
        (&[Completer, OwnerRecoverer], Needs::Unclaimed, Effect::CompleterMe),
    ),
    edge(
        Event::Unclaim,
        &[Submitted],
        None,
        (&[CompleterRecoverer], Needs::OfTheDead, Effect::CompleterNone),
    ),
    edge(
        Event::CompleteIo,
        &[Submitted],
        Some(CompletedIo),
        (&[Issuer], Needs::Sync, Effect::CompleterMe),
    ),
    edge(
        Event::CompleteIo,
        &[Submitted],
        Some(CompletedIo),
        (&[Completer], Needs::UnclaimedOrMine, Effect::CompleterMe),
    ),
    edge(
        Event::CompleteIo,
        &[Submitted],
        Some(CompletedIo),
        (&[OwnerRecoverer], Needs::NotAnothers, Effect::CompleterMe),
    ),
    edge(
        Event::TakeOver,
        &[CompletedIo],
        None,
        (&[CompleterRecoverer], Needs::OfTheDead, Effect::CompleterMe),
    ),
    edge(
        Event::Publish,
        &[CompletedIo],
        Some(CompletedShared),
        (ANY_COMPLETER, Needs::Mine, Effect::ClearWaiters),
    ),
    edge(
        Event::Localise,
        &[CompletedShared],
        Some(CompletedLocal),
        (&[Issuer], Needs::Nothing, Effect::Nothing),
    ),
    edge(
        Event::Reclaim,
        &[CompletedLocal],
        Some(Idle),
        (&[Issuer], Needs::NextGeneration, Effect::Recycle),
    ),
    edge(
        Event::Bury,
        &[CompletedShared, CompletedLocal],
        Some(Idle),
        (&[OwnerRecoverer], Needs::NextGeneration, Effect::Recycle),
    ),
    edge(Event::AddWaiter, PENDING, None, (&[Waiter], Needs::Nothing, Effect::SetWaiters)),
];

/// The word after `event` by the table alone; `None` where it has no row. Slow and literal on
/// purpose: this is the second opinion on [`crate::state::step`].
#[must_use]
pub fn apply(word: Word, event: Event, role: Role) -> Option<Word> {
    if !word.is_well_formed() {
        return None;
    }
    let edge = EDGES.iter().find(|edge| {
        edge.event == event
            && edge.from.contains(&word.state())
            && edge.who.contains(&Actor::of(role))
            && holds(edge.needs, word, role)
    })?;
    Some(changed(edge, word, role))
}

fn me(role: Role) -> Option<u64> {
    match role {
        Role::Issuer(me)
        | Role::Completer(me)
        | Role::OwnerRecoverer(me)
        | Role::CompleterRecoverer { me, .. } => Some(u64::from(me.get()) + 1),
        Role::Waiter => None,
    }
}

fn completer_field(word: Word) -> u64 {
    word.raw() >> 6 & 0x3ff
}

fn holds(needs: Needs, word: Word, role: Role) -> bool {
    let field = completer_field(word);
    match needs {
        Needs::Nothing => true,
        Needs::NextGeneration => word.generation() != Generation::LAST,
        Needs::Unclaimed => !word.is_sync() && field == 0,
        Needs::Sync => word.is_sync(),
        Needs::UnclaimedOrMine => !word.is_sync() && (field == 0 || Some(field) == me(role)),
        Needs::NotAnothers => field == 0 || Some(field) == me(role),
        Needs::Mine => Some(field) == me(role),
        Needs::OfTheDead => match role {
            Role::CompleterRecoverer { dead, .. } => field == u64::from(dead.get()) + 1,
            Role::Issuer(_) | Role::Completer(_) | Role::Waiter | Role::OwnerRecoverer(_) => false,
        },
    }
}

fn changed(edge: &Edge, word: Word, role: Role) -> Word {
    let state = edge.to.unwrap_or(word.state()) as u64;
    let (mut completer, mut flags) = (completer_field(word), word.raw() >> 4 & 0b11);
    let mut generation = word.generation().get();
    match edge.effect {
        Effect::Nothing => {}
        Effect::SetSync => flags |= 0b10,
        Effect::SetWaiters => flags |= 0b01,
        Effect::ClearWaiters => flags &= 0b10,
        Effect::CompleterMe => completer = me(role).unwrap_or(0),
        Effect::CompleterNone => completer = 0,
        Effect::Recycle => {
            generation += 1;
            completer = 0;
            flags = 0;
        }
    }
    Word::from_raw(generation << 16 | completer << 6 | flags << 4 | state)
}

/// The table as a Mermaid state diagram, as it stands in the README.
#[must_use]
pub fn diagram() -> String {
    let mut out = String::from("stateDiagram-v2\n    [*] --> IDLE\n");
    let mut seen: alloc::vec::Vec<(State, State, Event)> = alloc::vec::Vec::new();
    for edge in EDGES {
        for &from in edge.from {
            let to = edge.to.unwrap_or(from);
            if edge.event == Event::AddWaiter || seen.contains(&(from, to, edge.event)) {
                continue;
            }
            seen.push((from, to, edge.event));
            let _ = writeln!(out, "    {from} --> {to}: {:?}{}", edge.event, label(edge));
        }
    }
    out
}

/// What the diagram says beside the event's name.
fn label(edge: &Edge) -> &'static str {
    match edge.effect {
        Effect::Recycle => " (generation + 1)",
        Effect::SetSync => " (SYNC)",
        Effect::CompleterNone => " (completer = none)",
        Effect::CompleterMe if edge.to.is_none() => " (completer = me)",
        Effect::ClearWaiters => " (wakes waiters)",
        Effect::CompleterMe | Effect::Nothing | Effect::SetWaiters => "",
    }
}
