//! Who comes too early or too late for an IO.
//!
//! | scenario | beside an issuer |
//! |---|---|
//! | [`EarlyPoll`] | a process that asks about an IO whose handle may not be handed out yet |
//! | [`LateCompletion`] | a queue that delivers a completion twice, the second time into the next use |
//!
//! Asserted: S10 (what has not begun is not over), S1 (a completion is of its own IO, once), S7.
//! Fails by an assertion, or by a deadlock if an IO is not submitted.

use super::Scenario;
use crate::runtime::{Actor, Runtime};
use crate::world::{self, How, Size, World, io, raw_of, reference, slot};
use handfast_core::state::Role;
use std::sync::Arc;

/// RC4, RC11: a reference that is older than its IO, for this process.
#[derive(Debug)]
pub struct EarlyPoll;

impl Scenario for EarlyPoll {
    const NAME: &'static str = "early_poll";
    const COVERS: &'static [&'static str] = &["RC4", "RC11", "S6", "S10", "S11"];
    const REACHED: &'static [&'static str] = &["over", "not over"];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let poller = world.spawn(Actor::new("poller", 1), 0, |world| {
            let over = world.context(slot(1)).check_done(reference(io(0, 1)));
            let over = over.expect("the reference is good");
            if over {
                world.kernel.assert_seen(io(0, 1));
            }
            R::saw(if over { "over" } else { "not over" });
        });
        let mut issuer = world.issuer(slot(0), How::InPlace);
        let handle = issuer.acquire(0).expect("a handle is free");
        issuer.start(handle, &world::request(io(0, 1), false), &[]).expect("it is handed out");
        R::join(poller);
    }
}

/// RC15, RC16: a completion that comes again, of an IO with callbacks or without.
#[derive(Debug)]
pub struct LateCompletion;

impl Scenario for LateCompletion {
    const NAME: &'static str = "late_completion";
    const COVERS: &'static [&'static str] = &["RC3", "RC15", "RC16", "S1", "S8", "S23", "L3"];
    const REACHED: &'static [&'static str] = &["dropped"];
    const VARIANTS: usize = 2;
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let mut issuer = world.issuer(slot(0), How::HandedOver);
        let callbacks = R::choose(2) == 0;
        let completer = world.spawn(Actor::new("completer", 1), 0, |world| {
            let context = world.context(slot(1));
            for (generation, late) in [(1, None), (2, Some(io(0, 1)))] {
                let this = io(0, generation);
                assert_eq!(world.kernel.mailbox.wait(), Some(this));
                if let Some(late) = late {
                    let hit = context.complete(late, raw_of(late), Role::Completer(slot(1)));
                    assert_eq!(hit, Ok(false), "S1: a completion hit another IO");
                    R::saw("dropped");
                }
                assert!(world.complete(slot(1), this), "S1: nobody else completes it");
            }
        });
        for generation in [1, 2] {
            let handle = issuer.acquire(0).expect("L1: a handle becomes free");
            world::start(&mut issuer, handle, callbacks);
            if generation == 1 {
                issuer.finish(handle).expect("it was started");
            }
        }
        R::join(completer);
    }
}
