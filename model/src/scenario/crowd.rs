//! Everything at once, without a death: three issuers with three handles each, two workers, a
//! device, a waiter and a viewer.
//!
//! | actor | does |
//! |---|---|
//! | issuers, slots 1 and 2 | whatever issuers do; workers execute it, the first one's queue is narrow |
//! | issuer, slot 3 | the same; its device executes it, its queue is narrow |
//! | workers, slots 4 and 5 | claim, execute, complete |
//! | device of slot 3 | completes late and out of order |
//! | waiter, viewer, process 0 | wait for whatever is there, with deadlines; look at it |
//!
//! IOs come to something of everything, some stage callbacks refuse, some run in place. No slice ever
//! ends here: whoever sleeps is woken, or the walk deadlocks (L4). Asserted: what
//! [`super::parts`] and the world assert; at the end every slot is free and can be used (S19).
//! Not checked: deaths ([`super::survivors`]).

use super::parts::{Issuing, look, use_slot, wait_for_one};
use super::{Plan, Scenario};
use crate::manner::{How, Manner};
use crate::runtime::{Actor, Runtime};
use crate::world::{Size, World, slot};
use std::sync::Arc;

/// RC1 to RC38 as far as they need no death, all together.
#[derive(Debug)]
pub struct Crowd;

/// How often an issuer does something.
const ROUNDS: usize = 4;
/// How often the waiter waits and the viewer looks.
const LOOKS: usize = 5;

impl Scenario for Crowd {
    const NAME: &'static str = "crowd";
    const COVERS: &'static [&'static str] = &[
        "RC1", "RC2", "RC5", "RC7", "RC8", "RC13", "RC18", "RC20", "RC21", "RC22", "RC26", "RC27",
        "RC30", "RC33", "RC38", "RC41", "RC42", "RC44", "S1", "S2", "S3", "S4", "S5", "S7", "S9",
        "S10", "S14", "S15", "S19", "S22", "S23", "L1", "L3", "L4", "L5", "L6", "L7",
    ];
    const REACHED: &'static [&'static str] = &[
        "batch",
        "scope cleaned up",
        "polled until done",
        "timed out",
        "time was over",
        "waited for another issuer",
        "attached again",
        "third generation",
        "everything or a part",
        "refused or failed",
        "a worker executed",
        "done",
        "recycled",
        "waited for any",
        "viewed a result",
        "saw the bytes of another process's IO",
        "slept",
        "woke a sleeper",
        "woke for no reason",
    ];
    const PLAN: Plan = Plan::NONE.shuttle([4_000, 1_000_000]);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        let size = Size::slots(6).handles(3).owners(4).workers();
        World::new(size).mixed_results().refuses_some().device(slot(3))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let issuers = [
            issuer(world, Actor::new("issuer 1", 1), How::Workers.fewer()),
            issuer(world, Actor::new("issuer 2", 2), How::Workers.into()),
            issuer(world, Actor::new("issuer 3", 3), How::Device.fewer()),
        ];
        let workers = [("worker 4", 4), ("worker 5", 5)].map(|(name, process)| {
            world.spawn(Actor::new(name, process), 0, move |world| world.work(slot(process)))
        });
        let device = world.spawn(Actor::new("device", 3), 0, |world| world.serve(slot(3)));
        let viewer = world.spawn(Actor::new("viewer", 0), 0, |world| {
            for _ in 0..LOOKS {
                look(world, slot(0));
            }
        });
        (0..LOOKS).for_each(|_| wait_for_one(world, slot(0)));
        issuers.into_iter().for_each(R::join);
        world.close();
        world.kernel.device(slot(3)).expect("it has one").close();
        workers.into_iter().for_each(R::join);
        R::join(device);
        R::join(viewer);
        (0..6).for_each(|free| use_slot(world, slot(free)));
    }
}

fn issuer<R: Runtime>(world: &Arc<World<R>>, actor: Actor, manner: Manner) -> R::Started {
    world.spawn(actor, 0, move |world| {
        let issuing = Issuing::attach(world, slot(actor.process), manner);
        let mut issuing = issuing.expect("its own slot");
        (0..ROUNDS).for_each(|_| issuing.round());
        issuing.end();
    })
}
