//! The attendant of an attachment: a thread that completes what others wait for while the issuer is busy, and
//! wakes the tasks that wait for its IOs ([`handfast_core::protocol::reap`]).
//!
//! An attachment with a ring has one from its beginning; another one from the first task that waits. It sleeps on
//! the slot's bell, and costs nothing while nobody asks. It keeps the pool's memory alive, takes no signals, and
//! ends with the attachment. Checked by: `tests/tests/rings.rs`, `tests/tests/future.rs`.

#![expect(clippy::disallowed_types, reason = "private memory of one process, not protocol words")]

use crate::pool::Inner;
use handfast_core::ids::ProcessSlot;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// The thread of one place, if it runs.
#[derive(Default)]
pub(crate) struct Attendant(Mutex<Option<Running>>);

struct Running {
    thread: JoinHandle<()>,
    leaving: Arc<AtomicBool>,
}

impl Attendant {
    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts it, if it does not run.
    ///
    /// # Errors
    /// The system's: no more threads.
    pub fn start(&self, pool: &Arc<Inner>, slot: ProcessSlot) -> io::Result<()> {
        let mut running = self.running();
        if running.is_some() {
            return Ok(());
        }
        let leaving = Arc::new(AtomicBool::new(false));
        let (pool, told) = (Arc::clone(pool), Arc::clone(&leaving));
        let body = move || {
            let Some(place) = pool.place(slot) else { return };
            let context = pool.context(slot, place);
            // Its refusals are an unknown slot and a callback under way: neither can be.
            let _left = context.reap(&place.tasks, &|| told.load(Ordering::Acquire));
        };
        let builder = thread::Builder::new().name("handfast".to_owned());
        let thread = crate::sys::signals::blocked(|| builder.spawn(body))?;
        *running = Some(Running { thread, leaving });
        Ok(())
    }

    /// Lets it leave, and waits until it has; `rouse` ends its sleep.
    pub fn stop(&self, rouse: impl FnOnce()) {
        let Some(Running { thread, leaving }) = self.running().take() else { return };
        leaving.store(true, Ordering::Release);
        rouse();
        // A panic of its own would be a fault of this crate; those of callbacks are kept in.
        let _joined = thread.join();
    }
}
