//! A process that reads the result of a foreign IO while its handle is used for the next one.
//!
//! | actor | does |
//! |---|---|
//! | issuer, slot 0 | reclaims the first IO, starts a second one on the same handle |
//! | completer, slot 1 | completes the second one, if it sees it |
//! | reader, slot 1 | asks for the result of the first one, by its reference |
//!
//! The first IO is complete when the race begins. Asserted: S9 (the reader gets the first result or
//! none, never the second one under the first one's reference), S2 and S23 (witness).
//! Fails by an assertion. Not checked: the whole copy that `Context::view` makes.

use super::{Plan, Scenario};
use crate::runtime::{Actor, Runtime};
use crate::world::{self, How, Size, World, io, reference, slot};
use std::sync::Arc;

/// RC38 for results: read, recycle, complete.
#[derive(Debug)]
pub struct ForeignReader;

impl Scenario for ForeignReader {
    const NAME: &'static str = "foreign_reader";
    const COVERS: &'static [&'static str] = &["RC38", "S2", "S9", "S23"];
    const REACHED: &'static [&'static str] = &["result seen", "result gone", "second completed"];
    const PLAN: Plan = Plan::LOOM.shuttle([20_000, 1_000_000]);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let mut issuer = world.issuer(slot(0), How::HandedOver);
        let first = issuer.acquire(0).expect("a handle is free");
        issuer.start(first, &world::request(io(0, 1), false), &[]).expect("it is handed out");
        R::join(world.spawn(Actor::new("completer 1", 1), 0, |world| {
            assert!(world.complete(slot(1), io(0, 1)));
        }));
        let reader = world.spawn(Actor::new("reader", 1), 0, |world| read(world));
        let completer = world.spawn(Actor::new("completer 2", 1), 0, |world| {
            if world.kernel.mailbox.glance() == Some(io(0, 2)) && world.complete(slot(1), io(0, 2))
            {
                R::saw("second completed");
            }
        });
        issuer.finish(first).expect("it was started");
        let second = issuer.acquire(0).expect("the handle is free again");
        issuer.start(second, &world::request(io(0, 2), false), &[]).expect("it is handed out");
        R::join(reader);
        R::join(completer);
    }
}

fn read<R: Runtime>(world: &World<R>) {
    let seen = world.context(slot(1)).foreign_outcome(reference(io(0, 1)));
    match seen.expect("the reference is good") {
        Some(outcome) => {
            let first = world::shared_outcome(io(0, 1), false);
            assert_eq!(outcome, first, "S9: the result of another generation");
            R::saw("result seen");
        }
        None => R::saw("result gone"),
    }
}
