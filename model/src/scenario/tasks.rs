//! Tasks wait without a thread of their own: the reaper of their process wakes them.
//!
//! | scenario | the IO |
//! |---|---|
//! | [`Busy`] | completes in the ring, and its issuer is busy until the task has gone on |
//! | [`Elsewhere`] | is completed by another process, with callbacks |
//! | [`BesideAWaiter`] | the same without callbacks, and a waiter has set WAITERS before |
//! | [`AtTheEnd`] | is over, and the reaper dismissed, while the task asks for it |
//! | [`InPlace`] | is staged or only handed out when the task asks: then it runs in place, or is given back |
//! | [`IssuerPolls`] | completes in the ring, where the reaper sleeps for another one: the issuer takes it out |
//! | [`BesideTheRing`] | runs in place while the reaper sleeps in the ring |
//! | [`WorkerDies`] | is executed by a worker, which is killed at any step |
//!
//! Asserted: L4 (each task is woken, and not before its IO is over), L7 (also when the reaper leaves), S7, L9.
//! No slice is ever over without a death. Fails by an assertion or a deadlock. Not checked here: who asks
//! for an IO of another process, which is refused to no one and promised to no one.

use super::ring::{end, kernel, reaper};
use super::worker_deaths::{attach, clear_up, dismiss, finish, start, worker};
use super::{Plan, Reach, Scenario};
use crate::runtime::{Actor, Runtime};
use crate::world::{self, How, Size, World, io, reference, slot};
use handfast_core::protocol::HandedOut;
use handfast_core::protocol::wait::Waited;
use std::sync::Arc;

/// The slot whose process has tasks.
const OWNER: u32 = 0;

/// A task that waits for the first IO of a handle.
fn task<R: Runtime>(world: &Arc<World<R>>, handle: u32) -> R::Started {
    let actor = Actor::new("task", OWNER);
    world.spawn(actor, 40 + u64::from(handle), move |world| {
        world.be_task(slot(OWNER), io(handle, 1));
    })
}

/// Lets the reaper leave.
fn leave<R: Runtime>(world: &World<R>, reaper: R::Started) {
    R::settled(0, &"dismiss the reaper");
    world.dismiss_reaper(slot(OWNER));
    R::join(reaper);
}

/// U1: nobody but the reaper looks into the ring.
#[derive(Debug)]
pub struct Busy;

impl Scenario for Busy {
    const NAME: &'static str = "task_busy";
    const COVERS: &'static [&'static str] = &["RC9", "RC14", "S7", "S8", "L2", "L4", "L7"];
    const REACHED: &'static [&'static str] = &["task woken", "slept", "sleeps in the ring"];
    const PLAN: Plan = Plan::NONE.loom([Some(1), Some(2)]).search(Reach::SPURIOUS);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(1).ring(2).tasks())
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let reaper = reaper(world);
        let mut issuer = world.async_issuer(slot(OWNER));
        let handle = World::start_one(&mut issuer);
        let (task, kernel) = (task(world, 0), kernel(world, 1));
        World::async_settle("busy", &issuer);
        R::join(task);
        end(world, &mut issuer, [handle], reaper);
        R::join(kernel);
    }
}

/// What happens to an IO of the owner's that another process completes, beside a task that asks for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// Nothing: the reaper leaves after the task.
    Nothing,
    /// The other process has waited for it, and given up.
    Waiter,
    /// The reaper is dismissed when it is over.
    Dismissal,
}

fn elsewhere<R: Runtime>(world: &Arc<World<R>>, beside: Beside) {
    let reaper = reaper(world);
    let mut issuer = world.issuer(slot(OWNER), How::HandedOver);
    let handle = issuer.acquire(0).expect("a handle is free");
    world::start(&mut issuer, handle, beside == Beside::Nothing);
    let task = task(world, 0);
    if beside == Beside::Waiter {
        let waited = world.context(slot(1)).wait(reference(io(0, 1)), Some(0));
        assert_eq!(waited, Ok(Waited::TimedOut), "S10: nobody has begun");
    }
    assert!(world.complete(slot(1), io(0, 1)), "S1: nobody else completes it");
    let left = if beside == Beside::Dismissal {
        Some(task)
    } else {
        R::join(task);
        None
    };
    World::settle("finish", &issuer);
    issuer.finish(handle).expect("it was started");
    leave(world, reaper);
    left.into_iter().for_each(R::join);
}

/// RC7: the completer sees WAITERS and the mark, or the task sees that the IO is over.
#[derive(Debug)]
pub struct Elsewhere;

impl Scenario for Elsewhere {
    const NAME: &'static str = "task_elsewhere";
    const COVERS: &'static [&'static str] = &["RC1", "RC7", "S7", "L4"];
    const REACHED: &'static [&'static str] = &["task woken", "slept", "woke a sleeper"];
    const PLAN: Plan = Plan::NONE.loom([Some(2), Some(3)]).search(Reach::SPURIOUS);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).owners(1).tasks())
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        elsewhere(world, Beside::Nothing);
    }
}

/// RC7: WAITERS is set already, by one who knows nothing of the mark.
#[derive(Debug)]
pub struct BesideAWaiter;

impl Scenario for BesideAWaiter {
    const NAME: &'static str = "task_beside_a_waiter";
    const COVERS: &'static [&'static str] = &["RC1", "RC7", "RC41", "S7", "L4"];
    const REACHED: &'static [&'static str] = &["task woken", "slept", "woke a sleeper"];
    const PLAN: Plan = Plan::NONE.loom([Some(2), Some(2)]).search(Reach::ALIVE);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).owners(1).tasks())
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        elsewhere(world, Beside::Waiter);
    }
}

/// RC29: the reaper's last visit comes after everything is over.
#[derive(Debug)]
pub struct AtTheEnd;

impl Scenario for AtTheEnd {
    const NAME: &'static str = "task_at_the_end";
    const COVERS: &'static [&'static str] = &["RC29", "S7", "L4", "L7"];
    const REACHED: &'static [&'static str] = &["task woken", "slept", "woke a sleeper"];
    const PLAN: Plan = Plan::NONE.loom([Some(2), Some(3)]).search(Reach::SPURIOUS);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).owners(1).tasks())
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        elsewhere(world, Beside::Dismissal);
    }
}

/// RC9, RC10, RC13: nobody completes it who would look for tasks as a completer does.
#[derive(Debug)]
pub struct InPlace;

impl Scenario for InPlace {
    const NAME: &'static str = "task_in_place";
    const COVERS: &'static [&'static str] = &["RC9", "RC10", "RC13", "S7", "L3", "L4", "L7"];
    const REACHED: &'static [&'static str] = &["task woken", "recycled", "slept"];
    const VARIANTS: usize = 2;
    const PLAN: Plan = Plan::NONE.loom([Some(2), Some(3)]).search(Reach::ALIVE);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(1).tasks())
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let reaper = reaper(world);
        let mut issuer = world.issuer(slot(OWNER), How::InPlace);
        issuer.enter_batch();
        let handle = issuer.acquire(0).expect("a handle is free");
        let task = task(world, 0);
        if R::choose(2) == 0 {
            issuer.start(handle, &world::request(io(0, 1), false), &[]).expect("it is handed out");
            issuer.leave_batch(0).expect("nothing is damaged");
            World::settle("join", &issuer);
            R::join(task);
            issuer.finish(handle).expect("it was started");
        } else {
            issuer.release(handle).expect("it is handed out");
            World::settle("given back", &issuer);
            R::join(task);
        }
        leave(world, reaper);
    }
}

/// RC15, RC17: the reaper sleeps in the ring, not on its bell, when the issuer completes a task's IO.
#[derive(Debug)]
pub struct IssuerPolls;

impl Scenario for IssuerPolls {
    const NAME: &'static str = "task_issuer_polls";
    const COVERS: &'static [&'static str] = &["RC15", "RC17", "RC42", "S8", "L2", "L4", "L7"];
    const REACHED: &'static [&'static str] = &["task woken", "slept", "sleeps in the ring"];
    const PLAN: Plan = Plan::NONE.loom([Some(1), Some(1)]).search(Reach::ALIVE);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).owners(1).handles(2).ring(3).tasks())
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let reaper = reaper(world);
        let mut issuer = world.async_issuer(slot(OWNER));
        let [asked, last] = [(); 2].map(|()| World::start_one(&mut issuer));
        somebody_polls(world, last);
        let task = task(world, asked.id.0);
        World::async_settle("complete", &issuer);
        // Lets the reaper take the lead, and the task ask, without a preemption.
        R::pause();
        world.complete_next(slot(OWNER));
        let this = reference((asked.id, asked.generation));
        let _over = issuer.check_done(this).expect("the reference is good");
        World::async_settle("busy", &issuer);
        R::join(task);
        World::async_settle("complete the last", &issuer);
        world.complete_next(slot(OWNER));
        end(world, &mut issuer, [asked, last], reaper);
    }
}

/// A process that polls for an IO of the ring's, so that the reaper leads. It does not wait for it: an actor less.
fn somebody_polls<R: Runtime>(world: &World<R>, last: HandedOut) {
    let last = reference((last.id, last.generation));
    let over = world.context(slot(1)).check_done(last).expect("the reference is good");
    assert!(!over, "S10: the kernel has not begun");
}

/// RC13, RC17: the same, and the issuer completes it without the ring.
#[derive(Debug)]
pub struct BesideTheRing;

impl Scenario for BesideTheRing {
    const NAME: &'static str = "task_beside_the_ring";
    const COVERS: &'static [&'static str] = &["RC13", "RC17", "L2", "L4", "L7"];
    const REACHED: &'static [&'static str] =
        &["executed in place", "task woken", "slept", "sleeps in the ring"];
    const PLAN: Plan = Plan::NONE.loom([Some(1), Some(1)]).search(Reach::ALIVE);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2).owners(1).handles(2).ring(3).tasks())
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let reaper = reaper(world);
        let mut issuer = world.async_issuer(slot(OWNER));
        let last = World::start_one(&mut issuer);
        somebody_polls(world, last);
        issuer.enter_batch();
        let handle = issuer.acquire(0).expect("nothing is handed out");
        let this = (handle.id, handle.generation);
        let in_place = world::request_in_place(this, false);
        issuer.start(handle, &in_place, &[]).expect("it is handed out");
        let task = task(world, handle.id.0);
        World::async_settle("staged", &issuer);
        // Lets the reaper take the lead, and the task ask, without a preemption.
        R::pause();
        issuer.leave_batch(0).expect("no word is damaged");
        World::async_settle("busy", &issuer);
        R::join(task);
        World::async_settle("complete the last", &issuer);
        world.complete_next(slot(OWNER));
        end(world, &mut issuer, [handle, last], reaper);
    }
}

/// RC35, R26: a task has no slices of its own; the reaper's are for it.
#[derive(Debug)]
pub struct WorkerDies;

impl Scenario for WorkerDies {
    const NAME: &'static str = "task_worker_dies";
    const COVERS: &'static [&'static str] =
        &["RC35", "RC39", "S1", "S14", "S25", "L2", "L4", "L7", "L9", "L10"];
    const REACHED: &'static [&'static str] =
        &["executed", "stood in for a worker", "slice over", "task woken"];
    const PLAN: Plan = Plan::NONE.search(Reach { deaths: 1, ..Reach::ALIVE });
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(3).owners(1).worker_slots(&[1]).tasks())
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        attach(world, 0..2);
        let (reaper, worker) = (reaper(world), worker(world, 1, true));
        let mut issuer = world.async_issuer(slot(OWNER));
        let handle = start(&mut issuer);
        let task = task(world, 0);
        World::async_settle("busy", &issuer);
        R::join(task);
        World::async_settle("finish", &issuer);
        finish(&mut issuer, handle);
        leave(world, reaper);
        World::async_settle("alone", &issuer);
        world.async_detach(issuer);
        dismiss(world, [1], [worker]);
        clear_up(world, 2, 0..2);
    }

    fn always<R: Runtime>(world: &World<R>) {
        world.assert_well_formed();
    }
}
