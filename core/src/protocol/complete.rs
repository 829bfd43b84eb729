//! Completing: whoever has a result runs [`Completer`] (`pgaio_io_process_completion`).
//!
//! From COMPLETED_IO to the post nothing allocates, logs or blocks. Invariants: S1, S5, S7, S14. If
//! the completer dies in between, its recoverer continues ([`Context::recover`]).

use super::words::{At, Move};
use super::{Callbacks, Context, Embed, Error, Io, Shared};
use crate::decide::completer::{Action, Completer, Observation};
use crate::ids::{Generation, HandleId, ProcessSlot};
use crate::outcome::{Outcome, RawResult, Status};
use crate::platform::{EventCount, Field, Platform};
use crate::request::{CallbackId, Request};
use crate::site::Site;
use crate::state::{Event, Role, Word};

const COMPLETE: &[Event] = &[Event::CompleteIo];
const CLAIM: &[Event] = &[Event::Claim];
const ABANDON: &[Event] = &[Event::Abandon];
const TAKE_OVER: &[Event] = &[Event::TakeOver];
const PUBLISH: &[Event] = &[Event::Publish];
const FINISH: &[Event] = &[Event::CompleteIo, Event::Publish];

/// An IO that its holder has to execute and complete.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use = "a claim is a duty: execute the IO and complete it"]
pub struct Claimed {
    /// The handle.
    pub id: HandleId,
    /// The IO.
    pub generation: Generation,
    /// What to do; `None` if the segment's bytes make no sense: complete with
    /// [`RawResult::GARBLED`].
    pub request: Option<Request>,
}

/// One completion in progress.
struct Job<'a, E: Embed> {
    at: At<'a, E::P>,
    generation: Generation,
    role: Role,
    raw: RawResult,
    word: Word,
}

impl<'a, E: Embed> Context<'a, E> {
    /// Takes the right and the duty to execute a SUBMITTED IO: its request, or `None` if somebody else
    /// has it, its issuer executes it in place, or it is over. The caller executes it and calls
    /// [`Self::complete`] as [`Role::Completer`]; if it dies first, a recoverer takes the claim back.
    ///
    /// # Errors
    /// [`Error::NoSuchHandle`].
    pub fn claim(&self, id: HandleId) -> Result<Option<Claimed>, Error> {
        let at = self.at(id)?;
        let word = at.load(Site::CompleteLook);
        let change = Move { site: Site::Claim, events: CLAIM, role: Role::Completer(self.me) };
        let Ok((_, word)) = at.change(word.generation(), word, change) else { return Ok(None) };
        self.unhint(id);
        Ok(Some(Claimed { id, generation: word.generation(), request: at.handle.request() }))
    }

    /// Completes a SUBMITTED IO with its raw result, as `role`.
    ///
    /// At most one caller may be at it for one IO: the issuer in place, whoever claimed it, the holder
    /// of the lock under which a queue is drained, or of its dead owner's slot lock. The raw result is
    /// stored before the change is won, so a second one could overwrite it.
    ///
    /// False if somebody else was first, or
    /// the handle is not SUBMITTED at this generation: then nothing has happened.
    ///
    /// # Errors
    /// [`Error::NoSuchHandle`].
    pub fn complete(
        &self,
        io: (HandleId, Generation),
        raw: RawResult,
        role: Role,
    ) -> Result<bool, Error> {
        let at = self.at(io.0)?;
        let word = at.load(Site::CompleteLook);
        if crate::state::step(word, Event::CompleteIo, role).is_err() || word.generation() != io.1 {
            return Ok(false);
        }
        if !at.handle.has_callbacks() {
            return Ok(self.complete_at_once((at, io.1), word, raw, role));
        }
        let (machine, first) = Completer::complete(raw);
        Ok(self.run_completion(Job { at, generation: io.1, role, raw, word }, machine, first))
    }

    /// SUBMITTED → COMPLETED_SHARED with one access, where no callback wants to see the state in between.
    /// The caller is the only one at it, so that nobody else stores a result meanwhile.
    #[inline(always)]
    fn complete_at_once(
        &self,
        (at, generation): (At<'a, E::P>, Generation),
        word: Word,
        raw: RawResult,
        role: Role,
    ) -> bool {
        let finish = Move { site: Site::Finish, events: FINISH, role };
        let changed = at.change_after(generation, word, finish, || {
            E::P::fence(Site::OutcomeFence);
            at.handle.outcome.set(Outcome::from_raw(raw).raw());
        });
        let Ok((old, _)) = changed else { return false };
        if old.has_waiters() {
            self.wake_waiters(at, role);
        }
        true
    }

    /// Wakes who waits for an IO that is over.
    fn wake_waiters(&self, at: At<'a, E::P>, role: Role) {
        at.handle.count.post();
        self.notify_tasks(at.id, role);
    }

    /// Completes a DEFINED or STAGED IO without executing it, as its owner or its owner's recoverer.
    pub(crate) fn abandon(
        &self,
        io: (HandleId, Word),
        raw: RawResult,
        role: Role,
    ) -> Result<bool, Error> {
        let (at, word) = (self.at(io.0)?, io.1);
        let (machine, first) = Completer::abandon(raw);
        let generation = word.generation();
        Ok(self.run_completion(Job { at, generation, role, raw, word }, machine, first))
    }

    /// Continues the completion of a dead completer, whose slot lock the caller holds.
    pub(crate) fn take_over(&self, io: (HandleId, Word), dead: ProcessSlot) -> Result<bool, Error> {
        let (at, word) = (self.at(io.0)?, io.1);
        let (machine, first) = Completer::take_over();
        let role = Role::CompleterRecoverer { me: self.me, dead };
        let (generation, raw) = (word.generation(), RawResult::GARBLED);
        Ok(self.run_completion(Job { at, generation, role, raw, word }, machine, first))
    }

    fn run_completion(&self, mut job: Job<'a, E>, mut machine: Completer, first: Action) -> bool {
        let (mut action, mark) = (first, E::P::mark());
        loop {
            E::P::settled(mark, &(&machine, action, job.word, job.raw));
            let saw = match action {
                Action::StoreRaw(raw) => {
                    job.at.handle.raw.set(raw.keyed(job.generation));
                    Observation::Stored
                }
                Action::CompleteIo => job.win(Site::CompleteIo, COMPLETE),
                Action::Abandon => job.win(Site::Abandon, ABANDON),
                Action::TakeOver => job.win(Site::TakeOver, TAKE_OVER),
                Action::RunCallbacks { repeat } => {
                    if repeat {
                        let stored = job.at.handle.stored_raw(job.generation);
                        job.raw = stored.unwrap_or(RawResult::GARBLED);
                    }
                    Observation::Outcome(self.shared_outcome(&job, repeat))
                }
                Action::StoreOutcome(outcome) => {
                    E::P::fence(Site::OutcomeFence);
                    job.at.handle.outcome.set(outcome.raw());
                    Observation::Stored
                }
                Action::Publish => match job.publish() {
                    Some(waiters) => Observation::Published { waiters },
                    None => return false,
                },
                Action::Post => {
                    self.wake_waiters(job.at, job.role);
                    Observation::Posted
                }
                Action::Return { won } => return won,
            };
            action = machine.next(saw);
        }
    }

    fn shared_outcome(&self, job: &Job<'a, E>, repeat: bool) -> Outcome {
        let Some(request) = job.at.handle.request() else {
            return Outcome::from_raw(job.raw);
        };
        let seen = Seen { id: job.at.id, generation: job.generation, raw: job.raw, repeat };
        let start = Outcome::from_raw(job.raw);
        self.each_callback(&request, seen, start, |callbacks, id, io, prior| {
            callbacks.complete_shared(id, io, prior)
        })
    }

    /// Local callbacks of an IO that is COMPLETED_SHARED, in its issuer.
    pub(crate) fn local_outcome(&self, request: &Request, seen: Seen, shared: Outcome) -> Outcome {
        self.each_callback(request, seen, shared, |callbacks, id, io, prior| {
            callbacks.complete_local(id, io, prior)
        })
    }

    /// Maps `start` through every callback, last registered first. An `Unknown` changes nothing (S14).
    fn each_callback(
        &self,
        request: &Request,
        seen: Seen,
        start: Outcome,
        call: impl Fn(&E::C, CallbackId, &Io<'_, E::P>, Outcome) -> Outcome,
    ) -> Outcome {
        let mut outcome = start;
        let Some(mut io) = self.io(request, seen) else { return outcome };
        let before = E::P::set_in_callback(true);
        for (id, data) in request.callbacks.iter().rev() {
            io.callback_data = data;
            let next = call(self.callbacks, id, &io, outcome);
            if next.status() != Status::Unknown {
                outcome = next;
            }
        }
        E::P::set_in_callback(before);
        outcome
    }

    /// What callbacks are shown.
    pub(crate) fn io(&self, request: &Request, seen: Seen) -> Option<Io<'a, E::P>> {
        let (data, iovecs) = (self.shared.data(seen.id), self.shared.iovecs(seen.id));
        Some(Io {
            handle: seen.id,
            generation: seen.generation,
            owner: self.shared.owner(seen.id)?,
            request: *request,
            raw: seen.raw,
            callback_data: 0,
            repeat: seen.repeat,
            data: data.get(..usize::from(request.data_len)).unwrap_or(data),
            iovecs: iovecs.get(..usize::from(request.iovecs)).unwrap_or(iovecs),
        })
    }

    /// SUBMITTED in place → COMPLETED_SHARED with one access, where no callback wants to see the
    /// state in between. `word` is the caller's own SUBMITTED word.
    #[inline(always)]
    pub(crate) fn finish_in_place(
        &self,
        at: At<'a, E::P>,
        word: Word,
        raw: RawResult,
    ) -> Result<(), Error> {
        at.handle.outcome.set(Outcome::from_raw(raw).raw());
        let role = Role::Issuer(self.me);
        let old = at.swap(word, Move { site: Site::FinishInPlace, events: FINISH, role })?;
        if old.has_waiters() {
            self.wake_waiters(at, role);
        }
        Ok(())
    }
}

/// The facts about an IO that callbacks are shown, beside its request.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    pub id: HandleId,
    pub generation: Generation,
    pub raw: RawResult,
    pub repeat: bool,
}

impl<E: Embed> Job<'_, E> {
    fn win(&mut self, site: Site, events: &'static [Event]) -> Observation {
        let change = Move { site, events, role: self.role };
        match self.at.change(self.generation, self.word, change) {
            Ok((_, word)) => {
                self.word = word;
                Observation::Won(true)
            }
            Err(_) => Observation::Won(false),
        }
    }

    /// Whether somebody waits; `None` if the word is damaged.
    fn publish(&self) -> Option<bool> {
        let change = Move { site: Site::Publish, events: PUBLISH, role: self.role };
        // Only WAITERS can be added while the completer is alive, so a swap is enough; a recoverer
        // uses the same swap because the lock it holds excludes every other recoverer.
        let old = self.at.swap(self.word, change).ok()?;
        Some(old.has_waiters())
    }
}
