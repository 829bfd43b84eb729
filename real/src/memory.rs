//! Memory that IO reads and writes: frames of the segment, regions of the application's own, local
//! buffers.
//!
//! Memory is given to an IO by value and comes back with the completion, so that nobody touches it
//! while the kernel may (S24), whatever is dropped early. Bytes that other processes may write are
//! never lent as a slice: they are copied in and out, by relaxed atomics.
//!
//! | kind | reachable by | who may use it |
//! |---|---|---|
//! | [`Frame`] | every process of the pool | whoever its lease word names; handed over as a [`FrameToken`] |
//! | [`RegionSlice`] | every process that has the region | the application excludes |
//! | [`AlignedBuf`] | the issuer | its owner |
//!
//! Checked by: `tests/tests/memory.rs`; compile-fail tests "a buffer lent twice".

use crate::aligned::AlignedBuf;
use crate::platform::Production;
use crate::region::{FIRST_REGION, RegionSlice};
use crate::segment::Segment;
use crate::sys::io::IoVec;
use handfast_core::handle::{Iovec, Place};
use handfast_core::ids::{Generation, HandleId, ProcessSlot};
use handfast_core::lease::LeaseWord;
use handfast_core::platform::Atomic64 as _;
use handfast_core::protocol::{Shared as _, lease};
use handfast_core::site::Site;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

mod lend;

pub(crate) use lend::{Buffers, Extent};
pub use lend::{Lend, LentBuffers};

/// The region number of memory that only its process can reach.
pub(crate) const LOCAL_REGION: u32 = 0;
/// The region number of the segment's frames.
pub(crate) const FRAME_REGION: u32 = 1;

/// A slot and the number of its attachment.
pub(crate) type Holder = (ProcessSlot, u32);

/// Index of a frame in its pool.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FrameId(pub u32);

/// Why memory cannot be used as asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// Outside of the buffer.
    #[error("bytes {at} to {at}+{len} are not inside of a buffer of {size} bytes")]
    OutOfBounds {
        /// First byte.
        at: usize,
        /// How many.
        len: usize,
        /// The buffer's size.
        size: usize,
    },
    /// There is no such frame.
    #[error("there is no frame {0}: the pool has {1}")]
    NoSuchFrame(u32, u32),
    /// The frame was adopted, freed or recovered since.
    #[error("frame {0} is not this owner's any more: its process detached, or its token was used")]
    Lost(u32),
    /// Another attachment's.
    #[error("frame {0} belongs to another attachment: hand it over, and adopt it where it is used")]
    NotMine(u32),
    /// Of another pool.
    #[error("the file or buffer belongs to another pool: use it with the pool that made it")]
    OtherPool,
    /// Not aligned as direct IO needs it.
    #[error(
        "direct IO on this file needs multiples of {align} bytes, but the {what} is {value}: see \
         `File::direct_io_limits`"
    )]
    Misaligned {
        /// What is not.
        what: &'static str,
        /// Its value, in bytes.
        value: u64,
        /// What it must be a multiple of, in bytes.
        align: u32,
    },
    /// More than one IO can carry.
    #[error("{0} bytes are too many for one IO: the limit is {1}")]
    TooLong(u64, u64),
}

/// A frame of the segment that this process owns. Dropping it frees it.
///
/// It does not outlive its process's attachment: after a detach every access is
/// [`MemoryError::Lost`].
pub struct Frame<'pool> {
    segment: &'pool Segment,
    index: u32,
    len: usize,
    owned: LeaseWord,
}

impl<'pool> Frame<'pool> {
    /// Takes a free frame, looking from `hint` on; `None` if all are taken.
    pub(crate) fn take(segment: &'pool Segment, holder: Holder, hint: &mut u32) -> Option<Self> {
        let words = segment.frame_words();
        let start = usize::try_from(*hint).ok()? % words.len().max(1);
        let order = (start..words.len()).chain(0..start);
        for (index, word) in order.filter_map(|index| Some((index, words.get(index)?))) {
            if let Some(owned) = lease::take(word, holder.0, holder.1) {
                let index = u32::try_from(index).ok()?;
                *hint = index + 1;
                return Some(Self { segment, index, len: segment.frame_size(), owned });
            }
        }
        None
    }

    /// Takes over what another process offered.
    pub(crate) fn adopt(
        segment: &'pool Segment,
        holder: Holder,
        token: FrameToken,
    ) -> Result<Self, MemoryError> {
        let frames = segment.facts().config.frames();
        let word = segment.frame_words().get(token.index as usize);
        let word = word.ok_or(MemoryError::NoSuchFrame(token.index, frames))?;
        if token.pool != segment.tag().0 {
            return Err(MemoryError::OtherPool);
        }
        let owned = lease::adopt(word, LeaseWord::from_raw(token.word), holder.0, holder.1);
        let owned = owned.ok_or(MemoryError::Lost(token.index))?;
        Ok(Self { segment, index: token.index, len: segment.frame_size(), owned })
    }

    /// Its index: any process can read it by this ([`crate::Pool::copy_from_frame`]).
    #[must_use]
    pub fn id(&self) -> FrameId {
        FrameId(self.index)
    }

    /// Bytes that an IO with this frame transfers: the frame size unless [`Self::set_len`] said less.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether an IO with it would transfer nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Limits the next IOs to the first `len` bytes.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`] above the frame size.
    pub fn set_len(&mut self, len: usize) -> Result<(), MemoryError> {
        let size = self.segment.frame_size();
        if len > size {
            return Err(MemoryError::OutOfBounds { at: 0, len, size });
        }
        self.len = len;
        Ok(())
    }

    /// Copies bytes into the frame.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`], [`MemoryError::Lost`].
    pub fn copy_from_slice(&mut self, at: usize, bytes: &[u8]) -> Result<(), MemoryError> {
        self.check_owned()?;
        let copied = self.segment.copy_in(self.index, at, bytes);
        copied.ok_or_else(|| outside(self.segment, self.id(), at, bytes.len()))
    }

    /// Copies bytes out of the frame.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`], [`MemoryError::Lost`].
    pub fn copy_to_slice(&self, at: usize, out: &mut [u8]) -> Result<(), MemoryError> {
        self.check_owned()?;
        copy_from_frame(self.segment, self.id(), at, out)
    }

    fn word(&self) -> Option<&'pool crate::platform::Word64> {
        self.segment.frame_words().get(self.index as usize)
    }

    /// Whether the lease is still this one's, and the process that has it this one.
    fn check_owned(&self) -> Result<(), MemoryError> {
        if self.segment.is_forked() {
            Err(MemoryError::Lost(self.index))
        } else {
            self.check_lease()
        }
    }

    /// Whether the lease is still this one's.
    #[inline(always)]
    fn check_lease(&self) -> Result<(), MemoryError> {
        let now = self.word().map(|word| word.load(Site::LeaseLook));
        if now == Some(self.owned.raw()) { Ok(()) } else { Err(MemoryError::Lost(self.index)) }
    }

    /// Offers the frame, with its bytes, to the process that is given the token. If nobody adopts
    /// it, it is freed when this process detaches or is recovered.
    ///
    /// # Errors
    /// [`MemoryError::Lost`].
    pub fn hand_over(self) -> Result<FrameToken, MemoryError> {
        self.check_owned()?;
        let nonce = RandomState::new().build_hasher().finish();
        let offered = self.word().and_then(|word| lease::offer(word, self.owned, nonce));
        let word = offered.ok_or(MemoryError::Lost(self.index))?.raw();
        let token = FrameToken { pool: self.segment.tag().0, index: self.index, word };
        // The lease is in the token now; dropping the frame would free nothing, since the word has
        // changed, but the intent is plainer this way.
        std::mem::forget(self);
        Ok(token)
    }

    #[inline(always)]
    fn lend(&self, io: (HandleId, Generation)) {
        if let Some(word) = self.word() {
            lease::lend(word, self.owned, io);
        }
    }

    #[inline(always)]
    fn take_back(&self) {
        if let Some(word) = self.word() {
            lease::take_back(word, self.owned);
        }
    }
}

impl std::fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame")
            .field("index", &self.index)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl Drop for Frame<'_> {
    fn drop(&mut self) {
        // A forked child holds a copy of its parent's frame.
        if let Some(word) = self.word().filter(|_| !self.segment.is_forked()) {
            lease::free(word, self.owned);
        }
    }
}

/// Copies bytes of any frame, whoever owns it.
pub(crate) fn copy_from_frame(
    segment: &Segment,
    frame: FrameId,
    at: usize,
    out: &mut [u8],
) -> Result<(), MemoryError> {
    let len = out.len();
    segment.copy_out(frame.0, at, out).ok_or_else(|| outside(segment, frame, at, len))
}

/// Which of the two reasons it is.
fn outside(segment: &Segment, frame: FrameId, at: usize, len: usize) -> MemoryError {
    let frames = segment.facts().config.frames();
    if frame.0 >= frames {
        return MemoryError::NoSuchFrame(frame.0, frames);
    }
    MemoryError::OutOfBounds { at, len, size: segment.frame_size() }
}

/// A frame on its way to another process: 16 plain bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FrameToken {
    pool: u32,
    index: u32,
    word: u64,
}

impl FrameToken {
    /// Tag, index (4 bytes each) and lease word (8 bytes), little-endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        let whole =
            u128::from(self.pool) | u128::from(self.index) << 32 | u128::from(self.word) << 64;
        whole.to_le_bytes()
    }

    /// Any 16 bytes are some token; whether it is good is checked by [`crate::Process::adopt`].
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the parts of the 16 bytes")]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let whole = u128::from_le_bytes(bytes);
        Self { pool: whole as u32, index: (whole >> 32) as u32, word: (whole >> 64) as u64 }
    }

    /// The frame it is for.
    #[must_use]
    pub fn frame(self) -> FrameId {
        FrameId(self.index)
    }
}

/// Any memory that an IO can be given.
#[derive(Debug)]
pub enum Memory<'pool> {
    /// A frame of the segment.
    Frame(Frame<'pool>),
    /// A part of a region of the application's own.
    Region(RegionSlice),
    /// Memory of this process alone.
    Local(AlignedBuf),
}

impl<'pool> From<Frame<'pool>> for Memory<'pool> {
    fn from(frame: Frame<'pool>) -> Self {
        Self::Frame(frame)
    }
}

impl From<RegionSlice> for Memory<'_> {
    fn from(slice: RegionSlice) -> Self {
        Self::Region(slice)
    }
}

impl From<AlignedBuf> for Memory<'_> {
    fn from(buffer: AlignedBuf) -> Self {
        Self::Local(buffer)
    }
}

impl<'pool> Memory<'pool> {
    /// Bytes that an IO with it transfers.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.len(),
            Self::Region(slice) => slice.len(),
            Self::Local(buffer) => buffer.len(),
        }
    }

    /// Whether that is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the kernel is given. Valid until the memory is dropped: frames and regions stay mapped,
    /// a local buffer's allocation does not move with its owner.
    #[inline(always)]
    pub(crate) fn iovec(&self) -> Option<IoVec> {
        let (base, len) = match self {
            Self::Frame(frame) => (frame.segment.frame(frame.index, frame.len)?, frame.len),
            Self::Region(slice) => (slice.base()?, slice.len()),
            Self::Local(buffer) => (buffer.base(), buffer.len()),
        };
        Some(IoVec { base, len })
    }

    /// What other processes are told.
    #[inline(always)]
    pub(crate) fn place(&self) -> Place {
        let len = u32::try_from(self.len()).unwrap_or(u32::MAX);
        match self {
            Self::Frame(frame) => {
                let offset = u64::from(frame.index) * frame.segment.frame_size() as u64;
                Place { region: FRAME_REGION, len, offset }
            }
            Self::Region(slice) => Place { region: slice.region(), len, offset: slice.offset() },
            Self::Local(_) => Place { region: LOCAL_REGION, len, offset: 0 },
        }
    }

    #[inline(always)]
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// Whether every process of the pool can reach it, workers included.
    #[inline(always)]
    pub(crate) fn is_common(&self, segment: &Segment) -> bool {
        match self {
            Self::Frame(_) => true,
            Self::Region(slice) => {
                let common = segment.facts().config.common_regions();
                slice.region().wrapping_sub(FIRST_REGION) < common
            }
            Self::Local(_) => false,
        }
    }

    /// Whether it may be given to an IO of this attachment now, by a process that was not forked. A frame
    /// of another one could be freed by its detach at any moment; an own one cannot, since the caller
    /// borrows its process.
    #[inline(always)]
    pub(crate) fn check(&self, segment: &Segment, holder: Holder) -> Result<(), MemoryError> {
        match self {
            Self::Frame(frame) if !std::ptr::eq(frame.segment, segment) => {
                Err(MemoryError::OtherPool)
            }
            Self::Frame(frame) if !frame.owned.is_owned_by(holder.0, holder.1) => {
                Err(MemoryError::NotMine(frame.index))
            }
            Self::Frame(frame) => frame.check_lease(),
            Self::Region(slice) if slice.pool() != segment.tag() => Err(MemoryError::OtherPool),
            Self::Region(_) | Self::Local(_) => Ok(()),
        }
    }

    #[inline(always)]
    pub(crate) fn lend(&self, io: (HandleId, Generation)) {
        if let Self::Frame(frame) = self {
            frame.lend(io);
        }
    }

    #[inline(always)]
    pub(crate) fn take_back(&self) {
        if let Self::Frame(frame) = self {
            frame.take_back();
        }
    }
}

/// The buffers of an IO that a callback may look at: those in frames of the segment.
pub struct IoBuffers<'v> {
    segment: &'v Segment,
    iovecs: &'v [Iovec<Production>],
}

impl<'v> IoBuffers<'v> {
    pub(crate) fn new(segment: &'v Segment, iovecs: &'v [Iovec<Production>]) -> Self {
        Self { segment, iovecs }
    }

    /// How many buffers the IO has, of any kind.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iovecs.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iovecs.is_empty()
    }

    /// The frame and the length of a buffer; `None` if there is no such buffer, it is not a frame, or
    /// its description makes no sense.
    #[must_use]
    pub fn frame(&self, index: usize) -> Option<(FrameId, usize)> {
        let place = self.iovecs.get(index)?.get();
        let size = self.segment.frame_size() as u64;
        let inside = place.offset % size + u64::from(place.len) <= size;
        let frame = u32::try_from(place.offset / size).ok()?;
        let known = frame < self.segment.facts().config.frames();
        (place.region == FRAME_REGION && inside && known)
            .then_some((FrameId(frame), place.len as usize))
    }

    /// Copies bytes out of a buffer that is a frame.
    ///
    /// # Errors
    /// [`MemoryError`] if it is not one, or outside of it.
    pub fn copy_to_slice(
        &self,
        index: usize,
        at: usize,
        out: &mut [u8],
    ) -> Result<(), MemoryError> {
        let frames = self.segment.facts().config.frames();
        let (frame, _) = self.frame(index).ok_or(MemoryError::NoSuchFrame(u32::MAX, frames))?;
        copy_from_frame(self.segment, frame, at, out)
    }
}
