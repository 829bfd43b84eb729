//! Three processes, one handle, two generations, and deaths at every step: of the issuer, of a waiter,
//! of whoever recovers.
//!
//! | actor | does |
//! |---|---|
//! | issuer, slot 0, mortal | attaches; twice: acquires, starts in place, finishes; detaches |
//! | waiter 1, slot 1, mortal | attaches, waits for both IOs, detaches; recovers when a slice ends |
//! | waiter 2, slot 2 | the same, and lives |
//! | newcomer, slot 0 | when slot 0's lock is free: recovers or finds it free, attaches, does one IO |
//!
//! Asserted: L9 (both waiters return), L10 (slot and handle are usable again), S1 (the callback runs
//! again only as a repeat), S19, S23, S24, S25. Fails by an assertion, a deadlock, or a fair cycle.

use super::{Level, Plan, Reach, Scenario};
use crate::mailbox::IoId;
use crate::runtime::{Actor, Lock, Runtime};
use crate::world::{self, How, Size, World, io, reference, slot};
use handfast_core::handle::SlotWord;
use handfast_core::ids::ProcessSlot;
use handfast_core::protocol::recover::Recovered;
use std::sync::Arc;

/// RC29, RC30, RC39, RC40: in place, with callbacks.
#[derive(Debug)]
pub struct Deaths;

impl Scenario for Deaths {
    const NAME: &'static str = "deaths";
    const COVERS: &'static [&'static str] = &[
        "RC29", "RC30", "RC39", "RC40", "S1", "S2", "S5", "S19", "S23", "S25", "L4", "L7", "L9",
        "L10",
    ];
    const REACHED: &'static [&'static str] = &["recovered", "newcomer's IO is over"];
    const PLAN: Plan = Plan::NONE.search(Reach { deaths: 2, ..Reach::ALIVE });
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3).owners(1))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let issuer = world.spawn(Actor::new("issuer", 0).mortal(), 0, |world| issue(world, true));
        let first = world.spawn(Actor::new("waiter 1", 1).mortal(), 1, |world| wait(world, 1));
        let second = world.spawn(Actor::new("waiter 2", 2), 2, |world| wait(world, 2));
        R::join(issuer);
        R::join(first);
        R::join(second);
        R::join(world.spawn(Actor::new("newcomer", 0), 3, |world| issue(world, false)));
        for number in 0..3 {
            R::settled(0, &("the end", number));
            world.clear_up(slot(3), slot(number));
        }
    }

    fn always<R: Runtime>(world: &World<R>) {
        world.assert_well_formed();
        world.assert_free_slots_are_pristine();
    }
}

/// The same with a newcomer that comes at any time and may die as well: three deaths, and slot 0 is
/// attached again and again.
#[derive(Debug)]
pub struct Reattach;

impl Scenario for Reattach {
    const NAME: &'static str = "reattach";
    const COVERS: &'static [&'static str] =
        &["RC30", "RC39", "RC40", "S1", "S19", "S23", "S25", "L9", "L10"];
    const REACHED: &'static [&'static str] = &["recovered", "newcomer's IO is over"];
    const PLAN: Plan = Plan::NONE.search(Reach { deaths: 3, level: Level::Wide, ..Reach::ALIVE });
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3).owners(1))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let issuer = world.spawn(Actor::new("issuer", 0).mortal(), 0, |world| issue(world, true));
        let first = world.spawn(Actor::new("waiter 1", 1).mortal(), 1, |world| wait(world, 1));
        let second = world.spawn(Actor::new("waiter 2", 2), 2, |world| wait(world, 2));
        let newcomer = Actor::new("newcomer", NEWCOMER).mortal();
        let newcomer = world.spawn(newcomer, 3, |world| issue(world, false));
        for actor in [issuer, first, second, newcomer] {
            R::join(actor);
        }
        for number in 0..3 {
            R::settled(0, &("the end", number));
            world.clear_up(slot(3), slot(number));
        }
    }

    fn always<R: Runtime>(world: &World<R>) {
        world.assert_well_formed();
        world.assert_free_slots_are_pristine();
    }
}

/// The newcomer is a process of its own, whichever slot it takes.
const NEWCOMER: u32 = 7;

/// Attaches, does IO, detaches.
fn issue<R: Runtime>(world: &Arc<World<R>>, twice: bool) {
    let me = slot(0);
    R::settled(0, &"begin");
    let Some(mut issuer) = attached(world, me) else { return };
    let turns = if twice { 2 } else { 1 };
    for turn in 0..turns {
        World::settle(turn, &issuer);
        let handle = issuer.acquire(0).expect("nothing is handed out");
        World::settle(turn, &issuer);
        let this: IoId = (handle.id, handle.generation);
        world::start(&mut issuer, handle, true);
        World::settle((turn, handle.id, handle.generation), &issuer);
        issuer.finish(handle).expect("it was started");
        let outcome = issuer.method().outcome(handle);
        assert_eq!(outcome, Some(world::final_outcome(this, true)), "S14: local after shared");
    }
    World::settle(9, &issuer);
    world.detach(issuer);
    if !twice {
        R::saw("newcomer's IO is over");
    }
}

/// Attaches as soon as nobody holds the slot's lock, however often somebody else is recovering it.
fn attached<R: Runtime>(
    world: &Arc<World<R>>,
    me: ProcessSlot,
) -> Option<world::SimulatedIssuer<'_, R>> {
    loop {
        R::settled(0, &"attach");
        let lock = world.kernel.lock(me)?;
        lock.until_free();
        if let Some(issuer) = world.attach(me, How::InPlace) {
            return Some(issuer);
        }
    }
}

/// Waits for both IOs of the first issuer, as far as they are ever started.
fn wait<R: Runtime>(world: &Arc<World<R>>, me: u32) {
    R::settled(0, &"begin");
    let Some(issuer) = attached(world, slot(me)) else { return };
    let context = world.context(slot(me));
    for generation in 1..=2 {
        World::settle(generation, &issuer);
        if world.app.published(0) >= Some(io(0, generation)) {
            World::settle(generation, &issuer);
            context.wait(reference(io(0, generation)), None).map(drop).expect("it was published");
        }
    }
    World::settle(3, &issuer);
    let recovered = context.recover(slot(0));
    if recovered == Recovered::Complete {
        R::saw("recovered");
    }
    World::settle(4, &issuer);
    world.detach(issuer);
}

impl<R: Runtime> World<R> {
    /// A free slot has idle handles (S19).
    ///
    /// # Panics
    /// If one has not.
    fn assert_free_slots_are_pristine(&self) {
        let context = self.context(slot(0));
        let free = context.slot_word(slot(0)).is_some_and(|word| !SlotWord::is_active(word));
        let view = context.view(handfast_core::ids::HandleId(0));
        let idle = view.is_some_and(|view| view.word.state() == handfast_core::state::State::Idle);
        assert!(!free || idle, "S19: the slot is free, its handle is not idle: {view:?}");
    }
}
