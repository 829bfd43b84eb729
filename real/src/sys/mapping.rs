//! Memory: the shared mapping of a segment, and the page by which a process notices that it was
//! forked.
//!
//! Bytes are copied in and out word by word, with relaxed atomics. Threads of one process may copy
//! the same bytes at once through safe functions (one writes its frame, one reads that frame by its
//! number), which by memcpy would be a data race, and so undefined behaviour. Words of one size,
//! because atomic accesses of different sizes to the same bytes race, too. Who reads while another
//! writes gets old words and new ones; what hands the bytes over is the protocol's or the
//! application's acquire, never the copy.
#![expect(
    clippy::disallowed_types,
    reason = "copied bytes and the fork guard's word take no part in the protocol"
)]

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags};

/// The unit of copying.
const WORD: usize = size_of::<AtomicU64>();

/// A readable and writable `MAP_SHARED` mapping of a whole segment; unmapped on drop.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the address space, not to a thread; it may be unmapped by any
// thread.
unsafe impl Send for Mapping {}
// SAFETY: a shared `Mapping` reaches its bytes by atomics alone, and gives out an address and a length,
// both constant. What threads do with the address is up to whoever uses it, where other processes
// have to be reckoned with anyway.
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

    /// Copies bytes out; `None` if they are not all inside. Of words that somebody writes at the same
    /// time, we get some bytes.
    pub(crate) fn copy_out(&self, at: usize, out: &mut [u8]) -> Option<()> {
        let words = self.words_over(at, out.len())?;
        let (skip, (head, rest)) = (at % WORD, out.split_at_mut(head_len(at, out.len())));
        let (edge, words) = words.split_at(usize::from(!head.is_empty()));
        if let Some(word) = edge.first() {
            head.copy_from_slice(&load(word)[skip..skip + head.len()]);
        }
        let (whole, tail) = rest.as_chunks_mut();
        let (words, edge) = words.split_at(whole.len());
        for (bytes, word) in whole.iter_mut().zip(words) {
            *bytes = load(word);
        }
        if let Some(word) = edge.first() {
            tail.copy_from_slice(&load(word)[..tail.len()]);
        }
        Some(())
    }

    /// Copies bytes in; `None` if they are not all inside. What others write next to them at the same
    /// time is not lost.
    pub(crate) fn copy_in(&self, at: usize, bytes: &[u8]) -> Option<()> {
        let words = self.words_over(at, bytes.len())?;
        let (head, rest) = bytes.split_at(head_len(at, bytes.len()));
        let (edge, words) = words.split_at(usize::from(!head.is_empty()));
        if let Some(word) = edge.first() {
            store_part(word, at % WORD, head);
        }
        let (whole, tail) = rest.as_chunks();
        let (words, edge) = words.split_at(whole.len());
        for (&bytes, word) in whole.iter().zip(words) {
            word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        }
        if let Some(word) = edge.first() {
            store_part(word, 0, tail);
        }
        Some(())
    }

    /// The whole as 64-bit words (a rest of less than eight bytes is left out).
    pub(crate) fn words(&self) -> &[AtomicU64] {
        &self.all_words()[..self.len / WORD]
    }

    /// The words that `len` bytes from `at` on lie in; `None` if the bytes are not all inside.
    fn words_over(&self, at: usize, len: usize) -> Option<&[AtomicU64]> {
        let end = at.checked_add(len).filter(|&end| end <= self.len)?;
        self.all_words().get(at / WORD..end.div_ceil(WORD))
    }

    /// All words, the last of which may go beyond the length.
    fn all_words(&self) -> &[AtomicU64] {
        // SAFETY: a mapping starts at a page and goes to the end of one, so that the word in which it
        // ends is all there; atomics are valid for any bytes and any concurrent atomic accesses of
        // their size, and this crate has no others to these bytes but the kernel's; the mapping lives
        // as long as the borrow of `self`.
        unsafe { std::slice::from_raw_parts(self.base.cast().as_ptr(), self.len.div_ceil(WORD)) }
    }
}

/// How many of `len` bytes from `at` on lie before the first word that starts among them.
#[inline(always)]
fn head_len(at: usize, len: usize) -> usize {
    (at.next_multiple_of(WORD) - at).min(len)
}

#[inline(always)]
fn load(word: &AtomicU64) -> [u8; WORD] {
    word.load(Ordering::Relaxed).to_ne_bytes()
}

/// Stores some bytes of a word, from its `skip`th on. Repeats only if somebody changed the word
/// meanwhile.
fn store_part(word: &AtomicU64, skip: usize, bytes: &[u8]) {
    let mut now = word.load(Ordering::Relaxed);
    loop {
        let mut new = now.to_ne_bytes();
        new[skip..skip + bytes.len()].copy_from_slice(bytes);
        let new = u64::from_ne_bytes(new);
        match word.compare_exchange_weak(now, new, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return,
            Err(found) => now = found,
        }
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
    fn copies_begin_and_end_anywhere_and_touch_nothing_else() {
        let fd = memfd::create_sealed("handfast-test", 4096).unwrap();
        // It ends in the middle of a word.
        let mapping = Mapping::new(fd.as_fd(), 45).unwrap();
        let mut expected = [0; 45];
        for (at, len) in (0..=45).flat_map(|at| (0..=45 - at).map(move |len| (at, len))) {
            let byte = |i: usize| (at * 50 + len + i).to_le_bytes()[0];
            let bytes: Vec<u8> = (0..len).map(byte).collect();
            mapping.copy_in(at, &bytes).unwrap();
            expected[at..at + len].copy_from_slice(&bytes);
            let (mut all, mut part) = ([0; 45], vec![0; len]);
            mapping.copy_out(0, &mut all).unwrap();
            mapping.copy_out(at, &mut part).unwrap();
            assert_eq!((all, part), (expected, bytes), "{len} bytes at {at}");
        }
        assert_eq!((mapping.copy_in(40, &[0; 6]), mapping.copy_out(46, &mut [])), (None, None));
        assert_eq!(mapping.copy_in(usize::MAX, &[0; 2]), None);
        assert_eq!(mapping.words().len(), 5);
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
