//! Handles: acquire, release, what can be said before the start, and what is refused.

mod common;

use common::{Data, bytes_of, finished, local, memory, small, start_read};
use handfast::{
    Callback, CallbackId, DefineError, Flags, HandleId, IoContext, Outcome, ProtocolError,
    Registry, State, UseError, WaitRef, Waited,
};
use std::mem::forget;
use std::sync::{Arc, Mutex};

handfast_tests::every_method! {
    a_handle_has_a_number_an_owner_and_a_reference
    s20_the_handle_released_last_is_handed_out_first_at_the_next_generation
    dropping_a_handle_or_releasing_it_gives_it_back
    s22_a_second_handle_is_refused_while_a_forgotten_one_is_handed_out
    r20_try_acquire_takes_back_what_is_over_and_neither_submits_nor_waits
    b9_l1_acquire_succeeds_when_every_handle_is_staged
    l1_one_handle_is_enough_for_any_number_of_ios
    flags_and_handle_data_reach_the_callbacks
    b18_handle_data_is_set_once_and_only_as_much_as_is_reserved
    b18_handle_data_of_neighbours_does_not_run_into_each_other
    r7_a_fifth_or_unknown_callback_is_refused_and_changes_nothing
    r17_b18_more_buffers_than_reserved_are_refused_and_come_back
    a_refused_start_releases_the_handle_and_its_reference_reports_recycled
    every_handle_of_a_process_can_be_in_flight
}

fn a_handle_has_a_number_an_owner_and_a_reference() {
    let pool = small().create().unwrap();
    let (mut one, mut two) = (pool.attach().unwrap(), pool.attach().unwrap());
    let (slot, other) = (one.slot(), two.slot());
    assert_ne!(slot, other);
    let (mut of_one, mut of_two) = (one.scope(), two.scope());
    let (mine, theirs) = (of_one.acquire().unwrap(), of_two.acquire().unwrap());
    assert_eq!((mine.owner(), theirs.owner()), (slot, other));
    assert_ne!(mine.id(), theirs.id());
    let reference = mine.wait_ref();
    assert_eq!((reference.handle(), reference.pool()), (mine.id(), pool.tag()));
    assert_eq!(WaitRef::from_bytes(reference.to_bytes()), Some(reference));
    assert_eq!(WaitRef::from_bytes(WaitRef::INVALID_BYTES), None);
}

fn s20_the_handle_released_last_is_handed_out_first_at_the_next_generation() {
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let mut scope = me.scope();
    let first = scope.acquire().unwrap().wait_ref();
    let second = scope.acquire().unwrap().wait_ref();
    assert_eq!(first.handle(), second.handle());
    assert_eq!(second.generation().get(), first.generation().get() + 1);
}

fn dropping_a_handle_or_releasing_it_gives_it_back() {
    let pool = small().handles_per_process(1).create().unwrap();
    let mut me = pool.attach().unwrap();
    let mut scope = me.scope();
    for _ in 0..3 {
        drop(scope.acquire().unwrap());
        scope.acquire().unwrap().release();
        assert!(scope.try_acquire().unwrap().is_some());
    }
    scope.commit().unwrap();
    assert_eq!(pool.snapshot()[0].state, State::Idle);
    assert_eq!(pool.snapshot()[0].generation.get(), 10);
}

fn s22_a_second_handle_is_refused_while_a_forgotten_one_is_handed_out() {
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let mut scope = me.scope();
    let handle = scope.acquire().unwrap();
    let (id, reference) = (handle.id(), handle.wait_ref());
    forget(handle);
    let already = UseError::Protocol(ProtocolError::HandedOutAlready(id));
    assert_eq!(scope.acquire().unwrap_err(), already);
    assert_eq!(scope.try_acquire().unwrap_err(), already);
    let itself = UseError::Protocol(ProtocolError::WouldWaitForItself(reference));
    assert_eq!(scope.wait(reference), Err(itself));
    assert_eq!(scope.check_done(reference), Ok(false));
    assert!(scope.commit().is_err());
    assert!(me.scope().acquire().is_ok(), "the end of the scope has repaired it");
}

fn r20_try_acquire_takes_back_what_is_over_and_neither_submits_nor_waits() {
    let data = Data::new(b"hello");
    let pool = small().handles_per_process(2).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let over = [0, 1].map(|_| start_read(&mut scope, &file, (512, 0)));
    for pending in &over {
        assert!(common::eventually(|| scope.check_done(pending.wait_ref()).unwrap()));
    }
    assert!(scope.try_acquire().unwrap().is_some(), "both are over and can be taken back");
    let mut batch = scope.batch();
    let staged = [0, 1].map(|_| start_read(&mut batch, &file, (512, 0)));
    assert!(batch.try_acquire().unwrap().is_none());
    assert!(batch.process().has_staged(), "it must not submit");
    drop(batch);
    for pending in over.into_iter().chain(staged) {
        assert_eq!(finished(&mut scope, pending).0, 5);
    }
}

fn b9_l1_acquire_succeeds_when_every_handle_is_staged() {
    let data = Data::new(b"hello");
    for handles in [1, 2, 32, 40] {
        let pool = small().handles_per_process(handles).create().unwrap();
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        let mut scope = me.scope();
        let mut batch = scope.batch();
        let mut all: Vec<_> =
            (0..handles).map(|_| start_read(&mut batch, &file, (512, 0))).collect();
        all.push(start_read(&mut batch, &file, (512, 0)));
        drop(batch);
        for pending in all {
            assert_eq!(finished(&mut scope, pending).0, 5);
        }
    }
}

fn l1_one_handle_is_enough_for_any_number_of_ios() {
    let data = Data::new(b"hello");
    let pool = small().handles_per_process(1).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let all: Vec<_> = (0..50).map(|i| start_read(&mut scope, &file, (512, i % 5))).collect();
    for (pending, at) in all.into_iter().zip(0..) {
        let (bytes, memory) = finished(&mut scope, pending);
        assert_eq!(&bytes_of(&memory)[..bytes as usize], &b"hello"[at % 5..]);
    }
}

/// Keeps what it was shown.
#[derive(Default)]
struct Shown(Mutex<Vec<(u8, Vec<u64>, Flags)>>);

impl Callback for Shown {
    fn name(&self) -> &'static str {
        "shown"
    }

    fn complete_shared(&self, io: &IoContext<'_>, prior: Outcome) -> Outcome {
        let seen = (io.callback_data(), io.data().collect(), io.request().flags);
        self.0.lock().unwrap().push(seen);
        prior
    }
}

const SHOWN: u8 = 9;

fn with_shown() -> (Arc<Shown>, Registry) {
    let shown = Arc::new(Shown::default());
    let id = CallbackId::new(SHOWN).unwrap();
    let registry = Registry::new().callback(id, shown.clone()).unwrap();
    (shown, registry)
}

fn flags_and_handle_data_reach_the_callbacks() {
    let data = Data::new(b"hello");
    let (shown, registry) = with_shown();
    let pool = small().registry(registry).max_handle_data(3).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    for wide in [true, false] {
        let mut handle = scope.acquire().unwrap();
        handle.set_flag(Flags::BUFFERED);
        handle.set_flag(Flags::SYNCHRONOUS);
        if wide {
            handle.set_data_64(&[1, u64::MAX]).unwrap();
        } else {
            handle.set_data_32(&[u32::MAX, 7, 9]).unwrap();
        }
        handle.register_callback(CallbackId::new(SHOWN).unwrap(), 200).unwrap();
        let pending = handle.read(&file, common::room(8), 0).unwrap();
        assert_eq!(finished(&mut scope, pending).0, 5);
    }
    let flags = Flags::BUFFERED | Flags::SYNCHRONOUS | Flags::REFERENCES_LOCAL;
    let expected =
        vec![(200, vec![1, u64::MAX], flags), (200, vec![u64::from(u32::MAX), 7, 9], flags)];
    assert_eq!(*shown.0.lock().unwrap(), expected);
}

fn b18_handle_data_is_set_once_and_only_as_much_as_is_reserved() {
    let pool = small().max_handle_data(3).create().unwrap();
    let mut me = pool.attach().unwrap();
    let mut scope = me.scope();
    let mut handle = scope.acquire().unwrap();
    let too_much = |given| {
        let error = ProtocolError::TooMuchData { given, reserved: 3 };
        Err(DefineError::Use(UseError::Protocol(error)))
    };
    assert_eq!(handle.set_data_64(&[0; 4]), too_much(4));
    assert_eq!(handle.set_data_32(&[0; 300]), too_much(300));
    assert_eq!(handle.set_data_64(&[0; 300]), too_much(300));
    handle.set_data_64(&[1; 3]).unwrap();
    assert_eq!(handle.set_data_64(&[2]), Err(DefineError::DataAlreadySet));
    assert_eq!(handle.set_data_32(&[2]), Err(DefineError::DataAlreadySet));
}

fn b18_handle_data_of_neighbours_does_not_run_into_each_other() {
    let data = Data::new(b"hello");
    let (shown, registry) = with_shown();
    let pool = small().registry(registry).max_handle_data(255).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut batch = scope.batch();
    let mut all = Vec::new();
    for number in 0..4_u64 {
        let mut handle = batch.acquire().unwrap();
        handle.set_data_64(&[number; 255]).unwrap();
        handle.register_callback(CallbackId::new(SHOWN).unwrap(), 0).unwrap();
        all.push(handle.read(&file, memory(&pool, 8), 0).unwrap());
    }
    drop(batch);
    all.into_iter().for_each(|pending| drop(finished(&mut scope, pending)));
    let shown = shown.0.lock().unwrap();
    let mut seen: Vec<_> = shown.iter().map(|(_, data, _)| data.clone()).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..4).map(|number| vec![number; 255]).collect::<Vec<_>>());
}

fn r7_a_fifth_or_unknown_callback_is_refused_and_changes_nothing() {
    let data = Data::new(b"hello");
    let (shown, registry) = with_shown();
    let pool = small().registry(registry).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut handle = scope.acquire().unwrap();
    let id = |n| CallbackId::new(n).unwrap();
    for unknown in [CallbackId::BUILT_IN, id(8), id(10), id(63)] {
        assert_eq!(
            handle.register_callback(unknown, 1),
            Err(DefineError::UnknownCallback(unknown))
        );
    }
    for number in 0..4 {
        handle.register_callback(id(SHOWN), number).unwrap();
    }
    assert_eq!(handle.register_callback(id(SHOWN), 4), Err(DefineError::TooManyCallbacks));
    let pending = handle.read(&file, memory(&pool, 8), 0).unwrap();
    assert_eq!(finished(&mut scope, pending).0, 5);
    let order: Vec<_> = shown.0.lock().unwrap().iter().map(|(number, ..)| *number).collect();
    assert_eq!(order, [3, 2, 1, 0], "four ran, last registered first");
}

fn r17_b18_more_buffers_than_reserved_are_refused_and_come_back() {
    let data = Data::new(b"0123456789");
    let pool = small().max_iovecs(3).create().unwrap();
    assert_eq!(pool.config().max_iovecs(), 3);
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let list = |n: usize| (0..n).map(|_| handfast::Memory::Local(local(b"..."))).collect();
    let four: Vec<_> = list(4);
    let refused = scope.acquire().unwrap().read(&file, four, 0).unwrap_err();
    let expected = ProtocolError::TooManyBuffers { given: 4, reserved: 3 };
    assert_eq!(refused.error, handfast::StartError::Use(UseError::Protocol(expected)));
    assert_eq!(refused.memory.len(), 4);
    let three: Vec<_> = list(3);
    let pending = scope.acquire().unwrap().read(&file, three, 0).unwrap();
    assert_eq!(finished(&mut scope, pending).0, 9);
    scope.commit().unwrap();
}

fn a_refused_start_releases_the_handle_and_its_reference_reports_recycled() {
    let data = Data::new(b"hello");
    let (pool, other) = (small().create().unwrap(), small().create().unwrap());
    let (mut me, mut them) = (pool.attach().unwrap(), other.attach().unwrap());
    let foreign = data.open(&mut them);
    let mut scope = me.scope();
    let handle = scope.acquire().unwrap();
    let reference = handle.wait_ref();
    let refused = handle.read(&foreign, memory(&pool, 8), 0).unwrap_err();
    assert_eq!(refused.error.to_string(), handfast::MemoryError::OtherPool.to_string());
    assert_eq!(scope.wait(reference), Ok(Waited::Recycled));
    scope.commit().unwrap();
}

fn every_handle_of_a_process_can_be_in_flight() {
    let data = Data::new(b"hello");
    let pool = small().handles_per_process(1024).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let all: Vec<_> = (0..1024).map(|_| start_read(&mut scope, &file, (8, 0))).collect();
    let mut ids: Vec<HandleId> = all.iter().map(|pending| pending.wait_ref().handle()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..1024).map(HandleId).collect::<Vec<_>>());
    all.into_iter().for_each(|pending| assert_eq!(finished(&mut scope, pending).0, 5));
}
