//! The issuer's private side: an array slab by handle with the memory lent to its IO, the descriptor,
//! and, when the IO is over, its result (S15: written once, by the owner).
//!
//! | entry | when |
//! |---|---|
//! | empty | the handle is idle, or its result was taken |
//! | lent | from start to reclaim |
//! | over | from reclaim to `finish`, or to the handle's next use |
//!
//! A result whose handle is used again before `finish` is set aside in a map. A dropped
//! [`crate::Pending`] leaves a mark ([`Dropped`]) that is seen at the reclaim or the next use.
//! PostgreSQL: `PgAioReturn` behind a raw pointer into the issuer's frame (MUSEUM R4).

use crate::memory::Buffers;
use crate::place::Dropped;
use crate::registry::{Application, IoError};
use crate::sys::io as sys;
use crate::target::File;
use handfast_core::ids::{Generation, HandleId};
use handfast_core::outcome::{Outcome, RawResult, Status};
use handfast_core::protocol::{Shared as _, Submit};
use handfast_core::request::{Operation, Request};
use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, RawFd};

#[derive(Default)]
enum Stage {
    #[default]
    Empty,
    Lent,
    Over(Outcome),
}

#[derive(Default)]
struct Entry<'pool> {
    stage: Stage,
    generation: u64,
    buffers: Buffers<'pool>,
    fd: Option<RawFd>,
    file: Option<File<'pool>>,
    error: Option<Box<IoError>>,
}

/// A result that somebody may still ask for.
pub(crate) struct Over<'pool> {
    pub outcome: Outcome,
    pub buffers: Buffers<'pool>,
    pub error: Option<Box<IoError>>,
}

/// The issuer's side of the method in use.
pub(crate) struct Local<'pool> {
    base: u32,
    entries: Box<[Entry<'pool>]>,
    set_aside: BTreeMap<(u32, u64), Over<'pool>>,
    dropped: &'pool Dropped,
    application: &'pool Application,
    iovecs: Vec<sys::IoVec>,
}

// SAFETY: the addresses in `iovecs` are scratch between two IOs, rewritten before each use from
// memory that the entries own; everything else is Send.
unsafe impl Send for Local<'_> {}

impl<'pool> Local<'pool> {
    pub fn new(
        application: &'pool Application,
        dropped: &'pool Dropped,
        handles: std::ops::Range<u32>,
    ) -> Self {
        let max_iovecs = application.segment.facts().config.max_iovecs();
        Self {
            base: handles.start,
            entries: handles.map(|_| Entry::default()).collect(),
            set_aside: BTreeMap::new(),
            dropped,
            application,
            iovecs: Vec::with_capacity(max_iovecs as usize),
        }
    }

    #[inline(always)]
    pub fn dropped(&self) -> &'pool Dropped {
        self.dropped
    }

    #[inline(always)]
    pub fn first_handle(&self) -> u32 {
        self.base
    }

    #[inline(always)]
    fn index(&self, io: HandleId) -> u32 {
        io.0.wrapping_sub(self.base)
    }

    /// Keeps the memory of an IO that is about to start. `keep` says that the IO may outlive the
    /// caller's borrow of the file.
    #[inline]
    pub fn lend(
        &mut self,
        io: (HandleId, Generation),
        buffers: Buffers<'pool>,
        file: (&File<'pool>, bool),
    ) {
        self.make_room(self.index(io.0));
        let index = self.index(io.0) as usize;
        let Some(entry) = self.entries.get_mut(index) else { return };
        for memory in buffers.as_slice() {
            memory.lend(io);
        }
        entry.stage = Stage::Lent;
        entry.generation = io.1.get();
        entry.buffers = buffers;
        entry.fd = Some(file.0.as_fd().as_raw_fd());
        entry.file = file.1.then(|| file.0.clone());
    }

    /// Undoes [`Self::lend`] when the start was refused.
    pub fn unlend(&mut self, io: HandleId) -> Buffers<'pool> {
        let index = self.index(io) as usize;
        match self.entries.get_mut(index) {
            Some(entry) => std::mem::take(entry).returned(),
            None => Buffers::None,
        }
    }

    /// Makes an entry empty: what is still in it was dropped by its user, or is set aside for it.
    #[inline(always)]
    fn make_room(&mut self, index: u32) {
        let Some(entry) = self.entries.get_mut(index as usize) else { return };
        if let Stage::Empty = entry.stage {
            return;
        }
        let entry = std::mem::take(entry);
        self.set_aside(index, entry);
    }

    fn set_aside(&mut self, index: u32, entry: Entry<'pool>) {
        let marked = self.dropped.take(index);
        self.set_aside.remove(&(index, marked));
        for late in self.dropped.take_late() {
            self.set_aside.remove(&late);
        }
        if let Stage::Over(outcome) = entry.stage
            && marked != entry.generation
        {
            let over = Over { outcome, buffers: entry.buffers, error: entry.error };
            self.set_aside.insert((index, entry.generation), over);
        }
    }

    /// Returns the memory of everything that is over and was dropped by its user.
    pub fn purge(&mut self) {
        for late in self.dropped.take_late() {
            self.set_aside.remove(&late);
            self.forget(late.0, late.1);
        }
        for index in (0..).take(self.entries.len()) {
            let marked = self.dropped.take(index);
            self.set_aside.remove(&(index, marked));
            self.forget(index, marked);
        }
    }

    /// Empties the entry if this IO is over; if it is not, the mark is left again.
    fn forget(&mut self, index: u32, generation: u64) {
        let Some(entry) = self.entries.get_mut(index as usize) else { return };
        match entry.stage {
            _ if generation == 0 || entry.generation != generation => {}
            Stage::Over(_) => *entry = Entry::default(),
            Stage::Lent => self.dropped.mark(index, generation),
            Stage::Empty => {}
        }
    }

    /// The result of an IO that was reclaimed, once.
    #[inline]
    pub fn take(&mut self, io: (HandleId, Generation)) -> Option<Over<'pool>> {
        let (index, generation) = (self.index(io.0), io.1.get());
        let entry = self.entries.get_mut(index as usize)?;
        if entry.generation != generation {
            return self.set_aside.remove(&(index, generation));
        }
        let Stage::Over(outcome) = entry.stage else { return None };
        entry.stage = Stage::Empty;
        let buffers = std::mem::take(&mut entry.buffers);
        Some(Over { outcome, buffers, error: entry.error.take() })
    }

    /// The handles in use whose IO uses this file.
    pub fn users_of(&self, file: &File<'pool>) -> Vec<(HandleId, u64)> {
        let uses = |entry: &Entry<'pool>| {
            matches!(entry.stage, Stage::Lent)
                && entry.file.as_ref().is_some_and(|used| used.same_descriptor(file))
        };
        let using = (self.base..).zip(&self.entries).filter(|(_, entry)| uses(entry));
        using.map(|(id, entry)| (HandleId(id), entry.generation)).collect()
    }

    fn run(&mut self, index: usize, request: &Request) -> Option<RawResult> {
        let entry = self.entries.get(index)?;
        // SAFETY: the descriptor is open: the caller of the start borrows its file until this
        // returns, or the entry shares it (`lend`).
        let fd = unsafe { BorrowedFd::borrow_raw(entry.fd?) };
        if let Buffers::One(memory) = &entry.buffers {
            let one = [memory.iovec()?];
            return execute(fd, &one, request);
        }
        self.iovecs.clear();
        self.iovecs.extend(entry.buffers.as_slice().iter().filter_map(|memory| memory.iovec()));
        execute(fd, &self.iovecs, request)
    }
}

impl<'pool> Entry<'pool> {
    fn returned(self) -> Buffers<'pool> {
        for memory in self.buffers.as_slice() {
            memory.take_back();
        }
        self.buffers
    }
}

#[inline(always)]
fn execute(fd: BorrowedFd<'_>, iovecs: &[sys::IoVec], request: &Request) -> Option<RawResult> {
    let raw = match request.operation {
        // SAFETY: the buffers are owned by the entry, which is not touched before the call returns,
        // and stay mapped or allocated as long as they are owned (`Memory::iovec`).
        Operation::Readv => unsafe { sys::preadv(fd, iovecs, request.offset) },
        // SAFETY: as above.
        Operation::Writev => unsafe { sys::pwritev(fd, iovecs, request.offset) },
        Operation::Fsync => sys::fsync(fd),
        Operation::Fdatasync => sys::fdatasync(fd),
    };
    Some(RawResult(raw))
}

impl Submit for Local<'_> {
    #[inline(always)]
    fn in_place(&self, _request: &Request) -> bool {
        true
    }

    fn accept(&mut self, wanted: usize) -> usize {
        wanted
    }

    fn submit(&mut self, _ios: &[(HandleId, Generation)]) {}

    #[inline]
    fn execute(&mut self, io: HandleId, request: &Request) -> RawResult {
        let index = self.index(io) as usize;
        self.run(index, request).unwrap_or(RawResult::GARBLED)
    }

    #[inline]
    fn retired(&mut self, io: HandleId, generation: Generation, outcome: Outcome) {
        let index = self.index(io);
        let Some(entry) = self.entries.get_mut(index as usize) else { return };
        for memory in entry.buffers.as_slice() {
            memory.take_back();
        }
        entry.stage = Stage::Over(outcome);
        entry.file = None;
        if outcome.status() == Status::Error {
            entry.error = report(self.application, io, outcome);
        }
        match self.dropped.take(index) {
            0 => {}
            marked if marked == generation.get() => *entry = Entry::default(),
            earlier => {
                self.set_aside.remove(&(index, earlier));
            }
        }
    }
}

/// The error in words, while the request is still there to be read.
fn report(application: &Application, io: HandleId, outcome: Outcome) -> Option<Box<IoError>> {
    let request = application.segment.handle(io)?.peek_request()?;
    Some(Box::new(IoError::new(application, &request, outcome)))
}
