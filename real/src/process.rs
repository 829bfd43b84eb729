//! An attachment: one slot of the pool, with its handles.
//!
//! [`Process`] is `Send` but not `Sync`: it is what PostgreSQL calls a backend. It issues through a
//! [`Scope`], waits for anybody's IO, and gives its slot back, pristine, at [`Process::detach`] or when
//! it is dropped (`pgaio_shutdown`). Checked by: `tests/tests/attach.rs`, `tests/tests/wait.rs`.

use crate::handle::DefineError;
use crate::memory::{Frame, FrameToken, MemoryError};
use crate::method::local::{Held, Local};
use crate::place::{Dropped, Place};
use crate::platform::Production;
use crate::pool::{Pool, Shipped};
use crate::scope::Scope;
use crate::target::File;
use handfast_core::handle::SlotWord;
use handfast_core::ids::{Generation, ProcessSlot, WaitRef};
use handfast_core::outcome::Outcome;
use handfast_core::platform::{Platform as _, SlotLocks as _};
use handfast_core::protocol::recover::Recovered;
use handfast_core::protocol::wait::Waited as CoreWaited;
use handfast_core::protocol::{Attached, Error, HandedOut, Issuer, Shared as _};
use handfast_core::request::TargetId;
use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// Why an entry point refused. Nothing has changed, unless shared memory is damaged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UseError {
    /// A forked child that has not exec'ed.
    #[error(
        "this process was forked from the attached one: open and attach the pool after exec instead"
    )]
    Forked,
    /// Not this attachment's IO.
    #[error(
        "the IO belongs to another attachment, or to an earlier one of this slot: finish it where it was started"
    )]
    NotMine,
    /// The protocol says no.
    #[error(transparent)]
    Protocol(#[from] Error),
}

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Waited {
    /// The IO is over.
    Done,
    /// The IO is over, or its handle was released without one, and the handle was used again: only the
    /// issuer can know the result.
    Recycled,
}

/// How many slots [`Process::recover_dead`] found and dealt with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RecoverReport {
    /// Slots of dead processes that are free again.
    pub recovered: u32,
    /// Slots of dead processes that another process still works for, or recovers.
    pub unfinished: u32,
}

/// A process's place in the pool.
pub struct Process<'pool> {
    pub(crate) pool: &'pool Pool,
    pub(crate) issuer: Issuer<'pool, Shipped, Local<'pool>>,
    pub(crate) slot: ProcessSlot,
    epoch: u32,
    pub(crate) attachment: u32,
    frame_hint: u32,
    ended: bool,
    not_sync: PhantomData<Cell<()>>,
}

impl<'pool> Process<'pool> {
    pub(crate) fn new(
        pool: &'pool Pool,
        place: &'pool Place,
        slot: ProcessSlot,
        attached: &Attached,
    ) -> Self {
        let context = pool.context(slot, place);
        let handles = pool.segment().owned_by(slot);
        let dropped = place.dropped(pool.tag(), handles.clone());
        let local = Local::new(pool.application(), dropped, handles);
        Self {
            pool,
            issuer: Issuer::new(context, &attached.generations, local),
            slot,
            epoch: attached.epoch,
            attachment: place.next_attachment(),
            frame_hint: slot.get() * (pool.frame_count() / pool.config().processes()),
            ended: false,
            not_sync: PhantomData,
        }
    }

    /// The pool.
    #[must_use]
    pub fn pool(&self) -> &'pool Pool {
        self.pool
    }

    /// Its slot.
    #[must_use]
    pub fn slot(&self) -> ProcessSlot {
        self.slot
    }

    #[inline(always)]
    pub(crate) fn check(&self) -> Result<(), UseError> {
        // Not by way of the pool, which is two loads longer.
        if self.issuer.context().shared.is_forked() { Err(UseError::Forked) } else { Ok(()) }
    }

    /// The same, and not inside a callback, where no entry point of the protocol would refuse.
    fn outside_callback(&self) -> Result<(), UseError> {
        self.check()?;
        if Production::in_callback() { Err(Error::InCallback.into()) } else { Ok(()) }
    }

    pub(crate) fn holder(&self) -> (ProcessSlot, u32) {
        (self.slot, self.epoch)
    }

    /// Begins a scope: what is acquired in it does not outlive it unused.
    pub fn scope(&mut self) -> Scope<'_, 'pool> {
        if self.issuer.batch_depth() > 0 && self.check().is_ok() {
            // No scope is open, so no batch is: a guard was forgotten, or ended another process's
            // batch after a swap. What cannot be submitted now is reported when it is finished.
            let _still_staged = self.issuer.leave_batch(0);
        }
        Scope::new(self, 1)
    }

    /// Opens a file and registers it as a target of IO.
    ///
    /// # Errors
    /// The system's.
    pub fn open(
        &mut self,
        path: impl AsRef<Path>,
        options: &std::fs::OpenOptions,
    ) -> io::Result<File<'pool>> {
        let path = path.as_ref();
        self.file(options.open(path)?, path)
    }

    /// Registers an open file as a target of IO. `path` is where other processes find it again.
    ///
    /// # Errors
    /// The system's, from fstat(2); [`UseError::Forked`] as its source in a forked child.
    pub fn file(
        &mut self,
        file: impl Into<OwnedFd>,
        path: impl AsRef<Path>,
    ) -> io::Result<File<'pool>> {
        self.check().map_err(io::Error::other)?;
        File::register(self.pool.segment(), self.holder(), file.into(), path.as_ref())
    }

    /// Makes a descriptor a target of a kind of the application's own (`pgaio_io_set_target`).
    ///
    /// # Errors
    /// [`DefineError::UnknownTarget`].
    pub fn target(
        &mut self,
        kind: TargetId,
        data: [u64; 3],
        fd: impl Into<OwnedFd>,
    ) -> Result<File<'pool>, DefineError> {
        let application = self.pool.application();
        if application.registry.find_target(kind).is_none() {
            return Err(DefineError::UnknownTarget(kind));
        }
        Ok(File::of_target(application, kind, data, fd.into()))
    }

    /// Takes a free frame; `None` if all are taken. Frames of this process's own IO that is over and
    /// whose [`crate::Pending`] was dropped are returned first, if need be.
    pub fn frame(&mut self) -> Option<Frame<'pool>> {
        self.outside_callback().ok()?;
        let (segment, holder) = (self.pool.segment(), self.holder());
        let free = Frame::take(segment, holder, &mut self.frame_hint);
        if free.is_some() {
            return free;
        }
        // A damaged word is reported by the next call that can report it.
        let _reclaimed = self.issuer.reclaim_over();
        self.issuer.method_mut().purge();
        Frame::take(segment, holder, &mut self.frame_hint)
    }

    /// Takes over a frame that another process handed over.
    ///
    /// # Errors
    /// [`MemoryError::Lost`] if it was adopted, freed or recovered since.
    pub fn adopt(&mut self, token: FrameToken) -> Result<Frame<'pool>, MemoryError> {
        self.outside_callback().map_err(|_| MemoryError::Lost(token.frame().0))?;
        Frame::adopt(self.pool.segment(), self.holder(), token)
    }

    /// Waits until an IO of any process is over (`pgaio_wref_wait`). What this process has staged is
    /// submitted before it blocks. Everything the IO's shared callbacks did is visible afterwards
    /// (acquire).
    ///
    /// # Errors
    /// [`UseError`].
    #[inline]
    pub fn wait(&mut self, reference: WaitRef) -> Result<Waited, UseError> {
        match self.wait_until(reference, None)? {
            Some(waited) => Ok(waited),
            // Without a deadline no time can be over.
            None => Err(UseError::Protocol(Error::NoSuchIo(reference))),
        }
    }

    /// The same for at most `timeout`: `None` if the IO goes on. The IO is not affected.
    ///
    /// # Errors
    /// [`UseError`].
    pub fn wait_timeout(
        &mut self,
        reference: WaitRef,
        timeout: Duration,
    ) -> Result<Option<Waited>, UseError> {
        let ns = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        self.wait_until(reference, Some(Production::now_ns().saturating_add(ns)))
    }

    #[inline]
    fn wait_until(
        &mut self,
        reference: WaitRef,
        deadline_ns: Option<u64>,
    ) -> Result<Option<Waited>, UseError> {
        self.check()?;
        Ok(match self.issuer.wait(reference, deadline_ns)? {
            CoreWaited::Done => Some(Waited::Done),
            CoreWaited::Recycled => Some(Waited::Recycled),
            CoreWaited::TimedOut => None,
        })
    }

    /// Whether an IO of any process is over (`pgaio_wref_check_done`). Never waits for another process;
    /// once true, always true. An own staged IO is submitted.
    ///
    /// # Errors
    /// [`UseError`].
    pub fn check_done(&mut self, reference: WaitRef) -> Result<bool, UseError> {
        self.check()?;
        Ok(self.issuer.check_done(reference)?)
    }

    /// The result of another process's IO as its shared callbacks left it: `None` if it is not over, or
    /// its handle has been used again. Never blocks.
    ///
    /// # Errors
    /// [`UseError`].
    pub fn foreign_outcome(&self, reference: WaitRef) -> Result<Option<Outcome>, UseError> {
        self.check()?;
        Ok(self.issuer.context().foreign_outcome(reference)?)
    }

    /// Whether IO is staged (`pgaio_have_staged`).
    #[must_use]
    pub fn has_staged(&self) -> bool {
        self.issuer.book().staged() > 0
    }

    /// Submits what is staged (`pgaio_submit_staged`).
    ///
    /// # Errors
    /// [`UseError`].
    pub fn submit_staged(&mut self) -> Result<(), UseError> {
        self.check()?;
        Ok(self.issuer.submit_staged()?)
    }

    /// Closes a file when no IO of this process uses it any more: submits what is staged and waits for
    /// what is in flight on it (`pgaio_closing_fd`). False if a clone keeps it open.
    ///
    /// # Errors
    /// [`UseError`].
    pub fn close_fd(&mut self, file: File<'pool>) -> Result<bool, UseError> {
        self.submit_staged()?;
        for (id, generation) in self.issuer.method().users_of(&file) {
            if let Some(generation) = Generation::new(generation) {
                let _over = self.wait(WaitRef::new(self.pool.tag(), id, generation))?;
                self.issuer.reclaim_over()?;
            }
        }
        Ok(file.close())
    }

    /// Recovers the slots of dead processes, as far as possible. Attaching and waiting do so by
    /// themselves for what they meet.
    ///
    /// # Errors
    /// [`UseError`].
    pub fn recover_dead(&mut self) -> Result<RecoverReport, UseError> {
        self.outside_callback()?;
        let mut report = RecoverReport::default();
        for slot in (0..self.pool.config().processes()).filter_map(ProcessSlot::new) {
            match self.issuer.context().recover(slot) {
                Recovered::NothingToDo => {}
                Recovered::Complete => report.recovered += 1,
                Recovered::Unfinished => report.unfinished += 1,
            }
        }
        Ok(report)
    }

    /// Ends the attachment: submits what is staged, waits for what is in flight, returns frames and
    /// file entries, leaves the slot pristine for the next (S19). Dropping does the same, silently.
    ///
    /// # Errors
    /// [`UseError`]; the slot is left for recovery then.
    pub fn detach(mut self) -> Result<(), UseError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), UseError> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        // In a forked child this is the parent's slot: leave it alone.
        self.check()?;
        let detached = self.issuer.detach();
        if detached.is_err() {
            // Something may still be at the memory that was lent: it stays where it is for ever.
            self.issuer.method_mut().leak();
        }
        if let Some(place) = self.pool.place(self.slot) {
            place.unlock(self.slot);
            place.give_back();
        }
        Ok(detached?)
    }

    /// The result of an own IO, once: waits for it and reclaims it if that has not happened.
    pub(crate) fn result_of(
        &mut self,
        io: HandedOut,
        of: (&'pool Dropped, u32),
    ) -> Result<&mut Held<'pool>, UseError> {
        self.check()?;
        // The place of the marks is that of one slot of one pool; its attachments are told apart by a
        // private number, since epoch and generations are in shared memory.
        if !std::ptr::eq(of.0, self.dropped()) || of.1 != self.attachment {
            return Err(UseError::NotMine);
        }
        self.issuer.finish(io)?;
        let result = self.issuer.method_mut().take((io.id, io.generation));
        result.ok_or(UseError::NotMine)
    }

    /// Where a dropped [`crate::Pending`] leaves its mark.
    #[inline(always)]
    pub(crate) fn dropped(&self) -> &'pool Dropped {
        self.issuer.method().dropped()
    }
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        let _ended_or_left_for_recovery = self.end();
    }
}

impl std::fmt::Debug for Process<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process")
            .field("slot", &self.slot)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// Whether somebody is attached at a slot (or died attached), its attachment number, its pid.
    pub(crate) fn attachment(&self, slot: ProcessSlot) -> Option<(SlotWord, u32)> {
        let context = self.context(slot, self.place(slot)?);
        Some((context.slot_word(slot)?, self.segment().slot(slot)?.pid()))
    }
}
