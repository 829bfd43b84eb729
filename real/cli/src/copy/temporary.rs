//! The hidden file that becomes DST: created, locked, filled, renamed; or removed on every other
//! way out.
//!
//! Its name is `.DST.handfast-PID-RANDOM`. Its open description holds an `flock`, which the copiers
//! inherit with it. So a file of exactly that pattern that nobody has locked, and that is otherwise
//! as it would be made now, belongs to nobody alive, and the next copy to the same DST removes it.
//! A creator that loses the moment between creation and
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
    AtFlags, Dir, FallocateFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat,
    fallocate, fchmod, flock, fstat, ftruncate, openat, renameat, renameat_with, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};

use super::destination::{Destination, DestinationError};

/// Bytes of DST's name that the temporary name repeats; with the rest it stays below the 255 of a
/// name.
const NAME_BYTES: usize = 180;
/// What separates DST's name from what is ours in a temporary name.
const MARK: &[u8] = b".handfast-";
/// Space is reserved in pieces of this size, so that a stop signal is seen in between.
const PIECE: u64 = 64 << 20;
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
    /// Makes a new file, and removes what killed copies to the same DST left.
    pub fn create(destination: &'dst Destination) -> Result<Self, TemporaryError> {
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
            if let Some(made) = temporary.lock_and_check().map_err(failed)? {
                remove_stale(destination, &temporary.name, &made);
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
    /// known before anything is copied. Between the pieces `go_on` may end it: a large reservation
    /// takes long, on tmpfs as long as to touch all that memory.
    pub fn reserve<E: From<TemporaryError>>(
        &self,
        size: u64,
        mut go_on: impl FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at = 0;
        while at < size {
            go_on()?;
            let piece = PIECE.min(size - at);
            match fallocate(&self.file, FallocateFlags::empty(), at, piece) {
                Ok(()) => at += piece,
                // The signal may be one to stop for, and if not the piece is tried again.
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(self.resize(size)?),
                Err(errno) => return Err(self.reserve_error(size, errno).into()),
            }
        }
        Ok(())
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
        match self.take_name() {
            Ok(()) => {
                self.renamed = true;
                Ok(())
            }
            Err(Errno::EXIST) if !self.destination.existed => {
                Err(DestinationError::Appeared { path: self.destination.path() }.into())
            }
            Err(errno) => Err(TemporaryError::Rename {
                path: self.path(),
                destination: self.destination.path(),
                source: errno.into(),
            }),
        }
    }

    /// Where DST was absent, the kernel itself sees to it that nothing is replaced, if the file
    /// system can do that.
    fn take_name(&self) -> Result<(), Errno> {
        let Destination { directory, name, existed, .. } = self.destination;
        if !existed {
            let flags = RenameFlags::NOREPLACE;
            match renameat_with(directory, &self.name, directory, name, flags) {
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
                outcome => return outcome,
            }
        }
        renameat(directory, &self.name, directory, name)
    }

    /// What the file is, if it is ours: locked if the file system has locks, and still there.
    fn lock_and_check(&self) -> Result<Option<Stat>, Errno> {
        if flock(&self.file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            return Ok(None);
        }
        Ok(Some(fstat(&self.file)?).filter(|made| made.st_nlink > 0))
    }

    fn reserve_error(&self, size: u64, errno: Errno) -> TemporaryError {
        match errno {
            Errno::NOSPC | Errno::DQUOT => TemporaryError::NoSpace {
                directory: self.destination.directory_path.clone(),
                size,
                source: errno.into(),
            },
            _ => self.resize_error(size, errno),
        }
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

/// What the names of all temporary files of one DST begin with, and those of no other DST. A name
/// that is too long to be repeated is told from others of the same beginning by a hash; the longer
/// prefix is never that of a name that is repeated as a whole.
fn prefix(destination: &OsStr) -> Vec<u8> {
    let name = destination.as_bytes();
    match name.get(..NAME_BYTES).filter(|_| name.len() > NAME_BYTES) {
        None => [b".", name, MARK].concat(),
        Some(part) => [b".", part, format!("~{:016x}", hash(name)).as_bytes(), MARK].concat(),
    }
}

/// FNV-1a: the same in every version of this program, as the names on disk demand.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The hasher's keys are random and differ at each call, and that is all the randomness a name
/// needs: `O_EXCL` decides.
fn unique_name(destination: &OsStr) -> OsString {
    let random = RandomState::new().build_hasher().finish();
    let mut name = prefix(destination);
    name.extend(format!("{}-{random:016x}", std::process::id()).into_bytes());
    OsString::from_vec(name)
}

/// Whether this is what [`unique_name`] puts behind a prefix: `PID-` and 16 hexadecimal digits.
fn is_unique_part(bytes: &[u8]) -> bool {
    let Some((pid, random)) = std::str::from_utf8(bytes).ok().and_then(|it| it.split_once('-'))
    else {
        return false;
    };
    // Written again, because parsing alone would let signs, zeros and capitals pass.
    pid.parse::<u32>().is_ok_and(|number| number > 0 && number.to_string() == pid)
        && u64::from_str_radix(random, 16).is_ok_and(|number| format!("{number:016x}") == random)
}

/// Removes what killed copies left: files of the whole pattern that nobody has locked, and that
/// look like the one that was just `made`. Whatever fails is left as it is.
fn remove_stale(destination: &Destination, own: &OsStr, made: &Stat) {
    let Ok(entries) = destination.open_directory().and_then(Dir::new) else { return };
    let prefix = prefix(&destination.name);
    for entry in entries.flatten() {
        let name = entry.file_name();
        let bytes = name.to_bytes();
        if bytes == own.as_bytes() || !bytes.strip_prefix(&prefix[..]).is_some_and(is_unique_part) {
            continue;
        }
        // The lock is held until the name is gone: a creator that has not yet locked its file then
        // sees that it lost.
        if let Ok(Some(_locked)) = lock_abandoned(destination, name, made) {
            let _ = unlinkat(&destination.directory, name, AtFlags::empty());
        }
    }
}

fn lock_abandoned(
    destination: &Destination,
    name: &CStr,
    made: &Stat,
) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(&destination.directory, name, flags, Mode::empty())?;
    let found = fstat(&file)?;
    // The mode is compared as a whole, with the type: 0600 where the file system has modes.
    let ours = found.st_mode == made.st_mode
        && FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
        && found.st_uid == rustix::process::geteuid().as_raw()
        && found.st_nlink == 1;
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

    #[test]
    fn every_name_is_recognized_for_its_destination_and_for_no_other() {
        let long = |len: usize, end: &str| OsString::from("x".repeat(len) + end);
        let mut names = vec![OsString::from("a"), OsString::from("a.handfast-1")];
        names.extend([long(180, ""), long(180, "a"), long(180, "b"), long(254, "a")]);
        for of in &names {
            let temporary = unique_name(of);
            for to in &names {
                let rest = temporary.as_bytes().strip_prefix(&prefix(to)[..]);
                assert_eq!(rest.is_some_and(is_unique_part), of == to, "{temporary:?} for {to:?}");
            }
        }
    }

    #[test]
    fn only_the_whole_pattern_is_ours() {
        assert!(is_unique_part(b"1-0123456789abcdef"));
        for other in [
            "notes",
            "1-0123456789abcde",
            "1-0123456789abcdeff",
            "1-0123456789abcdeF",
            "1-0123456789abcdeg",
            "1-+123456789abcdef",
            "0-0123456789abcdef",
            "01-0123456789abcdef",
            "+1-0123456789abcdef",
            "-0123456789abcdef",
            "1-0123456789abcdef.bak",
            "99999999999-0123456789abcdef",
            "",
        ] {
            assert!(!is_unique_part(other.as_bytes()), "{other}");
        }
    }
}
