//! The shared words of a handle, of a buffer description, of a slot.
//!
//! `#[repr(C)]` and generic over the platform: the same structs are laid over the mapped segment
//! and built inside a model. Only [`crate::protocol`] reads or writes them.
//!
//! | field of [`Handle`] | written by | while the handle is | read by |
//! |---|---|---|---|
//! | `word` | as the table of edges says | always | everybody |
//! | `count` | whoever posts | always | sleepers |
//! | request fields | issuer | HANDED_OUT | completer, callbacks, recoverer; viewers peek |
//! | `raw` | completer; issuer that abandons | SUBMITTED, DEFINED, STAGED | recoverer |
//! | `outcome` | completer | COMPLETED_IO (SUBMITTED where no callback is to run) | issuer; others peek |
//!
//! Fields are never reset: the generation in the word says whether they count (B5).

use crate::ids::{Generation, ProcessSlot};
use crate::outcome::{Outcome, RawResult};
use crate::platform::{Atomic64, EventCount, Field, Platform};
use crate::request::{CallbackList, Request};
use crate::site::Site;
use crate::state::Word;

/// The shared part of one IO handle (PostgreSQL: `PgAioHandle`).
#[repr(C)]
pub struct Handle<P: Platform> {
    pub(crate) word: P::Atomic64,
    pub(crate) count: P::EventCount,
    pub(crate) head: P::Field,
    pub(crate) offset: P::Field,
    pub(crate) length: P::Field,
    pub(crate) callbacks: P::Field,
    pub(crate) target_data: [P::Field; 3],
    pub(crate) raw: P::Field,
    pub(crate) outcome: P::Field,
}

impl<P: Platform> Handle<P> {
    /// A handle that was never used.
    #[must_use]
    pub fn new() -> Self {
        let field = || P::Field::new(0);
        Self {
            word: P::Atomic64::new(Word::NEW.raw()),
            count: P::EventCount::new(),
            head: field(),
            offset: field(),
            length: field(),
            callbacks: field(),
            target_data: [field(), field(), field()],
            raw: field(),
            outcome: field(),
        }
    }

    /// Makes zeroed shared memory a handle that was never used; before the pool is published.
    pub fn initialise(&self) {
        self.word.store(Site::Initialise, Word::NEW.raw());
    }

    /// Writes the request; exclusive: the handle is HANDED_OUT and mine.
    #[inline(always)]
    pub(crate) fn set_request(&self, request: &Request) {
        self.head.set(request.head());
        self.offset.set(request.offset);
        self.length.set(request.length);
        self.callbacks.set(request.callbacks.raw());
        for (field, value) in self.target_data.iter().zip(request.target_data) {
            field.set(value);
        }
    }

    /// Reads the request; it is frozen: the caller executes or completes it.
    #[inline(always)]
    pub(crate) fn request(&self) -> Option<Request> {
        self.decode(P::Field::get)
    }

    /// Which use of it this is, or was a moment ago: a guess.
    #[must_use]
    pub fn generation(&self) -> Generation {
        Word::from_raw(self.word.load(Site::CompleteLook)).generation()
    }

    /// Reads the request without a right to; counts only if the word is still the same after it.
    pub fn peek_request(&self) -> Option<Request> {
        self.decode(P::Field::peek)
    }

    #[inline(always)]
    fn decode(&self, read: impl Fn(&P::Field) -> u64) -> Option<Request> {
        let mut request = Request::from_head(read(&self.head))?;
        request.offset = read(&self.offset);
        request.length = read(&self.length);
        request.callbacks = CallbackList::from_raw(read(&self.callbacks));
        for (value, field) in request.target_data.iter_mut().zip(&self.target_data) {
            *value = read(field);
        }
        Some(request)
    }

    /// Whether the frozen request names callbacks.
    #[inline(always)]
    pub(crate) fn has_callbacks(&self) -> bool {
        !CallbackList::from_raw(self.callbacks.get()).is_empty()
    }

    pub(crate) fn stored_raw(&self, generation: Generation) -> Option<RawResult> {
        RawResult::from_keyed(self.raw.get(), generation)
    }

    /// Reads the raw result without a right to.
    pub(crate) fn peek_raw(&self, generation: Generation) -> Option<RawResult> {
        RawResult::from_keyed(self.raw.peek(), generation)
    }

    #[inline(always)]
    pub(crate) fn stored_outcome(&self) -> Outcome {
        Outcome::from_packed(self.outcome.get())
    }
}

impl<P: Platform> Default for Handle<P> {
    fn default() -> Self {
        Self::new()
    }
}

/// The shared description of one buffer of an IO: a place in the segment or in a region that
/// every process can map, never an address.
#[repr(C)]
pub struct Iovec<P: Platform> {
    place: P::Field,
    offset: P::Field,
}

/// A buffer's place: region 0 is memory that only the issuer can reach, 1 the frames of the
/// segment, above that regions of the application's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// Which region.
    pub region: u32,
    /// Length in bytes.
    pub len: u32,
    /// Byte offset in the region; 0 for private memory.
    pub offset: u64,
}

impl<P: Platform> Iovec<P> {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self { place: P::Field::new(0), offset: P::Field::new(0) }
    }

    /// Writes it; exclusive: the handle is HANDED_OUT and the caller's.
    #[inline(always)]
    pub(crate) fn set(&self, place: Place) {
        self.place.set(u64::from(place.region) << 32 | u64::from(place.len));
        self.offset.set(place.offset);
    }

    /// Reads it; frozen from DEFINED on. Every use checks it against the region's bounds (S26).
    #[must_use]
    pub fn get(&self) -> Place {
        let place = self.place.get();
        #[expect(clippy::cast_possible_truncation, reason = "two halves")]
        let (region, len) = ((place >> 32) as u32, place as u32);
        Place { region, len, offset: self.offset.get() }
    }
}

impl<P: Platform> Default for Iovec<P> {
    fn default() -> Self {
        Self::new()
    }
}

/// The shared words of a process's place (PostgreSQL: `PgAioBackend`, without what only its
/// process needs).
#[repr(C)]
pub struct Slot<P: Platform> {
    pub(crate) word: P::Atomic64,
    /// What foreign waiters and completers post to rouse the slot's reaper.
    pub(crate) bell: P::EventCount,
    /// Process id, for people and for prompt notice of a death.
    pub(crate) pid: P::Field,
    /// Not zero: tasks of the process wait for its IOs, so that completers post the bell.
    pub(crate) notice: P::Atomic64,
}

impl<P: Platform> Slot<P> {
    /// A slot that was never attached.
    #[must_use]
    pub fn new() -> Self {
        Self {
            word: P::Atomic64::new(SlotWord::NEW.raw()),
            bell: P::EventCount::new(),
            pid: P::Field::new(0),
            notice: P::Atomic64::new(0),
        }
    }

    /// The process id of the present or last attachment, for people.
    #[must_use]
    pub fn pid(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "a pid has 32 bits")]
        {
            self.pid.peek() as u32
        }
    }

    /// The slot's bell.
    pub fn bell(&self) -> &P::EventCount {
        &self.bell
    }
}

impl<P: Platform> Default for Slot<P> {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a slot is in use, and for the how-manieth time.
///
/// FREE promises that all of its handles are IDLE and none of its leases is held (S19); it is
/// written last, by a detach or by a recovery, with the slot's lock held.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct SlotWord(u64);

impl SlotWord {
    /// Free, never attached.
    pub const NEW: Self = Self(0);

    /// Any bits as a slot word.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The bits.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// Whether somebody is attached, or died attached.
    #[must_use]
    pub const fn is_active(self) -> bool {
        self.0 & 1 == 1
    }

    /// How often the slot was attached; the current or last attachment has this number.
    #[must_use]
    pub const fn epoch(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Active, at the next epoch.
    #[must_use]
    pub const fn activated(self) -> Self {
        Self((self.epoch().wrapping_add(1) as u64) << 32 | 1)
    }

    /// Free, at the same epoch.
    #[must_use]
    pub const fn freed(self) -> Self {
        Self((self.epoch() as u64) << 32)
    }
}

/// What can be seen of one handle: a copy of a single (generation, state) (S9).
///
/// PostgreSQL: a row of `pg_aios`.
#[derive(Clone, Copy, Debug)]
pub struct HandleView {
    /// Which handle.
    pub handle: crate::ids::HandleId,
    /// Whose.
    pub owner: ProcessSlot,
    /// Its word: state, generation, completer, SYNC, WAITERS.
    pub word: Word,
    /// The request; from DEFINED on.
    pub request: Option<Request>,
    /// The raw result; from COMPLETED_IO on, where it was stored.
    pub raw: Option<RawResult>,
    /// The packed result; from COMPLETED_SHARED on.
    pub outcome: Option<Outcome>,
}
