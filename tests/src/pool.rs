//! Pools whose IO is executed as the running test wants it, and the workers that some of them need.
//!
//! A test names no method: [`crate::every_method`] runs it with each, and [`builder`] makes the pool
//! accordingly. A pool of workers gets slots for them behind those that the test has asked for, so that
//! the test's own attachments have the same slots with every method, and a region that the workers have
//! mapped, too ([`memory`]).
#![expect(clippy::disallowed_types, reason = "the workers' flag to leave")]

use crate::eventually;
use handfast::{
    AlignedBuf, CreateError, FIRST_REGION, Memory, Method, Pool, PoolBuilder, PoolTag, Region,
    RegionSlice, Registry, WorkOptions,
};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

thread_local! {
    static METHOD: Cell<Method> = const { Cell::new(Method::Sync) };
}

/// How the running test wants its IO to be executed: [`with_method`], else in place.
#[must_use]
pub fn method() -> Method {
    METHOD.get()
}

/// Runs a test with this method.
pub fn with_method<R>(method: Method, test: impl FnOnce() -> R) -> R {
    let before = METHOD.replace(method);
    let result = test();
    METHOD.set(before);
    result
}

/// Makes a test of each function in the list for each method: `name::sync`, `name::worker`,
/// `name::io_uring`. After a name the methods can be listed that make sense for it.
#[macro_export]
macro_rules! every_method {
    ($($name:ident $([$($method:ident)+])?)+) => {
        $($crate::every_method!(@one $name $($($method)+)?);)+
    };
    (@one $name:ident) => { $crate::every_method!(@one $name sync worker io_uring); };
    (@one $name:ident $($method:ident)+) => {
        mod $name {
            $(#[test]
            fn $method() {
                let method = $crate::pool::named(stringify!($method));
                $crate::with_method(method, super::$name);
            })+
        }
    };
}

/// The method of this name.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn named(name: &str) -> Method {
    let all = [Method::Sync, Method::Worker, Method::IoUring];
    let found = all.into_iter().find(|method| method.name() == name);
    found.expect("the name of a method")
}

/// The region that the workers of a test's pool have mapped, by pool, and how much of it was given out.
static COMMON: Mutex<BTreeMap<u32, (Region, usize)>> = Mutex::new(BTreeMap::new());
/// The bytes of that region, of which few are ever touched.
const COMMON_LEN: usize = 256 << 20;

/// Memory for an IO that whoever executes it can reach: local, but for workers a piece of a region.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn memory<'pool>(pool: &'pool Pool, len: usize) -> Memory<'pool> {
    let mut common = COMMON.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((region, next)) = common.get_mut(&pool.tag().0) else {
        return Memory::Local(AlignedBuf::new(len, 512).expect("a little memory"));
    };
    if *next + len > COMMON_LEN {
        *next = 0;
    }
    let at = *next;
    *next = (at + len).next_multiple_of(512);
    region.copy_from_slice(at, &vec![0; len]).expect("within the region");
    Memory::Region(region.slice(at, len).expect("within the region"))
}

fn start(slice: &RegionSlice) -> usize {
    usize::try_from(slice.offset()).expect("it is mapped")
}

/// The bytes in the memory of an IO.
///
/// # Panics
/// If the memory was lost.
#[must_use]
pub fn bytes_of(memory: &Memory<'_>) -> Vec<u8> {
    let mut bytes = vec![0; memory.len()];
    match memory {
        Memory::Local(buffer) => bytes.copy_from_slice(buffer),
        Memory::Frame(frame) => frame.copy_to_slice(0, &mut bytes).expect("it is there"),
        Memory::Region(slice) => {
            slice.whole().copy_to_slice(start(slice), &mut bytes).expect("within the region");
        }
    }
    bytes
}

/// Fills the memory of an IO.
///
/// # Panics
/// If it is shorter.
pub fn fill(memory: &mut Memory<'_>, bytes: &[u8]) {
    match memory {
        Memory::Local(buffer) => buffer.copy_from_slice(bytes),
        Memory::Frame(frame) => frame.copy_from_slice(0, bytes).expect("it is there"),
        Memory::Region(slice) => {
            slice.whole().copy_from_slice(start(slice), bytes).expect("within the region");
        }
    }
}

/// Settings of a pool for the running test.
pub fn builder() -> Builder {
    Builder { inner: Pool::builder().method(method()), method: method(), processes: 8, workers: 2 }
}

/// See [`builder`].
#[derive(Debug)]
#[must_use = "a builder makes nothing before `create`"]
pub struct Builder {
    inner: PoolBuilder,
    method: Method,
    processes: u32,
    workers: u32,
}

macro_rules! settings {
    ($($name:ident)+) => {
        $(/// As of [`PoolBuilder`].
        pub fn $name(mut self, $name: u32) -> Self {
            self.inner = self.inner.$name($name);
            self
        })+
    };
}

impl Builder {
    settings! {
        handles_per_process frames frame_size max_iovecs max_handle_data max_files user_words
    }

    /// As of [`PoolBuilder`], workers not included.
    pub fn processes(mut self, processes: u32) -> Self {
        self.processes = processes;
        self
    }

    /// How many workers a pool of that method has: 2 unless said otherwise.
    pub fn workers(mut self, workers: u32) -> Self {
        self.workers = workers;
        self
    }

    /// As of [`PoolBuilder`].
    pub fn registry(mut self, registry: Registry) -> Self {
        self.inner = self.inner.registry(registry);
        self
    }

    /// The settings as the library has them: of a pool without workers.
    pub fn plain(self) -> PoolBuilder {
        self.inner.processes(self.processes)
    }

    /// As of [`PoolBuilder::create_named`], without workers.
    ///
    /// # Errors
    /// As of [`PoolBuilder::create_named`].
    pub fn create_named(self, path: impl AsRef<Path>) -> Result<Pool, CreateError> {
        self.plain().create_named(path)
    }

    /// Makes the pool, and starts its workers.
    ///
    /// # Errors
    /// As of [`PoolBuilder::create`].
    pub fn create(self) -> Result<TestPool, CreateError> {
        let processes = self.processes;
        if self.method != Method::Worker || self.workers == 0 {
            let pool = Arc::new(self.inner.processes(processes).create()?);
            return Ok(TestPool { pool, processes, workers: None });
        }
        let workers = self.workers;
        let pool = self.inner.processes(processes + workers).common_regions(1).create()?;
        let memory = rustix::fs::memfd_create("handfast-test", rustix::fs::MemfdFlags::CLOEXEC)
            .expect("a little memory");
        rustix::fs::ftruncate(&memory, COMMON_LEN as u64).expect("it is sparse");
        let region = pool.map_region(FIRST_REGION, memory.as_fd()).expect("the number is free");
        let mut common = COMMON.lock().unwrap_or_else(PoisonError::into_inner);
        common.insert(pool.tag().0, (region, 0));
        drop(common);
        let pool = Arc::new(pool);
        // The workers get the last slots, so that the test has those that it would have alone.
        let before: Vec<_> =
            (0..processes).map(|_| pool.attach().expect("the pool is new")).collect();
        let workers = Workers::start(&pool, workers);
        drop(before);
        Ok(TestPool { pool, processes, workers: Some(workers) })
    }
}

/// A pool with the workers that it needs. They leave when it is dropped.
#[derive(Debug)]
pub struct TestPool {
    pool: Arc<Pool>,
    processes: u32,
    workers: Option<Workers>,
}

impl TestPool {
    /// How many slots there are for the test.
    #[must_use]
    pub fn processes(&self) -> u32 {
        self.processes
    }

    /// How many handles those slots have.
    #[must_use]
    pub fn handles(&self) -> u32 {
        self.processes * self.pool.config().handles_per_process()
    }

    /// Lets all its workers leave.
    pub fn dismiss(&mut self) {
        self.workers = None;
    }
}

impl Deref for TestPool {
    type Target = Pool;

    fn deref(&self) -> &Pool {
        &self.pool
    }
}

impl AsFd for TestPool {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pool.as_fd()
    }
}

impl Drop for TestPool {
    fn drop(&mut self) {
        self.workers = None;
        let PoolTag(tag) = self.pool.tag();
        COMMON.lock().unwrap_or_else(PoisonError::into_inner).remove(&tag);
    }
}

/// Threads that work for a pool of this process until this is dropped.
#[derive(Debug)]
pub struct Workers {
    pool: Arc<Pool>,
    leave: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts so many, one after the other; each has a slot when this returns.
    ///
    /// # Panics
    /// If there are no slots for them.
    #[must_use]
    pub fn start(pool: &Arc<Pool>, count: u32) -> Self {
        let leave = Arc::new(AtomicBool::new(false));
        let threads = (0..count).map(|_| {
            let (pool, leave) = (Arc::clone(pool), Arc::clone(&leave));
            let before = pool.workers();
            let seen = Arc::clone(&pool);
            let thread = std::thread::spawn(move || {
                let mut me = pool.attach().expect("a slot for a worker");
                let _left = me.work(WorkOptions::default(), &leave).expect("it can work");
            });
            eventually("a worker works", || seen.workers() > before || thread.is_finished());
            thread
        });
        let threads = threads.collect();
        Self { pool: Arc::clone(pool), leave, threads }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.leave.store(true, Ordering::Release);
        self.pool.rouse_workers();
        for thread in self.threads.drain(..) {
            // What has failed in it was said already.
            let _joined = thread.join();
        }
    }
}
