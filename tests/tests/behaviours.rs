//! What PostgreSQL's own AIO test module asks of its asynchronous methods, as behaviours: BEHAVIOURS 27 to 43
//! and 93. Sessions are attachments, blocks are pieces of a file with a check callback.
//!
//! Faults are injected by a callback that the pool's user words control, and by a target that cannot be
//! opened again; nothing in the library knows of them. The mistake that makes a test fail is named at it.

#![expect(clippy::disallowed_types, reason = "a test's own words")]

mod common;

use common::callback::id;
use common::{Data, PATIENCE, eventually, finished, in_time, small};
use handfast::{
    Callback, Frame, IoContext, IoOutcome, Outcome, Pending, Process, Registry, Scope, Status,
    Target, TargetId, Waited,
};
use handfast_tests::callbacks::{self, INJECT, Injection};
use handfast_tests::{Builder, method};
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

handfast_tests::every_method! {
    behaviour_27_an_issuer_that_does_nothing_after_issuing_keeps_nobody_waiting
    behaviour_28_an_issuer_that_leaves_after_issuing_keeps_nobody_waiting
    behaviour_29_a_failing_io_of_another_is_noticed_and_the_own_retry_fails_as_well
    behaviour_30_a_file_closed_in_a_batch_serves_the_io_that_is_waited_for
    behaviour_31_a_file_closed_in_a_batch_serves_the_io_that_nobody_waits_for
    behaviour_32_other_io_works_after_files_were_closed
    behaviour_33_a_forced_full_result_is_as_good_as_a_true_one
    behaviour_34_a_read_of_less_than_a_block_is_an_error_with_its_count
    behaviour_35_36_a_read_cut_short_between_blocks_goes_on_behind_them
    behaviour_37_a_read_cut_short_still_notices_a_bad_block
    behaviour_38_39_40_a_hard_error_is_reported_each_time_until_it_is_over
    behaviour_41_another_errno_is_reported_as_itself
    behaviour_42_43_a_file_that_cannot_be_opened_again_fails_in_a_worker_until_it_can
    behaviour_79_an_io_is_recognised_while_its_completion_is_held
    behaviour_93_a_waiter_of_a_staged_io_gets_on_when_its_issuer_submits_and_does_nothing_more
}

/// Four waits together end long before the slices of a second do that an attendant or a worker sleeps at most.
const NO_SLICES: Duration = Duration::from_millis(700);
/// The size of a block of these files.
const BLOCK: usize = 512;
/// Notices blocks that do not begin with their number plus one.
const CHECK: u8 = 4;
/// A file that may refuse to be opened again.
const SHY: TargetId = TargetId(9);

struct Check;

impl Callback for Check {
    fn name(&self) -> &'static str {
        "check"
    }

    /// Looks at whole blocks alone: an error that names the first bad one, or tells how little was read.
    fn complete_shared(&self, io: &IoContext<'_>, prior: Outcome) -> Outcome {
        let Ok(bytes) = usize::try_from(prior.result()) else { return prior };
        if prior.status() == Status::Error {
            return prior;
        }
        let first = usize::try_from(io.request().offset).unwrap() / BLOCK;
        if bytes % BLOCK != 0 {
            return Outcome::new(Status::Error, id(CHECK), 0, prior.result());
        }
        for block in 0..bytes / BLOCK {
            let mut byte = [0];
            io.buffers().copy_to_slice(0, block * BLOCK, &mut byte).unwrap();
            if usize::from(byte[0]) != first + block + 1 {
                let number = u32::try_from(first + block).unwrap() + 1;
                return Outcome::new(Status::Error, id(CHECK), number, prior.result());
            }
        }
        prior
    }

    fn report(&self, outcome: Outcome, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match outcome.error_data() {
            0 => write!(f, "only {} bytes were read", outcome.result()),
            block => write!(f, "block {} is bad", block - 1),
        }
    }
}

#[derive(Default)]
struct Shy {
    path: PathBuf,
    errno: AtomicI32,
}

impl Target for Shy {
    fn name(&self) -> &'static str {
        "shy"
    }

    fn describe(&self, _data: [u64; 3], f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a shy file")
    }

    fn reopen(&self, _data: [u64; 3]) -> std::io::Result<OwnedFd> {
        match self.errno.load(Ordering::Relaxed) {
            0 => Ok(std::fs::File::open(&self.path)?.into()),
            errno => Err(std::io::Error::from_raw_os_error(errno)),
        }
    }
}

fn registry() -> Registry {
    callbacks::registry(|_| ()).callback(id(CHECK), Arc::new(Check)).unwrap()
}

fn pool() -> Builder {
    small().processes(3).user_words(callbacks::WORDS).registry(registry())
}

/// Eight blocks, each full of its number plus one.
fn blocks() -> Data {
    Data::new(&(1..=8).flat_map(|block| [block; BLOCK]).collect::<Vec<u8>>())
}

/// Starts a read of so many blocks into a frame, to be injected into and then checked.
fn start<'pool>(
    scope: &mut Scope<'_, 'pool>,
    file: &handfast::File<'pool>,
    (first, count): (usize, usize),
) -> Pending<'pool, Frame<'pool>> {
    let mut frame = scope.frame().expect("a frame is free");
    frame.set_len(count * BLOCK).unwrap();
    let mut handle = scope.acquire().unwrap();
    handle.register_callback(id(CHECK), 0).unwrap();
    handle.register_callback(INJECT, 0).unwrap();
    handle.read(file, frame, (first * BLOCK) as u64).unwrap()
}

/// Reads one time; how it went.
fn read(me: &mut Process<'_>, data: &Data, blocks: (usize, usize)) -> IoOutcome {
    let file = data.open(me);
    let mut scope = me.scope();
    let pending = start(&mut scope, &file, blocks);
    scope.finish(pending).unwrap().outcome
}

/// Reads blocks until all of them are there, as a buffer manager does; in how many IOs.
fn read_all(
    me: &mut Process<'_>,
    data: &Data,
    (first, count): (usize, usize),
    mut between: impl FnMut(),
) -> Result<usize, String> {
    let (mut at, mut ios) = (first, 0);
    while at < first + count {
        let outcome = read(me, data, (at, first + count - at));
        let bytes = outcome.bytes().map_err(|error| error.to_string())?;
        at += bytes as usize / BLOCK;
        ios += 1;
        between();
    }
    Ok(ios)
}

/// Fails if the waiter of a ring's IO does not tell its issuer's attendant, or a worker is not rung.
fn behaviour_27_an_issuer_that_does_nothing_after_issuing_keeps_nobody_waiting() {
    in_time(|| {
        let data = blocks();
        let pool = pool().create().unwrap();
        let (mut idle, mut other) = (pool.attach().unwrap(), pool.attach().unwrap());
        let file = data.open(&mut idle);
        let mut waited = Duration::ZERO;
        for first in 0..4 {
            let mut scope = idle.scope();
            let mut frame = scope.frame().unwrap();
            let number = frame.id();
            frame.set_len(BLOCK).unwrap();
            let handle = scope.acquire().unwrap();
            let pending = handle.read(&file, frame, (first * BLOCK) as u64).unwrap();
            let began = Instant::now();
            assert_eq!(other.wait(pending.wait_ref()), Ok(Waited::Done));
            waited += began.elapsed();
            let outcome = other.foreign_outcome(pending.wait_ref()).unwrap().unwrap();
            assert_eq!((outcome.status(), outcome.result()), (Status::Ok, 512));
            let mut byte = [0];
            pool.copy_from_frame(number, 0, &mut byte).unwrap();
            assert_eq!(usize::from(byte[0]), first + 1, "its bytes are there, too");
            drop(scope.finish(pending).unwrap());
        }
        assert!(waited < NO_SLICES, "{waited:?}");
    });
}

/// Fails if a detach gives its slot up without waiting for what is in flight.
fn behaviour_28_an_issuer_that_leaves_after_issuing_keeps_nobody_waiting() {
    in_time(|| {
        let data = blocks();
        let pool = pool().create().unwrap();
        let mut other = pool.attach().unwrap();
        for round in 0..8 {
            let mut me = pool.attach().unwrap();
            let file = data.open(&mut me);
            let mut references = Vec::new();
            for first in 0..3 {
                references.push(start(&mut me.scope(), &file, (first, 1)).wait_ref());
            }
            if round % 2 == 0 {
                me.detach().unwrap();
            } else {
                drop(me);
            }
            for reference in references {
                assert_eq!(other.wait(reference), Ok(Waited::Recycled));
            }
            assert_eq!(read(&mut other, &data, (0, 2)).bytes().unwrap(), 1024);
        }
    });
}

/// Fails if the failure of a foreign IO is not kept for others, or the result of an error becomes OK.
fn behaviour_29_a_failing_io_of_another_is_noticed_and_the_own_retry_fails_as_well() {
    in_time(|| {
        let data = Data::new(&[99; 4 * BLOCK]);
        let pool = pool().create().unwrap();
        let (mut idle, mut other) = (pool.attach().unwrap(), pool.attach().unwrap());
        let file = data.open(&mut idle);
        let mut scope = idle.scope();
        let pending = start(&mut scope, &file, (2, 2));
        assert_eq!(other.wait(pending.wait_ref()), Ok(Waited::Done));
        let seen = other.foreign_outcome(pending.wait_ref()).unwrap().unwrap();
        assert_eq!((seen.status(), seen.error_data()), (Status::Error, 3));
        let error = read(&mut other, &data, (2, 2)).bytes().unwrap_err();
        assert!(error.to_string().ends_with("block 2 is bad"), "{error}");
        assert!(scope.finish(pending).unwrap().outcome.bytes().is_err(), "its issuer is told");
    });
}

/// Closes a file after its IO was started in a batch; the outcome if it is waited for.
fn closed_in_a_batch(wait: bool) {
    let data = blocks();
    let pool = pool().create().unwrap();
    let mut me = pool.attach().unwrap();
    for turn in 0..3 {
        let file = data.open(&mut me);
        let mut scope = me.scope();
        let mut batch = scope.batch();
        let pending = start(&mut batch, &file, (turn, 2));
        match turn {
            0 => assert!(batch.process().close_fd(file).unwrap()),
            1 => drop(file),
            _ => assert!(!batch.process().close_fd(file.clone()).unwrap()),
        }
        // Whoever opens next gets the number of a descriptor that was closed too early.
        let _next = std::fs::File::open("/dev/null").unwrap();
        drop(batch);
        if wait {
            assert_eq!(finished(&mut scope, pending).0, 1024);
        } else {
            drop(pending);
        }
        drop(scope);
        let byte = [b'a', b'b', b'c'][turn];
        write_and_close(&mut me, &data, byte);
        assert_eq!(data.bytes()[7 * BLOCK], byte, "it went to the file that was closed");
    }
    assert_eq!(read(&mut me, &data, (0, 1)).bytes().unwrap(), 512);
}

/// Starts a write of the last block in a batch and closes its file; nobody asks for its result.
fn write_and_close(me: &mut Process<'_>, data: &Data, byte: u8) {
    let file = data.open(me);
    let mut frame = me.frame().expect("a frame is free");
    frame.copy_from_slice(0, &[byte; BLOCK]).unwrap();
    frame.set_len(BLOCK).unwrap();
    let mut scope = me.scope();
    let mut batch = scope.batch();
    let pending = batch.acquire().unwrap().write(&file, frame, 7 * BLOCK as u64).unwrap();
    let reference = pending.wait_ref();
    drop((pending, file));
    let _next: Vec<_> =
        (0..8).map(|_| std::fs::File::options().write(true).open("/dev/null").unwrap()).collect();
    drop(batch);
    let _over = scope.wait(reference).unwrap();
}

/// Fails if a closed file's descriptor goes before its staged IO has used it (S16).
fn behaviour_30_a_file_closed_in_a_batch_serves_the_io_that_is_waited_for() {
    in_time(|| closed_in_a_batch(true));
}

/// As 30, and if the memory of an IO that nobody waits for does not come back.
fn behaviour_31_a_file_closed_in_a_batch_serves_the_io_that_nobody_waits_for() {
    in_time(|| closed_in_a_batch(false));
}

/// Fails if a place in the ring's table of files, or a worker's descriptor, outlives its file and is used
/// for the next one.
fn behaviour_32_other_io_works_after_files_were_closed() {
    in_time(|| {
        let (data, other) = (blocks(), Data::new(&[1; 8 * BLOCK]));
        let pool = pool().create().unwrap();
        let mut me = pool.attach().unwrap();
        for _ in 0..20 {
            let file = data.open(&mut me);
            for first in 0..8 {
                let mut scope = me.scope();
                let pending = start(&mut scope, &file, (first, 1));
                assert_eq!(finished(&mut scope, pending).0, 512);
            }
            assert!(me.close_fd(file).unwrap());
            assert_eq!(read(&mut me, &other, (0, 1)).bytes().unwrap(), 512);
            assert!(read(&mut me, &other, (0, 2)).bytes().is_err(), "these are other bytes");
        }
    });
}

/// Fails if what a shared callback answers does not become the result.
fn behaviour_33_a_forced_full_result_is_as_good_as_a_true_one() {
    in_time(|| {
        let (data, pool) = (Data::new(&[1; BLOCK]), pool().create().unwrap());
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        let told = Injection::of(pool.user_words());
        for (forced, bytes) in [(Some(1024), 1024), (None, 512)] {
            told.force(forced);
            let mut scope = me.scope();
            let mut frame = scope.frame().unwrap();
            frame.set_len(2 * BLOCK).unwrap();
            let mut handle = scope.acquire().unwrap();
            handle.register_callback(INJECT, 0).unwrap();
            let pending = handle.read(&file, frame, 0).unwrap();
            let outcome = scope.finish(pending).unwrap().outcome;
            assert_eq!((outcome.status(), outcome.bytes().unwrap()), (Status::Ok, bytes));
        }
    });
}

/// Fails if the callbacks do not run in order: the one registered last first.
fn behaviour_34_a_read_of_less_than_a_block_is_an_error_with_its_count() {
    in_time(|| {
        let (data, pool) = (blocks(), pool().create().unwrap());
        let mut me = pool.attach().unwrap();
        let told = Injection::of(pool.user_words());
        told.force(Some(17));
        let error = read(&mut me, &data, (0, 1)).bytes().unwrap_err();
        assert!(error.to_string().ends_with("only 17 bytes were read"), "{error}");
        told.force(None);
        assert_eq!(read(&mut me, &data, (0, 1)).bytes().unwrap(), 512);
    });
}

/// Fails if a result that was forced once is reported for the next IO of the handle, too.
fn behaviour_35_36_a_read_cut_short_between_blocks_goes_on_behind_them() {
    in_time(|| {
        let (data, pool) = (blocks(), pool().create().unwrap());
        let mut me = pool.attach().unwrap();
        let told = Injection::of(pool.user_words());
        for short in [1, 2] {
            told.force(Some(short * 512));
            let ios = read_all(&mut me, &data, (1, 4), || told.force(None));
            assert_eq!(ios, Ok(2));
        }
    });
}

/// Fails if a callback is not shown the result of the one before it.
fn behaviour_37_a_read_cut_short_still_notices_a_bad_block() {
    in_time(|| {
        let mut bytes = (1..=8).flat_map(|block| [block; BLOCK]).collect::<Vec<u8>>();
        bytes[3 * BLOCK] = 77;
        let (data, pool) = (Data::new(&bytes), pool().create().unwrap());
        let mut me = pool.attach().unwrap();
        let told = Injection::of(pool.user_words());
        // Block 3 is in the second read if the first was cut short before it.
        for (short, good) in [(1, 1), (2, 0), (3, 0)] {
            told.force(Some(short * 512));
            let mut seen = 0;
            let count = || {
                seen += 1;
                told.force(None);
            };
            let error = read_all(&mut me, &data, (2, 4), count).unwrap_err();
            assert!(error.ends_with("block 3 is bad"), "{short}: {error}");
            assert_eq!(seen, good, "reads before it, of {short} blocks");
        }
    });
}

/// Fails if the error of one IO is kept as the result of the next, or an error is reported as OK.
fn behaviour_38_39_40_a_hard_error_is_reported_each_time_until_it_is_over() {
    in_time(|| {
        let (data, pool) = (blocks(), pool().create().unwrap());
        let mut me = pool.attach().unwrap();
        let told = Injection::of(pool.user_words());
        told.force(Some(-libc::EIO));
        for _ in 0..2 {
            let error = read(&mut me, &data, (0, 2)).bytes().unwrap_err();
            assert_eq!(error.errno(), Some(libc::EIO));
        }
        told.force(None);
        assert_eq!(read(&mut me, &data, (0, 2)).bytes().unwrap(), 1024);
    });
}

/// Fails if errors are all reported as one.
fn behaviour_41_another_errno_is_reported_as_itself() {
    in_time(|| {
        let (data, pool) = (blocks(), pool().create().unwrap());
        let mut me = pool.attach().unwrap();
        Injection::of(pool.user_words()).force(Some(-libc::EROFS));
        let error = read(&mut me, &data, (0, 2)).bytes().unwrap_err();
        assert_eq!(error.errno(), Some(libc::EROFS));
        assert!(error.to_string().contains("Read-only file system"), "{error}");
    });
}

/// Fails if a worker keeps that a file could not be opened, or reads with another file's descriptor.
fn behaviour_42_43_a_file_that_cannot_be_opened_again_fails_in_a_worker_until_it_can() {
    in_time(|| {
        let data = blocks();
        let shy = Arc::new(Shy { path: data.path(), errno: AtomicI32::new(0) });
        let registry = registry().target(SHY, shy.clone()).unwrap();
        let pool = pool().registry(registry).create().unwrap();
        let mut me = pool.attach().unwrap();
        let fd = std::fs::File::open(data.path()).unwrap();
        let file = me.target(SHY, [1, 2, 3], fd).unwrap();
        let mut scope = me.scope();
        for errno in [libc::ENOENT, libc::ENOENT, libc::EMFILE, 0, 0] {
            shy.errno.store(errno, Ordering::Relaxed);
            let pending = start(&mut scope, &file, (1, 1));
            let outcome = scope.finish(pending).unwrap().outcome;
            let expected = (method() == handfast::Method::Worker && errno != 0).then_some(errno);
            assert_eq!(outcome.error().and_then(handfast::IoError::errno), expected);
            assert_eq!(outcome.bytes().is_ok(), expected.is_none());
        }
    });
}

/// Fails if an IO is reported over before its shared callbacks have run, or if whoever completes it holds up
/// a timed wait.
fn behaviour_79_an_io_is_recognised_while_its_completion_is_held() {
    in_time(|| {
        let (data, pool) = (blocks(), pool().create().unwrap());
        let (mut me, mut other) = (pool.attach().unwrap(), pool.attach().unwrap());
        let mut third = pool.attach().unwrap();
        let told = Injection::of(pool.user_words());
        let file = data.open(&mut me);
        told.hold();
        std::thread::scope(|threads| {
            let released = Released(told);
            let issuer = threads.spawn(|| {
                let mut scope = me.scope();
                let pending = start(&mut scope, &file, (5, 1));
                finished(&mut scope, pending).0
            });
            assert!(eventually(|| told.held() == 1));
            let rows = pool.snapshot();
            let row = rows.iter().find(|row| row.state > handfast::State::Submitted).unwrap();
            let reference = handfast::WaitRef::new(pool.tag(), row.handle, row.generation);
            let slice = Duration::from_millis(15);
            assert_eq!(other.wait_timeout(reference, slice), Ok(None));
            assert_eq!(other.check_done(reference), Ok(false));
            assert_eq!(other.foreign_outcome(reference), Ok(None));
            let waiter = threads.spawn(move || third.wait_timeout(reference, PATIENCE));
            let seen = || pool.snapshot()[reference.handle().index()].has_waiters;
            assert!(eventually(seen));
            drop(released);
            assert!(waiter.join().unwrap().unwrap().is_some());
            assert_eq!(issuer.join().unwrap(), 512);
        });
    });
}

/// Lets completions go on, also when the test fails.
struct Released<'p>(Injection<'p>);

impl Drop for Released<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// Fails if a Submit does not tell of waiters that were there before it: by a ring, its issuer's attendant;
/// by workers, their bell.
fn behaviour_93_a_waiter_of_a_staged_io_gets_on_when_its_issuer_submits_and_does_nothing_more() {
    in_time(|| {
        let (data, pool) = (blocks(), pool().create().unwrap());
        let mut idle = pool.attach().unwrap();
        let file = data.open(&mut idle);
        let mut took = [(); 21].map(|()| {
            let mut other = pool.attach().unwrap();
            let mut scope = idle.scope();
            let mut batch = scope.batch();
            let pending = start(&mut batch, &file, (1, 2));
            let reference = pending.wait_ref();
            let took = std::thread::scope(|threads| {
                let waiter = threads.spawn(move || other.wait(reference));
                assert!(eventually(|| { pool.snapshot()[reference.handle().index()].has_waiters }));
                let began = Instant::now();
                drop(batch);
                assert_eq!(waiter.join().unwrap(), Ok(Waited::Done));
                began.elapsed()
            });
            assert_eq!(finished(&mut scope, pending).0, 1024);
            took
        });
        took.sort();
        assert!(took[10] < Duration::from_millis(5), "slices have 10 ms: {took:?}");
    });
}
