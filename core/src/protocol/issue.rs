//! The issuer: acquire, release, define, stage, submit (`aio.c` of PostgreSQL).
//!
//! Only the owner writes the states it owns, and it knows them without a look: the [`Book`] is its
//! private truth. Invariants: S2, S3, S4, S20–S23, L1, L3. A word that turns out to hold something
//! else is [`Error::Corrupt`].

use super::complete::Seen;
use super::wait::Waited;
use super::wait_any::First;
use super::words::{At, Move};
use super::{Callbacks, Context, Drive, Embed, Error, Shared, Submit};
use crate::decide::book::{Acquire, Book, MAX_STAGED, Place as In, Staged};
use crate::decide::waiter::{Look, look};
use crate::handle::Place;
use crate::ids::{Generation, HandleId, WaitRef};
use crate::outcome::RawResult;
use crate::platform::{Field, Platform};
use crate::request::{CallbackList, Request};
use crate::site::Site;
use crate::state::{Event, IllegalAt, Role, State, Word, compose};

const HAND_OUT: &[Event] = &[Event::HandOut];
const RELEASE: &[Event] = &[Event::Release];
const DEFINE: &[Event] = &[Event::Define];
const STAGE: &[Event] = &[Event::Stage];
const DEFINE_AND_STAGE: &[Event] = &[Event::Define, Event::Stage];
const SUBMIT: &[Event] = &[Event::Submit];
const SUBMIT_IN_PLACE: &[Event] = &[Event::SubmitInPlace];
const TO_STAGED: &[Event] = &[Event::HandOut, Event::Define, Event::Stage];
const START: &[Event] = &[Event::Define, Event::Stage, Event::Submit];
const START_IN_PLACE: &[Event] = &[Event::Define, Event::Stage, Event::SubmitInPlace];

/// What is SUBMITTED and not yet handed to the method.
struct Started {
    ios: [(HandleId, Generation); MAX_STAGED],
    len: usize,
    /// Somebody waits for one of them.
    waiters: bool,
}

impl Default for Started {
    fn default() -> Self {
        Self { ios: [(HandleId(0), Generation::FIRST); MAX_STAGED], len: 0, waiters: false }
    }
}

impl Started {
    const fn push(&mut self, io: (HandleId, Generation), waiters: bool) {
        self.ios[self.len] = io;
        self.len += 1;
        self.waiters |= waiters;
    }
}

/// A handle that is handed out: which use of which handle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HandedOut {
    /// The handle.
    pub id: HandleId,
    /// This use of it: a late second release cannot hit the next one (R15).
    pub generation: Generation,
}

/// One process's issuing side.
pub struct Issuer<'a, E: Embed, M: Submit> {
    pub(super) context: Context<'a, E>,
    pub(super) book: Book,
    pub(super) base: u32,
    method: M,
    batch: u32,
}

impl<'a, E: Embed, M: Submit> Issuer<'a, E, M> {
    /// An issuer whose handles are all IDLE at these generations (see [`Context::attach`]).
    pub fn new(context: Context<'a, E>, generations: &[Generation], method: M) -> Self {
        let base = context.shared.owned_by(context.me).start;
        let book = Book::new(generations.iter().copied());
        Self { context, book, base, method, batch: 0 }
    }

    /// The participant's view of the pool.
    #[inline(always)]
    pub const fn context(&self) -> &Context<'a, E> {
        &self.context
    }

    /// The method's private side.
    #[inline(always)]
    pub const fn method(&self) -> &M {
        &self.method
    }

    /// The method's private side.
    #[inline(always)]
    pub const fn method_mut(&mut self) -> &mut M {
        &mut self.method
    }

    /// Where its handles are.
    #[must_use]
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// How many batches are open (`pgaio_enter_batchmode`).
    #[must_use]
    pub const fn batch_depth(&self) -> u32 {
        self.batch
    }

    /// Opens a batch: what is staged stays staged until it is full, until somebody is about to
    /// block, or until the batch ends.
    pub const fn enter_batch(&mut self) {
        self.batch += 1;
    }

    /// Ends batches down to `depth` and, if none is left open, submits.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn leave_batch(&mut self, depth: u32) -> Result<(), Error> {
        self.batch = self.batch.min(depth);
        if self.batch == 0 { self.submit_staged() } else { Ok(()) }
    }

    #[inline(always)]
    pub(super) const fn id(&self, index: u32) -> HandleId {
        HandleId(self.base.wrapping_add(index))
    }

    #[inline(always)]
    pub(super) const fn role(&self) -> Role {
        Role::Issuer(self.context.me)
    }

    #[inline(always)]
    fn change(&self, site: Site, events: &'static [Event]) -> Move {
        Move { site, events, role: self.role() }
    }

    /// The reference to the current use of one of its own handles.
    pub(super) fn reference(&self, index: u32, generation: Generation) -> WaitRef {
        WaitRef::new(self.context.shared.tag(), self.id(index), generation)
    }

    /// Hands out a handle, waiting for the oldest IO if none is free. Returns if nothing is handed
    /// out (L1) and the method completes what it accepts. (`pgaio_io_acquire`)
    ///
    /// # Errors
    /// [`Error::HandedOutAlready`], [`Error::InCallback`], [`Error::Exhausted`].
    #[inline(always)]
    pub fn acquire(&mut self, scope: u32) -> Result<HandedOut, Error> {
        self.context.outside_callback()?;
        if let Acquire::HandOut(index) = self.book.acquire(false) {
            return self.hand_out(index, scope);
        }
        self.acquire_somehow(scope)
    }

    /// Apart from the case that one is free, which so stays short enough to be inlined.
    #[inline(never)]
    fn acquire_somehow(&mut self, scope: u32) -> Result<HandedOut, Error> {
        let mut looked = false;
        loop {
            // After a look at everything in flight the next look can wait until something moved:
            // a submission that executed in place, a wait that returned.
            looked = match self.book.acquire(looked) {
                Acquire::HandOut(index) => return self.hand_out(index, scope),
                Acquire::ReclaimOver => {
                    self.reclaim_over()?;
                    true
                }
                Acquire::SubmitStaged => {
                    self.submit_staged()?;
                    false
                }
                Acquire::WaitFor(index) => {
                    self.wait_for_own(index)?;
                    false
                }
                Acquire::Refuse => return Err(self.refusal()),
                Acquire::Exhausted => return Err(Error::Exhausted),
            };
        }
    }

    /// The same without waiting, submitting or executing: `None` if no handle is free after
    /// everything that is over was reclaimed. (`pgaio_io_acquire_nb`, MUSEUM R20)
    ///
    /// # Errors
    /// As [`Self::acquire`].
    pub fn try_acquire(&mut self, scope: u32) -> Result<Option<HandedOut>, Error> {
        self.context.outside_callback()?;
        let mut looked = false;
        loop {
            match self.book.acquire(looked) {
                Acquire::HandOut(index) => return self.hand_out(index, scope).map(Some),
                Acquire::ReclaimOver => self.reclaim_over()?,
                Acquire::SubmitStaged | Acquire::WaitFor(_) => return Ok(None),
                Acquire::Refuse => return Err(self.refusal()),
                Acquire::Exhausted => return Err(Error::Exhausted),
            }
            looked = true;
        }
    }

    fn refusal(&self) -> Error {
        let index = self.book.handed_out().map_or(0, |(index, _)| index);
        Error::HandedOutAlready(self.id(index))
    }

    #[inline(always)]
    fn hand_out(&mut self, index: u32, scope: u32) -> Result<HandedOut, Error> {
        let generation = self.book.generation(index).ok_or(Error::Exhausted)?;
        let at = self.context.at(self.id(index))?;
        at.store(Word::idle(generation), self.change(Site::HandOut, HAND_OUT))?;
        E::P::fence(Site::FieldsFence);
        self.book.hand_out(scope).ok_or(Error::Exhausted)?;
        Ok(HandedOut { id: at.id, generation })
    }

    /// Checks that this is the handle handed out now; its index.
    #[inline(always)]
    pub(super) fn handed_out(&self, handle: HandedOut) -> Result<u32, Error> {
        let index = handle.id.0.wrapping_sub(self.base);
        match self.book.handed_out() {
            Some((current, _))
                if current == index && self.book.generation(index) == Some(handle.generation) =>
            {
                Ok(index)
            }
            Some(_) | None => Err(Error::NotHandedOut(handle.id)),
        }
    }

    /// The word of a handle that this issuer has handed out, as far as it knows.
    #[inline(always)]
    fn handed_out_word(&self, handle: HandedOut) -> Result<Word, Error> {
        compose(Word::idle(handle.generation), HAND_OUT, self.role())
            .map_err(|illegal| Error::Corrupt(illegal.at(handle.id)))
    }

    /// Gives an unused handle back; a reference to it reports recycled. (`pgaio_io_release`)
    ///
    /// # Errors
    /// [`Error::NotHandedOut`].
    #[inline]
    pub fn release(&mut self, handle: HandedOut) -> Result<(), Error> {
        let index = self.handed_out(handle)?;
        let (at, word) = (self.context.at(handle.id)?, self.handed_out_word(handle)?);
        let old = at.swap(word, self.change(Site::ReleaseHandle, RELEASE))?;
        let next = Generation::new(handle.generation.get() + 1).ok_or(Error::Exhausted)?;
        self.book.release(index, next).ok_or(Error::NotHandedOut(handle.id))?;
        if old.has_waiters() {
            at.post();
            self.context.notify_tasks(at.id, self.role());
        }
        Ok(())
    }

    /// Writes handle data of the handed-out handle (`pgaio_io_set_handle_data_64`); the request
    /// that starts it says how many words count.
    ///
    /// # Errors
    /// [`Error::NotHandedOut`], [`Error::TooMuchData`].
    pub fn set_data(&mut self, handle: HandedOut, words: &[u64]) -> Result<(), Error> {
        self.handed_out(handle)?;
        let data = self.context.shared.data(handle.id);
        if words.len() > data.len() {
            return Err(Error::TooMuchData { given: words.len(), reserved: data.len() });
        }
        for (field, word) in data.iter().zip(words) {
            field.set(*word);
        }
        Ok(())
    }

    /// Starts the IO: HANDED_OUT → SUBMITTED, or STAGED in a batch. In place it is over when this
    /// returns. (`pgaio_io_stage`, `pgaio_io_prep_readv`)
    ///
    /// `places` describes the buffers for other processes; `request` says how many there are.
    ///
    /// # Errors
    /// [`Error::NotHandedOut`], [`Error::InCallback`], [`Error::TooManyBuffers`]; nothing has
    /// changed then.
    #[inline(always)]
    pub fn start(
        &mut self,
        handle: HandedOut,
        request: &Request,
        places: &[Place],
    ) -> Result<(), Error> {
        self.context.outside_callback()?;
        let index = self.handed_out(handle)?;
        let (at, word) = (self.context.at(handle.id)?, self.handed_out_word(handle)?);
        let iovecs = self.context.shared.iovecs(handle.id);
        if usize::from(request.iovecs) != places.len() || places.len() > iovecs.len() {
            return Err(Error::TooManyBuffers { given: places.len(), reserved: iovecs.len() });
        }
        for (iovec, place) in iovecs.iter().zip(places) {
            iovec.set(*place);
        }
        if self.book.staged() == MAX_STAGED {
            // Only after a submission that met a damaged word: there is no room to stage one more.
            self.submit_staged()?;
        }
        at.handle.set_request(request);
        self.book.define(index).ok_or(Error::NotHandedOut(handle.id))?;
        let alone = self.batch == 0 && self.book.staged() == 0;
        let in_place = self.method.in_place(request.flags);
        if alone && in_place && request.callbacks.is_empty() {
            let word = at.add(word, self.change(Site::Start, START_IN_PLACE))?;
            self.book.start(index).ok_or(Error::NotHandedOut(handle.id))?;
            let raw = self.method.execute(handle.id, request);
            return self.context.finish_in_place(at, word, raw);
        }
        self.start_in_steps(at, (word, alone, in_place), request.callbacks)
    }

    /// The way with stops in between. Apart from the straight one, which so stays short enough to be
    /// inlined.
    #[inline(never)]
    fn start_in_steps(
        &mut self,
        at: At<'a, E::P>,
        (word, alone, in_place): (Word, bool, bool),
        callbacks: CallbackList,
    ) -> Result<(), Error> {
        let index = at.id.0.wrapping_sub(self.base);
        if alone && callbacks.is_empty() && self.method.accept(1) == 1 {
            self.context.hint(at.id);
            let word = at.add(word, self.change(Site::Start, START))?;
            self.book.start(index).ok_or(Error::NotHandedOut(at.id))?;
            self.hand_over(&[(at.id, word.generation())], word.has_waiters());
            return Ok(());
        }
        if callbacks.is_empty() {
            at.add(word, self.change(Site::Define, DEFINE_AND_STAGE))?;
        } else {
            let word = at.add(word, self.change(Site::Define, DEFINE))?;
            if !self.stage_callbacks(at, word, callbacks) {
                return self.abandon(index, word, RawResult::REFUSED);
            }
            at.add(word, self.change(Site::Stage, STAGE))?;
        }
        self.book.stage(index, in_place).ok_or(Error::NotHandedOut(at.id))?;
        if self.batch == 0 || self.book.staged() == MAX_STAGED {
            // It is started: damage to another handle's word, or to its own, is reported by whoever
            // waits for it and must not make its memory look refused.
            let _reported_later = self.submit_staged();
        }
        Ok(())
    }

    /// Whether every stage callback agreed, last registered first.
    fn stage_callbacks(&self, at: At<'a, E::P>, word: Word, callbacks: CallbackList) -> bool {
        let (id, generation) = (at.id, word.generation());
        let seen = Seen { id, generation, raw: RawResult(0), repeat: false };
        let io = at.handle.request().and_then(|request| self.context.io(&request, seen));
        let Some(mut io) = io else { return true };
        let before = E::P::set_in_callback(true);
        let agreed = callbacks.iter().rev().all(|(callback, data)| {
            io.callback_data = data;
            self.context.callbacks.stage(callback, &io).is_ok()
        });
        E::P::set_in_callback(before);
        agreed
    }

    /// DEFINED → completed with an error, never executed (R2). It is reclaimed like any other.
    pub(super) fn abandon(&mut self, index: u32, word: Word, raw: RawResult) -> Result<(), Error> {
        self.book.start(index).ok_or(Error::NotHandedOut(self.id(index)))?;
        self.context.abandon((self.id(index), word), raw, self.role())?;
        Ok(())
    }

    /// Submits everything that is staged (`pgaio_submit_staged`). The method says how many it takes;
    /// the rest stays staged and is offered again when something in flight is over (R14).
    ///
    /// # Errors
    /// [`Error::InCallback`] if something is staged; [`Error::Corrupt`].
    pub fn submit_staged(&mut self) -> Result<(), Error> {
        if self.book.staged() > 0 {
            self.context.outside_callback()?;
        }
        while self.book.staged() > 0 {
            let accepted = self.method.accept(self.book.staged());
            if accepted > 0 {
                self.submit_some(accepted)?;
            } else if let Some(oldest) = self.oldest_unfinished() {
                let refuse = |seen| self.refuse_damaged(seen).map(|()| false);
                let _over = self.context.wait_with(oldest, None, refuse)?;
            } else if let Some(Staged { index, .. }) = self.book.first_staged() {
                self.run_first(self.context.at(self.id(index))?)?;
            }
        }
        Ok(())
    }

    fn oldest_unfinished(&self) -> Option<WaitRef> {
        let mut at = self.book.oldest();
        while let Some(index) = at {
            let generation = self.book.generation(index)?;
            let word = self.context.at(self.id(index)).ok()?.load(Site::ScanLook);
            if look(word, generation) == Look::Pending {
                return Some(self.reference(index, generation));
            }
            at = self.book.younger(index);
        }
        None
    }

    /// Submits exactly `count` (S3). What has been submitted is handed to the method whatever happens
    /// afterwards.
    fn submit_some(&mut self, count: usize) -> Result<(), Error> {
        let mut started = Started::default();
        let ended = self.submit_in_order(count, &mut started);
        self.hand_over(&started.ios[..started.len], started.waiters);
        ended
    }

    /// Hands IOs that are SUBMITTED and not in place to the method, and tells whoever may complete them.
    /// What a ring completes at once, as reads from the page cache, is over when this returns. `waiters`:
    /// somebody has been waiting for one of them since before its Submit.
    fn hand_over(&mut self, started: &[(HandleId, Generation)], waiters: bool) {
        if started.is_empty() {
            return;
        }
        self.method.submit(started);
        self.context.ring(started.len());
        if let Some(lead) = self.context.drive.lead() {
            self.context.drain_as_issuer(lead);
            if waiters {
                self.context.tend_waiters(started);
            }
        }
    }

    /// In order: one that runs in place waits for those before it to be started (R16). What is in
    /// `started` afterwards is left for the caller to start.
    fn submit_in_order(&mut self, count: usize, started: &mut Started) -> Result<(), Error> {
        for _ in 0..count.min(self.book.staged()) {
            let Some(Staged { index, in_place }) = self.book.first_staged() else { break };
            let at = self.context.at(self.id(index))?;
            if !in_place {
                self.context.hint(at.id);
                let word = self.submit_first(at, SUBMIT)?;
                started.push((at.id, word.generation()), word.has_waiters());
                continue;
            }
            self.hand_over(&started.ios[..started.len], started.waiters);
            (started.len, started.waiters) = (0, false);
            self.run_first(at)?;
        }
        Ok(())
    }

    /// STAGED → SUBMITTED for the first staged one.
    #[inline(always)]
    fn submit_first(&mut self, at: At<'a, E::P>, events: &'static [Event]) -> Result<Word, Error> {
        let index = at.id.0.wrapping_sub(self.base);
        let generation = self.book.generation(index).ok_or(Error::Exhausted)?;
        let word = compose(Word::idle(generation), TO_STAGED, self.role())
            .map_err(|illegal| Error::Corrupt(illegal.at(at.id)))?;
        let word = at.add(word, self.change(Site::Submit, events))?;
        self.book.submit_first().ok_or(Error::NotHandedOut(at.id))?;
        Ok(word)
    }

    /// The same in place: it is executed and completed here.
    #[inline(always)]
    fn run_first(&mut self, at: At<'a, E::P>) -> Result<(), Error> {
        let (word, request) = (self.submit_first(at, SUBMIT_IN_PLACE)?, at.handle.request());
        let raw = match &request {
            Some(request) => self.method.execute(at.id, request),
            None => RawResult::GARBLED,
        };
        if request.is_some_and(|request| request.callbacks.is_empty()) {
            return self.context.finish_in_place(at, word, raw);
        }
        self.context.complete((at.id, word.generation()), raw, self.role())?;
        Ok(())
    }

    /// Waits for any IO of the pool; submits what is staged before it sleeps (L3).
    ///
    /// # Errors
    /// As [`Context::wait`]; [`Error::Corrupt`] if the word of an own IO in flight says what nobody left there.
    #[inline(always)]
    pub fn wait(&mut self, reference: WaitRef, deadline_ns: Option<u64>) -> Result<Waited, Error> {
        let mark = E::P::mark();
        match self.context.glance(reference)? {
            Some(waited) => Ok(waited),
            None => self.wait_until_over(reference, deadline_ns, mark),
        }
    }

    /// Apart from the case that it is over already, which so stays short enough to be inlined.
    #[inline(never)]
    fn wait_until_over(
        &mut self,
        reference: WaitRef,
        deadline_ns: Option<u64>,
        mark: usize,
    ) -> Result<Waited, Error> {
        self.refuse_endless(reference)?;
        E::P::settled(mark, &"not over");
        let context = self.context;
        let waited = context.wait_with(reference, deadline_ns, |seen| {
            self.refuse_damaged(seen)?;
            let any = self.book.staged() > 0;
            self.submit_staged()?;
            self.refuse_endless(reference)?;
            Ok(any)
        });
        waited.map_err(|error| self.or_damage(error))
    }

    /// Waits for whichever of several IOs of the pool is over first; submits what is staged before it sleeps
    /// (L3). `None` if the clock passes `deadline_ns` first.
    ///
    /// # Errors
    /// As [`Context::wait_any`]; [`Error::Corrupt`] as of [`Self::wait`].
    pub fn wait_any(
        &mut self,
        references: &[WaitRef],
        deadline_ns: Option<u64>,
    ) -> Result<First, Error> {
        let context = self.context;
        let endless =
            |issuer: &Self| references.iter().try_for_each(|&of| issuer.refuse_endless(of));
        endless(self)?;
        let first = context.wait_any_with(references, deadline_ns, |seen| {
            self.refuse_damaged(seen)?;
            let any = self.book.staged() > 0;
            self.submit_staged()?;
            endless(self)?;
            Ok(any)
        });
        first.map_err(|error| self.or_damage(error))
    }

    /// An own IO in flight whose word says that it is not over, although nobody is at it any more, is
    /// damaged: nothing would ever end a wait for it.
    fn refuse_endless(&self, reference: WaitRef) -> Result<(), Error> {
        let (handle, mine) = (reference.handle(), reference.generation());
        if !self.is_in_flight(handle, mine) || self.method.is_outstanding(handle) {
            return Ok(());
        }
        let word = self.context.at(handle)?.load(Site::ScanLook);
        if look(word, mine) == Look::Pending {
            return Err(self.damage(handle, word));
        }
        Ok(())
    }

    /// Whoever is at an own IO in flight, its word does not go back to a state before SUBMITTED, in which nobody
    /// would end a wait for it. Looked at before every sleep, since a word can be damaged during a wait.
    fn refuse_damaged(&self, seen: Option<(HandleId, Word)>) -> Result<(), Error> {
        match seen {
            Some((handle, word))
                if word.state() < State::Submitted
                    && self.is_in_flight(handle, word.generation()) =>
            {
                Err(self.damage(handle, word))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// That there is no such IO, or that the issuer would wait for itself, is said of an own IO in flight only if
    /// its word is damaged.
    #[cold]
    fn or_damage(&self, error: Error) -> Error {
        let (Error::NoSuchIo(of) | Error::WouldWaitForItself(of)) = error else { return error };
        match self.context.at(of.handle()) {
            Ok(at) if self.is_in_flight(at.id, of.generation()) => {
                self.damage(at.id, at.load(Site::ScanLook))
            }
            Ok(_) | Err(_) => error,
        }
    }

    fn is_in_flight(&self, handle: HandleId, generation: Generation) -> bool {
        let index = handle.0.wrapping_sub(self.base);
        self.book.current(index) == Some((In::InFlight, generation))
    }

    const fn damage(&self, handle: HandleId, word: Word) -> Error {
        let (event, role) = (Event::Reclaim, self.role());
        Error::Corrupt(IllegalAt { handle, word, event, role })
    }

    /// Whether the IO is over. Submits an own staged one, polls the method, never waits for
    /// another process (MUSEUM B15, R5).
    ///
    /// # Errors
    /// As [`Context::check_done`].
    pub fn check_done(&mut self, reference: WaitRef) -> Result<bool, Error> {
        if self.context.check_done(reference)? {
            return Ok(true);
        }
        let index = reference.handle().0.wrapping_sub(self.base);
        if self.book.place(index) == Some(In::Staged) {
            self.submit_staged()?;
        }
        self.context.check_done(reference)
    }
}
