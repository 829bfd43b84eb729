//! Processes that die at each of their accesses, and a survivor that recovers them.
//!
//! | scenario | who dies | when |
//! |---|---|---|
//! | [`Issuer`] | an issuer that executes in place, with callbacks | at each access |
//! | [`StagedIssuer`] | an issuer with callbacks and an open batch | with its IO staged |
//! | [`IssuerWaiter`] | the same, without callbacks, while a foreign waiter waits | at each access |
//! | [`RefusedIssuer`] | an issuer whose stage callback refuses | at each access |
//! | [`OpenIssuer`] | an issuer of an IO that a worker may claim, while a worker tries to | at each access |
//! | [`Worker`] | a worker that claims, executes, completes | at each access; its issuer waits |
//!
//! The slot locks order no memory: what the survivor, slot 1, knows of the dead it knows by the words. Asserted:
//! S1 (callbacks once, or told that it is a repeat), S4 (the recoverer sees the request), S19 and L10 (the slot
//! can be attached to again, its handle be used), L9 (waiters return; a wait for an IO that was never
//! handed out is refused). Fails by an assertion, or by a deadlock for a waiter that is forgotten.

use super::{Plan, Reach, Scenario};
use crate::runtime::{Actor, Runtime};
use crate::world::{self, How, Size, World, io, reference, slot};
use handfast_core::protocol::Error;
use handfast_core::protocol::recover::Recovered;
use handfast_core::protocol::wait::Waited;
use std::sync::Arc;

const ONE_DEATH: Reach = Reach { deaths: 1, ..Reach::ALIVE };

/// What an issuer does with its life, as slot 0, attached before.
pub(super) fn live<R: Runtime, const WAITER_IS_TOLD: bool>(
    world: &Arc<World<R>>,
    how: How,
    callbacks: bool,
) {
    let mut issuer = world.issuer(slot(0), how);
    let handle = issuer.acquire(0).expect("a handle is free");
    let this = (handle.id, handle.generation);
    if WAITER_IS_TOLD {
        world.kernel.tell(slot(2), this);
    }
    world::start(&mut issuer, handle, callbacks);
    if how == How::InPlace {
        issuer.finish(handle).expect("it was started");
    }
    world.exit(slot(0));
    R::saw("lived");
}

/// What the survivor does for slot 0.
pub(super) fn recover<R: Runtime>(world: &World<R>) {
    world.until_gone(slot(0));
    world.recover(slot(1), slot(0));
}

/// The next life of slot 0: the handle is idle, and can be used.
pub(super) fn live_again<R: Runtime>(world: &Arc<World<R>>) {
    let attached = world.enter(slot(0), 2);
    let mut issuer = world.issuer_at(slot(0), How::InPlace, &attached.generations);
    let handle = issuer.acquire(0).expect("a handle is free");
    let this = (handle.id, handle.generation);
    issuer.start(handle, &world::request(this, false), &[]).expect("it is handed out");
    issuer.finish(handle).expect("it was started");
    let outcome = issuer.method().outcome(handle);
    assert_eq!(outcome, Some(world::final_outcome(this, false)), "L10: the slot is not as new");
}

/// Waits as slot 2 for the first IO of slot 0, once it was told of it. Its issuer may have died before it
/// was handed out: then it was told by the survivor.
fn wait<R: Runtime>(world: &World<R>) {
    let this = world.kernel.told(slot(2));
    R::saw(match world.context(slot(2)).wait(reference(this), None) {
        Ok(Waited::Done) => "done",
        Ok(Waited::Recycled) => "recycled",
        Err(Error::NoSuchIo(_)) => "never handed out",
        Ok(Waited::TimedOut) => panic!("L9: there was no deadline"),
        Err(error) => panic!("L9: {error}"),
    });
}

/// RC40, RC39: the issuer dies in every state.
#[derive(Debug)]
pub struct Issuer;

impl Scenario for Issuer {
    const NAME: &'static str = "dead_issuer";
    const COVERS: &'static [&'static str] = &["RC39", "RC40", "S1", "S4", "S19", "S25", "L10"];
    const REACHED: &'static [&'static str] = &["lived", "repeated"];
    const VARIANTS: usize = 32;
    const PLAN: Plan = Plan::NONE.loom([None, None]).search(ONE_DEATH);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let _attached = world.enter(slot(0), 1);
        let issuer = world.spawn(Actor::new("issuer", 0).mortal(), 0, |world| {
            live::<R, false>(world, How::InPlace, true);
        });
        let survivor = world.spawn(Actor::new("survivor", 1), 0, |world| recover(world));
        R::join(issuer);
        R::join(survivor);
        live_again(world);
    }
}

/// RC28, RC40: the process ends with a batch open, and its staged IO is given up by the survivor.
#[derive(Debug)]
pub struct StagedIssuer;

impl Scenario for StagedIssuer {
    const NAME: &'static str = "dead_staged_issuer";
    const COVERS: &'static [&'static str] = &["RC28", "RC29", "RC40", "S1", "S4", "S19", "L10"];
    const REACHED: &'static [&'static str] = &["shared callback"];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        let mut world = World::new(Size::slots(2));
        world.app.staging_is_whole();
        world
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let _attached = world.enter(slot(0), 1);
        let issuer = world.spawn(Actor::new("issuer", 0), 0, |world| {
            let mut issuer = world.issuer(slot(0), How::InPlace);
            issuer.enter_batch();
            let handle = issuer.acquire(0).expect("a handle is free");
            world::start(&mut issuer, handle, true);
            world.exit(slot(0));
        });
        recover(world);
        R::join(issuer);
    }
}

/// RC40: the same with a foreign waiter.
#[derive(Debug)]
pub struct IssuerWaiter;

impl Scenario for IssuerWaiter {
    const NAME: &'static str = "dead_issuer_waiter";
    const COVERS: &'static [&'static str] = &["RC40", "S25", "L9", "L10"];
    const REACHED: &'static [&'static str] =
        &["lived", "done", "recycled", "never handed out", "slept", "woke a sleeper"];
    const VARIANTS: usize = 24;
    const PLAN: Plan = Plan::NONE.loom([Some(1), Some(2)]).search(ONE_DEATH);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let _attached = world.enter(slot(0), 1);
        let issuer = world.spawn(Actor::new("issuer", 0).mortal(), 0, |world| {
            live::<R, true>(world, How::InPlace, false);
        });
        let survivor = world.spawn(Actor::new("survivor", 1), 0, |world| {
            world.until_gone(slot(0));
            // Unless the waiter is at it: it looks who lives when its slice is over.
            let _by_whom = world.context(slot(1)).recover(slot(0));
            world.kernel.tell(slot(2), io(0, 1));
        });
        let waiter = world.spawn(Actor::new("waiter", 2), 0, |world| wait(world));
        R::join(issuer);
        R::join(survivor);
        R::join(waiter);
        live_again(world);
    }
}

/// RC20, RC40: the issuer dies while it abandons an IO.
#[derive(Debug)]
pub struct RefusedIssuer;

impl Scenario for RefusedIssuer {
    const NAME: &'static str = "dead_refused_issuer";
    const COVERS: &'static [&'static str] = &["RC20", "RC39", "RC40", "S1", "S4", "L10"];
    const REACHED: &'static [&'static str] = &["lived", "repeated"];
    const VARIANTS: usize = 32;
    const PLAN: Plan = Plan::NONE.loom([None, None]).search(ONE_DEATH);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::refusing(Size::slots(2), 1)
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        Issuer::run(world);
    }
}

/// RC40: the issuer of an IO dies, a worker claims it or the recoverer does.
#[derive(Debug)]
pub struct OpenIssuer;

impl Scenario for OpenIssuer {
    const NAME: &'static str = "dead_open_issuer";
    const COVERS: &'static [&'static str] = &["RC18", "RC40", "S1", "S4", "S24", "L10"];
    const REACHED: &'static [&'static str] =
        &["lived", "claimed", "nothing to claim", "unfinished", "recovered"];
    const VARIANTS: usize = 20;
    const PLAN: Plan = Plan::NONE.loom([Some(1), Some(2)]).search(ONE_DEATH);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let _attached = world.enter(slot(0), 1);
        assert!(world.context(slot(2)).slot_word(slot(2)).is_some());
        let issuer = world.spawn(Actor::new("issuer", 0).mortal(), 0, |world| {
            live::<R, false>(world, How::HandedOver, true);
        });
        let worker = world.spawn(Actor::new("worker", 2), 0, |world| {
            // It lives: its lock is held as long as it may hold a claim.
            let _attached = world.enter(slot(2), 1);
            let claimed = world.context(slot(2)).claim(io(0, 1).0).expect("the handle exists");
            if let Some(claimed) = claimed {
                let expected = Some(world::request(io(0, 1), true));
                assert_eq!(claimed.request, expected, "S4: the executor sees another request");
                assert!(world.complete(slot(2), io(0, 1)), "S1: completed by another");
            }
            R::saw(if claimed.is_some() { "claimed" } else { "nothing to claim" });
        });
        let survivor = world.spawn(Actor::new("survivor", 1), 0, |world| {
            world.until_gone(slot(0));
            let recovered = world.context(slot(1)).recover(slot(0));
            R::saw(match recovered {
                Recovered::Complete => "recovered",
                Recovered::Unfinished => "unfinished",
                Recovered::NothingToDo => panic!("L10: the dead slot is not seen"),
            });
        });
        R::join(issuer);
        R::join(survivor);
        R::join(worker);
        live_again(world);
    }
}

/// RC35, RC39: a worker dies with a claim, or in the middle of a completion.
#[derive(Debug)]
pub struct Worker;

impl Scenario for Worker {
    const NAME: &'static str = "dead_worker";
    const COVERS: &'static [&'static str] = &["RC35", "RC39", "S1", "S4", "S25", "L2", "L9"];
    const REACHED: &'static [&'static str] =
        &["lived", "repeated", "slept", "woke a sleeper", "claimed after the death"];
    const VARIANTS: usize = 32;
    const PLAN: Plan = Plan::NONE.loom([Some(1), Some(2)]).search(ONE_DEATH);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        R::join(world.spawn(Actor::new("attach", 2), 0, |world| {
            let _attached = world.enter(slot(2), 1);
        }));
        let mut issuer = world.issuer(slot(0), How::HandedOver);
        let handle = issuer.acquire(0).expect("a handle is free");
        world::start(&mut issuer, handle, true);
        let worker = world.spawn(Actor::new("worker", 2).mortal(), 0, |world| {
            execute(world, 2);
            world.exit(slot(2));
            R::saw("lived");
        });
        let survivor = world.spawn(Actor::new("survivor", 1), 0, |world| {
            world.until_gone(slot(2));
            // Unless the issuer is at it: it looks who lives when its slice is over. Then this waits for
            // the lock to be free again.
            let _by_whom = world.context(slot(1)).recover(slot(2));
            world.until_gone(slot(2));
            if execute(world, 1) {
                R::saw("claimed after the death");
            }
        });
        issuer.finish(handle).expect("it was started");
        let outcome = issuer.method().outcome(handle);
        let expected = Some(world::final_outcome(io(0, 1), true));
        assert_eq!(outcome, expected, "S14: the issuer does not learn the true result");
        world.app.assert_seen(io(0, 1));
        R::join(worker);
        R::join(survivor);
        let left = world.context(slot(1)).recover(slot(2));
        assert_ne!(left, Recovered::Unfinished, "L10: the slot of the dead is lost");
    }
}

/// Claims and executes what there is; whether there was something.
pub(super) fn execute<R: Runtime>(world: &World<R>, me: u32) -> bool {
    let claimed = world.context(slot(me)).claim(io(0, 1).0).expect("the handle exists");
    if claimed.is_some() {
        assert!(world.complete(slot(me), io(0, 1)), "S1: completed by another");
    }
    claimed.is_some()
}
