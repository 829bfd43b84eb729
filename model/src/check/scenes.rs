//! The scenes of a check, and the callbacks of an application with somebody watching them.
//!
//! | scene | begins with | ends when |
//! |---|---|---|
//! | [`WithWaiter`] | one IO that is started | issuer and waiter know that it is over |
//! | [`Onlooker`] | one IO that is started | it is reclaimed, and the onlooker has looked |
//! | [`Reuse`] | nothing | two IOs on the same handle are reclaimed |
//! | [`Death`] | one IO that is started | it is reclaimed; its completer may have died, a survivor goes on |
//!
//! At the end of each: S13, and the state of the words is what it was in the first execution.
//! Not checked: several handles at once.

use super::{Application, Pool};
use crate::mailbox::IoId;
use crate::manner::How;
use crate::runtime::{Actor, Lock as _, Queue as _, Runtime};
use crate::scenario::Scenario;
use crate::witness;
use crate::world::{SimulatedIssuer, Size, World, io, reference, slot};
use handfast_core::handle::SlotWord;
use handfast_core::ids::{HandleId, ProcessSlot};
use handfast_core::outcome::Outcome;
use handfast_core::platform::Field as _;
use handfast_core::protocol::wait::Waited;
use handfast_core::protocol::{Callbacks, HandedOut, Io, StageRefused};
use handfast_core::request::CallbackId;
use handfast_core::state::Role;
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::sync::Arc;

/// What is seen when a callback runs again after a death.
pub(super) const REPEAT: &str = "the callback ran again after a death";

type State = Vec<(&'static str, u64)>;

thread_local! {
    static EXPECTED: RefCell<Option<State>> = const { RefCell::new(None) };
    static EVERYBODY_LIVES: Cell<bool> = const { Cell::new(false) };
}

pub(super) fn forget_state() {
    EXPECTED.set(None);
}

pub(super) fn everybody_lives(lives: bool) {
    EVERYBODY_LIVES.set(lives);
}

/// An application's callbacks, and how often they ran.
pub struct Watched<R: Runtime, A: Application> {
    app: A::Shared<R>,
    /// For which generation of the handle the shared callbacks ran last.
    ran_for: Vec<R::Field>,
}

impl<R: Runtime, A: Application> Watched<R, A> {
    fn new(handles: u32) -> Self {
        let ran_for = (0..handles).map(|_| R::Field::new(0)).collect();
        Self { app: A::shared::<R>(), ran_for }
    }

    /// An IO with several callbacks runs them one after the other: the last one registered is the first.
    fn note(&self, id: CallbackId, io: &Io<'_, R>) {
        let first = io.request.callbacks.iter().next_back().is_some_and(|(first, _)| first == id);
        if !first {
            return;
        }
        let ran = &self.ran_for[io.handle.index()];
        let again = ran.get() == io.generation.get();
        assert!(!again || io.repeat, "S1: the callback ran twice, and nobody has died");
        if io.repeat {
            R::saw(REPEAT);
        }
        ran.set(io.generation.get());
    }
}

impl<R: Runtime, A: Application> Callbacks<R> for Watched<R, A> {
    fn stage(&self, id: CallbackId, io: &Io<'_, R>) -> Result<(), StageRefused> {
        self.app.stage(id, io)
    }

    fn complete_shared(&self, id: CallbackId, io: &Io<'_, R>, prior: Outcome) -> Outcome {
        self.note(id, io);
        self.app.complete_shared(id, io, prior)
    }

    fn complete_local(&self, id: CallbackId, io: &Io<'_, R>, prior: Outcome) -> Outcome {
        self.app.complete_local(id, io, prior)
    }
}

/// The world of a scene.
pub(super) struct Scene<R: Runtime, A: Application> {
    pool: Arc<World<R, Watched<R, A>>>,
    /// Says that a mortal actor has ended.
    gone: R::Queue,
}

/// The issuer's slot, the completer's, and that of a waiter or a survivor.
const ISSUER: ProcessSlot = slot(0);
const COMPLETER: ProcessSlot = slot(1);
const THIRD: ProcessSlot = slot(2);

type Issuer<'w, R, A> = SimulatedIssuer<'w, R, Watched<R, A>>;

impl<R: Runtime, A: Application> Scene<R, A> {
    fn new() -> Self {
        let size = Size::slots(3);
        let pool = Arc::new(World::with(size, Watched::new(3)));
        Self { pool, gone: R::Queue::new() }
    }

    fn app(&self) -> &A::Shared<R> {
        &self.pool.app.app
    }

    fn join(&self) {
        A::joined(self.app(), Pool(Arc::downgrade(&self.pool)));
    }

    fn spawn(
        self: &Arc<Self>,
        actor: Actor,
        body: impl Fn(&Self) + Send + Sync + 'static,
    ) -> R::Started {
        let (alive, dead) = (Arc::clone(self), Arc::clone(self));
        let at_death = move || {
            dead.pool.kernel.at_death(actor.process);
            dead.gone.push(1);
        };
        let body = Arc::new(move || body(&alive));
        R::spawn(actor, u64::from(actor.process), body, Arc::new(at_death))
    }

    fn start(&self, issuer: &mut Issuer<'_, R, A>) -> HandedOut {
        let handle = issuer.acquire(0).expect("a handle is free");
        let this = (handle.id, handle.generation);
        A::begin(self.app(), this);
        issuer.start(handle, &A::request(this), &[]).expect("it is handed out");
        handle
    }

    /// Waits until it is over, as its issuer, and looks at what it did.
    fn finish(&self, issuer: &mut Issuer<'_, R, A>, handle: HandedOut) {
        issuer.finish(handle).expect("it was started");
        let outcome = issuer.method().outcome(handle);
        A::over(self.app(), (handle.id, handle.generation), outcome);
    }

    /// Takes one IO from the mailbox and completes it.
    fn complete_one(&self, me: ProcessSlot) {
        if let Some((id, _)) = self.pool.kernel.mailbox.wait() {
            self.claim_and_complete(me, id);
        }
    }

    fn claim_and_complete(&self, me: ProcessSlot, id: HandleId) {
        let context = self.pool.context(me);
        if let Some(claimed) = context.claim(id).expect("the handle exists") {
            let this: IoId = (claimed.id, claimed.generation);
            let raw = A::execute(self.app(), this);
            let won = context.complete(this, raw, Role::Completer(me));
            assert_eq!(won, Ok(true), "S1: nobody else completes what is claimed");
        }
    }

    fn end(&self) {
        assert!(
            witness::count(witness::USED_IN_CALLBACK) == 0,
            "S13: a callback used the pool: it must not start, wait for or ask about IO"
        );
        let state = A::state(self.app());
        let expected = EXPECTED
            .with_borrow_mut(|expected| expected.get_or_insert_with(|| state.clone()).clone());
        assert!(
            state == expected,
            "state: all is over, and the words hold {state:?}; in an execution without a death or a race they hold {expected:?}"
        );
    }
}

/// One IO, and somebody in another process who waits for it.
pub(super) struct WithWaiter<A>(PhantomData<A>);

impl<A: Application> Scenario for WithWaiter<A> {
    const NAME: &'static str = "waiter";
    const COVERS: &'static [&'static str] = &[];
    const REACHED: &'static [&'static str] = &[];
    type World<R: Runtime> = Scene<R, A>;

    fn world<R: Runtime>() -> Scene<R, A> {
        Scene::new()
    }

    fn run<R: Runtime>(world: &Arc<Scene<R, A>>) {
        world.join();
        let mut issuer = world.pool.issuer(ISSUER, How::HandedOver);
        let handle = world.start(&mut issuer);
        let waiter = world.spawn(Actor::new("waiter", 2), |world| {
            let (this, context) = (io(0, 1), world.pool.context(THIRD));
            let waited = context.wait(reference(this), None).expect("the reference is good");
            let outcome = context.foreign_outcome(reference(this)).expect("the reference is good");
            let told = if waited == Waited::Done { outcome } else { None };
            A::over(world.app(), this, told);
        });
        let completer =
            world.spawn(Actor::new("completer", 1), |world| world.complete_one(COMPLETER));
        world.finish(&mut issuer, handle);
        R::join(waiter);
        R::join(completer);
        world.end();
    }
}

/// One IO, and somebody in another process who looks at the words on its own.
pub(super) struct Onlooker<A>(PhantomData<A>);

impl<A: Application> Scenario for Onlooker<A> {
    const NAME: &'static str = "onlooker";
    const COVERS: &'static [&'static str] = &[];
    const REACHED: &'static [&'static str] = &[];
    type World<R: Runtime> = Scene<R, A>;

    fn world<R: Runtime>() -> Scene<R, A> {
        Scene::new()
    }

    fn run<R: Runtime>(world: &Arc<Scene<R, A>>) {
        world.join();
        let mut issuer = world.pool.issuer(ISSUER, How::HandedOver);
        let handle = world.start(&mut issuer);
        let onlooker = world.spawn(Actor::new("onlooker", 2), |world| A::look::<R>(world.app()));
        let completer =
            world.spawn(Actor::new("completer", 1), |world| world.complete_one(COMPLETER));
        world.finish(&mut issuer, handle);
        R::join(onlooker);
        R::join(completer);
        world.end();
    }
}

/// Two IOs, one after the other, on the same handle.
pub(super) struct Reuse<A>(PhantomData<A>);

impl<A: Application> Scenario for Reuse<A> {
    const NAME: &'static str = "reuse";
    const COVERS: &'static [&'static str] = &[];
    const REACHED: &'static [&'static str] = &[];
    type World<R: Runtime> = Scene<R, A>;

    fn world<R: Runtime>() -> Scene<R, A> {
        Scene::new()
    }

    fn run<R: Runtime>(world: &Arc<Scene<R, A>>) {
        world.join();
        let mut issuer = world.pool.issuer(ISSUER, How::HandedOver);
        let completer = world.spawn(Actor::new("completer", 1), |world| {
            (0..2).for_each(|_| world.complete_one(COMPLETER));
        });
        for _ in 0..2 {
            let handle = world.start(&mut issuer);
            world.finish(&mut issuer, handle);
        }
        R::join(completer);
        world.end();
    }
}

/// One IO whose completer may die at any step; a survivor recovers it and goes on.
pub(super) struct Death<A>(PhantomData<A>);

impl<A: Application> Scenario for Death<A> {
    const NAME: &'static str = "death";
    const COVERS: &'static [&'static str] = &[];
    const REACHED: &'static [&'static str] = &[];
    type World<R: Runtime> = Scene<R, A>;

    fn world<R: Runtime>() -> Scene<R, A> {
        Scene::new()
    }

    fn run<R: Runtime>(world: &Arc<Scene<R, A>>) {
        world.join();
        let mut issuer = world.pool.attach(ISSUER, How::HandedOver).expect("its own slot");
        let handle = world.start(&mut issuer);
        let actor = Actor::new("completer", 1);
        let actor = if EVERYBODY_LIVES.get() { actor } else { actor.mortal() };
        let completer = world.spawn(actor, mortal_completer);
        let survivor = world.spawn(Actor::new("survivor", 2), survive);
        world.finish(&mut issuer, handle);
        R::join(completer);
        R::join(survivor);
        world.end();
    }
}

fn mortal_completer<R: Runtime, A: Application>(world: &Scene<R, A>) {
    let attached = world.pool.attach(COMPLETER, How::HandedOver).expect("its own slot");
    world.complete_one(COMPLETER);
    world.pool.detach(attached);
    world.gone.push(1);
}

fn survive<R: Runtime, A: Application>(world: &Scene<R, A>) {
    let attached = world.pool.attach(THIRD, How::HandedOver).expect("its own slot");
    let _it_has_ended = world.gone.pop();
    let (context, lock) = (world.pool.context(THIRD), world.pool.kernel.lock(COMPLETER));
    // Who waits for the IO may be at the same recovery: then its lock is not free for a moment.
    while context.slot_word(COMPLETER).is_some_and(SlotWord::is_active) {
        lock.expect("its slot").until_free();
        let _seen_at_the_next_look = context.recover(COMPLETER);
    }
    world.claim_and_complete(THIRD, HandleId(0));
    world.pool.detach(attached);
}
