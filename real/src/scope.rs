//! Scopes: guards like database transactions, and batches (`ResourceOwner`, `pgaio_enter_batchmode`).
//!
//! A scope nests. [`Scope::commit`] ends it in success and warns of what was left behind; dropping it
//! is an abort and cleans up in silence. Either way a handle that was acquired and not used is
//! released, what is staged is submitted, and IO in flight goes on: its [`Pending`] may outlive the
//! scope. Checked by: `tests/tests/scope.rs` (BEHAVIOURS 1 to 15).

use crate::handle::Handle;
use crate::memory::{Frame, Lend};
use crate::pending::{Finished, NotFinished, Pending};
use crate::process::{Process, UseError, Waited};
use crate::target::File;
use handfast_core::ids::{HandleId, WaitRef};
use std::io;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::time::Duration;

/// What a committed scope had left behind. It has been cleaned up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScopeWarning {
    /// A handle was acquired and neither used nor released.
    #[error("{0} was leaked: release a handle that is not used")]
    LeakedHandle(HandleId),
    /// A batch was not ended.
    #[error("an open batch was ended by its scope: end a batch by dropping its guard")]
    OpenBatch,
    /// The cleaning up failed.
    #[error(transparent)]
    Failed(#[from] UseError),
}

/// A scope of a process. What is acquired in it is released at its end.
#[derive(Debug)]
pub struct Scope<'s, 'pool> {
    process: &'s mut Process<'pool>,
    depth: u32,
    batches: u32,
    ended: bool,
}

impl<'s, 'pool> Scope<'s, 'pool> {
    pub(crate) fn new(process: &'s mut Process<'pool>, depth: u32) -> Self {
        let batches = process.issuer.batch_depth();
        Self { process, depth, batches, ended: false }
    }

    /// A scope inside of this one.
    pub fn scope(&mut self) -> Scope<'_, 'pool> {
        let depth = self.depth.saturating_add(1);
        Scope::new(self.process, depth)
    }

    /// Acquires a handle; waits for the oldest IO of this process if none is free (`pgaio_io_acquire`).
    ///
    /// # Errors
    /// [`UseError`]; [`handfast_core::protocol::Error::HandedOutAlready`] if a handle was leaked by
    /// `mem::forget` (the borrow excludes it otherwise).
    #[inline(always)]
    pub fn acquire(&mut self) -> Result<Handle<'_, 'pool>, UseError> {
        self.process.check()?;
        let handed_out = self.process.issuer.acquire(self.depth)?;
        Ok(Handle::new(self.process, handed_out))
    }

    /// The same without waiting, submitting or executing (`pgaio_io_acquire_nb`): `None` if no handle
    /// is free after everything that is over was reclaimed.
    ///
    /// # Errors
    /// As [`Self::acquire`].
    pub fn try_acquire(&mut self) -> Result<Option<Handle<'_, 'pool>>, UseError> {
        self.process.check()?;
        let handed_out = self.process.issuer.try_acquire(self.depth)?;
        Ok(handed_out.map(|handed_out| Handle::new(self.process, handed_out)))
    }

    /// Opens a batch: IO started in it is only staged, until 32 are, until this process is about to
    /// block, or until the guard is dropped (`pgaio_enter_batchmode`).
    pub fn batch(&mut self) -> Batch<'_, 's, 'pool> {
        let depth = self.process.issuer.batch_depth();
        self.process.issuer.enter_batch();
        Batch { scope: self, depth }
    }

    /// Waits for an IO of this attachment, reclaims its handle, and returns its result and its memory.
    /// An IO in place is over already, so this does not block then.
    ///
    /// # Errors
    /// [`NotFinished`] with the `Pending` in it.
    #[inline(always)]
    pub fn finish<M: Lend<'pool>>(
        &mut self,
        pending: Pending<'pool, M>,
    ) -> Result<Finished<M>, NotFinished<'pool, M>> {
        pending.finish(self.process)
    }

    /// See [`Process::wait`].
    ///
    /// # Errors
    /// [`UseError`].
    #[inline]
    pub fn wait(&mut self, reference: WaitRef) -> Result<Waited, UseError> {
        self.process.wait(reference)
    }

    /// See [`Process::wait_timeout`].
    ///
    /// # Errors
    /// [`UseError`].
    pub fn wait_timeout(
        &mut self,
        reference: WaitRef,
        timeout: Duration,
    ) -> Result<Option<Waited>, UseError> {
        self.process.wait_timeout(reference, timeout)
    }

    /// See [`Process::wait_any`].
    ///
    /// # Errors
    /// [`UseError`].
    pub fn wait_any(&mut self, references: &[WaitRef]) -> Result<(usize, Waited), UseError> {
        self.process.wait_any(references)
    }

    /// See [`Process::wait_any_timeout`].
    ///
    /// # Errors
    /// [`UseError`].
    pub fn wait_any_timeout(
        &mut self,
        references: &[WaitRef],
        timeout: Duration,
    ) -> Result<Option<(usize, Waited)>, UseError> {
        self.process.wait_any_timeout(references, timeout)
    }

    /// See [`Process::check_done`].
    ///
    /// # Errors
    /// [`UseError`].
    pub fn check_done(&mut self, reference: WaitRef) -> Result<bool, UseError> {
        self.process.check_done(reference)
    }

    /// See [`Process::submit_staged`].
    ///
    /// # Errors
    /// [`UseError`].
    pub fn submit_staged(&mut self) -> Result<(), UseError> {
        self.process.submit_staged()
    }

    /// See [`Process::frame`].
    pub fn frame(&mut self) -> Option<Frame<'pool>> {
        self.process.frame()
    }

    /// See [`Process::open`].
    ///
    /// # Errors
    /// The system's.
    pub fn open(
        &mut self,
        path: impl AsRef<Path>,
        options: &std::fs::OpenOptions,
    ) -> io::Result<File<'pool>> {
        self.process.open(path, options)
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process<'pool> {
        self.process
    }

    /// Ends the scope in success.
    ///
    /// # Errors
    /// [`ScopeWarning`] about something left behind, which has been cleaned up.
    pub fn commit(mut self) -> Result<(), ScopeWarning> {
        self.end()
    }

    /// Ends the scope as a failure does: the same as dropping it.
    pub fn abort(mut self) {
        let _silent = self.end();
    }

    fn end(&mut self) -> Result<(), ScopeWarning> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        self.process.check()?;
        let open_batch = self.process.issuer.batch_depth() > self.batches;
        let end = self.process.issuer.end_scope(self.depth).map_err(UseError::from)?;
        self.process.issuer.leave_batch(self.batches).map_err(UseError::from)?;
        match end.leaked {
            Some(handle) => Err(ScopeWarning::LeakedHandle(handle)),
            None if open_batch => Err(ScopeWarning::OpenBatch),
            None => Ok(()),
        }
    }
}

impl Drop for Scope<'_, '_> {
    fn drop(&mut self) {
        let _silent = self.end();
    }
}

/// An open batch. It is used like its scope; dropping it submits.
#[derive(Debug)]
pub struct Batch<'b, 's, 'pool> {
    scope: &'b mut Scope<'s, 'pool>,
    depth: u32,
}

impl Batch<'_, '_, '_> {
    /// Ends the batch and submits what is staged (`pgaio_exit_batchmode`).
    ///
    /// # Errors
    /// [`UseError`].
    pub fn submit(self) -> Result<(), UseError> {
        let (process, depth) = (&mut *self.scope.process, self.depth);
        process.check()?;
        Ok(process.issuer.leave_batch(depth)?)
    }
}

impl<'s, 'pool> Deref for Batch<'_, 's, 'pool> {
    type Target = Scope<'s, 'pool>;

    fn deref(&self) -> &Self::Target {
        self.scope
    }
}

impl DerefMut for Batch<'_, '_, '_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.scope
    }
}

impl Drop for Batch<'_, '_, '_> {
    fn drop(&mut self) {
        if self.scope.process.check().is_ok() {
            // What could not be submitted stays staged and is submitted at the next occasion.
            let _left_staged = self.scope.process.issuer.leave_batch(self.depth);
        }
    }
}
