//! One process of a soak: random reads, writes and syncs of its own blocks, every byte of which it knows; random
//! scopes, batches, releases, time-outs, and waits for the others' IO.
//!
//! Its steps follow from a seed, but for what the others are doing at the same time.
#![expect(clippy::disallowed_types, reason = "the tests' own words in the pool's user words")]

use handfast::{
    AlignedBuf, File, Frame, Generation, HandleId, Memory, Pending, Pool, Process, Scope, WaitRef,
};
use std::error::Error;
use std::fs::OpenOptions;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Blocks of each process.
pub const BLOCKS: u32 = 64;
/// Their size, and that of the pool's frames.
pub const BLOCK: usize = 4096;
/// How many frames each process uses.
const FRAMES: usize = 12;
/// How many IOs it keeps in flight at most.
const FLYING: usize = 24;

/// What one process is to do.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Which of how many.
    pub number: u32,
    /// How many there are.
    pub of: u32,
    /// Where its steps follow from.
    pub seed: u64,
    /// For how long.
    pub time: Duration,
}

type Done = Result<String, Box<dyn Error>>;

/// Numbers that follow from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, most: u32) -> u32 {
        u32::try_from(self.next() % u64::from(most)).unwrap_or(0)
    }

    fn one_in(&mut self, so_many: u32) -> bool {
        self.below(so_many) == 0
    }
}

enum Kind {
    Read,
    Write,
    Sync,
}

/// An IO under way, and what it is to come to.
struct Flying<'pool> {
    kind: Kind,
    block: u32,
    pending: Started<'pool>,
}

enum Started<'pool> {
    Block(Pending<'pool, Memory<'pool>>),
    Sync(Pending<'pool, ()>),
}

struct Soak<'pool> {
    part: Part,
    dice: Dice,
    file: File<'pool>,
    frames: Vec<Frame<'pool>>,
    /// How often each block was written, and whether an IO on it is under way.
    blocks: Vec<(u64, bool)>,
    flying: Vec<Flying<'pool>>,
    counts: [u64; 5],
}

/// Plays one part; what there is to say about it.
///
/// # Errors
/// The first byte that is not what was written, and whatever the pool says.
pub fn play(pool: &Pool, part: Part, path: &Path) -> Done {
    let mut me = pool.attach()?;
    let mut options = OpenOptions::new();
    let file = me.open(path, options.read(true).write(true))?;
    let frames = std::iter::from_fn(|| me.frame()).take(FRAMES).collect();
    let dice = Dice(part.seed ^ u64::from(part.number) << 32);
    let blocks = vec![(0, false); BLOCKS as usize];
    let mut soak = Soak { part, dice, file, frames, blocks, flying: Vec::new(), counts: [0; 5] };
    let warm = Instant::now() + part.time / 4;
    let end = Instant::now() + part.time;
    soak.until(&mut me, warm)?;
    let before = (descriptors(), kilobytes());
    soak.until(&mut me, end)?;
    let after = (descriptors(), kilobytes());
    let frames = soak.frames.len();
    soak.check_file(path)?;
    let [reads, writes, syncs, waits, releases] = soak.counts;
    drop(soak);
    me.detach()?;
    if frames != FRAMES {
        return Err(format!("{frames} of {FRAMES} frames are left").into());
    }
    if after.0 > before.0 {
        return Err(format!("{} descriptors became {}", before.0, after.0).into());
    }
    if after.1 > before.1 + 4096 {
        return Err(format!("{} KiB became {}", before.1, after.1).into());
    }
    Ok(format!("{reads} {writes} {syncs} {waits} {releases}"))
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// Private memory in use; what of the shared segment was touched does not count.
fn kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// A byte of a block that was written so often.
fn byte(number: u32, block: u32, version: u64, at: usize) -> u8 {
    if version == 0 {
        return 0;
    }
    let mixed = u64::from(number) * 131 + u64::from(block) * 31 + version * 7 + at as u64 / 64;
    mixed.to_le_bytes()[0] | 1
}

impl<'pool> Soak<'pool> {
    fn until(&mut self, me: &mut Process<'pool>, end: Instant) -> Result<(), Box<dyn Error>> {
        while Instant::now() < end {
            let mut scope = me.scope();
            let steps = self.dice.below(12);
            if self.dice.one_in(3) {
                let mut batch = scope.batch();
                self.steps(&mut batch, steps)?;
            } else if self.dice.one_in(4) {
                self.steps(&mut scope.scope(), steps)?;
            } else {
                self.steps(&mut scope, steps)?;
            }
            match self.dice.below(3) {
                0 => scope.abort(),
                1 => drop(scope),
                _ => scope.commit()?,
            }
        }
        while !self.flying.is_empty() {
            self.finish(&mut me.scope(), 0)?;
        }
        Ok(())
    }

    fn steps(&mut self, scope: &mut Scope<'_, 'pool>, steps: u32) -> Result<(), Box<dyn Error>> {
        for _ in 0..steps {
            if self.flying.len() >= FLYING || (!self.flying.is_empty() && self.dice.one_in(3)) {
                let which = self.dice.below(u32::try_from(self.flying.len())?) as usize;
                self.finish(scope, which)?;
                continue;
            }
            match self.dice.below(16) {
                0 => self.sync(scope)?,
                1 => self.release(scope)?,
                2 | 3 => self.wait_for_another(scope)?,
                4..8 => self.start(scope, Kind::Write)?,
                _ => self.start(scope, Kind::Read)?,
            }
        }
        Ok(())
    }

    fn offset(&self, block: u32) -> u64 {
        u64::from(self.part.number * BLOCKS + block) * BLOCK as u64
    }

    fn start(&mut self, scope: &mut Scope<'_, 'pool>, kind: Kind) -> Result<(), Box<dyn Error>> {
        let block = self.dice.below(BLOCKS);
        if self.blocks[block as usize].1 {
            return Ok(());
        }
        let mut memory = match self.frames.pop() {
            Some(frame) if !self.dice.one_in(8) => Memory::Frame(frame),
            Some(frame) => {
                self.frames.push(frame);
                Memory::Local(AlignedBuf::new(BLOCK, 512)?)
            }
            None => Memory::Local(AlignedBuf::new(BLOCK, 512)?),
        };
        let handle = scope.acquire()?;
        let (file, offset) = (self.file.clone(), self.offset(block));
        let started = if matches!(kind, Kind::Write) {
            self.blocks[block as usize].0 += 1;
            let version = self.blocks[block as usize].0;
            let bytes: Vec<u8> =
                (0..BLOCK).map(|at| byte(self.part.number, block, version, at)).collect();
            crate::pool::fill(&mut memory, &bytes);
            handle.write(&file, memory, offset)
        } else {
            handle.read(&file, memory, offset)
        };
        let pending = started.map_err(|refused| refused.error)?;
        self.blocks[block as usize].1 = true;
        self.publish(scope.process().pool(), pending.wait_ref());
        self.flying.push(Flying { kind, block, pending: Started::Block(pending) });
        Ok(())
    }

    fn sync(&mut self, scope: &mut Scope<'_, 'pool>) -> Result<(), Box<dyn Error>> {
        let handle = scope.acquire()?;
        let whole = self.dice.one_in(2);
        let started = if whole { handle.fsync(&self.file) } else { handle.fdatasync(&self.file) };
        let pending = started.map_err(|refused| refused.error)?;
        if self.dice.one_in(2) {
            // Nobody asks for it again.
            self.counts[2] += 1;
            return Ok(());
        }
        self.flying.push(Flying { kind: Kind::Sync, block: 0, pending: Started::Sync(pending) });
        Ok(())
    }

    fn release(&mut self, scope: &mut Scope<'_, 'pool>) -> Result<(), Box<dyn Error>> {
        let pool = scope.process().pool();
        let handle = scope.acquire()?;
        self.publish(pool, handle.wait_ref());
        handle.release();
        self.counts[4] += 1;
        Ok(())
    }

    /// Tells the others of an IO: its handle and generation in one word.
    fn publish(&self, pool: &Pool, reference: WaitRef) {
        let word = reference.generation().get() << 20 | u64::from(reference.handle().0);
        pool.user_words()[self.part.number as usize].store(word, Ordering::Release);
    }

    fn wait_for_another(&mut self, scope: &mut Scope<'_, 'pool>) -> Result<(), Box<dyn Error>> {
        let pool = scope.process().pool();
        let mut others = Vec::new();
        for number in (0..self.part.of).filter(|&number| number != self.part.number) {
            let word = pool.user_words()[number as usize].load(Ordering::Acquire);
            let handle = HandleId(u32::try_from(word & 0xf_ffff)?);
            others.extend(Generation::new(word >> 20).map(|g| WaitRef::new(pool.tag(), handle, g)));
        }
        let Some(&one) = others.get(self.dice.below(self.part.of) as usize) else { return Ok(()) };
        let time = Duration::from_micros(u64::from(self.dice.below(2000)));
        match self.dice.below(4) {
            0 => drop(scope.wait(one)?),
            1 => drop(scope.wait_timeout(one, time)?),
            2 => drop(scope.process().wait_any_timeout(&others, time)?),
            _ => drop(scope.check_done(one)?),
        }
        self.counts[3] += 1;
        Ok(())
    }

    fn finish(&mut self, scope: &mut Scope<'_, 'pool>, which: usize) -> Result<(), Box<dyn Error>> {
        let Flying { kind, block, pending } = self.flying.swap_remove(which);
        let pending = match pending {
            Started::Sync(pending) => {
                scope.finish(pending).map_err(|not| not.error)?.outcome.bytes()?;
                self.counts[2] += 1;
                return Ok(());
            }
            Started::Block(pending) => pending,
        };
        if self.dice.one_in(4) {
            let time = Duration::from_micros(u64::from(self.dice.below(500)));
            let _maybe_over = scope.wait_timeout(pending.wait_ref(), time)?;
        }
        let done = scope.finish(pending).map_err(|not| not.error)?;
        let bytes = done.outcome.bytes()?;
        self.blocks[block as usize].1 = false;
        let version = self.blocks[block as usize].0;
        if bytes as usize != BLOCK {
            return Err(format!("{bytes} bytes of block {block}").into());
        }
        match kind {
            Kind::Read => {
                self.check(block, version, &crate::pool::bytes_of(&done.memory))?;
                self.counts[0] += 1;
            }
            Kind::Write | Kind::Sync => self.counts[1] += 1,
        }
        if let Memory::Frame(frame) = done.memory {
            self.frames.push(frame);
        }
        Ok(())
    }

    fn check(&self, block: u32, version: u64, seen: &[u8]) -> Result<(), Box<dyn Error>> {
        let expected = |at| byte(self.part.number, block, version, at);
        match seen.iter().enumerate().find(|(at, byte)| **byte != expected(*at)) {
            None => Ok(()),
            Some((at, byte)) => Err(format!(
                "byte {at} of block {block}, written {version} times, is {byte} and not {}",
                expected(at)
            )
            .into()),
        }
    }

    fn check_file(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        let bytes = std::fs::read(path)?;
        for (block, (version, _)) in (0..).zip(&self.blocks) {
            let at = usize::try_from(self.offset(block))?;
            self.check(block, *version, bytes.get(at..at + BLOCK).ok_or("the file is short")?)?;
        }
        Ok(())
    }
}
