//! A worker of the simulated method: the shipped worker, with a simulated execution.
//!
//! A worker is attached, so that its slot lock says whether it lives: if it dies, whoever misses the
//! IO takes its claim back and rings.
//!
//! Checked by: the scenarios with workers. Not checked: that a process stands in for workers that all died.

#![expect(clippy::disallowed_types, reason = "the word that says to leave is the model's own")]

use crate::manner::How;
use crate::runtime::{Runtime, SharedWord as _};
use crate::world::{World, io};
use handfast_core::ids::{HandleId, ProcessSlot};
use handfast_core::protocol::{Callbacks, Shared as _};
use handfast_core::request::Request;
use handfast_core::state::Role;
use std::sync::atomic::Ordering;

impl<R: Runtime, C: Callbacks<R> + Send + 'static> World<R, C> {
    /// The body of a worker's actor: it attaches at its slot, works until [`Self::close`], and
    /// detaches.
    ///
    /// # Panics
    /// If the slot cannot be had, or the world has no workers.
    pub fn work(&self, me: ProcessSlot) {
        let attached = self.attach(me, How::Workers).expect("its own slot");
        let mut execute = |id: HandleId, request: &Request| {
            R::saw("a worker executed");
            self.kernel.execute(io(id.0, request.offset))
        };
        let worked = self.context(me).work(&mut execute, &|| self.is_closing());
        worked.expect("the world has workers");
        self.detach(attached);
    }

    /// Lets every worker return.
    pub fn close(&self) {
        if let (Some(closing), Some(doorbell)) =
            (&self.kernel.closing, self.context(crate::world::slot(0)).shared.doorbell())
        {
            closing.store(1, Ordering::Release);
            doorbell.ring_all();
        }
    }

    fn is_closing(&self) -> bool {
        let closing = self.kernel.closing.as_ref();
        closing.is_none_or(|closing| closing.load(Ordering::Acquire) != 0)
    }

    /// Executes and completes the IO of this handle, if it can be claimed: as a process does that has found
    /// it by itself.
    ///
    /// # Panics
    /// If somebody else completes what is claimed (S1).
    pub fn claim_and_execute(&self, me: ProcessSlot, id: HandleId) {
        let context = self.context(me);
        if let Some(claimed) = context.claim(id).expect("the handle exists") {
            let this = (claimed.id, claimed.generation);
            let won = context.complete(this, self.kernel.execute(this), Role::Completer(me));
            assert_eq!(won, Ok(true), "S1: nobody else completes what is claimed");
        }
    }
}
