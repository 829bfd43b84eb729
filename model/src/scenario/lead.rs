//! The lead of a ring goes from one thread of its process to the other, and nobody is left asleep.
//!
//! | scenario | what happens |
//! |---|---|
//! | [`LeadsWord`] | two threads on the lead's word alone: who was told that more is wanted sees for whom |
//! | [`HandOver`] | the issuer waits for one IO, a foreign waiter for another, which ends last |
//! | [`GiveUp`] | the reaper is about to give up when the issuer comes to wait for another IO |
//! | [`WantAgain`] | the same, and WANT is set already, for an IO that is over |
//! | [`Tight`] | two handles, one completion entry more than must be; an issuer that waits or not, reuses |
//! | [`Free`] | the same with room for both IOs, which the kernel completes in any order |
//! | [`Unannounced`] | the issuer waits, and nobody else wants anything of the ring |
//!
//! Asserted: S1, S8, S14, L4, R23 (everybody returns as soon as its own IO is over, whoever leads: there is
//! no slice that could help). Fails by an assertion or a deadlock. Not checked here: deaths.

use super::ring::{end, kernel, reaper, waiter};
use super::{Plan, Reach, Scenario};
use crate::runtime::{Actor, Runtime};
use crate::world::{Size, World, io, reference, slot};
use handfast_core::decide::lead::{Entered, Leader};
use handfast_core::platform::Field;
use handfast_core::protocol::Drive;
use std::sync::Arc;

/// The slot with the ring.
const OWNER: u32 = 0;

/// A lead, and what stands for WAITERS.
pub struct Wanting<R: Runtime> {
    world: World<R>,
    wanted: R::Field,
    seen: R::Field,
}

/// R23: the reaper's look after WANT; also of a WANT that was set already when it was set again.
#[derive(Debug)]
pub struct LeadsWord;

impl Scenario for LeadsWord {
    const NAME: &'static str = "lead_word";
    const COVERS: &'static [&'static str] = &["L4"];
    const REACHED: &'static [&'static str] = &["wanted", "wanted again", "taken"];
    type World<R: Runtime> = Wanting<R>;

    fn world<R: Runtime>() -> Wanting<R> {
        let world = World::new(Size::slots(1).ring(2));
        Wanting { world, wanted: R::Field::new(0), seen: R::Field::new(0) }
    }

    fn run<R: Runtime>(world: &Arc<Wanting<R>>) {
        let lead = world.world.kernel.lead().expect("slot 0 has a ring");
        assert_eq!(lead.enter(Leader::Reaper), Entered::Taken, "nobody leads");
        let shared = Arc::clone(world);
        let body = Arc::new(move || give_up(&shared));
        let reaper = R::spawn(Actor::new("reaper", OWNER), 0, body, Arc::new(|| {}));
        let (mut promised, mut before) = (0, false);
        for turn in 1..=2 {
            world.wanted.set(turn);
            if lead.enter(Leader::Issuer) == Entered::Taken {
                R::saw("taken");
                lead.leave();
                continue;
            }
            R::saw(if before { "wanted again" } else { "wanted" });
            (promised, before) = (turn, true);
        }
        R::join(reaper);
        let seen = world.seen.get();
        assert!(seen >= promised, "L4: {promised} was wanted, the reaper left having seen {seen}");
    }
}

/// Looks, and gives up, unless more is wanted: then it looks again.
fn give_up<R: Runtime>(world: &Wanting<R>) {
    let lead = world.world.kernel.lead().expect("slot 0 has a ring");
    loop {
        let seen = world.wanted.peek();
        if lead.give_up() {
            world.seen.set(seen);
            return;
        }
    }
}

/// R23, RC17: the issuer leaves when its own IO is over; the reaper takes the lead for the waiter.
#[derive(Debug)]
pub struct HandOver;

impl Scenario for HandOver {
    const NAME: &'static str = "lead_hand_over";
    const COVERS: &'static [&'static str] =
        &["RC15", "RC17", "RC18", "S1", "S8", "S14", "L2", "L4", "L7"];
    const REACHED: &'static [&'static str] = &["slept", "sleeps in the ring"];
    const PLAN: Plan = Plan::NONE.search(Reach::ALIVE);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).owners(1).handles(2).ring(3))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let reaper = reaper(world);
        let mut issuer = world.async_issuer(slot(OWNER));
        let [one, two] = [(); 2].map(|()| World::start_one(&mut issuer));
        let (waiter, kernel) = (waiter(world, two.id.0), kernel(world, 2));
        World::async_settle("wait", &issuer);
        world.finish_one(&mut issuer, one);
        World::async_settle("busy", &issuer);
        R::join(waiter);
        end(world, &mut issuer, [two], reaper);
        R::join(kernel);
    }
}

/// Somebody polls for an IO of the owner's; then the kernel completes so many.
fn asker<R: Runtime>(world: &Arc<World<R>>, asked: u32) -> R::Started {
    world.spawn(Actor::new("asker", 1), 1, move |world| {
        let asked = reference(io(asked, 1));
        let _over = world.context(slot(1)).check_done(asked).expect("the reference is good");
        R::settled(0, &"kernel");
        // Lets the reaper take the lead without a preemption.
        R::pause();
        world.complete_in_order(slot(OWNER), 1);
    })
}

/// R23: the reaper leads for an IO that is over when the issuer wants the lead.
#[derive(Debug)]
pub struct GiveUp;

impl Scenario for GiveUp {
    const NAME: &'static str = "lead_give_up";
    const COVERS: &'static [&'static str] = &["RC15", "RC17", "RC18", "S1", "L2", "L4"];
    const REACHED: &'static [&'static str] = &["slept", "sleeps in the ring"];
    const PLAN: Plan = Plan::NONE.loom([Some(1), Some(1)]).search(Reach::ALIVE);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).owners(1).handles(2).ring(3))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let reaper = reaper(world);
        let mut issuer = world.async_issuer(slot(OWNER));
        let [one, two] = [(); 2].map(|()| World::start_one(&mut issuer));
        World::async_settle("ask", &issuer);
        R::join(asker(world, one.id.0));
        let kernel = kernel(world, 1);
        World::async_settle("wait", &issuer);
        world.finish_one(&mut issuer, two);
        R::settled(0, &("join", one.id, one.generation));
        World::async_settle("join", &issuer);
        R::join(kernel);
        end(world, &mut issuer, [one], reaper);
    }
}

/// R23: WANT is set when it is set again: the addition of nothing is what the reaper's next look is after.
#[derive(Debug)]
pub struct WantAgain;

impl Scenario for WantAgain {
    const NAME: &'static str = "lead_want_again";
    const COVERS: &'static [&'static str] = &["RC15", "RC17", "RC18", "S1", "L2", "L4"];
    const REACHED: &'static [&'static str] = &["slept", "sleeps in the ring"];
    const PLAN: Plan = Plan::NONE.search(Reach::ALIVE);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).owners(1).handles(3).ring(4))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let reaper = reaper(world);
        let mut issuer = world.async_issuer(slot(OWNER));
        // In the order in which the kernel completes them.
        let [first, asked, last] = [(); 3].map(|()| World::start_one(&mut issuer));
        let asker = asker(world, asked.id.0);
        World::async_settle("wait", &issuer);
        // Lets the reaper take the lead without a preemption.
        R::pause();
        world.finish_one(&mut issuer, first);
        World::async_settle("join", &issuer);
        R::join(asker);
        let [second, third] = [1, 2].map(|seed| {
            let actor = Actor::new("kernel", 9);
            world.spawn(actor, seed, |world| world.complete_in_order(slot(OWNER), 1))
        });
        World::async_settle("wait", &issuer);
        world.finish_one(&mut issuer, last);
        World::async_settle("join", &issuer);
        R::join(second);
        R::join(third);
        end(world, &mut issuer, [asked], reaper);
    }
}

/// RC16, R14: with two completion entries one IO is in flight; the next may be before the last one's entry
/// is given back.
#[derive(Debug)]
pub struct Tight;

impl Scenario for Tight {
    const NAME: &'static str = "lead_tight";
    const COVERS: &'static [&'static str] =
        &["RC15", "RC16", "RC18", "S1", "S3", "S8", "S14", "L1", "L2", "L4", "L7"];
    const REACHED: &'static [&'static str] = &["slept", "sleeps in the ring"];
    const PLAN: Plan = Plan::NONE.search(Reach::ALIVE);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).owners(1).handles(2).ring(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        everything(world);
    }
}

/// RC15, RC17, R23: everything at once.
#[derive(Debug)]
pub struct Free;

impl Scenario for Free {
    const NAME: &'static str = "lead_free";
    const COVERS: &'static [&'static str] = &[
        "RC9", "RC14", "RC15", "RC16", "RC17", "RC18", "S1", "S2", "S3", "S8", "S14", "S19", "S23",
        "L1", "L2", "L4", "L7",
    ];
    const REACHED: &'static [&'static str] = &["slept", "sleeps in the ring"];
    const PLAN: Plan = Plan::NONE.search(Reach::ALIVE);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).owners(1).handles(2).ring(3))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        everything(world);
    }
}

/// U1, the price of its answer: who finds the lead free is no waiter that anybody has to wake.
#[derive(Debug)]
pub struct Unannounced;

impl Scenario for Unannounced {
    const NAME: &'static str = "lead_unannounced";
    const COVERS: &'static [&'static str] = &["S7", "S14", "L4"];
    const REACHED: &'static [&'static str] = &["sleeps in the ring"];
    const NEVER: &'static [&'static str] = &["slept", "posted to nobody", "woke a sleeper"];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(1).handles(2).ring(3))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let kernel = kernel(world, 2);
        let mut issuer = world.async_issuer(slot(OWNER));
        let both = [(); 2].map(|()| World::start_one(&mut issuer));
        for (turn, this) in both.into_iter().enumerate() {
            World::async_settle(("wait", turn), &issuer);
            world.finish_one(&mut issuer, this);
        }
        R::join(kernel);
    }
}

/// A batch of two; somebody waits for one of them; the issuer is busy, or waits and uses a handle again.
fn everything<R: Runtime>(world: &Arc<World<R>>) {
    let reaper = reaper(world);
    let kernel = world.spawn(Actor::new("kernel", 9), 9, |world| world.be_kernel(slot(OWNER)));
    let mut issuer = world.async_issuer(slot(OWNER));
    issuer.enter_batch();
    let [one, two] = [(); 2].map(|()| World::start_one(&mut issuer));
    let waiter = waiter(world, if R::choose(2) == 0 { one.id.0 } else { two.id.0 });
    World::async_settle("submit", &issuer);
    issuer.leave_batch(0).expect("no word is damaged");
    if R::choose(2) == 0 {
        World::async_settle("busy", &issuer);
        R::join(waiter);
        World::async_settle("late", &issuer);
        world.finish_one(&mut issuer, one);
    } else {
        World::async_settle("wait", &issuer);
        world.finish_one(&mut issuer, one);
        World::async_settle("reuse", &issuer);
        let again = World::start_one(&mut issuer);
        World::async_settle(("busy", again.id, again.generation), &issuer);
        R::join(waiter);
        World::async_settle(("late", again.id, again.generation), &issuer);
        world.finish_one(&mut issuer, again);
    }
    end(world, &mut issuer, [two], reaper);
    if let Some(ring) = world.kernel.ring(slot(OWNER)) {
        ring.close();
    }
    R::join(kernel);
}
