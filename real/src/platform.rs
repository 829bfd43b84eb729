//! The production platform: atomics in mapped shared memory, futexes, the monotonic clock.
//!
//! Every function forwards with `#[inline(always)]`, so that the protocol compiles to the bare
//! instructions. Payload fields are relaxed atomics: they cost what plain memory costs on x86-64
//! and aarch64, and a misbehaving peer can cause nonsense but no undefined behaviour.
//!
//! Checked by: the futex tests in `sys::futex`, every multi-process test. The orderings
//! themselves are checked by `handfast-model` on the same protocol source.

#![expect(clippy::disallowed_types, reason = "the platform turns sites into orderings")]

use crate::sys::futex;
use handfast_core::platform::{Atomic64, EventCount, Field, Platform, Slept};
use handfast_core::site::Site;
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::Duration;

/// Shared memory, futexes, the monotonic clock.
#[derive(Debug)]
pub struct Production;

/// A 64-bit atomic with the ordering of its site.
#[derive(Debug)]
#[repr(transparent)]
pub struct Word64(AtomicU64);

/// A relaxed 64-bit atomic.
#[derive(Debug)]
#[repr(transparent)]
pub struct Payload(AtomicU64);

/// A futex word: an event count of its own 32 bits (half of a larger atomic would be undefined
/// behaviour).
#[derive(Debug)]
#[repr(transparent)]
pub struct Count(AtomicU32);

impl Atomic64 for Word64 {
    fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    #[inline(always)]
    fn load(&self, site: Site) -> u64 {
        self.0.load(site.ordering())
    }

    #[inline(always)]
    fn store(&self, site: Site, value: u64) {
        self.0.store(value, site.ordering());
    }

    #[inline(always)]
    fn swap(&self, site: Site, value: u64) -> u64 {
        self.0.swap(value, site.ordering())
    }

    #[inline(always)]
    fn add(&self, site: Site, delta: u64) -> u64 {
        self.0.fetch_add(delta, site.ordering())
    }

    #[inline(always)]
    fn or(&self, site: Site, bits: u64) -> u64 {
        self.0.fetch_or(bits, site.ordering())
    }

    #[inline(always)]
    fn and(&self, site: Site, bits: u64) -> u64 {
        self.0.fetch_and(bits, site.ordering())
    }

    #[inline(always)]
    fn compare_exchange(&self, site: Site, current: u64, new: u64) -> Result<u64, u64> {
        self.0.compare_exchange(current, new, site.ordering(), Ordering::Relaxed)
    }
}

impl Field for Payload {
    fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    #[inline(always)]
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    #[inline(always)]
    fn peek(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Count {
    /// Whether it was posted within this time.
    #[inline]
    fn spin_for(&self, ticket: u32, limit_ns: u64) -> bool {
        limit_ns > 0 && self.spin_until(ticket, Production::now_ns().saturating_add(limit_ns))
    }

    #[cold]
    fn spin_until(&self, ticket: u32, end_ns: u64) -> bool {
        loop {
            for _ in 0..LOOKS_PER_CLOCK {
                if self.ticket() != ticket {
                    return true;
                }
                Production::pause();
            }
            if Production::now_ns() >= end_ns {
                return false;
            }
        }
    }
}

/// How often a spinning sleeper looks between two looks at the clock.
const LOOKS_PER_CLOCK: u32 = 16;

/// Calls `wait` in such a way that a sleep on an event count looks for its post this long before it calls the
/// kernel.
pub(crate) fn spinning<R>(limit_ns: u64, wait: impl FnOnce() -> R) -> R {
    let before = SPIN_NS.replace(limit_ns);
    let waited = wait();
    SPIN_NS.set(before);
    waited
}

impl EventCount for Count {
    fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    fn ticket(&self) -> u32 {
        self.0.load(Site::CountTicket.ordering())
    }

    fn sleep(&self, ticket: u32, slice_ns: u64) -> Slept {
        if self.spin_for(ticket, SPIN_NS.get().min(slice_ns)) {
            return Slept::LookAgain;
        }
        match futex::wait(&self.0, ticket, Some(Duration::from_nanos(slice_ns))) {
            futex::Slept::TimedOut => Slept::SliceOver,
            futex::Slept::Woken | futex::Slept::Changed | futex::Slept::Interrupted => {
                Slept::LookAgain
            }
        }
    }

    const MOST: usize = futex::MOST;

    fn sleep_any(counts: &[(&Self, u32)], slice_ns: u64) -> Slept {
        let words = counts.iter().map(|(count, ticket)| (&count.0, *ticket));
        match futex::wait_any(words, Duration::from_nanos(slice_ns)) {
            futex::Slept::TimedOut => Slept::SliceOver,
            futex::Slept::Woken | futex::Slept::Changed | futex::Slept::Interrupted => {
                Slept::LookAgain
            }
        }
    }

    fn post(&self) {
        self.0.fetch_add(1, Site::CountPost.ordering());
        futex::wake_all(&self.0);
    }

    fn post_some(&self, wake: u32) {
        self.0.fetch_add(1, Site::CountPost.ordering());
        futex::wake(&self.0, wake);
    }
}

thread_local! {
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
    static SPIN_NS: Cell<u64> = const { Cell::new(0) };
}

impl Platform for Production {
    type Atomic64 = Word64;
    type Field = Payload;
    type EventCount = Count;

    #[inline(always)]
    fn fence(site: Site) {
        fence(site.ordering());
    }

    fn now_ns() -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        // Monotonic time is never negative and fits for 584 years.
        #[expect(clippy::cast_sign_loss, reason = "not negative")]
        {
            now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
        }
    }

    fn pause() {
        std::hint::spin_loop();
    }

    #[inline(always)]
    fn set_in_callback(inside: bool) -> bool {
        IN_CALLBACK.replace(inside)
    }

    #[inline(always)]
    fn in_callback() -> bool {
        IN_CALLBACK.get()
    }
}
