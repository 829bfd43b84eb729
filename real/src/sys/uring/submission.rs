//! Putting IOs into a ring.
//!
//! The entries lie in private memory. Of the words that may be shared, only the tail is stored and
//! none is believed: how many entries the kernel takes is what io_uring_enter(2) is told, from a count
//! that is kept here, and where it takes them from is a head of its own. So a peer that changes the
//! words cannot have an entry executed twice or before its time; at worst the kernel takes none.
#![expect(
    clippy::disallowed_types,
    reason = "the orderings are those of the kernel's interface, not of the protocol"
)]

use std::cell::Cell;
use std::marker::PhantomData;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::io::Errno;
use rustix::io_uring::{
    IoringEnterFlags, IoringFsyncFlags, IoringOp, IoringSqeFlags, io_uring_enter,
};

use super::memory::{Region, Shared};
use super::ring::RingFd;
use super::shortcut::{self, Shortcut};

/// The words of an entry that are ever written; the rest is zero.
pub(crate) const WRITTEN: usize = 5;
/// The word of an entry with the user data.
pub(crate) const USER_DATA: usize = 4;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// pread(2) into `len` bytes at `addr`.
    Read,
    /// pwrite(2) of `len` bytes at `addr`.
    Write,
    /// preadv(2) into `len` pieces, whose array of `iovec` is at `addr`.
    Readv,
    /// pwritev(2) of `len` pieces, whose array of `iovec` is at `addr`.
    Writev,
    /// fsync(2); address, length and offset do not count.
    Fsync,
    /// fdatasync(2); address, length and offset do not count.
    Fdatasync,
    /// Nothing; result zero.
    Nop,
}

impl Op {
    /// The kernel's number.
    fn code(self) -> IoringOp {
        match self {
            Op::Read => IoringOp::Read,
            Op::Write => IoringOp::Write,
            Op::Readv => IoringOp::Readv,
            Op::Writev => IoringOp::Writev,
            Op::Fsync | Op::Fdatasync => IoringOp::Fsync,
            Op::Nop => IoringOp::Nop,
        }
    }
}

/// What it is to be done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// An open descriptor.
    Fd(RawFd),
    /// A place in the ring's table of files.
    Registered(u32),
}

/// An IO for the ring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SubmissionEntry {
    /// What is to be done.
    pub(crate) op: Op,
    /// The file.
    pub(crate) target: Target,
    /// Address of the bytes, or of the array of `iovec`.
    pub(crate) addr: u64,
    /// Number of bytes, or of `iovec`.
    pub(crate) len: u32,
    /// Where in the file, in bytes; more than `i64::MAX` gives -EINVAL. Pipes and the like ignore it.
    pub(crate) offset: u64,
    /// Comes back with the completion.
    pub(crate) user_data: u64,
    /// Whether a kernel thread is to do it from the start, for IOs that would block the submission.
    pub(crate) offload: bool,
}

impl SubmissionEntry {
    /// The first words of `struct io_uring_sqe`.
    #[inline(always)]
    pub(crate) fn words(&self) -> [u64; WRITTEN] {
        let (mut flags, number) = match self.target {
            Target::Fd(fd) => (IoringSqeFlags::empty(), fd.to_ne_bytes()),
            Target::Registered(index) => (IoringSqeFlags::FIXED_FILE, index.to_ne_bytes()),
        };
        flags.set(IoringSqeFlags::ASYNC, self.offload);
        // The largest offset means the file's own position to the kernel, which is nobody's wish here.
        let (offset, addr, len, extra) = match self.op {
            Op::Read | Op::Write | Op::Readv | Op::Writev => {
                (self.offset.min(u64::MAX - 1), self.addr, self.len, 0)
            }
            Op::Fdatasync => (0, 0, 0, IoringFsyncFlags::DATASYNC.bits()),
            Op::Fsync | Op::Nop => (0, 0, 0, 0),
        };
        let [fd0, fd1, fd2, fd3] = number;
        let first = [self.op.code() as u8, flags.bits(), 0, 0, fd0, fd1, fd2, fd3];
        let ([l0, l1, l2, l3], [e0, e1, e2, e3]) = (len.to_ne_bytes(), extra.to_ne_bytes());
        let fourth = [l0, l1, l2, l3, e0, e1, e2, e3];
        [u64::from_ne_bytes(first), offset, addr, u64::from_ne_bytes(fourth), self.user_data]
    }
}

/// What became of the entries that had been pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Submitted {
    /// The kernel has taken all of them.
    All,
    /// It has no room or memory for the last `left` of them now: take completions, then submit again.
    Again {
        /// How many it has not taken.
        left: u32,
    },
    /// It does not take the last `left` of them: take them back.
    Refused {
        /// How many it has not taken.
        left: u32,
        /// Why.
        errno: Errno,
    },
}

/// The side of a ring that one thread submits at.
#[derive(Debug)]
pub(crate) struct Submission {
    ring: Arc<RingFd>,
    entries: Shared<[[AtomicU64; 8]]>,
    tail_word: Shared<AtomicU32>,
    count: u32,
    /// How many were ever pushed, less those taken back.
    tail: u32,
    /// How many of these the kernel has not taken.
    pending: u32,
    pub(super) shortcut: Shortcut,
    /// Entries are written without a word to other threads.
    _not_sync: PhantomData<Cell<()>>,
}

impl Submission {
    /// The queue of a ring just made, with room for `count` entries, a power of two, in `slots`; `None`
    /// if a part of it is not inside.
    pub(super) fn of_ring(
        ring: Arc<RingFd>,
        slots: &Arc<Region>,
        count: u32,
        tail_word: Shared<AtomicU32>,
    ) -> Option<Submission> {
        let entries = slots.entries(0, count)?;
        let (tail, pending, shortcut, _not_sync) = (0, 0, Shortcut::NEW, PhantomData);
        Some(Submission { ring, entries, tail_word, count, tail, pending, shortcut, _not_sync })
    }

    /// How many entries can be pushed before the next submission.
    #[cfg(test)]
    pub(crate) fn room(&self) -> u32 {
        self.count - self.pending
    }

    /// Puts an entry behind the others; false if there is no room for it. Does not call the kernel.
    ///
    /// # Safety
    /// From the submission until the completion has been seen, or the entry has been taken back: the
    /// memory that the entry names is mapped, and writable where the IO writes to it; no Rust reference
    /// covers it, but for one of atomics; an array of `iovec` stays as it is until the submission has
    /// returned. Its descriptor is open until the submission has returned, and until the completion if
    /// it is offloaded.
    #[inline]
    #[must_use]
    pub(crate) unsafe fn push(&mut self, entry: &SubmissionEntry) -> bool {
        // SAFETY: the caller answers for what the entry names.
        unsafe { self.put(entry.words()) }
    }

    /// The same with the [`words`](SubmissionEntry::words) of an entry, offloaded in any case if that is wanted.
    ///
    /// # Safety
    /// As for `push`.
    #[inline(always)]
    #[must_use]
    pub(crate) unsafe fn push_words(&mut self, words: [u64; WRITTEN], offload: bool) -> bool {
        let [mut first, rest @ ..] = words;
        if offload {
            first |= u64::from_ne_bytes([0, IoringSqeFlags::ASYNC.bits(), 0, 0, 0, 0, 0, 0]);
        }
        let [offset, addr, fourth, user_data] = rest;
        // SAFETY: the caller answers for what the entry names.
        unsafe { self.put([first, offset, addr, fourth, user_data]) }
    }

    /// The same with the first words of an entry.
    ///
    /// # Safety
    /// As for `push`.
    #[inline(always)]
    unsafe fn put(&mut self, words: [u64; WRITTEN]) -> bool {
        if self.pending == self.count {
            return false;
        }
        let Some(slot) = self.entries.get((self.tail & (self.count - 1)) as usize) else {
            return false;
        };
        for (place, word) in slot.iter().zip(words) {
            // Relaxed: the kernel reads entries in the submission, which is this thread's.
            place.store(word, Ordering::Relaxed);
        }
        self.tail = self.tail.wrapping_add(1);
        self.pending += 1;
        true
    }

    /// io_uring_enter(2): submits what was pushed. No system call if that is nothing. A thread that submits
    /// often does so by its [`Shortcut`].
    ///
    /// May block: the kernel executes at once what it has in memory, and anything on files that know no
    /// other way. Each repeat follows a signal, or entries taken.
    #[inline]
    pub(crate) fn submit(&mut self) -> Submitted {
        while self.pending > 0 {
            // Pairs with the kernel's acquire of the tail; a peer may have changed it.
            self.tail_word.store(self.tail, Ordering::Release);
            let place = self.shortcut.place(&self.ring.fd);
            let answer = match place {
                Some(place) => {
                    // SAFETY: with the flag below it is taken for a place.
                    let ring = unsafe { shortcut::as_argument(place) };
                    let flags = IoringEnterFlags::REGISTERED_RING;
                    // SAFETY: whoever pushed the entries answers for what they name.
                    unsafe { io_uring_enter(ring, self.pending, 0, flags) }
                }
                None => {
                    let flags = IoringEnterFlags::empty();
                    // SAFETY: whoever pushed the entries answers for what they name.
                    unsafe { io_uring_enter(&self.ring.fd, self.pending, 0, flags) }
                }
            };
            let left = self.pending;
            match answer {
                Ok(0) => return Submitted::Again { left },
                Ok(taken) => self.pending = left.saturating_sub(taken),
                Err(Errno::INTR) => {}
                Err(Errno::BADF | Errno::INVAL) if place.is_some() => self.shortcut.forget(),
                Err(Errno::AGAIN | Errno::BUSY | Errno::NOMEM) => return Submitted::Again { left },
                Err(errno) => return Submitted::Refused { left, errno },
            }
        }
        Submitted::All
    }

    /// Forgets the entries that the kernel has not taken; their user data, in the order of pushing.
    pub(crate) fn take_back(&mut self) -> impl Iterator<Item = u64> {
        let count = std::mem::take(&mut self.pending);
        self.tail = self.tail.wrapping_sub(count);
        let (first, mask, entries) = (self.tail, self.count - 1, &self.entries);
        (0..count).filter_map(move |i| {
            let slot = entries.get((first.wrapping_add(i) & mask) as usize)?;
            Some(slot[USER_DATA].load(Ordering::Relaxed))
        })
    }
}

impl Drop for Submission {
    fn drop(&mut self) {
        self.shortcut.give_up(&self.ring.fd);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{completed, drain, io, nop, ring, run};
    use super::*;
    use std::os::fd::{AsRawFd as _, OwnedFd};
    use std::sync::atomic::AtomicBool;

    const NOP: SubmissionEntry = SubmissionEntry {
        op: Op::Nop,
        target: Target::Fd(-1),
        addr: 0,
        len: 0,
        offset: 0,
        user_data: 0,
        offload: false,
    };

    fn push_nops(submission: &mut Submission, user_data: std::ops::Range<u64>) {
        for user_data in user_data {
            // SAFETY: such an entry names nothing.
            assert!(unsafe { submission.push(&SubmissionEntry { user_data, ..NOP }) });
        }
    }

    #[test]
    fn entries_are_the_kernels() {
        let bytes = |op, target| {
            let (addr, offset, offload) = (0x1122, 0x3344, target == Target::Registered(7));
            let entry = SubmissionEntry { op, target, addr, len: 5, offset, user_data: 6, offload };
            let [first, offset, addr, fourth, user_data] = entry.words();
            let ([op, flags, 0, 0, fd @ ..], [len @ .., e0, e1, e2, e3]) =
                (first.to_ne_bytes(), fourth.to_ne_bytes())
            else {
                panic!("the IO has a priority")
            };
            let [l0, l1, l2, l3] = len;
            let len = u32::from_ne_bytes([l0, l1, l2, l3]);
            let extra = u32::from_ne_bytes([e0, e1, e2, e3]);
            assert_eq!(user_data, 6);
            ((op, flags, i32::from_ne_bytes(fd)), (addr, len, offset), extra)
        };
        let (open, registered) = (Target::Fd(-9), Target::Registered(7));
        let place = (0x1122, 5, 0x3344);
        for (op, code) in [(Op::Readv, 1), (Op::Writev, 2), (Op::Read, 22), (Op::Write, 23)] {
            assert_eq!(bytes(op, open), ((code, 0, -9), place, 0));
            assert_eq!(bytes(op, registered), ((code, 1 | 16, 7), place, 0));
        }
        for (op, code, extra) in [(Op::Fsync, 3, 0), (Op::Fdatasync, 3, 1), (Op::Nop, 0, 0)] {
            assert_eq!(bytes(op, registered), ((code, 1 | 16, 7), (0, 0, 0), extra));
        }
    }

    #[test]
    fn a_full_queue_takes_no_more() {
        let Some((mut made, _mapping)) = ring(4, 8) else { return };
        push_nops(&mut made.submission, 0..4);
        // SAFETY: as above.
        assert!(!unsafe { made.submission.push(&NOP) });
        assert_eq!(made.submission.room(), 0);
        assert_eq!(made.submission.submit(), Submitted::All);
        assert_eq!((made.submission.room(), drain(&mut made.completions).len()), (4, 4));
        assert_eq!(made.submission.submit(), Submitted::All);
        assert!(!made.completions.any());
    }

    #[test]
    fn what_the_ring_does_not_allow_is_refused() {
        let Some((mut made, _mapping)) = ring(8, 8) else { return };
        let silent =
            u64::from_ne_bytes([0, IoringSqeFlags::CQE_SKIP_SUCCESS.bits(), 0, 0, 0, 0, 0, 0]);
        let code = |op: IoringOp| u64::from_ne_bytes([op as u8, 0, 0, 0, 0, 0, 0, 0]);
        // The kernel takes no entry behind one that it refuses, so that this submission takes four calls.
        let cases = [code(IoringOp::Accept), code(IoringOp::Openat), silent, code(IoringOp::Nop)];
        // SAFETY: entries that are refused, or do nothing, name nothing.
        let mut put = |first| unsafe { made.submission.put([first, 0, 0, 0, 1]) };
        assert!(cases.into_iter().all(&mut put));
        assert_eq!(made.submission.submit(), Submitted::All);
        let results: Vec<_> = drain(&mut made.completions).iter().map(|e| e.result).collect();
        assert_eq!(results, [-libc::EACCES, -libc::EACCES, -libc::EACCES, 0]);
    }

    #[test]
    fn what_was_not_taken_can_be_taken_back() {
        let Some((mut made, _mapping)) = ring(4, 8) else { return };
        nop(&mut made.submission, 1);
        push_nops(&mut made.submission, 2..5);
        // A descriptor that is no ring.
        let null: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        let other = Arc::new(RingFd { fd: null, first_file: 0, shared: false });
        let ring = std::mem::replace(&mut made.submission.ring, other);
        let expected = Submitted::Refused { left: 3, errno: Errno::OPNOTSUPP };
        assert_eq!(made.submission.submit(), expected);
        made.submission.ring = ring;
        assert!(made.submission.take_back().eq(2..5));
        assert_eq!((made.submission.room(), made.submission.take_back().count()), (4, 0));
        nop(&mut made.submission, 5);
        let seen = drain(&mut made.completions);
        assert!(seen.iter().map(|entry| entry.user_data).eq([1, 5]));
    }

    #[test]
    fn a_peer_that_changes_the_tail_has_no_entry_executed_twice() {
        const TAIL: usize = 4;
        const WRITES: u64 = 3000;
        let Some((mut made, mapping)) = ring(8, 8) else { return };
        if !made.shared {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut options = std::fs::OpenOptions::new();
        let file = options.append(true).create(true).open(dir.path().join("counter")).unwrap();
        let (stop, mut byte, mut again, mut done) = (AtomicBool::new(false), [b'x'], 0, 0);
        let entry = io(Op::Write, Target::Fd(file.as_raw_fd()), &mut byte, 0);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let mut tail = 0_u32;
                while !stop.load(Ordering::Relaxed) {
                    tail = tail.wrapping_mul(5).wrapping_add(3);
                    mapping.copy_in(TAIL, &(tail >> 16).to_ne_bytes()).unwrap();
                }
            });
            for _ in 0..WRITES {
                // SAFETY: the byte and the file live on; all completions are waited for.
                assert!(unsafe { made.submission.push(&entry) });
                while made.submission.submit() != Submitted::All {
                    again += 1;
                    std::thread::yield_now();
                }
                done += completed(&mut made).len();
            }
            stop.store(true, Ordering::Relaxed);
        });
        let written = file.metadata().unwrap().len();
        assert_eq!((written, done), (WRITES, 3000), "{again} submissions took nothing");
    }

    #[test]
    fn an_offset_of_all_ones_is_not_the_files_position() {
        let Some((mut made, _mapping)) = ring(8, 8) else { return };
        let (file, mut bytes) = (tempfile::tempfile().unwrap(), [0; 4]);
        let target = Target::Fd(file.as_raw_fd());
        let results = [u64::MAX, u64::MAX - 1, 1 << 63]
            .map(|offset| run(&mut made, io(Op::Read, target, &mut bytes, offset)));
        assert_eq!(results, [-libc::EINVAL; 3]);
    }
}
