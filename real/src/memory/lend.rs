//! Giving memory to an IO and getting it back: the [`Lend`] kinds, and [`Buffers`], where they are in
//! between.
//!
//! | who | does what | when |
//! |---|---|---|
//! | the start of an IO | [`Lend::put_into`], [`Buffers::check`], [`Buffers::lend`] | before DEFINED |
//! | the execution | reads addresses | SUBMITTED |
//! | the reclaim | [`Buffers::take_back`] | before IDLE |
//! | `finish` | [`Lend::take_from`] | after it |
//!
//! Invariant: S24. Checked by: `tests/tests/memory.rs`; its cost by `benches/overhead`.

use super::{Frame, Holder, Memory, MemoryError};
use crate::aligned::AlignedBuf;
use crate::region::RegionSlice;
use crate::segment::Segment;
use handfast_core::handle::Place;
use handfast_core::ids::{Generation, HandleId};

/// How much memory an IO is given.
pub(crate) struct Extent {
    /// Buffers.
    pub count: usize,
    /// Where the first one is.
    pub first: Place,
    /// Bytes over all of them.
    pub length: u64,
    /// Whether some of it can be reached by the issuer only.
    pub local: bool,
    /// Whether workers can reach all of it.
    pub common: bool,
}

/// What an IO holds of its issuer's memory.
#[derive(Debug, Default)]
pub(crate) enum Buffers<'pool> {
    #[default]
    None,
    One(Memory<'pool>),
    Many(Vec<Memory<'pool>>),
}

impl<'pool> Buffers<'pool> {
    #[inline(always)]
    pub fn as_slice(&self) -> &[Memory<'pool>] {
        match self {
            Self::None => &[],
            Self::One(memory) => std::slice::from_ref(memory),
            Self::Many(list) => list,
        }
    }

    /// Whether all of it may be given to an IO of this pool now, by a process that was not forked;
    /// how much it is.
    #[inline(always)]
    pub fn check(&self, segment: &Segment, holder: Holder) -> Result<Extent, MemoryError> {
        match self {
            Self::None => {
                let first = Place::default();
                Ok(Extent { count: 0, first, length: 0, local: false, common: true })
            }
            Self::One(memory) => {
                memory.check(segment, holder)?;
                let (first, length) = (memory.place(), memory.len() as u64);
                let (local, common) = (memory.is_local(), memory.is_common(segment));
                Ok(Extent { count: 1, first, length, local, common })
            }
            Self::Many(list) => check_all(list, segment, holder),
        }
    }

    /// Whether all of it is mapped as long as the segment is.
    pub fn is_of_segment(&self) -> bool {
        self.as_slice().iter().all(|memory| matches!(memory, Memory::Frame(_)))
    }

    /// Marks all of it as lent to this IO.
    #[inline(always)]
    pub fn lend(&self, io: (HandleId, Generation)) {
        match self {
            Self::None => {}
            Self::One(memory) => memory.lend(io),
            Self::Many(list) => lend_all(list, io),
        }
    }

    /// Takes all of it back.
    #[inline(always)]
    pub fn take_back(&self) {
        match self {
            Self::None => {}
            Self::One(memory) => memory.take_back(),
            Self::Many(list) => take_all_back(list),
        }
    }

    /// Drops what is there; looks before it calls what drops any kind.
    #[inline(always)]
    fn empty(&mut self) {
        if !matches!(self, Self::None) {
            *self = Self::None;
        }
    }

    /// Moves something to where nothing is.
    #[inline(always)]
    fn fill(&mut self, from: Self) {
        debug_assert!(matches!(self, Self::None), "it was emptied");
        // Nothing is there, so there is nothing to drop.
        std::mem::forget(std::mem::replace(self, from));
    }
}

// Apart from the case of one, which so stays short enough to be inlined.

#[inline(never)]
fn check_all(
    list: &[Memory<'_>],
    segment: &Segment,
    holder: Holder,
) -> Result<Extent, MemoryError> {
    let first = list.first().map_or(Place::default(), Memory::place);
    let mut extent = Extent { count: list.len(), first, length: 0, local: false, common: true };
    for memory in list {
        memory.check(segment, holder)?;
        extent.length = extent.length.saturating_add(memory.len() as u64);
        extent.local |= memory.is_local();
        extent.common &= memory.is_common(segment);
    }
    Ok(extent)
}

#[inline(never)]
fn lend_all(list: &[Memory<'_>], io: (HandleId, Generation)) {
    list.iter().for_each(|memory| memory.lend(io));
}

#[inline(never)]
fn take_all_back(list: &[Memory<'_>]) {
    list.iter().for_each(Memory::take_back);
}

mod sealed {
    pub trait Sealed {}
}

/// Memory that can be given to an IO and comes back with its completion: [`Frame`], [`RegionSlice`],
/// [`AlignedBuf`], [`Memory`] (one of these), `Vec<Memory>` (several, in order), `()` (none, for
/// FSYNC).
pub trait Lend<'pool>: sealed::Sealed + Sized {
    #[doc(hidden)]
    fn put_into(self, place: &mut LentBuffers<'pool>);
    #[doc(hidden)]
    fn take_from(place: &mut LentBuffers<'pool>) -> Option<Self>;
}

/// Where [`Lend`] puts it; of no use outside of the crate.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct LentBuffers<'pool>(pub(crate) Buffers<'pool>);

macro_rules! lend {
    ($type:ty, $given:ident => $into:expr, $kept:pat => $back:expr) => {
        impl<'pool> Lend<'pool> for $type {
            #[inline(always)]
            fn put_into(self, place: &mut LentBuffers<'pool>) {
                let $given = self;
                place.0.empty();
                place.0.fill($into);
            }

            #[inline(always)]
            fn take_from(place: &mut LentBuffers<'pool>) -> Option<Self> {
                // Something of another kind stays where it is.
                match std::mem::take(&mut place.0) {
                    $kept => Some($back),
                    #[allow(unreachable_patterns, reason = "one list of arms for every kind")]
                    other => {
                        place.0 = other;
                        None
                    }
                }
            }
        }
    };
}

// Frames go in and out field by field: to move a whole enum and then a part of it makes the processor
// load what it has just stored in other sizes, at a dozen cycles each.
impl<'pool> Lend<'pool> for Frame<'pool> {
    #[inline(always)]
    fn put_into(self, place: &mut LentBuffers<'pool>) {
        place.0.empty();
        let Frame { segment, index, len, owned } = self;
        // The frame goes on as the copy, so it is not freed here.
        std::mem::forget(self);
        place.0.fill(Buffers::One(Memory::Frame(Frame { segment, index, len, owned })));
    }

    #[inline(always)]
    fn take_from(place: &mut LentBuffers<'pool>) -> Option<Self> {
        let Buffers::One(Memory::Frame(frame)) = &place.0 else { return None };
        let Frame { segment, index, len, owned } = *frame;
        // The frame goes on as the copy, so it is not freed here.
        std::mem::forget(std::mem::take(&mut place.0));
        Some(Frame { segment, index, len, owned })
    }
}

impl sealed::Sealed for Frame<'_> {}
impl sealed::Sealed for RegionSlice {}
impl sealed::Sealed for AlignedBuf {}
impl sealed::Sealed for Memory<'_> {}
impl sealed::Sealed for Vec<Memory<'_>> {}
impl sealed::Sealed for () {}

lend!(RegionSlice, slice => Buffers::One(Memory::Region(slice)), Buffers::One(Memory::Region(slice)) => slice);
lend!(AlignedBuf, buffer => Buffers::One(Memory::Local(buffer)), Buffers::One(Memory::Local(buffer)) => buffer);
lend!(Memory<'pool>, memory => Buffers::One(memory), Buffers::One(memory) => memory);
lend!(Vec<Memory<'pool>>, list => Buffers::Many(list), Buffers::Many(list) => list);
lend!((), _nothing => Buffers::None, Buffers::None => ());
