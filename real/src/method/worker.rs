//! Executing IO for other processes: a worker finds memory and files by what the segment says of them.
//!
//! Nothing of that is believed: a buffer must lie inside of a frame or of a region mapped here, a file must have
//! the device and inode that the IO names. An IO that makes no sense completes as garbled. Files are kept open
//! between IOs, the least recently used one is closed for the next, and all of them when the worker has
//! nothing to do, so that a deleted file does not go on taking room. A panic of a target of the application's
//! fails the IO: a claim that was left by its unwinding would be a living process's for ever.
//! Checked by: `tests/tests/workers.rs`, `tests/tests/reopen.rs`, the unit tests below.
//!
//! Not checked: NFS, on which a killed worker's direct IO may be copied late (LINUX.md).

#![expect(clippy::disallowed_types, reason = "private memory of one process, not protocol words")]

use crate::memory::FRAME_REGION;
use crate::method::staff::Staff;
use crate::pool::Inner;
use crate::process::{Process, UseError};
use crate::region::FIRST_REGION;
use crate::registry::caught;
use crate::sys::file::Access;
use crate::sys::io as sys;
use crate::target::reopen_file;
use handfast_core::handle::Place;
use handfast_core::ids::{HandleId, ProcessSlot};
use handfast_core::outcome::RawResult;
use handfast_core::protocol::{Error, Shared as _};
use handfast_core::request::{Operation, Request, TargetId};
use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How many files a worker keeps open.
const KEPT_FILES: usize = 32;
/// After how much idleness it closes them.
const CLOSE_AFTER: Duration = Duration::from_secs(1);

/// What a descriptor was opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    target: TargetId,
    data: [u64; 3],
    access: Access,
}

/// Executes IOs of others.
pub(crate) struct Executor<'p> {
    pool: &'p Inner,
    /// The most recently used last.
    files: Vec<(Key, OwnedFd)>,
    pieces: Vec<sys::IoVec>,
}

impl<'p> Executor<'p> {
    pub fn new(pool: &'p Inner) -> Self {
        Self { pool, files: Vec::with_capacity(KEPT_FILES), pieces: Vec::new() }
    }

    /// What its system call returned, or why there was none: EIO after a panic. Whoever calls this has claimed the
    /// IO, and must complete it.
    pub fn execute(&mut self, id: HandleId, request: &Request) -> RawResult {
        caught(|| self.try_to_execute(id, request)).unwrap_or(RawResult(-libc::EIO))
    }

    /// The application's code may panic where it re-opens a target, and where its error is dropped.
    fn try_to_execute(&mut self, id: HandleId, request: &Request) -> RawResult {
        let mut pieces = std::mem::take(&mut self.pieces);
        let raw = self.find_memory(id, request, &mut pieces).map_or(RawResult::GARBLED, |()| {
            match self.find_file(request) {
                // SAFETY: `find_memory` has checked that the pieces lie in mappings of the pool, whose bytes
                // are nobody's by reference; they stay mapped as long as the pool.
                Ok(fd) => unsafe { call(fd, &pieces, request) },
                Err(error) => RawResult(-errno_of(&error)),
            }
        });
        pieces.clear();
        self.pieces = pieces;
        raw
    }

    /// Closes what it keeps open.
    pub fn close_files(&mut self) {
        self.files.clear();
    }

    fn find_memory(
        &self,
        id: HandleId,
        request: &Request,
        pieces: &mut Vec<sys::IoVec>,
    ) -> Option<()> {
        let iovecs = self.pool.segment().iovecs(id).get(..usize::from(request.iovecs))?;
        for iovec in iovecs {
            let place = iovec.get();
            let len = usize::try_from(place.len).ok()?;
            pieces.push(sys::IoVec { base: self.address(place)?, len });
        }
        Some(())
    }

    fn address(&self, place: Place) -> Option<std::ptr::NonNull<u8>> {
        let segment = self.pool.segment();
        let (offset, len) = (usize::try_from(place.offset).ok()?, usize::try_from(place.len).ok()?);
        if place.region == FRAME_REGION {
            let frame = u32::try_from(offset / segment.frame_size()).ok()?;
            // The issuer's places begin where a frame does.
            return segment.frame(frame, len).filter(|_| offset % segment.frame_size() == 0);
        }
        self.pool.region(place.region)?.at(offset, len)
    }

    fn find_file(&mut self, request: &Request) -> io::Result<BorrowedFd<'_>> {
        let access = match request.operation {
            Operation::Readv | Operation::Fsync | Operation::Fdatasync => Access::Read,
            Operation::Writev => Access::Write,
        };
        let key = Key { target: request.target, data: request.target_data, access };
        let found = self.files.iter().position(|(kept, _)| *kept == key);
        let entry = match found {
            Some(index) if index + 1 == self.files.len() => None,
            Some(index) => Some(self.files.remove(index)),
            None => Some((key, self.open(&key)?)),
        };
        if let Some(entry) = entry {
            if self.files.len() == KEPT_FILES {
                self.files.remove(0);
            }
            self.files.push(entry);
        }
        let last = self.files.last().ok_or(io::ErrorKind::NotFound)?;
        Ok(last.1.as_fd())
    }

    fn open(&self, key: &Key) -> io::Result<OwnedFd> {
        let application = self.pool.application();
        match application.registry.find_target(key.target) {
            Some(kind) => kind.reopen(key.data),
            None if key.target == TargetId::FILE => {
                reopen_file(self.pool.segment(), key.data, key.access)
            }
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// # Safety
/// As of [`sys::preadv`].
unsafe fn call(fd: BorrowedFd<'_>, pieces: &[sys::IoVec], request: &Request) -> RawResult {
    RawResult(match request.operation {
        // SAFETY: the caller's promise.
        Operation::Readv => unsafe { sys::preadv(fd, pieces, request.offset) },
        // SAFETY: the caller's promise.
        Operation::Writev => unsafe { sys::pwritev(fd, pieces, request.offset) },
        Operation::Fsync => sys::fsync(fd),
        Operation::Fdatasync => sys::fdatasync(fd),
    })
}

/// The errno of an error of this crate's own, too. What is none, as a target of the application's own may report
/// it, is EIO.
fn errno_of(error: &io::Error) -> i32 {
    let numbered = error.raw_os_error();
    numbered.map(|errno| if (1..4096).contains(&errno) { errno } else { libc::EIO }).unwrap_or_else(
        || {
            let kind = error.kind();
            if kind == io::ErrorKind::NotFound {
                libc::ENOENT
            } else if kind == io::ErrorKind::StaleNetworkFileHandle {
                libc::ESTALE
            } else if kind == io::ErrorKind::Unsupported {
                libc::EOPNOTSUPP
            } else if kind == io::ErrorKind::PermissionDenied {
                libc::EACCES
            } else {
                libc::EIO
            }
        },
    )
}

/// When a worker leaves by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorkOptions {
    /// After so much time without an IO, if more than `least` workers are left without it; `None`: never.
    pub idle: Option<Duration>,
    /// How many workers the pool keeps, however idle they are.
    pub least: u32,
}

impl Default for WorkOptions {
    /// Never.
    fn default() -> Self {
        Self { idle: None, least: 0 }
    }
}

/// Why a worker has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Left {
    /// It was asked to.
    Asked,
    /// It had nothing to do.
    Idle,
}

/// Why a process cannot work.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkError {
    /// It has not mapped the regions that the pool's IO may be in.
    #[error(
        "region {0} is not mapped in this process, but IO into it is given to workers: map the pool's \
         common regions before working"
    )]
    NoRegion(u32),
    /// The pool's own checks.
    #[error(transparent)]
    Use(#[from] UseError),
}

/// What a worker goes by to decide whether it is to leave. While there is work, nobody looks at a clock.
#[derive(Default)]
struct Pace {
    /// How many IOs it has executed.
    done: Cell<u64>,
    /// How many that were when it was asked last, and since when it is the same.
    seen: Cell<u64>,
    idle_since: Cell<Option<Instant>>,
}

impl Pace {
    /// How long there has been nothing to do.
    fn idle(&self) -> Duration {
        if self.seen.replace(self.done.get()) != self.done.get() {
            self.idle_since.set(None);
            return Duration::ZERO;
        }
        let since = self.idle_since.get().unwrap_or_else(Instant::now);
        self.idle_since.set(Some(since));
        since.elapsed()
    }

    /// One more; whether it is time to look if there is more than this worker can do.
    fn begin(&self) -> bool {
        let done = self.done.get();
        self.done.set(done + 1);
        done.is_multiple_of(IOS_PER_LOOK)
    }
}

/// A worker among the staff, until it is dropped, also by unwinding: nobody relies on one that is gone.
struct Working<'p>(&'p Staff, ProcessSlot);

impl<'p> Working<'p> {
    fn begin(staff: &'p Staff, slot: ProcessSlot) -> Self {
        staff.begin(slot);
        Self(staff, slot)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.end(self.1);
    }
}

/// How often a worker looks whether it leaves work behind.
const IOS_PER_LOOK: u64 = 16;

impl Process<'_> {
    /// Works for the pool: executes IOs of all its processes until `leave` is set or it has been idle for
    /// long enough (`IoWorkerMain`). Whoever sets `leave` calls [`crate::Pool::rouse_workers`] afterwards; a
    /// signal that arrives here ends the sleep, too.
    ///
    /// A worker keeps its slot from others: the pool is made for its processes and its workers together
    /// ([`crate::PoolBuilder::processes`]).
    ///
    /// Own IO may be in flight: it completes by itself or by another worker, but is not reclaimed here.
    ///
    /// # Errors
    /// [`WorkError`]; among them that the pool's method is not [`crate::Method::Worker`].
    pub fn work(&mut self, options: WorkOptions, leave: &AtomicBool) -> Result<Left, WorkError> {
        self.submit_staged()?;
        let pool = self.pool.inner();
        for number in 0..pool.segment().facts().config.common_regions() {
            let number = FIRST_REGION + number;
            pool.region(number).ok_or(WorkError::NoRegion(number))?;
        }
        let (slot, context) = (self.slot, *self.issuer.context());
        let Some(staff) = pool.staff() else { return Err(UseError::from(Error::NoWorkers).into()) };
        let executor = RefCell::new(Executor::new(pool));
        let (pace, left) = (Pace::default(), Cell::new(Left::Asked));
        let working = Working::begin(staff, slot);
        let worked = context.work(
            &mut |id, request| {
                if pace.begin() && staff.doorbell.sleepers() == 0 && pool.has_waiting_work() {
                    staff.ask_for_more();
                }
                executor.borrow_mut().execute(id, request)
            },
            &|| {
                if leave.load(Ordering::Acquire) {
                    return true;
                }
                let idle = pace.idle();
                if idle >= CLOSE_AFTER {
                    executor.borrow_mut().close_files();
                }
                let over = options.idle.is_some_and(|limit| idle >= limit);
                let leaves = over && staff.end_above(slot, u64::from(options.least));
                if leaves {
                    left.set(Left::Idle);
                }
                leaves
            },
        );
        drop(working);
        worked.map_err(UseError::from)?;
        Ok(left.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::Method;
    use crate::pool::Pool;
    use crate::registry::Registry;
    use crate::target::Target;
    use std::fmt;
    use std::mem::ManuallyDrop;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;

    /// Panics the first time that it is re-opened; from then on it is an endless file.
    #[derive(Default)]
    struct Panics(AtomicBool);

    impl Target for Panics {
        fn name(&self) -> &'static str {
            "panics"
        }

        fn describe(&self, _: [u64; 3], f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a target")
        }

        fn reopen(&self, _: [u64; 3]) -> io::Result<OwnedFd> {
            assert!(self.0.swap(true, Ordering::Relaxed), "the first time");
            Ok(std::fs::File::open("/dev/zero")?.into())
        }
    }

    #[test]
    fn b7_a_panic_of_a_target_is_kept_in_where_a_waiter_stands_in_for_workers() {
        let kind = TargetId(7);
        let registry = Registry::new().target(kind, Arc::new(Panics::default())).unwrap();
        let settings = Pool::builder().method(Method::Worker).processes(2).frames(2);
        let pool = settings.registry(registry).create().unwrap();
        let worker = pool.attach().unwrap();
        // A failure must not wait for what nobody executes.
        let mut me = ManuallyDrop::new(pool.attach().unwrap());
        let null = std::fs::File::open("/dev/null").unwrap();
        let file = me.target(kind, [0; 3], null).unwrap();
        for went in [Err(Some(libc::EIO)), Ok(8192)] {
            // A worker that is counted and has died.
            pool.inner().staff().unwrap().begin(worker.slot());
            let frame = me.frame().unwrap();
            let mut scope = me.scope();
            let pending = scope.acquire().unwrap().read(&file, frame, 0).unwrap();
            pool.inner().staff().unwrap().end(worker.slot());
            let waited = catch_unwind(AssertUnwindSafe(|| scope.wait(pending.wait_ref())));
            assert!(waited.is_ok(), "it is the waiter that has panicked");
            let bytes = scope.finish(pending).unwrap().outcome.bytes();
            assert_eq!(bytes.map_err(|error| error.errno()), went);
        }
        ManuallyDrop::into_inner(me).detach().unwrap();
    }

    #[test]
    fn a_worker_that_panics_is_not_counted_any_more() {
        let pool = Pool::builder().method(Method::Worker).processes(2).create().unwrap();
        let staff = pool.inner().staff().unwrap();
        let slot = ProcessSlot::new(1).unwrap();
        let worked = catch_unwind(AssertUnwindSafe(|| {
            let _working = Working::begin(staff, slot);
            assert_eq!(staff.alive(), 1);
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(worked.is_err());
        assert_eq!((staff.alive(), staff.working().count()), (0, 0));
    }
}
