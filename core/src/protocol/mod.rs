//! The protocol: the only code that touches shared words. It performs what [`crate::decide`]
//! decides, through the accesses that [`crate::site`] names.
//!
//! Generic over the [`Platform`] and over what an embedding supplies ([`Embed`]): where handles
//! lie ([`Shared`]), the application's [`Callbacks`], the issuer's side of a method ([`Submit`]) and
//! the side that any thread of a process may run ([`Drive`]). The same source runs in production,
//! under loom and under shuttle.
//!
//! Read in this order: [`words`] (one change of one word), [`complete`], [`wait`], [`issue`],
//! [`end`] (reclaim, scopes, attach, detach), [`recover`], [`observe`], [`lease`]; then what lets an IO
//! complete while its issuer is busy: [`hint`], [`doorbell`], [`work`]; [`lead`], [`reap`].
//!
//! | actor | owns | may touch |
//! |---|---|---|
//! | [`Issuer`] | its handles' words up to SUBMITTED and from COMPLETED_SHARED | request fields while HANDED_OUT |
//! | completer ([`Context::complete`]) | the word from its claim to COMPLETED_SHARED | `raw`, `outcome` |
//! | waiter | nothing | WAITERS, the event count |
//! | worker ([`Context::work`]) | as a completer, from its claim | the hints, the doorbell |
//! | reaper ([`Context::reap`]) | as a completer, what is in its ring | the lead |
//! | recoverer | what the dead one owned, slot lock held | the same by compare-exchange |
//! | viewer | nothing | peeks |
//!
//! Failure: every entry point returns [`Error`] before it has changed anything, or, as
//! [`Error::Corrupt`], when a word held what no correct peer can have written.

pub mod complete;
pub mod doorbell;
pub mod end;
pub mod hint;
pub mod issue;
pub mod lead;
pub mod lease;
pub mod observe;
pub mod reap;
pub mod recover;
pub mod tasks;
pub mod wait;
pub mod wait_any;
pub mod words;
pub mod work;

pub use doorbell::Doorbell;
pub use end::{Attached, ScopeEnd};
pub use issue::{HandedOut, Issuer};
pub use lead::{Lead, LedRing, Ring};

use crate::handle::{Handle, Iovec, Slot};
use crate::ids::{Generation, HandleId, PoolTag, ProcessSlot, WaitRef};
use crate::outcome::{Outcome, RawResult};
use crate::platform::{Platform, SlotLocks};
use crate::request::{CallbackId, Flags, Request};
use crate::state::{IllegalAt, Word};
use core::ops::Range;

/// Where the pool's shared words lie. Every index is checked here, once.
pub trait Shared<P: Platform>: Sync {
    /// The pool's tag.
    fn tag(&self) -> PoolTag;
    /// How many handles the pool has.
    fn handle_count(&self) -> u32;
    /// The shared part of a handle.
    fn handle(&self, id: HandleId) -> Option<&Handle<P>>;
    /// The owner of a handle: a function of its index.
    fn owner(&self, id: HandleId) -> Option<ProcessSlot>;
    /// The handles of a slot.
    fn owned_by(&self, slot: ProcessSlot) -> Range<u32>;
    /// The buffer descriptions reserved for a handle; empty for an unknown one.
    fn iovecs(&self, id: HandleId) -> &[Iovec<P>];
    /// The handle data reserved for a handle; empty for an unknown one.
    fn data(&self, id: HandleId) -> &[P::Field];
    /// The shared part of a slot.
    fn slot(&self, slot: ProcessSlot) -> Option<&Slot<P>>;
    /// How many lease words there are (frames, then file entries).
    fn lease_count(&self) -> u32;
    /// A lease word.
    fn lease(&self, index: u32) -> Option<&P::Atomic64>;
    /// The hints of a slot: a bit for each of its handles. Empty where no worker executes its IOs.
    #[inline(always)]
    fn hints(&self, _slot: ProcessSlot) -> &[P::Atomic64] {
        &[]
    }
    /// The doorbell of the pool's workers, if workers execute its IOs.
    #[inline(always)]
    fn doorbell(&self) -> Option<&Doorbell<P>> {
        None
    }
    /// Whether IOs of this slot complete in a ring of its process, which reaps it when the slot's bell is
    /// posted.
    #[inline(always)]
    fn has_ring(&self, _slot: ProcessSlot) -> bool {
        false
    }
}

/// What a callback is shown of an IO.
pub struct Io<'v, P: Platform> {
    /// The handle.
    pub handle: HandleId,
    /// Its generation.
    pub generation: Generation,
    /// The issuer.
    pub owner: ProcessSlot,
    /// What was asked for.
    pub request: Request,
    /// What the system call returned; 0 in a stage callback.
    pub raw: RawResult,
    /// The byte given when this callback was registered.
    pub callback_data: u8,
    /// Whether another process may have run this callback for this IO already and died (S1).
    pub repeat: bool,
    /// The handle data (`pgaio_io_get_handle_data`).
    pub data: &'v [P::Field],
    /// The buffers.
    pub iovecs: &'v [Iovec<P>],
}

/// A stage callback says no; the IO completes with [`RawResult::REFUSED`] without being executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StageRefused;

/// The application's callbacks, the same table in every process (`PgAioHandleCallbacks`).
///
/// They run on whatever thread completes the IO, must not block, panic, or use the pool (S12, S13: the
/// entry points refuse). Shared ones must be idempotent: after a death they may run again. They also
/// run for an IO that was never executed, with [`RawResult::REFUSED`] or [`RawResult::INTERRUPTED`]:
/// then not every stage callback need have run.
pub trait Callbacks<P: Platform>: Sync {
    /// Before the IO can start; in the issuer.
    ///
    /// # Errors
    /// [`StageRefused`] ends the IO without executing it.
    fn stage(&self, id: CallbackId, io: &Io<'_, P>) -> Result<(), StageRefused>;
    /// After the IO, in whatever process completes it: prior result to next.
    fn complete_shared(&self, id: CallbackId, io: &Io<'_, P>, prior: Outcome) -> Outcome;
    /// At the reclaim, in the issuer: prior result to next.
    fn complete_local(&self, id: CallbackId, io: &Io<'_, P>, prior: Outcome) -> Outcome;
}

/// The issuer's side of a method (`IoMethodOps`: needs_synchronous_execution, submit).
pub trait Submit {
    /// Whether the issuer has to execute a request with these flags itself.
    fn in_place(&self, flags: Flags) -> bool;
    /// How many of `wanted` staged IOs it can take now; the rest stays staged (R14).
    fn accept(&mut self, wanted: usize) -> usize;
    /// Starts IOs that are SUBMITTED and not SYNC. Has to take them all; retries until it has.
    fn submit(&mut self, ios: &[(HandleId, Generation)]);
    /// Executes one here and now (`pgaio_io_perform_synchronously`).
    fn execute(&mut self, io: HandleId, request: &Request) -> RawResult;
    /// Whether a started IO may still be under way, here or elsewhere. If not, its word says that it is
    /// over, or is damaged: nobody would ever end a wait for it.
    fn is_outstanding(&self, io: HandleId) -> bool;
    /// The IO is over and its result is final; called once, before the handle is IDLE (S15).
    fn retired(&mut self, io: HandleId, generation: Generation, outcome: Outcome);
}

/// Takes completions out of a queue: handle, generation and raw result of each. False if that IO was
/// not under way: the completion is dropped.
pub type Deliver<'f> = &'f mut dyn FnMut(HandleId, Generation, RawResult) -> bool;

/// Executes a claimed IO: what its system call returned. It may block, and must return.
pub type Execute<'f> = &'f mut dyn FnMut(HandleId, &Request) -> RawResult;

/// The side of a method that any thread of the process may run (`IoMethodOps`: wait_one,
/// check_one), and the slot locks. The defaults are those of a method that has nothing to drive.
pub trait Drive: SlotLocks + Sync {
    /// Before somebody sleeps on a SUBMITTED handle that completes in no ring: make progress.
    /// Whether to look again instead of sleeping.
    fn drive(&self, _io: HandleId, _word: Word, _deliver: Deliver<'_>) -> bool {
        false
    }
    /// The same for check_done, without blocking.
    fn poll(&self, _io: HandleId, _word: Word, _deliver: Deliver<'_>) -> bool {
        false
    }
    /// The ring of the calling process's attachment, if it has one: [`LedRing`].
    fn lead(&self) -> Option<&dyn Lead> {
        None
    }
    /// Called by a waiter whose IO no worker has claimed in a whole slice. If no worker's lock is held and
    /// this process can execute IOs in their place, calls `with` with the means to.
    fn stand_in(&self, _with: &mut dyn FnMut(Execute<'_>)) {}
    /// Delivers what a dead process's completion queue holds ([`lead::drain`]); its slot lock is held.
    fn drain_dead(&self, _dead: ProcessSlot, _deliver: Deliver<'_>) {}
}

/// The types one embedding chooses.
pub trait Embed: Sized {
    /// Its platform.
    type P: Platform;
    /// Its shared words.
    type S: Shared<Self::P>;
    /// Its callbacks.
    type C: Callbacks<Self::P>;
    /// Its method's common side.
    type D: Drive;
}

/// Why an entry point refused. Nothing has changed, unless it says [`Error::Corrupt`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// One handle at a time (S22).
    #[error("{0} is handed out already: start or release it before acquiring another")]
    HandedOutAlready(HandleId),
    /// Not the handle that is handed out, or not any more (R15, B24).
    #[error("{0} is not handed out (or was handed out again since): use the handle last acquired")]
    NotHandedOut(HandleId),
    /// Callbacks may not use the pool (S12, S13).
    #[error("called from inside a callback: callbacks must not start, wait for or reclaim IO")]
    InCallback,
    /// A reference of another pool.
    #[error("{0} is a reference of another pool: use it with the pool that made it")]
    WrongPool(WaitRef),
    /// No handle has this index (R19).
    #[error("there is no {0}: the pool has {1} handles")]
    NoSuchHandle(HandleId, u32),
    /// No such IO was started yet (R6).
    #[error(
        "{0} names an IO that has not been handed out: pass references on only after they were made"
    )]
    NoSuchIo(WaitRef),
    /// It would wait for itself.
    #[error(
        "{0} is handed out by the caller and not started: start or release it before waiting for it"
    )]
    WouldWaitForItself(WaitRef),
    /// More buffers than are reserved for a handle (R17).
    #[error(
        "{given} buffers given, {reserved} are reserved for each handle: give fewer, or make the pool with more"
    )]
    TooManyBuffers {
        /// How many.
        given: usize,
        /// How many fit.
        reserved: usize,
    },
    /// More handle data than is reserved for a handle (B18).
    #[error(
        "{given} words of handle data given, {reserved} are reserved for each handle: give fewer, or make the pool with more"
    )]
    TooMuchData {
        /// How many.
        given: usize,
        /// How many fit.
        reserved: usize,
    },
    /// Waiting for none, or for more than a thread can sleep on.
    #[error("{given} IOs to wait for at once: give at least one, and at most {most}")]
    NotSoMany {
        /// How many were given.
        given: usize,
        /// How many a thread can sleep on.
        most: usize,
    },
    /// The pool has no doorbell.
    #[error("no worker executes the IOs of this pool: make the pool with the method worker")]
    NoWorkers,
    /// No slot has this number.
    #[error("there is no slot {}: the pool has fewer", .0.get())]
    NoSlot(ProcessSlot),
    /// Every handle has reached the last generation.
    #[error("every handle of this process has reached its last generation: make a new pool")]
    Exhausted,
    /// The slot's handles are not all idle.
    #[error("{0} is not idle in a slot that should be pristine: the pool is damaged")]
    NotPristine(HandleId),
    /// A word held what no correct peer can have written.
    #[error("shared memory is damaged: {0}")]
    Corrupt(#[from] IllegalAt),
}

/// One participant's view of the pool: everything but an issuer's private lists.
pub struct Context<'a, E: Embed> {
    /// The shared words.
    pub shared: &'a E::S,
    /// The application's callbacks.
    pub callbacks: &'a E::C,
    /// The method's common side.
    pub drive: &'a E::D,
    /// The participant's slot.
    pub me: ProcessSlot,
}

impl<E: Embed> Clone for Context<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E: Embed> Copy for Context<'_, E> {}

impl<'a, E: Embed> Context<'a, E> {
    /// The handle with its id, or a typed refusal.
    #[inline(always)]
    pub(crate) fn at(&self, id: HandleId) -> Result<words::At<'a, E::P>, Error> {
        match self.shared.handle(id) {
            Some(handle) => Ok(words::At { handle, id }),
            None => Err(Error::NoSuchHandle(id, self.shared.handle_count())),
        }
    }

    /// The handle that a reference names, if it is of this pool.
    #[inline(always)]
    pub(crate) fn at_reference(&self, reference: WaitRef) -> Result<words::At<'a, E::P>, Error> {
        if reference.pool() == self.shared.tag() {
            self.at(reference.handle())
        } else {
            Err(Error::WrongPool(reference))
        }
    }

    /// Refuses inside a callback.
    #[inline(always)]
    pub(crate) fn outside_callback(&self) -> Result<(), Error> {
        if E::P::in_callback() { Err(Error::InCallback) } else { Ok(()) }
    }
}
