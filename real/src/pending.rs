//! An IO that was started, and its result.
//!
//! A [`Pending`] borrows the pool alone: it can be stored beside its process and outlive the scope it was
//! made in. Its memory stays with the process until the IO is over, so dropping it early is safe: the
//! IO goes on, and the memory is returned when the handle is reclaimed (one store marks it).
//! Checked by: `tests/tests/results.rs`; compile-fail test "use after start".

use crate::memory::{Lend, LentBuffers};
use crate::place::Dropped;
use crate::process::{Process, UseError};
use crate::registry::IoError;
use handfast_core::ids::{Generation, HandleId, PoolTag, ProcessSlot, WaitRef};
use handfast_core::outcome::{Outcome, Status};
use handfast_core::protocol::HandedOut;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;

/// An IO of this process, with the memory `M` that was given to it.
#[must_use = "finish it to learn its result and to have the memory back"]
pub struct Pending<'pool, M> {
    dropped: &'pool Dropped,
    tag: PoolTag,
    slot: ProcessSlot,
    epoch: u32,
    first: u32,
    handle: HandleId,
    generation: Generation,
    memory: PhantomData<fn() -> M>,
}

impl<'pool, M: Lend<'pool>> Pending<'pool, M> {
    #[inline(always)]
    pub(crate) fn new(process: &Process<'pool>, io: HandedOut) -> Self {
        Self {
            dropped: process.dropped(),
            tag: process.pool().tag(),
            slot: process.slot,
            epoch: process.epoch,
            first: process.first_handle(),
            handle: io.id,
            generation: io.generation,
            memory: PhantomData,
        }
    }

    #[inline(always)]
    pub(crate) fn finish(
        self,
        process: &mut Process<'pool>,
    ) -> Result<Finished<M>, NotFinished<'pool, M>> {
        let this = ManuallyDrop::new(self);
        let io = HandedOut { id: this.handle, generation: this.generation };
        match process.result_of(io, (this.slot, this.epoch)) {
            Ok(over) => match M::from_buffers(LentBuffers(over.buffers)) {
                Some(memory) => Ok(Finished {
                    outcome: IoOutcome { packed: over.outcome, error: over.error },
                    memory,
                }),
                None => unreachable!("memory comes back as what it was given"),
            },
            Err(error) => Err(NotFinished { error, pending: ManuallyDrop::into_inner(this) }),
        }
    }
}

impl<M> Pending<'_, M> {
    /// The reference by which any process can wait for it.
    #[must_use]
    pub fn wait_ref(&self) -> WaitRef {
        WaitRef::new(self.tag, self.handle, self.generation)
    }
}

impl<M> Drop for Pending<'_, M> {
    fn drop(&mut self) {
        self.dropped.mark(self.handle.0.wrapping_sub(self.first), self.generation.get());
    }
}

impl<M> fmt::Debug for Pending<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pending({})", self.wait_ref())
    }
}

/// An IO that is over, with its memory.
#[derive(Debug)]
pub struct Finished<M> {
    /// How it went.
    pub outcome: IoOutcome,
    /// What was given to it.
    pub memory: M,
}

/// The result of an IO for its issuer: what the shared callbacks made of the raw result, and local
/// callbacks of that (S14).
#[derive(Debug)]
pub struct IoOutcome {
    packed: Outcome,
    error: Option<Box<IoError>>,
}

impl IoOutcome {
    /// The packed result.
    #[must_use]
    pub fn packed(&self) -> Outcome {
        self.packed
    }

    /// How it went.
    #[must_use]
    pub fn status(&self) -> Status {
        self.packed.status()
    }

    /// Bytes transferred; 0 at the end of the file and for FSYNC. May be less than asked for.
    ///
    /// # Errors
    /// [`IoError`], if the status is `Error`.
    #[inline]
    pub fn bytes(&self) -> Result<u32, IoError> {
        match &self.error {
            Some(error) => Err((**error).clone()),
            None => Ok(u32::try_from(self.packed.result()).unwrap_or(0)),
        }
    }

    /// The error, if there is one.
    #[must_use]
    pub fn error(&self) -> Option<&IoError> {
        self.error.as_deref()
    }
}

/// A `finish` that was refused, with the [`Pending`], which goes on.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct NotFinished<'pool, M> {
    /// Why.
    #[source]
    pub error: UseError,
    /// The IO.
    pub pending: Pending<'pool, M>,
}
