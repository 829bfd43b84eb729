//! One issuer, one completer, one IO with a shared and a local callback and a word of handle data.
//!
//! | thread | does |
//! |---|---|
//! | issuer, slot 0 | acquire, set data, start, finish: sleeps until it is over, reclaims |
//! | completer, slot 1 | takes the IO from the mailbox, completes it |
//!
//! Asserted: S1 (it wins exactly once, the callback runs exactly once), S2 (witness), S4 (the
//! completer sees the frozen request and data), S5 (platform: nothing written after Publish), S7
//! (the issuer sees the callback's effect), S14 (its result is local after shared).
//! Fails by an assertion, or by loom's deadlock if the issuer is never woken. Checked by:
//! `s7_issuer_completer_notices_a_relaxed_publish`. Not checked: a claim, a second completer.

use super::{Scenario, actor};
use crate::witness;
use crate::world::{self, DATA, EFFECT, How, RAW, World, slot};
use handfast_core::state::Role;

/// The scenario.
pub const SCENARIO: Scenario = Scenario {
    name: "issuer_completer",
    body: execution,
    reached: &[
        "completed at a glance",
        "completed after a wait",
        "the mailbox was ahead of the word",
        "shared callback",
        "local callback",
        "slept",
        "woke a sleeper",
        "ticket was old",
    ],
};

fn execution() {
    let world = World::new();
    let completer = actor({
        let world = world.clone();
        move || complete(&world)
    });
    let issuer = actor(move || issue(&world));
    assert!(issuer.join().is_ok() && completer.join().is_ok());
}

fn issue(world: &World) {
    let mut issuer = world.issuer(How::HandedOver);
    let handle = issuer.acquire(0).expect("a handle is free");
    issuer.set_data(handle, &[DATA]).expect("one word fits");
    issuer.start(handle, &world::request(true), &[]).expect("it is handed out");
    issuer.finish(handle).expect("it was started");
    assert_eq!(
        issuer.method().outcome(),
        Some(world::final_outcome(true)),
        "S14: the issuer's result is not local after shared callbacks"
    );
    assert_eq!(world.effects.seen(), EFFECT, "S7: the issuer does not see the effect");
    assert!(issuer.book().is_pristine() && issuer.book().check());
}

fn complete(world: &World) {
    let context = world.context(slot(1));
    let complete =
        |io| context.complete(io, RAW, Role::Completer(slot(1))).expect("the handle exists");
    // Without the queue's ordering the look before the exchange may find an older word, and then
    // nothing happens.
    match world.mailbox.glance() {
        Some(io) if complete(io) => witness::saw("completed at a glance"),
        glance => {
            let ahead = glance.is_some();
            witness::saw(if ahead { "the mailbox was ahead of the word" } else { "came early" });
            assert!(complete(world.mailbox.wait()), "S1: nobody else completes it");
            witness::saw("completed after a wait");
        }
    }
}
