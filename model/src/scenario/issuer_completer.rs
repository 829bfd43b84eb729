//! One issuer, one completer, one IO with a shared and a local callback and a word of handle data.
//!
//! | actor | does |
//! |---|---|
//! | issuer, slot 0 | acquire, set data, start, finish: sleeps until it is over, reclaims |
//! | completer, slot 1 | takes the IO from the mailbox, completes it |
//!
//! Asserted: S1 (it wins exactly once, the callback runs exactly once), S2 (witness), S4 (the
//! completer sees the frozen request and data), S5 (platform: nothing written after Publish), S7
//! (the issuer sees the callback's effect), S14 (its result is local after shared).
//! Fails by an assertion, or by a deadlock if the issuer is never woken. Not checked: a claim, a
//! second completer.

use super::{Plan, Scenario};
use crate::runtime::{Actor, Runtime};
use crate::world::{self, How, Size, World, io, slot};
use std::sync::Arc;

/// RC1, RC7, RC23: a completion against the issuer's wait and reclaim.
#[derive(Debug)]
pub struct IssuerCompleter;

impl Scenario for IssuerCompleter {
    const NAME: &'static str = "issuer_completer";
    const COVERS: &'static [&'static str] =
        &["RC1", "RC7", "RC23", "S1", "S2", "S4", "S5", "S7", "S14"];
    const REACHED: &'static [&'static str] = &[
        "completed at a glance",
        "completed after a wait",
        "shared callback",
        "local callback",
        "slept",
        "woke a sleeper",
        "ticket was old",
    ];
    const REACHED_BY_WEAKNESS: &'static [&'static str] = &["the mailbox was ahead of the word"];
    const PLAN: Plan = Plan::LOOM.shuttle([20_000, 1_000_000]);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let completer = world.spawn(Actor::new("completer", 1), 0, |world| complete(world));
        let mut issuer = world.issuer(slot(0), How::HandedOver);
        let handle = issuer.acquire(0).expect("a handle is free");
        let this = (handle.id, handle.generation);
        world::start(&mut issuer, handle, true);
        issuer.finish(handle).expect("it was started");
        let outcome = issuer.method().outcome(handle);
        assert_eq!(outcome, Some(world::final_outcome(this, true)), "S14: local after shared");
        world.app.assert_seen(this);
        assert!(issuer.book().is_pristine() && issuer.book().check());
        R::join(completer);
    }
}

fn complete<R: Runtime>(world: &World<R>) {
    // Without the queue's ordering the look before the exchange may find an older word, and then
    // nothing happens.
    let glance = world.kernel.mailbox.glance();
    match glance {
        Some(seen) if world.complete(slot(1), seen) => R::saw("completed at a glance"),
        Some(_) | None => {
            let ahead = glance.is_some();
            R::saw(if ahead { "the mailbox was ahead of the word" } else { "came early" });
            assert_eq!(world.kernel.mailbox.wait(), Some(io(0, 1)));
            assert!(world.complete(slot(1), io(0, 1)), "S1: nobody else completes it");
            R::saw("completed after a wait");
        }
    }
}
