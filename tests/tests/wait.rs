//! Waiting for one's own IO and for another's, with and without a limit of time.
//!
//! Here the other process is another attachment in a thread; `processes.rs` does it for real.

mod common;

use common::{
    Data, PATIENCE, eventually, finished, in_time, memory, opened_again, small, start_read,
    start_write,
};
use handfast::{
    Generation, HandleId, Pool, PoolTag, Process, ProtocolError, Registry, State, UseError,
    WaitRef, Waited,
};
use std::time::{Duration, Instant};

handfast_tests::every_method! {
    s10_over_is_reported_as_done_then_recycled_and_never_taken_back
    r10_a_reference_made_before_the_start_waits_for_the_io
    r11_waiters_of_a_released_handle_are_told_that_it_is_over
    l3_a_waiter_of_a_staged_io_is_woken_when_its_batch_ends
    l4_a_waiter_at_another_address_is_woken_as_well
    l4_every_one_of_many_waiters_is_woken
    b23_waiting_for_an_own_staged_io_submits_all_that_is_staged
    r5_check_done_submits_an_own_staged_io
    b8_two_processes_that_stage_and_wait_crosswise_do_not_deadlock
    rc41_a_wait_whose_time_is_over_affects_nobody
    r19_forged_references_are_typed_errors
    r6_an_io_that_was_never_handed_out_is_not_done
    a_process_waits_for_others_while_its_own_handle_is_handed_out
    waiting_for_any_of_several_ends_with_the_first_that_is_over
    rc7_whichever_is_over_wakes_who_waits_for_several_and_not_a_slice
    waiting_for_any_submits_an_own_staged_io
    waiting_for_any_of_several_has_its_limits
    l4_one_post_wakes_who_waits_for_128
    waiting_for_any_ends_when_a_handle_is_released
    many_wait_for_each_others_ios_at_once
}

const NO_TIME: Duration = Duration::ZERO;

/// Whether somebody sleeps, or is about to, on the IO of this reference.
fn is_waited_for(pool: &Pool, reference: WaitRef) -> bool {
    pool.snapshot()[reference.handle().index()].has_waiters
}

/// Runs `act` once another attachment sleeps on the reference; what its wait returned.
fn while_another_waits<'pool>(
    other: Process<'pool>,
    reference: WaitRef,
    act: impl FnOnce(),
) -> Result<Waited, UseError> {
    let pool = other.pool();
    std::thread::scope(|threads| {
        let mut other = other;
        let sleeper = threads.spawn(move || other.wait(reference));
        assert!(eventually(|| is_waited_for(pool, reference)), "it never slept");
        act();
        sleeper.join().unwrap()
    })
}

fn s10_over_is_reported_as_done_then_recycled_and_never_taken_back() {
    let data = Data::new(b"hello");
    let pool = small().handles_per_process(1).create().unwrap();
    let (mut me, mut other) = (pool.attach().unwrap(), pool.attach().unwrap());
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let pending = start_read(&mut scope, &file, (8, 0));
    let reference = pending.wait_ref();
    assert!(eventually(|| other.check_done(reference).unwrap()), "a poll loop must end (B15)");
    assert_eq!(other.wait(reference), Ok(Waited::Done));
    finished(&mut scope, pending);
    for _ in 0..3 {
        assert_eq!(other.check_done(reference), Ok(true));
        assert_eq!(other.wait(reference), Ok(Waited::Recycled));
        assert_eq!(other.wait_timeout(reference, NO_TIME), Ok(Some(Waited::Recycled)));
        let mut batch = scope.batch();
        // The handle is in use again, at a later generation, in every state it passes through.
        let handle = batch.acquire().unwrap();
        assert_eq!(other.wait(reference), Ok(Waited::Recycled));
        let later = handle.read(&file, memory(&pool, 8), 0).unwrap();
        assert_eq!(other.wait(reference), Ok(Waited::Recycled));
        drop(batch);
        finished(&mut scope, later);
    }
}

fn r10_a_reference_made_before_the_start_waits_for_the_io() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let (mut me, other) = (pool.attach().unwrap(), pool.attach().unwrap());
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let handle = scope.acquire().unwrap();
    let reference = handle.wait_ref();
    let mut pending = None;
    let waited = while_another_waits(other, reference, || {
        pending = Some(handle.read(&file, memory(&pool, 8), 0).unwrap());
    });
    assert_eq!(waited, Ok(Waited::Done));
    assert_eq!(finished(&mut scope, pending.unwrap()).0, 5);
}

fn r11_waiters_of_a_released_handle_are_told_that_it_is_over() {
    let pool = small().create().unwrap();
    let (mut me, other) = (pool.attach().unwrap(), pool.attach().unwrap());
    let mut scope = me.scope();
    let handle = scope.acquire().unwrap();
    let reference = handle.wait_ref();
    let waited = while_another_waits(other, reference, || handle.release());
    assert_eq!(waited, Ok(Waited::Recycled));
}

fn l3_a_waiter_of_a_staged_io_is_woken_when_its_batch_ends() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let (mut me, other) = (pool.attach().unwrap(), pool.attach().unwrap());
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut batch = scope.batch();
    let pending = start_read(&mut batch, &file, (8, 0));
    let reference = pending.wait_ref();
    assert_eq!(pool.snapshot()[reference.handle().index()].state, State::Staged);
    let waited = while_another_waits(other, reference, || batch.submit().unwrap());
    assert_eq!(waited, Ok(Waited::Done));
    assert_eq!(finished(&mut scope, pending).0, 5);
}

fn l4_a_waiter_at_another_address_is_woken_as_well() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let elsewhere = opened_again(&pool, Registry::new());
    let (mut me, other) = (pool.attach().unwrap(), elsewhere.attach().unwrap());
    assert_ne!(me.slot(), other.slot());
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut batch = scope.batch();
    let pending = start_read(&mut batch, &file, (8, 0));
    let reference = pending.wait_ref();
    let waited = while_another_waits(other, reference, || drop(batch));
    assert_eq!(waited, Ok(Waited::Done));
}

fn l4_every_one_of_many_waiters_is_woken() {
    let data = Data::new(b"hello");
    let pool = small().processes(6).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    for _ in 0..50 {
        let mut scope = me.scope();
        let mut batch = scope.batch();
        let reference = start_read(&mut batch, &file, (8, 0)).wait_ref();
        std::thread::scope(|threads| {
            let wait = || threads.spawn(|| pool.attach().unwrap().wait(reference));
            let sleepers = [wait(), wait(), wait(), wait()];
            assert!(eventually(|| is_waited_for(&pool, reference)));
            drop(batch);
            for sleeper in sleepers {
                assert!(sleeper.join().unwrap().is_ok());
            }
        });
    }
}

fn b23_waiting_for_an_own_staged_io_submits_all_that_is_staged() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut batch = scope.batch();
    let (one, two) = (start_read(&mut batch, &file, (8, 0)), start_read(&mut batch, &file, (8, 1)));
    assert_eq!(batch.wait(two.wait_ref()), Ok(Waited::Done));
    assert!(!batch.process().has_staged());
    assert_eq!(finished(&mut batch, one).0, 5);
    let three = start_read(&mut batch, &file, (8, 0));
    assert_eq!(finished(&mut batch, three).0, 5, "finish submits as well");
}

fn r5_check_done_submits_an_own_staged_io() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut batch = scope.batch();
    let reference = start_read(&mut batch, &file, (8, 0)).wait_ref();
    assert!(eventually(|| batch.check_done(reference).unwrap()), "a poll loop must end");
    assert_eq!(batch.check_done(reference), Ok(true));
}

fn b8_two_processes_that_stage_and_wait_crosswise_do_not_deadlock() {
    // A process whose IO never ends waits for it when it is dropped: a failed wait must not end so.
    in_time(|| {
        let data = Data::new(b"hello");
        let pool = small().create().unwrap();
        let (mut one, mut two) = (pool.attach().unwrap(), pool.attach().unwrap());
        let (file, others) = (data.open(&mut one), data.open(&mut two));
        for _ in 0..200 {
            let (mut of_one, mut of_two) = (one.scope(), two.scope());
            let (mut first, mut second) = (of_one.batch(), of_two.batch());
            let x = start_read(&mut first, &file, (8, 0)).wait_ref();
            let y = start_read(&mut second, &others, (8, 0)).wait_ref();
            std::thread::scope(|threads| {
                let other = threads.spawn(move || second.wait_timeout(x, PATIENCE).unwrap());
                assert!(first.wait_timeout(y, PATIENCE).unwrap().is_some());
                // If y was over at once, nothing was submitted yet.
                drop(first);
                assert!(other.join().unwrap().is_some());
            });
        }
    });
}

fn rc41_a_wait_whose_time_is_over_affects_nobody() {
    let data = Data::new(b"hello");
    let pool = small().processes(3).create().unwrap();
    let (mut me, mut hasty) = (pool.attach().unwrap(), pool.attach().unwrap());
    let patient = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut batch = scope.batch();
    let pending = start_write(&mut batch, &file, (b"HE", 0));
    let reference = pending.wait_ref();
    assert_eq!(hasty.wait_timeout(reference, NO_TIME), Ok(None));
    assert_eq!(hasty.wait_timeout(reference, Duration::from_millis(1)), Ok(None));
    assert_eq!(hasty.check_done(reference), Ok(false));
    let waited = while_another_waits(patient, reference, || {
        assert_eq!(hasty.wait_timeout(reference, Duration::from_millis(15)), Ok(None));
        drop(batch);
    });
    assert_eq!(waited, Ok(Waited::Done));
    assert_eq!(hasty.wait_timeout(reference, Duration::MAX), Ok(Some(Waited::Done)));
    assert_eq!(finished(&mut scope, pending).0, 2);
    assert_eq!(data.bytes(), b"HEllo");
}

fn r19_forged_references_are_typed_errors() {
    let (pool, other) = (small().create().unwrap(), small().create().unwrap());
    let mut me = pool.attach().unwrap();
    let good = |tag, handle, generation| {
        WaitRef::new(tag, HandleId(handle), Generation::new(generation).unwrap())
    };
    fn error<T>(error: ProtocolError) -> Result<T, UseError> {
        Err(UseError::Protocol(error))
    }
    let most = pool.config().processes() * 4;
    for handle in [most, 1 << 20, u32::MAX - 1, u32::MAX] {
        let beyond = good(pool.tag(), handle, 1);
        let expected = ProtocolError::NoSuchHandle(HandleId(handle), most);
        assert_eq!(me.wait(beyond), error(expected));
        assert_eq!(me.check_done(beyond), error(expected));
        assert_eq!(me.foreign_outcome(beyond), error(expected));
    }
    for tag in [other.tag(), PoolTag(pool.tag().0 ^ 1)] {
        let stranger = good(tag, 0, 1);
        assert_eq!(me.wait(stranger), error(ProtocolError::WrongPool(stranger)));
        assert_eq!(me.check_done(stranger), error(ProtocolError::WrongPool(stranger)));
    }
    assert_eq!(WaitRef::from_bytes([0; 16]), None);
    assert_eq!(WaitRef::from_bytes(WaitRef::INVALID_BYTES), None);
}

fn r6_an_io_that_was_never_handed_out_is_not_done() {
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    for generation in [1, 2, 7, Generation::LAST.get()] {
        let generation = Generation::new(generation).unwrap();
        let reference = WaitRef::new(pool.tag(), HandleId(0), generation);
        let no_such = UseError::Protocol(ProtocolError::NoSuchIo(reference));
        assert_eq!(me.check_done(reference), Ok(false));
        assert_eq!(me.wait(reference), Err(no_such));
        assert_eq!(me.wait_timeout(reference, Duration::MAX), Err(no_such));
        assert_eq!(me.foreign_outcome(reference), Ok(None));
    }
}

fn a_process_waits_for_others_while_its_own_handle_is_handed_out() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let (mut me, mut other) = (pool.attach().unwrap(), pool.attach().unwrap());
    let (file, others) = (data.open(&mut me), data.open(&mut other));
    let theirs = start_read(&mut other.scope(), &others, (8, 0)).wait_ref();
    let mut scope = me.scope();
    let mut batch = scope.batch();
    let own = start_read(&mut batch, &file, (8, 0)).wait_ref();
    let mut handle = batch.acquire().unwrap();
    let itself = handle.wait_ref();
    assert_eq!(handle.wait(theirs), Ok(Waited::Done));
    assert_eq!(handle.wait(own), Ok(Waited::Done), "what is staged is submitted");
    let refused = UseError::Protocol(ProtocolError::WouldWaitForItself(itself));
    assert_eq!(handle.wait(itself), Err(refused));
    handle.submit_staged().unwrap();
    drop(handle);
    assert_eq!(batch.wait(itself), Ok(Waited::Recycled));
}

fn waiting_for_any_of_several_ends_with_the_first_that_is_over() {
    let data = Data::new(b"hello");
    let pool = small().processes(4).create().unwrap();
    let mut me = pool.attach().unwrap();
    let mut others = [(); 3].map(|()| pool.attach().unwrap());
    for first in [0, 1, 2, 0, 2] {
        let [one, two, three] = &mut others;
        let files = [data.open(one), data.open(two), data.open(three)];
        let mut scopes = [one.scope(), two.scope(), three.scope()];
        let [one, two, three] = &mut scopes;
        let mut batches = [Some(one.batch()), Some(two.batch()), Some(three.batch())];
        let pendings: Vec<_> = batches
            .iter_mut()
            .zip(&files)
            .map(|(batch, file)| start_read(batch.as_mut().unwrap(), file, (8, 0)))
            .collect();
        let references: Vec<_> = pendings.iter().map(handfast::Pending::wait_ref).collect();
        let slice = Duration::from_millis(15);
        assert_eq!(me.wait_any_timeout(&references, NO_TIME), Ok(None));
        assert_eq!(me.wait_any_timeout(&references, slice), Ok(None));
        std::thread::scope(|threads| {
            let (me, references, pool) = (&mut me, &references, &pool);
            let sleeper = threads.spawn(move || me.wait_any(references));
            let all = || references.iter().all(|&reference| is_waited_for(pool, reference));
            assert!(eventually(all));
            batches[first] = None;
            assert_eq!(sleeper.join().unwrap(), Ok((first, Waited::Done)));
        });
        // What is over stays over, and the first in the list counts.
        assert_eq!(me.wait_any(&references), Ok((first, Waited::Done)));
        drop(batches);
        for (pending, scope) in pendings.into_iter().zip(&mut scopes) {
            assert_eq!(finished(scope, pending).0, 5);
        }
        assert_eq!(me.wait_any(&references), Ok((0, Waited::Recycled)));
    }
}

fn rc7_whichever_is_over_wakes_who_waits_for_several_and_not_a_slice() {
    let data = Data::new(b"hello");
    let pool = small().processes(3).create().unwrap();
    let (mut one, mut two) = (pool.attach().unwrap(), pool.attach().unwrap());
    let mut other = pool.attach().unwrap();
    let files = [data.open(&mut one), data.open(&mut two)];
    let mut took = [(); 21].map(|()| {
        let (mut of_one, mut of_two) = (one.scope(), two.scope());
        let (mut first, mut second) = (of_one.batch(), of_two.batch());
        let kept = start_read(&mut first, &files[0], (8, 0));
        let pending = start_read(&mut second, &files[1], (8, 0));
        let references = [kept.wait_ref(), pending.wait_ref()];
        std::thread::scope(|threads| {
            let other = &mut other;
            let sleeper = threads.spawn(move || {
                assert_eq!(other.wait_any(&references), Ok((1, Waited::Done)));
                Instant::now()
            });
            assert!(eventually(|| is_waited_for(&pool, references[1])));
            handfast_tests::pause(Duration::from_millis(1));
            let began = Instant::now();
            drop(second);
            sleeper.join().unwrap() - began
        })
    });
    took.sort();
    // A quarter is enough: where others want the processor, too, some are late.
    assert!(took[5] < Duration::from_millis(6), "slices have 10 ms: {took:?}");
}

fn waiting_for_any_submits_an_own_staged_io() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let (mut me, mut other) = (pool.attach().unwrap(), pool.attach().unwrap());
    let (file, theirs) = (data.open(&mut me), data.open(&mut other));
    let (mut scope, mut of_other) = (me.scope(), other.scope());
    let mut open = of_other.batch();
    let foreign = start_read(&mut open, &theirs, (8, 0)).wait_ref();
    for _ in 0..50 {
        let mut batch = scope.batch();
        let (one, two) =
            (start_read(&mut batch, &file, (8, 0)), start_read(&mut batch, &file, (8, 1)));
        let references = [foreign, two.wait_ref()];
        assert_eq!(batch.process().wait_any(&references), Ok((1, Waited::Done)));
        assert!(!batch.process().has_staged(), "L3");
        assert_eq!(finished(&mut batch, one).0 + finished(&mut batch, two).0, 9);
    }
}

fn waiting_for_any_of_several_has_its_limits() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let itself = scope.acquire().unwrap().wait_ref();
    let overdone = |given| Err(UseError::Protocol(ProtocolError::NotSoMany { given, most: 128 }));
    let me = scope.process();
    assert_eq!(me.wait_any(&[]), overdone(0));
    assert_eq!(me.wait_any(&[itself; 129]), overdone(129));
    assert_eq!(me.wait_any(&[itself; 128]), Ok((0, Waited::Recycled)));
    let stranger = WaitRef::new(PoolTag(pool.tag().0 ^ 1), HandleId(0), Generation::FIRST);
    let refused = UseError::Protocol(ProtocolError::WrongPool(stranger));
    assert_eq!(me.wait_any(&[itself, stranger]), Err(refused));
    let pending = start_read(&mut scope, &file, (8, 0));
    assert_eq!(finished(&mut scope, pending).0, 5, "nothing is left of it");
}

fn l4_one_post_wakes_who_waits_for_128() {
    let data = Data::new(b"hello");
    let pool = small().handles_per_process(40).create().unwrap();
    let (mut me, mut other) = (pool.attach().unwrap(), pool.attach().unwrap());
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut batch = scope.batch();
    // A batch holds no more back.
    let staged: Vec<_> = (0..31).map(|_| start_read(&mut batch, &file, (8, 0))).collect();
    let mut list: Vec<_> = staged.iter().map(handfast::Pending::wait_ref).collect();
    list.extend(list.clone().into_iter().cycle().take(128 - 31));
    assert_eq!(list.len(), 128);
    std::thread::scope(|threads| {
        let list = &list;
        let sleeper = threads.spawn(move || other.wait_any(list));
        assert!(eventually(|| is_waited_for(&pool, list[30])));
        drop(batch);
        let (which, how) = sleeper.join().unwrap().unwrap();
        assert!(which < 128 && how == Waited::Done);
    });
    staged.into_iter().for_each(|pending| assert_eq!(finished(&mut scope, pending).0, 5));
}

fn waiting_for_any_ends_when_a_handle_is_released() {
    let data = Data::new(b"hello");
    let pool = small().processes(3).create().unwrap();
    let (mut one, mut two) = (pool.attach().unwrap(), pool.attach().unwrap());
    let mut other = pool.attach().unwrap();
    let file = data.open(&mut one);
    let (mut of_one, mut of_two) = (one.scope(), two.scope());
    let mut batch = of_one.batch();
    let staged = start_read(&mut batch, &file, (8, 0)).wait_ref();
    let handle = of_two.acquire().unwrap();
    let references = [staged, handle.wait_ref()];
    std::thread::scope(|threads| {
        let sleeper = threads.spawn(move || other.wait_any(&references));
        assert!(eventually(|| is_waited_for(&pool, references[1])));
        handle.release();
        assert_eq!(sleeper.join().unwrap(), Ok((1, Waited::Recycled)));
    });
}

fn many_wait_for_each_others_ios_at_once() {
    common::in_time(|| {
        let data = Data::new(b"hello");
        let pool = small().processes(4).create().unwrap();
        let current = &[(); 4].map(|()| std::sync::Mutex::new(None::<WaitRef>));
        std::thread::scope(|threads| {
            for number in 0..4_usize {
                let (pool, data) = (&pool, &data);
                threads.spawn(move || {
                    let mut me = pool.attach().unwrap();
                    let file = data.open(&mut me);
                    for _ in 0..300 {
                        let mut scope = me.scope();
                        let pending = start_read(&mut scope, &file, (8, 0));
                        *current[number].lock().unwrap() = Some(pending.wait_ref());
                        let all: Vec<_> =
                            current.iter().filter_map(|place| *place.lock().unwrap()).collect();
                        let first = scope.process().wait_any_timeout(&all, PATIENCE).unwrap();
                        assert!(first.is_some());
                        assert_eq!(finished(&mut scope, pending).0, 5);
                    }
                });
            }
        });
    });
}
