//! The words that the processes of one copy share, in the part of the segment that is the
//! application's own.
//!
//! | words | who writes | what |
//! |---|---|---|
//! | `NEXT_BLOCK` | every copier, fetch-and-add | number of the next block that nobody has taken |
//! | `STOP` | anybody, once | 1: take no more blocks |
//! | `FAILURE` | the first copier that fails | 0 none, 1 in work, else 2 + bytes of the text |
//! | `TEXT` | the same | the error in words |
//! | `COUNTERS` | each copier its own line | bytes written, IOs, 1 if it does without the method |
//!
//! Keeps: a block is taken once; the text is that of one failure. Not kept: an exact progress at
//! any moment.
#![expect(
    clippy::disallowed_types,
    reason = "these words are the copy's own and no part of the handle protocol; they all are here"
)]

use std::sync::atomic::{AtomicU64, Ordering};

/// Words of 128 bytes: counters of two copiers never share a cache line or a pair of prefetched
/// ones.
const LINE: usize = 16;
const NEXT_BLOCK: usize = 0;
const STOP: usize = LINE;
const FAILURE: usize = 2 * LINE;
const TEXT: usize = 3 * LINE;
/// Room for a message with two long paths.
const TEXT_WORDS: usize = 1024;
const COUNTERS: usize = TEXT + TEXT_WORDS;

const BEING_WRITTEN: u64 = 1;
const WRITTEN: u64 = 2;

/// Words that a copy with so many copiers needs.
pub fn words_needed(copiers: u32) -> u32 {
    // The constants are small, so the sum of the first part fits for certain.
    let fixed = u32::try_from(COUNTERS).unwrap_or(u32::MAX);
    let line = u32::try_from(LINE).unwrap_or(u32::MAX);
    fixed + copiers * line
}

/// View of the shared words.
#[derive(Debug, Clone, Copy)]
pub struct Shared<'pool> {
    words: &'pool [AtomicU64],
}

/// What one copier has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    /// Bytes of content written.
    pub bytes: u64,
    /// Reads and writes completed.
    pub ios: u64,
    /// Whether it carries them out by itself, though the method is another.
    pub in_place: bool,
}

impl<'pool> Shared<'pool> {
    /// `None` if there are fewer words than `copiers` need.
    pub fn new(words: &'pool [AtomicU64], copiers: u32) -> Option<Self> {
        let needed = usize::try_from(words_needed(copiers)).ok()?;
        (words.len() >= needed).then_some(Self { words })
    }

    /// Takes the number of a block that nobody else gets. Relaxed: only the number's uniqueness
    /// matters.
    pub fn take_block(&self) -> u64 {
        self.words[NEXT_BLOCK].fetch_add(1, Ordering::Relaxed)
    }

    /// Asks all copiers to take no more blocks. Relaxed: they publish and read nothing through it.
    pub fn stop(&self) {
        self.words[STOP].store(1, Ordering::Relaxed);
    }

    /// Whether somebody asked to stop.
    pub fn is_stopped(&self) -> bool {
        self.words[STOP].load(Ordering::Relaxed) != 0
    }

    /// Notes a completed IO of one copier. A copier alone writes its line, so the sum needs no
    /// read-modify-write.
    pub fn count(&self, copier: u32, bytes: u32) {
        let line = self.line(copier);
        let add = |word: &AtomicU64, more: u64| {
            word.store(word.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
        };
        add(&line[0], u64::from(bytes));
        add(&line[1], 1);
    }

    /// What one copier has done so far.
    pub fn done(&self, copier: u32) -> Done {
        let line = self.line(copier);
        let [bytes, ios, in_place] = [0, 1, 2].map(|at: usize| line[at].load(Ordering::Relaxed));
        Done { bytes, ios, in_place: in_place != 0 }
    }

    /// Notes that a copier does without the pool's method.
    pub fn note_in_place(&self, copier: u32) {
        self.line(copier)[2].store(1, Ordering::Relaxed);
    }

    /// Bytes of content that all copiers have written so far.
    pub fn bytes(&self) -> u64 {
        let lines = self.words[COUNTERS..].chunks_exact(LINE);
        lines.map(|line| line[0].load(Ordering::Relaxed)).sum()
    }

    /// Records why the copy fails, unless another copier was first, and asks all to stop.
    pub fn fail(&self, message: &str) {
        let claim = self.words[FAILURE].compare_exchange(
            0,
            BEING_WRITTEN,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if claim.is_ok() {
            let bytes = &message.as_bytes()[..message.len().min(TEXT_WORDS * 8)];
            for (word, part) in self.text().iter().zip(bytes.chunks(8)) {
                let mut eight = [0; 8];
                eight[..part.len()].copy_from_slice(part);
                word.store(u64::from_le_bytes(eight), Ordering::Relaxed);
            }
            // Publishes the text to the Acquire load in `failure`.
            self.words[FAILURE].store(WRITTEN + bytes.len() as u64, Ordering::Release);
        }
        self.stop();
    }

    /// The first recorded failure, if it is completely written.
    pub fn failure(&self) -> Option<String> {
        // Pairs with the Release store in `fail`.
        let len = self.words[FAILURE].load(Ordering::Acquire).checked_sub(WRITTEN)?;
        let len = usize::try_from(len).ok()?.min(TEXT_WORDS * 8);
        let words = self.text().iter().map(|word| word.load(Ordering::Relaxed).to_le_bytes());
        let bytes: Vec<u8> = words.flatten().take(len).collect();
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn text(&self) -> &'pool [AtomicU64] {
        &self.words[TEXT..TEXT + TEXT_WORDS]
    }

    fn line(&self, copier: u32) -> &'pool [AtomicU64] {
        &self.words[COUNTERS + copier as usize * LINE..][..LINE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(copiers: u32) -> Vec<AtomicU64> {
        (0..words_needed(copiers)).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn every_block_is_taken_once() {
        let words = words(2);
        let shared = Shared::new(&words, 2).expect("enough words");
        assert_eq!([shared.take_block(), shared.take_block(), shared.take_block()], [0, 1, 2]);
    }

    #[test]
    fn the_first_failure_stays_and_stops_the_others() {
        let words = words(2);
        let shared = Shared::new(&words, 2).expect("enough words");
        assert_eq!(shared.failure(), None);
        shared.fail("the first, with ünïcode");
        shared.fail("the second");
        assert_eq!(shared.failure().as_deref(), Some("the first, with ünïcode"));
        assert!(shared.is_stopped());
    }

    #[test]
    fn a_failure_of_any_length_is_cut_to_its_place() {
        let words = words(1);
        let shared = Shared::new(&words, 1).expect("enough words");
        shared.fail(&"x".repeat(20_000));
        assert_eq!(shared.failure().map(|text| text.len()), Some(TEXT_WORDS * 8));
        assert_eq!(shared.done(0), Done::default());
    }

    #[test]
    fn counters_are_apart() {
        let words = words(3);
        let shared = Shared::new(&words, 3).expect("enough words");
        shared.count(2, 5);
        shared.count(2, 0);
        shared.note_in_place(1);
        assert_eq!(shared.done(2), Done { bytes: 5, ios: 2, in_place: false });
        assert!(shared.done(1).in_place && !shared.done(0).in_place);
        assert_eq!(shared.done(0), Done::default());
    }

    #[test]
    fn too_few_words_are_refused() {
        assert!(Shared::new(&words(1), 2).is_none());
    }
}
