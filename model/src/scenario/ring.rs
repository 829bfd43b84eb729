//! Rings whose completions nobody takes out but their own process: the issuer, while it waits, or the
//! reaper, while others do.
//!
//! | scenario | actors beside the reaper |
//! |---|---|
//! | [`Busy`] | an issuer that never drives; a foreign waiter; the IO is over before its submission returns |
//! | [`BusyLate`] | the same with a kernel that is late |
//! | [`WaiterFirst`] | a foreign waiter that comes while the IO is staged |
//! | [`WaiterFirstLate`] | the same with a kernel that is late |
//! | [`BothWait`] | the issuer and a foreign waiter, for the same IO |
//! | [`Polled`] | an issuer that never drives; a foreign process that only polls |
//! | [`OwnPoll`] | an issuer that waits with a deadline, then only polls; no reaper |
//!
//! Asserted: S1, S8 (each completion is its own IO's, and there is an entry for it), S7, S14, L2, L4, L6, L7
//! (everybody returns; nobody dies, so that no slice is ever over). Not checked here: who hands the lead to
//! whom ([`super::lead`]), deaths ([`super::ring_deaths`]).

use super::{Plan, Reach, Scenario};
use crate::asynchronous::AsyncIssuer;
use crate::runtime::{Actor, Runtime};
use crate::world::{Size, World, io, reference, slot};
use handfast_core::protocol::HandedOut;
use handfast_core::protocol::wait::Waited;
use std::sync::Arc;

/// The slot with the ring.
const OWNER: u32 = 0;

pub(super) fn reaper<R: Runtime>(world: &Arc<World<R>>) -> R::Started {
    world.spawn(Actor::new("reaper", OWNER), 10, |world| world.be_reaper(slot(OWNER)))
}

/// A waiter in another process, for the first IO of this handle.
pub(super) fn waiter<R: Runtime>(world: &Arc<World<R>>, handle: u32) -> R::Started {
    let actor = Actor::new("waiter", 1);
    world.spawn(actor, 20 + u64::from(handle), move |world| world.wait_as(1, io(handle, 1)))
}

/// A kernel that completes so many IOs, in order.
pub(super) fn kernel<R: Runtime>(world: &Arc<World<R>>, count: usize) -> R::Started {
    let actor = Actor::new("kernel", 9);
    world.spawn(actor, 30 + count as u64, move |world| world.complete_in_order(slot(OWNER), count))
}

/// Finishes what is left and lets the reaper go.
pub(super) fn end<R: Runtime>(
    world: &World<R>,
    issuer: &mut AsyncIssuer<'_, R>,
    ios: impl IntoIterator<Item = HandedOut>,
    reaper: R::Started,
) {
    for (turn, io) in ios.into_iter().enumerate() {
        World::async_settle(("end", turn), issuer);
        world.finish_one(issuer, io);
    }
    assert!(issuer.book().is_pristine() && issuer.book().check(), "S3, S19");
    R::settled(0, &"dismiss the reaper");
    world.dismiss_reaper(slot(OWNER));
    R::join(reaper);
}

/// An IO whose issuer never drives, while somebody waits for it.
fn busy<R: Runtime>(world: &Arc<World<R>>, at_once: bool) {
    let (reaper, kernel) = (reaper(world), (!at_once).then(|| kernel(world, 1)));
    let mut issuer = world.async_issuer(slot(OWNER));
    if at_once {
        issuer.method_mut().complete_at_once();
    }
    let handle = issuer.acquire(0).expect("nothing is handed out");
    let waiter = waiter(world, 0);
    let request = crate::world::request(io(0, 1), false);
    issuer.start(handle, &request, &[]).expect("it is handed out");
    World::async_settle("busy", &issuer);
    R::join(waiter);
    end(world, &mut issuer, [handle], reaper);
    kernel.into_iter().for_each(R::join);
}

/// U1, RC9: the issuer is busy for ever, as far as the waiter can know.
#[derive(Debug)]
pub struct Busy;

impl Scenario for Busy {
    const NAME: &'static str = "ring_busy";
    const COVERS: &'static [&'static str] =
        &["RC9", "RC14", "RC16", "S1", "S7", "S8", "L2", "L4", "L7"];
    const REACHED: &'static [&'static str] = &["slept"];
    const PLAN: Plan = Plan::NONE.loom([Some(2), Some(3)]).search(Reach::ALIVE);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).owners(1).ring(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        busy(world, true);
    }
}

/// U1: the same, and the completion comes when everybody sleeps.
#[derive(Debug)]
pub struct BusyLate;

impl Scenario for BusyLate {
    const NAME: &'static str = "ring_busy_late";
    const COVERS: &'static [&'static str] = &["RC9", "RC14", "S1", "S7", "L2", "L4", "L7"];
    const REACHED: &'static [&'static str] = &["slept", "sleeps in the ring"];
    const PLAN: Plan = Plan::NONE.loom([Some(1), Some(2)]).search(Reach::SPURIOUS);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).owners(1).ring(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        busy(world, false);
    }
}

/// A batch whose only IO somebody waits for already; then the issuer is busy.
fn batch_of_one<R: Runtime>(world: &Arc<World<R>>, at_once: bool) {
    let (reaper, kernel) = (reaper(world), (!at_once).then(|| kernel(world, 1)));
    let mut issuer = world.async_issuer(slot(OWNER));
    if at_once {
        issuer.method_mut().complete_at_once();
    }
    issuer.enter_batch();
    let handle = World::start_one(&mut issuer);
    let waiter = waiter(world, 0);
    World::async_settle("staged", &issuer);
    issuer.leave_batch(0).expect("no word is damaged");
    World::async_settle("busy", &issuer);
    R::join(waiter);
    end(world, &mut issuer, [handle], reaper);
    kernel.into_iter().for_each(R::join);
}

/// U1, RC9: a waiter of a staged IO, whom nobody but the issuer can tell of its submission.
#[derive(Debug)]
pub struct WaiterFirst;

impl Scenario for WaiterFirst {
    const NAME: &'static str = "ring_waiter_first";
    const COVERS: &'static [&'static str] = &["RC9", "RC14", "S7", "L2", "L3", "L4", "L7"];
    const REACHED: &'static [&'static str] = &["slept"];
    const PLAN: Plan = Plan::NONE.loom([Some(2), Some(3)]).search(Reach::ALIVE);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).owners(1).ring(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        batch_of_one(world, true);
    }
}

/// U1, RC9: the same, and the issuer's look at its queue comes too early.
#[derive(Debug)]
pub struct WaiterFirstLate;

impl Scenario for WaiterFirstLate {
    const NAME: &'static str = "ring_waiter_first_late";
    const COVERS: &'static [&'static str] = &["RC9", "RC14", "L2", "L3", "L4", "L7"];
    const REACHED: &'static [&'static str] = &["slept", "sleeps in the ring"];
    const PLAN: Plan = Plan::NONE.loom([Some(1), Some(2)]).search(Reach::ALIVE);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).owners(1).ring(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        batch_of_one(world, false);
    }
}

/// RC14, RC17, RC18, R23: issuer and reaper may both want the ring, for the same IO.
#[derive(Debug)]
pub struct BothWait;

impl Scenario for BothWait {
    const NAME: &'static str = "ring_both_wait";
    const COVERS: &'static [&'static str] =
        &["RC14", "RC15", "RC17", "RC18", "S1", "S2", "S7", "S8", "S14", "L2", "L4", "L7"];
    const REACHED: &'static [&'static str] = &["slept", "sleeps in the ring"];
    const PLAN: Plan = Plan::NONE.loom([Some(1), Some(1)]).search(Reach::ALIVE);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).owners(1).ring(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let reaper = reaper(world);
        let mut issuer = world.async_issuer(slot(OWNER));
        let handle = World::start_one(&mut issuer);
        // The kernel is late, the waiter later: a thread less.
        let waiter = world.spawn(Actor::new("kernel, then waiter", 1), 1, |world| {
            world.complete_in_order(slot(OWNER), 1);
            R::settled(0, &"waits");
            world.wait_as(1, io(0, 1));
        });
        World::async_settle("wait", &issuer);
        world.finish_one(&mut issuer, handle);
        R::settled(0, &"join");
        R::join(waiter);
        R::settled(0, &"dismiss");
        world.dismiss_reaper(slot(OWNER));
        R::join(reaper);
    }
}

/// B15, RC42: a poll by another process makes the reaper look; two polls later it is over.
#[derive(Debug)]
pub struct Polled;

impl Scenario for Polled {
    const NAME: &'static str = "ring_polled";
    const COVERS: &'static [&'static str] = &["RC42", "S7", "S10", "L2", "L6"];
    const REACHED: &'static [&'static str] = &["not over", "over"];
    const PLAN: Plan = Plan::NONE.search(Reach::ALIVE);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).owners(1).ring(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let (reaper, kernel) = (reaper(world), kernel(world, 1));
        let mut issuer = world.async_issuer(slot(OWNER));
        let handle = World::start_one(&mut issuer);
        let poller = world.spawn(Actor::new("poller", 1), 1, |world| {
            // Only a search may loop like this: it asks whether it can go on for ever.
            loop {
                R::settled(0, &"poll");
                let over = world.context(slot(1)).check_done(reference(io(0, 1)));
                R::settled(0, &("polled", over == Ok(true)));
                if over.expect("the reference is good") {
                    world.kernel.assert_seen(io(0, 1));
                    R::saw("over");
                    return;
                }
                R::saw("not over");
            }
        });
        World::async_settle("busy", &issuer);
        R::join(poller);
        end(world, &mut issuer, [handle], reaper);
        R::join(kernel);
    }
}

/// B15, RC42: the issuer polls, and nobody else reaps.
#[derive(Debug)]
pub struct OwnPoll;

impl Scenario for OwnPoll {
    const NAME: &'static str = "ring_own_poll";
    const COVERS: &'static [&'static str] = &["RC41", "RC42", "S10", "S14", "L6", "L7"];
    const REACHED: &'static [&'static str] = &["timed out", "not over", "over"];
    const PLAN: Plan = Plan::NONE.search(Reach::ALIVE);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).owners(1).ring(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let kernel = kernel(world, 1);
        let mut issuer = world.async_issuer(slot(OWNER));
        let handle = World::start_one(&mut issuer);
        World::async_settle("wait", &issuer);
        let waited = issuer.wait(reference(io(0, 1)), Some(0)).expect("the reference is good");
        if waited == Waited::TimedOut {
            R::saw("timed out");
        }
        loop {
            World::async_settle("poll", &issuer);
            let over = issuer.check_done(reference(io(0, 1))).expect("the reference is good");
            R::saw(if over { "over" } else { "not over" });
            World::async_settle(("polled", over), &issuer);
            if over {
                break;
            }
        }
        world.finish_one(&mut issuer, handle);
        R::join(kernel);
    }
}
