//! The lease word: who holds a frame of the segment (or an entry of its file table).
//!
//! | state | bits | who may change it |
//! |---|---|---|
//! | Free | tag 0, sequence | any attached process, by CAS |
//! | Owned by slot and epoch | tag 1, slot 10, epoch 30, sequence 22 | that process; a recoverer; an adopter with the right sequence |
//! | InIo by handle and generation | tag 2, handle 20, generation's low 20 bits, sequence 22 | the handle's owner; a recoverer |
//!
//! The sequence goes up whenever a lease is taken, offered or adopted, and stays the same while it
//! is lent to an IO, so that a token of an earlier ownership never adopts. A word that names its
//! holder is what lets recovery return every frame of a dead process, and none twice (S24).
//!
//! Checked by the unit tests below and by `real`'s frame tests.

use crate::ids::{Generation, HandleId, ProcessSlot};

/// A lease word taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holding {
    /// Nobody's.
    Free,
    /// A process's, or offered by it to another.
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
}

/// The word of a frame or file entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct LeaseWord(u64);

const TAG_SHIFT: u32 = 62;
const SEQUENCE_SHIFT: u32 = 40;
const SEQUENCE_MASK: u64 = (1 << 22) - 1;
const EPOCH_MASK: u32 = (1 << 30) - 1;
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

    /// Who holds it. An unknown tag reads as Free's opposite: `None`, nobody may take it.
    #[must_use]
    pub const fn holding(self) -> Option<Holding> {
        match self.0 >> TAG_SHIFT {
            0 => Some(Holding::Free),
            1 => {
                #[expect(clippy::cast_possible_truncation, reason = "masked to their widths")]
                let (slot, epoch) = ((self.0 >> 30 & 0x3ff) as u32, self.0 as u32 & EPOCH_MASK);
                match ProcessSlot::new(slot) {
                    Some(slot) => Some(Holding::Owned { slot, epoch }),
                    None => None,
                }
            }
            2 => {
                let (handle, generation) =
                    ((self.0 >> 20 & HANDLE_MASK) as u32, (self.0 & 0xf_ffff) as u32);
                Some(Holding::InIo { handle: HandleId(handle), generation })
            }
            _ => None,
        }
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
            Some(Holding::Owned { .. } | Holding::InIo { .. }) | None => None,
        }
    }

    /// Offered to another process: still the same owner's, with a new sequence that the token
    /// carries.
    #[must_use]
    pub const fn offered(self) -> Option<Self> {
        match self.holding() {
            Some(Holding::Owned { slot, epoch }) => {
                Some(Self::owned(self.sequence() + 1, slot, epoch))
            }
            Some(Holding::Free | Holding::InIo { .. }) | None => None,
        }
    }

    /// Adopted by the process that was given this very word as a token.
    #[must_use]
    pub const fn adopted(self, slot: ProcessSlot, epoch: u32) -> Option<Self> {
        match self.holding() {
            Some(Holding::Owned { .. }) => Some(Self::owned(self.sequence() + 1, slot, epoch)),
            Some(Holding::Free | Holding::InIo { .. }) | None => None,
        }
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
            Some(Holding::Owned { slot, .. }) => slot == dead,
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
        assert_eq!(lent.offered(), None);
        assert_eq!(lent.adopted(slot(2), 1), None);
    }

    #[test]
    fn a_token_of_an_earlier_ownership_differs() {
        let first = LeaseWord::FREE.taken(slot(1), 1).unwrap();
        let token = first.offered().unwrap();
        assert_ne!(first, token);
        let again = token.freed().taken(slot(1), 1).unwrap();
        assert_ne!(again, token, "freed and taken again by the same process");
        assert_ne!(token.adopted(slot(1), 1).unwrap(), token, "adopted by its own giver");
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
