//! Waiting for whichever of several IOs is over first: as many waits as IOs, one sleep for all of them
//! (futex_waitv(2) in production).
//!
//! Each wait is the machine of [`super::wait`], up to the point where it would sleep: its ticket is taken, WAITERS
//! is set, and it has looked since. What any of them is posted for ends the sleep of all. An own IO that completes
//! in the caller's ring is left to its reaper: a thread sleeps in the ring or on event counts. PostgreSQL has
//! nothing of the kind. Invariants: L3, L4, L9. Checked by: the model's
//! scenarios `waits_for_two`, `_at_once`, `_in_time`, `_late`, `_issuer_dies`, and `waits_for_own_and_foreign`.

use super::wait::{BeforeSleep, How, Wait, Waited, slice_until, verdict_for};
use super::{Context, Embed, Error};
use crate::decide::waiter::{Action, Observation, Verdict};
use crate::ids::{HandleId, WaitRef};
use crate::platform::{EventCount, Platform};
use crate::state::Word;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

/// The first that is over: which of those given, and how; `None` if the time was over first.
pub type First = Option<(usize, Waited)>;

/// Waits under way, for [`Platform::settled`].
struct Keys<'w, 'a, E: Embed>(&'w [Wait<'a, E>]);

impl<E: Embed> Hash for Keys<'_, '_, E> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.iter().for_each(|wait| wait.key().hash(state));
    }
}

impl<'a, E: Embed> Context<'a, E> {
    /// Waits until one of them is over, or the clock passes `deadline_ns`. `submit`: as of
    /// [`Self::wait_with`].
    ///
    /// # Errors
    /// As of [`Self::wait_with`], for any of them; none, or more than the platform can sleep on.
    pub(crate) fn wait_any_with(
        &self,
        references: &[WaitRef],
        deadline_ns: Option<u64>,
        mut submit: impl FnMut(Option<(HandleId, Word)>) -> Result<bool, Error>,
    ) -> Result<First, Error> {
        self.outside_callback()?;
        let most = <E::P as Platform>::EventCount::MOST;
        if references.is_empty() || references.len() > most {
            return Err(Error::NotSoMany { given: references.len(), most });
        }
        let begin = |&reference| Wait::begin(self, reference, How::Among);
        let mut waits = references.iter().map(begin).collect::<Result<Vec<_>, _>>()?;
        let mut mark = E::P::mark();
        loop {
            let mut over = None;
            for turn in 0..waits.len() {
                over = self.until_sleep(&mut waits, (turn, deadline_ns), &mut submit, &mut mark)?;
                if over.is_some() {
                    break;
                }
            }
            match over {
                Some((_, Verdict::TimedOut)) => return Ok(None),
                Some((first, verdict)) => {
                    E::P::settled(mark, &("waited for any", first, verdict));
                    return Ok(Some((first, verdict_for(references[first], verdict)?)));
                }
                None => {}
            }
            E::P::settled(mark, &("sleeps", Keys(&waits)));
            let counts: Vec<_> =
                waits.iter().map(|wait| (&wait.at.handle.count, wait.ticket)).collect();
            let how = EventCount::sleep_any(&counts, slice_until::<E::P>(deadline_ns));
            let deadline_passed = deadline_ns.is_some_and(|at| E::P::now_ns() >= at);
            for wait in &mut waits {
                wait.action = wait.machine.next(Observation::Slept { how, deadline_passed });
            }
        }
    }

    /// Lets one of them go on until it would sleep, or is over. Those that have found their time to be over
    /// do not keep the others from their last look.
    fn until_sleep(
        &self,
        waits: &mut [Wait<'a, E>],
        (turn, deadline_ns): (usize, Option<u64>),
        submit: BeforeSleep<'_>,
        mark: &mut usize,
    ) -> Result<Option<(usize, Verdict)>, Error> {
        loop {
            E::P::settled(*mark, &(turn, Keys(waits)));
            let last = turn + 1 == waits.len();
            let Some(wait) = waits.get_mut(turn) else { return Ok(None) };
            match wait.action {
                Action::Sleep => return Ok(None),
                Action::Return(Verdict::TimedOut) if !last => return Ok(None),
                Action::Return(verdict) => return Ok(Some((turn, verdict))),
                Action::Read
                | Action::SubmitStaged
                | Action::Lead(_)
                | Action::TakeTicket
                | Action::Announce(_)
                | Action::Drive(_)
                | Action::Probe(_) => {
                    let saw = wait.act(self, deadline_ns, submit, mark)?;
                    wait.action = wait.machine.next(saw);
                }
            }
        }
    }

    /// Waits for the first of several, for a participant that issues nothing.
    ///
    /// # Errors
    /// As [`Self::wait`], for any of them; [`Error::NotSoMany`].
    pub fn wait_any(
        &self,
        references: &[WaitRef],
        deadline_ns: Option<u64>,
    ) -> Result<First, Error> {
        self.wait_any_with(references, deadline_ns, |_| Ok(false))
    }
}
