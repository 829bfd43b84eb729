//! An issuer with few handles, that has to reclaim before it can go on; and how IO is spread out.
//!
//! | scenario | the issuer |
//! |---|---|
//! | [`OneHandle`] | has one handle, and wants it again while its IO is in flight |
//! | [`AllStaged`] | has two handles, both staged, and wants a third |
//! | [`Partial`] | has two IOs staged, of which its method takes one |
//! | [`Detaches`] | ends its attachment with one IO staged and one submitted |
//!
//! Asserted: L1 (acquire returns), S2 (each is reclaimed once: witness), S3 (the lists are a partition), S7 (a
//! result that the scan finds is complete), S20, S21, S19 and L7 (a detach leaves no waiter asleep).
//! Fails by an assertion, or by a deadlock if acquire waits for nothing.

use super::{Plan, Scenario};
use crate::mailbox::IoId;
use crate::runtime::{Actor, Runtime};
use crate::world::{self, How, SimulatedIssuer, Size, World, io, reference, slot};
use handfast_core::platform::SlotLocks as _;
use handfast_core::protocol::HandedOut;
use handfast_core::protocol::wait::Waited;
use std::sync::Arc;

/// Starts one IO without callbacks.
fn start<R: Runtime>(issuer: &mut SimulatedIssuer<'_, R>) -> HandedOut {
    let handle = issuer.acquire(0).expect("L1: nothing is handed out");
    let this = (handle.id, handle.generation);
    issuer.start(handle, &world::request(this, false), &[]).expect("it is handed out");
    assert!(issuer.book().check(), "S3: a handle is in two lists, or in none");
    handle
}

/// Completes this many IOs from the mailbox, as slot 1.
fn complete<R: Runtime>(world: &World<R>, count: usize) {
    for _ in 0..count {
        let this: IoId = world.kernel.mailbox.wait().expect("an IO was put in");
        assert!(world.complete(slot(1), this), "S1: nobody else completes it");
    }
}

/// RC2, RC3, RC22, RC23: acquire waits for the only handle.
#[derive(Debug)]
pub struct OneHandle;

impl Scenario for OneHandle {
    const NAME: &'static str = "acquire_one_handle";
    const COVERS: &'static [&'static str] =
        &["RC2", "RC3", "RC22", "RC23", "S2", "S3", "S5", "S7", "S21", "L1"];
    const REACHED: &'static [&'static str] = &["slept", "woke a sleeper", "over at the scan"];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let mut issuer = world.issuer(slot(0), How::HandedOver);
        let first = start(&mut issuer);
        let completer = world.spawn(Actor::new("completer", 1), 0, |world| complete(world, 1));
        if let Some(handle) = issuer.try_acquire(0).expect("L1: nothing is handed out") {
            R::saw("over at the scan");
            issuer.release(handle).expect("it is handed out");
        }
        let second = issuer.acquire(0).expect("L1: the only IO ends");
        assert!(second.generation.get() > 1, "S23: handed out at the same generation");
        let outcome = issuer.method().outcome(first);
        assert_eq!(outcome, Some(world::final_outcome(io(0, 1), false)), "S14: another result");
        world.kernel.assert_seen(io(0, 1));
        R::join(completer);
    }
}

/// RC21: everything is staged, and the submission executes it.
#[derive(Debug)]
pub struct AllStaged;

impl Scenario for AllStaged {
    const NAME: &'static str = "acquire_all_staged";
    const COVERS: &'static [&'static str] = &["RC21", "S3", "S20", "L1", "L3", "L4"];
    const REACHED: &'static [&'static str] = &["done", "recycled", "slept", "woke a sleeper"];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).handles(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let mut issuer = world.issuer(slot(0), How::InPlace);
        issuer.enter_batch();
        let (first, second) = (start(&mut issuer), start(&mut issuer));
        let waiter = world.spawn(Actor::new("waiter", 1), 0, |world| wait(world, io(0, 1)));
        let third = issuer.acquire(0).expect("L1: a submission makes handles free");
        assert_eq!(third.id, second.id, "S20: the handle reclaimed last is used first");
        for handle in [first, second] {
            let this = (handle.id, handle.generation);
            let expected = Some(world::final_outcome(this, false));
            assert_eq!(issuer.method().outcome(handle), expected, "S14: another result");
        }
        R::join(waiter);
    }
}

fn wait<R: Runtime>(world: &World<R>, this: IoId) {
    let waited = world.context(slot(1)).wait(reference(this), None);
    R::saw(match waited.expect("the reference is good") {
        Waited::Done => "done",
        Waited::Recycled => "recycled",
        Waited::TimedOut => panic!("L4: there was no deadline"),
    });
    world.kernel.assert_seen(this);
}

/// RC36: the method takes one of two, the issuer executes the other one.
#[derive(Debug)]
pub struct Partial;

impl Scenario for Partial {
    const NAME: &'static str = "partial_submission";
    const COVERS: &'static [&'static str] = &["RC36", "S1", "S3", "L3"];
    const REACHED: &'static [&'static str] = &["slept", "woke a sleeper", "ticket was old"];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).handles(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let mut issuer = world.issuer(slot(0), How::HandedOver);
        issuer.enter_batch();
        let handles = [start(&mut issuer), start(&mut issuer)];
        let completer = world.spawn(Actor::new("completer", 1), 0, |world| complete(world, 1));
        issuer.method_mut().limit(1);
        issuer.leave_batch(0).expect("nothing is damaged");
        assert_eq!(issuer.book().staged(), 0, "L3: something stays staged");
        for handle in handles {
            issuer.finish(handle).expect("it was started");
            let expected = world::final_outcome((handle.id, handle.generation), false);
            assert_eq!(issuer.method().outcome(handle), Some(expected), "S14: another result");
        }
        R::join(completer);
    }
}

/// RC24, RC25, RC26, RC29: the process leaves with IO in every state.
#[derive(Debug)]
pub struct Detaches;

impl Scenario for Detaches {
    const NAME: &'static str = "detach_in_flight";
    const COVERS: &'static [&'static str] =
        &["RC24", "RC25", "RC26", "RC29", "S3", "S15", "S19", "L3", "L7"];
    const REACHED: &'static [&'static str] = &["done", "recycled", "slept", "woke a sleeper"];
    const PLAN: Plan = Plan::LOOM.loom([Some(1), Some(1)]);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).handles(3))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let attached = world.enter(slot(0), 1);
        let mut issuer = world.issuer_at(slot(0), How::HandedOver, &attached.generations);
        let _submitted = start(&mut issuer);
        issuer.enter_batch();
        let staged = start(&mut issuer);
        let _handed_out = issuer.acquire(1).expect("L1: a handle is free");
        let this = (staged.id, staged.generation);
        let waiter = world.spawn(Actor::new("waiter", 1), 0, move |world| wait(world, this));
        let completer = world.spawn(Actor::new("completer", 1), 0, |world| complete(world, 2));
        let end = issuer.end_scope(1).expect("nothing is damaged");
        assert!(end.leaked.is_some() && end.submitted == 1, "S3: the scope's end finds {end:?}");
        issuer.detach().expect("S19: everything is over");
        assert!(issuer.book().is_pristine(), "S19: a list is not empty");
        world.kernel.unlock(slot(0));
        R::join(completer);
        R::join(waiter);
    }
}
