//! The words that workers share: their doorbell, which slots are workers, whether more are needed.
//!
//! | word | written by | read by |
//! |---|---|---|
//! | `doorbell` | the protocol | the protocol |
//! | `working`: a bit for each slot | a worker that begins or ends; whoever finds it dead | the same, and whoever stands in for lack of workers |
//! | `alive`: how many bits there are | the same | every issuer, before it gives an IO to workers |
//! | `wanted` | a worker that leaves work behind; the foreman, when it starts another; a worker that begins, or leaves for want of work | the foreman |
//! | `bell` | the same; a worker that ends | the foreman sleeps on it |
//!
//! All of it is a hint but the doorbell: with `alive` too low, IO is executed in place; with `alive` too high, by a
//! waiter whose slice is over and who finds no worker's lock held. Checked by: `tests/tests/workers.rs`. Not
//! checked: damaged counts.

#![expect(clippy::disallowed_types, reason = "hints on which nothing depends, not protocol words")]

use crate::platform::{Count, Production};
use handfast_core::ids::ProcessSlot;
use handfast_core::platform::EventCount as _;
use handfast_core::protocol::Doorbell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Words of a bitmap with a bit for each slot that a pool can have.
const WORDS: usize = 16;

/// See the module's text. Zeroed memory is one without workers.
#[repr(C)]
pub(crate) struct Staff {
    pub doorbell: Doorbell<Production>,
    alive: AtomicU64,
    wanted: AtomicU64,
    bell: Count,
    working: [AtomicU64; WORDS],
}

impl Staff {
    /// How many workers there are, as far as is known.
    #[inline(always)]
    pub fn alive(&self) -> u64 {
        self.alive.load(Ordering::Relaxed)
    }

    /// The slot's process begins to work. If it is not enough, those that are busy ask again.
    pub fn begin(&self, slot: ProcessSlot) {
        self.wanted.store(0, Ordering::Release);
        let (word, bit) = self.place(slot);
        if word.fetch_or(bit, Ordering::AcqRel) & bit == 0 {
            self.alive.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// It ends, or is found dead; whether it was counted.
    pub fn end(&self, slot: ProcessSlot) -> bool {
        let (word, bit) = self.place(slot);
        let counted = word.fetch_and(!bit, Ordering::AcqRel) & bit != 0;
        if counted {
            let less = |alive: u64| Some(alive.saturating_sub(1));
            let _always_some = self.alive.fetch_update(Ordering::AcqRel, Ordering::Relaxed, less);
            self.bell.post();
        }
        counted
    }

    /// The same if more than `least` are left without it; whether it ended.
    pub fn end_above(&self, slot: ProcessSlot, least: u64) -> bool {
        let less = |alive: u64| alive.checked_sub(1).filter(|&left| left >= least);
        if self.alive.fetch_update(Ordering::AcqRel, Ordering::Relaxed, less).is_err() {
            return false;
        }
        let (word, bit) = self.place(slot);
        word.fetch_and(!bit, Ordering::AcqRel);
        // Nobody is wanted where somebody has nothing to do.
        self.wanted.store(0, Ordering::Release);
        self.bell.post();
        true
    }

    /// The slots that are counted as workers.
    pub fn working(&self) -> impl Iterator<Item = ProcessSlot> + '_ {
        let bits = self.working.iter().map(|word| word.load(Ordering::Acquire));
        (0_u32..).zip(bits).flat_map(|(word, bits)| {
            let set = (0..u64::BITS).filter(move |bit| bits >> bit & 1 != 0);
            set.filter_map(move |bit| ProcessSlot::new(word * u64::BITS + bit))
        })
    }

    /// A worker leaves work behind and knows of nobody to do it. Wakes the foreman once.
    pub fn ask_for_more(&self) {
        if self.wanted.load(Ordering::Relaxed) == 0 && self.wanted.swap(1, Ordering::AcqRel) == 0 {
            self.bell.post();
        }
    }

    /// Whether somebody has asked, and nobody has taken note of it.
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire) != 0
    }

    /// Whether somebody asked since the last call.
    pub fn take_wanted(&self) -> bool {
        self.wanted.swap(0, Ordering::AcqRel) != 0
    }

    /// Where the foreman sleeps.
    pub fn bell(&self) -> &Count {
        &self.bell
    }

    fn place(&self, slot: ProcessSlot) -> (&AtomicU64, u64) {
        let (word, bit) = (slot.index() / 64 % WORDS, slot.index() % 64);
        (&self.working[word], 1 << bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staff() -> Staff {
        Staff {
            doorbell: Doorbell::new(),
            alive: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            bell: Count::new(),
            working: [const { AtomicU64::new(0) }; WORDS],
        }
    }

    fn slot(number: u32) -> ProcessSlot {
        ProcessSlot::new(number).unwrap()
    }

    #[test]
    fn a_worker_counts_once_however_it_begins_and_ends() {
        let staff = staff();
        [3, 3, 700].into_iter().for_each(|number| staff.begin(slot(number)));
        assert_eq!(staff.alive(), 2);
        assert_eq!(staff.working().map(ProcessSlot::get).collect::<Vec<_>>(), [3, 700]);
        assert_eq!([staff.end(slot(3)), staff.end(slot(3))], [true, false]);
        assert_eq!(staff.alive(), 1);
    }

    #[test]
    fn the_last_ones_do_not_leave_for_want_of_work() {
        let staff = staff();
        [1, 2, 3].into_iter().for_each(|number| staff.begin(slot(number)));
        assert!(staff.end_above(slot(1), 2));
        assert!(!staff.end_above(slot(2), 2));
        assert_eq!((staff.alive(), staff.working().count()), (2, 2));
    }

    #[test]
    fn the_foreman_is_asked_once() {
        let staff = staff();
        let ticket = staff.bell().ticket();
        staff.ask_for_more();
        let asked = staff.bell().ticket();
        staff.ask_for_more();
        assert!(asked != ticket && asked == staff.bell().ticket());
        assert!(staff.is_wanted(), "a foreman that takes its ticket after the post sees this");
        assert_eq!([staff.take_wanted(), staff.take_wanted()], [true, false]);
        assert!(!staff.is_wanted());
    }
}
