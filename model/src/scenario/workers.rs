//! Workers that find IO by the hints, and sleep at the doorbell.
//!
//! | scenario | actors |
//! |---|---|
//! | [`Doorbell`] | an issuer of one IO; a worker |
//! | [`HintAgain`] | an issuer of two IOs, one after the other, on one handle; a worker |
//! | [`TwoIssuers`] | two issuers of one IO each; a worker |
//! | [`BatchForTwo`] | an issuer of a batch of two; two workers |
//! | [`Leaves`] | an issuer of two IOs; two workers, of which one leaves after the first IO |
//! | [`AskedToLeave`] | an issuer of one IO; a worker that was asked to leave but not woken; another one |
//!
//! Asserted: S1 (each IO is executed once), S4 and S7 (what the worker and the issuer see), S14, L2 and L5
//! (everybody returns: an IO that no worker takes, or a worker that nobody wakes, is a deadlock). Nobody
//! dies, so that no slice is ever over. Not checked here: deaths ([`super::worker_deaths`]).

use super::{Level, Plan, Reach, Scenario};
use crate::runtime::{Actor, Runtime};
use crate::world::{Size, World, slot};
use handfast_core::ids::HandleId;
use std::sync::Arc;

/// Starts a worker in this slot.
fn worker<R: Runtime>(world: &Arc<World<R>>, number: u32) -> R::Started {
    let actor = Actor::new("worker", number);
    world.spawn(actor, number.into(), move |world| world.be_worker(slot(number)))
}

/// So many IOs, one after the other.
fn issue<R: Runtime>(world: &World<R>, me: u32, count: u32) {
    let mut issuer = world.async_issuer(slot(me));
    for turn in 0..count {
        World::async_settle(turn, &issuer);
        let handle = World::start_one(&mut issuer);
        World::async_settle((turn, handle.id, handle.generation), &issuer);
        world.finish_one(&mut issuer, handle);
    }
    assert!(issuer.book().is_pristine() && issuer.book().check(), "S3, S19");
}

/// Lets the workers in these slots go, all with one ring.
fn dismiss<R: Runtime>(world: &World<R>, workers: impl IntoIterator<Item = (u32, R::Started)>) {
    R::settled(0, &"dismiss");
    let ask = |(number, started)| {
        world.kernel.ask_to_leave(slot(number));
        started
    };
    let workers: Vec<_> = workers.into_iter().map(ask).collect();
    world.ring_all_workers();
    workers.into_iter().for_each(R::join);
}

/// RC33: one IO, one worker.
#[derive(Debug)]
pub struct Doorbell;

impl Scenario for Doorbell {
    const NAME: &'static str = "worker_doorbell";
    const COVERS: &'static [&'static str] = &["RC33", "S1", "S4", "S7", "S14", "L2", "L5", "L7"];
    const REACHED: &'static [&'static str] = &["slept", "ticket was old", "executed"];
    const PLAN: Plan = Plan::NONE.loom([Some(2), Some(3)]).search(Reach::SPURIOUS);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).owners(1).worker_slots(&[1]))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let worker = worker(world, 1);
        issue(world, 0, 1);
        dismiss(world, [(1, worker)]);
    }
}

/// RC33: a bit that is cleared too late would be the next IO's.
#[derive(Debug)]
pub struct HintAgain;

impl Scenario for HintAgain {
    const NAME: &'static str = "worker_hint_again";
    const COVERS: &'static [&'static str] = &["RC33", "S1", "S23", "L2", "L5"];
    const REACHED: &'static [&'static str] = &["slept", "executed"];
    const PLAN: Plan = Plan::NONE.loom([Some(1), Some(2)]).search(Reach::ALIVE);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).owners(1).worker_slots(&[1]))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let worker = worker(world, 1);
        issue(world, 0, 2);
        dismiss(world, [(1, worker)]);
    }
}

/// RC33, RC36: two that ring, one that sleeps.
#[derive(Debug)]
pub struct TwoIssuers;

impl Scenario for TwoIssuers {
    const NAME: &'static str = "worker_two_issuers";
    const COVERS: &'static [&'static str] = &["RC33", "RC36", "S1", "S4", "S7", "L2", "L5", "L7"];
    const REACHED: &'static [&'static str] = &["slept", "executed"];
    const PLAN: Plan = Plan::NONE.loom([Some(1), Some(1)]).search(Reach::ALIVE);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3).owners(2).worker_slots(&[2]))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let worker = worker(world, 2);
        let other = world.spawn(Actor::new("issuer 1", 1), 1, |world| issue(world, 1, 1));
        issue(world, 0, 1);
        R::settled(0, &"join");
        R::join(other);
        dismiss(world, [(2, worker)]);
    }
}

/// RC36: one ring for two IOs, which two workers want.
#[derive(Debug)]
pub struct BatchForTwo;

impl Scenario for BatchForTwo {
    const NAME: &'static str = "worker_batch_for_two";
    const COVERS: &'static [&'static str] = &["RC36", "S1", "S3", "L2", "L3", "L5"];
    const REACHED: &'static [&'static str] = &["slept", "executed"];
    const PLAN: Plan = Plan::NONE.search(Reach { level: Level::Ci, ..Reach::ALIVE });
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3).owners(1).handles(2).worker_slots(&[1, 2]))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let workers = [1, 2].map(|number| (number, worker(world, number)));
        let mut issuer = world.async_issuer(slot(0));
        issuer.enter_batch();
        let ios = [(); 2].map(|()| World::start_one(&mut issuer));
        issuer.leave_batch(0).expect("no word is damaged");
        for (turn, io) in ios.into_iter().enumerate() {
            World::async_settle(turn, &issuer);
            world.finish_one(&mut issuer, io);
        }
        dismiss(world, workers);
    }
}

/// RC34: a worker that leaves may have taken the wake-up for an IO that it does not take.
#[derive(Debug)]
pub struct Leaves;

impl Scenario for Leaves {
    const NAME: &'static str = "worker_leaves";
    const COVERS: &'static [&'static str] =
        &["RC34", "RC36", "RC37", "S1", "S18", "L2", "L5", "L7"];
    const REACHED: &'static [&'static str] = &["slept", "executed"];
    const PLAN: Plan = Plan::NONE.loom([Some(0), Some(1)]).search(Reach::ALIVE);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3).owners(1).worker_slots(&[1, 2]))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let stays = worker(world, 1);
        let leaves = world.spawn(Actor::new("worker that leaves", 2), 2, |world| {
            let me = slot(2);
            // It goes as soon as it sees that the first IO is executed, by whomever.
            let leaving = || world.kernel.written(HandleId(0)) > 0 || world.kernel.is_to_leave(me);
            world.be_worker_until(me, leaving, false);
        });
        issue(world, 0, 2);
        dismiss(world, [(1, stays), (2, leaves)]);
    }
}

/// RC34: a worker that is to leave, sleeps and is not woken for it; the ring for the IO wakes it, and it
/// passes the ring on.
#[derive(Debug)]
pub struct AskedToLeave;

impl Scenario for AskedToLeave {
    const NAME: &'static str = "worker_asked_to_leave";
    const COVERS: &'static [&'static str] = &["RC34", "RC37", "S1", "S18", "L2", "L5", "L7"];
    const REACHED: &'static [&'static str] = &["slept", "executed"];
    const PLAN: Plan = Plan::NONE.loom([Some(1), Some(1)]).search(Reach::ALIVE);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3).owners(1).worker_slots(&[1, 2]))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let workers = [1, 2].map(|number| (number, worker(world, number)));
        // Lets both fall asleep without a preemption.
        R::pause();
        world.kernel.ask_to_leave(slot(1));
        issue(world, 0, 1);
        dismiss(world, workers);
    }
}
