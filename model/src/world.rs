//! A pool of a runtime's words, application callbacks that check what they see, and a simulated
//! method.
//!
//! | part | written by |
//! |---|---|
//! | [`Words`] | the protocol |
//! | [`Effects`] | callbacks |
//! | [`Kernel`] | issuers put IO in; whoever executes it: its bytes; processes hold slot locks |
//!
//! Fails by assertions, in the execution that breaks them. Invariants asserted here: S1, S7, S15.
//! Checked by: the scenarios, whose mutants show that these assertions can fail.

mod process;
mod words;

pub use process::pid;
pub use words::{Size, Words};

use crate::device::Device;
pub use crate::effects::{
    Effects, Refuses, final_outcome, request, request_in_place, shared_outcome,
};
use crate::mailbox::{IoId, Mailbox, entry, io_of};
use crate::manner::{self, Results};
pub use crate::manner::{How, Manner};
use crate::ring::{SimRing, drain_dead};
use crate::runtime::{Actor, Lock, Queue, Runtime, SharedWord as _};
use crate::tasks::SimTasks;
use crate::trace::Place;
use crate::witness;
use handfast_core::ids::{Generation, HandleId, PoolTag, ProcessSlot, WaitRef};
use handfast_core::outcome::{Outcome, RawResult};
use handfast_core::platform::{Field, SlotLocks};
use handfast_core::protocol::{
    Callbacks, Context, Deliver, Drive, Embed, Execute, HandedOut, Issuer, Lead, LedRing, Shared,
    Submit,
};
use handfast_core::request::{Flags, Request};
use handfast_core::state::{Role, Word};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
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
    /// Whether a recoverer looks into it.
    drains: bool,
    /// To each slot, what the application passes on outside of the pool.
    notes: Vec<R::Queue>,
    devices: Vec<Option<Device<R>>>,
    results: Results,
    /// Not zero when the workers are to leave.
    pub(crate) closing: Option<R::Word>,
    /// The ring of each slot that has one.
    rings: Vec<LedRing<R, SimRing<R>>>,
    /// The slots of the workers.
    worker_slots: &'static [u32],
    /// Those of the process in the first slot, if it has any.
    tasks: Option<SimTasks<R>>,
    /// Which slots' workers are to leave, each by itself.
    leave: Vec<R::Field>,
    /// Not zero where the reaper is: that orders memory, as [`Context::reap`] asks for.
    pub(crate) dismissed: Vec<R::Word>,
}

impl<R: Runtime> Kernel<R> {
    fn new(size: Size) -> Self {
        let locks: Vec<_> = (0..size.slots).map(|_| R::Lock::new()).collect();
        let leave: Vec<_> = (0..size.slots).map(|_| R::Field::new(0)).collect();
        witness::lay_out(&locks, Place::Lock);
        witness::lay_out(&leave, Place::Leave);
        let bytes = (0..size.all_handles()).map(|_| R::Field::new(0)).collect();
        let reapers = if size.ring > 0 || size.tasks { size.owners } else { 0 };
        let ringed = if size.ring > 0 { size.owners } else { 0 };
        let ring = |number| LedRing::new(SimRing::new(slot(number), size.ring));
        Self {
            rings: (0..ringed).map(ring).collect(),
            worker_slots: size.worker_slots,
            dismissed: (0..reapers).map(|_| R::Word::new(0)).collect(),
            tasks: size.tasks.then(|| SimTasks::new(size)),
            leave,
            locks,
            bytes,
            frames: (0..size.leases).map(|_| R::Field::new(0)).collect(),
            mailbox: Mailbox::default(),
            ring: R::Queue::new(),
            reaps: size.reaps,
            drains: size.drains,
            notes: (0..size.slots).map(|_| R::Queue::new()).collect(),
            devices: (0..size.slots).map(|_| None).collect(),
            results: Results::Good,
            closing: size.workers.then(|| R::Word::new(0)),
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

    /// The same, if it was told of something already.
    #[must_use]
    pub fn told_yet(&self, me: ProcessSlot) -> Option<IoId> {
        self.notes[me.index()].try_pop().and_then(io_of)
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

    /// Executes an IO: its bytes are there, unless it fails; the result.
    pub fn execute(&self, (id, generation): IoId) -> RawResult {
        let raw = self.results.draw::<R>((id, generation));
        if manner::transferred(raw) {
            self.bytes[id.index()].set(generation.get());
        }
        raw
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

    /// The device of a slot, if it has one.
    #[must_use]
    pub fn device(&self, slot: ProcessSlot) -> Option<&Device<R>> {
        self.devices.get(slot.index())?.as_ref()
    }

    /// The ring of a slot, if it has one.
    #[must_use]
    pub fn ring(&self, of: ProcessSlot) -> Option<&SimRing<R>> {
        self.rings.get(of.index()).map(LedRing::get)
    }

    /// The tasks of the process in the first slot, if it has any.
    #[must_use]
    pub const fn tasks(&self) -> Option<&SimTasks<R>> {
        self.tasks.as_ref()
    }

    /// Which IO has written into this handle's buffer last.
    #[must_use]
    pub fn written(&self, id: HandleId) -> u64 {
        R::glimpse(&self.bytes[id.index()])
    }

    /// Whether the worker of this slot is to leave.
    pub fn is_to_leave(&self, me: ProcessSlot) -> bool {
        self.leave[me.index()].peek() != 0
    }

    /// Asks it to. Whoever asks wakes it up afterwards.
    pub fn ask_to_leave(&self, who: ProcessSlot) {
        self.leave[who.index()].set(1);
    }

    /// The process has died: nobody holds what it held, as soon as nothing of it is in flight.
    pub fn at_death(&self, process: u32) {
        let slot = ProcessSlot::new(process);
        let (ring, device) =
            (slot.and_then(|slot| self.ring(slot)), slot.and_then(|slot| self.device(slot)));
        ring.inspect(|ring| ring.owner_died());
        device.inspect(|device| device.owner_died());
        if ring.is_none() && device.is_none() {
            self.free_locks_of(process);
        }
    }

    pub(crate) fn free_locks_of(&self, process: u32) {
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

    fn drain_dead(&self, dead: ProcessSlot, deliver: Deliver<'_>) {
        if let Some(device) = self.device(dead) {
            device.drain(deliver);
        } else if let Some(ring) = self.ring(dead) {
            drain_dead(ring, deliver);
        }
        while self.drains && self.reap(deliver) {}
    }

    fn lead(&self) -> Option<&dyn Lead> {
        let led = self.rings.get(R::actor().process as usize)?;
        Some(led)
    }

    fn stand_in(&self, with: &mut dyn FnMut(Execute<'_>)) {
        let slots = self.worker_slots;
        if !slots.is_empty() && slots.iter().all(|&number| self.is_free(slot(number))) {
            R::saw("stood in for a worker");
            with(&mut |id, request| self.execute(io(id.0, request.offset)));
        }
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
        world.app.refuses = Refuses::Until(generations);
        world
    }

    /// This world, in which some stage callbacks refuse.
    #[must_use]
    pub fn refuses_some(mut self) -> Self {
        self.app.refuses = Refuses::Some;
        self
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

    /// This world, in which IOs come to something of everything.
    #[must_use]
    pub const fn mixed_results(mut self) -> Self {
        self.kernel.results = Results::Mixed;
        self
    }

    /// This world, in which this slot has a device, and workers do not execute its IOs; see
    /// [`Self::serve`].
    ///
    /// # Panics
    /// If there is no such slot.
    #[must_use]
    pub fn device(mut self, of: ProcessSlot) -> Self {
        self.kernel.devices[of.index()] = Some(Device::default());
        self.words.hints[of.index()] = Vec::new();
        self
    }

    /// The view of the participant in this slot.
    #[must_use]
    pub const fn context(&self, me: ProcessSlot) -> Context<'_, Model<R, C>> {
        Context { shared: &self.words, callbacks: &self.app, drive: &self.kernel, me }
    }

    /// The issuer of a slot whose handles have never been used.
    #[must_use]
    pub fn issuer(&self, me: ProcessSlot, manner: impl Into<Manner>) -> SimulatedIssuer<'_, R, C> {
        let generations = vec![Generation::FIRST; self.words.size.handles as usize];
        self.issuer_at(me, manner, &generations)
    }

    /// The issuer of a slot whose handles are at these generations.
    #[must_use]
    pub fn issuer_at(
        &self,
        me: ProcessSlot,
        manner: impl Into<Manner>,
        generations: &[Generation],
    ) -> SimulatedIssuer<'_, R, C> {
        let (context, manner) = (self.context(me), manner.into());
        let method = Simulated { context, manner, room: usize::MAX, retired: BTreeMap::new() };
        Issuer::new(context, generations, method)
    }

    /// Attaches the calling process at its slot; `None` if the slot's lock is taken or its last owner
    /// cannot be recovered now.
    ///
    /// # Panics
    /// If a free slot is not pristine (S19).
    pub fn attach(
        &self,
        me: ProcessSlot,
        manner: impl Into<Manner>,
    ) -> Option<SimulatedIssuer<'_, R, C>> {
        if !self.kernel.try_lock(me) {
            return None;
        }
        let attached = self.context(me).attach(me.get() + 1).expect("S19: the slot is pristine");
        if attached.is_none() {
            self.kernel.unlock(me);
        }
        Some(self.issuer_at(me, manner, &attached?.generations))
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
        let body = Arc::new(move || body(&world));
        R::spawn(actor, seed, body, Arc::new(move || kernel.kernel.at_death(actor.process)))
    }
}

/// Starts an IO with its word of handle data on a handle that is handed out.
///
/// # Panics
/// If it is not handed out.
pub fn start<R: Runtime, C: Callbacks<R>, M: Submit>(
    issuer: &mut Issuer<'_, Model<R, C>, M>,
    handle: HandedOut,
    callbacks: bool,
) {
    let this = (handle.id, handle.generation);
    issuer.set_data(handle, &[data_of(this)]).expect("one word fits");
    issuer.start(handle, &request(this, callbacks), &[]).expect("it is handed out");
}

/// An issuer with a simulated method.
pub type SimulatedIssuer<'w, R, C = Effects<R>> = Issuer<'w, Model<R, C>, Simulated<'w, R, C>>;

/// The issuer's side of the simulated method.
pub struct Simulated<'w, R: Runtime, C: Callbacks<R> = Effects<R>> {
    context: Context<'w, Model<R, C>>,
    manner: Manner,
    room: usize,
    retired: BTreeMap<u32, (Generation, Outcome)>,
}

impl<R: Runtime, C: Callbacks<R>> Hash for Simulated<'_, R, C> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.manner, self.room, &self.retired).hash(state);
    }
}

impl<R: Runtime, C: Callbacks<R>> Simulated<'_, R, C> {
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

impl<R: Runtime, C: Callbacks<R>> Submit for Simulated<'_, R, C> {
    fn in_place(&self, flags: Flags) -> bool {
        self.manner.how == How::InPlace || flags.contains(Flags::SYNCHRONOUS)
    }

    fn accept(&mut self, wanted: usize) -> usize {
        let accepted = if self.manner.fewer { R::choose(wanted + 1) } else { wanted };
        accepted.min(self.room)
    }

    fn submit(&mut self, ios: &[IoId]) {
        self.room = self.room.saturating_sub(ios.len());
        let (kernel, me, mut done) = (self.context.drive, self.context.me, Vec::new());
        for &io in ios {
            match (self.manner.how, kernel.device(me)) {
                (How::InPlace | How::HandedOver, _) => kernel.mailbox.put(io),
                (How::Ring, _) => kernel.ring.push(entry(io)),
                // The hint is set, and the doorbell is rung afterwards.
                (How::Workers, _) => {}
                (How::Device, Some(device)) => device.submit(io),
                (How::Device, None) | (How::InSubmit, _) => done.push((io, kernel.execute(io))),
            }
        }
        for (io, raw) in done {
            let won = self.context.complete(io, raw, Role::Completer(me));
            assert_eq!(won, Ok(true), "S1: nobody else knows of it");
        }
    }

    fn execute(&mut self, id: HandleId, asked: &Request) -> RawResult {
        self.context.drive.execute(io(id.0, asked.offset))
    }

    fn is_outstanding(&self, _io: HandleId) -> bool {
        self.manner.how != How::InPlace
    }

    fn retired(&mut self, io: HandleId, generation: Generation, outcome: Outcome) {
        let before = self.retired.insert(io.0, (generation, outcome));
        let later = before.is_none_or(|(earlier, _)| earlier < generation);
        assert!(later, "S15: the result was delivered twice");
    }
}
