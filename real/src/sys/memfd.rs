//! Where a segment comes from: a sealed memfd, or a file with a name; and what an opener can find
//! out about one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FallocateFlags, FileType, MemfdFlags, Mode, OFlags, SealFlags, SeekFrom};
use rustix::io::Errno;

/// Only the segment's owner may open it: the unit of trust is one user.
const OWNER_ONLY: Mode = Mode::RUSR.union(Mode::WUSR);

/// With these no process can shorten the segment, so that touching a page of it is never SIGBUS.
const FIXED_LENGTH: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// Allocation goes in pieces of this many bytes, because a signal undoes and repeats only the piece
/// it interrupts.
const PIECE: u64 = 4 << 20;

/// What a segment's descriptor stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backing {
    /// A memfd whose length is sealed: truncation is impossible.
    SealedMemfd,
    /// A regular file, or a memfd without seals: processes of the same user can truncate it, which
    /// is outside the guarantee.
    File,
}

/// What [`inspect`] found out about a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inspected {
    /// Whether its length is fixed.
    pub(crate) backing: Backing,
    /// Its length in bytes.
    pub(crate) len: u64,
    /// The user it belongs to.
    pub(crate) uid: u32,
    /// Its permission bits (the lowest twelve).
    pub(crate) mode: u32,
}

/// memfd_create(2), Linux 3.17: a memfd of `len` bytes, all allocated, mode 0600, its length
/// sealed.
///
/// # Errors
/// The kernel's; among them ENOMEM and ENOSPC (the memory is allocated here, not when it is first
/// touched) and EINVAL for a `len` of zero.
pub(crate) fn create_sealed(name: &str, len: u64) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3 the flag is unknown; from then on a system may demand it.
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags)?,
        other => other?,
    };
    rustix::fs::fchmod(&fd, OWNER_ONLY)?;
    allocate(fd.as_fd(), len)?;
    rustix::fs::fcntl_add_seals(&fd, FIXED_LENGTH)?;
    Ok(fd)
}

/// open(2) with O_CREAT and O_EXCL: a new file of `len` bytes, all allocated, mode 0600. On failure
/// no file is left.
///
/// # Errors
/// The kernel's; among them EEXIST, ENOSPC, and EOPNOTSUPP where the file system cannot allocate in
/// advance.
pub(crate) fn create_named(path: &Path, len: u64) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::open(path, flags, OWNER_ONLY)?;
    // The process's umask may have taken bits away.
    let made = rustix::fs::fchmod(&fd, OWNER_ONLY).and_then(|()| allocate(fd.as_fd(), len));
    if let Err(error) = made {
        // The first error is the one to report; a file that cannot be removed either is no better
        // known for it.
        let _ = rustix::fs::unlink(path);
        return Err(error.into());
    }
    Ok(fd)
}

/// fstat(2) and fcntl(2) with F_GET_SEALS: what an opener checks before it maps a segment.
///
/// # Errors
/// The kernel's; `InvalidInput` if the descriptor is not that of a regular file or memfd.
pub(crate) fn inspect(fd: BorrowedFd<'_>) -> io::Result<Inspected> {
    let stat = rustix::fs::fstat(fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // Only memory file systems know seals; a file in a tmpfs has none that fix its length and
    // cannot get any.
    let backing = match rustix::fs::fcntl_get_seals(fd) {
        Ok(seals) if seals.contains(FIXED_LENGTH) => Backing::SealedMemfd,
        Ok(_) | Err(_) => Backing::File,
    };
    let len = u64::try_from(stat.st_size).map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok(Inspected { backing, len, uid: stat.st_uid, mode: stat.st_mode & 0o7777 })
}

/// sysinfo(2): the bytes of memory and swap of this machine. Memory files without a limit of their own
/// have no other, and the kernel would rather kill some process than refuse more. The limits of control
/// groups are not looked at: in a container with less memory than the machine, a segment above its
/// limit is not refused here, and allocating it may end the process.
fn all_memory() -> u64 {
    let info = rustix::system::sysinfo();
    let units = info.totalram.saturating_add(info.totalswap);
    units.saturating_mul(info.mem_unit.into())
}

/// ftruncate(2) and fallocate(2): makes the file `len` bytes long and allocates all of them. What a
/// file system with a limit has no room for is refused before anything is taken from it.
fn allocate(fd: BorrowedFd<'_>, len: u64) -> rustix::io::Result<()> {
    if len == 0 {
        return Err(Errno::INVAL);
    }
    let room = rustix::fs::fstatvfs(fd)?;
    if room.f_blocks == 0 && len > all_memory() {
        return Err(Errno::NOMEM);
    }
    if room.f_blocks != 0 && len > room.f_bavail.saturating_mul(room.f_frsize) {
        return Err(Errno::NOSPC);
    }
    rustix::io::retry_on_intr(|| rustix::fs::ftruncate(fd, len))?;
    let mut done = 0;
    while done < len {
        let piece = PIECE.min(len - done);
        // A piece takes a few milliseconds at most, so it gets done between two signals, however
        // often they come.
        rustix::io::retry_on_intr(|| {
            rustix::fs::fallocate(fd, FallocateFlags::empty(), done, piece)
        })?;
        done += piece;
    }
    Ok(())
}

/// fallocate(2) with FALLOC_FL_PUNCH_HOLE: replaces the pages of a part of the file by new ones, for everybody
/// who has it mapped. Whoever holds the old ones (a ring that was made with them) has them for itself. False if
/// they are the old ones still: the part is smaller than a page, or the file system cannot.
///
/// # Errors
/// The kernel's; among them ENOSPC: then the pages are allocated when they are touched.
pub(crate) fn renew(fd: BorrowedFd<'_>, at: u64, len: u64) -> io::Result<bool> {
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::io::retry_on_intr(|| rustix::fs::fallocate(fd, punch, at, len))?;
    let gone = match rustix::fs::seek(fd, SeekFrom::Data(at)) {
        Ok(next) => next >= at + len,
        Err(errno) => errno == Errno::NXIO,
    };
    rustix::io::retry_on_intr(|| rustix::fs::fallocate(fd, FallocateFlags::KEEP_SIZE, at, len))?;
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_memfd_cannot_change_its_length() {
        let len = PIECE + 4096;
        let fd = create_sealed("handfast-test", len).unwrap();
        assert_eq!(rustix::fs::ftruncate(&fd, 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&fd, len + 4096), Err(Errno::PERM));
        assert_eq!(rustix::fs::fcntl_add_seals(&fd, SealFlags::WRITE), Err(Errno::PERM));
        let uid = rustix::process::geteuid().as_raw();
        let expected = Inspected { backing: Backing::SealedMemfd, len, uid, mode: 0o600 };
        assert_eq!(inspect(fd.as_fd()).unwrap(), expected);
        assert_eq!(u64::try_from(rustix::fs::fstat(&fd).unwrap().st_blocks).unwrap() * 512, len);
    }

    #[test]
    fn a_segment_is_closed_on_exec() {
        let fd = create_sealed("handfast-test", 4096).unwrap();
        assert!(rustix::io::fcntl_getfd(&fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    }

    #[test]
    fn an_unsealed_memfd_counts_as_a_file() {
        let fd = rustix::fs::memfd_create("handfast-test", MemfdFlags::CLOEXEC).unwrap();
        assert_eq!(inspect(fd.as_fd()).unwrap().backing, Backing::File);
    }

    #[test]
    fn a_named_segment_is_new_and_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segment");
        let fd = create_named(&path, 8192).unwrap();
        let seen = inspect(fd.as_fd()).unwrap();
        assert_eq!((seen.backing, seen.len, seen.mode), (Backing::File, 8192, 0o600));
        assert_eq!(create_named(&path, 8192).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(path.exists(), "a refused creation must not remove somebody else's file");
    }

    #[test]
    fn a_named_segment_does_not_follow_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("target"), &link).unwrap();
        assert!(create_named(&link, 8192).is_err());
        assert!(!dir.path().join("target").exists());
    }

    #[test]
    fn a_failed_creation_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segment");
        assert!(create_named(&path, 0).is_err());
        assert!(create_named(&path, u64::MAX).is_err());
        assert!(!path.exists());
        assert!(create_sealed("handfast-test", u64::MAX).is_err());
    }

    #[test]
    fn a_pipe_is_not_a_segment() {
        let (reader, _writer) = io::pipe().unwrap();
        assert_eq!(inspect(reader.as_fd()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
