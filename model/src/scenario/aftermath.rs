//! What others do about a death by themselves: who waits, who takes the slot, who has part of the result.
//!
//! | scenario | who dies at each access | who notices |
//! |---|---|---|
//! | [`ProbedIssuer`] | an issuer that executes in place | a waiter, at the end of its time |
//! | [`ProbedWorker`] | a worker that has claimed the IO | a waiter, at the end of its time |
//! | [`Newcomer`] | an issuer that executes in place | the next process in its slot |
//! | [`Ring`] | nobody: an issuer leaves with IO in its queue | a survivor; a waiter learns the true result |
//! | [`OpenWorker`] | a worker that has claimed the IO of a dead issuer | a survivor of both |
//! | [`Leases`] | a survivor that recovers a process with a lease | another survivor |
//!
//! Asserted: L9 (after its probe the waiter's IO is over, or nobody dead has it), S19 and L10 (the newcomer finds
//! every handle idle; no lease is lost), S14 (a result that the kernel had is the true one).
//! Fails by an assertion, or by a deadlock.

use super::death::{execute, live, live_again, recover};
use super::{Plan, Reach, Scenario};
use crate::runtime::{Actor, Runtime};
use crate::world::{self, How, Size, World, io, reference, slot};
use handfast_core::outcome::Outcome;
use handfast_core::platform::Atomic64 as _;
use handfast_core::protocol::recover::Recovered;
use handfast_core::protocol::wait::Waited;
use handfast_core::protocol::{Callbacks, Error, Io, Shared as _, StageRefused, lease};
use handfast_core::request::CallbackId;
use handfast_core::site::Site;
use handfast_core::state::State;
use std::sync::Arc;

const ONE_DEATH: Reach = Reach { deaths: 1, ..Reach::ALIVE };

/// L9: a waiter whose time is over at once has looked for a death all the same.
#[derive(Debug)]
pub struct ProbedIssuer;

impl Scenario for ProbedIssuer {
    const NAME: &'static str = "dead_issuer_probe";
    const COVERS: &'static [&'static str] = &["RC40", "RC41", "L9", "L10"];
    const REACHED: &'static [&'static str] = &["died", "lived", "over", "never handed out"];
    const VARIANTS: usize = 24;
    const PLAN: Plan = Plan::NONE.loom([Some(2), Some(3)]).search(ONE_DEATH);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let _attached = world.enter(slot(0), 1);
        let issuer = world.spawn(Actor::new("issuer", 0).mortal(), 0, |world| {
            live::<R, false>(world, How::InPlace, false);
        });
        let waiter = world.spawn(Actor::new("waiter", 1), 0, |world| {
            world.until_gone(slot(0));
            R::saw(match world.context(slot(1)).wait(reference(io(0, 1)), Some(0)) {
                Ok(Waited::Done | Waited::Recycled) => "over",
                Err(Error::NoSuchIo(_)) => "never handed out",
                other => panic!("L9: the IO of a dead process goes on: {other:?}"),
            });
        });
        R::join(issuer);
        R::join(waiter);
    }
}

/// L9, RC35: the same for a dead completer.
#[derive(Debug)]
pub struct ProbedWorker;

impl Scenario for ProbedWorker {
    const NAME: &'static str = "dead_worker_probe";
    const COVERS: &'static [&'static str] = &["RC35", "RC39", "RC41", "S1", "L2", "L9"];
    const REACHED: &'static [&'static str] = &["died", "lived", "over", "taken back"];
    const VARIANTS: usize = 24;
    const PLAN: Plan = Plan::NONE.loom([Some(2), Some(3)]).search(ONE_DEATH);
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
        let waiter = world.spawn(Actor::new("waiter", 1), 0, |world| {
            world.until_gone(slot(2));
            let waited = world.context(slot(1)).wait(reference(io(0, 1)), Some(0));
            if waited.expect("the reference is good") != Waited::TimedOut {
                return R::saw("over");
            }
            let view = world.context(slot(1)).view(io(0, 1).0).expect("the handle exists");
            let its = view.word.completer() == Some(slot(2));
            assert!(!its || view.word.state().is_over(), "L9: a dead process still has the IO");
            assert_eq!(view.word.state(), State::Submitted, "L9: nobody completes it");
            assert!(execute(world, 1), "L2: nobody can execute it");
            R::saw("taken back");
        });
        R::join(worker);
        R::join(waiter);
        issuer.finish(handle).expect("it was started");
        let outcome = issuer.method().outcome(handle);
        assert_eq!(outcome, Some(world::final_outcome(io(0, 1), true)), "S14: not the true result");
    }
}

/// RC30, RC40: the next process takes the slot of the dead one.
#[derive(Debug)]
pub struct Newcomer;

impl Scenario for Newcomer {
    const NAME: &'static str = "dead_issuer_newcomer";
    const COVERS: &'static [&'static str] = &["RC30", "RC40", "S19", "S23", "L10"];
    const REACHED: &'static [&'static str] = &["died", "lived"];
    const VARIANTS: usize = 24;
    const PLAN: Plan = Plan::NONE.loom([None, None]).search(ONE_DEATH);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let _attached = world.enter(slot(0), 1);
        let issuer = world.spawn(Actor::new("issuer", 0).mortal(), 0, |world| {
            live::<R, false>(world, How::InPlace, false);
        });
        // What the dead one stored and never published is over with it: a real lock orders that much.
        R::join(issuer);
        live_again(world);
    }
}

/// RC40: what the dead one's queue holds.
#[derive(Debug)]
pub struct Ring;

impl Scenario for Ring {
    const NAME: &'static str = "dead_ring";
    const COVERS: &'static [&'static str] = &["RC40", "S8", "S14", "L9", "L10"];
    const REACHED: &'static [&'static str] = &["true result", "result gone"];
    const PLAN: Plan = Plan::LOOM.loom([Some(2), Some(3)]);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3).draining())
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let _attached = world.enter(slot(0), 1);
        live::<R, false>(world, How::Ring, false);
        let survivor = world.spawn(Actor::new("survivor", 1), 0, |world| recover(world));
        let waiter = world.spawn(Actor::new("waiter", 2), 0, |world| {
            let context = world.context(slot(2));
            let waited = context.wait(reference(io(0, 1)), None);
            assert_ne!(waited, Ok(Waited::TimedOut), "L9: there was no deadline");
            let outcome = context.foreign_outcome(reference(io(0, 1))).expect("it is good");
            let expected = world::shared_outcome(io(0, 1), false);
            assert!(
                outcome.is_none_or(|it| it == expected),
                "S14: not the true result: {outcome:?}"
            );
            R::saw(if outcome.is_some() { "true result" } else { "result gone" });
        });
        R::join(survivor);
        R::join(waiter);
    }
}

/// L10, S24, S25: a recoverer dies before or after it has freed what the dead one held.
#[derive(Debug)]
pub struct Leases;

impl Scenario for Leases {
    const NAME: &'static str = "dead_recoverer_lease";
    const COVERS: &'static [&'static str] = &["RC40", "S24", "S25", "L10"];
    const REACHED: &'static [&'static str] = &["died", "lived"];
    const VARIANTS: usize = 40;
    const PLAN: Plan = Plan::NONE.loom([Some(2), None]).search(ONE_DEATH);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3).leases(1))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let _attached = world.enter(slot(0), 1);
        let word = world.words().lease(0).expect("the pool has a lease");
        let _owned = lease::take(word, slot(0), 1).expect("it is free");
        world.exit(slot(0));
        R::join(world.spawn(Actor::new("attach", 1), 0, |world| {
            let _attached = world.enter(slot(1), 1);
        }));
        let first = world.spawn(Actor::new("first survivor", 1).mortal(), 0, |world| {
            let _the_other_one_finishes = world.context(slot(1)).recover(slot(0));
            world.exit(slot(1));
            R::saw("lived");
        });
        let second = world.spawn(Actor::new("second survivor", 2), 0, |world| {
            world.until_gone(slot(1));
            world.recover(slot(2), slot(1));
            let _whoever_was_first = world.context(slot(2)).recover(slot(0));
            let word = world.words().lease(0).expect("the pool has a lease");
            assert!(lease::take(word, slot(2), 1).is_some(), "L10: a lease of the dead is lost");
            word.load(Site::LeaseLook);
        });
        R::join(first);
        R::join(second);
    }
}

/// Callbacks that want to be told the result of whoever executed the IO, also when they are repeated.
#[derive(Debug)]
pub struct Told;

impl<R: Runtime> Callbacks<R> for Told {
    fn stage(&self, _id: CallbackId, _io: &Io<'_, R>) -> Result<(), StageRefused> {
        Ok(())
    }

    fn complete_shared(&self, _id: CallbackId, io: &Io<'_, R>, prior: Outcome) -> Outcome {
        if io.repeat {
            let executed = world::raw_of((io.handle, io.generation));
            assert_eq!(
                io.raw, executed,
                "S14: taken over with a result that is not the completer's"
            );
            R::saw("repeated");
        }
        prior
    }

    fn complete_local(&self, _id: CallbackId, _io: &Io<'_, R>, prior: Outcome) -> Outcome {
        prior
    }
}

/// RC35, RC39, RC40: owner and completer are dead, and the recoverer of the one meets the other.
#[derive(Debug)]
pub struct OpenWorker;

impl Scenario for OpenWorker {
    const NAME: &'static str = "dead_open_worker";
    const COVERS: &'static [&'static str] = &["RC35", "RC39", "RC40", "S1", "S14", "S25", "L10"];
    const REACHED: &'static [&'static str] =
        &["died", "lived", "repeated", "unfinished", "recovered at once"];
    const VARIANTS: usize = 16;
    const PLAN: Plan = Plan::NONE.loom([Some(2), Some(3)]).search(ONE_DEATH);
    type World<R: Runtime> = World<R, Told>;

    fn world<R: Runtime>() -> Self::World<R> {
        World::with(Size::slots(3), Told)
    }

    fn run<R: Runtime>(world: &Arc<Self::World<R>>) {
        R::join(world.spawn(Actor::new("attach", 2), 0, |world| {
            let _attached = world.enter(slot(2), 1);
        }));
        let attached = world.enter(slot(0), 1);
        let mut issuer = world.issuer_at(slot(0), How::HandedOver, &attached.generations);
        let handle = issuer.acquire(0).expect("a handle is free");
        issuer.start(handle, &world::request(io(0, 1), true), &[]).expect("it is handed out");
        world.exit(slot(0));
        let worker = world.spawn(Actor::new("worker", 2).mortal(), 0, |world| {
            let claimed = world.context(slot(2)).claim(io(0, 1).0).expect("the handle exists");
            if claimed.is_some() {
                assert!(world.complete(slot(2), io(0, 1)), "S1: completed by another");
            }
            world.exit(slot(2));
            R::saw("lived");
        });
        let survivor = world.spawn(Actor::new("survivor", 1), 0, |world| {
            let context = world.context(slot(1));
            let at_once = context.recover(slot(0)) == Recovered::Complete;
            R::saw(if at_once { "recovered at once" } else { "unfinished" });
            world.until_gone(slot(2));
            let _of_the_worker = context.recover(slot(2));
            let left = context.recover(slot(0));
            assert_ne!(left, Recovered::Unfinished, "L10: nobody alive has any of it");
        });
        R::join(worker);
        R::join(survivor);
    }
}
