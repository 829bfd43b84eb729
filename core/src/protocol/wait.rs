//! Waiting for any IO of the pool (`pgaio_wref_wait`, `pgaio_wref_check_done`,
//! `pgaio_io_was_recycled`).
//!
//! Performs what [`Waiter`] decides. No sleep is longer than one slice ([`SLICE_NS`]); at the end of
//! each the locks of owner and completer are probed, so that a death leaves nobody asleep (L9).
//! Without a death no wake-up depends on a slice. Invariants: S6, S7, S10, S11, L3, L4, L6.

use super::words::{At, Move};
use super::{Context, Drive, Embed, Error, Shared};
use crate::decide::waiter::{Action, Look, Observation, Verdict, Waiter, look};
use crate::ids::{Generation, HandleId, WaitRef};
use crate::outcome::RawResult;
use crate::platform::{EventCount, Field, Platform, SLICE_NS, Slept, SlotLocks};
use crate::site::Site;
use crate::state::{Event, Role, State, Word};
use core::hash::Hash;

const ADD_WAITER: &[Event] = &[Event::AddWaiter];

/// What the caller of a wait does before every sleep, told what the wait is about to sleep on (nothing if it is
/// about to submit): it submits what it has staged, and says whether there was anything.
pub(super) type BeforeSleep<'f> =
    &'f mut dyn FnMut(Option<(HandleId, Word)>) -> Result<bool, Error>;

/// How a wait ended, for the caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Waited {
    /// The IO is over, and its handle has not been used again.
    Done,
    /// The IO is over (or was released without being executed); its handle has been used again,
    /// so that nobody but its issuer can learn its result.
    Recycled,
    /// The time is over; the IO goes on.
    TimedOut,
}

impl<'a, E: Embed> Context<'a, E> {
    /// One look, without blocking: `None` if it is not over.
    ///
    /// # Errors
    /// A reference of another pool, to no handle.
    #[inline(always)]
    pub fn glance(&self, reference: WaitRef) -> Result<Option<Waited>, Error> {
        let at = self.at_reference(reference)?;
        Ok(match look(at.load(Site::CheckLook), reference.generation()) {
            Look::Done => Some(Waited::Done),
            Look::Recycled => Some(Waited::Recycled),
            Look::Pending | Look::Stale => None,
        })
    }

    /// Waits until the IO is over or the clock passes `deadline_ns`. `submit`: see [`BeforeSleep`] (L3).
    ///
    /// # Errors
    /// A reference of another pool, to no handle, to an IO that was never handed out, or to the
    /// caller's own handed-out handle. Inside a callback.
    pub(crate) fn wait_with(
        &self,
        reference: WaitRef,
        deadline_ns: Option<u64>,
        mut submit: impl FnMut(Option<(HandleId, Word)>) -> Result<bool, Error>,
    ) -> Result<Waited, Error> {
        self.outside_callback()?;
        let mut wait = Wait::begin(self, reference, How::Alone)?;
        let mut mark = E::P::mark();
        loop {
            E::P::settled(mark, &wait.key());
            let saw = match wait.action {
                Action::Sleep => sleep(wait.at, wait.ticket, deadline_ns),
                Action::Return(verdict) => {
                    E::P::settled(mark, &("waited", verdict));
                    return verdict_for(reference, verdict);
                }
                Action::Read
                | Action::SubmitStaged
                | Action::Lead(_)
                | Action::TakeTicket
                | Action::Announce(_)
                | Action::Drive(_)
                | Action::Probe(_) => wait.act(self, deadline_ns, &mut submit, &mut mark)?,
            };
            wait.action = wait.machine.next(saw);
        }
    }

    /// Waits until the IO is over or the clock passes `deadline_ns`, for a participant that issues
    /// nothing.
    ///
    /// # Errors
    /// A reference of another pool, to no handle, to an IO that was never handed out, or to one that the
    /// caller's slot has staged or handed out. Inside a callback.
    pub fn wait(&self, reference: WaitRef, deadline_ns: Option<u64>) -> Result<Waited, Error> {
        self.wait_with(reference, deadline_ns, |_| Ok(false))
    }

    /// Polls the method, then looks: whether the IO is over. Never blocks (L6).
    ///
    /// # Errors
    /// As [`Self::glance`]. Inside a callback.
    pub fn check_done(&self, reference: WaitRef) -> Result<bool, Error> {
        self.outside_callback()?;
        if self.glance(reference)?.is_some() {
            return Ok(true);
        }
        let at = self.at_reference(reference)?;
        let word = at.load(Site::CheckLook);
        if word.state() == State::Submitted && self.poll(at, word) {
            return Ok(self.glance(reference)?.is_some());
        }
        Ok(false)
    }

    /// Lets somebody complete what is there to be completed. Whether to look again.
    fn poll(&self, at: At<'_, E::P>, word: Word) -> bool {
        if let Some(lead) = self.lead_of(at.id) {
            return self.drain_as_issuer(lead);
        }
        let Some(bell) = self.bell_of(at.id) else {
            let mut deliver = |id, generation, raw| self.deliver(id, generation, raw);
            return self.drive.poll(at.id, word, &mut deliver);
        };
        // The reaper looks for waiters; one that only polls is one, too (L6).
        if !word.has_waiters() {
            let _changed_since_shows_at_next_poll = announce(at, word);
        }
        bell.post();
        false
    }

    /// A completion from a queue of this process; false if its IO is not SUBMITTED at this generation.
    pub(super) fn deliver(&self, id: HandleId, generation: Generation, raw: RawResult) -> bool {
        self.complete((id, generation), raw, Role::Completer(self.me)).unwrap_or(false)
    }

    /// Before the caller sleeps on an IO that others than its issuer may complete: sees to it that somebody
    /// does. Whether to look again instead.
    fn drive(&self, wait: &Wait<'_, E>, word: Word, deadline_ns: Option<u64>) -> bool {
        if word.state() != State::Submitted || word.is_sync() {
            return false;
        }
        let at = wait.at;
        if wait.how == How::Alone
            && let Some(lead) = self.lead_of(at.id)
        {
            return self.turn(lead, (at, word, true), slice_until::<E::P>(deadline_ns));
        }
        if let Some(bell) = self.bell_of(at.id) {
            // Also if WAITERS was set already: who set it may have died before its post.
            bell.post();
            return false;
        }
        let mut deliver = |id, generation, raw| self.deliver(id, generation, raw);
        self.drive.drive(at.id, word, &mut deliver)
    }

    /// After a slice: if owner or completer are dead, recover them as far as possible; if no worker has
    /// claimed the IO, see to it. What that brings shows at the next look.
    pub(super) fn probe(&self, id: HandleId, word: Word) {
        for slot in [self.shared.owner(id), word.completer()].into_iter().flatten() {
            if slot != self.me && self.drive.is_free(slot) {
                let _seen_at_next_look = self.recover(slot);
            }
        }
        let unclaimed = word.state() == State::Submitted && word.completer().is_none();
        if unclaimed && !word.is_sync() && self.shared.doorbell().is_some() {
            self.see_to(id);
        }
    }

    /// Executes an IO that no worker has claimed, if there are none, or else rings them all: whoever was
    /// to ring may have died on the way.
    fn see_to(&self, id: HandleId) {
        let mut stood_in = false;
        self.drive.stand_in(&mut |execute| {
            stood_in = true;
            self.stand_in(id, execute);
        });
        if !stood_in {
            self.ring_all();
        }
    }
}

/// Whether the caller of a wait may sleep in its ring.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum How {
    /// It waits for nothing else.
    Alone,
    /// It waits for other IOs, too: its reaper sees to its ring.
    Among,
}

/// One wait under way.
pub(super) struct Wait<'a, E: Embed> {
    pub at: At<'a, E::P>,
    pub machine: Waiter,
    pub action: Action,
    pub ticket: u32,
    how: How,
}

impl<'a, E: Embed> Wait<'a, E> {
    pub fn begin(context: &Context<'a, E>, reference: WaitRef, how: How) -> Result<Self, Error> {
        let at = context.at_reference(reference)?;
        let own = context.shared.owner(reference.handle()) == Some(context.me);
        let leads = how == How::Alone && context.lead_of(at.id).is_some();
        let machine = Waiter::start(reference.generation(), own, leads);
        Ok(Self { at, machine, action: Action::Read, ticket: 0, how })
    }

    /// What its future depends on.
    pub fn key(&self) -> impl Hash + use<E> {
        (self.machine, self.action, self.ticket)
    }

    /// Performs an action that is neither a sleep nor the end.
    pub fn act(
        &mut self,
        context: &Context<'a, E>,
        deadline_ns: Option<u64>,
        submit: BeforeSleep<'_>,
        mark: &mut usize,
    ) -> Result<Observation, Error> {
        let at = self.at;
        Ok(match self.action {
            Action::Read => Observation::Word(at.load(Site::WaitLook)),
            Action::SubmitStaged => {
                // Staged by an issuer that this caller cannot speak for.
                if !submit(None)? {
                    return Err(Error::WouldWaitForItself(self.reference(context)));
                }
                *mark = E::P::mark();
                Observation::Submitted
            }
            Action::TakeTicket => {
                self.ticket = at.handle.count.ticket();
                Observation::Ticket
            }
            Action::Announce(word) => Observation::Announced(announce(at, word)),
            Action::Lead(word) | Action::Drive(word) => {
                let submitted = submit(Some((at.id, word)))?;
                if submitted {
                    // The issuer's lists have changed: from here on what was seen counts.
                    *mark = E::P::mark();
                }
                let look_again = submitted || self.drive(context, word, deadline_ns);
                let deadline_passed = deadline_ns.is_some_and(|at| E::P::now_ns() >= at);
                if look_again && deadline_passed {
                    Observation::Slept { how: Slept::LookAgain, deadline_passed }
                } else if matches!(self.action, Action::Lead(_)) {
                    Observation::Led { look_again }
                } else {
                    Observation::Driven { look_again }
                }
            }
            Action::Probe(word) => {
                context.probe(at.id, word);
                Observation::Probed
            }
            Action::Sleep | Action::Return(_) => Observation::Probed,
        })
    }

    fn drive(&self, context: &Context<'a, E>, word: Word, deadline_ns: Option<u64>) -> bool {
        match (self.action, context.lead_of(self.at.id)) {
            (Action::Lead(_), Some(lead)) => {
                context.turn(lead, (self.at, word, false), slice_until::<E::P>(deadline_ns))
            }
            _ => context.drive(self, word, deadline_ns),
        }
    }

    fn reference(&self, context: &Context<'a, E>) -> WaitRef {
        WaitRef::new(context.shared.tag(), self.at.id, self.machine.generation())
    }
}

pub(super) fn announce<P: Platform>(at: At<'_, P>, word: Word) -> bool {
    let change = Move { site: Site::AddWaiter, events: ADD_WAITER, role: Role::Waiter };
    at.try_change(word, change).is_ok()
}

fn sleep<P: Platform>(at: At<'_, P>, ticket: u32, deadline_ns: Option<u64>) -> Observation {
    let how = at.handle.count.sleep(ticket, slice_until::<P>(deadline_ns));
    Observation::Slept { how, deadline_passed: deadline_ns.is_some_and(|at| P::now_ns() >= at) }
}

/// A slice, or what is left until the deadline if that is less.
pub(super) fn slice_until<P: Platform>(deadline_ns: Option<u64>) -> u64 {
    deadline_ns.map_or(SLICE_NS, |at| at.saturating_sub(P::now_ns()).min(SLICE_NS))
}

pub(super) fn verdict_for(reference: WaitRef, verdict: Verdict) -> Result<Waited, Error> {
    match verdict {
        Verdict::Done => Ok(Waited::Done),
        Verdict::Recycled => Ok(Waited::Recycled),
        Verdict::TimedOut => Ok(Waited::TimedOut),
        Verdict::NoSuchIo => Err(Error::NoSuchIo(reference)),
        Verdict::WouldWaitForItself => Err(Error::WouldWaitForItself(reference)),
    }
}

/// The result of an IO that is over, for a process that is not its issuer: `None` if it is not over
/// or its handle was used again meanwhile. Shared callbacks have spoken, local ones have not.
impl<E: Embed> Context<'_, E> {
    /// See above; never blocks.
    ///
    /// # Errors
    /// As [`Self::glance`].
    pub fn foreign_outcome(
        &self,
        reference: WaitRef,
    ) -> Result<Option<crate::outcome::Outcome>, Error> {
        let at = self.at_reference(reference)?;
        if look(at.load(Site::ViewLook), reference.generation()) != Look::Done {
            return Ok(None);
        }
        let outcome = crate::outcome::Outcome::from_packed(at.handle.outcome.peek());
        E::P::fence(Site::ViewFence);
        let again = at.load(Site::ViewAgain);
        Ok((look(again, reference.generation()) == Look::Done).then_some(outcome))
    }
}
