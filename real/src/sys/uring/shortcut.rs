//! A thread's shortcut to a ring: io_uring_enter(2) finds a ring by its place in the calling thread's own table
//! without counting references to a descriptor, which takes locked operations where a process has several threads.
//!
//! | state | when |
//! |---|---|
//! | untried | until one thread has submitted [`TRY_AFTER`] times in a row |
//! | taken | from then on, for this thread; any other goes by the descriptor |
//! | none | the kernel has none to give (before Linux 5.18), or took it back |
//!
//! Places are the thread's own: the same number in another thread is another ring, or none. So a thread is known by
//! a number that is never used again, unlike an address or the kernel's id. Only the thread itself can give its place
//! up; a ring that is dropped elsewhere is gone when that thread has ended, too, and until then the description
//! that it keeps lives on. Death ends all threads, and so does not wait for anything here.
#![expect(clippy::disallowed_types, reason = "numbers of threads, not protocol words")]

use std::cell::Cell;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io_uring::{IoringRegisterOp, io_uring_ptr, io_uring_register, io_uring_rsrc_update};

/// How often a thread submits before it takes a place: a table has 16.
const TRY_AFTER: u32 = 16;

/// Whether a ring has a place in a thread's table.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shortcut {
    Untried { thread: u64, times: u32 },
    Taken { thread: u64, place: u32 },
    None,
}

impl Shortcut {
    pub(super) const NEW: Self = Self::Untried { thread: 0, times: 0 };

    /// The ring's place in the calling thread's table.
    #[inline(always)]
    pub(super) fn place(&mut self, ring: &OwnedFd) -> Option<RawFd> {
        match *self {
            Self::Taken { thread, place } if thread == this_thread() => RawFd::try_from(place).ok(),
            Self::Taken { .. } | Self::None => None,
            Self::Untried { .. } => self.count(ring),
        }
    }

    #[cold]
    fn count(&mut self, ring: &OwnedFd) -> Option<RawFd> {
        let (Self::Untried { thread, times }, me) = (*self, this_thread()) else { return None };
        let times = if thread == me { times + 1 } else { 1 };
        *self = Self::Untried { thread: me, times };
        if times < TRY_AFTER {
            return None;
        }
        *self = register(ring).map_or(Self::None, |place| Self::Taken { thread: me, place });
        self.place(ring)
    }

    /// The kernel knows of no such place.
    #[cold]
    pub(super) fn forget(&mut self) {
        *self = Self::None;
    }

    /// Gives the place up, if it is the calling thread's.
    pub(super) fn give_up(&mut self, ring: &OwnedFd) {
        if let Self::Taken { thread, place } = std::mem::replace(self, Self::None)
            && thread == this_thread()
        {
            unregister(ring, place);
        }
    }
}

/// A number of the calling thread that no other thread of this process has or will have.
#[inline(always)]
fn this_thread() -> u64 {
    thread_local! {
        static NUMBER: Cell<u64> = const { Cell::new(0) };
    }
    static LAST: AtomicU64 = AtomicU64::new(0);
    NUMBER.with(|number| {
        if number.get() == 0 {
            number.set(LAST.fetch_add(1, Ordering::Relaxed) + 1);
        }
        number.get()
    })
}

/// IORING_REGISTER_RING_FDS (Linux 5.18): any free place.
fn register(ring: &OwnedFd) -> Option<u32> {
    let mut update = io_uring_rsrc_update::default();
    update.offset = u32::MAX;
    let fd = usize::try_from(ring.as_raw_fd()).ok()?;
    update.data = io_uring_ptr::new(std::ptr::without_provenance_mut(fd));
    let (op, at) = (IoringRegisterOp::RegisterRingFds, &raw mut update);
    // SAFETY: the operation reads one update, which holds a descriptor, and writes the place to it.
    let registered = unsafe { io_uring_register(ring.as_fd(), op, at.cast(), 1) };
    (registered == Ok(1)).then_some(update.offset)
}

/// IORING_UNREGISTER_RING_FDS.
fn unregister(ring: &OwnedFd, place: u32) {
    let mut update = io_uring_rsrc_update::default();
    update.offset = place;
    let (op, at) = (IoringRegisterOp::UnregisterRingFds, &raw const update);
    // SAFETY: the operation reads one update. What it refuses stays until the thread has ended.
    let _ = unsafe { io_uring_register(ring.as_fd(), op, at.cast(), 1) };
}

/// A place as io_uring_enter(2) takes it with IORING_ENTER_REGISTERED_RING.
///
/// # Safety
/// It is used for nothing else: it is a number in a table, and may be that of any descriptor, too.
pub(super) unsafe fn as_argument<'a>(place: RawFd) -> BorrowedFd<'a> {
    // SAFETY: not negative; nothing is done to the descriptor of this number, by the caller's promise.
    unsafe { BorrowedFd::borrow_raw(place) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{drain, nop, queue, ring};
    use super::super::{Made, Wanted, make, queue_bytes};
    use super::*;
    use crate::sys::lock::{LockFile, is_free};
    use crate::sys::mapping::Mapping;
    use crate::sys::memfd;
    use crate::sys::testing::eventually;

    fn submit_many(made: &mut Made) {
        for user_data in 0..u64::from(2 * TRY_AFTER) {
            nop(&mut made.submission, user_data);
            assert_eq!(drain(&mut made.completions).len(), 1);
        }
    }

    fn in_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|threads| threads.spawn(work).join().unwrap())
    }

    #[test]
    fn a_thread_that_submits_often_takes_a_place_and_another_goes_by_the_descriptor() {
        let Some((mut made, _mapping)) = ring(8, 8) else { return };
        submit_many(&mut made);
        if !matches!(made.submission.shortcut, Shortcut::Taken { .. }) {
            return eprintln!("skipped, no table of rings here");
        }
        in_a_thread(|| submit_many(&mut made));
        submit_many(&mut made);
    }

    #[test]
    fn two_rings_at_the_same_place_of_two_threads_are_not_confused() {
        let Some((mut one, _first)) = ring(8, 8) else { return };
        let Some((mut other, _second)) = ring(8, 8) else { return };
        in_a_thread(|| submit_many(&mut one));
        in_a_thread(|| {
            submit_many(&mut other);
            submit_many(&mut one);
        });
        submit_many(&mut one);
        submit_many(&mut other);
    }

    #[test]
    fn a_place_that_the_kernel_does_not_know_costs_one_call() {
        let Some((mut made, _mapping)) = ring(8, 8) else { return };
        for place in [15, 400] {
            made.submission.shortcut = Shortcut::Taken { thread: this_thread(), place };
            submit_many(&mut made);
            assert!(matches!(made.submission.shortcut, Shortcut::None));
        }
    }

    #[test]
    fn places_are_given_up_with_their_rings() {
        for _ in 0..40 {
            let Some((mut made, _mapping)) = ring(8, 8) else { return };
            submit_many(&mut made);
            if matches!(made.submission.shortcut, Shortcut::None) {
                return assert!(register(&made.ring.fd).is_none(), "the table is full");
            }
        }
    }

    #[test]
    fn s25_the_kept_description_lives_until_the_thread_with_the_place_has_ended_too() {
        let fd = memfd::create_sealed("handfast-test", queue_bytes(8) as u64).unwrap();
        let mapping = Mapping::new(fd.as_fd(), queue_bytes(8)).unwrap();
        for elsewhere in [false, true] {
            let lock = LockFile::reopen(fd.as_fd()).unwrap();
            assert!(lock.try_lock(3).unwrap());
            let keep = Some(lock.as_fd());
            let queue = queue(&mapping);
            let wanted = Wanted { submissions: 8, completions: 8, queue, files: 1, keep };
            let Ok(mut made) = make(wanted) else { return };
            drop(lock);
            let left = in_a_thread(move || {
                submit_many(&mut made);
                elsewhere.then_some(made)
            });
            drop(left);
            assert!(eventually(|| is_free(fd.as_fd(), 3).unwrap()));
        }
    }
}
