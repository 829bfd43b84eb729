//! Snapshots: what a viewer without any right sees of handles in every state.

mod common;

use common::callback::{Turns, id};
use common::{Data, eventually, finished, memory, opened_again, small, start_read, start_write};
use handfast::{
    Flags, HandleView, Operation, Outcome, Pool, Registry, StageRefused, State, Status,
};
use std::panic::catch_unwind;
use std::sync::{Arc, Mutex, OnceLock};

handfast_tests::every_method! {
    b5_an_idle_handle_shows_nothing_of_its_last_io
    s9_a_row_never_mixes_two_ios
    b27_a_row_keeps_the_pid_of_its_slots_last_attachment [sync io_uring]
    a_snapshot_survives_a_target_that_cannot_be_described
}

/// The pool as a viewer elsewhere sees it, filled in once it exists.
type Viewer = Arc<OnceLock<Pool>>;

/// A callback that notes the state of its IO's handle at each of its turns, through a mapping of its
/// own.
fn noting(viewer: &Viewer, seen: &Arc<Mutex<Vec<HandleView>>>) -> Turns {
    let note = |index: usize, viewer: &Viewer, seen: &Mutex<Vec<HandleView>>| {
        let row = viewer.get().unwrap().snapshot()[index].clone();
        seen.lock().unwrap().push(row);
    };
    let (v1, v2, v3, v4) = (viewer.clone(), viewer.clone(), viewer.clone(), viewer.clone());
    let (s1, s2, s3, s4) = (seen.clone(), seen.clone(), seen.clone(), seen.clone());
    Turns::default()
        .stage(move |io| {
            note(io.handle().index(), &v1, &s1);
            Ok(())
        })
        .shared(move |io, _| {
            note(io.handle().index(), &v2, &s2);
            Outcome::new(Status::Error, id(1), 9, -1)
        })
        .local(move |io, prior| {
            note(io.handle().index(), &v3, &s3);
            prior
        })
        .report(move |_, _| {
            note(0, &v4, &s4);
            Ok(())
        })
}

#[test]
fn every_state_of_a_handle_is_seen_with_what_is_known_in_it() {
    let data = Data::new(b"hello");
    let (viewer, seen) = (Viewer::default(), Arc::default());
    let registry = noting(&viewer, &seen).alone();
    let pool = small().registry(registry).create().unwrap();
    // The names of the callbacks are what has to agree, not what they do.
    assert!(viewer.set(opened_again(&pool, Turns::default().alone())).is_ok());
    let look = || pool.snapshot()[0].clone();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut rows = vec![look()];
    let mut batch = scope.batch();
    let mut handle = batch.acquire().unwrap();
    assert_eq!(handle.id().0, 0);
    handle.register_callback(id(1), 0).unwrap();
    handle.set_flag(Flags::BUFFERED);
    rows.push(look());
    let pending = handle.write(&file, common::local(b"HE"), 3).unwrap();
    rows.push(seen.lock().unwrap().remove(0));
    rows.push(look());
    drop(batch);
    rows.push(seen.lock().unwrap().remove(0));
    rows.push(look());
    assert!(scope.finish(pending).unwrap().outcome.bytes().is_err());
    rows.extend(seen.lock().unwrap().drain(..));
    rows.push(look());
    let states: Vec<_> = rows.iter().map(|row| row.state).collect();
    let expected = [
        State::Idle,
        State::HandedOut,
        State::Defined,
        State::Staged,
        State::CompletedIo,
        State::CompletedShared,
        State::CompletedShared,
        State::CompletedLocal,
        State::Idle,
    ];
    assert_eq!(states, expected);
    for row in &rows {
        check_row(row, &data);
    }
    assert_eq!(rows[8].generation.get(), rows[0].generation.get() + 1);
}

/// What the state promises, and no more, is in the row.
fn check_row(row: &HandleView, data: &Data) {
    assert_eq!((row.pid, row.owner.get()), (std::process::id(), 0));
    let known = row.state >= State::Defined;
    assert_eq!((row.request.is_some(), row.target.is_some()), (known, known), "{row:?}");
    if let Some(request) = row.request {
        assert_eq!((request.operation, request.offset), (Operation::Writev, 3));
        assert_eq!((request.length, request.iovecs), (2, 1));
        assert!(row.is_local() && row.is_buffered());
        assert!(row.target.as_ref().unwrap().ends_with(data.path().to_str().unwrap()));
    }
    let raw = (row.state >= State::CompletedIo).then_some(2);
    assert_eq!(row.raw_result, raw, "{row:?}");
    let over = (row.state >= State::CompletedShared).then_some(Status::Error);
    assert_eq!(row.outcome.map(Outcome::status), over, "{row:?}");
    assert_eq!(row.is_sync, row.state >= State::CompletedIo, "executed in place");
}

fn b5_an_idle_handle_shows_nothing_of_its_last_io() {
    let data = Data::new(b"hello");
    let pool = small().handles_per_process(1).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let pending = start_read(&mut scope, &file, (8, 0));
    finished(&mut scope, pending);
    let idle = &pool.snapshot()[0];
    assert!(idle.request.is_none() && idle.outcome.is_none() && idle.target.is_none());
    assert!(idle.raw_result.is_none() && !idle.is_local() && !idle.has_waiters);
    let handle = scope.acquire().unwrap();
    assert!(pool.snapshot()[0].request.is_none(), "nor when it is handed out again");
    drop(handle);
}

#[test]
fn a_handle_is_seen_submitted_while_its_io_runs() {
    let data = Data::new(b"");
    std::fs::File::options().write(true).open(data.path()).unwrap().set_len(32 << 20).unwrap();
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let row = std::thread::scope(|threads| {
        let watch = threads.spawn(|| watch_for(&pool, State::Submitted));
        let mut buffer = Some(memory(&pool, 32 << 20));
        let mut scope = me.scope();
        assert!(eventually(|| {
            let io = scope.acquire().unwrap().read(&file, buffer.take().unwrap(), 0).unwrap();
            buffer = Some(finished(&mut scope, io).1);
            watch.is_finished()
        }));
        watch.join().unwrap()
    });
    assert!(row.is_sync, "published with SUBMITTED (U3)");
    assert_eq!(row.request.unwrap().length, 32 << 20);
}

fn watch_for(pool: &Pool, state: State) -> HandleView {
    let mut found = None;
    eventually(|| {
        found = pool.snapshot().into_iter().find(|row| row.state == state);
        found.is_some()
    });
    found.expect("it was never seen")
}

/// Lets threads that look at it end, also when the test fails.
struct StopsAtTheEnd<'m>(&'m Mutex<bool>);

impl Drop for StopsAtTheEnd<'_> {
    fn drop(&mut self) {
        *self.0.lock().unwrap() = true;
    }
}

fn s9_a_row_never_mixes_two_ios() {
    let data = Data::new(b"hello");
    let pool = small().handles_per_process(2).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let stop = Mutex::new(false);
    std::thread::scope(|threads| {
        // More threads than cores, so that some are stopped in the middle of a row.
        let watch = || {
            let mut rows = 0_u64;
            while !*stop.lock().unwrap() {
                for row in pool.snapshot() {
                    let Some(request) = row.request else { continue };
                    assert_eq!(request.offset, request.length * 1000, "{row:?}");
                    assert_eq!(request.offset, (row.generation.get() % 100 + 1) * 1000, "{row:?}");
                    rows += 1;
                }
            }
            rows
        };
        let watchers = [(); 4].map(|()| threads.spawn(watch));
        let _stop = StopsAtTheEnd(&stop);
        let mut scope = me.scope();
        for _ in 0..20_000 {
            let handle = scope.acquire().unwrap();
            let length = handle.wait_ref().generation().get() % 100 + 1;
            let buffer = memory(&pool, usize::try_from(length).unwrap());
            let io = handle.read(&file, buffer, length * 1000).unwrap();
            drop(io);
        }
        *stop.lock().unwrap() = true;
        assert!(watchers.into_iter().map(|watcher| watcher.join().unwrap()).sum::<u64>() > 0);
    });
}

#[test]
fn rows_come_in_order_and_need_no_attachment() {
    let pool = small().processes(3).create().unwrap();
    let rows = pool.snapshot();
    let owners: Vec<_> = rows.iter().map(|row| (row.handle.0, row.owner.get())).collect();
    assert_eq!(owners, (0..12).map(|index| (index, index / 4)).collect::<Vec<_>>());
    assert!(rows.iter().all(|row| row.pid == 0 && row.state == State::Idle));
}

fn b27_a_row_keeps_the_pid_of_its_slots_last_attachment() {
    let pool = small().create().unwrap();
    let me = pool.attach().unwrap();
    assert_eq!(pool.snapshot()[0].pid, std::process::id());
    assert_eq!(pool.snapshot()[4].pid, 0);
    me.detach().unwrap();
    assert_eq!(pool.snapshot()[0].pid, std::process::id());
}

fn a_snapshot_survives_a_target_that_cannot_be_described() {
    struct Mute;
    impl handfast::Target for Mute {
        fn name(&self) -> &'static str {
            "mute"
        }
        fn describe(&self, _: [u64; 3], _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("no words")
        }
        fn reopen(&self, _: [u64; 3]) -> std::io::Result<std::os::fd::OwnedFd> {
            Err(std::io::ErrorKind::Unsupported.into())
        }
    }
    let data = Data::new(b"hello");
    let kind = handfast::TargetId(2);
    let registry = Registry::new().target(kind, Arc::new(Mute)).unwrap();
    let refusing = Arc::new(Turns::default().stage(|_| Err(StageRefused)));
    let registry = registry.callback(id(1), refusing).unwrap();
    let pool = small().registry(registry).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = me.target(kind, [1, 2, 3], std::fs::File::open(data.path()).unwrap()).unwrap();
    let mut scope = me.scope();
    let mut handle = scope.acquire().unwrap();
    handle.register_callback(id(1), 0).unwrap();
    let pending = handle.read(&file, memory(&pool, 8), 0).unwrap();
    let index = pending.wait_ref().handle().index();
    let rows = catch_unwind(std::panic::AssertUnwindSafe(|| pool.snapshot())).unwrap();
    assert!(rows[index].target.as_ref().is_some_and(|words| words.contains('2')));
    assert!(scope.finish(pending).unwrap().outcome.bytes().is_err());
    drop(start_write(&mut scope, &file, (b"x", 0)));
}
