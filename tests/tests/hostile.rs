//! S26: a peer that writes nonsense into the shared words makes others see nonsense or typed errors,
//! never a panic, a hang, or an access outside.
//!
//! The test is the peer: it maps the segment once more and overwrites words between the steps of an
//! honest user. What it never writes is a believable "still running" of the current generation: a wait
//! for that is as long as a wait for a process that has stopped, which is what time limits are for.

#![expect(clippy::disallowed_types, reason = "the peer follows no protocol")]

mod common;

use common::callback::{Turns, id};
use common::{Data, in_time, opened_again, room, small};
use handfast::{
    AlignedBuf, File, FrameToken, Generation, HandleId, Memory, Method, Pending, Pool, Process,
    ProtocolError, Registry, State, UseError, WaitRef,
};
use proptest::prelude::*;
use rustix::mm::{MapFlags, ProtFlags};
use std::collections::HashSet;
use std::io::Write as _;
use std::mem::forget;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

handfast_tests::every_method! {
    the_peer_knows_where_the_handles_are
    s26_an_own_io_whose_word_says_recycled_is_damage_and_not_an_endless_wait [sync]
    s26_an_own_io_that_looks_unfinished_is_damage_and_not_an_endless_wait [sync]
    s26_an_own_io_in_flight_that_looks_unstarted_is_damage_whoever_executes_it
    s26_a_word_that_is_damaged_during_a_wait_ends_it [worker io_uring]
    s26_an_error_stays_an_error_when_its_request_is_overwritten
    s14_a_pending_of_an_earlier_attachment_never_names_a_later_io
    s16_a_start_whose_submission_met_damage_keeps_its_file [sync]
    s26_hostile_callback_ids_run_nothing
}

/// The segment's words, mapped by somebody who does not care.
struct Peer {
    base: NonNull<AtomicU64>,
    words: usize,
}

impl Peer {
    fn of(pool: &Pool) -> Self {
        let len = usize::try_from(pool.segment_len()).unwrap();
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a null address without MAP_FIXED: the kernel chooses one that nothing else uses.
        let base = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), len, access, MapFlags::SHARED, pool, 0)
        };
        Self { base: NonNull::new(base.unwrap().cast()).unwrap(), words: len / 8 }
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has `words` words, is page-aligned, lives as long as `self`, and is
        // used through atomics by everybody.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.words) }
    }

    fn put(&self, word: usize, value: u64) {
        self.words()[word].store(value, Ordering::Relaxed);
    }

    /// Of the handles whose word was changed, none says that it is still running at a generation
    /// that could be the present one.
    fn make_unbelievable(&self, touched: &HashSet<usize>) {
        let handles = (0..6).map(|handle| word_of(HandleId(handle)));
        for word in handles.filter(|word| touched.contains(word)) {
            let value = self.words()[word].load(Ordering::Relaxed);
            if (1..6).contains(&(value & 7)) && value >> 16 < 1 << 20 {
                self.put(word, 0);
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no reference to it is left.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.words * 8) };
        unmapped.unwrap();
    }
}

/// Words of the sections of [`pool`], in the order of the segment.
const SLOTS: Range<usize> = 512..512 + 2 * 16;
const HANDLES: Range<usize> = SLOTS.end..SLOTS.end + 6 * 16;
/// Then iovecs, handle data, frame words, file entries, each section at a multiple of 16 words.
const END: usize = HANDLES.end + 32 + 16 + 16 + 2 * 128;

fn pool(turns: Turns) -> handfast_tests::TestPool {
    let shape = small().processes(2).handles_per_process(3).frames(2).max_iovecs(2);
    shape.max_handle_data(2).max_files(2).registry(turns.alone()).create().unwrap()
}

/// The state word of a handle, where workers have slots, too.
fn word_in(pool: &Pool, handle: HandleId) -> usize {
    let processes = usize::try_from(pool.config().processes()).unwrap();
    SLOTS.start + (processes + handle.index()) * 16
}

/// The state word of a handle of [`pool`] without workers.
fn word_of(handle: HandleId) -> usize {
    HANDLES.start + handle.index() * 16
}

fn packed(state: State, generation: u64) -> u64 {
    // From COMPLETED_IO on there is a completer: slot 0.
    let completer = u64::from(state >= State::CompletedIo) << 6;
    generation << 16 | completer | state as u64
}

fn read<'pool>(me: &mut Process<'pool>, file: &File<'pool>) -> Option<Pending<'pool, AlignedBuf>> {
    let mut scope = me.scope();
    let mut handle = scope.acquire().ok()?;
    handle.register_callback(id(1), 1).unwrap();
    handle.set_data_64(&[1, 2]).unwrap();
    handle.read(file, room(8), 0).ok()
}

fn the_peer_knows_where_the_handles_are() {
    let pool = pool(Turns::default());
    let peer = Peer::of(&pool);
    peer.put(word_in(&pool, HandleId(4)), packed(State::CompletedShared, 77));
    let row = &pool.snapshot()[4];
    assert_eq!((row.state, row.generation.get()), (State::CompletedShared, 77));
    if pool.config().processes() == 2 {
        assert_eq!(word_in(&pool, HandleId(4)), word_of(HandleId(4)));
    }
}

fn s26_an_own_io_whose_word_says_recycled_is_damage_and_not_an_endless_wait() {
    in_time(|| {
        let data = Data::new(b"hello");
        let pool = pool(Turns::default());
        let peer = Peer::of(&pool);
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        let mut all: Vec<_> = (0..3).map(|_| read(&mut me, &file).unwrap()).collect();
        for pending in &all {
            peer.put(word_of(pending.wait_ref().handle()), packed(State::Idle, 1000));
        }
        let pending = all.remove(0);
        let refused = me.scope().finish(pending).unwrap_err();
        let damaged = |error| matches!(error, UseError::Protocol(ProtocolError::Corrupt(_)));
        assert!(damaged(refused.error), "{refused}");
        assert!(damaged(me.scope().acquire().unwrap_err()));
        assert!(damaged(me.scope().try_acquire().err().unwrap_or(refused.error)));
        assert!(damaged(me.detach().unwrap_err()));
    });
}

fn s26_an_own_io_that_looks_unfinished_is_damage_and_not_an_endless_wait() {
    in_time(|| {
        let data = Data::new(b"hello");
        let pool = pool(Turns::default());
        let peer = Peer::of(&pool);
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        let reference = read(&mut me, &file).unwrap().wait_ref();
        let generation = reference.generation().get();
        for state in [State::HandedOut, State::Defined, State::Staged, State::Submitted] {
            peer.put(word_of(reference.handle()), packed(state, generation));
            let waited = me.wait_timeout(reference, Duration::from_millis(1));
            // This process knows that it has executed it.
            let damaged = matches!(waited, Err(UseError::Protocol(ProtocolError::Corrupt(_))));
            assert!(damaged, "{state}: {waited:?}");
            assert_eq!(me.check_done(reference), Ok(false));
        }
        assert!(me.scope().acquire().is_ok(), "there are other handles");
        assert!(me.detach().is_err(), "and the end of it is not waited for, either");
    });
}

/// States that an issuer has left for good when it has started an IO.
const BEFORE: [State; 4] = [State::Idle, State::HandedOut, State::Defined, State::Staged];

fn is_damage<T>(result: &Result<T, UseError>) -> bool {
    matches!(result, Err(UseError::Protocol(ProtocolError::Corrupt(_))))
}

/// Reads that go on until they are let go: by the kernel on a pipe, by a worker in a callback. In place they are
/// over at once.
struct Endless {
    data: Data,
    let_go: Arc<AtomicBool>,
    writers: Vec<std::io::PipeWriter>,
}

impl Endless {
    fn new() -> (Self, Turns) {
        let let_go = Arc::new(AtomicBool::new(handfast_tests::method() == Method::Sync));
        let gate = Arc::clone(&let_go);
        let turns = Turns::default().shared(move |_, prior| {
            assert!(common::eventually(|| gate.load(Ordering::Relaxed)));
            prior
        });
        (Self { data: Data::new(b"12345678"), let_go, writers: Vec::new() }, turns)
    }

    fn start<'pool>(&mut self, me: &mut Process<'pool>) -> Pending<'pool, Memory<'pool>> {
        let pool = me.pool();
        if pool.method() == Method::IoUring {
            let (reader, writer) = std::io::pipe().unwrap();
            self.writers.push(writer);
            let file = me.file(reader, "a pipe").unwrap();
            return common::start_read(&mut me.scope(), &file, (8, 0));
        }
        let file = self.data.open(me);
        let mut scope = me.scope();
        let mut handle = scope.acquire().unwrap();
        handle.register_callback(id(1), 1).unwrap();
        handle.read(&file, common::memory(pool, 8), 0).unwrap()
    }

    fn let_go(&mut self) {
        self.let_go.store(true, Ordering::Relaxed);
        for mut writer in self.writers.drain(..) {
            // Nobody reads any more if its process has left.
            let _read_or_not = writer.write_all(b"12345678");
        }
    }

    fn hold(&self) {
        self.let_go.store(false, Ordering::Relaxed);
    }
}

fn s26_an_own_io_in_flight_that_looks_unstarted_is_damage_whoever_executes_it() {
    in_time(|| {
        let (mut endless, turns) = Endless::new();
        let pool = pool(turns);
        let peer = Peer::of(&pool);
        let mut me = pool.attach().unwrap();
        let (pending, other) = (endless.start(&mut me), endless.start(&mut me));
        let (reference, other) = (pending.wait_ref(), other.wait_ref());
        for state in BEFORE {
            let damaged = packed(state, reference.generation().get());
            peer.put(word_in(&pool, reference.handle()), damaged);
            let results = [
                me.wait(reference).map(drop),
                me.wait_timeout(reference, Duration::from_millis(1)).map(drop),
                me.wait_any(&[reference]).map(drop),
                me.wait_any(&[reference, reference]).map(drop),
            ];
            assert!(results.iter().all(is_damage), "{state}: {results:?}");
            assert_eq!(me.check_done(reference), Ok(false));
        }
        let waited = me.wait_timeout(other, Duration::from_millis(1));
        assert!(waited.is_ok(), "that one is sound: {waited:?}");
        let refused = me.scope().finish(pending).unwrap_err();
        assert!(is_damage::<()>(&Err(refused.error)), "{refused}");
        endless.let_go();
        // Its memory is given up, since whoever executes it may still write to it.
        assert!(is_damage(&me.detach()));
    });
}

fn s26_a_word_that_is_damaged_during_a_wait_ends_it() {
    in_time(|| {
        let (mut endless, turns) = Endless::new();
        let pool = pool(turns);
        let peer = Peer::of(&pool);
        let mut me = pool.attach().unwrap();
        for (turn, state) in BEFORE.into_iter().chain(BEFORE).enumerate() {
            endless.hold();
            let pending = endless.start(&mut me);
            let reference = pending.wait_ref();
            let word = &peer.words()[word_in(&pool, reference.handle())];
            let damaged = packed(state, reference.generation().get());
            let sound = std::thread::scope(|threads| {
                let peer = threads.spawn(|| {
                    handfast_tests::pause(Duration::from_millis(30));
                    word.swap(damaged, Ordering::Relaxed)
                });
                let waited = if turn < BEFORE.len() {
                    me.wait(reference).map(drop)
                } else {
                    me.wait_any(&[reference]).map(drop)
                };
                assert!(is_damage(&waited), "{state}: {waited:?}");
                peer.join().unwrap()
            });
            // The IO was not harmed.
            word.store(sound, Ordering::Relaxed);
            endless.let_go();
            let (bytes, memory) = common::finished(&mut me.scope(), pending);
            assert_eq!((bytes, &common::bytes_of(&memory)[..]), (8, &b"12345678"[..]));
        }
        assert_eq!(me.detach(), Ok(()));
    });
}

fn s26_an_error_stays_an_error_when_its_request_is_overwritten() {
    let data = Data::new(b"hello");
    let pool = pool(Turns::default());
    let peer = Peer::of(&pool);
    let mut me = pool.attach().unwrap();
    let read_only = std::fs::File::open(data.path()).unwrap();
    let file = me.file(read_only, data.path()).unwrap();
    let mut scope = me.scope();
    let pending = scope.acquire().unwrap().write(&file, room(8), 0).unwrap();
    peer.put(word_of(pending.wait_ref().handle()) + 2, u64::MAX);
    let outcome = scope.finish(pending).unwrap().outcome;
    assert_eq!(outcome.status(), handfast::Status::Error);
    assert!(outcome.bytes().is_err());
}

fn s14_a_pending_of_an_earlier_attachment_never_names_a_later_io() {
    let data = Data::new(b"hello");
    let pool = small().processes(1).handles_per_process(1).create().unwrap();
    let peer = Peer::of(&pool);
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let old = me.scope().acquire().unwrap().read(&file, room(8), 0).unwrap();
    let word = 4096 / 8 + 16 + 16 * old.wait_ref().handle().index();
    drop(file);
    me.detach().unwrap();
    // Back to the generation that the old one had.
    peer.put(word, packed(State::Idle, 1));
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let frame = me.frame().unwrap();
    let new = me.scope().acquire().unwrap().read(&file, frame, 0).unwrap();
    let refused = me.scope().finish(old).unwrap_err();
    assert_eq!(refused.error, UseError::NotMine);
    assert_eq!(me.scope().finish(new).unwrap().outcome.bytes().unwrap(), 5);
}

/// Waits until the word says STAGED, replaces it by another handle's, and returns what it was.
fn steal_when_staged(word: &AtomicU64, stop: &AtomicBool) -> Option<u64> {
    while !stop.load(Ordering::Relaxed) {
        let now = word.load(Ordering::Relaxed);
        let other = packed(State::HandedOut, 77);
        let steal = || word.compare_exchange(now, other, Ordering::Relaxed, Ordering::Relaxed);
        if now & 7 == State::Staged as u64 && steal().is_ok() {
            return Some(now);
        }
    }
    None
}

fn s16_a_start_whose_submission_met_damage_keeps_its_file() {
    let (data, victim) = (Data::new(b"hello"), Data::new(b"precious"));
    let turns = Turns::default().shared(|_, prior| prior).alone();
    let pool = small().processes(1).handles_per_process(1).registry(turns).create().unwrap();
    let peer = Peer::of(&pool);
    let word = &peer.words()[4096 / 8 + 16];
    let stop = AtomicBool::new(false);
    let mut me = pool.attach().unwrap();
    std::thread::scope(|threads| {
        let thief = threads.spawn(|| steal_when_staged(word, &stop));
        let begin = Instant::now();
        loop {
            let file = data.open(&mut me);
            let mut scope = me.scope();
            let mut handle = scope.acquire().unwrap();
            handle.register_callback(id(1), 0).unwrap();
            let pending = handle.write(&file, common::local(b"ATTACKED"), 0).unwrap();
            if scope.process().has_staged() {
                // Its submission met the stolen word. The peer repairs that, the user drops the file,
                // and another one gets the number of its descriptor, if it is free.
                word.store(thief.join().unwrap().unwrap(), Ordering::Relaxed);
                drop(file);
                let other = std::fs::File::options().write(true).open(victim.path()).unwrap();
                assert!(scope.finish(pending).is_ok());
                drop(other);
                break;
            }
            let _not_met = scope.finish(pending);
            if begin.elapsed() > common::PATIENCE {
                stop.store(true, Ordering::Relaxed);
                println!("skipped: the peer was never quick enough");
                break;
            }
        }
    });
    assert_eq!(std::fs::read(victim.path()).unwrap(), b"precious");
}

/// What the peer writes.
fn any_word() -> impl Strategy<Value = u64> {
    let over =
        prop_oneof![Just(State::Idle), Just(State::CompletedShared), Just(State::CompletedLocal)];
    let running = (1..6_u64, 1 << 20..1_u64 << 40).prop_map(|(state, g)| g << 16 | state);
    prop_oneof![
        any::<u64>(),
        Just(0),
        Just(u64::MAX),
        (over, 0..20_u64).prop_map(|(state, generation)| packed(state, generation)),
        running,
        (0..4_u64, 0..1_u64 << 20).prop_map(|(tag, rest)| tag << 62 | rest),
    ]
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Put(usize, u64),
    Read,
    Batch,
    Finish,
    Drop,
    Wait(u32, u64),
    Look,
    Frame,
    Adopt(u64),
    Open,
    Recover,
    Reattach,
}

fn any_step() -> impl Strategy<Value = Step> {
    let place = prop_oneof![
        3 => SLOTS.start..END,
        2 => (0..6_usize).prop_map(|handle| HANDLES.start + handle * 16),
        1 => (0..2_usize).prop_map(|slot| SLOTS.start + slot * 16),
    ];
    prop_oneof![
        12 => (place, any_word()).prop_map(|(place, word)| Step::Put(place, word)),
        4 => Just(Step::Read),
        2 => Just(Step::Batch),
        2 => Just(Step::Finish),
        1 => Just(Step::Drop),
        2 => (0..7_u32, 1..20_u64).prop_map(|(handle, generation)| Step::Wait(handle, generation)),
        2 => Just(Step::Look),
        1 => Just(Step::Frame),
        1 => any_word().prop_map(Step::Adopt),
        1 => Just(Step::Open),
        1 => Just(Step::Recover),
        1 => Just(Step::Reattach),
    ]
}

/// The honest user: whatever it is told, it goes on.
struct User<'pool> {
    pool: &'pool Pool,
    me: Option<Process<'pool>>,
    file: Option<File<'pool>>,
    pending: Vec<Pending<'pool, AlignedBuf>>,
}

impl<'pool> User<'pool> {
    fn step(&mut self, data: &Data, step: &Step) {
        let Some(me) = &mut self.me else {
            self.me = self.pool.attach().ok();
            return;
        };
        match step {
            Step::Read => {
                let Some(file) = &self.file else { return };
                self.pending.extend(read(me, file));
            }
            Step::Batch => {
                let Some(file) = &self.file else { return };
                let mut scope = me.scope();
                let mut batch = scope.batch();
                let io = batch.acquire().ok().map(|handle| handle.read(file, room(8), 0));
                self.pending.extend(io.and_then(Result::ok));
                forget(batch);
                forget(scope);
            }
            Step::Finish => {
                let Some(pending) = self.pending.pop() else { return };
                drop(me.scope().finish(pending));
            }
            Step::Drop => drop(self.pending.pop()),
            Step::Wait(handle, generation) => {
                let generation = Generation::new(*generation).unwrap();
                let reference = WaitRef::new(self.pool.tag(), HandleId(*handle), generation);
                let _any = me.wait_timeout(reference, Duration::ZERO);
                let _any = me.check_done(reference);
                let _any = me.foreign_outcome(reference);
            }
            Step::Look => drop(self.pool.snapshot()),
            Step::Frame => drop(me.frame()),
            Step::Adopt(word) => {
                let mut token = [0; 16];
                token[..4].copy_from_slice(&self.pool.tag().0.to_le_bytes());
                token[8..].copy_from_slice(&word.to_le_bytes());
                drop(me.adopt(FrameToken::from_bytes(token)));
            }
            Step::Open => self.file = Some(data.open(me)),
            Step::Recover => drop(me.recover_dead().map(|report| report.recovered)),
            Step::Reattach => {
                self.me = None;
                self.me = self.pool.attach().ok();
            }
            Step::Put(..) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, max_shrink_time: 60_000, ..Default::default() })]

    #[test]
    fn s26_hostile_words_between_steps_never_panic_or_hang(
        steps in prop::collection::vec(any_step(), 1..80),
    ) {
        in_time(move || {
            let data = Data::new(b"hello");
            let turns = Turns::default().shared(|io, prior| {
                let (mut bytes, buffers) = ([0; 8], io.buffers());
                let _any: u64 = io.data().sum::<u64>().wrapping_add(buffers.len() as u64);
                for index in 0..3 {
                    let _any = buffers.copy_to_slice(index, 0, &mut bytes);
                }
                prior
            });
            let pool = pool(turns);
            let elsewhere = opened_again(&pool, Turns::default().alone());
            let peer = Peer::of(&pool);
            let none = |pool| User { pool, me: None, file: None, pending: Vec::new() };
            let mut users = [none(&pool), none(&elsewhere)];
            let mut touched = HashSet::new();
            for (number, step) in steps.iter().enumerate() {
                if let Step::Put(word, value) = step {
                    peer.put(*word, *value);
                    touched.insert(*word);
                } else {
                    // An addition to nonsense can give something believable.
                    peer.make_unbelievable(&touched);
                    users[number % 2].step(&data, step);
                }
            }
        });
    }
}

fn s26_hostile_callback_ids_run_nothing() {
    let data = Data::new(b"hello");
    let pool = small().registry(Registry::new()).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut batch = scope.batch();
    let pending = batch.acquire().unwrap().read(&file, room(8), 0).unwrap();
    let peer = Peer::of(&pool);
    // Four callbacks that nobody registered.
    peer.put(word_of(pending.wait_ref().handle()) + 5, 0x003f_003e_003d_003c);
    drop(batch);
    assert_eq!(scope.finish(pending).unwrap().outcome.bytes(), Ok(5));
}
