//! A pool of a runtime's words, application callbacks that check what they see, and a simulated
//! method.
//!
//! | part | written by |
//! |---|---|
//! | [`Words`] | the protocol |
//! | [`Effects`] | the stage callback; then whoever completes: the shared callback, or the execution |
//! | [`Kernel`] | issuers put IO in; processes hold slot locks |
//!
//! The effect of an IO stands for what an application's waiter wants to see: the bytes of the buffer,
//! the state of its own header. It is the IO's generation, so that old effects tell themselves.
//!
//! Fails by assertions, in the execution that breaks them. Invariants asserted here: S1 (callbacks
//! once), S4 (the completer sees the frozen request), S7, S14, S15. Checked by: the scenarios, whose
//! mutants show that these assertions can fail.

mod process;

pub use process::pid;

use crate::mailbox::{IoId, Mailbox, entry, io_of};
use crate::runtime::{Actor, Lock, Queue, Runtime};
use handfast_core::handle::{Handle, Iovec, Slot};
use handfast_core::ids::{Generation, HandleId, PoolTag, ProcessSlot, WaitRef};
use handfast_core::outcome::{Outcome, RawResult, Status};
use handfast_core::platform::{Field, SlotLocks};
use handfast_core::protocol::{
    Callbacks, Context, Deliver, Drive, Embed, HandedOut, Io, Issuer, Shared, StageRefused, Submit,
};
use handfast_core::request::{CallbackId, CallbackList, Flags, Operation, Request, TargetId};
use handfast_core::state::{Role, Word};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

/// The pool's tag.
const TAG: PoolTag = PoolTag(7);

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

/// The use `generation` of a handle.
///
/// # Panics
/// Never for the numbers of a scenario.
#[must_use]
pub const fn io(handle: u32, generation: u64) -> IoId {
    match Generation::new(generation) {
        Some(generation) => (HandleId(handle), generation),
        None => panic!("generations start at one"),
    }
}

/// The reference to an IO.
#[must_use]
pub const fn reference(io: IoId) -> WaitRef {
    WaitRef::new(TAG, io.0, io.1)
}

/// The result of a simulated IO: different for every IO.
///
/// # Panics
/// Never for the numbers of a scenario.
#[must_use]
pub fn raw_of(io: IoId) -> RawResult {
    RawResult(i32::try_from(u64::from(io.0.0) * 100 + io.1.get()).expect("small numbers"))
}

/// The handle data of an IO.
#[must_use]
pub fn data_of(io: IoId) -> u64 {
    7000 + crate::mailbox::entry(io)
}

/// How large a pool is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    /// How many slots.
    pub slots: u32,
    /// How many handles each slot has that has any.
    pub handles: u32,
    /// How many slots have handles, from the first on.
    pub owners: u32,
    /// How many lease words there are.
    pub leases: u32,
    /// Whether whoever waits reaps completions ([`How::Ring`]).
    pub reaps: bool,
}

impl Size {
    /// One handle for each slot, no leases.
    #[must_use]
    pub const fn slots(slots: u32) -> Self {
        Self { slots, handles: 1, owners: slots, leases: 0, reaps: false }
    }

    /// The same, but only so many slots have handles: the processes of the others issue nothing.
    #[must_use]
    pub const fn owners(self, owners: u32) -> Self {
        Self { owners, ..self }
    }

    const fn all_handles(self) -> u32 {
        self.owners * self.handles
    }

    /// The same with this many handles for each slot.
    #[must_use]
    pub const fn handles(self, handles: u32) -> Self {
        Self { handles, ..self }
    }

    /// The same with completions that whoever waits reaps.
    #[must_use]
    pub const fn reaping(self) -> Self {
        Self { reaps: true, ..self }
    }

    /// The same with this many leases.
    #[must_use]
    pub const fn leases(self, leases: u32) -> Self {
        Self { leases, ..self }
    }
}

/// The shared words.
pub struct Words<R: Runtime> {
    size: Size,
    handles: Vec<Handle<R>>,
    slots: Vec<Slot<R>>,
    data: Vec<[R::Field; 1]>,
    leases: Vec<R::Atomic64>,
}

impl<R: Runtime> Words<R> {
    fn new(size: Size) -> Self {
        use handfast_core::platform::Atomic64 as _;
        let handles = 0..size.all_handles();
        Self {
            size,
            handles: handles.clone().map(|_| Handle::new()).collect(),
            slots: (0..size.slots).map(|_| Slot::new()).collect(),
            data: handles.map(|_| [R::Field::new(0)]).collect(),
            leases: (0..size.leases).map(|_| R::Atomic64::new(0)).collect(),
        }
    }
}

impl<R: Runtime> Shared<R> for Words<R> {
    fn tag(&self) -> PoolTag {
        TAG
    }

    fn handle_count(&self) -> u32 {
        self.size.all_handles()
    }

    fn handle(&self, id: HandleId) -> Option<&Handle<R>> {
        self.handles.get(id.index())
    }

    fn owner(&self, id: HandleId) -> Option<ProcessSlot> {
        self.handle(id)?;
        ProcessSlot::new(id.0 / self.size.handles)
    }

    fn owned_by(&self, slot: ProcessSlot) -> Range<u32> {
        let first = slot.get().min(self.size.owners) * self.size.handles;
        first..(first + self.size.handles).min(self.handle_count())
    }

    fn iovecs(&self, _id: HandleId) -> &[Iovec<R>] {
        &[]
    }

    fn data(&self, id: HandleId) -> &[R::Field] {
        self.data.get(id.index()).map_or(&[], |data| data)
    }

    fn slot(&self, slot: ProcessSlot) -> Option<&Slot<R>> {
        self.slots.get(slot.index())
    }

    fn lease_count(&self) -> u32 {
        self.size.leases
    }

    fn lease(&self, index: u32) -> Option<&R::Atomic64> {
        self.leases.get(index as usize)
    }
}

/// The application: callbacks that check what they are shown, and the effect of each handle's IO.
pub struct Effects<R: Runtime> {
    staged: Vec<R::Field>,
    effect: Vec<R::Field>,
    /// How many stage callbacks refuse, from the first on.
    refusals: u64,
    /// Whether no staging is cut short.
    whole: bool,
    /// What a stage callback does instead of returning.
    interrupt: Option<fn()>,
}

/// The callback's id.
const CALLBACK: u8 = 3;
/// The byte that it is registered with.
const CALLBACK_DATA: u8 = 9;

impl<R: Runtime> Effects<R> {
    fn new(handles: u32) -> Self {
        let fields = || (0..handles).map(|_| R::Field::new(0)).collect();
        Self { staged: fields(), effect: fields(), refusals: 0, whole: false, interrupt: None }
    }

    /// No staging is cut short: who completes an IO, even unexecuted, sees what its stage callback did.
    pub const fn staging_is_whole(&mut self) {
        self.whole = true;
    }

    /// From now on, stage callbacks are cut short by this.
    pub fn interrupt_staging(&mut self, by: fn()) {
        self.interrupt = Some(by);
    }

    /// The IO of this handle whose stage callback ran last, if anybody can see that.
    pub fn published(&self, handle: u32) -> Option<IoId> {
        let generation = R::glimpse(&self.staged[handle as usize]);
        (generation > 0).then(|| io(handle, generation))
    }

    /// Who knows that this IO is over sees what its shared callback did, or what a later one's did.
    ///
    /// # Panics
    /// If that is an older effect (S7).
    #[track_caller]
    pub fn assert_seen(&self, (id, generation): IoId) {
        let seen = R::glimpse(&self.effect[id.index()]);
        assert!(
            seen >= generation.get(),
            "S7: over, but the callback's effect is not seen: {seen}"
        );
    }
}

impl<R: Runtime> Callbacks<R> for Effects<R> {
    fn stage(&self, _id: CallbackId, io: &Io<'_, R>) -> Result<(), StageRefused> {
        self.staged[io.handle.index()].set(io.generation.get());
        if let Some(interrupt) = self.interrupt {
            interrupt();
        }
        if io.generation.get() <= self.refusals { Err(StageRefused) } else { Ok(()) }
    }

    fn complete_shared(&self, id: CallbackId, io: &Io<'_, R>, prior: Outcome) -> Outcome {
        let this = (io.handle, io.generation);
        R::saw("shared callback");
        assert_eq!(io.request, request(this, true), "S4: the completer sees another request");
        assert_eq!(io.callback_data, CALLBACK_DATA, "S4: the completer sees another byte");
        if self.whole || io.raw == raw_of(this) {
            // Otherwise it may have ended before its stage callback ran.
            let staged = self.staged[io.handle.index()].get();
            assert_eq!(staged, io.generation.get(), "S4: what staging did is not seen");
        }
        let data = io.data.first().map_or(0, Field::get);
        assert_eq!(data, data_of(this), "S4: the completer sees other handle data");
        assert_eq!(prior, Outcome::from_raw(io.raw), "the first callback sees the raw result");
        // What a run that ended in a death did was published by nobody.
        let effect = &self.effect[io.handle.index()];
        let before = if io.repeat { effect.peek() } else { effect.get() };
        let again = before == io.generation.get();
        if io.repeat {
            R::saw("repeated");
        }
        assert!(!again || io.repeat, "S1: the shared callback ran twice");
        effect.set(io.generation.get());
        if io.raw == raw_of(this) { warned(id, 5, prior) } else { prior }
    }

    fn complete_local(&self, id: CallbackId, _io: &Io<'_, R>, prior: Outcome) -> Outcome {
        R::saw("local callback");
        let error = prior.status() == Status::Error;
        if error { prior } else { warned(id, prior.error_data() + 1, prior) }
    }
}

fn warned(id: CallbackId, error_data: u32, prior: Outcome) -> Outcome {
    Outcome::new(Status::Warning, id, error_data, prior.result())
}

/// What everybody but the issuer is told of an IO that went well.
#[must_use]
pub fn shared_outcome(io: IoId, callbacks: bool) -> Outcome {
    let plain = Outcome::from_raw(raw_of(io));
    match (callbacks, CallbackId::new(CALLBACK)) {
        (true, Some(id)) => warned(id, 5, plain),
        (true, None) | (false, _) => plain,
    }
}

/// What the issuer is told (S14): local after shared.
#[must_use]
pub fn final_outcome(io: IoId, callbacks: bool) -> Outcome {
    match (callbacks, CallbackId::new(CALLBACK)) {
        (true, Some(id)) => warned(id, 6, Outcome::from_raw(raw_of(io))),
        (true, None) | (false, _) => Outcome::from_raw(raw_of(io)),
    }
}

/// The request of every scenario, with the callback or without. The offset tells the IOs apart.
#[must_use]
pub fn request(io: IoId, callbacks: bool) -> Request {
    let with = CallbackId::new(CALLBACK).and_then(|id| CallbackList::EMPTY.with(id, CALLBACK_DATA));
    Request {
        operation: Operation::Readv,
        flags: Flags::BUFFERED,
        target: TargetId::FILE,
        target_data: [11, 12, 13],
        offset: io.1.get(),
        length: 512,
        iovecs: 0,
        data_len: 1,
        callbacks: if callbacks { with.unwrap_or_default() } else { CallbackList::EMPTY },
    }
}

/// The computer: who holds which slot lock, and what IO is under way.
pub struct Kernel<R: Runtime> {
    locks: Vec<R::Lock>,
    /// The bytes of each handle's buffer: which IO has read into it last.
    bytes: Vec<R::Field>,
    /// The bytes of the frame behind each lease.
    frames: Vec<R::Field>,
    /// From issuers to completers.
    pub mailbox: Mailbox<R>,
    /// Completions that any thread may reap.
    ring: R::Queue,
    /// Whether there is such a ring at all.
    reaps: bool,
    /// To each slot, what the application passes on outside of the pool.
    notes: Vec<R::Queue>,
}

impl<R: Runtime> Kernel<R> {
    fn new(size: Size) -> Self {
        let locks = (0..size.slots).map(|_| R::Lock::new()).collect();
        let bytes = (0..size.all_handles()).map(|_| R::Field::new(0)).collect();
        Self {
            locks,
            bytes,
            frames: (0..size.leases).map(|_| R::Field::new(0)).collect(),
            mailbox: Mailbox::default(),
            ring: R::Queue::new(),
            reaps: size.reaps,
            notes: (0..size.slots).map(|_| R::Queue::new()).collect(),
        }
    }

    /// Tells the process in a slot of an IO, as a pipe would: it orders memory.
    pub fn tell(&self, to: ProcessSlot, io: IoId) {
        self.notes[to.index()].push(entry(io));
    }

    /// What the process in this slot was told first; blocks until it is told something.
    ///
    /// # Panics
    /// If it was told of no IO.
    pub fn told(&self, me: ProcessSlot) -> IoId {
        io_of(self.notes[me.index()].pop()).expect("only IOs are told of")
    }

    /// The bytes of the frame behind a lease.
    #[must_use]
    pub fn frame(&self, lease: u32) -> &R::Field {
        &self.frames[lease as usize]
    }

    /// Executes and delivers the first IO of the ring; whether there was one. Taking it out is the
    /// reap lock: nobody else has the same one.
    fn reap(&self, deliver: Deliver<'_>) -> bool {
        let Some(io) = self.ring.try_pop().and_then(io_of) else { return false };
        deliver(io.0, io.1, self.execute(io));
        true
    }

    /// Executes an IO: its bytes are there; the result.
    pub fn execute(&self, (id, generation): IoId) -> RawResult {
        self.bytes[id.index()].set(generation.get());
        raw_of((id, generation))
    }

    /// Who knows that this IO is over sees its bytes, or those of a later one.
    ///
    /// # Panics
    /// If they are older (S7).
    #[track_caller]
    pub fn assert_seen(&self, (id, generation): IoId) {
        let seen = R::glimpse(&self.bytes[id.index()]);
        assert!(seen >= generation.get(), "S7: over, but its bytes are not seen: {seen}");
    }

    /// The lock of a slot, if there is such a slot.
    #[must_use]
    pub fn lock(&self, slot: ProcessSlot) -> Option<&R::Lock> {
        self.locks.get(slot.index())
    }

    /// The process has died: nobody holds what it held.
    pub fn at_death(&self, process: u32) {
        self.locks.iter().for_each(|lock| lock.release_of(process));
    }
}

impl<R: Runtime> SlotLocks for Kernel<R> {
    fn try_lock(&self, slot: ProcessSlot) -> bool {
        self.lock(slot).is_some_and(Lock::try_lock)
    }

    fn unlock(&self, slot: ProcessSlot) {
        if let Some(lock) = self.lock(slot) {
            lock.unlock();
        }
    }

    fn is_free(&self, slot: ProcessSlot) -> bool {
        self.lock(slot).is_some_and(Lock::is_free)
    }
}

impl<R: Runtime> Drive for Kernel<R> {
    fn drive(&self, _io: HandleId, _word: Word, deliver: Deliver<'_>) -> bool {
        self.reaps && self.reap(deliver)
    }

    fn poll(&self, _io: HandleId, _word: Word, deliver: Deliver<'_>) -> bool {
        self.reaps && self.reap(deliver)
    }
}

/// Everything that the actors of one execution share.
pub struct World<R: Runtime, C: Callbacks<R> = Effects<R>> {
    words: Words<R>,
    /// The application's callbacks.
    pub app: C,
    /// The computer.
    pub kernel: Kernel<R>,
}

/// The types of a scenario.
pub struct Model<R, C>(PhantomData<(R, C)>);

impl<R: Runtime, C: Callbacks<R>> Embed for Model<R, C> {
    type P = R;
    type S = Words<R>;
    type C = C;
    type D = Kernel<R>;
}

impl<R: Runtime> World<R> {
    /// A pool of this size with callbacks that check what they see.
    #[must_use]
    pub fn new(size: Size) -> Self {
        Self::with(size, Effects::new(size.all_handles()))
    }

    /// The same, but the stage callbacks of the first generations refuse.
    #[must_use]
    pub fn refusing(size: Size, generations: u64) -> Self {
        let mut world = Self::new(size);
        world.app.refusals = generations;
        world
    }
}

impl<R: Runtime, C: Callbacks<R> + Send + 'static> World<R, C> {
    /// A pool of this size with these callbacks.
    #[must_use]
    pub fn with(size: Size, app: C) -> Self {
        Self { words: Words::new(size), app, kernel: Kernel::new(size) }
    }

    /// The shared words.
    #[must_use]
    pub const fn words(&self) -> &Words<R> {
        &self.words
    }

    /// The view of the participant in this slot.
    #[must_use]
    pub const fn context(&self, me: ProcessSlot) -> Context<'_, Model<R, C>> {
        Context { shared: &self.words, callbacks: &self.app, drive: &self.kernel, me }
    }

    /// The issuer of a slot whose handles have never been used.
    #[must_use]
    pub fn issuer(&self, me: ProcessSlot, how: How) -> SimulatedIssuer<'_, R, C> {
        let generations = vec![Generation::FIRST; self.words.size.handles as usize];
        self.issuer_at(me, how, &generations)
    }

    /// The issuer of a slot whose handles are at these generations.
    #[must_use]
    pub fn issuer_at(
        &self,
        me: ProcessSlot,
        how: How,
        generations: &[Generation],
    ) -> SimulatedIssuer<'_, R, C> {
        let method =
            Simulated { kernel: &self.kernel, how, room: usize::MAX, retired: BTreeMap::new() };
        Issuer::new(self.context(me), generations, method)
    }

    /// Attaches the calling process at its slot; `None` if the slot's lock is taken or its last owner
    /// cannot be recovered now.
    ///
    /// # Panics
    /// If a free slot is not pristine (S19).
    pub fn attach(&self, me: ProcessSlot, how: How) -> Option<SimulatedIssuer<'_, R, C>> {
        if !self.kernel.try_lock(me) {
            return None;
        }
        let attached = self.context(me).attach(me.get() + 1).expect("S19: the slot is pristine");
        if attached.is_none() {
            self.kernel.unlock(me);
        }
        Some(self.issuer_at(me, how, &attached?.generations))
    }

    /// Ends an attachment.
    ///
    /// # Panics
    /// If the slot is not pristine then (S19).
    pub fn detach(&self, mut issuer: SimulatedIssuer<'_, R, C>) {
        issuer.detach().expect("S19: everything is idle after a detach");
        self.kernel.unlock(issuer.context().me);
    }

    /// What an issuer's future depends on, when it is between two calls of the protocol: where it is in
    /// its program (the caller's line), its own variables, and its private lists.
    #[track_caller]
    pub fn settle(own: impl Hash, issuer: &SimulatedIssuer<'_, R, C>) {
        let line = std::panic::Location::caller().line();
        R::settled(0, &(line, own, issuer.book(), issuer.batch_depth(), issuer.method()));
    }

    /// No word holds what no correct pool can hold; a free slot has idle handles (S19).
    ///
    /// # Panics
    /// If one does.
    pub fn assert_well_formed(&self) {
        let context = self.context(slot(0));
        for id in 0..self.words.handle_count() {
            let view = context.view(HandleId(id)).expect("there is such a handle");
            assert!(view.word.is_well_formed(), "S2: {:?} is no word of a handle", view.word);
        }
    }

    /// Executes an IO and completes it, as the process in slot `me`; whether that was the completer.
    ///
    /// # Panics
    /// If there is no such handle.
    pub fn complete(&self, me: ProcessSlot, io: IoId) -> bool {
        let raw = self.kernel.execute(io);
        let completed = self.context(me).complete(io, raw, Role::Completer(me));
        completed.expect("the handle exists")
    }

    /// Starts an actor of this world. See [`Runtime::spawn`].
    pub fn spawn(
        self: &Arc<Self>,
        actor: Actor,
        seed: u64,
        body: impl Fn(&Arc<Self>) + Send + Sync + 'static,
    ) -> R::Started {
        let (world, kernel) = (Arc::clone(self), Arc::clone(self));
        R::spawn(actor, seed, move || body(&world), move || kernel.kernel.at_death(actor.process))
    }
}

/// An issuer with a simulated method.
pub type SimulatedIssuer<'w, R, C = Effects<R>> = Issuer<'w, Model<R, C>, Simulated<'w, R>>;

/// Who executes the IOs of an issuer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum How {
    /// The issuer, in its submission.
    InPlace,
    /// Whoever takes it from the mailbox.
    HandedOver,
    /// Whoever of the process reaps it.
    Ring,
}

/// The issuer's side of the simulated method.
pub struct Simulated<'w, R: Runtime> {
    kernel: &'w Kernel<R>,
    how: How,
    room: usize,
    retired: BTreeMap<u32, (Generation, Outcome)>,
}

impl<R: Runtime> Hash for Simulated<'_, R> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.how, self.room, &self.retired).hash(state);
    }
}

impl<R: Runtime> Simulated<'_, R> {
    /// From now on it takes this many IOs, and no more.
    pub const fn limit(&mut self, room: usize) {
        self.room = room;
    }

    /// The result that was delivered last for this handle.
    #[must_use]
    pub fn outcome(&self, handle: HandedOut) -> Option<Outcome> {
        let (generation, outcome) = self.retired.get(&handle.id.0)?;
        (*generation == handle.generation).then_some(*outcome)
    }
}

impl<R: Runtime> Submit for Simulated<'_, R> {
    fn in_place(&self, _request: &Request) -> bool {
        self.how == How::InPlace
    }

    fn accept(&mut self, wanted: usize) -> usize {
        wanted.min(self.room)
    }

    fn submit(&mut self, ios: &[IoId]) {
        self.room = self.room.saturating_sub(ios.len());
        match self.how {
            How::Ring => ios.iter().for_each(|io| self.kernel.ring.push(entry(*io))),
            How::HandedOver | How::InPlace => {
                ios.iter().for_each(|io| self.kernel.mailbox.put(*io));
            }
        }
    }

    fn execute(&mut self, id: HandleId, asked: &Request) -> RawResult {
        self.kernel.execute(io(id.0, asked.offset))
    }

    fn is_outstanding(&self, _io: HandleId) -> bool {
        self.how != How::InPlace
    }

    fn retired(&mut self, io: HandleId, generation: Generation, outcome: Outcome) {
        let before = self.retired.insert(io.0, (generation, outcome));
        let later = before.is_none_or(|(earlier, _)| earlier < generation);
        assert!(later, "S15: the result was delivered twice");
    }
}
