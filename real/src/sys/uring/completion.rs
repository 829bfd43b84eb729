//! Taking completions out of a ring's queue: the live one of this process, or what a dead one left.
//!
//! The head of the queue is kept here and only ever stored to the queue's memory, and sizes are what was
//! asked for, so a peer that changes the memory can lose completions or invent some (whose user data the
//! caller has to judge anyway), but cannot make this process read anywhere else or without end.
#![expect(
    clippy::disallowed_types,
    reason = "the orderings are those of the kernel's interface, not of the protocol"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::memory::{Region, Shared, SharedQueue};

/// Where the kernel's header has the head of the completion queue, in bytes.
pub(super) const HEAD_AT: u32 = 8;
/// Where the kernel's header has the tail of the completion queue, in bytes.
pub(super) const TAIL_AT: u32 = 12;
/// Where the completions start without an array of submissions, in bytes: the header's length.
pub(super) const ENTRIES_AT: u32 = 64;
/// Bytes of a completion.
pub(super) const ENTRY_LEN: u32 = 16;

/// An IO that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompletionEntry {
    /// What its submission was given; a peer may have made it up.
    pub(crate) user_data: u64,
    /// The raw result: a number of bytes, or an errno negated.
    pub(crate) result: i32,
}

/// How far the kernel has come.
#[derive(Debug)]
enum Tail {
    /// The word that it stores to.
    Live(Shared<AtomicU32>),
    /// What that word was once.
    Dead(u32),
}

/// A completion queue, from whose front one thread at a time takes.
#[derive(Debug)]
pub(crate) struct Completions {
    tail: Tail,
    /// How many have been taken; the truth, of which the queue's memory has a copy for the kernel.
    head: u32,
    /// That copy; `None` for a dead process's queue, which is only read.
    head_word: Option<Shared<AtomicU32>>,
    entries: Shared<[[AtomicU64; 2]]>,
    count: u32,
}

/// Where a queue's parts lie in its region, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offsets {
    pub(super) head: u32,
    pub(super) tail: u32,
    pub(super) entries: u32,
}

impl Completions {
    /// The queue of a ring just made; `None` if a part of it is not inside.
    pub(super) fn of_ring(region: &Arc<Region>, at: Offsets, count: u32) -> Option<Completions> {
        Some(Completions {
            tail: Tail::Live(region.word(at.tail)?),
            head: 0,
            head_word: Some(region.word(at.head)?),
            entries: region.entries(at.entries, count)?,
            count,
        })
    }

    /// What is in the queue of a process that has ended: its head and its tail are read here, once, and
    /// nothing is written. `None` if `completions`, which must be what the ring was made with, is no
    /// power of two or does not fit into the queue.
    ///
    /// Complete if the ring is gone, that is, once the description in its file table is.
    pub(crate) fn of_dead(queue: SharedQueue, completions: u32) -> Option<Completions> {
        if !completions.is_power_of_two() {
            return None;
        }
        let region = Region::borrowed(queue);
        // Pairs with the kernel's release of the tail, after it wrote the entries.
        let tail = region.word(TAIL_AT)?.load(Ordering::Acquire);
        // Relaxed: the caller knows that the process is dead, which orders all it did before.
        let head = region.word(HEAD_AT)?.load(Ordering::Relaxed);
        let entries = region.entries(ENTRIES_AT, completions)?;
        let tail = Tail::Dead(tail);
        Some(Completions { tail, head, head_word: None, entries, count: completions })
    }

    /// The first completion that has not been taken; `None` if there is none, or if the queue claims to
    /// hold more than it has room for. Does not block.
    #[inline]
    pub(crate) fn peek(&self) -> Option<CompletionEntry> {
        if !self.any() {
            return None;
        }
        let [user_data, rest] = self.entries.get((self.head & (self.count - 1)) as usize)?;
        // Relaxed: the tail was acquired; what a peer does to the entry meanwhile is its affair.
        let user_data = user_data.load(Ordering::Relaxed);
        let [a, b, c, d, ..] = rest.load(Ordering::Relaxed).to_ne_bytes();
        Some(CompletionEntry { user_data, result: i32::from_ne_bytes([a, b, c, d]) })
    }

    /// Takes the completion that [`peek`](Completions::peek) has just shown, whose place the kernel may
    /// use again from here on.
    #[inline]
    pub(crate) fn advance(&mut self) {
        self.head = self.head.wrapping_add(1);
        if let Some(word) = &self.head_word {
            // Pairs with the kernel's acquire of the head, before it writes to the freed place.
            word.store(self.head, Ordering::Release);
        }
    }

    /// Whether there is a completion to take. Does not block.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        let tail = match &self.tail {
            // Pairs with the kernel's release of the tail, after it wrote the entries.
            Tail::Live(word) => word.load(Ordering::Acquire),
            Tail::Dead(tail) => *tail,
        };
        (1..=self.count).contains(&tail.wrapping_sub(self.head))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{drain, nop, ring};
    use super::*;
    use crate::sys::mapping::Mapping;
    use crate::sys::memfd;
    use std::os::fd::AsFd as _;

    fn queue_of(mapping: &Mapping) -> SharedQueue {
        // SAFETY: the tests drop what they make with the queue before the mapping.
        unsafe { SharedQueue::new(mapping.base(), mapping.len()) }.unwrap()
    }

    #[test]
    fn a_dead_queue_is_believed_only_as_far_as_it_has_room() {
        let fd = memfd::create_sealed("handfast-test", 4096).unwrap();
        let mapping = Mapping::new(fd.as_fd(), 4096).unwrap();
        let write = |head: u32, tail: u32| {
            mapping.copy_in(HEAD_AT as usize, &head.to_ne_bytes()).unwrap();
            mapping.copy_in(TAIL_AT as usize, &tail.to_ne_bytes()).unwrap();
        };
        for place in 0..8_u8 {
            mapping.copy_in(64 + 16 * usize::from(place), &[place]).unwrap();
            mapping.copy_in(64 + 16 * usize::from(place) + 8, &[100 + place]).unwrap();
        }
        let taken = |head, tail| {
            write(head, tail);
            let mut dead = Completions::of_dead(queue_of(&mapping), 8).unwrap();
            // Whatever comes later is not looked at.
            write(0, 0);
            drain(&mut dead).iter().map(|entry| (entry.user_data, entry.result)).collect::<Vec<_>>()
        };
        assert_eq!(taken(3, 3), []);
        assert_eq!(taken(u32::MAX, 1), [(7, 107), (0, 100)]);
        assert_eq!(taken(8, 16).len(), 8);
        assert_eq!((taken(8, 17), taken(9, 8)), (vec![], vec![]));
    }

    #[test]
    fn a_dead_queue_must_fit() {
        let fd = memfd::create_sealed("handfast-test", 4096).unwrap();
        let mapping = Mapping::new(fd.as_fd(), 4096).unwrap();
        let made = |completions| Completions::of_dead(queue_of(&mapping), completions).is_some();
        assert_eq!([0, 1, 3, 128, 256].map(made), [false, true, false, true, false]);
    }

    #[test]
    fn a_tail_beyond_the_queue_is_not_believed() {
        let Some((mut made, mapping)) = ring(8, 8) else { return };
        if !made.shared {
            return;
        }
        nop(&mut made.submission, 7);
        assert!(made.completions.any());
        mapping.copy_in(TAIL_AT as usize, &9_u32.to_ne_bytes()).unwrap();
        assert_eq!((made.completions.any(), made.completions.peek()), (false, None));
        mapping.copy_in(TAIL_AT as usize, &u32::MAX.to_ne_bytes()).unwrap();
        assert_eq!(made.completions.peek(), None);
        mapping.copy_in(TAIL_AT as usize, &1_u32.to_ne_bytes()).unwrap();
        // A head that a peer changed is not looked at.
        mapping.copy_in(HEAD_AT as usize, &1_u32.to_ne_bytes()).unwrap();
        let entry = made.completions.peek().unwrap();
        assert_eq!(entry, CompletionEntry { user_data: 7, result: 0 });
        made.completions.advance();
        assert!(!made.completions.any());
    }
}
