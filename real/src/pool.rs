//! The pool: a segment in shared memory, made by one process and opened by others.
//!
//! [`Pool::builder`] makes one (`AioShmemInit`); [`Pool::open`] and [`Pool::from_fd`] join one from an
//! unrelated program, at whatever address the kernel chooses. A [`Pool`] alone can look; to do or
//! wait for IO, [`Pool::attach`] (`pgaio_init_backend`).
//!
//! Trust: one user id. A segment is made with mode 0600 and refused at the door if it belongs to
//! another user or others may open it. A memfd is sealed against shrinking; a named segment cannot be,
//! so a process of the same user that truncates its file ends the others by SIGBUS.
//!
//! Checked by: `tests/tests/segment.rs`, `tests/tests/attach.rs`.

use crate::config::{ConfigError, PoolConfig, Wanted};
use crate::header::{self, HeaderError, HeaderFacts};
use crate::layout::{Layout, LayoutError};
use crate::memory::{FrameId, MemoryError, copy_from_frame};
use crate::method::staff::Staff;
use crate::method::{Chosen, Method, MethodChoice, MethodRefusal};
use crate::place::Place;
use crate::platform::Production;
use crate::process::Process;
use crate::region::{FIRST_REGION, MAX_REGIONS, Region, RegionError};
use crate::registry::{Application, Registry};
use crate::segment::Segment;
use crate::sys::mapping::{ForkGuard, Mapping};
use crate::sys::memfd::{self, Backing};
use handfast_core::ids::{PoolTag, ProcessSlot};
use handfast_core::platform::{Atomic64 as _, Platform as _};
use handfast_core::protocol::hint::words_for;
use handfast_core::protocol::{Context, Embed, Shared as _};
use handfast_core::site::Site;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

/// The types that this crate runs the protocol with.
pub(crate) struct Shipped;

impl Embed for Shipped {
    type P = Production;
    type S = Segment;
    type C = Application;
    type D = Place;
}

/// Why a pool could not be made. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// A setting is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The settings together are too large.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The system has no room or does not allow it.
    #[error("cannot make a segment of {bytes} bytes: {source}{}", advice(source))]
    Segment {
        /// How many bytes.
        bytes: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The segment could not be laid out.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// This process cannot use the method that was asked for.
    #[error("the method asked for cannot be used here: {0}; or choose the method auto")]
    Method(#[from] MethodRefusal),
}

fn all_slots(slots: u32) -> String {
    if slots == 1 {
        "the pool's only slot is".to_owned()
    } else {
        format!("all {slots} slots of the pool are")
    }
}

/// What to do about it, where that is not plain.
fn advice(error: &io::Error) -> &'static str {
    let kind = error.kind();
    if kind == io::ErrorKind::AlreadyExists {
        "; choose a name that is free, or open the pool that is there"
    } else if matches!(kind, io::ErrorKind::OutOfMemory | io::ErrorKind::StorageFull) {
        "; use smaller settings or make room in memory"
    } else {
        ""
    }
}

/// Why a pool could not be opened. The segment is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be opened or mapped.
    #[error("cannot open the segment: {0}")]
    Segment(#[from] io::Error),
    /// Its header is not that of a pool that fits this program.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Somebody else's.
    #[error(
        "the segment belongs to user {owner}, this process runs as {me}: a pool is for one user"
    )]
    OtherUser {
        /// Its owner.
        owner: u32,
        /// This process's effective user.
        me: u32,
    },
    /// Others could change it.
    #[error("the segment has mode {mode:o}: others could read or change it; it must be 600")]
    OpenToOthers {
        /// Its permission bits.
        mode: u32,
    },
}

/// Why a process could not attach.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// All slots are in use.
    #[error(
        "{} in use: detach another process, end workers, or make the pool for more processes",
        all_slots(*.0)
    )]
    Full(u32),
    /// A forked child that has not exec'ed.
    #[error(
        "this process was forked from the one that opened the pool: open the pool after exec instead"
    )]
    Forked,
    /// Callbacks may not use the pool.
    #[error("called from inside a callback: attach before the IO is started")]
    InCallback,
    /// The slot's lock cannot be tried.
    #[error("cannot use slot locks: {0}")]
    Lock(#[source] io::Error),
    /// The pool was made for a method that this process cannot use.
    #[error(
        "this process cannot use the pool's method: {0}; a pool of the method auto is used without it"
    )]
    Method(#[from] MethodRefusal),
    /// A free slot was not pristine.
    #[error(transparent)]
    Damaged(handfast_core::protocol::Error),
}

/// Makes a pool. Every setting has a default.
#[derive(Debug, Default)]
#[must_use = "a builder makes nothing before `create`"]
pub struct PoolBuilder {
    registry: Registry,
    wanted: Wanted,
    method: Method,
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {
        $($(#[doc = $doc])+
        pub fn $name(mut self, $name: u32) -> Self {
            self.wanted.$name = Some($name);
            self
        })+
    };
}

impl PoolBuilder {
    /// The application's callbacks and targets; every process must open the pool with the same.
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// How IO is executed: by default the best that this machine offers. It is the pool's, for every
    /// process that opens it.
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    settings! {
        /// How many processes (attachments) at a time, workers included: 1 to 1023, by default 8. Each worker
        /// takes a slot, so a pool of workers is made for as many more. A foreman lets none of them have the last
        /// slot, and leaves some free before it starts more than the least ([`crate::Foreman`]).
        processes;
        /// How many handles each has (`io_max_concurrency`): 1 to 1024; by default frames / processes,
        /// at most 64 and at least 1 (`AioChooseMaxConcurrency`).
        handles_per_process;
        /// How many frames the segment has, by default 128.
        frames;
        /// Their size in bytes, a multiple of 512, by default 8192.
        frame_size;
        /// How many buffers one IO can have, by default 16.
        max_iovecs;
        /// How many words of handle data are reserved for each handle, by default 16.
        max_handle_data;
        /// How many files can be open for IO at a time so that other processes can re-open them, by
        /// default 256.
        max_files;
        /// How many 64-bit words the application gets for its own use, by default none.
        user_words;
        /// How many regions, from number [`FIRST_REGION`] on, every process maps, workers included, by
        /// default none. Workers execute IO into these; IO into others its issuer executes.
        common_regions;
    }

    /// Makes the pool in a sealed memfd that has no name; it goes when the last process that has it
    /// open goes. Pass it on by inheritance, as `/proc/<pid>/fd/<n>`, or over a Unix socket.
    ///
    /// # Errors
    /// [`CreateError`].
    pub fn create(self) -> Result<Pool, CreateError> {
        self.create_in(|bytes| memfd::create_sealed("handfast", bytes))
    }

    /// Makes the pool in a new file at `path`, which should be in a tmpfs such as `/dev/shm`. The file
    /// stays until it is removed. A failure removes it.
    ///
    /// By its name `handfast worker` finds a pool. Workers need slots, too:
    ///
    /// ```no_run
    /// # use handfast::{Method, Pool};
    /// # fn main() -> Result<(), handfast::Error> {
    /// let pool = Pool::builder()
    ///     .method(Method::Worker)
    ///     .processes(4 + 8) // 4 that issue IO, up to 8 workers
    ///     .create_named("/dev/shm/my-pool")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CreateError`]; also if the file exists.
    pub fn create_named(self, path: impl AsRef<Path>) -> Result<Pool, CreateError> {
        let path = path.as_ref();
        let made = std::cell::Cell::new(false);
        let pool = self.create_in(|bytes| {
            let fd = memfd::create_named(path, bytes)?;
            made.set(true);
            Ok(fd)
        });
        if pool.is_err() && made.get() {
            // The error that is reported matters more than one in cleaning up after it.
            let _ = std::fs::remove_file(path);
        }
        pool
    }

    fn create_in(self, make: impl FnOnce(u64) -> io::Result<OwnedFd>) -> Result<Pool, CreateError> {
        let config = PoolConfig::validate(self.wanted)?;
        let (method, choice) = chosen(self.method, &config)?;
        let layout = Layout::compute(&config, method.method)?;
        let bytes = layout.total;
        let failed = |source| CreateError::Segment { bytes, source };
        let fd = make(bytes).map_err(failed)?;
        let too_large = || failed(io::ErrorKind::OutOfMemory.into());
        let mapping = Mapping::new(fd.as_fd(), usize::try_from(bytes).map_err(|_| too_large())?);
        let facts = HeaderFacts { config, layout, method, pool_tag: new_tag().map_err(failed)? };
        let fingerprint = self.registry.fingerprint();
        let guard = ForkGuard::new().map_err(failed)?;
        let segment = Segment::create((mapping.map_err(failed)?, guard), facts, fingerprint)?;
        Ok(Pool::new(fd, segment, self.registry, choice))
    }
}

/// What a wished method comes to, for a pool with these settings.
fn chosen(wished: Method, config: &PoolConfig) -> Result<(Chosen, MethodChoice), MethodRefusal> {
    let by_best = || MethodChoice::for_pool(config.processes(), config.handles_per_process());
    let choice = match wished {
        Method::Auto => by_best(),
        Method::IoUring => match by_best() {
            ring @ MethodChoice { method: Method::IoUring, .. } => ring,
            MethodChoice { mut refusals, .. } => return Err(refusals.swap_remove(0)),
        },
        Method::Sync | Method::Worker => MethodChoice::told(wished),
    };
    Ok((Chosen { method: choice.method, by_itself: wished == Method::Auto }, choice))
}

/// A number that no other pool of this machine is likely to have.
fn new_tag() -> io::Result<u32> {
    let mut bytes = [0; 4];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(u32::from_ne_bytes(bytes))
}

/// A pool of IO handles in shared memory, mapped into this process. Everything else borrows it.
pub struct Pool(Arc<Inner>);

/// What a pool consists of. Attendants keep it alive.
pub(crate) struct Inner {
    places: Box<[Place]>,
    /// The segment. Nobody takes a slot's lock through this description: attachments ask through it.
    fd: OwnedFd,
    application: Application,
    regions: Box<[OnceLock<Region>]>,
    choice: MethodChoice,
}

impl Pool {
    /// Settings for a new pool.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::default()
    }

    /// Opens the pool at `path`: a named one, or `/proc/<pid>/fd/<n>` of a process that has it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: impl AsRef<Path>, registry: Registry) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).map_err(named)?;
        Self::from_fd(file.into(), registry)
    }

    /// Opens the pool behind a descriptor that was inherited or received.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn from_fd(fd: OwnedFd, registry: Registry) -> Result<Self, OpenError> {
        let seen = memfd::inspect(fd.as_fd()).map_err(|error| {
            // A device, a pipe, a socket.
            if error.kind() == io::ErrorKind::InvalidInput {
                HeaderError::NotAPool.into()
            } else {
                OpenError::Segment(error)
            }
        })?;
        if seen.len == 0 {
            return Err(HeaderError::NotAPool.into());
        }
        let me = rustix::process::geteuid().as_raw();
        if seen.uid != me {
            return Err(OpenError::OtherUser { owner: seen.uid, me });
        }
        if seen.backing == Backing::File && seen.mode & 0o077 != 0 {
            return Err(OpenError::OpenToOthers { mode: seen.mode });
        }
        let len =
            usize::try_from(seen.len).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let mapping = Mapping::new(fd.as_fd(), len)?;
        let segment = Segment::open((mapping, ForkGuard::new()?), registry.fingerprint())?;
        let choice = MethodChoice::told(segment.facts().method.method);
        Ok(Self::new(fd, segment, registry, choice))
    }

    fn new(fd: OwnedFd, segment: Segment, registry: Registry, choice: MethodChoice) -> Self {
        let processes = segment.facts().config.processes();
        Self(Arc::new_cyclic(|pool| Inner {
            places: (0..processes).map(|_| Place::new(pool.clone())).collect(),
            fd,
            application: Application { registry, segment: Arc::new(segment) },
            regions: (0..MAX_REGIONS).map(|_| OnceLock::new()).collect(),
            choice,
        }))
    }

    /// The settings of the pool.
    #[must_use]
    pub fn config(&self) -> &PoolConfig {
        &self.segment().facts().config
    }

    /// How its IO is executed: never [`Method::Auto`]. An attachment may have to do without
    /// ([`Process::method`]).
    #[must_use]
    pub fn method(&self) -> Method {
        self.0.choice.method
    }

    /// The same, and, in the process that made the pool with [`Method::Auto`], why it is not a better one.
    #[must_use]
    pub fn method_choice(&self) -> &MethodChoice {
        &self.0.choice
    }

    /// The number that its wait references carry.
    #[must_use]
    pub fn tag(&self) -> PoolTag {
        self.segment().tag()
    }

    /// The size of its segment in bytes.
    #[must_use]
    pub fn segment_len(&self) -> u64 {
        self.segment().facts().layout.total
    }

    /// How many frames it has.
    #[must_use]
    pub fn frame_count(&self) -> u32 {
        self.config().frames()
    }

    /// Their size in bytes.
    #[must_use]
    pub fn frame_size(&self) -> usize {
        self.segment().frame_size()
    }

    /// The application's own words: zero at creation, never touched by the pool.
    #[must_use]
    pub fn user_words(&self) -> &[AtomicU64] {
        self.segment().user_words()
    }

    /// Copies bytes of any frame, whoever owns it. When they mean something is the application's to
    /// know: after it has seen, with acquire, what was published after they were written.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub fn copy_from_frame(
        &self,
        frame: FrameId,
        at: usize,
        out: &mut [u8],
    ) -> Result<(), MemoryError> {
        copy_from_frame(self.segment(), frame, at, out)
    }

    /// Maps shared memory of the application's own as a region; every process that uses it does so
    /// under the same number.
    ///
    /// # Errors
    /// [`RegionError`].
    pub fn map_region(&self, number: u32, memory: BorrowedFd<'_>) -> Result<Region, RegionError> {
        let place =
            number.checked_sub(FIRST_REGION).and_then(|index| self.0.regions.get(index as usize));
        let place = place.ok_or(RegionError::OutOfRange(number))?;
        let len = usize::try_from(memfd::inspect(memory)?.len)
            .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let mapping = Mapping::new(memory, len)?;
        if header::is_pool(mapping.words()) {
            return Err(RegionError::OwnSegment);
        }
        let region = Region::new(mapping, number, self.tag());
        place.set(region.clone()).map_err(|_| RegionError::Taken(number))?;
        Ok(region)
    }

    /// Takes a slot of the pool. One attachment serves one thread at a time; a program with several
    /// threads that issue IO attaches once for each. It needs one file descriptor while it lasts; in a pool of
    /// rings two, and a thread.
    ///
    /// A slot whose process died is recovered first. Does not block: a slot that another process looks at
    /// or recovers at this moment is passed over, so that a pool with hardly a free slot may report
    /// [`AttachError::Full`] and have one the next time.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn attach(&self) -> Result<Process<'_>, AttachError> {
        self.refuse_forked().map_err(|()| AttachError::Forked)?;
        if Production::in_callback() {
            return Err(AttachError::InCallback);
        }
        let mut damaged = None;
        for (number, place) in (0..).zip(&self.0.places) {
            let Some(slot) = ProcessSlot::new(number) else { break };
            if !place.take() {
                continue;
            }
            match self.attach_at(slot, place) {
                Ok(Some(process)) => return Ok(process),
                Ok(None) => {}
                Err(AttachError::Damaged(error)) => damaged = Some(error),
                Err(error @ AttachError::Method(_)) => return Err(error),
                Err(error) => {
                    place.give_back();
                    return Err(error);
                }
            }
            place.give_back();
        }
        match damaged {
            Some(error) => Err(AttachError::Damaged(error)),
            None => Err(AttachError::Full(self.config().processes())),
        }
    }

    fn attach_at<'p>(
        &'p self,
        slot: ProcessSlot,
        place: &'p Place,
    ) -> Result<Option<Process<'p>>, AttachError> {
        if !place.lock_own(self.as_fd(), slot).map_err(AttachError::Lock)? {
            return Ok(None);
        }
        if let Some(staff) = self.0.staff() {
            // A worker that was killed here did not end.
            staff.end(slot);
        }
        match self.0.context(slot, place).attach(std::process::id()) {
            Ok(Some(attached)) => Ok(Some(Process::new(self, place, slot, &attached)?)),
            Ok(None) => {
                handfast_core::platform::SlotLocks::unlock(place, slot);
                Ok(None)
            }
            Err(error) => {
                handfast_core::platform::SlotLocks::unlock(place, slot);
                Err(AttachError::Damaged(error))
            }
        }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }

    pub(crate) fn segment(&self) -> &Segment {
        self.0.segment()
    }

    pub(crate) fn application(&self) -> &Application {
        self.0.application()
    }

    pub(crate) fn place(&self, slot: ProcessSlot) -> Option<&Place> {
        self.0.place(slot)
    }

    #[inline(always)]
    pub(crate) fn refuse_forked(&self) -> Result<(), ()> {
        if self.segment().is_forked() { Err(()) } else { Ok(()) }
    }
}

impl Inner {
    pub(crate) fn context<'p>(&'p self, me: ProcessSlot, drive: &'p Place) -> Context<'p, Shipped> {
        Context { shared: self.segment(), callbacks: &self.application, drive, me }
    }

    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.application.segment
    }

    pub(crate) fn application(&self) -> &Application {
        &self.application
    }

    pub(crate) fn place(&self, slot: ProcessSlot) -> Option<&Place> {
        self.places.get(slot.index())
    }

    /// A region, if this process has mapped it.
    pub(crate) fn region(&self, number: u32) -> Option<&Region> {
        let index = number.checked_sub(FIRST_REGION)?;
        self.regions.get(index as usize)?.get()
    }

    /// The workers' words, if workers execute the pool's IO.
    pub(crate) fn staff(&self) -> Option<&Staff> {
        let segment = self.segment();
        (segment.facts().method.method == Method::Worker).then(|| segment.staff())?
    }

    pub(crate) fn has_rings(&self) -> bool {
        self.segment().facts().method.method == Method::IoUring
    }

    /// Whether an IO waits for a worker, as far as the hints say.
    pub(crate) fn has_waiting_work(&self) -> bool {
        let words = words_for(self.segment().facts().config.handles_per_process()) as usize;
        let words = self.segment().all_hints().iter().flat_map(|slot| slot.iter().take(words));
        words.into_iter().any(|word| word.load(Site::HintLook) != 0)
    }
}

impl AsFd for Inner {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsFd for Pool {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("tag", &self.tag())
            .field("config", self.config())
            .finish_non_exhaustive()
    }
}
