//! Rings: completion queues that belong to one attachment, as io_uring's do. Who sleeps in one, who empties it.
//!
//! | who | does |
//! |---|---|
//! | the issuer, before it sleeps on an own IO | a [`Turn`]: drains, takes the lead, sleeps in the ring |
//! | the reaper ([`Context::reap`]) | the same for others, while somebody waits |
//! | a waiter in another process | sets WAITERS, posts the slot's bell, sleeps on the IO |
//! | the issuer, after a submission | drains; posts its own bell if Submit saw WAITERS and that was not all |
//! | a recoverer, slot lock held | [`drain`]s the dead one's ring |
//!
//! An entry is copied, completed up to Publish, and then given back, one after the other, with the reap lock held
//! (S8, S1); nobody holds it in the kernel (R23). A drainer that dies in between leaves an entry whose IO is
//! over: the next one drops it. The lock also orders every look at a word after a drain.
//!
//! Invariants: S1, S8, L2, L4. Checked by: the model's scenarios `ring_*`, `lead_*`, `waits_for_own_and_foreign`.
//! Not checked: a kernel that loses completions; what is counted as dropped.

use super::words::At;
use super::{Context, Deliver, Drive, Embed, Shared};
use crate::decide::lead::{Action, Entered, LeadWord, Leader, Observation, Turn};
use crate::decide::reaper::is_awaited;
use crate::ids::{Generation, HandleId, ProcessSlot};
use crate::outcome::RawResult;
use crate::platform::{Atomic64, EventCount, Platform, Slept};
use crate::site::Site;
use crate::state::{State, Word};

/// One entry of a completion queue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    /// The IO; `None` if the entry was made by [`Ring::rouse`] or makes no sense.
    pub io: Option<(HandleId, Generation)>,
    /// What became of it.
    pub raw: RawResult,
}

/// The completion queue of a ring. Whoever has it holds the ring's reap lock.
pub trait Queue {
    /// A copy of the oldest completion, if there is one.
    fn head(&mut self) -> Option<Entry>;
    /// Gives the oldest completion's entry, which [`Self::head`] has just shown, back to the kernel.
    fn advance(&mut self, shown: Entry);
    /// Told of a completion whose IO was not under way: it counts them.
    fn dropped(&mut self, entry: Entry);
}

/// A ring of the embedding's: submissions go in, completions come out.
pub trait Ring: Sync {
    /// Calls [`drain`] with the completion queue and the reap lock, which is private to the process and orders
    /// memory; what that returned.
    fn reap(&self, deliver: Deliver<'_>) -> bool;
    /// Submits what is pending and, if there is no completion, sleeps until there is one, until it is
    /// roused, or for `slice_ns` nanoseconds. One thread at a time.
    fn sleep(&self, slice_ns: u64) -> Slept;
    /// Makes the sleep that is under way, or the next one, return.
    fn rouse(&self);
}

/// A ring with its lead, whatever their types. [`LedRing`] is one.
pub trait Lead: Sync {
    /// The ring.
    fn ring(&self) -> &dyn Ring;
    /// Takes the lead if nobody has it; whether it did.
    fn take(&self, me: Leader) -> bool;
    /// Takes the lead, or tells who has it that more is wanted.
    fn enter(&self, me: Leader) -> Entered;
    /// Whether the reaper has it, as far as whoever has just held the reap lock must know.
    fn is_the_reapers(&self) -> bool;
    /// The issuer leaves; whether more was wanted.
    fn leave(&self) -> bool;
    /// The reaper leaves, or, if more is wanted, clears that and stays. Whether it left.
    fn give_up(&self) -> bool;
}

/// A ring and the word of its lead, in private memory of the process that owns it.
#[derive(Debug)]
pub struct LedRing<P: Platform, R: Ring> {
    word: P::Atomic64,
    ring: R,
}

impl<P: Platform, R: Ring> LedRing<P, R> {
    /// Nobody leads.
    pub fn new(ring: R) -> Self {
        Self { word: P::Atomic64::new(LeadWord::FREE.raw()), ring }
    }

    /// The ring.
    pub const fn get(&self) -> &R {
        &self.ring
    }
}

impl<P: Platform, R: Ring> Lead for LedRing<P, R> {
    fn ring(&self) -> &dyn Ring {
        &self.ring
    }

    fn take(&self, me: Leader) -> bool {
        let (free, led) = (LeadWord::FREE.raw(), LeadWord::led_by(me).raw());
        self.word.compare_exchange(Site::LeadTake, free, led).is_ok()
    }

    /// A failed exchange is another's progress.
    fn enter(&self, me: Leader) -> Entered {
        let (mark, mut word) = (P::mark(), LeadWord::FREE);
        loop {
            P::settled(mark, &word.raw());
            let (next, entered) = word.entered(me);
            let site = match entered {
                Entered::Taken => Site::LeadTake,
                Entered::Wanted => Site::LeadWant,
            };
            match self.word.compare_exchange(site, word.raw(), next.raw()) {
                Ok(_) => return entered,
                Err(found) => word = LeadWord::from_raw(found),
            }
        }
    }

    fn is_the_reapers(&self) -> bool {
        LeadWord::from_raw(self.word.load(Site::LeadGlance)).is_led_by(Leader::Reaper)
    }

    fn leave(&self) -> bool {
        LeadWord::from_raw(self.word.swap(Site::LeadLeave, LeadWord::FREE.raw())).is_wanted()
    }

    fn give_up(&self) -> bool {
        let led = LeadWord::led_by(Leader::Reaper).raw();
        if self.word.compare_exchange(Site::LeadYield, led, LeadWord::FREE.raw()).is_ok() {
            return true;
        }
        self.word.and(Site::LeadClear, LeadWord::NOT_WANTED);
        false
    }
}

/// Completes everything that is in a queue; whether there was anything. Ends because every entry is one of
/// finitely many IOs in flight, unless the issuer goes on submitting: then it is work that has to be done.
#[inline(always)]
pub fn drain(queue: &mut impl Queue, deliver: Deliver<'_>) -> bool {
    let mut any = false;
    while let Some(entry) = queue.head() {
        if let Some((id, generation)) = entry.io
            && !deliver(id, generation, entry.raw)
        {
            queue.dropped(entry);
        }
        queue.advance(entry);
        any = true;
    }
    any
}

impl<E: Embed> Context<'_, E> {
    /// Completes what is in the own ring; whether there was anything.
    pub(super) fn drain_own(&self, lead: &dyn Lead) -> bool {
        lead.ring().reap(&mut |id, generation, raw| self.deliver(id, generation, raw))
    }

    /// The same by the issuer. What it completes may be a task's, and the reaper asleep in the ring, where it
    /// does not hear the bell.
    pub(super) fn drain_as_issuer(&self, lead: &dyn Lead) -> bool {
        let any = self.drain_own(lead);
        if any && self.is_marked(self.me) && lead.is_the_reapers() {
            lead.ring().rouse();
        }
        any
    }

    /// The lead of the ring that a handle's completion comes through, if it is the caller's.
    pub(super) fn lead_of(&self, id: HandleId) -> Option<&dyn Lead> {
        if self.shared.owner(id) == Some(self.me) { self.drive.lead() } else { None }
    }

    /// The bell of the slot whose ring a handle's completion comes through, if there is one.
    pub(super) fn bell_of(&self, id: HandleId) -> Option<&<E::P as Platform>::EventCount> {
        let owner = self.shared.owner(id).filter(|&owner| self.shared.has_ring(owner))?;
        Some(self.shared.slot(owner)?.bell())
    }

    pub(super) fn post_bell(&self, slot: ProcessSlot) {
        if let Some(slot) = self.shared.slot(slot) {
            slot.bell().post();
        }
    }

    /// An issuer's turn before it sleeps on an own IO; whether to look again instead. `announced`: WAITERS
    /// is set for it.
    pub(super) fn turn(
        &self,
        lead: &dyn Lead,
        (at, word, announced): (At<'_, E::P>, Word, bool),
        slice_ns: u64,
    ) -> bool {
        let (mut machine, mut action) = Turn::start(announced);
        let mark = E::P::mark();
        loop {
            E::P::settled(mark, &(&machine, action, at.id, word));
            let saw = match action {
                Action::Drain => Observation::Drained { any: self.drain_as_issuer(lead) },
                Action::Take => Observation::Taken(lead.take(Leader::Issuer)),
                Action::Enter => Observation::Entered(lead.enter(Leader::Issuer)),
                Action::Look => {
                    let now = at.load(Site::LeadLook);
                    let same = now.generation() == word.generation();
                    Observation::Looked { pending: same && now.state() == State::Submitted }
                }
                Action::Sleep => {
                    let _looks_again_in_any_case = lead.ring().sleep(slice_ns);
                    Observation::Slept
                }
                Action::Leave => Observation::Left { wanted: lead.leave() },
                Action::PostBell => {
                    self.post_bell(self.me);
                    Observation::Posted
                }
                Action::Return { look_again } => return look_again,
            };
            action = machine.next(saw);
        }
    }

    /// After a submission that saw WAITERS, and a drain: what is not over is the reaper's, whom nobody else
    /// would tell of waiters that came before Submit.
    pub(super) fn tend_waiters(&self, started: &[(HandleId, Generation)]) {
        let awaited = |&(id, generation): &(HandleId, Generation)| {
            let word = self.at(id).map(|at| at.load(Site::LeadLook));
            word.is_ok_and(|word| word.generation() == generation && is_awaited(word))
        };
        if started.iter().any(awaited) {
            self.post_bell(self.me);
        }
    }
}
