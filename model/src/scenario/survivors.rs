//! Deaths anywhere: issuers, a worker and a bystander may die at any step; the survivors go on.
//!
//! | actor | does | dies |
//! |---|---|---|
//! | main, slot 0 | hears that a process has ended, recovers it, lets a successor use its slot | no |
//! | issuer, slot 1 | whatever issuers do; workers execute it | yes |
//! | issuer, slot 2 | the same; its device executes it, after its death, too | yes |
//! | worker, slot 3 | claims, executes, completes | yes |
//! | worker, slot 4 | the same | no |
//! | bystander, slot 5 | waits, and recovers whoever it finds dead on the way | yes |
//! | successors, slots 1 and 2 | attach where the dead ones were, and issue | no |
//!
//! Asserted: L9 (whoever waits returns), S24 (the device), S25 (a recoverer's death leaves a recovery
//! that somebody finishes), S1 (the world), S9, S7; at the end L10: every slot is free and can be used.
//! Fails by an assertion, a deadlock, or steps without end. Not checked: the death of everybody who could
//! execute (the search does).

use super::parts::{Issuing, use_slot, wait_for_one};
use super::{Plan, Scenario};
use crate::manner::{How, Manner};
use crate::runtime::{Actor, Lock as _, Queue, Runtime};
use crate::world::{Size, World, slot};
use handfast_core::ids::ProcessSlot;
use handfast_core::protocol::recover::Recovered;
use std::sync::Arc;

/// RC30, RC35, RC39, RC40 with several deaths, recoverers among them.
#[derive(Debug)]
pub struct Survivors;

/// The pool, and who has ended.
pub struct Graves<R: Runtime> {
    pool: Arc<World<R>>,
    gone: R::Queue,
}

/// How often an issuer does something.
const ROUNDS: usize = 3;
const SLOTS: u32 = 6;
/// Who ends without being told to: two issuers, their successors, the bystander.
const ENDS: usize = 5;
/// A successor is another process than the one whose slot it has.
const SUCCESSOR: u32 = 8;

impl Scenario for Survivors {
    const NAME: &'static str = "survivors";
    const COVERS: &'static [&'static str] = &[
        "RC30", "RC34", "RC35", "RC39", "RC40", "S1", "S2", "S7", "S9", "S19", "S23", "S24", "S25",
        "L2", "L5", "L9", "L10",
    ];
    const REACHED: &'static [&'static str] = &[
        "died",
        "slice was over",
        "recovered by main",
        "recovered by somebody else",
        "recovery was unfinished",
        "the device wrote after a death",
        "a successor attached",
        "a worker executed",
        "done",
        "recycled",
        "waited for any",
    ];
    const PLAN: Plan = Plan::NONE.shuttle([4_000, 1_000_000]);
    type World<R: Runtime> = Graves<R>;

    fn world<R: Runtime>() -> Graves<R> {
        let size = Size::slots(SLOTS).handles(2).owners(3).workers();
        let pool = World::new(size).mixed_results().refuses_some();
        Graves { pool: Arc::new(pool.device(slot(2))), gone: R::Queue::new() }
    }

    fn run<R: Runtime>(world: &Arc<Graves<R>>) {
        let pool = &world.pool;
        let me = pool.attach(slot(0), How::InPlace).expect("its own slot");
        let device = pool.spawn(Actor::new("device", 2), 0, |world| world.serve(slot(2)));
        let worker = pool.spawn(Actor::new("worker 4", 4), 0, |world| world.work(slot(4)));
        let mortals = [
            mortal(world, Actor::new("issuer 1", 1), |world| issue(world, slot(1))),
            mortal(world, Actor::new("issuer 2", 2), |world| issue(world, slot(2))),
            mortal(world, Actor::new("worker 3", 3), |world| world.work(slot(3))),
            mortal(world, Actor::new("bystander", 5), |world| stand_by(world)),
        ];
        let successors = bury_and_replace(world);
        // Everybody who issues has ended.
        pool.close();
        successors.into_iter().chain(mortals).for_each(R::join);
        R::join(worker);
        R::join(device);
        // Twice: what one dead process had claimed keeps another one's recovery from its end.
        for dead in (1..SLOTS).rev() {
            let _some_are_unfinished = pool.context(slot(0)).recover(slot(dead));
        }
        for dead in 1..SLOTS {
            let left = pool.context(slot(0)).recover(slot(dead));
            assert_ne!(left, Recovered::Unfinished, "L10: nobody else is at it");
        }
        (1..SLOTS).for_each(|free| use_slot(pool, slot(free)));
        pool.detach(me);
    }
}

/// Starts a mortal process; it says that it has ended, or the kernel does.
fn mortal<R: Runtime>(
    world: &Arc<Graves<R>>,
    actor: Actor,
    body: impl Fn(&World<R>) + Send + Sync + 'static,
) -> R::Started {
    let (alive, dead) = (Arc::clone(world), Arc::clone(world));
    let number = u64::from(actor.process);
    let body = move || {
        body(&alive.pool);
        alive.gone.push(number);
    };
    let at_death = move || {
        dead.pool.kernel.at_death(actor.process);
        dead.gone.push(number);
    };
    R::spawn(actor.mortal(), 0, Arc::new(body), Arc::new(at_death))
}

const fn manner_of(me: ProcessSlot) -> Manner {
    Manner { how: if me.get() == 2 { How::Device } else { How::Workers }, fewer: true }
}

fn issue<R: Runtime>(world: &World<R>, me: ProcessSlot) {
    let mut issuing = Issuing::attach(world, me, manner_of(me)).expect("its own slot");
    (0..ROUNDS).for_each(|_| issuing.round());
    issuing.end();
    if let Some(device) = world.kernel.device(me) {
        device.close();
    }
}

fn stand_by<R: Runtime>(world: &World<R>) {
    let me = world.attach(slot(5), How::InPlace).expect("its own slot");
    for round in 0..4 {
        wait_for_one(world, slot(5));
        let dead = slot(1 + round % 3);
        if world.context(slot(5)).recover(dead) == Recovered::Complete {
            R::saw("recovered by somebody else");
        }
    }
    world.detach(me);
}

/// Whoever has ended is recovered, if it died, and an issuer's slot is used again at once, while others
/// still wait by references to what was there before (RC30).
fn bury_and_replace<R: Runtime>(world: &Arc<Graves<R>>) -> Vec<R::Started> {
    let (pool, mut successors, mut ended) = (&world.pool, Vec::new(), 0);
    while ended < ENDS {
        let process = u32::try_from(world.gone.pop()).expect("a process");
        ended += usize::from(process != 3);
        if process >= SUCCESSOR {
            continue;
        }
        let gone = slot(process);
        pool.kernel.lock(gone).expect("its slot").until_free();
        match pool.context(slot(0)).recover(gone) {
            Recovered::Complete => R::saw("recovered by main"),
            Recovered::Unfinished => R::saw("recovery was unfinished"),
            Recovered::NothingToDo => {}
        }
        if gone == slot(1) || gone == slot(2) {
            successors.push(successor(world, gone));
        }
    }
    successors
}

fn successor<R: Runtime>(world: &Arc<Graves<R>>, me: ProcessSlot) -> R::Started {
    let world = Arc::clone(world);
    let process = SUCCESSOR + me.get();
    let manner = if me == slot(2) { How::InSubmit } else { How::Workers };
    let body = move || {
        if let Some(mut issuing) = Issuing::attach(&world.pool, me, manner.into()) {
            R::saw("a successor attached");
            issuing.round();
            issuing.end();
        }
        world.gone.push(u64::from(process));
    };
    R::spawn(Actor::new("successor", process), u64::from(process), Arc::new(body), Arc::new(|| {}))
}
