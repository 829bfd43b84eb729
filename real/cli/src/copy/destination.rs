//! DST: whether it may be replaced, and by what name in which directory.
//!
//! Everything below works relative to an open directory, so a directory that is renamed during the
//! copy does no harm.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags, accessat, fsync, openat, statat};
use rustix::io::Errno;

use super::source::{FileId, kind};

/// Why DST cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// It names a directory.
    #[error(
        "{} is a directory: name the file that the copy is to become, for example {}/NAME",
        path.display(),
        path.display().to_string().trim_end_matches('/')
    )]
    Directory {
        /// DST.
        path: PathBuf,
    },
    /// It ends as only a directory's name does, and there is no such directory.
    #[error(
        "{} ends as only the name of a directory does, and there is none: {source}; name the file \
         that the copy is to become",
        path.display()
    )]
    NoDirectory {
        /// DST.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It is something that must not be replaced by a file.
    #[error(
        "{} is {kind}, and only a regular file is replaced: choose another name",
        path.display()
    )]
    NotAFile {
        /// DST.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// It is SRC.
    #[error("{} is the same file as SRC: choose another name", path.display())]
    SameFile {
        /// DST.
        path: PathBuf,
    },
    /// It is a symbolic link to nothing.
    #[error(
        "{} is a symbolic link to something that does not exist: remove it, or name its target",
        path.display()
    )]
    Dangling {
        /// DST.
        path: PathBuf,
    },
    /// It is a file that the user may not write to.
    #[error(
        "may not write to {}: {source}; remove it first if the copy is to replace it",
        path.display()
    )]
    WriteProtected {
        /// DST.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It was absent at the start, and is not any more.
    #[error(
        "{} did not exist at the start and has been made by somebody else during the copy: it is \
         left alone, copy again if it is to be replaced",
        path.display()
    )]
    Appeared {
        /// DST.
        path: PathBuf,
    },
    /// It cannot be looked at.
    #[error("cannot look at {}: {source}", path.display())]
    Examine {
        /// DST.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Its directory is missing or closed.
    #[error("cannot use the directory {} of DST: {source}", path.display())]
    OpenDirectory {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The directory could not be synced, after the rename.
    #[error(
        "the copy is in place, but its directory {} could not be synced: {source}",
        path.display()
    )]
    SyncDirectory {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A DST that may be replaced or made.
#[derive(Debug)]
pub struct Destination {
    /// The directory; for lookups only.
    pub directory: OwnedFd,
    /// Its path, for messages.
    pub directory_path: PathBuf,
    /// The name in it.
    pub name: OsString,
    /// Whether there was a file of this name at the start.
    pub existed: bool,
    /// SRC, which must not be replaced.
    source: FileId,
}

impl Destination {
    /// Judges DST. A symbolic link stands for the file it points to, as for `cp`.
    pub fn judge(path: &Path, source: FileId) -> Result<Self, DestinationError> {
        let examine = |source| DestinationError::Examine { path: path.to_owned(), source };
        refuse_directory_name(path)?;
        let (place, existed) = match fs::metadata(path) {
            Ok(metadata) => {
                if FileId::of(&metadata) == source {
                    return Err(DestinationError::SameFile { path: path.to_owned() });
                }
                refuse_others(path, kind(metadata.file_type()))?;
                let place = match is_link(path) {
                    true => fs::canonicalize(path).map_err(examine)?,
                    false => path.to_owned(),
                };
                (place, true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if is_link(path) {
                    return Err(DestinationError::Dangling { path: path.to_owned() });
                }
                (path.to_owned(), false)
            }
            // The message about the parent is the clearer one.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => (path.to_owned(), false),
            Err(error) => return Err(examine(error)),
        };
        let (directory, directory_path, name) = locate(&place)?;
        let destination = Self { directory, directory_path, name, existed, source };
        destination.refuse_protected(path)?;
        Ok(destination)
    }

    /// Judges DST again, right before the rename: something else may have taken the name meanwhile.
    pub fn judge_again(&self) -> Result<(), DestinationError> {
        let path = self.path();
        match statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(DestinationError::Examine { path, source: errno.into() }),
            Ok(_) if !self.existed => Err(DestinationError::Appeared { path }),
            Ok(found) if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile => {
                Err(DestinationError::NotAFile { path, kind: "no longer a regular file" })
            }
            Ok(found) if FileId::of_stat(&found) == self.source => {
                Err(DestinationError::SameFile { path })
            }
            Ok(_) => self.refuse_protected(&path),
        }
    }

    /// Puts the directory's entries on stable storage.
    pub fn sync_directory(&self) -> Result<(), DestinationError> {
        let failed = |errno: Errno| DestinationError::SyncDirectory {
            path: self.directory_path.clone(),
            source: errno.into(),
        };
        fsync(self.open_directory().map_err(failed)?).map_err(failed)
    }

    /// The directory, open for reading.
    pub fn open_directory(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(&self.directory, c".", flags, Mode::empty())
    }

    /// DST's path, with links resolved.
    pub fn path(&self) -> PathBuf {
        self.directory_path.join(&self.name)
    }

    /// A rename would replace a file that is protected against writing; the user protected it for a
    /// reason.
    fn refuse_protected(&self, path: &Path) -> Result<(), DestinationError> {
        match accessat(&self.directory, &self.name, Access::WRITE_OK, AtFlags::EACCESS) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(DestinationError::WriteProtected {
                path: path.to_owned(),
                source: errno.into(),
            }),
        }
    }
}

/// Opens the directory of a place, and splits off the name in it. By bytes, because `Path` takes
/// `a/.` for `a`.
fn locate(place: &Path) -> Result<(OwnedFd, PathBuf, OsString), DestinationError> {
    let (directory, name) = split(place.as_os_str().as_bytes());
    let path = Path::new(OsStr::from_bytes(directory)).to_owned();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(&path, flags, Mode::empty()) {
        Ok(directory) => Ok((directory, path, OsStr::from_bytes(name).to_owned())),
        Err(errno) => Err(DestinationError::OpenDirectory { path, source: errno.into() }),
    }
}

/// Directory and name in it; the name is empty if the path ends with a slash.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let Some(slash) = path.iter().rposition(|byte| *byte == b'/') else { return (b".", path) };
    let directory = &path[..slash];
    let end = directory.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let directory = if end == 0 { &b"/"[..] } else { &directory[..end] };
    (directory, &path[slash + 1..])
}

/// Refuses what can name nothing but a directory, whether there is one or not.
fn refuse_directory_name(path: &Path) -> Result<(), DestinationError> {
    let (_, name) = split(path.as_os_str().as_bytes());
    if !matches!(name, b"" | b"." | b"..") {
        return Ok(());
    }
    match fs::metadata(path) {
        Ok(_) => Err(DestinationError::Directory { path: path.to_owned() }),
        Err(source) => Err(DestinationError::NoDirectory { path: path.to_owned(), source }),
    }
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

fn refuse_others(path: &Path, kind: Option<&'static str>) -> Result<(), DestinationError> {
    match kind {
        None => Ok(()),
        Some("a directory") => Err(DestinationError::Directory { path: path.to_owned() }),
        Some(kind) => Err(DestinationError::NotAFile { path: path.to_owned(), kind }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_by_its_bytes() {
        for (path, directory, name) in [
            ("a", ".", "a"),
            ("a/b", "a", "b"),
            ("a//b", "a", "b"),
            ("/a", "/", "a"),
            ("//a", "/", "a"),
            ("a/.", "a", "."),
            ("a/..", "a", ".."),
            ("..", ".", ".."),
            ("a/", "a", ""),
            ("/", "/", ""),
            ("", ".", ""),
        ] {
            let expected = (directory.as_bytes(), name.as_bytes());
            assert_eq!(split(path.as_bytes()), expected, "{path}");
        }
    }
}
