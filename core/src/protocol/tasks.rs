//! Tasks: waiters without a thread of their own to sleep in, as futures have them. The reaper of their process
//! waits for them.
//!
//! | who | does |
//! |---|---|
//! | a task that asks for an IO of its own process | is listed, marks the slot, sets WAITERS, posts the slot's bell |
//! | a completer that saw WAITERS | posts the handle's event count, and the owner's bell if its slot is marked |
//! | the issuer, where it ends an IO in place, gives it back, or takes it out of the ring | the same, and rouses the ring |
//! | the reaper | takes the bell's ticket, visits the list, wakes the tasks whose IO is over, sleeps |
//!
//! The mark is never taken back before the slot changes hands: it costs a post that wakes nobody in need. The
//! reaper sleeps in slices while anybody is listed, and probes at the end of each, as any waiter does (L9).
//! Invariants: L4, L7, L9. Checked by: the model's scenarios `task_*`. Not checked: tasks that are dropped; an IO of
//! another process, which nobody promises to a task.

use super::wait::{Waited, announce};
use super::{Context, Embed, Error, Shared};
use crate::decide::waiter::{Look, look};
use crate::ids::{HandleId, ProcessSlot, WaitRef};
use crate::platform::{Atomic64, EventCount};
use crate::site::Site;
use crate::state::Role;

/// The tasks of a process that wait, kept by the embedding.
pub trait Tasks: Sync {
    /// Calls `is_over` with the IO of each; where it says so, wakes the task and takes it off the list. Whether
    /// any is left.
    fn visit(&self, is_over: &mut dyn FnMut(WaitRef) -> bool) -> bool;
}

/// No tasks.
impl Tasks for () {
    fn visit(&self, _is_over: &mut dyn FnMut(WaitRef) -> bool) -> bool {
        false
    }
}

impl<E: Embed> Context<'_, E> {
    /// Whether an IO of the own slot is over; if not, `list` has put the task on the list, and it will be
    /// woken. Never blocks. An IO that is staged is not submitted by this.
    ///
    /// # Errors
    /// A reference of another pool, to no handle. Inside a callback.
    pub fn ask(&self, reference: WaitRef, list: &mut dyn FnMut()) -> Result<Option<Waited>, Error> {
        self.outside_callback()?;
        if let Some(over) = self.glance(reference)? {
            return Ok(Some(over));
        }
        let at = self.at_reference(reference)?;
        let Some(slot) = self.shared.slot(self.me) else { return Ok(None) };
        list();
        slot.notice.store(Site::NoticeSet, 1);
        // The word of a generation changes a finite number of times (L8).
        loop {
            let word = at.load(Site::WaitLook);
            match look(word, reference.generation()) {
                Look::Done => return Ok(Some(Waited::Done)),
                Look::Recycled => return Ok(Some(Waited::Recycled)),
                Look::Stale => return Err(Error::NoSuchIo(reference)),
                Look::Pending => {}
            }
            // Also if WAITERS was set already: this exchange publishes the mark.
            if announce(at, word) {
                break;
            }
        }
        slot.bell().post();
        Ok(None)
    }

    /// Somebody waits for this IO, perhaps a task of its owner's. The issuer's reaper may sleep in the ring, where
    /// it does not hear the bell; other completers of a ring's IO have drained it.
    pub(super) fn notify_tasks(&self, id: HandleId, role: Role) {
        let Some(owner) = self.shared.owner(id).filter(|&owner| self.is_marked(owner)) else {
            return;
        };
        match role {
            Role::Issuer(_) => self.rouse_reaper(),
            Role::Completer(_)
            | Role::Waiter
            | Role::OwnerRecoverer(_)
            | Role::CompleterRecoverer { .. } => self.post_bell(owner),
        }
    }

    /// Whether tasks of a process wait, or have waited, for its IOs.
    pub(super) fn is_marked(&self, owner: ProcessSlot) -> bool {
        self.shared.slot(owner).is_some_and(|slot| slot.notice.load(Site::NoticeLook) != 0)
    }

    /// Visits the tasks; whether any still waits.
    pub(super) fn wake_tasks(&self, tasks: &dyn Tasks) -> bool {
        tasks.visit(&mut |reference| !matches!(self.glance(reference), Ok(None)))
    }

    /// After a slice: looks for deaths on behalf of those who wait.
    pub(super) fn probe_for_tasks(&self, tasks: &dyn Tasks) {
        tasks.visit(&mut |reference| {
            if let Ok(at) = self.at_reference(reference) {
                self.probe(at.id, at.load(Site::WaitLook));
            }
            false
        });
    }
}
