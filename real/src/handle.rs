//! A handle that is handed out: where an IO is defined.
//!
//! At most one at a time: it borrows its [`crate::Scope`], so a second `acquire` does not compile. Starting
//! takes it by value, so it cannot be used after the start. Everything it is told is kept in private
//! memory until the start, and is checked before anything shared changes (MUSEUM R7).

use crate::memory::{Buffers, Extent, Lend, MemoryError};
use crate::method::local::Start;
use crate::pending::Pending;
use crate::process::{Process, UseError, Waited};
use crate::target::{File, check_pool};
use handfast_core::handle::Place;
use handfast_core::ids::{HandleId, ProcessSlot, WaitRef};
use handfast_core::protocol::{Error, HandedOut};
use handfast_core::request::{
    CallbackId, CallbackList, Flags, MAX_CALLBACKS, Operation, Request, TargetId,
};

/// Why an IO could not be defined as asked. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DefineError {
    /// All four places are taken.
    #[error("an IO has at most {MAX_CALLBACKS} callbacks: combine some into one")]
    TooManyCallbacks,
    /// Nobody registered it.
    #[error("callback {} is not registered: add it to the registry of every process", .0.get())]
    UnknownCallback(CallbackId),
    /// Nobody registered it.
    #[error("target kind {} is not registered: add it to the registry of every process", .0.0)]
    UnknownTarget(TargetId),
    /// Handle data can be set once.
    #[error("handle data was set already: set it once, in one call")]
    DataAlreadySet,
    /// The pool's own checks.
    #[error(transparent)]
    Use(#[from] UseError),
}

/// Why an IO could not be started. The handle was released, the memory is in [`Refused`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The memory cannot be used.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The pool's own checks.
    #[error(transparent)]
    Use(#[from] UseError),
}

impl From<Error> for StartError {
    fn from(error: Error) -> Self {
        Self::Use(error.into())
    }
}

/// A start that was refused, with the memory that was given. It borrows the pool, so it cannot leave a
/// function that owns one: `?` converts it to [`crate::Error`], `refused.error` is the reason alone.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Refused<M> {
    /// Why.
    #[source]
    pub error: StartError,
    /// What was given.
    pub memory: M,
}

/// A handle in state HANDED_OUT. Dropping it releases it.
#[derive(Debug)]
pub struct Handle<'h, 'pool> {
    process: &'h mut Process<'pool>,
    handed_out: HandedOut,
    flags: Flags,
    callbacks: CallbackList,
    data_len: Option<u8>,
}

impl<'h, 'pool> Handle<'h, 'pool> {
    #[inline(always)]
    pub(crate) fn new(process: &'h mut Process<'pool>, handed_out: HandedOut) -> Self {
        Self {
            process,
            handed_out,
            flags: Flags::empty(),
            callbacks: CallbackList::EMPTY,
            data_len: None,
        }
    }

    /// Its number in the pool (`pgaio_io_get_id`).
    #[must_use]
    pub fn id(&self) -> HandleId {
        self.handed_out.id
    }

    /// Its issuer (`pgaio_io_get_owner`).
    #[must_use]
    pub fn owner(&self) -> ProcessSlot {
        self.process.slot()
    }

    /// The reference by which any process can wait for this IO (`pgaio_io_get_wref`). Before the start it
    /// is for storing where a stage callback will publish it: whoever waits for it already waits for
    /// the IO; if the handle is released, it reports recycled.
    #[must_use]
    #[inline]
    pub fn wait_ref(&self) -> WaitRef {
        let HandedOut { id, generation } = self.handed_out;
        WaitRef::new(self.process.pool.tag(), id, generation)
    }

    /// Adds flags (`pgaio_io_set_flag`).
    pub fn set_flag(&mut self, flags: Flags) {
        self.flags |= flags;
    }

    /// Registers a callback with a data byte (`pgaio_io_register_callbacks`). The last one registered runs
    /// first.
    ///
    /// # Errors
    /// [`DefineError::UnknownCallback`], [`DefineError::TooManyCallbacks`].
    pub fn register_callback(&mut self, id: CallbackId, data: u8) -> Result<(), DefineError> {
        if self.process.pool.application().registry.find_callback(id).is_none() {
            return Err(DefineError::UnknownCallback(id));
        }
        self.callbacks = self.callbacks.with(id, data).ok_or(DefineError::TooManyCallbacks)?;
        Ok(())
    }

    /// Sets the handle data, once (`pgaio_io_set_handle_data_64`).
    ///
    /// # Errors
    /// [`DefineError::DataAlreadySet`]; more words than reserved.
    pub fn set_data_64(&mut self, words: &[u64]) -> Result<(), DefineError> {
        self.process.check()?;
        if self.data_len.is_some() {
            return Err(DefineError::DataAlreadySet);
        }
        self.process.issuer.set_data(self.handed_out, words).map_err(UseError::from)?;
        self.data_len = u8::try_from(words.len()).ok();
        Ok(())
    }

    /// The same from 32-bit words, one to a word (`pgaio_io_set_handle_data_32`).
    ///
    /// # Errors
    /// As [`Self::set_data_64`].
    pub fn set_data_32(&mut self, words: &[u32]) -> Result<(), DefineError> {
        let mut wide = [0; 256];
        match wide.get_mut(..words.len()) {
            Some(wide) => {
                wide.iter_mut().zip(words).for_each(|(wide, &word)| *wide = word.into());
                self.set_data_64(wide)
            }
            None => {
                let reserved = self.process.pool.config().max_handle_data() as usize;
                let error = Error::TooMuchData { given: words.len(), reserved };
                Err(DefineError::Use(error.into()))
            }
        }
    }

    /// Waits for another IO while this handle is handed out, as buffer managers need; what is staged
    /// is submitted first.
    ///
    /// # Errors
    /// [`Error::WouldWaitForItself`] for its own reference; as [`Process::wait`].
    pub fn wait(&mut self, reference: WaitRef) -> Result<Waited, UseError> {
        self.process.wait(reference)
    }

    /// Submits what is staged, while this handle is handed out.
    ///
    /// # Errors
    /// [`UseError`].
    pub fn submit_staged(&mut self) -> Result<(), UseError> {
        self.process.submit_staged()
    }

    /// Gives the handle back unused (`pgaio_io_release`): the same as dropping it.
    pub fn release(self) {}

    /// Reads into `memory` from `offset` (bytes) of the file (`pgaio_io_start_readv`). What was read
    /// may be less than asked for.
    ///
    /// # Errors
    /// [`Refused`] with the memory; the handle is released then.
    #[inline]
    pub fn read<M: Lend<'pool>>(
        self,
        file: &File<'pool>,
        memory: M,
        offset: u64,
    ) -> Result<Pending<'pool, M>, Refused<M>> {
        self.start(Operation::Readv, file, memory, offset)
    }

    /// Writes `memory` to `offset` (bytes) of the file (`pgaio_io_start_writev`). What was written may
    /// be less than asked for.
    ///
    /// # Errors
    /// [`Refused`] with the memory; the handle is released then.
    #[inline]
    pub fn write<M: Lend<'pool>>(
        self,
        file: &File<'pool>,
        memory: M,
        offset: u64,
    ) -> Result<Pending<'pool, M>, Refused<M>> {
        self.start(Operation::Writev, file, memory, offset)
    }

    /// Syncs data and metadata of the file, fsync(2).
    ///
    /// # Errors
    /// [`Refused`]; the handle is released then.
    pub fn fsync(self, file: &File<'pool>) -> Result<Pending<'pool, ()>, Refused<()>> {
        self.start(Operation::Fsync, file, (), 0)
    }

    /// Syncs data of the file, fdatasync(2).
    ///
    /// # Errors
    /// [`Refused`]; the handle is released then.
    pub fn fdatasync(self, file: &File<'pool>) -> Result<Pending<'pool, ()>, Refused<()>> {
        self.start(Operation::Fdatasync, file, (), 0)
    }

    #[inline(always)]
    fn start<M: Lend<'pool>>(
        mut self,
        operation: Operation,
        file: &File<'pool>,
        memory: M,
        offset: u64,
    ) -> Result<Pending<'pool, M>, Refused<M>> {
        match self.process.issuer.method_mut().room(self.handed_out.id) {
            Some(place) => memory.put_into(place),
            None => return Err(Refused { error: UseError::NotMine.into(), memory }),
        }
        if let Err(error) = self.try_start(operation, file, offset) {
            return Err(self.refused(error));
        }
        let pending = Pending::new(self.process, self.handed_out);
        // It is not handed out any more: there is nothing to release.
        std::mem::forget(self);
        Ok(pending)
    }

    /// Starts the IO with the memory that was put into its entry; in place it is over afterwards. The
    /// same for every kind of memory, so it is compiled once.
    fn try_start(
        &mut self,
        operation: Operation,
        file: &File<'pool>,
        offset: u64,
    ) -> Result<(), StartError> {
        let (request, first) = self.define(operation, file, offset)?;
        let HandedOut { id, generation } = self.handed_out;
        let issuer = &mut self.process.issuer;
        let one = [first];
        let mut many = None;
        let places: &[Place] = match request.iovecs {
            0 => &[],
            1 => &one,
            _ => many.insert(issuer.method_mut().places_of(id)),
        };
        // In place and alone, the IO is over before the caller's borrow of the file ends.
        let alone = issuer.batch_depth() == 0 && issuer.book().staged() == 0;
        let keep = !alone || !issuer.method().is_in_place();
        let start = Start { file, operation, offset, keep };
        issuer.method_mut().lend((id, generation), &start);
        let started = issuer.start(self.handed_out, &request, places);
        if let Some(places) = many {
            issuer.method_mut().give_back(places);
        }
        started?;
        if !keep && self.process.issuer.book().staged() > 0 {
            // Not over after all: its submission met a damaged word, and may be tried again.
            self.process.issuer.method_mut().keep_file(id, file);
        }
        Ok(())
    }

    #[cold]
    fn refused<M: Lend<'pool>>(self, error: StartError) -> Refused<M> {
        let place = self.process.issuer.method_mut().unlend(self.handed_out.id);
        match place.and_then(M::take_from) {
            Some(memory) => Refused { error, memory },
            None => unreachable!("memory comes back as what it was given"),
        }
    }

    /// Every check that can be made before anything changes: the request, and where its first buffer is.
    #[inline(always)]
    fn define(
        &self,
        operation: Operation,
        file: &File<'pool>,
        offset: u64,
    ) -> Result<(Request, Place), StartError> {
        self.process.check()?;
        let segment = self.process.issuer.context().shared;
        check_pool(file, segment)?;
        let memory = self.process.issuer.method().memory_of(self.handed_out.id);
        let Extent { count, first, length, local, common } =
            memory.check(segment, self.process.holder())?;
        let reserved = segment.facts().config.max_iovecs() as usize;
        if count > reserved {
            return Err(Error::TooManyBuffers { given: count, reserved }.into());
        }
        if length > MAX_LENGTH {
            return Err(MemoryError::TooLong(length, MAX_LENGTH).into());
        }
        if let Some(limits) = file.direct_limits() {
            check_alignment(memory, offset, limits)?;
        }
        let mut flags = self.flags;
        flags.set(Flags::REFERENCES_LOCAL, local);
        if self.process.issuer.method().is_only_for_issuer(file, operation, common) {
            flags |= Flags::SYNCHRONOUS;
        }
        let request = Request {
            operation,
            flags,
            target: file.target(),
            target_data: file.target_data(),
            offset,
            length,
            iovecs: u16::try_from(count).unwrap_or(u16::MAX),
            data_len: self.data_len.unwrap_or(0),
            callbacks: self.callbacks,
        };
        Ok((request, first))
    }
}

/// Direct IO needs offset, lengths and addresses that the device likes; the kernel would say EINVAL to all of it.
#[cold]
fn check_alignment(
    memory: &Buffers<'_>,
    offset: u64,
    (address_align, block_align): (u32, u32),
) -> Result<(), MemoryError> {
    let check = |what, value: u64, align: u32| {
        if value.is_multiple_of(u64::from(align)) {
            Ok(())
        } else {
            Err(MemoryError::Misaligned { what, value, align })
        }
    };
    check("offset", offset, block_align)?;
    for piece in memory.as_slice().iter().filter_map(|memory| memory.iovec()) {
        check("length of a buffer", piece.len as u64, block_align)?;
        check("address of a buffer", piece.base.as_ptr().addr() as u64, address_align)?;
    }
    Ok(())
}

/// The most bytes Linux transfers in one call.
const MAX_LENGTH: u64 = 0x7fff_f000;

impl Drop for Handle<'_, '_> {
    fn drop(&mut self) {
        if self.process.check().is_ok() {
            // The handle is the one handed out, for this borrow excludes another acquire.
            let _released = self.process.issuer.release(self.handed_out);
        }
    }
}
