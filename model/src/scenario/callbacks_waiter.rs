//! One issuer that drains its own queue, with callbacks, and another process that wants to know when the IO
//! is over.
//!
//! | scenario | the other process, slot 1 |
//! |---|---|
//! | [`Waits`] | waits by the reference |
//! | [`WaitsForTwo`] | waits; a third process, slot 2, completes the IO |
//! | [`Polls`] | asks twice |
//!
//! The IO is submitted when the race begins. The issuer, slot 0, completes it with a shared callback, localises
//! it with a local one, reclaims it. Asserted: S7 (whoever learns *done* or *recycled*, in whatever
//! state it sees, sees what the shared callback did), S10 (once over, always over), L4, L6.
//! Fails by an assertion, or by a deadlock for a lost wake-up.

use super::{Plan, Scenario};
use crate::runtime::{Actor, Runtime};
use crate::world::{self, How, SimulatedIssuer, Size, World, io, reference, slot};
use handfast_core::protocol::HandedOut;
use handfast_core::protocol::wait::Waited;
use std::sync::Arc;

/// RC6, RC7, RC13: waits, and sees the effects.
#[derive(Debug)]
pub struct Waits;

impl Scenario for Waits {
    const NAME: &'static str = "callbacks_waiter";
    const COVERS: &'static [&'static str] = &["RC6", "RC7", "RC13", "S2", "S7", "S14", "L4"];
    const REACHED: &'static [&'static str] =
        &["done", "recycled", "slept", "woke a sleeper", "local callback"];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        from_submitted(world, |world| wait(world));
    }
}

fn wait<R: Runtime>(world: &World<R>) {
    let waited = world.context(slot(1)).wait(reference(io(0, 1)), None);
    world.app.assert_seen(io(0, 1));
    R::saw(match waited.expect("the reference is good") {
        Waited::Done => "done",
        Waited::Recycled => "recycled",
        Waited::TimedOut => panic!("L4: there was no deadline"),
    });
}

/// RC6, RC7: waits while one process completes and another one reclaims.
#[derive(Debug)]
pub struct WaitsForTwo;

impl Scenario for WaitsForTwo {
    const NAME: &'static str = "callbacks_completer_waiter";
    const COVERS: &'static [&'static str] = &["RC1", "RC6", "RC7", "S2", "S7", "S14", "L4"];
    const REACHED: &'static [&'static str] =
        &["done", "recycled", "slept", "woke a sleeper", "local callback"];
    const PLAN: Plan = Plan::LOOM.loom([Some(2), Some(3)]);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let (mut issuer, handle) = submitted(world);
        let waiter = world.spawn(Actor::new("waiter", 1), 0, |world| wait(world));
        let completer = world.spawn(Actor::new("completer", 2), 0, |world| {
            assert!(world.complete(slot(2), io(0, 1)), "S1: nobody else completes it");
        });
        finish(&mut issuer, handle);
        R::join(waiter);
        R::join(completer);
    }
}

/// RC42: polls; what a poll says stays true.
#[derive(Debug)]
pub struct Polls;

impl Scenario for Polls {
    const NAME: &'static str = "callbacks_poller";
    const COVERS: &'static [&'static str] = &["RC6", "RC42", "S7", "S10", "L4", "L6"];
    const REACHED: &'static [&'static str] = &["over at a poll", "not over"];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        from_submitted(world, |world| {
            let over = check(world);
            assert!(check(world) >= over, "S10: over, and then not over");
            R::saw(if over { "over at a poll" } else { "not over" });
        });
        assert!(check(world), "L6: the IO is over, and a poll does not say so");
    }
}

/// Whether it is over; who learns that sees the effects.
fn check<R: Runtime>(world: &World<R>) -> bool {
    let over = world.context(slot(1)).check_done(reference(io(0, 1)));
    let over = over.expect("the reference is good");
    if over {
        world.app.assert_seen(io(0, 1));
    }
    over
}

fn from_submitted<R: Runtime>(world: &Arc<World<R>>, other: fn(&World<R>)) {
    let (mut issuer, handle) = submitted(world);
    let other = world.spawn(Actor::new("waiter", 1), 0, move |world| other(world));
    assert!(world.complete(slot(0), io(0, 1)), "S1: nobody else completes it");
    finish(&mut issuer, handle);
    R::join(other);
}

fn submitted<R: Runtime>(world: &Arc<World<R>>) -> (SimulatedIssuer<'_, R>, HandedOut) {
    let mut issuer = world.issuer(slot(0), How::HandedOver);
    let handle = issuer.acquire(0).expect("a handle is free");
    world::start(&mut issuer, handle, true);
    (issuer, handle)
}

fn finish<R: Runtime>(issuer: &mut SimulatedIssuer<'_, R>, handle: HandedOut) {
    issuer.finish(handle).expect("it was started");
    let outcome = issuer.method().outcome(handle);
    assert_eq!(outcome, Some(world::final_outcome(io(0, 1), true)), "S14: local after shared");
}
