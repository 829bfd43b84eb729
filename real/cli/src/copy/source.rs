//! SRC: what it is, how long it is, and who it is.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, Stat, fstatfs};

/// Magic number of sysfs, whose files report a size that they do not have.
const SYSFS: u64 = 0x6265_6572;

/// Why SRC cannot be copied.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be looked at or opened.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// SRC.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It is no regular file.
    #[error("{} is {kind}: handfast copies one regular file", path.display())]
    NotAFile {
        /// SRC.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
}

/// Which file a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The identity in this metadata.
    pub fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// The identity in what a call relative to a directory has found.
    pub fn of_stat(stat: &Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

/// An open SRC.
#[derive(Debug)]
pub struct Source {
    /// The file, open for reading.
    pub file: File,
    /// Which file it is.
    pub id: FileId,
    /// Bytes it has; `None` if it does not know.
    pub size: Option<u64>,
    /// Permission bits for the copy. Set-id and sticky bits stay behind: the copy may have another
    /// owner.
    pub permissions: u32,
}

impl Source {
    /// Opens SRC.
    ///
    /// A pipe without a writer would block the open and a device may do anything at one, so SRC is
    /// judged by its name first, and again by its descriptor.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let failed = |source| SourceError::Open { path: path.to_owned(), source };
        refuse_others(path, &fs::metadata(path).map_err(failed)?)?;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0))
            .open(path)
            .map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        refuse_others(path, &metadata)?;
        let magic = fstatfs(&file).map_err(|errno| failed(errno.into()))?.f_type;
        let knows_size = metadata.len() > 0 && u64::try_from(magic) != Ok(SYSFS);
        Ok(Self {
            id: FileId::of(&metadata),
            size: knows_size.then_some(metadata.len()),
            permissions: metadata.mode() & 0o777,
            file,
        })
    }
}

fn refuse_others(path: &Path, metadata: &Metadata) -> Result<(), SourceError> {
    match kind(metadata.file_type()) {
        None => Ok(()),
        Some(kind) => Err(SourceError::NotAFile { path: path.to_owned(), kind }),
    }
}

/// What something is that is no regular file.
pub fn kind(file_type: FileType) -> Option<&'static str> {
    let kinds = [
        (file_type.is_dir(), "a directory"),
        (file_type.is_char_device(), "a character device"),
        (file_type.is_block_device(), "a block device"),
        (file_type.is_fifo(), "a pipe"),
        (file_type.is_socket(), "a socket"),
        (file_type.is_symlink(), "a symbolic link"),
        (!file_type.is_file(), "something unknown"),
    ];
    kinds.into_iter().find_map(|(is, kind)| is.then_some(kind))
}
