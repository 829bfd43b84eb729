//! Method worker: what workers execute and what the issuer executes in their place, how they find files and
//! memory, and how they come and go.

#![expect(clippy::disallowed_types, reason = "a test's own flags")]

mod common;

use common::{Data, PATIENCE, eventually, finished, in_time, opened_again, read_write, room};
use handfast::{
    FIRST_REGION, File, Foreman, Frame, Left, Method, Pending, Pool, Process, Registry, Scope,
    State, UseError, Waited, WorkError, WorkOptions, WorkerLimits,
};
use handfast_tests::callbacks::{self, COUNT, HALT, INJECT, Injection};
use handfast_tests::participant::Participant;
use handfast_tests::pool::Workers;
use handfast_tests::{Builder, TestPool, with_method};
use std::fs::OpenOptions;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_participant");

/// Four slots for the test, and so many workers in threads of its own.
fn pool(workers: u32) -> TestPool {
    settings().workers(workers).create().unwrap()
}

fn settings() -> Builder {
    with_method(Method::Worker, common::small)
        .processes(4)
        .frames(12)
        .user_words(callbacks::WORDS)
        .registry(callbacks::registry(|_| ()))
}

fn start<'pool>(
    scope: &mut Scope<'_, 'pool>,
    file: &File<'pool>,
    offset: u64,
) -> Pending<'pool, Frame<'pool>> {
    let mut frame = scope.frame().expect("a frame is free");
    frame.set_len(8).unwrap();
    let mut handle = scope.acquire().unwrap();
    handle.register_callback(COUNT, 0).unwrap();
    handle.register_callback(INJECT, 0).unwrap();
    handle.read(file, frame, offset).unwrap()
}

/// Whether the IO was executed in place, and its result: bytes or errno.
fn went<'pool, M: handfast::Lend<'pool> + std::fmt::Debug>(
    scope: &mut Scope<'_, 'pool>,
    pending: Pending<'pool, M>,
) -> (bool, Result<u32, Option<i32>>) {
    let reference = pending.wait_ref();
    let _over = scope.wait(reference).unwrap();
    let row = scope.process().pool().snapshot()[reference.handle().index()].clone();
    assert_eq!(row.state, State::CompletedShared);
    let bytes = scope.finish(pending).unwrap().outcome.bytes();
    (row.is_sync, bytes.map_err(|error| error.errno()))
}

const IN_PLACE: bool = true;
const BY_WORKER: bool = false;

/// The descriptors of this process that lead to this file: their numbers and flags.
fn descriptors(of: (u64, u64)) -> Vec<(i32, i32)> {
    let numbers = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
        let meta = std::fs::metadata(entry.as_ref().ok()?.path()).ok()?;
        ((meta.dev(), meta.ino()) == of).then(|| entry.ok()?.file_name().to_str()?.parse().ok())?
    });
    let flags = |number: i32| {
        let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("flags:"))?;
        i32::from_str_radix(line.trim(), 8).ok()
    };
    numbers.filter_map(|number: i32| Some((number, flags(number)?))).collect()
}

fn identity(path: &Path) -> (u64, u64) {
    let meta = std::fs::metadata(path).unwrap();
    (meta.dev(), meta.ino())
}

fn shared_memory(len: u64) -> OwnedFd {
    let fd = rustix::fs::memfd_create("handfast-test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&fd, len).unwrap();
    fd
}

#[test]
fn a_worker_in_a_thread_executes_reads_writes_and_syncs() {
    in_time(|| {
        let (data, pool) = (Data::new(b"hello worker"), pool(1));
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        let mut scope = me.scope();
        let read = start(&mut scope, &file, 6);
        assert_eq!(went(&mut scope, read), (BY_WORKER, Ok(6)));
        let mut frame = scope.frame().unwrap();
        frame.copy_from_slice(0, b"HELLO").unwrap();
        frame.set_len(5).unwrap();
        let write = scope.acquire().unwrap().write(&file, frame, 0).unwrap();
        assert_eq!(went(&mut scope, write), (BY_WORKER, Ok(5)));
        let sync = scope.acquire().unwrap().fsync(&file).unwrap();
        assert_eq!(went(&mut scope, sync), (BY_WORKER, Ok(0)));
        let sync = scope.acquire().unwrap().fdatasync(&file).unwrap();
        assert_eq!(went(&mut scope, sync), (BY_WORKER, Ok(0)));
        assert_eq!(data.bytes(), b"HELLO worker");
    });
}

/// A worker in a process of its own.
fn worker(pool: &Pool) -> Participant {
    let mut worker = Participant::start(PROGRAM);
    let segment = pool.as_fd().as_raw_fd();
    worker.ask(&format!("pool /proc/{}/fd/{segment}", std::process::id()));
    worker
}

fn working(pool: &Pool) -> Participant {
    // Counts off those that were killed.
    let _none_wanted = pool.foreman(WorkerLimits::default()).to_start(8);
    let before = pool.workers();
    let mut worker = worker(pool);
    assert_eq!(worker.ask("work"), "working");
    assert!(eventually(|| pool.workers() > before));
    worker
}

#[test]
fn s1_workers_in_processes_execute_each_io_once() {
    in_time(|| {
        let (data, pool) = (Data::new(b"hello"), pool(0));
        let _workers = [working(&pool), working(&pool)];
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        for _ in 0..100 {
            let mut scope = me.scope();
            let mut batch = scope.batch();
            let all = [0, 1, 2, 3].map(|at| start(&mut batch, &file, at));
            drop(batch);
            for (pending, bytes) in all.into_iter().zip([5, 4, 3, 2]) {
                assert_eq!(went(&mut scope, pending), (BY_WORKER, Ok(bytes)));
            }
        }
        let seen = callbacks::seen(pool.user_words(), COUNT);
        assert_eq!((seen.runs, seen.repeats), (400, 0));
    });
}

#[test]
fn s16_a_worker_reads_the_file_that_was_meant_or_none() {
    in_time(|| {
        let pool = pool(1);
        let mut me = pool.attach().unwrap();
        let (gone, replaced, moved) = (Data::new(b"1"), Data::new(b"22"), Data::new(b"333"));
        let files = [gone.open(&mut me), replaced.open(&mut me), moved.open(&mut me)];
        std::fs::remove_file(gone.path()).unwrap();
        std::fs::write(replaced.beside("new"), b"an impostor").unwrap();
        std::fs::rename(replaced.beside("new"), replaced.path()).unwrap();
        std::fs::rename(moved.path(), moved.beside("moved")).unwrap();
        let mut scope = me.scope();
        for (file, errno) in files.iter().zip([libc::ENOENT, libc::ESTALE, libc::ENOENT]) {
            let pending = start(&mut scope, file, 0);
            assert_eq!(went(&mut scope, pending), (BY_WORKER, Err(Some(errno))));
        }
        std::fs::rename(moved.beside("moved"), moved.path()).unwrap();
        let pending = start(&mut scope, &files[2], 0);
        assert_eq!(went(&mut scope, pending), (BY_WORKER, Ok(3)), "it is there again");
    });
}

#[test]
fn what_a_worker_cannot_reach_its_issuer_executes() {
    in_time(|| {
        let pool = pool(1);
        let mut me = pool.attach().unwrap();
        let data = Data::new(b"hello");
        let deleted = {
            let data = Data::new(b"gone");
            let file = std::fs::File::open(data.path()).unwrap();
            std::fs::remove_file(data.path()).unwrap();
            me.file(file, data.path()).unwrap()
        };
        let (reader, _writer) = std::io::pipe().unwrap();
        let pipe = me.file(reader, data.beside("pipe")).unwrap();
        let append = me.open(data.path(), read_write().append(true)).unwrap();
        let write_only = me.open(data.path(), OpenOptions::new().write(true)).unwrap();
        let file = data.open(&mut me);
        let region = pool.map_region(FIRST_REGION + 1, shared_memory(4096).as_fd()).unwrap();
        let mut scope = me.scope();
        let cases = [
            (&deleted, Ok(4)),
            (&pipe, Err(Some(libc::ESPIPE))),
            (&append, Ok(5)),
            (&write_only, Err(Some(libc::EBADF))),
        ];
        for (file, expected) in cases {
            let pending = start(&mut scope, file, 0);
            assert_eq!(went(&mut scope, pending), (IN_PLACE, expected));
        }
        let local = scope.acquire().unwrap().read(&file, room(8), 0).unwrap();
        assert_eq!(went(&mut scope, local), (IN_PLACE, Ok(5)));
        let slice = region.slice(0, 8).unwrap();
        let own_region = scope.acquire().unwrap().read(&file, slice, 0).unwrap();
        assert_eq!(went(&mut scope, own_region), (IN_PLACE, Ok(5)));
        let common = scope.acquire().unwrap().read(&file, common::memory(&pool, 8), 0).unwrap();
        assert_eq!(went(&mut scope, common), (BY_WORKER, Ok(5)));
        // An end of a file is where its issuer's descriptor says.
        let mut frame = scope.frame().unwrap();
        frame.copy_from_slice(0, b"!!").unwrap();
        frame.set_len(2).unwrap();
        let appended = scope.acquire().unwrap().write(&append, frame, 0).unwrap();
        assert_eq!(went(&mut scope, appended), (IN_PLACE, Ok(2)));
        assert_eq!(data.bytes(), b"hello!!");
    });
}

#[test]
fn direct_and_synchronous_files_are_so_in_a_worker_as_well() {
    in_time(|| {
        let pool = pool(1);
        let mut me = pool.attach().unwrap();
        for flag in [libc::O_DIRECT, libc::O_DSYNC, libc::O_SYNC] {
            let data = Data::new(&[7; 4096]);
            let Ok(file) = me.open(data.path(), read_write().custom_flags(flag)) else {
                println!("SKIPPED: the temporary directory's file system has no direct IO");
                continue;
            };
            let own = file.as_fd().as_raw_fd();
            let mut scope = me.scope();
            let frame = scope.frame().unwrap();
            let pending = scope.acquire().unwrap().write(&file, frame, 0).unwrap();
            assert_eq!(went(&mut scope, pending), (BY_WORKER, Ok(4096)));
            let all = descriptors(identity(&data.path()));
            let theirs: Vec<_> = all.iter().filter(|(number, _)| *number != own).collect();
            assert_eq!(theirs.len(), 1, "{all:?}");
            assert_eq!(theirs[0].1 & flag, flag, "{all:?}");
        }
    });
}

#[test]
fn a_worker_keeps_some_files_open_and_none_when_it_has_nothing_to_do() {
    in_time(|| {
        let pool = settings().max_files(100).workers(1).create().unwrap();
        let mut me = pool.attach().unwrap();
        let all: Vec<_> = (0..40).map(|_| Data::new(b"hello")).collect();
        let files: Vec<_> = all.iter().map(|data| data.open(&mut me)).collect();
        let theirs = || -> usize {
            let of = |data: &Data| descriptors(identity(&data.path())).len() - 1;
            all.iter().map(of).sum()
        };
        let mut scope = me.scope();
        for file in files.iter().chain(&files) {
            let pending = start(&mut scope, file, 0);
            assert_eq!(went(&mut scope, pending), (BY_WORKER, Ok(5)));
        }
        let kept = theirs();
        assert!((1..=32).contains(&kept), "{kept} of 40 are open");
        assert!(eventually(|| theirs() == 0), "a deleted file would go on taking room");
        let pending = start(&mut scope, &files[3], 0);
        assert_eq!(went(&mut scope, pending), (BY_WORKER, Ok(5)), "it is opened anew");
    });
}

#[test]
fn a_process_without_the_common_regions_does_not_work() {
    let pool = pool(1);
    let elsewhere = opened_again(&pool, callbacks::registry(|_| ()));
    let mut me = elsewhere.attach().unwrap();
    let leave = AtomicBool::new(true);
    let refused = me.work(WorkOptions::default(), &leave).unwrap_err();
    assert_eq!(refused, WorkError::NoRegion(FIRST_REGION));
    assert_eq!(pool.workers(), 1, "it is not counted");
    let memory = shared_memory(4096);
    let _region = elsewhere.map_region(FIRST_REGION, memory.as_fd()).unwrap();
    assert_eq!(me.work(WorkOptions::default(), &leave), Ok(Left::Asked));
}

#[test]
fn s26_an_io_beyond_what_a_worker_has_mapped_is_garbled_and_harms_nobody() {
    in_time(|| {
        let (data, mut pool) = (Data::new(&[5; 4096]), pool(1));
        pool.dismiss();
        // This worker's mapping of the region is shorter than the issuer's.
        let elsewhere = std::sync::Arc::new(opened_again(&pool, callbacks::registry(|_| ())));
        let _region = elsewhere.map_region(FIRST_REGION, shared_memory(4096).as_fd()).unwrap();
        let _workers = Workers::start(&elsewhere, 1);
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        let mut scope = me.scope();
        let _first = common::memory(&pool, 4096);
        let beyond = common::memory(&pool, 4096);
        let pending = scope.acquire().unwrap().read(&file, beyond, 0).unwrap();
        let (in_place, result) = went(&mut scope, pending);
        assert_eq!(in_place, BY_WORKER);
        assert!(result.is_err(), "{result:?}");
        let pending = start(&mut scope, &file, 0);
        assert_eq!(went(&mut scope, pending), (BY_WORKER, Ok(8)), "the worker is alive");
    });
}

#[test]
fn work_is_for_pools_of_workers_alone() {
    for method in [Method::Sync, Method::IoUring] {
        let pool = with_method(method, common::small).create().unwrap();
        let refused = pool.attach().unwrap().work(WorkOptions::default(), &AtomicBool::new(true));
        let no_workers = handfast::ProtocolError::NoWorkers;
        assert_eq!(refused, Err(WorkError::Use(UseError::Protocol(no_workers))));
        assert_eq!(pool.workers(), 0);
    }
}

#[test]
fn without_workers_io_is_executed_in_place() {
    in_time(|| {
        let (data, mut pool) = (Data::new(b"hello"), pool(1));
        pool.dismiss();
        assert_eq!(pool.workers(), 0);
        let mut me = pool.attach().unwrap();
        assert_eq!(me.method(), Method::Worker);
        let file = data.open(&mut me);
        let mut scope = me.scope();
        let pending = start(&mut scope, &file, 0);
        assert_eq!(went(&mut scope, pending), (IN_PLACE, Ok(5)));
    });
}

#[test]
fn l9_when_all_workers_were_killed_who_waits_executes() {
    in_time(|| {
        let (data, pool) = (Data::new(b"hello"), pool(0));
        let mut me = pool.attach().unwrap();
        let mut other = pool.attach().unwrap();
        let file = data.open(&mut me);
        for own in [true, false] {
            let worker = working(&pool);
            worker.stop();
            let mut scope = me.scope();
            let pending = start(&mut scope, &file, 0);
            let reference = pending.wait_ref();
            assert_eq!(pool.snapshot()[reference.handle().index()].state, State::Submitted);
            let slice = Duration::from_millis(15);
            assert_eq!(other.wait_timeout(reference, slice), Ok(None), "a stopped one is alive");
            worker.kill();
            let waiter = if own { scope.process() } else { &mut other };
            let began = Instant::now();
            assert_eq!(waiter.wait(reference), Ok(Waited::Done));
            assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
            assert_eq!(finished(&mut scope, pending).0, 5);
        }
        assert_eq!(pool.workers(), 0, "the dead are counted off");
    });
}

#[test]
fn rc39_a_worker_killed_in_the_middle_of_a_completion_is_finished_by_others() {
    in_time(|| {
        let (data, pool) = (Data::new(b"hello"), pool(0));
        let mut worker = worker(&pool);
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        // It stands still in the callback of the first IO that it completes.
        worker.ask("attach");
        worker.ask("arm shared");
        worker.ask("detach");
        assert_eq!(worker.ask("work"), "working");
        assert!(eventually(|| pool.workers() == 1));
        let mut scope = me.scope();
        let frame = scope.frame().unwrap();
        let mut handle = scope.acquire().unwrap();
        handle.register_callback(HALT, 0).unwrap();
        let pending = handle.read(&file, frame, 0).unwrap();
        assert_eq!(worker.hear(), "at shared");
        let reference = pending.wait_ref();
        assert_eq!(pool.snapshot()[reference.handle().index()].state, State::CompletedIo);
        worker.kill();
        assert_eq!(finished(&mut scope, pending).0, 5);
        let seen = callbacks::seen(pool.user_words(), HALT);
        assert_eq!((seen.runs, seen.repeats, seen.last_raw), (2, 1, 5), "S1");
    });
}

#[test]
fn l10_a_crowd_goes_on_while_its_workers_are_killed() {
    in_time(|| {
        let (data, pool) = (Data::new(b"hello"), pool(0));
        let mut workers: Vec<_> = (0..2).map(|_| working(&pool)).collect();
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        for round in 0..400 {
            let mut scope = me.scope();
            let mut batch = scope.batch();
            let all = [0, 1, 2, 3].map(|at| start(&mut batch, &file, at));
            drop(batch);
            if round % 50 == 49 {
                workers.remove(0).kill();
            }
            for (pending, bytes) in all.into_iter().zip([5, 4, 3, 2]) {
                assert_eq!(finished(&mut scope, pending).0, bytes);
            }
            drop(scope);
            if workers.len() < 2 {
                me.recover_dead().unwrap();
                workers.push(working(&pool));
            }
        }
        let seen = callbacks::seen(pool.user_words(), COUNT);
        assert_eq!(seen.runs - seen.repeats, 1600, "S1");
    });
}

/// Runs workers as threads that leave as the options say; why each has left.
fn threads<'p>(
    scope: &'p std::thread::Scope<'p, '_>,
    pool: &'p Pool,
    (count, options): (u32, WorkOptions),
    leave: &'p AtomicBool,
) -> Vec<std::thread::ScopedJoinHandle<'p, Left>> {
    let work = move || {
        let mut me: Process<'_> = pool.attach().unwrap();
        me.work(options, leave).unwrap()
    };
    let threads = (0..count).map(|_| scope.spawn(work)).collect();
    assert!(eventually(|| pool.workers() == count));
    threads
}

#[test]
fn idle_workers_leave_down_to_the_least() {
    in_time(|| {
        let pool = pool(0);
        let leave = AtomicBool::new(false);
        let options = WorkOptions { idle: Some(Duration::from_millis(50)), least: 1 };
        std::thread::scope(|scope| {
            let all = threads(scope, &pool, (3, options), &leave);
            assert!(eventually(|| pool.workers() == 1));
            assert!(eventually(|| all.iter().filter(|thread| thread.is_finished()).count() == 2));
            // An idle worker looks every second whether it is to leave.
            handfast_tests::pause(Duration::from_millis(1300));
            assert_eq!(pool.workers(), 1, "the least stay, however idle");
            leave.store(true, Ordering::Release);
            pool.rouse_workers();
            let why: Vec<_> = all.into_iter().map(|thread| thread.join().unwrap()).collect();
            let of = |left| why.iter().filter(|why| **why == left).count();
            assert_eq!((of(Left::Idle), of(Left::Asked)), (2, 1));
        });
        assert_eq!(pool.workers(), 0);
    });
}

#[test]
fn l5_a_worker_that_is_asked_to_leave_while_it_sleeps_leaves_at_once() {
    in_time(|| {
        let pool = pool(0);
        for _ in 0..5 {
            let leave = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let all = threads(scope, &pool, (3, WorkOptions::default()), &leave);
                handfast_tests::pause(Duration::from_millis(5));
                let began = Instant::now();
                leave.store(true, Ordering::Release);
                pool.rouse_workers();
                for thread in all {
                    assert_eq!(thread.join().unwrap(), Left::Asked);
                }
                assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
            });
        }
    });
}

#[test]
fn a_foreman_keeps_the_least_and_starts_more_when_work_is_left_behind() {
    in_time(|| {
        let (data, pool) = (Data::new(b"hello"), pool(1));
        let mut foreman: Foreman<'_> = pool.foreman(WorkerLimits::new(1, 2).unwrap());
        assert_eq!([foreman.to_start(0), foreman.to_start(1)], [1, 0]);
        let told = Injection::of(pool.user_words());
        told.hold();
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        let mut scope = me.scope();
        // The only worker sees the others wait when it takes the first.
        let mut batch = scope.batch();
        let all = [0, 1, 2, 3].map(|at| start(&mut batch, &file, at));
        drop(batch);
        assert!(eventually(|| told.held() == 1));
        let began = Instant::now();
        let mut wanted = foreman.to_start(1);
        while wanted == 0 && began.elapsed() < PATIENCE {
            foreman.sleep(Duration::from_millis(100), || false);
            wanted = foreman.to_start(1);
        }
        assert_eq!(wanted, 1, "one more");
        assert_eq!(foreman.to_start(2), 0, "and not one for each IO");
        told.release();
        for (pending, bytes) in all.into_iter().zip([5, 4, 3, 2]) {
            assert_eq!(finished(&mut scope, pending).0, bytes);
        }
    });
}

#[test]
fn a_foreman_leaves_others_a_slot_however_much_there_is_to_do() {
    in_time(|| {
        let (data, pool) = (Data::new(b"hello"), pool(0));
        let mut foreman = pool.foreman(WorkerLimits::default());
        let told = Injection::of(pool.user_words());
        let leave = AtomicBool::new(false);
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        std::thread::scope(|threads_of| {
            let workers = threads(threads_of, &pool, (2, WorkOptions::default()), &leave);
            told.hold();
            let mut scope = me.scope();
            let mut batch = scope.batch();
            let all = [0, 1, 2, 3].map(|at| start(&mut batch, &file, at));
            drop(batch);
            // Each has seen that there is more when it took its own.
            assert!(eventually(|| told.held() == 2));
            assert_eq!(foreman.to_start(2), 0, "it would take the last of four slots");
            let other = pool.attach().expect("a slot is left");
            let full = pool.attach().unwrap_err().to_string();
            assert!(full.contains("all 4 slots") && full.contains("end workers"), "{full}");
            assert_eq!(foreman.to_start(2), 0);
            other.detach().unwrap();
            assert_eq!(pool.foreman(WorkerLimits::default()).leave_free(0).to_start(2), 1);
            told.release();
            for (pending, bytes) in all.into_iter().zip([5, 4, 3, 2]) {
                assert_eq!(finished(&mut scope, pending).0, bytes);
            }
            leave.store(true, Ordering::Release);
            pool.rouse_workers();
            for worker in workers {
                assert_eq!(worker.join().unwrap(), Left::Asked);
            }
        });
    });
}

#[test]
fn a_foreman_is_told_when_a_worker_ends_and_when_one_was_killed() {
    in_time(|| {
        let pool = pool(0);
        let mut foreman = pool.foreman(WorkerLimits::new(2, 2).unwrap());
        let (one, mut two) = (working(&pool), working(&pool));
        assert_eq!(foreman.to_start(2), 0);
        two.interrupt();
        foreman.sleep(PATIENCE, || pool.workers() == 1);
        assert_eq!(two.hear_ok(), "Asked");
        assert_eq!((pool.workers(), foreman.to_start(1)), (1, 1));
        one.kill();
        assert_eq!((foreman.to_start(0), pool.workers()), (2, 0));
    });
}

#[test]
fn behaviour_84_a_worker_that_is_interrupted_exits_and_another_takes_over() {
    in_time(|| {
        let (data, pool) = (Data::new(b"hello"), pool(0));
        let mut first = working(&pool);
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        for _ in 0..3 {
            let mut next = worker(&pool);
            first.interrupt();
            assert_eq!(first.hear_ok(), "Asked");
            assert_eq!(next.ask("work"), "working");
            assert!(eventually(|| pool.workers() == 1));
            let mut scope = me.scope();
            let pending = start(&mut scope, &file, 0);
            assert_eq!(went(&mut scope, pending), (BY_WORKER, Ok(5)));
            first = next;
        }
    });
}

#[test]
fn behaviour_83_any_number_of_workers_works() {
    in_time(|| {
        let data = Data::new(b"hello");
        for workers in [1, 5, 32] {
            let pool = pool(workers);
            assert_eq!(pool.workers(), workers);
            let mut me = pool.attach().unwrap();
            let file = data.open(&mut me);
            for _ in 0..20 {
                let mut scope = me.scope();
                let mut batch = scope.batch();
                let all = [0, 1, 2, 3].map(|at| start(&mut batch, &file, at));
                drop(batch);
                for (pending, bytes) in all.into_iter().zip([5, 4, 3, 2]) {
                    assert_eq!(went(&mut scope, pending), (BY_WORKER, Ok(bytes)));
                }
            }
        }
    });
}

#[test]
fn a_pool_is_opened_with_the_method_that_it_was_made_with() {
    for method in [Method::Sync, Method::Worker, Method::IoUring] {
        let pool = with_method(method, common::small).workers(0).create().unwrap();
        let elsewhere = opened_again(&pool, Registry::new());
        assert_eq!((pool.method(), elsewhere.method()), (method, method));
        let me = elsewhere.attach().unwrap();
        assert_eq!((me.method(), me.method_refusal()), (method, None));
    }
}
