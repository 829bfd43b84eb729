//! The reaper: a thread of the owning process that performs what [`Reaper`] decides, so that nobody depends on
//! a busy issuer (MUSEUM U1).
//!
//! It completes IOs as its slot's process does. It sleeps on the slot's bell and costs nothing while nobody
//! asks. Invariants: L2, L4, L7, L9. Checked by: the model's scenarios `ring_*`, `lead_*`,
//! `task_*`.

use super::tasks::Tasks;
use super::{Context, Drive, Embed, Error, Lead, Shared};
use crate::decide::lead::{Entered, Leader};
use crate::decide::reaper::{Action, Observation, Reaper};
use crate::platform::{EventCount, Platform, SLICE_NS, Slept};
use crate::site::Site;

/// How long the reaper sleeps on the bell at most: no death can make it miss anybody, so that only a
/// damaged count needs the end of this slice.
pub const BELL_SLICE_NS: u64 = 100 * SLICE_NS;

impl<E: Embed> Context<'_, E> {
    /// Completes the IOs of the own slot that others wait for, if they complete in a ring, and wakes the
    /// tasks whose IO is over, until `leaving` says so. Whoever makes it say so calls
    /// [`Self::rouse_reaper`] afterwards; what was done before shows to whom it says so (a Release store, an
    /// Acquire load), so that the last visit finds every task of an IO that was over by then.
    ///
    /// # Errors
    /// [`Error::NoSlot`], [`Error::InCallback`].
    pub fn reap(&self, tasks: &dyn Tasks, leaving: &dyn Fn() -> bool) -> Result<(), Error> {
        self.outside_callback()?;
        let (lead, slot) = (self.drive.lead(), self.shared.slot(self.me));
        let slot = slot.ok_or(Error::NoSlot(self.me))?;
        // Without a ring there is nothing to look for.
        let own = lead.map_or(0..0, |_| self.shared.owned_by(self.me));
        let mut machine = Reaper::new(own);
        let (mut action, mut ticket, mark) = (Action::TakeTicket, 0, E::P::mark());
        loop {
            E::P::settled(mark, &(&machine, action, ticket));
            let saw = match action {
                Action::TakeTicket => {
                    ticket = slot.bell().ticket();
                    Observation::Ticket
                }
                Action::AskLeave => Observation::Leave(leaving()),
                Action::Look(id) => {
                    Observation::Word(self.at(id).ok().map(|at| at.load(Site::ReapLook)))
                }
                Action::Wake => Observation::Woken { left: self.wake_tasks(tasks) },
                Action::Enter => Observation::Entered(
                    lead.map_or(Entered::Wanted, |lead| lead.enter(Leader::Reaper)),
                ),
                Action::Drain => {
                    lead.map(|lead| self.drain_own(lead));
                    Observation::Drained
                }
                Action::SleepInRing => Observation::Slept(
                    lead.map_or(Slept::LookAgain, |lead| lead.ring().sleep(SLICE_NS)),
                ),
                Action::GiveUp => Observation::GivenUp(lead.is_none_or(Lead::give_up)),
                Action::SleepOnBell { tasks } => {
                    let slice_ns = if tasks { SLICE_NS } else { BELL_SLICE_NS };
                    Observation::Slept(slot.bell().sleep(ticket, slice_ns))
                }
                Action::Probe => {
                    self.probe_for_tasks(tasks);
                    Observation::Probed
                }
                Action::Return => return Ok(()),
            };
            action = machine.next(saw);
        }
    }

    /// Lets the own slot's reaper ask whether it is to leave, wherever it sleeps.
    pub fn rouse_reaper(&self) {
        self.post_bell(self.me);
        if let Some(lead) = self.drive.lead() {
            lead.ring().rouse();
        }
    }
}
