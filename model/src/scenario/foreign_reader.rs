//! A process that reads the result of a foreign IO while its handle is used for the next one.
//!
//! | thread | does |
//! |---|---|
//! | issuer, slot 0 | reclaims the first IO, starts a second one on the same handle |
//! | completer, slot 1 | completes the second one, if it sees it |
//! | reader, slot 1 | asks for the result of the first one, by its reference |
//!
//! The first IO is complete when the race begins. Asserted: S9 (the reader gets the first result or
//! none, never the second one under the first one's reference), S2 and S23 (witness).
//! Fails by an assertion. Checked by: `s9_foreign_reader_notices_a_missing_fence`. Not checked: the
//! whole copy that `Context::view` makes; it reads by the same fences.

use super::{Scenario, actor};
use crate::witness;
use crate::world::{self, How, RAW, World, slot};
use handfast_core::ids::WaitRef;
use handfast_core::outcome::{Outcome, RawResult};
use handfast_core::state::Role;

/// The scenario.
pub const SCENARIO: Scenario = Scenario {
    name: "foreign_reader",
    body: || assert!(actor(execution).join().is_ok()),
    reached: &["result seen", "result gone", "second completed"],
};

/// The result of the second IO.
const SECOND: RawResult = RawResult(3);

fn execution() {
    let world = World::new();
    let mut issuer = world.issuer(How::HandedOver);
    let first = issuer.acquire(0).expect("a handle is free");
    issuer.start(first, &world::request(false), &[]).expect("it is handed out");
    assert!(spawn(&world, |world| assert!(complete(world, RAW))).join().is_ok());
    let reference = world.reference(first);
    let reader = spawn(&world, move |world| read(world, reference));
    let completer = spawn(&world, |world| {
        let second = world.mailbox.glance().is_some_and(|(_, generation)| generation.get() == 2);
        if second && complete(world, SECOND) {
            witness::saw("second completed");
        }
    });
    issuer.finish(first).expect("it was started");
    let second = issuer.acquire(0).expect("the handle is free again");
    issuer.start(second, &world::request(false), &[]).expect("it is handed out");
    assert!(reader.join().is_ok() && completer.join().is_ok());
}

fn spawn(
    world: &std::sync::Arc<World>,
    body: impl FnOnce(&World) + Send + 'static,
) -> loom::thread::JoinHandle<()> {
    let world = world.clone();
    actor(move || body(&world))
}

fn complete(world: &World, raw: RawResult) -> bool {
    let me = slot(1);
    world.mailbox.glance().is_some_and(|io| {
        let done = world.context(me).complete(io, raw, Role::Completer(me));
        done.expect("the handle exists")
    })
}

fn read(world: &World, reference: WaitRef) {
    let seen = world.context(slot(1)).foreign_outcome(reference).expect("the reference is good");
    match seen {
        Some(outcome) => {
            assert_eq!(outcome, Outcome::from_raw(RAW), "S9: the result of another generation");
            witness::saw("result seen");
        }
        None => witness::saw("result gone"),
    }
}
