//! Recovery of a dead process by a survivor: performs what [`Recoverer`] decides.
//!
//! Whoever runs it holds the dead one's slot lock, which is the right to
//! recover. Invariants: S24, S25, L9, L10.

use super::words::{At, Move};
use super::{Context, Drive, Embed, Shared};
use crate::decide::recoverer::{Action, AsOwner, Observation, Recoverer, Recovery};
use crate::handle::SlotWord;
use crate::ids::{Generation, HandleId, ProcessSlot};
use crate::outcome::RawResult;
use crate::platform::{Platform, SlotLocks};
use crate::site::Site;
use crate::state::{Event, Role, State, Word};

const RELEASE: &[Event] = &[Event::Release];
const CLAIM: &[Event] = &[Event::Claim];
const UNCLAIM: &[Event] = &[Event::Unclaim];
const BURY: &[Event] = &[Event::Bury];

/// What became of a recovery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Recovered {
    /// The slot was free, or its process is alive.
    NothingToDo,
    /// The slot is free again.
    Complete,
    /// Somebody alive still completes an IO of it, or another survivor recovers it; look again
    /// later.
    Unfinished,
}

impl<E: Embed> Context<'_, E> {
    /// Recovers a slot if its process is dead.
    pub fn recover(&self, dead: ProcessSlot) -> Recovered {
        let active = self.slot_word(dead).is_some_and(SlotWord::is_active);
        if dead == self.me || !active || !self.drive.is_free(dead) {
            return Recovered::NothingToDo;
        }
        if !self.drive.try_lock(dead) {
            return Recovered::Unfinished;
        }
        let recovered = self.recover_locked(dead);
        self.drive.unlock(dead);
        recovered
    }

    /// The same with the lock held; also for the own slot at attach, when `dead` is `me`.
    pub(super) fn recover_locked(&self, dead: ProcessSlot) -> Recovered {
        let (all, own) = (self.shared.handle_count(), self.shared.owned_by(dead));
        let machine = Recoverer::new(self.me, dead, all, own);
        match self.run_recovery(machine, Action::ReadSlot, dead) {
            Recovery::NothingToDo => Recovered::NothingToDo,
            Recovery::Complete => Recovered::Complete,
            Recovery::Unfinished => Recovered::Unfinished,
        }
    }

    fn run_recovery(&self, mut machine: Recoverer, first: Action, dead: ProcessSlot) -> Recovery {
        let (mut action, mark) = (first, E::P::mark());
        loop {
            E::P::settled(mark, &(&machine, action));
            let saw = match action {
                Action::ReadSlot => {
                    let active = self.slot_word_locked(dead).is_some_and(SlotWord::is_active);
                    Observation::Slot { active }
                }
                Action::Read(id) => match self.at(id) {
                    Ok(at) => Observation::Word(at.newest(Site::RecoverLook)),
                    Err(_) => Observation::Helped(false),
                },
                Action::Help(completer) => Observation::Helped(self.help(completer, dead)),
                Action::Return(recovery) => return recovery,
                Action::Unclaim(..)
                | Action::TakeOver(..)
                | Action::DrainQueue
                | Action::Own(..)
                | Action::Post(_)
                | Action::RingDoorbell
                | Action::FreeLeases
                | Action::FreeSlot => {
                    self.perform(action, dead);
                    Observation::Stepped
                }
            };
            action = machine.next(saw);
        }
    }

    /// Actions whose outcome is seen at the next look.
    fn perform(&self, action: Action, dead: ProcessSlot) {
        match action {
            Action::Unclaim(id, word) => {
                self.hint(id);
                let role = Role::CompleterRecoverer { me: self.me, dead };
                self.try_step(id, word, Move { site: Site::Unclaim, events: UNCLAIM, role });
            }
            Action::TakeOver(id, word) => {
                let _seen_at_next_look = self.take_over((id, word), dead);
            }
            Action::DrainQueue => self.drive.drain_dead(dead, &mut |id, generation, raw| {
                self.complete((id, generation), raw, Role::OwnerRecoverer(self.me)).unwrap_or(false)
            }),
            Action::Own(duty, id, word) => self.for_the_owner(duty, id, word),
            Action::Post(id) => {
                if let Ok(at) = self.at(id) {
                    at.post();
                }
            }
            Action::RingDoorbell => self.ring_all(),
            Action::FreeLeases => self.free_leases(dead),
            Action::FreeSlot => self.free_slot(dead),
            Action::ReadSlot | Action::Read(_) | Action::Help(_) | Action::Return(_) => {}
        }
    }

    fn for_the_owner(&self, duty: AsOwner, id: HandleId, word: Word) {
        let role = Role::OwnerRecoverer(self.me);
        let step = |site, events| self.try_step(id, word, Move { site, events, role });
        match duty {
            AsOwner::Release => {
                step(Site::ReleaseHandle, RELEASE);
            }
            AsOwner::Claim => {
                if step(Site::Claim, CLAIM) {
                    self.unhint(id);
                }
            }
            AsOwner::Bury => {
                step(Site::Bury, BURY);
            }
            AsOwner::Abandon => {
                let _seen_at_next_look = self.abandon((id, word), RawResult::INTERRUPTED, role);
            }
            AsOwner::Complete => {
                let raw = self.stored_or_died(id, word.generation());
                let _seen_at_next_look = self.complete((id, word.generation()), raw, role);
            }
            AsOwner::Done | AsOwner::AskCompleter(_) => {}
        }
    }

    /// The true result if the dead one had stored it already, else that it died. A peek: nothing that the
    /// dead one did after its last change of the word is published, and it may be seen or not.
    fn stored_or_died(&self, id: HandleId, generation: Generation) -> RawResult {
        let stored = self.at(id).ok().and_then(|at| at.handle.peek_raw(generation));
        stored.unwrap_or(RawResult::OWNER_DIED)
    }

    /// Whether the word was still the same and is changed now.
    fn try_step(&self, id: HandleId, word: Word, change: Move) -> bool {
        let Ok(at) = self.at(id) else { return false };
        let changed = at.try_change(word, change).is_ok();
        if changed && word.state() == State::HandedOut {
            Self::wake(at, word);
        }
        changed
    }

    fn wake(at: At<'_, E::P>, word: Word) {
        if word.has_waiters() {
            at.post();
        }
    }

    /// If that completer is dead as well: takes its claims back with its lock held. `dead`'s lock
    /// is the caller's already.
    fn help(&self, completer: ProcessSlot, dead: ProcessSlot) -> bool {
        if completer == self.me || completer == dead || !self.drive.try_lock(completer) {
            return false;
        }
        let all = self.shared.handle_count();
        let mut machine = Recoverer::as_completer_only(self.me, completer, all);
        let first = machine.begin();
        let _only_step_one = self.run_recovery(machine, first, completer);
        self.drive.unlock(completer);
        true
    }
}
