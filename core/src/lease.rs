//! The lease word: who holds a frame of the segment (or an entry of its file table).
//!
//! | state | bits | who may change it |
//! |---|---|---|
//! | Free | tag 0, sequence | any attached process, by CAS |
//! | Owned by slot and epoch | tag 1, slot 10, epoch 30, sequence 22 | that process; a recoverer |
//! | InIo by handle and generation | tag 2, handle 20, generation's low 20 bits, sequence 22 | the handle's owner; a recoverer |
//! | Offered by slot | tag 3, slot 10, nonce 52 | whoever has the token, which is this very word; a recoverer |
//!
//! The sequence goes up whenever a lease is taken, and stays the same while it is lent to an IO. A
//! token names an offer by a random nonce, so that neither a token that was used nor one that was made up
//! adopts anything. A word that names its
//! holder is what lets recovery return every frame of a dead process, and none twice (S24).
//!
//! Checked by the unit tests below and by `real`'s frame tests.

use crate::ids::{Generation, HandleId, ProcessSlot};

/// A lease word taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holding {
    /// Nobody's.
    Free,
    /// A process's.
    Owned {
        /// Its slot.
        slot: ProcessSlot,
        /// The low 30 bits of the slot's epoch.
        epoch: u32,
    },
    /// Lent to an IO: the kernel may read or write it.
    InIo {
        /// The IO's handle.
        handle: HandleId,
        /// The low 20 bits of its generation.
        generation: u32,
    },
    /// Offered to whoever has the token.
    Offered {
        /// Whose it is until then.
        slot: ProcessSlot,
    },
}

/// The word of a frame or file entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct LeaseWord(u64);

const TAG_SHIFT: u32 = 62;
const SEQUENCE_SHIFT: u32 = 40;
const SEQUENCE_MASK: u64 = (1 << 22) - 1;
const EPOCH_MASK: u32 = (1 << 30) - 1;
/// Above the nonce of an offer: slot and tag.
const NONCE_BITS: u32 = 52;
const HANDLE_MASK: u64 = (1 << 20) - 1;

impl LeaseWord {
    /// Free, never taken.
    pub const FREE: Self = Self(0);

    /// Any bits as a lease word.
    #[inline(always)]
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The bits.
    #[inline(always)]
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// Who holds it; `None` if no slot has that number.
    #[must_use]
    pub const fn holding(self) -> Option<Holding> {
        #[expect(clippy::cast_possible_truncation, reason = "masked to their widths")]
        let (low, epoch) = ((self.0 & 0xf_ffff) as u32, self.0 as u32 & EPOCH_MASK);
        let (slot, handle) = ((self.0 >> 30 & 0x3ff) as u32, (self.0 >> 20 & HANDLE_MASK) as u32);
        match (self.0 >> TAG_SHIFT, ProcessSlot::new(slot), self.giver()) {
            (0, _, _) => Some(Holding::Free),
            (1, Some(slot), _) => Some(Holding::Owned { slot, epoch }),
            (2, _, _) => Some(Holding::InIo { handle: HandleId(handle), generation: low }),
            (3, _, Some(slot)) => Some(Holding::Offered { slot }),
            _ => None,
        }
    }

    /// Of an offer, whose it is.
    const fn giver(self) -> Option<ProcessSlot> {
        ProcessSlot::new((self.0 >> NONCE_BITS & 0x3ff) as u32)
    }

    #[inline(always)]
    const fn sequence(self) -> u64 {
        self.0 >> SEQUENCE_SHIFT & SEQUENCE_MASK
    }

    #[inline(always)]
    const fn owned(sequence: u64, slot: ProcessSlot, epoch: u32) -> Self {
        Self(
            1 << TAG_SHIFT
                | (sequence & SEQUENCE_MASK) << SEQUENCE_SHIFT
                | (slot.get() as u64) << 30
                | (epoch & EPOCH_MASK) as u64,
        )
    }

    /// Taken by a process; only from Free.
    #[must_use]
    pub const fn taken(self, slot: ProcessSlot, epoch: u32) -> Option<Self> {
        match self.holding() {
            Some(Holding::Free) => Some(Self::owned(self.sequence() + 1, slot, epoch)),
            Some(Holding::Owned { .. } | Holding::InIo { .. } | Holding::Offered { .. }) | None => {
                None
            }
        }
    }

    /// Offered by its owner; the nonce (52 bits of it) should be random.
    #[must_use]
    pub const fn offered(self, nonce: u64) -> Option<Self> {
        match self.holding() {
            Some(Holding::Owned { slot, .. }) => Some(Self(
                3 << TAG_SHIFT
                    | (slot.get() as u64) << NONCE_BITS
                    | nonce & ((1 << NONCE_BITS) - 1),
            )),
            Some(Holding::Free | Holding::InIo { .. } | Holding::Offered { .. }) | None => None,
        }
    }

    /// Adopted by the process that was given this very word as a token; only from Offered.
    #[must_use]
    pub const fn adopted(self, slot: ProcessSlot, epoch: u32) -> Option<Self> {
        match self.holding() {
            Some(Holding::Offered { .. }) => Some(Self::owned(self.sequence(), slot, epoch)),
            Some(Holding::Free | Holding::Owned { .. } | Holding::InIo { .. }) | None => None,
        }
    }

    /// Whether it is owned by this attachment of this slot.
    #[inline(always)]
    #[must_use]
    pub const fn is_owned_by(self, slot: ProcessSlot, epoch: u32) -> bool {
        let owner = (slot.get() as u64) << 30 | (epoch & EPOCH_MASK) as u64;
        self.0 >> TAG_SHIFT == 1 && self.0 & ((1 << SEQUENCE_SHIFT) - 1) == owner
    }

    /// Lent to this IO; the sequence stays, so that the owner can take it back by a store.
    #[inline(always)]
    #[must_use]
    pub const fn lent(self, handle: HandleId, generation: Generation) -> Self {
        Self(
            2 << TAG_SHIFT
                | self.sequence() << SEQUENCE_SHIFT
                | (handle.0 as u64 & HANDLE_MASK) << 20
                | generation.get() & 0xf_ffff,
        )
    }

    /// Nobody's again.
    #[inline(always)]
    #[must_use]
    pub const fn freed(self) -> Self {
        Self(self.sequence() << SEQUENCE_SHIFT)
    }

    /// Whether recovery of `dead`, whose handles are those in `handles`, must free it.
    #[must_use]
    pub fn belongs_to(self, dead: ProcessSlot, handles: &core::ops::Range<u32>) -> bool {
        match self.holding() {
            Some(Holding::Owned { slot, .. } | Holding::Offered { slot }) => slot == dead,
            Some(Holding::InIo { handle, .. }) => handles.contains(&handle.0),
            Some(Holding::Free) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(n: u32) -> ProcessSlot {
        ProcessSlot::new(n).unwrap()
    }

    #[test]
    fn only_a_free_lease_is_taken() {
        let owned = LeaseWord::FREE.taken(slot(1022), 7).unwrap();
        assert_eq!(owned.holding(), Some(Holding::Owned { slot: slot(1022), epoch: 7 }));
        assert_eq!(owned.taken(slot(2), 1), None);
        let lent = owned.lent(HandleId(1_047_551), Generation::FIRST);
        assert_eq!(
            lent.holding(),
            Some(Holding::InIo { handle: HandleId(1_047_551), generation: 1 })
        );
        assert_eq!(lent.taken(slot(2), 1), None);
        assert_eq!(lent.offered(1), None);
        assert_eq!(lent.adopted(slot(2), 1), None);
    }

    #[test]
    fn only_an_offer_is_adopted() {
        let owned = LeaseWord::FREE.taken(slot(1022), 1).unwrap();
        assert_eq!(owned.adopted(slot(2), 1), None, "owned, but never offered");
        let token = owned.offered(u64::MAX).unwrap();
        assert_eq!(token.holding(), Some(Holding::Offered { slot: slot(1022) }));
        assert_ne!(owned.offered(7), Some(token), "another nonce, another token");
        let adopted = token.adopted(slot(2), 9).unwrap();
        assert!(adopted.is_owned_by(slot(2), 9));
        assert!(!adopted.is_owned_by(slot(2), 8) && !adopted.is_owned_by(slot(3), 9));
        assert_eq!(token.offered(1), None, "an offer is not offered on");
        assert_eq!(token.taken(slot(3), 1), None);
        assert!(token.belongs_to(slot(1022), &(0..1)) && !token.belongs_to(slot(2), &(0..1)));
    }

    #[test]
    fn is_owned_by_tells_every_field_apart() {
        let owned = LeaseWord::FREE.taken(slot(5), 6).unwrap();
        assert!(owned.is_owned_by(slot(5), 6));
        assert!(!owned.lent(HandleId(5), Generation::FIRST).is_owned_by(slot(5), 6));
        assert!(!owned.freed().is_owned_by(slot(5), 6));
    }

    #[test]
    fn s24_recovery_frees_what_the_dead_held_and_nothing_else() {
        let (dead, other) = (slot(1), slot(2));
        let range = 4..8;
        let owned = LeaseWord::FREE.taken(dead, 3).unwrap();
        assert!(owned.belongs_to(dead, &range));
        assert!(!owned.belongs_to(other, &(8..12)));
        let lent = owned.lent(HandleId(5), Generation::FIRST);
        assert!(lent.belongs_to(dead, &range));
        assert!(!lent.belongs_to(other, &(8..12)));
        assert!(!lent.freed().belongs_to(dead, &range));
        assert!(!LeaseWord::from_raw(u64::MAX).belongs_to(dead, &range));
    }
}
