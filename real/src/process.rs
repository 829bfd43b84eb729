//! An attachment: one slot of the pool, with its handles.
//!
//! [`Process`] is `Send` but not `Sync`: it is what PostgreSQL calls a backend. It issues through a
//! [`Scope`], waits for anybody's IO, and gives its slot back, pristine, at [`Process::detach`] or when
//! it is dropped (`pgaio_shutdown`). Checked by: `tests/tests/attach.rs`, `tests/tests/wait.rs`.

use crate::handle::DefineError;
use crate::memory::{Frame, FrameToken, MemoryError};
use crate::method::attendant::Stopped;
use crate::method::local::{Engine, Held, Local, RingSide};
use crate::method::{Method, MethodRefusal};
use crate::place::{Dropped, Place};
use crate::platform::{Production, spinning};
use crate::pool::{AttachError, Pool, Shipped};
use crate::scope::Scope;
use crate::sys::futex;
use crate::target::File;
use handfast_core::handle::SlotWord;
use handfast_core::ids::{Generation, ProcessSlot, WaitRef};
use handfast_core::outcome::Outcome;
use handfast_core::platform::Platform as _;
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
    /// At the detach: the kernel did not say that it is done with an IO whose word says that it is over. The
    /// segment stays mapped, and the slot is left for recovery.
    #[error(
        "the kernel may still be at an IO of this process that is called over: the pool is damaged; make a new one"
    )]
    StillInFlight,
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

impl Waited {
    /// `None` if the time was over.
    #[inline]
    pub(crate) fn of(how: CoreWaited) -> Option<Self> {
        match how {
            CoreWaited::Done => Some(Self::Done),
            CoreWaited::Recycled => Some(Self::Recycled),
            CoreWaited::TimedOut => None,
        }
    }
}

fn deadline(timeout: Duration) -> u64 {
    let ns = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
    Production::now_ns().saturating_add(ns)
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
    refusal: Option<MethodRefusal>,
    spin_ns: u64,
    ended: bool,
    not_sync: PhantomData<Cell<()>>,
}

impl<'pool> Process<'pool> {
    pub(crate) fn new(
        pool: &'pool Pool,
        place: &'pool Place,
        slot: ProcessSlot,
        attached: &Attached,
    ) -> Result<Self, AttachError> {
        let context = pool.inner().context(slot, place);
        let handles = pool.segment().owned_by(slot);
        let dropped = place.dropped(pool.tag(), handles.clone());
        let mut process = Self {
            pool,
            issuer: Issuer::new(
                context,
                &attached.generations,
                Local::new(pool.application(), dropped, handles),
            ),
            slot,
            epoch: attached.epoch,
            attachment: place.next_attachment(),
            frame_hint: slot.get() * (pool.frame_count() / pool.config().processes()),
            refusal: None,
            spin_ns: 0,
            ended: false,
            not_sync: PhantomData,
        };
        // From here on an error ends the attachment as its drop does.
        match process.engine(place) {
            Ok(engine) => process.issuer.method_mut().use_engine(engine),
            Err(refusal) if pool.segment().facts().method.by_itself => {
                process.refusal = Some(refusal);
            }
            Err(refusal) => return Err(refusal.into()),
        }
        Ok(process)
    }

    /// What executes the IO of this attachment.
    fn engine(&self, place: &'pool Place) -> Result<Engine<'pool>, MethodRefusal> {
        if let Some(staff) = self.pool.inner().staff() {
            return Ok(Engine::Workers(staff));
        }
        if !self.pool.inner().has_rings() {
            return Ok(Engine::InPlace);
        }
        let opened = place.open_ring(self.pool.inner().segment(), self.slot);
        opened.map_err(|error| MethodRefusal::of_ring(&error))?;
        if let Err(error) = place.attendant.start(self.pool.inner(), self.slot) {
            place.ring().close();
            return Err(MethodRefusal {
                method: Method::IoUring,
                cause: format!("the thread that attends to a ring cannot be started: {error}"),
                remedy: "raise the limit of threads (ulimit -u)".to_owned(),
            });
        }
        RingSide::new(place.ring()).map(Engine::Ring).ok_or_else(|| MethodRefusal {
            method: Method::IoUring,
            cause: "its ring was closed while it was opened".to_owned(),
            remedy: "report this as a fault of handfast".to_owned(),
        })
    }

    /// How the IO of this attachment is executed: the pool's method, or [`Method::Sync`] if this process
    /// could not follow ([`Self::method_refusal`]).
    #[must_use]
    pub fn method(&self) -> Method {
        if self.refusal.is_some() { Method::Sync } else { self.pool.method() }
    }

    /// Why this process does without the pool's method, if it does.
    #[must_use]
    pub fn method_refusal(&self) -> Option<&MethodRefusal> {
        self.refusal.as_ref()
    }

    /// With more than `most` of this process's IOs in flight, those marked as
    /// [`Flags::BUFFERED`](handfast_core::request::Flags::BUFFERED) are given to threads of the kernel, which
    /// copy from the page cache in its place (PostgreSQL: more than 4). `None`, the default, gives none: it
    /// pays where copying costs more than the hand-over, on many free cores and with large reads. Only for
    /// [`Method::IoUring`].
    pub fn offload_buffered(&mut self, most: Option<u32>) {
        self.issuer.method_mut().offload_above(most);
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
        self.wait_until(reference, Some(deadline(timeout)))
    }

    /// Before a wait for an IO of another attachment sleeps, it looks for its wake-up again and again for this
    /// long: by default not at all. It pays where that IO is nearly over, and its issuer runs on another
    /// processor: falling asleep and being woken takes several microseconds, which both sides spend. A few
    /// times that is a good limit.
    pub fn spin_before_sleep(&mut self, limit: Duration) {
        self.spin_ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
    }

    #[inline]
    fn wait_until(
        &mut self,
        reference: WaitRef,
        deadline_ns: Option<u64>,
    ) -> Result<Option<Waited>, UseError> {
        self.check()?;
        if self.spin_ns == 0 {
            return Ok(Waited::of(self.issuer.wait(reference, deadline_ns)?));
        }
        let waited = spinning(self.spin_ns, || self.issuer.wait(reference, deadline_ns));
        Ok(Waited::of(waited?))
    }

    /// Waits until any of several IOs of any processes is over: which of `references`, and how (futex_waitv(2)).
    /// What this process has staged is submitted before it blocks. Everything that IO's shared callbacks
    /// did is visible afterwards (acquire).
    ///
    /// Linux has futex_waitv(2) from 5.16 on. With an older one, or if a filter of system calls (seccomp) refuses
    /// it, a wait for several IOs does not sleep but looks again every millisecond: as correct, but a
    /// completion is noticed up to that much later, and the thread runs a thousand times a second meanwhile.
    /// [`Self::wait_any_sleeps`] tells. Other waits are not concerned.
    ///
    /// # Errors
    /// [`UseError`]; none, or more than 128, references.
    pub fn wait_any(&mut self, references: &[WaitRef]) -> Result<(usize, Waited), UseError> {
        match self.wait_any_until(references, None)? {
            Some(first) => Ok(first),
            // Without a deadline no time can be over.
            None => Err(UseError::Protocol(Error::NotSoMany { given: 0, most: 0 })),
        }
    }

    /// The same for at most `timeout`: `None` if all of them go on.
    ///
    /// # Errors
    /// As [`Self::wait_any`].
    pub fn wait_any_timeout(
        &mut self,
        references: &[WaitRef],
        timeout: Duration,
    ) -> Result<Option<(usize, Waited)>, UseError> {
        self.wait_any_until(references, Some(deadline(timeout)))
    }

    /// Whether [`Self::wait_any`] sleeps here, and does not look again and again: asks the kernel, with a call
    /// that does not block.
    #[must_use]
    pub fn wait_any_sleeps() -> bool {
        futex::can_wait_any()
    }

    fn wait_any_until(
        &mut self,
        references: &[WaitRef],
        deadline_ns: Option<u64>,
    ) -> Result<Option<(usize, Waited)>, UseError> {
        self.check()?;
        let first = self.issuer.wait_any(references, deadline_ns)?;
        Ok(first.and_then(|(which, how)| Some((which, Waited::of(how)?))))
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

    /// How many completions came through this attachment's ring that named none of its IOs in flight: somebody
    /// has written to the queue, which lies in shared memory. They were ignored.
    #[must_use]
    pub fn stray_completions(&self) -> u64 {
        self.pool.place(self.slot).map_or(0, |place| place.ring().dropped())
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
    /// file entries, leaves the slot pristine for the next (S19). Dropping does the same, silently. Where a waker
    /// ends the attachment that woke it, the slot is given back when the waker has returned.
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
            let (pristine, rouse) = (detached.is_ok(), || self.issuer.context().rouse_reaper());
            let left = place.attendant.stop(pristine, rouse) == Stopped::Left;
            if left && !place.end(self.slot, pristine) && pristine {
                return Err(UseError::StillInFlight);
            }
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
        let context = self.inner().context(slot, self.place(slot)?);
        Some((context.slot_word(slot)?, self.segment().slot(slot)?.pid()))
    }
}
