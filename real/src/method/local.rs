//! The issuer's private side of every method: an array slab by handle with the memory lent to its IO, the descriptor,
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

use super::kept::KeptFiles;
use super::ring::{Flights, InFlight, ProcessRing, RingFiles};
use super::staff::Staff;
use crate::memory::{Buffers, LentBuffers, Memory};
use crate::place::Dropped;
use crate::registry::{Application, IoError};
use crate::segment::Segment;
use crate::sys::io as sys;
use crate::sys::uring::{Op, SubmissionEntry, Target};
use crate::target::File;
use chacha20::ChaCha8Rng;
use chacha20::rand_core::{Rng as _, SeedableRng as _};
use handfast_core::handle::Place;
use handfast_core::ids::{Generation, HandleId};
use handfast_core::outcome::{Outcome, RawResult, Status};
use handfast_core::protocol::{Shared as _, Submit};
use handfast_core::request::{Flags, Operation, Request};
use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, RawFd};
use std::sync::Arc;

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    Empty,
    Lent,
    Over,
}

#[derive(Default)]
struct Entry<'pool> {
    stage: Stage,
    keeps_file: bool,
    /// Given to workers.
    flies: bool,
    fd: Option<RawFd>,
    generation: u64,
    held: Held<'pool>,
    /// What the kernel reads the addresses of several buffers from.
    pieces: Vec<sys::IoVec>,
}

/// What an IO gives back to its user when it is over.
pub(crate) struct Held<'pool> {
    pub memory: LentBuffers<'pool>,
    pub outcome: Outcome,
    pub error: Option<Box<IoError>>,
}

impl Default for Held<'_> {
    fn default() -> Self {
        Self { memory: LentBuffers::default(), outcome: Outcome::from_packed(0), error: None }
    }
}

/// Who executes what the issuer does not execute in place.
#[expect(clippy::large_enum_variant, reason = "there is one of it in an attachment")]
pub(crate) enum Engine<'pool> {
    /// Nobody.
    InPlace,
    /// The pool's workers.
    Workers(&'pool Staff),
    /// The kernel.
    Ring(RingSide<'pool>),
}

/// The issuer's side of its ring.
pub(crate) struct RingSide<'pool> {
    ring: &'pool ProcessRing,
    files: Arc<RingFiles>,
    flights: Arc<Flights>,
    /// More buffered IOs in flight than this: the next one is for a kernel thread.
    offload_above: Option<u32>,
    flying: u32,
    /// Numbers that no peer can know before.
    random: ChaCha8Rng,
}

impl<'pool> RingSide<'pool> {
    /// Of an open ring.
    pub fn new(ring: &'pool ProcessRing) -> Option<Self> {
        let (files, flights) = ring.parts()?;
        let mut seed = [0; 32];
        for part in seed.chunks_exact_mut(8) {
            part.copy_from_slice(&RandomState::new().build_hasher().finish().to_ne_bytes());
        }
        let random = ChaCha8Rng::from_seed(seed);
        Some(Self { ring, files, flights, offload_above: None, flying: 0, random })
    }
}

/// The issuer's side of the method in use.
pub(crate) struct Local<'pool> {
    base: u32,
    engine: Engine<'pool>,
    entries: Box<[Entry<'pool>]>,
    kept: KeptFiles<'pool>,
    set_aside: BTreeMap<(u32, u64), Held<'pool>>,
    /// A result on its way from `set_aside` to its user.
    late: Held<'pool>,
    dropped: &'pool Dropped,
    application: &'pool Application,
    iovecs: Vec<sys::IoVec>,
    places: Vec<Place>,
}

// SAFETY: the addresses in `iovecs` are scratch between two IOs, rewritten before each use from
// memory that the entries own; everything else is Send.
unsafe impl Send for Local<'_> {}

/// How an IO is to be started.
pub(crate) struct Start<'f, 'pool> {
    pub file: &'f File<'pool>,
    pub operation: Operation,
    pub offset: u64,
    /// It may outlive the caller's borrow of the file.
    pub keep: bool,
}

impl<'pool> Local<'pool> {
    pub fn new(
        application: &'pool Application,
        dropped: &'pool Dropped,
        handles: std::ops::Range<u32>,
    ) -> Self {
        let max_iovecs = application.segment.facts().config.max_iovecs();
        Self {
            base: handles.start,
            engine: Engine::InPlace,
            entries: handles.map(|_| Entry::default()).collect(),
            kept: KeptFiles::default(),
            set_aside: BTreeMap::new(),
            late: Held::default(),
            dropped,
            application,
            iovecs: Vec::with_capacity(max_iovecs as usize),
            places: Vec::with_capacity(max_iovecs as usize),
        }
    }

    /// Who executes from now on; nothing has been started.
    pub fn use_engine(&mut self, engine: Engine<'pool>) {
        self.engine = engine;
    }

    /// From how many buffered IOs in flight on the next one is for a kernel thread.
    pub fn offload_above(&mut self, most: Option<u32>) {
        if let Engine::Ring(side) = &mut self.engine {
            side.offload_above = most;
        }
    }

    /// Whether everything is over when its start returns.
    #[inline(always)]
    pub fn is_in_place(&self) -> bool {
        matches!(self.engine, Engine::InPlace)
    }

    /// Whether only the issuer can execute an IO on this file with such memory.
    #[inline(always)]
    pub fn is_only_for_issuer(
        &self,
        file: &File<'_>,
        operation: Operation,
        reachable: bool,
    ) -> bool {
        match self.engine {
            Engine::InPlace | Engine::Ring(_) => false,
            Engine::Workers(_) => !reachable || !file.is_for_workers(operation),
        }
    }

    /// Gives the memory and the files of IO that may not be over up, for ever: the attachment ends.
    #[cold]
    pub fn leak(&mut self) {
        for entry in &mut self.entries {
            if entry.stage == Stage::Lent {
                std::mem::forget(std::mem::take(entry));
            }
        }
        std::mem::forget(std::mem::take(&mut self.kept));
    }

    #[inline(always)]
    pub fn dropped(&self) -> &'pool Dropped {
        self.dropped
    }

    #[inline(always)]
    fn index(&self, io: HandleId) -> u32 {
        io.0.wrapping_sub(self.base)
    }

    /// An empty place for the memory of a handed-out handle's IO.
    #[inline(always)]
    pub fn room(&mut self, io: HandleId) -> Option<&mut LentBuffers<'pool>> {
        let index = self.index(io);
        if self.entries.get(index as usize)?.stage != Stage::Empty {
            self.make_room(index);
        }
        Some(&mut self.entries.get_mut(index as usize)?.held.memory)
    }

    /// The memory in a handle's place.
    #[inline(always)]
    pub fn memory_of(&self, io: HandleId) -> &Buffers<'pool> {
        match self.entries.get(self.index(io) as usize) {
            Some(entry) => &entry.held.memory.0,
            None => &Buffers::None,
        }
    }

    /// Lends the memory in the handle's place to an IO that is about to start.
    #[inline(always)]
    pub fn lend(&mut self, io: (HandleId, Generation), start: &Start<'_, 'pool>) {
        let Start { file, operation, offset, keep } = *start;
        let index = self.index(io.0);
        let Some(entry) = self.entries.get_mut(index as usize) else { return };
        let fd = file.as_fd().as_raw_fd();
        entry.held.memory.0.lend(io);
        entry.stage = Stage::Lent;
        entry.generation = io.1.get();
        entry.fd = Some(fd);
        entry.keeps_file = keep;
        if let Engine::Ring(side) = &mut self.engine {
            let target = file.in_ring(&side.files).map_or(Target::Fd(fd), Target::Registered);
            let (op, addr, len) = entry.subject(operation);
            let (user_data, offload) = (0, false);
            let request = SubmissionEntry { op, target, addr, len, offset, user_data, offload };
            side.flights.prepare((index, io.1.get()), side.random.next_u32(), request);
        }
        if keep {
            self.kept.keep(file);
        }
    }

    /// Keeps the file of an IO that is not over when its start returns.
    #[cold]
    pub fn keep_file(&mut self, io: HandleId, file: &File<'pool>) {
        let index = self.index(io) as usize;
        let Some(entry) = self.entries.get_mut(index) else { return };
        if !std::mem::replace(&mut entry.keeps_file, true) {
            self.kept.keep(file);
        }
    }

    /// Descriptions of many buffers, in a list that does not allocate in a warm loop.
    #[inline(never)]
    pub fn places_of(&mut self, io: HandleId) -> Vec<Place> {
        let mut places = std::mem::take(&mut self.places);
        places.extend(self.memory_of(io).as_slice().iter().map(Memory::place));
        places
    }

    /// Gives the list back.
    #[inline(always)]
    pub fn give_back(&mut self, mut places: Vec<Place>) {
        places.clear();
        self.places = places;
    }

    /// The memory of an IO whose start was refused, before or after [`Self::lend`]; to be taken out.
    pub fn unlend(&mut self, io: HandleId) -> Option<&mut LentBuffers<'pool>> {
        let index = self.index(io) as usize;
        let entry = self.entries.get_mut(index)?;
        if std::mem::take(&mut entry.stage) == Stage::Lent {
            entry.held.memory.0.take_back();
        }
        // Without a descriptor nothing can be executed for it any more.
        if let Some(fd) = entry.fd.take()
            && std::mem::take(&mut entry.keeps_file)
        {
            self.kept.let_go(fd);
        }
        Some(&mut entry.held.memory)
    }

    /// Makes an entry empty: what is still in it was dropped by its user, or is set aside for it.
    #[cold]
    fn make_room(&mut self, index: u32) {
        let Some(entry) = self.entries.get_mut(index as usize) else { return };
        let entry = std::mem::take(entry);
        let marked = self.dropped.take(index);
        self.set_aside.remove(&(index, marked));
        let mut dropped = marked == entry.generation;
        for late in self.dropped.take_late() {
            dropped |= late == (index, entry.generation);
            self.set_aside.remove(&late);
            self.forget(late.0, late.1);
        }
        if entry.stage == Stage::Over && !dropped {
            self.set_aside.insert((index, entry.generation), entry.held);
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
            Stage::Over => *entry = Entry::default(),
            Stage::Lent => self.dropped.mark(index, generation),
            Stage::Empty => {}
        }
    }

    /// The result of an IO that was reclaimed, once: everything is to be taken out of it.
    #[inline(always)]
    pub fn take(&mut self, io: (HandleId, Generation)) -> Option<&mut Held<'pool>> {
        let (index, generation) = (self.index(io.0), io.1.get());
        if self.entries.get(index as usize)?.generation != generation {
            return self.take_set_aside(index, generation);
        }
        let entry = self.entries.get_mut(index as usize)?;
        if entry.stage != Stage::Over {
            return None;
        }
        entry.stage = Stage::Empty;
        Some(&mut entry.held)
    }

    #[cold]
    fn take_set_aside(&mut self, index: u32, generation: u64) -> Option<&mut Held<'pool>> {
        self.late = self.set_aside.remove(&(index, generation))?;
        Some(&mut self.late)
    }

    /// The handles in use whose IO uses this file.
    pub fn users_of(&self, file: &File<'pool>) -> Vec<(HandleId, u64)> {
        let fd = Some(file.as_fd().as_raw_fd());
        let uses = |entry: &Entry<'pool>| matches!(entry.stage, Stage::Lent) && entry.fd == fd;
        let using = (self.base..).zip(&self.entries).filter(|(_, entry)| uses(entry));
        using.map(|(id, entry)| (HandleId(id), entry.generation)).collect()
    }

    #[inline(always)]
    fn run(&mut self, index: usize, request: &Request) -> Option<RawResult> {
        let entry = self.entries.get(index)?;
        let Buffers::One(memory) = &entry.held.memory.0 else {
            return self.run_many(index, request);
        };
        let one = [memory.iovec()?];
        execute(entry.descriptor()?, &one, request)
    }

    /// Apart from the case of one, which so stays short enough to be inlined.
    #[inline(never)]
    fn run_many(&mut self, index: usize, request: &Request) -> Option<RawResult> {
        let entry = self.entries.get(index)?;
        self.iovecs.clear();
        let list = entry.held.memory.0.as_slice();
        self.iovecs.extend(list.iter().filter_map(|memory| memory.iovec()));
        execute(entry.descriptor()?, &self.iovecs, request)
    }

    /// The kernel has not said that it is done with an IO whose word says that it is over: memory that could
    /// go is given up for ever (S24, S26). Frames stay mapped (`ProcessRing::close`).
    #[cold]
    fn lose(&mut self, index: u32, generation: Generation) {
        let Engine::Ring(side) = &self.engine else { return };
        side.flights.lose(index, generation);
        if let Some(entry) = self.entries.get_mut(index as usize) {
            std::mem::forget(std::mem::take(&mut entry.pieces));
            if !entry.held.memory.0.is_of_segment() {
                std::mem::forget(std::mem::take(&mut entry.held.memory));
            }
        }
    }

    /// What the kernel did not take.
    #[cold]
    fn execute_refused(&mut self, base: u32, refused: &[InFlight]) {
        for &(index, generation) in refused {
            let handle = self.application.segment.handle(HandleId(base.wrapping_add(index)));
            let request = handle.and_then(|handle| handle.peek_request());
            let raw = request.and_then(|request| self.run(index as usize, &request));
            if let Engine::Ring(side) = &self.engine {
                side.ring.executed((index, generation), raw.unwrap_or(RawResult::GARBLED));
            }
        }
    }

    #[inline(never)]
    fn hand_to_workers(&mut self, ios: &[(HandleId, Generation)]) {
        for (id, _) in ios {
            let index = self.index(*id) as usize;
            if let Some(entry) = self.entries.get_mut(index) {
                entry.flies = true;
            }
        }
    }

    #[cold]
    fn keep_error(&mut self, io: HandleId, outcome: Outcome) {
        let index = self.index(io) as usize;
        if let Some(entry) = self.entries.get_mut(index) {
            entry.held.error = report(self.application, io, outcome);
        }
    }

    /// Forgets the IO whose [`crate::Pending`] was dropped: this one, or an earlier one of the handle.
    #[cold]
    fn forget_dropped(&mut self, index: u32, generation: Generation) {
        let marked = self.dropped.take(index);
        if marked != generation.get() {
            self.set_aside.remove(&(index, marked));
        } else if let Some(entry) = self.entries.get_mut(index as usize) {
            *entry = Entry::default();
        }
    }
}

impl Entry<'_> {
    /// What the kernel is to do, and to which bytes or to how many buffers.
    #[inline(always)]
    fn subject(&mut self, operation: Operation) -> (Op, u64, u32) {
        let read = match operation {
            Operation::Readv => true,
            Operation::Writev => false,
            Operation::Fsync => return (Op::Fsync, 0, 0),
            Operation::Fdatasync => return (Op::Fdatasync, 0, 0),
        };
        let length = |len| u32::try_from(len).unwrap_or(u32::MAX);
        if let Buffers::One(memory) = &self.held.memory.0
            && let Some(piece) = memory.iovec()
        {
            let op = if read { Op::Read } else { Op::Write };
            return (op, piece.base.as_ptr().expose_provenance() as u64, length(piece.len));
        }
        let list = self.held.memory.0.as_slice();
        self.pieces.clear();
        self.pieces.extend(list.iter().filter_map(|memory| memory.iovec()));
        let op = if read { Op::Readv } else { Op::Writev };
        (op, self.pieces.as_ptr().expose_provenance() as u64, length(self.pieces.len()))
    }

    #[inline(always)]
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        // SAFETY: the descriptor is open: the caller of the start borrows its file until the IO is
        // over, or a share of it is kept (`lend`).
        self.fd.map(|fd| unsafe { BorrowedFd::borrow_raw(fd) })
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
        Operation::Fsync | Operation::Fdatasync => sync(fd, request.operation),
    };
    Some(RawResult(raw))
}

#[inline(never)]
fn sync(fd: BorrowedFd<'_>, operation: Operation) -> i32 {
    if operation == Operation::Fsync { sys::fsync(fd) } else { sys::fdatasync(fd) }
}

impl Submit for Local<'_> {
    #[inline(always)]
    fn in_place(&self, flags: Flags) -> bool {
        match &self.engine {
            Engine::InPlace => true,
            Engine::Workers(staff) => {
                let own = Flags::SYNCHRONOUS.union(Flags::REFERENCES_LOCAL);
                flags.intersects(own) || staff.alive() == 0
            }
            Engine::Ring(side) => flags.contains(Flags::SYNCHRONOUS) || side.ring.is_broken(),
        }
    }

    /// A ring has more completion entries than the process has handles, and more submission entries than a
    /// batch has IOs.
    fn accept(&mut self, wanted: usize) -> usize {
        wanted
    }

    #[inline]
    fn submit(&mut self, ios: &[(HandleId, Generation)]) {
        let (base, segment) = (self.base, &self.application.segment);
        let side = match &mut self.engine {
            Engine::Ring(side) => side,
            Engine::InPlace => return,
            Engine::Workers(_) => return self.hand_to_workers(ios),
        };
        let RingSide { ring, offload_above, flying, .. } = side;
        let requests = ios.iter().map(|&(id, generation)| {
            let offload =
                offload_above.is_some_and(|most| *flying > most && is_buffered(segment, id));
            *flying += 1;
            (id, generation, offload)
        });
        // SAFETY: the entries own memory and addresses, and keep the file, until `retired`, which gives up
        // what the kernel may still be at (`lose`); the segment stays mapped as long (`ProcessRing::close`).
        let refused = unsafe { ring.submit(requests) };
        if !refused.is_empty() {
            self.execute_refused(base, &refused);
        }
    }

    #[inline(always)]
    fn execute(&mut self, io: HandleId, request: &Request) -> RawResult {
        let index = self.index(io) as usize;
        self.run(index, request).unwrap_or(RawResult::GARBLED)
    }

    /// What runs in place is over when its start returns.
    fn is_outstanding(&self, io: HandleId) -> bool {
        let index = self.index(io);
        match &self.engine {
            Engine::InPlace => false,
            Engine::Workers(_) => self.entries.get(index as usize).is_some_and(|entry| entry.flies),
            Engine::Ring(side) => side.flights.is_outstanding(index),
        }
    }

    #[inline(always)]
    fn retired(&mut self, io: HandleId, generation: Generation, outcome: Outcome) {
        let index = self.index(io);
        if let Engine::Ring(side) = &mut self.engine
            && side.flights.has_taken_off(index, generation)
        {
            side.flying = side.flying.saturating_sub(1);
            if !side.flights.has_landed(index, generation) {
                self.lose(index, generation);
            }
        }
        let Some(entry) = self.entries.get_mut(index as usize) else { return };
        entry.flies = false;
        entry.held.memory.0.take_back();
        entry.held.outcome = outcome;
        entry.stage = Stage::Over;
        if let Some(fd) = entry.fd.take()
            && std::mem::take(&mut entry.keeps_file)
        {
            self.kept.let_go(fd);
        }
        if matches!(outcome.status(), Status::Error | Status::Unknown) {
            self.keep_error(io, outcome);
        }
        if self.dropped.is_marked(index) {
            self.forget_dropped(index, generation);
        }
    }
}

#[cold]
fn is_buffered(segment: &Segment, id: HandleId) -> bool {
    let request = segment.handle(id).and_then(|handle| handle.peek_request());
    request.is_some_and(|request| request.flags.contains(Flags::BUFFERED))
}

/// The error in words, while the request is still there to be read.
fn report(application: &Application, io: HandleId, outcome: Outcome) -> Option<Box<IoError>> {
    let request = application.segment.handle(io)?.peek_request();
    Some(Box::new(match request {
        Some(request) => IoError::new(application, &request, outcome),
        None => IoError::of_garbled(application, outcome),
    }))
}
