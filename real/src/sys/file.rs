//! What a descriptor stands for, and getting another one for the same file.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxFlags};

/// Which file this is, on this machine until it is deleted: device and inode number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    /// The device the file lies on (`st_dev`).
    pub(crate) device: u64,
    /// Its inode number there (`st_ino`).
    pub(crate) inode: u64,
}

impl Identity {
    /// fstat(2): the identity of an open file.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn of(fd: BorrowedFd<'_>) -> io::Result<Identity> {
        let stat = rustix::fs::fstat(fd)?;
        Ok(Identity { device: stat.st_dev, inode: stat.st_ino })
    }
}

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reading, or syncing.
    Read,
    /// Writing.
    Write,
    /// Reading and writing.
    Both,
}

/// How IO on a descriptor behaves, beside what file it is: what another descriptor for the same file must
/// be opened with to do the same. A small number, so that it can be told to other processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Manner(u32);

impl Manner {
    /// O_DSYNC by its number: the constant of rustix for it is that of O_SYNC on Linux.
    const FLAGS: [OFlags; 3] =
        [OFlags::DIRECT, OFlags::from_bits_retain(libc::O_DSYNC.cast_unsigned()), OFlags::SYNC];

    /// fcntl(2) with F_GETFL: the manner of an open descriptor, and whether it only appends.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn of(fd: BorrowedFd<'_>) -> io::Result<(Manner, bool)> {
        let flags = rustix::fs::fcntl_getfl(fd)?;
        let bit = |flag: OFlags| u32::from(flags.contains(flag));
        let [direct, dsync, sync] = Manner::FLAGS.map(bit);
        Ok((Manner(direct | dsync << 1 | sync << 2), flags.contains(OFlags::APPEND)))
    }

    /// fcntl(2) with F_GETFL: whether an open descriptor can be read from, and written to.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn rights_of(fd: BorrowedFd<'_>) -> io::Result<(bool, bool)> {
        let how = rustix::fs::fcntl_getfl(fd)? & OFlags::RWMODE;
        Ok((how != OFlags::WRONLY, how != OFlags::RDONLY))
    }

    /// Whether it goes past the page cache.
    pub(crate) fn is_direct(self) -> bool {
        self.0 & 1 == 1
    }

    /// As a number below eight.
    pub(crate) fn number(self) -> u32 {
        self.0
    }

    /// From any number.
    pub(crate) fn from_number(number: u32) -> Manner {
        Manner(number & 7)
    }

    fn flags(self) -> OFlags {
        let with = |flags: OFlags, (bit, flag): (u32, OFlags)| {
            if self.0 >> bit & 1 == 1 { flags | flag } else { flags }
        };
        (0..).zip(Manner::FLAGS).fold(OFlags::empty(), with)
    }
}

/// Finds the file at `path`, without doing anything to it, if it is `expected` and can be opened without
/// waiting.
///
/// # Errors
/// The kernel's; `StaleNetworkFileHandle` if it is another file, `Unsupported` if it is the expected
/// one but neither a regular file nor a block device.
pub(crate) fn find(path: &Path, expected: Identity) -> io::Result<OwnedFd> {
    let find = || rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let found = rustix::io::retry_on_intr(find)?;
    if Identity::of(found.as_fd())? != expected {
        return Err(io::ErrorKind::StaleNetworkFileHandle.into());
    }
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode);
    if !matches!(kind, FileType::RegularFile | FileType::BlockDevice) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(found)
}

/// Opens the file at `path` if it is `expected`.
///
/// open(2) of a FIFO waits for its other end, and that of a device may do anything. So the first is
/// with O_PATH, which finds the file and does nothing to it; once that is the expected one and a regular
/// file or a block device, the second goes to the very same file by way of `/proc/self/fd`.
///
/// # Errors
/// As of [`find`].
pub(crate) fn reopen(
    path: &Path,
    expected: Identity,
    access: Access,
    manner: Manner,
) -> io::Result<OwnedFd> {
    let found = find(path, expected)?;
    let access = manner.flags()
        | match access {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::WRONLY,
            Access::Both => OFlags::RDWR,
        };
    let link = format!("/proc/self/fd/{}", found.as_raw_fd());
    let open = || rustix::fs::open(link.as_str(), access | OFlags::CLOEXEC, Mode::empty());
    Ok(rustix::io::retry_on_intr(open)?)
}

/// statx(2) with STATX_DIOALIGN (Linux 6.1): what O_DIRECT asks of (memory addresses, offsets and
/// lengths), in bytes.
///
/// `None` if the file cannot do direct IO, or if the kernel or the file system does not say.
pub(crate) fn direct_io_limits(fd: BorrowedFd<'_>) -> Option<(u32, u32)> {
    let stat = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok()?;
    let told = stat.stx_mask & StatxFlags::DIOALIGN.bits() != 0;
    let limits = (stat.stx_dio_mem_align, stat.stx_dio_offset_align);
    (told && limits.0 != 0 && limits.1 != 0).then_some(limits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn an_identity_follows_the_file_not_the_descriptor() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let other = tempfile::NamedTempFile::new().unwrap();
        let again = std::fs::File::open(file.path()).unwrap();
        let identity = Identity::of(file.as_file().as_fd()).unwrap();
        assert_eq!(identity, Identity::of(again.as_fd()).unwrap());
        assert_ne!(identity, Identity::of(other.as_file().as_fd()).unwrap());
        let metadata = again.metadata().unwrap();
        assert_eq!((identity.device, identity.inode), (metadata.dev(), metadata.ino()));
    }

    #[test]
    fn direct_io_limits_are_powers_of_two_where_they_are_known() {
        let file = tempfile::tempfile().unwrap();
        if let Some((memory, offset)) = direct_io_limits(file.as_fd()) {
            assert!(memory.is_power_of_two() && offset.is_power_of_two());
        }
    }

    #[test]
    fn each_manner_of_a_descriptor_is_told_from_the_others() {
        use std::os::unix::fs::OpenOptionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        let manner = |flags| {
            let opened = std::fs::File::options().write(true).custom_flags(flags).open(file.path());
            Manner::of(opened.unwrap().as_fd()).unwrap().0
        };
        assert_eq!(manner(0).number(), 0);
        assert_eq!(manner(libc::O_DSYNC).number(), 0b010);
        assert_eq!(manner(libc::O_SYNC).number(), 0b110, "which includes the other");
        assert_eq!(manner(libc::O_DSYNC).flags().bits(), libc::O_DSYNC.cast_unsigned());
    }

    #[test]
    fn a_pipe_cannot_do_direct_io() {
        let (reader, _writer) = io::pipe().unwrap();
        assert_eq!(direct_io_limits(reader.as_fd()), None);
    }
}
