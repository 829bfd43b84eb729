//! The callback of a read: it claims the block before the read starts and marks it valid when the bytes
//! are right.
//!
//! Its handle data says which block: see [`Claiming::to_words`]. It runs in whatever process stages
//! or completes the read, and, after a death, perhaps a second time: so it uses nothing but shared
//! words and writes what it would write again.

use crate::blocks::{Blocks, Claim};
use handfast::{Callback, CallbackId, IoContext, Outcome, Registry, StageRefused, Status};
use std::sync::Arc;

/// Words of handle data that a read needs.
pub const DATA_WORDS: u32 = 3;

/// The number under which every process registers [`Verify`].
pub const VERIFY: CallbackId = match CallbackId::new(1) {
    Some(id) => id,
    None => CallbackId::BUILT_IN,
};

/// The table of callbacks, the same in every process.
pub fn registry() -> Result<Registry, handfast::RegistryError> {
    Registry::new().callback(VERIFY, Arc::new(Verify))
}

/// What a read is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claiming {
    pub block: u32,
    /// The claim that the issuer saw: 0, or that of a read that failed.
    pub seen: Claim,
    /// The claim that is to replace it.
    pub mine: Claim,
}

impl Claiming {
    pub fn to_words(self) -> [u64; DATA_WORDS as usize] {
        [u64::from(self.block), self.seen.0, self.mine.0]
    }

    fn of(io: &IoContext<'_>) -> Option<Self> {
        let mut words = io.data();
        let block = u32::try_from(words.next()?).ok()?;
        Some(Self { block, seen: Claim(words.next()?), mine: Claim(words.next()?) })
    }
}

/// See the module.
pub struct Verify;

impl Callback for Verify {
    fn name(&self) -> &'static str {
        "shared_cache verify"
    }

    /// Refuses, so that the read never starts, if another process claimed the block meanwhile.
    fn stage(&self, io: &IoContext<'_>) -> Result<(), StageRefused> {
        let Claiming { block, seen, mine } = Claiming::of(io).ok_or(StageRefused)?;
        let claimed = Blocks::new(io.user_words()).claim(block, seen, mine);
        if claimed { Ok(()) } else { Err(StageRefused) }
    }

    fn complete_shared(&self, io: &IoContext<'_>, prior: Outcome) -> Outcome {
        if prior.status() != Status::Ok {
            return prior;
        }
        let failed = Outcome::new(Status::Error, VERIFY, 0, 0);
        let (Some(claiming), Some((frame, len))) = (Claiming::of(io), io.buffers().frame(0)) else {
            return failed;
        };
        let blocks = Blocks::new(io.user_words());
        // The last block is shorter than its frame. What is short otherwise has another checksum.
        let brought = usize::try_from(prior.result()).unwrap_or(0).min(len);
        if checksum_of(io, brought) == Some(blocks.checksum(claiming.block)) {
            blocks.set_valid(claiming.block, frame);
            prior
        } else {
            // The block's number does not fit into 23 bits of error data, but the message of an IO's
            // error says the offset anyway.
            failed
        }
    }

    fn report(&self, _outcome: Outcome, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the block is short or has a wrong checksum")
    }
}

/// The checksum of the first `len` bytes of the IO's frame, taken in pieces on the stack: nothing
/// may allocate here.
fn checksum_of(io: &IoContext<'_>, len: usize) -> Option<u64> {
    let mut checksum = Checksum::default();
    let mut piece = [0; 4096];
    for at in (0..len).step_by(piece.len()) {
        let piece = &mut piece[..(len - at).min(4096)];
        io.buffers().copy_to_slice(0, at, piece).ok()?;
        checksum.add(piece);
    }
    Some(checksum.0)
}

/// FNV-1a, by words instead of bytes to be fast. It finds mistakes, not malice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checksum(pub u64);

impl Default for Checksum {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Checksum {
    /// Adds bytes; all pieces but the last have a multiple of 8.
    pub fn add(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let mixed = (self.0 ^ u64::from_le_bytes(word)).wrapping_mul(0x100_0000_01b3);
            self.0 = mixed.rotate_left(29);
        }
    }
}
