//! The word itself: how state, flags, completer and generation lie in 64 bits, and what of it a correct
//! pool can contain. The table of bits is in the module above; what may become of a word is
//! [`super::step`]'s to say.

use super::State;
use crate::ids::{Generation, ProcessSlot};
use core::fmt;

const STATE_BITS: u64 = 0b0111;
const STATE_SPARE: u64 = 0b1000;
const WAITERS: u64 = 1 << 4;
const SYNC: u64 = 1 << 5;
const COMPLETER_SHIFT: u32 = 6;
const COMPLETER_BITS: u64 = 0x3ff << COMPLETER_SHIFT;
const GENERATION_SHIFT: u32 = 16;

/// A bit for each value of state and flags: whether a word without a completer may have it. A table, because
/// every step of every IO asks.
const SHAPES_FREE: u64 = shapes(true);
/// The same for a word with a completer.
const SHAPES_TAKEN: u64 = shapes(false);

const fn shapes(free: bool) -> u64 {
    let (mut bits, mut low) = (0, 0);
    while low < 1 << COMPLETER_SHIFT {
        bits |= (Word(low).is_well_shaped(free) as u64) << low;
        low += 1;
    }
    bits
}

/// A snapshot of a handle's word.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Word(u64);

impl Word {
    /// The word of a handle that was never used: IDLE at the first generation.
    pub const NEW: Self = Self::idle(Generation::FIRST);

    /// IDLE at this generation, nothing else set.
    #[inline(always)]
    #[must_use]
    pub const fn idle(generation: Generation) -> Self {
        Self(generation.get() << GENERATION_SHIFT)
    }

    /// Any 64 bits as a word. They may be malformed: [`step`](super::step) and `look` say so.
    #[inline(always)]
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The bits.
    #[inline(always)]
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The state. Of a malformed word, some state.
    #[inline(always)]
    #[must_use]
    pub const fn state(self) -> State {
        match self.0 & STATE_BITS {
            0 => State::Idle,
            1 => State::HandedOut,
            2 => State::Defined,
            3 => State::Staged,
            4 => State::Submitted,
            5 => State::CompletedIo,
            6 => State::CompletedShared,
            _ => State::CompletedLocal,
        }
    }

    /// The generation; zero in a malformed word only.
    #[inline(always)]
    #[must_use]
    pub const fn generation(self) -> Generation {
        Generation::from_word_bits(self.0 >> GENERATION_SHIFT)
    }

    /// Whether somebody sleeps on the handle's event count, or is about to.
    #[inline(always)]
    #[must_use]
    pub const fn has_waiters(self) -> bool {
        self.0 & WAITERS != 0
    }

    /// Whether the issuer executes this IO in place, so that nobody else may claim it
    /// (PostgreSQL: `PGAIO_HF_SYNCHRONOUS` as seen by waiters, MUSEUM U3).
    #[inline(always)]
    #[must_use]
    pub const fn is_sync(self) -> bool {
        self.0 & SYNC != 0
    }

    /// Who has claimed or completed it.
    #[inline(always)]
    #[must_use]
    pub const fn completer(self) -> Option<ProcessSlot> {
        let field = (self.0 & COMPLETER_BITS) >> COMPLETER_SHIFT;
        if field == 0 { None } else { ProcessSlot::new(field as u32 - 1) }
    }

    /// The bits that differ between this word and one with another state, for steps that are
    /// performed by an addition.
    #[inline(always)]
    #[must_use]
    pub const fn distance_to(self, next: Self) -> u64 {
        next.0.wrapping_sub(self.0)
    }

    /// Whether a correct pool can contain this word.
    ///
    /// Besides the ranges: only a SUBMITTED or later handle has SYNC or a completer; SYNC excludes
    /// a claim; from COMPLETED_IO on there is a completer; no WAITERS on IDLE and from
    /// COMPLETED_SHARED on.
    #[inline(always)]
    #[must_use]
    pub const fn is_well_formed(self) -> bool {
        let low = self.0 & ((1 << COMPLETER_SHIFT) - 1);
        let allowed = if self.0 & COMPLETER_BITS == 0 { SHAPES_FREE } else { SHAPES_TAKEN };
        allowed >> low & 1 != 0 && self.0 >> GENERATION_SHIFT != 0
    }

    /// The same of state and flags alone, as it reads best: `free` says that there is no completer.
    const fn is_well_shaped(self, free: bool) -> bool {
        let (sync, waiters) = (self.is_sync(), self.has_waiters());
        let shape = match self.state() {
            State::Idle => free && !sync && !waiters,
            State::HandedOut | State::Defined | State::Staged => free && !sync,
            State::Submitted => free || !sync,
            State::CompletedIo => !free,
            State::CompletedShared | State::CompletedLocal => !free && !waiters,
        };
        shape && self.0 & STATE_SPARE == 0
    }

    #[inline(always)]
    pub(super) const fn with_state(self, state: State) -> Self {
        Self(self.0 & !STATE_BITS | state as u64)
    }

    #[inline(always)]
    pub(super) const fn with_completer(self, slot: ProcessSlot) -> Self {
        Self(self.0 & !COMPLETER_BITS | ((slot.get() as u64 + 1) << COMPLETER_SHIFT))
    }

    #[inline(always)]
    pub(super) const fn without_completer(self) -> Self {
        Self(self.0 & !COMPLETER_BITS)
    }

    #[inline(always)]
    pub(super) const fn with_waiters(self) -> Self {
        Self(self.0 | WAITERS)
    }

    #[inline(always)]
    pub(super) const fn without_waiters(self) -> Self {
        Self(self.0 & !WAITERS)
    }

    #[inline(always)]
    pub(super) const fn with_sync(self) -> Self {
        Self(self.0 | SYNC)
    }

    /// IDLE at the next generation, completer, SYNC and WAITERS zero.
    #[inline(always)]
    pub(super) const fn recycled(self) -> Self {
        Self(((self.0 >> GENERATION_SHIFT) + 1) << GENERATION_SHIFT)
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.state(), self.generation())?;
        if let Some(completer) = self.completer() {
            write!(f, " by {completer}")?;
        }
        if self.is_sync() {
            f.write_str(" SYNC")?;
        }
        if self.has_waiters() {
            f.write_str(" WAITERS")?;
        }
        if self.is_well_formed() { Ok(()) } else { write!(f, " malformed:{:#018x}", self.0) }
    }
}

/// Who has the next move on a word, deaths and waiters aside. One of them only, always: this is
/// what "no two owners" means (S1, S2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Holder {
    /// The handle's owner.
    Issuer,
    /// Whoever claims it, or the queue that delivers its completion, first come first served.
    FirstToComplete,
    /// The named completer.
    Completer(ProcessSlot),
}

impl Word {
    /// Who has the next move (see [`Holder`]).
    #[must_use]
    pub const fn holder(self) -> Holder {
        match self.state() {
            State::Idle
            | State::HandedOut
            | State::Defined
            | State::Staged
            | State::CompletedShared
            | State::CompletedLocal => Holder::Issuer,
            State::Submitted if self.is_sync() => Holder::Issuer,
            State::Submitted | State::CompletedIo => match self.completer() {
                Some(slot) => Holder::Completer(slot),
                None => Holder::FirstToComplete,
            },
        }
    }
}
