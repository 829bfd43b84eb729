//! The hints: for each slot a bitmap of the handles that wait for a worker. The state word is the truth;
//! a bit only says where a look at it may be worth while.
//!
//! | who | when |
//! |---|---|
//! | the issuer sets it | before Submit or Start; it rings the doorbell after them |
//! | a recoverer sets it | before it takes a dead one's claim back |
//! | the winner of a claim clears it | before it completes: the handle may be submitted again right after |
//!
//! A bit without an IO costs a look. An IO without its bit, its issuer alive, would wait for ever; so the
//! bit is set first. An issuer that dies in between leaves a bit that the handle's next use takes along.
//! Invariants: L2, L5. Checked by: the model's worker scenarios.

use super::{Context, Embed, Shared};
use crate::ids::{HandleId, ProcessSlot};
use crate::platform::Atomic64;
use crate::site::Site;

/// How many handles one word of a bitmap has.
pub const HANDLES_PER_WORD: u32 = u64::BITS;

/// How many words the bitmap of a slot with this many handles has.
#[must_use]
pub const fn words_for(handles: u32) -> u32 {
    handles.div_ceil(HANDLES_PER_WORD)
}

impl<'a, E: Embed> Context<'a, E> {
    /// Makes a handle findable for workers, where the pool has some.
    #[inline]
    pub(super) fn hint(&self, id: HandleId) {
        if let Some((word, bit)) = self.hint_of(id) {
            word.or(Site::HintSet, bit);
        }
    }

    /// It is claimed: nobody needs to look at it.
    #[inline]
    pub(super) fn unhint(&self, id: HandleId) {
        if let Some((word, bit)) = self.hint_of(id) {
            word.and(Site::HintClear, !bit);
        }
    }

    #[inline]
    fn hint_of(
        &self,
        id: HandleId,
    ) -> Option<(&'a <E::P as crate::platform::Platform>::Atomic64, u64)> {
        // Most pools have no workers, and no handle's owner is found for nothing.
        self.shared.doorbell()?;
        let owner = self.shared.owner(id)?;
        let hints = self.shared.hints(owner);
        let index = id.0.checked_sub(self.shared.owned_by(owner).start)?;
        let word = hints.get((index / HANDLES_PER_WORD) as usize)?;
        Some((word, 1 << (index % HANDLES_PER_WORD)))
    }

    /// One word of a slot's bitmap, as far as this thread sees it.
    pub(super) fn hints(&self, slot: u32, word: u32) -> u64 {
        let hints = ProcessSlot::new(slot).map_or(&[][..], |slot| self.shared.hints(slot));
        hints.get(word as usize).map_or(0, |word| word.load(Site::HintLook))
    }

    /// The handle that a bit of a slot's bitmap stands for.
    pub(super) fn hinted(&self, slot: u32, index: u32) -> Option<HandleId> {
        let own = self.shared.owned_by(ProcessSlot::new(slot)?);
        Some(HandleId(own.start.checked_add(index)?)).filter(|id| own.contains(&id.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bitmap_has_a_bit_for_each_handle() {
        assert_eq!([0, 1, 64, 65, 1024].map(words_for), [0, 1, 1, 2, 16]);
    }
}
