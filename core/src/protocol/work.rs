//! A worker: performs what [`Worker`] decides (`IoWorkerMain` of PostgreSQL).
//!
//! It owns an IO from the claim to COMPLETED_SHARED; if it dies in between, a recoverer takes the claim
//! back or finishes the completion. No sleep is longer than a second, after which it looks again:
//! whoever rang may have died on the way, and then its recoverer rings, or the waiter whose slice is over. Without
//! a death no wake-up depends on that. Invariants: S1, L2,
//! L5. Checked by: the model's worker scenarios.

use super::complete::Claimed;
use super::hint::words_for;
use super::{Context, Embed, Error, Execute, Shared};
use crate::decide::worker::{Action, Observation, Worker};
use crate::ids::{HandleId, ProcessSlot};
use crate::outcome::RawResult;
use crate::platform::Platform;
use crate::state::Role;

impl<E: Embed> Context<'_, E> {
    /// Claims and executes IOs of the pool until `leaving` says so. Whoever makes it say so calls
    /// [`Doorbell::ring_all`](super::doorbell::Doorbell::ring_all) afterwards, because the worker may
    /// be asleep.
    ///
    /// `execute` has to return: nobody else may complete what a living process has claimed.
    ///
    /// # Errors
    /// [`Error::NoWorkers`], [`Error::InCallback`].
    pub fn work(&self, execute: Execute<'_>, leaving: &dyn Fn() -> bool) -> Result<(), Error> {
        self.outside_callback()?;
        let Some(doorbell) = self.shared.doorbell() else { return Err(Error::NoWorkers) };
        let (slots, words) = self.hints_in_all();
        let mut machine = Worker::new(slots, words, self.me.get());
        let (mut action, mut mark) = (Action::AskLeave, E::P::mark());
        let (mut ticket, mut claimed, mut raw) = (0, None, RawResult::GARBLED);
        loop {
            E::P::settled(mark, &(&machine, action, ticket, claimed, raw));
            let saw = match action {
                Action::AskLeave => Observation::Leave(leaving()),
                Action::Look { slot, word } => Observation::Hints(self.hints(slot, word)),
                Action::Claim { slot, index } => {
                    claimed = self.claim_hinted(slot, index);
                    Observation::Claimed(claimed.is_some())
                }
                Action::Execute => {
                    let before = E::P::mark();
                    raw = claimed.map_or(raw, |claimed| run(claimed, execute));
                    let after = E::P::mark();
                    if after != before {
                        // The executor may have a state of its own: from here on what it saw counts.
                        mark = after;
                    }
                    Observation::Executed
                }
                Action::Complete => {
                    self.complete_claimed(claimed.take(), raw);
                    raw = RawResult::GARBLED;
                    Observation::Completed
                }
                Action::TakeTicket => {
                    ticket = doorbell.ticket();
                    Observation::Ticket
                }
                Action::Announce => {
                    doorbell.announce();
                    Observation::Announced
                }
                Action::Sleep => {
                    let _looks_again_in_any_case = doorbell.sleep(ticket);
                    ticket = 0;
                    Observation::Slept
                }
                Action::Withdraw => {
                    doorbell.withdraw();
                    Observation::Withdrawn
                }
                Action::PassOn => {
                    doorbell.ring(1);
                    Observation::PassedOn
                }
                Action::Return => return Ok(()),
            };
            action = machine.next(saw);
        }
    }

    /// How many slots have handles, and how many words of hints the largest of them has.
    fn hints_in_all(&self) -> (u32, u32) {
        let last = self.shared.handle_count().checked_sub(1).map(HandleId);
        let slots = last.and_then(|id| self.shared.owner(id)).map_or(0, |slot| slot.get() + 1);
        let handles = (0..slots)
            .filter_map(ProcessSlot::new)
            .map(|slot| self.shared.owned_by(slot).len())
            .max();
        (slots, words_for(handles.map_or(0, |most| u32::try_from(most).unwrap_or(0))))
    }

    fn claim_hinted(&self, slot: u32, index: u32) -> Option<Claimed> {
        self.claim(self.hinted(slot, index)?).ok().flatten()
    }

    fn complete_claimed(&self, claimed: Option<Claimed>, raw: RawResult) {
        if let Some(Claimed { id, generation, .. }) = claimed {
            // The claim is this caller's, so that nobody can have been first.
            let _won = self.complete((id, generation), raw, Role::Completer(self.me));
        }
    }

    /// Executes one IO for lack of workers; nothing if somebody else has it.
    pub(super) fn stand_in(&self, id: HandleId, execute: Execute<'_>) {
        if let Ok(Some(claimed)) = self.claim(id) {
            let raw = run(claimed, execute);
            self.complete_claimed(Some(claimed), raw);
        }
    }
}

/// The result of the execution; an IO whose request is garbled is not executed (S26).
fn run(claimed: Claimed, execute: Execute<'_>) -> RawResult {
    match &claimed.request {
        Some(request) => execute(claimed.id, request),
        None => RawResult::GARBLED,
    }
}
