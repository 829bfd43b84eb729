//! Several waiters, and waiters that have staged IO of their own.
//!
//! | scenario | actors |
//! |---|---|
//! | [`TwoWaiters`] | an issuer in place, two waiters of its IO |
//! | [`TimesOut`] | the same, but the time of one waiter is over at once |
//! | [`Staged`] | an issuer whose IO waits in an open batch, a waiter |
//! | [`Crosswise`] | two issuers with staged IO, each waiting for the other's |
//!
//! Asserted: L4 (every waiter returns; one that gives up takes no wake-up from another), L3 (who is about to
//! block submits first; the end of a batch submits), S7 (who learns that it is over sees its bytes).
//! Fails by an assertion, or by a deadlock for a lost wake-up.

use super::{Plan, Reach, Scenario};
use crate::mailbox::IoId;
use crate::runtime::{Actor, Runtime};
use crate::world::{self, How, SimulatedIssuer, Size, World, io, reference, slot};
use handfast_core::protocol::wait::Waited;
use std::sync::Arc;

/// Waits for an IO of slot 0 as the process in `me`.
fn wait<R: Runtime>(world: &World<R>, me: u32, deadline: Option<u64>) {
    let waited = world.context(slot(me)).wait(reference(io(0, 1)), deadline);
    R::saw(match waited.expect("the reference is good") {
        Waited::TimedOut => {
            assert!(deadline.is_some(), "L4: there was no deadline");
            return R::saw("timed out");
        }
        Waited::Done => "done",
        Waited::Recycled => "recycled",
    });
    world.kernel.assert_seen(io(0, 1));
}

fn in_place<R: Runtime>(world: &Arc<World<R>>, deadlines: [Option<u64>; 2]) {
    let mut issuer = world.issuer(slot(0), How::InPlace);
    let handle = issuer.acquire(0).expect("a handle is free");
    let waiters = [(1, deadlines[0]), (2, deadlines[1])].map(|(number, deadline)| {
        let actor = Actor::new(if deadline.is_some() { "impatient" } else { "waiter" }, number);
        world.spawn(actor, u64::from(number), move |world| wait(world, number, deadline))
    });
    issuer.start(handle, &world::request(io(0, 1), false), &[]).expect("it is handed out");
    issuer.finish(handle).expect("it was started");
    waiters.into_iter().for_each(R::join);
}

/// RC7, RC8 with two waiters.
#[derive(Debug)]
pub struct TwoWaiters;

impl Scenario for TwoWaiters {
    const NAME: &'static str = "two_waiters";
    const COVERS: &'static [&'static str] = &["RC7", "RC8", "S2", "S7", "L4"];
    const REACHED: &'static [&'static str] = &["done", "recycled", "slept", "woke a sleeper"];
    const PLAN: Plan = Plan::LOOM.loom([Some(2), Some(3)]).search(Reach::SPURIOUS);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        in_place(world, [None, None]);
    }
}

/// RC41: one waiter gives up, the other one is woken all the same.
#[derive(Debug)]
pub struct TimesOut;

impl Scenario for TimesOut {
    const NAME: &'static str = "waiter_times_out";
    const COVERS: &'static [&'static str] = &["RC41", "S7", "L4"];
    const REACHED: &'static [&'static str] =
        &["done", "recycled", "timed out", "slept", "woke a sleeper"];
    const PLAN: Plan = Plan::LOOM.loom([Some(2), Some(3)]);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        in_place(world, [None, Some(0)]);
    }
}

/// RC9, RC28: the IO is staged, and nothing but the end of the batch submits it.
#[derive(Debug)]
pub struct Staged;

impl Scenario for Staged {
    const NAME: &'static str = "batch_waiter";
    const COVERS: &'static [&'static str] = &["RC9", "RC28", "S2", "S7", "L3", "L4"];
    const REACHED: &'static [&'static str] = &["done", "slept", "woke a sleeper"];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let mut issuer = world.issuer(slot(0), How::InPlace);
        issuer.enter_batch();
        let handle = issuer.acquire(0).expect("a handle is free");
        let waiter = world.spawn(Actor::new("waiter", 1), 0, |world| wait(world, 1, None));
        issuer.start(handle, &world::request(io(0, 1), false), &[]).expect("it is handed out");
        let end = issuer.end_scope(0).expect("nothing is damaged");
        assert_eq!((end.leaked, end.submitted), (None, 1), "L3: the scope left something staged");
        R::join(waiter);
    }
}

/// RC27: two processes have staged IO that the other one waits for.
#[derive(Debug)]
pub struct Crosswise;

impl Scenario for Crosswise {
    const NAME: &'static str = "crosswise";
    const COVERS: &'static [&'static str] = &["RC27", "S7", "L3", "L4"];
    const REACHED: &'static [&'static str] = &["slept", "woke a sleeper", "over"];
    const PLAN: Plan = Plan::LOOM.loom([Some(2), Some(4)]);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let (mut issuer, mine) = stage(world, 0);
        let other = world.spawn(Actor::new("issuer 1", 1), 1, move |world| {
            let (mut issuer, theirs) = stage(world, 1);
            world.kernel.tell(slot(0), theirs);
            wait_with_staged(world, &mut issuer, mine);
        });
        let theirs = world.kernel.told(slot(0));
        wait_with_staged(world, &mut issuer, theirs);
        R::join(other);
    }
}

/// Stages one IO in a batch that stays open.
fn stage<R: Runtime>(world: &Arc<World<R>>, me: u32) -> (SimulatedIssuer<'_, R>, IoId) {
    let mut issuer = world.issuer(slot(me), How::InPlace);
    issuer.enter_batch();
    let handle = issuer.acquire(0).expect("a handle is free");
    let mine = (handle.id, handle.generation);
    issuer.start(handle, &world::request(mine, false), &[]).expect("it is handed out");
    (issuer, mine)
}

/// Waits for what the other process has staged.
fn wait_with_staged<R: Runtime>(
    world: &World<R>,
    issuer: &mut SimulatedIssuer<'_, R>,
    theirs: IoId,
) {
    let waited = issuer.wait(reference(theirs), None).expect("the reference is good");
    assert_eq!(waited, Waited::Done, "L4: nobody reclaims it");
    world.kernel.assert_seen(theirs);
    issuer.leave_batch(0).expect("nothing is damaged");
    R::saw("over");
}
