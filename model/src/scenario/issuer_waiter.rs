//! One issuer that executes in place, and a waiter in another process.
//!
//! | actor | does |
//! |---|---|
//! | issuer, slot 0 | starts in place, reclaims, hands the handle out again; or releases it unused |
//! | waiter, slot 1 | waits by the reference, then looks at the effect |
//!
//! Asserted: L4 (the waiter returns: whoever finds it pending sleeps, and is woken), S7 (it sees
//! the effect, whether it learned *done* or *recycled*, and by a look or by a wake-up), S2
//! (witness: no store of the issuer wipes WAITERS out), S10 (a check afterwards says over, too).
//! Fails by an assertion, or by a deadlock for a lost wake-up. Not checked: a waiter that issues IO
//! itself.

use super::{Plan, Reach, Scenario};
use crate::runtime::{Actor, Runtime};
use crate::world::{self, How, Size, World, io, reference, slot};
use handfast_core::protocol::wait::Waited;
use std::sync::Arc;

/// RC5, RC7, RC8, RC13: the IO is executed in place, reclaimed, and its handle handed out again.
#[derive(Debug)]
pub struct IssuerWaiter;

impl Scenario for IssuerWaiter {
    const NAME: &'static str = "issuer_waiter";
    const COVERS: &'static [&'static str] =
        &["RC4", "RC5", "RC6", "RC7", "RC8", "RC13", "S2", "S6", "S7", "S10", "S23", "L4"];
    const REACHED: &'static [&'static str] = &[
        "done",
        "recycled",
        "slept",
        "woke a sleeper",
        "ticket was old",
        "result seen",
        "result gone",
    ];
    const PLAN: Plan = Plan::LOOM.shuttle([20_000, 1_000_000]).search(Reach::SPURIOUS);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let mut issuer = world.issuer(slot(0), How::InPlace);
        let handle = issuer.acquire(0).expect("a handle is free");
        let this = (handle.id, handle.generation);
        let waiter = world.spawn(Actor::new("waiter", 1), 0, |world| wait(world));
        issuer.start(handle, &world::request(this, false), &[]).expect("it is handed out");
        issuer.finish(handle).expect("it was started");
        let outcome = issuer.method().outcome(handle);
        assert_eq!(outcome, Some(world::final_outcome(this, false)), "S14");
        let next = issuer.acquire(0).expect("the handle is free again");
        assert_eq!(next.generation.get(), 2, "S23");
        R::join(waiter);
    }
}

fn wait<R: Runtime>(world: &World<R>) {
    let (this, context) = (io(0, 1), world.context(slot(1)));
    let waited = context.wait(reference(this), None).expect("the reference is good");
    world.kernel.assert_seen(this);
    R::saw(match waited {
        Waited::Done => "done",
        Waited::Recycled => "recycled",
        Waited::TimedOut => panic!("there was no deadline"),
    });
    let outcome = context.foreign_outcome(reference(this)).expect("the reference is good");
    let expected = world::shared_outcome(this, false);
    assert!(outcome.is_none_or(|outcome| outcome == expected), "S7: {outcome:?}");
    R::saw(if outcome.is_some() { "result seen" } else { "result gone" });
    let over = context.check_done(reference(this)).expect("the reference is good");
    assert!(over, "S10: once over, always over");
}

/// RC11: the handle is given back unused, and the waiter learns that it is over all the same.
#[derive(Debug)]
pub struct Released;

impl Scenario for Released {
    const NAME: &'static str = "issuer_waiter_released";
    const COVERS: &'static [&'static str] = &["RC11", "S7", "S11", "L4"];
    const REACHED: &'static [&'static str] =
        &["recycled", "slept", "woke a sleeper", "ticket was old"];
    const PLAN: Plan = Plan::LOOM.shuttle([20_000, 1_000_000]);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let mut issuer = world.issuer(slot(0), How::InPlace);
        let handle = issuer.acquire(0).expect("a handle is free");
        let waiter = world.spawn(Actor::new("waiter", 1), 0, |world| {
            let waited = world.context(slot(1)).wait(reference(io(0, 1)), None);
            assert_eq!(waited, Ok(Waited::Recycled));
            world.kernel.assert_seen(io(0, 1));
            R::saw("recycled");
        });
        // What the issuer did before it gave the handle up.
        let _no_result = world.kernel.execute(io(0, 1));
        issuer.release(handle).expect("it is handed out");
        R::join(waiter);
    }
}
