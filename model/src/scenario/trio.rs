//! Three processes, two handles, two generations: two issuers that wait for each other's IO, and a
//! process that executes.
//!
//! | actor | does |
//! |---|---|
//! | issuers, slots 0 and 1 | twice: acquire; start, in a batch or not, or release; wait for what the other has published; finish |
//! | executor, slot 2 | takes IO from the mailbox, claims, executes, completes |
//!
//! Asserted: L1 to L4 and L7 (everybody ends), S3 and S19 (books), S7 (effects), S14 (results). Fails
//! by an assertion, a deadlock, or a fair cycle. Not checked here: deaths.

use super::{Level, Plan, Reach, Scenario};
use crate::runtime::{Actor, Runtime};
use crate::world::{self, How, Size, World, io, reference, slot};
use std::sync::Arc;

/// RC22, RC27, RC28: two issuers that start, batch, release and wait crosswise.
#[derive(Debug)]
pub struct Trio;

const GENERATIONS: u64 = 2;

impl Scenario for Trio {
    const NAME: &'static str = "trio";
    const COVERS: &'static [&'static str] = &[
        "RC22", "RC23", "RC27", "RC28", "S1", "S2", "S3", "S14", "S19", "S22", "S23", "L1", "L2",
        "L3", "L4", "L7", "L8",
    ];
    const REACHED: &'static [&'static str] = &["waited for the other", "released"];
    const PLAN: Plan = Plan::NONE.search(Reach { level: Level::Ci, ..Reach::ALIVE });
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3).owners(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let first = world.spawn(Actor::new("issuer 0", 0), 0, |world| issue(world, 0));
        let second = world.spawn(Actor::new("issuer 1", 1), 1, |world| issue(world, 1));
        let executor = world.spawn(Actor::new("executor", 2), 2, |world| execute(world));
        R::join(first);
        R::join(second);
        world.kernel.mailbox.close();
        R::join(executor);
    }

    fn always<R: Runtime>(world: &World<R>) {
        world.assert_well_formed();
    }
}

fn issue<R: Runtime>(world: &World<R>, me: u32) {
    let mut issuer = world.issuer(slot(me), How::HandedOver);
    for turn in 0..GENERATIONS {
        World::settle(turn, &issuer);
        let handle = issuer.acquire(0).expect("nothing is handed out");
        let this = (handle.id, handle.generation);
        let way = if me == 0 { R::choose(3) } else { 0 };
        if way == 2 {
            issuer.release(handle).expect("it is handed out");
            R::saw("released");
            continue;
        }
        if way == 1 {
            issuer.enter_batch();
        }
        world::start(&mut issuer, handle, true);
        World::settle(turn, &issuer);
        if let Some(other) = world.app.published(1 - me) {
            issuer.wait(reference(other), None).map(drop).expect("it was published");
            world.app.assert_seen(other);
            R::saw("waited for the other");
        }
        World::settle(turn, &issuer);
        issuer.leave_batch(0).expect("no word is damaged");
        World::settle(turn, &issuer);
        issuer.finish(handle).expect("it was started");
        let outcome = issuer.method().outcome(handle);
        assert_eq!(outcome, Some(world::final_outcome(this, true)), "S14: local after shared");
    }
    assert!(issuer.book().is_pristine() && issuer.book().check(), "S3, S19");
}

/// Claims and executes what comes, until the mailbox is closed.
pub(crate) fn execute<R: Runtime>(world: &World<R>) {
    let context = world.context(slot(2));
    loop {
        R::settled(0, &0_u64);
        let Some((id, _)) = world.kernel.mailbox.wait() else { return };
        let claimed = context.claim(id).expect("the handle exists");
        let claimed = claimed.expect("S1: nobody else executes it");
        assert!(world.complete(slot(2), (id, claimed.generation)), "S1: the claimer completes it");
    }
}

/// RC14, RC21: one issuer with two handles fills them, batches, and another process waits for both.
#[derive(Debug)]
pub struct Batches;

impl Scenario for Batches {
    const NAME: &'static str = "batches";
    const COVERS: &'static [&'static str] =
        &["RC9", "RC21", "RC22", "S3", "S19", "S20", "S21", "S22", "L1", "L3", "L4"];
    const REACHED: &'static [&'static str] = &[];
    const PLAN: Plan = Plan::NONE.search(Reach { level: Level::Ci, ..Reach::ALIVE });
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3).owners(1).handles(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let issuer = world.spawn(Actor::new("issuer", 0), 0, |world| fill(world));
        let executor = world.spawn(Actor::new("executor", 2), 2, |world| execute(world));
        R::join(issuer);
        world.kernel.mailbox.close();
        R::join(executor);
    }

    fn always<R: Runtime>(world: &World<R>) {
        world.assert_well_formed();
    }
}

fn fill<R: Runtime>(world: &Arc<World<R>>) {
    let mut issuer = world.issuer(slot(0), How::HandedOver);
    issuer.enter_batch();
    let mut waiters = Vec::new();
    for turn in 0..4 {
        World::settle(turn, &issuer);
        let handle = issuer.acquire(0).expect("nothing is handed out");
        if turn == 1 {
            waiters.push(world.spawn(Actor::new("waiter", 1), 0, |world| {
                for this in [io(0, 1), io(1, 1)] {
                    R::settled(0, &this.0);
                    let waited = world.context(slot(1)).wait(reference(this), None);
                    waited.map(drop).expect("it was handed out before");
                    world.kernel.assert_seen(this);
                }
            }));
        }
        world::start(&mut issuer, handle, true);
    }
    World::settle(0, &issuer);
    issuer.leave_batch(0).expect("no word is damaged");
    while let Some(oldest) = issuer.book().oldest() {
        World::settle(0, &issuer);
        let generation = issuer.book().generation(oldest).expect("it is one of its own");
        let oldest = reference((handfast_core::ids::HandleId(oldest), generation));
        issuer.wait(oldest, None).map(drop).expect("it was started");
        issuer.reclaim_over().expect("no word is damaged");
    }
    assert!(issuer.book().is_pristine() && issuer.book().check(), "S3, S19");
    waiters.into_iter().for_each(R::join);
}
