//! Sleeping under shuttle: parked threads, and the event count over them.
//!
//! A thread that is not in the list any more is awake, even before its turn comes; one that runs and is
//! in it was woken for no reason. See the table in [`super`] for what ends a sleep.

#![expect(clippy::disallowed_types, reason = "a platform passes the sites' orderings on")]

use super::{EXECUTION, Shuttle, died, me, mortal_step, random, step, switch, with_me};
use crate::runtime::Runtime as _;
use crate::trace::What;
use crate::witness;
use handfast_core::platform::{EventCount, SLICE_NS, Slept};
use handfast_core::site::Site;
use shuttle::sync::atomic::AtomicU32;
use shuttle::thread::{self, Thread};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Threads that are parked, to be woken together.
#[derive(Debug, Default)]
pub(super) struct Sleepers(Mutex<Vec<(usize, Thread)>>);

impl Sleepers {
    fn list(&self) -> MutexGuard<'_, Vec<(usize, Thread)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add_me(&self) {
        self.list().push((me(), thread::current()));
    }

    fn have_me(&self) -> bool {
        let me = me();
        self.list().iter().any(|(task, _)| *task == me)
    }

    fn remove_me(&self) {
        let me = me();
        self.list().retain(|(task, _)| *task != me);
    }

    /// Takes them all; whoever is not in the list any more is awake, even before its turn comes.
    fn take(&self) -> Vec<(usize, Thread)> {
        std::mem::take(&mut *self.list())
    }

    pub(super) fn wake_all(&self) {
        self.take().iter().for_each(|(_, thread)| thread.unpark());
    }

    /// Parks until woken. It must have been added in the same step as the condition was seen.
    pub(super) fn park(&self) {
        while self.have_me() {
            thread::park();
        }
    }
}

/// An event count to sleep on; see the module's text for what ends a sleep.
#[derive(Debug)]
pub struct Count {
    count: AtomicU32,
    sleepers: Sleepers,
}

/// At most this many others take a step between the falling asleep and the end of its time.
const STEPS_ASLEEP: u64 = 12;

impl Count {
    /// Sleeps; the caller is in the lists of sleepers of all of them.
    fn sleep_until_woken(counts: &[(&Self, u32)], slice_ns: u64) -> Slept {
        with_me(|task| {
            task.disturbed = false;
            task.asleep = Some(thread::current());
        });
        let slept = Self::sleep_on(counts, slice_ns);
        with_me(|task| task.asleep = None);
        counts.iter().for_each(|(count, _)| count.sleepers.remove_me());
        slept
    }

    fn sleep_on(counts: &[(&Self, u32)], slice_ns: u64) -> Slept {
        let woken = || counts.iter().any(|(count, _)| !count.sleepers.have_me());
        while slice_ns > SLICE_NS || slice_ns == SLICE_NS && !died() {
            // It may have been woken while it came to be in the last list: then this does not block.
            thread::park();
            if woken() {
                return Slept::LookAgain;
            }
            if with_me(|task| task.disturbed) {
                witness::saw("woke for no reason");
                return Slept::LookAgain;
            }
        }
        for _ in 0..random(STEPS_ASLEEP) {
            switch();
            if woken() {
                return Slept::LookAgain;
            }
        }
        EXECUTION.with_borrow_mut(|execution| execution.now_ns += slice_ns);
        witness::saw(if slice_ns < SLICE_NS { "time was over" } else { "slice was over" });
        Slept::SliceOver
    }
}

impl Count {
    /// The addition, and then the wake-up, of some or of all: two steps, as in production.
    fn wake(&self, at_most: usize) {
        step();
        self.count.fetch_add(1, Site::CountPost.ordering());
        mortal_step();
        switch();
        let mut woken = self.sleepers.take();
        while woken.len() > at_most {
            let left = usize::try_from(random(woken.len() as u64)).expect("below a usize");
            self.sleepers.list().push(woken.swap_remove(left));
        }
        witness::step(Shuttle::actor(), What::Posted(witness::place_of(self), woken.len()));
        woken.iter().for_each(|(_, thread)| thread.unpark());
    }
}

impl EventCount for Count {
    fn new() -> Self {
        Self { count: AtomicU32::new(0), sleepers: Sleepers::default() }
    }

    fn ticket(&self) -> u32 {
        step();
        self.count.load(Site::CountTicket.ordering())
    }

    fn sleep(&self, ticket: u32, slice_ns: u64) -> Slept {
        Self::sleep_any(&[(self, ticket)], slice_ns)
    }

    const MOST: usize = 3;

    fn sleep_any(counts: &[(&Self, u32)], slice_ns: u64) -> Slept {
        for (turn, (count, ticket)) in counts.iter().enumerate() {
            step();
            if slice_ns == 0 {
                return Slept::SliceOver;
            }
            let place = witness::place_of(*count);
            if count.count.load(Ordering::Relaxed) != *ticket {
                counts[..turn].iter().for_each(|(count, _)| count.sleepers.remove_me());
                witness::step(Shuttle::actor(), What::TicketOld(place));
                return Slept::LookAgain;
            }
            count.sleepers.add_me();
            witness::step(Shuttle::actor(), What::Slept(place));
        }
        let slept = Self::sleep_until_woken(counts, slice_ns);
        for (count, _) in counts {
            witness::step(Shuttle::actor(), What::Woke(witness::place_of(*count)));
        }
        slept
    }

    fn post(&self) {
        self.wake(usize::MAX);
    }

    fn post_some(&self, wake: u32) {
        self.wake(usize::try_from(wake).expect("a few"));
    }
}
