//! A viewer that copies a handle while its issuer and its completer go on.
//!
//! | scenario | meanwhile the handle |
//! |---|---|
//! | [`OfDefinition`] | is handed out, staged, submitted and completed, for the first time |
//! | [`OfStart`] | goes from handed out to submitted in one step |
//! | [`OfReuse`] | is reclaimed, handed out and defined again |
//! | [`OfCompletion`] | is completed by another process |
//!
//! The viewer, slot 1, makes one copy. Asserted: S9 (request, raw result and packed result are those of
//! the generation and the state in the copied word), L8 (a copy is made within its tries).
//! Fails by an assertion. Not checked: handle data and buffers, which views do not show.

use super::{Plan, Scenario};
use crate::runtime::{Actor, Runtime};
use crate::world::{self, How, Size, World, io, slot};
use handfast_core::handle::HandleView;
use handfast_core::state::State;
use std::sync::Arc;

/// RC38: a view against the definition.
#[derive(Debug)]
pub struct OfDefinition;

impl Scenario for OfDefinition {
    const NAME: &'static str = "viewer_definition";
    const COVERS: &'static [&'static str] = &["RC38", "S9", "L8"];
    const REACHED: &'static [&'static str] =
        &["viewed idle", "viewed handed out", "viewed staged", "viewed over"];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let viewer = world.spawn(Actor::new("viewer", 1), 0, |world| {
            said::<R>(&world.assert_view(slot(1), 0, false));
        });
        let mut issuer = world.issuer(slot(0), How::InPlace);
        issuer.enter_batch();
        let handle = issuer.acquire(0).expect("a handle is free");
        issuer.start(handle, &world::request(io(0, 1), false), &[]).expect("it is handed out");
        issuer.leave_batch(0).expect("nothing is damaged");
        R::join(viewer);
    }
}

/// RC38: a view against a start in one step.
#[derive(Debug)]
pub struct OfStart;

impl Scenario for OfStart {
    const NAME: &'static str = "viewer_start";
    const COVERS: &'static [&'static str] = &["RC38", "S9"];
    const REACHED: &'static [&'static str] = &["viewed handed out", "viewed submitted"];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let mut issuer = world.issuer(slot(0), How::HandedOver);
        let handle = issuer.acquire(0).expect("a handle is free");
        let viewer = world.spawn(Actor::new("viewer", 1), 0, |world| {
            said::<R>(&world.assert_view(slot(1), 0, false));
        });
        issuer.start(handle, &world::request(io(0, 1), false), &[]).expect("it is handed out");
        R::join(viewer);
    }
}

/// RC38: a view of an IO that is over, against the next use of its handle.
#[derive(Debug)]
pub struct OfReuse;

impl Scenario for OfReuse {
    const NAME: &'static str = "viewer_reuse";
    const COVERS: &'static [&'static str] = &["RC38", "S4", "S9", "L8"];
    const REACHED: &'static [&'static str] =
        &["viewed over", "viewed idle", "viewed handed out", "viewed staged"];
    const PLAN: Plan = Plan::LOOM.loom([Some(2), Some(3)]);
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let mut issuer = world.issuer(slot(0), How::InPlace);
        let first = issuer.acquire(0).expect("a handle is free");
        issuer.start(first, &world::request(io(0, 1), false), &[]).expect("it is handed out");
        let viewer = world.spawn(Actor::new("viewer", 1), 0, |world| {
            said::<R>(&world.assert_view(slot(1), 0, false));
        });
        issuer.finish(first).expect("it was started");
        issuer.enter_batch();
        let second = issuer.acquire(0).expect("the handle is free again");
        issuer.start(second, &world::request(io(0, 2), false), &[]).expect("it is handed out");
        R::join(viewer);
    }
}

/// RC38: a view against the completion by another process.
#[derive(Debug)]
pub struct OfCompletion;

impl Scenario for OfCompletion {
    const NAME: &'static str = "viewer_completion";
    const COVERS: &'static [&'static str] = &["RC38", "S5", "S9"];
    const REACHED: &'static [&'static str] =
        &["viewed submitted", "viewed completed", "viewed over"];
    type World<R: Runtime> = World<R>;

    fn world<R: Runtime>() -> World<R> {
        World::new(Size::slots(2))
    }

    fn run<R: Runtime>(world: &Arc<World<R>>) {
        let mut issuer = world.issuer(slot(0), How::HandedOver);
        let handle = issuer.acquire(0).expect("a handle is free");
        world::start(&mut issuer, handle, true);
        let completer = world.spawn(Actor::new("completer", 1), 0, |world| {
            assert!(world.complete(slot(1), io(0, 1)), "S1: nobody else completes it");
        });
        let view = world.assert_view(slot(0), 0, true);
        let known = view.raw.is_some() || view.word.state() < State::CompletedIo;
        assert!(known, "S9: completed, without a raw result");
        said::<R>(&view);
        R::join(completer);
    }
}

fn said<R: Runtime>(view: &HandleView) {
    R::saw(match view.word.state() {
        State::Idle => "viewed idle",
        State::HandedOut => "viewed handed out",
        State::Defined | State::Staged => "viewed staged",
        State::Submitted => "viewed submitted",
        State::CompletedIo => "viewed completed",
        State::CompletedShared | State::CompletedLocal => "viewed over",
    });
}
