//! The reaper: a thread of the owning process that performs what [`Reaper`] decides, so that nobody depends on
//! a busy issuer (MUSEUM U1).
//!
//! It completes IOs as its slot's process does. It sleeps on the slot's bell and costs nothing while nobody
//! asks. Invariants: L2, L4, L7. Checked by: the model's lead scenarios.

use super::{Context, Drive, Embed, Error, Shared};
use crate::decide::lead::Leader;
use crate::decide::reaper::{Action, Observation, Reaper};
use crate::platform::{EventCount, Platform, SLICE_NS};
use crate::site::Site;

/// How long the reaper sleeps on the bell at most: no death can make it miss anybody, so that only a
/// damaged count needs the end of this slice.
pub const BELL_SLICE_NS: u64 = 100 * SLICE_NS;

impl<E: Embed> Context<'_, E> {
    /// Completes the IOs of the own slot that others wait for, until `leaving` says so and nobody waits.
    /// Whoever makes it say so calls [`Self::rouse_reaper`] afterwards.
    ///
    /// # Errors
    /// [`Error::NoRing`], [`Error::InCallback`].
    pub fn reap(&self, leaving: &dyn Fn() -> bool) -> Result<(), Error> {
        self.outside_callback()?;
        let (Some(lead), Some(slot)) = (self.drive.lead(), self.shared.slot(self.me)) else {
            return Err(Error::NoRing);
        };
        let mut machine = Reaper::new(self.shared.owned_by(self.me));
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
                Action::Enter => Observation::Entered(lead.enter(Leader::Reaper)),
                Action::Drain => {
                    self.drain_own(lead);
                    Observation::Drained
                }
                Action::SleepInRing => {
                    let _looks_again_in_any_case = lead.ring().sleep(SLICE_NS);
                    Observation::Slept
                }
                Action::GiveUp => Observation::GivenUp(lead.give_up()),
                Action::SleepOnBell => {
                    let _looks_again_in_any_case = slot.bell().sleep(ticket, BELL_SLICE_NS);
                    Observation::Slept
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
