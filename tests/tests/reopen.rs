//! What targets of the application's own do where a worker re-opens them: also what they must not do.

#![expect(clippy::disallowed_types, reason = "a test's own count")]

mod common;

use common::{Data, in_time};
use handfast::{File, Frame, Method, Pending, Pool, Process, Registry, Scope, Target, TargetId};
use handfast_tests::{TestPool, with_method};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const KIND: TargetId = TargetId(7);

/// How it is re-opened, one after the other; in the end as it should be.
#[derive(Clone, Copy)]
enum How {
    Panics,
    PanicsWithWhatPanics,
    FailsWithWhatPanics,
}

/// Panics when it is dropped.
#[derive(Debug)]
struct Thorn;

impl Drop for Thorn {
    fn drop(&mut self) {
        // A second panic would end the program.
        assert!(std::thread::panicking(), "dropped");
    }
}

impl fmt::Display for Thorn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a thorn")
    }
}

impl std::error::Error for Thorn {}

struct Wild {
    path: PathBuf,
    ways: Vec<How>,
    reopened: AtomicUsize,
}

impl Target for Wild {
    fn name(&self) -> &'static str {
        "wild"
    }

    fn describe(&self, _: [u64; 3], f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a wild target")
    }

    fn reopen(&self, _: [u64; 3]) -> io::Result<OwnedFd> {
        match self.ways.get(self.reopened.fetch_add(1, Ordering::Relaxed)) {
            Some(How::Panics) => panic!("it panics"),
            Some(How::PanicsWithWhatPanics) => std::panic::panic_any(Thorn),
            Some(How::FailsWithWhatPanics) => Err(io::Error::other(Thorn)),
            None => Ok(std::fs::File::open(&self.path)?.into()),
        }
    }
}

fn wild(data: &Data, ways: &[How]) -> TestPool {
    let (path, reopened) = (data.path(), AtomicUsize::new(0));
    let target = Wild { path, ways: ways.to_vec(), reopened };
    let registry = Registry::new().target(KIND, Arc::new(target)).unwrap();
    with_method(Method::Worker, common::small).registry(registry).workers(1).create().unwrap()
}

fn open<'pool>(me: &mut Process<'pool>, data: &Data) -> File<'pool> {
    me.target(KIND, [0; 3], std::fs::File::open(data.path()).unwrap()).unwrap()
}

fn start<'pool>(scope: &mut Scope<'_, 'pool>, file: &File<'pool>) -> Pending<'pool, Frame<'pool>> {
    let frame = scope.frame().expect("a frame is free");
    scope.acquire().unwrap().read(file, frame, 0).unwrap()
}

/// Whether a worker has executed it, and its result: bytes or errno.
fn went<'pool>(
    scope: &mut Scope<'_, 'pool>,
    pending: Pending<'pool, Frame<'pool>>,
) -> (bool, Result<u32, Option<i32>>) {
    let reference = pending.wait_ref();
    let _over = scope.wait(reference).unwrap();
    let pool: &Pool = scope.process().pool();
    let in_place = pool.snapshot()[reference.handle().index()].is_sync;
    let bytes = scope.finish(pending).unwrap().outcome.bytes();
    (!in_place, bytes.map_err(|error| error.errno()))
}

#[test]
fn b7_a_target_that_panics_fails_its_io_and_neither_the_worker_nor_other_ios() {
    in_time(|| {
        let data = Data::new(b"hello");
        let pool = wild(&data, &[How::Panics, How::PanicsWithWhatPanics]);
        let mut me = pool.attach().unwrap();
        let file = open(&mut me, &data);
        let mut scope = me.scope();
        for result in [Err(Some(libc::EIO)), Err(Some(libc::EIO)), Ok(5), Ok(5)] {
            let pending = start(&mut scope, &file);
            assert_eq!(went(&mut scope, pending), (true, result));
            assert_eq!(pool.workers(), 1);
        }
    });
}

#[test]
fn b7_an_error_of_a_target_that_panics_when_it_is_dropped_fails_its_io_alone() {
    in_time(|| {
        let data = Data::new(b"hello");
        let pool = wild(&data, &[How::FailsWithWhatPanics]);
        let mut me = pool.attach().unwrap();
        let file = open(&mut me, &data);
        let mut scope = me.scope();
        for result in [Err(Some(libc::EIO)), Ok(5)] {
            let pending = start(&mut scope, &file);
            assert_eq!(went(&mut scope, pending), (true, result));
            assert_eq!(pool.workers(), 1);
        }
    });
}
