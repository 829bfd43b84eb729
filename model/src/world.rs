//! A pool of loom words, application callbacks with one effect, and a simulated method.
//!
//! | part | written by |
//! |---|---|
//! | [`Words`] | the protocol |
//! | [`Effects`] | the stage callback; then whoever completes: the shared callback, or the execution in place |
//! | [`Mailbox`] | the issuer, at its submission |
//!
//! The effect stands for what an application's waiter wants to see: the bytes of the buffer, the
//! state of its own header.
//!
//! Fails by assertions, in the execution that breaks them. Invariants asserted here: S1 (callbacks
//! once), S4 (the completer sees the frozen request), S14. Checked by: the scenarios, whose
//! mutants show that these assertions can fail. Not simulated: late, partial or lost completions.

use crate::loom_platform::{Loom, Payload};
use crate::mailbox::Mailbox;
use crate::witness;
use handfast_core::handle::{Handle, Iovec, Slot};
use handfast_core::ids::{Generation, HandleId, PoolTag, ProcessSlot, WaitRef};
use handfast_core::outcome::{Outcome, RawResult, Status};
use handfast_core::platform::{Field, SlotLocks};
use handfast_core::protocol::{
    Callbacks, Context, Drive, Embed, HandedOut, Io, Issuer, Shared, StageRefused, Submit,
};
use handfast_core::request::{CallbackId, CallbackList, Flags, Operation, Request, TargetId};
use std::ops::Range;
use std::sync::Arc;

/// The pool's tag.
const TAG: PoolTag = PoolTag(7);
/// The handle data that the issuer gives.
pub const DATA: u64 = 40;
/// The result of every simulated IO.
pub const RAW: RawResult = RawResult(2);
/// The effect of an IO that was executed, or whose callback ran: [`RAW`] plus [`DATA`].
pub const EFFECT: u64 = 42;

/// The slot of this number.
///
/// # Panics
/// Never for the numbers of a scenario.
#[must_use]
pub const fn slot(number: u32) -> ProcessSlot {
    match ProcessSlot::new(number) {
        Some(slot) => slot,
        None => panic!("a scenario has a few slots"),
    }
}

/// The shared words: one handle for each slot, no leases.
pub struct Words {
    handles: Vec<Handle<Loom>>,
    slots: Vec<Slot<Loom>>,
    data: Vec<[Payload; 1]>,
}

impl Shared<Loom> for Words {
    fn tag(&self) -> PoolTag {
        TAG
    }

    fn handle_count(&self) -> u32 {
        u32::try_from(self.handles.len()).unwrap_or(u32::MAX)
    }

    fn handle(&self, id: HandleId) -> Option<&Handle<Loom>> {
        self.handles.get(id.index())
    }

    fn owner(&self, id: HandleId) -> Option<ProcessSlot> {
        self.handle(id).and(ProcessSlot::new(id.0))
    }

    fn owned_by(&self, slot: ProcessSlot) -> Range<u32> {
        let at = slot.get().min(self.handle_count());
        at..(at + 1).min(self.handle_count())
    }

    fn iovecs(&self, _id: HandleId) -> &[Iovec<Loom>] {
        &[]
    }

    fn data(&self, id: HandleId) -> &[Payload] {
        self.data.get(id.index()).map_or(&[], |data| data)
    }

    fn slot(&self, slot: ProcessSlot) -> Option<&Slot<Loom>> {
        self.slots.get(slot.index())
    }

    fn lease_count(&self) -> u32 {
        0
    }

    fn lease(&self, _index: u32) -> Option<&crate::loom_platform::Atomic> {
        None
    }
}

/// The application: one callback, which leaves a mark at staging and at the completion.
#[derive(Debug)]
pub struct Effects {
    staged: Payload,
    effect: Payload,
}

impl Effects {
    /// What somebody who knows that the IO is over sees of it.
    #[track_caller]
    pub fn seen(&self) -> u64 {
        self.effect.get()
    }
}

/// The callback's id.
const CALLBACK: u8 = 3;
/// The byte that it is registered with.
const CALLBACK_DATA: u8 = 9;

impl Callbacks<Loom> for Effects {
    fn stage(&self, _id: CallbackId, io: &Io<'_, Loom>) -> Result<(), StageRefused> {
        self.staged.set(io.request.length);
        Ok(())
    }

    fn complete_shared(&self, id: CallbackId, io: &Io<'_, Loom>, prior: Outcome) -> Outcome {
        witness::saw("shared callback");
        assert_eq!(io.request, request(true), "S4: the completer sees another request");
        assert_eq!((io.callback_data, io.repeat), (CALLBACK_DATA, false));
        assert_eq!((io.raw, prior), (RAW, Outcome::from_raw(RAW)));
        let staged = self.staged.get();
        assert_eq!(staged, io.request.length, "S4: the completer does not see what staging did");
        let data = io.data.first().map_or(0, Field::get);
        assert_eq!(data, DATA, "S4: the completer sees other handle data");
        assert_eq!(self.effect.get(), 0, "S1: the shared callback ran twice");
        self.effect.set(EFFECT);
        Outcome::new(Status::Warning, id, 5, prior.result())
    }

    fn complete_local(&self, id: CallbackId, io: &Io<'_, Loom>, prior: Outcome) -> Outcome {
        witness::saw("local callback");
        assert_eq!(io.raw, RAW, "S7: the issuer sees another raw result");
        Outcome::new(prior.status(), id, prior.error_data() + 1, prior.result())
    }
}

/// What the issuer's method is told at the end, callbacks or not (S14).
#[must_use]
pub fn final_outcome(callbacks: bool) -> Outcome {
    match (callbacks, CallbackId::new(CALLBACK)) {
        (true, Some(id)) => Outcome::new(Status::Warning, id, 6, RAW.0),
        (true, None) | (false, _) => Outcome::from_raw(RAW),
    }
}

/// The request of every scenario, with the callback or without.
#[must_use]
pub fn request(callbacks: bool) -> Request {
    let with = CallbackId::new(CALLBACK).and_then(|id| CallbackList::EMPTY.with(id, CALLBACK_DATA));
    Request {
        operation: Operation::Readv,
        flags: Flags::BUFFERED,
        target: TargetId::FILE,
        target_data: [11, 12, 13],
        offset: 4096,
        length: 512,
        iovecs: 0,
        data_len: 1,
        callbacks: if callbacks { with.unwrap_or_default() } else { CallbackList::EMPTY },
    }
}

/// Everybody lives: no lock is ever free, and nothing has to be driven.
#[derive(Debug)]
pub struct Alive;

impl SlotLocks for Alive {
    fn try_lock(&self, _slot: ProcessSlot) -> bool {
        false
    }

    fn unlock(&self, _slot: ProcessSlot) {}

    fn is_free(&self, _slot: ProcessSlot) -> bool {
        false
    }
}

impl Drive for Alive {}

/// Everything that the threads of one execution share.
pub struct World {
    words: Words,
    alive: Alive,
    /// The application's callbacks and their effect.
    pub effects: Effects,
    /// From the issuer to the completer.
    pub mailbox: Mailbox,
}

/// The types of a scenario.
#[derive(Debug)]
pub struct Model;

impl Embed for Model {
    type P = Loom;
    type S = Words;
    type C = Effects;
    type D = Alive;
}

impl World {
    /// A pool with one handle, in slot 0, and two slots.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            words: Words {
                handles: vec![Handle::new()],
                slots: vec![Slot::new(), Slot::new()],
                data: vec![[Payload::new(0)]],
            },
            alive: Alive,
            effects: Effects { staged: Payload::new(0), effect: Payload::new(0) },
            mailbox: Mailbox::new(),
        })
    }

    /// The view of the participant in this slot.
    #[must_use]
    pub const fn context(&self, me: ProcessSlot) -> Context<'_, Model> {
        Context { shared: &self.words, callbacks: &self.effects, drive: &self.alive, me }
    }

    /// The issuer of slot 0, whose IOs run in place or are handed to the mailbox.
    #[must_use]
    pub fn issuer(&self, how: How) -> Issuer<'_, Model, Simulated<'_>> {
        let method = Simulated { world: self, how, retired: None };
        Issuer::new(self.context(slot(0)), &[Generation::FIRST], method)
    }

    /// What the issuer of an unused handle does before it gives the handle up; whoever learns of
    /// the release sees it.
    pub fn before_release(&self) {
        self.effects.effect.set(EFFECT);
    }

    /// The reference to what the issuer has handed out.
    #[must_use]
    pub const fn reference(&self, handle: HandedOut) -> WaitRef {
        WaitRef::new(TAG, handle.id, handle.generation)
    }
}

/// Who executes the IOs of an issuer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// The issuer, in its submission.
    InPlace,
    /// The thread that waits at the mailbox.
    HandedOver,
}

/// The issuer's side of the simulated method.
pub struct Simulated<'w> {
    world: &'w World,
    how: How,
    retired: Option<(Generation, Outcome)>,
}

impl Simulated<'_> {
    /// The result that the protocol has delivered last, if it has.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.retired.map(|(_, outcome)| outcome)
    }
}

impl Submit for Simulated<'_> {
    fn in_place(&self, _request: &Request) -> bool {
        self.how == How::InPlace
    }

    fn accept(&mut self, wanted: usize) -> usize {
        wanted
    }

    fn submit(&mut self, ios: &[(HandleId, Generation)]) {
        ios.iter().for_each(|io| self.world.mailbox.put(*io));
    }

    fn execute(&mut self, _io: HandleId, asked: &Request) -> RawResult {
        assert_eq!(*asked, request(false));
        self.world.effects.effect.set(EFFECT);
        RAW
    }

    fn is_outstanding(&self, _io: HandleId) -> bool {
        true
    }

    fn retired(&mut self, _io: HandleId, generation: Generation, outcome: Outcome) {
        let before = self.retired.replace((generation, outcome));
        let later = before.is_none_or(|(earlier, _)| earlier < generation);
        assert!(later, "S15: the result was delivered twice");
    }
}
