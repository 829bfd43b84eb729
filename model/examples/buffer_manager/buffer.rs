//! The buffer manager: one buffer's header and what its completion callback does to it.
//!
//! | bits of the header | changed by |
//! |---|---|
//! | 0..16 how many pins | everybody who uses the buffer; the IO has one of its own |
//! | 32 VALID: the page is there | the IO's issuer (away), its completion callback (there) |
//! | 33 READING: an IO is under way | the same |
//!
//! Nothing in here knows of the model: [`HeaderWord`] is all that it needs of a word. Production uses
//! it over `AtomicU64`, and calls [`Header::read_is_over`] from its `handfast::Callback`.

#![expect(clippy::disallowed_types, reason = "an application chooses its own orderings")]

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release};

/// What a header needs of its word.
pub trait HeaderWord {
    /// Atomic load.
    fn load(&self, order: Ordering) -> u64;
    /// Atomic store.
    fn store(&self, value: u64, order: Ordering);
    /// Atomic addition; the old value.
    fn fetch_add(&self, value: u64, order: Ordering) -> u64;
    /// Atomic subtraction; the old value.
    fn fetch_sub(&self, value: u64, order: Ordering) -> u64;
    /// One change from exactly this value; whether it happened.
    fn change(&self, from: u64, to: u64, order: Ordering) -> bool;
}

/// As in production.
impl HeaderWord for AtomicU64 {
    fn load(&self, order: Ordering) -> u64 {
        Self::load(self, order)
    }

    fn store(&self, value: u64, order: Ordering) {
        Self::store(self, value, order);
    }

    fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        Self::fetch_add(self, value, order)
    }

    fn fetch_sub(&self, value: u64, order: Ordering) -> u64 {
        Self::fetch_sub(self, value, order)
    }

    fn change(&self, from: u64, to: u64, order: Ordering) -> bool {
        self.compare_exchange(from, to, order, Relaxed).is_ok()
    }
}

/// A pin.
pub const PIN: u64 = 1;
const PINS: u64 = 0xffff;
/// The page is there.
pub const VALID: u64 = 1 << 32;
/// An IO is under way.
pub const READING: u64 = 1 << 33;

/// The mistakes that can be planted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// The callback loads the header, computes, and stores it.
    LostFlag,
    /// The callback takes the IO's pin away each time that it runs.
    NotIdempotent,
    /// The header says VALID when the IO is staged, not when it is over.
    EarlyValid,
    /// The callback's change of the header publishes nothing.
    RelaxedValid,
    /// The callback asks the pool whether another IO is over.
    UsesPool,
}

/// The header of a buffer.
#[derive(Debug)]
pub struct Header<W>(pub W);

impl<W: HeaderWord> Header<W> {
    /// Before the read: the page is not there, and the IO pins the buffer.
    pub fn read_begins(&self) {
        loop {
            let old = self.0.load(Relaxed);
            if self.0.change(old, (old & !VALID | READING) + PIN, AcqRel) {
                return;
            }
        }
    }

    /// The completion callback. The change to "not READING" and the pin's end are one exchange, so that a
    /// repeat after a death finds nothing left to do.
    pub fn read_is_over(&self, worked: bool, bug: Option<Bug>) {
        let there = if worked { VALID } else { 0 };
        let order = if bug == Some(Bug::RelaxedValid) { Relaxed } else { AcqRel };
        loop {
            let old = self.0.load(Acquire);
            if old & READING == 0 && bug != Some(Bug::NotIdempotent) {
                return;
            }
            let new = (old & !READING | there).wrapping_sub(PIN);
            if bug == Some(Bug::LostFlag) {
                self.0.store(new, Release);
                return;
            }
            if self.0.change(old, new, order) {
                return;
            }
        }
    }

    /// The mistake: the page is said to be there when its read has not even begun.
    pub fn valid_too_early(&self) {
        self.0.fetch_add(VALID, AcqRel);
    }

    /// Pins the buffer; whether its page is there.
    pub fn pin(&self) -> bool {
        self.0.fetch_add(PIN, AcqRel) & VALID != 0
    }

    /// Gives a pin back.
    pub fn unpin(&self) {
        self.0.fetch_sub(PIN, Release);
    }

    /// Whether the page is there and nobody reads it any more.
    pub fn is_valid(&self) -> bool {
        self.0.load(Acquire) & (VALID | READING) == VALID
    }

    /// How many pins there are.
    pub fn pins(&self) -> u64 {
        self.0.load(Acquire) & PINS
    }
}
