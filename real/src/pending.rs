//! An IO that was started, and its result.
//!
//! A [`Pending`] borrows the pool alone: it can be stored beside its process and outlive the scope it was
//! made in. Its memory stays with the process until the IO is over, so dropping it early is safe: the
//! IO goes on, and the memory is returned when the handle is reclaimed (one store marks it).
//! Checked by: `tests/tests/results.rs`; compile-fail test "use after start".

use crate::memory::Lend;
use crate::place::Dropped;
use crate::process::{Process, UseError};
use crate::registry::IoError;
use handfast_core::ids::WaitRef;
use handfast_core::outcome::{Outcome, Status};
use handfast_core::protocol::HandedOut;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;

/// An IO of this process, with the memory `M` that was given to it.
#[must_use = "finish it to learn its result and to have the memory back"]
pub struct Pending<'pool, M> {
    dropped: &'pool Dropped,
    #[cfg(feature = "future")]
    pool: &'pool crate::pool::Pool,
    io: HandedOut,
    attachment: u32,
    memory: PhantomData<fn() -> M>,
}

impl<'pool, M: Lend<'pool>> Pending<'pool, M> {
    #[inline(always)]
    pub(crate) fn new(process: &Process<'pool>, io: HandedOut) -> Self {
        Self {
            dropped: process.dropped(),
            #[cfg(feature = "future")]
            pool: process.pool,
            io,
            attachment: process.attachment,
            memory: PhantomData,
        }
    }

    #[inline(always)]
    pub(crate) fn finish(
        self,
        process: &mut Process<'pool>,
    ) -> Result<Finished<M>, NotFinished<'pool, M>> {
        let this = ManuallyDrop::new(self);
        match process.result_of(this.io, (this.dropped, this.attachment)) {
            Ok(held) => match M::take_from(&mut held.memory) {
                Some(memory) => {
                    let outcome = IoOutcome { packed: held.outcome, error: held.error.take() };
                    Ok(Finished { outcome, memory })
                }
                // Only a damaged segment makes one IO's reference name another one.
                None => {
                    let pending = ManuallyDrop::into_inner(this);
                    Err(NotFinished { error: UseError::NotMine, pending })
                }
            },
            Err(error) => Err(NotFinished { error, pending: ManuallyDrop::into_inner(this) }),
        }
    }
}

impl<M> Pending<'_, M> {
    /// The reference by which any process can wait for it.
    #[must_use]
    pub fn wait_ref(&self) -> WaitRef {
        WaitRef::new(self.dropped.pool, self.io.id, self.io.generation)
    }
}

#[cfg(feature = "future")]
impl<M> Pending<'_, M> {
    /// A future that is over when the IO is: then [`crate::Scope::finish`] does not block. Any executor can
    /// run it; dropping it cancels nothing. Several futures of one IO are independent of each other: each
    /// wakes the task that polled it last. An IO that is staged must be submitted by its process: the end
    /// of the batch does that.
    ///
    /// The task is woken by the attendant of the attachment, a thread that sleeps while nobody asks; it is
    /// started by the first task that waits. A waker that panics harms nobody else. It must not wait for a
    /// thread that ends the attachment, which waits for the attendant.
    pub fn ready(&self) -> Ready<'_> {
        Ready { pool: self.pool, reference: self.wait_ref(), listed: None }
    }
}

/// See [`Pending::ready`].
#[cfg(feature = "future")]
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Ready<'p> {
    pool: &'p crate::pool::Pool,
    reference: WaitRef,
    /// Its number in the list of tasks, once it has been there.
    listed: Option<crate::task::Number>,
}

#[cfg(feature = "future")]
impl Ready<'_> {
    fn place(&self) -> Option<(handfast_core::ids::ProcessSlot, &crate::place::Place)> {
        use handfast_core::protocol::Shared as _;
        let slot = self.pool.segment().owner(self.reference.handle())?;
        Some((slot, self.pool.place(slot)?))
    }
}

#[cfg(feature = "future")]
impl Future for Ready<'_> {
    /// The IO is over, or the wait is refused, which [`crate::Scope::finish`] will say.
    type Output = Result<(), UseError>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        use std::task::Poll;
        if self.pool.refuse_forked().is_err() {
            return Poll::Ready(Err(UseError::Forked));
        }
        let Some((slot, place)) = self.place() else {
            return Poll::Ready(Err(UseError::NotMine));
        };
        let (reference, mut listed) = (self.reference, self.listed);
        let asked = self.pool.inner().context(slot, place).ask(reference, &mut || {
            listed = Some(place.tasks.add(listed, reference, context.waker()));
            if place.attendant.start(self.pool.inner(), slot).is_err() {
                // Without a thread to wake it the task asks again and again.
                context.waker().wake_by_ref();
            }
        });
        self.listed = listed;
        match asked {
            Ok(Some(_over)) => Poll::Ready(Ok(())),
            Ok(None) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }
}

#[cfg(feature = "future")]
impl Drop for Ready<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.listed
            && let Some((_, place)) = self.place()
        {
            place.tasks.remove(number);
        }
    }
}

impl<M> Drop for Pending<'_, M> {
    fn drop(&mut self) {
        let index = self.io.id.0.wrapping_sub(self.dropped.first);
        self.dropped.mark(index, self.io.generation.get());
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
    /// [`IoError`], if the status is `Error` (or `Unknown`: the result in shared memory is damaged).
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

/// A `finish` that was refused, with the [`Pending`], which goes on. Like [`crate::Refused`] it borrows the
/// pool; `?` converts it to [`crate::Error`].
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct NotFinished<'pool, M> {
    /// Why.
    #[source]
    pub error: UseError,
    /// The IO.
    pub pending: Pending<'pool, M>,
}
