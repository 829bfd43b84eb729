//! From the issuer's submission to the thread that completes it: the queue of a simulated method.
//!
//! | call | orders memory | finds the IO |
//! |---|---|---|
//! | [`Mailbox::glance`] | no | perhaps |
//! | [`Mailbox::wait`] | yes, as every queue of a real method does | always |
//!
//! A completer glances first. What it sees then has come over no ordering but that of the state
//! word, so an ordering that is missing there shows. Only if that fails it waits, by blocking:
//! a loop that yields would hide schedules from loom, which runs a yielding thread only when
//! no other can.
//!
//! Fails as loom's deadlock, if nothing is ever put. Checked by: `issuer_completer` and its mutants.
//! Not checked: more than one IO.

#![expect(clippy::disallowed_types, reason = "the method's own queue, not the protocol")]

use crate::loom_platform::Payload;
use handfast_core::ids::{Generation, HandleId};
use handfast_core::platform::Field;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread::{self, Thread};
use std::sync::{Mutex, PoisonError};

/// Room for one IO.
#[derive(Debug)]
pub struct Mailbox {
    io: Payload,
    rung: AtomicU32,
    /// Changed in the same step of the model as `rung`, as in [`crate::loom_platform::Count`].
    sleeper: Mutex<Option<Thread>>,
}

impl Mailbox {
    pub(crate) fn new() -> Self {
        Self { io: Payload::new(0), rung: AtomicU32::new(0), sleeper: Mutex::new(None) }
    }

    fn sleeper(&self) -> std::sync::MutexGuard<'_, Option<Thread>> {
        self.sleeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an IO in and wakes whoever waits for it.
    pub(crate) fn put(&self, (id, generation): (HandleId, Generation)) {
        self.io.set(u64::from(id.0) << 32 | generation.get());
        self.rung.fetch_add(1, Ordering::Release);
        if let Some(thread) = self.sleeper().take() {
            thread.unpark();
        }
    }

    /// The IO, if this thread happens to see it; orders nothing.
    pub fn glance(&self) -> Option<(HandleId, Generation)> {
        let bits = self.io.get();
        let generation = Generation::new(bits & 0xffff_ffff)?;
        Some((HandleId(u32::try_from(bits >> 32).ok()?), generation))
    }

    /// Blocks until there is an IO, and sees all that its issuer did before.
    ///
    /// # Panics
    /// Never: after the ring the IO is in sight.
    pub fn wait(&self) -> (HandleId, Generation) {
        // An addition of nothing, because it reads the newest count.
        if self.rung.fetch_add(0, Ordering::Acquire) == 0 {
            *self.sleeper() = Some(thread::current());
            thread::park();
        }
        self.glance().expect("a ring follows what was put in")
    }
}
