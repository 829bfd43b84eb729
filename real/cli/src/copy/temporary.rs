//! The hidden file that becomes DST: created, locked, filled, renamed; or removed on every other
//! way out.
//!
//! Its name is `.DST.handfast-PID-RANDOM`. Its open description holds an `flock`, which the copiers
//! inherit with it. So a file of that pattern that nobody has locked belongs to nobody alive, and
//! the next copy to the same DST removes it. A creator that loses the moment between creation and
//! lock to such a cleaner sees it (the lock is taken, or the file has no name any more) and takes
//! another name. Where a file system has no locks, nothing is ever cleaned up.

use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use rustix::fs::{
    AtFlags, Dir, FallocateFlags, FileType, FlockOperation, Mode, OFlags, fallocate, fchmod, flock,
    fstat, ftruncate, openat, renameat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};

use super::destination::{Destination, DestinationError};

/// Bytes of DST's name that the temporary name repeats; with the rest it stays below the 255 of a
/// name.
const NAME_BYTES: usize = 180;
/// Names to try. One suffices unless a cleaner is faster; random names do not collide.
const ATTEMPTS: u32 = 16;

/// What can fail between creation and rename.
#[derive(Debug, thiserror::Error)]
pub enum TemporaryError {
    /// No file could be made beside DST.
    #[error("cannot create a file in {}: {source}", directory.display())]
    Create {
        /// DST's directory.
        directory: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file system is full.
    #[error(
        "no space for {size} bytes in {}: {source}; free some, or choose another directory",
        directory.display()
    )]
    NoSpace {
        /// DST's directory.
        directory: PathBuf,
        /// Bytes of SRC.
        size: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// The size could not be set.
    #[error("cannot give {} its size of {size} bytes: {source}", path.display())]
    Resize {
        /// The temporary file.
        path: PathBuf,
        /// The size.
        size: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// The permission bits could not be set.
    #[error("cannot give {} the permissions {permissions:o} of SRC: {source}", path.display())]
    Permissions {
        /// The temporary file.
        path: PathBuf,
        /// Permission bits of SRC.
        permissions: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// The rename failed.
    #[error("cannot rename {} to {}: {source}", path.display(), destination.display())]
    Rename {
        /// The temporary file.
        path: PathBuf,
        /// DST.
        destination: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// DST became something else during the copy.
    #[error(transparent)]
    Destination(#[from] DestinationError),
}

/// The temporary file. Dropping it removes it, unless it was renamed.
#[derive(Debug)]
pub struct Temporary<'dst> {
    /// The file, open for writing.
    pub file: File,
    destination: &'dst Destination,
    name: OsString,
    renamed: bool,
}

impl<'dst> Temporary<'dst> {
    /// Removes what killed copies to the same DST left, and makes a new file.
    pub fn create(destination: &'dst Destination) -> Result<Self, TemporaryError> {
        remove_stale(destination);
        let failed = |errno: Errno| TemporaryError::Create {
            directory: destination.directory_path.clone(),
            source: errno.into(),
        };
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _ in 0..ATTEMPTS {
            let name = unique_name(&destination.name);
            let file = match openat(&destination.directory, &name, flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => file,
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(failed(errno)),
            };
            let temporary = Self { file: file.into(), destination, name, renamed: false };
            if temporary.lock_and_check().map_err(failed)? {
                return Ok(temporary);
            }
        }
        Err(failed(Errno::EXIST))
    }

    /// Path of the file, for messages and for the IO target.
    pub fn path(&self) -> PathBuf {
        self.destination.directory_path.join(&self.name)
    }

    /// Gives the file its size and, where the file system can, its space, so that a full disk is
    /// known at once.
    pub fn reserve(&self, size: u64) -> Result<(), TemporaryError> {
        if size == 0 {
            return Ok(());
        }
        match retry_on_intr(|| fallocate(&self.file, FallocateFlags::empty(), 0, size)) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.resize(size),
            Err(errno @ (Errno::NOSPC | Errno::DQUOT)) => Err(TemporaryError::NoSpace {
                directory: self.destination.directory_path.clone(),
                size,
                source: errno.into(),
            }),
            Err(errno) => Err(self.resize_error(size, errno)),
        }
    }

    /// Cuts or extends the file.
    pub fn resize(&self, size: u64) -> Result<(), TemporaryError> {
        retry_on_intr(|| ftruncate(&self.file, size))
            .map_err(|errno| self.resize_error(size, errno))
    }

    /// Gives the file SRC's permission bits.
    pub fn set_permissions(&self, permissions: u32) -> Result<(), TemporaryError> {
        fchmod(&self.file, Mode::from_raw_mode(permissions)).map_err(|errno| {
            TemporaryError::Permissions { path: self.path(), permissions, source: errno.into() }
        })
    }

    /// Makes the file DST.
    pub fn rename(mut self) -> Result<(), TemporaryError> {
        self.destination.judge_again()?;
        let directory = &self.destination.directory;
        renameat(directory, &self.name, directory, &self.destination.name).map_err(|errno| {
            TemporaryError::Rename {
                path: self.path(),
                destination: self.destination.path(),
                source: errno.into(),
            }
        })?;
        self.renamed = true;
        Ok(())
    }

    /// Whether the file is ours: locked if the file system has locks, and still there.
    fn lock_and_check(&self) -> Result<bool, Errno> {
        if flock(&self.file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            return Ok(false);
        }
        Ok(fstat(&self.file)?.st_nlink > 0)
    }

    fn resize_error(&self, size: u64, errno: Errno) -> TemporaryError {
        TemporaryError::Resize { path: self.path(), size, source: errno.into() }
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.renamed {
            // Nothing better can be done about a file that cannot be removed; the next copy will
            // try.
            let _ = unlinkat(&self.destination.directory, &self.name, AtFlags::empty());
        }
    }
}

fn prefix(destination: &OsStr) -> Vec<u8> {
    let name = destination.as_bytes();
    [b".", &name[..name.len().min(NAME_BYTES)], b".handfast-"].concat()
}

/// The hasher's keys are random and differ at each call, and that is all the randomness a name
/// needs: `O_EXCL` decides.
fn unique_name(destination: &OsStr) -> OsString {
    let random = RandomState::new().build_hasher().finish();
    let mut name = prefix(destination);
    name.extend(format!("{}-{random:016x}", std::process::id()).into_bytes());
    OsString::from_vec(name)
}

/// Removes unlocked files of the pattern that belong to the user. Whatever fails is left as it is.
fn remove_stale(destination: &Destination) {
    let Ok(entries) = destination.open_directory().and_then(Dir::new) else { return };
    let prefix = prefix(&destination.name);
    for entry in entries.flatten() {
        let name = entry.file_name();
        if !name.to_bytes().starts_with(&prefix) {
            continue;
        }
        // The lock is held until the name is gone: a creator that has not yet locked its file then
        // sees that it lost.
        if let Ok(Some(_locked)) = lock_abandoned(destination, name) {
            let _ = unlinkat(&destination.directory, name, AtFlags::empty());
        }
    }
}

fn lock_abandoned(destination: &Destination, name: &CStr) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(&destination.directory, name, flags, Mode::empty())?;
    let found = fstat(&file)?;
    let ours = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
        && found.st_uid == rustix::process::geteuid().as_raw();
    let locked = ours && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
    Ok(locked.then_some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_fit_even_for_the_longest_destination() {
        let longest = OsString::from("x".repeat(255));
        let one = unique_name(&longest);
        assert!(one.len() <= 255, "{} bytes", one.len());
        assert_ne!(one, unique_name(&longest));
        assert!(unique_name(OsStr::new("a")).as_bytes().starts_with(b".a.handfast-"));
    }
}
