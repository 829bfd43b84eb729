//! One issuer that executes in place, and a waiter in another process.
//!
//! | thread | does |
//! |---|---|
//! | issuer, slot 0 | starts in place, reclaims, hands the handle out again; or releases it unused |
//! | waiter, slot 1 | waits by the reference, then looks at the effect |
//!
//! Asserted: L4 (the waiter returns: whoever finds it pending sleeps, and is woken), S7 (it sees
//! the effect, whether it learned *done* or *recycled*, and by a look or by a wake-up), S2
//! (witness: no store of the issuer wipes WAITERS out), S10 (a check afterwards says over, too).
//! Fails by an assertion, or by loom's deadlock for a lost wake-up. Checked by:
//! `l4_issuer_waiter_notices_a_relaxed_ticket`,
//! `s7_issuer_waiter_released_notices_a_relaxed_release`. Not checked: a waiter that issues IO itself.

use super::{Scenario, actor};
use crate::witness;
use crate::world::{self, EFFECT, How, RAW, World, slot};
use handfast_core::ids::WaitRef;
use handfast_core::outcome::Outcome;
use handfast_core::protocol::wait::Waited;

/// The IO is executed in place, reclaimed, and its handle handed out again.
pub const SCENARIO: Scenario = Scenario {
    name: "issuer_waiter",
    body: || assert!(actor(in_place).join().is_ok()),
    reached: &[
        "done",
        "recycled",
        "slept",
        "woke a sleeper",
        "ticket was old",
        "result seen",
        "result gone",
    ],
};

/// The handle is given back unused: the waiter learns that it is over all the same.
pub const RELEASED: Scenario = Scenario {
    name: "issuer_waiter_released",
    body: || assert!(actor(released).join().is_ok()),
    reached: &["recycled", "slept", "woke a sleeper", "ticket was old"],
};

fn in_place() {
    let world = World::new();
    let mut issuer = world.issuer(How::InPlace);
    let handle = issuer.acquire(0).expect("a handle is free");
    let reference = world.reference(handle);
    let waiter = actor({
        let world = world.clone();
        move || wait(&world, reference)
    });
    issuer.start(handle, &world::request(false), &[]).expect("it is handed out");
    issuer.finish(handle).expect("it was started");
    assert_eq!(issuer.method().outcome(), Some(world::final_outcome(false)), "S14");
    let next = issuer.acquire(0).expect("the handle is free again");
    assert_eq!(next.generation.get(), 2, "S23");
    assert!(waiter.join().is_ok());
}

fn wait(world: &World, reference: WaitRef) {
    let context = world.context(slot(1));
    let waited = context.wait(reference, None).expect("the reference is good");
    assert_eq!(world.effects.seen(), EFFECT, "S7: the waiter does not see the effect");
    witness::saw(match waited {
        Waited::Done => "done",
        Waited::Recycled => "recycled",
        Waited::TimedOut => panic!("there was no deadline"),
    });
    let outcome = context.foreign_outcome(reference).expect("the reference is good");
    assert!(outcome.is_none_or(|outcome| outcome == Outcome::from_raw(RAW)), "S7: {outcome:?}");
    witness::saw(if outcome.is_some() { "result seen" } else { "result gone" });
    let over = context.check_done(reference).expect("the reference is good");
    assert!(over, "S10: once over, always over");
}

fn released() {
    let world = World::new();
    let mut issuer = world.issuer(How::InPlace);
    let handle = issuer.acquire(0).expect("a handle is free");
    let reference = world.reference(handle);
    let waiter = actor({
        let world = world.clone();
        move || wait_for_release(&world, reference)
    });
    world.before_release();
    issuer.release(handle).expect("it is handed out");
    assert!(waiter.join().is_ok());
}

fn wait_for_release(world: &World, reference: WaitRef) {
    let waited = world.context(slot(1)).wait(reference, None).expect("the reference is good");
    assert_eq!(waited, Waited::Recycled);
    assert_eq!(world.effects.seen(), EFFECT, "S7: the waiter does not see what came before");
    witness::saw("recycled");
}
