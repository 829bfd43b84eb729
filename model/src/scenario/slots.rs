//! Two processes that own the same slot one after the other.
//!
//! | scenario | the first owner | beside them |
//! |---|---|---|
//! | [`Identity`] | attaches, detaches, issues nothing | a viewer of the process id |
//! | [`Reuse`] | attaches, executes an IO in place, detaches | a waiter with the first one's reference |
//! | [`ReuseAlone`] | the same | nobody: exhaustive |
//!
//! The second owner waits for the lock, which orders no memory, attaches and uses the handle. Asserted: S19
//! (every handle is idle, at the generation that the first owner left), S23 (witness), S9 (an active slot's
//! process id is that of its attachment), S10 and L4 (the waiter learns that the old IO is over, sees its
//! effects, and never waits for the new one). Fails by an assertion or a deadlock.

use super::{Plan, Scenario};
use crate::runtime::{Actor, Runtime};
use crate::world::{self, How, Size, World, io, reference, slot};
use handfast_core::platform::SlotLocks as _;
use handfast_core::protocol::wait::Waited;
use std::sync::Arc;

/// RC30: who is attached.
#[derive(Debug)]
pub struct Identity;

impl Scenario for Identity {
    const NAME: &'static str = "slot_identity";
    const COVERS: &'static [&'static str] = &["RC30", "S9", "S19"];
    const REACHED: &'static [&'static str] = &["active", "free"];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        assert!(world.kernel.try_lock(slot(0)), "S19: the slot's lock is held");
        let second = world.spawn(Actor::new("second owner", 2), 0, |world| {
            world.until_gone(slot(0));
            let _attached = world.enter(slot(0), 2);
        });
        let viewer = world.spawn(Actor::new("viewer", 1), 0, |world| {
            R::saw(if world.assert_pid(slot(0)) { "active" } else { "free" });
        });
        let attached = world.context(slot(0)).attach(world::pid(1));
        assert!(matches!(attached, Ok(Some(_))), "S19: a new slot cannot be attached to");
        world.issuer(slot(0), How::InPlace).detach().expect("S19: nothing is under way");
        world.kernel.unlock(slot(0));
        R::join(second);
        R::join(viewer);
    }
}

fn second_owner<R: Runtime>(world: &World<R>) {
    world.until_gone(slot(0));
    let attached = world.enter(slot(0), 2);
    assert_eq!(attached.generations, [io(0, 2).1], "S19: the newcomer sees an old handle");
    let mut issuer = world.issuer_at(slot(0), How::InPlace, &attached.generations);
    let handle = issuer.acquire(0).expect("a handle is free");
    issuer.start(handle, &world::request(io(0, 2), false), &[]).expect("it is handed out");
    assert!(issuer.book().check(), "S3: the newcomer owns nothing but its own IO");
}

/// RC30: the newcomer, a waiter of the old IO.
#[derive(Debug)]
pub struct Reuse;

impl Scenario for Reuse {
    const NAME: &'static str = "slot_reuse_waiter";
    const COVERS: &'static [&'static str] =
        &["RC29", "RC30", "S7", "S10", "S19", "S23", "L4", "L7"];
    const REACHED: &'static [&'static str] = &["done", "recycled", "slept", "woke a sleeper"];
    const PLAN: Plan = Plan::LOOM.loom([Some(2), Some(3)]);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let attached = world.enter(slot(0), 1);
        let mut issuer = world.issuer_at(slot(0), How::InPlace, &attached.generations);
        let handle = issuer.acquire(0).expect("a handle is free");
        let second = world.spawn(Actor::new("second owner", 2), 0, |world| second_owner(world));
        let waiter = world.spawn(Actor::new("waiter", 1), 0, |world| {
            let waited = world.context(slot(1)).wait(reference(io(0, 1)), None);
            world.kernel.assert_seen(io(0, 1));
            R::saw(match waited.expect("the reference is good") {
                Waited::Done => "done",
                Waited::Recycled => "recycled",
                Waited::TimedOut => panic!("L4: there was no deadline"),
            });
        });
        issuer.start(handle, &world::request(io(0, 1), false), &[]).expect("it is handed out");
        issuer.detach().expect("S19: everything is over");
        world.kernel.unlock(slot(0));
        R::join(second);
        R::join(waiter);
    }
}

/// RC30: the newcomer alone.
#[derive(Debug)]
pub struct ReuseAlone;

impl Scenario for ReuseAlone {
    const NAME: &'static str = "slot_reuse";
    const COVERS: &'static [&'static str] = &["RC30", "S3", "S19", "S23"];
    const REACHED: &'static [&'static str] = &[];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let attached = world.enter(slot(0), 1);
        let second = world.spawn(Actor::new("second owner", 2), 0, |world| second_owner(world));
        let mut issuer = world.issuer_at(slot(0), How::InPlace, &attached.generations);
        let handle = issuer.acquire(0).expect("a handle is free");
        issuer.start(handle, &world::request(io(0, 1), false), &[]).expect("it is handed out");
        issuer.detach().expect("S19: everything is over");
        world.kernel.unlock(slot(0));
        R::join(second);
    }
}
