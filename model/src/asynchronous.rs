//! Issuers whose IOs complete through workers or through a ring, and the actors that belong to them.
//!
//! | the issuer's | with workers | with a ring |
//! |---|---|---|
//! | submission | nothing: the hints say it | goes to the kernel, never more than there is [`room`] for |
//! | IOs are completed by | [`World::be_worker`] | [`World::be_reaper`], the issuer itself |
//!
//! Fails by assertions: S1 (an IO is executed again although nobody died), S4 (a worker sees another
//! request), S15. Checked by: the scenarios that use it, whose mutants show that these can fail.

#![expect(clippy::disallowed_types, reason = "whoever dismisses a reaper orders memory")]

use crate::mailbox::IoId;
use crate::ring::SimRing;
use crate::runtime::{Lock, Runtime, SharedWord as _};
use crate::world::{self, Effects, Model, World, io, slot};
use handfast_core::decide::lead::room;
use handfast_core::ids::{Generation, HandleId, ProcessSlot};
use handfast_core::outcome::{Outcome, RawResult};
use handfast_core::protocol::tasks::Tasks;
use handfast_core::protocol::{Callbacks, HandedOut, Issuer, Shared, Submit};
use handfast_core::request::{Flags, Request};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// An issuer whose IOs others complete.
pub type AsyncIssuer<'w, R, C = Effects<R>> = Issuer<'w, Model<R, C>, Asynchronous<'w, R, C>>;

/// The issuer's side of a method that has workers, or a ring.
pub struct Asynchronous<'w, R: Runtime, C: Callbacks<R> = Effects<R>> {
    world: &'w World<R, C>,
    ring: Option<&'w SimRing<R>>,
    me: ProcessSlot,
    /// IOs are over before their submission returns, as a read of cached pages is.
    instant: bool,
    /// In the ring or completed in it, and not reclaimed.
    in_flight: BTreeSet<u32>,
    retired: BTreeMap<u32, (Generation, Outcome)>,
}

impl<R: Runtime, C: Callbacks<R>> Hash for Asynchronous<'_, R, C> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.instant, &self.in_flight, &self.retired).hash(state);
    }
}

impl<R: Runtime, C: Callbacks<R>> Asynchronous<'_, R, C> {
    /// From now on IOs are over before their submission returns.
    pub const fn complete_at_once(&mut self) {
        self.instant = true;
    }

    /// The result that was delivered last for this handle.
    #[must_use]
    pub fn outcome(&self, handle: HandedOut) -> Option<Outcome> {
        let (generation, outcome) = self.retired.get(&handle.id.0)?;
        (*generation == handle.generation).then_some(*outcome)
    }
}

impl<R: Runtime, C: Callbacks<R> + Send + 'static> Submit for Asynchronous<'_, R, C> {
    fn in_place(&self, flags: Flags) -> bool {
        flags.contains(Flags::SYNCHRONOUS)
    }

    fn accept(&mut self, wanted: usize) -> usize {
        let in_flight = u32::try_from(self.in_flight.len()).expect("a few");
        let most = self.ring.map_or(u32::MAX, |ring| room(ring.entries(), in_flight));
        wanted.min(most as usize)
    }

    fn submit(&mut self, ios: &[IoId]) {
        for &io in ios {
            let Some(ring) = self.ring else { continue };
            self.in_flight.insert(io.0.0);
            if self.instant {
                self.world.end(self.me, io);
            } else {
                ring.submit(io);
            }
        }
    }

    fn execute(&mut self, id: HandleId, asked: &Request) -> RawResult {
        let asked_for = self.in_place(asked.flags);
        R::saw(if asked_for { "executed in place" } else { "executed for lack of room" });
        self.world.kernel.execute(io(id.0, asked.offset))
    }

    fn is_outstanding(&self, _io: HandleId) -> bool {
        true
    }

    fn retired(&mut self, io: HandleId, generation: Generation, outcome: Outcome) {
        self.in_flight.remove(&io.0);
        let before = self.retired.insert(io.0, (generation, outcome));
        let later = before.is_none_or(|(earlier, _)| earlier < generation);
        assert!(later, "S15: the result was delivered twice");
    }
}

impl<R: Runtime> World<R> {
    /// The issuer of a slot whose handles have never been used.
    #[must_use]
    pub fn async_issuer(&self, me: ProcessSlot) -> AsyncIssuer<'_, R> {
        let handles = self.context(me).shared.owned_by(me).len();
        self.async_issuer_at(me, &vec![Generation::FIRST; handles])
    }

    /// The issuer of a slot whose handles are at these generations.
    #[must_use]
    pub fn async_issuer_at(
        &self,
        me: ProcessSlot,
        generations: &[Generation],
    ) -> AsyncIssuer<'_, R> {
        let (in_flight, retired) = (BTreeSet::new(), BTreeMap::new());
        let ring = self.kernel.ring(me);
        let method = Asynchronous { world: self, ring, me, instant: false, in_flight, retired };
        Issuer::new(self.context(me), generations, method)
    }

    /// Attaches as soon as nobody holds the slot's lock, however often somebody else is recovering it.
    ///
    /// # Panics
    /// If a free slot is not pristine (S19).
    #[must_use]
    pub fn async_attached(&self, me: ProcessSlot) -> AsyncIssuer<'_, R> {
        loop {
            R::settled(0, &"attach");
            let lock = self.kernel.lock(me).expect("there is such a slot");
            lock.until_free();
            if !lock.try_lock() {
                continue;
            }
            let attached = self.context(me).attach(me.get() + 1);
            if let Some(attached) = attached.expect("S19: the slot is pristine") {
                return self.async_issuer_at(me, &attached.generations);
            }
            lock.unlock();
        }
    }

    /// Ends an attachment.
    ///
    /// # Panics
    /// If the slot is not pristine then (S19).
    pub fn async_detach(&self, mut issuer: AsyncIssuer<'_, R>) {
        issuer.detach().expect("S19: everything is idle after a detach");
        if let Some(lock) = self.kernel.lock(issuer.context().me) {
            lock.unlock();
        }
    }

    /// As [`World::settle`].
    #[track_caller]
    pub fn async_settle(own: impl Hash, issuer: &AsyncIssuer<'_, R>) {
        let line = std::panic::Location::caller().line();
        let lists = (issuer.book(), issuer.batch_depth(), issuer.method());
        R::settled(0, &("asynchronous", line, own, lists));
    }

    /// Starts an IO on a fresh handle, without callbacks.
    ///
    /// # Panics
    /// If something is handed out already.
    pub fn start_one(issuer: &mut AsyncIssuer<'_, R>) -> HandedOut {
        let handle = issuer.acquire(0).expect("nothing is handed out");
        let this = (handle.id, handle.generation);
        issuer.start(handle, &world::request(this, false), &[]).expect("it is handed out");
        handle
    }

    /// Waits for an own IO and looks at its result and its bytes.
    ///
    /// # Panics
    /// If they are not its own.
    pub fn finish_one(&self, issuer: &mut AsyncIssuer<'_, R>, handle: HandedOut) {
        let this = (handle.id, handle.generation);
        issuer.finish(handle).expect("it was started");
        let outcome = issuer.method().outcome(handle);
        let expected = world::final_outcome(this, false);
        assert_eq!(outcome, Some(expected), "S8, S14: the result is another IO's");
        self.kernel.assert_seen(this);
    }

    /// The body of a worker: until it is to leave.
    ///
    /// # Panics
    /// If it executes what was executed before, or what nobody asked for.
    pub fn be_worker(&self, me: ProcessSlot) {
        self.be_worker_until(me, || self.kernel.is_to_leave(me), false);
    }

    /// The same with another reason to leave. After a death an IO may be executed again.
    ///
    /// # Panics
    /// As [`Self::be_worker`].
    pub fn be_worker_until(&self, me: ProcessSlot, leaving: impl Fn() -> bool, again: bool) {
        let mut execute = |id: HandleId, request: &Request| {
            let mark = R::mark();
            let this = io(id.0, request.offset);
            let expected = world::request(this, !request.callbacks.is_empty());
            assert_eq!(*request, expected, "S4: a worker sees another request");
            let fresh = self.kernel.written(id) < request.offset;
            assert!(fresh || again, "S1: {this:?} was executed twice");
            R::saw(if fresh { "executed" } else { "executed again" });
            let raw = self.kernel.execute(this);
            // It keeps nothing.
            R::settled(mark, &());
            raw
        };
        self.context(me).work(&mut execute, &leaving).expect("the pool has workers");
    }

    /// Wakes all workers, whatever anybody believes.
    pub fn ring_all_workers(&self) {
        if let Some(doorbell) = self.context(slot(0)).shared.doorbell() {
            doorbell.ring_all();
        }
    }

    /// The body of a process's reaper: until it is to leave.
    ///
    /// # Panics
    /// If there is no such slot.
    pub fn be_reaper(&self, me: ProcessSlot) {
        let leaving = || self.kernel.dismissed[me.index()].load(Ordering::Acquire) != 0;
        let tasks = self.kernel.tasks().map_or(&() as &dyn Tasks, |tasks| tasks);
        self.context(me).reap(tasks, &leaving).expect("there is such a slot");
    }

    /// Tells a reaper to leave, and wakes it. Called by a thread of its process.
    pub fn dismiss_reaper(&self, me: ProcessSlot) {
        self.kernel.dismissed[me.index()].store(1, Ordering::Release);
        self.context(me).rouse_reaper();
    }

    /// Waits for an IO as a process that issues nothing; then its bytes are there.
    ///
    /// # Panics
    /// If they are not.
    pub fn wait_as(self: &Arc<Self>, me: u32, this: IoId) {
        let waited = self.context(slot(me)).wait(world::reference(this), None);
        waited.map(drop).expect("the reference is good");
        self.kernel.assert_seen(this);
    }
}
