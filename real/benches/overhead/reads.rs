//! Loops of reads through a pool, the same for every method.

use crate::world::BUFFERS;
use handfast::{File, Frame, Pending, Scope};
use std::collections::VecDeque;
use std::hint::black_box;

/// Reads in one block of a sample.
pub const READS: usize = 512;

/// The pool's frames, each while no IO has it.
pub type Frames<'pool> = [Option<Frame<'pool>>];

/// How many reads are under way at a time.
#[derive(Clone, Copy)]
pub enum Pace {
    /// Each is finished before the next is started.
    Alone,
    /// 32 are started together, and all of them finished before the next 32.
    Batches,
    /// 32 at any time: each that is over is followed by another at once.
    InFlight,
}

impl Pace {
    /// One block of reads through the pool.
    #[inline(always)]
    pub fn reads<'pool>(
        self,
        scope: &mut Scope<'_, 'pool>,
        on: (&File<'pool>, &mut Frames<'pool>),
        offsets: &[u64],
    ) {
        match self {
            Self::Alone => reads_alone(scope, on, offsets),
            Self::Batches => reads_in_batches(scope, on, offsets),
            Self::InFlight => reads_in_flight(scope, on, offsets),
        }
    }
}

/// One block of reads through the pool, each finished before the next is started.
fn reads_alone<'pool>(
    scope: &mut Scope<'_, 'pool>,
    (file, frames): (&File<'pool>, &mut Frames<'pool>),
    offsets: &[u64],
) {
    for (index, &offset) in offsets.iter().enumerate() {
        let place = &mut frames[index % BUFFERS];
        let frame = place.take().expect("it came back");
        let handle = scope.acquire().expect("none is handed out");
        let pending = handle.read(file, frame, offset).expect("a good request");
        let finished = scope.finish(pending).expect("an IO of this process");
        black_box(finished.outcome.bytes().expect("a read of a good descriptor"));
        *place = Some(finished.memory);
    }
}

/// One block of reads through the pool in batches of 32.
fn reads_in_batches<'pool>(
    scope: &mut Scope<'_, 'pool>,
    (file, frames): (&File<'pool>, &mut Frames<'pool>),
    offsets: &[u64],
) {
    for offsets in offsets.chunks(BUFFERS) {
        let mut started = [const { None }; BUFFERS];
        let mut batch = scope.batch();
        for ((place, pending), &offset) in frames.iter_mut().zip(&mut started).zip(offsets) {
            let frame = place.take().expect("it came back");
            let handle = batch.acquire().expect("none is handed out");
            *pending = Some(handle.read(file, frame, offset).expect("a good request"));
        }
        batch.submit().expect("the method takes all");
        for (place, pending) in frames.iter_mut().zip(&mut started) {
            let pending = pending.take().expect("it was started");
            let finished = scope.finish(pending).expect("an IO of this process");
            black_box(finished.outcome.bytes().expect("a read of a good descriptor"));
            *place = Some(finished.memory);
        }
    }
}

/// One block of reads through the pool with 32 in flight: waits for the oldest, then takes whatever
/// else is over, too, and starts as many anew, together.
fn reads_in_flight<'pool>(
    scope: &mut Scope<'_, 'pool>,
    (file, frames): (&File<'pool>, &mut Frames<'pool>),
    offsets: &[u64],
) {
    let mut offsets = offsets.iter();
    let mut flying: VecDeque<(usize, Pending<'pool, Frame<'pool>>)> =
        VecDeque::with_capacity(BUFFERS);
    loop {
        let mut batch = scope.batch();
        for (place, frame) in frames.iter_mut().enumerate().filter(|(_, frame)| frame.is_some()) {
            let Some(&offset) = offsets.next() else { break };
            let frame = frame.take().expect("it is there");
            let handle = batch.acquire().expect("none is handed out");
            let pending = handle.read(file, frame, offset).expect("a good request");
            flying.push_back((place, pending));
        }
        batch.submit().expect("the method takes all");
        let mut oldest = true;
        for _ in 0..flying.len() {
            let (place, pending) = flying.pop_front().expect("so many are there");
            let over = scope.check_done(pending.wait_ref()).expect("an IO of this process");
            if !(over || std::mem::take(&mut oldest)) {
                flying.push_back((place, pending));
                continue;
            }
            oldest = false;
            let finished = scope.finish(pending).expect("an IO of this process");
            black_box(finished.outcome.bytes().expect("a read of a good descriptor"));
            frames[place] = Some(finished.memory);
        }
        if flying.is_empty() && offsets.len() == 0 {
            return;
        }
    }
}
