//! The mapped segment: where the pool's shared words lie, and the only place that turns its bytes
//! into references.
//!
//! The numbers that say where things lie are computed at creation or checked at attach, copied
//! to private memory ([`Layout`]) and never read from the segment again. Every index is compared
//! here before use, so a hostile or damaged segment leads to nonsense values but never to an access
//! outside of it (S26). References go to atomics only, those that copy the bytes of frames included.
//!
//! | section | type | written by |
//! |---|---|---|
//! | header | words | the creator, before READY |
//! | slots, handles, iovecs, data | `handfast-core`'s | the protocol |
//! | frame words, first word of files | lease words | the protocol |
//! | files | [`FileEntry`] | the lease's holder |
//! | user words | the application's | the application |
//! | staff | [`Staff`] | workers |
//! | hints | words | the protocol |
//! | queues | bytes | the kernel, and who completes |
//! | frames | bytes | IO, and their owners |
//!
//! Checked by: the tests of `layout`, `header` and `tests/tests/segment.rs`.

use crate::header::{self, HeaderError, HeaderFacts};
use crate::layout::{Layout, Section};
use crate::method::Method;
use crate::method::staff::Staff;
use crate::platform::{Payload, Production, Word64};
use crate::sys::mapping::{ForkGuard, Mapping};
use crate::sys::memfd;
use crate::sys::uring::SharedQueue;
use crossbeam_utils::CachePadded;
use handfast_core::handle::{Handle, Iovec, Slot};
use handfast_core::ids::{Generation, HandleId, PoolTag, ProcessSlot};
use handfast_core::protocol::{Doorbell, Shared};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

type SharedHandle = CachePadded<Handle<Production>>;
type SharedSlot = CachePadded<Slot<Production>>;

const _: () = {
    assert!(size_of::<SharedHandle>() as u64 == crate::layout::HANDLE_BYTES);
    assert!(size_of::<SharedSlot>() as u64 == crate::layout::SLOT_BYTES);
    assert!(size_of::<Iovec<Production>>() as u64 == crate::layout::IOVEC_BYTES);
    assert!(size_of::<FileEntry>() as u64 == crate::layout::FILE_BYTES);
    assert!(size_of::<Staff>() as u64 <= crate::layout::STAFF_BYTES);
    assert!(size_of::<SlotHints>() as u64 == crate::layout::HINTS_BYTES);
    assert!(size_of::<Handle<Production>>() <= 128, "the promised memory per handle");
};

/// Words of a file entry that hold its path.
pub(crate) const PATH_WORDS: usize = 124;

/// The hints of one slot.
pub(crate) type SlotHints = [Word64; 16];

/// One entry of the shared file table: how another process re-opens a file.
#[repr(C)]
pub(crate) struct FileEntry {
    pub lease: Word64,
    pub device: Payload,
    pub inode: Payload,
    /// Length of the path in bytes; whoever reads it believes at most what `path` has room for.
    pub path_len: Payload,
    pub path: [Payload; PATH_WORDS],
}

/// Types that may be laid over the segment.
///
/// # Safety
/// Every bit pattern is a valid value, every field is an atomic (so that other processes may
/// write at any time), and the alignment is at most 128.
unsafe trait Overlay {}

// SAFETY: an atomic integer.
unsafe impl Overlay for AtomicU64 {}
// SAFETY: a transparent atomic integer.
unsafe impl Overlay for Word64 {}
// SAFETY: a transparent atomic integer.
unsafe impl Overlay for Payload {}
// SAFETY: `#[repr(C)]` over atomics, padded to 128 bytes.
unsafe impl Overlay for SharedHandle {}
// SAFETY: `#[repr(C)]` over atomics, padded to 128 bytes.
unsafe impl Overlay for SharedSlot {}
// SAFETY: `#[repr(C)]` over atomics.
unsafe impl Overlay for Iovec<Production> {}
// SAFETY: `#[repr(C)]` over atomics.
unsafe impl Overlay for FileEntry {}
// SAFETY: `#[repr(C)]` over atomics.
unsafe impl Overlay for Staff {}
// SAFETY: an array of transparent atomic integers.
unsafe impl Overlay for SlotHints {}

/// A section as an array. Valid as long as the mapping that it was made from: [`Segment`] keeps
/// both and lends only for its own life.
struct Table<T> {
    first: NonNull<T>,
    len: usize,
}

// SAFETY: the array is of atomics (`Overlay`), which any thread may use.
unsafe impl<T: Overlay> Send for Table<T> {}
// SAFETY: as above.
unsafe impl<T: Overlay> Sync for Table<T> {}

impl<T: Overlay> Table<T> {
    /// The section as an array of as many `T` as fit; `None` if it is not inside of the mapping or
    /// not aligned.
    fn new(mapping: &Mapping, section: Section) -> Option<Self> {
        let (offset, bytes) = (section.offset.try_into().ok()?, section.len.try_into().ok()?);
        let first = mapping.at(offset, bytes)?.cast::<T>();
        let len = bytes / size_of::<T>();
        first.is_aligned().then_some(Self { first, len })
    }

    #[inline(always)]
    fn as_slice(&self) -> &[T] {
        // SAFETY: `new` checked that `len` values of `T` lie inside of the mapping and that the
        // first is aligned; every bit pattern is a `T` whose fields are atomics, so concurrent
        // writes by other processes are allowed; the mapping outlives `self` (both are fields of
        // `Segment`).
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

/// A mapped pool.
pub(crate) struct Segment {
    facts: HeaderFacts,
    handles: Table<SharedHandle>,
    slots: Table<SharedSlot>,
    iovecs: Table<Iovec<Production>>,
    data: Table<Payload>,
    frame_words: Table<Word64>,
    files: Table<FileEntry>,
    user_words: Table<AtomicU64>,
    staff: Table<Staff>,
    hints: Table<SlotHints>,
    queues: usize,
    frames: usize,
    fork_guard: ForkGuard,
    // Dropped last: everything above points into it.
    mapping: Mapping,
}

impl Segment {
    /// A fresh segment of zeroes becomes a pool: handles first, the header's READY last.
    pub fn create(
        memory: (Mapping, ForkGuard),
        facts: HeaderFacts,
        fingerprint: u64,
    ) -> Result<Self, HeaderError> {
        let segment = Self::new(memory, facts)?;
        for handle in segment.handles.as_slice() {
            handle.initialise();
        }
        header::write(segment.header()?.as_slice(), &facts, fingerprint)?;
        Ok(segment)
    }

    /// A segment that another process made: believed only after every number has been checked.
    pub fn open(memory: (Mapping, ForkGuard), fingerprint: u64) -> Result<Self, HeaderError> {
        let mapping = &memory.0;
        let section =
            Section { offset: 0, len: crate::layout::HEADER_BYTES.min(mapping.len() as u64) };
        let words = Table::<AtomicU64>::new(mapping, section).ok_or(HeaderError::NotAPool)?;
        let facts = header::read_and_validate(words.as_slice(), mapping.len() as u64, fingerprint)?;
        Self::new(memory, facts)
    }

    fn new(
        (mapping, fork_guard): (Mapping, ForkGuard),
        facts: HeaderFacts,
    ) -> Result<Self, HeaderError> {
        let layout = &facts.layout;
        let wrong = || HeaderError::WrongLength {
            segment: mapping.len() as u64,
            header: layout.total,
            needed: layout.total,
        };
        Ok(Self {
            handles: Table::new(&mapping, layout.handles).ok_or_else(wrong)?,
            slots: Table::new(&mapping, layout.slots).ok_or_else(wrong)?,
            iovecs: Table::new(&mapping, layout.iovecs).ok_or_else(wrong)?,
            data: Table::new(&mapping, layout.handle_data).ok_or_else(wrong)?,
            frame_words: Table::new(&mapping, layout.frame_words).ok_or_else(wrong)?,
            files: Table::new(&mapping, layout.files).ok_or_else(wrong)?,
            user_words: Table::new(&mapping, layout.user_words).ok_or_else(wrong)?,
            staff: Table::new(&mapping, layout.staff).ok_or_else(wrong)?,
            hints: Table::new(&mapping, layout.hints).ok_or_else(wrong)?,
            queues: usize::try_from(layout.queues.offset).map_err(|_| wrong())?,
            frames: usize::try_from(layout.frames.offset).map_err(|_| wrong())?,
            facts,
            fork_guard,
            mapping,
        })
    }

    fn header(&self) -> Result<Table<AtomicU64>, HeaderError> {
        let section = Section { offset: 0, len: crate::layout::HEADER_BYTES };
        Table::new(&self.mapping, section).ok_or(HeaderError::NotAPool)
    }

    /// Whether this is a child that was forked, and has not exec'ed, since the segment was mapped: then
    /// nothing in it is this process's to change.
    #[inline(always)]
    pub fn is_forked(&self) -> bool {
        self.fork_guard.is_forked()
    }

    pub fn facts(&self) -> &HeaderFacts {
        &self.facts
    }

    #[inline(always)]
    fn layout(&self) -> &Layout {
        &self.facts.layout
    }

    pub fn user_words(&self) -> &[AtomicU64] {
        self.user_words.as_slice()
    }

    /// The words that workers share.
    #[inline(always)]
    pub fn staff(&self) -> Option<&Staff> {
        self.staff.as_slice().first()
    }

    /// The hints of all slots.
    pub fn all_hints(&self) -> &[SlotHints] {
        self.hints.as_slice()
    }

    /// Where the completion queue of a slot lies.
    ///
    /// Valid as long as the segment: whoever uses it keeps that.
    pub fn queue(&self, slot: ProcessSlot) -> Option<SharedQueue> {
        let each = usize::try_from(self.layout().queue_bytes).ok().filter(|&each| each > 0)?;
        let at = self.queues.checked_add(slot.index().checked_mul(each)?)?;
        let inside = slot.get() < self.facts.config.processes();
        let memory = self.mapping.at(at, each).filter(|_| inside)?;
        // SAFETY: `each` bytes of the mapping, in which no reference but to atomics exists, and those to
        // other sections; whoever makes a ring with it keeps the segment.
        unsafe { SharedQueue::new(memory, each) }
    }

    /// Gives a slot's queue new pages, so that whatever still has the old ones writes to nobody's; `file` is the
    /// segment's. False where that cannot be: then a ring needs memory of its own.
    pub fn renew_queue(&self, slot: ProcessSlot, file: BorrowedFd<'_>) -> bool {
        let each = self.layout().queue_bytes;
        let at = (self.queues as u64).checked_add(u64::from(slot.get()) * each);
        at.is_some_and(|at| each > 0 && memfd::renew(file, at, each).unwrap_or(false))
    }

    /// The generation of a handle at this moment.
    pub fn generation_of(&self, id: HandleId) -> Option<Generation> {
        self.handle(id).map(Handle::generation)
    }

    pub fn frame_words(&self) -> &[Word64] {
        self.frame_words.as_slice()
    }

    pub fn files(&self) -> &[FileEntry] {
        self.files.as_slice()
    }

    pub fn frame_size(&self) -> usize {
        self.facts.config.frame_size() as usize
    }

    /// The address of the first `len` bytes of a frame; `None` beyond the last frame or its end.
    #[inline(always)]
    pub fn frame(&self, index: u32, len: usize) -> Option<NonNull<u8>> {
        self.mapping.at(self.frame_offset(index, 0, len)?, len)
    }

    /// Copies bytes out of a frame; `None` if they are not all inside.
    pub fn copy_out(&self, frame: u32, at: usize, out: &mut [u8]) -> Option<()> {
        self.mapping.copy_out(self.frame_offset(frame, at, out.len())?, out)
    }

    /// Copies bytes into a frame; `None` if they are not all inside.
    pub fn copy_in(&self, frame: u32, at: usize, bytes: &[u8]) -> Option<()> {
        self.mapping.copy_in(self.frame_offset(frame, at, bytes.len())?, bytes)
    }

    #[inline(always)]
    fn frame_offset(&self, index: u32, at: usize, len: usize) -> Option<usize> {
        let inside =
            index < self.facts.config.frames() && at.checked_add(len)? <= self.frame_size();
        inside.then(|| self.frames + index as usize * self.frame_size() + at)
    }

    fn reserved<T: Overlay>(table: &Table<T>, range: Option<Range<u32>>) -> &[T] {
        let Some(range) = range else { return &[] };
        table.as_slice().get(range.start as usize..range.end as usize).unwrap_or(&[])
    }
}

impl Shared<Production> for Segment {
    #[inline(always)]
    fn hints(&self, slot: ProcessSlot) -> &[Word64] {
        if self.facts.method.method != Method::Worker {
            return &[];
        }
        self.hints.as_slice().get(slot.index()).map_or(&[], |words| &words[..])
    }

    #[inline(always)]
    fn doorbell(&self) -> Option<&Doorbell<Production>> {
        if self.facts.method.method != Method::Worker {
            return None;
        }
        self.staff().map(|staff| &staff.doorbell)
    }

    #[inline(always)]
    fn has_ring(&self, _slot: ProcessSlot) -> bool {
        self.facts.method.method == Method::IoUring
    }

    #[inline(always)]
    fn tag(&self) -> PoolTag {
        PoolTag(self.facts.pool_tag)
    }

    #[inline(always)]
    fn handle_count(&self) -> u32 {
        self.layout().handle_count
    }

    #[inline(always)]
    fn handle(&self, id: HandleId) -> Option<&Handle<Production>> {
        self.handles.as_slice().get(id.index()).map(|padded| &**padded)
    }

    fn owner(&self, id: HandleId) -> Option<ProcessSlot> {
        ProcessSlot::new(id.0 / self.facts.config.handles_per_process())
            .filter(|_| id.0 < self.handle_count())
    }

    fn owned_by(&self, slot: ProcessSlot) -> Range<u32> {
        let each = self.facts.config.handles_per_process();
        let start = (slot.get() * each).min(self.handle_count());
        start..(start + each).min(self.handle_count())
    }

    #[inline(always)]
    fn iovecs(&self, id: HandleId) -> &[Iovec<Production>] {
        Self::reserved(&self.iovecs, self.layout().iovec_range(id.0))
    }

    #[inline(always)]
    fn data(&self, id: HandleId) -> &[Payload] {
        Self::reserved(&self.data, self.layout().data_range(id.0))
    }

    fn slot(&self, slot: ProcessSlot) -> Option<&Slot<Production>> {
        self.slots.as_slice().get(slot.index()).map(|padded| &**padded)
    }

    fn lease_count(&self) -> u32 {
        self.facts.config.frames() + self.facts.config.max_files()
    }

    fn lease(&self, index: u32) -> Option<&Word64> {
        let frames = self.facts.config.frames();
        if index < frames {
            self.frame_words.as_slice().get(index as usize)
        } else {
            self.files.as_slice().get((index - frames) as usize).map(|entry| &entry.lease)
        }
    }
}
