//! A simulated device: it executes what was submitted to it late, out of order, partly or not at
//! all, and it survives its issuer.
//!
//! | queue | from | to |
//! |---|---|---|
//! | `submitted` | the issuer's submission; the kernel, when the issuer has died | the device |
//! | `completed` | the device, after a death | whoever recovers the dead one ([`Drive::drain_dead`]) |
//!
//! While the issuer lives the device also is the thread of its process that reaps: it completes each
//! IO. After a death it goes on writing until nothing is in flight any more; only then the slot lock
//! of the dead process is free, as with io_uring. That the queue says in which order submissions
//! and the death came is what makes it so.
//!
//! Invariant asserted here: S24, nothing is over while the device still has to write it.
//! Not checked: a recoverer that dies with an entry in its hand loses that result (it reports
//! `OwnerDied`); a real completion queue would still have it.
//!
//! [`Drive::drain_dead`]: handfast_core::protocol::Drive::drain_dead

use crate::mailbox::{IoId, entry, io_of};
use crate::runtime::{Queue, Runtime};
use crate::world::{World, reference};
use handfast_core::ids::{Generation, HandleId, ProcessSlot};
use handfast_core::outcome::RawResult;
use handfast_core::protocol::{Callbacks, Deliver};
use handfast_core::state::Role;

/// Entries of the queue that are no IO.
const CLOSE: u64 = 0;
const DEATH: u64 = u64::MAX;

/// The queues of a slot's device.
pub struct Device<R: Runtime> {
    submitted: R::Queue,
    completed: R::Queue,
}

impl<R: Runtime> Default for Device<R> {
    fn default() -> Self {
        Self { submitted: R::Queue::new(), completed: R::Queue::new() }
    }
}

impl<R: Runtime> Device<R> {
    pub(crate) fn submit(&self, io: IoId) {
        self.submitted.push(entry(io));
    }

    pub(crate) fn owner_died(&self) {
        self.submitted.push(DEATH);
    }

    /// Lets [`World::serve`] return when nothing is in flight any more.
    pub fn close(&self) {
        self.submitted.push(CLOSE);
    }

    pub(crate) fn drain(&self, deliver: Deliver<'_>) {
        while let Some((id, generation, raw)) = self.completed.try_pop().and_then(unpacked) {
            let _dropped_if_it_is_over = deliver(id, generation, raw);
        }
    }
}

/// An IO and its result in one entry: handle and generation in 16 bits each, as a scenario has few.
fn packed((id, generation): IoId, raw: RawResult) -> u64 {
    u64::from(id.0) << 48 | generation.get() << 32 | u64::from(raw.0.cast_unsigned())
}

fn unpacked(entry: u64) -> Option<(HandleId, Generation, RawResult)> {
    let raw = u32::try_from(entry & 0xffff_ffff).ok()?.cast_signed();
    let id = u32::try_from(entry >> 48).ok()?;
    Some((HandleId(id), Generation::new(entry >> 32 & 0xffff)?, RawResult(raw)))
}

/// What a device has before it.
struct Work {
    held: Vec<IoId>,
    open: bool,
    owner_lives: bool,
}

impl Work {
    fn take(&mut self, entry: u64) {
        match entry {
            DEATH => (self.open, self.owner_lives) = (false, false),
            CLOSE => self.open = false,
            io => self.held.extend(io_of(io)),
        }
    }
}

impl<R: Runtime, C: Callbacks<R> + Send + 'static> World<R, C> {
    /// The body of the actor that is the device of this slot. Returns when it is closed, or its issuer
    /// has died, and nothing is in flight.
    ///
    /// # Panics
    /// If an IO is over before the device has finished with it (S24), or somebody else completes it (S1);
    /// if the slot has no device.
    pub fn serve(&self, me: ProcessSlot) {
        let device = self.kernel.device(me).expect("the world was made with this device");
        let mut work = Work { held: Vec::new(), open: true, owner_lives: true };
        while work.open || !work.held.is_empty() {
            if work.held.is_empty() {
                work.take(device.submitted.pop());
            }
            while work.open && R::choose(2) == 1 {
                let Some(entry) = device.submitted.try_pop() else { break };
                work.take(entry);
            }
            if !work.held.is_empty() {
                let io = work.held.remove(R::choose(work.held.len()));
                self.perform(me, io, work.owner_lives);
            }
        }
        if !work.owner_lives {
            self.kernel.free_locks_of(me.get());
        }
    }

    fn perform(&self, me: ProcessSlot, io: IoId, owner_lives: bool) {
        self.assert_not_over(me, io);
        let raw = self.kernel.execute(io);
        self.assert_not_over(me, io);
        if owner_lives {
            let won = self.context(me).complete(io, raw, Role::Completer(me));
            assert_eq!(won, Ok(true), "S1: nobody else completes what the device does");
        } else if let Some(device) = self.kernel.device(me) {
            R::saw("the device wrote after a death");
            device.completed.push(packed(io, raw));
        }
    }

    fn assert_not_over(&self, me: ProcessSlot, io: IoId) {
        let over = self.context(me).glance(reference(io)).expect("the reference is good");
        assert!(over.is_none(), "S24: {io:?} is over while the device still has to write it");
    }
}
