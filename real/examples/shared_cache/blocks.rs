//! The headers of the blocks: the example's own words in the pool's shared memory, three for each
//! block.
//!
//! | word | written by | meaning |
//! |---|---|---|
//! | claim | stage callback of a read, compare-and-exchange | 0: nobody reads or has read it; else the wait reference of the read |
//! | content | completion callback of that read | 0: nothing; else the frame that holds the block, plus 1 |
//! | checksum | the coordinator, before anybody starts | what the completion callback expects |
//!
//! ```text
//!              claim = 0, content = 0            nobody has it
//!   stage         │ claim: 0 → reference
//!                 ▼
//!              claim = reference, content = 0    in flight: wait for the reference
//!   complete      │ content: 0 → frame            or: over without content; it failed, or its reader
//!                 ▼                               died. Next claim: old reference → own
//!              content = frame                   valid, for good: nothing is ever evicted
//! ```
//!
//! A claim is published by the stage callback and not before, because only from then on its handle
//! is sure to move without its issuer first waiting for somebody else (RC11): the reference *is* the
//! lock on the block, so there is no moment in which a block is taken but cannot be waited for.
//!
//! A wait reference has 16 bytes, more than one atomic word. Here it fits into one, so that nobody ever
//! sees half of an old and half of a new one (RC12): everybody knows the pool's tag, and a pool of this
//! example has fewer than 65,536 handles.
#![expect(
    clippy::disallowed_types,
    reason = "these words are the example's own and no part of the handle protocol; they all are here"
)]

use handfast::{FrameId, Generation, HandleId, PoolTag, WaitRef};
use std::sync::atomic::{AtomicU64, Ordering};

const WORDS_PER_BLOCK: u32 = 3;
const GENERATION_BITS: u32 = 48;

/// Words that a pool needs for so many blocks; `None` if they are too many for one pool.
pub fn words_needed(blocks: u32) -> Option<u32> {
    blocks.checked_mul(WORDS_PER_BLOCK)
}

/// Who reads, or has read, a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim(pub u64);

impl Claim {
    pub const NOBODY: Self = Self(0);

    /// The claim of this IO. `None` in a pool with too many handles.
    pub fn of(reference: WaitRef) -> Option<Self> {
        let handle = u16::try_from(reference.handle().0).ok()?;
        Some(Self(u64::from(handle) << GENERATION_BITS | reference.generation().get()))
    }

    /// The reference to wait for; `None` for [`Self::NOBODY`].
    pub fn reference(self, tag: PoolTag) -> Option<WaitRef> {
        let generation = Generation::new(self.0 & ((1 << GENERATION_BITS) - 1))?;
        let handle = u32::try_from(self.0 >> GENERATION_BITS).ok()?;
        Some(WaitRef::new(tag, HandleId(handle), generation))
    }
}

/// What a look at a header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// The block is in this frame.
    Valid(FrameId),
    /// It is not in the cache. It is in flight if the claim's IO is not over.
    Missing(Claim),
}

/// The headers of all blocks.
#[derive(Clone, Copy)]
pub struct Blocks<'pool> {
    words: &'pool [AtomicU64],
}

impl<'pool> Blocks<'pool> {
    pub fn new(words: &'pool [AtomicU64]) -> Self {
        Self { words }
    }

    pub fn set_checksum(self, block: u32, checksum: u64) {
        // Relaxed: the processes that read it are started afterwards.
        self.header(block)[2].store(checksum, Ordering::Relaxed);
    }

    pub fn checksum(self, block: u32) -> u64 {
        self.header(block)[2].load(Ordering::Relaxed)
    }

    pub fn look(self, block: u32) -> Look {
        let [claim, content, _] = self.header(block);
        // Acquires the bytes of the frame, from `set_valid`.
        match u32::try_from(content.load(Ordering::Acquire)) {
            Ok(frame @ 1..) => Look::Valid(FrameId(frame - 1)),
            // Acquires, from `claim`, that the claim's handle is defined: waiting for it is allowed.
            _ => Look::Missing(Claim(claim.load(Ordering::Acquire))),
        }
    }

    /// Makes `mine` the read of this block, if `seen` still is; false if somebody else was faster.
    pub fn claim(self, block: u32, seen: Claim, mine: Claim) -> bool {
        let [claim, ..] = self.header(block);
        // Releases what this process did before, its handle's DEFINED state among it.
        claim.compare_exchange(seen.0, mine.0, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// The block is in this frame, complete and verified. Doing it twice does no harm.
    pub fn set_valid(self, block: u32, frame: FrameId) {
        let [_, content, _] = self.header(block);
        // Releases the bytes of the frame, to `look`.
        content.store(u64::from(frame.0) + 1, Ordering::Release);
    }

    fn header(self, block: u32) -> &'pool [AtomicU64; 3] {
        let (headers, _) = self.words.as_chunks();
        &headers[block as usize]
    }
}
