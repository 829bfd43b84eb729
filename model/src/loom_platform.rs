//! [`Platform`] over loom: every access is a branch point, every load sees any value it legally may.
//!
//! | type | what it is |
//! |---|---|
//! | [`Atomic`] | a loom atomic with the site's ordering, or Relaxed if the site is the mutant |
//! | [`Payload`] | a relaxed loom atomic: a missing happens-before shows as a stale value |
//! | [`Count`] | a loom atomic and a list of parked threads |
//!
//! The event count is faithful to a futex. The comparison is a compare-exchange that always fails,
//! which reads the newest value and orders nothing; between it and the falling asleep there is no
//! branch point, nor is there one between a post's addition and its wake-ups, so compare-and-block
//! is atomic against the waker. A sleep ends by a post only: no slice is ever over, nothing wakes
//! spuriously, and a lost wake-up is loom's deadlock.
//!
//! Invariant asserted here, for every scenario: S5, a completer writes nothing after its Publish.
//! Checked by: `event_count_wakes_only_by_a_post` and the mutants in `model/tests/scenarios.rs`.
//! Not checked: memory that a wake-up orders on Linux only by accident (loom's unpark orders too).

#![expect(clippy::disallowed_types, reason = "a platform passes the sites' orderings on")]

use crate::witness;
use handfast_core::platform::{Atomic64, Change, EventCount, Field, Platform, Slept};
use handfast_core::site::Site;
use handfast_core::state::{Event, Role};
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use loom::thread::{self, Thread};
use std::cell::Cell;
use std::sync::{Mutex, OnceLock, PoisonError};

/// The environment variable that names the one site to weaken, in the process of a mutant.
pub const WEAKEN: &str = "HANDFAST_WEAKEN";

/// The site that this process weakens to Relaxed, if it is a mutant's. Read once; a fence is
/// weakened by leaving it out.
///
/// # Panics
/// If [`WEAKEN`] names no site: a mutant that is misspelt must not pass for one that survives.
#[must_use]
pub fn weakened() -> Option<Site> {
    static CHOSEN: OnceLock<Option<Site>> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let name = std::env::var(WEAKEN).ok()?;
        let site = Site::ALL.iter().copied().find(|site| site.name() == name);
        assert!(site.is_some(), "{WEAKEN}={name} names no site: use a name from core's site list");
        site
    })
}

fn ordering(site: Site) -> Ordering {
    if weakened() == Some(site) { Ordering::Relaxed } else { site.ordering() }
}

loom::thread_local! {
    static IN_CALLBACK: Cell<bool> = Cell::new(false);
    /// This thread has published as a completer; it has nothing more to write (S5).
    static PUBLISHED: Cell<bool> = Cell::new(false);
}

#[track_caller]
fn about_to_write() {
    assert!(!PUBLISHED.with(Cell::get), "S5: a completer wrote to the handle after its Publish");
}

/// A state word, slot word or lease word.
#[derive(Debug)]
pub struct Atomic(AtomicU64);

impl Atomic64 for Atomic {
    #[track_caller]
    fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    #[track_caller]
    fn load(&self, site: Site) -> u64 {
        self.0.load(ordering(site))
    }

    #[track_caller]
    fn store(&self, site: Site, value: u64) {
        about_to_write();
        self.0.store(value, ordering(site));
    }

    #[track_caller]
    fn swap(&self, site: Site, value: u64) -> u64 {
        about_to_write();
        self.0.swap(value, ordering(site))
    }

    #[track_caller]
    fn add(&self, site: Site, delta: u64) -> u64 {
        about_to_write();
        self.0.fetch_add(delta, ordering(site))
    }

    #[track_caller]
    fn or(&self, site: Site, bits: u64) -> u64 {
        about_to_write();
        self.0.fetch_or(bits, ordering(site))
    }

    #[track_caller]
    fn and(&self, site: Site, bits: u64) -> u64 {
        about_to_write();
        self.0.fetch_and(bits, ordering(site))
    }

    #[track_caller]
    fn compare_exchange(&self, site: Site, current: u64, new: u64) -> Result<u64, u64> {
        about_to_write();
        self.0.compare_exchange(current, new, ordering(site), Ordering::Relaxed)
    }
}

/// A word of payload. Relaxed, so that every value a reader must not see is one it can see unless
/// the protocol orders it; the scenarios assert the values.
#[derive(Debug)]
pub struct Payload(AtomicU64);

impl Field for Payload {
    #[track_caller]
    fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    #[track_caller]
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    #[track_caller]
    fn set(&self, value: u64) {
        about_to_write();
        self.0.store(value, Ordering::Relaxed);
    }

    #[track_caller]
    fn peek(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// An event count whose sleeps end by a post only.
#[derive(Debug)]
pub struct Count {
    count: AtomicU32,
    /// Not part of the model: it is changed in the same step as `count`, or right after the
    /// comparison with it, so no other thread of the model can see it in between.
    sleepers: Mutex<Vec<Thread>>,
}

/// No count of a scenario gets here, so the compare-exchange of a sleep always fails.
const NEVER: u32 = u32::MAX;

impl Count {
    fn sleepers(&self) -> std::sync::MutexGuard<'_, Vec<Thread>> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventCount for Count {
    #[track_caller]
    fn new() -> Self {
        Self { count: AtomicU32::new(0), sleepers: Mutex::new(Vec::new()) }
    }

    #[track_caller]
    fn ticket(&self) -> u32 {
        self.count.load(ordering(Site::CountTicket))
    }

    #[track_caller]
    fn sleep(&self, ticket: u32, _slice_ns: u64) -> Slept {
        let newest =
            self.count.compare_exchange(NEVER, NEVER, Ordering::Relaxed, Ordering::Relaxed);
        if newest == Err(ticket) {
            self.sleepers().push(thread::current());
            witness::saw("slept");
            thread::park();
        } else {
            witness::saw("ticket was old");
        }
        Slept::LookAgain
    }

    #[track_caller]
    fn post(&self) {
        self.count.fetch_add(1, ordering(Site::CountPost));
        let woken = std::mem::take(&mut *self.sleepers());
        witness::saw(if woken.is_empty() { "posted to nobody" } else { "woke a sleeper" });
        woken.iter().for_each(Thread::unpark);
    }
}

/// loom as a platform.
#[derive(Debug)]
pub struct Loom;

impl Platform for Loom {
    type Atomic64 = Atomic;
    type Field = Payload;
    type EventCount = Count;

    #[track_caller]
    fn fence(site: Site) {
        if weakened() != Some(site) {
            fence(site.ordering());
        }
    }

    fn now_ns() -> u64 {
        0
    }

    fn pause() {
        thread::yield_now();
    }

    fn set_in_callback(inside: bool) -> bool {
        IN_CALLBACK.with(|mark| mark.replace(inside))
    }

    fn in_callback() -> bool {
        IN_CALLBACK.with(Cell::get)
    }

    fn changed(change: Change) {
        if matches!((change.event, change.role), (Event::Publish, Role::Completer(_))) {
            PUBLISHED.with(|published| published.set(true));
        }
        witness::changed(change);
    }
}
