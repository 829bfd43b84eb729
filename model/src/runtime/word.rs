//! Words that are not the protocol's: the application's own, in memory that its processes share.
//!
//! The protocol's accesses name sites; these name their orderings, as the application's code does. A
//! callback that is generic over the type of its words runs under every runtime, and in production
//! over [`std::sync::atomic::AtomicU64`].
//!
//! Checked by: `model/tests/check.rs`, in which a missing ordering of such a word is found. Not checked: that a
//! store ends what an earlier release had published through the word; under loom it is a swap.

#![expect(clippy::disallowed_types, reason = "an application chooses its own orderings")]

use std::sync::atomic::Ordering;

/// A 64-bit atomic of the application. Every access is a step: others may come in between, and a mortal
/// actor may die there. The methods are those of [`std::sync::atomic::AtomicU64`].
pub trait SharedWord: Send + Sync {
    /// A new one with this value.
    fn new(value: u64) -> Self;
    /// Atomic load.
    fn load(&self, order: Ordering) -> u64;
    /// Atomic store.
    fn store(&self, value: u64, order: Ordering);
    /// Atomic exchange; the old value.
    fn swap(&self, value: u64, order: Ordering) -> u64;
    /// Atomic wrapping addition; the old value.
    fn fetch_add(&self, value: u64, order: Ordering) -> u64;
    /// Atomic wrapping subtraction; the old value.
    fn fetch_sub(&self, value: u64, order: Ordering) -> u64;
    /// Atomic bitwise or; the old value.
    fn fetch_or(&self, bits: u64, order: Ordering) -> u64;
    /// Atomic bitwise and; the old value.
    fn fetch_and(&self, bits: u64, order: Ordering) -> u64;
    /// Strong compare-exchange; the old value.
    ///
    /// # Errors
    /// The value found, if it is not `current`.
    fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64>;
}

/// Forwards to the atomic inside, with something before and after each access; says what it saw or wrote.
/// The type has `of`, `was_read` and `was_written`.
macro_rules! shared_word {
    ($word:ty, $before:expr, $actor:expr) => {
        impl $word {
            fn note(&self, what: &'static str, value: u64) -> u64 {
                let address = std::ptr::from_ref(self).addr();
                $crate::witness::application($actor(), address, what, value);
                value
            }
        }

        impl SharedWord for $word {
            #[track_caller]
            fn new(value: u64) -> Self {
                Self::of(value)
            }

            #[track_caller]
            fn load(&self, order: Ordering) -> u64 {
                $before();
                let value = self.0.load(order);
                self.was_read();
                self.note("load saw", value)
            }

            #[track_caller]
            fn store(&self, value: u64, order: Ordering) {
                $before();
                // A swap: loom gives a store that races with an update histories that no machine has.
                self.0.swap(value, order);
                self.was_written();
                self.note("store of", value);
            }

            #[track_caller]
            fn swap(&self, value: u64, order: Ordering) -> u64 {
                $before();
                let old = self.0.swap(value, order);
                self.was_written();
                self.note("swap to", value);
                old
            }

            #[track_caller]
            fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
                $before();
                let old = self.0.fetch_add(value, order);
                self.was_written();
                self.note("addition to", old.wrapping_add(value));
                old
            }

            #[track_caller]
            fn fetch_sub(&self, value: u64, order: Ordering) -> u64 {
                $before();
                let old = self.0.fetch_sub(value, order);
                self.was_written();
                self.note("subtraction to", old.wrapping_sub(value));
                old
            }

            #[track_caller]
            fn fetch_or(&self, bits: u64, order: Ordering) -> u64 {
                $before();
                let old = self.0.fetch_or(bits, order);
                self.was_written();
                self.note("or to", old | bits);
                old
            }

            #[track_caller]
            fn fetch_and(&self, bits: u64, order: Ordering) -> u64 {
                $before();
                let old = self.0.fetch_and(bits, order);
                self.was_written();
                self.note("and to", old & bits);
                old
            }

            #[track_caller]
            fn compare_exchange(
                &self,
                current: u64,
                new: u64,
                success: Ordering,
                failure: Ordering,
            ) -> Result<u64, u64> {
                $before();
                let exchanged = self.0.compare_exchange(current, new, success, failure);
                self.was_written();
                match exchanged {
                    Ok(_) => self.note("exchange to", new),
                    Err(found) => self.note("exchange failed on", found),
                };
                exchanged
            }
        }
    };
}

pub(super) use shared_word;
