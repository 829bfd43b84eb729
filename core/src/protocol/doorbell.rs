//! The doorbell of the workers: one per pool, so that whoever submits wakes as many workers as there
//! is work, and pays no system call while all of them are awake.
//!
//! | who | does |
//! |---|---|
//! | ringer, after Submit | one read-modify-write of the word; only if somebody sleeps: moves wake-ups from *sleepers* to *owed*, posts |
//! | worker about to sleep | ticket, *sleepers* + 1, scans the hints again, sleeps with the ticket |
//! | worker whose sleep has ended, for whatever reason | takes one of *owed*, or else one of *sleepers* |
//! | recoverer, waiter after a slice | moves all, posts to all, whatever the word says |
//!
//! Invariant L5: a worker that sleeps, and to whom no wake-up is on its way, is counted in *sleepers*. The
//! ticket is taken before the announcement, so that a post for this announcement makes it old. Ringer and
//! worker meet on one word: either the ringer sees the announcement, or the scan after it sees the
//! submission.
//!
//! A worker that dies asleep stays counted: now and then a ring makes a system call that wakes nobody. A
//! ringer that dies between word and post has taken wake-ups with it; its recoverer rings all.
//! Checked by: the unit tests below and the model's worker scenarios. Not checked: damaged counts, which cost
//! wake-ups, or lose them until the workers' slices are over.

use super::reap::BELL_SLICE_NS;
use super::{Context, Embed, Shared};
use crate::platform::{Atomic64, EventCount, Platform, Slept};
use crate::site::Site;

/// How many workers are about to sleep, and how many wake-ups they are owed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct DoorbellWord(u64);

/// One sleeper, as an addition.
const SLEEPER: u64 = 1;
/// Moves one sleeper to the owed, as an addition.
const OWE: u64 = (1 << 32) - 1;

impl DoorbellWord {
    /// Any bits as a doorbell's word.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The bits.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// How many have announced that they sleep, and nobody has set out to wake them.
    #[must_use]
    pub const fn sleepers(self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
        {
            self.0 as u32
        }
    }

    /// How many wake-ups were sent and have not arrived.
    #[must_use]
    pub const fn owed(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// After a ring for this much work, and how many are to be woken; `None` if nobody sleeps.
    #[must_use]
    pub const fn rung(self, work: u32) -> Option<(Self, u32)> {
        let sleepers = self.sleepers();
        let wake = if work < sleepers { work } else { sleepers };
        if wake == 0 {
            return None;
        }
        Some((Self(self.0.wrapping_add(OWE.wrapping_mul(wake as u64))), wake))
    }

    /// After the end of one worker's sleep; `None` if the word is damaged and counts nobody.
    #[must_use]
    pub const fn withdrawn(self) -> Option<Self> {
        if self.owed() > 0 {
            Some(Self(self.0 - (1 << 32)))
        } else if self.sleepers() > 0 {
            Some(Self(self.0 - SLEEPER))
        } else {
            None
        }
    }
}

/// How often a ringer tries to keep the account.
const ATTEMPTS: u32 = 2;

/// The shared words of the doorbell.
#[repr(C)]
pub struct Doorbell<P: Platform> {
    word: P::Atomic64,
    count: P::EventCount,
}

impl<P: Platform> Doorbell<P> {
    /// A doorbell that nobody sleeps at; zeroed shared memory is one, too.
    #[must_use]
    pub fn new() -> Self {
        Self { word: P::Atomic64::new(0), count: P::EventCount::new() }
    }

    /// How many workers sleep and nobody has set out to wake, as it was a moment ago.
    #[must_use]
    pub fn sleepers(&self) -> u32 {
        DoorbellWord(self.word.load(Site::HintLook)).sleepers()
    }

    /// Wakes as many workers as there is new work, if any sleep.
    #[inline]
    #[track_caller]
    pub fn ring(&self, work: u32) {
        // An addition of nothing: the ringer's half of the handshake has to read the newest value, and
        // to be read by the next announcement.
        let mark = P::mark();
        let word = DoorbellWord(self.word.add(Site::DoorbellRing, 0));
        if word.sleepers() != 0 {
            self.wake(word, work, mark);
        }
    }

    /// A failed exchange is another's progress. After a few it wakes without an account of it: that costs
    /// a needless wake-up at most, and workers whose slices end cannot hold up the ringer for ever.
    #[cold]
    #[track_caller]
    fn wake(&self, mut word: DoorbellWord, work: u32, mark: usize) {
        for attempt in 0..ATTEMPTS {
            P::settled(mark, &(word.0, work, attempt));
            let Some((next, wake)) = word.rung(work) else { return };
            match self.word.compare_exchange(Site::DoorbellTake, word.0, next.0) {
                Ok(_) => return self.count.post_some(wake),
                Err(found) => word = DoorbellWord(found),
            }
        }
        self.count.post_some(work);
    }

    /// Wakes every worker that sleeps, whatever the word says: somebody may have died with wake-ups in
    /// hand, or is to leave.
    #[track_caller]
    pub fn ring_all(&self) {
        let mark = P::mark();
        let mut word = DoorbellWord(self.word.add(Site::DoorbellRing, 0));
        for attempt in 0..ATTEMPTS {
            P::settled(mark, &(word.0, attempt));
            let Some((next, _)) = word.rung(u32::MAX) else { break };
            match self.word.compare_exchange(Site::DoorbellTake, word.0, next.0) {
                Ok(_) => break,
                Err(found) => word = DoorbellWord(found),
            }
        }
        self.count.post();
    }

    #[track_caller]
    pub(super) fn ticket(&self) -> u32 {
        self.count.ticket()
    }

    #[track_caller]
    pub(super) fn announce(&self) {
        self.word.add(Site::DoorbellAnnounce, SLEEPER);
    }

    #[track_caller]
    pub(super) fn sleep(&self, ticket: u32) -> Slept {
        self.count.sleep(ticket, BELL_SLICE_NS)
    }

    /// A failed exchange is another's progress; nobody but this worker waits for it to succeed.
    #[track_caller]
    pub(super) fn withdraw(&self) {
        let mark = P::mark();
        let mut word = DoorbellWord(self.word.add(Site::DoorbellWithdraw, 0));
        while let Some(next) = word.withdrawn() {
            P::settled(mark, &word.0);
            match self.word.compare_exchange(Site::DoorbellWithdraw, word.0, next.0) {
                Ok(_) => return,
                Err(found) => word = DoorbellWord(found),
            }
        }
    }
}

impl<P: Platform> Default for Doorbell<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Embed> Context<'_, E> {
    /// Rings for this much new work, where the pool has workers.
    #[inline]
    pub(super) fn ring(&self, work: usize) {
        if let Some(doorbell) = self.shared.doorbell() {
            doorbell.ring(u32::try_from(work).unwrap_or(u32::MAX));
        }
    }

    /// Rings all workers, whatever anybody believes, where the pool has some.
    pub(super) fn ring_all(&self) {
        if let Some(doorbell) = self.shared.doorbell() {
            doorbell.ring_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(sleepers: u64, owed: u64) -> DoorbellWord {
        DoorbellWord(owed << 32 | sleepers)
    }

    #[test]
    fn l5_a_ring_wakes_as_many_as_there_is_work_but_not_more_than_sleep() {
        assert_eq!(word(0, 3).rung(2), None);
        assert_eq!(word(3, 0).rung(2), Some((word(1, 2), 2)));
        assert_eq!(word(3, 1).rung(9), Some((word(0, 4), 3)));
        assert_eq!(word(3, 1).rung(0), None);
    }

    #[test]
    fn l5_whoever_wakes_up_takes_an_owed_wake_up_first() {
        assert_eq!(word(2, 1).withdrawn(), Some(word(2, 0)));
        assert_eq!(word(2, 0).withdrawn(), Some(word(1, 0)));
        assert_eq!(word(0, 0).withdrawn(), None);
    }

    /// Every order of announcements, rings and ends of sleeps by three workers: nobody is asleep
    /// with no wake-up on its way and uncounted.
    #[test]
    fn l5_no_sleeper_is_uncounted_in_any_order() {
        #[derive(Clone, Copy)]
        struct Seen {
            word: DoorbellWord,
            asleep: u32,
            coming: u32,
        }
        fn go(seen: Seen, steps: u32) {
            let unwoken = seen.asleep - seen.coming;
            assert!(seen.word.sleepers() >= unwoken, "{:?}", seen.word);
            if steps == 0 {
                return;
            }
            if seen.asleep < 3 {
                let word = DoorbellWord(seen.word.0 + SLEEPER);
                go(Seen { word, asleep: seen.asleep + 1, ..seen }, steps - 1);
            }
            for work in 1..=3 {
                if let Some((word, wake)) = seen.word.rung(work) {
                    let coming = seen.coming + wake.min(unwoken);
                    go(Seen { word, coming, ..seen }, steps - 1);
                }
            }
            let after = seen.word.withdrawn();
            if let (Some(word), true) = (after, seen.coming > 0) {
                go(Seen { word, asleep: seen.asleep - 1, coming: seen.coming - 1 }, steps - 1);
            }
            if let (Some(word), true) = (after, unwoken > 0) {
                go(Seen { word, asleep: seen.asleep - 1, ..seen }, steps - 1);
            }
        }
        go(Seen { word: word(0, 0), asleep: 0, coming: 0 }, 9);
    }
}
