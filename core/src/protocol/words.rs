//! One change of one state word: ask [`step`](crate::state::step), perform, report.
//!
//! A store is legal only where every compare-exchange of others must fail; where WAITERS can be set
//! at the same time, an addition, a swap or a compare-exchange. Additions and swaps look at what
//! they replaced: a word that no correct peer can have written is an error.

use crate::handle::Handle;
use crate::ids::{Generation, HandleId};
use crate::platform::{Atomic64, Change, EventCount, Platform};
use crate::site::Site;
use crate::state::{Event, IllegalAt, Role, Word, compose};

/// A handle and its id.
pub(crate) struct At<'a, P: Platform> {
    pub handle: &'a Handle<P>,
    pub id: HandleId,
}

/// What is done to the word and in which capacity.
#[derive(Clone, Copy)]
pub(crate) struct Move {
    pub site: Site,
    pub events: &'static [Event],
    pub role: Role,
}

impl<P: Platform> Clone for At<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Platform> Copy for At<'_, P> {}

impl<P: Platform> At<'_, P> {
    #[inline(always)]
    #[track_caller]
    pub fn load(&self, site: Site) -> Word {
        Word::from_raw(self.handle.word.load(site))
    }

    /// The word as it is now, see [`Atomic64::newest`].
    #[track_caller]
    pub fn newest(&self, site: Site) -> Word {
        Word::from_raw(self.handle.word.newest(site))
    }

    /// Wakes everybody who sleeps on the handle.
    pub fn post(&self) {
        self.handle.count.post();
    }

    /// From a word that the caller alone may change.
    #[inline(always)]
    #[track_caller]
    pub fn store(&self, old: Word, change: Move) -> Result<Word, IllegalAt> {
        let new = self.after(old, change)?;
        self.handle.word.store(change.site, new.raw());
        self.report(old, new, change);
        Ok(new)
    }

    /// From a word that only WAITERS can be added to; keeps it.
    #[inline(always)]
    #[track_caller]
    pub fn add(&self, expected: Word, change: Move) -> Result<Word, IllegalAt> {
        let new = self.after(expected, change)?;
        let delta = expected.distance_to(new);
        let old = Word::from_raw(self.handle.word.add(change.site, delta));
        // What was expected has been judged above; only a word with a waiter is judged again.
        let new = if old == expected { new } else { self.after(old, change)? };
        self.report(old, new, change);
        Ok(new)
    }

    /// From a word that only WAITERS can be added to; the old word says whether it was.
    #[inline(always)]
    #[track_caller]
    pub fn swap(&self, expected: Word, change: Move) -> Result<Word, IllegalAt> {
        let new = self.after(expected, change)?;
        let old = Word::from_raw(self.handle.word.swap(change.site, new.raw()));
        if old != expected {
            self.after(old, change)?;
        }
        self.report(old, new, change);
        Ok(old)
    }

    /// One try from exactly this word. An illegal change loses without a try.
    #[inline(always)]
    #[track_caller]
    pub fn try_change(&self, expected: Word, change: Move) -> Result<Word, Word> {
        let Ok(new) = self.after(expected, change) else { return Err(expected) };
        self.exchange(expected, new, change).map(|()| new)
    }

    #[inline(always)]
    #[track_caller]
    fn exchange(&self, expected: Word, new: Word, change: Move) -> Result<(), Word> {
        match self.handle.word.compare_exchange(change.site, expected.raw(), new.raw()) {
            Ok(_) => {
                self.report(expected, new, change);
                Ok(())
            }
            Err(found) => Err(Word::from_raw(found)),
        }
    }

    /// Tries from what is there until it succeeds or is not legal any more in this generation. The
    /// word of a generation changes a finite number of times (L8), so it ends. The word before and after.
    #[inline(always)]
    #[track_caller]
    pub fn change(
        &self,
        generation: Generation,
        from: Word,
        change: Move,
    ) -> Result<(Word, Word), Word> {
        self.change_after(generation, from, change, || {})
    }

    /// The same, and what is done before the first try, if it is legal.
    #[inline(always)]
    #[track_caller]
    pub fn change_after(
        &self,
        generation: Generation,
        from: Word,
        change: Move,
        before: impl FnOnce(),
    ) -> Result<(Word, Word), Word> {
        let (mut word, mut before) = (from, Some(before));
        while word.generation() == generation
            && let Ok(new) = self.after(word, change)
        {
            if let Some(before) = before.take() {
                before();
            }
            match self.exchange(word, new, change) {
                Ok(()) => return Ok((word, new)),
                Err(found) => word = found,
            }
        }
        Err(word)
    }

    #[inline(always)]
    fn after(&self, word: Word, change: Move) -> Result<Word, IllegalAt> {
        compose(word, change.events, change.role).map_err(|illegal| illegal.at(self.id))
    }

    #[inline(always)]
    fn report(&self, old: Word, new: Word, change: Move) {
        if let Some(&event) = change.events.last() {
            let Move { site, role, .. } = change;
            P::changed(Change { handle: self.id, old, new, site, event, role });
        }
    }
}
