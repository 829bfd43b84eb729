//! The rows of method `sync` and of what is the same for all: one promise each.

use crate::paired::{Effort, Paired, Spread, measure};
use crate::reads::{Pace, READS};
use crate::table::{Row, overhead, ratio};
use crate::world::{SamePages, World, frames, pool};
use handfast::{Method, Pool, Scope};
use std::hint::black_box;

/// Calls without IO in one block of a sample.
const CALLS: u32 = 2000;

/// What the loop that handfast is compared with calls.
#[derive(Clone, Copy)]
pub enum Raw {
    /// preadv(2), what handfast's vectored interface stands for.
    Preadv,
    /// pread(2), which has a little less to do in the kernel.
    Pread,
}

impl Raw {
    fn name(self) -> &'static str {
        match self {
            Self::Preadv => "preadv",
            Self::Pread => "pread",
        }
    }

    /// One block of reads at these offsets.
    #[inline(always)]
    pub fn reads(self, pages: &SamePages, offsets: &[u64]) {
        for (index, &offset) in offsets.iter().enumerate() {
            let read = match self {
                Self::Preadv => pages.preadv(index, offset),
                Self::Pread => pages.pread(index, offset),
            };
            assert!(black_box(read) >= 0, "a read of a good descriptor");
        }
    }
}

/// Reads at one of both paces, at the offsets of block after block.
fn compare_reads(
    world: &World,
    effort: Effort,
    (raw, pace): (Raw, Pace),
    offsets: &[u64],
) -> Paired {
    let pool = pool(Method::Sync, 1, 64);
    let mut process = pool.attach().expect("a free slot");
    let mut frames = frames(&mut process);
    let first = frames[0].as_mut().expect("it is there");
    let pages = SamePages::new(&pool, first, world.cached());
    let file = process.file(pages.descriptor(), world.path()).expect("an open file");
    let mut scope = process.scope();
    let windows = offsets.len() / READS;
    let window = |block: usize| &offsets[block % windows * READS..][..READS];
    let count = u32::try_from(READS).expect("a small number");
    let baseline = |block| raw.reads(&pages, window(block));
    measure(effort, count, baseline, |block| {
        pace.reads(&mut scope, (&file, &mut frames), window(block));
    })
}

/// All that handfast does for an IO, one at a time: a read past the end moves no byte.
pub fn past_the_end_alone(world: &World, effort: Effort, raw: Raw) -> Row {
    let offsets = vec![world.past_the_end(); READS];
    let paired = compare_reads(world, effort, (raw, Pace::Alone), &offsets);
    overhead(format!("read past the end, one by one, over {}", raw.name()), paired, 40.0)
}

/// The same in batches of 32.
pub fn past_the_end_in_batches(world: &World, effort: Effort, raw: Raw) -> Row {
    let offsets = vec![world.past_the_end(); READS];
    let paired = compare_reads(world, effort, (raw, Pace::Batches), &offsets);
    overhead(format!("read past the end, batches of 32, over {}", raw.name()), paired, 40.0)
}

/// Random reads of a cached file, one at a time.
pub fn cached_alone(world: &World, effort: Effort) -> Row {
    let paired = compare_reads(world, effort, (Raw::Preadv, Pace::Alone), &world.offsets);
    ratio("8 KiB random cached reads, one by one, to preadv", paired, 1.03)
}

/// The same in batches of 32.
pub fn cached_in_batches(world: &World, effort: Effort) -> Row {
    let paired = compare_reads(world, effort, (Raw::Preadv, Pace::Batches), &world.offsets);
    ratio("8 KiB random cached reads, batches of 32, to preadv", paired, 1.03)
}

fn nothing(_block: usize) {
    for call in 0..CALLS {
        black_box(call);
    }
}

fn acquire_release(scope: &mut Scope<'_, '_>) {
    for call in 0..CALLS {
        black_box(call);
        black_box(scope.acquire().expect("none is handed out")).release();
    }
}

/// A handle that is acquired and given back unused.
pub fn acquire_and_release(_world: &World, effort: Effort) -> Row {
    let pool = pool(Method::Sync, 1, 64);
    let mut process = pool.attach().expect("a free slot");
    let mut scope = process.scope();
    let paired = measure(effort, CALLS, nothing, |_| acquire_release(&mut scope));
    overhead("acquire and release, over an empty loop".to_owned(), paired, 20.0)
}

/// The same with one and with 1024 handles: the cost must not depend on it.
pub fn acquire_of_many(effort: Effort) -> Row {
    let (one, many) = (pool(Method::Sync, 1, 1), pool(Method::Sync, 1, 1024));
    let mut of_one = one.attach().expect("a free slot");
    let mut of_many = many.attach().expect("a free slot");
    let (mut of_one, mut of_many) = (of_one.scope(), of_many.scope());
    let one_side = |_| acquire_release(&mut of_one);
    let paired = measure(effort, CALLS, one_side, |_| acquire_release(&mut of_many));
    overhead("acquire and release, 1024 handles over 1".to_owned(), paired, 1.0)
}

/// Waiting for an IO that is over.
pub fn wait_when_over(world: &World, effort: Effort) -> Row {
    let pool = pool(Method::Sync, 1, 64);
    let mut process = pool.attach().expect("a free slot");
    let options = std::fs::OpenOptions::new().read(true).clone();
    let file = process.open(world.path(), &options).expect("the cached file");
    let frame = process.frame().expect("a free frame");
    let mut scope = process.scope();
    let handle = scope.acquire().expect("none is handed out");
    let pending = handle.read(&file, frame, 0).expect("a good request");
    let reference = pending.wait_ref();
    let baseline = |_| {
        for _ in 0..CALLS {
            black_box(black_box(reference));
        }
    };
    let paired = measure(effort, CALLS, baseline, |_| {
        for _ in 0..CALLS {
            let _over = black_box(scope.wait(black_box(reference)).expect("an IO that is over"));
        }
    });
    overhead("wait for an IO that is over".to_owned(), paired, 3.0)
}

/// Memory of a handle in the segment, beside the iovecs and data words that the user asks for.
pub fn memory_per_handle() -> Row {
    let len = |handles| {
        let pool = Pool::builder().processes(8).handles_per_process(handles).max_iovecs(1);
        let pool = pool.method(Method::Sync);
        pool.max_handle_data(0).create().expect("memory for a small pool").segment_len()
    };
    // The difference is a multiple of a page whatever a handle takes, so rounding falls out.
    let each = (len(1024) - len(512)) / (8 * 512);
    let iovec = size_of::<libc::iovec>() as u64;
    let figure = Spread::exact((each - iovec) as f64);
    Row { name: "memory of a handle".to_owned(), sides: None, figure, unit: "B", bar: 128.0 }
}
