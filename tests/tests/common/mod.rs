//! What several of these test programs need: small pools, files with known bytes, patience without
//! sleeping, a forked child.
#![allow(dead_code, unused_imports, reason = "each test program uses a part of it")]

pub mod callback;

use handfast::{AlignedBuf, File, Finished, Lend, Memory, Pending, Pool, Process, Registry, Scope};
use handfast_tests::Builder;
pub use handfast_tests::pool::{bytes_of, fill, memory};
use std::fs::OpenOptions;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen: far more than it takes, so that only a hang fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The size of the frames of [`small`].
pub const FRAME: usize = 4096;

/// Two processes of four handles, four frames.
pub fn small() -> Builder {
    handfast_tests::builder()
        .processes(2)
        .handles_per_process(4)
        .frames(4)
        .frame_size(4096)
        .max_iovecs(4)
}

/// The same segment once more, at another address, as another program would have it.
pub fn opened_again(pool: &Pool, registry: Registry) -> Pool {
    Pool::from_fd(pool.as_fd().try_clone_to_owned().unwrap(), registry).unwrap()
}

/// Bytes that differ from place to place.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| ((at * 7 + at / 251) % 256).to_le_bytes()[0]).collect()
}

pub fn read_write() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options
}

/// A file in a directory of its own that goes with it.
pub struct Data {
    dir: tempfile::TempDir,
}

impl Data {
    pub fn new(bytes: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("data"), bytes).unwrap();
        Self { dir }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap()
    }

    pub fn open<'pool>(&self, me: &mut Process<'pool>) -> File<'pool> {
        me.open(self.path(), &read_write()).unwrap()
    }
}

/// A local buffer of these bytes.
pub fn local(bytes: &[u8]) -> AlignedBuf {
    let mut buffer = AlignedBuf::new(bytes.len(), 512).unwrap();
    buffer.copy_from_slice(bytes);
    buffer
}

/// A local buffer of zeroes.
pub fn room(len: usize) -> AlignedBuf {
    AlignedBuf::new(len, 512).unwrap()
}

/// Starts a read of `len` bytes at `offset`.
pub fn start_read<'pool>(
    scope: &mut Scope<'_, 'pool>,
    file: &File<'pool>,
    (len, offset): (usize, u64),
) -> Pending<'pool, Memory<'pool>> {
    let memory = memory(scope.process().pool(), len);
    scope.acquire().unwrap().read(file, memory, offset).unwrap()
}

/// Starts a write of `bytes` at `offset`.
pub fn start_write<'pool>(
    scope: &mut Scope<'_, 'pool>,
    file: &File<'pool>,
    (bytes, offset): (&[u8], u64),
) -> Pending<'pool, Memory<'pool>> {
    let mut memory = memory(scope.process().pool(), bytes.len());
    fill(&mut memory, bytes);
    scope.acquire().unwrap().write(file, memory, offset).unwrap()
}

/// The number of bytes transferred, and the memory.
pub fn finished<'pool, M: Lend<'pool> + std::fmt::Debug>(
    scope: &mut Scope<'_, 'pool>,
    pending: Pending<'pool, M>,
) -> (u32, M) {
    let Finished { outcome, memory } = scope.finish(pending).unwrap();
    (outcome.bytes().unwrap(), memory)
}

/// How many frames can be had now; all of them are given back.
pub fn free_frames(me: &mut Process<'_>) -> usize {
    let taken: Vec<_> = std::iter::from_fn(|| me.frame()).collect();
    taken.len()
}

/// Looks again and again until the condition holds; false if it never does.
pub fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        if Instant::now() > end {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

/// Runs `body` in a thread of its own; panics if it is not over in time, since a hang would tell nobody
/// what hangs.
pub fn in_time<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> R {
    let (tell, told) = std::sync::mpsc::channel();
    let method = handfast_tests::method();
    let worker = std::thread::spawn(move || {
        let result = handfast_tests::with_method(method, body);
        // Whoever asked has given up, or hears it.
        let _heard = tell.send(());
        result
    });
    match told.recv_timeout(PATIENCE) {
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        Ok(()) | Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => worker.join().unwrap(),
    }
}

/// Runs `body` in a forked child; its exit code, 101 if it panics, `None` if a signal ended it. What
/// `body` owns is dropped in the child alone.
pub fn forked(body: impl FnOnce() -> u8) -> Option<i32> {
    // SAFETY: the C library makes its own locks usable in the child, and the child never returns
    // into the test program: it runs `body` and leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork failed");
    if pid == 0 {
        let body = std::panic::AssertUnwindSafe(body);
        let code = std::panic::catch_unwind(body).unwrap_or(101);
        // SAFETY: `_exit` takes any number and does not return.
        unsafe { libc::_exit(i32::from(code)) };
    }
    std::mem::forget(body);
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let ended = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
    let (_, status) = ended.unwrap().unwrap();
    status.exit_status()
}
