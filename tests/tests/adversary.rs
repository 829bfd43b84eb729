//! Attacks by correct-looking safe code, and by a peer that writes believable lies, that must fail.

mod common;

use common::callback::{Turns, id};
use common::{Data, finished, in_time, room, small};
use handfast::{
    AttachError, Frame, FrameToken, MemoryError, Pool, ProtocolError, StartError, UseError,
};
use std::sync::{Arc, Mutex};

handfast_tests::every_method! {
    s24_a_frame_of_another_attachment_is_refused_and_comes_back
    s24_a_token_cannot_be_made_up_or_used_twice
    b7_what_a_callback_throws_cannot_throw_again
    a_process_swapped_out_of_its_batch_is_not_in_one_for_ever
    s13_nothing_is_attached_taken_or_recovered_inside_a_callback
    s24_frames_are_back_after_all_of_this
}

fn s24_a_frame_of_another_attachment_is_refused_and_comes_back() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let (mut a, mut b) = (pool.attach().unwrap(), pool.attach().unwrap());
    let file = data.open(&mut a);
    let frame = b.frame().unwrap();
    let number = frame.id().0;
    let refused = a.scope().acquire().unwrap().read(&file, frame, 0).unwrap_err();
    assert_eq!(refused.error, StartError::Memory(MemoryError::NotMine(number)));
    let adopted = a.adopt(refused.memory.hand_over().unwrap()).unwrap();
    let mut scope = a.scope();
    let pending = scope.acquire().unwrap().read(&file, adopted, 0).unwrap();
    assert_eq!(finished(&mut scope, pending).0, 5);
}

fn s24_a_token_cannot_be_made_up_or_used_twice() {
    let pool = small().frames(1).create().unwrap();
    let (mut a, mut b) = (pool.attach().unwrap(), pool.attach().unwrap());
    let token = a.frame().unwrap().hand_over().unwrap();
    drop(a.adopt(token).unwrap());
    let mine = a.frame().unwrap();
    for step in 0..64 {
        let mut bytes = token.to_bytes();
        let word = u64::from_le_bytes(bytes[8..].try_into().unwrap()).wrapping_add(1 << step);
        bytes[8..].copy_from_slice(&word.to_le_bytes());
        assert!(b.adopt(FrameToken::from_bytes(bytes)).is_err(), "bit {step}");
    }
    assert_eq!(b.adopt(token).unwrap_err(), MemoryError::Lost(0));
    assert_eq!(mine.copy_to_slice(0, &mut [0]), Ok(()));
    for _ in 0..1 << 12 {
        let again = a.frame();
        assert!(again.is_none(), "the only frame is held");
    }
}

fn b7_what_a_callback_throws_cannot_throw_again() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("thrown by what was thrown");
        }
    }
    let data = Data::new(b"hello");
    let turns = Turns::default().shared(|_, _| std::panic::panic_any(Bomb));
    let pool = small().registry(turns.alone()).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut handle = scope.acquire().unwrap();
    handle.register_callback(id(1), 0).unwrap();
    let pending = handle.read(&file, room(8), 0).unwrap();
    assert!(scope.finish(pending).unwrap().outcome.bytes().is_err());
    let pending = scope.acquire().unwrap().read(&file, room(8), 0).unwrap();
    assert_eq!(finished(&mut scope, pending).0, 5, "the pool is usable as before");
}

fn a_process_swapped_out_of_its_batch_is_not_in_one_for_ever() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let (mut a, mut b) = (pool.attach().unwrap(), pool.attach().unwrap());
    let file = data.open(&mut a);
    {
        let mut scope = a.scope();
        let mut batch = scope.batch();
        std::mem::swap(batch.process(), &mut b);
    }
    let mut scope = b.scope();
    let pending = scope.acquire().unwrap().read(&file, room(8), 0).unwrap();
    assert!(!scope.process().has_staged(), "no batch is open");
    assert_eq!(finished(&mut scope, pending).0, 5);
}

fn s13_nothing_is_attached_taken_or_recovered_inside_a_callback() {
    type Inside = (&'static Pool, handfast::Process<'static>);
    let data = Data::new(b"hello");
    let (inside, seen) = (Arc::new(Mutex::new(None::<Inside>)), Arc::new(Mutex::new(Vec::new())));
    let (used, log) = (inside.clone(), seen.clone());
    let turns = Turns::default().shared(move |_, prior| {
        let mut used = used.lock().unwrap();
        let (pool, other) = used.as_mut().unwrap();
        let in_callback = Err(UseError::Protocol(ProtocolError::InCallback));
        *log.lock().unwrap() = vec![
            matches!(pool.attach(), Err(AttachError::InCallback)),
            other.frame().is_none(),
            other.recover_dead() == in_callback,
        ];
        prior
    });
    let pool: &'static Pool =
        Box::leak(Box::new(small().registry(turns.alone()).create().unwrap()));
    *inside.lock().unwrap() = Some((pool, pool.attach().unwrap()));
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut handle = scope.acquire().unwrap();
    handle.register_callback(id(1), 0).unwrap();
    let pending = handle.read(&file, common::memory(pool, 8), 0).unwrap();
    let _read = finished(&mut scope, pending);
    assert_eq!(*seen.lock().unwrap(), [true, true, true]);
    drop(inside.lock().unwrap().take());
}

fn s24_frames_are_back_after_all_of_this() {
    in_time(|| {
        let pool = small().frames(3).create().unwrap();
        let mut me = pool.attach().unwrap();
        let frames: Vec<Frame<'_>> = std::iter::from_fn(|| me.frame()).collect();
        assert_eq!(frames.len(), 3);
        let tokens: Vec<_> = frames.into_iter().map(|frame| frame.hand_over().unwrap()).collect();
        assert!(me.frame().is_none(), "offered is not free");
        me.detach().unwrap();
        let mut next = pool.attach().unwrap();
        assert_eq!(std::iter::from_fn(|| next.frame()).map(std::mem::forget).count(), 3);
        assert!(tokens.into_iter().all(|token| next.adopt(token).is_err()));
    });
}
