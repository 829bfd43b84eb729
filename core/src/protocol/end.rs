//! Ends: of an IO (reclaim), of a scope, of an attachment; and the beginning of one.
//!
//! PostgreSQL: `pgaio_io_reclaim`, `pgaio_io_release_resowner`, `AtEOXact_Aio`, `pgaio_shutdown`,
//! `pgaio_init_backend`. Invariants: S2, S14, S15, S19, L7.

use super::complete::Seen;
use super::recover::Recovered;
use super::wait::Waited;
use super::words::{At, Move};
use super::{Context, Embed, Error, HandedOut, Issuer, Shared, Submit};
use crate::decide::book::Place;
use crate::decide::waiter::{Look, look};
use crate::handle::SlotWord;
use crate::ids::{Generation, HandleId};
use crate::outcome::RawResult;
use crate::platform::{Atomic64, Field};
use crate::request::CallbackList;
use crate::site::Site;
use crate::state::{Event, IllegalAt, State, Word, compose};
use alloc::vec::Vec;

const RETIRE: &[Event] = &[Event::Localise, Event::Reclaim];
const LOCALISE: &[Event] = &[Event::Localise];
const RECLAIM: &[Event] = &[Event::Reclaim];
const TO_DEFINED: &[Event] = &[Event::HandOut, Event::Define];

/// What the end of a scope found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use]
pub struct ScopeEnd {
    /// A handle that was handed out and never used; it is released now.
    pub leaked: Option<HandleId>,
    /// Staged IOs that were submitted now.
    pub submitted: usize,
}

/// A fresh attachment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attached {
    /// The number of this attachment of the slot.
    pub epoch: u32,
    /// The generation of each of the slot's handles, all of them IDLE.
    pub generations: Vec<Generation>,
}

impl<E: Embed, M: Submit> Issuer<'_, E, M> {
    /// Reclaims everything in flight that is over. The list is read from its head again after each
    /// reclaim's successor was taken, and nothing else runs in between (S12).
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn reclaim_over(&mut self) -> Result<(), Error> {
        self.context.outside_callback()?;
        let mut at = self.book.oldest();
        while let Some(index) = at {
            at = self.book.younger(index);
            self.reclaim_if_over(index)?;
        }
        Ok(())
    }

    /// Reclaims one of its own handles if its IO is over; whether it was.
    #[inline(always)]
    fn reclaim_if_over(&mut self, index: u32) -> Result<bool, Error> {
        let Some((Place::InFlight, generation)) = self.book.current(index) else {
            return Ok(false);
        };
        let at = self.context.at(self.id(index))?;
        let word = at.load(Site::ScanLook);
        if look(word, generation) != Look::Done {
            return Ok(false);
        }
        self.reclaim(at, word)?;
        Ok(true)
    }

    /// COMPLETED_SHARED → IDLE. The result goes to the method's private side first (S15), local
    /// callbacks having had the last word (MUSEUM B4).
    #[inline(always)]
    fn reclaim(&mut self, at: At<'_, E::P>, word: Word) -> Result<(), Error> {
        let generation = word.generation();
        let shared = at.handle.stored_outcome();
        let change = |site, events| Move { site, events, role: self.role() };
        if CallbackList::from_raw(at.handle.callbacks.get()).is_empty() {
            let retire = change(Site::Retire, RETIRE);
            self.method_mut().retired(at.id, generation, shared);
            at.store(word, retire)?;
        } else {
            let raw = at.handle.stored_raw(generation).unwrap_or(RawResult::GARBLED);
            let seen = Seen { id: at.id, generation, raw, repeat: false };
            let outcome = match at.handle.request() {
                Some(request) => self.context.local_outcome(&request, seen, shared),
                None => shared,
            };
            let (localise, reclaim) =
                (change(Site::Localise, LOCALISE), change(Site::Reclaim, RECLAIM));
            let localised = at.store(word, localise)?;
            self.method_mut().retired(at.id, generation, outcome);
            at.store(localised, reclaim)?;
        }
        let next = Generation::new(generation.get() + 1).unwrap_or(Generation::LAST);
        let index = at.id.0.wrapping_sub(self.base);
        self.book.reclaim(index, next).ok_or(Error::NotHandedOut(at.id))
    }

    /// Waits for one of its own IOs that is in flight. Only its owner can recycle it, so that a word
    /// which says so is damaged, and waiting for it again would never end.
    pub(super) fn wait_for_own(&mut self, index: u32) -> Result<(), Error> {
        let generation = self.book.generation(index).ok_or(Error::Exhausted)?;
        let (handle, reference) = (self.id(index), self.reference(index, generation));
        if self.wait(reference, None)? == Waited::Recycled {
            let (event, role) = (Event::Reclaim, self.role());
            let word = self.context.at(handle)?.load(Site::ScanLook);
            return Err(Error::Corrupt(IllegalAt { handle, word, event, role }));
        }
        Ok(())
    }

    /// Waits for an own IO and reclaims it: afterwards [`Submit::retired`] has been called for it.
    /// Nothing happens if that was so already.
    ///
    /// # Errors
    /// [`Error::NotHandedOut`] if the handle is not this issuer's or was not started;
    /// [`Error::InCallback`].
    #[inline]
    pub fn finish(&mut self, io: HandedOut) -> Result<(), Error> {
        self.context.outside_callback()?;
        let index = io.id.0.wrapping_sub(self.base);
        match self.book.current(index) {
            Some((Place::InFlight, now)) if now == io.generation => {}
            Some((Place::Staged, now)) if now == io.generation => self.submit_staged()?,
            Some((_, now)) if now > io.generation => return Ok(()),
            _ => return Err(Error::NotHandedOut(io.id)),
        }
        while !self.reclaim_if_over(index)? {
            self.wait_for_own(index)?;
        }
        Ok(())
    }

    /// Ends a scope: what was acquired in it, or in one nested in it, is released if it is only
    /// handed out, completed with an error if its staging was interrupted, submitted if it is staged;
    /// later states need nothing.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn end_scope(&mut self, scope: u32) -> Result<ScopeEnd, Error> {
        let mut end = ScopeEnd::default();
        if let Some((index, acquired_in)) = self.book.handed_out()
            && acquired_in >= scope
        {
            let (id, generation) = (self.id(index), self.book.generation(index));
            self.release(HandedOut { id, generation: generation.ok_or(Error::Exhausted)? })?;
            end.leaked = Some(id);
        }
        if let Some(index) = self.book.defined() {
            self.abandon_interrupted(index)?;
        }
        end.submitted = self.book.staged();
        self.submit_staged()?;
        Ok(end)
    }

    fn abandon_interrupted(&mut self, index: u32) -> Result<(), Error> {
        let generation = self.book.generation(index).ok_or(Error::Exhausted)?;
        let word = compose(Word::idle(generation), TO_DEFINED, self.role())
            .map_err(|illegal| Error::Corrupt(illegal.at(self.id(index))))?;
        self.abandon(index, word, RawResult::INTERRUPTED)
    }

    /// Ends the attachment: submits, drains, verifies that the slot is pristine (S19), frees its
    /// leases and the slot. The caller gives the slot lock back afterwards.
    ///
    /// # Errors
    /// [`Error::NotPristine`]; the slot is left for recovery then.
    pub fn detach(&mut self) -> Result<(), Error> {
        self.leave_batch(0)?;
        let _end = self.end_scope(0)?;
        while let Some(oldest) = self.book.oldest() {
            self.wait_for_own(oldest)?;
            self.reclaim_over()?;
        }
        debug_assert!(self.book.is_pristine(), "every list but idle is empty");
        self.context.check_pristine()?;
        self.context.free_leases(self.context.me);
        self.context.free_slot(self.context.me);
        Ok(())
    }
}

impl<E: Embed> Context<'_, E> {
    /// Makes `me` active, its slot lock being held. A slot whose last owner died is recovered
    /// first; `None` if that cannot be finished now: take another slot then.
    ///
    /// # Errors
    /// [`Error::NotPristine`]: a free slot with a handle that is not idle.
    pub fn attach(&self, pid: u32) -> Result<Option<Attached>, Error> {
        if self.recover_locked(self.me) == Recovered::Unfinished {
            return Ok(None);
        }
        let generations = self.check_pristine()?;
        let Some(slot) = self.shared.slot(self.me) else { return Ok(None) };
        let active = SlotWord::from_raw(slot.word.newest(Site::SlotUnderLock)).activated();
        slot.pid.set(u64::from(pid));
        slot.notice.store(Site::NoticeReset, 0);
        slot.word.store(Site::SlotActivate, active.raw());
        Ok(Some(Attached { epoch: active.epoch(), generations }))
    }

    /// The generations of the slot's handles, if all are IDLE.
    fn check_pristine(&self) -> Result<Vec<Generation>, Error> {
        self.shared
            .owned_by(self.me)
            .map(|index| {
                let at = self.at(HandleId(index))?;
                let word = at.newest(Site::RecoverLook);
                if word.state() == State::Idle && word.is_well_formed() {
                    Ok(word.generation())
                } else {
                    Err(Error::NotPristine(at.id))
                }
            })
            .collect()
    }

    /// FREE: the last write of a detach or a recovery.
    pub(super) fn free_slot(&self, slot: crate::ids::ProcessSlot) {
        if let Some(shared) = self.shared.slot(slot) {
            let word = SlotWord::from_raw(shared.word.newest(Site::SlotUnderLock)).freed();
            shared.word.store(Site::SlotFree, word.raw());
        }
    }

    /// The slot's word, for whoever holds its lock.
    pub(super) fn slot_word_locked(&self, slot: crate::ids::ProcessSlot) -> Option<SlotWord> {
        Some(SlotWord::from_raw(self.shared.slot(slot)?.word.newest(Site::SlotUnderLock)))
    }

    /// Whether somebody is attached at the slot, or died attached, and which attachment it is.
    #[must_use]
    pub fn slot_word(&self, slot: crate::ids::ProcessSlot) -> Option<SlotWord> {
        Some(SlotWord::from_raw(self.shared.slot(slot)?.word.load(Site::SlotLook)))
    }
}
