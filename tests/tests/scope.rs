//! Scopes: what their ends clean up and warn about (BEHAVIOURS 1 to 15), and how they nest.

mod common;

use common::{Data, bytes_of, eventually, finished, memory, small, start_read, start_write};
use handfast::{HandleId, Pool, ScopeWarning, State, Waited};
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind};

handfast_tests::every_method! {
    behaviour_1_2_a_leaked_handle_is_warned_about_at_commit_and_released
    rc26_an_abort_releases_a_leaked_handle_in_silence
    behaviour_4_a_handle_leaked_in_a_nested_scope_is_warned_about_there
    b16_s15_a_nested_scope_does_not_release_the_handle_of_an_outer_one
    b16_a_forgotten_scope_leaves_its_handle_to_the_scope_around_it
    behaviour_6_7_acquire_and_release_are_silent
    behaviour_9_to_11_handles_are_usable_after_an_error_in_any_scope
    behaviour_12_13_an_open_batch_is_warned_about_and_submitted
    behaviour_14_a_batch_that_ends_in_its_scope_is_silent
    a_leaked_handle_matters_more_than_an_open_batch
    b22_a_nested_scope_in_a_batch_submits_at_its_end_and_leaves_the_batch_open
    b22_what_is_staged_is_submitted_however_the_scope_ends
    an_io_in_flight_outlives_its_scope
    s22_a_batch_submits_by_itself_when_32_are_staged
    only_the_outermost_of_nested_batches_submits
    r14_r16_a_batch_is_executed_whole_and_in_order [sync]
}

fn all_idle(pool: &Pool) -> bool {
    pool.snapshot().iter().all(|row| row.state == State::Idle)
}

/// Leaves a handle handed out.
fn leak(scope: &mut handfast::Scope<'_, '_>) -> HandleId {
    let handle = scope.acquire().unwrap();
    let id = handle.id();
    forget(handle);
    id
}

fn behaviour_1_2_a_leaked_handle_is_warned_about_at_commit_and_released() {
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let mut scope = me.scope();
    let id = leak(&mut scope);
    let warning = scope.commit().unwrap_err();
    assert_eq!(warning, ScopeWarning::LeakedHandle(id));
    assert_eq!(warning.to_string(), format!("{id} was leaked: release a handle that is not used"));
    assert!(all_idle(&pool));
}

fn rc26_an_abort_releases_a_leaked_handle_in_silence() {
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    for explicit in [true, false] {
        let mut scope = me.scope();
        leak(&mut scope);
        if explicit {
            scope.abort();
        } else {
            drop(scope);
        }
        assert!(all_idle(&pool));
        assert_eq!(me.scope().commit(), Ok(()));
    }
}

fn behaviour_4_a_handle_leaked_in_a_nested_scope_is_warned_about_there() {
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let mut outer = me.scope();
    let mut inner = outer.scope();
    let id = leak(&mut inner);
    assert_eq!(inner.commit(), Err(ScopeWarning::LeakedHandle(id)));
    assert_eq!(outer.commit(), Ok(()));
}

fn b16_s15_a_nested_scope_does_not_release_the_handle_of_an_outer_one() {
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let mut outer = me.scope();
    let id = leak(&mut outer);
    assert_eq!(outer.scope().commit(), Ok(()));
    assert_eq!(pool.snapshot()[id.index()].state, State::HandedOut);
    assert_eq!(outer.commit(), Err(ScopeWarning::LeakedHandle(id)));
    assert!(all_idle(&pool));
}

fn b16_a_forgotten_scope_leaves_its_handle_to_the_scope_around_it() {
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let mut outer = me.scope();
    let mut inner = outer.scope();
    let id = leak(&mut inner);
    forget(inner);
    assert_eq!(outer.commit(), Err(ScopeWarning::LeakedHandle(id)));
    let mut outer = me.scope();
    leak(&mut outer);
    forget(outer);
    assert!(me.scope().commit().is_err());
    assert!(all_idle(&pool));
}

fn behaviour_6_7_acquire_and_release_are_silent() {
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let mut scope = me.scope();
    scope.acquire().unwrap().release();
    drop(scope.acquire().unwrap());
    assert_eq!(scope.commit(), Ok(()));
}

fn behaviour_9_to_11_handles_are_usable_after_an_error_in_any_scope() {
    let data = Data::new(b"hello");
    let pool = small().handles_per_process(1).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    for depth in 0..3 {
        let failed = catch_unwind(AssertUnwindSafe(|| {
            let mut scope = me.scope();
            let mut middle = scope.scope();
            let mut inner = middle.scope();
            match depth {
                0 => drop(leak(&mut inner)),
                1 => forget(inner.scope().acquire().unwrap()),
                _ => forget(inner.batch().acquire().unwrap()),
            }
            panic!("an error");
        }));
        assert!(failed.is_err());
        assert!(all_idle(&pool));
        let pending = start_read(&mut me.scope(), &file, (8, 0));
        assert_eq!(finished(&mut me.scope(), pending).0, 5);
    }
}

fn behaviour_12_13_an_open_batch_is_warned_about_and_submitted() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut batch = scope.batch();
    let pending = start_read(&mut batch, &file, (8, 0));
    forget(batch);
    assert_eq!(scope.commit(), Err(ScopeWarning::OpenBatch));
    assert!(!me.has_staged());
    assert_eq!(finished(&mut me.scope(), pending).0, 5);
    let pending = start_read(&mut me.scope(), &file, (8, 0));
    assert!(!me.has_staged(), "the batch is over, IO is submitted at once again");
    drop(pending);
}

fn behaviour_14_a_batch_that_ends_in_its_scope_is_silent() {
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let mut scope = me.scope();
    drop(scope.batch());
    scope.batch().submit().unwrap();
    assert_eq!(scope.commit(), Ok(()));
}

fn a_leaked_handle_matters_more_than_an_open_batch() {
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let mut scope = me.scope();
    let mut batch = scope.batch();
    let id = leak(&mut batch);
    forget(batch);
    assert_eq!(scope.commit(), Err(ScopeWarning::LeakedHandle(id)));
    assert_eq!(me.scope().commit(), Ok(()));
}

fn b22_a_nested_scope_in_a_batch_submits_at_its_end_and_leaves_the_batch_open() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut batch = scope.batch();
    let mut inner = batch.scope();
    let first = start_read(&mut inner, &file, (8, 0)).wait_ref();
    assert!(inner.process().has_staged());
    assert_eq!(inner.commit(), Ok(()), "the batch is not its own");
    assert!(!batch.process().has_staged());
    assert!(eventually(|| batch.check_done(first).unwrap()));
    drop(start_read(&mut batch, &file, (8, 0)));
    assert!(batch.process().has_staged());
    drop(batch);
    assert_eq!(scope.commit(), Ok(()));
}

fn b22_what_is_staged_is_submitted_however_the_scope_ends() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let mut other = pool.attach().unwrap();
    let file = data.open(&mut me);
    for end in 0..3 {
        let mut reference = None;
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let mut scope = me.scope();
            let mut batch = scope.batch();
            let pending = start_write(&mut batch, &file, (&[b'0' + end], u64::from(end)));
            reference = Some(pending.wait_ref());
            forget(batch);
            match end {
                0 => assert!(scope.commit().is_err()),
                1 => scope.abort(),
                _ => panic!("an error"),
            }
        }));
        assert_eq!(ended.is_err(), end == 2);
        assert!(other.wait(reference.unwrap()).is_ok(), "nobody waits for ever");
    }
    assert_eq!(data.bytes(), b"012lo");
}

fn an_io_in_flight_outlives_its_scope() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut kept = Vec::new();
    for at in 0..3 {
        let mut scope = me.scope();
        kept.push(start_read(&mut scope.scope(), &file, (8, at)));
        scope.commit().unwrap();
    }
    for (pending, expected) in kept.into_iter().zip([5, 4, 3]) {
        let reference = pending.wait_ref();
        assert_eq!(me.wait(reference), Ok(Waited::Done));
        assert_eq!(finished(&mut me.scope(), pending).0, expected);
    }
}

/// How many IOs are submitted or over.
fn started(pool: &Pool) -> usize {
    pool.snapshot().iter().filter(|row| row.state >= State::Submitted).count()
}

fn s22_a_batch_submits_by_itself_when_32_are_staged() {
    let data = Data::new(b"hello");
    let pool = small().handles_per_process(40).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut batch = scope.batch();
    let count = |state| pool.snapshot().iter().filter(|row| row.state == state).count();
    for staged in 1..32 {
        drop(start_read(&mut batch, &file, (8, 0)));
        assert_eq!((count(State::Staged), started(&pool)), (staged, 0));
    }
    drop(start_read(&mut batch, &file, (8, 0)));
    assert_eq!((count(State::Staged), started(&pool)), (0, 32));
    drop(start_read(&mut batch, &file, (8, 0)));
    assert_eq!(count(State::Staged), 1);
    drop(batch);
    assert_eq!(count(State::Staged), 0);
}

fn only_the_outermost_of_nested_batches_submits() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut outer = scope.batch();
    let mut inner = outer.batch();
    let reference = start_read(&mut inner, &file, (8, 0)).wait_ref();
    inner.submit().unwrap();
    drop(outer.batch());
    assert!(outer.process().has_staged());
    outer.submit().unwrap();
    assert!(eventually(|| scope.check_done(reference).unwrap()));
    let forgotten = scope.batch().acquire().unwrap().read(&file, memory(&pool, 8), 0).unwrap();
    assert!(!scope.process().has_staged());
    assert_eq!(finished(&mut scope, forgotten).0, 5);
}

fn r14_r16_a_batch_is_executed_whole_and_in_order() {
    let data = Data::new(b".......");
    let pool = small().handles_per_process(8).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut batch = scope.batch();
    let writes: Vec<_> = (0..6_u8)
        .map(|i| start_write(&mut batch, &file, (&[b'a' + i, b'A' + i], u64::from(i))))
        .collect();
    let read = start_read(&mut batch, &file, (7, 0));
    drop(batch);
    assert_eq!(&bytes_of(&finished(&mut scope, read).1)[..], b"abcdefF");
    for write in writes {
        assert_eq!(finished(&mut scope, write).0, 2);
    }
}
