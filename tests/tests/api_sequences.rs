//! Random sequences of calls by two attachments in one thread, against a small model: the file's bytes,
//! what is staged, what is over, how many frames are out.
//!
//! A failure prints the shortest sequence found, on one line, which can be pasted into
//! `a_sequence_from_a_failure_is_run_again`.

mod common;

use common::{Data, FRAME, local, small};
use handfast::{
    File, Frame, Memory, Pending, Pool, ProtocolError, Scope, ScopeWarning, State, UseError,
    WaitRef, Waited,
};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::mem::forget;
use std::time::Duration;

const HANDLES: u32 = 3;
const FRAMES: u32 = 6;
const BLOCK: usize = 512;
const BLOCKS: usize = 6;

/// One call; numbers choose among what there is.
#[derive(Clone, Copy, Debug)]
enum Call {
    /// Acquires, makes a reference, releases.
    Release,
    /// Acquires without waiting, if a handle can be had.
    Try,
    Read(usize, bool),
    Write(usize, u8, bool),
    Sync,
    /// Everything up to the next `End` happens in a batch.
    Batch,
    /// Everything up to the next `End` happens in a nested scope.
    Nest,
    End,
    /// A nested scope that leaks a handle.
    Leak,
    Finish(usize),
    /// Asks the other process for the result first.
    Misdirect(usize),
    Drop(usize),
    Wait(usize),
    Check(usize),
    TakeFrame,
    GiveFrame,
    /// Hands a frame over to the other process.
    HandOver,
    CloseFile,
    /// Detaches and attaches again in the middle of it all.
    Reattach,
}

fn any_call() -> impl Strategy<Value = Call> {
    let block = || 0..BLOCKS;
    prop_oneof![
        1 => Just(Call::Release),
        1 => Just(Call::Try),
        6 => (block(), any::<bool>()).prop_map(|(block, frame)| Call::Read(block, frame)),
        6 => (block(), 1..255_u8, any::<bool>()).prop_map(|(at, byte, frame)| Call::Write(at, byte, frame)),
        1 => Just(Call::Sync),
        3 => Just(Call::Batch),
        2 => Just(Call::Nest),
        4 => Just(Call::End),
        1 => Just(Call::Leak),
        5 => (0..64_usize).prop_map(Call::Finish),
        1 => (0..64_usize).prop_map(Call::Misdirect),
        3 => (0..64_usize).prop_map(Call::Drop),
        3 => (0..64_usize).prop_map(Call::Wait),
        3 => (0..64_usize).prop_map(Call::Check),
        2 => Just(Call::TakeFrame),
        2 => Just(Call::GiveFrame),
        1 => Just(Call::HandOver),
        1 => Just(Call::CloseFile),
        1 => Just(Call::Reattach),
    ]
}

/// A sequence that prints itself on one line: who calls (false is the first process), and what.
#[derive(Clone)]
struct Sequence(Vec<(bool, Call)>);

impl std::fmt::Debug for Sequence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&format!("{:?}", self.0))
    }
}

/// What the model knows of a read or a write: its block, what it writes, and, once it is executed, what
/// the block held then.
struct Expected {
    reference: WaitRef,
    block: usize,
    written: Option<u8>,
    executed: Option<Vec<u8>>,
}

/// What the model knows of a process, and what the process holds.
struct Side<'pool> {
    file: File<'pool>,
    batches: usize,
    staged: VecDeque<usize>,
    ios: Vec<(Pending<'pool, Vec<Memory<'pool>>>, usize)>,
    frames: Vec<Frame<'pool>>,
}

struct World<'pool, 'd> {
    pool: &'pool Pool,
    data: &'d Data,
    content: Vec<u8>,
    expected: Vec<Expected>,
    sides: [Side<'pool>; 2],
}

impl<'pool> World<'pool, '_> {
    /// In the model, what this process has staged is executed now.
    fn submit(&mut self, who: usize) {
        for number in std::mem::take(&mut self.sides[who].staged) {
            let io = &mut self.expected[number];
            let place = io.block * BLOCK..(io.block + 1) * BLOCK;
            if let Some(byte) = io.written {
                self.content[place.clone()].fill(byte);
            }
            io.executed = Some(self.content[place].to_vec());
        }
    }

    /// The least depth that is left ends batches; the outermost submits.
    fn leave_batch(&mut self, who: usize, depth: usize) {
        let side = &mut self.sides[who];
        side.batches = side.batches.min(depth);
        if side.batches == 0 {
            self.submit(who);
        }
    }

    /// Acquiring submits if every handle is staged.
    fn before_acquire(&mut self, who: usize) {
        if self.sides[who].staged.len() == HANDLES as usize {
            self.submit(who);
        }
    }

    /// Two buffers of half a block, the first in a frame if wanted and there is one.
    fn memory(&mut self, who: usize, frame: bool, byte: u8) -> Vec<Memory<'pool>> {
        let half = [byte; BLOCK / 2];
        let frame = if frame { self.sides[who].frames.pop() } else { None };
        let first = match frame {
            Some(mut frame) => {
                frame.set_len(half.len()).unwrap();
                frame.copy_from_slice(0, &half).unwrap();
                Memory::Frame(frame)
            }
            None => Memory::Local(local(&half)),
        };
        vec![first, Memory::Local(local(&half))]
    }

    fn start(
        &mut self,
        who: usize,
        scope: &mut Scope<'_, 'pool>,
        (block, written, frame): (usize, Option<u8>, bool),
    ) {
        self.before_acquire(who);
        let memory = self.memory(who, frame, written.unwrap_or(0));
        let (file, offset) = (&self.sides[who].file, (block * BLOCK) as u64);
        let handle = scope.acquire().unwrap();
        let reference = handle.wait_ref();
        let number = self.expected.len();
        let pending = match written {
            Some(_) => handle.write(file, memory, offset).unwrap(),
            None => handle.read(file, memory, offset).unwrap(),
        };
        self.expected.push(Expected { reference, block, written, executed: None });
        self.sides[who].ios.push((pending, number));
        self.sides[who].staged.push_back(number);
        if self.sides[who].batches == 0 {
            self.submit(who);
        }
    }

    fn sync(&mut self, who: usize, scope: &mut Scope<'_, 'pool>) {
        self.before_acquire(who);
        let pending = scope.acquire().unwrap().fdatasync(&self.sides[who].file).unwrap();
        // Finishing it submits everything that was staged before.
        assert_eq!(scope.finish(pending).unwrap().outcome.bytes(), Ok(0));
        self.submit(who);
    }

    fn finish(&mut self, who: usize, scope: &mut Scope<'_, 'pool>, which: usize) {
        let side = &mut self.sides[who];
        let Some(which) = which.checked_rem(side.ios.len()) else { return };
        let (pending, number) = side.ios.swap_remove(which);
        if side.staged.contains(&number) {
            self.submit(who);
        }
        let done = scope.finish(pending).unwrap();
        assert_eq!(done.outcome.bytes(), Ok(512));
        let mut seen = Vec::new();
        for memory in done.memory {
            let mut piece = vec![0; memory.len()];
            match memory {
                Memory::Local(buffer) => piece.copy_from_slice(&buffer),
                Memory::Frame(frame) => {
                    frame.copy_to_slice(0, &mut piece).unwrap();
                    self.sides[who].frames.push(frame);
                }
                Memory::Region(_) => unreachable!("none was given"),
            }
            seen.extend(piece);
        }
        let Expected { written, executed, .. } = &self.expected[number];
        match written {
            Some(byte) => assert!(seen.iter().all(|seen| seen == byte)),
            None => assert_eq!(Some(&seen), executed.as_ref()),
        }
    }

    fn misdirect(&mut self, who: usize, others: &mut Scope<'_, 'pool>, which: usize) {
        let side = &mut self.sides[who];
        let Some(which) = which.checked_rem(side.ios.len()) else { return };
        let (pending, number) = side.ios.swap_remove(which);
        let refused = others.finish(pending).unwrap_err();
        assert_eq!(refused.error, UseError::NotMine);
        side.ios.push((refused.pending, number));
    }

    /// Any IO of the sequence, whoever started it, whenever.
    fn wait(&mut self, who: usize, scope: &mut Scope<'_, 'pool>, which: usize) {
        let Some(number) = which.checked_rem(self.expected.len()) else { return };
        let reference = self.expected[number].reference;
        if self.expected[number].executed.is_none() {
            // Who is about to sleep submits first.
            self.submit(who);
        }
        let waited = scope.wait_timeout(reference, Duration::ZERO).unwrap();
        let over = self.expected[number].executed.is_some();
        assert_eq!(waited.is_some(), over, "{waited:?}");
        let first_use = reference.generation().get();
        let now = self.pool.snapshot()[reference.handle().index()].generation.get();
        if over && now > first_use {
            assert_eq!(waited, Some(Waited::Recycled));
        }
    }

    fn check(&mut self, who: usize, scope: &mut Scope<'_, 'pool>, which: usize) {
        let Some(number) = which.checked_rem(self.expected.len()) else { return };
        if self.sides[who].staged.contains(&number) {
            self.submit(who);
        }
        let done = scope.check_done(self.expected[number].reference).unwrap();
        assert_eq!(done, self.expected[number].executed.is_some());
    }

    fn leak(&mut self, who: usize, scope: &mut Scope<'_, 'pool>) {
        self.before_acquire(who);
        let mut inner = scope.scope();
        let handle = inner.acquire().unwrap();
        let id = handle.id();
        forget(handle);
        let already = UseError::Protocol(ProtocolError::HandedOutAlready(id));
        assert_eq!(inner.try_acquire().map(drop), Err(already));
        assert_eq!(inner.commit(), Err(ScopeWarning::LeakedHandle(id)));
        self.submit(who);
    }

    fn try_acquire(&mut self, who: usize, scope: &mut Scope<'_, 'pool>) {
        let all_staged = self.sides[who].staged.len() == HANDLES as usize;
        assert_eq!(scope.try_acquire().unwrap().is_none(), all_staged);
    }

    fn reattach(&mut self, who: usize, scope: &mut Scope<'_, 'pool>) {
        let kept = std::mem::take(&mut self.sides[who].ios);
        *scope.process() = self.pool.attach().unwrap();
        self.submit(who);
        self.sides[who].batches = 0;
        self.sides[who].frames.clear();
        self.sides[who].file = self.data.open(scope.process());
        for (pending, number) in kept {
            let refused = scope.finish(pending).unwrap_err();
            assert_eq!(refused.error, UseError::NotMine, "of IO {number}");
        }
    }

    fn call(
        &mut self,
        who: usize,
        (scope, others): (&mut Scope<'_, 'pool>, &mut Scope<'_, 'pool>),
        call: Call,
    ) {
        match call {
            Call::Release => {
                self.before_acquire(who);
                let reference = scope.acquire().unwrap().wait_ref();
                assert_eq!(others.wait(reference), Ok(Waited::Recycled));
            }
            Call::Try => self.try_acquire(who, scope),
            Call::Read(block, frame) => self.start(who, scope, (block, None, frame)),
            Call::Write(block, byte, frame) => self.start(who, scope, (block, Some(byte), frame)),
            Call::Sync => self.sync(who, scope),
            Call::Leak => self.leak(who, scope),
            Call::Finish(which) => self.finish(who, scope, which),
            Call::Misdirect(which) => self.misdirect(who, others, which),
            Call::Drop(which) => {
                let ios = &mut self.sides[who].ios;
                if let Some(which) = which.checked_rem(ios.len()) {
                    drop(ios.swap_remove(which));
                }
            }
            Call::Wait(which) => self.wait(who, scope, which),
            Call::Check(which) => self.check(who, scope, which),
            Call::TakeFrame => self.sides[who].frames.extend(scope.frame()),
            Call::GiveFrame => drop(self.sides[who].frames.pop()),
            Call::HandOver => {
                let Some(frame) = self.sides[who].frames.pop() else { return };
                let frame = others.process().adopt(frame.hand_over().unwrap()).unwrap();
                self.sides[1 - who].frames.push(frame);
            }
            Call::CloseFile => {
                let new = self.data.open(scope.process());
                let old = std::mem::replace(&mut self.sides[who].file, new);
                assert!(scope.process().close_fd(old).unwrap());
                self.submit(who);
            }
            Call::Reattach => self.reattach(who, scope),
            Call::Batch | Call::Nest | Call::End => {}
        }
    }

    /// What must hold between any two calls.
    fn check_all(&self, scopes: (&mut Scope<'_, 'pool>, &mut Scope<'_, 'pool>)) {
        assert_eq!(self.data.bytes(), self.content);
        let rows = self.pool.snapshot();
        let staged = rows.iter().filter(|row| row.state == State::Staged).count();
        assert_eq!(staged, self.sides.iter().map(|side| side.staged.len()).sum::<usize>());
        assert!(rows.iter().all(|row| row.state != State::HandedOut && !row.state_is_passing()));
        let has_staged = [scopes.0.process().has_staged(), scopes.1.process().has_staged()];
        assert_eq!(has_staged, [0, 1].map(|who: usize| !self.sides[who].staged.is_empty()));
    }
}

trait Passing {
    fn state_is_passing(&self) -> bool;
}

impl Passing for handfast::HandleView {
    /// States that no call of a process ends in, with IO in place.
    fn state_is_passing(&self) -> bool {
        let passing = [State::Defined, State::Submitted, State::CompletedIo, State::CompletedLocal];
        passing.contains(&self.state)
    }
}

/// Runs calls until an `End` (or none is left), in these scopes.
fn run<'pool>(
    world: &mut World<'pool, '_>,
    scopes: (&mut Scope<'_, 'pool>, &mut Scope<'_, 'pool>),
    calls: &mut std::slice::Iter<'_, (bool, Call)>,
) {
    let (first, second) = scopes;
    while let Some(&(by_second, call)) = calls.next() {
        let who = usize::from(by_second);
        let depth = world.sides[who].batches;
        match (call, by_second) {
            (Call::End, _) => return,
            (Call::Batch, _) => {
                world.sides[who].batches += 1;
                if by_second {
                    run(world, (&mut *first, &mut second.batch()), calls);
                } else {
                    run(world, (&mut first.batch(), &mut *second), calls);
                }
                world.leave_batch(who, depth);
            }
            (Call::Nest, true) => {
                let mut inner = second.scope();
                run(world, (&mut *first, &mut inner), calls);
                assert_eq!(inner.commit(), Ok(()));
                world.submit(who);
            }
            (Call::Nest, false) => {
                let mut inner = first.scope();
                run(world, (&mut inner, &mut *second), calls);
                inner.abort();
                world.submit(who);
            }
            (_, true) => world.call(who, (&mut *second, &mut *first), call),
            (_, false) => world.call(who, (&mut *first, &mut *second), call),
        }
        world.check_all((&mut *first, &mut *second));
    }
}

fn run_all(sequence: &Sequence) {
    let data = Data::new(&[0; BLOCK * BLOCKS]);
    // One slot more than there are processes, for who attaches before it detaches.
    let shape = small().processes(3).handles_per_process(HANDLES).frames(FRAMES);
    let pool = shape.frame_size(u32::try_from(FRAME).unwrap()).create().unwrap();
    let (mut one, mut two) = (pool.attach().unwrap(), pool.attach().unwrap());
    let side = |file| Side {
        file,
        batches: 0,
        staged: VecDeque::new(),
        ios: Vec::new(),
        frames: Vec::new(),
    };
    let sides = [side(data.open(&mut one)), side(data.open(&mut two))];
    let content = vec![0; BLOCK * BLOCKS];
    let mut world = World { pool: &pool, data: &data, content, expected: Vec::new(), sides };
    let mut calls = sequence.0.iter();
    while !calls.as_slice().is_empty() {
        let (mut first, mut second) = (one.scope(), two.scope());
        run(&mut world, (&mut first, &mut second), &mut calls);
        assert_eq!(first.commit(), Ok(()));
        second.abort();
        world.submit(0);
        world.submit(1);
    }
    let (mut first, mut second) = (one.scope(), two.scope());
    while !world.sides[0].ios.is_empty() {
        world.finish(0, &mut first, 0);
    }
    drop(std::mem::take(&mut world.sides[1].ios));
    drop((std::mem::take(&mut world.sides[0].frames), std::mem::take(&mut world.sides[1].frames)));
    // What a process has dropped comes back when it looks for frames itself.
    common::free_frames(first.process());
    let all = common::free_frames(second.process());
    assert_eq!(all, FRAMES as usize, "every frame has come back");
    first.commit().unwrap();
    second.commit().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_sequence_of_calls_agrees_with_the_model(
        sequence in prop::collection::vec((any::<bool>(), any_call()), 1..80).prop_map(Sequence),
    ) {
        run_all(&sequence);
    }
}

#[test]
fn a_sequence_from_a_failure_is_run_again() {
    use Call::*;
    run_all(&Sequence(vec![
        (false, TakeFrame),
        (false, Batch),
        (false, Write(1, 7, true)),
        (true, Read(1, false)),
        (true, Wait(0)),
        (false, Nest),
        (true, Batch),
        (true, Read(1, true)),
        (false, Leak),
        (false, HandOver),
        (true, End),
        (true, Misdirect(0)),
        (true, Finish(1)),
        (false, End),
        (false, Reattach),
        (true, Check(0)),
        (false, Sync),
        (true, CloseFile),
        (false, Drop(0)),
    ]));
}
