//! A process with a ring is killed at any step, with IO in flight; the kernel goes on writing for it.
//!
//! | scenario | who may die | who goes on |
//! |---|---|---|
//! | [`OwnerDies`] | issuer and reaper | the kernel, until nothing is in flight; a waiter, which recovers |
//! | [`RecovererDies`] | the same; one of two waiters, which recover | the other one |
//! | [`TwoLeft`] | nobody: the owner is gone already, with two IOs over in its queue | whoever recovers it |
//!
//! Asserted: S24 (nothing is over, and no slot lock free, while the kernel still has to write), L9 (the
//! waiters return), S1 (callbacks run again only as a repeat), S25, L10 (at the end nothing is open), and
//! that a result which the kernel has delivered is never replaced by `OwnerDied`. Fails by an
//! assertion, a deadlock or a fair cycle. Only the search runs these.

use super::worker_deaths::{clear_up, finish, start, wait};
use super::{Level, Plan, Reach, Scenario};
use crate::runtime::{Actor, Runtime};
use crate::world::{Size, World, slot};
use handfast_core::ids::HandleId;
use handfast_core::outcome::RawResult;
use handfast_core::protocol::Shared as _;
use std::sync::Arc;

/// The slot with the ring.
const OWNER: u32 = 0;

/// Attaches with a reaper, does one IO, detaches.
fn issue<R: Runtime>(world: &Arc<World<R>>) {
    R::settled(0, &"begin");
    let mut issuer = world.async_attached(slot(OWNER));
    World::async_settle("attached", &issuer);
    let actor = Actor::new("reaper", OWNER).mortal();
    let reaper = world.spawn(actor, 10, |world| world.be_reaper(slot(OWNER)));
    let handle = start(&mut issuer);
    World::async_settle((handle.id, handle.generation), &issuer);
    finish(&mut issuer, handle);
    World::async_settle("finished", &issuer);
    world.dismiss_reaper(slot(OWNER));
    R::join(reaper);
    World::async_settle("alone", &issuer);
    world.async_detach(issuer);
}

fn run<R: Runtime>(world: &Arc<World<R>>, waiters: &'static [(u32, bool)]) {
    let kernel = world.spawn(Actor::new("kernel", 9), 9, |world| world.be_kernel(slot(OWNER)));
    let issuer = world.spawn(Actor::new("issuer", OWNER).mortal(), 0, |world| issue(world));
    let started: Vec<_> = waiters
        .iter()
        .map(|&(number, mortal)| {
            let actor = Actor { mortal, ..Actor::new("waiter", number) };
            world.spawn(actor, number.into(), move |world| wait(world, number))
        })
        .collect();
    R::join(issuer);
    started.into_iter().for_each(R::join);
    R::settled(0, &"close");
    if let Some(ring) = world.kernel.ring(slot(OWNER)) {
        ring.close();
    }
    R::join(kernel);
    clear_up(world, 3, 0..3);
}

/// No result that the kernel has delivered is lost.
fn assert_true_results<R: Runtime>(world: &World<R>) {
    world.assert_well_formed();
    for id in (0..world.words().handle_count()).map(HandleId) {
        let view = world.context(slot(OWNER)).view(id).expect("there is such a handle");
        let lost = view.raw == Some(RawResult::OWNER_DIED)
            && world.kernel.written(id) >= view.word.generation().get();
        assert!(!lost, "L9: the true result is lost: {view:?}");
    }
}

/// RC40, R26: whoever recovers drains the queue first, and not before the kernel has finished.
#[derive(Debug)]
pub struct OwnerDies;

impl Scenario for OwnerDies {
    const NAME: &'static str = "ring_owner_dies";
    const COVERS: &'static [&'static str] =
        &["RC40", "S1", "S2", "S8", "S24", "S25", "L2", "L4", "L9", "L10"];
    const REACHED: &'static [&'static str] = &[
        "waited",
        "slice over",
        "the kernel wrote for the dead",
        "drained a dead one's ring",
        "dropped what a dead one had completed",
    ];
    const PLAN: Plan = Plan::NONE.search(Reach { deaths: 1, ..Reach::ALIVE });
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(4).owners(1).ring(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        run(world, &[(1, false)]);
    }

    fn always<R: Runtime>(world: &World<R>) {
        assert_true_results(world);
    }
}

/// S25: the recoverer dies, too, perhaps with an entry in its hand.
#[derive(Debug)]
pub struct RecovererDies;

impl Scenario for RecovererDies {
    const NAME: &'static str = "ring_recoverer_dies";
    const COVERS: &'static [&'static str] =
        &["RC40", "S1", "S2", "S8", "S24", "S25", "L2", "L4", "L9", "L10"];
    const REACHED: &'static [&'static str] = OwnerDies::REACHED;
    const PLAN: Plan = Plan::NONE.search(Reach { deaths: 2, level: Level::Ci, ..Reach::ALIVE });
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(4).owners(1).ring(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        run(world, &[(1, true), (2, false)]);
    }

    fn always<R: Runtime>(world: &World<R>) {
        assert_true_results(world);
    }
}

/// L9: the queue of the dead is drained to its end.
#[derive(Debug)]
pub struct TwoLeft;

impl Scenario for TwoLeft {
    const NAME: &'static str = "ring_two_left";
    const COVERS: &'static [&'static str] = &["RC40", "S1", "S24", "L9", "L10"];
    const REACHED: &'static [&'static str] = &["drained a dead one's ring"];
    const PLAN: Plan = Plan::NONE.search(Reach::ALIVE);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(4).owners(1).handles(2).ring(3))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        R::join(world.spawn(Actor::new("owner", OWNER), 0, |world| {
            let _attached = world.enter(slot(OWNER), 1);
            let mut issuer = world.async_issuer(slot(OWNER));
            let _two = [start(&mut issuer), start(&mut issuer)];
            world.complete_in_order(slot(OWNER), 2);
            world.exit(slot(OWNER));
        }));
        world.recover(slot(1), slot(OWNER));
        clear_up(world, 3, 0..1);
    }

    fn always<R: Runtime>(world: &World<R>) {
        assert_true_results(world);
    }
}
