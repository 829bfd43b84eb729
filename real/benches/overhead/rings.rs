//! The rows of method `io_uring`, against the plain loop of the `io-uring` crate.
//!
//! Both sides do the same reads into the same pages: the same descriptor's file ([`SamePages::descriptor`]
//! is a duplicate of the raw side's), the same offsets in the same order (both are called with the
//! block's number), the same length, and buffer `n` of the raw side is frame `n` of the pool under another address
//! ([`SamePages::new`] checks that). Both execute IORING_OP_READ, each side in a ring of its own. The raw
//! loop registers nothing and asks for no flags; what handfast does beyond that (it registers a file that is used
//! again and again) is a part of its way.

use crate::paired::{Effort, measure};
use crate::reads::{Pace, READS};
use crate::table::{Row, ratio};
use crate::world::{BLOCK, BUFFERS, SamePages, World, frames, pool};
use handfast::{Method, MethodChoice};
use io_uring::{IoUring, opcode, types};
use std::os::fd::{AsRawFd as _, OwnedFd};

/// The raw side: what one writes with the crate's documentation at hand.
pub struct RawRing {
    ring: IoUring,
}

impl RawRing {
    /// A ring as it comes.
    pub fn new() -> Self {
        Self { ring: IoUring::new(64).expect("a ring, as the pool has one") }
    }

    /// Puts a read into the ring. The pages outlive the ring's reads: each block ends when all are over.
    #[inline(always)]
    pub fn push(&mut self, pages: &SamePages, buffer: usize, offset: u64) {
        let (fd, to) = (types::Fd(pages.as_fd().as_raw_fd()), pages.buffer(buffer).cast());
        let len = u32::try_from(BLOCK).expect("a small number");
        let read = opcode::Read::new(fd, to, len).offset(offset).build();
        let read = read.user_data(buffer as u64);
        // SAFETY: the descriptor and the buffer live until the read is over.
        unsafe { self.ring.submission().push(&read) }.expect("room for a batch");
    }

    /// Submits what was pushed.
    #[inline(always)]
    pub fn submit(&self) {
        self.ring.submit().expect("a good submission");
    }

    /// Takes completions until `count` were seen.
    #[inline(always)]
    fn complete(&mut self, count: usize) {
        let mut seen = 0;
        loop {
            for completion in self.ring.completion() {
                assert!(completion.result() >= 0, "a read of a good descriptor");
                seen += 1;
            }
            if seen == count {
                return;
            }
            self.ring.submit_and_wait(1).expect("a good submission");
        }
    }

    /// Takes whatever is complete: how many.
    pub fn take(&mut self) -> usize {
        self.ring.completion().inspect(|completion| assert!(completion.result() >= 0)).count()
    }

    /// The descriptor, for a thread that sleeps in this ring.
    pub fn descriptor(&self) -> i32 {
        self.ring.as_raw_fd()
    }

    /// One block of reads.
    #[inline(always)]
    fn reads(&mut self, pace: Pace, pages: &SamePages, offsets: &[u64]) {
        match pace {
            Pace::Alone => self.reads_in_batches(pages, offsets, 1),
            Pace::Batches => self.reads_in_batches(pages, offsets, BUFFERS),
            Pace::InFlight => self.reads_in_flight(pages, offsets),
        }
    }

    #[inline(always)]
    fn reads_in_batches(&mut self, pages: &SamePages, offsets: &[u64], size: usize) {
        for (first, offsets) in offsets.chunks(size).enumerate() {
            for (index, &offset) in offsets.iter().enumerate() {
                // One by one the buffers take turns, too.
                self.push(pages, (first * size + index) % BUFFERS, offset);
            }
            self.submit();
            self.complete(offsets.len());
        }
    }

    fn reads_in_flight(&mut self, pages: &SamePages, offsets: &[u64]) {
        let (first, rest) = offsets.split_at(BUFFERS);
        for (buffer, &offset) in first.iter().enumerate() {
            self.push(pages, buffer, offset);
        }
        let (mut flying, mut rest) = (BUFFERS, rest.iter());
        let mut over = [0; BUFFERS];
        while flying > 0 {
            self.ring.submit_and_wait(1).expect("a good submission");
            let mut count = 0;
            for completion in self.ring.completion() {
                assert!(completion.result() >= 0, "a read of a good descriptor");
                over[count] = usize::try_from(completion.user_data()).expect("a small number");
                count += 1;
            }
            flying -= count;
            for (&buffer, &offset) in over[..count].iter().zip(&mut rest) {
                self.push(pages, buffer, offset);
                flying += 1;
            }
        }
    }
}

/// Why there is no io_uring here, if so.
pub fn refusal() -> Option<String> {
    let refusals = MethodChoice::here().refusals;
    refusals.iter().find(|refusal| refusal.method == Method::IoUring).map(ToString::to_string)
}

fn compare(
    (world, effort): (&World, Effort),
    (name, bar): (&str, f64),
    (pace, file): (Pace, OwnedFd),
    offsets: &[u64],
) -> Row {
    let pool = pool(Method::IoUring, 1, 64);
    let mut process = pool.attach().expect("a free slot");
    let mut frames = frames(&mut process);
    let first = frames[0].as_mut().expect("it is there");
    let pages = SamePages::new(&pool, first, file);
    let file = process.file(pages.descriptor(), world.path()).expect("an open file");
    let mut scope = process.scope();
    let mut ring = RawRing::new();
    let windows = offsets.len() / READS;
    let window = |block: usize| &offsets[block % windows * READS..][..READS];
    let count = u32::try_from(READS).expect("a small number");
    let paired = measure(
        effort,
        count,
        |block| ring.reads(pace, &pages, window(block)),
        |block| pace.reads(&mut scope, (&file, &mut frames), window(block)),
    );
    ratio(name, paired, bar)
}

/// All that handfast does for an IO: a read past the end moves no byte.
pub fn past_the_end(world: &World, effort: Effort) -> [Row; 2] {
    let offsets = vec![world.past_the_end(); READS];
    let row = |what, pace| compare((world, effort), what, (pace, world.cached()), &offsets);
    [
        row(("io_uring past the end, one by one, to a raw ring", 1.10), Pace::Alone),
        row(("io_uring past the end, batches of 32, to a raw ring", 1.06), Pace::Batches),
    ]
}

/// Reads of one block, which is in the nearest caches.
pub fn hot(world: &World, effort: Effort) -> [Row; 2] {
    let offsets = vec![0; READS];
    let row = |what, pace| compare((world, effort), what, (pace, world.cached()), &offsets);
    [
        row(("io_uring 8 KiB hot, one by one, to a raw ring", 1.03), Pace::Alone),
        row(("io_uring 8 KiB hot, batches of 32, to a raw ring", 1.03), Pace::Batches),
    ]
}

/// Random reads from the page cache.
pub fn random(world: &World, effort: Effort) -> Row {
    let what = ("io_uring 8 KiB random cached, batches of 32, to a raw ring", 1.02);
    compare((world, effort), what, (Pace::Batches, world.cached()), &world.offsets)
}

/// Random reads from the device; why not, if so.
pub fn direct(world: &World, effort: Effort) -> Result<Row, String> {
    let what = ("io_uring 8 KiB random O_DIRECT, 32 in flight, to a raw ring", 1.02);
    let file = world.direct()?;
    Ok(compare((world, effort), what, (Pace::InFlight, file), &world.offsets))
}
