//! What IO is done to: files, and kinds of target of the application's own.
//!
//! A target is a number in the registry plus three words of data that mean the same in every process
//! (`PgAioTargetID`, `PgAioTargetData`). The built-in file target names an entry of the segment's file
//! table, device and inode: whoever must execute or describe the IO elsewhere finds the path there, and
//! whoever opens it compares. The descriptor itself stays private to the issuer.
//!
//! | who | may | while |
//! |---|---|---|
//! | whoever registers a [`File`] | write the entry of the file table that it took | it holds the entry's lease, and nobody has its number yet |
//! | the last clone of the [`File`] or IO on it, else its process's detach or recovery | free the entry | the lease is still this file's |
//! | anybody | read the entry | always; what is opened by it must have its device and inode |
//!
//! Invariant S16: a descriptor is closed only when the last IO that uses it is over. Checked by:
//! `tests/tests/files.rs`.

use crate::memory::MemoryError;
use crate::method::Method;
use crate::method::ring::{RegisteredFile, RingFiles, Uses};
use crate::registry::{Application, in_words};
use crate::segment::{FileEntry, PATH_WORDS, Segment};
use crate::sys::file::{self, Access, Identity, Manner};
use handfast_core::ids::ProcessSlot;
use handfast_core::lease::{Holding, LeaseWord};
use handfast_core::platform::{Atomic64 as _, Field as _};
use handfast_core::protocol::lease;
use handfast_core::request::{Operation, Request, TargetId};
use handfast_core::site::Site;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// The longest path that an entry has room for.
const PATH_BYTES: usize = PATH_WORDS * 8;

/// A kind of target of the application's own, the same in every process (`PgAioTargetInfo`).
pub trait Target: Send + Sync {
    /// Its name, part of the fingerprint.
    fn name(&self) -> &'static str;

    /// One target in words (`describe_identity`).
    ///
    /// # Errors
    /// As the formatter.
    fn describe(&self, data: [u64; 3], f: &mut fmt::Formatter<'_>) -> fmt::Result;

    /// Opens it in a process that has to execute IO on it for another one (`reopen`).
    ///
    /// # Errors
    /// Whatever the system says; the IO completes with it. With EIO, if this panics.
    fn reopen(&self, data: [u64; 3]) -> io::Result<OwnedFd>;
}

/// A file that IO can be done to, from this attachment. Cheap to clone; the descriptor is closed when
/// the last clone is gone and the last IO that uses it is over.
///
/// Until then, or until its process detaches, it has an entry in the pool's file table, by which other
/// processes find its path: if one was free ([`crate::PoolBuilder::max_files`]) and the absolute path
/// has at most 992 bytes. Without an entry IO works all the same ([`Self::is_reopenable`]).
#[derive(Clone)]
pub struct File<'pool>(Arc<OpenFile<'pool>>);

struct OpenFile<'pool> {
    fd: OwnedFd,
    target: TargetId,
    data: [u64; 3],
    segment: &'pool Segment,
    entry: Option<(&'pool FileEntry, LeaseWord)>,
    /// The application's, for a target of its own.
    kind: Option<&'pool dyn Target>,
    /// Whether a worker may read, and write: it finds the file, and writes where it is told to; and no
    /// worker does what the descriptor does not allow.
    for_workers: (bool, bool),
    /// What direct IO needs, if it is open for that: alignment of memory, and of offset and length.
    direct: Option<(u32, u32)>,
    /// Its place in the table of a ring of this process, and how often it was used without.
    registered: OnceLock<RegisteredFile>,
    uses: Uses,
}

impl<'pool> File<'pool> {
    /// An open file and the path under which other processes find it again. Without a free entry in
    /// the file table, or with a path that is too long, it works but cannot be re-opened elsewhere.
    pub(crate) fn register(
        segment: &'pool Segment,
        holder: (ProcessSlot, u32),
        fd: OwnedFd,
        path: &Path,
    ) -> io::Result<Self> {
        let identity = Identity::of(fd.as_fd())?;
        let absolute = std::path::absolute(path)?;
        let (manner, append) = Manner::of(fd.as_fd())?;
        let entry = take_entry(segment, holder, identity, &absolute);
        let number = entry.as_ref().map_or(0, |(number, _, _)| *number);
        let data = [number | u64::from(manner.number()) << 32, identity.device, identity.inode];
        let entry = entry.map(|(_, entry, word)| (entry, word));
        // Asked once here instead of each time in a worker, which could only fail the IO.
        let direct = manner.is_direct().then(|| file::direct_io_limits(fd.as_fd())).flatten();
        let workers = segment.facts().method.method == Method::Worker;
        let for_workers =
            workers && entry.is_some() && !append && file::find(&absolute, identity).is_ok();
        let for_workers = if for_workers { Manner::rights_of(fd.as_fd())? } else { (false, false) };
        Ok(Self(Arc::new(OpenFile {
            fd,
            target: TargetId::FILE,
            data,
            segment,
            entry,
            kind: None,
            for_workers,
            direct,
            registered: OnceLock::new(),
            uses: Uses::default(),
        })))
    }

    /// What direct IO on it needs, if it is open for that.
    #[inline(always)]
    pub(crate) fn direct_limits(&self) -> Option<(u32, u32)> {
        self.0.direct
    }

    /// Whether a worker may execute such IO on it.
    #[inline(always)]
    pub(crate) fn is_for_workers(&self, operation: Operation) -> bool {
        let (read, write) = self.0.for_workers;
        match operation {
            // A worker opens what it syncs for reading.
            Operation::Readv | Operation::Fsync | Operation::Fdatasync => read,
            Operation::Writev => write,
        }
    }

    /// Its place in the table of this ring. A file that is used again and again gets one; it keeps
    /// the first ring's.
    #[inline(always)]
    pub(crate) fn in_ring(&self, table: &Arc<RingFiles>) -> Option<u32> {
        match self.0.registered.get() {
            Some(registered) => registered.in_ring(table),
            None => self.enter_ring(table),
        }
    }

    #[cold]
    fn enter_ring(&self, table: &Arc<RingFiles>) -> Option<u32> {
        if !self.0.uses.is_due() {
            return None;
        }
        let registered = table.register(self.as_fd())?;
        self.0.registered.get_or_init(|| registered).in_ring(table)
    }

    /// A descriptor under a target kind of the application's own.
    pub(crate) fn of_target(
        application: &'pool Application,
        target: TargetId,
        data: [u64; 3],
        fd: OwnedFd,
    ) -> Self {
        let (segment, kind) = (&*application.segment, application.registry.find_target(target));
        Self(Arc::new(OpenFile {
            fd,
            target,
            data,
            segment,
            entry: None,
            kind,
            for_workers: (kind.is_some(), kind.is_some()),
            direct: None,
            registered: OnceLock::new(),
            uses: Uses::default(),
        }))
    }

    pub(crate) fn is_of(&self, segment: &Segment) -> bool {
        std::ptr::eq(self.0.segment, segment)
    }

    /// Closes the descriptor and gives the entry of the file table up; false if a clone of it
    /// is alive, which closes it when it goes.
    pub(crate) fn close(self) -> bool {
        Arc::into_inner(self.0).is_some()
    }

    /// The kind of target (`pgaio_io_has_target`).
    #[must_use]
    pub fn target(&self) -> TargetId {
        self.0.target
    }

    /// The data of the target (`pgaio_io_get_target_data`). Of a file: entry (and, above its 32 bits, whether
    /// it is open for direct or synchronous IO), device, inode.
    #[must_use]
    pub fn target_data(&self) -> [u64; 3] {
        self.0.data
    }

    /// Opens the file anew by its path, as another process that has to execute IO on it does, and checks
    /// that it is still the same file (`pgaio_io_reopen`). What lies under the path is opened only after
    /// that, so that no impostor can block the caller. A target of the application's own is opened by
    /// [`Target::reopen`], which decides about `write` itself.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::NotFound`] without an entry in the file table;
    /// [`io::ErrorKind::StaleNetworkFileHandle`] if another file lies under the path now;
    /// [`io::ErrorKind::Unsupported`] if it is neither a regular file nor a block device.
    pub fn reopen(&self, write: bool) -> io::Result<OwnedFd> {
        match self.0.kind {
            Some(kind) => kind.reopen(self.0.data),
            None if self.0.target == TargetId::FILE => {
                let access = if write { Access::Both } else { Access::Read };
                reopen_file(self.0.segment, self.0.data, access)
            }
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The alignment that direct IO needs, of memory and of offset and length, in bytes; `None` where
    /// direct IO is not supported or the kernel does not say (statx(2), `STATX_DIOALIGN`).
    #[must_use]
    pub fn direct_io_limits(&self) -> Option<(u32, u32)> {
        crate::sys::file::direct_io_limits(self.as_fd())
    }

    /// Whether another process could find it: it has an entry in the file table, or its kind of target
    /// opens it.
    #[must_use]
    pub fn is_reopenable(&self) -> bool {
        let held = |&(entry, word): &(&FileEntry, LeaseWord)| {
            LeaseWord::from_raw(entry.lease.load(Site::LeaseLook)) == word
        };
        self.0.entry.as_ref().is_some_and(held) || self.0.kind.is_some()
    }
}

impl AsFd for File<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

impl fmt::Debug for File<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("fd", &self.0.fd).field("data", &self.0.data).finish()
    }
}

impl Drop for OpenFile<'_> {
    fn drop(&mut self) {
        // A forked child holds a copy of its parent's file.
        if let Some((entry, word)) = self.entry.filter(|_| !self.segment.is_forked()) {
            lease::free(&entry.lease, word);
        }
    }
}

/// Takes an entry of the file table and fills it; numbers start at 1.
fn take_entry<'pool>(
    segment: &'pool Segment,
    holder: (ProcessSlot, u32),
    identity: Identity,
    path: &Path,
) -> Option<(u64, &'pool FileEntry, LeaseWord)> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() > PATH_BYTES {
        return None;
    }
    let (entry, word, number) = (1_u64..).zip(segment.files()).find_map(|(number, entry)| {
        lease::take(&entry.lease, holder.0, holder.1).map(|word| (entry, word, number))
    })?;
    entry.device.set(identity.device);
    entry.inode.set(identity.inode);
    entry.path_len.set(bytes.len() as u64);
    for (field, chunk) in entry.path.iter().zip(bytes.chunks(8)) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        field.set(u64::from_ne_bytes(word));
    }
    Some((number, entry, word))
}

/// The path of an entry, if it is held for this device and inode. May be read while it changes;
/// whoever opens the path compares device and inode again.
fn entry_path(segment: &Segment, data: [u64; 3]) -> Option<PathBuf> {
    let number = data[0] & u64::from(u32::MAX);
    let entry = segment.files().get(usize::try_from(number.checked_sub(1)?).ok()?)?;
    let before = LeaseWord::from_raw(entry.lease.load(Site::LeaseLook));
    if !matches!(before.holding(), Some(Holding::Owned { .. })) {
        return None;
    }
    // A length that the table has no room for is damage.
    let len = usize::try_from(entry.path_len.peek()).ok().filter(|&len| len <= PATH_BYTES)?;
    let matches = entry.device.peek() == data[1] && entry.inode.peek() == data[2];
    let words = entry.path.iter().take(len.div_ceil(8));
    let mut bytes: Vec<u8> = words.flat_map(|word| word.peek().to_ne_bytes()).collect();
    bytes.truncate(len);
    let after = LeaseWord::from_raw(entry.lease.load(Site::LeaseLook));
    (matches && before == after).then(|| PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

/// Opens the file that the data name, to be used in the manner that they name, and checks that it is
/// still the same: a file that was replaced under its path is refused (S16).
///
/// # Errors
/// The system's, [`io::ErrorKind::NotFound`] if the entry is gone, and those of [`file::reopen`].
pub(crate) fn reopen_file(
    segment: &Segment,
    data: [u64; 3],
    access: Access,
) -> io::Result<OwnedFd> {
    let path = entry_path(segment, data).ok_or(io::ErrorKind::NotFound)?;
    let manner = Manner::from_number((data[0] >> 32) as u32);
    file::reopen(&path, Identity { device: data[1], inode: data[2] }, access, manner)
}

/// A request's target in words.
pub(crate) fn describe(application: &Application, request: &Request) -> String {
    let data = request.target_data;
    if let Some(target) = application.registry.find_target(request.target) {
        let said = in_words(|f| target.describe(data, f));
        return said.unwrap_or_else(|| format!("target of kind {}", request.target.0));
    }
    match entry_path(&application.segment, data) {
        Some(path) => format!("file {}", path.display()),
        None => format!("file with device {} and inode {}", data[1], data[2]),
    }
}

/// Checks that a file and a pool belong together.
pub(crate) fn check_pool(file: &File<'_>, segment: &Segment) -> Result<(), MemoryError> {
    if file.is_of(segment) { Ok(()) } else { Err(MemoryError::OtherPool) }
}
