//! Executors that claim what an issuer has started.
//!
//! | scenario | actors |
//! |---|---|
//! | [`Claim`] | an issuer; a worker that claims at a glance |
//! | [`TwoClaims`] | an issuer; two workers that want the same IO |
//! | [`ClaimInPlace`] | an issuer that executes in place; a worker that tries to claim |
//!
//! The worker hears of an IO by a glance that orders nothing, so that what it knows of the request has come
//! over the state word alone. Asserted: S1 (one of them wins, a second completion has no effect), S4
//! (the request of the claim is the one that was started), S14, RC43 and RC44 (a handle that was started
//! takes no data and is not given back). Fails by an assertion or, if nobody completes it, by a deadlock.

use super::{Plan, Scenario};
use crate::mailbox::IoId;
use crate::runtime::{Actor, Runtime};
use crate::world::{self, How, SimulatedIssuer, Size, World, io, reference, slot};
use handfast_core::protocol::{Error, HandedOut};
use handfast_core::state::Role;
use std::sync::Arc;

/// RC18: a claim against the issuer's start and wait.
#[derive(Debug)]
pub struct Claim;

impl Scenario for Claim {
    const NAME: &'static str = "worker_claim";
    const COVERS: &'static [&'static str] = &["RC1", "RC18", "RC43", "RC44", "S1", "S2", "S4"];
    const REACHED: &'static [&'static str] =
        &["claimed at a glance", "came early", "over at once", "claimed afterwards"];
    const REACHED_BY_WEAKNESS: &'static [&'static str] = &["glanced in vain"];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let mut issuer = world.issuer(slot(0), How::HandedOver);
        let handle = issuer.acquire(0).expect("a handle is free");
        let worker = world.spawn(Actor::new("worker", 1), 0, |world| {
            R::saw(match world.kernel.mailbox.glance() {
                Some(seen) if claim(world, seen) => "claimed at a glance",
                Some(_) => "glanced in vain",
                None => "came early",
            });
        });
        issuer.start(handle, &world::request(io(0, 1), false), &[]).expect("it is handed out");
        refuses_what_comes_late(&mut issuer, handle);
        let over = issuer.check_done(reference(io(0, 1))).expect("the reference is good");
        R::saw(if over { "over at once" } else { "not over" });
        R::join(worker);
        if !over && claim(world, io(0, 1)) {
            R::saw("claimed afterwards");
        }
        issuer.finish(handle).expect("it was started");
        let outcome = issuer.method().outcome(handle);
        assert_eq!(outcome, Some(world::final_outcome(io(0, 1), false)), "S14: another result");
    }
}

/// RC43, RC44: the token of a handle that was started is good for nothing but waiting.
fn refuses_what_comes_late<R: Runtime>(issuer: &mut SimulatedIssuer<'_, R>, handle: HandedOut) {
    let refused = Err(Error::NotHandedOut(handle.id));
    assert_eq!(issuer.set_data(handle, &[1]), refused, "S4: data after the start");
    assert_eq!(issuer.release(handle), refused, "S2: a release after the start");
    let request = world::request(io(0, 9), false);
    assert_eq!(issuer.start(handle, &request, &[]), refused, "S4: a second start");
}

/// Claims an IO, executes and completes it; whether the claim was won.
fn claim<R: Runtime>(world: &World<R>, this: IoId) -> bool {
    let context = world.context(slot(1));
    let Some(claimed) = context.claim(this.0).expect("the handle exists") else { return false };
    assert_eq!((claimed.id, claimed.generation), this, "S1: the claim is of another IO");
    let expected = Some(world::request(this, false));
    assert_eq!(claimed.request, expected, "S4: the executor sees another request");
    assert!(world.complete(slot(1), this), "S1: somebody else completed a claimed IO");
    let again = context.complete(this, world::raw_of(this), Role::Completer(slot(1)));
    assert_eq!(again, Ok(false), "S1: completed twice");
    true
}

/// RC18, RC36: of two workers one executes it.
#[derive(Debug)]
pub struct TwoClaims;

impl Scenario for TwoClaims {
    const NAME: &'static str = "worker_two_claims";
    const COVERS: &'static [&'static str] = &["RC18", "RC36", "S1"];
    const REACHED: &'static [&'static str] = &["claimed", "too late"];
    const PLAN: Plan = Plan::LOOM.loom([Some(2), Some(3)]);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let mut issuer = world.issuer(slot(0), How::HandedOver);
        let handle = issuer.acquire(0).expect("a handle is free");
        issuer.start(handle, &world::request(io(0, 1), false), &[]).expect("it is handed out");
        let workers = [1, 2].map(|number| {
            world.spawn(Actor::new("worker", number), u64::from(number), move |world| {
                let me = slot(number);
                let claimed = world.context(me).claim(io(0, 1).0).expect("the handle exists");
                if claimed.is_some() {
                    assert!(world.complete(me, io(0, 1)), "S1: another completed what I claimed");
                }
                R::saw(if claimed.is_some() { "claimed" } else { "too late" });
            })
        });
        issuer.finish(handle).expect("it was started");
        let outcome = issuer.method().outcome(handle);
        assert_eq!(outcome, Some(world::final_outcome(io(0, 1), false)), "S14: another result");
        workers.into_iter().for_each(R::join);
    }
}

/// RC13, RC18: an IO that its issuer executes in place is nobody else's.
#[derive(Debug)]
pub struct ClaimInPlace;

impl Scenario for ClaimInPlace {
    const NAME: &'static str = "worker_claim_in_place";
    const COVERS: &'static [&'static str] = &["RC13", "RC18", "S1", "S2"];
    const REACHED: &'static [&'static str] = &["not mine"];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let mut issuer = world.issuer(slot(0), How::InPlace);
        let handle = issuer.acquire(0).expect("a handle is free");
        let worker = world.spawn(Actor::new("worker", 1), 0, |world| {
            let claimed = world.context(slot(1)).claim(io(0, 1).0).expect("the handle exists");
            assert_eq!(claimed, None, "S1: claimed what the issuer executes in place");
            R::saw("not mine");
        });
        world::start(&mut issuer, handle, true);
        issuer.finish(handle).expect("it was started");
        R::join(worker);
    }
}
