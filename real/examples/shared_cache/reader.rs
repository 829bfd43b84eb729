//! One of the processes that share the cache.
//!
//! It walks the blocks window by window, so that all processes are about the same place at the same
//! time, and in its own random order inside of a window, so that they do not all want the same block
//! first. A few blocks at a time it
//! 1. looks at their headers; those that are valid are hits;
//! 2. stages a read for those that nobody has claimed. From then on others can wait for them;
//! 3. submits its reads and finishes them;
//! 4. waits for those that others had claimed: joins.
//!
//! It holds no other process up while it waits, because its own reads are over by then; nor while it computes
//! or sleeps with reads in flight: whoever waits for them has a worker, the kernel, or a thread that attends to
//! this process's ring complete them.

use crate::Failure;
use crate::blocks::{Blocks, Claim, Look};
use crate::options::Busy;
use crate::verify::{Claiming, VERIFY, registry};
use handfast::{
    File, Frame, FrameId, HandleView, Pending, Pool, Process, RawResult, Scope, WaitRef,
};
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// The first argument of a process that the coordinator starts.
pub const ROLE: &str = "--reader";

const O_DIRECT: i32 = libc::O_DIRECT;

/// Nobody reads one block for so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// How the blocks were come by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Read by this process.
    pub issued: u64,
    /// Found in flight, waited for.
    pub joined: u64,
    /// Found valid.
    pub hit: u64,
    /// Bytes compared with the file.
    pub checked: u64,
    /// The longest wait for somebody else's read, in microseconds.
    pub longest_us: u64,
}

impl Tally {
    pub fn to_line(self) -> String {
        let Self { issued, joined, hit, checked, longest_us } = self;
        format!("{issued} {joined} {hit} {checked} {longest_us}")
    }

    pub fn from_line(line: &str) -> Option<Self> {
        let mut numbers = line.split_whitespace().map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten();
        let (issued, joined, hit, checked) = (next()?, next()?, next()?, next()?);
        Some(Self { issued, joined, hit, checked, longest_us: next()? })
    }
}

/// What the coordinator tells a reader on its command line.
pub struct Orders {
    pub segment: String,
    pub file: String,
    pub number: u32,
    pub queue_depth: u32,
    pub ensure_join: bool,
    pub direct: bool,
    pub busy: Busy,
}

impl Orders {
    pub fn to_arguments(&self) -> Vec<String> {
        let flags = [self.ensure_join, self.direct].map(u32::from);
        let numbers = [self.number, self.queue_depth, flags[0], flags[1]];
        let strings = [ROLE, &self.segment, &self.file].map(str::to_owned);
        let numbers = numbers.map(|number| number.to_string());
        strings.into_iter().chain(numbers).chain([self.busy.to_argument()]).collect()
    }

    fn from_arguments(arguments: &[String]) -> Result<Self, Failure> {
        let not_for_users = || format!("{ROLE} is for the coordinator's use");
        let [segment, file, number, queue_depth, ensure_join, direct, busy] = arguments else {
            return Err(not_for_users().into());
        };
        Ok(Self {
            segment: segment.clone(),
            file: file.clone(),
            number: number.parse()?,
            queue_depth: queue_depth.parse()?,
            ensure_join: ensure_join == "1",
            direct: direct == "1",
            busy: Busy::from_argument(busy).ok_or_else(not_for_users)?,
        })
    }
}

/// Runs a reader: prints its tally, then keeps its frames until standard input is closed.
pub fn main(arguments: &[String]) -> Result<(), Failure> {
    let orders = Orders::from_arguments(arguments)?;
    let pool = Pool::open(Path::new(&orders.segment), registry()?)?;
    let mut me = pool.attach()?;
    let path = Path::new(&orders.file);
    let mut options = OpenOptions::new();
    options.read(true);
    if orders.direct {
        options.custom_flags(O_DIRECT);
    }
    let opened = me.open(path, &options);
    let file = opened.map_err(|error| match orders.direct {
        true => format!("{error}: does its file system support direct IO?"),
        false => error.to_string(),
    })?;
    let plain = std::fs::File::open(path)?;
    let length = plain.metadata()?.len();
    let mut reader = Reader {
        pool: &pool,
        blocks: Blocks::new(pool.user_words()),
        file,
        plain,
        length,
        kept: Vec::new(),
        tally: Tally::default(),
        busy: orders.busy,
    };
    reader.walk(&mut me, &orders)?;
    println!("{}", reader.tally.to_line());
    // A frame belongs to the process that took it, and goes back to the pool when that process ends.
    // The others still look at ours, so stay until the coordinator has heard of all of them. Nothing
    // can be lost in this wait: the pipe is closed when the coordinator ends, however it does.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop(reader);
    me.detach()?;
    Ok(())
}

struct Reader<'pool> {
    pool: &'pool Pool,
    blocks: Blocks<'pool>,
    file: File<'pool>,
    /// The same file, for comparing, without the pool.
    plain: std::fs::File,
    length: u64,
    kept: Vec<Frame<'pool>>,
    tally: Tally,
    busy: Busy,
}

/// A read on its way. Until its batch is submitted it only waits for others to join.
struct Staged<'pool> {
    claiming: Claiming,
    pending: Pending<'pool, Frame<'pool>>,
}

impl<'pool> Reader<'pool> {
    fn walk(&mut self, me: &mut Process<'pool>, orders: &Orders) -> Result<(), Failure> {
        let count = u32::try_from(self.length.div_ceil(self.pool.frame_size() as u64))?;
        let mut random = Random(u64::from(orders.number) + 1);
        let mut first = 0;
        if orders.ensure_join && count > 0 {
            self.provide(me, &[0], true)?;
            first = 1;
        }
        let window = orders.queue_depth.saturating_mul(self.pool.config().processes());
        let mut order: Vec<u32> = (first..count).collect();
        for window in order.chunks_mut(window as usize) {
            random.shuffle(window);
            for some in window.chunks(orders.queue_depth as usize) {
                self.provide(me, some, false)?;
            }
        }
        Ok(())
    }

    /// Brings these blocks into the cache if they are not there, and checks every byte of them.
    fn provide(
        &mut self,
        me: &mut Process<'pool>,
        wanted: &[u32],
        await_peer: bool,
    ) -> Result<(), Failure> {
        let (mut unclaimed, mut in_flight) = (Vec::new(), Vec::new());
        for &block in wanted {
            match self.blocks.look(block) {
                Look::Valid(frame) => {
                    self.tally.hit += 1;
                    self.check(block, frame)?;
                }
                Look::Missing(Claim::NOBODY) => unclaimed.push((block, Claim::NOBODY)),
                Look::Missing(_) => in_flight.push(block),
            }
        }
        let mut scope = me.scope();
        in_flight.extend(self.read(&mut scope, &unclaimed, await_peer)?);
        for block in in_flight {
            self.join(&mut scope, block)?;
        }
        Ok(scope.commit()?)
    }

    /// Reads blocks whose claim was as given. Those that somebody else claimed first are returned.
    fn read(
        &mut self,
        scope: &mut Scope<'_, 'pool>,
        wanted: &[(u32, Claim)],
        await_peer: bool,
    ) -> Result<Vec<u32>, Failure> {
        let mut batch = scope.batch();
        let mut reads = Vec::with_capacity(wanted.len());
        for &(block, seen) in wanted {
            reads.push(self.stage(&mut batch, block, seen)?);
        }
        let first = reads.first().filter(|read| await_peer && self.is_mine(read.claiming));
        if let Some(read) = first {
            await_waiter(self.pool, read.pending.wait_ref())?;
        }
        let busy = first.map_or(Busy::No, |_| self.busy);
        batch.submit()?;
        be_busy(busy);
        let mut others = Vec::new();
        for read in reads {
            let block = read.claiming.block;
            let done = scope.finish(read.pending).map_err(|not| not.error)?;
            if done.outcome.packed().result() == RawResult::REFUSED.0 {
                // The stage callback did not get the claim. Its frame is free again.
                others.push(block);
                continue;
            }
            done.outcome.bytes()?;
            self.tally.issued += 1;
            let frame = done.memory.id();
            self.kept.push(done.memory);
            self.check(block, frame)?;
        }
        Ok(others)
    }

    fn stage(
        &self,
        scope: &mut Scope<'_, 'pool>,
        block: u32,
        seen: Claim,
    ) -> Result<Staged<'pool>, Failure> {
        // The last read may be longer than what is left of the file: it brings what there is.
        let frame = scope.frame().ok_or("the pool has no free frame left")?;
        let mut handle = scope.acquire()?;
        let mine = Claim::of(handle.wait_ref()).ok_or("the pool has too many handles")?;
        let claiming = Claiming { block, seen, mine };
        handle.register_callback(VERIFY, 0)?;
        handle.set_data_64(&claiming.to_words())?;
        let at = self.offset(block);
        let pending = handle.read(&self.file, frame, at).map_err(|refused| refused.error)?;
        Ok(Staged { claiming, pending })
    }

    /// Waits for a block that somebody else reads; reads it if nothing came of that.
    fn join(&mut self, scope: &mut Scope<'_, 'pool>, block: u32) -> Result<(), Failure> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let claim = match self.blocks.look(block) {
                Look::Valid(frame) => {
                    self.tally.joined += 1;
                    let us = u64::try_from(began.elapsed().as_micros())?;
                    self.tally.longest_us = self.tally.longest_us.max(us);
                    return self.check(block, frame);
                }
                Look::Missing(claim) => claim,
            };
            let reference = claim.reference(self.pool.tag()).ok_or("a claim became unclaimed")?;
            let over = scope.wait_timeout(reference, Duration::from_secs(1))?.is_some();
            let nothing_came = self.blocks.look(block) == Look::Missing(claim);
            // If the read is over and the block is not there, the read failed or its process died.
            if over && nothing_came && self.read(scope, &[(block, claim)], false)?.is_empty() {
                return Ok(());
            }
        }
        Err(format!("block {block} has been in flight for {} seconds", PATIENCE.as_secs()).into())
    }

    /// Whether the stage callback got the claim.
    fn is_mine(&self, claiming: Claiming) -> bool {
        self.blocks.look(claiming.block) == Look::Missing(claiming.mine)
    }

    /// Compares every byte of a block in the cache with the file.
    fn check(&mut self, block: u32, frame: FrameId) -> Result<(), Failure> {
        let len = self.len_of(block);
        let (mut cached, mut plain) = (vec![0; len], vec![0; len]);
        self.pool.copy_from_frame(frame, 0, &mut cached)?;
        self.plain.read_exact_at(&mut plain, self.offset(block))?;
        if cached != plain {
            return Err(format!("block {block} in frame {} has wrong bytes", frame.0).into());
        }
        self.tally.checked += len as u64;
        Ok(())
    }

    fn offset(&self, block: u32) -> u64 {
        u64::from(block) * self.pool.frame_size() as u64
    }

    /// The last block may be shorter than a frame.
    fn len_of(&self, block: u32) -> usize {
        let left = self.length.saturating_sub(self.offset(block));
        usize::try_from(left)
            .map_or(self.pool.frame_size(), |left| left.min(self.pool.frame_size()))
    }
}

/// Does something else, with reads in flight.
fn be_busy(busy: Busy) {
    let (began, time) = (Instant::now(), Duration::from_millis(busy.ms().into()));
    match busy {
        Busy::No => {}
        Busy::Spins(_) => {
            while began.elapsed() < time {
                std::hint::spin_loop();
            }
        }
        Busy::Sleeps(_) => std::thread::sleep(time),
    }
}

/// Returns when some process waits for this IO.
fn await_waiter(pool: &Pool, reference: WaitRef) -> Result<(), Failure> {
    let began = Instant::now();
    let waited_for = |row: &HandleView| {
        row.handle == reference.handle()
            && row.generation == reference.generation()
            && row.has_waiters
    };
    while began.elapsed() < PATIENCE {
        if pool.snapshot().iter().any(waited_for) {
            return Ok(());
        }
        std::thread::yield_now();
    }
    Err("no other process came to wait for the first block".into())
}

/// Random numbers (SplitMix64), the same in every run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn shuffle(&mut self, list: &mut [u32]) {
        for last in (1..list.len()).rev() {
            let chosen = self.next() % (last as u64 + 1);
            list.swap(last, usize::try_from(chosen).unwrap_or(last));
        }
    }
}
