//! The memory that a ring and its users have in common, reached by atomics alone.
//!
//! A [`Region`] is a piece of memory and what has to happen at its end; a [`Shared`] is a word or an
//! array of words in one, checked to lie inside when it is made, and keeps the region alive.

use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

use rustix::mm::{MapFlags, ProtFlags};

/// Memory of other processes, too, in which a ring keeps its header and its completion queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SharedQueue {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory belongs to the address space, not to a thread, and is reached by atomics alone.
unsafe impl Send for SharedQueue {}
// SAFETY: as above.
unsafe impl Sync for SharedQueue {}

impl SharedQueue {
    /// What lies at `base` must be aligned so: the smallest page of the kernels this runs on.
    const ALIGN: usize = 4096;

    /// Takes `len` bytes at `base` as a queue; `None` if they do not start at a page.
    ///
    /// # Safety
    /// The bytes are mapped, readable and writable, until every ring's parts and every
    /// [`Completions`](super::Completions) made with the queue are dropped; and until then this
    /// process reaches them only by way of those, or by atomics of the same sizes at the same places
    /// (32 bits in the first 64 bytes, 64 bits behind them). No second ring gets the same pages while a
    /// first one lives, whose death is when the description in its file table is gone, not when its
    /// descriptor is: it writes to them once more at its end.
    pub(crate) unsafe fn new(base: NonNull<u8>, len: usize) -> Option<SharedQueue> {
        let aligned = base.as_ptr().addr().is_multiple_of(SharedQueue::ALIGN);
        aligned.then_some(SharedQueue { base, len })
    }

    /// The first byte, for the kernel.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The length in bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

/// A piece of memory that words are taken from.
#[derive(Debug)]
pub(super) struct Region {
    base: NonNull<u8>,
    len: usize,
    /// Whether it is a mapping of this value's own.
    owned: bool,
}

// SAFETY: the memory belongs to the address space, not to a thread; it may be unmapped by any.
unsafe impl Send for Region {}
// SAFETY: a shared `Region` gives out references to atomics, and constants.
unsafe impl Sync for Region {}

impl Region {
    /// mmap(2) of private memory, all zero.
    ///
    /// A forked child gets a copy. Were it kept out of children (MADV_DONTFORK), then a child that
    /// drops its copy of the value would unmap whatever it has mapped there since.
    pub(super) fn anonymous(len: usize) -> rustix::io::Result<Arc<Region>> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: with a null address and without MAP_FIXED the kernel chooses addresses that
        // nothing else uses.
        let base =
            unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, access, MapFlags::PRIVATE) }?;
        Region::mapped(base.cast(), len)
    }

    /// mmap(2) of what the kernel allocated for a ring: `offset` says which part.
    pub(super) fn of_ring(
        ring: BorrowedFd<'_>,
        len: usize,
        offset: u64,
    ) -> rustix::io::Result<Arc<Region>> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: as above.
        let base = unsafe { rustix::mm::mmap(ptr::null_mut(), len, access, flags, ring, offset) }?;
        Region::mapped(base.cast(), len)
    }

    fn mapped(base: *mut u8, len: usize) -> rustix::io::Result<Arc<Region>> {
        let base = NonNull::new(base).ok_or(rustix::io::Errno::NOMEM)?;
        Ok(Arc::new(Region { base, len, owned: true }))
    }

    /// Memory that somebody else keeps mapped.
    pub(super) fn borrowed(queue: SharedQueue) -> Arc<Region> {
        Arc::new(Region { base: queue.base, len: queue.len, owned: false })
    }

    /// The address for the kernel.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The word at `offset`; `None` if it is not inside or not aligned.
    pub(super) fn word(self: &Arc<Region>, offset: u32) -> Option<Shared<AtomicU32>> {
        let at = self.at::<AtomicU32>(offset, 1)?;
        Some(Shared { at, _memory: Arc::clone(self) })
    }

    /// `count` words from `offset` on; `None` if they are not inside or not aligned.
    pub(super) fn words(
        self: &Arc<Region>,
        offset: u32,
        count: u32,
    ) -> Option<Shared<[AtomicU32]>> {
        let at = self.at::<AtomicU32>(offset, count)?;
        let at = NonNull::slice_from_raw_parts(at, count as usize);
        Some(Shared { at, _memory: Arc::clone(self) })
    }

    /// `count` entries of `N` 64-bit words each from `offset` on; `None` if they are not inside or
    /// not aligned.
    pub(super) fn entries<const N: usize>(
        self: &Arc<Region>,
        offset: u32,
        count: u32,
    ) -> Option<Shared<[[AtomicU64; N]]>> {
        let at = self.at::<[AtomicU64; N]>(offset, count)?;
        let at = NonNull::slice_from_raw_parts(at, count as usize);
        Some(Shared { at, _memory: Arc::clone(self) })
    }

    fn at<T>(&self, offset: u32, count: u32) -> Option<NonNull<T>> {
        let offset = offset as usize;
        let end = (count as usize).checked_mul(size_of::<T>())?.checked_add(offset)?;
        if end > self.len || !offset.is_multiple_of(align_of::<T>()) {
            return None;
        }
        // SAFETY: `offset <= end <= len`, so the address is in the region or one past it.
        Some(unsafe { self.base.add(offset) }.cast())
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if self.owned {
            // SAFETY: the value made this mapping and alone owns it; every `Shared` in it keeps the
            // value alive. A ring that still uses the memory holds its pages, not its addresses.
            let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
            debug_assert!(unmapped.is_ok(), "munmap of a region of our own failed");
        }
    }
}

/// Atomics inside of a region, which lives on as long as they do.
#[derive(Debug)]
pub(super) struct Shared<T: ?Sized> {
    at: NonNull<T>,
    _memory: Arc<Region>,
}

// SAFETY: it is a reference to `T` in all but its lifetime.
unsafe impl<T: ?Sized + Sync> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Sync> Sync for Shared<T> {}

impl<T: ?Sized> Deref for Shared<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the region's functions, which alone make these, checked that it lies inside and is
        // aligned (a region starts at a page); it is made of atomics, which are valid for any bytes;
        // the region's memory is mapped until it is dropped, or by the promise of `SharedQueue::new`.
        unsafe { self.at.as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_inside_or_not_aligned_is_not_given_out() {
        let region = Region::anonymous(4096).unwrap();
        assert!(region.word(4092).is_some() && region.word(4096).is_none());
        assert!(region.word(2).is_none() && region.word(u32::MAX - 3).is_none());
        assert!(region.words(64, 1008).is_some() && region.words(64, 1009).is_none());
        assert!(region.entries::<2>(64, 252).is_some() && region.entries::<2>(64, 253).is_none());
        assert!(region.entries::<8>(4, 1).is_none() && region.entries::<8>(0, u32::MAX).is_none());
    }

    #[test]
    fn a_queue_starts_at_a_page() {
        let region = Region::anonymous(8192).unwrap();
        // SAFETY: nothing is made with the queues.
        let aligned = unsafe { SharedQueue::new(region.base(), 4096) };
        // SAFETY: the address is inside of the region.
        let odd = unsafe { region.base().add(64) };
        // SAFETY: as above.
        let odd = unsafe { SharedQueue::new(odd, 4096) };
        assert_eq!((aligned.map(|queue| queue.len()), odd.is_none()), (Some(4096), true));
    }
}
