//! Memory of IO: frames and their tokens, regions, local buffers, and when each of them is refused.

#![expect(clippy::disallowed_types, reason = "the words of a region are the test's own")]

mod common;

use common::{Data, FRAME, finished, free_frames, local, pattern, room, small};
use handfast::{
    FIRST_REGION, FrameId, FrameToken, MAX_REGIONS, Memory, MemoryError, Region, RegionError,
    StartError,
};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::Ordering;

handfast_tests::every_method! {
    a_frame_of_a_detached_process_is_lost_and_refused
    s24_a_frame_that_is_lent_is_nobodys_to_take
    memory_of_another_pool_is_refused_and_comes_back
    io_lands_in_the_applications_own_pages
    local_memory_is_marked_as_the_issuers_own
}

fn shared_memory(len: u64) -> OwnedFd {
    let fd = rustix::fs::memfd_create("handfast-test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&fd, len).unwrap();
    fd
}

#[test]
fn frames_run_out_and_come_back() {
    let pool = small().create().unwrap();
    let (mut me, mut other) = (pool.attach().unwrap(), pool.attach().unwrap());
    let mut frames: Vec<_> = (0..4).map(|_| me.frame().unwrap()).collect();
    let mut ids: Vec<_> = frames.iter().map(|frame| frame.id().0).collect();
    ids.sort_unstable();
    assert_eq!(ids, [0, 1, 2, 3]);
    assert!(me.frame().is_none() && other.frame().is_none());
    let id = frames.pop().unwrap().id();
    assert_eq!(other.frame().unwrap().id(), id);
    drop(frames);
    assert_eq!(free_frames(&mut other), 4);
    let none = small().frames(0).create().unwrap();
    assert!(none.attach().unwrap().frame().is_none());
}

#[test]
fn a_frame_is_copied_in_and_out_within_its_bounds() {
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let mut frame = me.frame().unwrap();
    frame.copy_from_slice(4000, &pattern(96)).unwrap();
    let mut out = [0; 96];
    frame.copy_to_slice(4000, &mut out).unwrap();
    assert_eq!(out[..], pattern(96)[..]);
    let beyond = |at, len| MemoryError::OutOfBounds { at, len, size: FRAME };
    assert_eq!(frame.copy_from_slice(4001, &[0; 96]), Err(beyond(4001, 96)));
    assert_eq!(frame.copy_to_slice(usize::MAX, &mut out), Err(beyond(usize::MAX, 96)));
    assert_eq!(frame.set_len(4097), Err(beyond(0, 4097)));
    frame.set_len(10).unwrap();
    assert_eq!((frame.len(), frame.is_empty()), (10, false));
    frame.copy_from_slice(100, b"the length limits IO alone").unwrap();
}

#[test]
fn anybody_reads_any_frame_by_its_number() {
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let mut frame = me.frame().unwrap();
    frame.copy_from_slice(0, b"hello").unwrap();
    let elsewhere = common::opened_again(&pool, handfast::Registry::new());
    let mut out = [0; 5];
    elsewhere.copy_from_frame(frame.id(), 0, &mut out).unwrap();
    assert_eq!(&out, b"hello");
    for beyond in [4, u32::MAX] {
        let refused = elsewhere.copy_from_frame(FrameId(beyond), 0, &mut out);
        assert_eq!(refused, Err(MemoryError::NoSuchFrame(beyond, 4)));
    }
    assert!(elsewhere.copy_from_frame(frame.id(), FRAME - 4, &mut out).is_err());
}

#[test]
fn a_frame_is_handed_over_with_its_bytes_once() {
    let pool = small().create().unwrap();
    let elsewhere = common::opened_again(&pool, handfast::Registry::new());
    let (mut me, mut other) = (pool.attach().unwrap(), elsewhere.attach().unwrap());
    let mut frame = me.frame().unwrap();
    let id = frame.id();
    frame.copy_from_slice(0, b"hello").unwrap();
    let token = frame.hand_over().unwrap();
    assert_eq!((FrameToken::from_bytes(token.to_bytes()), token.frame()), (token, id));
    let mut adopted = other.adopt(token).unwrap();
    for process in [&mut me, &mut other] {
        assert_eq!(process.adopt(token).unwrap_err(), MemoryError::Lost(id.0));
    }
    let mut out = [0; 5];
    adopted.copy_to_slice(0, &mut out).unwrap();
    assert_eq!(&out, b"hello");
    adopted.copy_from_slice(0, b"HELLO").unwrap();
    let back = me.adopt(adopted.hand_over().unwrap()).unwrap();
    let again = back.hand_over().unwrap();
    let back = me.adopt(again).unwrap();
    assert_eq!(me.adopt(again).unwrap_err(), MemoryError::Lost(id.0), "not even by its giver");
    me.detach().unwrap();
    assert_eq!(back.copy_to_slice(0, &mut out), Err(MemoryError::Lost(id.0)));
    assert_eq!(free_frames(&mut other), 4);
}

#[test]
fn a_token_that_nobody_adopts_is_worth_nothing_once_its_giver_is_gone() {
    let pool = small().create().unwrap();
    let (mut me, mut other) = (pool.attach().unwrap(), pool.attach().unwrap());
    let tokens: Vec<_> = (0..4).map(|_| me.frame().unwrap().hand_over().unwrap()).collect();
    assert_eq!(free_frames(&mut other), 0);
    me.detach().unwrap();
    assert_eq!(free_frames(&mut other), 4);
    let taken: Vec<_> = (0..4).map(|_| other.frame().unwrap()).collect();
    for token in tokens {
        assert!(other.adopt(token).is_err(), "it must not adopt what was taken anew");
    }
    drop(taken);
}

#[test]
fn forged_and_foreign_tokens_are_typed_errors() {
    let (pool, stranger) = (small().create().unwrap(), small().create().unwrap());
    let (mut me, mut them) = (pool.attach().unwrap(), stranger.attach().unwrap());
    let token = them.frame().unwrap().hand_over().unwrap();
    assert_eq!(me.adopt(token).unwrap_err(), MemoryError::OtherPool);
    let mut bytes = me.frame().unwrap().hand_over().unwrap().to_bytes();
    bytes[4..8].copy_from_slice(&77_u32.to_le_bytes());
    let forged = FrameToken::from_bytes(bytes);
    assert_eq!(me.adopt(forged).unwrap_err(), MemoryError::NoSuchFrame(77, 4));
    for word in [0, 1, u64::MAX, 1 << 62, 2 << 62, 3 << 62] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&pool.tag().0.to_le_bytes());
        bytes[8..].copy_from_slice(&word.to_le_bytes());
        assert!(me.adopt(FrameToken::from_bytes(bytes)).is_err(), "word {word:x}");
    }
}

fn a_frame_of_a_detached_process_is_lost_and_refused() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let (mut me, mut other) = (pool.attach().unwrap(), pool.attach().unwrap());
    let mut frame = me.frame().unwrap();
    let id = frame.id().0;
    me.detach().unwrap();
    assert_eq!(frame.copy_from_slice(0, b"x"), Err(MemoryError::Lost(id)));
    let file = data.open(&mut other);
    let mut scope = other.scope();
    let refused = scope.acquire().unwrap().read(&file, frame, 0).unwrap_err();
    assert_eq!(refused.error, StartError::Memory(MemoryError::NotMine(id)));
    let list = vec![Memory::Local(room(8)), Memory::Frame(refused.memory)];
    let refused = scope.acquire().unwrap().read(&file, list, 0).unwrap_err();
    assert_eq!(refused.memory.len(), 2, "all of it comes back");
    let Some(Memory::Frame(frame)) = refused.memory.into_iter().nth(1) else { unreachable!() };
    assert_eq!(frame.hand_over().unwrap_err(), MemoryError::Lost(id));
    assert_eq!(free_frames(scope.process()), 4);
}

fn s24_a_frame_that_is_lent_is_nobodys_to_take() {
    let data = Data::new(b"hello");
    let pool = small().frames(1).create().unwrap();
    let (mut me, mut other) = (pool.attach().unwrap(), pool.attach().unwrap());
    let (file, frame) = (data.open(&mut me), me.frame().unwrap());
    let mut scope = me.scope();
    let mut batch = scope.batch();
    let pending = batch.acquire().unwrap().read(&file, frame, 0).unwrap();
    assert!(other.frame().is_none());
    drop(batch);
    assert!(other.frame().is_none(), "over, but not asked for yet");
    let (_, frame) = finished(&mut scope, pending);
    assert!(other.frame().is_none());
    drop(frame);
    assert!(other.frame().is_some());
}

fn memory_of_another_pool_is_refused_and_comes_back() {
    let data = Data::new(b"hello");
    let (pool, stranger) = (small().create().unwrap(), small().create().unwrap());
    let memory = shared_memory(4096);
    let region = stranger.map_region(3, memory.as_fd()).unwrap();
    let (mut me, mut them) = (pool.attach().unwrap(), stranger.attach().unwrap());
    let (file, frame) = (data.open(&mut me), them.frame().unwrap());
    let mut scope = me.scope();
    let expected = StartError::Memory(MemoryError::OtherPool);
    let refused = scope.acquire().unwrap().read(&file, frame, 0).unwrap_err();
    assert_eq!(refused.error, expected);
    refused.memory.copy_to_slice(0, &mut [0; 8]).unwrap();
    let slice = region.slice(0, 8).unwrap();
    let refused = scope.acquire().unwrap().read(&file, slice, 0).unwrap_err();
    assert_eq!((refused.error, refused.memory.len()), (expected, 8));
}

#[test]
fn regions_are_numbered_checked_and_shared() {
    let pool = small().create().unwrap();
    let memory = shared_memory(8192);
    let map = |number| pool.map_region(number, memory.as_fd());
    for wrong in [0, 1, FIRST_REGION + MAX_REGIONS, u32::MAX] {
        assert!(matches!(map(wrong), Err(RegionError::OutOfRange(n)) if n == wrong));
    }
    let region: Region = map(FIRST_REGION).unwrap();
    assert!(matches!(map(FIRST_REGION), Err(RegionError::Taken(FIRST_REGION))));
    let last = map(FIRST_REGION + MAX_REGIONS - 1).unwrap();
    assert_eq!((region.number(), region.len(), region.words().len()), (2, 8192, 1024));
    region.words()[1023].store(u64::from_ne_bytes(*b"atomic! "), Ordering::Relaxed);
    let mut out = [0; 8];
    last.copy_to_slice(8184, &mut out).unwrap();
    assert_eq!(&out, b"atomic! ");
    for (at, len) in [(8185, 8), (0, 8193), (usize::MAX, 2), (8192, 1)] {
        let beyond = MemoryError::OutOfBounds { at, len, size: 8192 };
        assert_eq!(region.slice(at, len).map(drop), Err(beyond));
    }
    assert!(region.slice(8192, 0).unwrap().is_empty());
    assert!(region.copy_from_slice(8191, b"xx").is_err());
    assert!(matches!(pool.map_region(5, shared_memory(0).as_fd()), Err(RegionError::Map(_))));
    let (reader, _writer) = std::io::pipe().unwrap();
    assert!(matches!(pool.map_region(5, reader.as_fd()), Err(RegionError::Map(_))));
}

#[test]
fn a_region_outlives_its_pool_while_a_slice_of_it_does() {
    let pool = small().create().unwrap();
    let memory = shared_memory(4096);
    let slice = pool.map_region(3, memory.as_fd()).unwrap().slice(0, 8).unwrap();
    drop(pool);
    slice.whole().copy_from_slice(0, b"alive").unwrap();
    assert_eq!((slice.whole().words().len(), slice.offset()), (512, 0));
}

fn io_lands_in_the_applications_own_pages() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let memory = shared_memory(4096);
    let region = pool.map_region(3, memory.as_fd()).unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let slice = region.slice(8, 8).unwrap();
    let pending = scope.acquire().unwrap().read(&file, slice, 0).unwrap();
    assert_eq!(finished(&mut scope, pending).0, 5);
    let word = region.words()[1].load(Ordering::Relaxed);
    assert_eq!(&word.to_ne_bytes()[..5], b"hello");
}

fn local_memory_is_marked_as_the_issuers_own() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let (file, frame) = (data.open(&mut me), me.frame().unwrap());
    let mut scope = me.scope();
    let local_io = scope.acquire().unwrap().read(&file, room(8), 0).unwrap();
    let local_io = local_io.wait_ref().handle();
    let mixed = vec![Memory::Frame(frame), Memory::Local(local(b"..."))];
    let mixed = scope.acquire().unwrap().read(&file, mixed, 0).unwrap();
    let frame = scope.frame().unwrap();
    let shared = scope.acquire().unwrap().read(&file, frame, 0).unwrap();
    let rows = pool.snapshot();
    let is_local = |handle: handfast::HandleId| rows[handle.index()].is_local();
    assert!(is_local(local_io) && is_local(mixed.wait_ref().handle()));
    assert!(!is_local(shared.wait_ref().handle()));
}

#[test]
fn the_pools_own_segment_is_no_region() {
    let pool = small().create().unwrap();
    let elsewhere = common::opened_again(&pool, handfast::Registry::new());
    for pool in [&pool, &elsewhere] {
        let refused = pool.map_region(3, elsewhere.as_fd()).unwrap_err();
        assert!(matches!(refused, RegionError::OwnSegment), "{refused}");
    }
    let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&pool.as_fd()));
    let again = common::read_write().open(link).unwrap();
    assert!(matches!(pool.map_region(3, again.as_fd()), Err(RegionError::OwnSegment)));
    assert!(pool.map_region(3, shared_memory(4096).as_fd()).is_ok(), "the number is still free");
}

#[test]
fn threads_that_copy_into_neighbouring_bytes_lose_nothing() {
    let pool = small().create().unwrap();
    let region = pool.map_region(3, shared_memory(4096).as_fd()).unwrap();
    let copy = &|at: usize, len: usize| {
        for round in 0..20_000_u32 {
            let bytes = vec![round.to_le_bytes()[0]; len];
            let mut seen = vec![0; len];
            region.copy_from_slice(at, &bytes).unwrap();
            region.copy_to_slice(at, &mut seen).unwrap();
            assert_eq!(seen, bytes, "{len} bytes at {at}");
        }
    };
    std::thread::scope(|threads| {
        for (at, len) in [(0, 3), (3, 2), (5, 14), (19, 5)] {
            threads.spawn(move || copy(at, len));
        }
    });
}

#[test]
fn a_frame_is_read_by_its_number_while_its_owner_writes_it() {
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let mut frame = me.frame().unwrap();
    let id = frame.id();
    std::thread::scope(|threads| {
        let writer = threads.spawn(move || {
            for round in 0..2_000_u32 {
                frame.copy_from_slice(0, &[round.to_le_bytes()[0]; FRAME]).unwrap();
            }
            frame
        });
        let mut seen = [0; FRAME];
        while !writer.is_finished() {
            pool.copy_from_frame(id, 0, &mut seen).unwrap();
            let whole = |word: &[u8]| word.iter().all(|byte| *byte == word[0]);
            assert!(seen.chunks(8).all(whole), "a word is old or new, never half");
        }
    });
}
