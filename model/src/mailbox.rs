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
//! Fails as a deadlock, if nothing is ever put. Checked by: `issuer_completer` and its mutants.

use crate::runtime::{Queue, Runtime};
use handfast_core::ids::{Generation, HandleId};
use handfast_core::platform::Field;

/// An IO: which use of which handle.
pub type IoId = (HandleId, Generation);

/// A queue of IOs, the newest of which can be seen from outside.
pub struct Mailbox<R: Runtime> {
    newest: R::Field,
    queue: R::Queue,
}

/// Both numbers of an IO in one entry; a scenario's generations are small.
#[must_use]
pub const fn entry((id, generation): IoId) -> u64 {
    (id.0 as u64) << 32 | generation.get()
}

/// The IO of an entry; `None` for an entry that stands for something else.
#[must_use]
pub fn io_of(entry: u64) -> Option<IoId> {
    let generation = Generation::new(entry & 0xffff_ffff)?;
    Some((HandleId(u32::try_from(entry >> 32).ok()?), generation))
}

impl<R: Runtime> Default for Mailbox<R> {
    fn default() -> Self {
        Self { newest: R::Field::new(0), queue: R::Queue::new() }
    }
}

impl<R: Runtime> Mailbox<R> {
    /// Puts an IO in and wakes whoever waits for it.
    pub fn put(&self, io: IoId) {
        self.newest.set(entry(io));
        self.queue.push(entry(io));
    }

    /// The newest IO, if this thread happens to see it; orders nothing and takes nothing.
    pub fn glance(&self) -> Option<IoId> {
        io_of(self.newest.peek())
    }

    /// Takes an IO; blocks until there is one, and sees all that its issuer did before. `None` after
    /// [`Self::close`].
    pub fn wait(&self) -> Option<IoId> {
        io_of(self.queue.pop())
    }

    /// Takes an IO, if there is one.
    pub fn try_take(&self) -> Option<IoId> {
        self.queue.try_pop().and_then(io_of)
    }

    /// Lets one [`Self::wait`] return with nothing.
    pub fn close(&self) {
        self.queue.push(0);
    }
}
