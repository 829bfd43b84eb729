//! For users of handfast: your completion callbacks, with the shared words they change, under loom
//! and shuttle.
//!
//! Production runs your callback on whatever thread of whatever process completes the IO, beside
//! waiters that wake, processes that look at your words on their own, and recoverers that run it
//! again because the process before them was killed in the middle of it. This module does the same,
//! in every order (loom) or in very many (shuttle), and says which order breaks what you promise.
//!
//! 1. Make the callback generic over its words: [`SharedWord`] for what several processes change at the
//!    same time, [`Field`] for what one writes and others read after a hand-over. In production
//!    they are [`AtomicU64`](std::sync::atomic::AtomicU64)s in shared memory.
//! 2. Implement [`Callbacks`] for the struct that holds them, generic over the [`Runtime`].
//! 3. Implement [`Application`]: what an IO writes, what must be true for whoever knows that it
//!    is over, what is left in the words at the end.
//! 4. Run [`Checker::under_loom`] and [`Checker::under_shuttle`] in a test.
//!
//! | scene | who | finds |
//! |---|---|---|
//! | waiter | issuer, completer, waiter | what is missing when an IO is over |
//! | onlooker | issuer, completer, [`Application::look`] | what is visible too early; lost changes |
//! | reuse | issuer, completer, two IOs on one handle | what is left of the IO before |
//! | death | issuer, a completer that dies at every step, a survivor | callbacks that are not idempotent |
//!
//! In every scene: callbacks run once, or again as a repeat after a death (S1); a callback that uses the
//! pool is reported (S13); what [`Application::state`] says at the end is the same in every execution.
//!
//! How it fails: a panic, after an explanation on stderr with the changes of the handle's word that
//! led there. loom may abort the process after that, so expect failures in a process of their own,
//! or see [`Checker::exit_on_failure`].
//! A method of your own, or other actors: implement [`Scenario`] with a world of your own (see
//! [`World::with`](crate::world::World::with)) and run it with [`scenario_under_loom`] and
//! [`Entry::shuttle`].
//!
//! Checked by: `model/tests/check.rs`. Not checked: several IOs of one application at once.
//!
//! ```
//! use handfast_core::outcome::Outcome;
//! use handfast_core::protocol::{Callbacks, Io, StageRefused};
//! use handfast_core::request::CallbackId;
//! use handfast_model::check::{Application, Checker, IoId};
//! use handfast_model::runtime::{Runtime, SharedWord};
//! use std::sync::atomic::Ordering::{AcqRel, Acquire};
//!
//! /// Counts the IOs of handle 0 that are under way.
//! struct Counter<W>(W);
//!
//! impl<R: Runtime> Callbacks<R> for Counter<R::Word> {
//!     fn stage(&self, _: CallbackId, _: &Io<'_, R>) -> Result<(), StageRefused> {
//!         Ok(())
//!     }
//!     fn complete_shared(&self, _: CallbackId, io: &Io<'_, R>, prior: Outcome) -> Outcome {
//!         // The word says for which generation this was done, so a repeat changes nothing. One
//!         // handle has one such word.
//!         let done = io.generation.get() << 32;
//!         let mut before = self.0.load(Acquire);
//!         while before >> 32 < done >> 32 {
//!             let after = done | (before & 0xffff_ffff) - 1;
//!             match self.0.compare_exchange(before, after, AcqRel, Acquire) {
//!                 Ok(_) => break,
//!                 Err(found) => before = found,
//!             }
//!         }
//!         prior
//!     }
//!     fn complete_local(&self, _: CallbackId, _: &Io<'_, R>, prior: Outcome) -> Outcome {
//!         prior
//!     }
//! }
//!
//! struct MyCounter;
//!
//! impl Application for MyCounter {
//!     type Shared<R: Runtime> = Counter<R::Word>;
//!     fn shared<R: Runtime>() -> Counter<R::Word> {
//!         Counter(R::Word::new(0))
//!     }
//!     fn begin<R: Runtime>(app: &Counter<R::Word>, _: IoId) {
//!         app.0.fetch_add(1, AcqRel);
//!     }
//!     fn look<R: Runtime>(app: &Counter<R::Word>) {
//!         app.0.fetch_add(1, AcqRel);
//!         app.0.fetch_sub(1, AcqRel);
//!     }
//!     fn state<R: Runtime>(app: &Counter<R::Word>) -> Vec<(&'static str, u64)> {
//!         vec![("IOs under way", app.0.load(Acquire) & 0xffff_ffff)]
//!     }
//! }
//!
//! let checker = Checker::<MyCounter>::new("my counter");
//! assert!(checker.under_shuttle(2_000, 1).repeats > 0);
//! // Every interleaving, with weak memory: checker.under_loom(), in a test that is optimised.
//! ```
//!
//! [`Field`]: handfast_core::platform::Field

mod explain;
mod scenes;

use crate::explore;
pub use crate::mailbox::IoId;
use crate::runtime::Runtime;
pub use crate::runtime::SharedWord;
use crate::scenario::{Bound, Entry, Scenario};
use crate::witness;
use handfast_core::outcome::{Outcome, RawResult};
use handfast_core::protocol::{Callbacks, Error};
use handfast_core::request::{CallbackId, CallbackList, Flags, Operation, Request, TargetId};
use scenes::{Death, Onlooker, Reuse, Watched, WithWaiter};
use std::marker::PhantomData;
use std::sync::Weak;
use std::time::Instant;

/// Runs every interleaving of a scenario of your own, up to a bound; how many there were.
///
/// # Panics
/// If it fails, or one of [`Scenario::REACHED`] was never seen.
pub fn scenario_under_loom<S: Scenario>(preemptions: Bound) -> u64 {
    let (_before, _seen) = (explore::executions(), witness::take_seen());
    explore::every_variant(&Entry::of::<S>(), preemptions);
    let seen = witness::take_seen();
    let missing = S::REACHED.iter().find(|what| !seen.contains_key(*what));
    assert_eq!(missing, None, "scenario {} never reached it", S::NAME);
    explore::executions()
}

/// An application whose callbacks are checked.
pub trait Application: Sized + 'static {
    /// Its shared words, and the callbacks that change them.
    type Shared<R: Runtime>: Callbacks<R> + Send + Sync + 'static;

    /// The shared words before anything happened. Every scene has one handle in use, number 0.
    fn shared<R: Runtime>() -> Self::Shared<R>;

    /// The pool, for callbacks that want to try what they must not do.
    fn joined<R: Runtime>(_app: &Self::Shared<R>, _pool: Pool<R, Self>) {}

    /// What the issuer does to the words before it starts this IO.
    fn begin<R: Runtime>(_app: &Self::Shared<R>, _io: IoId) {}

    /// What the issuer asks for; callback 1 by default. More callbacks, flags and results are possible.
    #[must_use]
    fn request(_io: IoId) -> Request {
        let with = CallbackId::new(1).and_then(|id| CallbackList::EMPTY.with(id, 0));
        Request {
            operation: Operation::Readv,
            flags: Flags::BUFFERED,
            target: TargetId::FILE,
            target_data: [0; 3],
            offset: 0,
            length: 512,
            iovecs: 0,
            data_len: 0,
            callbacks: with.unwrap_or_default(),
        }
    }

    /// What the IO itself does to the application's memory, and its result. After a death it may be
    /// executed again.
    fn execute<R: Runtime>(_app: &Self::Shared<R>, _io: IoId) -> RawResult {
        RawResult(512)
    }

    /// What must be true for the issuer or a waiter who knows that this IO is over: assert it here. The
    /// outcome is `None` for a waiter who came so late that the handle was used again.
    fn over<R: Runtime>(_app: &Self::Shared<R>, _io: IoId, _outcome: Option<Outcome>) {}

    /// What another process does that looks at the words without waiting for any IO.
    fn look<R: Runtime>(_app: &Self::Shared<R>) {}

    /// What the words hold when all is over, with names for people. It must be the same in every
    /// execution of a scene: whatever the order was, and whoever died.
    fn state<R: Runtime>(_app: &Self::Shared<R>) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

/// The pool, as a callback may try to use it.
pub struct Pool<R: Runtime, A: Application>(Weak<crate::world::World<R, Watched<R, A>>>);

impl<R: Runtime, A: Application> Pool<R, A> {
    /// Asks whether an IO is over.
    ///
    /// # Errors
    /// [`Error::InCallback`] inside of a callback, and the check fails for it (S13).
    pub fn check_done(&self, io: IoId) -> Result<bool, Error> {
        let Some(world) = self.0.upgrade() else { return Ok(false) };
        world.context(crate::world::slot(0)).check_done(crate::world::reference(io))
    }
}

/// What a check did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// How many executions there were, all scenes together.
    pub executions: u64,
    /// In how many of them the callback ran again after a death.
    pub repeats: u64,
}

/// Runs the scenes with an application.
#[derive(Debug)]
pub struct Checker<A> {
    name: &'static str,
    preemptions: Bound,
    exit: Option<i32>,
    application: PhantomData<A>,
}

/// More places to die than any completer of a scene has.
const MOST_STEPS: usize = 10_000;

impl<A: Application> Checker<A> {
    /// A checker; the name is for people.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, preemptions: Some(2), exit: None, application: PhantomData }
    }

    /// How often loom stops a thread that could go on, in one execution: 2, unless told otherwise, and
    /// once less in the scene with the deaths. `None` is exhaustive and may take very long.
    #[must_use]
    pub const fn preemptions(mut self, bound: Bound) -> Self {
        self.preemptions = bound;
        self
    }

    /// Ends the process with this code after the explanation, instead of a panic.
    #[must_use]
    pub const fn exit_on_failure(mut self, code: i32) -> Self {
        self.exit = Some(code);
        self
    }

    /// Every interleaving up to the bound, with weak memory; the completer of the last scene dies at
    /// each of its steps.
    ///
    /// # Panics
    /// If the application breaks a promise, after an explanation.
    pub fn under_loom(&self) -> Report {
        self.report("loom", |checker| {
            checker.loom_scene::<WithWaiter<A>>();
            checker.loom_scene::<Onlooker<A>>();
            checker.loom_scene::<Reuse<A>>();
            checker.loom_deaths();
            explore::executions()
        })
    }

    /// This many random schedules of each scene, the first with this seed.
    ///
    /// # Panics
    /// If the application breaks a promise, after an explanation.
    pub fn under_shuttle(&self, schedules: u32, seed: u64) -> Report {
        self.report("shuttle", |checker| {
            checker.random_scene::<WithWaiter<A>>(schedules, seed);
            checker.random_scene::<Onlooker<A>>(schedules, seed);
            checker.random_scene::<Reuse<A>>(schedules, seed);
            checker.random_scene::<Death<A>>(schedules, seed);
            4 * u64::from(schedules)
        })
    }

    fn report(&self, tool: &'static str, run: impl FnOnce(&Self) -> u64) -> Report {
        let started = Instant::now();
        let (_before, _seen) = (explore::executions(), witness::take_seen());
        explain::begin(self.name, tool, self.exit);
        let executions = run(self);
        explain::end();
        let seen = witness::take_seen();
        let repeats = seen.get(scenes::REPEAT).copied().unwrap_or(0);
        let (name, seconds) = (self.name, started.elapsed().as_secs_f64());
        println!(
            "{name}: {tool}, {executions} executions, {repeats} repeats after a death, {seconds:.2} s: no fault found"
        );
        Report { executions, repeats }
    }

    fn loom_scene<S: Scenario>(&self) {
        Self::learn::<S>();
        explore::every_interleaving(&Entry::of::<S>(), 0, self.preemptions);
    }

    /// The completer dies before its first access, before its second, and so on until it has no more.
    fn loom_deaths(&self) {
        Self::learn::<Death<A>>();
        let preemptions = self.preemptions.map(|bound| bound.saturating_sub(1));
        let entry = Entry::of::<Death<A>>();
        for variant in 0..MOST_STEPS {
            let deaths = witness::count("died");
            explore::every_interleaving(&entry, variant, preemptions);
            if variant > 0 && witness::count("died") == deaths {
                return;
            }
        }
    }

    fn random_scene<S: Scenario>(&self, schedules: u32, seed: u64) {
        Self::learn::<S>();
        explore::random_schedules(&Entry::of::<S>(), schedules, seed);
    }

    /// One execution in which nobody dies says what is left in the end.
    fn learn<S: Scenario>() {
        explain::scene(S::NAME);
        eprintln!("... scene {}", S::NAME);
        scenes::forget_state();
        scenes::everybody_lives(true);
        explore::random_schedules(&Entry::of::<S>(), 1, 0);
        scenes::everybody_lives(false);
    }
}
