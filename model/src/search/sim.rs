//! [`Platform`] and [`Runtime`] of the search: every access to a shared word is a step, all of them
//! in one order (weak memory is loom's part).
//!
//! | type | in memory |
//! |---|---|
//! | [`Word`] | its value |
//! | [`Payload`] | its value; no step of its own, but for a peek |
//! | [`Count`] | who holds a ticket that is still good, who sleeps: all that tickets are good for |
//! | [`Mail`] | how many entries, then the entries |
//! | [`SlotLock`] | who holds it |
//!
//! A sleep ends by a post; by the end of its slice only after somebody has died, or if it is shorter
//! than a slice; for no reason as often as the search allows. No slice is ever over of a sleep that is longer.

#![expect(clippy::disallowed_types, reason = "an application's words ask for orderings")]

use super::memory::{note, perform, perform_on, with};
use super::operation::{Limit, Newcomer, Note, Operation, ROOM, Update};
use crate::runtime::{Actor, Body, Lock, Queue, Runtime, SharedWord};
use handfast_core::platform::{Atomic64, Change, EventCount, Field, Platform, SLICE_NS, Slept};
use handfast_core::site::Site;
use handfast_core::state::Event;
use std::hash::Hash;
use std::sync::atomic::Ordering;

/// A word at its place in memory.
#[derive(Debug)]
pub struct Word(usize);

impl Word {
    #[track_caller]
    fn update(&self, site: Site, update: Update) -> u64 {
        perform_on(self, &Operation::Word(self.0, update, Some(site)))[0]
    }

    /// At no site of the protocol.
    #[track_caller]
    fn own(&self, update: Update) -> u64 {
        perform_on(self, &Operation::Word(self.0, update, None))[0]
    }
}

impl Atomic64 for Word {
    fn new(value: u64) -> Self {
        Self(with(|processor| processor.allocate(value)))
    }

    #[track_caller]
    fn load(&self, site: Site) -> u64 {
        self.update(site, Update::Keep)
    }

    #[track_caller]
    fn store(&self, site: Site, value: u64) {
        self.update(site, Update::Store(value));
    }

    #[track_caller]
    fn swap(&self, site: Site, value: u64) -> u64 {
        self.update(site, Update::Swap(value))
    }

    #[track_caller]
    fn add(&self, site: Site, delta: u64) -> u64 {
        self.update(site, Update::Add(delta))
    }

    #[track_caller]
    fn or(&self, site: Site, bits: u64) -> u64 {
        self.update(site, Update::Or(bits))
    }

    #[track_caller]
    fn newest(&self, site: Site) -> u64 {
        self.update(site, Update::Keep)
    }

    #[track_caller]
    fn and(&self, site: Site, bits: u64) -> u64 {
        self.update(site, Update::And(bits))
    }

    #[track_caller]
    fn compare_exchange(&self, site: Site, current: u64, new: u64) -> Result<u64, u64> {
        let old = self.update(site, Update::Exchange(current, new));
        if old == current { Ok(old) } else { Err(old) }
    }
}

/// A word of the application's own: in one order with all others, whatever orderings it asks for.
impl SharedWord for Word {
    fn new(value: u64) -> Self {
        <Self as Atomic64>::new(value)
    }

    #[track_caller]
    fn load(&self, _order: Ordering) -> u64 {
        self.own(Update::Keep)
    }

    #[track_caller]
    fn store(&self, value: u64, _order: Ordering) {
        self.own(Update::Store(value));
    }

    #[track_caller]
    fn swap(&self, value: u64, _order: Ordering) -> u64 {
        self.own(Update::Swap(value))
    }

    #[track_caller]
    fn fetch_add(&self, value: u64, _order: Ordering) -> u64 {
        self.own(Update::Add(value))
    }

    #[track_caller]
    fn fetch_sub(&self, value: u64, _order: Ordering) -> u64 {
        self.own(Update::Add(value.wrapping_neg()))
    }

    #[track_caller]
    fn fetch_or(&self, bits: u64, _order: Ordering) -> u64 {
        self.own(Update::Or(bits))
    }

    #[track_caller]
    fn fetch_and(&self, bits: u64, _order: Ordering) -> u64 {
        self.own(Update::And(bits))
    }

    #[track_caller]
    fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        _success: Ordering,
        _failure: Ordering,
    ) -> Result<u64, u64> {
        let old = self.own(Update::Exchange(current, new));
        if old == current { Ok(old) } else { Err(old) }
    }
}

/// A word of payload.
#[derive(Debug)]
pub struct Payload(usize);

impl Field for Payload {
    fn new(value: u64) -> Self {
        Self(with(|processor| processor.allocate(value)))
    }

    #[track_caller]
    fn get(&self) -> u64 {
        perform(&Operation::Get(self.0))[0]
    }

    #[track_caller]
    fn set(&self, value: u64) {
        let published = with(|processor| processor.published);
        assert!(!published, "S5: a completer wrote to the handle after its Publish");
        perform(&Operation::Set(self.0, value));
    }

    #[track_caller]
    fn peek(&self) -> u64 {
        perform_on(self, &Operation::Word(self.0, Update::Keep, None))[0]
    }
}

/// An event count.
#[derive(Debug)]
pub struct Count(usize);

/// What every ticket says; whether it is still good is in memory.
const TICKET: u32 = 7;

impl EventCount for Count {
    fn new() -> Self {
        Self(with(|processor| {
            let at = processor.allocate(0);
            processor.note_count(at);
            at
        }))
    }

    #[track_caller]
    fn ticket(&self) -> u32 {
        perform_on(self, &Operation::Ticket(self.0));
        TICKET
    }

    #[track_caller]
    fn sleep(&self, _ticket: u32, slice_ns: u64) -> Slept {
        let (short, limit) = (slice_ns < SLICE_NS, Limit::of(slice_ns));
        if perform_on(self, &Operation::FallAsleep(self.0))[0] == 0 {
            note(Note::Saw("ticket was old"));
            return Slept::LookAgain;
        }
        note(Note::Saw("slept"));
        if perform_on(self, &Operation::Sleep(self.0, limit))[0] == 0 {
            return Slept::LookAgain;
        }
        note(Note::Saw("slice over"));
        with(|processor| processor.time_over |= short);
        Slept::SliceOver
    }

    const MOST: usize = 3;

    #[track_caller]
    fn sleep_any(counts: &[(&Self, u32)], slice_ns: u64) -> Slept {
        let (short, limit) = (slice_ns < SLICE_NS, Limit::of(slice_ns));
        for (turn, (count, _)) in counts.iter().enumerate() {
            if perform_on(*count, &Operation::FallAsleep(count.0))[0] == 0 {
                for (count, _) in &counts[..turn] {
                    perform(&Operation::Withdraw(count.0));
                }
                note(Note::Saw("ticket was old"));
                return Slept::LookAgain;
            }
        }
        note(Note::Saw("slept"));
        let on = counts.iter().map(|(count, _)| count.0).collect();
        if perform(&Operation::SleepOnAny(on, limit))[0] == 0 {
            return Slept::LookAgain;
        }
        note(Note::Saw("slice over"));
        with(|processor| processor.time_over |= short);
        Slept::SliceOver
    }

    #[track_caller]
    fn post(&self) {
        perform_on(self, &Operation::Post(self.0, u32::MAX));
    }

    #[track_caller]
    fn post_some(&self, wake: u32) {
        perform_on(self, &Operation::Post(self.0, wake));
    }
}

/// A queue of a fixed room.
#[derive(Debug)]
pub struct Mail(usize);

impl Queue for Mail {
    fn new() -> Self {
        Self(with(|processor| {
            let at = processor.allocate(0);
            (0..ROOM).for_each(|_| {
                processor.allocate(0);
            });
            at
        }))
    }

    #[track_caller]
    fn push(&self, entry: u64) {
        perform(&Operation::Push(self.0, entry));
    }

    #[track_caller]
    fn push_within(&self, entry: u64, room: usize) {
        let full = perform(&Operation::PushWithin(self.0, entry, room))[0] == 1;
        assert!(!full, "S8: a completion finds no free entry");
    }

    #[track_caller]
    fn pop(&self) -> u64 {
        perform(&Operation::Pop(self.0, true))[0]
    }

    #[track_caller]
    fn try_pop(&self) -> Option<u64> {
        let [entry, taken] = perform(&Operation::Pop(self.0, false));
        (taken == 1).then_some(entry)
    }

    #[track_caller]
    fn first(&self) -> Option<u64> {
        let [entry, some] = perform(&Operation::First(self.0));
        (some == 1).then_some(entry)
    }

    #[track_caller]
    fn until_some(&self, slice_ns: u64) -> Slept {
        let (short, limit) = (slice_ns < SLICE_NS, Limit::of(slice_ns));
        if perform(&Operation::Await(self.0, limit))[0] == 0 {
            return Slept::LookAgain;
        }
        note(Note::Saw("slice over"));
        with(|processor| processor.time_over |= short);
        Slept::SliceOver
    }
}

/// A slot lock.
#[derive(Debug)]
pub struct SlotLock(usize);

impl SlotLock {
    #[track_caller]
    fn update(&self, update: Update) -> u64 {
        perform_on(self, &Operation::Word(self.0, update, None))[0]
    }
}

impl Lock for SlotLock {
    fn new() -> Self {
        Self(with(|processor| processor.allocate(0)))
    }

    #[track_caller]
    fn try_lock(&self) -> bool {
        perform_on(self, &Operation::TryLock(self.0))[0] == 1
    }

    #[track_caller]
    fn unlock(&self) {
        self.update(Update::Store(0));
    }

    #[track_caller]
    fn is_free(&self) -> bool {
        self.update(Update::Keep) == 0
    }

    #[track_caller]
    fn until_free(&self) {
        perform_on(self, &Operation::UntilFree(self.0));
    }

    #[track_caller]
    fn release_of(&self, process: u32) {
        self.update(Update::Exchange(u64::from(process) + 1, 0));
    }
}

/// The search as a platform.
#[derive(Debug)]
pub struct Sim;

impl Platform for Sim {
    type Atomic64 = Word;
    type Field = Payload;
    type EventCount = Count;

    fn fence(_site: Site) {}

    fn now_ns() -> u64 {
        with(|processor| if processor.time_over { u64::MAX } else { 0 })
    }

    #[track_caller]
    fn pause() {
        perform(&Operation::Pause);
    }

    fn set_in_callback(inside: bool) -> bool {
        with(|processor| std::mem::replace(&mut processor.in_callback, inside))
    }

    fn in_callback() -> bool {
        with(|processor| processor.in_callback)
    }

    fn changed(change: Change) {
        note(Note::Changed(change));
        with(|processor| processor.published |= matches!(change.event, Event::Publish));
    }

    fn mark() -> usize {
        with(|processor| processor.mark())
    }

    fn settled<K: Hash>(mark: usize, local: &K) {
        with(|processor| processor.settled(mark, local));
    }
}

impl Runtime for Sim {
    const NAME: &'static str = "search";
    type Started = usize;
    type Queue = Mail;
    type Lock = SlotLock;
    type Word = Word;

    #[track_caller]
    fn spawn(actor: Actor, seed: u64, body: Body, at_death: Body) -> usize {
        let [index, _] = perform(&Operation::Spawn(Newcomer { actor, seed, body, at_death }));
        usize::try_from(index).expect("a few actors")
    }

    #[track_caller]
    fn join(started: usize) {
        perform(&Operation::Join(started));
    }

    #[track_caller]
    fn choose(options: usize) -> usize {
        usize::try_from(perform(&Operation::Choose(options))[0]).expect("a small number")
    }

    #[track_caller]
    fn glimpse(field: &Payload) -> u64 {
        field.get()
    }

    fn actor() -> Actor {
        with(|processor| processor.actor())
    }

    fn saw(what: &'static str) {
        note(Note::Saw(what));
    }
}
