//! Callbacks that use the pool from inside of themselves, which is refused.
//!
//! The issuer, slot 0, goes through stage, shared and local callback while a waiter, slot 1, waits; each
//! callback tries to wait for its own IO, and to poll it.
//! Asserted: S12 and S13 (every try is refused, and changes nothing), L4 (the waiter returns all the same).
//! Fails by an assertion, or by a deadlock if a callback waits for what it must publish itself.
//! Not checked: calls of the issuer itself, which is borrowed while it runs callbacks.

use super::Scenario;
use crate::runtime::{Actor, Runtime};
use crate::world::{self, How, Size, World, io, reference, slot};
use handfast_core::outcome::Outcome;
use handfast_core::protocol::wait::Waited;
use handfast_core::protocol::{Callbacks, Error, Io, StageRefused};
use handfast_core::request::CallbackId;
use std::sync::{Arc, OnceLock, Weak};

/// Callbacks that know the world that they are called from.
pub struct Reentrant<R: Runtime> {
    world: OnceLock<Weak<World<R, Self>>>,
}

impl<R: Runtime> Reentrant<R> {
    fn try_everything(&self, io: &Io<'_, R>) {
        let world = self.world.get().and_then(Weak::upgrade).expect("the scenario runs");
        let own = reference((io.handle, io.generation));
        let context = world.context(slot(0));
        let refused = Error::InCallback;
        assert_eq!(context.wait(own, None), Err(refused), "S13: a callback waited");
        assert_eq!(context.wait(own, Some(0)), Err(refused), "S13: a callback waited a while");
        assert_eq!(context.check_done(own), Err(refused), "S13: a callback polled");
        R::saw("refused");
    }
}

impl<R: Runtime> Callbacks<R> for Reentrant<R> {
    fn stage(&self, _id: CallbackId, io: &Io<'_, R>) -> Result<(), StageRefused> {
        self.try_everything(io);
        Ok(())
    }

    fn complete_shared(&self, _id: CallbackId, io: &Io<'_, R>, prior: Outcome) -> Outcome {
        self.try_everything(io);
        prior
    }

    fn complete_local(&self, _id: CallbackId, io: &Io<'_, R>, prior: Outcome) -> Outcome {
        self.try_everything(io);
        prior
    }
}

/// RC19: an entry point inside a callback.
#[derive(Debug)]
pub struct Reentry;

impl Scenario for Reentry {
    const NAME: &'static str = "reentry_waiter";
    const COVERS: &'static [&'static str] = &["RC19", "S12", "S13", "L4"];
    const REACHED: &'static [&'static str] = &["refused", "done", "recycled", "slept"];
    type World<R: Runtime> = World<R, Reentrant<R>>;

    fn world<R: Runtime>() -> Self::World<R> {
        World::with(Size::slots(2), Reentrant { world: OnceLock::new() })
    }

    fn run<R: Runtime>(world: &Arc<Self::World<R>>) {
        let _first_time = world.app.world.set(Arc::downgrade(world));
        let mut issuer = world.issuer(slot(0), How::HandedOver);
        let handle = issuer.acquire(0).expect("a handle is free");
        issuer.start(handle, &world::request(io(0, 1), true), &[]).expect("it is handed out");
        let waiter = world.spawn(Actor::new("waiter", 1), 0, |world| {
            let waited = world.context(slot(1)).wait(reference(io(0, 1)), None);
            R::saw(match waited.expect("the reference is good") {
                Waited::Done => "done",
                Waited::Recycled => "recycled",
                Waited::TimedOut => panic!("L4: there was no deadline"),
            });
        });
        assert!(world.complete(slot(0), io(0, 1)), "S1: nobody else completes it");
        issuer.finish(handle).expect("it was started");
        R::join(waiter);
    }
}
