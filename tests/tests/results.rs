//! Results: whose they are, how long they are kept, what an error says, and what happens to the memory
//! of an IO that nobody asks about again.

mod common;

use common::{
    Data, FRAME, bytes_of, finished, free_frames, pattern, read_write, room, small, start_read,
    start_write,
};
use handfast::{Finished, Frame, Memory, Pending, Process, Scope, Status, UseError, Waited};
use handfast_tests::TestPool;
use std::fs::OpenOptions;

handfast_tests::every_method! {
    an_outcome_tells_status_and_bytes
    r21_the_systems_error_is_an_error_and_names_what_failed
    an_error_still_names_its_file_when_the_file_is_closed
    an_impossible_offset_is_an_error_of_the_io
    r4_results_wait_while_their_handles_are_used_again
    s15_a_result_is_the_same_after_wait_check_and_reclaim
    b24_anothers_pending_is_not_mine_and_comes_back
    b24_a_pending_of_another_pool_is_not_mine_even_in_the_same_slot
    r15_a_pending_of_an_earlier_attachment_is_not_mine
    r4_a_pending_dropped_while_staged_gives_its_frame_back
    r4_a_pending_dropped_when_it_is_over_gives_its_frame_back
    r4_a_pending_dropped_after_its_handle_was_reclaimed_gives_its_frame_back
    r4_a_pending_dropped_after_its_handle_was_used_again_gives_its_frame_back
    r4_pendings_of_one_handle_dropped_in_any_order_give_their_frames_back
    r4_pendings_of_several_handles_dropped_between_uses_give_their_frames_back
    s24_a_detach_returns_the_frames_of_every_pending_and_of_what_was_forgotten
    every_kind_of_memory_comes_back_as_what_was_given
    a_pending_can_be_finished_in_another_scope_and_thread
    a_foreign_outcome_is_there_between_completion_and_reclaim
}

/// A read of the first bytes into a frame.
fn into_frame<'pool>(
    scope: &mut Scope<'_, 'pool>,
    file: &handfast::File<'pool>,
) -> Pending<'pool, Frame<'pool>> {
    let frame = scope.frame().expect("a frame is free");
    scope.acquire().unwrap().read(file, frame, 0).unwrap()
}

fn an_outcome_tells_status_and_bytes() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let pending = start_read(&mut scope, &file, (8, 1));
    let Finished { outcome, memory } = scope.finish(pending).unwrap();
    assert_eq!((outcome.status(), outcome.bytes()), (Status::Ok, Ok(4)));
    assert_eq!((outcome.packed().result(), outcome.error()), (4, None));
    assert_eq!(&bytes_of(&memory)[..4], b"ello");
}

fn r21_the_systems_error_is_an_error_and_names_what_failed() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = me.open(data.path(), OpenOptions::new().write(true)).unwrap();
    let mut scope = me.scope();
    let pending = start_read(&mut scope, &file, (8, 3));
    let Finished { outcome, memory } = scope.finish(pending).unwrap();
    assert_eq!((outcome.status(), memory.len()), (Status::Error, 8));
    let error = outcome.bytes().unwrap_err();
    assert_eq!(error.errno(), Some(libc::EBADF));
    assert!(!error.owner_died());
    let text = error.to_string();
    let path = data.path();
    let parts = ["readv", "8 bytes", "offset 3", path.to_str().unwrap(), "Bad file descriptor"];
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    assert!(text.contains("not open for reading"), "{text}");
    assert!(error.target().contains(path.to_str().unwrap()));
}

fn an_error_still_names_its_file_when_the_file_is_closed() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = me.open(data.path(), OpenOptions::new().write(true)).unwrap();
    let mut scope = me.scope();
    let pending = start_read(&mut scope, &file, (8, 0));
    drop(file);
    let outcome = scope.finish(pending).unwrap().outcome;
    assert!(outcome.bytes().is_err_and(|error| error.target().contains("inode")));
}

fn an_impossible_offset_is_an_error_of_the_io() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    for offset in [u64::MAX, i64::MAX as u64 + 1] {
        let pending = start_read(&mut scope, &file, (8, offset));
        let error = scope.finish(pending).unwrap().outcome.bytes().unwrap_err();
        assert_eq!(error.errno(), Some(libc::EINVAL), "{error}");
    }
}

fn r4_results_wait_while_their_handles_are_used_again() {
    let bytes = pattern(64);
    let data = Data::new(&bytes);
    let pool = small().handles_per_process(2).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut all: Vec<_> =
        (0..20).zip(0..).map(|(i, at)| (i, start_read(&mut scope, &file, (8, at)))).collect();
    while !all.is_empty() {
        let (at, pending) = all.swap_remove(all.len() * 5 / 7);
        let (read, memory) = finished(&mut scope, pending);
        assert_eq!((read, &bytes_of(&memory)[..]), (8, &bytes[at..at + 8]));
    }
}

fn s15_a_result_is_the_same_after_wait_check_and_reclaim() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let pending = start_read(&mut scope, &file, (8, 0));
    let reference = pending.wait_ref();
    assert_eq!(scope.wait(reference), Ok(Waited::Done));
    assert_eq!(scope.check_done(reference), Ok(true));
    assert_eq!(finished(&mut scope, pending).0, 5);
    assert_eq!(scope.wait(reference), Ok(Waited::Recycled));
}

fn b24_anothers_pending_is_not_mine_and_comes_back() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let (mut one, mut two) = (pool.attach().unwrap(), pool.attach().unwrap());
    let (file, others) = (data.open(&mut one), data.open(&mut two));
    let (mut of_one, mut of_two) = (one.scope(), two.scope());
    let pending = start_read(&mut of_one, &file, (8, 0));
    let own = start_read(&mut of_two, &others, (8, 1));
    let refused = of_two.finish(pending).unwrap_err();
    assert_eq!(refused.error, UseError::NotMine);
    assert_eq!(finished(&mut of_one, refused.pending).0, 5);
    assert_eq!(finished(&mut of_two, own).0, 4);
}

fn b24_a_pending_of_another_pool_is_not_mine_even_in_the_same_slot() {
    let data = Data::new(b"hello");
    let (first, second) = (small().create().unwrap(), small().create().unwrap());
    let (mut one, mut two) = (first.attach().unwrap(), second.attach().unwrap());
    assert_eq!(one.slot(), two.slot());
    let (file, others) = (data.open(&mut one), data.open(&mut two));
    let frame = one.frame().unwrap();
    let (mut of_one, mut of_two) = (one.scope(), two.scope());
    let pending = of_one.acquire().unwrap().read(&file, frame, 0).unwrap();
    let own = start_read(&mut of_two, &others, (8, 1));
    assert_eq!(pending.wait_ref().handle(), own.wait_ref().handle());
    let refused = of_two.finish(pending).unwrap_err();
    assert_eq!(refused.error, UseError::NotMine);
    assert_eq!(finished(&mut of_one, refused.pending).0, 5);
    assert_eq!(finished(&mut of_two, own).0, 4);
}

fn r15_a_pending_of_an_earlier_attachment_is_not_mine() {
    let data = Data::new(b"hello");
    let pool = small().processes(1).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let pending = start_read(&mut me.scope(), &file, (8, 0));
    me.detach().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let own = start_read(&mut scope, &file, (8, 1));
    let refused = scope.finish(pending).unwrap_err();
    assert_eq!(refused.error, UseError::NotMine);
    drop(refused);
    assert_eq!(finished(&mut scope, own).0, 4, "the drop of a stranger changes nothing");
}

/// A pool with one frame and one file, and a process.
fn one_frame(handles: u32) -> TestPool {
    small().handles_per_process(handles).frames(1).create().unwrap()
}

fn r4_a_pending_dropped_while_staged_gives_its_frame_back() {
    let data = Data::new(b"hello");
    let pool = one_frame(4);
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut batch = scope.batch();
    let reference = {
        let pending = into_frame(&mut batch, &file);
        pending.wait_ref()
    };
    assert!(batch.frame().is_none(), "it is lent to the IO");
    drop(batch);
    assert_eq!(scope.wait(reference), Ok(Waited::Done));
    assert_eq!(free_frames(scope.process()), 1);
}

fn r4_a_pending_dropped_when_it_is_over_gives_its_frame_back() {
    let data = Data::new(b"hello");
    let pool = one_frame(4);
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    for _ in 0..10 {
        let pending = into_frame(&mut scope, &file);
        assert_eq!(scope.wait(pending.wait_ref()), Ok(Waited::Done));
        drop(pending);
    }
    assert_eq!(free_frames(scope.process()), 1);
}

fn r4_a_pending_dropped_after_its_handle_was_reclaimed_gives_its_frame_back() {
    let data = Data::new(b"hello");
    let pool = one_frame(1);
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let pending = into_frame(&mut scope, &file);
    scope.acquire().unwrap().release();
    drop(pending);
    assert_eq!(free_frames(scope.process()), 1);
}

fn r4_a_pending_dropped_after_its_handle_was_used_again_gives_its_frame_back() {
    let data = Data::new(b"hello");
    let pool = one_frame(1);
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let pending = into_frame(&mut scope, &file);
    let later = start_read(&mut scope, &file, (8, 0));
    drop(pending);
    assert_eq!(finished(&mut scope, later).0, 5);
    assert_eq!(free_frames(scope.process()), 1);
}

fn r4_pendings_of_one_handle_dropped_in_any_order_give_their_frames_back() {
    let data = Data::new(b"hello");
    let pool = small().handles_per_process(1).frames(3).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut scope = me.scope();
        let mut all = [0, 1, 2].map(|_| Some(into_frame(&mut scope, &file)));
        for which in order {
            all[which] = None;
        }
        let between = start_read(&mut scope, &file, (8, 0));
        assert_eq!(finished(&mut scope, between).0, 5);
        assert_eq!(free_frames(scope.process()), 3, "dropped in the order {order:?}");
    }
}

fn r4_pendings_of_several_handles_dropped_between_uses_give_their_frames_back() {
    let data = Data::new(b"hello");
    let pool = small().handles_per_process(2).frames(6).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut kept: Vec<_> = (0..6).map(|_| into_frame(&mut scope, &file)).collect();
    // The newest ones sit in their handles, the others were set aside; drop across both.
    for _ in 0..3 {
        drop(kept.remove(0));
        drop(kept.pop());
        let between = start_read(&mut scope, &file, (8, 0));
        assert_eq!(finished(&mut scope, between).0, 5);
    }
    // Workers may be late.
    assert!(common::eventually(|| {
        let reclaims = start_read(&mut scope, &file, (8, 0));
        finished(&mut scope, reclaims).0 == 5 && free_frames(scope.process()) == 6
    }));
}

fn s24_a_detach_returns_the_frames_of_every_pending_and_of_what_was_forgotten() {
    let data = Data::new(b"hello");
    let pool = small().processes(2).frames(4).create().unwrap();
    let (mut me, mut other) = (pool.attach().unwrap(), pool.attach().unwrap());
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let kept = into_frame(&mut scope, &file);
    std::mem::forget(into_frame(&mut scope, &file));
    std::mem::forget(scope.frame());
    let (_, memory) = {
        let pending = into_frame(&mut scope, &file);
        finished(&mut scope, pending)
    };
    scope.commit().unwrap();
    assert_eq!(free_frames(&mut other), 0);
    me.detach().unwrap();
    assert_eq!(free_frames(&mut other), 4);
    drop((kept, memory));
    assert_eq!(free_frames(&mut other), 4, "nothing is freed twice");
}

fn every_kind_of_memory_comes_back_as_what_was_given() {
    let data = Data::new(&pattern(100));
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let (file, frame) = (data.open(&mut me), me.frame().unwrap());
    let id = frame.id();
    let mut scope = me.scope();
    let pending = scope.acquire().unwrap().read(&file, Memory::Frame(frame), 0).unwrap();
    let (bytes, memory) = finished(&mut scope, pending);
    let Memory::Frame(frame) = memory else { panic!("it was a frame") };
    assert_eq!((bytes, frame.id(), frame.len()), (100, id, FRAME));
    let pending = scope.acquire().unwrap().read(&file, Memory::Local(room(7)), 0).unwrap();
    let Memory::Local(buffer) = finished(&mut scope, pending).1 else { panic!("it was local") };
    assert_eq!(&buffer[..], &pattern(7)[..]);
    let none = scope.acquire().unwrap().read(&file, Vec::new(), 0).unwrap();
    assert_eq!(finished(&mut scope, none).0, 0);
    let nothing = scope.acquire().unwrap().fsync(&file).unwrap();
    assert_eq!(finished(&mut scope, nothing), (0, ()));
}

fn a_pending_can_be_finished_in_another_scope_and_thread() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut outer = me.scope();
    let pending = start_write(&mut outer.scope(), &file, (b"HE", 0));
    outer.commit().unwrap();
    std::thread::scope(|threads| {
        let finish = move || {
            let mut process: Process<'_> = me;
            let mut scope = process.scope();
            finished(&mut scope, pending).0
        };
        assert_eq!(threads.spawn(finish).join().unwrap(), 2);
    });
    assert_eq!(data.bytes(), b"HEllo");
}

fn a_foreign_outcome_is_there_between_completion_and_reclaim() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let (mut me, mut other) = (pool.attach().unwrap(), pool.attach().unwrap());
    let file = me.open(data.path(), &read_write()).unwrap();
    let mut scope = me.scope();
    let mut batch = scope.batch();
    let pending = start_read(&mut batch, &file, (8, 0));
    let reference = pending.wait_ref();
    assert_eq!(other.foreign_outcome(reference), Ok(None));
    drop(batch);
    assert_eq!(other.wait(reference), Ok(Waited::Done));
    assert_eq!(other.foreign_outcome(reference).unwrap().unwrap().result(), 5);
    assert_eq!(finished(&mut scope, pending).0, 5);
    assert_eq!(other.foreign_outcome(reference), Ok(None));
}
