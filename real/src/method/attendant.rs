//! The attendant of an attachment: a thread that completes what others wait for while the issuer is busy, and
//! wakes the tasks that wait for its IOs ([`handfast_core::protocol::reap`]).
//!
//! An attachment with a ring has one from its beginning; another one from the first task that waits. It sleeps on
//! the slot's bell, and costs nothing while nobody asks. It keeps the pool's memory alive, takes no signals, and
//! ends with the attachment; where a task ends that as it is woken, the attendant does the rest. Panics of callbacks
//! and wakers are kept in where these are called; after one of this crate's own it begins again. Checked by:
//! `tests/tests/rings.rs`, `tests/tests/future.rs`, `tests/tests/wakers.rs`, the unit tests below.

#![expect(clippy::disallowed_types, reason = "private memory of one process, not protocol words")]

use crate::pool::{Inner, Shipped};
use crate::registry::caught;
use handfast_core::ids::ProcessSlot;
use handfast_core::protocol::tasks::Tasks;
use handfast_core::protocol::{Context, Drive as _};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

/// The thread of one place, if it runs.
#[derive(Default)]
pub(crate) struct Attendant(Mutex<Option<Running>>);

struct Running {
    thread: JoinHandle<()>,
    leaving: Arc<Leaving>,
}

/// What its attachment tells it.
#[derive(Default)]
struct Leaving {
    told: AtomicBool,
    /// Set before that if it is to end the attachment itself: whether the slot is pristine.
    pristine: OnceLock<bool>,
}

/// What came of letting it leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Stopped {
    /// It does not run: [`crate::place::Place::end`] is the caller's to do.
    Left,
    /// It is the caller's own thread, and does that when it leaves.
    HandedOver,
}

impl Attendant {
    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts it, if it does not run, or not any more.
    ///
    /// # Errors
    /// The system's: no more threads.
    pub fn start(&self, pool: &Arc<Inner>, slot: ProcessSlot) -> io::Result<()> {
        let mut running = self.running();
        if running.as_ref().is_some_and(|running| !running.thread.is_finished()) {
            return Ok(());
        }
        let leaving = Arc::new(Leaving::default());
        let (pool, hears) = (Arc::clone(pool), Arc::clone(&leaving));
        let body = move || {
            let Some(place) = pool.place(slot) else { return };
            let context = pool.context(slot, place);
            attend(&context, &place.tasks, &|| hears.told.load(Ordering::Acquire));
            if let Some(&pristine) = hears.pristine.get() {
                // Nobody is left to be told that something is still in flight.
                let _done = place.end(slot, pristine);
            }
        };
        let builder = thread::Builder::new().name("handfast".to_owned());
        let thread = crate::sys::signals::blocked(|| builder.spawn(body))?;
        *running = Some(Running { thread, leaving });
        Ok(())
    }

    /// Lets it leave, and waits until it has; `rouse` ends its sleep. In its own thread, which is where a task
    /// that it woke has ended the attachment, it cannot wait, and may lead the ring: the rest is handed over.
    pub fn stop(&self, pristine: bool, rouse: impl FnOnce()) -> Stopped {
        let Some(Running { thread, leaving }) = self.running().take() else { return Stopped::Left };
        let own = thread.thread().id() == thread::current().id();
        if own {
            let _first_and_last = leaving.pristine.set(pristine);
        }
        leaving.told.store(true, Ordering::Release);
        rouse();
        if own {
            return Stopped::HandedOver;
        }
        // It lets no panic out.
        let _joined = thread.join();
        Stopped::Left
    }
}

/// How often it begins. A panic that comes back each time must not keep a processor busy for ever: the next task
/// that waits starts it anew.
const BEGINNINGS: u32 = 16;

fn attend(context: &Context<'_, Shipped>, tasks: &dyn Tasks, leaving: &dyn Fn() -> bool) {
    for _ in 0..BEGINNINGS {
        // Its refusals are an unknown slot and a callback under way: neither can be.
        if caught(|| context.reap(tasks, leaving)).is_ok() {
            return;
        }
        // Nobody else could take the lead that it may have had. What is wanted of it, it finds when it begins. A
        // refusal is an entry of the issuer's, who sleeps then.
        if let Some(lead) = context.drive.lead().filter(|lead| lead.is_the_reapers()) {
            while !lead.give_up() {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::Method;
    use crate::pool::Pool;
    use handfast_core::decide::lead::{Entered, Leader};
    use handfast_core::ids::WaitRef;
    use std::sync::atomic::AtomicU32;

    /// Panics the first times that it is visited.
    struct Panics {
        visits: AtomicU32,
        times: u32,
    }

    impl Panics {
        fn new(times: u32) -> Self {
            Self { visits: AtomicU32::new(0), times }
        }

        fn visits(&self) -> u32 {
            self.visits.load(Ordering::Relaxed)
        }
    }

    impl Tasks for Panics {
        fn visit(&self, _is_over: &mut dyn FnMut(WaitRef) -> bool) -> bool {
            let before = self.visits.fetch_add(1, Ordering::Relaxed);
            assert!(before >= self.times, "visit {before}");
            false
        }
    }

    #[test]
    fn l2_an_attendant_that_panics_begins_again_without_the_lead() {
        let pool = Pool::builder().method(Method::IoUring).create().unwrap();
        let me = pool.attach().unwrap();
        let place = pool.place(me.slot()).unwrap();
        let context = pool.inner().context(me.slot(), place);
        assert_eq!(place.attendant.stop(true, || context.rouse_reaper()), Stopped::Left);
        let lead = place.lead().unwrap();
        assert!(lead.take(Leader::Reaper));
        assert_eq!(lead.enter(Leader::Issuer), Entered::Wanted);
        let tasks = Panics::new(1);
        attend(&context, &tasks, &|| true);
        assert_eq!(tasks.visits(), 2);
        assert!(lead.take(Leader::Issuer), "it is free");
        assert!(!lead.leave());
    }

    #[test]
    fn an_attendant_that_always_panics_ends_and_can_be_started_again() {
        let pool = Pool::builder().method(Method::Sync).create().unwrap();
        let me = pool.attach().unwrap();
        let place = pool.place(me.slot()).unwrap();
        let tasks = Panics::new(u32::MAX);
        attend(&pool.inner().context(me.slot(), place), &tasks, &|| false);
        assert_eq!(tasks.visits(), BEGINNINGS);
        let thread = thread::spawn(|| ());
        while !thread.is_finished() {
            thread::yield_now();
        }
        *place.attendant.running() = Some(Running { thread, leaving: Arc::default() });
        place.attendant.start(pool.inner(), me.slot()).unwrap();
        assert!(!place.attendant.running().as_ref().unwrap().thread.is_finished());
    }
}
