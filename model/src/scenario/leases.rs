//! Frames and their leases, passed from one process to the next.
//!
//! | scenario | a frame goes |
//! |---|---|
//! | [`Reused`] | from its owner, who frees it, to whoever takes it next |
//! | [`HandedOn`] | from its owner, who offers it, to whoever adopts it; a second try finds nothing |
//! | [`Recovered`] | from an IO of a dead process, through its recovery, to whoever takes it next |
//! | [`LeftBehind`] | from its owner, who detaches, to whoever takes it next |
//!
//! Asserted: S24 (who holds a lease sees the bytes that the one before left there, so the two never use the
//! frame at the same time; an offer is adopted once; what a process in flight has lent is not free).
//! Fails by an assertion: a read of a frame that is not ordered after its last write is a race.

use super::{Plan, Scenario};
use crate::runtime::{Actor, Runtime};
use crate::world::{self, How, Size, World, io, slot};
use handfast_core::lease::LeaseWord;
use handfast_core::platform::Field as _;
use handfast_core::protocol::{Shared as _, lease};
use std::sync::Arc;

/// The first lease's word.
fn word<R: Runtime>(world: &World<R>) -> &R::Atomic64 {
    world.words().lease(0).expect("the pool has a lease")
}

/// Takes the frame, if it is free, and judges its bytes.
fn take<R: Runtime>(world: &World<R>, me: u32, epoch: u32) -> Option<LeaseWord> {
    let taken = lease::take(word(world), slot(me), epoch)?;
    let bytes = world.kernel.frame(0);
    R::saw(if bytes.get() == 0 { "took it fresh" } else { "took it after another" });
    bytes.set(u64::from(me) + 1);
    Some(taken)
}

/// S24: freed, and taken again.
#[derive(Debug)]
pub struct Reused;

impl Scenario for Reused {
    const NAME: &'static str = "lease_reused";
    const COVERS: &'static [&'static str] = &["S24"];
    const REACHED: &'static [&'static str] = &["took it fresh", "took it after another", "in use"];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).leases(1))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let other = world.spawn(Actor::new("user 1", 1), 0, |world| use_it(world, 1));
        use_it(world, 0);
        R::join(other);
    }
}

fn use_it<R: Runtime>(world: &World<R>, me: u32) {
    let Some(owned) = take(world, me, 1) else { return R::saw("in use") };
    // To an IO and back; the IO itself is the state word's business.
    lease::lend(word(world), owned, io(me, 1));
    lease::take_back(word(world), owned);
    let mine = world.kernel.frame(0).get();
    assert_eq!(mine, u64::from(me) + 1, "S24: somebody else has used my frame");
    assert!(lease::free(word(world), owned), "S24: somebody else has taken my frame");
}

/// RC12, S24: a token is good for one adoption.
#[derive(Debug)]
pub struct HandedOn;

impl Scenario for HandedOn {
    const NAME: &'static str = "lease_handed_on";
    const COVERS: &'static [&'static str] = &["S24"];
    const REACHED: &'static [&'static str] = &["adopted", "adopted by another", "came early"];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3).leases(1))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let owned = take(world, 0, 1).expect("it is free");
        let token = owned.offered(77).expect("it is owned");
        let others = [1, 2].map(|number| {
            world.spawn(Actor::new("adopter", number), u64::from(number), move |world| {
                let Some(mine) = lease::adopt(word(world), token, slot(number), 1) else {
                    return R::saw("came early");
                };
                let bytes = world.kernel.frame(0);
                assert_eq!(bytes.get(), 100, "S24: the bytes that were offered are not seen");
                bytes.set(200);
                let word = LeaseWord::from_raw(mine.raw());
                assert!(word.is_owned_by(slot(number), 1), "S24: adopted by another");
                R::saw("adopted");
            })
        });
        world.kernel.frame(0).set(100);
        assert_eq!(lease::offer(word(world), owned, 77), Some(token), "S24: it was mine");
        others.into_iter().for_each(R::join);
        if lease::adopt(word(world), token, slot(0), 1).is_none() {
            R::saw("adopted by another");
        }
    }
}

/// S24, L10: a dead process had lent its frame to an IO that a worker still executes.
#[derive(Debug)]
pub struct Recovered;

impl Scenario for Recovered {
    const NAME: &'static str = "lease_recovered";
    const COVERS: &'static [&'static str] = &["RC40", "S24", "L10"];
    const REACHED: &'static [&'static str] = &["took it after another", "taken", "in use"];
    const PLAN: Plan = Plan::LOOM.loom([Some(2), Some(3)]);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3).leases(1))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        R::join(world.spawn(Actor::new("attach", 2), 0, |world| {
            let _attached = world.enter(slot(2), 1);
        }));
        let attached = world.enter(slot(0), 1);
        let mut issuer = world.issuer_at(slot(0), How::HandedOver, &attached.generations);
        let handle = issuer.acquire(0).expect("a handle is free");
        let owned = lease::take(word(world), slot(0), 1).expect("it is free");
        lease::lend(word(world), owned, io(0, 1));
        issuer.start(handle, &world::request(io(0, 1), false), &[]).expect("it is handed out");
        // The process is gone; its IO goes on in a worker, whose bytes go to the frame.
        world.exit(slot(0));
        let worker = world.spawn(Actor::new("worker", 2), 0, |world| {
            let claimed = world.context(slot(2)).claim(io(0, 1).0).expect("the handle exists");
            if claimed.is_some() {
                world.kernel.frame(0).set(9);
                assert!(world.complete(slot(2), io(0, 1)), "S1: nobody else completes it");
            }
            world.exit(slot(2));
        });
        let survivor = world.spawn(Actor::new("survivor", 1), 0, |world| {
            let _perhaps_unfinished = world.context(slot(1)).recover(slot(0));
        });
        let taken = take(world, 0, 2);
        R::saw(if taken.is_some() { "taken" } else { "in use" });
        R::join(survivor);
        R::join(worker);
        if taken.is_none() {
            let _perhaps_done_already = world.context(slot(1)).recover(slot(0));
            assert!(take(world, 0, 2).is_some(), "L10: the frame of a dead process is lost");
        }
    }
}

/// S24: what a process has not freed is free after its detach.
#[derive(Debug)]
pub struct LeftBehind;

impl Scenario for LeftBehind {
    const NAME: &'static str = "lease_left_behind";
    const COVERS: &'static [&'static str] = &["S24"];
    const REACHED: &'static [&'static str] = &["took it fresh", "took it after another"];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).leases(1))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let attached = world.enter(slot(0), 1);
        let issuer = world.issuer_at(slot(0), How::InPlace, &attached.generations);
        assert!(take(world, 0, attached.epoch).is_some(), "S24: nobody has it");
        world.detach(issuer);
        assert!(take(world, 1, 1).is_some(), "S24: a process that has left still has it");
    }
}
