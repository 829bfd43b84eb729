//! Locks on single bytes of a segment: who holds a slot's byte is alive, and may act for the slot.
//!
//! They are open-file-description locks (fcntl_locking(2), Linux 3.15): the kernel drops one when
//! the last reference to its description goes, which is when the process that opened it has ended
//! and its io_uring, if it registered the description there, can no longer write. The bytes need
//! not exist; slot `i` uses byte `i`.
//!
//! A forked child keeps the description, and so the lock, alive: forking an attached process
//! without exec is refused elsewhere, and O_CLOEXEC takes care of exec.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::file::Identity;

/// Why a segment could not be opened once more for locking.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockFileError {
    /// There is no `/proc`, or not this process's.
    #[error(
        "the segment cannot be opened again because /proc/self/fd is missing; mount proc at /proc"
    )]
    ProcMissing,
    /// The user may not open it.
    #[error(
        "the segment cannot be opened again for reading and writing; \
         run as the user who made it, in a process that is dumpable"
    )]
    Denied,
    /// Something else was opened.
    #[error(
        "opening the segment again through /proc gave another file; mount a real proc at /proc"
    )]
    Different,
    /// Any other error of the kernel.
    #[error("the segment cannot be opened again through /proc: {0}; see open(2)")]
    Kernel(#[source] io::Error),
}

impl From<LockFileError> for io::Error {
    fn from(error: LockFileError) -> io::Error {
        let kind = match &error {
            LockFileError::ProcMissing => io::ErrorKind::NotFound,
            LockFileError::Denied => io::ErrorKind::PermissionDenied,
            LockFileError::Different => io::ErrorKind::Other,
            LockFileError::Kernel(source) => source.kind(),
        };
        io::Error::new(kind, error)
    }
}

/// An open file description of its own on a segment; dropping it (and every duplicate) drops its
/// locks.
#[derive(Debug)]
pub(crate) struct LockFile {
    fd: OwnedFd,
}

impl LockFile {
    /// open(2) of `/proc/self/fd/N` (see proc_pid_fd(5)): a new description of the same file,
    /// closed on exec.
    ///
    /// Duplicating `segment` would not do, since duplicates share one description and with it all
    /// locks.
    pub(crate) fn reopen(segment: BorrowedFd<'_>) -> Result<LockFile, LockFileError> {
        let path = format!("/proc/self/fd/{}", segment.as_raw_fd());
        let opened = rustix::io::retry_on_intr(|| {
            rustix::fs::open(path.as_str(), OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        });
        let fd = opened.map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => LockFileError::ProcMissing,
            Errno::ACCESS | Errno::PERM => LockFileError::Denied,
            other => LockFileError::Kernel(other.into()),
        })?;
        let theirs = Identity::of(segment).map_err(LockFileError::Kernel)?;
        let ours = Identity::of(fd.as_fd()).map_err(LockFileError::Kernel)?;
        if theirs == ours { Ok(LockFile { fd }) } else { Err(LockFileError::Different) }
    }

    /// fcntl(2) with F_OFD_SETLK, exclusive: whether this description now holds (or already held)
    /// `byte`'s lock.
    ///
    /// # Errors
    /// The kernel's, such as ENOLCK; that somebody else holds the lock is `Ok(false)`.
    pub(crate) fn try_lock(&self, byte: u64) -> io::Result<bool> {
        match self.control(libc::F_OFD_SETLK, libc::F_WRLCK, byte) {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// fcntl(2) with F_OFD_SETLK: gives `byte`'s lock back; nothing happens if this description
    /// does not hold it.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn unlock(&self, byte: u64) -> io::Result<()> {
        self.control(libc::F_OFD_SETLK, libc::F_UNLCK, byte).map(drop)
    }

    /// fcntl(2) with F_OFD_GETLK: whether no *other* description holds `byte`'s lock. Does not try
    /// to take it.
    ///
    /// A lock that this description holds itself counts as free: never ask about a slot of one's
    /// own.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn is_free(&self, byte: u64) -> io::Result<bool> {
        is_free(self.fd.as_fd(), byte)
    }

    fn control(
        &self,
        command: libc::c_int,
        kind: libc::c_int,
        byte: u64,
    ) -> io::Result<libc::flock> {
        control(self.fd.as_fd(), command, (kind, byte))
    }
}

/// fcntl(2) with F_OFD_GETLK: whether no description *other than `segment`'s* holds `byte`'s lock.
/// True for everybody's locks if `segment`'s never takes one.
///
/// # Errors
/// The kernel's.
pub(crate) fn is_free(segment: BorrowedFd<'_>, byte: u64) -> io::Result<bool> {
    let found = control(segment, libc::F_OFD_GETLK, (libc::F_WRLCK, byte))?;
    Ok(i32::from(found.l_type) == libc::F_UNLCK)
}

fn control(
    fd: BorrowedFd<'_>,
    command: libc::c_int,
    (kind, byte): (libc::c_int, u64),
) -> io::Result<libc::flock> {
    let invalid = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let mut range = libc::flock {
        l_type: libc::c_short::try_from(kind).map_err(invalid)?,
        l_whence: libc::c_short::try_from(libc::SEEK_SET).map_err(invalid)?,
        l_start: libc::off_t::try_from(byte).map_err(invalid)?,
        l_len: 1,
        // Open-file-description commands demand a zero here.
        l_pid: 0,
    };
    // SAFETY: a borrowed descriptor is open, both commands take a pointer to a `flock`, and `range`
    // is one that nobody else reaches during the call.
    let answer = unsafe { libc::fcntl(fd.as_raw_fd(), command, &raw mut range) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(range) }
}

impl AsFd for LockFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::memfd;
    use crate::sys::testing::{eventually, forked};

    fn two_on_one_segment() -> (OwnedFd, LockFile, LockFile) {
        let fd = memfd::create_sealed("handfast-test", 4096).unwrap();
        let (one, two) =
            (LockFile::reopen(fd.as_fd()).unwrap(), LockFile::reopen(fd.as_fd()).unwrap());
        (fd, one, two)
    }

    #[test]
    fn a_byte_has_one_holder_and_its_neighbours_are_free() {
        let (_fd, one, two) = two_on_one_segment();
        assert!(one.try_lock(5).unwrap());
        assert!(one.try_lock(5).unwrap(), "taking one's own lock again is no conflict");
        assert!(!two.try_lock(5).unwrap());
        assert!(!two.is_free(5).unwrap());
        assert!(two.is_free(4).unwrap() && two.is_free(6).unwrap());
        assert!(two.try_lock(6).unwrap());
        one.unlock(5).unwrap();
        assert!(two.is_free(5).unwrap() && !one.is_free(6).unwrap());
    }

    #[test]
    fn a_probe_does_not_take_the_lock() {
        let (_fd, one, two) = two_on_one_segment();
        assert!(one.is_free(0).unwrap());
        assert!(two.try_lock(0).unwrap());
    }

    #[test]
    fn ones_own_lock_looks_free_to_oneself() {
        let (fd, one, _two) = two_on_one_segment();
        assert!(one.try_lock(3).unwrap());
        assert!(one.is_free(3).unwrap());
        assert!(!is_free(fd.as_fd(), 3).unwrap(), "but not to the segment's own descriptor");
        assert!(is_free(fd.as_fd(), 4).unwrap());
    }

    #[test]
    fn dropping_the_description_gives_the_lock_back() {
        let (_fd, one, two) = two_on_one_segment();
        assert!(one.try_lock(1).unwrap());
        drop(one);
        // A child that another test forks meanwhile keeps the description for as long as it lives.
        assert!(eventually(|| two.is_free(1).unwrap()));
    }

    #[test]
    fn a_byte_far_past_the_end_can_be_locked_and_one_past_all_offsets_not() {
        let (_fd, one, two) = two_on_one_segment();
        assert!(one.try_lock(1 << 40).unwrap());
        assert!(!two.is_free(1 << 40).unwrap());
        assert_eq!(one.try_lock(u64::MAX).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_killed_process_loses_its_lock() {
        let (fd, one, _two) = two_on_one_segment();
        let child = forked(|| {
            let Ok(mine) = LockFile::reopen(fd.as_fd()) else { return 1 };
            if !matches!(mine.try_lock(9), Ok(true)) {
                return 2;
            }
            loop {
                std::thread::park();
            }
        });
        assert!(eventually(|| !one.is_free(9).unwrap()), "the child never took the lock");
        assert!(!one.try_lock(9).unwrap());
        child.kill();
        assert!(eventually(|| one.try_lock(9).unwrap()));
    }

    #[test]
    fn a_lock_file_is_closed_on_exec() {
        let (_fd, one, _two) = two_on_one_segment();
        assert!(rustix::io::fcntl_getfd(&one).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    }
}
