//! Two survivors that recover the same dead process, one of which may die as well.
//!
//! | scenario | the survivors |
//! |---|---|
//! | [`Two`] | both look at once; whoever is refused the lock looks no further |
//! | [`Dead`] | the first one dies at each of its accesses, the second one recovers both |
//!
//! The dead one, slot 0, has left three handles: one handed out, one staged in a batch, one submitted and
//! claimed by nobody. Asserted: S25 (one recoverer at a time, and another one finishes), S1, L10 (the slot is
//! free, every handle of it idle, whatever happened). Fails by an assertion.

use super::{Plan, Reach, Scenario};
use crate::runtime::{Actor, Runtime};
use crate::world::{self, How, Size, World, io, slot};
use handfast_core::protocol::recover::Recovered;
use std::sync::Arc;

const ONE_DEATH: Reach = Reach { deaths: 1, ..Reach::ALIVE };

/// A life that ends in the middle of everything.
fn leave<R: Runtime>(world: &Arc<World<R>>) {
    let attached = world.enter(slot(0), 1);
    let mut issuer = world.issuer_at(slot(0), How::HandedOver, &attached.generations);
    for batched in [false, true] {
        if batched {
            issuer.enter_batch();
        }
        let handle = issuer.acquire(0).expect("a handle is free");
        world::start(&mut issuer, handle, !batched);
    }
    let _handed_out = issuer.acquire(0).expect("a handle is free");
    world.exit(slot(0));
}

fn live_again<R: Runtime>(world: &Arc<World<R>>) {
    let attached = world.enter(slot(0), 2);
    assert!(
        attached.generations.iter().all(|generation| generation.get() == 2),
        "S23: {attached:?}"
    );
}

/// RC40, S25: both at once.
#[derive(Debug)]
pub struct Two;

impl Scenario for Two {
    const NAME: &'static str = "two_recoverers";
    const COVERS: &'static [&'static str] = &["RC40", "S1", "S25", "L10"];
    const REACHED: &'static [&'static str] = &["recovered", "refused", "came late"];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3).handles(3))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        leave(world);
        let survivors = [1, 2].map(|number| {
            world.spawn(Actor::new("survivor", number), u64::from(number), move |world| {
                R::saw(match world.context(slot(number)).recover(slot(0)) {
                    Recovered::Complete => {
                        world.kernel.tell(slot(0), io(0, 1));
                        "recovered"
                    }
                    Recovered::Unfinished => "refused",
                    Recovered::NothingToDo => "came late",
                });
            })
        });
        survivors.into_iter().for_each(R::join);
        let told = [0, 1].map(|_| world.kernel.told_yet(slot(0)).is_some());
        assert_eq!(told, [true, false], "S25: recovered by nobody, or twice");
        live_again(world);
    }
}

/// RC40, S25: the first one dies.
#[derive(Debug)]
pub struct Dead;

impl Scenario for Dead {
    const NAME: &'static str = "dead_recoverer";
    const COVERS: &'static [&'static str] = &["RC39", "RC40", "S1", "S25", "L9", "L10"];
    const REACHED: &'static [&'static str] = &["lived", "recovered", "came late"];
    const VARIANTS: usize = 90;
    const PLAN: Plan = Plan::NONE.loom([Some(2), None]).search(ONE_DEATH);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3).handles(3))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        leave(world);
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
            R::saw(match world.context(slot(2)).recover(slot(0)) {
                Recovered::Complete => "recovered",
                Recovered::NothingToDo => "came late",
                Recovered::Unfinished => panic!("S25: nobody else recovers it"),
            });
        });
        R::join(first);
        R::join(second);
        live_again(world);
    }
}
