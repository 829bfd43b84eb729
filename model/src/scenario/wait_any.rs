//! Waiting for whichever of several IOs is over first.
//!
//! | scenario | the waiter | what ends |
//! |---|---|---|
//! | [`WaitsForTwo`] | waits for two issuers' IOs, then for the other one | one of them; the other one when it was told |
//! | [`AtOnce`] | the same | both, at any time |
//! | [`InTime`] | the same with a deadline; asks for none, for too many | one of them, or none before the deadline |
//! | [`Late`] | an issuer with an IO of its own staged, whose time is over before it begins | one of both before, the other at any time |
//! | [`OwnAndForeign`] | an issuer, for its own IO in its ring and a foreign one; it has a reaper | as [`WaitsForTwo`] |
//! | [`IssuerDies`] | waits for a dead issuer's IO and for one that does not end | the dead one's, by the waiter's recovery |
//!
//! Asserted: L4 (it returns as soon as one is over: nothing else ends, and without a death no slice does), S7
//! (what it is told to be over is), L9. Nothing is left of a sleep on several counts: the wait for one of them
//! after it is woken, too. Fails by an assertion or a deadlock.

use super::ring::reaper;
use super::worker_deaths::clear_up;
use super::{Plan, Reach, Scenario};
use crate::mailbox::IoId;
use crate::runtime::{Actor, Runtime};
use crate::world::{self, How, SimulatedIssuer, Size, World, io, reference, slot};
use handfast_core::ids::WaitRef;
use handfast_core::platform::EventCount as _;
use handfast_core::protocol::{Error, HandedOut};
use std::sync::Arc;

/// The first IOs of the first two handles.
const BOTH: [IoId; 2] = [io(0, 1), io(1, 1)];
/// The same, for a wait.
const REFERENCES: [WaitRef; 2] = [reference(io(0, 1)), reference(io(1, 1))];
/// Which was over first, for the outcomes.
const FIRST: [&str; 2] = ["the first one", "the second one"];
/// The slot of the waiter, and of nobody's IO.
const WAITER: u32 = 2;

/// Starts an IO of its own in slots 0 and 1.
fn issue<R: Runtime>(world: &World<R>) -> [(SimulatedIssuer<'_, R>, HandedOut); 2] {
    [0, 1].map(|number| {
        let mut issuer = world.issuer(slot(number), How::HandedOver);
        let handle = issuer.acquire(0).expect("a handle is free");
        let this = io(number, 1);
        issuer.start(handle, &world::request(this, false), &[]).expect("it is handed out");
        (issuer, handle)
    })
}

/// Completes one of them, as its owner's process.
fn complete<R: Runtime>(world: &World<R>, which: usize) {
    let owner = slot(BOTH[which].0.0);
    assert!(world.complete(owner, BOTH[which]), "S1: nobody else completes it");
}

/// Waits for one of both; tells main which it was; waits for the other one.
fn wait<R: Runtime>(world: &World<R>, deadline_ns: Option<u64>) {
    let context = world.context(slot(WAITER));
    let first = context.wait_any(&REFERENCES, deadline_ns).expect("the references are good");
    if let Some((which, _over)) = first {
        world.kernel.assert_seen(BOTH[which]);
        R::saw(FIRST[which]);
        world.kernel.tell(slot(0), BOTH[which]);
    } else {
        assert!(deadline_ns.is_some(), "L4: there was no deadline");
        R::saw("timed out");
        world.kernel.tell(slot(0), io(9, 1));
    }
    for which in [0, 1].into_iter().filter(|&which| first.is_none_or(|(it, _)| it != which)) {
        R::settled(0, &("the other", which, first.is_none()));
        let waited = context.wait(REFERENCES[which], None);
        waited.map(drop).expect("the reference is good");
        world.kernel.assert_seen(BOTH[which]);
    }
}

/// Main issues both and ends one; when the waiter has returned, the other one.
fn one_after_the_other<R: Runtime>(world: &Arc<World<R>>, deadline_ns: Option<u64>) {
    let issuers = issue(world);
    let waiter = world.spawn(Actor::new("waiter", WAITER), 0, move |world| {
        wait(world, deadline_ns);
    });
    let chosen = R::choose(2);
    if deadline_ns.is_none() || R::choose(2) == 0 {
        complete(world, chosen);
        let first = world.kernel.told(slot(0));
        let over = first == BOTH[chosen] || deadline_ns.is_some();
        assert!(over, "L4: {first:?} is not over");
        complete(world, 1 - chosen);
    } else {
        assert_eq!(world.kernel.told(slot(0)), io(9, 1), "L4: none is over");
        [0, 1].into_iter().for_each(|which| complete(world, which));
    }
    R::join(waiter);
    for (mut issuer, handle) in issuers {
        issuer.finish(handle).expect("it was started");
    }
}

/// RC7: a wake-up of either count that is lost is not made up for by the other one's.
#[derive(Debug)]
pub struct WaitsForTwo;

impl Scenario for WaitsForTwo {
    const NAME: &'static str = "waits_for_two";
    const COVERS: &'static [&'static str] = &["RC1", "RC5", "RC7", "S7", "L4"];
    const REACHED: &'static [&'static str] =
        &["the first one", "the second one", "slept", "ticket was old", "woke a sleeper"];
    const VARIANTS: usize = 2;
    const PLAN: Plan = Plan::LOOM.loom([Some(3), Some(4)]);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3).owners(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        one_after_the_other(world, None);
    }
}

/// RC7, RC8: what is posted for while the waiter falls asleep on the other one, or is about to wake.
#[derive(Debug)]
pub struct AtOnce;

impl Scenario for AtOnce {
    const NAME: &'static str = "waits_for_two_at_once";
    const COVERS: &'static [&'static str] = &["RC5", "RC7", "RC8", "S7", "L4"];
    const REACHED: &'static [&'static str] = WaitsForTwo::REACHED;
    const PLAN: Plan = Plan::NONE.loom([Some(2), Some(3)]).search(Reach::SPURIOUS);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3).owners(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let issuers = issue(world);
        let waiter = world.spawn(Actor::new("waiter", WAITER), 0, |world| wait(world, None));
        let second = world.spawn(Actor::new("completer", 1), 0, |world| complete(world, 1));
        complete(world, 0);
        let _either = world.kernel.told(slot(0));
        R::join(second);
        R::join(waiter);
        for (mut issuer, handle) in issuers {
            issuer.finish(handle).expect("it was started");
        }
    }
}

/// RC41: none of them is over in time.
#[derive(Debug)]
pub struct InTime;

impl Scenario for InTime {
    const NAME: &'static str = "waits_for_two_in_time";
    const COVERS: &'static [&'static str] = &["RC41", "S7", "L4", "L7"];
    const REACHED: &'static [&'static str] =
        &["the first one", "the second one", "timed out", "slept", "slice over"];
    const PLAN: Plan = Plan::NONE.search(Reach::ALIVE);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3).owners(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let (most, context) = (R::EventCount::MOST, world.context(slot(WAITER)));
        for given in [0, most + 1] {
            let many = vec![REFERENCES[0]; given];
            let refused = Err(Error::NotSoMany { given, most });
            assert_eq!(context.wait_any(&many, None), refused, "no thread sleeps on so many");
        }
        one_after_the_other(world, Some(1));
    }
}

/// RC41: it submits what it has staged, and then looks at one of them for the last time: the other one was over before.
#[derive(Debug)]
pub struct Late;

impl Scenario for Late {
    const NAME: &'static str = "waits_for_two_late";
    const COVERS: &'static [&'static str] = &["RC41", "S7", "L3", "L4"];
    const REACHED: &'static [&'static str] = &["the first one", "the second one"];
    const PLAN: Plan = Plan::NONE.search(Reach::ALIVE);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3).owners(3))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let issuers = issue(world);
        let before = R::choose(2);
        complete(world, before);
        let waiter = world.spawn(Actor::new("issuer", WAITER), 0, |world| {
            let (mut issuer, own) = (world.issuer(slot(WAITER), How::HandedOver), io(WAITER, 1));
            issuer.enter_batch();
            let handle = issuer.acquire(0).expect("a handle is free");
            issuer.start(handle, &world::request(own, false), &[]).expect("it is handed out");
            let first = issuer.wait_any(&REFERENCES, Some(0)).expect("the references are good");
            let (which, _over) = first.expect("L4: one was over before");
            world.kernel.assert_seen(BOTH[which]);
            R::saw(FIRST[which]);
            issuer.leave_batch(0).expect("the words are sound");
            assert!(world.complete(slot(WAITER), own), "S1: nobody else completes it");
            issuer.finish(handle).expect("it was started");
        });
        let completer = world.spawn(Actor::new("completer", 1), before as u64, move |world| {
            complete(world, 1 - before);
        });
        R::join(completer);
        R::join(waiter);
        for (mut issuer, handle) in issuers {
            issuer.finish(handle).expect("it was started");
        }
    }
}

/// U1, RC9, RC27: who waits for others, too, submits what it has staged, and does not sleep in its ring: its reaper does.
#[derive(Debug)]
pub struct OwnAndForeign;

impl Scenario for OwnAndForeign {
    const NAME: &'static str = "waits_for_own_and_foreign";
    const COVERS: &'static [&'static str] = &["RC7", "RC14", "S7", "S14", "L2", "L4", "L7"];
    const REACHED: &'static [&'static str] =
        &["the first one", "the second one", "slept", "sleeps in the ring"];
    const VARIANTS: usize = 2;
    const PLAN: Plan = Plan::NONE.loom([Some(1), Some(1)]).search(Reach::ALIVE);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).owners(2).ring(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let mut other = world.issuer(slot(1), How::HandedOver);
        let handle = other.acquire(0).expect("a handle is free");
        other.start(handle, &world::request(BOTH[1], false), &[]).expect("it is handed out");
        let reaper = reaper(world);
        let issuer = world.spawn(Actor::new("issuer", 0), 0, |world| {
            let mut issuer = world.async_issuer(slot(0));
            issuer.enter_batch();
            let own = World::start_one(&mut issuer);
            let first = issuer.wait_any(&REFERENCES, None).expect("the references are good");
            let (which, _over) = first.expect("L4: there was no deadline");
            world.kernel.assert_seen(BOTH[which]);
            R::saw(FIRST[which]);
            world.kernel.tell(slot(1), BOTH[which]);
            World::async_settle(("waited", which), &issuer);
            world.finish_one(&mut issuer, own);
            World::async_settle("finished", &issuer);
            issuer.wait(REFERENCES[1], None).map(drop).expect("the reference is good");
            world.kernel.assert_seen(BOTH[1]);
        });
        let chosen = R::choose(2);
        let end = |which| {
            if which == 0 {
                world.complete_next(slot(0));
            } else {
                complete(world, 1);
            }
        };
        end(chosen);
        assert_eq!(world.kernel.told(slot(1)), BOTH[chosen], "L4: the other one is not over");
        end(1 - chosen);
        R::join(issuer);
        R::settled(0, &"dismiss");
        world.dismiss_reaper(slot(0));
        R::join(reaper);
        other.finish(handle).expect("it was started");
    }
}

/// RC40: one of the issuers dies at any step; the other IO does not end before.
#[derive(Debug)]
pub struct IssuerDies;

impl Scenario for IssuerDies {
    const NAME: &'static str = "waits_for_two_issuer_dies";
    const COVERS: &'static [&'static str] = &["RC40", "S1", "S24", "S25", "L4", "L9", "L10"];
    const REACHED: &'static [&'static str] = &["waited", "slept", "slice over"];
    const PLAN: Plan = Plan::NONE.search(Reach { deaths: 1, ..Reach::ALIVE });
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(4).owners(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        R::join(world.spawn(Actor::new("attach", 1), 1, |world| {
            let _attached = world.enter(slot(1), 1);
        }));
        let mut other = world.issuer(slot(1), How::HandedOver);
        let handle = other.acquire(0).expect("a handle is free");
        let request = world::request_in_place(BOTH[1], false);
        other.enter_batch();
        other.start(handle, &request, &[]).expect("it is handed out");
        let issuer = world.spawn(Actor::new("issuer", 0).mortal(), 0, |world| {
            let attached = world.attach(slot(0), How::InPlace);
            let mut issuer = attached.expect("nobody has come before");
            let handle = issuer.acquire(0).expect("nothing is handed out");
            world::start(&mut issuer, handle, true);
            World::settle((handle.id, handle.generation), &issuer);
            issuer.finish(handle).expect("it was started");
            World::settle("finished", &issuer);
            world.detach(issuer);
        });
        let waiter = world.spawn(Actor::new("waiter", WAITER), 2, |world| {
            R::settled(0, &"begin");
            let attachment = world.async_attached(slot(WAITER));
            if world.app.published(0).is_some() {
                R::settled(0, &"published");
                // The dying one's last: who is probed for is not only the first.
                let [dying, other] = REFERENCES;
                let first = world.context(slot(WAITER)).wait_any(&[other, dying], None);
                let first = first.expect("the references are good").map(|(which, _)| which);
                assert_eq!(first, Some(1), "L4: the other one is not over");
                R::saw("waited");
            }
            R::settled(0, &"waited");
            world.async_detach(attachment);
        });
        R::join(issuer);
        R::join(waiter);
        other.detach().expect("S19: everything is idle after a detach");
        world.exit(slot(1));
        clear_up(world, 3, 0..3);
    }

    fn always<R: Runtime>(world: &World<R>) {
        world.assert_well_formed();
    }
}
