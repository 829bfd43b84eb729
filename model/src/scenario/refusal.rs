//! An IO that is never executed, and a process that waits for it.
//!
//! | scenario | the issuer, slot 0 |
//! |---|---|
//! | [`Refused`] | starts an IO whose stage callback refuses |
//! | [`Interrupted`] | has its staging cut short by a panic, and ends the scope |
//!
//! Asserted: L4 (the waiter, slot 1, returns and sees what the shared callback did), S3 (the handle is in
//! flight, is reclaimed, and can be used again: R2), S14 (the issuer is told why).
//! Fails by an assertion, or by a deadlock if the IO is forgotten.

use super::{Plan, Scenario};
use crate::runtime::{Actor, Runtime};
use crate::world::{self, How, Size, World, io, reference, slot};
use handfast_core::outcome::{Outcome, RawResult};
use handfast_core::protocol::wait::Waited;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// RC20: the stage callback refuses.
#[derive(Debug)]
pub struct Refused;

impl Scenario for Refused {
    const NAME: &'static str = "refused_waiter";
    const COVERS: &'static [&'static str] = &["RC20", "S1", "S3", "S14", "L4"];
    const REACHED: &'static [&'static str] = &["done", "recycled", "slept", "woke a sleeper"];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::refusing(Size::slots(2), 1)
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let mut issuer = world.issuer(slot(0), How::InPlace);
        let handle = issuer.acquire(0).expect("a handle is free");
        issuer.set_data(handle, &[world::data_of(io(0, 1))]).expect("one word fits");
        let waiter = world.spawn(Actor::new("waiter", 1), 0, |world| wait(world));
        issuer.start(handle, &world::request(io(0, 1), true), &[]).expect("it is handed out");
        issuer.finish(handle).expect("it was started");
        let outcome = issuer.method().outcome(handle);
        let expected = Outcome::from_raw(RawResult::REFUSED);
        assert_eq!(outcome, Some(expected), "S14: the issuer is not told that it was refused");
        assert!(issuer.book().is_pristine() && issuer.book().check(), "S3: the handle is lost");
        R::join(waiter);
    }
}

fn wait<R: Runtime>(world: &World<R>) {
    let waited = world.context(slot(1)).wait(reference(io(0, 1)), None);
    world.app.assert_seen(io(0, 1));
    R::saw(match waited.expect("the reference is good") {
        Waited::Done => "done",
        Waited::Recycled => "recycled",
        Waited::TimedOut => panic!("L4: there was no deadline"),
    });
}

/// What an interrupted staging unwinds with.
struct CutShort;

/// RC20, RC24, RC28: staging is cut short between DEFINED and STAGED.
#[derive(Debug)]
pub struct Interrupted;

impl Scenario for Interrupted {
    const NAME: &'static str = "interrupted_waiter";
    const COVERS: &'static [&'static str] = &["RC20", "RC24", "RC28", "S3", "L3", "L4"];
    const REACHED: &'static [&'static str] = &["done", "recycled", "slept", "woke a sleeper"];
    const PLAN: Plan = Plan::NONE.loom([None, None]);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        let mut world = World::new(Size::slots(2));
        world.app.interrupt_staging(|| resume_unwind(Box::new(CutShort)));
        world
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let mut issuer = world.issuer(slot(0), How::InPlace);
        let handle = issuer.acquire(0).expect("a handle is free");
        issuer.set_data(handle, &[world::data_of(io(0, 1))]).expect("one word fits");
        let waiter = world.spawn(Actor::new("waiter", 1), 0, |world| wait(world));
        let request = world::request(io(0, 1), true);
        let started = catch_unwind(AssertUnwindSafe(|| issuer.start(handle, &request, &[])));
        assert!(started.is_err_and(|reason| reason.is::<CutShort>()));
        let _was_inside = R::set_in_callback(false);
        let end = issuer.end_scope(0).expect("nothing is damaged");
        assert_eq!((end.leaked, end.submitted), (None, 0), "S3: the handle is in a wrong list");
        issuer.finish(handle).expect("it is in flight");
        let outcome = issuer.method().outcome(handle);
        let expected = Outcome::from_raw(RawResult::INTERRUPTED);
        assert_eq!(outcome, Some(expected), "S14: the issuer is not told that it was cut short");
        R::join(waiter);
    }
}
