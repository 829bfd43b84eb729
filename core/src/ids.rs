//! Names of things in a pool: handles, generations, process slots, wait references.
//!
//! All of them are plain numbers with a checked range, so that a number read from shared memory
//! or received over a pipe becomes an id only by passing a check. Nothing here is a pointer: the
//! segment lies at a different address in every process (MUSEUM R28).
//!
//! Checked by the unit tests below; generations that go up are checked in `state`.

use core::fmt;

/// Index of an IO handle in its pool, `0 .. handle count`.
///
/// PostgreSQL: `pgaio_io_get_id`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct HandleId(pub u32);

impl HandleId {
    /// The index as a `usize`, for slices.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for HandleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "h{}", self.0)
    }
}

/// How often a handle has been used: starts at 1, goes up by one at every release, reclaim or
/// bury, and is never reused (S23).
///
/// 48 bits: a handle that starts a million IOs a second lasts for nine years. A handle that is idle
/// at [`Generation::LAST`] is retired instead of being handed out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Generation(u64);

impl Generation {
    /// The generation of a handle that was never used.
    pub const FIRST: Self = Self(1);
    /// The last value the word has room for.
    pub const LAST: Self = Self((1 << 48) - 1);

    /// A generation from a number, if it is in `1 ..= 2^48 - 1`.
    #[inline(always)]
    #[must_use]
    pub const fn new(value: u64) -> Option<Self> {
        if value == 0 || value > Self::LAST.0 { None } else { Some(Self(value)) }
    }

    /// The number itself.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// From the upper 48 bits of a word; zero is possible there and stands for "malformed".
    #[inline(always)]
    pub(crate) const fn from_word_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}", self.0)
    }
}

/// A process's place in the pool, `0 ..= 1022`. It outlives the process: see the slot's epoch.
///
/// PostgreSQL: `ProcNumber`, `pgaio_io_get_owner`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct ProcessSlot(u16);

impl ProcessSlot {
    /// The largest number of slots a pool can have: the word keeps a completer in ten bits, and
    /// zero stands for none.
    pub const MAX_COUNT: u32 = 1023;

    /// A slot from its number, if it is below [`Self::MAX_COUNT`].
    #[inline(always)]
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number < Self::MAX_COUNT {
            #[expect(clippy::cast_possible_truncation, reason = "below 1023")]
            Some(Self(number as u16))
        } else {
            None
        }
    }

    /// The number itself.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0 as u32
    }

    /// The number as a `usize`, for slices.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for ProcessSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

/// A number that tells one pool from another, so that a reference is not used with the wrong one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct PoolTag(pub u32);

/// A reference to one IO: this generation of that handle in that pool.
///
/// Any process of the pool may wait for it, for ever after: a reference to an older generation
/// reports *recycled* at once and never waits for a newer IO (S10, L4). It is `Copy` and plain
/// bytes; copying it through memory that another process overwrites is the user's business to
/// make atomic (RC12), and the check of the tag, the index and the generation catches most
/// mixtures.
///
/// PostgreSQL: `PgAioWaitRef`, `pgaio_wref_get_id`, `pgaio_wref_valid` (here: `Option<WaitRef>`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WaitRef {
    pool: PoolTag,
    handle: HandleId,
    generation: Generation,
}

impl WaitRef {
    /// The encoding of "no reference": what PostgreSQL's `pgaio_wref_clear` leaves behind.
    pub const INVALID_BYTES: [u8; 16] = [0xff; 16];

    /// A reference to `generation` of `handle` in the pool with this tag.
    #[inline(always)]
    #[must_use]
    pub const fn new(pool: PoolTag, handle: HandleId, generation: Generation) -> Self {
        Self { pool, handle, generation }
    }

    /// The pool's tag.
    #[inline(always)]
    #[must_use]
    pub const fn pool(self) -> PoolTag {
        self.pool
    }

    /// The handle (`pgaio_wref_get_id`).
    #[inline(always)]
    #[must_use]
    pub const fn handle(self) -> HandleId {
        self.handle
    }

    /// The generation that the reference stands for.
    #[inline(always)]
    #[must_use]
    pub const fn generation(self) -> Generation {
        self.generation
    }

    /// 16 bytes for a pipe, a file or shared memory: tag, handle (4 bytes each) and generation
    /// (8 bytes), little-endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&self.pool.0.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.handle.0.to_le_bytes());
        bytes[8..].copy_from_slice(&self.generation.0.to_le_bytes());
        bytes
    }

    /// The reference in these bytes; `None` for [`Self::INVALID_BYTES`] and for any other bytes
    /// that cannot be one. Whether the pool has such a handle is checked at use.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        let whole = u128::from_le_bytes(bytes);
        #[expect(clippy::cast_possible_truncation, reason = "the three parts of the 16 bytes")]
        let (pool, handle, generation) = (whole as u32, (whole >> 32) as u32, (whole >> 64) as u64);
        if handle == u32::MAX {
            return None;
        }
        Some(Self::new(PoolTag(pool), HandleId(handle), Generation::new(generation)?))
    }
}

impl fmt::Display for WaitRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.handle, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s11_invalid_bytes_are_no_reference() {
        assert_eq!(WaitRef::from_bytes(WaitRef::INVALID_BYTES), None);
        assert_eq!(WaitRef::from_bytes([0; 16]), None, "generation 0 does not exist");
    }

    #[test]
    fn reference_survives_its_bytes() {
        let generation = Generation::new(0x1234_5678_9abc).unwrap();
        let reference = WaitRef::new(PoolTag(7), HandleId(0xdead), generation);
        assert_eq!(WaitRef::from_bytes(reference.to_bytes()), Some(reference));
    }

    #[test]
    fn ranges_are_checked() {
        assert_eq!(Generation::new(0), None);
        assert_eq!(Generation::new(1 << 48), None);
        assert_eq!(Generation::new((1 << 48) - 1), Some(Generation::LAST));
        assert_eq!(ProcessSlot::new(1023), None);
        assert_eq!(ProcessSlot::new(1022).unwrap().get(), 1022);
    }
}
