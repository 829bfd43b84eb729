//! Memory: the shared mapping of a segment, and the page by which a process notices that it was
//! forked.
#![expect(
    clippy::disallowed_types,
    reason = "the fork guard's word is private to one process and takes no part in the protocol"
)]

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags};

/// A readable and writable `MAP_SHARED` mapping of a whole segment; unmapped on drop.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the address space, not to a thread; it may be unmapped by any
// thread.
unsafe impl Send for Mapping {}
// SAFETY: a shared `Mapping` gives out an address and a length, both constant. What threads do with
// the bytes is up to whoever turns the address into a reference, where other processes have to be
// reckoned with anyway.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// mmap(2): maps the first `len` bytes of `fd`, shared, for reading and writing.
    ///
    /// The caller has checked that the file is at least `len` bytes long; touching pages past its
    /// end is SIGBUS.
    ///
    /// # Errors
    /// The kernel's; `InvalidInput` if `len` is zero or no object may be as long.
    pub(crate) fn new(fd: BorrowedFd<'_>, len: usize) -> io::Result<Mapping> {
        if isize::try_from(len).is_err() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: with a null address and without MAP_FIXED the kernel chooses addresses that
        // nothing else uses.
        let base = unsafe {
            rustix::mm::mmap(
                ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                fd,
                0,
            )
        }?;
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::Other)?;
        Ok(Mapping { base, len })
    }

    /// The first byte; aligned to a page.
    #[cfg(test)]
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The length in bytes, never zero.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The address of `len` bytes from `at` on; `None` if they are not all inside.
    #[inline(always)]
    pub(crate) fn at(&self, at: usize, len: usize) -> Option<NonNull<u8>> {
        if at.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: `at <= at + len <= self.len`, so the address is in the mapping or one past it.
        Some(unsafe { self.base.add(at) })
    }

    /// Copies bytes out; `None` if they are not all inside. A process that writes them at the same time
    /// gives us some bytes.
    pub(crate) fn copy_out(&self, at: usize, out: &mut [u8]) -> Option<()> {
        let from = self.at(at, out.len())?;
        // SAFETY: the source is inside of the mapping, which lives as long as `self`; the destination
        // is an exclusive slice, and slices of the mapping's bytes do not exist.
        unsafe { from.as_ptr().copy_to_nonoverlapping(out.as_mut_ptr(), out.len()) };
        Some(())
    }

    /// Copies bytes in; `None` if they are not all inside.
    pub(crate) fn copy_in(&self, at: usize, bytes: &[u8]) -> Option<()> {
        let to = self.at(at, bytes.len())?;
        // SAFETY: the destination is inside of the mapping, which lives as long as `self`; the source
        // is a slice, and slices of the mapping's bytes do not exist.
        unsafe { to.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Some(())
    }

    /// The whole as 64-bit words (a rest of less than eight bytes is left out).
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: a mapping starts at a page and holds `len / 8` words; atomics are valid for any
        // bytes and any concurrent writes; the mapping lives as long as the borrow of `self`.
        unsafe { std::slice::from_raw_parts(self.base.cast().as_ptr(), self.len / 8) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `base` and `len` are those of a mapping that this value made and alone owns;
        // whoever borrowed from it has given that back, or the value could not be dropped.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "munmap of a mapping of our own failed");
    }
}

/// How a process notices that it is a forked child of the one that attached: a page the kernel
/// empties in children.
///
/// The check is one load, cheap enough for every call. A child made by vfork or posix_spawn shares
/// its parent's memory until it execs, and is not noticed.
#[derive(Debug)]
pub(crate) struct ForkGuard {
    word: NonNull<AtomicU32>,
}

// SAFETY: the page belongs to the address space, not to a thread.
unsafe impl Send for ForkGuard {}
// SAFETY: shared access only loads an atomic.
unsafe impl Sync for ForkGuard {}

impl ForkGuard {
    /// The kernel rounds lengths up to its page size, so this is one page everywhere.
    const LEN: usize = 4096;

    /// mmap(2) of a private page, and madvise(2) with MADV_WIPEONFORK (Linux 4.14).
    ///
    /// # Errors
    /// The kernel's; `InvalidInput` if it does not know MADV_WIPEONFORK.
    pub(crate) fn new() -> io::Result<ForkGuard> {
        // SAFETY: with a null address and without MAP_FIXED the kernel chooses addresses that
        // nothing else uses.
        let page = unsafe {
            rustix::mm::mmap_anonymous(
                ptr::null_mut(),
                ForkGuard::LEN,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }?;
        let word = NonNull::new(page.cast()).ok_or(io::ErrorKind::Other)?;
        let guard = ForkGuard { word };
        // SAFETY: the range is the page mapped above, which nobody else knows yet, so that losing
        // its contents in a child surprises no one.
        unsafe { rustix::mm::madvise(page, ForkGuard::LEN, Advice::LinuxWipeOnFork) }?;
        guard.word().store(1, Ordering::Relaxed);
        Ok(guard)
    }

    /// Whether this process is a forked child of the one that made the guard.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        // Relaxed: the word never changes while a process lives, and in a child it was emptied
        // before the child ran.
        self.word().load(Ordering::Relaxed) == 0
    }

    #[inline]
    fn word(&self) -> &AtomicU32 {
        // SAFETY: the page is mapped, page-aligned and initialised (zero bytes are a valid
        // AtomicU32) as long as this value lives, and only this value's methods reach it, by atomic
        // accesses.
        unsafe { self.word.as_ref() }
    }
}

impl Drop for ForkGuard {
    fn drop(&mut self) {
        // SAFETY: the page is this value's own and no reference to it outlives a method call.
        let unmapped = unsafe { rustix::mm::munmap(self.word.as_ptr().cast(), ForkGuard::LEN) };
        debug_assert!(unmapped.is_ok(), "munmap of the fork guard's page failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::memfd;
    use crate::sys::testing::forked;
    use std::os::fd::AsFd;

    #[test]
    fn two_mappings_of_one_segment_show_the_same_bytes() {
        let fd = memfd::create_sealed("handfast-test", 8192).unwrap();
        let first = Mapping::new(fd.as_fd(), 8192).unwrap();
        let second = Mapping::new(fd.as_fd(), 8192).unwrap();
        assert_ne!(first.base(), second.base());
        assert_eq!((first.len(), first.base().as_ptr().align_offset(4096)), (8192, 0));
        // SAFETY: the first byte lies within the live mapping, and no reference to it exists.
        unsafe { first.base().write_volatile(0xa5) };
        // SAFETY: as above.
        assert_eq!(unsafe { second.base().read_volatile() }, 0xa5);
    }

    #[test]
    fn an_empty_or_endless_mapping_is_an_error() {
        let fd = memfd::create_sealed("handfast-test", 4096).unwrap();
        assert_eq!(Mapping::new(fd.as_fd(), 0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(
            Mapping::new(fd.as_fd(), usize::MAX).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
    }

    #[test]
    fn a_forked_child_is_noticed_and_its_parent_is_not() {
        let guard = ForkGuard::new().unwrap();
        assert!(!guard.is_forked());
        assert_eq!(forked(|| u8::from(guard.is_forked())).exit_code(), Some(1));
        assert!(!guard.is_forked());
    }
}
