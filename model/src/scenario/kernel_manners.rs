//! What a kernel may do to an issuer and its waiters: late, out of order, in parts, with errors, by
//! accepting fewer, inside the submission; and after the death of the issuer.
//!
//! | scenario | actors | asserts |
//! |---|---|---|
//! | [`KernelManners`] | issuer, its device, waiter, viewer | S3, S7, S14, L1, L4 |
//! | [`CompleteInSubmit`] | issuer, waiter | RC21, L1 |
//! | [`WritesAfterDeath`] | mortal issuer, its device, waiter, recoverer | S24, L9, L10 |
//!
//! Fails by an assertion, a race of the buffer's bytes, or a deadlock. Not checked: several processes
//! that issue (`crowd`), recoverers that die (`survivors`).

use super::parts::{Issuing, assert_over, look, use_slot, wait_for_one};
use super::{Plan, Scenario};
use crate::manner::{How, Manner};
use crate::runtime::{Actor, Lock as _, Queue, Runtime};
use crate::world::{self, Size, World, io, reference, slot};
use handfast_core::protocol::recover::Recovered;
use handfast_core::protocol::wait::Waited;
use handfast_core::state::State;
use std::sync::Arc;

/// A device that completes late, out of order, in parts and with errors, and accepts fewer.
#[derive(Debug)]
pub struct KernelManners;

impl Scenario for KernelManners {
    const NAME: &'static str = "kernel_manners";
    const COVERS: &'static [&'static str] =
        &["RC2", "RC20", "RC22", "RC23", "RC36", "S1", "S3", "S7", "S14", "L1", "L3", "L4"];
    const REACHED: &'static [&'static str] = &[
        "batch",
        "everything or a part",
        "refused or failed",
        "done",
        "recycled",
        "timed out",
        "woke a sleeper",
        "third generation",
    ];
    const PLAN: Plan = Plan::NONE.shuttle([10_000, 1_000_000]);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).handles(3)).mixed_results().refuses_some().device(slot(1))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let device = world.spawn(Actor::new("device", 1), 0, |world| world.serve(slot(1)));
        let issuer = issuer(world, How::Device.fewer());
        let viewer = world.spawn(Actor::new("viewer", 0), 0, |world| {
            for _ in 0..3 {
                look(world, slot(0));
            }
        });
        (0..3).for_each(|_| wait_for_one(world, slot(0)));
        R::join(issuer);
        world.kernel.device(slot(1)).expect("it has one").close();
        R::join(device);
        R::join(viewer);
        use_slot(world, slot(1));
    }
}

fn issuer<R: Runtime>(world: &Arc<World<R>>, manner: Manner) -> R::Started {
    world.spawn(Actor::new("issuer", 1), 0, move |world| {
        let mut issuing = Issuing::attach(world, slot(1), manner).expect("its own slot");
        (0..4).for_each(|_| issuing.round());
        issuing.end();
    })
}

/// RC21: everything is over when the submission returns.
#[derive(Debug)]
pub struct CompleteInSubmit;

impl Scenario for CompleteInSubmit {
    const NAME: &'static str = "complete_in_submit";
    const COVERS: &'static [&'static str] = &["RC21", "RC44", "S1", "S3", "S7", "S14", "L1", "L4"];
    const REACHED: &'static [&'static str] =
        &["batch", "everything or a part", "refused or failed", "done", "recycled"];
    const PLAN: Plan = Plan::NONE.shuttle([10_000, 1_000_000]);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).handles(2)).mixed_results().refuses_some()
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let issuer = issuer(world, How::InSubmit.fewer());
        (0..3).for_each(|_| wait_for_one(world, slot(0)));
        R::join(issuer);
        use_slot(world, slot(1));
    }
}

/// The world of [`WritesAfterDeath`].
pub struct AfterDeath<R: Runtime> {
    pool: Arc<World<R>>,
    /// Says that the issuer has ended, one way or the other.
    gone: R::Queue,
}

/// S24, RC40: the issuer dies with IO in flight; the device goes on writing, and until it has finished
/// nobody may say that the IO is over, nor use the handle again.
#[derive(Debug)]
pub struct WritesAfterDeath;

impl Scenario for WritesAfterDeath {
    const NAME: &'static str = "writes_after_death";
    const COVERS: &'static [&'static str] = &["RC30", "RC40", "S1", "S19", "S24", "L9", "L10"];
    const REACHED: &'static [&'static str] = &[
        "died",
        "the device wrote after a death",
        "the true result of a dead issuer's IO",
        "recovered",
        "slice was over",
    ];
    const VARIANTS: usize = 90;
    const PLAN: Plan = Plan::NONE.shuttle([10_000, 1_000_000]);
    type World<R: Runtime> = AfterDeath<R>;

    fn world<R: Runtime>() -> AfterDeath<R> {
        let pool = Arc::new(World::new(Size::slots(3).owners(2)).device(slot(1)));
        AfterDeath { pool, gone: R::Queue::new() }
    }

    fn run<R: Runtime>(world: &Arc<AfterDeath<R>>) {
        let pool = &world.pool;
        let me = pool.attach(slot(0), How::InPlace).expect("its own slot");
        let device = pool.spawn(Actor::new("device", 1), 0, |world| world.serve(slot(1)));
        let issuer = mortal_issuer(world);
        let waiter = pool.spawn(Actor::new("waiter", 2), 0, |world| wait(world));
        let _one_way_or_the_other = world.gone.pop();
        pool.kernel.lock(slot(1)).expect("its slot").until_free();
        if pool.context(slot(0)).recover(slot(1)) == Recovered::Complete {
            R::saw("recovered");
        }
        R::join(issuer);
        R::join(device);
        R::join(waiter);
        let left = pool.context(slot(0)).recover(slot(1));
        assert_ne!(left, Recovered::Unfinished, "L10: nobody else is at it");
        use_slot(pool, slot(1));
        pool.detach(me);
    }
}

/// Two IOs one after the other on its only handle; it dies, or says that it has ended.
fn mortal_issuer<R: Runtime>(world: &Arc<AfterDeath<R>>) -> R::Started {
    let (alive, dead) = (Arc::clone(world), Arc::clone(world));
    let body = move || {
        let mut issuer = alive.pool.attach(slot(1), How::Device).expect("its own slot");
        for _ in 0..2 {
            let handle = issuer.acquire(0).expect("L1: nothing is handed out");
            world::start(&mut issuer, handle, true);
            issuer.finish(handle).expect("it was started");
        }
        alive.pool.detach(issuer);
        alive.pool.kernel.device(slot(1)).expect("it has one").close();
        alive.gone.push(1);
    };
    let at_death = move || {
        dead.pool.kernel.at_death(1);
        dead.gone.push(1);
    };
    R::spawn(Actor::new("issuer", 1).mortal(), 0, Arc::new(body), Arc::new(at_death))
}

fn wait<R: Runtime>(world: &Arc<World<R>>) {
    let me = world.attach(slot(2), How::InPlace).expect("its own slot");
    let (this, context) = (io(1, 1), world.context(slot(2)));
    let (_, state) = super::parts::look_at(world, slot(2), this.0);
    if state >= State::HandedOut {
        let waited = context.wait(reference(this), None).expect("it was seen");
        assert_ne!(waited, Waited::TimedOut, "L9: there was no deadline");
        assert_over(world, slot(2), this);
        let told = context.foreign_outcome(reference(this)).expect("it was seen");
        let issuer_is_gone = world.kernel.lock(slot(1)).expect("its slot").is_free();
        if issuer_is_gone && told == Some(world::shared_outcome(this, true)) {
            R::saw("the true result of a dead issuer's IO");
        }
    }
    world.detach(me);
}
