//! Attaching and detaching: slots, what a detach leaves behind, what the next attachment finds.

#![expect(clippy::disallowed_types, reason = "a test's own flags")]

mod common;

use common::{Data, PATIENCE, eventually, finished, free_frames, opened_again, small, start_read};
use handfast::{
    AttachError, ConfigError, CreateError, Generation, Pool, Process, Registry, State, Waited,
};
use std::mem::forget;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

handfast_tests::every_method! {
    rc30_a_newcomer_never_owns_an_old_io
    r1_l7_a_detach_submits_drains_and_leaves_a_pristine_slot
    l7_a_detach_wakes_who_waits_for_what_it_submits
    a_process_moves_to_another_thread
    threads_that_attach_and_detach_at_once_never_share_a_slot
    l9_l10_a_slot_whose_process_is_gone_is_recovered_by_the_next_attach [sync worker]
    l9_a_waiter_recovers_the_dead_process_that_it_waits_for [sync worker]
    l10_recover_dead_reports_what_it_found [sync worker]
    an_attachment_costs_one_descriptor_and_the_slots_of_others_none [sync io_uring]
    two_threads_of_one_process_never_lock_one_slot
}

fn all_idle(pool: &Pool) -> bool {
    pool.snapshot().iter().all(|row| row.state == State::Idle)
}

#[test]
fn a_full_pool_is_a_typed_error_until_somebody_leaves() {
    let pool = small().processes(3).create().unwrap();
    let mut all: Vec<_> = (0..3).map(|_| pool.attach().unwrap()).collect();
    let mut slots: Vec<_> = all.iter().map(|process| process.slot().get()).collect();
    slots.sort_unstable();
    assert_eq!(slots, [0, 1, 2]);
    assert!(matches!(pool.attach(), Err(AttachError::Full(3))));
    let elsewhere = opened_again(&pool, Registry::new());
    assert!(matches!(elsewhere.attach(), Err(AttachError::Full(3))));
    drop(all.remove(1));
    assert_eq!(elsewhere.attach().unwrap().slot().get(), 1);
    all.remove(0).detach().unwrap();
    assert_eq!(pool.attach().unwrap().slot().get(), 0);
}

#[test]
fn a_pool_has_up_to_1023_slots() {
    let refused = small().processes(1024).create().unwrap_err();
    assert!(matches!(
        refused,
        CreateError::Config(ConfigError::OutOfRange { setting: "processes", most: 1023, .. })
    ));
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if limit.current.is_some_and(|most| most < 1200) {
        eprintln!("SKIPPED: 1023 attachments need 1023 descriptors, the limit is {limit:?}");
        return;
    }
    let pool = small().processes(1023).handles_per_process(1).create().unwrap();
    let all: Vec<_> = (0..1023).map(|_| pool.attach().unwrap()).collect();
    assert!(matches!(pool.attach(), Err(AttachError::Full(1023))));
    let data = Data::new(b"hello");
    let mut last: Process<'_> = all.into_iter().last().unwrap();
    assert_eq!(last.slot().get(), 1022);
    let file = data.open(&mut last);
    let mut scope = last.scope();
    let pending = start_read(&mut scope, &file, (8, 0));
    assert_eq!(finished(&mut scope, pending).0, 5);
}

fn rc30_a_newcomer_never_owns_an_old_io() {
    let data = Data::new(b"hello");
    let pool = small().processes(2).handles_per_process(1).create().unwrap();
    let mut other = pool.attach().unwrap();
    let mut seen = Vec::new();
    for round in 1..5 {
        let mut me = pool.attach().unwrap();
        assert_eq!(me.slot().get(), 1);
        let file = data.open(&mut me);
        for &old in &seen {
            assert_eq!(other.wait(old), Ok(Waited::Recycled));
            assert_eq!(me.wait(old), Ok(Waited::Recycled));
            assert_eq!(me.check_done(old), Ok(true));
        }
        let pending = start_read(&mut me.scope(), &file, (8, 0));
        let reference = pending.wait_ref();
        assert_eq!(reference.generation(), Generation::new(round).unwrap(), "it never restarts");
        seen.push(reference);
        me.detach().unwrap();
    }
}

fn r1_l7_a_detach_submits_drains_and_leaves_a_pristine_slot() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut other = pool.attach().unwrap();
    for explicit in [true, false] {
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        let mut scope = me.scope();
        let over = start_read(&mut scope, &file, (8, 0)).wait_ref();
        let mut batch = scope.batch();
        let staged = start_read(&mut batch, &file, (8, 0)).wait_ref();
        forget(batch.frame());
        let handle = batch.acquire().unwrap();
        let handed_out = handle.wait_ref();
        forget(handle);
        forget(batch);
        forget(scope);
        if explicit {
            me.detach().unwrap();
        } else {
            drop(me);
        }
        for reference in [over, staged, handed_out] {
            assert_eq!(other.wait(reference), Ok(Waited::Recycled), "nobody waits for ever");
        }
        assert!(all_idle(&pool));
        let mut next = pool.attach().unwrap();
        assert!(!next.has_staged());
        let file = data.open(&mut next);
        let pending = start_read(&mut next.scope(), &file, (8, 0));
        assert!(!next.has_staged(), "no batch is open");
        assert_eq!(finished(&mut next.scope(), pending).0, 5);
    }
    assert_eq!(free_frames(&mut other), 4);
}

fn l7_a_detach_wakes_who_waits_for_what_it_submits() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let (mut me, mut other) = (pool.attach().unwrap(), pool.attach().unwrap());
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut batch = scope.batch();
    let reference = start_read(&mut batch, &file, (8, 0)).wait_ref();
    forget(batch);
    forget(scope);
    std::thread::scope(|threads| {
        let sleeper = threads.spawn(move || other.wait(reference));
        assert!(eventually(|| pool.snapshot()[reference.handle().index()].has_waiters));
        me.detach().unwrap();
        assert!(sleeper.join().unwrap().is_ok());
    });
}

fn a_process_moves_to_another_thread() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let bytes = std::thread::scope(|threads| {
        let work = || {
            let file = data.open(&mut me);
            let mut scope = me.scope();
            let pending = start_read(&mut scope, &file, (8, 0));
            finished(&mut scope, pending).0
        };
        threads.spawn(work).join().unwrap()
    });
    assert_eq!(bytes, 5);
    me.detach().unwrap();
}

fn threads_that_attach_and_detach_at_once_never_share_a_slot() {
    let data = Data::new(b"hello");
    let pool = small().processes(3).create().unwrap();
    let work = |rounds: u32| {
        let mut done = 0;
        while done < rounds {
            let Ok(mut me) = pool.attach() else { continue };
            let file = data.open(&mut me);
            let mut scope = me.scope();
            let pending = start_read(&mut scope, &file, (8, 0));
            assert_eq!(finished(&mut scope, pending).0, 5);
            done += 1;
        }
    };
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| work(50));
        }
    });
    assert!(all_idle(&pool));
}

/// An attachment from another mapping that goes without a detach, as a killed process does: the
/// lock of its slot goes with its pool.
fn die_attached(pool: &Pool, act: impl FnOnce(&mut Process<'_>)) {
    let elsewhere = opened_again(pool, Registry::new());
    let mut process = elsewhere.attach().unwrap();
    act(&mut process);
    forget(process);
}

fn l9_l10_a_slot_whose_process_is_gone_is_recovered_by_the_next_attach() {
    let data = Data::new(b"hello");
    let pool = small().processes(1).create().unwrap();
    let mut references = Vec::new();
    die_attached(&pool, |process| {
        let file = data.open(process);
        let mut scope = process.scope();
        references.push(start_read(&mut scope, &file, (8, 0)).wait_ref());
        assert!(eventually(|| pool.snapshot()[0].state == State::CompletedShared));
        let mut batch = scope.batch();
        references.push(start_read(&mut batch, &file, (8, 0)).wait_ref());
        forget(batch.frame());
        let handle = batch.acquire().unwrap();
        references.push(handle.wait_ref());
        forget(handle);
        forget(batch);
        forget(scope);
        forget(file);
    });
    let states = [State::CompletedShared, State::Staged, State::HandedOut];
    let rows = pool.snapshot();
    assert_eq!([0, 1, 2].map(|i: usize| rows[references[i].handle().index()].state), states);
    let mut me = pool.attach().unwrap();
    assert!(all_idle(&pool));
    for reference in references {
        assert_eq!(me.wait(reference), Ok(Waited::Recycled));
    }
    assert_eq!(free_frames(&mut me), 4);
}

fn l9_a_waiter_recovers_the_dead_process_that_it_waits_for() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let mut reference = None;
    die_attached(&pool, |process| {
        let file = data.open(process);
        let mut scope = process.scope();
        let mut batch = scope.batch();
        reference = Some(start_read(&mut batch, &file, (8, 0)).wait_ref());
        forget(batch);
        forget(scope);
        forget(file);
    });
    let waited = me.wait_timeout(reference.unwrap(), PATIENCE).unwrap();
    assert_eq!(waited, Some(Waited::Recycled), "the recoverer buries it");
    assert!(all_idle(&pool));
    assert!(pool.attach().is_ok());
}

fn l10_recover_dead_reports_what_it_found() {
    let pool = small().processes(4).create().unwrap();
    let mut me = pool.attach().unwrap();
    let _alive = pool.attach().unwrap();
    assert_eq!(me.recover_dead().unwrap().recovered, 0);
    die_attached(&pool, |process| forget(process.frame()));
    die_attached(&pool, |process| forget(process.frame()));
    let report = me.recover_dead().unwrap();
    assert!(report.recovered >= 1, "{report:?}");
    assert_eq!(report.unfinished, 0);
    assert_eq!(me.recover_dead().unwrap().recovered, 0);
    assert_eq!(free_frames(&mut me), 4);
}

/// How many descriptors of this process lead to the pool's segment. Other tests of this program have
/// other segments.
fn descriptors(pool: &Pool) -> usize {
    let segment = rustix::fs::fstat(pool).unwrap();
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = entries.filter_map(|entry| std::fs::metadata(entry.ok()?.path()).ok());
    targets
        .filter(|target| (target.dev(), target.ino()) == (segment.st_dev, segment.st_ino))
        .count()
}

fn an_attachment_costs_one_descriptor_and_the_slots_of_others_none() {
    let pool = small().processes(30).handles_per_process(1).create().unwrap();
    let elsewhere = opened_again(&pool, Registry::new());
    let mut held: Vec<_> = (0..29).map(|_| pool.attach().unwrap()).collect();
    assert_eq!(descriptors(&pool), 2 + 29, "two pools");
    let last = elsewhere.attach().unwrap();
    assert_eq!((last.slot().get(), descriptors(&pool)), (29, 2 + 30));
    assert!(matches!(elsewhere.attach(), Err(AttachError::Full(30))));
    assert_eq!(descriptors(&pool), 2 + 30, "a refused attachment leaves nothing");
    let theirs = held.drain(..).next().unwrap();
    assert_eq!(descriptors(&pool), 2 + 2, "nor does one that is over");
    theirs.detach().unwrap();
    last.detach().unwrap();
    assert_eq!(descriptors(&pool), 2);
}

fn two_threads_of_one_process_never_lock_one_slot() {
    let pool = small().processes(4).create().unwrap();
    let elsewhere = opened_again(&pool, Registry::new());
    let occupied: Vec<_> = (0..4).map(|_| AtomicBool::new(false)).collect();
    let work = &|pool: &Pool| {
        for _ in 0..300 {
            let Ok(me) = pool.attach() else { continue };
            let mine = &occupied[me.slot().index()];
            assert!(!mine.swap(true, Ordering::SeqCst), "slot {:?} has two owners", me.slot());
            std::thread::yield_now();
            mine.store(false, Ordering::SeqCst);
            me.detach().unwrap();
        }
    };
    std::thread::scope(|threads| {
        for pool in [&pool, &pool, &pool, &elsewhere, &elsewhere] {
            threads.spawn(move || work(pool));
        }
    });
    let all: Vec<_> = (0..4).map(|_| pool.attach().unwrap()).collect();
    assert_eq!(all.len(), 4, "no lock is left behind");
}
