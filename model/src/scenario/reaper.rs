//! Completions in a queue that any thread of the process may drain, and nobody has to.
//!
//! | scenario | threads of the one process |
//! |---|---|
//! | [`Poll`] | the issuer, which waits; another one that only polls |
//! | [`TwoIos`] | the issuer with two IOs, which waits for the older; another one that waits for the younger |
//!
//! Taking an entry out is one step, as under a reap lock, and hands the IO to whoever took it. Asserted: S1 and
//! S8 (each entry completes its own IO, once), L4 and L6 (who waits or polls makes progress by itself).
//! Fails by an assertion, or by a deadlock if everybody sleeps and nobody drains.

use super::{Plan, Scenario};
use crate::runtime::{Actor, Runtime};
use crate::world::{self, How, Size, World, io, reference, slot};
use handfast_core::protocol::wait::Waited;
use std::sync::Arc;

/// RC14, RC18, RC42: a poll finds what nobody else drains.
#[derive(Debug)]
pub struct Poll;

impl Scenario for Poll {
    const NAME: &'static str = "reap_by_poll";
    const COVERS: &'static [&'static str] = &["RC14", "RC18", "RC42", "S1", "S8", "S10", "L6"];
    const REACHED: &'static [&'static str] = &["over at a poll", "not over", "slept"];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).reaping())
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let mut issuer = world.issuer(slot(0), How::Ring);
        let handle = issuer.acquire(0).expect("a handle is free");
        issuer.start(handle, &world::request(io(0, 1), false), &[]).expect("it is handed out");
        let poller = world.spawn(Actor::new("poller", 0), 0, |world| {
            let over = world.context(slot(0)).check_done(reference(io(0, 1)));
            let over = over.expect("the reference is good");
            if over {
                world.kernel.assert_seen(io(0, 1));
            }
            R::saw(if over { "over at a poll" } else { "not over" });
        });
        issuer.finish(handle).expect("it was started");
        let outcome = issuer.method().outcome(handle);
        assert_eq!(outcome, Some(world::final_outcome(io(0, 1), false)), "S14: another result");
        R::join(poller);
    }
}

/// RC15, RC17, RC18: two waiters drain the same queue, each for whatever it finds.
#[derive(Debug)]
pub struct TwoIos;

impl Scenario for TwoIos {
    const NAME: &'static str = "reap_two_waiters";
    const COVERS: &'static [&'static str] = &["RC15", "RC17", "RC18", "S1", "S8", "L4"];
    const REACHED: &'static [&'static str] = &["done", "slept", "woke a sleeper"];
    const PLAN: Plan = Plan::LOOM.loom([Some(2), Some(3)]);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).handles(2).reaping())
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let mut issuer = world.issuer(slot(0), How::Ring);
        let [older, younger] = [(); 2].map(|()| {
            let handle = issuer.acquire(0).expect("a handle is free");
            let this = (handle.id, handle.generation);
            issuer.start(handle, &world::request(this, false), &[]).expect("it is handed out");
            handle
        });
        let second = (younger.id, younger.generation);
        let waiter = world.spawn(Actor::new("waiter", 0), 0, move |world| {
            let waited = world.context(slot(0)).wait(reference(second), None);
            assert_eq!(waited, Ok(Waited::Done), "L4: nobody reclaims it");
            world.kernel.assert_seen(second);
            R::saw("done");
        });
        issuer.finish(older).expect("it was started");
        let expected = world::final_outcome((older.id, older.generation), false);
        assert_eq!(issuer.method().outcome(older), Some(expected), "S8: another IO's result");
        R::join(waiter);
        issuer.finish(younger).expect("it was started");
        let expected = world::final_outcome(second, false);
        assert_eq!(issuer.method().outcome(younger), Some(expected), "S8: another IO's result");
    }
}
