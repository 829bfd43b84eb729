//! A ring's descriptor: sleeping for completions, and its table of files.
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::io_uring::{
    IoringEnterFlags, IoringRegisterOp, io_uring_enter, io_uring_enter_arg, io_uring_files_update,
    io_uring_getevents_arg, io_uring_ptr, io_uring_register,
};

/// How a sleep ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Slept {
    /// A completion may be there; or a signal came.
    LookAgain,
    /// The time is over.
    TimedOut,
}

/// The descriptor of a ring; closed on drop and on exec, inherited by a forked child.
#[derive(Debug)]
pub(crate) struct RingFd {
    pub(super) fd: OwnedFd,
    /// The first file of the table that may be replaced.
    pub(super) first_file: u32,
    /// Whether other processes can write to the queue.
    pub(super) shared: bool,
}

impl RingFd {
    /// Sleeps until the queue holds a completion, a signal comes, or `timeout` is over. Blocks.
    ///
    /// By io_uring_enter(2) with IORING_ENTER_EXT_ARG (Linux 5.11). If others can write to the queue by ppoll(2):
    /// with a head beyond the tail the former loops in the kernel, and not even SIGKILL ends that. What
    /// had no room in such a queue comes after [`RingFd::make_room`].
    ///
    /// One thread at a time: a thread whose completion another has taken sleeps on.
    pub(crate) fn sleep(&self, timeout: Duration) -> Slept {
        let limit = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        if self.shared {
            return match poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&limit)) {
                Ok(0) => Slept::TimedOut,
                Ok(_) | Err(Errno::INTR) => Slept::LookAgain,
                Err(_) => Self::sleep_politely(timeout),
            };
        }
        let ts = io_uring_ptr::new((&raw const limit).cast_mut().cast());
        let how = io_uring_getevents_arg { ts, ..io_uring_getevents_arg::default() };
        let flags = IoringEnterFlags::GETEVENTS | IoringEnterFlags::EXT_ARG;
        // SAFETY: nothing is submitted, and the kernel only reads `how` and the time it points to, both
        // of which live on.
        match unsafe { io_uring_enter_arg(&self.fd, 0, 1, flags, Some(&how)) } {
            Ok(_) | Err(Errno::INTR) => Slept::LookAgain,
            Err(Errno::TIME) => Slept::TimedOut,
            Err(_) => Self::sleep_politely(timeout),
        }
    }

    /// A filter that was set up later refuses the call, say: then waiting becomes polling, and should at least be
    /// polite.
    fn sleep_politely(timeout: Duration) -> Slept {
        std::thread::sleep(timeout.min(Duration::from_millis(1)));
        Slept::LookAgain
    }

    /// io_uring_enter(2) for no completions: puts what had no room into the queue. Does not block.
    pub(crate) fn make_room(&self) {
        // SAFETY: nothing is submitted.
        let _nothing_or_refused =
            unsafe { io_uring_enter(&self.fd, 0, 0, IoringEnterFlags::GETEVENTS) };
    }

    /// io_uring_register(2) with IORING_REGISTER_FILES_UPDATE: puts `fd`'s description at `index` of
    /// the table, which keeps it open; the descriptor may be closed. What was there before is let go
    /// when its last IO is over.
    ///
    /// Waits while another thread is in a submission to this ring.
    ///
    /// # Errors
    /// The kernel's; `InvalidInput` for the place of the description that is kept, or one outside of
    /// the table.
    pub(crate) fn register_file(&self, index: u32, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.update(index, fd.as_raw_fd())
    }

    /// The same with nothing: empties the place.
    ///
    /// # Errors
    /// As for [`register_file`](RingFd::register_file).
    pub(crate) fn unregister_file(&self, index: u32) -> io::Result<()> {
        self.update(index, -1)
    }

    fn update(&self, index: u32, fd: RawFd) -> io::Result<()> {
        if index < self.first_file {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut update = io_uring_files_update::default();
        update.offset = index;
        update.fds = io_uring_ptr::new((&raw const fd).cast_mut().cast());
        let (op, at) = (IoringRegisterOp::RegisterFilesUpdate, &raw const update);
        // SAFETY: the operation reads one update, which points to one descriptor; both live on.
        let done = unsafe { io_uring_register(&self.fd, op, at.cast(), 1) }?;
        if done == 1 { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
    }
}

impl AsFd for RingFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{drain, io, nop, refused, ring, run};
    use super::super::{Op, Target, Wanted, make};
    use super::*;
    use crate::sys::lock::{LockFile, is_free};
    use crate::sys::memfd;
    use crate::sys::testing::eventually;
    use std::io::Write as _;
    use std::time::Instant;

    #[test]
    fn a_sleep_times_out() {
        let Some((made, _mapping)) = ring(8, 8) else { return };
        let before = Instant::now();
        assert_eq!(made.ring.sleep(Duration::from_millis(20)), Slept::TimedOut);
        assert!(before.elapsed() >= Duration::from_millis(20));
        assert_eq!(made.ring.sleep(Duration::ZERO), Slept::TimedOut);
    }

    #[test]
    fn a_sleep_does_not_start_when_there_is_a_completion() {
        let Some((mut made, _mapping)) = ring(8, 8) else { return };
        nop(&mut made.submission, 1);
        assert_eq!(made.ring.sleep(Duration::ZERO), Slept::LookAgain);
    }

    #[test]
    fn another_threads_submission_ends_a_sleep() {
        let Some((mut made, _mapping)) = ring(8, 8) else { return };
        let stat = format!("/proc/self/task/{}/stat", rustix::thread::gettid());
        let asleep = || std::fs::read_to_string(&stat).unwrap().contains(") S ");
        let (ring, submission) = (&made.ring, &mut made.submission);
        std::thread::scope(|threads| {
            let other = threads.spawn(move || {
                let slept = eventually(asleep);
                nop(submission, 1);
                slept
            });
            assert_eq!(ring.sleep(Duration::from_secs(60)), Slept::LookAgain);
            assert!(other.join().unwrap());
        });
        assert_eq!(drain(&mut made.completions).len(), 1);
    }

    #[test]
    fn completions_without_room_come_after_a_sleep() {
        let Some((mut made, _mapping)) = ring(8, 8) else { return };
        for user_data in 0..12 {
            nop(&mut made.submission, user_data);
        }
        let mut seen = drain(&mut made.completions);
        assert_eq!(seen.len(), 8);
        assert_eq!(made.ring.sleep(Duration::from_secs(10)), Slept::LookAgain);
        made.ring.make_room();
        seen.extend(drain(&mut made.completions));
        assert!(seen.iter().map(|entry| entry.user_data).eq(0..12));
    }

    #[test]
    fn a_registered_file_outlives_its_descriptor() {
        let Some((mut made, _mapping)) = ring(8, 8) else { return };
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123").unwrap();
        let mut bytes = [0_u8; 4];
        let entry = io(Op::Read, Target::Registered(2), &mut bytes, 0);
        assert_eq!(run(&mut made, entry), -libc::EBADF);
        made.ring.register_file(2, file.as_fd()).unwrap();
        drop(file);
        assert_eq!((run(&mut made, entry), &bytes), (4, b"0123"));
        made.ring.unregister_file(2).unwrap();
        assert_eq!(run(&mut made, entry), -libc::EBADF);
    }

    #[test]
    fn the_kept_description_holds_its_lock_until_the_ring_is_gone() {
        let fd = memfd::create_sealed("handfast-test", 4096).unwrap();
        let lock = LockFile::reopen(fd.as_fd()).unwrap();
        assert!(lock.try_lock(3).unwrap());
        let (queue, keep) = (None, Some(lock.as_fd()));
        let wanted = Wanted { submissions: 8, completions: 8, queue, files: 1, keep };
        let mut made = match make(wanted) {
            Ok(made) => made,
            Err(error) => return assert!(refused(&error), "{error}"),
        };
        drop(lock);
        let mut bytes = [1; 4];
        assert_eq!(run(&mut made, io(Op::Read, Target::Registered(0), &mut bytes, 0)), 4);
        assert!(!is_free(fd.as_fd(), 3).unwrap());
        drop(made);
        assert!(eventually(|| is_free(fd.as_fd(), 3).unwrap()));
    }

    #[test]
    fn the_kept_description_stays_and_the_table_ends() {
        let Some((made, _mapping)) = ring(8, 8) else { return };
        let file = tempfile::tempfile().unwrap();
        let refused = |index| made.ring.register_file(index, file.as_fd()).unwrap_err().kind();
        assert_eq!(refused(0), io::ErrorKind::InvalidInput);
        assert_eq!(refused(4), io::ErrorKind::InvalidInput);
        assert!(made.ring.unregister_file(0).is_err());
    }
}
