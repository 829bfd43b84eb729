//! A process's coming and going in a world, and what a viewer may see of it.
//!
//! Invariants asserted here: S9 (a view is of one generation and state), S19 (an attachment finds every
//! handle idle), L10 (a recovery leaves a slot that can be used).

use super::{Effects, World, io, raw_of, request, shared_outcome};
use crate::runtime::{Lock, Runtime};
use handfast_core::handle::{HandleView, SlotWord};
use handfast_core::ids::ProcessSlot;
use handfast_core::platform::SlotLocks;
use handfast_core::protocol::recover::Recovered;
use handfast_core::protocol::{Attached, Callbacks};
use handfast_core::state::State;

/// The process id of the `epoch`-th attachment in every scenario.
#[must_use]
pub const fn pid(epoch: u32) -> u32 {
    1000 + epoch
}

impl<R: Runtime, C: Callbacks<R> + Send + 'static> World<R, C> {
    /// Takes the lock of a slot for the calling actor's process and attaches there.
    ///
    /// # Panics
    /// If somebody holds the lock, or the slot cannot be attached to (S19).
    pub fn enter(&self, me: ProcessSlot, epoch: u32) -> Attached {
        assert!(self.kernel.try_lock(me), "S19: the slot's lock is held");
        let attached = self.context(me).attach(pid(epoch));
        let attached = attached.expect("S19: a handle of the slot is not idle");
        let attached = attached.expect("L10: the slot cannot be recovered");
        assert_eq!(attached.epoch, epoch, "S19: the attachment's number");
        attached
    }

    /// Ends the process that holds the lock without a detach: what a death leaves behind.
    pub fn exit(&self, me: ProcessSlot) {
        self.kernel.unlock(me);
    }

    /// Waits until nobody holds the lock of a slot.
    pub fn until_gone(&self, other: ProcessSlot) {
        if let Some(lock) = self.kernel.lock(other) {
            lock.until_free();
        }
    }

    /// Recovers a slot whose process is gone.
    ///
    /// # Panics
    /// If that does not come to an end (L10).
    pub fn recover(&self, me: ProcessSlot, dead: ProcessSlot) {
        let recovered = self.context(me).recover(dead);
        assert_eq!(recovered, Recovered::Complete, "L10: the recovery did not finish");
    }

    /// Recovers a slot that nobody is in any more, if it has to be; it can be used again then.
    ///
    /// # Panics
    /// If it cannot (L10).
    pub fn clear_up(&self, me: ProcessSlot, gone: ProcessSlot) {
        let left = self.context(me).recover(gone);
        assert_ne!(left, Recovered::Unfinished, "L10: everybody is gone, so nothing is open");
        let active = self.context(me).slot_word(gone).is_some_and(SlotWord::is_active);
        assert!(!active && self.kernel.is_free(gone), "L10: the slot {gone:?} is lost");
    }

    /// A process id that belongs to the attachment which is there, or to a later one.
    ///
    /// # Panics
    /// If it is an older one.
    pub fn assert_pid(&self, of: ProcessSlot) -> bool {
        use handfast_core::protocol::Shared as _;
        let word = self.context(of).slot_word(of).expect("the slot exists");
        let seen = self.words.slot(of).map_or(0, handfast_core::handle::Slot::pid);
        if word.is_active() {
            assert!(seen >= pid(word.epoch()), "S9: active, but the identity is older: {seen}");
        }
        word.is_active()
    }
}

impl<R: Runtime> World<R, Effects<R>> {
    /// A view of a handle, judged: what the word says is there is that of the word's IO.
    ///
    /// # Panics
    /// If it is another IO's (S9).
    pub fn assert_view(&self, me: ProcessSlot, handle: u32, callbacks: bool) -> HandleView {
        let view = self.context(me).view(io(handle, 1).0).expect("the handle exists");
        let this = (view.handle, view.word.generation());
        let state = view.word.state();
        if state >= State::Defined {
            if let Some(seen) = view.request {
                assert_eq!(seen, request(this, callbacks), "S9: a view of another request");
            } else {
                panic!("S9: {:?} without a request", view.word);
            }
        }
        if let Some(raw) = view.raw {
            assert_eq!(raw, raw_of(this), "S9: a view of another raw result");
        }
        if state >= State::CompletedShared {
            let expected = Some(shared_outcome(this, callbacks));
            assert_eq!(view.outcome, expected, "S9: a view of another result");
        }
        view
    }
}
