//! What a process does with its own IO, and what it may not do.
//!
//! | scenario | the issuer, slot 0 |
//! |---|---|
//! | [`OwnStaged`] | waits for, or asks about, what it has handed out and then staged itself |
//! | [`LateRelease`] | gives a handle back a second time, when it is in use again |
//! | [`MixedBatch`] | submits a batch in which one IO runs in place, after one that does not |
//! | [`InOrder`] | waits for a handle, of which the older one becomes free first |
//! | [`DetachBatch`] | ends its attachment with a batch open |
//!
//! Beside it a waiter, slot 1, or a completer. Asserted: L3, L6 (what is staged is submitted by whoever
//! waits or asks), S2 (a late release changes nothing), S21 (IO starts in the order of staging, and the oldest is waited for), S19 and L7 (a detach
//! submits), S22 (nobody
//! waits for a handle that it has handed out itself). Fails by an assertion, or by a deadlock.

use super::Scenario;
use crate::runtime::{Actor, Runtime};
use crate::world::{self, How, Size, World, io, reference, slot};
use handfast_core::outcome::Outcome;
use handfast_core::protocol::wait::Waited;
use handfast_core::protocol::{Callbacks, Error, Io, StageRefused};
use handfast_core::request::CallbackId;
use std::sync::{Arc, OnceLock, Weak};

fn wait<R: Runtime>(world: &World<R>, handle: u32, generation: u64) {
    let this = io(handle, generation);
    let waited = world.context(slot(1)).wait(reference(this), None);
    R::saw(match waited.expect("the reference is good") {
        Waited::Done => "done",
        Waited::Recycled => "recycled",
        Waited::TimedOut => panic!("L4: there was no deadline"),
    });
    world.kernel.assert_seen(this);
}

/// RC9, RC42: a process and its own staged IO.
#[derive(Debug)]
pub struct OwnStaged;

impl Scenario for OwnStaged {
    const NAME: &'static str = "own_staged";
    const COVERS: &'static [&'static str] = &["RC9", "RC42", "S22", "L3", "L4", "L6"];
    const REACHED: &'static [&'static str] = &["done", "slept", "woke a sleeper"];
    const VARIANTS: usize = 2;
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let mut issuer = world.issuer(slot(0), How::InPlace);
        issuer.enter_batch();
        let handle = issuer.acquire(0).expect("a handle is free");
        let own = reference((handle.id, handle.generation));
        let refused = Err(Error::WouldWaitForItself(own));
        assert_eq!(issuer.wait(own, None), refused, "S22: waited for itself");
        let waiter = world.spawn(Actor::new("waiter", 1), 0, |world| wait(world, 0, 1));
        issuer.start(handle, &world::request(io(0, 1), false), &[]).expect("it is handed out");
        if R::choose(2) == 0 {
            assert_eq!(issuer.wait(own, None), Ok(Waited::Done), "L3: nobody submits it");
        } else {
            assert_eq!(issuer.check_done(own), Ok(true), "L6: the answer stays no");
        }
        R::join(waiter);
    }
}

/// RC44: a token of an earlier use.
#[derive(Debug)]
pub struct LateRelease;

impl Scenario for LateRelease {
    const NAME: &'static str = "late_release";
    const COVERS: &'static [&'static str] = &["RC44", "S2", "S23", "L4"];
    const REACHED: &'static [&'static str] = &["done", "slept", "woke a sleeper"];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let mut issuer = world.issuer(slot(0), How::InPlace);
        let first = issuer.acquire(0).expect("a handle is free");
        issuer.release(first).expect("it is handed out");
        let second = issuer.acquire(0).expect("a handle is free");
        let waiter = world.spawn(Actor::new("waiter", 1), 0, |world| wait(world, 0, 2));
        let late = issuer.release(first);
        assert_eq!(late, Err(Error::NotHandedOut(first.id)), "S2: a late release hit the next use");
        issuer.start(second, &world::request(io(0, 2), false), &[]).expect("it is handed out");
        R::join(waiter);
    }
}

/// Callbacks of an IO that runs in place, which look whether the one before it was started.
pub struct InTurn<R: Runtime> {
    world: OnceLock<Weak<World<R, Self>>>,
}

impl<R: Runtime> Callbacks<R> for InTurn<R> {
    fn stage(&self, _id: CallbackId, _io: &Io<'_, R>) -> Result<(), StageRefused> {
        Ok(())
    }

    fn complete_shared(&self, _id: CallbackId, _io: &Io<'_, R>, prior: Outcome) -> Outcome {
        let world = self.world.get().and_then(Weak::upgrade).expect("the scenario runs");
        let started = world.kernel.mailbox.glance();
        assert_eq!(started, Some(io(0, 1)), "S21: an IO in place has overtaken a staged one");
        R::saw("in order");
        prior
    }

    fn complete_local(&self, _id: CallbackId, _io: &Io<'_, R>, prior: Outcome) -> Outcome {
        prior
    }
}

/// RC36, MUSEUM R16: one of a batch runs in place.
#[derive(Debug)]
pub struct MixedBatch;

impl Scenario for MixedBatch {
    const NAME: &'static str = "mixed_batch";
    const COVERS: &'static [&'static str] = &["RC36", "S3", "S21", "L3"];
    const REACHED: &'static [&'static str] = &["in order", "slept", "woke a sleeper"];
    type World<R: Runtime> = World<R, InTurn<R>>;

    fn world<R: Runtime>() -> Self::World<R> {
        World::with(Size::slots(2).handles(2), InTurn { world: OnceLock::new() })
    }

    fn run<R: Runtime>(world: &Arc<Self::World<R>>) {
        let _first_time = world.app.world.set(Arc::downgrade(world));
        let mut issuer = world.issuer(slot(0), How::HandedOver);
        issuer.enter_batch();
        let requests = [world::request(io(0, 1), false), world::request_in_place(io(1, 1), true)];
        let handles = requests.map(|request| {
            let handle = issuer.acquire(0).expect("a handle is free");
            issuer.start(handle, &request, &[]).expect("it is handed out");
            handle
        });
        let completer = world.spawn(Actor::new("completer", 1), 0, |world| {
            assert_eq!(world.kernel.mailbox.wait(), Some(io(0, 1)));
            assert!(world.complete(slot(1), io(0, 1)), "S1: nobody else completes it");
        });
        issuer.leave_batch(0).expect("nothing is damaged");
        for handle in handles {
            issuer.finish(handle).expect("it was started");
        }
        R::join(completer);
    }
}

/// RC22: the older of two IOs ends long before the younger one.
#[derive(Debug)]
pub struct InOrder;

impl Scenario for InOrder {
    const NAME: &'static str = "acquire_in_order";
    const COVERS: &'static [&'static str] = &["RC22", "S3", "S21", "L1"];
    const REACHED: &'static [&'static str] = &["slept", "woke a sleeper"];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).handles(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let mut issuer = world.issuer(slot(0), How::HandedOver);
        for number in [0, 1] {
            let handle = issuer.acquire(0).expect("a handle is free");
            let request = world::request(io(number, 1), false);
            issuer.start(handle, &request, &[]).expect("it is handed out");
        }
        let completer = world.spawn(Actor::new("completer", 1), 0, |world| {
            assert_eq!(world.kernel.mailbox.wait(), Some(io(0, 1)));
            assert!(world.complete(slot(1), io(0, 1)), "S1: nobody else completes it");
            let next = world.kernel.told(slot(1));
            assert_eq!(next, io(0, 2), "S21: another handle than that of the oldest is free");
            assert!(world.complete(slot(1), io(1, 1)), "S1: nobody else completes it");
        });
        let third = issuer.acquire(0).expect("L1: the oldest IO ends");
        world.kernel.tell(slot(1), (third.id, third.generation));
        R::join(completer);
    }
}

/// RC29: nothing has submitted the batch before the process leaves.
#[derive(Debug)]
pub struct DetachBatch;

impl Scenario for DetachBatch {
    const NAME: &'static str = "detach_batch";
    const COVERS: &'static [&'static str] = &["RC28", "RC29", "S19", "L3", "L7"];
    const REACHED: &'static [&'static str] = &["recycled", "slept", "woke a sleeper"];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let attached = world.enter(slot(0), 1);
        let mut issuer = world.issuer_at(slot(0), How::InPlace, &attached.generations);
        issuer.enter_batch();
        let handle = issuer.acquire(0).expect("a handle is free");
        let waiter = world.spawn(Actor::new("waiter", 1), 0, |world| wait(world, 0, 1));
        issuer.start(handle, &world::request(io(0, 1), false), &[]).expect("it is handed out");
        issuer.detach().expect("S19: everything is over");
        assert!(issuer.book().is_pristine(), "S19: a list is not empty");
        R::join(waiter);
    }
}
