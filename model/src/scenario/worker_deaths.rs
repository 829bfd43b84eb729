//! Workers and issuers that are killed at any step.
//!
//! | scenario | who may die | who goes on |
//! |---|---|---|
//! | [`WorkerDies`] | a worker | another worker; the issuer, which waits, recovers |
//! | [`LastWorkerDies`] | the only worker | the issuer, which stands in |
//! | [`IssuerDies`] | the issuer | a worker, which may have claimed the IO; a waiter, which recovers |
//! | [`BothDie`] | the issuer, the only worker | a waiter, which recovers both |
//!
//! Asserted: L2 and L9 (whoever waits returns), S1 (shared callbacks run again only as a repeat), S14 (an
//! issuer that lives gets the true result, however often it was executed), S25, L10 (at the end nothing is
//! open, and a newcomer uses the slot). Fails by an assertion, a deadlock or a fair cycle. Only the search
//! runs these.

use super::{Plan, Reach, Scenario};
use crate::asynchronous::AsyncIssuer;
use crate::runtime::{Actor, Runtime};
use crate::world::{self, Size, World, io, reference, slot};
use handfast_core::protocol::HandedOut;
use std::sync::Arc;

/// Attaches these processes, one after the other: nobody dies in it here ([`super::deaths`]).
pub(super) fn attach<R: Runtime>(world: &Arc<World<R>>, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        let actor = Actor::new("attach", number);
        R::join(world.spawn(actor, 100 + u64::from(number), move |world| {
            let _attached = world.enter(slot(number), 1);
        }));
    }
}

/// An attached worker, that leaves when it is told to.
pub(super) fn worker<R: Runtime>(world: &Arc<World<R>>, number: u32, mortal: bool) -> R::Started {
    let actor = Actor { mortal, ..Actor::new("worker", number) };
    world.spawn(actor, number.into(), move |world| {
        let me = slot(number);
        let attachment = world.async_issuer(me);
        world.be_worker_until(me, || world.kernel.is_to_leave(me), true);
        R::settled(0, &"left");
        world.async_detach(attachment);
    })
}

/// Starts an IO with its callback and its word of data.
pub(super) fn start<R: Runtime>(issuer: &mut AsyncIssuer<'_, R>) -> HandedOut {
    let handle = issuer.acquire(0).expect("nothing is handed out");
    world::start(issuer, handle, true);
    handle
}

/// Waits for an own IO: an issuer that lives gets the true result.
pub(super) fn finish<R: Runtime>(issuer: &mut AsyncIssuer<'_, R>, handle: HandedOut) {
    issuer.finish(handle).expect("it was started");
    let expected = world::final_outcome((handle.id, handle.generation), true);
    assert_eq!(issuer.method().outcome(handle), Some(expected), "S14: local after shared");
}

/// Does one IO, detaches.
fn issue<R: Runtime>(world: &Arc<World<R>>) {
    let mut issuer = world.async_issuer(slot(0));
    let handle = start(&mut issuer);
    World::async_settle((handle.id, handle.generation), &issuer);
    finish(&mut issuer, handle);
    World::async_settle("finished", &issuer);
    world.async_detach(issuer);
}

/// A process that waits for the first IO of the issuer's, if it was ever staged, and recovers who is dead.
pub(super) fn wait<R: Runtime>(world: &Arc<World<R>>, number: u32) {
    R::settled(0, &"begin");
    let attachment = world.async_attached(slot(number));
    R::settled(0, &"attached");
    if world.app.published(0).is_some() {
        R::settled(0, &"published");
        let waited = world.context(slot(number)).wait(reference(io(0, 1)), None);
        waited.map(drop).expect("it was published");
        R::saw("waited");
    }
    R::settled(0, &"waited");
    world.async_detach(attachment);
}

/// Recovers the slots, one after the other; everybody who was attached there is gone.
pub(super) fn clear_up<R: Runtime>(world: &World<R>, by: u32, slots: std::ops::Range<u32>) {
    for number in slots {
        R::settled(0, &("clear up", number));
        world.clear_up(slot(by), slot(number));
    }
    R::settled(0, &"cleared up");
    let handle = world.context(slot(by)).view(handfast_core::ids::HandleId(0));
    let state = handle.map(|view| view.word.state());
    assert_eq!(state, Some(handfast_core::state::State::Idle), "L10: a handle is not idle");
}

/// Lets the workers go. Main, alone at the end, is not attached.
pub(super) fn dismiss<R: Runtime>(
    world: &World<R>,
    numbers: impl IntoIterator<Item = u32>,
    workers: impl IntoIterator<Item = R::Started>,
) {
    R::settled(0, &"dismiss");
    numbers.into_iter().for_each(|number| world.kernel.ask_to_leave(slot(number)));
    world.ring_all_workers();
    workers.into_iter().for_each(R::join);
}

/// RC35, R22: from its claim on the worker owes the IO; its recoverer takes the claim back, or over.
#[derive(Debug)]
pub struct WorkerDies;

impl Scenario for WorkerDies {
    const NAME: &'static str = "worker_dies";
    const COVERS: &'static [&'static str] =
        &["RC34", "RC35", "RC37", "RC39", "S1", "S2", "S14", "S18", "S25", "L2", "L5", "L9", "L10"];
    const REACHED: &'static [&'static str] = &["executed", "executed again", "slice over"];
    const PLAN: Plan = Plan::NONE.search(Reach { deaths: 1, ..Reach::ALIVE });
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(4).owners(1).worker_slots(&[1, 2]))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        attach(world, 0..3);
        let workers = [worker(world, 1, true), worker(world, 2, false)];
        let issuer = world.spawn(Actor::new("issuer", 0), 0, |world| issue(world));
        R::join(issuer);
        dismiss(world, [1, 2], workers);
        clear_up(world, 3, 0..3);
    }

    fn always<R: Runtime>(world: &World<R>) {
        world.assert_well_formed();
    }
}

/// RC35: nobody is left who would hear the doorbell.
#[derive(Debug)]
pub struct LastWorkerDies;

impl Scenario for LastWorkerDies {
    const NAME: &'static str = "worker_last_dies";
    const COVERS: &'static [&'static str] =
        &["RC35", "RC37", "RC39", "S1", "S14", "S25", "L2", "L9", "L10"];
    const REACHED: &'static [&'static str] = &["executed", "stood in for a worker", "slice over"];
    const PLAN: Plan = Plan::NONE.search(Reach { deaths: 1, ..Reach::ALIVE });
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3).owners(1).worker_slots(&[1]))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        attach(world, 0..2);
        let worker = worker(world, 1, true);
        let issuer = world.spawn(Actor::new("issuer", 0), 0, |world| issue(world));
        R::join(issuer);
        dismiss(world, [1], [worker]);
        clear_up(world, 2, 0..2);
    }

    fn always<R: Runtime>(world: &World<R>) {
        world.assert_well_formed();
    }
}

/// The issuer may die, the worker if `mortal`; a waiter in slot 2 returns whatever happens.
fn issuer_dies<R: Runtime>(world: &Arc<World<R>>, mortal: bool) {
    attach(world, 0..2);
    let worker = worker(world, 1, mortal);
    let issuer = world.spawn(Actor::new("issuer", 0).mortal(), 0, |world| issue(world));
    let waiter = world.spawn(Actor::new("waiter", 2), 2, |world| wait(world, 2));
    R::join(issuer);
    R::join(waiter);
    dismiss(world, [1], [worker]);
    clear_up(world, 3, 0..3);
}

/// RC40: the issuer dies with its IO unclaimed, or claimed by a worker that lives.
#[derive(Debug)]
pub struct IssuerDies;

impl Scenario for IssuerDies {
    const NAME: &'static str = "worker_issuer_dies";
    const COVERS: &'static [&'static str] =
        &["RC40", "S1", "S2", "S24", "S25", "L2", "L4", "L9", "L10"];
    const REACHED: &'static [&'static str] = &["executed", "waited", "slice over"];
    const PLAN: Plan = Plan::NONE.search(Reach { deaths: 1, ..Reach::ALIVE });
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(4).owners(1).worker_slots(&[1]))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        issuer_dies(world, false);
    }

    fn always<R: Runtime>(world: &World<R>) {
        world.assert_well_formed();
    }
}

/// RC35, RC39, RC40: both die, in either order.
#[derive(Debug)]
pub struct BothDie;

impl Scenario for BothDie {
    const NAME: &'static str = "worker_both_die";
    const COVERS: &'static [&'static str] =
        &["RC35", "RC39", "RC40", "S1", "S2", "S24", "S25", "L2", "L4", "L9", "L10"];
    const REACHED: &'static [&'static str] = &["executed", "waited", "slice over"];
    const PLAN: Plan = Plan::NONE.search(Reach { deaths: 2, ..Reach::ALIVE });
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(4).owners(1).worker_slots(&[1]))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        issuer_dies(world, true);
    }

    fn always<R: Runtime>(world: &World<R>) {
        world.assert_well_formed();
    }
}
