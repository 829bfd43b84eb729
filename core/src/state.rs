//! The state word of a handle and every legal change of it.
//!
//! A [`Word`] is one consistent snapshot of a handle: state, generation, who completes it, whether
//! somebody sleeps on it, whether the issuer executes it in place. [`step`] is the whole
//! transition relation: total, pure, and asked before every change the protocol makes.
//!
//! | bits | field | written by |
//! |---|---|---|
//! | 0..4 | state | issuer up to SUBMITTED and from COMPLETED_LOCAL; completer in between |
//! | 4 | WAITERS | waiters set it; Publish, Release clear it |
//! | 5 | SYNC | Submit sets it; the reset to IDLE clears it |
//! | 6..16 | completer: 0 none, else slot + 1 | claim, completion, take-over; the reset clears it |
//! | 16..64 | generation | Release, Reclaim, Bury: plus one |
//!
//! Invariants kept here: S1, S2 (one completer, one owner), S6, S10, S23. An illegal pair is the
//! value [`Illegal`], never a panic; it means a bug or a hostile peer, and the caller reports it.
//! Checked by: `core/tests/state.rs` (agreement with [`crate::edges::EDGES`], two owners,
//! generations) and by every model scenario. Not checked here: memory orderings (`site`).

mod word;

pub use word::{Holder, Word};

use crate::ids::{Generation, HandleId, ProcessSlot};
use core::fmt;

/// Where a handle is in its life. The names are PostgreSQL's (`PgAioHandleState`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum State {
    /// Free, in its issuer's idle list.
    Idle = 0,
    /// Acquired by its issuer, nothing defined yet.
    HandedOut = 1,
    /// The request is written; stage callbacks run.
    Defined = 2,
    /// Ready to be submitted.
    Staged = 3,
    /// Being executed, or about to be, by whoever completes it.
    Submitted = 4,
    /// The raw result is known; shared callbacks run.
    CompletedIo = 5,
    /// Over for every process; the issuer has not looked yet.
    CompletedShared = 6,
    /// The issuer has run its local callbacks; about to be reclaimed.
    CompletedLocal = 7,
}

impl State {
    /// All eight, in order.
    pub const ALL: [Self; 8] = [
        Self::Idle,
        Self::HandedOut,
        Self::Defined,
        Self::Staged,
        Self::Submitted,
        Self::CompletedIo,
        Self::CompletedShared,
        Self::CompletedLocal,
    ];

    /// PostgreSQL's spelling (`pgaio_io_get_state_name`).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "IDLE",
            Self::HandedOut => "HANDED_OUT",
            Self::Defined => "DEFINED",
            Self::Staged => "STAGED",
            Self::Submitted => "SUBMITTED",
            Self::CompletedIo => "COMPLETED_IO",
            Self::CompletedShared => "COMPLETED_SHARED",
            Self::CompletedLocal => "COMPLETED_LOCAL",
        }
    }

    /// Whether everything that other processes wait for is over: COMPLETED_SHARED or later.
    #[inline(always)]
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::CompletedShared | Self::CompletedLocal)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What may happen to a handle. Verbs, as in PROTOCOL's table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Event {
    /// The issuer takes it from its idle list (`pgaio_io_acquire_nb`).
    HandOut,
    /// It goes back unused (`pgaio_io_release`).
    Release,
    /// The request is complete and frozen (`pgaio_io_stage`).
    Define,
    /// Stage callbacks have run (`pgaio_io_stage`).
    Stage,
    /// A stage callback refused, or staging was cut short: complete it with an error.
    Abandon,
    /// Hand it to the method (`pgaio_io_prepare_submit`).
    Submit,
    /// The same, and the issuer will execute it itself (`pgaio_io_perform_synchronously`).
    SubmitInPlace,
    /// An executor takes the right and the duty to execute it.
    Claim,
    /// The claim of a dead executor is taken back.
    Unclaim,
    /// The raw result is known (`pgaio_io_process_completion`).
    CompleteIo,
    /// A recoverer continues the completion of a dead completer.
    TakeOver,
    /// Shared callbacks have run; over for everybody (`pgaio_io_process_completion`).
    Publish,
    /// Local callbacks have run (`pgaio_io_reclaim`).
    Localise,
    /// Back to the idle list (`pgaio_io_reclaim`).
    Reclaim,
    /// A recoverer reclaims for a dead issuer; local callbacks are skipped.
    Bury,
    /// Somebody is about to sleep on it.
    AddWaiter,
}

impl Event {
    /// All of them, in the order of a handle's life.
    pub const ALL: [Self; 16] = [
        Self::HandOut,
        Self::Release,
        Self::Define,
        Self::Stage,
        Self::Abandon,
        Self::Submit,
        Self::SubmitInPlace,
        Self::Claim,
        Self::Unclaim,
        Self::CompleteIo,
        Self::TakeOver,
        Self::Publish,
        Self::Localise,
        Self::Reclaim,
        Self::Bury,
        Self::AddWaiter,
    ];
}

/// In which capacity somebody changes a word.
///
/// The word does not hold the owner (it follows from the index), so `Issuer` and
/// `OwnerRecoverer` are claims of the caller: "the handle is mine", "I hold the slot lock of its
/// owner". The protocol makes them only after it has checked the index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// The handle's owner.
    Issuer(ProcessSlot),
    /// A worker, a reaper, or an issuer draining its own queue.
    Completer(ProcessSlot),
    /// Anybody with a wait reference.
    Waiter,
    /// Holds the slot lock of the dead owner.
    OwnerRecoverer(ProcessSlot),
    /// Holds the slot lock of the dead completer.
    CompleterRecoverer {
        /// Who recovers.
        me: ProcessSlot,
        /// Whose claim or completion is taken back.
        dead: ProcessSlot,
    },
}

/// Why a step is not legal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("illegal change of {handle}: {event:?} as {role:?} on {word:?}")]
pub struct IllegalAt {
    /// The handle.
    pub handle: HandleId,
    /// What it held.
    pub word: Word,
    /// What was asked for.
    pub event: Event,
    /// By whom.
    pub role: Role,
}

/// An event that the word does not allow to this role. The word is unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Illegal {
    /// What the handle held.
    pub word: Word,
    /// What was asked for.
    pub event: Event,
    /// By whom.
    pub role: Role,
}

impl Illegal {
    /// The same with the handle's name, as an error.
    #[must_use]
    pub const fn at(self, handle: HandleId) -> IllegalAt {
        IllegalAt { handle, word: self.word, event: self.event, role: self.role }
    }
}

/// The whole transition relation: the word after `event`, or why it may not happen.
///
/// Total and pure: defined for every bit pattern, malformed ones included (always illegal).
///
/// # Errors
/// [`Illegal`], with the three arguments, where PROTOCOL's table has no such row.
#[inline(always)]
pub const fn step(word: Word, event: Event, role: Role) -> Result<Word, Illegal> {
    let next = if word.is_well_formed() { successor(word, event, role) } else { None };
    match next {
        Some(next) => Ok(next),
        None => Err(Illegal { word, event, role }),
    }
}

#[inline(always)]
const fn successor(word: Word, event: Event, role: Role) -> Option<Word> {
    match event {
        Event::HandOut => hand_out(word, role),
        Event::Release => release(word, role),
        Event::Define => issuer_moves(word, role, State::HandedOut, State::Defined),
        Event::Stage => issuer_moves(word, role, State::Defined, State::Staged),
        Event::Abandon => abandon(word, role),
        Event::Submit => issuer_moves(word, role, State::Staged, State::Submitted),
        Event::SubmitInPlace => match issuer_moves(word, role, State::Staged, State::Submitted) {
            Some(next) => Some(next.with_sync()),
            None => None,
        },
        Event::Claim => claim(word, role),
        Event::Unclaim => unclaim(word, role),
        Event::CompleteIo => complete_io(word, role),
        Event::TakeOver => take_over(word, role),
        Event::Publish => publish(word, role),
        Event::Localise => issuer_moves(word, role, State::CompletedShared, State::CompletedLocal),
        Event::Reclaim => reclaim(word, role),
        Event::Bury => bury(word, role),
        Event::AddWaiter => add_waiter(word, role),
    }
}

/// Steps of the owner alone that change nothing but the state.
#[inline(always)]
const fn issuer_moves(word: Word, role: Role, from: State, to: State) -> Option<Word> {
    match role {
        Role::Issuer(_) if word.state() as u8 == from as u8 => Some(word.with_state(to)),
        Role::Issuer(_)
        | Role::Completer(_)
        | Role::Waiter
        | Role::OwnerRecoverer(_)
        | Role::CompleterRecoverer { .. } => None,
    }
}

/// IDLE → HANDED_OUT; never at the last generation, for there is no next one to retire to.
#[inline(always)]
const fn hand_out(word: Word, role: Role) -> Option<Word> {
    if word.generation().get() == Generation::LAST.get() {
        return None;
    }
    issuer_moves(word, role, State::Idle, State::HandedOut)
}

#[inline(always)]
const fn recycle_from(word: Word, legal: bool) -> Option<Word> {
    if legal && word.generation().get() < Generation::LAST.get() {
        Some(word.recycled())
    } else {
        None
    }
}

#[inline(always)]
const fn release(word: Word, role: Role) -> Option<Word> {
    match role {
        Role::Issuer(_) | Role::OwnerRecoverer(_) => {
            recycle_from(word, matches!(word.state(), State::HandedOut))
        }
        Role::Completer(_) | Role::Waiter | Role::CompleterRecoverer { .. } => None,
    }
}

#[inline(always)]
const fn abandon(word: Word, role: Role) -> Option<Word> {
    match (role, word.state()) {
        (Role::Issuer(me) | Role::OwnerRecoverer(me), State::Defined | State::Staged) => {
            Some(word.with_state(State::CompletedIo).with_completer(me))
        }
        (
            Role::Issuer(_)
            | Role::OwnerRecoverer(_)
            | Role::Completer(_)
            | Role::Waiter
            | Role::CompleterRecoverer { .. },
            _,
        ) => None,
    }
}

#[inline(always)]
const fn claim(word: Word, role: Role) -> Option<Word> {
    let open = matches!(word.state(), State::Submitted) && !word.is_sync();
    match role {
        // A recoverer of the owner claims before it completes with `OwnerDied`, so that no worker
        // can complete the same IO at the same time.
        Role::Completer(me) | Role::OwnerRecoverer(me) if open && word.completer().is_none() => {
            Some(word.with_completer(me))
        }
        Role::Completer(_)
        | Role::OwnerRecoverer(_)
        | Role::Issuer(_)
        | Role::Waiter
        | Role::CompleterRecoverer { .. } => None,
    }
}

#[inline(always)]
const fn is_completer(word: Word, slot: ProcessSlot) -> bool {
    match word.completer() {
        Some(completer) => completer.get() == slot.get(),
        None => false,
    }
}

#[inline(always)]
const fn unclaim(word: Word, role: Role) -> Option<Word> {
    match role {
        Role::CompleterRecoverer { dead, .. }
            if matches!(word.state(), State::Submitted) && is_completer(word, dead) =>
        {
            Some(word.without_completer())
        }
        Role::CompleterRecoverer { .. }
        | Role::Issuer(_)
        | Role::Completer(_)
        | Role::Waiter
        | Role::OwnerRecoverer(_) => None,
    }
}

/// SUBMITTED → COMPLETED_IO. In place: the issuer alone. Otherwise: the claimer, or, unclaimed,
/// whoever drains the queue. For a dead owner: its recoverer, unless somebody else has claimed it.
#[inline(always)]
const fn complete_io(word: Word, role: Role) -> Option<Word> {
    if !matches!(word.state(), State::Submitted) {
        return None;
    }
    let unclaimed = word.completer().is_none();
    match role {
        Role::Issuer(me) if word.is_sync() => Some(completed_by(word, me)),
        Role::Completer(me) if !word.is_sync() && (unclaimed || is_completer(word, me)) => {
            Some(completed_by(word, me))
        }
        Role::OwnerRecoverer(me) if unclaimed || is_completer(word, me) => {
            Some(completed_by(word, me))
        }
        Role::Issuer(_)
        | Role::Completer(_)
        | Role::OwnerRecoverer(_)
        | Role::Waiter
        | Role::CompleterRecoverer { .. } => None,
    }
}

#[inline(always)]
const fn completed_by(word: Word, me: ProcessSlot) -> Word {
    word.with_state(State::CompletedIo).with_completer(me)
}

#[inline(always)]
const fn take_over(word: Word, role: Role) -> Option<Word> {
    match role {
        Role::CompleterRecoverer { me, dead }
            if matches!(word.state(), State::CompletedIo) && is_completer(word, dead) =>
        {
            Some(word.with_completer(me))
        }
        Role::CompleterRecoverer { .. }
        | Role::Issuer(_)
        | Role::Completer(_)
        | Role::Waiter
        | Role::OwnerRecoverer(_) => None,
    }
}

#[inline(always)]
const fn publish(word: Word, role: Role) -> Option<Word> {
    let me = match role {
        Role::Issuer(me)
        | Role::Completer(me)
        | Role::OwnerRecoverer(me)
        | Role::CompleterRecoverer { me, .. } => me,
        Role::Waiter => return None,
    };
    if matches!(word.state(), State::CompletedIo) && is_completer(word, me) {
        Some(word.with_state(State::CompletedShared).without_waiters())
    } else {
        None
    }
}

#[inline(always)]
const fn reclaim(word: Word, role: Role) -> Option<Word> {
    match role {
        Role::Issuer(_) => recycle_from(word, matches!(word.state(), State::CompletedLocal)),
        Role::Completer(_)
        | Role::Waiter
        | Role::OwnerRecoverer(_)
        | Role::CompleterRecoverer { .. } => None,
    }
}

#[inline(always)]
const fn bury(word: Word, role: Role) -> Option<Word> {
    match role {
        Role::OwnerRecoverer(_) => recycle_from(word, word.state().is_over()),
        Role::Issuer(_) | Role::Completer(_) | Role::Waiter | Role::CompleterRecoverer { .. } => {
            None
        }
    }
}

#[inline(always)]
const fn add_waiter(word: Word, role: Role) -> Option<Word> {
    let pending = match word.state() {
        State::HandedOut
        | State::Defined
        | State::Staged
        | State::Submitted
        | State::CompletedIo => true,
        State::Idle | State::CompletedShared | State::CompletedLocal => false,
    };
    match role {
        Role::Waiter if pending => Some(word.with_waiters()),
        Role::Waiter
        | Role::Issuer(_)
        | Role::Completer(_)
        | Role::OwnerRecoverer(_)
        | Role::CompleterRecoverer { .. } => None,
    }
}

/// Several steps by one role as one: what the protocol performs with a single access where nobody
/// needs to see the states in between.
///
/// # Errors
/// [`Illegal`] at the first step that is not legal.
#[inline(always)]
pub const fn compose(word: Word, events: &[Event], role: Role) -> Result<Word, Illegal> {
    let mut at = word;
    let mut i = 0;
    while i < events.len() {
        // A step leads from a well-formed word to another one, so that one check is enough.
        at = match successor(at, events[i], role) {
            Some(next) if i > 0 || word.is_well_formed() => next,
            Some(_) | None => return Err(Illegal { word: at, event: events[i], role }),
        };
        i += 1;
    }
    Ok(at)
}
