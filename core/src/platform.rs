//! What the protocol needs of the world: atomics, payload fields, something to sleep on.
//!
//! The same protocol source runs over three implementations: mapped shared memory and futexes
//! (`handfast`), loom and shuttle (`handfast-model`). Every access names its [`Site`]; production
//! takes the site's ordering, a model may weaken one site to prove that a scenario notices.
//!
//! Nothing here may rely on zeroed memory: the model's values exist only through `new`.

use crate::ids::{HandleId, ProcessSlot};
use crate::site::Site;
use crate::state::{Event, Role, Word};
use core::hash::Hash;

/// A 64-bit atomic. The forwarding must be free in production and carry `#[track_caller]`
/// in a model.
pub trait Atomic64: Send + Sync {
    /// A new one with this value.
    fn new(value: u64) -> Self;
    /// Atomic load with the site's ordering.
    fn load(&self, site: Site) -> u64;
    /// Atomic store with the site's ordering. Legal only where every CAS of others must fail.
    fn store(&self, site: Site, value: u64);
    /// Atomic exchange; the old value.
    fn swap(&self, site: Site, value: u64) -> u64;
    /// Atomic wrapping addition; the old value.
    fn add(&self, site: Site, delta: u64) -> u64;
    /// Atomic bitwise or; the old value.
    fn or(&self, site: Site, bits: u64) -> u64;
    /// The newest value, of whoever wrote it: an update that changes nothing. For those who know from
    /// elsewhere than memory that somebody is gone (a slot lock orders none): a load may return
    /// what the word held long before.
    fn newest(&self, site: Site) -> u64 {
        self.or(site, 0)
    }
    /// Atomic bitwise and; the old value.
    fn and(&self, site: Site, bits: u64) -> u64;
    /// Strong compare-exchange with the site's ordering; Relaxed on failure, which reports the
    /// value found.
    ///
    /// # Errors
    /// The value found, if it is not `current`.
    fn compare_exchange(&self, site: Site, current: u64, new: u64) -> Result<u64, u64>;
}

/// A word of payload: written by one, read by others after a hand-over on the state word.
///
/// In production a relaxed atomic, so that a misbehaving peer can cause nonsense but never
/// undefined behaviour. In a model a cell that shows races.
pub trait Field: Send + Sync {
    /// A new one with this value.
    fn new(value: u64) -> Self;
    /// Reads where the protocol gives the right to: no write is possible at the same time.
    fn get(&self) -> u64;
    /// Writes where the protocol gives the exclusive right to.
    fn set(&self, value: u64);
    /// Reads without a right, as viewers do. The value counts only after an acquire fence and a
    /// second look at the word.
    fn peek(&self) -> u64;
}

/// Why a sleep ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use = "a slice that is over asks for a probe"]
pub enum Slept {
    /// Woken, or the ticket was old, or for no reason: look again.
    LookAgain,
    /// The time given is over.
    SliceOver,
}

/// A 32-bit event count to sleep on (PostgreSQL: the handle's condition variable).
///
/// Protocol of use: take a ticket, look at the condition, sleep with the ticket; the other side
/// changes the condition, then posts. A post between ticket and sleep makes the sleep return.
pub trait EventCount: Send + Sync {
    /// A new one.
    fn new() -> Self;
    /// The current count ([`Site::CountTicket`]).
    fn ticket(&self) -> u32;
    /// Sleeps while the count is still `ticket`, at most `slice_ns` nanoseconds. The comparison
    /// and the falling asleep are one step against [`Self::post`].
    fn sleep(&self, ticket: u32, slice_ns: u64) -> Slept;
    /// How many can be slept on at once.
    const MOST: usize;
    /// Sleeps while each count is still its ticket, at most `slice_ns` nanoseconds; a post of any ends it. For
    /// each of them the comparison and the falling asleep are one step against [`Self::post`]. There are
    /// [`Self::MOST`] at most.
    fn sleep_any(counts: &[(&Self, u32)], slice_ns: u64) -> Slept;
    /// Goes up by one ([`Site::CountPost`]) and wakes everybody who sleeps on it.
    fn post(&self);
    /// Goes up by one ([`Site::CountPost`]) and wakes at least `wake` of those who sleep on it, or all if
    /// there are fewer.
    fn post_some(&self, _wake: u32) {
        self.post();
    }
}

/// A successful change of a state word, for traces.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// Whose word.
    pub handle: HandleId,
    /// The word before.
    pub old: Word,
    /// The word after.
    pub new: Word,
    /// Where in the protocol.
    pub site: Site,
    /// The last event of the step.
    pub event: Event,
    /// By whom.
    pub role: Role,
}

/// The types and services of one world.
pub trait Platform: Sized + 'static {
    /// State words, slot words, lease words.
    type Atomic64: Atomic64;
    /// Payload.
    type Field: Field;
    /// Something to sleep on.
    type EventCount: EventCount;

    /// A fence with the site's ordering.
    fn fence(site: Site);

    /// Nanoseconds on a clock that never goes back; the origin is of no meaning. A model without
    /// time returns 0.
    fn now_ns() -> u64;

    /// Between two tries of a bounded retry.
    fn pause();

    /// Marks the calling thread as being inside (or outside) a callback; the previous mark.
    /// While it is inside, the entry points refuse (S12, S13).
    fn set_in_callback(inside: bool) -> bool;

    /// Whether the calling thread runs a callback at this moment.
    fn in_callback() -> bool;

    /// Told of every successful change of a state word, after it. Nothing in production.
    #[inline(always)]
    fn changed(_change: Change) {}

    /// Where a resumable loop begins, for [`Self::settled`]. Nothing in production.
    #[inline(always)]
    fn mark() -> usize {
        0
    }

    /// The calling function says that what it will do from here depends on nothing it saw since its
    /// [`Self::mark`] but `local`. A search uses this to recognise a state that it has been in;
    /// leaving something out of `local` would make it merge states that differ. Nothing in
    /// production.
    #[inline(always)]
    fn settled<K: Hash>(_mark: usize, _local: &K) {}
}

/// How long a sleep may last before the sleeper looks for deaths: 10 ms.
pub const SLICE_NS: u64 = 10_000_000;

/// The slots of processes and what recovery needs to know of the living: locks.
///
/// In production an OFD lock on the slot's byte of the segment.
pub trait SlotLocks {
    /// Takes the lock of a slot without waiting; it is the right to recover.
    fn try_lock(&self, slot: ProcessSlot) -> bool;
    /// Gives it back.
    fn unlock(&self, slot: ProcessSlot);
    /// Whether nobody holds it at this moment. Does not take it.
    fn is_free(&self, slot: ProcessSlot) -> bool;
}
