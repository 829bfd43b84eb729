//! The rows of waiting for another process's IO, against sleeping without handfast.
//!
//! Both sides are threads of this program, each attached for itself, so that no switch of address spaces, which
//! neither side could avoid, hides the difference. All words slept on are in shared mappings, without
//! FUTEX_PRIVATE_FLAG. Where it says "one CPU" everything is bound to that one, the pool's own threads included; else only
//! the two sides are bound.

use crate::cpus::{Two, pin};
use crate::paired::{Effort, Paired, measure};
use crate::rings::RawRing;
use crate::shared::{Turn, publish, published, turns};
use crate::table::{Row, ratio};
use crate::world::{SamePages, World, frames, pool};
use handfast::{Batch, File, Frame, Handle, Method, Pending, Pool, Process, WaitRef};
use rustix::io_uring::{IoringEnterFlags, io_uring_enter};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

/// Round trips in one block of a sample.
const ROUNDS: u32 = 128;
/// Reads from the device in one block of a sample.
const READS: u32 = 16;
/// What the other side takes for the end.
const STOP: u32 = u32::MAX;

/// Whether and how long a waiter spins before it sleeps.
fn let_spin(process: &mut Process<'_>, spin: Option<Duration>) {
    process.spin_before_sleep(spin.unwrap_or_default());
}

/// The raw side of a round trip: two words, two threads, a futex wake and a futex wait on each side.
fn answer_turns(ask: &Turn, answer: &Turn) {
    let mut turn = 0;
    loop {
        turn = ask.wait(turn);
        if turn == STOP {
            return;
        }
        answer.begin(turn);
    }
}

/// Asks, and sleeps until the answer comes; the turn after it.
#[inline(always)]
fn ask_turns(ask: &Turn, answer: &Turn, rounds: u32) {
    for _ in 0..rounds {
        let turn = answer.now();
        ask.begin(turn + 1);
        answer.wait(turn);
    }
}

/// One side of a round trip through a pool: each side has an IO staged that the other one sleeps on. A turn
/// submits it, so that a read past the end, which moves no byte, is over in the submission and the other side wakes up, and sleeps on the
/// other's. What the other waits for next is always handed out, and its reference published, before it
/// wakes up; so both find something to sleep on, and both sides wake as often as the raw ones.
struct Side<'f, 'pool> {
    pool: &'pool Pool,
    number: usize,
    file: &'f File<'pool>,
    /// Where it reads.
    offset: u64,
    spare: Vec<Frame<'pool>>,
    staged: Option<Pending<'pool, Frame<'pool>>>,
}

impl<'f, 'pool> Side<'f, 'pool> {
    fn new(
        process: &mut Process<'pool>,
        number: usize,
        (file, offset): (&'f File<'pool>, u64),
    ) -> Self {
        let spare = (0..2).map(|_| process.frame().expect("a free frame")).collect();
        Self { pool: process.pool(), number, file, offset, spare, staged: None }
    }

    /// Stages the first one.
    fn begin(&mut self, batch: &mut Batch<'_, '_, 'pool>) {
        let handle = batch.acquire().expect("a few are free");
        publish(self.pool, self.number, handle.wait_ref());
        self.staged = Some(self.stage(handle));
    }

    fn stage(&mut self, handle: Handle<'_, 'pool>) -> Pending<'pool, Frame<'pool>> {
        let frame = self.spare.pop().expect("one of two");
        handle.read(self.file, frame, self.offset).expect("a good request")
    }

    /// Submits the staged one, which wakes the other side, with the next one handed out and published; sleeps
    /// on the other's; stages the next one.
    #[inline(always)]
    fn turn(&mut self, batch: &mut Batch<'_, '_, 'pool>) {
        let other = self.other();
        let mut handle = batch.acquire().expect("a few are free");
        publish(self.pool, self.number, handle.wait_ref());
        handle.submit_staged().expect("the method takes all");
        let _done_or_recycled = handle.wait(other).expect("an IO of the other side");
        let next = self.stage(handle);
        // The other side has waited for this one before its own was submitted: it is over.
        if let Some(over) = self.staged.replace(next) {
            let finished = batch.finish(over).expect("an IO of this process");
            assert_eq!(finished.outcome.bytes().expect("a read of a good descriptor"), 0);
            self.spare.push(finished.memory);
        }
    }

    fn other(&self) -> WaitRef {
        loop {
            match published(self.pool, 1 - self.number) {
                Some(reference) => return reference,
                // Only before the first turn.
                None => std::thread::yield_now(),
            }
        }
    }
}

/// Attaches, with the pool's own thread bound as well where all is to be on one CPU.
fn attach(pool: &Pool, two: Two, cpu: usize) -> Process<'_> {
    if two.is_one() {
        pin(cpu);
    }
    let process = pool.attach().expect("a free slot");
    pin(cpu);
    process
}

fn answer_reads(world: &World, pool: &Pool, (two, spin): (Two, Option<Duration>), end: &Turn) {
    let mut process = attach(pool, two, two.second);
    let_spin(&mut process, spin);
    let file = process.file(world.cached(), world.path()).expect("an open file");
    let mut side = Side::new(&mut process, 1, (&file, world.past_the_end()));
    let mut scope = process.scope();
    let mut batch = scope.batch();
    while end.now() == 0 {
        side.turn(&mut batch);
    }
}

/// Round trips of wake-ups by reads past the end, against those by futexes alone; `None` if there is no such spin.
fn round_trips(
    (world, effort): (&World, Effort),
    method: Method,
    (two, spin): (Two, Option<Duration>),
) -> Option<Paired> {
    let pool = pool(method, 2, 8);
    let [ask, answer, end, ..] = turns() else { return None };
    std::thread::scope(|threads| {
        let mut process = attach(&pool, two, two.first);
        let_spin(&mut process, spin);
        threads.spawn(|| {
            pin(two.second);
            answer_turns(ask, answer);
        });
        threads.spawn(|| answer_reads(world, &pool, (two, spin), end));
        let file = process.file(world.cached(), world.path()).expect("an open file");
        let mut side = Side::new(&mut process, 0, (&file, world.past_the_end()));
        let mut scope = process.scope();
        let mut batch = scope.batch();
        side.begin(&mut batch);
        let paired = measure(
            effort,
            ROUNDS,
            |_| ask_turns(ask, answer, ROUNDS),
            |_| (0..ROUNDS).for_each(|_| side.turn(&mut batch)),
        );
        ask.begin(STOP);
        end.begin(1);
        // The other side wakes up once more.
        batch.submit().expect("the method takes all");
        Some(paired)
    })
}

/// Runs in a thread of its own, which can be bound to a CPU.
fn apart<T: Send>(measurement: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|threads| threads.spawn(measurement).join().expect("it ends"))
}

/// Waiters of reads past the end, everything on one CPU.
pub fn on_one_cpu(world: &World, effort: Effort, method: Method) -> Option<Row> {
    let two = Two::on_one();
    let paired = apart(|| round_trips((world, effort), method, (two, None)))?;
    let name = format!("{method} wakes by reads past the end, one CPU, to futexes");
    Some(ratio(&name, paired, 1.4))
}

/// The same across two CPUs, without or with a spin before the sleep; why not, if so.
pub fn on_two_cpus(
    world: &World,
    effort: Effort,
    spin: Option<Duration>,
) -> Result<Row, &'static str> {
    let two = Two::apart().ok_or("there is one CPU")?;
    let paired = apart(|| round_trips((world, effort), Method::IoUring, (two, spin)));
    let paired = paired.ok_or("handfast does not spin before it sleeps")?;
    Ok(match spin {
        None => ratio("io_uring wakes by reads past the end, two CPUs, to futexes", paired, 1.1),
        Some(_) => ratio("the same with a spin before the sleep, to futexes", paired, 0.1),
    })
}

/// What the issuer and the other side tell each other around a read in flight.
struct Flight<'a> {
    /// A read is in flight: which.
    started: &'a Turn,
    /// It is over, as the other side knows.
    over: &'a Turn,
}

/// Sleeps directly in the issuer's ring, which only threads of one process can.
fn wait_in_ring(flight: &Flight<'_>, ring: i32) {
    // SAFETY: the issuer closes its ring after this thread has ended.
    let ring = unsafe { BorrowedFd::borrow_raw(ring) };
    let mut turn = 0;
    loop {
        turn = flight.started.wait(turn);
        if turn == STOP {
            return;
        }
        let events = IoringEnterFlags::GETEVENTS;
        // SAFETY: nothing is submitted and no argument is given.
        unsafe { io_uring_enter(ring, 0, 1, events) }.expect("a ring");
        flight.over.begin(turn);
    }
}

/// Waits for the issuer's IO as any process of the pool does.
fn wait_in_pool(flight: &Flight<'_>, pool: &Pool, cpu: usize) {
    let mut process = pool.attach().expect("a free slot");
    pin(cpu);
    let mut turn = 0;
    loop {
        turn = flight.started.wait(turn);
        if turn == STOP {
            return;
        }
        let reference = published(pool, 0).expect("it is published");
        let _done = process.wait(reference).expect("an IO of the issuer");
        flight.over.begin(turn);
    }
}

/// A waiter of another process's read that is in flight, while its issuer is busy elsewhere; why not, if so.
///
/// Raw is a waiter that sleeps directly in the issuer's ring, and tells nobody what became of the read. Both
/// sides start a read, tell the waiter by a futex, and sleep on another futex until the waiter says that it has
/// seen the end.
pub fn in_flight(world: &World, effort: Effort) -> Result<Row, String> {
    let two = Two::apart().ok_or("there is one CPU")?;
    let file = world.direct()?;
    let paired = apart(|| reads_in_flight(world, effort, (two, file)));
    Ok(ratio("io_uring foreign wait for an O_DIRECT read, to its ring", paired, 1.5))
}

fn reads_in_flight(world: &World, effort: Effort, (two, file): (Two, OwnedFd)) -> Paired {
    let pool = pool(Method::IoUring, 2, 8);
    let mut process = pool.attach().expect("a free slot");
    pin(two.first);
    let mut frames = frames(&mut process);
    let pages = SamePages::new(&pool, frames[0].as_mut().expect("it is there"), file);
    let file = process.file(pages.descriptor(), world.direct_path()).expect("an open file");
    let mut ring = RawRing::new();
    let words = turns();
    let raw = Flight { started: &words[0], over: &words[1] };
    let ours = Flight { started: &words[2], over: &words[3] };
    let offset = |block: usize, read: usize| {
        world.offsets[(block * READS as usize + read) % world.offsets.len()]
    };
    std::thread::scope(|threads| {
        let (descriptor, flight) = (ring.descriptor(), &raw);
        threads.spawn(move || {
            pin(two.second);
            wait_in_ring(flight, descriptor);
        });
        threads.spawn(|| wait_in_pool(&ours, &pool, two.second));
        let mut scope = process.scope();
        let mut frame = frames[0].take();
        let paired = measure(
            effort,
            READS,
            |block| {
                for read in 0..READS as usize {
                    ring.push(&pages, 0, offset(block, read));
                    ring.submit();
                    let turn = raw.over.now();
                    raw.started.begin(turn + 1);
                    raw.over.wait(turn);
                    assert_eq!(ring.take(), 1, "the read is over");
                }
            },
            |block| {
                for read in 0..READS as usize {
                    let memory = frame.take().expect("it came back");
                    let handle = scope.acquire().expect("none is handed out");
                    publish(&pool, 0, handle.wait_ref());
                    let pending = handle.read(&file, memory, offset(block, read));
                    let pending = pending.expect("a good request");
                    let turn = ours.over.now();
                    ours.started.begin(turn + 1);
                    ours.over.wait(turn);
                    let finished = scope.finish(pending).expect("an IO of this process");
                    assert!(finished.outcome.bytes().expect("a good read") > 0);
                    frame = Some(finished.memory);
                }
            },
        );
        raw.started.begin(STOP);
        ours.started.begin(STOP);
        paired
    })
}
